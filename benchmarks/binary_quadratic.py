"""Binary quadratic problems of a nonnegative/binary factorization: who finds the best codes, and in what time."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from lasso import remembered

__all__ = ["BIG", "CASES", "PEERS", "TARGET", "TIGHT", "build", "efforts", "quality", "settings", "tiny"]

TITLE = "Binary quadratic problems"
MEANING = (
    "The quality is the largest distance of a code from the proven minimum, relative to the squared error of the best "
    "code, among ten problems; every package is timed that finds the best code of all ten."
)
# The minima are many times farther apart; the values themselves are accurate to about 1e-14.
TARGET, TIGHT = 1e-9, None


class Case(NamedTuple):
    """Uniform columns, which correlate, and noisy data far from any code; `n_rows` observations of each problem."""

    r: int
    n_rows: int
    n_problems: int = 10


class Problem(NamedTuple):
    """Matrices, vectors, and half the squared norms of the data."""

    G: np.ndarray
    c: np.ndarray
    constant: np.ndarray


CASES = {
    "rank-12-24-rows": Case(12, 24),
    "rank-20-40-rows": Case(20, 40),
    "rank-20-10-rows": Case(20, 10),
    "rank-32-64-rows": Case(32, 64),
    "rank-32-16-rows": Case(32, 16),
    "rank-64-128-rows": Case(64, 128),
}
BIG: frozenset[str] = frozenset()


def tiny(case: Case) -> Case:
    """Two problems of a small rank: still large enough to need the search."""
    return Case(min(case.r, 15), 30 if case.n_rows >= case.r else 8, 2)


def build(case: Case) -> Problem:
    """Every problem has its own observed rows, as with missing entries."""
    rng = np.random.default_rng(0)
    W = rng.random((case.n_problems, case.n_rows, case.r))
    V = case.r / 4 + rng.standard_normal((case.n_problems, case.n_rows))
    return Problem(np.einsum("pia,pib->pab", W, W), np.einsum("pia,pi->pa", W, V), 0.5 * np.sum(V**2, axis=1))


@remembered
def _minima(problem: Problem) -> np.ndarray:
    from sparsemodels.solvers.binary_quadratic import minimize_binary_quadratic

    solution = minimize_binary_quadratic(problem.G, problem.c, np.zeros(problem.c.shape), max_nodes=10**9)
    if not solution.proven.all():
        raise RuntimeError("a minimum is not proven")
    return solution.objectives


def quality(problem: Problem, codes: np.ndarray) -> float:
    """The largest excess over the minimum, relative to the least half squared error."""
    values = 0.5 * np.einsum("pa,pab,pb->p", codes, problem.G, codes, dtype=float) - (problem.c * codes).sum(axis=1)
    minima = _minima(problem)
    return float(np.max((values - minima) / (problem.constant + minima)))


def efforts(peer: str, case: Case, target: float) -> tuple[float, ...]:
    """The samples from random codes; ours has nothing to turn."""
    if peer == "sparsemodels":
        return (1.0,)
    return (1.0, 2.0, 5.0, 10.0, 20.0, 50.0) if "tabu" in peer else (10.0, 100.0, 1000.0)


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    """How long a sample is: many short ones or few long ones. The tabu sampler goes by the clock, in milliseconds."""
    lengths = {"annealing": ("num_sweeps", (100, 1000)), "tabu": ("timeout", (2, 20))}
    name, values = lengths.get(peer.split(", ")[-1], ("", ()))
    return [{name: value} for value in values] or [{}]


def sparsemodels(solver: str = "auto") -> Callable:
    from sparsemodels.solvers.binary_quadratic import minimize_binary_quadratic

    def fit(problem, effort):
        return minimize_binary_quadratic(problem.G, problem.c, np.zeros(problem.c.shape), solver=solver).codes

    return fit


@remembered
def _models(problem: Problem) -> list[Any]:
    from dimod import BinaryQuadraticModel

    from sparsemodels.solvers.qubo_sampler import to_qubo

    return [BinaryQuadraticModel(to_qubo(G, c).Q, "BINARY") for G, c in zip(problem.G, problem.c, strict=True)]


def _best_codes(problem: Problem, sample: Callable) -> np.ndarray:
    answers = [sample(model).first.sample for model in _models(problem)]
    return np.array([[answer[a] for a in range(len(answer))] for answer in answers])


def dwave_annealing() -> Callable:
    from dwave.samplers import SimulatedAnnealingSampler

    sampler = SimulatedAnnealingSampler()

    def fit(problem, effort, num_sweeps):
        anneal = functools.partial(sampler.sample, num_reads=int(effort), num_sweeps=num_sweeps, seed=0)
        return _best_codes(problem, anneal)

    return fit


def dwave_tabu() -> Callable:
    from dwave.samplers import TabuSampler

    sampler = TabuSampler()

    def fit(problem, effort, timeout):
        search = functools.partial(sampler.sample, num_reads=int(effort), timeout=timeout, seed=0)
        return _best_codes(problem, search)

    return fit


PEERS = {
    "sparsemodels": sparsemodels,
    "dwave-samplers, annealing": dwave_annealing,
    "dwave-samplers, tabu": dwave_tabu,
}
