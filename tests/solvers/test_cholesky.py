import numpy as np
import pytest

from sparsemodels.solvers.cholesky import append, delete, solve, solve_lower, solve_upper


def grown(gram, capacity):
    factor = np.full((capacity, capacity), np.nan)  # what is never written must never be read
    for k in range(len(gram)):
        assert append(factor, k, gram[k, :k], gram[k, k]) > 0.0
    return factor


@pytest.mark.parametrize("size", [1, 2, 7, 30])
def test_append_gives_the_factor_of_lapack(size):
    A = np.random.default_rng(size).standard_normal((40, size))
    gram = A.T @ A
    factor = grown(gram, size + 3)
    np.testing.assert_allclose(np.tril(factor[:size, :size]), np.linalg.cholesky(gram), atol=1e-12)


@pytest.mark.parametrize("position", [0, 1, 4, 8])
def test_delete_gives_the_factor_of_the_smaller_matrix(position):
    A = np.random.default_rng(0).standard_normal((20, 9))
    gram = A.T @ A
    factor = grown(gram, 12)
    delete(factor, 9, position)
    kept = np.delete(np.arange(9), position)
    np.testing.assert_allclose(np.tril(factor[:8, :8]), np.linalg.cholesky(gram[np.ix_(kept, kept)]), atol=1e-12)


def test_a_long_walk_of_appending_and_deleting_stays_exact():
    rng = np.random.default_rng(1)
    A = rng.standard_normal((50, 40))
    gram = A.T @ A
    factor, inside = np.empty((40, 40)), []
    for _ in range(400):
        outside = [j for j in range(40) if j not in inside]
        if inside and (not outside or rng.random() < 0.45):
            position = int(rng.integers(len(inside)))
            delete(factor, len(inside), position)
            inside.pop(position)
        else:
            j = outside[rng.integers(len(outside))]
            append(factor, len(inside), gram[j, inside], gram[j, j])
            inside.append(j)
    expected = np.linalg.cholesky(gram[np.ix_(inside, inside)])
    np.testing.assert_allclose(np.tril(factor[: len(inside), : len(inside)]), expected, atol=1e-10)


def test_triangular_solves():
    A = np.random.default_rng(2).standard_normal((12, 6))
    gram = A.T @ A
    factor, right = grown(gram, 8), np.arange(1.0, 7.0)
    lower = np.linalg.cholesky(gram)
    for function, matrix in ((solve_lower, lower), (solve_upper, lower.T), (solve, gram)):
        vector = np.append(right, 99.0)
        function(factor, 6, vector)
        np.testing.assert_allclose(matrix @ vector[:6], right, rtol=1e-11)
        assert vector[6] == 99.0


def test_the_relative_pivot_is_the_distance_to_the_span():
    rng = np.random.default_rng(3)
    A = rng.standard_normal((30, 5))
    for distance in (1.0, 1e-2, 1e-4):
        direction = rng.standard_normal(30)
        direction -= A @ np.linalg.lstsq(A, direction, rcond=None)[0]
        direction /= np.linalg.norm(direction)
        column = A @ rng.standard_normal(5) + distance * direction
        factor = grown(A.T @ A, 6)
        pivot = append(factor, 5, A.T @ column, column @ column)
        # The Gram matrix holds squares: the pivot's square carries some 1e-15 of rounding.
        assert abs(pivot**2 - (distance / np.linalg.norm(column)) ** 2) < 1e-14
    for column in (A[:, 2], A @ np.ones(5), np.zeros(30)):
        assert append(factor, 5, A.T @ column, column @ column) < 1e-7
