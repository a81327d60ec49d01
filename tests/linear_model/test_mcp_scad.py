"""MCP and SCAD regression: closed forms, KKT conditions recomputed from outside, limits, oracles, invariances."""

import itertools

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.linear_model import (
    Lasso,
    MCPRegressor,
    MCPRegressorCV,
    SCADRegressor,
    SCADRegressorCV,
    mcp_path,
    scad_path,
)

TIGHT = 1e-12  # KKT residual over the largest slope; coefficients then agree to it times the condition number
GAMMAS = {MCPRegressor: 3.0, SCADRegressor: 3.7}
both = pytest.mark.parametrize("kind", [MCPRegressor, SCADRegressor])


def make(n, p, seed, correlation=0.5, n_nonzero=5):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    for j in range(1, p):
        X[:, j] = correlation * X[:, j - 1] + np.sqrt(1 - correlation**2) * X[:, j]
    coef = np.zeros(p)
    coef[rng.choice(p, n_nonzero, replace=False)] = rng.choice([-1, 1], n_nonzero) * rng.uniform(0.5, 3.0, n_nonzero)
    return StandardScaler().fit_transform(X), X @ coef + 2.0 + 0.5 * rng.standard_normal(n)


@pytest.fixture(scope="module")
def data():
    return make(80, 25, 0)


@pytest.fixture(scope="module")
def wide():
    return make(60, 200, 1, correlation=0.6, n_nonzero=8)


def derivative(kind, u, level, gamma):
    """p'(u) for u > 0."""
    if kind is MCPRegressor:
        return np.maximum(level - u / gamma, 0.0)
    return np.where(u <= level, level, np.maximum(gamma * level - u, 0.0) / (gamma - 1.0))


def kkt(kind, model, X, y, weights=None, omega=None):
    """The violation of the optimality conditions, from nothing but the coefficients."""
    s = np.full(len(y), 1 / len(y)) if weights is None else weights / weights.sum()
    residual = s * (y - X @ model.coef_ - model.intercept_)
    slope, size = X.T @ residual, np.abs(model.coef_)
    level = model.alpha * (np.ones(X.shape[1]) if omega is None else omega)
    at_zero = np.maximum(np.abs(slope) - level, 0.0)
    elsewhere = np.abs(slope - np.sign(model.coef_) * derivative(kind, size, level, model.gamma))
    excess = abs(residual.sum()) if model.fit_intercept else 0.0
    return max(np.where(size == 0.0, at_zero, elsewhere).max(), excess)


def threshold(kind, v, level, gamma):
    """The minimiser of (u - v)^2 / 2 + p(u), by cases."""
    size, sign = np.abs(v), np.sign(v)
    soft = sign * np.maximum(size - level, 0.0)
    if kind is MCPRegressor:
        return np.where(size <= gamma * level, soft / (1 - 1 / gamma), v)
    middle = ((gamma - 1) * v - sign * gamma * level) / (gamma - 2)
    return np.where(size <= 2 * level, soft, np.where(size <= gamma * level, middle, v))


@both
@pytest.mark.parametrize("solver", ["coordinate_descent", "accelerated_gradient"])
def test_orthonormal_design_closed_form(kind, solver):
    """On a design with Gram n I the solution is the thresholded correlation, each with its own weight."""
    rng = np.random.default_rng(2)
    q, _ = np.linalg.qr(rng.standard_normal((40, 12)))
    X, y = np.sqrt(40) * q, 3.0 * rng.standard_normal(40)
    omega = rng.uniform(0.2, 2.0, 12)
    omega[:2] = 0.0, np.inf
    model = kind(0.4, penalty_weights=omega, fit_intercept=False, solver=solver, tol=TIGHT).fit(X, y)
    correlation = X.T @ y / 40
    expected = threshold(kind, correlation, 0.4 * np.where(omega < 9.0, omega, 0.0), model.gamma)
    expected[1] = 0.0
    np.testing.assert_allclose(model.coef_, expected, atol=1e-10)
    assert model.locally_convex_


