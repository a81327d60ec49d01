"""Standardized designs of every form against the same columns computed densely."""

import numpy as np
import pytest
import scipy.sparse
from scipy.sparse.linalg import aslinearoperator

from sparsemodels.solvers.standardized_design import columns, cross, product, squared_norms, standardize

N, P = 9, 6


def reference(X, weights, center):
    """The standardized columns by their definition, and the norms that were divided by."""
    weights = np.ones(len(X)) if weights is None else weights
    X = X.astype(np.result_type(X.dtype, np.float64))
    if center:
        X = X - weights @ X / weights.sum()
    X = np.sqrt(weights)[:, None] * X
    norms = np.sqrt(np.sum(np.abs(X) ** 2, axis=0))
    return X / norms, norms


def data(seed=0, is_complex=False):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N, P)) * (rng.random((N, P)) < 0.7) + 0.1 * rng.standard_normal((N, P))
    if is_complex:
        X = X + 1j * rng.standard_normal((N, P))
    return X


FORMS = {
    "columns": np.asfortranarray,
    "rows": np.ascontiguousarray,
    "strided": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "float32": lambda X: X.astype(np.complex64 if np.iscomplexobj(X) else np.float32),
    "sparse": scipy.sparse.csc_array,
    "sparse rows": scipy.sparse.csr_array,
    "operator": aslinearoperator,
}


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_its_dense_definition(form, weighted, center, is_complex):
    rng = np.random.default_rng(1)
    X = data(is_complex=is_complex)
    if form == "float32":
        X = X.astype(np.complex64 if is_complex else np.float32).astype(X.dtype)  # the same numbers
    weights = rng.random(N) + 0.2 if weighted else None
    expected, norms = reference(X, weights, center)
    if form == "operator":  # whose norms are not known
        expected, norms = expected * norms, np.ones(P)
    given = FORMS[form](X)
    if isinstance(given, np.ndarray):
        given.setflags(write=False)
    design = standardize(given, weights, center=center)
    block, coef = rng.standard_normal((N, 2)), rng.standard_normal((P, 3))
    if is_complex:
        block = block + 1j * rng.standard_normal((N, 2))
    some = np.array([4, 0, 1])
    assert np.allclose(design.norms, norms, rtol=1e-12, atol=0.0)
    assert np.allclose(columns(design, some), expected[:, some], rtol=0.0, atol=1e-13 * np.abs(expected).max())
    assert np.allclose(cross(design, block), expected.conj().T @ block, rtol=0.0, atol=1e-12)
    assert np.allclose(product(design, coef), expected @ coef, rtol=0.0, atol=1e-12)
    assert np.allclose(squared_norms(design), np.sum(np.abs(expected) ** 2, axis=0), rtol=1e-12)
    assert columns(design, some).dtype == (np.complex128 if is_complex else np.float64)


@pytest.mark.parametrize("center", [False, True])
def test_integer_weights_are_repeated_rows(center):
    X, counts = data(), np.array([1, 3, 0, 2, 1, 1, 4, 1, 2])
    weighted = columns(standardize(X, counts, center=center), np.arange(P))
    repeated = columns(standardize(np.repeat(X, counts, axis=0), center=center), np.arange(P))
    assert np.allclose(weighted.T @ weighted, repeated.T @ repeated, rtol=0.0, atol=1e-13)


@pytest.mark.parametrize("level", [0.0, 0.1, -1e8 / 3.0])
@pytest.mark.parametrize("make", [np.asarray, scipy.sparse.csc_array, lambda X: X.astype(np.float32)])
def test_constant_columns_are_zeros(make, level):
    X = data()
    X[:, 2] = level
    weights = np.random.default_rng(0).random(N)
    design = standardize(make(X), weights)
    assert np.isinf(design.norms).tolist() == [False, False, True, False, False, False]
    assert not columns(design, np.array([2])).any()
    assert not cross(design, np.ones((N, 1)))[2].any()
    assert squared_norms(design).tolist() == [1.0, 1.0, 0.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("make", [np.asarray, scipy.sparse.csc_array])
def test_huge_means_lose_no_more_than_the_data_have(make):
    rng = np.random.default_rng(0)
    Z = np.round(rng.standard_normal((40, P)) * 2.0**16) / 2.0**16  # on a grid: adding the mean is exact
    expected, _ = reference(Z, None, True)
    design = standardize(make(Z + 2.0**30))
    block, coef = rng.standard_normal((40, 2)), rng.standard_normal((P, 2))
    # The mean itself is rounded to 2**30 * eps = 2e-7 of the spread, which centring twice would not cure.
    assert np.allclose(columns(design, np.arange(P)), expected, rtol=0.0, atol=2e-7)
    assert np.allclose(cross(design, block), expected.T @ block, rtol=0.0, atol=2e-6)
    assert np.allclose(product(design, coef), expected @ coef, rtol=0.0, atol=2e-6)
    near = columns(design, np.arange(P))
    assert np.allclose(cross(design, block), near.T @ block, rtol=0.0, atol=1e-13)
    assert np.allclose(product(design, coef), near @ coef, rtol=0.0, atol=1e-13)


@pytest.mark.parametrize("scale", [1e-150, 1e-6, 1e6, 1e150])
def test_the_scale_of_the_design_decides_nothing(scale):
    X, block = data(), np.random.default_rng(0).standard_normal((N, 2))
    assert np.allclose(cross(standardize(scale * X), block), cross(standardize(X), block), rtol=1e-12, atol=1e-14)
