"""scikit-learn's own checks, nothing excluded."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.bayes import RVMClassifier, RVMRegressor

ESTIMATORS = [
    RVMRegressor(),
    RVMRegressor("precomputed", noise_variance=1.0),
    RVMClassifier(),
    RVMClassifier("poly", multi_class="ovr", bias=True),
]


@pytest.mark.filterwarnings("ignore:the noise variance")  # some of the checks have none in their targets
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(ESTIMATORS)
def test_sklearn_checks(estimator, check):
    check(estimator)
