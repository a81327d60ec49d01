"""The Huber LASSO against CVXPY, certificates from outside, its limits, degenerate input."""

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.linear_model import ElasticNet, HuberLasso, HuberLassoCV, huber_lasso_path

RNG = np.random.default_rng(0)
N, P = 70, 25
X = RNG.standard_normal((N, P)) + 0.3 * RNG.standard_normal((N, 1))
Y = X[:, :3] @ [2.0, -1.0, 0.7] + 4.0 + RNG.standard_t(1.5, N)
WEIGHTS = RNG.integers(0, 4, N).astype(float)
OMEGA = RNG.uniform(0.5, 2.0, P)


def huber(residual, delta):
    size = np.abs(residual)
    return np.where(size <= delta, 0.5 * size**2, delta * size - 0.5 * delta**2)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.4])
@pytest.mark.parametrize("delta", [0.3, 1.35])
def test_agrees_with_cvxpy(delta, l1_ratio, intercept):
    w, b = cp.Variable(P), cp.Variable()
    s = WEIGHTS / WEIGHTS.sum()
    residual = Y - X @ w - (b if intercept else 0.0)
    penalty = l1_ratio * OMEGA @ cp.abs(w) + 0.5 * (1.0 - l1_ratio) * OMEGA @ cp.square(w)
    problem = cp.Problem(cp.Minimize(0.5 * s @ cp.huber(residual, delta) + 0.05 * penalty))
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    model = HuberLasso(
        0.05, l1_ratio=l1_ratio, delta=delta, penalty_weights=OMEGA, fit_intercept=intercept, tol=1e-9
    ).fit(X, Y, sample_weight=WEIGHTS)
    assert model.objective_ == pytest.approx(problem.value, abs=1e-8)
    np.testing.assert_allclose(model.coef_, w.value, atol=1e-4)
    assert model.objective_ - model.dual_gap_ <= problem.value + 1e-9


@pytest.mark.parametrize("l1_ratio", [1.0, 0.4])
def test_the_gap_from_outside(l1_ratio):
    """The dual is that of the squared loss with the dual variables bounded by delta times the weights."""
    s = np.random.default_rng(1).uniform(0.5, 2.0, N)
    s /= s.sum()
    model = HuberLasso(0.05, l1_ratio=l1_ratio, delta=0.8, penalty_weights=OMEGA, tol=1e-8).fit(X, Y, sample_weight=s)
    residual = Y - X @ model.coef_ - model.intercept_
    theta = s * np.clip(residual, -0.8, 0.8)
    assert abs(theta.sum()) <= 1e-14
    threshold, ridge = 0.05 * l1_ratio * OMEGA, 0.05 * (1.0 - l1_ratio) * OMEGA
    slope = np.abs(X.T @ theta)
    c = min(1.0, (threshold / slope).min()) if l1_ratio == 1.0 else 1.0
    dual = c * theta @ Y - 0.5 * c**2 * np.sum(theta**2 / s)
    if l1_ratio < 1.0:
        dual -= np.sum(np.maximum(slope - threshold, 0.0) ** 2 / (2.0 * ridge))
    primal = s @ huber(residual, 0.8) + np.sum(threshold * np.abs(model.coef_) + 0.5 * ridge * model.coef_**2)
    assert primal == pytest.approx(model.objective_, rel=1e-12)
    assert primal - dual == pytest.approx(model.dual_gap_, rel=1e-3, abs=1e-14)
    assert model.relative_gap_ <= 1e-8


def test_unpenalised_features_have_a_certificate():
    omega = np.ones(P)
    omega[:3] = 0.0
    model = HuberLasso(0.1, penalty_weights=omega, tol=1e-9).fit(X, Y)
    assert model.relative_gap_ <= 1e-9
    slope = X.T @ np.clip(Y - X @ model.coef_ - model.intercept_, -1.35, 1.35) / N
    np.testing.assert_allclose(slope[:3], 0.0, atol=1e-6)
    assert (np.abs(slope[3:]) <= 0.1 + 1e-9).all()


def test_planted_solution():
    """Residuals built from a dual point: inside of delta they are it, at delta any larger one will do."""
    rng = np.random.default_rng(3)
    n, p = 300, 8
    A = rng.standard_normal((n, p))
    w = np.zeros(p)
    w[:3] = [1.0, -2.0, 0.5]
    slope = 0.1 * np.where(w != 0.0, np.sign(w), rng.uniform(-0.9, 0.9, p))
    # Rows 0 to 19 are outliers with dual variables +-1 = +-delta; the others make up for the slopes.
    theta = np.zeros(n)
    theta[:20] = np.where(rng.random(20) < 0.5, -1.0, 1.0)
    design = np.column_stack([A, np.ones(n)])
    rest = n * np.append(slope, 0.0) - design[:20].T @ theta[:20]
    theta[20:] = design[20:] @ np.linalg.solve(design[20:].T @ design[20:], rest)
    assert np.abs(theta[20:]).max() < 1.0
    residual = theta.copy()
    residual[:20] *= rng.uniform(1.5, 1000.0, 20)
    model = HuberLasso(0.1, delta=1.0, tol=1e-12).fit(A, A @ w + 3.0 + residual)
    np.testing.assert_allclose(model.coef_, w, atol=1e-7)
    assert model.intercept_ == pytest.approx(3.0, abs=1e-7)


def test_a_large_delta_is_least_squares():
    model = HuberLasso(0.1, l1_ratio=0.5, delta=1e6, tol=1e-11).fit(X, Y)
    reference = ElasticNet(0.1, l1_ratio=0.5, tol=1e-11).fit(X, Y)
    np.testing.assert_allclose(model.coef_, reference.coef_, atol=1e-6)
    assert model.objective_ == pytest.approx(reference.objective_, rel=1e-10)


