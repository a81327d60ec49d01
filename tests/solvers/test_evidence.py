"""The evidence against dense formulas in extended precision, by all its routes."""

import numpy as np
import pytest
import scipy.sparse
import scipy.stats
from scipy.sparse.linalg import aslinearoperator

from sparsemodels.solvers.evidence import (
    Noise,
    certified_posterior,
    dual_terms,
    evidence_violation,
    full_terms,
    log_evidence,
    primal_terms,
    relevance,
)
from sparsemodels.solvers.standardized_design import columns, standardize

KINDS = pytest.mark.parametrize("is_complex", [False, True])
SHAPES = pytest.mark.parametrize("shape", [(12, 18), (18, 12), (15, 15)])


def random(rng, shape, is_complex):
    return rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if is_complex else 0.0)


def exact(X, Y, variances, noise_variance):
    """z, q, log|C / s| and the quadratic form by elimination in extended precision."""
    X, Y = np.asarray(X, dtype=np.clongdouble), np.asarray(Y, dtype=np.clongdouble)
    C = (X * np.asarray(variances, dtype=np.longdouble)) @ X.conj().T
    C[np.diag_indices_from(C)] += np.longdouble(noise_variance)
    right, n = np.hstack([X, Y]), len(C)
    for k in range(n):  # C is positive definite: no pivoting
        factor = C[k + 1 :, k] / C[k, k]
        right[k + 1 :] -= np.outer(factor, right[k])
        C[k + 1 :, k:] -= np.outer(factor, C[k, k:])
    log_determinant = np.sum(np.log(np.diag(C).real)) - n * np.log(np.longdouble(noise_variance))
    for k in range(n - 1, -1, -1):
        right[k] = (right[k] - C[k, k + 1 :] @ right[k + 1 :]) / C[k, k]
    p = X.shape[1]
    z = np.sum(X.conj() * right[:, :p], axis=0).real
    return z, X.conj().T @ right[:, p:], float(log_determinant), float(np.sum(Y.conj() * right[:, p:]).real)


def assert_terms(terms, expected, tolerance):
    z, q, log_determinant, quadratic = expected
    size = np.abs(q).max(axis=1)
    assert np.max(np.abs(terms.z / z - 1.0)) < tolerance
    assert np.max(np.abs(terms.q - q).max(axis=1) / size) < tolerance
    assert abs(terms.log_determinant - log_determinant) < tolerance * max(abs(log_determinant), 1.0)
    assert abs(terms.quadratic / quadratic - 1.0) < tolerance


def problem(shape, is_complex, seed=0):
    rng = np.random.default_rng(seed)
    design = standardize(random(rng, shape, is_complex), rng.random(shape[0]) + 0.5)
    return design, columns(design, np.arange(shape[1])), random(rng, (shape[0], 2), is_complex)


@KINDS
@SHAPES
def test_all_routes_agree_with_extended_precision(shape, is_complex):
    design, X, Y = problem(shape, is_complex)
    variances = 10.0 ** np.random.default_rng(1).uniform(-3.0, 2.0, shape[1])
    expected = exact(X, Y, variances, 0.1)
    power = float(np.vdot(Y, Y).real)
    assert_terms(dual_terms(X, Y, variances, 0.1), expected, 1e-11)
    assert_terms(primal_terms(X.conj().T @ X, X.conj().T @ Y, power, variances, 0.1), expected, 1e-11)
    assert_terms(full_terms(design, Y, np.arange(shape[1]), variances, 0.1)[0], expected, 1e-11)


@KINDS
@SHAPES
def test_extreme_variances(shape, is_complex):
    """Columns that the data determine to 1e-8 beside columns of no influence: neither form of z serves both."""
    design, X, Y = problem(shape, is_complex)
    variances = 10.0 ** np.random.default_rng(2).uniform(-8.0, 6.0, shape[1])
    expected = exact(X, Y, variances, 1e-2)
    power = float(np.vdot(Y, Y).real)
    # C has a condition of 1e8: that is what the dual route loses; the primal one is scaled by the prior.
    assert_terms(dual_terms(X, Y, variances, 1e-2), expected, 1e-6)
    assert_terms(primal_terms(X.conj().T @ X, X.conj().T @ Y, power, variances, 1e-2), expected, 1e-9)
    assert_terms(full_terms(design, Y, np.arange(shape[1]), variances, 1e-2)[0], expected, 1e-9)


