"""Every generic function of the penalties against its definition, from nothing but the penalty's own formula."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from sparsemodels.solvers.kernel import kernel
from sparsemodels.solvers.penalties import (
    L1,
    Box,
    ElasticNet,
    conjugate,
    conjugate_domain,
    conjugate_maximizer,
    critical_alpha,
    prox,
    smooth_piece,
    subdifferential_distance,
    value,
    with_alpha,
)

INF = np.inf
WEIGHTS = np.array([1.0, 0.0, INF, 2.5, 1.0, 1.0, 0.3, 1.0])
LOWER = np.array([-0.5, -1.0, -1.0, 0.0, -INF, 0.0, -INF, -0.25])
UPPER = np.array([2.0, 1.0, INF, INF, 0.0, 0.0, INF, 0.75])
COORDINATES = range(WEIGHTS.size)


def l1(alpha):
    return L1(alpha, WEIGHTS)


def elastic_net(alpha, l1_ratio):
    return ElasticNet(alpha, l1_ratio, WEIGHTS)


PENALTIES = {
    "l1": l1(0.7),
    "l1 at alpha 0": l1(0.0),
    "elastic net": elastic_net(0.7, 0.4),
    "elastic net at alpha 0": elastic_net(0.0, 0.4),
    "ridge": elastic_net(0.7, 0.0),
    "elastic net that is l1": elastic_net(0.7, 1.0),
    "box of l1": Box(l1(0.7), LOWER, UPPER),
    "box alone": Box(l1(0.0), LOWER, UPPER),
    "box of elastic net": Box(elastic_net(0.7, 0.4), LOWER, UPPER),
    "box of ridge": Box(elastic_net(0.7, 0.0), LOWER, UPPER),
}
each = pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)


def definition(penalty, u, j):
    """The formula of the docstrings."""
    if isinstance(penalty, Box):
        outside = u < penalty.lower[j] or u > penalty.upper[j]
        return INF if outside else definition(penalty.penalty, u, j)
    weight = penalty.weights[j]
    if u == 0.0 or weight == INF:
        return 0.0 if u == 0.0 else INF
    ratio = penalty.l1_ratio if isinstance(penalty, ElasticNet) else 1.0
    return penalty.alpha * weight * (ratio * abs(u) + (1.0 - ratio) * u * u / 2.0)


def domain(penalty, j):
    """The coefficients of finite penalty."""
    inner = penalty.penalty if isinstance(penalty, Box) else penalty
    if inner.weights[j] == INF:
        return 0.0, 0.0
    return (penalty.lower[j], penalty.upper[j]) if isinstance(penalty, Box) else (-INF, INF)


def minimum(function, low, high):
    """Where a convex function with a possible kink at zero is least, by golden sections, and its value there."""
    candidates = {low, high, min(max(0.0, low), high)}
    for a, b in ((low, min(high, 0.0)), (max(low, 0.0), high)):
        if a < b:
            candidates.add(minimize_scalar(function, bounds=(a, b), method="bounded", options={"xatol": 1e-12}).x)
    best = min(candidates, key=function)
    return best, function(best)


@each
def test_value(penalty):
    for j in COORDINATES:
        for u in (-3.0, -0.5, -0.25, 0.0, 0.3, 0.75, 2.0, 1e3):
            assert value(penalty, u, j) == pytest.approx(definition(penalty, u, j), rel=1e-15)


@each
@pytest.mark.parametrize("step", [1e-12, 0.3, 7.0, 1e12])
def test_prox_is_the_minimiser(penalty, step):
    for j in COORDINATES:
        low, high = domain(penalty, j)
        for point in (-5.0, -0.8, 0.0, 0.2, 0.7, 0.71, 3.0):
            u = prox(penalty, point, step, j)
            # Multiplied by the step, so that neither term is lost beside the other at extreme steps.
            objective = lambda u, j=j, point=point: (u - point) ** 2 / 2.0 + step * definition(penalty, u, j)  # noqa: E731
            best, least = minimum(objective, max(low, -6.0), min(high, 6.0))
            assert objective(u) <= least + 1e-14 * (1.0 + abs(least))
            # A golden section sees a minimum to the square root of the rounding of the values.
            assert u == pytest.approx(best, abs=1e-6)


@each
def test_conjugate_is_the_supremum(penalty):
    for j in COORDINATES:
        low, high = domain(penalty, j)
        for slope in (-4.0, -0.7, -0.3, 0.0, 0.05, 0.7, 1.0, 30.0):
            conjugated, maximizer = conjugate(penalty, slope, j), conjugate_maximizer(penalty, slope, j)
            lowest, highest = conjugate_domain(penalty, j)
            assert (lowest <= slope <= highest) == np.isfinite(conjugated)
            negative = lambda u, j=j, slope=slope: definition(penalty, u, j) - slope * u  # noqa: E731
            if np.isinf(conjugated):
                # The supremum is at infinity: it grows without end in the maximizer's direction.
                direction = np.sign(slope)
                assert maximizer == direction * INF
                assert -negative(direction * 1e8) > 10 * -negative(direction * 1e6) > 0.0
            else:
                _, least = minimum(negative, max(low, -500.0), min(high, 500.0))
                assert conjugated == pytest.approx(-least, rel=1e-10, abs=1e-12)
                assert slope * maximizer - value(penalty, maximizer, j) == pytest.approx(conjugated, rel=1e-12)


@each
def test_conjugate_domain_is_where_the_conjugate_is_finite(penalty):
    for j in COORDINATES:
        for end, sign in zip(conjugate_domain(penalty, j), (-1.0, 1.0), strict=True):
            assert np.isfinite(conjugate(penalty, end if np.isfinite(end) else sign * 1e6, j)) or end == -sign * INF
            if np.isfinite(end):
                assert conjugate(penalty, end + sign * 1e-9, j) == INF


@each
def test_fenchel_young(penalty):
    rng = np.random.default_rng(0)
    for j in COORDINATES:
        low, high = domain(penalty, j)
        lowest, highest = conjugate_domain(penalty, j)
        for _ in range(50):
            coef = min(max(rng.normal(), low), high)
            slope = min(max(rng.normal(scale=2.0), lowest), highest)
            assert value(penalty, coef, j) + conjugate(penalty, slope, j) - slope * coef >= -1e-14
        for point in rng.normal(scale=3.0, size=50):
            # A proximal step ends where its slope is a subgradient: there the inequality is an equality.
            coef = prox(penalty, point, 0.6, j)
            slope = (point - coef) / 0.6
            assert subdifferential_distance(penalty, coef, slope, j) <= 1e-14 * (1.0 + abs(slope))
            slope = min(max(slope, lowest), highest)
            total = value(penalty, coef, j) + conjugate(penalty, slope, j)
            assert total == pytest.approx(slope * coef, abs=1e-13)


@each
@pytest.mark.parametrize("step", [0.1, 1.0, 20.0])
def test_moreau_identity(penalty, step):
    # prox_{tp}(v) = v - t s with the minimiser s of (s - v/t)^2 t / 2 + p*(s).
    for j in COORDINATES:
        lowest, highest = conjugate_domain(penalty, j)
        for point in (-4.0, -0.3, 0.0, 0.6, 2.0):
            dual = lambda s, j=j, point=point: (s - point / step) ** 2 * step / 2.0 + conjugate(penalty, s, j)  # noqa: E731
            grid = np.unique(
                np.clip(np.concatenate([np.linspace(-60.0, 60.0, 25), [-0.7, -0.28, 0.0, 0.28, 0.7]]), lowest, highest)
            )
            s, _ = min(
                (minimum(dual, a, b) for a, b in zip(grid, [*grid[1:], grid[-1]], strict=True)), key=lambda m: m[1]
            )
            assert prox(penalty, point, step, j) == pytest.approx(point - step * s, abs=2e-5 * step)


@each
def test_subdifferential_distance_is_the_distance_to_the_one_sided_derivatives(penalty):
    h = 1e-7
    for j in COORDINATES:
        low, high = domain(penalty, j)
        for coef in {0.0, 0.1, -0.1, 0.5, -0.2, 1.7, max(low, -9.0), min(high, 9.0)}:
            if not low <= coef <= high:
                continue
            here = definition(penalty, coef, j)
            left = (here - definition(penalty, coef - h, j)) / h
            right = (definition(penalty, coef + h, j) - here) / h
            for slope in (-5.0, -0.7, -0.2, 0.0, 0.1, 0.7, 1.3, 9.0):
                distance = subdifferential_distance(penalty, coef, slope, j)
                # The penalties are quadratic between their kinks: the difference errs by h and by rounding over h.
                assert distance == pytest.approx(max(left - slope, slope - right, 0.0), abs=1e-6)


@each
def test_smooth_piece_is_the_quadratic_around_a_coefficient(penalty):
    for j in COORDINATES:
        low, high = domain(penalty, j)
        for coef in {0.0, 0.1, -0.1, 0.5, -0.2, 1.7, max(low, -9.0), min(high, 9.0)}:
            if not low <= coef <= high or domain(penalty, j) == (0.0, 0.0):
                continue
            lower, upper, slope, curvature = smooth_piece(penalty, coef, j)
            here = definition(penalty, coef, j)
            if lower == upper:
                # A kink or a bound: the coefficient itself, where the one-sided derivatives differ.
                assert coef == lower
                h = 1e-7
                left = (here - definition(penalty, coef - h, j)) / h
                assert (definition(penalty, coef + h, j) - here) / h > left + 0.1
                continue
            assert low <= lower < coef < upper <= high
            for u in np.linspace(max(lower, -50.0), min(upper, 50.0), 7):
                quadratic = here + slope * (u - coef) + 0.5 * curvature * (u - coef) ** 2
                assert definition(penalty, u, j) == pytest.approx(quadratic, rel=1e-12, abs=1e-13)
            # And it ends only where the quadratic does.
            for end, beyond in ((lower, -1e-3), (upper, 1e-3)):
                if np.isfinite(end):
                    u = end + beyond
                    quadratic = here + slope * (u - coef) + 0.5 * curvature * (u - coef) ** 2
                    assert definition(penalty, u, j) > quadratic + 1e-5


@each
def test_critical_alpha_is_the_smallest_level_at_which_zero_is_optimal(penalty):
    def optimal(alpha, slope, j):
        return subdifferential_distance(with_alpha(penalty, alpha), 0.0, slope, j) == 0.0

    for j in COORDINATES:
        if WEIGHTS[j] == 0.0:  # not penalised at any level: it has no say in the largest
            assert critical_alpha(penalty, 3.0, j) == 0.0
            continue
        for slope in (-2.0, -0.1, 0.0, 0.4, 5.0):
            critical = critical_alpha(penalty, slope, j)
            if not optimal(1e9, slope, j):
                assert critical == INF
            elif optimal(0.0, slope, j):
                assert critical == 0.0
            else:
                low, high = 0.0, 1e9
                while high - low > 1e-13 * high:
                    middle = 0.5 * (low + high)
                    low, high = (low, middle) if optimal(middle, slope, j) else (middle, high)
                assert critical == pytest.approx(high, rel=1e-12)


def test_with_alpha_changes_the_level_alone():
    for name, other in (("l1", l1(3.0)), ("elastic net", elastic_net(3.0, 0.4))):
        assert with_alpha(PENALTIES[name], 3) == other
        boxed = with_alpha(Box(PENALTIES[name], LOWER, UPPER), 3)
        assert boxed == Box(other, LOWER, UPPER)
        assert PENALTIES[name].alpha == 0.7


@kernel
def _everything(penalty, coefs, slopes, step, out):
    for j in range(out.shape[0]):
        for k in range(coefs.size):
            row = out[j, k]
            row[0] = value(penalty, coefs[k], j)
            row[1] = prox(penalty, coefs[k], step, j)
            row[2] = subdifferential_distance(penalty, coefs[k], slopes[k], j)
            row[3] = conjugate(penalty, slopes[k], j)
            row[4] = conjugate_maximizer(penalty, slopes[k], j)
            row[5], row[6] = conjugate_domain(penalty, j)
            row[7], row[8], row[9], row[10] = smooth_piece(penalty, coefs[k], j)
            row[11] = critical_alpha(penalty, slopes[k], j)


@each
def test_compiled_code_computes_the_same_as_python(penalty):
    coefs = np.array([-3.0, -0.5, 0.0, 0.2, 0.75, 2.0])
    slopes = np.array([-0.7, 0.7, 0.1, 0.0, -5.0, 2.0])
    compiled, python = np.empty((2, WEIGHTS.size, coefs.size, 12))
    _everything(penalty, coefs, slopes, 0.6, compiled)
    for j in COORDINATES:
        for k, (coef, slope) in enumerate(zip(coefs, slopes, strict=True)):
            python[j, k] = (
                value(penalty, coef, j),
                prox(penalty, coef, 0.6, j),
                subdifferential_distance(penalty, coef, slope, j),
                conjugate(penalty, slope, j),
                conjugate_maximizer(penalty, slope, j),
                *conjugate_domain(penalty, j),
                *smooth_piece(penalty, coef, j),
                critical_alpha(penalty, slope, j),
            )
    # Up to contraction of products and sums.
    np.testing.assert_allclose(compiled, python, rtol=1e-15, atol=1e-16)
