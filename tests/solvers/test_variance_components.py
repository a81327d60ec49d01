"""Priors by components: shares, updates, deletions and derivatives against dense formulas."""

import numpy as np
import pytest
import scipy.sparse

from sparsemodels.solvers.component_deletion import Fit, relevances_alone, without_components
from sparsemodels.solvers.component_evidence import ComponentEvidence
from sparsemodels.solvers.component_newton import derivatives, newton_step
from sparsemodels.solvers.evidence import Noise, dual_terms, full_terms
from sparsemodels.solvers.standardized_design import columns, standardize
from sparsemodels.solvers.variance_components import (
    Groups,
    Independent,
    Mixture,
    Neighbors,
    component_violation,
    pooled,
    updated_variances,
    variance_shares,
)

P = 9
PRIORS = {
    "independent": Independent(),
    "groups": Groups(np.array([0, 0, 1, 2, 2, 2, 1, 3, 3])),
    "neighbors": Neighbors(0.4),
    "mixture": Mixture(scipy.sparse.csc_array(np.abs(np.random.default_rng(5).standard_normal((P, 4))))),
}
ALL = pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
KINDS = pytest.mark.parametrize("is_complex", [False, True])


def problem(n, is_complex, seed=0):
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((n, P)), rng.standard_normal((n, 2))
    if is_complex:
        X, Y = X + 1j * rng.standard_normal((n, P)), Y + 1j * rng.standard_normal((n, 2))
    return standardize(X, center=False), Y


def noise_of(n, **changes):
    return Noise(0.3, True, 0.0, 1.5, 0.2, float(n))._replace(**changes)


def test_shares():
    assert np.array_equal(variance_shares(Independent(), 3).toarray(), np.eye(3))
    assert np.array_equal(variance_shares(Groups([1, 0, 1]), 3).toarray(), [[0, 1], [1, 0], [0, 1]])
    assert np.array_equal(variance_shares(Neighbors(0.0), 3).toarray(), np.eye(3))
    assert np.array_equal(variance_shares(Neighbors(0.7), 1).toarray(), [[1.0]])
    with pytest.raises(TypeError, match="str"):
        variance_shares("groups", 3)


@KINDS
@ALL
@pytest.mark.parametrize("rule", ["em", "mm"])
def test_updates_never_lower_the_evidence(rule, prior, is_complex):
    design, Y = problem(6, is_complex)
    evidence = ComponentEvidence(design, Y, prior)
    gamma, noise = np.exp(np.random.default_rng(1).standard_normal(len(evidence.sizes))), noise_of(6, learned=False)
    values = []
    for _ in range(60):
        state = evidence.at(gamma, noise)
        values.append(state.objective)
        gamma = gamma.copy()
        gamma[state.components] = updated_variances(
            rule, gamma[state.components], state.power, state.z, evidence.sizes[state.components]
        )
    assert np.diff(values).min() > -1e-12
    assert values[-1] > values[0] + 0.1


def test_em_is_the_mean_second_moment_of_a_group():
    design, Y = problem(6, False)
    labels, gamma = PRIORS["groups"].labels, np.array([0.5, 2.0, 0.1, 1.0])
    terms, mean, covariance = full_terms(design, Y, np.arange(P), gamma[labels], 0.3)
    shares = variance_shares(PRIORS["groups"], P)
    power, z = pooled(shares, terms)
    moments = np.mean(mean**2, axis=1) + np.diag(covariance)
    expected = [np.mean(moments[labels == g]) for g in range(4)]
    assert np.allclose(updated_variances("em", gamma, power, z, np.bincount(labels)), expected, rtol=1e-10)


def test_rules_agree_where_the_evidence_is_stationary():
    gamma, z = np.array([0.1, 3.0]), np.array([2.0, 0.2])
    for rule in ("em", "mm", "mackay"):
        assert np.allclose(updated_variances(rule, gamma, z, z, np.array([1.0, 3.0])), gamma, rtol=1e-14)
    assert np.allclose(updated_variances("mackay", gamma, 4.0 * z, z, np.ones(2)), 4.0 * gamma)
    assert np.allclose(updated_variances("mm", gamma, 4.0 * z, z, np.ones(2)), 2.0 * gamma)


def test_violation():
    relevances = np.array([1.02, 0.5, 0.97, 1.4])
    assert np.isclose(component_violation(relevances, np.array([0, 2]), np.empty(0)), 0.4)
    assert np.isclose(component_violation(relevances, np.array([0, 2, 3]), np.empty(0)), 0.4)
    assert np.isclose(component_violation(relevances, np.array([0, 2]), np.array([9.0, 5.0]), 8.0), 1.0 - 5.0 / 8.0)
    assert component_violation(relevances[:0], np.array([], dtype=int), np.empty(0)) == 0.0


def fit_at(evidence, gamma, noise):
    return evidence.fit(evidence.at(gamma, noise))


