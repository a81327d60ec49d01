"""scikit-learn's own checks, nothing excluded."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.cross_decomposition import SparseCCA

ESTIMATORS = [
    SparseCCA(),
    SparseCCA(sparsity=0.5, criterion="objective", seeds=0, scale=False),
]


@parametrize_with_checks(ESTIMATORS)
def test_sklearn_checks(estimator, check):
    check(estimator)
