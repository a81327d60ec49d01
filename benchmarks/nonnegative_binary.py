"""The ratings experiment: one alternation, its binary problems solved exactly or by an annealer."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from lasso import remembered

__all__ = ["BIG", "CASES", "PEERS", "TARGET", "TIGHT", "build", "efforts", "quality", "settings", "tiny"]

TITLE = "Nonnegative/binary factorization of ratings"
MEANING = (
    "The quality is the excess of the objective over the best one that 60 perturbed exact fits found. All contestants "
    "share the outer loop, the nonnegative half-step and the random starts; they differ in who solves the binary "
    "problems. Each is timed with as many perturbations as it needs to come within three percent."
)
TARGET, TIGHT = 0.03, None
_ALPHA = 0.05


class Case(NamedTuple):
    """The size of the matrix, the rank of the model and the share of known entries."""

    n_users: int
    n_items: int
    rank: int
    density: float = 0.08


class Problem(NamedTuple):
    """The ratings, by user and by item, and the rank."""

    data: Any
    rank: int


CASES = {
    "400x300-rank-4": Case(400, 300, 4),
    "400x300-rank-8": Case(400, 300, 8),
    "1000x1500-rank-12": Case(1000, 1500, 12),
}
BIG: frozenset[str] = frozenset()


def tiny(case: Case) -> Case:
    """A small matrix of the same kind."""
    return Case(40, 30, 2, 0.4)


def build(case: Case) -> Problem:
    """Planted genres with as many bits as the model has, whole ratings from 1 to 5."""
    from sparsemodels.datasets import make_ratings

    ratings = make_ratings(
        case.n_users, case.n_items, case.rank, density=case.density, offset_scale=0.4, noise_level=0.6, random_state=0
    )
    return Problem(ratings.data, case.rank)


def _fit(problem: Problem, n_perturbations: int, solver: Any, n_init: int = 1) -> tuple[np.ndarray, np.ndarray]:
    from sparsemodels.decomposition import NBMF

    model = NBMF(
        problem.rank, solver=solver, alpha=_ALPHA, missing="implicit", n_init=n_init, n_perturbations=n_perturbations,
        max_iter=200, random_state=0,
    )  # fmt: skip
    model.fit(problem.data)
    return model.codes_, model.components_


def _objective(problem: Problem, solution: tuple[np.ndarray, np.ndarray]) -> float:
    W, H = solution
    if (W < 0.0).any() or not np.isin(H, (0.0, 1.0)).all():
        return np.inf
    known = problem.data.tocoo()
    residual = known.data - np.einsum("ia,ai->i", W[known.row], H[:, known.col])
    return float(0.5 * residual @ residual + 0.5 * _ALPHA * known.nnz / W.shape[0] * np.vdot(W, W))


@remembered
def _best(problem: Problem) -> float:
    return _objective(problem, _fit(problem, 60, "auto", n_init=3))


def quality(problem: Problem, solution: tuple[np.ndarray, np.ndarray]) -> float:
    """The excess of the objective over the best one known, relative to it."""
    return _objective(problem, solution) / _best(problem) - 1.0


def efforts(peer: str, case: Case, target: float) -> tuple[float, ...]:
    """The perturbations."""
    return (0.0, 5.0, 20.0, 60.0)


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    """How long the external annealer works on a code."""
    return [{"num_sweeps": 100}, {"num_sweeps": 1000}] if peer.startswith("dwave") else [{}]


def exact() -> Callable:
    return lambda problem, effort: _fit(problem, int(effort), "auto")


def annealing() -> Callable:
    return lambda problem, effort: _fit(problem, int(effort), "simulated_annealing")


def dwave_annealing() -> Callable:
    from dwave.samplers import SimulatedAnnealingSampler

    from sparsemodels.solvers.qubo_sampler import DimodAdapter

    sampler = SimulatedAnnealingSampler()

    def fit(problem, effort, num_sweeps):
        return _fit(problem, int(effort), DimodAdapter(sampler, seed="seed", num_reads=1, num_sweeps=num_sweeps))

    return fit


PEERS = {"sparsemodels": exact, "sparsemodels, annealing": annealing, "dwave-samplers, annealing": dwave_annealing}