@KINDS
def test_full_terms_and_posterior(is_complex):
    design, X, Y = problem((14, 20), is_complex)
    active, variances = np.array([1, 5, 6, 19]), np.array([0.5, 2.0, 1e-3, 40.0])
    spread = np.zeros(20)
    spread[active] = variances
    terms, mean, covariance = full_terms(design, Y, active, variances, 0.3)
    assert_terms(terms, exact(X, Y, spread, 0.3), 1e-11)
    A = X[:, active]
    expected = np.linalg.inv(A.conj().T @ A / 0.3 + np.diag(1.0 / variances))
    assert np.allclose(covariance, expected, rtol=1e-10, atol=1e-15)
    assert np.allclose(mean, expected @ A.conj().T @ Y / 0.3, rtol=1e-9, atol=1e-12)
    # z and q say the same of the posterior
    assert np.allclose(mean, variances[:, None] * terms.q[active], rtol=1e-9)
    assert np.allclose(np.diag(covariance).real, variances - variances**2 * terms.z[active], rtol=1e-9)


def test_no_active_column():
    design, X, Y = problem((7, 4), False)
    terms, mean, covariance = full_terms(design, Y, np.empty(0, dtype=int), np.empty(0), 0.5)
    assert np.allclose(terms.z, 2.0)
    assert np.allclose(terms.q, 2.0 * X.T @ Y)
    assert mean.shape == (0, 2)
    assert covariance.shape == (0, 0)
    assert terms.log_determinant == 0.0
    assert np.isclose(terms.quadratic, 2.0 * np.sum(Y * Y))


def test_z_of_columns_in_the_span_of_active_ones():
    """A duplicate of an active column has its z, though all but 1e-10 of its norm cancels."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 6))
    X[:, 5] = X[:, 2]
    design = standardize(X)
    Y = rng.standard_normal((30, 1))
    active, variances = np.array([0, 2, 3]), np.array([1.0, 3.0, 0.5])
    terms, _, _ = full_terms(design, Y, active, variances, 1e-10)
    assert abs(terms.z[5] / terms.z[2] - 1.0) < 1e-9
    assert abs(terms.q[5, 0] / terms.q[2, 0] - 1.0) < 1e-5  # of the residual, of which 1e-10 is left


def test_forms_of_the_design_and_operators():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((10, 8)) * (rng.random((10, 8)) < 0.6) + np.eye(10, 8)
    Y, active, variances = rng.standard_normal((10, 1)), np.array([0, 3]), np.array([1.0, 0.2])
    dense = full_terms(standardize(X), Y, active, variances, 0.1)
    sparse = full_terms(standardize(scipy.sparse.csc_array(X)), Y, active, variances, 0.1)
    for one, other in zip(dense[0], sparse[0], strict=True):
        assert np.allclose(one, other, rtol=1e-11, atol=1e-13)
    # Columns of an operator keep their norms: variances are those of columns of norm one over squared norms.
    norms = standardize(X).norms
    terms, mean, _ = full_terms(standardize(aslinearoperator(X)), Y, active, variances / norms[active] ** 2, 0.1)
    assert np.allclose(terms.z, dense[0].z * norms**2, rtol=1e-10)
    assert np.allclose(mean * norms[active, None], dense[1], rtol=1e-10)


@pytest.mark.parametrize("center", [False, True])
def test_integer_weights_are_repeated_rows(center):
    rng = np.random.default_rng(3)
    X, y, counts = rng.standard_normal((11, 5)), rng.standard_normal(11), rng.integers(0, 4, 11)
    X2, y2 = np.repeat(X, counts, axis=0), np.repeat(y, counts)
    if center:
        y, y2 = y - counts @ y / counts.sum(), y2 - y2.mean()
    active, variances = np.array([0, 2]), np.array([3.0, 0.4])
    weighted = full_terms(standardize(X, counts, center=center), (np.sqrt(counts) * y)[:, None], active, variances, 0.7)
    repeated = full_terms(standardize(X2, center=center), y2[:, None], active, variances, 0.7)
    degrees_of_freedom = counts.sum() - center
    values = [
        log_evidence(t.log_determinant, t.quadratic, 0.7, degrees_of_freedom, 1, False)
        for t, _, _ in (weighted, repeated)
    ]
    assert np.allclose(weighted[0].z, repeated[0].z, rtol=1e-12)
    assert np.allclose(weighted[0].q, repeated[0].q, rtol=1e-10)
    assert abs(values[0] - values[1]) < 1e-11 * abs(values[0])
    assert np.allclose(weighted[1], repeated[1], rtol=1e-11)


@KINDS
def test_log_evidence_is_the_density_of_the_targets(is_complex):
    _, X, Y = problem((6, 4), is_complex)
    variances = np.array([0.3, 2.0, 0.0, 1.0])
    terms = dual_terms(X, Y, variances, 0.4)
    C = 0.4 * np.eye(6) + (X * variances) @ X.conj().T
    if is_complex:  # a proper complex normal vector as a real one of twice the length
        C = 0.5 * np.block([[C.real, -C.imag], [C.imag, C.real]])
        Y = np.vstack([Y.real, Y.imag])
    expected = sum(scipy.stats.multivariate_normal(cov=C).logpdf(y) for y in Y.T)
    assert np.isclose(
        log_evidence(terms.log_determinant, terms.quadratic, 0.4, 6.0, 2, is_complex), expected, rtol=1e-12
    )


def test_intercept_takes_one_degree_of_freedom():
    """With a flat prior on the intercept: the density of the targets in the space orthogonal to ones."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((8, 3)), rng.standard_normal(8)
    variances = np.array([1.0, 0.2, 3.0])
    design = standardize(X)
    terms = dual_terms(columns(design, np.arange(3)), (y - y.mean())[:, None], variances, 0.5)
    basis = np.linalg.qr(np.column_stack([np.ones(8), rng.standard_normal((8, 7))]))[0][:, 1:]
    A = basis.T @ columns(design, np.arange(3))
    expected = scipy.stats.multivariate_normal(cov=0.5 * np.eye(7) + (A * variances) @ A.T).logpdf(basis.T @ y)
    assert np.isclose(log_evidence(terms.log_determinant, terms.quadratic, 0.5, 7.0, 1, False), expected, rtol=1e-12)


