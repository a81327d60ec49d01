"""scikit-learn's estimator checks for the group-lasso estimators and their main variants."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.linear_model import GroupLasso, GroupLassoClassifier, GroupLassoClassifierCV, GroupLassoCV

ESTIMATORS = [
    GroupLasso(),
    GroupLasso(alpha=0.1, l1_ratio=0.5),
    GroupLasso(alpha=0.1, penalty="mcp"),
    GroupLassoCV(alphas=5),
    GroupLassoClassifier(),
    GroupLassoClassifier(l1_ratio=0.5, penalty="scad"),
    GroupLassoClassifierCV(alphas=5),
]


@parametrize_with_checks(ESTIMATORS)
def test_estimator_checks(estimator, check):
    check(estimator)
