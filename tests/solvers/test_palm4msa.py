"""PALM4MSA: what is known of Hadamard matrices, descent, stationarity recomputed, invariance to scale."""

from functools import reduce

import numpy as np
import pytest
import scipy.linalg

from sparsemodels.solvers.butterfly import butterfly_radices, butterfly_supports, factorize_butterfly
from sparsemodels.solvers.factor_schedules import butterfly_schedule, hadamard_schedule, multilayer_schedule
from sparsemodels.solvers.hierarchical_factorization import hierarchical_palm4msa
from sparsemodels.solvers.palm4msa import factor_shapes, palm4msa
from sparsemodels.solvers.sparse_factor_projections import (
    FixedFactor,
    FixedSupport,
    LargestEntries,
    LargestPerColumn,
    LargestPerRow,
    LargestPerRowOrColumn,
    project,
)

RNG = np.random.default_rng(0)


def product(solution):
    return solution.scale * reduce(np.matmul, solution.factors)


def relative_error(A, solution):
    return np.linalg.norm(A - product(solution)) / np.linalg.norm(A)


def residual_of_stationarity(A, constraints, solution):
    """By the definition: how far every factor moves by its own projected gradient step, the others held."""
    moved, scale, factors = 0.0, solution.scale, solution.factors
    for j, constraint in enumerate(constraints):
        if isinstance(constraint, FixedFactor):
            continue
        left = reduce(np.matmul, factors[:j], np.eye(A.shape[0]))
        right = reduce(np.matmul, [*factors[j + 1 :], np.eye(A.shape[1])])
        lipschitz = 1.001 * (scale * np.linalg.norm(left, 2) * np.linalg.norm(right, 2)) ** 2
        gradient = scale * left.conj().T @ (scale * left @ factors[j] @ right - A) @ right.conj().T
        step = project(constraint, factors[j] - gradient / lipschitz)
        step *= np.linalg.norm(factors[j]) / np.linalg.norm(step)
        moved += lipschitz * np.linalg.norm(step - factors[j]) ** 2
    return np.sqrt(moved) / np.linalg.norm(A)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("n", [16, 32, 64])
def test_hadamard_factors_are_found_without_knowing_their_supports(n, side):
    H = scipy.linalg.hadamard(n)
    constraints, residuals = hadamard_schedule(n)
    solution = hierarchical_palm4msa(H, constraints, residuals, side=side, tol=1e-10)
    assert relative_error(H, solution) <= 1e-10
    assert sum(np.count_nonzero(factor) for factor in solution.factors) == 2 * n * np.log2(n)
    assert solution.status == "converged"
    # The same constraints without the hierarchy end in a poor stationary point.
    flat = palm4msa(H, constraints, rightwards=side == "right", max_iter=500)
    assert relative_error(H, flat) > 0.5


def test_a_hadamard_matrix_in_single_precision():
    H = scipy.linalg.hadamard(32).astype(np.float32)
    solution = hierarchical_palm4msa(H, *hadamard_schedule(32), tol=1e-5)
    assert {factor.dtype for factor in solution.factors} == {np.dtype(np.float32)}
    assert relative_error(H, solution) <= 1e-4
    assert solution.status == "converged"


@pytest.mark.parametrize("side", ["right", "left"])
def test_butterfly_supports_by_descent(side):
    n = 16
    radices = butterfly_radices(n, n)
    supports = [support.toarray() for support in butterfly_supports(radices)]
    q, _ = np.linalg.qr(RNG.standard_normal((n, n)))
    A = reduce(np.matmul, [np.where(s, RNG.choice([-1.0, 1.0], s.shape), 0.0) for s in supports])
    solution = hierarchical_palm4msa(A, *butterfly_schedule(radices, side), side=side, tol=1e-9, max_iter=2000)
    assert relative_error(A, solution) <= 1e-6
    for factor, support in zip(solution.factors, supports, strict=True):
        assert not np.any(factor[~support])
    # Where no butterfly is near, descent improves a little on the singular value decompositions, and never ruins them.
    exact = [factor.toarray() for factor in factorize_butterfly(q, radices)]
    refined = palm4msa(q, butterfly_schedule(radices).constraints, factors=exact, scale=1.0, max_iter=200)
    before = np.linalg.norm(q - reduce(np.matmul, exact)) / np.linalg.norm(q)
    assert relative_error(q, refined) <= before


