import numpy as np
import pytest
import scipy.sparse

from sparsemodels.solvers.column_moments import column_moments
from sparsemodels.solvers.columns import as_columns
from sparsemodels.solvers.gram_rows import GramRows, products

LAYOUTS = {
    "F": np.asfortranarray,
    "C": np.ascontiguousarray,
    "F32": lambda A: np.asfortranarray(A, dtype=np.float32),
    "C32": lambda A: np.ascontiguousarray(A, dtype=np.float32),
    "strided": lambda A: np.repeat(np.repeat(A, 2, axis=0), 2, axis=1)[::2, ::2],
    "csc": scipy.sparse.csc_array,
    "csc64": lambda A: scipy.sparse.csc_array(
        (lambda S: (S.data, S.indices.astype(np.int64), S.indptr.astype(np.int64)))(scipy.sparse.csc_array(A)),
        shape=A.shape,
    ),
}


def problem(layout, n_columns=13):
    rng = np.random.default_rng(0)
    dense = rng.integers(-3, 4, (9, n_columns)) * (rng.random((9, n_columns)) < 0.7)
    return rng, dense.astype(float), as_columns(LAYOUTS[layout](dense.astype(float)))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n_block", [1, 3, 4, 9])
def test_products(layout, n_block):
    rng, dense, X = problem(layout)
    block = rng.standard_normal((n_block, 9))
    np.testing.assert_allclose(products(X, block, np.empty((n_block, 13))), block @ dense, atol=1e-13)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("centred", [False, True])
def test_column_moments(layout, centred):
    rng, dense, X = problem(layout)
    weights, vector = rng.random(9), rng.standard_normal(9)
    weights[2] = 0.0
    mean, square, product = column_moments(X, weights, vector, centred=centred)
    expected = weights @ dense / weights.sum() if centred else np.zeros(13)
    np.testing.assert_allclose(mean, expected, atol=1e-14)
    np.testing.assert_allclose(square, weights @ (dense - expected) ** 2, atol=1e-13)
    np.testing.assert_allclose(product, vector @ dense, atol=1e-13)


def test_the_variance_beside_a_large_mean_keeps_its_digits():
    column = 1e8 + np.array([[0.0], [1.0], [2.0]])
    for X in (np.asfortranarray(column), scipy.sparse.csc_array(column)):
        _, square, _ = column_moments(as_columns(X), np.ones(3), np.ones(3), centred=True)
        assert square[0] == 2.0


@pytest.mark.parametrize("layout", ["F", "C", "csc"])
def test_rows_of_chosen_columns_are_gram_rows(layout):
    rng, dense, X = problem(layout, 100)
    weights = rng.random(9)
    mean = weights @ dense / weights.sum()
    gram = (dense - mean).T @ (weights[:, None] * (dense - mean))
    rows, chosen = GramRows(X, weights, mean), []
    for step, j in enumerate(rng.permutation(100)[:80]):
        rows.choose(int(j), rng.random(100), 80 - step)
        chosen.append(j)
        np.testing.assert_allclose(rows.chosen, gram[chosen], atol=1e-11)
    assert rows.columns[:80] == chosen
    assert len(set(rows.columns)) == len(rows.columns)


def test_moments_of_a_full_sparse_column_with_a_large_mean():
    """No row is left without a stored value: the rounding of their weight must not meet the squared mean."""
    column = 1e8 + np.random.default_rng(0).standard_normal((1000, 1))
    weights = np.random.default_rng(1).uniform(0.5, 1.5, 1000)
    dense = column_moments(column, weights, np.ones(1000), centred=True)
    sparse = column_moments(as_columns(scipy.sparse.csc_array(column)), weights, np.ones(1000), centred=True)
    np.testing.assert_allclose(sparse[1], dense[1], rtol=1e-6)
