"""Binary quadratic problems: brute force, ties, proofs, heuristics and samplers."""

import itertools
import time
from types import SimpleNamespace

import numpy as np
import pytest

from sparsemodels.solvers.binary_quadratic import minimize_binary_quadratic
from sparsemodels.solvers.diagonal_relaxation import invert, start_diagonal, stationary_point, tighten
from sparsemodels.solvers.qubo_sampler import DimodAdapter, to_ising, to_qubo
from sparsemodels.solvers.simulated_annealing import SimulatedAnnealing

EXACT = ("auto", "enumerate", "sphere", "branch_and_bound")
HEURISTIC = ("tabu", "simulated_annealing")


def all_codes(r):
    """In lexicographic order."""
    return np.array(list(itertools.product((0, 1), repeat=r)), dtype=np.float64).reshape(-1, r)


def values_of_all(G, c):
    codes = all_codes(len(c))
    return 0.5 * np.einsum("ka,ab,kb->k", codes, G, codes) - codes @ c


def expected_code(G, c, start):
    """The documented rule: least value, then closest to the start, then lexicographic."""
    codes, values = all_codes(len(c)), values_of_all(G, c)
    best = codes[values == values.min()]
    distance = np.abs(best - start).sum(axis=1)
    return best[np.argmin(distance)]


def integer_batch(rng, r, n_problems):
    """Integer data full of ties: zero columns, duplicate columns, few rows."""
    G = np.empty((n_problems, r, r))
    c = np.empty((n_problems, r))
    for p in range(n_problems):
        W = rng.integers(0, 3, size=(int(rng.integers(1, 2 * r + 1)), r)).astype(float)
        if p % 3 == 0:
            W[:, rng.integers(r)] = 0.0
        if p % 2 == 0:
            W[:, rng.integers(r)] = W[:, rng.integers(r)]
        G[p], c[p] = W.T @ W, rng.integers(0, 6, size=len(W)) @ W
    return G, c, rng.integers(0, 2, size=(n_problems, r))


def correlated_batch(rng, r, n_rows, n_problems):
    """Uniform columns, which correlate at 3/4, and data that are no sum of them."""
    W = rng.random((n_problems, n_rows, r))
    V = r / 4 + rng.standard_normal((n_problems, n_rows))
    return np.einsum("pia,pib->pab", W, W), np.einsum("pia,pi->pa", W, V), np.zeros((n_problems, r))


@pytest.mark.parametrize("solver", EXACT)
@pytest.mark.parametrize("r", [1, 2, 5, 9])
def test_integer_data_equal_brute_force_exactly(solver, r):
    G, c, start = integer_batch(np.random.default_rng(r), r, 60)
    solution = minimize_binary_quadratic(G, c, start, solver=solver)
    assert solution.proven.all()
    for p in range(len(c)):
        assert solution.objectives[p] == values_of_all(G[p], c[p]).min()
        code = solution.codes[p].astype(float)
        assert solution.objectives[p] == 0.5 * code @ G[p] @ code - c[p] @ code


@pytest.mark.parametrize("solver", ["auto", "enumerate"])
def test_ties_go_to_the_code_closest_to_the_start_then_to_the_first(solver):
    G, c, start = integer_batch(np.random.default_rng(0), 7, 80)
    ties = 0
    solution = minimize_binary_quadratic(G, c, start, solver=solver)
    for p in range(len(c)):
        values = values_of_all(G[p], c[p])
        ties += np.count_nonzero(values == values.min()) > 1
        assert np.array_equal(solution.codes[p], expected_code(G[p], c[p], start[p]))
    assert ties > 20
    shared = minimize_binary_quadratic(G[0], c, start, solver=solver)
    for p in range(len(c)):
        assert np.array_equal(shared.codes[p], expected_code(G[0], c[p], start[p]))


@pytest.mark.parametrize("solver", ["sphere", "branch_and_bound", "tabu", "simulated_annealing"])
def test_searches_leave_an_optimal_start_alone(solver):
    G, c, start = integer_batch(np.random.default_rng(1), 7, 40)
    best = np.array([expected_code(*problem) for problem in zip(G, c, start, strict=True)])
    assert np.array_equal(minimize_binary_quadratic(G, c, best, solver=solver).codes, best)


