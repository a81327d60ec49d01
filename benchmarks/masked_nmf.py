"""NMF of a matrix of which 5 % is known: the same squared error over the known entries, computed here for everybody."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from lasso import remembered
from scipy import sparse

TITLE = "Masked NMF"
MEANING = (
    "The quality is the objective, half the squared error over the known entries, above the best one known, relative "
    "to it; every package is timed at 1e-03. The effort is the number of iterations. No penalty: not all packages have "
    "the same ones."
)
TARGET, TIGHT = 1e-3, None


class Case(NamedTuple):
    """The size of a matrix, the share of its known entries, its rank, and noise in units of the entries' spread."""

    n_samples: int
    n_features: int
    share: float
    rank: int
    noise: float = 0.1


class Problem(NamedTuple):
    """The known entries, in the forms that the packages take, and the rank."""

    X: sparse.csr_array
    entries: sparse.coo_matrix
    triples: np.ndarray
    rank: int


CASES = {
    "5000x2000-r10": Case(5000, 2000, 0.05, 10),
    "5000x2000-r20": Case(5000, 2000, 0.05, 20),
    "5000x2000-r10-noisy": Case(5000, 2000, 0.05, 10, noise=0.5),
    "20000x5000-r20": Case(20_000, 5000, 0.02, 20),
}
BIG = frozenset({"20000x5000-r20"})


def tiny(case: Case) -> Case:
    """A small case of the same kind."""
    return case._replace(n_samples=60, n_features=40, share=0.5, rank=3)


def build(case: Case) -> Problem:
    """Factors with exponential entries, known at random places, every value with noise but none below zero."""
    rng = np.random.default_rng(0)
    W, Ht = rng.exponential(size=(case.n_samples, case.rank)), rng.exponential(size=(case.n_features, case.rank))
    size = case.n_samples * case.n_features
    flat = np.sort(rng.choice(size, int(case.share * size), replace=False, shuffle=False))
    i, j = np.divmod(flat, case.n_features)
    values = np.einsum("ta,ta->t", W[i], Ht[j])
    values = np.maximum(values + case.noise * values.std() * rng.standard_normal(values.size), 1e-9)
    X = sparse.csr_array((values, (i, j)), shape=(case.n_samples, case.n_features))
    return Problem(X, sparse.coo_matrix(X), np.column_stack([i, j, values]).astype(np.float32), case.rank)


def objective(problem: Problem, solution: tuple[np.ndarray, np.ndarray]) -> float:
    """Half the squared error over the known entries; infinite for a factor with a negative entry."""
    W, Ht = (np.asarray(factor, dtype=np.float64) for factor in solution)
    if min(W.min(), Ht.min()) < 0.0:
        return np.inf
    X = problem.entries
    return 0.5 * float(np.sum((X.data - np.einsum("ta,ta->t", W[X.row], Ht[X.col])) ** 2))


@remembered
def _best(problem: Problem) -> float:
    """The lowest objective of long fits from three starts; a package that finds a lower one has a quality below 0."""
    from sparsemodels.solvers.alternating_factorization import alternate
    from sparsemodels.solvers.observed_matrix import observe

    matrix, scale = observe(problem.X, implicit=True), np.sqrt(problem.X.data.mean() / problem.rank)
    values = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        start = (scale * np.abs(rng.standard_normal((size, problem.rank))) for size in problem.X.shape)
        values.append(alternate(matrix, *start, solver="bpp", tol=1e-6, max_iter=500).objective)
    return min(values)


def quality(problem: Problem, solution: tuple[np.ndarray, np.ndarray]) -> float:
    """(Objective - best objective) / best objective."""
    return objective(problem, solution) / _best(problem) - 1.0


def efforts(peer: str, case: Case, target: float) -> tuple[int, ...]:
    """Iterations, half as many again each time."""
    least, most = {"sparsemodels": (10, 1000), "cmfrec": (10, 300)}.get(peer, (50, 5000))
    return tuple(round(least * 1.5**k) for k in range(20) if least * 1.5**k <= most)


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    """The alternatives that were found to matter; the fastest of them on a case is timed."""
    return {
        "cmfrec": [{"use_float": False}, {"use_float": True}],
        "libmf": [{"eta": 0.1}, {"eta": 0.3}],
    }.get(peer, [{}])