SMOOTH = np.exp(-0.5 * ((np.linspace(0, 6, 12)[:, None] - np.linspace(0, 6, 40)) / 0.7) ** 2)
PROBLEMS = {
    "wide": (SMOOTH, *multilayer_schedule(SMOOTH.shape, 3, outer_nonzeros=3, inner_nonzeros=3), "right"),
    "tall": (SMOOTH.T, *multilayer_schedule(SMOOTH.T.shape, 3, outer_nonzeros=3, inner_nonzeros=3), "left"),
    "two": (SMOOTH, [LargestPerRow(3), LargestPerColumn(2)], [], "right"),
    "complex": (
        np.fft.fft(np.eye(8)) * (1.0 + 0.1 * RNG.standard_normal((8, 8))),
        [LargestEntries(24)] * 2,
        [],
        "right",
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_objective_falls_and_the_residual_is_what_it_says(name):
    A, constraints, residuals, side = PROBLEMS[name]
    solution = hierarchical_palm4msa(A, constraints, residuals, side=side, tol=1e-3, max_iter=1000)
    assert solution.status == "converged"
    assert solution.kkt <= 1e-3
    assert residual_of_stationarity(A, constraints, solution) == pytest.approx(solution.kkt, rel=0.01)
    assert solution.objective == pytest.approx(0.5 * np.linalg.norm(A - product(solution)) ** 2, rel=1e-9)
    # The best number in front.
    direction = product(solution)
    assert np.vdot(direction, A - direction).real == pytest.approx(0.0, abs=1e-9 * np.linalg.norm(A) ** 2)
    for factor, constraint in zip(solution.factors, constraints, strict=True):
        assert np.array_equal(project(constraint, factor), factor)
        assert np.linalg.norm(factor) == pytest.approx(np.sqrt(min(factor.shape)))
    # Started there again, it stays.
    again = palm4msa(A, constraints, factors=solution.factors, scale=solution.scale, tol=2e-3)
    assert again.n_iter == 1
    assert again.objective <= solution.objective * (1.0 + 1e-9)


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_single_step_descends(name):
    A, constraints, _, _ = PROBLEMS[name]
    rng = np.random.default_rng(1)
    kind = np.complex128 if np.iscomplexobj(A) else np.float64
    factors = [
        project(c, rng.standard_normal(shape).astype(kind))
        for c, shape in zip(constraints, factor_shapes(A.shape, constraints), strict=True)
    ]
    factors = [factor * np.sqrt(min(factor.shape)) / np.linalg.norm(factor) for factor in factors]
    last, scale = np.inf, 1.0
    for _ in range(20):
        # One iteration at a time has no momentum: the plain method of the paper.
        solution = palm4msa(A, constraints, factors=factors, scale=scale, max_iter=1, tol=0.0)
        factors, scale = solution.factors, solution.scale
        assert solution.objective <= last * (1.0 + 1e-9)
        last = solution.objective
    whole = palm4msa(A, constraints, max_iter=40, tol=0.0)
    assert np.all(np.diff(whole.objective_history) <= 0.0)


@pytest.mark.parametrize("scale", [2.0**-300, 0.25, -1.0, 2.0**300])
def test_scaling_the_matrix_scales_the_number_in_front(scale):
    A, constraints, residuals, side = PROBLEMS["wide"]
    options = {"side": side, "tol": 1e-3}
    first = hierarchical_palm4msa(A, constraints, residuals, **options)
    second = hierarchical_palm4msa(scale * A, constraints, residuals, **options)
    assert abs(second.scale) == pytest.approx(abs(scale) * first.scale, rel=1e-9)
    assert second.n_iter == first.n_iter
    assert second.kkt == pytest.approx(first.kkt, rel=1e-6)
    assert np.allclose(product(second) / scale, product(first), atol=1e-9)


def test_a_fixed_factor_stays():
    first = RNG.standard_normal((12, 5))
    A = first @ project(LargestPerColumn(1), RNG.standard_normal((5, 20)))
    constraints = [FixedFactor(first), LargestPerColumn(1)]
    solution = palm4msa(A, constraints, rightwards=False, tol=1e-10, max_iter=5000)
    assert np.array_equal(solution.factors[0], first)
    assert solution.factors[1].shape == (5, 20)
    assert solution.kkt <= 1e-10
    assert np.count_nonzero(solution.factors[1], axis=0).max() <= 1


@pytest.mark.parametrize("method", ["palm", "hierarchical"])
def test_a_matrix_of_zeros(method):
    constraints, residuals = hadamard_schedule(8)
    A = np.zeros((8, 8))
    solution = palm4msa(A, constraints) if method == "palm" else hierarchical_palm4msa(A, constraints, residuals)
    assert solution.scale == 0.0
    assert solution.status == "converged"
    assert not np.any(product(solution))


def test_a_start_that_sees_nothing_of_the_matrix_is_left():
    # The first step multiplies with an identity of the shape 12 x 52, which hits only zeros.
    A = np.hstack([np.zeros((12, 12)), SMOOTH])
    schedule = multilayer_schedule(A.shape, 3, outer_nonzeros=3, inner_nonzeros=3)
    for solution in (hierarchical_palm4msa(A, *schedule), palm4msa(A, schedule.constraints)):
        assert relative_error(A, solution) < 0.9
        assert np.isfinite(solution.kkt)
    wrong = FixedFactor(np.zeros((12, 12)))
    nothing = palm4msa(SMOOTH, [wrong, LargestPerColumn(2)])
    assert relative_error(SMOOTH, nothing) == 1.0
    assert np.isfinite(nothing.kkt)


def test_one_factor_is_a_projection():
    A = RNG.standard_normal((6, 9))
    solution = hierarchical_palm4msa(A, [LargestEntries(10)], [], tol=1e-12)
    assert np.allclose(product(solution), project(LargestEntries(10), A))


def test_ending_early_keeps_the_best():
    A, constraints, residuals, side = PROBLEMS["wide"]
    seen = []

    def stop(n_iter, objective):
        seen.append(objective)
        return n_iter == 3

    solution = hierarchical_palm4msa(A, constraints, residuals, side=side, on_iteration=stop)
    assert solution.status == "stopped"
    assert solution.n_iter == len(seen) == 3
    assert relative_error(A, solution) < 1.0
    assert np.isfinite(solution.kkt)
    late = hierarchical_palm4msa(A, constraints, residuals, side=side, max_iter=5, tol=0.0, deadline=0.0)
    assert late.status == "time_limit"
    assert relative_error(A, late) < 1.0

    def interrupt(n_iter, objective):
        if n_iter == 12:
            raise KeyboardInterrupt
        return False

    # In the second level: what the first one found is kept.
    broken = hierarchical_palm4msa(A, constraints, residuals, side=side, max_iter=10, tol=0.0, on_iteration=interrupt)
    assert broken.status == "interrupted"
    assert len(broken.factors) == 2
    assert relative_error(A, broken) < 1.0


def test_nothing_of_the_callers_changes():
    A, constraints, _, _ = PROBLEMS["two"]
    start = [np.eye(12), np.eye(12, 40)]
    before = [A.copy(), *(factor.copy() for factor in start)]
    palm4msa(A, constraints, factors=start, scale=1.0, max_iter=3)
    for now, then in zip([A, *start], before, strict=True):
        assert np.array_equal(now, then)


def test_bad_input():
    A = np.eye(4)
    two = [LargestEntries(4)] * 2
    with pytest.raises(ValueError, match="constraints must hold a record for every factor, got none"):
        palm4msa(A, [])
    with pytest.raises(ValueError, match=r"factors must have the shapes \[\(4, 4\), \(4, 4\)\], got \[\(4, 4\)\]"):
        palm4msa(A, two, factors=[A])
    with pytest.raises(ValueError, match="residual_constraints must hold 1 records for 3 factors, got 0"):
        hierarchical_palm4msa(A, [LargestEntries(4)] * 3, [])
    with pytest.raises(ValueError, match="side must be 'right' or 'left', got 'up'"):
        hierarchical_palm4msa(A, two, [], side="up")
    with pytest.raises(ValueError, match=r"constraints\[1\] prescribes the shape \(3, 4\), the factor has \(5, 4\)"):
        palm4msa(A, [FixedSupport(np.ones((4, 5), dtype=bool)), FixedSupport(np.ones((3, 4), dtype=bool))])
    with pytest.raises(TypeError, match="must be a constraint record, got int"):
        palm4msa(A, [3, 4])
    with pytest.raises(ValueError, match=r"needs a square matrix of order 2, 4, 8, \.\.\., got order 12"):
        hadamard_schedule(12)
    with pytest.raises(ValueError, match="n_factors must be between 1 and 3 for order 8, got 4"):
        hadamard_schedule(8, 4)
    with pytest.raises(ValueError, match="n_factors must be at least 2, got 1"):
        multilayer_schedule((3, 4), 1)


def test_fewer_hadamard_factors():
    H = scipy.linalg.hadamard(32)
    constraints, residuals = hadamard_schedule(32, 3)
    assert constraints[0] == LargestPerRowOrColumn(8)
    solution = hierarchical_palm4msa(H, constraints, residuals, tol=1e-10)
    assert relative_error(H, solution) <= 1e-10
    assert [np.count_nonzero(factor) for factor in solution.factors] == [256, 64, 64]
