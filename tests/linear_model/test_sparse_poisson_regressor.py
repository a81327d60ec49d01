"""Sparse Poisson and Gamma regression against CVXPY and scikit-learn, certificates from outside, degenerate input."""

import warnings

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse
from scipy.special import xlogy
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import GammaRegressor, PoissonRegressor
from sklearn.model_selection import KFold
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.linear_model import (
    SparseGammaRegressor,
    SparseGammaRegressorCV,
    SparsePoissonRegressor,
    SparsePoissonRegressorCV,
    sparse_gamma_path,
    sparse_poisson_path,
)

RNG = np.random.default_rng(0)
N, P = 70, 25
X = RNG.standard_normal((N, P)) + 0.3 * RNG.standard_normal((N, 1))
MEAN = np.exp(0.3 + X[:, :3] @ [0.6, -0.5, 0.3])
TARGET = {"poisson": RNG.poisson(MEAN).astype(float), "gamma": MEAN * RNG.gamma(3.0, 1.0 / 3.0, N)}
MODEL = {"poisson": SparsePoissonRegressor, "gamma": SparseGammaRegressor}
CV = {"poisson": SparsePoissonRegressorCV, "gamma": SparseGammaRegressorCV}
PATH = {"poisson": sparse_poisson_path, "gamma": sparse_gamma_path}
WEIGHTS = RNG.integers(0, 4, N).astype(float)
OMEGA = RNG.uniform(0.5, 2.0, P)

both = pytest.mark.parametrize("kind", ["poisson", "gamma"])


def half_deviance(kind, y, mean):
    if kind == "poisson":
        return xlogy(y, y / mean) - y + mean
    return y / mean - 1.0 - np.log(y / mean)


def cvxpy_solution(kind, s, alpha, l1_ratio, omega, intercept):
    w, b = cp.Variable(P), cp.Variable()
    y, s = TARGET[kind], s / s.sum()
    z = X @ w + (b if intercept else 0.0)
    if kind == "poisson":
        loss = cp.sum(cp.multiply(s, cp.exp(z) - cp.multiply(y, z))) + s @ (xlogy(y, y) - y)
    else:
        loss = cp.sum(cp.multiply(s, z + cp.multiply(y, cp.exp(-z)))) - s @ (1.0 + np.log(y))
    penalty = l1_ratio * omega @ cp.abs(w) + 0.5 * (1.0 - l1_ratio) * omega @ cp.square(w)
    problem = cp.Problem(cp.Minimize(loss + alpha * penalty))
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    return problem.value, w.value


@both
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.4])
def test_agrees_with_cvxpy(kind, l1_ratio, intercept):
    best, coef = cvxpy_solution(kind, WEIGHTS, 0.05, l1_ratio, OMEGA, intercept)
    model = MODEL[kind](0.05, l1_ratio=l1_ratio, penalty_weights=OMEGA, fit_intercept=intercept, tol=1e-10)
    model.fit(X, TARGET[kind], sample_weight=WEIGHTS)
    assert model.objective_ == pytest.approx(best, abs=1e-7)
    np.testing.assert_allclose(model.coef_, coef, atol=1e-4)
    assert model.objective_ - model.dual_gap_ <= best + 1e-7


@both
def test_ridge_is_scikit_learns(kind):
    ours = MODEL[kind](0.1, l1_ratio=0.0, tol=1e-12).fit(X, TARGET[kind], sample_weight=WEIGHTS)
    reference = {"poisson": PoissonRegressor, "gamma": GammaRegressor}[kind]
    theirs = reference(alpha=0.1, tol=1e-10, solver="newton-cholesky").fit(X, TARGET[kind], sample_weight=WEIGHTS)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)  # the root of the gap
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-6)
    assert ours.score(X, TARGET[kind]) == pytest.approx(theirs.score(X, TARGET[kind]), abs=1e-7)


@both
@pytest.mark.parametrize("free", [0, 3])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.4])
def test_the_gap_from_outside(kind, l1_ratio, free):
    """Primal and dual value from the coefficients; a dual point stands for means y - theta / s, ratios 1 + theta / s.

    With unpenalised features the Newton-weighted projection onto the complement of their columns comes first.
    """
    y, s = TARGET[kind], np.random.default_rng(1).uniform(0.5, 2.0, N)
    s /= s.sum()
    omega = OMEGA.copy()
    omega[:free] = 0.0
    alpha = 0.02
    model = MODEL[kind](alpha, l1_ratio=l1_ratio, penalty_weights=omega, tol=1e-8).fit(X, y, sample_weight=s)
    assert model.relative_gap_ <= 1e-8
    mean = np.exp(X @ model.coef_ + model.intercept_)
    theta = s * (y - mean) if kind == "poisson" else s * (y / mean - 1.0)
    bend = s * mean if kind == "poisson" else s * y / mean
    columns = np.column_stack([np.ones(N), X[:, :free]])
    theta -= bend * (columns @ np.linalg.solve(columns.T @ (bend[:, None] * columns), columns.T @ theta))
    slope = np.abs(X.T @ theta)
    threshold, ridge = alpha * l1_ratio * omega, alpha * (1.0 - l1_ratio) * omega
    c = min(1.0, (threshold[free:] / slope[free:]).min()) if l1_ratio == 1.0 else 1.0
    if kind == "poisson":
        q = y - c * theta / s
        assert (q >= 0.0).all()
        dual = s @ ((xlogy(y, y) - y) - (xlogy(q, q) - q))
    else:
        q = 1.0 + c * theta / s
        assert (q >= 0.0).all()
        dual = s @ (q * np.log(y) - xlogy(q, q) + q - 1.0 - np.log(y))
    if l1_ratio < 1.0:
        dual -= np.sum(np.maximum(slope - threshold, 0.0)[free:] ** 2 / (2.0 * ridge[free:]))
    primal = s @ half_deviance(kind, y, mean) + np.sum(threshold * np.abs(model.coef_) + 0.5 * ridge * model.coef_**2)
    assert primal == pytest.approx(model.objective_, rel=1e-12)
    assert primal - dual == pytest.approx(model.dual_gap_, rel=1e-3, abs=1e-13)


