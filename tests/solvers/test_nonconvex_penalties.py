"""MCP, SCAD and L0 against their definitions: brute force over grids, at steps on both sides of the concavity."""

import numpy as np
import pytest

from sparsemodels.solvers.kernel import kernel
from sparsemodels.solvers.penalties import (
    L0,
    L1,
    MCP,
    SCAD,
    critical_alpha,
    prox,
    smooth_piece,
    subdifferential_distance,
    value,
    with_alpha,
)
from sparsemodels.solvers.penalties.vector_functions import has_conjugate

INF = np.inf
WEIGHTS = np.array([1.0, 0.0, INF, 2.5, 0.3])
COORDINATES = range(WEIGHTS.size)
PENALTIES = {
    "mcp": MCP(0.7, 3.0, WEIGHTS),
    "mcp of small gamma": MCP(0.7, 0.2, WEIGHTS),
    "mcp at alpha 0": MCP(0.0, 3.0, WEIGHTS),
    "mcp that is l1": MCP(0.7, INF, WEIGHTS),
    "scad": SCAD(0.7, 3.7, WEIGHTS),
    "scad of small gamma": SCAD(0.7, 2.1, WEIGHTS),
    "scad at alpha 0": SCAD(0.0, 3.7, WEIGHTS),
    "scad that is l1": SCAD(0.7, INF, WEIGHTS),
    "l0": L0(0.7, 0.0, WEIGHTS),
    "l0 and ridge": L0(0.7, 0.4, WEIGHTS),
    "l0 and ridge at alpha 0": L0(0.0, 0.4, WEIGHTS),
}
each = pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
folded = pytest.mark.parametrize(
    "penalty", [p for p in PENALTIES.values() if not isinstance(p, L0)], ids=[n for n in PENALTIES if n[:2] != "l0"]
)


def definition(penalty, u, j):
    """The formulas of the docstrings, MCP and SCAD as integrals of their derivatives, on arrays."""
    u = np.abs(np.asarray(u, dtype=float))
    weight = penalty.weights[j]
    if weight == INF:
        return np.where(u == 0.0, 0.0, INF)
    level = penalty.alpha * weight
    if isinstance(penalty, L0):
        return np.where(u == 0.0, 0.0, level + 0.5 * penalty.ridge * weight * u**2)
    if penalty.gamma == INF:
        return level * u
    if isinstance(penalty, MCP):  # the derivative falls linearly from the level to zero at gamma * level
        v = np.minimum(u, penalty.gamma * level)
        return level * v - v**2 / (2.0 * penalty.gamma)
    a = penalty.gamma  # the derivative is the level up to the level, then falls linearly to zero at gamma * level
    v = np.clip(u, level, a * level) - level
    return level * np.minimum(u, level) + level * v - v**2 / (2.0 * (a - 1.0))


@each
def test_value(penalty):
    for j in COORDINATES:
        for u in (-3.0, -0.5, 0.0, 0.3, 0.7, 2.0, 2.1, 2.59, 1e3):
            assert value(penalty, u, j) == pytest.approx(float(definition(penalty, u, j)), rel=1e-14, abs=1e-15)


def edges(penalty, j):
    """Where the pieces of a penalty meet."""
    if isinstance(penalty, L0) or penalty.alpha == 0.0 or penalty.weights[j] in (0.0, INF):
        return []
    level = penalty.alpha * penalty.weights[j]
    ends = (level, penalty.gamma * level) if isinstance(penalty, SCAD) else (penalty.gamma * level,)
    return [end for end in ends if end < INF]


def steps(penalty):
    concavity = getattr(penalty, "gamma", 1.0) - isinstance(penalty, SCAD)
    concavity = concavity if np.isfinite(concavity) else 1.0
    return [1e-12, *(concavity * f for f in (0.3, 1.0 - 1e-9, 1.0, 1.0 + 1e-9, 1.5, 2.0, 3.5)), 40.0, 1e12]


@each
def test_prox_is_the_global_minimiser_at_any_step(penalty):
    """No point of a fine grid, no end of a piece and no minimum of a piece is lower, whatever the step."""
    for j in COORDINATES:
        corners = [0.0, *edges(penalty, j)]
        for step in steps(penalty):
            # Points far out and points around where the prox jumps: their order depends on the step.
            threshold = max(1.0, step, np.sqrt(step)) if step < 1e6 else 1e3
            for point in np.concatenate([np.linspace(-6.0, 6.0, 97), threshold * np.linspace(-8.0, 8.0, 49)]):
                u = prox(penalty, point, step, j)
                assert abs(u) <= abs(point) * (1.0 + 1e-15)
                assert u * point >= 0.0
                candidates = np.array([*np.linspace(0.0, point, 400), *np.sign(point) * np.array(corners), point])
                # Multiplied by the step, so that neither term is lost beside the other at extreme steps.
                with np.errstate(invalid="ignore"):
                    objective = (candidates - point) ** 2 / 2.0 + step * definition(penalty, candidates, j)
                    here = (u - point) ** 2 / 2.0 + step * float(definition(penalty, u, j))
                assert here <= np.nanmin(objective) * (1.0 + 1e-12) + 1e-15
                # Stationary: the slope of the step is a subgradient.
                if u != 0.0 and step < 1e6:
                    slope = (point - u) / step
                    assert subdifferential_distance(penalty, u, slope, j) <= 1e-11 * (1.0 + abs(slope) + abs(u) / step)


