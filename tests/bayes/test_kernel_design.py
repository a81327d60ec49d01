"""Kernels against their formulas, and factors of low rank against the kernels."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.metrics.pairwise import pairwise_kernels

from sparsemodels.bayes.kernel_design import gaussian_kernel, kernel_factor, kernel_matrix, kernel_width
from sparsemodels.solvers.low_rank_design import low_rank_design, partial_cholesky
from sparsemodels.solvers.standardized_design import columns, cross, standardize

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(1, 3), (64, 1), (130, 5)])
def test_the_gaussian_kernel_is_its_formula_far_from_the_origin_too(shape):
    X, Y = 1e4 + RNG.standard_normal(shape), 1e4 + RNG.standard_normal((7, shape[1]))
    for other in (None, Y):
        apart = X[:, None] - (X if other is None else other)[None]
        expected = np.exp(-0.3 * (apart**2).sum(axis=2))
        np.testing.assert_allclose(gaussian_kernel(X, other, gamma=0.3), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf", "sigmoid", "laplacian"])
def test_sparse_and_dense_samples_have_the_same_kernel(kernel):
    X, Y = RNG.standard_normal((12, 4)), RNG.standard_normal((5, 4))
    parameters = {"gamma": 0.2, "degree": 2, "coef0": 0.5}
    name = "polynomial" if kernel == "poly" else kernel
    expected = pairwise_kernels(X, Y, metric=name, filter_params=True, **parameters)
    for left, right in ((X, Y), (scipy.sparse.csr_array(X), scipy.sparse.csr_array(Y))):
        found = kernel_matrix(left, right, kernel=kernel, **parameters)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_the_scale_width_weighs_samples_as_repetitions():
    X = RNG.standard_normal((6, 3)) + 5.0
    weights = np.array([1.0, 3.0, 0.0, 2.0, 1.0, 1.0])
    repeated = np.repeat(X, weights.astype(int), axis=0)
    assert kernel_width("scale", X, weights) == pytest.approx(1.0 / (3 * repeated.var()), rel=1e-12)
    sparse = kernel_width("scale", scipy.sparse.csr_array(X), weights)
    assert sparse == pytest.approx(1.0 / (3 * repeated.var()), rel=1e-10)
    assert kernel_width("scale", np.ones((3, 2))) == 1.0
    assert kernel_width("auto", X) == pytest.approx(1.0 / 3.0)


def test_a_callable_must_return_a_finite_real_matrix_of_the_right_shape():
    X = np.ones((3, 1))
    for kernel, message in (
        (lambda X, Y: np.ones(3), "one row for each row of X"),
        (lambda X, Y: np.full((3, 3), np.nan), "finite"),
        (lambda X, Y: np.ones((3, 3), dtype=complex), "real"),
    ):
        with pytest.raises(ValueError, match=message):
            kernel_matrix(X, kernel=kernel)


@pytest.mark.parametrize(
    ("kernel", "parameters"),
    [("rbf", {"gamma": 0.5}), ("linear", {}), ("poly", {"gamma": 0.3, "degree": 3, "coef0": 1.0})],
)
def test_a_low_rank_factor_reproduces_the_kernel(kernel, parameters):
    X = RNG.uniform(-3.0, 3.0, (400, 2 if kernel != "rbf" else 1))
    factor = kernel_factor(X, kernel=kernel, **parameters)
    K = kernel_matrix(X, kernel=kernel, **parameters)
    assert factor.shape[1] <= 50
    size = np.sqrt(np.diag(K))
    assert np.max(np.abs(factor @ factor.T - K) / np.outer(size, size)) < 1e-12
    assert kernel_factor(RNG.standard_normal((400, 10)), gamma=0.1) is None
    assert partial_cholesky(lambda j: np.eye(3)[j], np.ones(3), 2) is None


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_a_low_rank_design_has_the_inner_products_of_the_whole(center, weighted):
    X = RNG.uniform(-3.0, 3.0, (300, 1))
    weights = RNG.uniform(0.5, 2.0, 300) if weighted else None
    K = gaussian_kernel(X, gamma=0.5)
    Y = RNG.standard_normal((300, 2))
    if center:
        root = np.ones(300) if weights is None else np.sqrt(weights)
        Y -= np.outer(root, root @ Y / (root @ root))
    whole = standardize(K, weights, center=center)
    low = low_rank_design(kernel_factor(X, gamma=0.5), Y, weights, center=center)
    every = np.arange(300)
    A, B = columns(whole, every), columns(low.design, every)
    np.testing.assert_allclose(B.T @ B, A.T @ A, atol=1e-11)
    np.testing.assert_allclose(cross(low.design, low.Y), cross(whole, Y), atol=1e-11)
    assert np.vdot(low.Y, low.Y) == pytest.approx(np.vdot(Y, Y), rel=1e-12)
    np.testing.assert_allclose(low.design.norms, whole.norms, rtol=1e-11)
    if center:
        np.testing.assert_allclose(low.means, whole.means, rtol=1e-12)
