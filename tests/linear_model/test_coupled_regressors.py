"""SlopeRegressor, KSupportRegressor, FusedLasso: contract, invariances, closed forms, certificates from outside."""

import itertools

import numpy as np
import pytest
import scipy.sparse
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.linear_model import (
    FusedLasso,
    FusedLassoCV,
    KSupportRegressor,
    KSupportRegressorCV,
    Lasso,
    SlopeRegressor,
    SlopeRegressorCV,
    fused_lasso_path,
    k_support_path,
    slope_path,
)

ESTIMATORS = [
    SlopeRegressor(alpha=0.1),
    SlopeRegressor(alpha=0.1, sequence="oscar"),
    KSupportRegressor(k=2),
    KSupportRegressor(alpha=0.1, k=2, exact_k=True),
    FusedLasso(alpha=0.1),
    SlopeRegressorCV(alphas=5),
    KSupportRegressorCV(alphas=5, k=2),
    FusedLassoCV(alphas=5),
]


@parametrize_with_checks(ESTIMATORS)
def test_sklearn_checks(estimator, check):
    check(estimator)


MODELS = [
    SlopeRegressor(0.1, tol=1e-12),
    KSupportRegressor(0.3, k=3, tol=1e-12),
    KSupportRegressor(0.3, k=2, groups=np.repeat(range(5), 3), tol=1e-12),
    FusedLasso(0.15, l1_ratio=0.4, tol=1e-12),
]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 15))
    X[:, 4] = X[:, 3] + 0.1 * X[:, 4]
    return X, X[:, 2:6].sum(axis=1) - X[:, 9] + 0.5 * rng.normal(size=50)


def clone_of(model):
    return type(model)(**model.get_params())


@pytest.mark.parametrize("model", MODELS)
def test_weights_are_repeated_rows(model, data):
    X, y = data
    counts = np.random.default_rng(1).integers(0, 4, 50)
    weighted = clone_of(model).fit(X, y, counts)
    repeated = clone_of(model).fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-6)
    assert weighted.objective_ == pytest.approx(repeated.objective_, rel=1e-10)


@pytest.mark.parametrize("model", MODELS)
def test_sparse_and_single_precision(model, data):
    X, y = data
    X = np.where(np.abs(X) > 0.7, X, 0.0)
    dense = clone_of(model).fit(X, y)
    sparse = clone_of(model).fit(scipy.sparse.csr_matrix(X), y)
    np.testing.assert_allclose(dense.coef_, sparse.coef_, atol=1e-6)
    single = clone_of(model).set_params(tol=1e-6).fit(X.astype(np.float32), y)
    assert single.coef_.dtype == np.float32
    np.testing.assert_allclose(single.coef_, dense.coef_, atol=2e-2)


@pytest.mark.parametrize("model", MODELS)
def test_scaling_the_target_scales_the_answer(model, data):
    X, y = data
    one = clone_of(model).fit(X, y)
    # The squared k-support norm scales with the loss, the norms at half its rate.
    factor = 1.0 if isinstance(model, KSupportRegressor) else 1e4
    scaled = clone_of(model).set_params(alpha=factor * model.alpha).fit(X, 1e4 * y)
    np.testing.assert_allclose(scaled.coef_, 1e4 * one.coef_, rtol=1e-5, atol=1e-2)
    assert scaled.relative_gap_ <= 1e-12


@pytest.mark.parametrize("model", MODELS)
def test_objective_and_gap_recomputed_from_outside(model, data):
    X, y = data
    loose = clone_of(model).set_params(tol=1e-3).fit(X, y)
    tight = clone_of(model).fit(X, y)
    assert tight.status_ == "converged"
    assert loose.objective_ - loose.dual_gap_ <= tight.objective_ * (1 + 1e-12)
    residual = y - X @ tight.coef_ - tight.intercept_
    loss = residual @ residual / 100
    w = tight.coef_
    if isinstance(model, SlopeRegressor):
        from scipy.stats import norm

        penalty = 0.1 * norm.isf(0.1 * np.arange(1, 16) / 30) @ np.sort(np.abs(w))[::-1]
    elif isinstance(model, FusedLasso):
        penalty = 0.15 * (0.4 * np.abs(w).sum() + 0.6 * np.abs(np.diff(w)).sum())
    else:
        # The support function of the models of k groups: the largest of v'w over v of top-k energy at most one.
        size = np.abs(w) if model.groups is None else np.sqrt(np.bincount(model.groups, w**2))
        size = np.sort(size)[::-1]
        # Argyriou et al., proposition 2.1
        k = model.k
        for r in range(k):
            tail = size[k - r - 1 :].sum() / (r + 1)
            if (k - r - 2 < 0 or size[k - r - 2] > tail) and tail >= size[k - r - 1]:
                break
        penalty = 0.15 * ((size[: k - r - 1] ** 2).sum() + (r + 1) * tail**2)
    assert loss + penalty == pytest.approx(tight.objective_, rel=1e-9)