@KINDS
def test_violation_is_the_gradient_of_the_evidence(is_complex):
    design, X, Y = problem((9, 5), is_complex)
    active, variances, step = np.array([0, 1, 3]), np.array([0.4, 2.0, 0.1]), 1e-6
    terms, _, _ = full_terms(design, Y, active, variances, 0.3)

    def value(spread):
        terms = dual_terms(X, Y, spread, 0.3)
        return log_evidence(terms.log_determinant, terms.quadratic, 0.3, 9.0, 2, is_complex)

    spread = np.zeros(5)
    spread[active] = variances
    half = 1.0 if is_complex else 0.5
    for j in range(5):
        ahead, behind = spread.copy(), spread.copy()
        ahead[j] += step
        behind[j] -= step if spread[j] else 0.0
        slope = (value(ahead) - value(behind)) / (ahead[j] - behind[j])
        expected = half * (np.sum(np.abs(terms.q[j]) ** 2) - 2 * terms.z[j])
        assert abs(slope - expected) < 1e-4 * (1.0 + abs(expected))
    ratio = relevance(terms.z, terms.q)
    worst = max(np.max(np.abs(ratio[active] - 1.0)), np.max(np.delete(ratio, active)) - 1.0)
    assert np.isclose(evidence_violation(terms, active, variances), worst)


def test_violation_of_a_threshold_measures_columns_without_themselves():
    design, _, Y = problem((9, 5), False)
    active, variances = np.array([0, 1, 3]), np.array([0.4, 2.0, 0.1])
    terms, _, _ = full_terms(design, Y, active, variances, 0.3)
    alone = []
    for k in range(3):
        left = np.delete(np.arange(3), k)
        without, _, _ = full_terms(design, Y, active[left], variances[left], 0.3)
        alone.append(relevance(without.z, without.q)[active[k]])
    ratio = relevance(terms.z, terms.q)
    expected = max(
        np.max(np.abs(ratio[active] - 1.0)), np.max(np.delete(ratio, active)) / 50.0 - 1.0, 1.0 - min(alone) / 50.0
    )
    assert np.isclose(evidence_violation(terms, active, variances, 50.0), expected, rtol=1e-10)


def test_certified_posterior_orders_columns():
    design, _, Y = problem((9, 5), False)
    noise = Noise(0.3, False, 0.0, 0.0, 0.0, 8.0)
    one = certified_posterior(design, Y, np.array([3, 0]), np.array([0.1, 2.0]), noise, 1.0, [-1.0], 4, "max_iter")
    other = certified_posterior(design, Y, np.array([0, 3]), np.array([2.0, 0.1]), noise, 1.0, [-1.0], 4, "max_iter")
    assert one.active.tolist() == [0, 3]
    assert one.variances.tolist() == [2.0, 0.1]
    assert np.array_equal(one.mean, other.mean)
    assert one.kkt == other.kkt
    assert one.n_iter == 4