@both
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("init", ["lasso", "zero"])
@pytest.mark.parametrize("fraction", [0.5, 0.2, 0.05, 0.01])
def test_kkt_conditions_hold_from_outside(wide, kind, fit_intercept, init, fraction):
    X, y = wide
    largest = kind(1.0, fit_intercept=fit_intercept).fit(X, y).alpha_max_
    model = kind(fraction * largest, fit_intercept=fit_intercept, init=init, tol=1e-9).fit(X, y)
    assert model.status_ == "converged"
    violation = kkt(kind, model, X, y)
    assert violation <= 1e-9 * largest * 1.01 + 1e-13
    assert model.kkt_ == pytest.approx(violation, abs=1e-13)
    assert model.dual_gap_ == np.inf


@both
def test_steep_concavity_is_solved_too(wide, kind):
    """Columns whose curvature the penalty outweighs: every coordinate step is a hard threshold, and it still ends."""
    X, y = wide
    X = 0.2 * X
    largest = kind().fit(X, y).alpha_max_
    for fraction in (0.6, 0.2):
        model = kind(fraction * largest, gamma=GAMMAS[kind], tol=1e-9).fit(X, y)
        assert kkt(kind, model, X, y) <= 1.01e-9 * largest


@both
def test_infinite_gamma_is_the_lasso(data, kind):
    X, y = data
    for alpha in (1.0, 0.1, 0.01):
        lasso = Lasso(alpha, tol=1e-14).fit(X, y)
        for solver in ("coordinate_descent", "accelerated_gradient"):
            model = kind(alpha, gamma=np.inf, solver=solver, tol=TIGHT).fit(X, y)
            np.testing.assert_allclose(model.coef_, lasso.coef_, atol=1e-8)
            np.testing.assert_allclose(model.intercept_, lasso.intercept_, atol=1e-8)
        large = kind(alpha, gamma=1e8, tol=TIGHT).fit(X, y)
        np.testing.assert_allclose(large.coef_, lasso.coef_, atol=1e-5)


@both
def test_large_coefficients_are_those_of_least_squares(data, kind):
    """Nothing is left of the penalty beyond gamma * alpha: no shrinkage, the point of it all."""
    X, y = data
    model = kind(0.08, tol=TIGHT).fit(X, y)
    large = np.abs(model.coef_) > model.gamma * 0.08
    assert 0 < large.sum() < 25
    rest = y - X[:, ~large] @ model.coef_[~large]
    expected = np.linalg.lstsq(np.column_stack([X[:, large], np.ones(len(y))]), rest)[0]
    np.testing.assert_allclose(model.coef_[large], expected[:-1], atol=1e-9)


def stationary_points(kind, X, y, alpha, gamma):
    """All stationary points, piece by piece: in every combination of pieces the conditions are linear."""
    p, gram, slope = X.shape[1], X.T @ X / len(y), X.T @ y / len(y)
    if kind is MCPRegressor:  # (lower, upper, derivative at zero, curvature) of each piece, for positive coefficients
        pieces = [(0.0, gamma * alpha, alpha, -1 / gamma), (gamma * alpha, np.inf, 0.0, 0.0)]
    else:
        steep = 1 / (gamma - 1)
        pieces = [
            (0.0, alpha, alpha, 0.0),
            (alpha, gamma * alpha, gamma * alpha * steep, -steep),
            (gamma * alpha, np.inf, 0.0, 0.0),
        ]
    options = [(0, None), *((sign, piece) for sign in (1, -1) for piece in pieces)]
    found = []
    for choice in itertools.product(options, repeat=p):
        free = [j for j, (sign, _) in enumerate(choice) if sign]
        coef = np.zeros(p)
        if free:
            signs = np.array([choice[j][0] for j in free])
            low, high, start, curve = np.array([choice[j][1] for j in free]).T
            try:
                coef[free] = np.linalg.solve(gram[np.ix_(free, free)] + np.diag(curve), slope[free] - signs * start)
            except np.linalg.LinAlgError:
                continue
            size = signs * coef[free]
            if (size <= low).any() or (size > high).any():
                continue
        rest = slope - gram @ coef
        if (np.abs(rest[coef == 0.0]) <= alpha + 1e-12).all():
            found.append(coef)
    return found


