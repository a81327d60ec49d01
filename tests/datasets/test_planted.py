"""Planted problems: the certificate recomputed from outside, and CVXPY as an independent solver."""

import cvxpy
import numpy as np
import pytest
import scipy.sparse

from sparsemodels.datasets import make_planted_lasso, make_sparse_regression

# Rounding of one product X @ w with entries of order one.
ROUNDING = 1e-11

CONFIGURATIONS = [
    {},
    {"fit_intercept": False},
    {"l1_ratio": 0.3, "penalty_weights": "random"},
    {"n_unpenalized": 3, "n_excluded": 4},
    {"bounds": "positive", "n_unpenalized": 2},
    {"bounds": "box", "l1_ratio": 0.7, "penalty_weights": "random"},
    {"sample_weight": True, "correlation": 0.8},
    {"density": 0.2, "sample_weight": True, "n_excluded": 2, "n_unpenalized": 1, "bounds": "box"},
    {"density": 0.05},
    {
        "n_unpenalized": 2,
        "n_excluded": 5,
        "bounds": "box",
        "l1_ratio": 0.5,
        "penalty_weights": "random",
        "sample_weight": True,
        "alpha": 2.0,
        "noise_level": 3.0,
    },
]
NAMES = [", ".join(f"{key}={value}" for key, value in c.items()) or "plain" for c in CONFIGURATIONS]


def plain_parts(problem):
    X = problem.X.toarray() if scipy.sparse.issparse(problem.X) else problem.X
    n_samples, n_features = X.shape
    weights = np.ones(n_samples) if problem.sample_weight is None else problem.sample_weight
    low, high = (
        (np.full(n_features, -np.inf), np.full(n_features, np.inf)) if problem.bounds is None else problem.bounds
    )
    return X, weights / weights.sum(), low, high


def primal(problem, coef, intercept):
    X, share, _, _ = plain_parts(problem)
    penalty = 0.0
    for omega, value in zip(problem.penalty_weights, coef, strict=True):
        if value != 0:
            penalty += omega * (problem.l1_ratio * abs(value) + (1 - problem.l1_ratio) / 2 * value**2)
    return 0.5 * share @ (problem.y - X @ coef - intercept) ** 2 + problem.alpha * penalty


