"""scikit-learn's own checks of the estimators on simultaneous fits, nothing excluded."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.linear_model import PermutationTest, SimultaneousGLM, StabilitySelection

ESTIMATORS = [
    SimultaneousGLM(),
    SimultaneousGLM(alpha=0.01, l1_ratio=0.5, bounds=(-10.0, 10.0)),
    StabilitySelection(n_resamples=6, alphas=4),
    StabilitySelection(n_resamples=3, alphas=[1e-3], complementary_pairs=False, sample_fraction=0.7, weakness=0.5),
    PermutationTest(n_permutations=9),
    PermutationTest(n_permutations=3, statistic="held_out", alpha=0.1, cv=2),
]


@parametrize_with_checks(ESTIMATORS)
def test_sklearn_checks(estimator, check):
    check(estimator)
