"""Orthogonal matching pursuit of a given number of atoms, unit columns: same atoms, same residual."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import planted_regression
from planted_regression import Case

__all__ = ["BIG", "CASES", "PEERS", "TARGET", "TIGHT", "build", "efforts", "quality", "settings", "tiny"]

TITLE = "Orthogonal matching pursuit"
# Relative to the norm of y: what 200 float64 projections leave, with two orders to spare.
TARGET, TIGHT = 1e-12, None

# The number of planted atoms is the number of atoms that are asked for.
CASES = {
    "dense-1000x5000-50-atoms": Case(1000, 5000, 50),
    "dense-2000x20000-200-atoms": Case(2000, 20000, 200),
}
BIG: frozenset[str] = frozenset()


class Problem(NamedTuple):
    """Atoms of unit norm, a signal, and what a pursuit by definition selects and leaves of it."""

    X: np.ndarray
    y: np.ndarray
    n_atoms: int
    support: np.ndarray
    residual_norm: float


def build(case: Case) -> Problem:
    X, y, *_ = planted_regression.build(case)
    for j in range(X.shape[1]):
        X[:, j] /= np.linalg.norm(X[:, j])
    support, residual = pursue(X, y, case.n_nonzero)
    return Problem(X, y, case.n_nonzero, np.sort(support), float(np.linalg.norm(residual)))


tiny = planted_regression.tiny


def pursue(X: np.ndarray, y: np.ndarray, n_atoms: int) -> tuple[list[int], np.ndarray]:
    """The reference: the atom most correlated with the residual, then made orthogonal to all atoms."""
    basis, support, residual = np.zeros((len(y), n_atoms), order="F"), [], y.copy()
    for k in range(n_atoms):
        support.append(int(np.argmax(np.abs(residual @ X))))
        atom = X[:, support[-1]].copy()
        for _ in range(2):  # Gram-Schmidt twice is orthogonal to machine precision
            atom -= basis[:, :k] @ (atom @ basis[:, :k])
        basis[:, k] = atom / np.linalg.norm(atom)
        residual = y - basis[:, : k + 1] @ (y @ basis[:, : k + 1])
    return support, residual


def quality(problem: Problem, coef: np.ndarray) -> float:
    """Excess of the residual's norm over the best, relative to the norm of y; infinite for other atoms.

    A residual below the best (the support being the same) can only be rounding: its size counts all the same.
    """
    if not np.array_equal(np.flatnonzero(coef), problem.support):
        return float("inf")
    residual = problem.y - problem.X[:, problem.support] @ coef[problem.support]
    return float(abs(np.linalg.norm(residual) - problem.residual_norm) / np.linalg.norm(problem.y))


def efforts(peer: str, case: Case, target: float) -> tuple[float, ...]:
    """The pursuit is exact: there is nothing to turn."""
    return (0.0,)


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    # scikit-learn's precompute=True forms the whole Gram matrix: never worth it for one signal.
    return [{"function": False}, {"function": True}] if peer == "scikit-learn" else [{}]


def sparsemodels() -> Callable:
    from sparsemodels.linear_model import OrthogonalMatchingPursuit

    def fit(problem, effort):
        model = OrthogonalMatchingPursuit(n_nonzero_coefs=problem.n_atoms, fit_intercept=False)
        return model.fit(problem.X, problem.y).coef_

    return fit


def scikit_learn() -> Callable:
    from sklearn.linear_model import OrthogonalMatchingPursuit, orthogonal_mp

    def fit(problem, effort, function=False):
        if function:
            return orthogonal_mp(problem.X, problem.y, n_nonzero_coefs=problem.n_atoms, precompute=False)
        model = OrthogonalMatchingPursuit(n_nonzero_coefs=problem.n_atoms, fit_intercept=False, precompute=False)
        return model.fit(problem.X, problem.y).coef_

    return fit


def spams() -> Callable:
    import spams

    def fit(problem, effort):
        target = np.asfortranarray(problem.y[:, None])
        return spams.omp(target, problem.X, L=problem.n_atoms, numThreads=1).toarray()[:, 0]

    return fit


PEERS = {"sparsemodels": sparsemodels, "scikit-learn": scikit_learn, "spams": spams}
