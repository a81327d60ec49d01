"""The largest entries of rows, against sorting."""

import numpy as np
import pytest

from sparsemodels.solvers.row_selection import largest_in_rows


def sorted_selection(row, k, signed):
    key = np.abs(row) if signed else row
    order = np.argsort(-np.nan_to_num(key, nan=-1.0), kind="stable")[:k]
    return np.sort(order[np.nan_to_num(key[order], nan=-1.0) > 0.0])


@pytest.mark.parametrize("n_columns", [1, 2, 5, 33, 100, 1000])
@pytest.mark.parametrize("k", [1, 2, 7, 40, 200])
@pytest.mark.parametrize("signed", [False, True])
def test_equals_a_stable_sort(n_columns, k, signed):
    A = np.random.default_rng(k).standard_normal((20, n_columns))
    A[::2] = np.round(A[::2])  # many ties
    A[3], A[5] = 0.0, -1.0
    A[7, 0] = np.nan
    before = A.copy()
    indices, values, counts = largest_in_rows(A, k, signed)
    assert indices.shape == values.shape == (20, min(k, n_columns))
    for i, row in enumerate(A):
        expected = sorted_selection(row, k, signed)
        np.testing.assert_array_equal(indices[i, : counts[i]], expected)
        np.testing.assert_array_equal(values[i, : counts[i]], row[expected])
        assert not values[i, counts[i] :].any()
    np.testing.assert_array_equal(A, before)


def test_single_precision_and_threads():
    A = np.random.default_rng(0).standard_normal((3000, 300)).astype(np.float32)
    one, two = largest_in_rows(A, 9, True), largest_in_rows(A, 9, True, n_jobs=2)
    assert one[1].dtype == np.float32
    for a, b in zip(one, two):
        np.testing.assert_array_equal(a, b)