def conjugate(slope, omega, problem, low, high):
    """Supremum of slope * w - penalty(w) over [low, high]: concave, piecewise quadratic, few candidates."""
    if np.isinf(omega):
        return 0.0
    l1, l2 = problem.alpha * omega * problem.l1_ratio, problem.alpha * omega * (1 - problem.l1_ratio)
    candidates = [0.0, *(bound for bound in (low, high) if np.isfinite(bound))]
    if l2 > 0:
        candidates += [
            np.clip((slope - l1) / l2, max(low, 0), high),
            np.clip((slope + l1) / l2, low, min(high, 0)),
        ]
    elif (slope > l1 + ROUNDING and np.isinf(high)) or (slope < -l1 - ROUNDING and np.isinf(low)):
        return np.inf
    return max(slope * w - l1 * abs(w) - l2 / 2 * w**2 for w in candidates)


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_duality_gap_of_the_planted_solution_is_zero(configuration, seed):
    problem = make_planted_lasso(40, 70, 6, random_state=seed, **configuration)
    X, share, low, high = plain_parts(problem)
    assert np.all((problem.coef >= low) & (problem.coef <= high))
    assert np.all(problem.coef[np.isinf(problem.penalty_weights)] == 0)
    np.testing.assert_array_equal(np.flatnonzero(problem.coef), problem.support)
    value = primal(problem, problem.coef, problem.intercept)
    assert value == pytest.approx(problem.objective, rel=ROUNDING)

    dual_point = problem.dual_point
    if problem.fit_intercept:
        assert abs(share @ dual_point) < ROUNDING
    else:
        assert problem.intercept == 0
    slopes = X.T @ (share * dual_point)
    dual = share @ (problem.y * dual_point - dual_point**2 / 2)
    dual -= sum(conjugate(slopes[j], problem.penalty_weights[j], problem, low[j], high[j]) for j in range(slopes.size))
    assert dual == pytest.approx(value, rel=ROUNDING)


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=NAMES)
def test_planted_solution_is_strict(configuration):
    """Only planted coefficients may touch the penalty's threshold, and their columns are independent."""
    problem = make_planted_lasso(40, 70, 6, random_state=5, **configuration)
    X, share, low, high = plain_parts(problem)
    slopes = X.T @ (share * problem.dual_point)
    threshold = problem.alpha * problem.l1_ratio * problem.penalty_weights
    zero = problem.coef == 0
    assert np.all((slopes < threshold)[zero & (high > 0)])
    assert np.all((slopes > -threshold)[zero & (low < 0)])
    columns = X[:, problem.support] - problem.fit_intercept * (share @ X[:, problem.support])
    assert np.linalg.matrix_rank(columns) == problem.support.size


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=NAMES)
def test_cvxpy_finds_nothing_better(configuration):
    problem = make_planted_lasso(25, 30, 5, random_state=1, **configuration)
    X, share, low, high = plain_parts(problem)
    w, b = cvxpy.Variable(X.shape[1]), cvxpy.Variable()
    finite = np.isfinite(problem.penalty_weights)
    omega = problem.penalty_weights[finite]
    loss = cvxpy.sum(cvxpy.multiply(share, cvxpy.square(problem.y - X @ w - b))) / 2
    penalty = problem.l1_ratio * omega @ cvxpy.abs(w[finite])
    penalty += (1 - problem.l1_ratio) / 2 * omega @ cvxpy.square(w[finite])
    constraints = [w[j] == 0 for j in np.flatnonzero(~finite)]
    constraints += [w[j] >= low[j] for j in np.flatnonzero(np.isfinite(low))]
    constraints += [w[j] <= high[j] for j in np.flatnonzero(np.isfinite(high))]
    if not problem.fit_intercept:
        constraints.append(b == 0)
    program = cvxpy.Problem(cvxpy.Minimize(loss + problem.alpha * penalty), constraints)
    program.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    assert program.value == pytest.approx(problem.objective, rel=1e-8)
    # The objective is strongly convex along the support only, where an error e costs about e ** 2.
    np.testing.assert_allclose(w.value, problem.coef, atol=1e-4)


def test_excluded_columns_are_tempting():
    problem = make_planted_lasso(40, 70, 6, n_excluded=5, random_state=0)
    slopes = np.abs(problem.X.T @ problem.dual_point / 40)
    excluded = np.isinf(problem.penalty_weights)
    assert excluded.sum() == 5
    assert slopes[excluded].min() > slopes[~excluded].max()


def test_half_of_the_support_lies_on_its_bound_in_a_box():
    problem = make_planted_lasso(40, 70, 6, bounds="box", random_state=0)
    low, high = problem.bounds
    on_bound = (problem.coef == low) | (problem.coef == high)
    assert on_bound[problem.support].sum() == 3
    assert np.all(low <= 0)
    assert np.all(high >= 0)


