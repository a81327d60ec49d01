from functools import reduce

import array_api_strict
import numpy as np
import pytest

from sparsemodels.solvers.dense_codes import to_host
from sparsemodels.solvers.kronecker_posterior import (
    KroneckerData,
    compressed,
    kronecker_posterior,
    kronecker_statistics,
)
from sparsemodels.solvers.mode_products import mode_products, outer_product, weighted_slice_sums

# Tall, wide and square factors; the dense formulas lose some digits themselves.
SHAPES = [[(3, 4)], [(5, 3), (3, 4)], [(3, 4), (4, 5), (2, 3)], [(2, 3), (3, 2), (2, 2), (1, 3)]]
TOLERANCE = {"rtol": 1e-10, "atol": 1e-11}


def problem(shapes, of_complex, n_measurements=2, seed=0):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.normal(size=shape) + (1j * rng.normal(size=shape) if of_complex else 0.0)

    factors = [draw(*shape) for shape in shapes]
    variances = [rng.random(n) * (rng.random(n) < 0.8) + 1e-3 * (np.arange(n) == 0) for _, n in shapes]
    return draw(n_measurements, *(m for m, _ in shapes)), factors, variances, 0.3


def dense(tensor, factors, variances, noise):
    """Mean, variance, log evidence, z and q by the Kronecker product and an inverse."""
    X, prior = reduce(np.kron, factors), reduce(np.kron, variances)
    Y = tensor.reshape(len(tensor), -1).T
    C = X @ np.diag(prior) @ X.conj().T + noise * np.eye(len(X))
    inverse = np.linalg.inv(C)
    q, z = X.conj().T @ inverse @ Y, np.einsum("ij,ik,kj->j", X.conj(), inverse, X).real
    cost = len(tensor) * np.linalg.slogdet(C)[1] + np.sum((Y.conj() * (inverse @ Y)).real)
    constant = Y.size * np.log(np.pi if np.iscomplexobj(Y) else 2.0 * np.pi)
    evidence = -(constant + cost) * (1.0 if np.iscomplexobj(Y) else 0.5)
    covariance = np.diag(prior) - np.diag(prior) @ X.conj().T @ inverse @ X @ np.diag(prior)
    return (prior[:, None] * q).T, np.diag(covariance).real, evidence, z, q.T


@pytest.mark.parametrize("of_complex", [False, True])
@pytest.mark.parametrize("shapes", SHAPES, ids=["1", "2", "3", "4"])
def test_posterior_and_evidence_are_those_of_the_dense_model(shapes, of_complex):
    tensor, factors, variances, noise = problem(shapes, of_complex)
    mean, variance, evidence, z, q = dense(tensor, factors, variances, noise)
    found = kronecker_posterior(tensor, factors, variances, noise)
    assert found.mean.shape == (2, *(n for _, n in shapes))
    np.testing.assert_allclose(found.mean.reshape(2, -1), mean, **TOLERANCE)
    np.testing.assert_allclose(found.variance.ravel(), variance, **TOLERANCE)
    assert found.log_evidence == pytest.approx(evidence, rel=1e-12)
    n_values = tensor[0].size
    statistics = kronecker_statistics(compressed(KroneckerData(tensor, factors, 0.0, n_values)), variances, noise)
    np.testing.assert_allclose(statistics.z.ravel(), z, **TOLERANCE)
    np.testing.assert_allclose(statistics.q.reshape(2, -1), q, **TOLERANCE)
    X, prior = reduce(np.kron, factors), reduce(np.kron, variances)
    inverse = np.linalg.inv(X @ np.diag(prior) @ X.conj().T + noise * np.eye(n_values))
    rest = inverse @ tensor.reshape(2, -1).T
    assert statistics.noise_trace == pytest.approx(np.trace(inverse).real, rel=1e-10)
    assert statistics.noise_square == pytest.approx(np.linalg.norm(rest) ** 2, rel=1e-10)


def test_little_noise_loses_no_digits():
    # Eigenvalues of H Gamma H^T would be wrong by eps times the largest of them, a millionfold of this noise.
    rng = np.random.default_rng(1)
    factors = [rng.normal(size=(4, 4)) @ np.diag([1.0, 1.0, 1e-7, 1e-8]) for _ in range(2)]
    tensor = mode_products(rng.normal(size=(1, 4, 4)), factors)
    found = kronecker_posterior(tensor, factors, [np.ones(4)] * 2, 1e-22)
    values = np.multiply.outer(*(np.linalg.svd(factor)[1] ** 2 for factor in factors)).ravel()
    back = np.linalg.svd(factors[0])[0].T @ tensor[0] @ np.linalg.svd(factors[1])[0]
    cost = np.sum(np.log(values + 1e-22) + back.ravel() ** 2 / (values + 1e-22))
    assert found.log_evidence == pytest.approx(-0.5 * (16 * np.log(2 * np.pi) + cost), rel=1e-6)


@pytest.mark.parametrize("of_complex", [False, True])
def test_other_arrays_give_the_posterior_of_numpy(of_complex):
    tensor, factors, variances, noise = problem(SHAPES[2], of_complex)
    expected = kronecker_posterior(tensor, factors, variances, noise)
    device = array_api_strict.Device("device1")

    def moved(values):
        return array_api_strict.asarray(values, device=device)

    found = kronecker_posterior(moved(tensor), [moved(f) for f in factors], [moved(v) for v in variances], noise)
    for mine, theirs in ((found.mean, expected.mean), (found.variance, expected.variance)):
        assert mine.device == device
        np.testing.assert_allclose(to_host(mine), theirs, rtol=1e-12, atol=1e-13)
    assert found.log_evidence == pytest.approx(expected.log_evidence, rel=1e-13)


def test_mode_products_are_the_kronecker_product():
    rng = np.random.default_rng(2)
    tensor = rng.normal(size=(2, 3, 4, 5))
    A, C = rng.normal(size=(2, 3)), rng.normal(size=(6, 5))
    expected = tensor.reshape(2, -1) @ np.kron(np.kron(A, np.eye(4)), C).T
    np.testing.assert_allclose(
        mode_products(tensor, [A, None, C]), expected.reshape(2, 2, 4, 6), rtol=1e-12, atol=1e-12
    )
    weights = [rng.random(3), rng.random(4), rng.random(5)]
    everything = np.einsum("ijk,i,k->j", tensor[0], weights[0], weights[2])
    np.testing.assert_allclose(weighted_slice_sums(tensor[0], weights, 1), everything, rtol=1e-12)
    np.testing.assert_allclose(outer_product(weights), np.einsum("i,j,k->ijk", *weights), rtol=1e-14)


def test_read_only_input_is_not_changed():
    tensor, factors, variances, noise = problem(SHAPES[1], False)
    for array in (tensor, *factors, *variances):
        array.flags.writeable = False
    kronecker_posterior(tensor, factors, variances, noise)
