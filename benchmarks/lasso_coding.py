"""Lasso codes of many signals over a dictionary: the time to a certified duality gap for every one of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.ndimage
import scipy.sparse
from lasso import remembered

__all__ = ["BIG", "CASES", "PEERS", "TARGET", "TIGHT", "build", "efforts", "quality", "settings", "tiny"]

TITLE = "Sparse coding by the lasso"
MEANING = (
    "Quality is the largest duality gap of a signal relative to half its squared norm, computed from the codes alone. "
    "Gram matrices and products with the signals are part of the time."
)
TARGET, TIGHT = 1e-4, 1e-10


class Case(NamedTuple):
    """Signals of unit norm, with some ten nonzeros at this penalty."""

    n_signals: int
    n_features: int
    n_atoms: int
    alpha: float
    single: bool = False


class Problem(NamedTuple):
    """Signals, atoms of unit norm and the penalty."""

    X: np.ndarray
    atoms: np.ndarray
    alpha: float


CASES = {
    "64x256": Case(10_000, 64, 256, 0.15),
    "144x512": Case(10_000, 144, 512, 0.15),
    "256x1024": Case(10_000, 256, 1024, 0.15),
    "256x1024-float32": Case(10_000, 256, 1024, 0.15, True),
}
BIG: frozenset[str] = frozenset()


def tiny(case: Case) -> Case:
    """A small case of the same kind."""
    return case._replace(n_signals=50, n_features=16, n_atoms=32)


def build(case: Case) -> Problem:
    """Smooth random patches as atoms, signals of eight of them with noise of a tenth of their norm."""
    rng = np.random.default_rng(0)
    m, d, n_atoms, alpha, single = case
    side = int(np.sqrt(d))
    patches = rng.standard_normal((n_atoms, side, side))
    atoms = np.array([scipy.ndimage.gaussian_filter(patch, rng.uniform(0.5, 1.5)) for patch in patches])
    atoms = normalized((atoms - atoms.mean(axis=(1, 2), keepdims=True)).reshape(n_atoms, d))
    codes = np.zeros((m, n_atoms))
    chosen = np.argsort(rng.random((m, n_atoms)), axis=1)[:, :8]
    np.put_along_axis(codes, chosen, rng.standard_normal((m, 8)), axis=1)
    X = normalized(normalized(codes @ atoms) + 0.1 * normalized(rng.standard_normal((m, d))))
    dtype = np.float32 if single else np.float64
    return Problem(X.astype(dtype), atoms.astype(dtype), alpha)


def normalized(A: np.ndarray) -> np.ndarray:
    """Rows of norm one."""
    return A / np.linalg.norm(A, axis=1)[:, None]


def quality(problem: Problem, codes: Any) -> float:
    """The largest relative duality gap."""
    X, atoms = problem.X.astype(np.float64), problem.atoms.astype(np.float64)
    Z = scipy.sparse.csr_array(codes).astype(np.float64)
    R = X - Z @ atoms
    scale = np.minimum(1.0, problem.alpha / np.maximum(np.abs(R @ atoms.T).max(axis=1), 1e-300))
    squared, product = (R**2).sum(axis=1), (X * R).sum(axis=1)
    l1 = np.asarray(abs(Z).sum(axis=1)).ravel()
    gaps = 0.5 * squared + problem.alpha * l1 - scale * product + 0.5 * scale**2 * squared
    return float((gaps / (0.5 * (X**2).sum(axis=1))).max())


def efforts(peer: str, case: Case, target: float) -> tuple[float, ...]:
    """Tolerances; numbers of sweeps where the tolerance cannot be chosen."""
    if peer == "scikit-learn":
        return (10, 30, 100, 300, 1000, 10_000)
    return (target, 0.1 * target, 0.01 * target, 1e-3 * target, 1e-4 * target)


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    return {
        "sparsemodels": [{"method": "descent"}, {"method": "lars"}],
        "scikit-learn": [{"algorithm": "lasso_cd"}, {"algorithm": "lasso_lars"}],
        "spams": [{"method": "lars"}, {"method": "lars, Gram given"}, {"method": "descent"}],
    }[peer]


def sparsemodels() -> Callable:
    from sparsemodels.solvers.coders import LassoCD, LassoLARS, dictionary
    from sparsemodels.solvers.sparse_codes import to_csr
    from sparsemodels.solvers.sparse_coding import encode

    def fit(problem, effort, method):
        coder = LassoCD(problem.alpha, tol=effort) if method == "descent" else LassoLARS(problem.alpha)
        return to_csr(encode(coder, problem.X, dictionary(problem.atoms), n_jobs=1).codes)

    return fit


def scikit_learn() -> Callable:
    from sklearn.decomposition import sparse_encode

    def fit(problem, effort, algorithm):
        return sparse_encode(problem.X, problem.atoms, algorithm=algorithm, alpha=problem.alpha, max_iter=int(effort))

    return fit


def spams() -> Callable:
    import spams as package

    @remembered
    def columns(problem: Problem) -> Any:
        return np.asfortranarray(problem.X.T), np.asfortranarray(problem.atoms.T)

    def fit(problem, effort, method):
        X, atoms = columns(problem)
        options = {"lambda1": problem.alpha, "mode": 2, "numThreads": 1}
        if method == "descent":
            start = scipy.sparse.csc_matrix((atoms.shape[1], X.shape[1]), dtype=X.dtype)
            return package.cd(X, atoms, start, tol=effort, itermax=10_000, **options).T
        if method == "lars":
            return package.lasso(X, D=atoms, **options).T
        products = np.asfortranarray((problem.X @ problem.atoms.T).T)
        gram = np.asfortranarray(problem.atoms @ problem.atoms.T)
        return package.lasso(X, Q=gram, q=products, **options).T

    return fit


PEERS = {"sparsemodels": sparsemodels, "scikit-learn": scikit_learn, "spams": spams}
