"""Nonnegative factorization of counts under Kullback-Leibler: the time to within 0.1 % of the best objective known."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from lasso import remembered
from nmf import iterations, word_counts

__all__ = ["BIG", "CASES", "PEERS", "TARGET", "TIGHT", "build", "efforts", "quality", "settings", "tiny"]

TITLE = "Nonnegative matrix factorization, Kullback-Leibler"
MEANING = (
    "Quality is the objective of the factors over the best one known, minus one: the better of 300 iterations of "
    "Newton steps and 1000 accelerated multiplicative updates from the same start. Every contestant begins at the same "
    "factors and is given numbers of iterations in steps of a sixth; the fewest that reach the target are timed."
)
TARGET, TIGHT = 1e-3, None


class Case(NamedTuple):
    """The size of a problem; a density makes it sparse."""

    n_samples: int
    n_features: int
    n_components: int
    density: float = 1.0


class Problem(NamedTuple):
    """The counts and where to start."""

    X: Any
    W: np.ndarray
    H: np.ndarray


CASES = {
    "2000x1000-r20": Case(2000, 1000, 20),
    "sparse-20000x10000-r20": Case(20_000, 10_000, 20, 0.005),
}
BIG: frozenset[str] = frozenset()


def tiny(case: Case) -> Case:
    """A small case of the same kind."""
    return case._replace(n_samples=60, n_features=40, n_components=3, density=min(1.0, 20.0 * case.density))


def build(case: Case) -> Problem:
    """Poisson counts of mean 5 around a product of the same rank, or words drawn from as many topics."""
    rng = np.random.default_rng(0)
    m, n, r = case[:3]
    if case.density < 1.0:
        X: Any = word_counts(rng, m, n, r, case.density)
    else:
        rates = rng.gamma(1.0, 1.0, (m, r)) @ rng.gamma(1.0, 1.0, (r, n))
        X = rng.poisson(5.0 * rates / rates.mean()).astype(np.float64)
    scale = np.sqrt(X.mean() / r)
    # Away from zero: multiplicative updates cannot leave it.
    return Problem(X, scale * (0.2 + rng.random((m, r))), scale * (0.2 + rng.random((r, n))))


def kullback_leibler(problem: Problem, W: np.ndarray, H: np.ndarray) -> float:
    """The objective; of a sparse matrix the product is formed at its nonzeros only."""
    X = problem.X
    rows, columns = X.nonzero()
    counts = X.data if scipy.sparse.issparse(X) else X[rows, columns]
    fits = np.zeros(rows.size)
    for a in range(W.shape[1]):
        fits += W[rows, a] * H[a, columns]
    cross = float(counts @ np.log(counts / np.maximum(fits, np.finfo(float).tiny)))
    return cross - float(counts.sum()) + float(W.sum(axis=0) @ H.sum(axis=1))


@remembered
def _best(problem: Problem) -> float:
    from sparsemodels.solvers.beta_factorization import factorize_beta
    from sparsemodels.solvers.observed_matrix import observe

    start = observe(problem.X), problem.W, np.ascontiguousarray(problem.H.T), 1.0
    return min(
        factorize_beta(*start, solver=solver, tol=1e-7, max_iter=max_iter).objective
        for solver, max_iter in (("cd", 300), ("mu", 1000))
    )


def quality(problem: Problem, solution: tuple[np.ndarray, np.ndarray]) -> float:
    """How far the objective is above the best one known."""
    return kullback_leibler(problem, *solution) / _best(problem) - 1.0


def efforts(peer: str, case: Case, target: float) -> tuple[int, ...]:
    """Numbers of iterations."""
    return iterations(5, 3000)


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    """The alternatives that were found to matter; the fastest of them on a case is timed."""
    return [{"solver": "cd"}, {"solver": "mu"}] if peer == "sparsemodels" else [{}]


def sparsemodels() -> Callable:
    from sparsemodels.decomposition import NMF

    def fit(problem, effort, solver):
        start, n_components = (problem.W, problem.H), problem.W.shape[1]
        model = NMF(
            n_components, loss="kullback-leibler", solver=solver, init=start, tol=0.0, max_iter=effort, n_jobs=1
        )
        return model.fit_transform(problem.X), model.components_

    return fit


def scikit_learn() -> Callable:
    from sklearn.decomposition import NMF

    def fit(problem, effort):
        model = NMF(
            problem.W.shape[1], init="custom", solver="mu", beta_loss="kullback-leibler", tol=0.0, max_iter=effort
        )
        return model.fit_transform(problem.X, W=problem.W.copy(), H=problem.H.copy()), model.components_

    return fit


def nimfa() -> Callable:
    setattr(np, "mat", np.asmatrix)  # noqa: B010 (nimfa still asks for it)
    import nimfa as package

    def fit(problem, effort):
        result = package.Nmf(
            problem.X, rank=problem.W.shape[1], update="divergence", objective="div", seed="fixed",
            W=problem.W.copy(), H=problem.H.copy(), max_iter=effort, min_residuals=0.0,
        )()  # fmt: skip
        W, H = result.basis(), result.coef()
        return tuple(np.asarray(F.todense() if scipy.sparse.issparse(F) else F) for F in (W, H))

    return fit


def torchnmf() -> Callable:
    import torch
    from torchnmf.nmf import NMF

    torch.set_num_threads(1)

    def fit(problem, effort):
        model = NMF(W=torch.tensor(problem.H.T.copy()), H=torch.tensor(problem.W.copy()))
        X = problem.X.toarray() if scipy.sparse.issparse(problem.X) else problem.X
        model.fit(torch.tensor(X), beta=1, max_iter=effort, tol=0.0)
        return model.H.detach().numpy(), model.W.detach().numpy().T

    return fit


PEERS = {"sparsemodels": sparsemodels, "scikit-learn": scikit_learn, "nimfa": nimfa, "torchnmf": torchnmf}
