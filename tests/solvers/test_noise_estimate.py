"""Estimates of the noise: stationary where the evidence is, monotone where claimed, kept from collapse."""

import numpy as np
import pytest
import scipy.optimize

from sparsemodels.solvers.component_evidence import ComponentEvidence
from sparsemodels.solvers.evidence import Noise
from sparsemodels.solvers.evidence_fixed_point import evidence_fixed_point
from sparsemodels.solvers.noise_estimate import noise_violation, updated_noise
from sparsemodels.solvers.standardized_design import standardize
from sparsemodels.solvers.variance_components import Independent, updated_variances

KINDS = pytest.mark.parametrize("is_complex", [False, True])
PRIORS = pytest.mark.parametrize("prior", [(0.0, 0.0), (2.0, 0.7)])


def problem(n, p, is_complex, seed=0):
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((n, p)), rng.standard_normal((n, 2))
    if is_complex:
        X, Y = X + 1j * rng.standard_normal((n, p)), Y + 1j * rng.standard_normal((n, 2))
    return ComponentEvidence(standardize(X, center=False), Y, Independent())


def arguments(evidence, state):
    return state.residual_power, state.determined, evidence.n_outputs, evidence.is_complex


@KINDS
@PRIORS
@pytest.mark.parametrize("rule", ["em", "mm", "mackay"])
def test_fixed_point_is_the_maximum_over_the_noise(rule, prior, is_complex):
    evidence = problem(12, 7, is_complex)
    gamma = np.exp(np.random.default_rng(1).standard_normal(7) - 2.0)
    noise = Noise(1.0, True, 1e-9, *prior, 12.0)

    def value(log_variance):
        return -evidence.at(gamma, noise._replace(variance=float(np.exp(log_variance)))).objective

    best = float(np.exp(scipy.optimize.minimize_scalar(value, bounds=(-4.0, 4.0), options={"xatol": 1e-9}).x))
    for _ in range(400):
        state = evidence.at(gamma, noise)
        noise = noise._replace(variance=updated_noise(rule, noise, *arguments(evidence, state)))
    assert np.isclose(noise.variance, best, rtol=1e-6)
    assert noise_violation(noise, *arguments(evidence, evidence.at(gamma, noise))) < 1e-10
    off = noise._replace(variance=1.1 * noise.variance)
    assert 0.01 < noise_violation(off, *arguments(evidence, evidence.at(gamma, off))) < 0.2


@KINDS
@PRIORS
@pytest.mark.parametrize("rule", ["em", "mm"])
@pytest.mark.parametrize("p", [6, 20])
def test_joint_steps_never_lower_the_evidence(p, rule, prior, is_complex):
    evidence = problem(10, p, is_complex)
    gamma, noise = np.full(p, 0.5), Noise(1.0, True, 1e-6, *prior, 10.0)
    values = []
    for _ in range(60):
        state = evidence.at(gamma, noise)
        values.append(state.objective)
        gamma = updated_variances(rule, gamma, state.power, state.z, evidence.sizes)
        noise = noise._replace(variance=updated_noise(rule, noise, *arguments(evidence, state)))
    # p > n: the noise goes to its floor, where the quadratic form is what is left of numbers 1e6 times as large
    assert np.diff(values).min() > -1e-8
    assert values[-1] > values[0]


def test_floor_known_variance_and_no_free_observations():
    noise = Noise(0.5, True, 0.2, 0.0, 0.0, 10.0)
    assert updated_noise("mackay", noise, 0.01, 2.0, 1, False) == 0.2
    assert noise_violation(noise._replace(variance=0.2), 0.01, 2.0, 1, False) == 0.0
    assert noise_violation(noise._replace(variance=0.2), 16.0, 2.0, 1, False) == pytest.approx(0.9)
    for rule in ("em", "mm", "mackay"):
        assert updated_noise(rule, noise._replace(learned=False), 9.0, 2.0, 1, False) == 0.5
        assert 0.2 <= updated_noise(rule, noise, 3.0, 11.0, 1, False) < np.inf
    assert noise_violation(noise._replace(learned=False), 9.0, 2.0, 1, False) == 0.0


def sparse_problem(seed):
    rng = np.random.default_rng(seed)
    X, coef = rng.standard_normal((60, 150)), np.zeros(150)
    coef[:5] = [3.0, -2.0, 2.0, 1.5, -2.5]
    y = X @ coef
    variance = 0.05 * np.mean(y**2)
    y = y + np.sqrt(variance) * rng.standard_normal(60)
    scale = np.sum((y - y.mean()) ** 2) / 59
    return standardize(X), ((y - y.mean()) / np.sqrt(scale))[:, None], variance / scale


@pytest.mark.parametrize("rule", ["mackay", "mm", "em"])
def test_collapse_and_what_prevents_it(rule):
    """More columns than rows: the evidence prefers many columns and no noise, whatever the update."""
    design, Y, truth = sparse_problem(0)
    noise = Noise(0.1, True, 1e-6, 0.0, 0.0, 59.0)
    free = evidence_fixed_point(design, Y, noise, rule=rule, max_iter=200)
    assert free.noise_variance < 0.1 * truth
    assert len(free.active) > 30
    known = evidence_fixed_point(design, Y, noise._replace(variance=truth, learned=False), rule=rule, max_iter=200)
    assert free.log_evidence > known.log_evidence  # no failure of the solver
    assert free.noise_variance >= noise.floor
    floored = evidence_fixed_point(design, Y, noise._replace(floor=0.5 * truth), rule=rule, max_iter=200)
    assert 0.5 * truth <= floored.noise_variance < 2.0 * truth
    guess = noise._replace(prior_shape=30.0, prior_scale=31.0 * truth)
    assert 0.4 * truth < evidence_fixed_point(design, Y, guess, rule=rule, max_iter=200).noise_variance < 2.0 * truth
    chosen = evidence_fixed_point(design, Y, noise, rule=rule, threshold=2.0 * np.log(150), max_iter=300)
    assert 0.6 * truth < chosen.noise_variance < 1.6 * truth
    assert chosen.active.tolist() == [0, 1, 2, 3, 4]
