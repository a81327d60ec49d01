"""Problems solved side by side against the same problems solved alone, to the last bit of each other."""

import numpy as np
import pytest
import scipy.sparse
import scipy.special

from sparsemodels.solvers.columns import as_columns
from sparsemodels.solvers.composite import Composite
from sparsemodels.solvers.cross_validation import cross_validate
from sparsemodels.solvers.losses import Logistic, Squared, loss_value, negative_gradient
from sparsemodels.solvers.path import alpha_max, alpha_max_passes, path_passes, solve_path
from sparsemodels.solvers.penalties import L1, Box, ElasticNet
from sparsemodels.solvers.row_products import row_products
from sparsemodels.solvers.simultaneous import Design, run_together

N, P, COUNT = 70, 130, 11
TIGHT = 1e-12


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = np.asfortranarray(rng.standard_normal((N, P)) * (rng.random((N, P)) < 0.6) + 0.3)
    y = X[:, :5] @ [2.0, -1.0, 1.0, 1.5, -0.5] + rng.standard_normal(N)
    counts = rng.multinomial(N, np.full(N, 1 / N), size=COUNT).astype(float)
    return X, y, counts


def losses_of(kind, y, counts):
    target = y if kind is Squared else (y > np.median(y)).astype(float)
    return [kind(target, weights / weights.sum()) for weights in counts]


def forms(X):
    return {
        "columns": X,
        "rows": np.ascontiguousarray(X),
        "float32": np.asfortranarray(X, dtype=np.float32),
        "sparse": as_columns(scipy.sparse.csc_array(X)),
    }


def starts_of(design, losses, penalty, **options):
    def start(loss):
        problem = design.problem(loss)
        return problem, problem.passes(penalty, **options)

    return [lambda loss=loss: start(loss) for loss in losses]


@pytest.mark.parametrize("form", ["columns", "rows", "float32", "sparse"])
@pytest.mark.parametrize("kind", [Squared, Logistic])
def test_agrees_with_problems_solved_alone(data, kind, form):
    X, y, counts = data
    design = Design(forms(X)[form], fit_intercept=True)
    penalty, losses = ElasticNet(0.05, 0.9, np.ones(P)), losses_of(kind, y, counts)
    together = run_together(design, starts_of(design, losses, penalty, tol=TIGHT))
    for loss, solution in zip(losses, together, strict=True):
        alone = Composite(design.X, loss, fit_intercept=True).solve(penalty, tol=TIGHT)
        # Two points within a gap g of the optimum of a problem with ridge r are within 2 sqrt(2 g / r) of each other.
        bound = 2.0 * np.sqrt(2.0 * TIGHT * solution.null_objective / 0.005)
        assert np.linalg.norm(solution.coef - alone.coef) <= bound
        assert solution.converged
        assert 0 < np.count_nonzero(solution.coef) < P


@pytest.mark.parametrize("kind", [Squared, Logistic])
def test_gaps_recomputed_from_outside(data, kind):
    """The dual point returned is feasible, and proves the gap by plain arithmetic."""
    X, y, counts = data
    penalty, losses = L1(0.05, np.ones(P)), losses_of(kind, y, counts)
    design = Design(X, fit_intercept=True)
    for loss, solution in zip(losses, run_together(design, starts_of(design, losses, penalty)), strict=True):
        theta = solution.dual
        assert np.abs(X.T @ theta).max() <= 0.05 * (1 + 1e-12)
        assert abs(theta.sum()) <= 1e-12
        s = loss.weights
        ratio = np.divide(theta, s, out=np.zeros(N), where=s > 0)
        if kind is Squared:
            dual = theta @ y - 0.5 * s @ ratio**2
        else:
            q = np.clip(np.where(loss.y == 1.0, ratio, -ratio), 0.0, 1.0)
            dual = -s @ (scipy.special.xlogy(q, q) + scipy.special.xlogy(1 - q, 1 - q))
        primal = loss_value(loss, X @ solution.coef + solution.intercept) + 0.05 * np.abs(solution.coef).sum()
        assert primal - dual <= solution.dual_gap + 1e-12
        assert solution.dual_gap <= 1e-6 * solution.null_objective


@pytest.mark.parametrize("form", ["columns", "rows", "float32", "sparse"])
def test_a_problem_is_solved_to_the_same_bits_in_any_company(data, form):
    X, y, counts = data
    penalty, losses = L1(0.02, np.ones(P)), losses_of(Squared, y, counts)
    design = Design(forms(X)[form], fit_intercept=True)
    reference = run_together(design, starts_of(design, losses, penalty))
    rng = np.random.default_rng(1)
    for width in (1, 2, 3, 64):
        order = rng.permutation(COUNT)[: 1 + 2 * width]
        repeated = [*order, order[0], order[0]]
        solutions = run_together(design, starts_of(design, [losses[k] for k in repeated], penalty), width=width)
        for k, solution in zip(repeated, solutions, strict=True):
            np.testing.assert_array_equal(solution.coef, reference[k].coef)
            assert solution.intercept == reference[k].intercept
            assert solution.dual_gap == reference[k].dual_gap
            assert solution.n_iter == reference[k].n_iter


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (130, 9), (66, 257)])
def test_row_products(shape, dtype):
    rng = np.random.default_rng(2)
    X, block = rng.standard_normal(shape).astype(dtype), rng.standard_normal((6, shape[0]))
    whole = np.empty((6, shape[1]))
    row_products(X, block, whole)
    np.testing.assert_allclose(whole, block @ X.astype(np.float64), atol=1e-12)
    for rows in ([0], [3, 1], [5, 4, 2, 0, 1]):
        out = np.empty((len(rows), shape[1]))
        row_products(X, block[rows], out)
        np.testing.assert_array_equal(out, whole[rows])


