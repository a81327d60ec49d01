import numpy as np
import pytest
from scipy.optimize import linprog

from sparsemodels.solvers.least_absolute_deviations import least_absolute_deviations


def by_primal_program(columns, y, weights):
    n_columns, n_rows = columns.shape
    cost = np.concatenate([np.zeros(n_columns), weights, weights])
    equality = np.hstack([columns.T, np.eye(n_rows), -np.eye(n_rows)])
    bounds = [(None, None)] * n_columns + [(0, None)] * (2 * n_rows)
    return linprog(cost, A_eq=equality, b_eq=y, bounds=bounds).fun


def draw(kind, rng):
    n_rows = int(rng.integers(1, 40))
    n_columns = int(rng.integers(1, min(n_rows, 8) + 1))
    columns, y = rng.standard_normal((n_columns, n_rows)), rng.standard_normal(n_rows)
    weights = np.ones(n_rows)
    if kind == "weighted":
        weights = rng.integers(1, 4, n_rows).astype(float)
    elif kind == "ties":  # many rows interpolated at once, dependent columns, flat minima
        columns, y = rng.integers(-2, 3, columns.shape) * 1.0, rng.integers(-3, 4, n_rows) * 1.0
    elif kind == "repeated rows":
        half = n_rows // 2
        columns[:, :half], y[:half] = columns[:, n_rows - half :], y[n_rows - half :]
        columns[0] = 1.0
    elif kind == "scaled":
        columns *= 10.0 ** rng.integers(-8, 9, (n_columns, 1))
        y *= 1e6
    return columns, y, weights


@pytest.mark.parametrize("kind", ["plain", "weighted", "ties", "repeated rows", "scaled"])
def test_objective_equals_the_linear_program_and_the_certificate_proves_it(kind):
    rng = np.random.default_rng(0)
    for _ in range(60):
        columns, y, weights = draw(kind, rng)
        before = columns.copy(), y.copy(), weights.copy()
        fit = least_absolute_deviations(columns, y, weights)
        scale = weights @ np.abs(y)
        assert fit.converged
        residual = y - fit.coef @ columns
        np.testing.assert_allclose(fit.objective, weights @ np.abs(residual), rtol=1e-9, atol=1e-12 * scale)
        # The certificate, from outside: a feasible dual vector whose value is the objective.
        assert np.all(np.abs(fit.dual) <= weights)
        assert np.all(np.abs(columns @ fit.dual) <= 1e-9 * (np.abs(columns) @ weights))
        assert abs(fit.objective - y @ fit.dual) <= 1e-9 * scale
        if kind != "scaled":  # there the program's own scaling is the weaker side
            assert abs(fit.objective - by_primal_program(columns, y, weights)) <= 1e-9 * scale
        for now, then in zip((columns, y, weights), before):
            np.testing.assert_array_equal(now, then)


def test_warm_start_gives_the_same_solution():
    rng = np.random.default_rng(1)
    columns, y = rng.standard_normal((12, 60)), rng.standard_normal(60)
    basis = np.empty(0, dtype=np.int64)
    for k in range(1, 13):
        warm = least_absolute_deviations(columns[:k], y, basis=basis)
        cold = least_absolute_deviations(columns[:k], y)
        np.testing.assert_allclose(warm.coef, cold.coef, atol=1e-10)
        np.testing.assert_array_equal(np.flatnonzero(warm.residual == 0.0), np.sort(warm.basis))
        basis = warm.basis


def test_integer_weights_are_repeated_rows():
    rng = np.random.default_rng(2)
    columns, y = rng.standard_normal((4, 21)), rng.standard_normal(21)
    weights = rng.integers(1, 4, 21)
    weighted = least_absolute_deviations(columns, y, weights)
    repeated = least_absolute_deviations(np.repeat(columns, weights, axis=1), np.repeat(y, weights))
    np.testing.assert_allclose(weighted.coef, repeated.coef, atol=1e-10)
    np.testing.assert_allclose(weighted.objective, repeated.objective, rtol=1e-12)


def test_gross_errors_do_not_move_it():
    rng = np.random.default_rng(3)
    columns, coef = rng.standard_normal((3, 50)), np.array([1.0, -2.0, 3.0])
    y = coef @ columns
    y[::5] += 1e6
    np.testing.assert_allclose(least_absolute_deviations(columns, y).coef, coef, atol=1e-9)
