"""Greedy sparse codes of many signals over one dictionary: as good a selection as the definition makes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from lasso import remembered

__all__ = ["BIG", "CASES", "PEERS", "TARGET", "TIGHT", "build", "efforts", "quality", "settings", "tiny"]

TITLE = "Orthogonal matching pursuit of many signals"
MEANING = (
    "Unit atoms, codes of exactly k atoms. Quality is judged on 200 of the signals: their squared residuals over those "
    "of a pursuit by definition (QR in float64), minus one, or the largest inner product of an atom in a code "
    "with its residual, relative to the signal, whichever is larger. omp scores atoms by their inner product with the "
    "residual; ols by what the refit with them leaves, which is what spams calls omp: its answers are judged as those "
    "of ols in both cases. scikit-learn, which has no ols, is called on a Gram matrix."
)
# Rounding moves a choice between atoms that are equally good to 1e-9; nothing else may.
TARGET, TIGHT = 1e-7, None
_JUDGED = 200


class Case(NamedTuple):
    """The size of a problem, the rule of selection, where the signals come from."""

    n_signals: int
    n_features: int
    n_atoms: int
    n_nonzero: int
    rule: str
    signals: str = "noise"
    dtype: str = "float64"


class Problem(NamedTuple):
    """Signals and atoms in rows, also laid out in columns for the peer that wants them so."""

    X: np.ndarray
    atoms: np.ndarray
    columns: np.ndarray
    atom_columns: np.ndarray
    n_nonzero: int
    rule: str


CASES = {
    f"{rule}-{name}": Case(*size, rule, *rest)
    for name, (size, *rest) in {
        "10000x256-1024-atoms-k8": ((10_000, 256, 1024, 8),),
        "10000x256-1024-atoms-k16": ((10_000, 256, 1024, 16),),
        "50000-patches-256-atoms-k8": ((50_000, 64, 256, 8), "patches"),
        "50000-patches-256-atoms-k8-float32": ((50_000, 64, 256, 8), "patches", "float32"),
    }.items()
    for rule in ("omp", "ols")
}
BIG: frozenset[str] = frozenset()


def tiny(case: Case) -> Case:
    """A small case of the same dtype and rule."""
    return case._replace(n_signals=20, n_features=16, n_atoms=32, n_nonzero=3, signals="noise")


def build(case: Case) -> Problem:
    """Random atoms and signals with 2 k planted atoms and noise, or patches of photographs and atoms among them."""
    rng = np.random.default_rng(0)
    if case.signals == "patches":
        X = patches(rng, case.n_signals + case.n_atoms, int(np.sqrt(case.n_features)))
        atoms, X = X[: case.n_atoms], X[case.n_atoms :]
    else:
        atoms = rng.standard_normal((case.n_atoms, case.n_features))
        X = rng.standard_normal((case.n_signals, case.n_features))
    atoms = (atoms / np.linalg.norm(atoms, axis=1)[:, None]).astype(case.dtype)
    if case.signals == "noise":
        for row in X:
            chosen = rng.choice(case.n_atoms, min(2 * case.n_nonzero, case.n_atoms), replace=False)
            row *= 0.2
            row += rng.standard_normal(chosen.size) @ atoms[chosen]
    X = np.ascontiguousarray(X, dtype=case.dtype)
    return Problem(X, atoms, np.asfortranarray(X.T), np.asfortranarray(atoms.T), case.n_nonzero, case.rule)


def patches(rng: np.random.Generator, n_patches: int, side: int) -> np.ndarray:
    """Centred patches of scikit-learn's photographs that are not flat."""
    from sklearn.datasets import load_sample_images
    from sklearn.feature_extraction.image import extract_patches_2d

    found = []
    for image in load_sample_images().images:
        rows = extract_patches_2d(
            image.mean(axis=2) / 255.0, (side, side), max_patches=n_patches, random_state=int(rng.integers(1 << 31))
        )
        rows = rows.reshape(len(rows), -1)
        rows -= rows.mean(axis=1)[:, None]
        found.append(rows[np.linalg.norm(rows, axis=1) > 0.05])
    rows = np.concatenate(found)
    return rows[rng.choice(len(rows), n_patches, replace=False)]