def test_products_are_products(data):
    X, _, _ = data
    block = np.random.default_rng(3).standard_normal((5, N))
    for form, design in forms(X).items():
        out = np.empty((5, P))
        Design(design, fit_intercept=False).products(block, out)
        np.testing.assert_allclose(out, block @ X, atol=1e-4 if form == "float32" else 1e-12)


def test_norms_of_the_columns(data):
    X, _, _ = data
    for form, design in forms(X).items():
        rtol = 1e-6 if form == "float32" else 2e-9  # rounded up by 1e-9
        np.testing.assert_allclose(Design(design, fit_intercept=False).norms, np.linalg.norm(X, axis=0), rtol=rtol)
        centred = np.linalg.norm(X - X.mean(axis=0), axis=0)
        np.testing.assert_allclose(Design(design, fit_intercept=True).norms, centred, rtol=rtol)


def test_paths_side_by_side_and_their_first_levels(data):
    X, y, counts = data
    penalty, alphas = L1(1.0, np.where(np.arange(P) == 3, 0.0, 1.0)), np.array([0.3, 0.1, 0.03])
    design, losses, largest = Design(X, fit_intercept=True), losses_of(Squared, y, counts[:4]), {}

    def start(k):
        problem = design.problem(losses[k])

        def passes():
            largest[k] = yield from alpha_max_passes(problem, penalty)
            return (yield from path_passes(problem, penalty, alphas, tol=TIGHT))

        return problem, passes()

    for k, path in enumerate(run_together(design, [lambda k=k: start(k) for k in range(4)])):
        alone = Composite(X, losses[k], fit_intercept=True)
        assert largest[k] == pytest.approx(alpha_max(alone, penalty), rel=1e-9)
        expected = solve_path(alone, penalty, alphas, tol=TIGHT)
        # A relative gap of 1e-12 leaves predictions a square root of that.
        np.testing.assert_allclose(X @ path.coefs, X @ expected.coefs, atol=2e-5)
        assert path.converged


def test_folds_side_by_side_are_folds_alone(data):
    """Held-out losses agree with those of separate paths, and are the same bits for every number of threads."""
    X, y, _ = data
    penalty, alphas, weights = L1(1.0, np.ones(P)), np.array([0.5, 0.2, 0.05]), np.arange(N) % 3 + 1.0
    folds = [(np.flatnonzero(np.arange(N) % 4 != k), np.flatnonzero(np.arange(N) % 4 == k)) for k in range(4)]
    loss, design = Squared(y, weights / weights.sum()), Design(X, fit_intercept=True)

    def alone(loss):
        return solve_path(Composite(X, loss, fit_intercept=True), penalty, alphas, tol=TIGHT)

    def together(loss):
        problem = design.problem(loss)
        return problem, path_passes(problem, penalty, alphas, tol=TIGHT)

    separate = cross_validate(X, loss, weights, folds, 3, alone)
    shared = cross_validate(X, loss, weights, folds, 3, together, design=design)
    np.testing.assert_allclose(shared.losses, separate.losses, rtol=1e-5)
    assert shared.statuses == ["converged"] * 4
    threads = cross_validate(X, loss, weights, folds, 3, together, n_jobs=3, design=design)
    np.testing.assert_array_equal(threads.losses, shared.losses)
    np.testing.assert_array_equal(threads.dual_gaps, shared.dual_gaps)


def test_a_start_near_the_solution_saves_passes(data):
    X, y, counts = data
    design, penalty = Design(X, fit_intercept=True), Box(L1(0.02, np.ones(P)), np.full(P, -1.0), np.full(P, 1.0))
    loss = losses_of(Squared, y, counts)[0]
    problem = design.problem(loss)
    cold = run_together(design, [lambda: (problem, problem.passes(penalty))])[0]
    warm_problem = design.problem(loss, cold.coef)
    warm = run_together(design, [lambda: (warm_problem, warm_problem.passes(penalty))])[0]
    assert warm.n_iter == 1 < cold.n_iter
    np.testing.assert_array_equal(warm.coef, cold.coef)
    assert warm.null_objective == pytest.approx(loss_value(loss, np.full(N, loss.weights @ y)))


def test_a_companion_can_also_be_solved_alone(data):
    X, y, counts = data
    loss, penalty = losses_of(Squared, y, counts)[0], L1(0.05, np.ones(P))
    problem = Design(X, fit_intercept=True).problem(loss)
    assert problem.stale
    assert problem.solve(penalty).converged
    np.testing.assert_allclose(problem.theta, negative_gradient(loss, problem.predictor))


def test_limits_and_interruptions_leave_certified_points(data):
    X, y, counts = data
    design, penalty, losses = Design(X, fit_intercept=True), L1(0.01, np.ones(P)), losses_of(Squared, y, counts)
    for solution in run_together(design, starts_of(design, losses, penalty, deadline=-1.0), width=3):
        assert (solution.status, solution.n_iter) == ("time_limit", 1)
        assert np.isfinite(solution.dual_gap)
    assert run_together(design, []) == []

    best = run_together(design, starts_of(design, losses, penalty, tol=TIGHT))
    passes_so_far = []

    def interrupting(n_iter, gap):
        passes_so_far.append(n_iter)
        if len(passes_so_far) == 5:  # in the second round of the first two problems and the third
            raise KeyboardInterrupt

    starts = starts_of(design, losses, penalty, tol=TIGHT, on_pass=interrupting)
    solutions = run_together(design, starts, width=3)
    assert [solution is None for solution in solutions] == [False] * 3 + [True] * (COUNT - 3)
    for solution, optimum in zip(solutions[:3], best):
        assert solution.status == "interrupted"
        assert solution.objective - solution.dual_gap <= optimum.objective * (1 + 1e-12)
