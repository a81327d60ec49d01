"""Columns of every kind of design against plain NumPy on the dense matrix."""

import numpy as np
import pytest
import scipy.sparse

from sparsemodels.solvers.columns import (
    SparseColumns,
    as_columns,
    column_axpy,
    column_dot,
    combine,
    correlate,
    correlate_some,
    shape,
)
from sparsemodels.solvers.kernel import kernel
from sparsemodels.solvers.unit_columns import append_columns, gather_normalized, gather_sparse

N, P = 23, 7


def dense(seed=0):
    rng = np.random.default_rng(seed)
    X = np.round(rng.standard_normal((N, P)), 2) * (rng.random((N, P)) < 0.6)
    X[:, 2] = 0.0
    return X


def read_only(X):
    X = X.copy(order="K")
    X.flags.writeable = False
    return X


def memmap(X, folder):
    file = folder / "X.bin"
    np.asfortranarray(X).T.tofile(file)
    return np.memmap(file, dtype=X.dtype, mode="r", shape=X.shape, order="F")


def csc(X, index, dtype=np.float64):
    matrix = scipy.sparse.csc_array(X.astype(dtype))
    return SparseColumns(matrix.data, matrix.indices.astype(index), matrix.indptr.astype(index), N)


def duplicates(X):
    """A CSC matrix in which every entry is stored as two halves, in falling order of the rows."""
    matrix = scipy.sparse.csc_array(X)
    columns = [(matrix.data[a:b], matrix.indices[a:b]) for a, b in zip(matrix.indptr, matrix.indptr[1:])]
    data = np.concatenate([np.tile(0.5 * d[::-1], 2) for d, _ in columns])
    indices = np.concatenate([np.tile(i[::-1], 2) for _, i in columns])
    return scipy.sparse.csc_array((data, indices, 2 * matrix.indptr), shape=X.shape)


DESIGNS = {
    "F order": lambda X, _: np.asfortranarray(X),
    "C order": lambda X, _: np.ascontiguousarray(X),
    "F order, float32": lambda X, _: np.asfortranarray(X, dtype=np.float32),
    "C order, float32": lambda X, _: np.ascontiguousarray(X, dtype=np.float32),
    "every other column": lambda X, _: np.repeat(X, 2, axis=1)[:, ::2],
    "rows reversed": lambda X, _: np.asfortranarray(X[::-1])[::-1],
    "read-only": lambda X, _: read_only(np.asfortranarray(X)),
    "read-only memmap": memmap,
    "CSC, 32 bits": lambda X, _: csc(X, np.int32),
    "CSC, 64 bits": lambda X, _: csc(X, np.int64),
    "CSC, float32": lambda X, _: csc(X, np.int32, np.float32),
    "CSC with duplicates": lambda X, _: duplicates(X),
    "CSR": lambda X, _: scipy.sparse.csr_array(X),
}


@kernel
def _visit(X, vector, dots):
    for j in range(dots.size):
        dots[j] = column_dot(X, j, vector)
        column_axpy(X, j, 0.5 * (j + 1), vector)


@pytest.mark.parametrize("kind", DESIGNS)
def test_products(kind, tmp_path):
    X = dense()
    design = as_columns(DESIGNS[kind](X, tmp_path))
    precision = 1e-6 if "float32" in kind else 1e-13
    vector = np.random.default_rng(1).standard_normal(N)
    assert shape(design) == (N, P)
    np.testing.assert_allclose(correlate(design, vector), X.T @ vector, atol=precision)
    out = np.full(P, np.nan)
    assert correlate(design, vector, out) is out
    np.testing.assert_allclose(out, X.T @ vector, atol=precision)
    indices, coef = np.array([5, 0, 2], dtype=np.int64), np.array([1.5, -2.0, 3.0])
    np.testing.assert_allclose(combine(design, indices, coef), X[:, indices] @ coef, atol=precision)
    np.testing.assert_array_equal(combine(design, indices[:0], coef[:0]), np.zeros(N))
    # Column by column, in compiled code: each product sees the vector that the columns before left.
    compiled, dots = vector.copy(), np.empty(P)
    _visit(design, compiled, dots)
    expected = vector.copy()
    for j in range(P):
        np.testing.assert_allclose(dots[j], X[:, j] @ expected, atol=10 * precision)
        expected += 0.5 * (j + 1) * X[:, j]
    np.testing.assert_allclose(compiled, expected, atol=10 * precision)


def test_designs_are_read_in_place(tmp_path):
    X = dense()
    for design in (np.asfortranarray(X), np.ascontiguousarray(X), memmap(X, tmp_path)):
        assert np.shares_memory(as_columns(design), design)
    matrix = scipy.sparse.csc_array(X)
    record = as_columns(matrix)
    assert np.shares_memory(record.data, matrix.data)
    assert np.shares_memory(record.indices, matrix.indices)
    assert as_columns(record) is record
    # Duplicates are summed in a copy: the caller's matrix stays as it is.
    twice = duplicates(X)
    data, indices = twice.data.copy(), twice.indices.copy()
    as_columns(twice)
    np.testing.assert_array_equal(twice.data, data)
    np.testing.assert_array_equal(twice.indices, indices)


def test_float32_columns_are_summed_in_float64():
    X = np.zeros((3, 1), dtype=np.float32)
    X[:, 0] = 1.0, 2.0**-30, -1.0
    for order in "CF":
        assert correlate(np.array(X, order=order), np.array([1.0, 1.0, 1.0]))[0] == 2.0**-30


