"""EASE's solver: closed form, certificate, Gram products in every form."""

import array_api_strict
import numpy as np
import pytest
import scipy.sparse

from sparsemodels.solvers import item_regression
from sparsemodels.solvers.item_regression import gram_matrix, regress_items, regress_items_of_array


def problem(n_items, density, dtype=np.float64):
    random = np.random.default_rng(n_items)
    dense = random.standard_normal((200, n_items)) * (random.random((200, n_items)) < density)
    return dense.astype(dtype), random.random(200), 0.5 + random.random(n_items)


def closed_form(dense, weights, ridge):
    gram = dense.T.astype(float) @ (weights[:, None] * dense)
    inverse = np.linalg.inv(gram + np.diag(ridge))
    coef = -inverse / np.diag(inverse)
    np.fill_diagonal(coef, 0.0)
    return gram, coef


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("form", ["csr", "C", "F"])
@pytest.mark.parametrize(("n_items", "density"), [(5, 0.9), (90, 0.02), (90, 0.6)])
@pytest.mark.parametrize("n_jobs", [1, 3])
def test_upper_triangle_of_the_gram_matrix(dtype, form, n_items, density, n_jobs):
    dense, weights, _ = problem(n_items, density, dtype)
    X = scipy.sparse.csr_array(dense) if form == "csr" else np.asarray(dense, order=form)
    expected = np.triu(dense.T.astype(float) @ (weights[:, None] * dense))
    found = gram_matrix(X, weights, n_jobs=n_jobs)
    assert found.dtype == dtype
    np.testing.assert_allclose(np.triu(found), expected, atol=1e-4 if dtype == np.float32 else 1e-12)
    if form == "csr":
        np.testing.assert_array_equal(np.triu(found), np.triu(gram_matrix(X, weights)))
    twice = gram_matrix(X, weights, out=found)
    np.testing.assert_allclose(np.triu(twice), 2.0 * expected, atol=2e-4 if dtype == np.float32 else 1e-12)


def test_products_of_entries_stored_twice_and_out_of_order():
    csr = scipy.sparse.csr_array(([1.0, 2.0, 3.0, 4.0], [2, 0, 2, 1], [0, 3, 4]), shape=(2, 3))
    dense = csr.toarray()
    before = csr.indices.copy()
    np.testing.assert_array_equal(np.triu(gram_matrix(csr)), np.triu(dense.T @ dense))
    np.testing.assert_array_equal(csr.indices, before)


@pytest.mark.parametrize("n_items", [1, 7, 64, 150])
@pytest.mark.parametrize("overwrite", [False, True])
def test_weights_are_the_closed_form(n_items, overwrite):
    dense, weights, ridge = problem(n_items, 0.3)
    expected_gram, expected = closed_form(dense, weights, ridge)
    gram = gram_matrix(dense, weights)
    solution = regress_items(gram, ridge, overwrite=overwrite)
    np.testing.assert_allclose(solution.coef, expected, atol=1e-12)
    assert (np.diag(solution.coef) == 0.0).all()
    assert np.shares_memory(solution.coef, gram) == overwrite
    if not overwrite:  # the Gram matrix can be added to and solved again
        np.testing.assert_allclose(np.triu(gram), np.triu(expected_gram), atol=1e-12)
        np.testing.assert_array_equal(regress_items(gram, ridge).coef, solution.coef)


def exact_gradient(gram, ridge, coef):
    off = ~np.eye(len(gram), dtype=bool)
    return np.linalg.norm(((gram + np.diag(ridge)) @ coef - gram)[off]) / np.linalg.norm(gram[off])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_certificate_estimates_the_gradient_from_outside(dtype, monkeypatch):
    dense, weights, ridge = problem(100, 0.3, dtype)
    gram, _ = closed_form(dense, weights, ridge)
    solution = regress_items(gram_matrix(dense, weights), ridge)
    eps = np.finfo(dtype).eps
    assert solution.kkt < 20 * eps
    assert exact_gradient(gram, ridge, solution.coef.astype(float)) < 20 * eps
    # An inverse that is wrong by far more than rounding: the estimate must follow the exact gradient.
    invert = item_regression.scipy.linalg.lapack.get_lapack_funcs

    def spoiled(names, arrays):
        factorize, inverse = invert(names, arrays)

        def wrong(array, **options):
            result = inverse(array, **options)
            n = len(array)
            noise = 1.0 + 0.05 * np.random.default_rng(1).standard_normal((n, n))
            array[...] *= np.where(np.tri(n, k=-1).T > 0, noise, 1.0).astype(array.dtype)
            return result

        return factorize, wrong

    monkeypatch.setattr(item_regression.scipy.linalg.lapack, "get_lapack_funcs", spoiled)
    broken = regress_items(gram_matrix(dense, weights), ridge)
    exact = exact_gradient(gram, ridge, broken.coef.astype(float))
    assert exact > 1e-3
    assert 0.5 < broken.kkt / exact < 1.5


def test_singular_gram_matrix_is_refused_and_kept():
    dense = np.ones((4, 3))
    gram = gram_matrix(dense)
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        regress_items(gram, np.full(3, -1.0))
    np.testing.assert_array_equal(np.triu(gram), np.triu(dense.T @ dense))


def test_other_arrays_give_the_same():
    dense, weights, ridge = problem(20, 0.5)
    gram, expected = closed_form(dense, weights, ridge)
    solution = regress_items_of_array(array_api_strict.asarray(gram), array_api_strict.asarray(ridge))
    np.testing.assert_allclose(np.asarray(solution.coef), expected, atol=1e-12)
    assert solution.kkt < 1e-13
