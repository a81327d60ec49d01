"""The operator against the product multiplied out, in every precision and for many or few vectors."""

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg

from sparsemodels.solvers.fast_operator import FastOperator
from sparsemodels.solvers.spectral_norm_bound import spectral_norm_bound

RNG = np.random.default_rng(0)


def sparse(m, n, density, dtype):
    values = RNG.standard_normal((m, n)) + (1j * RNG.standard_normal((m, n)) if np.dtype(dtype).kind == "c" else 0.0)
    return scipy.sparse.csr_array(np.where(RNG.random((m, n)) < density, values, 0.0).astype(dtype))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
@pytest.mark.parametrize("density", [0.05, 0.15, 0.6])
def test_the_operator_is_the_product(density, dtype):
    factors = [sparse(30, 40, density, dtype), sparse(40, 25, density, dtype), sparse(25, 60, density, dtype)]
    order = RNG.permutation(60)
    dense = np.empty((30, 60), dtype=dtype)
    dense[:, order] = -2.5 * (factors[0] @ factors[1] @ factors[2]).toarray()
    A = FastOperator(factors, -2.5, order)
    rounding = 1e-5 if dtype is np.float32 else 1e-13
    assert A.dtype == dtype
    assert np.allclose(A.to_dense(), dense, atol=10 * rounding)
    for n_vectors in (1, 2, 33, 1100):
        X, Y = (sparse(size, n_vectors, 1.0, dtype).toarray() for size in (60, 30))
        for got, expected in (
            (A @ X, dense @ X),
            (A.H @ Y, dense.conj().T @ Y),
            (A.T @ Y, dense.T @ Y),
            (A.rows(X.T), X.T @ dense.T),
            (A.rows(X.T, n_jobs=2), X.T @ dense.T),
            (A.transposed_rows(Y.T), Y.T @ dense),
            (A @ X[:, 0], dense @ X[:, 0]),
            (A.H @ Y[:, 0], dense.conj().T @ Y[:, 0]),
        ):
            assert got.dtype == dtype
            assert np.allclose(got, expected, rtol=0.0, atol=100 * rounding)
    x, y = X[:, 0], Y[:, 0]
    assert np.vdot(y, A @ x) == pytest.approx(np.vdot(A.H @ y, x), rel=100 * rounding)
    assert np.array_equal(A.rows(X.T, n_jobs=2), A.rows(X.T))


def test_its_size_and_what_scipy_does_with_it():
    factors = [sparse(20, 20, 0.2, np.float64) + scipy.sparse.eye_array(20) * 3.0 for _ in range(3)]
    A = FastOperator(factors)
    assert A.n_nonzeros == sum(factor.nnz for factor in factors)
    assert A.complexity_gain == 400 / A.n_nonzeros
    assert isinstance(A, scipy.sparse.linalg.LinearOperator)
    x = RNG.standard_normal(20)
    solution = scipy.sparse.linalg.lsqr(A, A @ x, atol=1e-14, btol=1e-14, iter_lim=1000)[0]
    assert np.allclose(solution, x, atol=1e-5)
    largest = scipy.sparse.linalg.svds(A, 1, return_singular_vectors=False)[0]
    assert largest == pytest.approx(np.linalg.norm(A.to_dense(), 2))
    assert np.array_equal(A.factors[1].toarray(), factors[1].toarray())


def test_integers_empty_rows_and_no_vectors():
    A = FastOperator([np.array([[0, 0], [1, 2]]), np.array([[0, 3], [0, 0]])])
    assert np.array_equal(A.to_dense(), [[0.0, 0.0], [0.0, 3.0]])
    assert A.rows(np.ones((1, 2), dtype=int)).tolist() == [[0.0, 3.0]]
    assert A.rows(np.zeros((0, 2))).shape == (0, 2)


def test_bad_input():
    with pytest.raises(ValueError, match="at least one factor"):
        FastOperator([])
    with pytest.raises(ValueError, match=r"shapes \(2, 2\) and \(3, 3\) cannot be multiplied"):
        FastOperator([np.eye(2), np.eye(3)])
    with pytest.raises(ValueError, match="permutation must hold every number from 0 to 1 once"):
        FastOperator([np.eye(2)], permutation=np.array([0, 2]))
    with pytest.raises(ValueError, match=r"X must have 2 columns, got the shape \(4, 3\)"):
        FastOperator([np.eye(2)]).rows(np.zeros((4, 3)))


@pytest.mark.parametrize("shape", [(3, 5), (600, 530), (530, 600)])
@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_a_bound_that_is_never_below_the_spectral_norm(shape, scale):
    matrix = RNG.standard_normal(shape)
    largest = np.linalg.norm(matrix, 2)
    bound = spectral_norm_bound(scale * matrix) / scale
    assert largest * (1.0 - 1e-12) <= bound <= min(shape) ** (1 / 32) * largest
    assert spectral_norm_bound(np.zeros(shape)) == 0.0