def objective(kind, X, y, coef, alpha, gamma):
    size = np.abs(coef)
    if kind is MCPRegressor:
        v = np.minimum(size, gamma * alpha)
        penalty = alpha * v - v**2 / (2 * gamma)
    else:
        v = np.clip(size, alpha, gamma * alpha) - alpha
        penalty = alpha * np.minimum(size, alpha) + alpha * v - v**2 / (2 * (gamma - 1))
    return 0.5 * np.mean((y - X @ coef) ** 2) + penalty.sum()


@both
@pytest.mark.parametrize("seed", range(6))
def test_brute_force_over_all_pieces(kind, seed):
    """The answer is one of the stationary points, and where the problem is convex it is the only one, the optimum."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((30, 4)) + (0.0 if seed % 2 else 1.2 * rng.standard_normal((30, 1)))
    X = (X - X.mean(0)) / X.std(0)
    y = X @ np.array([1.5, -0.7, 0.3, 0.0]) + 0.5 * rng.standard_normal(30)
    y -= y.mean()
    alpha, gamma = 0.25, GAMMAS[kind]
    points = stationary_points(kind, X, y, alpha, gamma)
    model = kind(alpha, gamma=gamma, fit_intercept=False, tol=TIGHT).fit(X, y)
    assert min(np.abs(point - model.coef_).max() for point in points) <= 1e-9
    assert model.objective_ == pytest.approx(objective(kind, X, y, model.coef_, alpha, gamma), rel=1e-12)
    concavity = 1 / gamma if kind is MCPRegressor else 1 / (gamma - 1)
    if np.linalg.eigvalsh(X.T @ X / 30)[0] > concavity:
        assert len(points) == 1
        best = min(objective(kind, X, y, point, alpha, gamma) for point in points)
        assert model.objective_ <= best * (1 + 1e-12)


def test_convex_problems_occur_among_those_of_brute_force():
    """The branch of the test above that compares with the global optimum is taken."""
    taken = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((30, 4)) + (0.0 if seed % 2 else 1.2 * rng.standard_normal((30, 1)))
        X = (X - X.mean(0)) / X.std(0)
        taken += np.linalg.eigvalsh(X.T @ X / 30)[0] > 1 / 2.7
    assert taken >= 2


@both
def test_locally_convex_is_the_hessian_on_the_support(wide, kind):
    X, y = wide
    seen = set()
    for fraction in (0.5, 0.2, 0.05, 0.02):
        largest = kind().fit(X, y).alpha_max_
        model = kind(fraction * largest, init="zero", tol=1e-10).fit(X, y)
        support = model.coef_ != 0.0
        centred = X[:, support] - X[:, support].mean(0)
        size, level = np.abs(model.coef_[support]), model.alpha
        if kind is MCPRegressor:
            concavity = np.where(size < model.gamma * level, 1 / model.gamma, 0.0)
        else:
            concavity = np.where((size > level) & (size < model.gamma * level), 1 / (model.gamma - 1), 0.0)
        smallest = np.linalg.eigvalsh(centred.T @ centred / 60 - np.diag(concavity))[0]  # unit columns already
        assert model.smallest_curvature_ == pytest.approx(smallest, abs=1e-10)
        assert model.locally_convex_ == (smallest > 1e-10)
        if model.locally_convex_:  # no point near it, on the support or off it, is better
            rng = np.random.default_rng(0)
            here = objective(kind, X, y - model.intercept_, model.coef_, level, model.gamma)
            for _ in range(50):
                step = 1e-4 * rng.standard_normal(200)
                assert objective(kind, X, y - model.intercept_, model.coef_ + step, level, model.gamma) > here
        seen.add(model.locally_convex_)
    assert True in seen


@both
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("solver", ["coordinate_descent", "accelerated_gradient"])
def test_integer_weights_are_repeated_rows(data, kind, fit_intercept, solver):
    X, y = data
    s = np.random.default_rng(3).integers(0, 4, size=80)
    estimator = kind(0.15, fit_intercept=fit_intercept, solver=solver, tol=TIGHT)
    weighted = clone(estimator).fit(X, y, sample_weight=s)
    repeated = clone(estimator).fit(np.repeat(X, s, axis=0), np.repeat(y, s))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-9)
    np.testing.assert_allclose(weighted.intercept_, repeated.intercept_, atol=1e-9)
    assert weighted.smallest_curvature_ == pytest.approx(repeated.smallest_curvature_, abs=1e-9)
    assert kkt(kind, weighted, X, y, weights=s) <= 1e-11


@both
@pytest.mark.parametrize("solver", ["coordinate_descent", "accelerated_gradient"])
def test_sparse_is_dense(data, kind, solver):
    X, y = data
    X = np.where(np.abs(X) > 0.8, X, 0.0) + 0.0
    dense = kind(0.1, solver=solver, tol=TIGHT).fit(X, y)
    model = kind(0.1, solver=solver, tol=TIGHT).fit(scipy.sparse.csc_array(X), y)
    np.testing.assert_allclose(model.coef_, dense.coef_, atol=1e-9)
    np.testing.assert_allclose(model.intercept_, dense.intercept_, atol=1e-9)
    assert model.smallest_curvature_ == pytest.approx(dense.smallest_curvature_, abs=1e-9)


@both
def test_float32_is_kept(data, kind):
    X, y = data
    model = kind(0.1).fit(X.astype(np.float32), y.astype(np.float32))
    assert model.coef_.dtype == np.float32
    np.testing.assert_allclose(model.coef_, kind(0.1).fit(X, y).coef_, atol=1e-4)


@both
def test_both_solvers_agree(data, kind):
    X, y = data
    for alpha in (0.5, 0.1):
        first = kind(alpha, tol=TIGHT).fit(X, y)
        second = kind(alpha, solver="accelerated_gradient", tol=TIGHT).fit(X, y)
        np.testing.assert_allclose(first.coef_, second.coef_, atol=1e-8)
        assert kkt(kind, second, X, y) <= 1e-11
        assert second.kkt_ <= TIGHT * second.alpha_max_ * 1.01


@both
def test_scaling_scales_the_answer_and_changes_nothing_else(data, kind):
    """y -> c y with alpha -> c alpha; X -> c X with alpha -> c alpha and the concavity in the units of X."""
    X, y = data
    model = kind(0.15, tol=1e-10).fit(X, y)
    for c in (1e-6, 1e6):
        scaled = kind(0.15 * c, tol=1e-10).fit(X, c * y)
        np.testing.assert_allclose(scaled.coef_, c * model.coef_, rtol=1e-6, atol=1e-9 * c)
        assert scaled.n_iter_ == model.n_iter_
    c = 2.0
    gamma = model.gamma / c**2 if kind is MCPRegressor else None
    if gamma is not None:
        scaled = kind(0.15 * c, gamma=gamma, tol=1e-10).fit(c * X, y)
        np.testing.assert_allclose(scaled.coef_, model.coef_ / c, rtol=1e-6, atol=1e-9)


@both
def test_permutation(data, kind):
    X, y = data
    model = kind(0.15, tol=TIGHT).fit(X, y)
    order = np.random.default_rng(5).permutation(25)
    np.testing.assert_allclose(kind(0.15, tol=TIGHT).fit(X[:, order], y).coef_, model.coef_[order], atol=1e-9)


@both
def test_weights_and_signs(data, kind):
    X, y = data
    omega = np.linspace(0.5, 2.0, 25)
    omega[[0, 7]], omega[3] = 0.0, np.inf
    model = kind(0.2, penalty_weights=omega, tol=1e-10).fit(X, y)
    assert model.coef_[3] == 0.0
    assert (model.coef_[[0, 7]] != 0.0).all()
    assert kkt(kind, model, X, y, omega=np.where(np.isinf(omega), 1e9, omega)) <= 1e-9
    positive = kind(0.2, positive=True, tol=1e-10).fit(X, y)
    assert (positive.coef_ >= 0.0).all()
    assert positive.coef_.any()
    kept = positive.coef_ > 0.0
    slope = (X - X.mean(0)).T @ (y - positive.predict(X)) / 80
    assert (slope[~kept] <= 0.2 + 1e-9).all()
    np.testing.assert_allclose(slope[kept], derivative(kind, positive.coef_[kept], 0.2, positive.gamma), atol=1e-8)
    with pytest.raises(ValueError, match="positive must be False with solver='accelerated_gradient'"):
        kind(positive=True, solver="accelerated_gradient").fit(X, y)


@both
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("free", [True, False])
def test_alpha_max_is_exact(data, kind, fit_intercept, free):
    X, y = data
    omega = np.linspace(0.5, 2.0, 25)
    if free:
        omega[[0, 7]], omega[3] = 0.0, np.inf
    fit = {"penalty_weights": omega, "fit_intercept": fit_intercept, "tol": 1e-10}
    largest = kind(1.0, **fit).fit(X, y).alpha_max_
    assert largest == pytest.approx(Lasso(1.0, **fit).fit(X, y).alpha_max_, rel=1e-9)
    at = kind(largest, **fit).fit(X, y)
    assert (at.coef_[omega > 0] == 0.0).all()
    assert (kind(largest * (1 - 1e-6), **fit).fit(X, y).coef_[omega > 0] != 0.0).any()


@both
def test_degenerate_data(data, kind):
    X, y = data
    for target in (np.zeros(80), np.full(80, 3.7)):
        for parameters in ({}, {"penalty_weights": [0.0, *[1.0] * 24]}, {"solver": "accelerated_gradient"}):
            model = kind(0.1, **parameters).fit(X, target)
            np.testing.assert_allclose(model.coef_, 0.0, atol=1e-12)
            assert model.intercept_ == pytest.approx(target[0])
            assert model.status_ == "converged"
    double = kind(0.1, tol=1e-9).fit(np.hstack([X, X, np.zeros((80, 1)), np.ones((80, 1))]), y)
    assert double.status_ == "converged"
    assert (double.coef_[50:] == 0.0).all()
    least_squares = np.linalg.lstsq(np.column_stack([X, np.ones(80)]), y)[0]
    for parameters in ({"alpha": 0.0}, {"alpha": 5.0, "penalty_weights": 0.0}):
        np.testing.assert_allclose(kind(**parameters, tol=1e-10).fit(X, y).coef_, least_squares[:-1], atol=1e-8)


@pytest.mark.parametrize(
    ("kind", "path", "cross_validated"),
    [(MCPRegressor, mcp_path, MCPRegressorCV), (SCADRegressor, scad_path, SCADRegressorCV)],
)
def test_path_is_single_fits_where_the_problem_is_convex(data, kind, path, cross_validated):
    """With gamma so large that there is one stationary point, it does not matter where a fit starts."""
    X, y = data
    gamma = 2.0 + 1.5 / np.linalg.eigvalsh(np.cov(X.T, bias=True))[0]
    omega = np.array([0.0, np.inf] + [1.0] * 23)
    found = path(X, y, alphas=10, gamma=gamma, penalty_weights=omega, tol=1e-11)
    assert found.converged
    assert (found.dual_gaps == np.inf).all()
    for k, alpha in enumerate(found.alphas):
        single = kind(alpha, gamma=gamma, penalty_weights=omega, tol=1e-11).fit(X, y)
        np.testing.assert_allclose(found.coefs[:, k], single.coef_, atol=1e-7)
        zero = kind(alpha, gamma=gamma, penalty_weights=omega, init="zero", tol=1e-11).fit(X, y)
        np.testing.assert_allclose(zero.coef_, single.coef_, atol=1e-7)
    assert (found.coefs[omega == 1.0, 0] == 0.0).all()
    chosen = cross_validated(alphas=10, gamma=gamma, penalty_weights=omega, tol=1e-11, cv=3).fit(X, y)
    np.testing.assert_allclose(chosen.coef_path_, found.coefs, atol=1e-7)
    np.testing.assert_array_equal(chosen.kkt_path_ <= 1e-11 * chosen.alpha_max_ * 1.01, True)
    assert chosen.locally_convex_
    best = kind(chosen.alpha_, gamma=gamma, penalty_weights=omega, tol=1e-11).fit(X, y)
    assert chosen.smallest_curvature_ == pytest.approx(best.smallest_curvature_, abs=1e-7)


@pytest.mark.parametrize(("kind", "path"), [(MCPRegressor, mcp_path), (SCADRegressor, scad_path)])
def test_whole_paths_end_at_stationary_points(wide, kind, path):
    X, y = wide
    found = path(X, y, alphas=30, eps=0.01, tol=1e-9)
    assert found.converged
    for k, alpha in enumerate(found.alphas):
        model = kind(alpha)
        model.coef_, model.intercept_ = found.coefs[:, k], found.intercepts[k]
        assert kkt(kind, model, X, y) <= 1.01e-9 * found.alphas[0]


@both
def test_less_bias_than_the_lasso(kind):
    """Nearly the least squares of the true model, where the LASSO keeps half of its level as bias."""
    X, y = make(200, 400, 7, n_nonzero=6)
    noise = np.random.default_rng(8).standard_normal(200)
    truth = np.zeros(400)
    truth[::80] = 2.0
    y = X @ truth + 0.5 * noise
    model = (MCPRegressorCV if kind is MCPRegressor else SCADRegressorCV)(selection="1se").fit(X, y)
    np.testing.assert_array_equal(np.flatnonzero(model.coef_), np.flatnonzero(truth))
    assert np.abs(model.coef_[::80] - 2.0).max() < 0.15
    assert np.abs(Lasso(model.alpha_).fit(X, y).coef_[::80] - 2.0).max() > 0.3


@both
def test_warm_start_continues(data, kind):
    X, y = data
    model = kind(0.15, warm_start=True, tol=1e-9).fit(X, y)
    first = model.coef_.copy()
    model.fit(X, y)
    assert model.n_iter_ == 1
    np.testing.assert_array_equal(model.coef_, first)


@both
@pytest.mark.parametrize("solver", ["coordinate_descent", "accelerated_gradient"])
def test_not_converged_warns_with_certificate_and_remedy(wide, kind, solver):
    X, y = wide
    with pytest.warns(ConvergenceWarning, match=r"KKT residual .*increase max_iter or tol"):
        model = kind(0.02, max_iter=1, solver=solver).fit(X, y)
    assert model.status_ == "max_iter"
    assert model.kkt_ == pytest.approx(kkt(kind, model, X, y), abs=1e-12)
    with pytest.warns(ConvergenceWarning, match="time_limit"):
        model = kind(0.02, time_limit=1e-9, tol=1e-14, solver=solver).fit(X, y)
    assert model.status_ == "time_limit"
    assert model.kkt_ == pytest.approx(kkt(kind, model, X, y), abs=1e-12)


@both
def test_interruption_keeps_a_model(wide, kind, monkeypatch):
    from sparsemodels.solvers.composite import Composite

    X, y = wide
    original, calls = Composite._descend, []

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(Composite, "_descend", interrupted)
    model = kind(0.02, tol=1e-12)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert model.status_ == "interrupted"
    assert model.kkt_ == pytest.approx(kkt(kind, model, X, y), abs=1e-12)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (MCPRegressor(gamma=0.0), "'gamma'"),
        (SCADRegressor(gamma=2.0), "'gamma'"),
        (MCPRegressor(init="ridge"), "'init'"),
        (SCADRegressor(solver="lars"), "'solver'"),
        (MCPRegressor(penalty_weights=-1.0), "'penalty_weights'"),
        (MCPRegressorCV(gamma=-1.0), "'gamma'"),
    ],
)
def test_bad_parameters_name_themselves(data, estimator, message):
    with pytest.raises(ValueError, match=message):
        estimator.fit(*data)


@parametrize_with_checks(
    [
        MCPRegressor(0.1),
        SCADRegressor(0.1),
        MCPRegressor(0.1, solver="accelerated_gradient", tol=1e-4),
        SCADRegressor(0.1, init="zero", positive=True),
        MCPRegressorCV(alphas=5, cv=3),
        SCADRegressorCV(alphas=5, cv=3),
    ]
)
def test_scikit_learn_contract(estimator, check):
    check(estimator)
