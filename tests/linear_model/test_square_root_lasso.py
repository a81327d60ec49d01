"""The square-root LASSO against CVXPY and closed forms, its pivotal level, interpolation, the estimator contract."""

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.linear_model import Lasso, SquareRootLasso, SquareRootLassoCV, square_root_lasso_path

RNG = np.random.default_rng(0)
N, P = 60, 30
X = RNG.standard_normal((N, P))
Y = X[:, :3] @ [2.0, -1.0, 0.7] + 4.0 + RNG.standard_normal(N)
WEIGHTS = RNG.integers(0, 4, N).astype(float)
OMEGA = RNG.uniform(0.5, 2.0, P)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.02, 0.1, 0.3])
def test_agrees_with_cvxpy(alpha, intercept):
    w, b = cp.Variable(P), cp.Variable()
    root = np.sqrt(WEIGHTS / WEIGHTS.sum())
    residual = Y - X @ w - (b if intercept else 0.0)
    problem = cp.Problem(cp.Minimize(cp.norm2(cp.multiply(root, residual)) + alpha * OMEGA @ cp.abs(w)))
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    model = SquareRootLasso(alpha, penalty_weights=OMEGA, fit_intercept=intercept, tol=1e-10)
    model.fit(X, Y, sample_weight=WEIGHTS)
    assert model.status_ == "converged"
    assert model.objective_ == pytest.approx(problem.value, abs=1e-8)
    np.testing.assert_allclose(model.coef_, w.value, atol=1e-4)


def test_orthonormal_design():
    """w = S(q, alpha sigma) with q = X'y / n, where sigma is the root mean squared error of that very w."""
    q, _ = np.linalg.qr(RNG.standard_normal((N, 8)))
    design = np.sqrt(N) * q
    target = design @ [3.0, -2.0, 1.0, 0, 0, 0, 0, 0] + RNG.standard_normal(N)
    scores, alpha, sigma = design.T @ target / N, 0.3, 1.0
    for _ in range(500):
        coef = np.sign(scores) * np.maximum(np.abs(scores) - alpha * sigma, 0.0)
        sigma = np.sqrt(np.mean((target - design @ coef) ** 2))
    model = SquareRootLasso(alpha, fit_intercept=False, tol=1e-13).fit(design, target)
    np.testing.assert_allclose(model.coef_, coef, atol=1e-10)


def test_is_the_lasso_at_its_own_noise_level():
    model = SquareRootLasso(0.2, tol=1e-12).fit(X, Y)
    sigma = np.sqrt(np.mean((Y - model.predict(X)) ** 2))
    np.testing.assert_allclose(Lasso(0.2 * sigma, tol=1e-14).fit(X, Y).coef_, model.coef_, atol=1e-8)


def test_the_gap_from_outside():
    s = WEIGHTS / WEIGHTS.sum()
    model = SquareRootLasso(0.1, penalty_weights=OMEGA, tol=1e-8).fit(X, Y, sample_weight=WEIGHTS)
    residual = Y - X @ model.coef_ - model.intercept_
    size = np.sqrt(s @ residual**2)
    dual = s * residual / size
    assert abs(dual.sum()) <= 1e-14
    c = min(1.0, (0.1 * OMEGA / np.abs(X.T @ dual)).min())
    primal = size + 0.1 * OMEGA @ np.abs(model.coef_)
    assert primal == pytest.approx(model.objective_, rel=1e-12)
    assert primal - c * dual @ Y <= 1e-8 * np.sqrt(s @ (Y - s @ Y) ** 2) + 1e-12


def test_level_does_not_depend_on_the_noise():
    first = SquareRootLasso(tol=1e-12).fit(X, Y)
    for factor in (1e-6, 1e6):
        scaled = SquareRootLasso(tol=1e-12).fit(X, factor * Y + 5.0 * factor)
        assert scaled.alpha_ == first.alpha_
        np.testing.assert_allclose(scaled.coef_, factor * first.coef_, rtol=1e-7, atol=1e-9 * factor)
    stretched = SquareRootLasso(tol=1e-12).fit(1e3 * X, Y)
    assert stretched.alpha_ == pytest.approx(1e3 * first.alpha_)
    np.testing.assert_allclose(1e3 * stretched.coef_, first.coef_, atol=1e-8)


def test_automatic_level_of_standardised_features():
    design = (X - X.mean(axis=0)) / X.std(axis=0)
    model = SquareRootLasso().fit(design, Y)
    assert model.alpha_ == pytest.approx(1.1 * norm.isf(0.05 / (2 * P)) / np.sqrt(N), rel=1e-9)


def test_automatic_level_bounds_the_noise():
    """Empty models of pure noise: the level fails in 5 % of the samples, or fewer."""
    rng = np.random.default_rng(1)
    design = rng.standard_normal((100, 40))
    level = SquareRootLasso().fit(design, rng.standard_normal(100)).alpha_
    noise = rng.standard_normal((100, 400)) * 7.0
    noise -= noise.mean(axis=0)
    slopes = np.abs(design.T @ noise).max(axis=0) / (100 * np.sqrt(np.mean(noise**2, axis=0)))
    assert np.mean(slopes > level) <= 0.05


