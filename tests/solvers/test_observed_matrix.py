import numpy as np
import pytest
import scipy.sparse

from sparsemodels.solvers.observed_matrix import (
    DenseMatrix,
    MostEntries,
    SomeEntries,
    SparseMatrix,
    observe,
    power_sum,
    shape,
    total_weight,
    transposed,
    values,
)

RNG = np.random.default_rng(0)
X = RNG.random((7, 5))


def implicit(known):
    i, j = np.nonzero(known)
    return scipy.sparse.csr_array((X[i, j], (i, j)), shape=X.shape)


def same(first, second):
    assert type(first) is type(second)
    for one, other in zip(first, second, strict=True):
        if isinstance(one, tuple):
            same(one, other)
        else:
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("share", [0.3, 0.8])
@pytest.mark.parametrize("filler", [np.nan, 1e300, -5.0, np.inf])
def test_three_ways_to_be_unknown_give_one_record(share, filler):
    known = RNG.random(X.shape) < share
    reference = observe(X, mask=known)
    assert isinstance(reference, SomeEntries if share < 0.5 else MostEntries)
    same(reference, observe(np.where(known, X, filler), mask=known))
    same(reference, observe(np.where(known, X, np.nan)))
    same(reference, observe(implicit(known), implicit=True))
    same(reference, observe(np.where(known, X, filler), weights=known.astype(float)))


def test_all_known_is_complete():
    assert isinstance(observe(X), DenseMatrix)
    assert observe(X).X is X
    same(observe(X), observe(X, mask=np.ones(X.shape, dtype=bool)))
    assert isinstance(observe(scipy.sparse.csr_array(X)), SparseMatrix)


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_weights_belong_to_their_entries_in_both_orders(share):
    weights = np.where(RNG.random(X.shape) < share, RNG.integers(1, 4, X.shape), 0.0)
    record = observe(X, weights=weights)
    assert isinstance(record, SomeEntries)
    for entries, reference in ((record.rows, weights), (record.columns, weights.T)):
        dense = scipy.sparse.csr_array((entries.weights, entries.indices, entries.indptr), shape=reference.shape)
        np.testing.assert_array_equal(dense.toarray(), reference)
    np.testing.assert_allclose(total_weight(record), weights.sum())
    np.testing.assert_allclose(power_sum(record, 2.0), np.sum(weights * X**2))
    sparse = scipy.sparse.csr_array(np.where(weights > 0, X, 0.0))
    same(record, observe(sparse, weights=weights[weights > 0], implicit=True))


def test_weights_of_sparse_input_may_drop_entries():
    known = RNG.random(X.shape) < 0.5
    sparse = implicit(known)
    weights = np.where(np.arange(sparse.nnz) % 3 == 0, 0.0, 2.0)
    record = observe(sparse, weights=weights, implicit=True)
    assert record.rows.data.size == np.count_nonzero(weights)
    np.testing.assert_array_equal(record.rows.data, sparse.data[weights > 0])


@pytest.mark.parametrize("known", [None, RNG.random(X.shape) < 0.3, RNG.random(X.shape) < 0.8])
def test_totals(known):
    record = observe(X, mask=known)
    inside = np.ones(X.shape, dtype=bool) if known is None else known
    for view, expected in ((record, X.shape), (transposed(record), X.shape[::-1])):
        assert shape(view) == expected
        np.testing.assert_allclose(total_weight(view), inside.sum())
        np.testing.assert_allclose(power_sum(view, 2.0), np.sum(X[inside] ** 2))
        np.testing.assert_allclose(power_sum(view, 1.0), np.sum(X[inside]))
    same(transposed(transposed(record)), record)


def test_input_is_not_changed():
    unsorted = scipy.sparse.csr_array(
        (np.array([1.0, 2.0, 3.0]), np.array([1, 0, 1], dtype=np.int32), np.array([0, 3], dtype=np.int32)), shape=(1, 2)
    )
    record = observe(unsorted)
    np.testing.assert_array_equal(unsorted.indices, [1, 0, 1])
    np.testing.assert_array_equal(values(record), [2.0, 4.0])


def test_power_sum_in_float64_for_float32():
    many = np.full((1, 3_000_000), 0.1, dtype=np.float32)
    np.testing.assert_allclose(power_sum(observe(many), 2.0), many.size * float(np.float32(0.1)) ** 2, rtol=1e-12)