@pytest.mark.parametrize("solver", EXACT)
def test_real_data_of_any_sign_and_definiteness(solver):
    rng = np.random.default_rng(2)
    for r in (3, 8, 10):
        factors = rng.standard_normal((30, r // 2 + 1, r))
        G = np.einsum("pia,pib->pab", factors, factors)  # singular, of both signs
        G[::3] += np.array([np.diag(rng.standard_normal(r)) for _ in range(10)])  # indefinite
        c = rng.standard_normal((30, r))
        solution = minimize_binary_quadratic(G, c, np.zeros((30, r)), solver=solver)
        assert solution.proven.all()
        for p in range(30):
            # a sum of r**2 terms of size about 1, in double precision
            assert solution.objectives[p] == pytest.approx(values_of_all(G[p], c[p]).min(), abs=1e-12)


@pytest.mark.parametrize(("r", "n_rows"), [(14, 28), (14, 7), (16, 8)])
def test_the_table_and_the_searches_agree(r, n_rows):
    problem = correlated_batch(np.random.default_rng(3), r, n_rows, 4)
    table = minimize_binary_quadratic(*problem, solver="enumerate")
    for solver in ("sphere", "branch_and_bound"):
        search = minimize_binary_quadratic(*problem, solver=solver)
        assert search.proven.all()
        assert np.array_equal(search.codes, table.codes)


@pytest.mark.parametrize("n_rows", [64, 16])
def test_rank_32_is_proven_and_no_heuristic_is_better(n_rows):
    problem = correlated_batch(np.random.default_rng(4), 32, n_rows, 8)
    solution = minimize_binary_quadratic(*problem, n_rows=n_rows)
    assert solution.proven.all()
    assert solution.n_nodes.max() < 50_000
    for solver in HEURISTIC:
        other = minimize_binary_quadratic(*problem, solver=solver)
        assert not other.proven.any()
        assert np.all(other.objectives >= solution.objectives - 1e-9)
    # another diagonal, another path, the same proof
    unknown = minimize_binary_quadratic(*problem, solver="sphere")
    assert np.array_equal(unknown.codes, solution.codes)


def test_rank_64_finds_the_planted_codes():
    rng = np.random.default_rng(5)
    W, codes = rng.random((128, 64)), rng.integers(0, 2, size=(6, 64))
    V = codes @ W.T + 0.1 * rng.standard_normal((6, 128))
    solution = minimize_binary_quadratic(W.T @ W, V @ W, np.zeros((6, 64)))
    assert solution.proven.all()
    assert np.array_equal(solution.codes, codes)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_scaling_the_data_changes_nothing(scale):
    G, c, start = correlated_batch(np.random.default_rng(6), 18, 20, 5)
    expected = minimize_binary_quadratic(G, c, start)
    scaled = minimize_binary_quadratic(scale * G, scale * c, start)
    assert np.array_equal(scaled.codes, expected.codes)
    assert scaled.proven.all()


def test_permuting_the_bits_permutes_the_codes():
    rng = np.random.default_rng(7)
    G, c, start = correlated_batch(rng, 18, 12, 5)
    order = rng.permutation(18)
    expected = minimize_binary_quadratic(G, c, start)
    permuted = minimize_binary_quadratic(G[:, order][:, :, order], c[:, order], start)
    assert np.array_equal(permuted.codes, expected.codes[:, order])


@pytest.mark.parametrize("solver", [*EXACT, *HEURISTIC])
def test_never_worse_than_the_start_and_nothing_modified(solver):
    rng = np.random.default_rng(8)
    G, c, start = integer_batch(rng, 9, 30)
    given = [array.copy() for array in (G, c, start)]
    solution = minimize_binary_quadratic(G, c, start, solver=solver)
    values = 0.5 * np.einsum("pa,pab,pb->p", start, G, start) - (c * start).sum(axis=1)
    assert np.all(solution.objectives <= values)
    assert all(np.array_equal(array, copy) for array, copy in zip((G, c, start), given, strict=True))


def test_an_empty_problem_keeps_the_start():
    start = np.array([[1, 0, 1, 1]])
    solution = minimize_binary_quadratic(np.zeros((4, 4)), np.zeros((1, 4)), start)
    assert np.array_equal(solution.codes, start)
    assert solution.proven.all()
    assert minimize_binary_quadratic(np.eye(3), np.empty((0, 3)), np.empty((0, 3))).codes.shape == (0, 3)


@pytest.mark.parametrize("solver", ["auto", "sphere", "branch_and_bound", "tabu", "simulated_annealing"])
@pytest.mark.parametrize("shared", [False, True])
def test_threads_change_nothing(solver, shared):
    r = 10 if solver == "branch_and_bound" else 18
    G, c, start = correlated_batch(np.random.default_rng(9), r, 12, 12)
    G = G[0] if shared else G
    one, two = (minimize_binary_quadratic(G, c, start, solver=solver, random_state=3, n_jobs=k) for k in (1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_single_precision_and_shared_matrices():
    G, c, start = correlated_batch(np.random.default_rng(10), 9, 20, 6)
    single = G[0].astype(np.float32)
    solution = minimize_binary_quadratic(single, c.astype(np.float32), start)
    repeated = minimize_binary_quadratic(
        np.repeat(single[None].astype(float), 6, axis=0), c.astype(np.float32), start, solver="sphere"
    )
    assert np.array_equal(solution.codes, repeated.codes)


def test_out_of_nodes_there_is_no_proof_but_a_good_code():
    problem = correlated_batch(np.random.default_rng(11), 32, 16, 4)
    solution = minimize_binary_quadratic(*problem, max_nodes=40)
    best = minimize_binary_quadratic(*problem)
    assert not solution.proven.any()
    assert solution.n_nodes.max() <= 40
    assert np.all(solution.objectives >= best.objectives - 1e-9)
    assert np.all(solution.objectives < 0.99 * best.objectives)


def test_after_the_deadline_the_start_is_returned():
    G, c, _ = correlated_batch(np.random.default_rng(12), 16, 16, 4)
    start = np.ones((4, 16))
    solution = minimize_binary_quadratic(G, c, start, deadline=time.monotonic() - 1.0)
    assert np.array_equal(solution.codes, start)
    assert not solution.proven.any()
    assert solution.objectives == pytest.approx(0.5 * G.sum(axis=(1, 2)) - c.sum(axis=1))


def test_the_relaxation_bounds_all_codes_and_comes_close_to_the_semidefinite_bound():
    cvxpy = pytest.importorskip("cvxpy")
    rng = np.random.default_rng(13)
    r = 8
    W = rng.random((6, r))
    G, c = W.T @ W, (r / 4 + rng.standard_normal(6)) @ W
    couplings, linear = G - np.diag(np.diag(G)), 0.5 * np.diag(G) - c
    least = values_of_all(G, c).min()
    diagonal, inverse, factor = np.empty(r), np.empty((r, r)), np.empty((r, r))
    point, step, trial, work = np.empty((4, r))
    start_diagonal(couplings, np.diag(G).copy(), r, diagonal, inverse, work)
    first = stationary_point(linear, diagonal, r, inverse, point)
    last = tighten(couplings, linear, r, least, 30, diagonal, inverse, point, step, trial, factor, work)
    assert first < last <= least
    assert np.linalg.eigvalsh(couplings + np.diag(diagonal))[0] > 0.0
    b = 0.5 * diagonal - linear
    assert last == pytest.approx(-0.5 * b @ np.linalg.solve(couplings + np.diag(diagonal), b), rel=1e-6)
    # Shor: the moment matrix [[1, x'], [x, X]] with X_aa = x_a
    moments = cvxpy.Variable((r + 1, r + 1), PSD=True)
    x, X = moments[0, 1:], moments[1:, 1:]
    problem = cvxpy.Problem(
        cvxpy.Minimize(0.5 * cvxpy.trace(couplings @ X) + linear @ x), [moments[0, 0] == 1, cvxpy.diag(X) == x]
    )
    semidefinite = problem.solve(solver=cvxpy.CLARABEL)
    # The barrier ends at 1e-6 of the gap it began with; both optimal values are accurate to about as much.
    assert last == pytest.approx(semidefinite, abs=1e-4 * (semidefinite - first))


def test_the_inverse_and_where_there_is_none():
    rng = np.random.default_rng(14)
    A = rng.standard_normal((9, 6))
    S, inverse, work = A.T @ A, np.zeros((6, 6)), np.empty(6)
    assert invert(S, np.diag(S).copy(), 6, inverse, work)
    assert np.tril(inverse) == pytest.approx(np.tril(np.linalg.inv(S)), rel=1e-9, abs=1e-12)
    assert not invert(S, np.diag(S) - 10.0, 6, inverse, work)


class Recorder:
    """A sampler that keeps what it was asked and answers with a fixed bit."""

    def __init__(self, bit):
        self.bit, self.models, self.seeds = bit, [], []

    def sample_qubo(self, Q, seed=None):
        self.models.append(Q)
        self.seeds.append(seed)
        return SimpleNamespace(first=SimpleNamespace(sample={a: self.bit for a, _ in Q}))


def test_qubo_and_ising_have_the_energies_of_the_objective():
    rng = np.random.default_rng(15)
    W, v = rng.random((7, 5)), rng.random(7)
    G, c, offset = W.T @ W, W.T @ v, 0.5 * v @ v
    qubo, ising = to_qubo(G, c, offset), to_ising(G, c, offset)
    assert np.diag(qubo.Q) == pytest.approx(0.5 * np.diag(G) - c, abs=1e-12)
    assert np.triu(qubo.Q, 1) == pytest.approx(np.triu(G, 1), abs=1e-12)
    for code in all_codes(5):
        loss = 0.5 * np.sum((v - W @ code) ** 2)
        spins = 2.0 * code - 1.0
        assert code @ qubo.Q @ code + qubo.offset == pytest.approx(loss, abs=1e-12)
        assert spins @ ising.J @ spins + ising.b @ spins + ising.offset == pytest.approx(loss, abs=1e-12)


@pytest.mark.parametrize("merge", [1, 2])
def test_the_sampler_is_asked_for_the_qubo_and_never_makes_a_code_worse(merge):
    rng = np.random.default_rng(16)
    W = rng.random((9, 4))
    V = rng.random((3, 9)) * 2.0
    G, c = W.T @ W, V @ W
    start = minimize_binary_quadratic(G, c, np.zeros((3, 4))).codes
    assert not np.any(np.all(start == 1, axis=1))  # else all ones would be no worse
    sampler = Recorder(1)
    solution = minimize_binary_quadratic(G, c, start, solver=DimodAdapter(sampler, merge=merge, seed="seed"))
    assert np.array_equal(solution.codes, start)
    assert not solution.proven.any()
    assert len(sampler.models) == -(-3 // merge)
    assert len(set(sampler.seeds)) == len(sampler.models)
    for p in range(3):
        model, base = sampler.models[p // merge], 4 * (p % merge)
        for a in range(4):
            assert model[base + a, base + a] == pytest.approx(0.5 * G[a, a] - c[p, a], abs=1e-12)
            for b in range(a + 1, 4):
                assert model[base + a, base + b] == pytest.approx(G[a, b], abs=1e-12)
    better = minimize_binary_quadratic(G, 100.0 + c, np.zeros((3, 4)), solver=DimodAdapter(sampler))
    assert np.all(better.codes == 1)


def test_merged_problems_do_not_interact():
    rng = np.random.default_rng(17)
    sampler = Recorder(0)
    G, c, start = integer_batch(rng, 3, 5)
    minimize_binary_quadratic(G, c, start, solver=DimodAdapter(sampler, merge=5))
    assert all(a // 3 == b // 3 for a, b in sampler.models[0])
    assert {a for a, b in sampler.models[0] if a == b} == set(range(15))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"G": np.eye(3)}, "G must have the shape"),
        ({"G": np.triu(np.ones((4, 4)))}, "G must be symmetric"),
        ({"G": np.full((4, 4), np.nan)}, "G must be finite"),
        ({"c": np.full((2, 4), np.inf)}, "c must be finite"),
        ({"c": np.ones(4)}, "c must have the shape"),
        ({"start": np.zeros((3, 4))}, "start must have the shape"),
        ({"start": np.full((2, 4), 2)}, "start must be of zeros and ones"),
        ({"solver": "annealer"}, "solver must be one of"),
        ({"max_nodes": 0}, "max_nodes must be at least 1"),
        ({"n_rows": np.ones(3)}, "n_rows must be a number or have the shape"),
        ({"solver": lambda G, c, start, random_state: start[:1]}, "codes of the solver must have the shape"),
        ({"solver": lambda G, c, start, random_state: start + 0.5}, "codes of the solver must be of zeros and ones"),
    ],
)
def test_bad_input_is_named(change, message):
    given = {"G": np.eye(4), "c": np.ones((2, 4)), "start": np.zeros((2, 4))} | change
    with pytest.raises(ValueError, match=message):
        minimize_binary_quadratic(**given)


def test_annealing_longer_is_better():
    problem = correlated_batch(np.random.default_rng(19), 20, 40, 20)
    best = minimize_binary_quadratic(*problem).objectives
    excess = [
        np.mean(minimize_binary_quadratic(*problem, solver=SimulatedAnnealing(*effort)).objectives - best)
        for effort in ((1, 10), (10, 100))
    ]
    assert -1e-9 <= excess[1] < 0.5 * excess[0]
    with pytest.raises(ValueError, match="n_reads and n_sweeps must be at least 1"):
        SimulatedAnnealing(0)


def test_too_many_bits_to_enumerate():
    G, c, start = correlated_batch(np.random.default_rng(18), 31, 62, 1)
    with pytest.raises(ValueError, match="at most 30 free bits, got 31"):
        minimize_binary_quadratic(G, c, start, solver="enumerate")


def test_a_sampler_without_sample_qubo_is_refused():
    with pytest.raises(TypeError, match="sample_qubo"):
        DimodAdapter(object())
    with pytest.raises(ValueError, match="merge must be at least 1"):
        DimodAdapter(Recorder(0), merge=0)
