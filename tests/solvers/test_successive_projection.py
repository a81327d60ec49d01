"""Pure rows are found exactly, in every form of matrix, and few rows where few exist."""

import numpy as np
import pytest
import scipy.sparse

from sparsemodels.solvers.observed_matrix import observe
from sparsemodels.solvers.successive_projection import successive_projection


def separable(rng, pure, n_rows=60, n_columns=25, sums=None):
    """Mixtures of the rows `pure`, which are themselves among the rows."""
    endmembers = rng.random((len(pure), n_columns)) * (rng.random((len(pure), n_columns)) < 0.6)
    mixing = rng.dirichlet(np.full(len(pure), 0.7), n_rows)
    mixing[pure] = np.eye(len(pure))
    return (mixing if sums is None else mixing * sums[:, None]) @ endmembers


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_pure_rows_are_found(dtype):
    rng = np.random.default_rng(0)
    for _ in range(20):
        pure = rng.choice(60, 5, replace=False)
        X = separable(rng, pure).astype(dtype)
        dense = successive_projection(observe(X), 5)
        np.testing.assert_array_equal(np.sort(dense.indices), np.sort(pure))
        stored = successive_projection(observe(scipy.sparse.csr_array(X)), 5)
        np.testing.assert_array_equal(stored.indices, dense.indices)
        assert np.all(np.diff(dense.residual_norms) <= 1e-6 * dense.residual_norms[0])
        # The norms are the distances from the span of the rows before: the diagonal of a QR factorization.
        triangle = np.linalg.qr(X[dense.indices].T.astype(float), mode="r")
        np.testing.assert_allclose(dense.residual_norms, np.abs(np.diag(triangle)), rtol=1e-4)


def test_rows_of_any_sum_after_normalisation():
    rng = np.random.default_rng(1)
    for _ in range(20):
        pure = rng.choice(60, 4, replace=False)
        X = separable(rng, pure, sums=rng.uniform(0.1, 10.0, 60))
        found = successive_projection(observe(X), 4, normalize=True).indices
        np.testing.assert_array_equal(np.sort(found), np.sort(pure))
        stored = successive_projection(observe(scipy.sparse.csr_array(X)), 4, normalize=True).indices
        np.testing.assert_array_equal(stored, found)


def test_noise_moves_little():
    """The rows found are near the pure ones when the noise is small beside the condition of these."""
    rng = np.random.default_rng(2)
    pure = rng.choice(60, 3, replace=False)
    X = separable(rng, pure)
    found = successive_projection(observe(X + 1e-4 * rng.standard_normal(X.shape)), 3).indices
    distances = np.linalg.norm(X[found][:, None] - X[pure], axis=2)
    assert distances.min(axis=1).max() < 0.02


def test_fewer_rows_than_asked_for():
    rng = np.random.default_rng(3)
    X = rng.random((30, 2)) @ rng.random((2, 10))
    assert successive_projection(observe(X), 5).indices.size == 2
    assert successive_projection(observe(np.zeros((4, 3))), 2).indices.size == 0
    assert successive_projection(observe(np.eye(3)), 7).indices.size == 3


def test_scale_does_not_matter():
    X = np.random.default_rng(4).random((40, 12))
    plain = successive_projection(observe(X), 6)
    large = successive_projection(observe(1e150 * X), 6)
    np.testing.assert_array_equal(large.indices, plain.indices)
    np.testing.assert_allclose(large.residual_norms, 1e150 * plain.residual_norms, rtol=1e-10)
