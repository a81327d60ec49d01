"""Group penalties: every function of the record against its definition, by brute force or a general solver."""

import numpy as np
import pytest
from scipy.optimize import minimize

from sparsemodels.solvers.penalties import L1, MCP, SCAD, group_norm, with_alpha
from sparsemodels.solvers.penalties.vector_functions import (
    closure,
    dual_scale,
    equation_coordinates,
    has_conjugate,
    kkt_distances,
    largest_critical_alpha,
    penalty_gap,
    penalty_value,
    structure,
    vector_prox,
)

INF = np.inf
GROUP_OF = np.array([0, 1, 0, 2, 1, 0, 2, 3, 3, 4])  # interleaved
GROUP_WEIGHTS = np.array([1.5, 0.7, 0.0, INF, 1.0])
WEIGHTS = np.array([1.0, 0.5, 0.0, 2.0, 1.0, 1.0, 0.0, 1.0, 1.0, INF])
FEATURES = np.arange(GROUP_OF.size)
RNG = np.random.default_rng(0)


def lasso(alpha=0.6, l1_ratio=0.0, weights=WEIGHTS, group_weights=GROUP_WEIGHTS):
    return group_norm(L1(alpha, group_weights), GROUP_OF, l1_ratio=l1_ratio, weights=weights)


def mcp(alpha=0.6, l1_ratio=0.0, gamma=2.5):
    return group_norm(MCP(alpha, gamma, GROUP_WEIGHTS), GROUP_OF, l1_ratio=l1_ratio, weights=WEIGHTS)


def scad(alpha=0.6, l1_ratio=0.0, gamma=3.7):
    return group_norm(SCAD(alpha, gamma, GROUP_WEIGHTS), GROUP_OF, l1_ratio=l1_ratio, weights=WEIGHTS)


CONVEX = {
    "group": lasso(),
    "sparse group": lasso(l1_ratio=0.4),
    "l1": lasso(l1_ratio=1.0),
    "level zero": lasso(alpha=0.0, l1_ratio=0.4),
}
CONCAVE = {
    "mcp": mcp(),
    "mcp, sparse": mcp(l1_ratio=0.3),
    "mcp, gamma below the step": mcp(gamma=0.5),
    "scad": scad(),
    "scad, sparse": scad(l1_ratio=0.3),
    "scad, gamma - 1 below the step": scad(gamma=2.1),
}
each = pytest.mark.parametrize("penalty", (CONVEX | CONCAVE).values(), ids=CONVEX | CONCAVE)
convex = pytest.mark.parametrize("penalty", CONVEX.values(), ids=CONVEX)


def definition(penalty, w):
    """The formula of the docstrings."""

    def phi(r, weight):
        norm = penalty.norm
        if r == 0.0 or weight == INF:
            return 0.0 if r == 0.0 else INF
        level, gamma = norm.alpha * weight, getattr(norm, "gamma", INF)
        if isinstance(norm, MCP):
            return level * r - r * r / (2 * gamma) if r <= gamma * level else gamma * level**2 / 2
        if isinstance(norm, SCAD):
            if r <= level:
                return level * r
            if r <= gamma * level:
                return (2 * gamma * level * r - r * r - level**2) / (2 * (gamma - 1))
            return level**2 * (gamma + 1) / 2
        return level * r

    total = sum(phi(np.linalg.norm(w[g == GROUP_OF]), weight) for g, weight in enumerate(GROUP_WEIGHTS))
    used = w != 0.0
    l1 = np.where(np.isinf(WEIGHTS), INF, penalty.l1.alpha * np.where(np.isinf(WEIGHTS), 1.0, WEIGHTS))
    return total + float(l1[used] @ np.abs(w[used]))


def excluded():
    return np.isinf(WEIGHTS) | np.isinf(GROUP_WEIGHTS[GROUP_OF])


def random_coef(zeros=0.3):
    w = RNG.standard_normal(FEATURES.size)
    w[RNG.random(w.size) < zeros] = 0.0
    w[np.isin(GROUP_OF, RNG.choice(5, 2))] = 0.0
    w[excluded()] = 0.0
    return w


def soft(v, t):
    return np.sign(v) * np.maximum(np.abs(v) - t, 0.0)


