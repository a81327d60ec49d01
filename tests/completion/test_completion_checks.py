"""scikit-learn's own checks, nothing excluded."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.completion import EASE, ALSCompletion, SoftImpute

ESTIMATORS = [
    EASE(),
    EASE(alpha=1.0, dropout=0.3, store_gram=False),
    ALSCompletion(rank=3, random_state=0),
    ALSCompletion(rank=3, biases=False, solver="cg", alpha=0.1, alpha_per_entry=True, random_state=0),
    ALSCompletion(rank=3, solver="coordinate_descent", random_state=0),
    SoftImpute(),
    SoftImpute(alpha=0.5, rank_max=10, tol=1e-6),
]


@parametrize_with_checks(ESTIMATORS)
def test_sklearn_checks(estimator, check):
    check(estimator)
