"""Seeded linear regression problems with a planted sparse solution, made without n x p temporaries."""

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse


class Case(NamedTuple):
    """What a benchmark problem is made of; ``density`` makes it CSC, ``n_alphas`` a path."""

    n_samples: int
    n_features: int
    n_nonzero: int
    correlation: float = 0.0  # of neighbouring columns, AR(1); dense designs only
    density: float | None = None
    signal_to_noise: float = 2.0  # norm of X w over norm of the noise
    alpha_ratio: float = 0.05  # smallest alpha / alpha_max
    n_alphas: int = 1
    weighted: bool = False
    seed: int = 0


class Problem(NamedTuple):
    """min over w of ||y - X w||^2 / (2 n_samples) + alpha sum_j weights_j |w_j|, for every alpha."""

    X: Any  # float64, F-ordered ndarray or CSC with 32-bit indices
    y: np.ndarray
    alphas: np.ndarray  # decreasing
    weights: np.ndarray | None

    @property
    def alpha(self) -> float:
        """The only alpha of a problem that is no path."""
        (alpha,) = self.alphas
        return float(alpha)


def build(case: Case) -> Problem:
    """The problem of a case: the same arrays for the same case in every process."""
    rng = np.random.default_rng(case.seed)
    X = _dense(case, rng) if case.density is None else _sparse(case, rng)
    support = np.sort(rng.choice(case.n_features, case.n_nonzero, replace=False))
    signal = X[:, support] @ rng.standard_normal(case.n_nonzero)
    noise = rng.standard_normal(case.n_samples)
    y = signal + noise * np.linalg.norm(signal) / (case.signal_to_noise * np.linalg.norm(noise))
    weights = np.exp(rng.uniform(np.log(0.2), np.log(5.0), case.n_features)) if case.weighted else None
    correlation = np.abs(X.T @ y) / case.n_samples
    alpha_max = np.max(correlation if weights is None else correlation / weights)
    # A single alpha stands at alpha_ratio; a path runs from alpha_max down to it.
    alphas = alpha_max * np.geomspace(1.0, case.alpha_ratio, case.n_alphas + (case.n_alphas == 1))
    return Problem(X, y, alphas[-1:] if case.n_alphas == 1 else alphas, weights)


def tiny(case: Case) -> Case:
    """A case of the same dtype and layout that is solved at once: to compile on, and for ``--quick``."""
    return case._replace(
        n_samples=80,
        n_features=60 if case.n_samples > case.n_features and case.density is None else 120,
        n_nonzero=10,
        density=None if case.density is None else 0.2,
        alpha_ratio=0.1,
        n_alphas=min(case.n_alphas, 5),
    )


def _dense(case: Case, rng: np.random.Generator) -> np.ndarray:
    X = rng.standard_normal((case.n_features, case.n_samples)).T  # the transpose is F-ordered
    if case.correlation:
        innovation = np.sqrt(1.0 - case.correlation**2)
        for j in range(1, case.n_features):
            X[:, j] *= innovation
            X[:, j] += case.correlation * X[:, j - 1]
    return X


def _sparse(case: Case, rng: np.random.Generator) -> sparse.csc_matrix:
    lengths = rng.binomial(case.n_samples, case.density, case.n_features)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    rows = rng.integers(0, case.n_samples, indptr[-1], dtype=np.int32)
    X = sparse.csc_matrix((rng.standard_normal(indptr[-1]), rows, indptr), (case.n_samples, case.n_features))
    X.sum_duplicates()  # a row drawn twice in a column becomes one entry; also sorts the rows
    return X