def dual_point(penalty, v):
    """The norm of each group's soft-thresholded slopes beyond what the dual ball allows, by the definition."""
    with np.errstate(invalid="ignore"):
        thresholds = np.where(np.isinf(WEIGHTS), INF, penalty.l1.alpha * WEIGHTS)
        radii = np.where(np.isinf(GROUP_WEIGHTS), INF, penalty.norm.alpha * GROUP_WEIGHTS)
    u = soft(v, thresholds)
    norms = np.sqrt(np.bincount(GROUP_OF, weights=u**2))
    return norms, radii


@each
def test_value_is_the_definition(penalty):
    for _ in range(20):
        w = random_coef()
        assert penalty_value(penalty, w, FEATURES) == pytest.approx(definition(penalty, w), rel=1e-14, abs=1e-300)
    w[7] = 1.0  # in the excluded group
    assert penalty_value(penalty, w, FEATURES) == INF


@each
@pytest.mark.parametrize("step", [0.3, 1.7])
def test_prox_is_the_minimum(penalty, step):
    """No point found from many starts by a general minimiser is better, group by group."""
    for _ in range(4):
        v = 2.0 * RNG.standard_normal(FEATURES.size)
        u = vector_prox(penalty, v, step, FEATURES)
        assert (u[excluded()] == 0.0).all()
        for g in range(5):
            members = (g == GROUP_OF) & ~excluded()
            if not members.any():
                continue

            def objective(part, members=members, v=v):
                w = np.zeros(v.size)
                w[members] = part
                return ((w - v)[members] ** 2).sum() / (2 * step) + definition(penalty, w)

            best = objective(u[members])
            candidates = [np.zeros(members.sum()), v[members], *(v[members] * RNG.random((6, 1)))]
            for start in candidates:
                found = minimize(objective, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13})
                assert best <= found.fun + 1e-10
            for part in u[members] + 1e-4 * RNG.standard_normal((20, members.sum())):
                assert best <= objective(part) + 1e-12


@each
def test_distance_is_that_to_the_subdifferential(penalty):
    """At the prox u of v the slope (v - u) / t lies in the subdifferential; a change d of it at active groups is d."""
    step = 0.2
    out = np.empty(FEATURES.size)
    for _ in range(5):
        v = 2.0 * RNG.standard_normal(FEATURES.size)
        u = vector_prox(penalty, v, step, FEATURES)
        slope = (v - u) / step
        assert kkt_distances(penalty, u, slope, FEATURES, out) <= 1e-12
        for g in np.unique(GROUP_OF[u != 0.0]):
            moved = np.where((g == GROUP_OF) & (u != 0.0), RNG.standard_normal(u.size), 0.0)
            largest = kkt_distances(penalty, u, slope + moved, FEATURES, out)
            np.testing.assert_allclose(out[g == GROUP_OF], np.linalg.norm(moved), rtol=1e-9)
            np.testing.assert_allclose(out[g != GROUP_OF], 0.0, atol=1e-12)
            assert largest == out.max()


@each
def test_distance_at_zero(penalty):
    out = np.empty(FEATURES.size)
    for _ in range(5):
        v = RNG.standard_normal(FEATURES.size)
        norms, radii = dual_point(penalty, v)
        kkt_distances(penalty, np.zeros(v.size), v, FEATURES, out)
        np.testing.assert_allclose(out, np.maximum(norms - radii, 0.0)[GROUP_OF], rtol=1e-14, atol=1e-15)


@convex
def test_dual_scale_is_the_largest_feasible_factor(penalty):
    for _ in range(20):
        v = 3.0 * RNG.standard_normal(FEATURES.size)
        v[equation_coordinates(penalty, FEATURES) == 2] = 0.0

        def feasible(c, v=v):
            norms, radii = dual_point(penalty, c * v)
            return (norms <= radii).all()

        low, high = 0.0, 1.0
        for _ in range(60):  # bisection
            middle = 0.5 * (low + high)
            low, high = (middle, high) if feasible(middle) else (low, middle)
        np.testing.assert_allclose(dual_scale(penalty, v, FEATURES), 1.0 if feasible(1.0) else low, rtol=1e-12)