@pytest.mark.parametrize("gamma", [0.5, 3.0])
def test_mcp_at_the_step_of_its_concavity_is_hard_thresholding(gamma):
    penalty = MCP(0.7, gamma, np.ones(1))
    for factor in (1.0, 1.0 + 1e-15, 4.0):
        threshold = 0.7 * np.sqrt(gamma * gamma * factor)
        assert prox(penalty, threshold * (1 - 1e-12), gamma * factor, 0) == 0.0
        assert prox(penalty, threshold * (1 + 1e-12), gamma * factor, 0) == threshold * (1 + 1e-12)
    # Just below it the firm threshold is as steep as it can be, and still continuous.
    below = gamma * (1.0 - 1e-9)
    assert prox(penalty, 0.7 * gamma, below, 0) == pytest.approx(0.7 * gamma, rel=1e-6)


@folded
def test_subdifferential_distance_is_the_distance_to_the_one_sided_derivatives(penalty):
    h = 1e-7
    for j in COORDINATES:
        if WEIGHTS[j] == INF:
            assert subdifferential_distance(penalty, 0.0, 1e9, j) == 0.0
            continue
        for coef in (0.0, 0.1, -0.1, 0.5, -1.0, 1.7, -9.0, 9.0, *edges(penalty, j)):
            here = definition(penalty, coef, j)
            left = float(here - definition(penalty, coef - h, j)) / h
            right = float(definition(penalty, coef + h, j) - here) / h
            for slope in (-5.0, -0.7, -0.2, 0.0, 0.1, 0.7, 1.3, 9.0):
                distance = subdifferential_distance(penalty, coef, slope, j)
                lower, upper = min(left, right), max(left, right)  # away from zero they are one derivative
                # The difference errs by h times the curvature and by rounding over h.
                assert distance == pytest.approx(max(lower - slope, slope - upper, 0.0), abs=2e-6)


def test_zero_is_stationary_for_l0_at_any_slope():
    penalty = PENALTIES["l0 and ridge"]
    assert subdifferential_distance(penalty, 0.0, 1e9, 0) == 0.0
    assert subdifferential_distance(penalty, 0.0, 2.0, 1) == 2.0  # but for a feature without a price
    assert subdifferential_distance(penalty, -3.0, 0.4 * 2.5 * -3.0, 3) == pytest.approx(0.0, abs=1e-15)
    assert subdifferential_distance(penalty, 1.0, 1.0, 0) == pytest.approx(0.6)
    assert critical_alpha(penalty, 1e9, 0) == 0.0


@each
def test_smooth_piece_is_the_quadratic_around_a_coefficient(penalty):
    for j in COORDINATES:
        if WEIGHTS[j] == INF:
            continue
        ends = edges(penalty, j)
        inner = [f * e for e in ends for f in (1.0, -1.0, 1.0 - 2.0**-52, 1.0 + 2.0**-52)]
        for coef in (0.0, 0.1, -0.1, 0.5, -0.2, 1.7, -4.0, 30.0, *inner):
            lower, upper, slope, curvature = smooth_piece(penalty, coef, j)
            here = float(definition(penalty, coef, j))
            if lower == upper:
                assert coef == lower == 0.0
                assert definition(penalty, 1e-6, j) > 1e-9  # a kink or a jump
                assert definition(penalty, -1e-6, j) > 1e-9
                continue
            assert lower < coef < upper
            for u in np.linspace(max(lower, coef - 50.0), min(upper, coef + 50.0), 9):
                if u == 0.0 and isinstance(penalty, L0):
                    continue  # the piece is open: at zero the price is gone
                quadratic = here + slope * (u - coef) + 0.5 * curvature * (u - coef) ** 2
                assert float(definition(penalty, u, j)) == pytest.approx(quadratic, rel=1e-11, abs=1e-12)
            # And it ends only where the quadratic does: L0 jumps there, and is the same on the other side.
            for end, beyond in ((lower, -1e-2), (upper, 1e-2)):
                if np.isfinite(end):
                    if isinstance(penalty, SCAD) and penalty.gamma == INF:
                        continue  # its linear part never ends, whatever its record says
                    u = end if isinstance(penalty, L0) else end + beyond
                    quadratic = here + slope * (u - coef) + 0.5 * curvature * (u - coef) ** 2
                    assert abs(float(definition(penalty, u, j)) - quadratic) > 1e-6


