"""Gram matrices of single rows against sums over the known entries, one by one."""

import numpy as np
import pytest
import scipy.sparse

from sparsemodels.solvers.observed_matrix import MostEntries, SomeEntries, observe
from sparsemodels.solvers.row_grams import new_tile, row_grams


def slow(X, weights, K):
    """G and b of all rows by sums over the entries; `weights` are zero where unknown."""
    X = np.where(weights > 0.0, X, 0.0)
    G = np.einsum("ij,ja,jb->iab", weights, K, K)
    return G, (weights * X) @ K


def problem(n_rows=30, n_columns=70, share=0.3, n_components=5, dtype=np.float64):
    rng = np.random.default_rng(0)
    X = rng.random((n_rows, n_columns)).astype(dtype)
    K = np.maximum(rng.standard_normal((n_columns, n_components)), 0.0).astype(dtype)
    known = rng.random(X.shape) < share
    known[3] = False
    known[:, 2] = False
    return X, K, known


@pytest.mark.parametrize("n_components", [1, 3, 4, 7, 11])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.8])
def test_known_entries(n_components, share):
    X, K, known = problem(share=share, n_components=n_components)
    matrix = observe(X, mask=known)
    assert isinstance(matrix, MostEntries if share > 0.5 else SomeEntries)
    rows = np.array([29, 0, 3, 3, 17])
    G, b = row_grams(matrix, K, rows)
    expected_G, expected_b = slow(X, known.astype(float), K)
    np.testing.assert_allclose(G, expected_G[rows], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(b, expected_b[rows], rtol=1e-12, atol=1e-12)


def test_weights():
    X, K, known = problem()
    weights = np.random.default_rng(1).integers(1, 4, X.shape) * known.astype(float)
    G, b = row_grams(observe(X, weights=weights), K, np.arange(30))
    expected_G, expected_b = slow(X, weights, K)
    np.testing.assert_allclose(G, expected_G, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(b, expected_b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("as_sparse", [False, True])
def test_all_entries(as_sparse):
    X, K, known = problem()
    X = np.where(known, X, 0.0)
    G, b = row_grams(observe(scipy.sparse.csr_array(X) if as_sparse else X), K, np.array([4, 1]))
    np.testing.assert_allclose(G, np.stack([K.T @ K] * 2), rtol=1e-13)
    np.testing.assert_allclose(b, X[[4, 1]] @ K, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_rows_longer_than_a_tile(weighted):
    rng = np.random.default_rng(2)
    n_columns = 2 * new_tile(6).shape[1] + 13
    X, K = rng.random((3, 4 * n_columns)), rng.random((4 * n_columns, 6))
    weights = np.zeros(X.shape)
    weights[:, rng.choice(4 * n_columns, n_columns, replace=False)] = 1.0
    if weighted:
        weights *= rng.random(X.shape) + 0.5
    matrix = observe(X, weights=weights)
    assert isinstance(matrix, SomeEntries)
    G, b = row_grams(matrix, K, np.arange(3))
    expected_G, expected_b = slow(X, weights, K)
    np.testing.assert_allclose(G, expected_G, rtol=1e-12)
    np.testing.assert_allclose(b, expected_b, rtol=1e-12)


def test_a_component_on_unknown_entries_survives_the_difference():
    """What is known of the component is 1e-20 of it: the difference of the Gram matrices has no digit of that."""
    X, K, _ = problem(n_components=3)
    K[:, 2] = 1e-10
    K[:5, 2] = 1.0
    known = np.ones(X.shape, dtype=bool)
    known[4, :5] = False
    G, b = row_grams(observe(X, mask=known), K, np.array([4]))
    expected_G, expected_b = slow(X, known.astype(float), K)
    np.testing.assert_allclose(G[0], expected_G[4], rtol=1e-12)
    np.testing.assert_allclose(b[0], expected_b[4], rtol=1e-12)


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_float32_is_summed_in_float64(share):
    X, K, known = problem(share=share, dtype=np.float32)
    G, b = row_grams(observe(X, mask=known), K, np.arange(30))
    expected_G, expected_b = slow(X.astype(float), known.astype(float), K.astype(float))
    assert G.dtype == b.dtype == np.float64
    np.testing.assert_allclose(G, expected_G, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(b, expected_b, rtol=1e-6 if share > 0.5 else 1e-12, atol=1e-12)


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_values_at_unknown_positions_do_not_matter(share):
    X, K, known = problem(share=share)
    answers = []
    for fill in (0.0, 1e300, np.nan, -5.0, np.inf):
        answers.append(row_grams(observe(np.where(known, X, fill), mask=known), K, np.arange(30)))
    for G, b in answers[1:]:
        assert np.array_equal(G, answers[0][0])
        assert np.array_equal(b, answers[0][1])


def test_indices_of_64_bits():
    X, K, known = problem()
    matrix = observe(X, mask=known)
    wide = SomeEntries(
        *(side._replace(indices=side.indices.astype(np.int64), indptr=side.indptr.astype(np.int64)) for side in matrix)
    )
    for narrow, other in zip(row_grams(matrix, K, np.arange(30)), row_grams(wide, K, np.arange(30)), strict=True):
        assert np.array_equal(narrow, other)
