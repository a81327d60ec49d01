"""Beta-divergences: their values, limits and derivatives, and the sums of many of them."""

import numpy as np
import pytest
import scipy.sparse

from sparsemodels.solvers import beta_divergence as bd
from sparsemodels.solvers.observed_matrix import observe

BETAS = [-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]


@pytest.mark.parametrize("beta", BETAS)
def test_divergence_is_zero_only_at_equality(beta):
    x, y = np.meshgrid(np.linspace(0.2, 3.0, 8), np.linspace(0.2, 3.0, 8))
    d = bd.divergence(x, y, beta)
    np.testing.assert_allclose(np.diag(d), 0.0, atol=1e-14)
    assert (d[~np.eye(8, dtype=bool)] > 1e-3).all()


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_limits(beta):
    """The closed forms at 0 and 1 are the limits of the general one."""
    x, y = np.array([0.3, 2.0, 5.0]), np.array([1.0, 0.4, 5.5])
    both = [bd.divergence(x, y, beta + h) for h in (-1e-4, 1e-4)]
    np.testing.assert_allclose(bd.divergence(x, y, beta), np.mean(both, axis=0), rtol=1e-6)


@pytest.mark.parametrize("beta", BETAS)
def test_derivatives_against_differences(beta):
    x, y, h = np.array([0.3, 2.0, 5.0]), np.array([1.0, 0.4, 5.5]), 1e-5
    low, high = (bd.divergence(x, y + s, beta) for s in (-h, h))
    np.testing.assert_allclose(bd.derivative(x, y, beta), (high - low) / (2 * h), rtol=1e-7, atol=1e-9)
    slope = (bd.derivative(x, y + h, beta) - bd.derivative(x, y - h, beta)) / (2 * h)
    curvature = bd.curvature(x, y, beta)
    assert (curvature > 0.0).all()
    if bd.is_convex(beta):
        np.testing.assert_allclose(curvature, slope, rtol=1e-7, atol=1e-9)
    else:  # without its concave part the curvature is larger
        assert (curvature > slope).all()


@pytest.mark.parametrize("beta", BETAS)
def test_scaling(beta):
    x, y = np.array([0.3, 2.0, 5.0]), np.array([1.0, 0.4, 5.5])
    np.testing.assert_allclose(bd.divergence(7 * x, 7 * y, beta), 7**beta * bd.divergence(x, y, beta), rtol=1e-12)


def test_zeros():
    assert bd.divergence(0.0, 2.0, 1.0) == 2.0  # 0 log 0 = 0
    assert bd.divergence(0.0, 0.0, 1.0) == 0.0
    assert bd.divergence(1.0, 0.0, 1.0) == np.inf
    np.testing.assert_allclose(bd.divergence(0.0, 4.0, 0.5), 4.0)  # y^b / b


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("weighted", [False, True])
def test_sums_of_rows(beta, weighted):
    """The compiled sums, and the compiled change from one approximation to another."""
    rng = np.random.default_rng(0)
    n = 37
    x, y, new = rng.gamma(1.0, 2.0, n), rng.gamma(1.0, 2.0, n) + 1e-3, rng.gamma(1.0, 2.0, n) + 1e-3
    if beta > 0.0:
        x[::5] = 0.0
    weights = rng.gamma(1.0, 1.0, n) if weighted else np.empty(0)
    w = weights if weighted else 1.0
    scratch = np.empty((3, n))
    bits = scratch[0].view(np.int64)
    before, after = (np.sum(w * bd.divergence(x, fit, beta)) for fit in (y, new))
    np.testing.assert_allclose(bd.divergence_sum(x, weights, y, beta, scratch, bits), before, rtol=1e-13)
    change, size = bd.divergence_change(x, weights, y, new, beta, False, scratch, bits)
    np.testing.assert_allclose(change, after - before, rtol=1e-11)
    assert size >= abs(change)


def test_logarithms_over_the_whole_range():
    rng = np.random.default_rng(0)
    x = np.concatenate([10.0 ** rng.uniform(-250, 250, 200), 1.0 + rng.uniform(-1e-9, 1e-9, 50), [0.0, 1.0]])
    one, scratch = np.ones_like(x), np.empty((3, x.size))
    for value in x:
        got = bd.sum_of_logarithms(one[:1], np.array([value]), one[:1], *_scratch(1))
        np.testing.assert_allclose(got, np.log(value) if value > 0.0 else 0.0, rtol=5e-16, atol=1e-300)
    got = bd.sum_of_logarithms(one, x, one, scratch[0], scratch[0].view(np.int64), scratch[1])
    np.testing.assert_allclose(got, np.log(x[x > 0.0]).sum(), rtol=1e-13)


def _scratch(n):
    ratios = np.empty(n)
    return ratios, ratios.view(np.int64), np.empty(n)


def test_domain():
    X = np.array([[1.0, 2.0], [3.0, 0.0]])
    for matrix in (observe(X), observe(scipy.sparse.csr_array(X))):
        bd.check_domain(matrix, 0.5)
        with pytest.raises(ValueError, match=r"beta=0 is infinite at zero entries"):
            bd.check_domain(matrix, 0.0)
    bd.check_domain(observe(X, mask=X > 0.0), 0.0)  # an unknown entry is no zero
    bd.check_domain(observe(scipy.sparse.csr_array(X), implicit=True), -1.0)
    bd.check_domain(observe(scipy.sparse.csr_array(X + 1.0)), 0.0)
    with pytest.raises(ValueError, match=r"entries >= 0, got -1\.0"):
        bd.check_domain(observe(X - 1.0), 1.0)
