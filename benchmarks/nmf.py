"""Nonnegative matrix factorization under squared error: the time to within 0.1 % of the best objective known."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from lasso import remembered

__all__ = ["BIG", "CASES", "PEERS", "TARGET", "TIGHT", "build", "efforts", "quality", "settings", "tiny"]

TITLE = "Nonnegative matrix factorization, squared error"
MEANING = (
    "Quality is the objective of the factors over the best one known, minus one: that of 1000 extrapolated iterations "
    "from the same start. Every contestant begins at the same factors where it takes any, and is given numbers of "
    "iterations in steps of a sixth; the fewest that reach the target are timed."
)
TARGET, TIGHT = 1e-3, None


class Case(NamedTuple):
    """The size of a problem; a density makes it sparse."""

    n_samples: int
    n_features: int
    n_components: int
    density: float = 1.0


class Problem(NamedTuple):
    """The matrix and where to start."""

    X: Any
    W: np.ndarray
    H: np.ndarray


CASES = {
    "2000x1000-r20": Case(2000, 1000, 20),
    "sparse-20000x20000-r20": Case(20_000, 20_000, 20, 0.005),
    "10000x2000-r50": Case(10_000, 2_000, 50),
}
BIG = frozenset({"10000x2000-r50"})


def tiny(case: Case) -> Case:
    """A small case of the same kind."""
    return case._replace(n_samples=60, n_features=40, n_components=3, density=min(1.0, 20.0 * case.density))


def build(case: Case) -> Problem:
    """Sparse nonnegative factors of the same rank with noise, or counts of words drawn from as many topics."""
    rng = np.random.default_rng(0)
    m, n, r = case[:3]
    X: Any = word_counts(rng, m, n, r, case.density) if case.density < 1.0 else noisy_product(rng, m, n, r)
    scale = np.sqrt(X.mean() / r)
    return Problem(X, 2.0 * scale * rng.random((m, r)), 2.0 * scale * rng.random((r, n)))


def noisy_product(rng: np.random.Generator, m: int, n: int, r: int) -> np.ndarray:
    """A product of sparse factors plus noise of a third of its mean."""
    left = rng.gamma(1.0, 1.0, (m, r)) * (rng.random((m, r)) < 0.3)
    right = rng.gamma(1.0, 1.0, (r, n)) * (rng.random((r, n)) < 0.3)
    X = left @ right
    X += np.abs(0.3 * X.mean() * rng.standard_normal((m, n)))
    return X


def word_counts(rng: np.random.Generator, m: int, n: int, r: int, density: float) -> Any:
    """Documents of up to three topics, each with its own words in Zipf's proportions."""
    length = int(1.05 * density * n)  # repeated words leave about the density asked for
    chosen = rng.integers(0, r, (m, 3))
    topics = np.take_along_axis(chosen, rng.integers(0, 3, (m, length)), axis=1)
    ranks = np.arange(1.0, n // 4 + 1)
    heights = np.cumsum(1.0 / (ranks + 20.0))
    drawn = np.searchsorted(heights, heights[-1] * rng.random((m, length)))
    words = np.array([rng.permutation(n)[: n // 4] for _ in range(r)])[topics, drawn]
    rows = np.repeat(np.arange(m), length)
    X = scipy.sparse.csr_matrix((np.ones(rows.size), (rows, words.ravel())), shape=(m, n))
    X.sum_duplicates()
    return X


def half_squared_error(problem: Problem, W: np.ndarray, H: np.ndarray) -> float:
    """The objective; the products of a sparse matrix are taken at its nonzeros."""
    X = problem.X
    if not scipy.sparse.issparse(X):
        return 0.5 * float(np.sum((X - W @ H) ** 2))
    rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
    cross = sum(float(X.data @ (W[rows, a] * H[a, X.indices])) for a in range(W.shape[1]))
    return 0.5 * (float(X.data @ X.data) - 2.0 * cross + float(np.sum((W.T @ W) * (H @ H.T))))


@remembered
def _best(problem: Problem) -> float:
    from sparsemodels.solvers.alternating_factorization import alternate
    from sparsemodels.solvers.observed_matrix import observe

    return alternate(
        observe(problem.X), problem.W, np.ascontiguousarray(problem.H.T), tol=1e-7, max_iter=1000
    ).objective


def quality(problem: Problem, solution: tuple[np.ndarray, np.ndarray]) -> float:
    """How far the objective is above the best one known."""
    return half_squared_error(problem, *solution) / _best(problem) - 1.0


def iterations(first: float, last: float) -> tuple[int, ...]:
    """Numbers of iterations in steps of a sixth."""
    steps = int(np.ceil(np.log(last / first) / np.log(7.0 / 6.0))) + 1
    return tuple(sorted({round(float(n)) for n in first * (7.0 / 6.0) ** np.arange(steps)}))


def efforts(peer: str, case: Case, target: float) -> tuple[int, ...]:
    """Numbers of iterations; of passes for the online method."""
    return iterations(3, 100) if peer == "spams" else iterations(4, 1500)


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    """The alternatives that were found to matter; the fastest of them on a case is timed."""
    return {
        "scikit-learn": [{"solver": "cd"}, {"solver": "mu"}],
        "spams": [{"batchsize": 256}, {"batchsize": 1024}],
    }.get(peer, [{}])


def sparsemodels() -> Callable:
    from sparsemodels.decomposition import NMF

    def fit(problem, effort):
        start = (problem.W, problem.H)
        model = NMF(problem.W.shape[1], init=start, tol=0.0, max_iter=effort, n_jobs=1)
        return model.fit_transform(problem.X), model.components_

    return fit


def scikit_learn() -> Callable:
    from sklearn.decomposition import NMF

    def fit(problem, effort, solver):
        model = NMF(problem.W.shape[1], init="custom", solver=solver, tol=0.0, max_iter=effort)
        return model.fit_transform(problem.X, W=problem.W.copy(), H=problem.H.copy()), model.components_

    return fit


def spams() -> Callable:
    """Online dictionary learning; it has its own start."""
    import spams as package

    @remembered
    def columns(problem: Problem) -> Any:
        return problem.X.T.tocsc() if scipy.sparse.issparse(problem.X) else np.asfortranarray(problem.X.T)

    def fit(problem, effort, batchsize):
        X = columns(problem)
        rounds = max(1, int(effort * X.shape[1] / batchsize))
        basis = package.nmf(X, K=problem.W.shape[1], iter=rounds, batchsize=batchsize, numThreads=1)
        # Its codes are the exact nonnegative least squares.
        from sparsemodels.solvers.fixed_component_codes import least_squares_codes
        from sparsemodels.solvers.observed_matrix import observe

        return least_squares_codes(observe(problem.X), np.ascontiguousarray(basis)), basis.T

    return fit


def nimfa() -> Callable:
    setattr(np, "mat", np.asmatrix)  # noqa: B010 (nimfa still asks for it)
    import nimfa as package

    def fit(problem, effort):
        model = package.Nmf(
            problem.X, rank=problem.W.shape[1], update="euclidean",
            objective="fro", seed="fixed", W=problem.W.copy(), H=problem.H.copy(), max_iter=effort, min_residuals=0.0,
        )  # fmt: skip
        result = model()
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
        model.fit(torch.tensor(X), beta=2, max_iter=effort, tol=0.0)
        return model.H.detach().numpy(), model.W.detach().numpy().T

    return fit


PEERS = {
    "sparsemodels": sparsemodels,
    "scikit-learn": scikit_learn,
    "spams": spams,
    "nimfa": nimfa,
    "torchnmf": torchnmf,
}
