"""Relevance vector regression against dense formulas, published experiments and the defects of other packages."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.gaussian_process.kernels import RBF
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import cross_val_predict

from sparsemodels.bayes import RVMRegressor, kernel_design


def sinc_samples(n_samples, seed, noise=0.1):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-10.0, 10.0, (n_samples, 1))
    return X, np.sinc(X[:, 0] / np.pi) + noise * rng.standard_normal(n_samples)


def dense_posterior(K, y, prior_variances, noise_variance):
    """Mean, covariance and log evidence from the covariance of y; the constant has a flat prior."""
    n = len(y)
    basis = np.linalg.svd(np.eye(n) - 1.0 / n)[0][:, : n - 1]  # contrasts that the constant does not move
    D, t = basis.T @ K, basis.T @ y
    C = noise_variance * np.eye(n - 1) + (D * prior_variances) @ D.T
    solved = np.linalg.solve(C, np.column_stack([D, t]))
    covariance = np.diag(prior_variances) - (prior_variances[:, None] * (D.T @ solved[:, :-1])) * prior_variances
    quadratic = t @ solved[:, -1]
    evidence = -0.5 * ((n - 1) * np.log(2 * np.pi) + np.linalg.slogdet(C)[1] + quadratic)
    return prior_variances * (D.T @ solved[:, -1]), covariance, evidence


@pytest.mark.parametrize("fewest", [10, 10**9])  # in the range of the kernel, and with the whole of it
def test_posterior_evidence_and_error_bars_are_the_dense_ones(fewest, monkeypatch):
    monkeypatch.setattr(kernel_design, "_FEWEST", fewest)
    X, y = sinc_samples(260, 0)
    model = RVMRegressor(gamma=0.05).fit(X, y)
    K = rbf_kernel(X, X[model.relevance_], gamma=0.05)
    mean, covariance, evidence = dense_posterior(K, y, model.prior_variances_, model.noise_variance_)
    assert model.kkt_ <= 1e-4
    np.testing.assert_allclose(model.dual_coef_, mean, rtol=1e-6, atol=1e-8 * np.abs(mean).max())
    np.testing.assert_allclose(model.covariance_, covariance, atol=1e-6 * np.abs(covariance).max())
    assert model.log_evidence_ == pytest.approx(evidence, abs=1e-6)
    new = np.linspace(-12.0, 12.0, 7)[:, None]
    rows = rbf_kernel(new, X[model.relevance_], gamma=0.05) - K.mean(axis=0)
    variance = model.noise_variance_ * (1.0 + 1.0 / len(y)) + np.einsum("ij,jk,ik->i", rows, covariance, rows)
    predicted, std = model.predict(new, return_std=True)
    np.testing.assert_allclose(std**2, variance, rtol=1e-6)
    np.testing.assert_allclose(predicted, y.mean() + rows @ mean, atol=1e-7)


def test_the_range_of_a_kernel_gives_the_same_machine_as_the_whole(monkeypatch):
    X, y = sinc_samples(400, 1)
    short = RVMRegressor(gamma=0.1).fit(X, y)
    monkeypatch.setattr(kernel_design, "_FEWEST", 10**9)
    whole = RVMRegressor(gamma=0.1).fit(X, y)
    np.testing.assert_array_equal(short.relevance_, whole.relevance_)
    assert short.log_evidence_ == pytest.approx(whole.log_evidence_, abs=1e-5)
    np.testing.assert_allclose(short.predict(X), whole.predict(X), atol=1e-5)


def test_sinc_as_published():
    """Tipping 2001: 100 samples, noise 0.1; some 6.7 relevance vectors. Errors near 0.034, for this width."""
    line = np.linspace(-10.0, 10.0, 400)[:, None]
    truth = np.sinc(line[:, 0] / np.pi)
    found = []
    for seed in range(9):
        rng = np.random.default_rng(seed)
        X = np.linspace(-10.0, 10.0, 100)[:, None]
        y = np.sinc(X[:, 0] / np.pi) + 0.1 * rng.standard_normal(100)
        model = RVMRegressor(gamma=0.25).fit(X, y)
        error = np.sqrt(np.mean((model.predict(line) - truth) ** 2))
        found.append((len(model.relevance_), error, model.noise_variance_**0.5))
    count, error, noise = np.median(found, axis=0)
    assert 5 <= count <= 8
    assert error < 0.04
    assert abs(noise / 0.1 - 1.0) < 0.1


def test_scaling_targets_scales_the_answer_only():
    X, y = sinc_samples(60, 2)
    model, scaled = RVMRegressor(gamma=0.2).fit(X, y), RVMRegressor(gamma=0.2 / 4.0).fit(2.0 * X, 1e-6 * y + 3.0)
    np.testing.assert_array_equal(model.relevance_, scaled.relevance_)
    np.testing.assert_allclose(scaled.predict(2.0 * X), 1e-6 * model.predict(X) + 3.0, rtol=1e-9)
    assert scaled.noise_variance_ == pytest.approx(1e-12 * model.noise_variance_, rel=1e-4)


def test_precomputed_and_callable_kernels_are_the_named_one():
    X, y = sinc_samples(80, 3)
    K = rbf_kernel(X, gamma=0.2)
    K.setflags(write=False)
    new = np.linspace(-9.0, 9.0, 5)[:, None]
    named = RVMRegressor(gamma=0.2).fit(X, y)
    precomputed = RVMRegressor("precomputed").fit(K, y)
    by_call = RVMRegressor(lambda A, B, length: RBF(length)(A, B), kernel_params={"length": 2.5**0.5}).fit(X, y)
    expected, std = named.predict(new, return_std=True)
    np.testing.assert_allclose(by_call.predict(new), expected, atol=1e-5)
    mean, spread = precomputed.predict(rbf_kernel(new, X, gamma=0.2), return_std=True)
    np.testing.assert_allclose(mean, expected, atol=1e-5)
    np.testing.assert_allclose(spread, std, atol=1e-5)
    assert precomputed.relevance_vectors_.size == 0
    assert not hasattr(precomputed, "gamma_")
    folds = cross_val_predict(RVMRegressor("precomputed"), K, y, cv=4)  # rows and columns are cut
    np.testing.assert_allclose(folds, cross_val_predict(RVMRegressor(gamma=0.2), X, y, cv=4), atol=1e-4)
    with pytest.raises(ValueError, match="square kernel matrix"):
        RVMRegressor("precomputed").fit(K[:, :-1], y)


def test_kernels_with_negative_sums():
    """scikit-rvm and sklearn-rvm scale columns by the square root of their sum."""
    X, y = sinc_samples(60, 4)
    for kernel in ("linear", "sigmoid", lambda A, B: -1.0 - rbf_kernel(A, B, gamma=0.2)):
        mean, std = RVMRegressor(kernel).fit(X, y).predict(X, return_std=True)
        assert np.isfinite(mean).all()
        assert np.isfinite(std).all()


def test_fitting_changes_neither_parameters_nor_data():
    X, y = sinc_samples(40, 5)
    parameters = {"degree": 2}
    model = RVMRegressor(lambda A, B, degree: (1.0 + A @ B.T / 100.0) ** degree, kernel_params=parameters)
    before, X_before, y_before = clone(model).get_params(), X.copy(), y.copy()
    X.setflags(write=False)
    y.setflags(write=False)
    model.fit(X, y)
    assert model.get_params() == before
    assert parameters == {"degree": 2}
    np.testing.assert_array_equal(X, X_before)
    np.testing.assert_array_equal(y, y_before)


def test_a_model_of_the_constant_alone_predicts():
    rng = np.random.default_rng(6)
    X, y = rng.standard_normal((30, 2)), rng.standard_normal(30)
    model = RVMRegressor(threshold=100.0).fit(X, y)
    assert len(model.relevance_) == 0
    mean, std = model.predict(X[:1], return_std=True)
    assert mean == pytest.approx(y.mean())
    assert std**2 == pytest.approx(y.var(ddof=1) * (1.0 + 1.0 / 30.0))
    constant = RVMRegressor().fit(X, np.full(30, 7.0))
    mean, std = constant.predict(X, return_std=True)
    np.testing.assert_array_equal(mean, 7.0)
    np.testing.assert_array_equal(std, 0.0)


def test_error_bars_far_away_are_those_of_constant_and_noise():
    """The known defect of local kernels, which the documentation states."""
    X, y = sinc_samples(80, 7)
    model = RVMRegressor(gamma=0.2, bias=False).fit(X, y)
    mean, std = model.predict([[1e3]], return_std=True)
    assert mean == 0.0
    assert std**2 == pytest.approx(model.noise_variance_)


def test_weights_are_repetitions_and_weight_zero_is_absence():
    X, y = sinc_samples(50, 8)
    weights = np.random.default_rng(8).integers(0, 3, 50)
    weighted = RVMRegressor().fit(X, y, weights)
    repeated = RVMRegressor().fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    mean, std = weighted.predict(X, return_std=True)
    expected, spread = repeated.predict(X, return_std=True)
    np.testing.assert_allclose(mean, expected, atol=1e-4)
    np.testing.assert_allclose(std, spread, rtol=1e-3)
    assert np.all(weights[weighted.relevance_] > 0)
    np.testing.assert_array_equal(weighted.relevance_vectors_, X[weighted.relevance_])


def test_outputs_share_relevance_vectors():
    X, y = sinc_samples(80, 9)
    Y = np.column_stack([y, -2.0 * y + 1.0, np.cos(X[:, 0])])
    model = RVMRegressor(gamma=0.2, noise_variance=0.01).fit(X, Y)
    mean, std = model.predict(X[:4], return_std=True)
    assert mean.shape == std.shape == (4, 3)
    assert model.dual_coef_.shape == (len(model.relevance_), 3)
    np.testing.assert_allclose(mean[:, 1], -2.0 * mean[:, 0] + 1.0, atol=1e-8)


def test_sparse_samples_and_float32():
    X, y = sinc_samples(60, 10)
    X = np.column_stack([X, np.zeros(60)])
    dense = RVMRegressor(gamma=0.2).fit(X, y)
    sparse = RVMRegressor(gamma=0.2).fit(scipy.sparse.csr_array(X), y)
    np.testing.assert_allclose(sparse.predict(scipy.sparse.csr_matrix(X)), dense.predict(X), atol=1e-5)
    assert isinstance(sparse.relevance_vectors_, np.ndarray)
    single = RVMRegressor(gamma=0.2).fit(X.astype(np.float32), y)
    mean, std = single.predict(X.astype(np.float32), return_std=True)
    assert mean.dtype == std.dtype == np.float32
    np.testing.assert_allclose(mean, dense.predict(X), atol=1e-3)


def test_error_bars_of_many_samples_need_no_square_matrix():
    X, y = sinc_samples(100, 11)
    model = RVMRegressor(gamma=0.2).fit(X, y)
    new = np.linspace(-10.0, 10.0, 20_000)[:, None]
    tracemalloc.start()
    model.predict(new, return_std=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 * new.nbytes  # 8 MB; samples by samples would be 3.2 GB


def test_errors_name_the_parameter():
    X, y = sinc_samples(20, 12)
    with pytest.raises(ValueError, match="kernel_params must be None"):
        RVMRegressor("rbf", kernel_params={"a": 1}).fit(X, y)
    with pytest.raises(ValueError, match="'gamma' parameter"):
        RVMRegressor(gamma=0.0).fit(X, y)