def sparsemodels() -> Callable:
    from sparsemodels.decomposition import NMF

    def fit(problem, effort):
        model = NMF(problem.rank, missing="implicit", init="random", tol=1e-12, max_iter=effort, random_state=0)
        return model.fit_transform(problem.X), model.components_.T

    return fit


def cmfrec() -> Callable:
    """Ten coordinate-descent steps a row in place of its hundred end far above the best objective: not offered."""
    from cmfrec import CMF

    def fit(problem, effort, use_float):
        model = CMF(
            k=problem.rank, lambda_=0.0, nonneg=True, use_cg=False, niter=effort, use_float=use_float,
            user_bias=False, item_bias=False, center=False, finalize_chol=False, precompute_for_predictions=False,
            include_all_X=False, nthreads=1, random_state=1, verbose=False,
        )  # fmt: skip
        model.fit(problem.entries)
        return model.A_, model.B_

    return fit


def libmf() -> Callable:
    from libmf import mf

    def fit(problem, effort, eta):
        penalties = dict.fromkeys(("lambda_p1", "lambda_p2", "lambda_q1", "lambda_q2"), 0.0)
        model = mf.MF(k=problem.rank, nr_iters=effort, nr_threads=1, do_nmf=True, eta=eta, quiet=True, **penalties)
        model.fit(problem.triples)
        return np.array(model.p_factors()), np.array(model.q_factors())

    return fit


def multiplicative() -> Callable:
    """Masked multiplicative updates (Zhang, Wang, Ford and Makedon 2006), compiled: two passes over the entries."""
    import numba

    @numba.njit(fastmath={"contract", "reassoc", "nsz"})
    def update(indptr, indices, data, F, K, above, below):
        r = F.shape[1]
        for i in range(F.shape[0]):
            f = F[i]
            above[:] = 0.0
            below[:] = 1e-16
            for t in range(indptr[i], indptr[i + 1]):
                k = K[indices[t]]
                value = 0.0
                for a in range(r):
                    value += f[a] * k[a]
                for a in range(r):
                    above[a] += data[t] * k[a]
                    below[a] += value * k[a]
            for a in range(r):
                f[a] *= above[a] / below[a]

    @remembered
    def by_columns(problem: Problem) -> sparse.csr_array:
        return problem.X.T.tocsr()

    def fit(problem, effort):
        rng = np.random.default_rng(0)
        X, Xt, r = problem.X, by_columns(problem), problem.rank
        scale = np.sqrt(X.data.mean() / r)
        W, Ht = (scale * np.abs(rng.standard_normal((size, r))) for size in X.shape)
        above, below = np.empty(r), np.empty(r)
        for _ in range(effort):
            update(Xt.indptr, Xt.indices, Xt.data, Ht, W, above, below)
            update(X.indptr, X.indices, X.data, W, Ht, above, below)
        return W, Ht

    return fit


def surprise() -> Callable:
    from surprise import NMF, Dataset, Reader

    @remembered
    def trainset(problem: Problem) -> Any:
        import pandas as pd

        X = problem.entries
        table = pd.DataFrame({"user": X.row, "item": X.col, "rating": X.data})
        return Dataset.load_from_df(table, Reader(rating_scale=(0.0, float(X.data.max())))).build_full_trainset()

    def fit(problem, effort):
        known = trainset(problem)
        scale = 2.0 * np.sqrt(problem.X.data.mean() / problem.rank)
        model = NMF(
            n_factors=problem.rank, n_epochs=effort, reg_pu=0.0, reg_qi=0.0, init_low=0.0, init_high=scale,
            random_state=0,
        ).fit(known)  # fmt: skip
        W, Ht = np.zeros((problem.X.shape[0], problem.rank)), np.zeros((problem.X.shape[1], problem.rank))
        W[[known.to_raw_uid(u) for u in range(known.n_users)]] = model.pu
        Ht[[known.to_raw_iid(i) for i in range(known.n_items)]] = model.qi
        return W, Ht

    return fit


PEERS = {
    "sparsemodels": sparsemodels,
    "cmfrec": cmfrec,
    "libmf": libmf,
    "multiplicative": multiplicative,
    "surprise": surprise,
}