@both
def test_planted_solution(kind):
    """Targets chosen such that given coefficients satisfy the optimality conditions exactly."""
    rng = np.random.default_rng(3)
    n, p = 400, 10
    A = rng.standard_normal((n, p))
    w = np.zeros(p)
    w[:3] = [0.3, -0.4, 0.2]
    omega = rng.uniform(0.5, 2.0, p)
    omega[4] = np.inf
    slope = 0.02 * omega * np.where(w != 0.0, np.sign(w), rng.uniform(-0.9, 0.9, p))
    slope[4] = 1.0
    design = np.column_stack([A, np.ones(n)])
    theta = n * design @ np.linalg.solve(design.T @ design, np.append(slope, 0.0))
    if kind == "poisson":
        theta *= 0.3
        alpha = 0.006
    else:
        theta *= 0.2
        alpha = 0.004
    mean = np.exp(A @ w + 1.5)
    y = mean + theta if kind == "poisson" else mean * (1.0 + theta)
    assert (y > 0.0).all()
    model = MODEL[kind](alpha, penalty_weights=omega, tol=1e-13).fit(A, y)
    np.testing.assert_allclose(model.coef_, w, atol=1e-7)
    assert model.intercept_ == pytest.approx(1.5, abs=1e-7)


@both
def test_alpha_max_scale_and_permutation(kind):
    y = TARGET[kind]
    model = MODEL[kind](0.05, tol=1e-10).fit(X, y)
    mean = y.mean()
    theta = (y - mean) if kind == "poisson" else y / mean - 1.0
    assert model.alpha_max_ == pytest.approx(np.abs(X.T @ theta).max() / N, rel=1e-12)
    empty = MODEL[kind](model.alpha_max_).fit(X, y)
    assert (empty.coef_ == 0.0).all()
    assert empty.n_iter_ == 1
    assert empty.intercept_ == pytest.approx(np.log(mean), rel=1e-12)
    assert empty.score(X, y) == pytest.approx(0.0, abs=1e-12)
    order = np.random.default_rng(5).permutation(P)
    permuted = MODEL[kind](0.05, tol=1e-10).fit(X[:, order], y)
    np.testing.assert_allclose(permuted.coef_, model.coef_[order], atol=1e-6)
    # The units of the target are in the intercept; a Poisson loss, and so its level, has them too.
    unit = 1e6
    scaled = MODEL[kind](0.05 * (unit if kind == "poisson" else 1.0), tol=1e-10).fit(2.0 * X, unit * y)
    scaled_alpha = MODEL[kind](0.1 * (unit if kind == "poisson" else 1.0), tol=1e-10).fit(2.0 * X, unit * y)
    np.testing.assert_allclose(2.0 * scaled_alpha.coef_, model.coef_, atol=1e-6)
    assert scaled_alpha.intercept_ == pytest.approx(model.intercept_ + np.log(unit), abs=1e-6)
    assert np.count_nonzero(scaled.coef_) >= np.count_nonzero(scaled_alpha.coef_)


