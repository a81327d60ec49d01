"""Codes by rows and their products, against dense matrices; certificates of codes at known answers."""

import numpy as np
import pytest
import scipy.sparse

from sparsemodels.solvers.coders import dictionary
from sparsemodels.solvers.coding_certificates import lasso_gaps, mutual_coherence, refit_violations
from sparsemodels.solvers.sparse_codes import (
    code_gram,
    code_products,
    concatenated,
    from_matrix,
    from_padded,
    reconstruct,
    squared_residuals,
    to_csr,
    to_dense,
)


def random_codes(n_signals=50, n_atoms=20, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    dense = rng.standard_normal((n_signals, n_atoms)) * (rng.random((n_signals, n_atoms)) < 0.2)
    dense[3] = 0.0
    return dense.astype(dtype)


def test_padded_rows_in_any_order():
    dense = random_codes()
    rng = np.random.default_rng(1)
    indices, values = rng.integers(0, 20, (50, 12)).astype(np.int32), rng.standard_normal((50, 12))
    counts = np.count_nonzero(dense, axis=1)
    for i, row in enumerate(dense):
        support = rng.permutation(np.flatnonzero(row))
        indices[i, : support.size], values[i, : support.size] = support, row[support]
    codes = from_padded(indices, values, counts, 20)
    np.testing.assert_array_equal(to_dense(codes), dense)
    assert all((np.diff(codes.indices[a:b]) > 0).all() for a, b in zip(codes.indptr, codes.indptr[1:]))


def test_from_dense_and_from_sparse_matrices_that_are_not_canonical():
    dense = random_codes()
    coo = scipy.sparse.coo_array(
        (np.r_[dense[dense != 0], 1.0, -1.0], (*(np.r_[part, [0, 0]] for part in np.nonzero(dense)),)),
        shape=dense.shape,
    )
    before = coo.copy()
    for matrix in (dense, scipy.sparse.csr_array(dense), scipy.sparse.csc_array(dense), coo):
        codes = from_matrix(matrix)
        np.testing.assert_array_equal(to_dense(codes), dense)
        assert (codes.values != 0).all()
    np.testing.assert_array_equal(coo.data, before.data)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_products_equal_those_of_dense_matrices(dtype):
    Z = random_codes(dtype=dtype)
    rng = np.random.default_rng(2)
    X, D = rng.standard_normal((50, 7)).astype(dtype), rng.standard_normal((20, 7)).astype(dtype)
    codes = from_matrix(Z)
    tol = {"rtol": 1e-12, "atol": 1e-13} if dtype == np.float64 else {"rtol": 2e-5, "atol": 1e-5}
    assert code_gram(codes).dtype == code_products(codes, X).dtype == np.float64
    np.testing.assert_allclose(code_gram(codes), Z.T @ Z, **tol)
    np.testing.assert_allclose(code_products(codes, X), Z.T @ X, **tol)
    np.testing.assert_allclose(code_gram(codes, np.eye(20)), np.eye(20) + Z.T @ Z, **tol)
    np.testing.assert_allclose(reconstruct(codes, D), Z @ D, **tol)
    assert reconstruct(codes, D).dtype == dtype
    known = rng.random(X.shape) < 0.5
    np.testing.assert_allclose(squared_residuals(codes, X, D), ((X - Z @ D) ** 2).sum(1), **tol)
    np.testing.assert_allclose(
        squared_residuals(codes, X, D, known), (np.where(known, X - Z @ D, 0) ** 2).sum(1), **tol
    )


def test_batches_below_each_other():
    Z = random_codes()
    parts = [from_matrix(Z[:10]), from_matrix(Z[10:10]), from_matrix(Z[10:])]
    np.testing.assert_array_equal(to_dense(concatenated(parts)), Z)
    assert to_csr(concatenated(parts)).has_canonical_format


def test_many_blocks_give_the_same_for_every_number_of_workers():
    Z, rng = random_codes(2500), np.random.default_rng(3)
    X, D, codes = rng.standard_normal((2500, 6)), rng.standard_normal((20, 6)), from_matrix(Z)
    np.testing.assert_array_equal(reconstruct(codes, D, n_jobs=2), reconstruct(codes, D))
    np.testing.assert_array_equal(squared_residuals(codes, X, D, n_jobs=2), squared_residuals(codes, X, D))
    atoms = dictionary(D)
    np.testing.assert_array_equal(lasso_gaps(X, codes, atoms, 0.3, n_jobs=2), lasso_gaps(X, codes, atoms, 0.3))


def test_gap_of_codes_on_orthonormal_atoms():
    # There the lasso is soft thresholding: the gap is zero at its codes and bounds the excess of all others.
    rng = np.random.default_rng(4)
    D = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    X = rng.standard_normal((40, 8))
    best = np.sign(X @ D.T) * np.maximum(np.abs(X @ D.T) - 0.4, 0.0)
    np.testing.assert_allclose(lasso_gaps(X, from_matrix(best), dictionary(D), 0.4), 0.0, atol=1e-14)

    def objective(Z):
        return 0.5 * ((X - Z @ D) ** 2).sum(1) + 0.4 * np.abs(Z).sum(1)

    for other in (0.0 * best, best + 0.1, rng.standard_normal((40, 8))):
        gap = lasso_gaps(X, from_matrix(other), dictionary(D), 0.4)
        assert (gap >= (objective(other) - objective(best)) * (1 - 1e-12)).all()
    assert np.isinf(lasso_gaps(X, from_matrix(best), dictionary(D), 0.4, positive=True)[(best < 0).any(1)]).all()


def test_violation_of_a_refit_is_the_cosine_with_the_residual():
    rng = np.random.default_rng(5)
    D, X = 3.0 * rng.standard_normal((9, 5)), rng.standard_normal((6, 5))
    Z = random_codes(6, 9, 6)
    expected = []
    for x, z in zip(X, Z):
        cosines = np.abs(D @ (x - z @ D)) / np.linalg.norm(D, axis=1) / np.linalg.norm(x)
        expected.append(cosines[z != 0].max(initial=0.0))
    np.testing.assert_allclose(refit_violations(X, from_matrix(Z), dictionary(D)), expected, rtol=1e-12)


def test_coherence():
    rng = np.random.default_rng(7)
    D = rng.standard_normal((1500, 40))
    D[7] = 0.0
    unit = np.delete(D, 7, axis=0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    cosines = np.abs(unit @ unit.T)
    np.fill_diagonal(cosines, 0.0)
    assert mutual_coherence(dictionary(D)) == pytest.approx(cosines.max(), rel=1e-12)
    D[9] = -2.0 * D[3]
    assert mutual_coherence(dictionary(D)) == pytest.approx(1.0, abs=1e-12)
    assert mutual_coherence(dictionary(D[:1])) == 0.0