def test_gross_errors_count_by_their_sign():
    """However far an outlier, the same answer, exactly."""
    model = HuberLasso(0.1, tol=1e-9).fit(X, Y)
    far = np.abs(Y - X @ model.coef_ - model.intercept_) > 2.0
    assert far.any()
    moved = Y + np.where(far, 1e6 * np.sign(Y - X @ model.coef_ - model.intercept_), 0.0)
    other = HuberLasso(0.1, tol=1e-14).fit(X, moved)
    np.testing.assert_allclose(other.coef_, model.coef_, atol=1e-5)


def test_scale_permutation_and_alpha_max():
    model = HuberLasso(0.1, delta=0.9, tol=1e-10).fit(X, Y)
    scaled = HuberLasso(7.0 * 2.0 * 0.1, delta=7.0 * 0.9, tol=1e-10).fit(2.0 * X + 3.0, 7.0 * Y - 5.0)
    np.testing.assert_allclose(scaled.coef_, 3.5 * model.coef_, atol=1e-4)
    order = np.random.default_rng(4).permutation(P)
    np.testing.assert_allclose(
        HuberLasso(0.1, delta=0.9, tol=1e-10).fit(X[:, order], Y).coef_, model.coef_[order], atol=1e-5
    )
    empty = HuberLasso(model.alpha_max_, delta=0.9).fit(X, Y)
    assert (empty.coef_ == 0.0).all()
    assert empty.n_iter_ == 1
    score = np.clip(Y - empty.intercept_, -0.9, 0.9)
    assert abs(score.sum()) <= 1e-12
    assert model.alpha_max_ == pytest.approx(np.abs(X.T @ score).max() / N, rel=1e-12)
    assert (HuberLasso(0.99 * model.alpha_max_, delta=0.9).fit(X, Y).coef_ != 0.0).any()


def test_weights_are_repeated_rows_and_sparse_is_dense():
    options = {"alpha": 0.1, "tol": 1e-10}
    counts = WEIGHTS.astype(int)
    weighted = HuberLasso(**options).fit(X, Y, sample_weight=WEIGHTS)
    repeated = HuberLasso(**options).fit(np.repeat(X, counts, axis=0), np.repeat(Y, counts))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-5)
    thinned = np.where(np.abs(X) > 0.8, X, 0.0)
    dense = HuberLasso(**options).fit(thinned, Y)
    sparse = HuberLasso(**options).fit(scipy.sparse.csc_array(thinned), Y)
    np.testing.assert_allclose(sparse.coef_, dense.coef_, atol=1e-5)
    single = HuberLasso(0.1, tol=1e-5).fit(X.astype(np.float32), Y)
    assert single.coef_.dtype == np.float32


def test_path_and_cross_validation():
    path = huber_lasso_path(X, Y, alphas=8, eps=0.02, tol=1e-8)
    assert path.converged
    for k in (0, 3, 7):
        single = HuberLasso(path.alphas[k], tol=1e-8).fit(X, Y)
        np.testing.assert_allclose(path.coefs[:, k], single.coef_, atol=1e-3)
        assert path.objectives[k] == pytest.approx(single.objective_, rel=1e-7)
    model = HuberLassoCV(alphas=8, eps=0.02, cv=KFold(3), tol=1e-8, l1_ratio=[0.5, 1.0]).fit(X, Y)
    for fold, (train, test) in enumerate(KFold(3).split(X)):
        single = HuberLasso(model.alphas_[4], l1_ratio=model.l1_ratio_, tol=1e-8).fit(X[train], Y[train])
        loss = huber(Y[test] - single.predict(X[test]), 1.35).mean()
        assert model.loss_path_[4, fold] == pytest.approx(loss, abs=1e-4)


@pytest.mark.filterwarnings("error")
def test_degenerate_inputs():
    constant = HuberLasso(0.1).fit(X, np.full(N, 3.0))
    assert (constant.coef_ == 0.0).all()
    assert constant.intercept_ == pytest.approx(3.0, rel=1e-14)
    zero = HuberLasso(0.1, fit_intercept=False).fit(X, np.zeros(N))
    assert zero.objective_ == 0.0
    awkward = np.column_stack([X, np.ones(N), np.zeros(N), X[:, 0], 1e5 * X[:, 1]])
    assert HuberLasso(0.02, tol=1e-8).fit(awkward, Y).relative_gap_ <= 1e-8
    # Nearly every row an outlier, more features than rows.
    assert HuberLasso(1e-3, delta=0.05, tol=1e-7).fit(X[:20], Y[:20]).relative_gap_ <= 1e-7
    bounded = HuberLasso(0.02, bounds=(-0.1, 0.2), tol=1e-8).fit(X, Y)
    assert bounded.coef_.max() == 0.2
    assert bounded.coef_.min() == -0.1


def test_what_fails_says_why():
    with pytest.raises(ValueError, match="'delta' parameter of HuberLasso must be a float in the range"):
        HuberLasso(delta=0.0).fit(X, Y)
    with pytest.warns(ConvergenceWarning, match=r"duality gap .* > .*; increase max_iter or tol"):
        HuberLasso(1e-3, max_iter=2).fit(X, Y)


@parametrize_with_checks([HuberLasso(0.1), HuberLassoCV(alphas=5, eps=0.01, cv=3)])
def test_sklearn_checks(estimator, check):
    check(estimator)