@both
def test_weights_are_repeated_rows_and_sparse_is_dense(kind):
    y, options = TARGET[kind], {"alpha": 0.03, "tol": 1e-11}
    weighted = MODEL[kind](**options).fit(X, y, sample_weight=WEIGHTS)
    counts = WEIGHTS.astype(int)
    repeated = MODEL[kind](**options).fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-6)
    thinned = np.where(np.abs(X) > 0.8, X, 0.0)
    dense = MODEL[kind](**options).fit(thinned, y)
    sparse = MODEL[kind](**options).fit(scipy.sparse.csc_array(thinned), y)
    np.testing.assert_allclose(sparse.coef_, dense.coef_, atol=1e-6)
    single = MODEL[kind](alpha=0.03, tol=1e-5).fit(X.astype(np.float32), y)
    assert single.coef_.dtype == single.predict(X.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(single.coef_, MODEL[kind](alpha=0.03, tol=1e-5).fit(X, y).coef_, atol=1e-2)


def test_exposures_are_weights():
    """Rates under exposures as weights: the likelihood of counts with the exposures' logarithms as an offset."""
    from sparsemodels.solvers.composite import Composite
    from sparsemodels.solvers.losses import Offset, Poisson
    from sparsemodels.solvers.penalties import L1

    exposure = np.random.default_rng(2).uniform(0.5, 4.0, N)
    counts = np.random.default_rng(3).poisson(exposure * MEAN).astype(float)
    model = SparsePoissonRegressor(0.05, tol=1e-11).fit(X, counts / exposure, sample_weight=exposure)
    loss = Offset(Poisson(counts, np.full(N, 1.0 / N)), np.log(exposure))
    level = 0.05 * exposure.mean()
    solution = Composite(X, loss, fit_intercept=True).solve(L1(level, np.ones(P)), tol=1e-11)
    np.testing.assert_allclose(model.coef_, solution.coef, atol=1e-6)
    assert model.intercept_ == pytest.approx(solution.intercept, abs=1e-6)


@both
def test_path_and_cross_validation(kind):
    y = TARGET[kind]
    path = PATH[kind](X, y, alphas=8, eps=0.02, tol=1e-9)
    assert path.converged
    for k in (0, 3, 7):
        single = MODEL[kind](path.alphas[k], tol=1e-9).fit(X, y)
        np.testing.assert_allclose(path.coefs[:, k], single.coef_, atol=1e-4)
    folds = KFold(3)
    model = CV[kind](alphas=8, eps=0.02, cv=folds, tol=1e-9, l1_ratio=[0.5, 1.0]).fit(X, y)
    for fold, (train, test) in enumerate(folds.split(X)):
        single = MODEL[kind](model.alphas_[4], l1_ratio=model.l1_ratio_, tol=1e-9).fit(X[train], y[train])
        loss = half_deviance(kind, y[test], single.predict(X[test])).mean()
        assert model.loss_path_[4, fold] == pytest.approx(loss, abs=1e-4)
    assert model.alpha_ == model.alphas_[model.loss_path_.mean(axis=1).argmin()]


@both
@pytest.mark.filterwarnings("error")
def test_degenerate_inputs(kind):
    constant = MODEL[kind](0.1).fit(X, np.full(N, 3.0))
    assert (constant.coef_ == 0.0).all()
    np.testing.assert_allclose(constant.predict(X), 3.0, rtol=1e-12)
    assert constant.status_ == "converged"
    awkward = np.column_stack([X, np.ones(N), np.zeros(N), X[:, 0], 1e5 * X[:, 1]])
    model = MODEL[kind](0.02, tol=1e-9).fit(awkward, TARGET[kind])
    assert model.relative_gap_ <= 1e-9
    bounded = MODEL[kind](0.02, bounds=(-0.1, 0.2), tol=1e-9).fit(X, TARGET[kind])
    assert bounded.relative_gap_ <= 1e-9
    assert (bounded.coef_ >= -0.1).all()
    assert (bounded.coef_ <= 0.2).all()
    assert bounded.coef_.max() == 0.2
    one = MODEL[kind](0.01).fit(X[:, :1], TARGET[kind])
    assert one.relative_gap_ <= 1e-6
    # Targets over many magnitudes, started from nothing: the line search keeps the exponentials at bay.
    wild = np.exp(4.0 * X[:, 0] + 2.0)
    steep = MODEL[kind](1e-3 * MODEL[kind]().fit(X, wild).alpha_max_, tol=1e-8).fit(X, wild)
    assert steep.relative_gap_ <= 1e-8
    assert steep.coef_[0] == pytest.approx(4.0, abs=0.2)


def test_folds_of_zeros():
    """A fold whose training counts are all zero has its minimum at infinity; the others decide."""
    y = np.zeros(N)
    y[: N // 2] = TARGET["poisson"][: N // 2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = SparsePoissonRegressorCV(alphas=4, eps=0.1, cv=KFold(2)).fit(X, y)
    assert np.isfinite(model.coef_).all()


def test_what_fails_says_why():
    for model, y, message in [
        (SparsePoissonRegressor(), -TARGET["poisson"], "y must be >= 0 for a Poisson loss, got -"),
        (SparsePoissonRegressor(), np.zeros(N), "y must hold a positive count"),
        (SparseGammaRegressor(), TARGET["poisson"], "y must be > 0 for a Gamma loss, got 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.fit(X, y)
    with pytest.warns(ConvergenceWarning, match=r"duality gap .* > .*; increase max_iter or tol"):
        SparsePoissonRegressor(1e-3, max_iter=2).fit(X, TARGET["poisson"])


@parametrize_with_checks(
    [
        SparsePoissonRegressor(0.01),
        SparsePoissonRegressorCV(alphas=5, eps=0.01, cv=3),
        SparseGammaRegressor(0.01, l1_ratio=0.5),
        SparseGammaRegressorCV(alphas=5, eps=0.01, cv=3),
    ]
)
def test_sklearn_checks(estimator, check):
    check(estimator)
