"""Sparse Bayesian learning behind a Kronecker product: structure against the dense matrix."""

from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from lasso import remembered

__all__ = ["BIG", "CASES", "PEERS", "TARGET", "TIGHT", "build", "efforts", "quality", "settings", "tiny"]

TITLE = "Kronecker-structured sparse Bayesian learning"
MEANING = (
    "Quality is the normalised squared error of the coefficients, the noise unknown. The peer is expectation "
    "maximisation on the explicit Kronecker matrix, which is given to it: a Cholesky factorisation of the covariance "
    "of the data or of the coefficients, whichever is smaller, and columns dropped on the way. Its prior knows nothing "
    "of the modes, so that it cannot go as far as ours, whose error is some thirty times below the target."
)
TARGET, TIGHT = 5e-3, None


class Case(NamedTuple):
    """The size of a problem."""

    n_atoms: int
    measurements: tuple[int, ...]
    n_nonzeros: int = 3
    snr_db: float = 25.0
    seed: int = 0


class Problem(NamedTuple):
    """Factors, one noisy measurement and the coefficients behind it."""

    factors: list[np.ndarray]
    Y: np.ndarray
    x: np.ndarray


CASES = {"1440x3375": Case(15, (8, 12, 15))}
BIG: frozenset[str] = frozenset()


def tiny(case: Case) -> Case:
    """A small case of the same kind."""
    return case._replace(n_atoms=6, measurements=(4, 5, 6), n_nonzeros=2)


def build(case: Case) -> Problem:
    """Gaussian factors, and coefficients that are an outer product of sparse vectors."""
    rng = np.random.default_rng(case.seed)
    factors = [rng.normal(size=(m, case.n_atoms)) for m in case.measurements]
    nonzeros = [np.zeros(case.n_atoms) for _ in factors]
    for part in nonzeros:
        part[rng.choice(case.n_atoms, case.n_nonzeros, replace=False)] = rng.normal(size=case.n_nonzeros)
    x = reduce(np.multiply.outer, nonzeros)
    signal = (dense(factors) @ x.ravel()).reshape(case.measurements)
    noise = np.mean(signal**2) / 10 ** (case.snr_db / 10)
    return Problem(factors, signal + np.sqrt(noise) * rng.normal(size=signal.shape), x)


def dense(factors: list[np.ndarray]) -> np.ndarray:
    """The Kronecker product."""
    return np.asfortranarray(reduce(np.kron, factors))


def quality(problem: Problem, solution: np.ndarray) -> float:
    """The squared error relative to the squared norm."""
    return float(np.sum((solution.ravel() - problem.x.ravel()) ** 2) / np.sum(problem.x**2))


def efforts(peer: str, case: Case, target: float) -> tuple[float, ...]:
    """The tolerance of ours; numbers of iterations of the dense peer."""
    return (1e-1, 1e-2, 1e-4) if peer == "sparsemodels" else (7, 10, 14, 20, 28)


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    """The alternatives that were found to matter; the fastest of them on a case is timed."""
    if peer == "sparsemodels":
        return [{"prune_tol": prune_tol} for prune_tol in (1e-3, 1e-4, 1e-6)]
    return [{"prune": prune} for prune in (1e-4, 3e-4)]


def sparsemodels() -> Callable:
    from sparsemodels.bayes import KroneckerSparseBayes

    def fit(problem, effort, prune_tol):
        return KroneckerSparseBayes(problem.factors, prune_tol=prune_tol, tol=effort).fit(problem.Y).coef_tensor_

    return fit


def dense_em() -> Callable:
    import scipy.linalg

    @remembered
    def matrix(problem: Problem) -> np.ndarray:
        return dense(problem.factors)

    def fit(problem, effort, prune):
        """The updates of Tipping with the noise of every iteration, from a tenth of the mean square."""
        X, y = matrix(problem), problem.Y.ravel()
        n, active = y.size, np.arange(X.shape[1])
        noise = 0.1 * np.mean(y**2)
        variances = np.full(active.size, np.sum(y**2) / np.sum(X**2))
        gram = None
        for _ in range(int(effort)):
            if active.size < n:
                gram = X.T @ X if gram is None else gram
                root = scipy.linalg.cholesky(gram / noise + np.diag(1.0 / variances), lower=True)
                inverse = scipy.linalg.lapack.dtrtri(root, lower=1)[0]
                mean = inverse.T @ (inverse @ (X.T @ y)) / noise
                spread = np.einsum("ij,ij->j", inverse, inverse)
            else:
                root = scipy.linalg.cholesky((X * variances) @ X.T + noise * np.eye(n), lower=True)
                half = scipy.linalg.solve_triangular(root, X, lower=True)
                mean = variances * (half.T @ scipy.linalg.solve_triangular(root, y, lower=True))
                spread = variances - variances**2 * np.einsum("ij,ij->j", half, half)
            rest = y - X @ mean
            noise = (rest @ rest + noise * np.sum(1.0 - spread / variances)) / n
            variances = mean**2 + spread
            kept = variances > prune * variances.max()
            if not kept.all():
                X, active, variances, mean, gram = X[:, kept], active[kept], variances[kept], mean[kept], None
        solution = np.zeros(problem.x.size)
        solution[active] = mean
        return solution

    return fit


PEERS = {"sparsemodels": sparsemodels, "dense EM": dense_em}