@convex
def test_gap_is_the_definition_and_vanishes_quadratically(penalty):
    for _ in range(20):
        w, v = random_coef(), 2.0 * RNG.standard_normal(FEATURES.size)
        v[equation_coordinates(penalty, FEATURES) == 2] = 0.0
        c = dual_scale(penalty, v, FEATURES)
        expected = definition(penalty, w) - c * v @ w
        np.testing.assert_allclose(penalty_gap(penalty, w, v, FEATURES, c), expected, rtol=1e-12, atol=1e-13)
        # At u = prox(v) the pair is optimal; a relative change d of the active coefficients costs about d squared.
        u = vector_prox(penalty, v, 1.0, FEATURES)
        slope = v - u
        assert (
            penalty_gap(penalty, u, slope, FEATURES, 1.0)
            <= 1e-28 + 1e-15 * np.abs(slope - np.clip(slope, -1, 1)).sum() + 1e-14  # rounding of sums of order one
        )
        turned = u * (1.0 + 1e-7 * RNG.standard_normal(u.size))
        assert 0.0 <= penalty_gap(penalty, turned, slope, FEATURES, 1.0) <= 1e-12


@pytest.mark.parametrize("kind", [lasso, mcp, scad])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.3, 1.0])
def test_critical_level_is_where_zero_becomes_optimal(kind, l1_ratio):
    out = np.empty(FEATURES.size)
    for _ in range(10):
        slope = 10.0 ** RNG.uniform(-6, 6) * RNG.standard_normal(FEATURES.size)
        slope[(GROUP_OF == 2) & ((WEIGHTS == 0.0) | (l1_ratio == 0.0))] = 0.0  # unpenalised: fitted
        slope[WEIGHTS == 0.0] *= l1_ratio < 1.0
        level = largest_critical_alpha(kind(l1_ratio=l1_ratio), slope)

        def distance(alpha, slope=slope):
            penalty = with_alpha(kind(l1_ratio=l1_ratio), alpha)
            return kkt_distances(penalty, np.zeros(slope.size), slope, FEATURES, out)

        assert distance(level) == 0.0
        assert distance(level * (1.0 - 1e-9)) > 0.0


def test_critical_level_without_anything_to_penalise():
    free = group_norm(L1(1.0, np.zeros(2)), np.array([0, 0, 1]))
    assert largest_critical_alpha(free, np.array([1.0, -2.0, 3.0])) == 0.0


def test_singletons_are_the_weighted_l1_norm():
    weights = RNG.uniform(0.1, 2.0, 6)
    penalty, l1 = group_norm(L1(0.7, weights), np.arange(6)), L1(0.7, weights)
    features, v, w = np.arange(6), RNG.standard_normal(6), RNG.standard_normal(6)
    for function, arguments in (
        (vector_prox, (v, 0.8, features)),
        (penalty_value, (w, features)),
        (dual_scale, (v, features)),
        (penalty_gap, (w, v, features, dual_scale(l1, v, features))),
        (largest_critical_alpha, (v,)),
    ):
        np.testing.assert_allclose(function(penalty, *arguments), function(l1, *arguments), rtol=1e-13)


def test_working_sets_are_whole_groups():
    penalty = lasso(l1_ratio=0.4)
    assert structure(penalty) == "groups"
    features = closure(penalty, np.array([5, 1]))
    np.testing.assert_array_equal(features, [0, 2, 5, 1, 4])
    w = random_coef(0.0)
    w[~np.isin(FEATURES, features)] = 0.0
    v = RNG.standard_normal(FEATURES.size)
    assert penalty_value(penalty, w[features], features) == pytest.approx(penalty_value(penalty, w, FEATURES))
    np.testing.assert_allclose(
        vector_prox(penalty, v[features], 0.5, features), vector_prox(penalty, v, 0.5, FEATURES)[features]
    )
    part, full = np.empty(features.size), np.empty(FEATURES.size)
    kkt_distances(penalty, w[features], v[features], features, part)
    kkt_distances(penalty, w, v, FEATURES, full)
    np.testing.assert_allclose(part, full[features])


def test_only_convex_penalties_have_a_gap():
    assert all(has_conjugate(penalty) for penalty in CONVEX.values())
    assert not any(has_conjugate(penalty) for penalty in CONCAVE.values())
