import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import linprog
from sklearn.linear_model import orthogonal_mp

from sparsemodels.solvers.columns import as_columns
from sparsemodels.solvers.greedy_pursuit import STATUS, greedy_pursuit, penalties
from sparsemodels.solvers.greedy_rules import RULES
from sparsemodels.solvers.greedy_scores import one_coordinate_gains

EUCLIDEAN = [rule for rule in RULES if rule[0] != "absolute"]
#: Levels at which each rule selects some but not all columns of `problem`.
LEVELS = {
    ("squared", "l0"): 1.0,
    ("squared", "l1"): 1.0,
    ("sqrt", "l0"): 0.1,
    ("sqrt", "l1"): 0.1,
    ("absolute", "l0"): 1.0,
    ("absolute", "l1"): 1.0,
}


def problem(n_rows=40, n_columns=25, seed=0, unit=False):
    rng = np.random.default_rng(seed)
    X = np.asfortranarray(rng.standard_normal((n_rows, n_columns)) * 10.0 ** rng.uniform(-1, 1, n_columns))
    if unit:
        X /= np.linalg.norm(X, axis=0)
    coef = np.zeros(n_columns)
    coef[rng.choice(n_columns, 5, replace=False)] = rng.choice([-2.0, 1.0, 3.0], 5)
    return X, X @ coef + 0.3 * rng.standard_normal(n_rows)


def refit(loss, A, y):
    if loss != "absolute":
        return np.linalg.lstsq(A, y, rcond=None)[0]
    n_rows, k = A.shape
    program = linprog(
        np.concatenate([np.zeros(k), np.ones(2 * n_rows)]),
        A_eq=np.hstack([A, np.eye(n_rows), -np.eye(n_rows)]),
        b_eq=y,
        bounds=[(None, None)] * k + [(0, None)] * (2 * n_rows),
    )
    return program.x[:k]


def by_the_book(X, y, loss, penalty, levels, n_steps):
    """The algorithm as the paper prints it: scores of all columns, dense refits, nothing kept."""
    support, coef = [], np.zeros(X.shape[1])
    rule = RULES[loss, penalty](levels)
    for _ in range(n_steps):
        residual = y - X @ coef
        residual[np.abs(residual) < 1e-9] = 0.0
        gains = one_coordinate_gains(X, residual, coef, rule)
        j = int(np.argmax(gains))
        if j in support or gains[j] <= 1e-12:
            break
        support.append(j)
        coef[support] = refit(loss, X[:, support], y)
    return support, coef


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 0.02, 1.0])
@pytest.mark.parametrize("rule", RULES)
def test_equals_the_algorithm_by_the_book(rule, alpha, normalize):
    X, y = problem()
    weights = np.random.default_rng(1).uniform(0.5, 2.0, X.shape[1])
    levels = penalties(rule[1], alpha * LEVELS[rule], weights, np.linalg.norm(X, axis=0), normalize)
    support, coef = by_the_book(X, y, *rule, levels, 12)
    fit = greedy_pursuit(
        X, y, n_nonzero_coefs=12, loss=rule[0], penalty=rule[1], alpha=alpha * LEVELS[rule],
        penalty_weights=weights, normalize=normalize,
    )  # fmt: skip
    assert list(fit.support) == support
    np.testing.assert_allclose(fit.coef, coef, atol=1e-8)
    assert fit.kkt < 1e-9
    assert fit.status in STATUS
    assert (fit.status == "n_nonzero_coefs") == (fit.n_iter == 12)