@folded
def test_critical_alpha_is_the_smallest_level_at_which_zero_is_stationary(penalty):
    for j in COORDINATES:
        for slope in (-2.0, 0.0, 0.4, 5.0):
            critical = critical_alpha(penalty, slope, j)
            if WEIGHTS[j] in (0.0, INF):
                assert critical == 0.0
                continue
            assert subdifferential_distance(with_alpha(penalty, critical * (1 + 1e-14)), 0.0, slope, j) == 0.0
            if slope != 0.0:
                assert subdifferential_distance(with_alpha(penalty, critical * (1 - 1e-14)), 0.0, slope, j) > 0.0


@pytest.mark.parametrize("kind", [MCP, SCAD])
def test_infinite_gamma_is_the_l1_norm(kind):
    penalty, l1 = kind(0.7, INF, WEIGHTS), L1(0.7, WEIGHTS)
    large = kind(0.7, 1e9, WEIGHTS)
    for j in COORDINATES:
        for u in (-2.0, 0.0, 0.9, 5.0):
            for step in (0.1, 3.0):
                assert prox(penalty, u, step, j) == prox(l1, u, step, j)
                assert prox(large, u, step, j) == pytest.approx(prox(l1, u, step, j), abs=1e-7)
            if WEIGHTS[j] < INF:
                assert value(penalty, u, j) == value(l1, u, j)
            assert subdifferential_distance(penalty, u, 0.3, j) == subdifferential_distance(l1, u, 0.3, j)


@each
def test_scaling_the_level_scales_the_coefficients(penalty):
    """p(c w; c alpha) = c^2 p(w; alpha) for MCP and SCAD: what scales with y is the level, not gamma."""
    if isinstance(penalty, L0):
        scaled = lambda c: with_alpha(penalty, c * c * penalty.alpha)  # noqa: E731
    else:
        scaled = lambda c: with_alpha(penalty, c * penalty.alpha)  # noqa: E731
    for c in (1e-6, 1e6):
        for j in COORDINATES:
            for u in (-2.0, 0.4, 1.0):
                assert value(scaled(c), c * u, j) == pytest.approx(c * c * value(penalty, u, j), rel=1e-12)
                assert prox(scaled(c), c * u, 0.9, j) == pytest.approx(c * prox(penalty, u, 0.9, j), rel=1e-12)


@each
def test_there_is_no_conjugate_and_a_level_is_replaced_alone(penalty):
    assert not has_conjugate(penalty)
    other = with_alpha(penalty, 3)
    assert other.alpha == 3.0
    assert other[1:] == penalty[1:]
    assert type(other) is type(penalty)


@kernel
def _everything(penalty, coefs, slopes, step, out):
    for j in range(out.shape[0]):
        for k in range(coefs.size):
            row = out[j, k]
            row[0] = value(penalty, coefs[k], j)
            row[1] = prox(penalty, coefs[k], step, j)
            row[2] = subdifferential_distance(penalty, coefs[k], slopes[k], j)
            row[3], row[4], row[5], row[6] = smooth_piece(penalty, coefs[k], j)
            row[7] = critical_alpha(penalty, slopes[k], j)


@each
@pytest.mark.parametrize("step", [0.15, 5.0])
def test_compiled_code_computes_the_same_as_python(penalty, step):
    coefs = np.array([-3.0, -0.7, 0.0, 0.2, 2.0, 2.1, 9.0])
    slopes = np.array([-0.7, 0.7, 0.1, 0.0, -5.0, 2.0, 0.3])
    compiled, python = np.empty((2, WEIGHTS.size, coefs.size, 8))
    _everything(penalty, coefs, slopes, step, compiled)
    with np.errstate(invalid="ignore"):
        for j in COORDINATES:
            for k, (coef, slope) in enumerate(zip(coefs.tolist(), slopes.tolist(), strict=True)):
                python[j, k] = (
                    value(penalty, coef, j),
                    prox(penalty, coef, step, j),
                    subdifferential_distance(penalty, coef, slope, j),
                    *smooth_piece(penalty, coef, j),
                    critical_alpha(penalty, slope, j),
                )
    # Up to contraction of products and sums.
    np.testing.assert_allclose(compiled, python, rtol=1e-14, atol=1e-15)