@pytest.mark.parametrize(
    ("path", "model", "options"),
    [
        (slope_path, SlopeRegressor, {"sequence": "oscar", "q": 0.2}),
        (k_support_path, KSupportRegressor, {"k": 2}),
        (k_support_path, KSupportRegressor, {"k": 2, "exact_k": True}),
        (fused_lasso_path, FusedLasso, {"l1_ratio": 0.4}),
    ],
)
def test_path_is_single_fits(path, model, options, data):
    X, y = data
    result = path(X, y, alphas=6, tol=1e-12, **options)
    for k, alpha in enumerate(result.alphas):
        single = model(alpha, tol=1e-12, **options).fit(X, y)
        np.testing.assert_allclose(result.coefs[:, k], single.coef_, atol=1e-6)
        assert result.dual_gaps[k] == pytest.approx(single.dual_gap_, abs=1e-10)
    if model is not KSupportRegressor:
        assert (result.coefs[:, 0] == 0.0).all()
        assert (model(result.alphas[0] * 0.999, tol=1e-12, **options).fit(X, y).coef_ != 0.0).any()


def test_slope_of_equal_weights_and_fused_without_differences_are_the_lasso(data):
    X, y = data
    lasso = Lasso(0.1, tol=1e-12).fit(X, y).coef_
    np.testing.assert_allclose(SlopeRegressor(0.1, sequence="lasso", tol=1e-12).fit(X, y).coef_, lasso, atol=1e-6)
    np.testing.assert_allclose(FusedLasso(0.1, l1_ratio=1.0, tol=1e-12).fit(X, y).coef_, lasso, atol=1e-6)


def test_orthonormal_design_has_a_closed_form():
    rng = np.random.default_rng(2)
    n, p = 40, 8
    X = np.linalg.qr(rng.normal(size=(n, p)) - 0.0)[0] * np.sqrt(n)
    y = X @ np.linspace(3.0, -1.0, p) + 0.1 * rng.normal(size=n)
    ols = X.T @ y / n
    # Best subset under ridge: shrink, keep the k largest; the relaxation is exact on orthonormal designs.
    model = KSupportRegressor(0.5, k=3, fit_intercept=False, exact_k=True, tol=1e-12).fit(X, y)
    expected = np.where(np.abs(ols) >= np.sort(np.abs(ols))[-3], ols / 1.5, 0.0)
    np.testing.assert_allclose(model.coef_, expected, atol=1e-7)


@pytest.mark.parametrize("alpha", [0.05, 0.5])
def test_exact_k_bounds_the_best_subset(alpha):
    """The gap of `exact_k` is an upper bound of the distance to the best of all models of k features."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(25, 8)) + rng.normal(size=(25, 1))
    y = X[:, :2] @ [1.0, -1.0] + rng.normal(size=25)
    model = KSupportRegressor(alpha, k=2, exact_k=True, tol=1e-10).fit(X, y)
    assert np.count_nonzero(model.coef_) <= 2
    centred, target = X - X.mean(axis=0), y - y.mean()
    best = np.inf
    for subset in itertools.combinations(range(8), 2):
        Z = centred[:, subset]
        w = np.linalg.solve(Z.T @ Z / 25 + alpha * np.eye(2), Z.T @ target / 25)
        best = min(best, np.sum((target - Z @ w) ** 2) / 50 + 0.5 * alpha * w @ w)
    assert model.objective_ >= best * (1 - 1e-9)
    assert model.objective_ - model.dual_gap_ <= best * (1 + 1e-9)


def test_slope_ties_correlated_features():
    rng = np.random.default_rng(4)
    latent = rng.normal(size=(100, 1))
    X = np.hstack([latent + 0.1 * rng.normal(size=(100, 3)), rng.normal(size=(100, 5))])
    y = X[:, :3].sum(axis=1) + 0.1 * rng.normal(size=100)
    coef = SlopeRegressor(0.3, sequence="oscar", q=0.5).fit(X, y).coef_
    assert coef[0] == coef[1] == coef[2] != 0.0


def test_bad_parameters_are_named(data):
    X, y = data
    with pytest.raises(ValueError, match="sequence must be finite, >= 0 and non-increasing"):
        SlopeRegressor(sequence=np.arange(15.0)).fit(X, y)
    with pytest.raises(ValueError, match="sequence must have one entry for each of the 15 features"):
        SlopeRegressor(sequence=[1.0]).fit(X, y)
    with pytest.raises(ValueError, match="groups must have one label for each of the 15 features"):
        KSupportRegressor(groups=[1, 2]).fit(X, y)
    with pytest.raises(ValueError, match="group_costs must be finite and > 0"):
        KSupportRegressor(group_costs=-np.ones(15)).fit(X, y)


@pytest.mark.parametrize("model", MODELS)
def test_degenerate_input(model):
    X = np.column_stack([np.ones(20), np.zeros(20), np.arange(20.0), np.arange(20.0)])
    model = clone_of(model)
    if isinstance(model, KSupportRegressor):
        model.set_params(groups=None)
    fitted = model.set_params(tol=1e-8).fit(X, np.full(20, 3.0))
    np.testing.assert_allclose(fitted.coef_, 0.0, atol=1e-12)
    assert fitted.intercept_ == pytest.approx(3.0)
    assert np.isfinite(model.fit(X, X[:, 2]).coef_).all()
    assert model.status_ == "converged"
    assert model.fit(X[:, :1], np.arange(20.0)).status_ == "converged"