@pytest.mark.parametrize("rule", RULES)
def test_certificates_and_path_recomputed_from_outside(rule):
    loss, penalty = rule
    X, y = problem(seed=2)
    s = np.random.default_rng(3).uniform(0.2, 2.0, y.size)
    alpha = 0.1 * LEVELS[rule]
    fit = greedy_pursuit(
        X, y, n_nonzero_coefs=6, loss=loss, penalty=penalty, alpha=alpha, sample_weight=s, normalize=False
    )
    assert fit.objective_path.shape == fit.loss_path.shape == fit.kkt_path.shape == (fit.n_iter + 1,)
    np.testing.assert_array_equal(fit.coef[fit.support], fit.coef_path[-1])
    for k in range(fit.n_iter + 1):
        x = fit.coef_path[k]
        assert not x[k:].any()
        r = y - X[:, fit.support] @ x
        value = {"squared": s @ r**2, "sqrt": np.sqrt(s @ r**2), "absolute": s @ np.abs(r)}[loss]
        extra = alpha * (np.count_nonzero(x) if penalty == "l0" else np.abs(x).sum())
        np.testing.assert_allclose(fit.loss_path[k], value, rtol=1e-11)
        np.testing.assert_allclose(fit.objective_path[k], value + extra, rtol=1e-11)
    residual = y - X @ fit.coef
    residual[np.abs(residual) < 1e-10] = 0.0
    gains = one_coordinate_gains(X, residual, fit.coef, RULES[rule](np.full(X.shape[1], alpha)), s)
    outside = np.delete(gains, fit.support)
    np.testing.assert_allclose(fit.max_gain, outside.max(), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(fit.max_gain_support, gains[fit.support].max(), rtol=1e-6, atol=1e-10)
    assert np.all(np.diff(fit.loss_path) < 0.0)


@pytest.mark.parametrize("loss", ["squared", "sqrt"])
def test_without_a_penalty_it_is_scikit_learns_path(loss):
    rng = np.random.default_rng(4)
    X = np.asfortranarray(rng.standard_normal((60, 200)))
    X /= np.linalg.norm(X, axis=0)
    y = rng.standard_normal(60)
    fit = greedy_pursuit(X, y, n_nonzero_coefs=40, loss=loss)
    path = orthogonal_mp(X, y, n_nonzero_coefs=40, return_path=True)
    for k in range(1, 41):
        expected = path[:, k - 1]
        np.testing.assert_array_equal(np.sort(fit.support[:k]), np.flatnonzero(expected))
        np.testing.assert_allclose(fit.coef_path[k, :k], expected[fit.support[:k]], atol=1e-11)


def test_dependent_columns_are_passed_over():
    rng = np.random.default_rng(5)
    base = rng.standard_normal((10, 4))
    X = np.column_stack([base, base, base @ rng.standard_normal((4, 3))])
    y = rng.standard_normal(10)
    for rule in RULES:
        fit = greedy_pursuit(X, y, n_nonzero_coefs=11, loss=rule[0], penalty=rule[1])
        # The absolute loss may be stuck earlier, at a vertex where no single coefficient lowers it.
        assert fit.n_iter == 4 or (rule[0] == "absolute" and fit.n_iter == 3)
        assert len(set(fit.support)) == fit.n_iter
        assert fit.status in ("no_gain", "dependent")
        expected = refit(rule[0], X[:, fit.support], y)
        np.testing.assert_allclose(fit.coef[fit.support], expected, atol=1e-8)
    # Ties go to the lowest index: of equal columns the first is taken.
    fit = greedy_pursuit(X[:, :8], y, n_nonzero_coefs=2)
    assert set(fit.support) <= {0, 1, 2, 3}


def test_duplicated_columns_give_the_path_of_the_distinct_ones():
    X, y = problem(seed=6, unit=True)
    twice = np.hstack([X, X])
    for rule in RULES:
        fit = greedy_pursuit(twice, y, n_nonzero_coefs=8, loss=rule[0], penalty=rule[1])
        alone = greedy_pursuit(X, y, n_nonzero_coefs=8, loss=rule[0], penalty=rule[1])
        np.testing.assert_array_equal(fit.support, alone.support)


@pytest.mark.parametrize("factor", [1e-6, 7.0])
@pytest.mark.parametrize("rule", RULES)
def test_equivariance_in_the_targets(rule, factor):
    X, y = problem(seed=7)
    alpha = 0.1 * LEVELS[rule]
    power = {("squared", "l0"): 2, ("sqrt", "l1"): 0, ("absolute", "l1"): 0}.get(rule, 1)
    options = {"n_nonzero_coefs": 10, "loss": rule[0], "penalty": rule[1]}
    fit = greedy_pursuit(X, y, alpha=alpha, **options)
    scaled = greedy_pursuit(X, factor * y, alpha=alpha * factor**power, **options)
    np.testing.assert_array_equal(scaled.support, fit.support)
    np.testing.assert_allclose(scaled.coef, factor * fit.coef, rtol=1e-8, atol=1e-10 * factor)
    assert scaled.status == fit.status


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_equivariance_in_the_columns(rule, normalize):
    X, y = problem(seed=8)
    rng = np.random.default_rng(9)
    scale, order = 10.0 ** rng.uniform(-8, 8, X.shape[1]), rng.permutation(X.shape[1])
    weights = rng.uniform(0.5, 2.0, X.shape[1])
    options = {
        "n_nonzero_coefs": 10, "loss": rule[0], "penalty": rule[1], "alpha": 0.1 * LEVELS[rule],
        "normalize": normalize,
    }  # fmt: skip
    fit = greedy_pursuit(X, y, penalty_weights=weights, **options)
    changed = weights * scale if rule[1] == "l1" and not normalize else weights
    scaled = greedy_pursuit(X * scale, y, penalty_weights=changed, **options)
    np.testing.assert_array_equal(scaled.support, fit.support)
    np.testing.assert_allclose(scaled.coef * scale, fit.coef, rtol=1e-7, atol=1e-9)
    permuted = greedy_pursuit(X[:, order], y, penalty_weights=weights[order], **options)
    np.testing.assert_array_equal(order[permuted.support], fit.support)


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_integer_weights_are_repeated_rows_and_storage_does_not_matter(rule, fit_intercept):
    rng = np.random.default_rng(10)
    X = np.round(rng.standard_normal((40, 25)) * (rng.random((40, 25)) < 0.6), 2).astype(np.float32)
    y = X[:, :4].astype(float) @ [3.0, -2.0, 1.0, 2.0] + 5.0 + 0.3 * rng.standard_normal(40)
    s = rng.integers(0, 4, 40)
    options = {
        "n_nonzero_coefs": 8, "loss": rule[0], "penalty": rule[1], "alpha": 0.1 * LEVELS[rule],
        "fit_intercept": fit_intercept,
    }  # fmt: skip
    expected = greedy_pursuit(np.repeat(X, s, axis=0).astype(float), np.repeat(y, s), **options)
    assert expected.n_iter >= 3
    exact = X.astype(np.float64)
    designs = [
        exact, np.asfortranarray(exact), X, np.asfortranarray(X), np.repeat(exact, 2, axis=1)[:, ::2],
        scipy.sparse.csc_array(exact), scipy.sparse.csc_matrix(X),
    ]  # fmt: skip
    for design in designs:
        fit = greedy_pursuit(as_columns(design), y, sample_weight=s, **options)
        np.testing.assert_array_equal(fit.support, expected.support)
        np.testing.assert_allclose(fit.coef, expected.coef, atol=1e-9)
        np.testing.assert_allclose(fit.intercept, expected.intercept, atol=1e-9)
        np.testing.assert_allclose(fit.objective_path, expected.objective_path, rtol=1e-10)
        np.testing.assert_allclose(fit.max_gain, expected.max_gain, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("rule", EUCLIDEAN)
def test_the_intercept_is_centring(rule):
    X, y = problem(seed=11)
    X = X + np.linspace(-1e3, 1e3, X.shape[1])
    options = {"n_nonzero_coefs": 8, "loss": rule[0], "penalty": rule[1], "alpha": 0.1 * LEVELS[rule]}
    fit = greedy_pursuit(X, y + 100.0, fit_intercept=True, **options)
    centred = greedy_pursuit(X - X.mean(axis=0), y - y.mean(), **options)
    np.testing.assert_array_equal(fit.support, centred.support)
    np.testing.assert_allclose(fit.coef, centred.coef, atol=1e-9)
    np.testing.assert_allclose(fit.intercept, 100.0 + y.mean() - X.mean(axis=0) @ fit.coef, rtol=1e-9)


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_degenerate_inputs(rule, fit_intercept):
    options = {"loss": rule[0], "penalty": rule[1], "fit_intercept": fit_intercept}
    X, y = problem(seed=12)
    for targets in (np.zeros(40), np.full(40, 3.7)) if fit_intercept else (np.zeros(40),):
        fit = greedy_pursuit(X, targets, n_nonzero_coefs=5, **options)
        assert fit.n_iter == 0
        assert not fit.coef.any()
        assert fit.status == "zero_residual"
        assert fit.intercept == pytest.approx(targets[0])
    with_bad = X.copy()
    with_bad[:, 3], with_bad[:, 4] = 0.0, 1.7
    fit = greedy_pursuit(with_bad, y, n_nonzero_coefs=25, **options)
    assert 3 not in fit.support
    assert np.all(np.isfinite(fit.coef))
    assert not fit_intercept or 4 not in fit.support
    weights = np.ones(25)
    weights[:20], weights[20] = np.inf, 0.0
    for alpha in (0.0, 1e12):
        fit = greedy_pursuit(X, y, n_nonzero_coefs=25, alpha=alpha, penalty_weights=weights, **options)
        assert min(fit.support) >= 20
        assert (fit.n_iter == 1) == (alpha > 0.0)  # only the column that is never penalised
    one_row = greedy_pursuit(X[:1], y[:1], n_nonzero_coefs=3, **options)
    assert one_row.n_iter == (0 if fit_intercept else 1)
    assert one_row.status == "zero_residual"
    one_column = greedy_pursuit(X[:, :1], y, n_nonzero_coefs=1, **options)
    assert one_column.n_iter == 1
    none = greedy_pursuit(X, y, n_nonzero_coefs=0, **options)
    assert none.n_iter == 0
    assert none.status == "n_nonzero_coefs"
    assert none.max_gain > 0.0
    # More columns than rows: the pursuit ends with the rows.
    square = greedy_pursuit(X[:6], y[:6], n_nonzero_coefs=25, **options)
    assert square.n_iter <= 6
    assert square.status in ("zero_residual", "no_gain", "dependent")
    # Where least squares has a residual, a column lowers it; the absolute loss can be stuck at a vertex where no
    # single coefficient does.
    assert square.loss <= 1e-9 or rule[0] == "absolute"


def test_tolerance_and_stalling():
    X, y = problem(seed=13)
    full = greedy_pursuit(X, y, n_nonzero_coefs=20)
    fit = greedy_pursuit(X, y, n_nonzero_coefs=20, tol=float(full.loss_path[6]) * (1 + 1e-9))
    assert fit.n_iter == 6
    assert fit.status == "tol"
    # Two nearly opposite columns cancel each other under l1: their coefficients would rather shrink.
    stalled = greedy_pursuit(X, y, n_nonzero_coefs=20, penalty="l1", alpha=8.0)
    assert stalled.status == "stalled"
    assert stalled.max_gain <= stalled.max_gain_support
    assert greedy_pursuit(X, y, n_nonzero_coefs=20, alpha=1e9).status == "no_gain"


def test_exact_recovery_of_a_steep_signal():
    # Coefficients over ten decades: the correlations shrink with the residual and must not drift on the way.
    rng = np.random.default_rng(14)
    X = np.asfortranarray(rng.standard_normal((300, 1000)))
    true = np.sort(rng.choice(1000, 20, replace=False))
    coef = np.zeros(1000)
    coef[true] = 10.0 ** np.linspace(0, -9.5, 20)
    fit = greedy_pursuit(X, X @ coef, n_nonzero_coefs=40)
    np.testing.assert_array_equal(np.sort(fit.support), true)
    np.testing.assert_allclose(fit.coef, coef, atol=1e-15)
    assert fit.status == "zero_residual"


def test_coherent_columns_keep_the_refits_orthogonal():
    rng = np.random.default_rng(15)
    common = rng.standard_normal(200)
    X = np.asfortranarray(common[:, None] + 1e-4 * rng.standard_normal((200, 400)))
    y = rng.standard_normal(200)
    fit = greedy_pursuit(X, y, n_nonzero_coefs=100)
    assert fit.n_iter == 100  # rounding times the condition number of 1e4 and more
    assert fit.kkt < 1e-10
    expected = np.linalg.lstsq(X[:, fit.support], y, rcond=None)[0]
    np.testing.assert_allclose(X[:, fit.support] @ expected, X @ fit.coef, atol=1e-9)


def test_gross_errors_ruin_least_squares_and_not_the_absolute_loss():
    rng = np.random.default_rng(16)
    X = rng.standard_normal((80, 60))
    coef = np.zeros(60)
    coef[[3, 17, 42]] = [2.0, -1.0, 1.5]
    y = X @ coef
    y[::8] += 20.0 * rng.standard_normal(10)
    robust = greedy_pursuit(X, y, n_nonzero_coefs=10, loss="absolute", alpha=1.0)
    np.testing.assert_allclose(robust.coef, coef, atol=1e-9)
    plain = greedy_pursuit(X, y, n_nonzero_coefs=3)
    assert np.linalg.norm(plain.coef - coef) > 0.3 * np.linalg.norm(coef)


def test_inputs_are_left_alone_and_may_be_read_only():
    X, y = problem(seed=17)
    s, w = np.ones(40), np.ones(25)
    before = [array.copy() for array in (X, y, s, w)]
    for array in (X, y, s, w):
        array.flags.writeable = False
    for rule in RULES:
        greedy_pursuit(
            X, y, n_nonzero_coefs=4, loss=rule[0], penalty=rule[1], alpha=0.1, sample_weight=s,
            penalty_weights=w, fit_intercept=True,
        )  # fmt: skip
    for now, then in zip((X, y, s, w), before):
        np.testing.assert_array_equal(now, then)


def test_plain_python_computes_the_same():
    program = """
import numpy as np
from sparsemodels.solvers.greedy_pursuit import greedy_pursuit
rng = np.random.default_rng(0)
X, y = rng.standard_normal((12, 9)), rng.standard_normal(12)
for loss in ("squared", "sqrt", "absolute"):
    for penalty in ("l0", "l1"):
        options = dict(loss=loss, penalty=penalty, alpha=0.05, fit_intercept=True)
        fit = greedy_pursuit(X, y, n_nonzero_coefs=5, **options)
        print(*fit.support, *np.round(fit.coef, 9) + 0.0, round(fit.max_gain, 9))
"""
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "NUMBA_DISABLE_JIT": disable},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for disable in ("0", "1")
    ]
    assert outputs[0] == outputs[1]
    assert outputs[0].count("\n") == 6
