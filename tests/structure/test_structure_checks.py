"""scikit-learn's own checks, nothing excluded."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.structure import ConcomitantDAG, CorrelationThresholding

ESTIMATORS = [
    ConcomitantDAG(max_iter=300),
    ConcomitantDAG(0.05, variance="unequal", penalty_scaling=None, max_iter=300),
    CorrelationThresholding(),
    CorrelationThresholding(0.3, criterion=None),
]


@parametrize_with_checks(ESTIMATORS)
def test_sklearn_checks(estimator, check):
    check(estimator)