def unit_columns(X, features, weights, centered):
    """Weighted, centred unit columns and their norms."""
    X = X[:, features].astype(float)
    if centered:
        X = X - X[0]  # exact for numbers near each other, so that no mean is large
        X = X - (weights @ X) / weights.sum()
    X = np.sqrt(weights)[:, None] * X
    norms = np.sqrt(np.sum(X * X, axis=0))
    return X / np.where(norms > 0.0, norms, 1.0), norms


def draw_weights(kind):
    rng = np.random.default_rng(2)
    weights = np.full(N, 1.0 / N) if kind == "even" else rng.exponential(size=N) * (rng.random(N) < 0.8)
    return weights / weights.sum()


FEATURES = np.array([6, 2, 0, 3], dtype=np.int64)


@pytest.mark.parametrize("weighting", ["even", "uneven"])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("kind", ["F order", "C order, float32", "read-only memmap", "CSC, 64 bits"])
def test_gather_normalized(kind, centered, weighting, tmp_path):
    X = dense()
    if "float32" in kind:
        X = X.astype(np.float32)
    weights = draw_weights(weighting)
    out, scale = np.full((N, 4), np.nan, order="F"), np.full(4, np.nan)
    gather_normalized(as_columns(DESIGNS[kind](X, tmp_path)), FEATURES, np.sqrt(weights), centered, out, scale)
    columns, norms = unit_columns(X, FEATURES, weights, centered)
    np.testing.assert_allclose(out, columns, atol=1e-14)
    np.testing.assert_allclose(scale, norms, rtol=1e-14)
    assert scale[1] == 0.0


@pytest.mark.parametrize("weighting", ["even", "uneven"])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_sparse_columns_are_centred_implicitly(index, centered, weighting):
    X, weights = dense(), draw_weights(weighting)
    root = np.sqrt(weights)
    gathered, scale = gather_sparse(csc(X, index), FEATURES, root, centered)
    columns, norms = unit_columns(X, FEATURES, weights, centered)
    np.testing.assert_allclose(scale, norms, rtol=1e-13)
    assert shape(gathered) == (N, 4)
    # A vector orthogonal to the centring direction, as every weighted and centred residual is.
    vector = np.random.default_rng(3).standard_normal(N)
    vector -= root * (root @ vector)
    dots, stored = np.empty(4), vector.copy()
    _visit(gathered, stored, dots)
    for j in range(4):
        np.testing.assert_allclose(dots[j], columns[:, j] @ vector, atol=1e-13)
        vector += 0.5 * (j + 1) * columns[:, j]
    np.testing.assert_allclose(stored + gathered.shift[0] * root, vector, atol=1e-13)


@pytest.mark.parametrize("offset", [1e8, -3e5])
def test_large_means_cost_only_the_rounding_of_the_data(offset):
    rng = np.random.default_rng(4)
    X = offset + rng.standard_normal((50, 3))  # rounded to its own precision here; exact from now on
    weights = rng.exponential(size=50)
    weights /= weights.sum()
    columns, norms = unit_columns(X, np.arange(3), weights, True)
    out, scale = np.empty((50, 3), order="F"), np.empty(3)
    gather_normalized(X, np.arange(3), np.sqrt(weights), True, out, scale)
    np.testing.assert_allclose(scale, norms, rtol=1e-14)
    np.testing.assert_allclose(out, columns, atol=1e-14)
    _, scale = gather_sparse(as_columns(scipy.sparse.csc_array(X)), np.arange(3), np.sqrt(weights), True)
    # The weighted entries are stored with their means in them, so these round.
    np.testing.assert_allclose(scale, norms, rtol=1e-16 * abs(offset))


@pytest.mark.parametrize("constant", [1.0, 0.1, -3.3e8, 1e-9])
def test_a_constant_column_is_zero_once_centred(constant):
    # Whatever the mean's rounding leaves of it must not be blown up to a unit column of noise.
    n = 100_000 if constant == 0.1 else N
    X = np.column_stack([np.full(n, constant), np.arange(n)])
    rng = np.random.default_rng(5)
    for weights in (np.full(n, 1.0 / n), rng.exponential(size=n) / n):
        out, scale = np.empty((n, 2), order="F"), np.empty(2)
        gather_normalized(X, np.arange(2), np.sqrt(weights), True, out, scale)
        assert scale[0] == 0.0
        np.testing.assert_array_equal(out[:, 0], np.zeros(n))
        assert scale[1] > 1.0
        _, scale = gather_sparse(as_columns(scipy.sparse.csc_array(X)), np.arange(2), np.sqrt(weights), True)
        assert scale[0] == 0.0
        assert scale[1] > 1.0


@pytest.mark.parametrize("layout", ["F", "C", "csc"])
def test_some_products_leave_the_others_alone(layout):
    X, vector = dense(), np.random.default_rng(1).standard_normal(N)
    design = as_columns(scipy.sparse.csc_array(X)) if layout == "csc" else np.array(X, order=layout)
    out = np.full(P, 7.0)
    correlate_some(design, np.array([4, 1]), vector, out)
    expected = np.full(P, 7.0)
    expected[[4, 1]] = X[:, [4, 1]].T @ vector
    np.testing.assert_allclose(out, expected, atol=1e-14)


def test_appended_columns_are_those_gathered_at_once():
    design = as_columns(scipy.sparse.csc_array(dense()))
    root = np.sqrt(np.random.default_rng(2).uniform(0.5, 1.5, N))
    whole, scale = gather_sparse(design, np.array([5, 0, 3, 6]), root, True)
    first, second = (gather_sparse(design, np.array(part), root, True) for part in ([5, 0], [3, 6]))
    joined = append_columns(first[0], second[0])
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(joined.columns, name), getattr(whole.columns, name))
    np.testing.assert_array_equal(joined.means, whole.means)
    np.testing.assert_array_equal(np.concatenate([first[1], second[1]]), scale)