@KINDS
@ALL
@pytest.mark.parametrize("n", [5, 14])
def test_relevances_without_a_component_and_deletion(n, prior, is_complex):
    design, Y = problem(n, is_complex)
    evidence, noise = ComponentEvidence(design, Y, prior), noise_of(n)
    gamma = np.exp(np.random.default_rng(2).standard_normal(len(evidence.sizes)))
    X, shares = columns(design, np.arange(P)), variance_shares(prior, P)
    expected = []
    for i in range(len(gamma)):
        others = gamma.copy()
        others[i] = 0.0
        terms = dual_terms(X, Y, shares @ others, noise.variance)
        power, z = pooled(shares, terms)
        expected.append(power[i] / z[i])
    fit = fit_at(evidence, gamma, noise)
    assert np.allclose(relevances_alone(fit), expected, rtol=1e-8)
    threshold = float(np.median(expected))
    smaller, which, kept = without_components(fit, threshold)
    assert 0 < kept.sum() < len(gamma)
    assert relevances_alone(smaller).min() >= threshold
    again = fit_at(evidence, np.where(kept, gamma, 0.0), noise)
    assert len(which) == P
    assert which.sum() == len(again.mean)
    for one, other in zip(smaller, again, strict=True):
        one, other = (value.toarray() if scipy.sparse.issparse(value) else value for value in (one, other))
        assert np.allclose(one, other, rtol=1e-9, atol=1e-11)


def test_one_of_two_equal_columns_is_kept():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 3))
    X[:, 1] = X[:, 0]
    Y = 3.0 * X[:, :1]
    evidence = ComponentEvidence(standardize(X, center=False), Y, Independent())
    fit = fit_at(evidence, np.array([30.0, 40.0, 1e-3]), noise_of(20, variance=0.1))
    _, _, kept = without_components(fit, 15.0)  # each alone has next to no relevance beside the other
    assert kept.tolist() == [False, True, False]


@KINDS
@ALL
@pytest.mark.parametrize("n", [5, 14])
def test_derivatives(n, prior, is_complex):
    design, Y = problem(n, is_complex)
    evidence, noise = ComponentEvidence(design, Y, prior), noise_of(n)
    at = np.random.default_rng(3).standard_normal(len(evidence.sizes) + 1)
    at[-1] -= 1.0
    half = 1.0 if is_complex else 0.5

    def noise_at(u):
        return noise._replace(variance=float(np.exp(u[-1])))

    def value(u):
        return -evidence.at(np.exp(u[:-1]), noise_at(u)).objective / (2 * half)  # two outputs

    def gradient(u):
        return derivatives(fit_at(evidence, np.exp(u[:-1]), noise_at(u)), noise_at(u), is_complex)[0]

    slope, hessian, information = derivatives(fit_at(evidence, np.exp(at[:-1]), noise_at(at)), noise_at(at), is_complex)
    steps = 1e-5 * np.eye(len(at))
    assert np.allclose(slope, [(value(at + h) - value(at - h)) / 2e-5 for h in steps], rtol=1e-6, atol=1e-7)
    assert np.allclose(hessian, [(gradient(at + h) - gradient(at - h)) / 2e-5 for h in steps], rtol=1e-6, atol=1e-7)
    assert np.allclose(information, information.T)
    assert np.linalg.eigvalsh(information).min() > -1e-12


@KINDS
@pytest.mark.parametrize("name", ["independent", "groups", "mixture"])
def test_newton_converges_quadratically(name, is_complex):
    prior = PRIORS[name]
    design, Y = problem(40, is_complex)
    rng = np.random.default_rng(4)
    Y = columns(design, np.arange(P)) @ (10.0 * rng.choice([-1.0, 1.0], (P, 2))) + Y
    evidence, noise = ComponentEvidence(design, Y, prior), noise_of(40)
    gamma = evidence.flat_start()
    for _ in range(30):
        state = evidence.at(gamma, noise)
        gamma = updated_variances("mm", gamma, state.power, state.z, evidence.sizes)
    lasting = gamma > 1e-2 * gamma.max()  # those that fade do so for ever
    gamma, violations = np.where(lasting, gamma, 0.0), []
    for _ in range(12):
        state = evidence.at(gamma, noise)
        violations.append(evidence.violation(state))
        step, noise_step, _ = newton_step(evidence.fit(state), noise, True, is_complex)
        gamma[state.components] *= np.exp(step)
        noise = noise._replace(variance=noise.variance * float(np.exp(noise_step)))
        if violations[-1] < 1e-11:
            break
    assert violations[-1] < 1e-11, violations


def test_step_of_a_singular_problem_is_finite():
    fit = Fit(np.zeros((2, 2)), np.zeros((2, 1)), scipy.sparse.csc_array(np.eye(2)), 0.0, 0.0)
    step, noise_step, convex = newton_step(fit, noise_of(3), False, False)
    assert np.all(np.isfinite(step))
    assert noise_step == 0.0
    assert not convex