@pytest.mark.parametrize("make", [make_planted_lasso, make_sparse_regression])
@pytest.mark.parametrize("density", [1.0, 0.1])
def test_same_seed_same_problem(make, density):
    first, second, other = (make(20, 30, 3, density=density, random_state=seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.y, second.y)
    assert abs(first.X - second.X).max() == 0
    assert np.any(first.y != other.y)


def test_features_have_the_stated_correlation_and_variance():
    X = make_sparse_regression(20_000, 6, 2, correlation=0.7, random_state=0).X
    expected = 0.7 ** np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
    # Sampling error of a covariance from 20 000 rows: 1 / sqrt(20 000) = 0.007; five of them.
    np.testing.assert_allclose(np.cov(X, rowvar=False), expected, atol=0.035)
    assert X.flags.f_contiguous


def test_sparse_design_has_the_stated_density_and_variance():
    X = make_sparse_regression(5_000, 40, 2, density=0.05, random_state=0).X
    assert isinstance(X, scipy.sparse.csc_array)
    assert X.has_canonical_format
    assert X.nnz == 10_000
    # Fourth moment 3 / density: the variance of one column's mean square is about 60 / 5 000.
    np.testing.assert_allclose(X.power(2).mean(axis=0), 1.0, atol=0.55)
    assert X.power(2).mean() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("snr", [0.5, 4.0, np.inf])
def test_noise_level_follows_from_the_signal(snr):
    problem = make_sparse_regression(4_000, 20, 5, snr=snr, random_state=3)
    signal = problem.X @ problem.coef
    assert problem.noise_level == pytest.approx(signal.std() / np.sqrt(snr), abs=1e-12)
    np.testing.assert_allclose((problem.y - signal).std(), problem.noise_level, rtol=0.06)


def test_outliers_are_where_the_problem_says():
    problem = make_sparse_regression(200, 20, 5, noise="outliers", snr=100, random_state=3)
    residual = np.abs(problem.y - problem.X @ problem.coef)
    assert problem.outliers.size == 20
    np.testing.assert_array_equal(np.sort(np.argsort(residual)[-20:]), problem.outliers)
    assert residual[problem.outliers].min() > 50 * problem.noise_level


def test_coefficient_patterns_and_supports():
    magnitudes = np.abs(make_sparse_regression(10, 20, 4, coef_pattern="sign", support="first").coef)
    np.testing.assert_array_equal(magnitudes, np.arange(20) < 4)
    falling = make_sparse_regression(10, 20, 4, coef_pattern="decreasing", support="evenly_spaced")
    np.testing.assert_array_equal(falling.support, [0, 5, 10, 15])
    np.testing.assert_allclose(np.abs(falling.coef[falling.support]), [1, 0.75, 0.5, 0.25])
    normal = make_sparse_regression(10, 20, 20, coef_pattern="normal", random_state=0)
    assert np.unique(np.abs(normal.coef)).size == 20
    assert make_sparse_regression(10, 20, 0, random_state=0).support.size == 0


@pytest.mark.parametrize(
    ("make", "bad", "message"),
    [
        (make_sparse_regression, {"n_samples": 0}, "n_samples=0 must be an integer, at least 1"),
        (
            make_sparse_regression,
            {"n_informative": 201},
            "n_informative=201 must be an integer, between 0 and 200",
        ),
        (make_sparse_regression, {"correlation": 1.0}, r"correlation=1.0 must be in \(-1, 1\)"),
        (make_sparse_regression, {"snr": 0}, "snr=0 must be positive"),
        (make_sparse_regression, {"snr": np.nan}, "snr=nan must be positive"),
        (make_sparse_regression, {"noise": "cauchy"}, "noise='cauchy' is unknown; choose one of 'gaussian'"),
        (make_sparse_regression, {"density": 0.5, "correlation": 0.5}, "correlation=0.5 must be 0"),
        (make_planted_lasso, {"alpha": 0}, "alpha=0 must be finite and positive"),
        (make_planted_lasso, {"l1_ratio": 0.0}, r"l1_ratio=0.0 must be in \(0, 1\]"),
        (make_planted_lasso, {"bounds": (0, 1)}, "bounds=.* is unknown; choose None, 'positive' or 'box'"),
        (make_planted_lasso, {"penalty_weights": "big"}, "penalty_weights='big' is unknown"),
        (make_planted_lasso, {"n_informative": 60, "n_excluded": 41}, "= 101 must not exceed n_features=100"),
        (make_planted_lasso, {"n_informative": 49}, "n_samples=50 is too small .*; use at least 51 rows"),
    ],
)
def test_bad_parameters_are_named(make, bad, message):
    with pytest.raises(ValueError, match=message):
        make(**bad)
