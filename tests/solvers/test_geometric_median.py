import numpy as np
import pytest
import scipy.optimize

from sparsemodels.solvers.geometric_median import geometric_median

RNG = np.random.default_rng(0)


def sum_of_distances(point, X):
    return np.linalg.norm(X - point, axis=1).sum()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "d"), [(4, 2), (30, 3), (5000, 6)])
def test_against_a_general_optimizer(n, d, dtype):
    X = RNG.standard_t(2, (n, d)).astype(dtype)
    found = geometric_median(X, tol=1e-9, max_iter=5000)
    assert found.converged
    best = scipy.optimize.minimize(sum_of_distances, np.median(X, axis=0), args=(X,), method="BFGS", tol=1e-10)
    assert sum_of_distances(found.median, X) <= best.fun * (1.0 + 1e-9)
    offsets = X - found.median
    distances = np.linalg.norm(offsets, axis=1)
    apart = distances > 1e-9
    force = np.linalg.norm((offsets[apart] / distances[apart, None]).sum(axis=0))
    assert max(0.0, force - np.count_nonzero(~apart)) / n <= 1e-8


def test_a_point_with_half_of_the_weight_is_the_median():
    X = np.vstack([np.ones((6, 3)), 100.0 * RNG.standard_normal((5, 3))])
    np.testing.assert_allclose(geometric_median(X, max_iter=2000, tol=1e-8).median, 1.0, atol=1e-5)


def test_start_on_a_point_that_is_not_optimal():
    # The mean of these points is one of them.
    X = np.array([[0.0, 0.0], [-1.0, 0.0], [-1.0, 0.1], [-1.0, -0.1], [3.0, 0.0]])
    found = geometric_median(X, tol=1e-8, max_iter=10_000)
    assert sum_of_distances(found.median, X) < sum_of_distances(X[0], X) - 0.1
    assert found.optimality <= 1e-8


def test_invariances_and_degenerate_data():
    X = RNG.standard_normal((50, 4))
    found = geometric_median(X, tol=1e-10, max_iter=2000).median
    moved = geometric_median(8.0 * X[::-1] + 3.0, tol=1e-10, max_iter=2000).median
    np.testing.assert_allclose(moved, 8.0 * found + 3.0, atol=1e-7)
    np.testing.assert_array_equal(geometric_median(np.zeros((3, 2))).median, [0.0, 0.0])
    np.testing.assert_array_equal(geometric_median(np.array([[2.0, 1.0]])).median, [2.0, 1.0])
    one, two = (geometric_median(np.tile(X, (200, 1)), n_jobs=n_jobs).median for n_jobs in (1, 2))
    np.testing.assert_array_equal(one, two)