@pytest.mark.parametrize("intercept", [True, False])
def test_interpolation_is_certified(intercept):
    """More features than samples and a small level: the residual vanishes, and the solution is basis pursuit."""
    rng = np.random.default_rng(2)
    design, target = rng.standard_normal((20, 40)), rng.standard_normal(20) + 1.0
    w, b = cp.Variable(40), cp.Variable()
    problem = cp.Problem(cp.Minimize(cp.norm1(w)), [design @ w + (b if intercept else 0.0) == target])
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    for alpha in (0.03, 1e-3):
        model = SquareRootLasso(alpha, fit_intercept=intercept, tol=1e-9).fit(design, target)
        assert model.status_ == "converged"
        assert model.dual_gap_ <= 1e-9
        assert np.abs(model.predict(design) - target).max() <= 1e-10
        assert model.objective_ == pytest.approx(alpha * problem.value, rel=1e-8)


def test_degenerate_data():
    constant = SquareRootLasso(0.1).fit(X, np.full(N, 3.0))
    assert constant.status_ == "converged"
    assert not constant.coef_.any()
    assert constant.intercept_ == pytest.approx(3.0)
    assert constant.alpha_max_ == 0.0
    assert not SquareRootLasso(0.1).fit(X, np.zeros(N)).coef_.any()
    largest = SquareRootLasso(1.0).fit(X, Y).alpha_max_
    assert not SquareRootLasso(largest).fit(X, Y).coef_.any()
    assert SquareRootLasso(0.99 * largest, tol=1e-10).fit(X, Y).coef_.any()
    doubled = SquareRootLasso(0.1, tol=1e-11).fit(np.hstack([X, X]), Y)
    assert doubled.objective_ == pytest.approx(SquareRootLasso(0.1, tol=1e-11).fit(X, Y).objective_, rel=1e-10)


def test_weights_are_repeated_rows_and_sparse_is_dense():
    rows = np.repeat(np.arange(N), WEIGHTS.astype(int))
    weighted = SquareRootLasso(tol=1e-12).fit(X, Y, sample_weight=WEIGHTS)
    repeated = SquareRootLasso(tol=1e-12).fit(X[rows], Y[rows])
    assert weighted.alpha_ == pytest.approx(repeated.alpha_, rel=1e-12)
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-9)
    thin = np.where(np.abs(X) > 1.0, X, 0.0)
    sparse = SquareRootLasso(0.1, tol=1e-11).fit(scipy.sparse.csc_array(thin), Y)
    np.testing.assert_allclose(sparse.coef_, SquareRootLasso(0.1, tol=1e-11).fit(thin, Y).coef_, atol=1e-8)


def test_special_features():
    omega = np.ones(P)
    omega[5], omega[0] = 0.0, np.inf
    model = SquareRootLasso(10.0, penalty_weights=omega).fit(X, Y)
    assert np.flatnonzero(model.coef_).tolist() == [5]
    bounded = SquareRootLasso(0.05, bounds=(-0.5, 0.9), tol=1e-9).fit(X, Y)
    assert bounded.status_ == "converged"
    assert bounded.coef_[0] == pytest.approx(0.9)
    assert bounded.coef_[1] == pytest.approx(-0.5)


def test_paths_are_single_fits():
    path = square_root_lasso_path(X[:25], Y[:25], alphas=10, tol=1e-9)
    assert path.converged
    for k, alpha in enumerate(path.alphas):
        single = SquareRootLasso(alpha, tol=1e-9).fit(X[:25], Y[:25])
        assert path.objectives[k] == pytest.approx(single.objective_, abs=1e-8)


def test_cross_validation_chooses_among_root_mean_squared_errors():
    model = SquareRootLassoCV(alphas=8, cv=3).fit(X, Y)
    assert model.alpha_ == model.alphas_[model.loss_path_.mean(axis=1).argmin()]
    assert model.status_ == "converged"


def test_out_of_passes_keeps_a_certified_model():
    best = SquareRootLasso(0.02, tol=1e-11).fit(X, Y).objective_
    with pytest.warns(ConvergenceWarning, match="SquareRootLasso did not reach its tolerance"):
        model = SquareRootLasso(0.02, max_iter=1).fit(X, Y)
    assert model.status_ == "max_iter"
    assert model.objective_ - model.dual_gap_ <= best + 1e-10 <= model.objective_ + 2e-10


@pytest.mark.parametrize("alpha", [-1.0, "automatic"])
def test_bad_level(alpha):
    with pytest.raises(ValueError, match="alpha"):
        SquareRootLasso(alpha).fit(X, Y)


@parametrize_with_checks(
    [SquareRootLasso(), SquareRootLasso(0.1, positive=True, fit_intercept=False), SquareRootLassoCV(alphas=5, cv=3)]
)
def test_estimator_contract(estimator, check):
    check(estimator)