def pursue(atoms: np.ndarray, x: np.ndarray, n_nonzero: int, rule: str) -> float:
    """The squared residual norm of a pursuit by definition, with an orthonormal basis of the chosen atoms."""
    residual, outside = x.copy(), np.ones(len(atoms))
    basis = np.empty((0, x.size))
    for _ in range(n_nonzero):
        products = atoms @ residual
        scores = np.abs(products) if rule == "omp" else products**2 / np.maximum(outside, 1e-12)
        if basis.shape[0]:
            scores[outside < 1e-10] = 0.0
        direction = atoms[np.argmax(scores)].copy()
        for _ in range(2):  # Gram-Schmidt twice is orthogonal to machine precision
            direction -= (basis @ direction) @ basis
        direction /= np.linalg.norm(direction)
        basis = np.vstack([basis, direction])
        outside -= (atoms @ direction) ** 2
        residual -= (direction @ residual) * direction
    return float(residual @ residual)


def _left_by_definition(problem: Problem, rule: str) -> float:
    atoms, X = problem.atoms.astype(np.float64), problem.X[:_JUDGED].astype(np.float64)
    return sum(pursue(atoms, x, problem.n_nonzero, rule) for x in X)


@remembered
def _left_by_omp(problem: Problem) -> float:
    return _left_by_definition(problem, "omp")


@remembered
def _left_by_ols(problem: Problem) -> float:
    return _left_by_definition(problem, "ols")


def quality(problem: Problem, solution: tuple[str, Any]) -> float:
    """Excess of the residuals over those of the definition, or what the refits left: the worse of the two."""
    rule, codes = solution
    codes = codes[:_JUDGED]
    dense = np.asarray(codes.toarray() if hasattr(codes, "toarray") else codes, dtype=np.float64)
    if np.max(np.count_nonzero(dense, axis=1)) > problem.n_nonzero:
        return float("inf")
    X, atoms = problem.X[:_JUDGED].astype(np.float64), problem.atoms.astype(np.float64)
    residual = X - dense @ atoms
    expected = _left_by_omp(problem) if rule == "omp" else _left_by_ols(problem)
    excess = float(np.sum(residual**2)) / expected - 1.0
    stationarity = np.abs(residual @ atoms.T) * (dense != 0) / np.linalg.norm(X, axis=1)[:, None]
    # Single precision resolves a hundred times less than what is asked of double.
    allowance = 100.0 if problem.X.dtype == np.float32 else 1.0
    return max(abs(excess), float(np.max(stationarity))) / allowance


def efforts(peer: str, case: Case, target: float) -> tuple[float, ...]:
    """The pursuit is exact: there is nothing to turn."""
    return (0.0,)


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    """Nothing to choose."""
    return [{}]


def sparsemodels() -> Callable:
    from sparsemodels.solvers.batch_pursuit import pursue as pursue_batch
    from sparsemodels.solvers.coders import OLS, OMP, dictionary
    from sparsemodels.solvers.sparse_codes import to_csr

    def fit(problem, effort):
        coder = (OMP if problem.rule == "omp" else OLS)(problem.n_nonzero)
        return problem.rule, to_csr(pursue_batch(coder, problem.X, dictionary(problem.atoms), n_jobs=1).codes)

    return fit


def scikit_learn() -> Callable:
    from sklearn.linear_model import orthogonal_mp_gram

    def fit(problem, effort):
        if problem.rule != "omp":
            raise NotImplementedError("has no orthogonal least squares")
        gram = problem.atoms @ problem.atoms.T
        products = problem.atoms @ problem.X.T
        codes = orthogonal_mp_gram(gram, products, n_nonzero_coefs=problem.n_nonzero, copy_Gram=False, copy_Xy=False)
        return "omp", codes.T

    return fit


def spams() -> Callable:
    import spams

    def fit(problem, effort):
        codes = spams.omp(problem.columns, problem.atom_columns, L=problem.n_nonzero, eps=0.0, numThreads=1)
        return "ols", codes.T.tocsr()

    return fit


PEERS = {"sparsemodels": sparsemodels, "spams": spams, "scikit-learn": scikit_learn}
