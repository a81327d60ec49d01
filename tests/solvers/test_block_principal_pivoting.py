import numpy as np
import pytest
import scipy.optimize

from sparsemodels.solvers.block_principal_pivoting import pivot_rows

RNG = np.random.default_rng(0)


def solve(K, X, start=None, l1=0.0, ridge=0.0, upper=np.inf):
    n_rows, r = X.shape[0], K.shape[1]
    F = np.zeros((n_rows, r)) if start is None else start.copy()
    terms = (np.full(n_rows, value) for value in (l1, ridge, upper))
    pivot_rows(K.T @ K, X @ K, F, *terms, np.empty((0, r)))
    return F


@pytest.mark.parametrize(("n_columns", "r"), [(20, 1), (20, 6), (40, 25)])
def test_equals_scipy(n_columns, r):
    K, X = RNG.standard_normal((n_columns, r)), RNG.standard_normal((50, n_columns))
    reference = np.array([scipy.optimize.nnls(K, x)[0] for x in X])
    for start in (None, RNG.random((50, r))):
        np.testing.assert_allclose(solve(K, X, start), reference, atol=1e-12)


def test_bounds_equal_scipy():
    K, X = RNG.standard_normal((30, 8)), 3.0 * RNG.standard_normal((40, 30))
    reference = np.array([scipy.optimize.lsq_linear(K, x, (0.0, 0.2), tol=1e-14).x for x in X])
    F = solve(K, X, upper=0.2)
    assert 0 < np.count_nonzero(F == 0.2) < F.size
    np.testing.assert_allclose(F, reference, atol=1e-7)


def test_penalties_are_edits():
    K, X = RNG.random((30, 6)), RNG.random((10, 30))
    F = solve(K, X, l1=0.7, ridge=2.0)
    stacked = np.vstack([K, np.sqrt(2.0) * np.eye(6)])
    shift = np.linalg.lstsq(stacked.T, np.full(6, 0.7), rcond=None)[0]
    reference = [scipy.optimize.nnls(stacked, np.concatenate([x, np.zeros(6)]) - shift)[0] for x in X]
    np.testing.assert_allclose(F, reference, atol=1e-10)


@pytest.mark.parametrize("kind", ["duplicates", "zero column", "more columns than rows"])
def test_singular_systems_reach_the_minimum(kind):
    K = RNG.random((12, 5))
    if kind == "duplicates":
        K[:, 3] = K[:, 1]
    elif kind == "zero column":
        K[:, 2] = 0.0
    else:
        K = RNG.random((4, 9))
    X = RNG.random((20, K.shape[0]))
    F = solve(K, X, RNG.random((20, K.shape[1])))
    reference = np.array([scipy.optimize.nnls(K, x)[1] for x in X])
    assert F.min() >= 0.0
    np.testing.assert_allclose(np.linalg.norm(X - F @ K.T, axis=1), reference, atol=1e-10)


def test_zero_data():
    np.testing.assert_array_equal(solve(RNG.random((5, 3)), np.zeros((4, 5)), RNG.random((4, 3))), 0.0)
