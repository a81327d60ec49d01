"""Sparse Bayesian regression beside scikit-learn's ARDRegression: units, and the evidence at equal noise."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import ARDRegression

from sparsemodels.bayes import SparseBayesRegressor


def planted(seed, n=60, p=30, k=5):
    rng = np.random.default_rng(seed)
    X, coef = rng.standard_normal((n, p)), np.zeros(p)
    coef[:k] = rng.choice([-1.0, 1.0], k) * rng.uniform(0.5, 2.0, k)
    return X, X @ coef + 0.5 * rng.standard_normal(n)


def dense_log_evidence(X, y, variances, noise_variance):
    """The log density of N(0, s I + X diag(v) X') at y, by its determinant and inverse."""
    covariance = noise_variance * np.eye(len(y)) + (X * variances) @ X.T
    return -0.5 * (np.linalg.slogdet(2.0 * np.pi * covariance)[1] + y @ np.linalg.solve(covariance, y))


@pytest.mark.parametrize(("a", "b"), [(1.0, 1e-6), (1.0, 1e6), (1e-6, 1.0), (1e6, 1.0)])
def test_units_change_nothing_else(a, b):
    X, y = planted(0)
    model, scaled = SparseBayesRegressor().fit(X, y), SparseBayesRegressor().fit(a * X, b * y)
    assert 0 < model.active_.size < 30
    assert_array_equal(scaled.active_, model.active_)
    # The rounding of a fit of condition number ten, times its iterations.
    assert_allclose(scaled.coef_ * a / b, model.coef_, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_evidence_is_at_least_that_of_ard(seed):
    X, y = planted(seed)
    variance, sure = 0.25, 1e10
    # ARDRegression cannot be told the noise variance, but its prior can be made certain of it.
    ard = ARDRegression(fit_intercept=False, alpha_1=sure, alpha_2=sure * variance, tol=1e-8, max_iter=1000).fit(X, y)
    assert_allclose(1.0 / ard.alpha_, variance, rtol=1e-6)
    kept = ard.lambda_ < ard.threshold_lambda
    theirs = dense_log_evidence(X, y, np.where(kept, 1.0 / ard.lambda_, 0.0), variance)
    model = SparseBayesRegressor(noise_variance=variance, threshold=1.0, fit_intercept=False).fit(X, y)
    ours = dense_log_evidence(X, y, model.prior_variances_, variance)
    assert_allclose(model.log_evidence_, ours, rtol=1e-10)
    # Both are near local maxima, ours to a violation of 1e-4: far less than a hundredth of a nat.
    assert ours >= theirs - 1e-2
