"""Relevance vector classification: published experiments, symmetry, and the defects of other packages."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.metrics.pairwise import rbf_kernel

from sparsemodels.bayes import RVMClassifier, SparseBayesClassifier
from sparsemodels.bayes.kernel_design import gaussian_kernel


def mixture(n_samples, seed):
    """Two classes of two Gaussians each, after Ripley: the best possible rule errs in some 8 %."""
    rng = np.random.default_rng(seed)
    centers = np.array([[-0.7, 0.3], [0.3, 0.3], [-0.3, 0.7], [0.4, 0.7]])
    part = rng.integers(0, 4, n_samples)
    return centers[part] + np.sqrt(0.03) * rng.standard_normal((n_samples, 2)), (part >= 2).astype(int)


def test_ripley_as_published():
    """Tipping 2001: 9.3 % wrong with 4 relevance vectors on the data of Ripley."""
    X_test, y_test = mixture(4000, 100)
    found = []
    for seed in range(3):
        model = RVMClassifier(gamma=4.0).fit(*mixture(250, seed))
        found.append((len(model.relevance_), 1.0 - model.score(X_test, y_test)))
        assert model.kkt_ <= 1e-4
    count, error = np.median(found, axis=0)
    assert count <= 8
    assert error < 0.105


def test_probabilities_far_away_are_those_of_the_constant():
    X, y = mixture(150, 1)
    far = np.array([[1e3, 1e3]])
    np.testing.assert_array_equal(RVMClassifier(gamma=4.0).fit(X, y).predict_proba(far), 0.5)
    model = RVMClassifier(gamma=4.0, bias=True).fit(X, y)
    assert 0.0 < model.decision_function(far) / model.intercept_ < 1.0  # the constant is uncertain


def test_two_samples_are_treated_alike():
    """sklearn-bayes: the posterior contains one of the two samples only."""
    for bias in (True, False):
        model = RVMClassifier(gamma=1.0, bias=bias).fit([[0.0], [1.0]], ["a", "b"])
        chances = model.predict_proba([[0.0], [1.0]])
        assert chances[0, 0] == pytest.approx(chances[1, 1], abs=1e-6)
        np.testing.assert_allclose(chances.sum(axis=1), 1.0, rtol=1e-12)


@pytest.mark.parametrize("multi_class", ["multinomial", "ovr"])
def test_three_classes(multi_class):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((120, 2))
    y = np.array(["one", "two", "three"])[np.argmax(X @ rng.standard_normal((2, 3)), axis=1)]
    model = RVMClassifier(multi_class=multi_class).fit(X, y)
    assert model.score(X, y) > 0.9
    assert model.dual_coef_.shape == (3, len(model.relevance_))
    np.testing.assert_array_equal(model.relevance_vectors_, X[model.relevance_])
    K = gaussian_kernel(X, gamma=model.gamma_).T  # to the last digit: many maxima are nearly as high
    linear = SparseBayesClassifier(multi_class=multi_class, fit_intercept=False, threshold=1.0).fit(K, y)
    np.testing.assert_array_equal(model.relevance_, linear.active_)
    np.testing.assert_allclose(model.dual_coef_, linear.coef_[:, linear.active_], rtol=1e-4)
    np.testing.assert_allclose(model.predict_proba(X), linear.predict_proba(K), atol=1e-5)
    np.testing.assert_allclose(model.predict_proba(X[:1]), model.predict_proba(X)[:1], rtol=1e-9)


def test_precomputed_callable_and_sparse_are_the_named_kernel():
    X, y = mixture(100, 3)
    K = rbf_kernel(X, gamma=3.0)
    K.setflags(write=False)
    new = X[:7] + 0.1
    expected = RVMClassifier(gamma=3.0).fit(X, y).predict_proba(new)
    by_call = RVMClassifier(rbf_kernel, kernel_params={"gamma": 3.0}).fit(X, y)
    np.testing.assert_allclose(by_call.predict_proba(new), expected, atol=1e-4)
    precomputed = RVMClassifier("precomputed").fit(K, y)
    np.testing.assert_allclose(precomputed.predict_proba(rbf_kernel(new, X, gamma=3.0)), expected, atol=1e-4)
    sparse = RVMClassifier(gamma=3.0).fit(scipy.sparse.csr_array(X), y)
    np.testing.assert_allclose(sparse.predict_proba(scipy.sparse.csr_array(new)), expected, atol=1e-4)


@pytest.mark.parametrize("kernel", ["rbf", "precomputed"])
def test_weight_zero_is_absence(kernel):
    X, y = mixture(100, 4)
    weights = np.ones(100)
    weights[::3] = 0.0
    kept = np.flatnonzero(weights)
    rows = rbf_kernel(X, gamma=3.0) if kernel == "precomputed" else X
    weighted = RVMClassifier(kernel, gamma=3.0).fit(rows, y, weights)
    alone = RVMClassifier(gamma=3.0).fit(X[kept], y[kept])
    np.testing.assert_array_equal(weighted.relevance_, kept[alone.relevance_])
    np.testing.assert_allclose(weighted.predict_proba(rows), alone.predict_proba(X), atol=1e-5)


def test_a_model_of_the_constant_alone_predicts_the_share_of_the_classes():
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((60, 2)), np.arange(60) % 3 == 0
    model = RVMClassifier(threshold=1e6, bias=True).fit(X, y)
    assert len(model.relevance_) == 0
    assert model.predict_proba(X[:1])[0, 1] == pytest.approx(1.0 / 3.0, abs=0.02)
