"""Sparse factors of a matrix found, and applied, by all packages that can."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from lasso import remembered

__all__ = ["BIG", "CASES", "PEERS", "TARGET", "TIGHT", "build", "efforts", "quality", "settings", "tiny"]

TITLE = "Fast transforms: sparse factors found and applied"
MEANING = (
    "The quality is the relative Frobenius error: of the product of the factors against the matrix, or of what they "
    "give for 512 vectors against the product with the matrix. Hadamard matrices are factorized without knowledge of "
    "the supports, random butterflies with it."
)
TARGET, TIGHT = 1e-10, None


class Case(NamedTuple):
    """What to do, and the order of the matrix."""

    task: str
    order: int


class Problem(NamedTuple):
    """The matrix, the vectors that it is applied to, and the case."""

    matrix: np.ndarray
    vectors: np.ndarray
    task: str


CASES = {
    "hadamard-32": Case("hierarchical", 32),
    "hadamard-128": Case("hierarchical", 128),
    "butterfly-256": Case("butterfly", 256),
    "butterfly-1024": Case("butterfly", 1024),
    "apply-1024": Case("apply", 1024),
    "apply-4096": Case("apply", 4096),
}
BIG: frozenset[str] = frozenset()


def tiny(case: Case) -> Case:
    """The same for a small matrix."""
    return case._replace(order=16)


def build(case: Case) -> Problem:
    """A Hadamard matrix, or a product of random factors on the supports of a butterfly."""
    from sparsemodels.solvers.butterfly import butterfly_radices, butterfly_supports

    rng = np.random.default_rng(0)
    if case.task != "butterfly":
        matrix = scipy.linalg.hadamard(case.order) / np.sqrt(case.order)
    else:
        matrix = np.eye(case.order)
        for support in butterfly_supports(butterfly_radices(case.order, case.order)):
            factor = support.astype(np.float64)
            factor.data = rng.standard_normal(factor.nnz)
            matrix = matrix @ factor
    vectors = rng.standard_normal((512, case.order)) if case.task == "apply" else np.empty((0, case.order))
    return Problem(np.ascontiguousarray(matrix), vectors, case.task)


@remembered
def _image(problem: Problem) -> np.ndarray:
    return problem.vectors @ problem.matrix.T


def quality(problem: Problem, solution: Any) -> float:
    """The relative error: of the image of the vectors, or of the product of the factors."""
    wanted = _image(problem) if problem.task == "apply" else problem.matrix
    got = solution if problem.task == "apply" else solution()
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


def efforts(peer: str, case: Case, target: float) -> tuple[float, ...]:
    """The most iterations of a level."""
    return (30.0, 100.0) if case.task == "hierarchical" else (0.0,)


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    """From which end pyfaust splits a butterfly."""
    if peer == "pyfaust" and case.task == "butterfly":
        return [{"type": "bbtree"}, {"type": "right"}, {"type": "left"}]
    return [{}]


def sparsemodels() -> Callable:
    from sparsemodels.solvers.butterfly import butterfly_radices, factorize_butterfly
    from sparsemodels.solvers.factor_schedules import hadamard_schedule
    from sparsemodels.solvers.fast_operator import FastOperator
    from sparsemodels.solvers.hierarchical_factorization import hierarchical_palm4msa

    @remembered
    def operator(problem):
        return FastOperator(factorize_butterfly(problem.matrix, butterfly_radices(*problem.matrix.shape)))

    def fit(problem, effort):
        order = problem.matrix.shape[0]
        if problem.task == "apply":
            return operator(problem).rows(problem.vectors)
        if problem.task == "butterfly":
            factors = factorize_butterfly(problem.matrix, butterfly_radices(order, order))
            return lambda: FastOperator(factors).to_dense()
        schedule = hadamard_schedule(order)
        solution = hierarchical_palm4msa(problem.matrix, *schedule, tol=1e-10, max_iter=int(effort))
        return lambda: FastOperator(solution.factors, solution.scale).to_dense()

    return fit


def numpy() -> Callable:
    def fit(problem, effort):
        if problem.task != "apply":
            raise NotImplementedError("NumPy finds no factors")
        return problem.vectors @ problem.matrix.T

    return fit


def pyfaust() -> Callable:
    import pyfaust
    from pyfaust.fact import butterfly, hierarchical
    from pyfaust.factparams import ParamsHierarchicalWHT

    @remembered
    def operator(problem):
        return pyfaust.wht(problem.matrix.shape[0], normed=True)

    @remembered
    def columns(problem):
        return np.asfortranarray(problem.vectors.T)

    def fit(problem, effort, type="bbtree"):
        if problem.task == "apply":
            return (operator(problem) @ columns(problem)).T
        if problem.task == "butterfly":
            return butterfly(problem.matrix, type=type).toarray
        order = problem.matrix.shape[0]
        # Its own parameters for this matrix, with as many iterations at every level.
        parameters = ParamsHierarchicalWHT(int(np.log2(order)))
        for criterion in parameters.stop_crits:
            criterion.num_its = int(effort)
        return hierarchical(problem.matrix, parameters).toarray

    return fit


PEERS = {"sparsemodels": sparsemodels, "numpy": numpy, "pyfaust": pyfaust}
