"""EASE from a sparse matrix of users and items: the Gram matrix and its inverse, to a small gradient."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

__all__ = ["BIG", "CASES", "PEERS", "TARGET", "TIGHT", "build", "efforts", "quality", "settings", "tiny"]

TITLE = "EASE"
TARGET, TIGHT = 1e-4, None


class Case(NamedTuple):
    """The size of a problem, its mean density, the ridge and the precision."""

    n_users: int
    n_items: int
    density: float = 0.01
    alpha: float = 500.0
    dtype: str = "float64"


class Problem(NamedTuple):
    """The data in CSR and the ridge."""

    X: Any
    alpha: float


CASES = {
    "10000x2000-float64": Case(10_000, 2000),
    "10000x2000-float32": Case(10_000, 2000, dtype="float32"),
    "20000x5000-float64": Case(20_000, 5000),
    "20000x5000-float32": Case(20_000, 5000, dtype="float32"),
}
BIG: frozenset[str] = frozenset()


def tiny(case: Case) -> Case:
    """A small case of the same kind."""
    return case._replace(n_users=200, n_items=50, density=0.1)


def build(case: Case) -> Problem:
    """Items of a power-law popularity, taken independently."""
    rng = np.random.default_rng(0)
    share = rng.pareto(1.2, case.n_items) + 0.2
    share = np.minimum(case.density * share / share.mean(), 0.5)
    columns = [np.flatnonzero(rng.random(case.n_users) < p) for p in share]
    indices = np.concatenate(columns)
    indptr = np.concatenate([[0], np.cumsum([len(column) for column in columns])])
    X = sparse.csc_array((np.ones(indices.size, case.dtype), indices, indptr), shape=(case.n_users, case.n_items))
    return Problem(X.tocsr(), case.alpha)


def quality(problem: Problem, coef: np.ndarray) -> float:
    """The gradient off the diagonal relative to that at zero, from 64 random sign vectors in float64."""
    if np.diag(coef).any():
        return np.inf
    X = problem.X.astype(np.float64)
    signs = np.random.default_rng(1).choice([-1.0, 1.0], (X.shape[1], 64))

    def gram(vectors):
        return X.T @ (X @ vectors)

    squares = X.multiply(X).sum(axis=0)
    # G (I - B) is diagonal but for the gradient, and so is the Gram matrix but for the gradient at zero.
    remainder = signs - coef.astype(np.float64) @ signs
    diagonal = np.empty(X.shape[1])
    for start in range(0, X.shape[1], 256):
        part = coef[:, start : start + 256].astype(np.float64)
        fitted = X @ part
        diagonal[start : start + 256] = squares[start : start + 256] - np.asarray(
            X[:, start : start + 256].multiply(fitted).sum(axis=0)
        )
    image = gram(remainder) + problem.alpha * remainder - (diagonal + problem.alpha)[:, np.newaxis] * signs
    return float(np.linalg.norm(image) / np.linalg.norm(gram(signs) - squares[:, np.newaxis] * signs))


def efforts(peer: str, case: Case, target: float) -> tuple[float, ...]:
    """A closed form has none."""
    return (0.0,)


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    """On single precision data the peers may compute in either precision."""
    if peer == "sparsemodels":
        return [{}]
    return [{"dtype": dtype} for dtype in dict.fromkeys(["float64", case.dtype])]


def sparsemodels() -> Callable:
    from sparsemodels.completion import EASE

    def fit(problem, effort):
        return EASE(alpha=problem.alpha, store_gram=False).fit(problem.X).coef_

    return fit


def _closed_form(invert: Callable) -> Callable:
    """The few lines that everyone writes, the inverse being the peer's."""

    def fit(problem, effort, dtype):
        X = problem.X.astype(dtype, copy=False)
        gram = (X.T @ X).toarray()
        gram[np.diag_indices_from(gram)] += problem.alpha
        inverse = invert(gram)
        coef = inverse / -np.diag(inverse)
        np.fill_diagonal(coef, 0.0)
        return coef

    return fit


def numpy() -> Callable:
    return _closed_form(np.linalg.inv)


def scipy() -> Callable:
    """Its inverse of a positive definite matrix, the right choice where it is known."""
    import scipy.linalg

    return _closed_form(lambda gram: scipy.linalg.inv(gram, assume_a="pos", overwrite_a=True, check_finite=False))


PEERS = {"sparsemodels": sparsemodels, "numpy": numpy, "scipy": scipy}
