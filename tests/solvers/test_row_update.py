import numpy as np
import pytest
import scipy.optimize
import scipy.sparse

from sparsemodels.solvers.observed_matrix import observe
from sparsemodels.solvers.row_update import RowTerms, no_terms, squared_error, update_rows

RNG = np.random.default_rng(0)
M, N, R = 37, 23, 5
X = np.where(RNG.random((M, N)) < 0.4, RNG.random((M, N)), 0.0)
K = RNG.random((N, R))
START = RNG.random((M, R))
TERMS = RowTerms(
    0.3 * RNG.random(M), RNG.random(M), np.where(RNG.random(M) < 0.5, 0.05, np.inf), 0.2 * RNG.random((M, R))
)


def gradient(F, terms, X=X, K=K):
    pull = terms.pull if terms.pull.size else 0.0
    return (F @ K.T - X) @ K + terms.ridge[:, None] * F - pull + terms.l1[:, None]


def residual(F, terms, X=X, K=K):
    """The squared KKT residual, written down once more from its definition."""
    curvature = (K**2).sum(axis=0) + terms.ridge[:, None]
    step = F - np.clip(F - gradient(F, terms, X, K) / curvature, 0.0, terms.upper[:, None])
    return np.sum(curvature * step**2)


def slow_sweeps(F, terms, n_sweeps):
    F = F.copy()
    for _ in range(n_sweeps):
        for a in range(R):
            curvature = K[:, a] @ K[:, a] + terms.ridge
            F[:, a] = np.clip(F[:, a] - gradient(F, terms)[:, a] / curvature, 0.0, terms.upper)
    return F


@pytest.mark.parametrize("make", [observe, lambda X: observe(scipy.sparse.csr_array(X))], ids=["dense", "sparse"])
@pytest.mark.parametrize("terms", [no_terms(M, R), TERMS], ids=["plain", "terms"])
def test_sweeps_equal_slow_coordinate_descent(make, terms):
    F = START.copy()
    result = update_rows(make(X), F, K, terms, max_sweeps=3, delta=0.0)
    np.testing.assert_allclose(F, slow_sweeps(START, terms, 3), rtol=1e-11)
    np.testing.assert_allclose(result.loss, 0.5 * np.sum((X - F @ K.T) ** 2), rtol=1e-11)
    np.testing.assert_allclose(result.kkt_squared, residual(START, terms), rtol=1e-11)
    assert result.n_sweeps == 3


def test_zero_sweeps_only_measure():
    F = START.copy()
    result = update_rows(observe(X), F, K, TERMS, max_sweeps=0)
    np.testing.assert_array_equal(F, START)
    np.testing.assert_allclose(result.loss, 0.5 * np.sum((X - F @ K.T) ** 2), rtol=1e-11)


@pytest.mark.parametrize("terms", [no_terms(M, R), TERMS], ids=["plain", "terms"])
def test_exact_is_the_fixed_point_of_sweeps(terms):
    exact, swept = START.copy(), START.copy()
    update_rows(observe(X), exact, K, terms, max_sweeps=1, exact=True)
    update_rows(observe(X), swept, K, terms, max_sweeps=5000, delta=0.0)
    np.testing.assert_allclose(exact, swept, atol=1e-10)
    assert residual(exact, terms) <= 1e-24
    if not terms.pull.size:
        reference = np.array([scipy.optimize.nnls(K, x)[0] for x in X])
        np.testing.assert_allclose(exact, reference, atol=1e-10)


def test_component_without_curvature():
    idle = K.copy()
    idle[:, 2] = 0.0
    for exact in (False, True):
        F = START.copy()
        update_rows(observe(X), F, idle, no_terms(M, R), max_sweeps=2, exact=exact)
        np.testing.assert_array_equal(F[:, 2], START[:, 2])
        terms = no_terms(M, R)._replace(l1=np.full(M, 0.1))
        update_rows(observe(X), F, idle, terms, max_sweeps=2, exact=exact)
        np.testing.assert_array_equal(F[:, 2], 0.0)


@pytest.mark.parametrize("make", [observe, lambda X: observe(scipy.sparse.csr_array(X))], ids=["dense", "sparse"])
def test_threads_change_no_bit(make):
    tall = np.vstack([X] * 60)
    start = np.vstack([START] * 60)
    results = []
    for n_jobs in (1, 2):
        F = start.copy()
        update = update_rows(make(tall), F, K, no_terms(*F.shape), max_sweeps=3, n_jobs=n_jobs)
        results.append((F, update))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]


def test_float32_stays_and_agrees():
    F = START.astype(np.float32)
    update_rows(observe(X.astype(np.float32)), F, K.astype(np.float32), no_terms(M, R), max_sweeps=3, delta=0.0)
    assert F.dtype == np.float32
    np.testing.assert_allclose(F, slow_sweeps(START, no_terms(M, R), 3), atol=1e-5)


@pytest.mark.parametrize("known", [None, RNG.random((M, N)) < 0.3, RNG.random((M, N)) < 0.8])
def test_squared_error_entry_by_entry(known):
    inside = np.ones((M, N), dtype=bool) if known is None else known
    expected = np.sum((X - START @ K.T)[inside] ** 2)
    np.testing.assert_allclose(squared_error(observe(X, mask=known), START, K), expected, rtol=1e-12)
    perfect = START @ K.T
    assert squared_error(observe(perfect, mask=known), START, K) <= 1e-28


def test_squared_error_of_sparse_and_weighted():
    np.testing.assert_allclose(
        squared_error(observe(scipy.sparse.csr_array(X)), START, K), np.sum((X - START @ K.T) ** 2), rtol=1e-12
    )
    weights = RNG.integers(0, 3, (M, N)).astype(float)
    np.testing.assert_allclose(
        squared_error(observe(X, weights=weights), START, K), np.sum(weights * (X - START @ K.T) ** 2), rtol=1e-12
    )
