"""scikit-learn's own checks, nothing excluded."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.decomposition import NBMF

ESTIMATORS = [
    NBMF(),
    NBMF(binary="codes", alpha=0.1, n_init=1, n_perturbations=1),
    NBMF(solver="tabu", n_init=1, n_perturbations=1),
    NBMF(fit_baseline=True, prior="mean", n_init=1, n_perturbations=1),
    NBMF(3, binary="codes", fit_baseline=True, n_init=1, n_perturbations=1),
]


@parametrize_with_checks(ESTIMATORS)
def test_sklearn_checks(estimator, check):
    check(estimator)
