"""scikit-learn's own checks, nothing excluded."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.linear_model import AdaptiveLasso, AdaptiveLassoCV, ElasticNet, ElasticNetCV, Lasso, LassoCV

ESTIMATORS = [
    Lasso(),
    Lasso(positive=True, fit_intercept=False),
    ElasticNet(),
    ElasticNet(alpha=0.01, bounds=(-10.0, 10.0)),
    AdaptiveLasso(alpha=0.1),
    LassoCV(alphas=10),
    ElasticNetCV(alphas=10, l1_ratio=[0.5, 1.0]),
    AdaptiveLassoCV(alphas=10, selection="1se"),
]


@parametrize_with_checks(ESTIMATORS)
def test_sklearn_checks(estimator, check):
    check(estimator)
