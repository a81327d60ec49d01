"""Online dictionary learning: the time to within 1 % of the best objective known."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from lasso import remembered

__all__ = ["BIG", "CASES", "PEERS", "TARGET", "TIGHT", "build", "efforts", "quality", "settings", "tiny"]

TITLE = "Online dictionary learning on image patches"
MEANING = (
    "Quality is the mean of half the squared residual plus the penalty over every tenth patch, its code exact to a "
    "relative gap of 1e-6, over that of the best dictionary known, minus one: that of 30 passes of ours. Every "
    "contestant begins at the same patches and is given numbers of batches, in steps of a quarter, in the batch size "
    "that suits it best; the fewest that reach the target are timed."
)
TARGET, TIGHT = 1e-2, None
_STEP = 1.25


class Case(NamedTuple):
    """The size of a problem."""

    n_patches: int
    side: int
    n_atoms: int
    alpha: float = 0.15


class Problem(NamedTuple):
    """Patches, where to start, and the penalty."""

    X: np.ndarray
    start: np.ndarray
    alpha: float


CASES = {
    "50000-8x8-256": Case(50_000, 8, 256),
    "50000-12x12-256": Case(50_000, 12, 256),
}
BIG: frozenset[str] = frozenset()


def tiny(case: Case) -> Case:
    """A small case of the same kind."""
    return case._replace(n_patches=1000, n_atoms=20)


def build(case: Case) -> Problem:
    """Patches of two photographs without their mean, brought to norm one unless they are nearly flat."""
    from sklearn.datasets import load_sample_image

    rng = np.random.default_rng(0)
    photographs = [load_sample_image(name).mean(axis=2) / 255.0 for name in ("china.jpg", "flower.jpg")]
    X = np.empty((case.n_patches, case.side**2))
    for i, patch in enumerate(X):
        photograph = photographs[i % 2]
        y, x = rng.integers(photograph.shape[0] - case.side), rng.integers(photograph.shape[1] - case.side)
        patch[:] = photograph[y : y + case.side, x : x + case.side].ravel()
    X -= X.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    X /= np.maximum(norms, 0.1 * norms.mean())
    start = X[rng.choice(np.flatnonzero(norms[:, 0] > norms.mean()), case.n_atoms, replace=False)]
    return Problem(X, start / np.linalg.norm(start, axis=1, keepdims=True), case.alpha)


def objective(problem: Problem, atoms: np.ndarray) -> float:
    """The mean objective of exact codes, over every tenth patch."""
    from sparsemodels.solvers.coders import LassoCD, dictionary
    from sparsemodels.solvers.sparse_coding import encode

    X = np.ascontiguousarray(problem.X[::10])
    atoms = np.ascontiguousarray(atoms, dtype=np.float64)
    atoms = atoms / np.maximum(np.linalg.norm(atoms, axis=1, keepdims=True), 1e-300)
    coding = encode(LassoCD(problem.alpha, tol=1e-6), X, dictionary(atoms))
    penalty = problem.alpha * np.abs(coding.codes.values).sum()
    return float(0.5 * coding.squared_residual.sum() + penalty) / X.shape[0]


@remembered
def _best(problem: Problem) -> float:
    return objective(problem, sparsemodels()(problem, 30 * problem.X.shape[0] // 256, batch_size=256))


def quality(problem: Problem, solution: np.ndarray) -> float:
    """How far the objective is above the best one known."""
    return objective(problem, solution) / _best(problem) - 1.0


def efforts(peer: str, case: Case, target: float) -> tuple[int, ...]:
    """Numbers of batches."""
    return tuple(sorted({round(8 * _STEP**k) for k in range(36)}))


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    """The alternatives that were found to matter; the fastest of them on a case is timed."""
    return {
        # Its other modes of forgetting (modeParam=1 and 2, several rho and t0) ended above its default one.
        "spams": [{"batch_size": size} for size in (128, 256, 512)],
        "scikit-learn": [{"batch_size": 256}],
    }.get(peer, [{"batch_size": size} for size in (128, 256, 512)])


def sparsemodels() -> Callable:
    from sparsemodels.decomposition import DictionaryLearning

    def fit(problem, effort, batch_size):
        """Whole passes by `fit`, a part of one by `partial_fit`."""
        model = DictionaryLearning(
            problem.start.shape[0], coder="lasso_cd", alpha=problem.alpha, init=problem.start, batch_size=batch_size,
            random_state=0,
        )  # fmt: skip
        per_pass = -(-problem.X.shape[0] // batch_size)
        if effort >= 4 * per_pass:
            model.set_params(tol=0.0, n_trials=0, replace_unused=None, max_iter=round(effort / per_pass))
            return model.fit(problem.X).components_
        rows = np.random.default_rng(0).permutation(problem.X.shape[0])
        for batch in range(effort):
            at = batch % per_pass * batch_size
            model.partial_fit(problem.X[np.sort(rows[at : at + batch_size])])
        return model.components_

    return fit


def spams() -> Callable:
    import spams as package

    @remembered
    def columns(problem: Problem) -> np.ndarray:
        return np.asfortranarray(problem.X.T)

    def fit(problem, effort, batch_size):
        found = package.trainDL(
            columns(problem), D=np.asfortranarray(problem.start.T), lambda1=problem.alpha, mode=2, iter=effort,
            batchsize=batch_size, numThreads=1, verbose=False,
        )  # fmt: skip
        return np.ascontiguousarray(found.T)

    return fit


def scikit_learn() -> Callable:
    from sklearn.decomposition import MiniBatchDictionaryLearning

    def fit(problem, effort, batch_size):
        model = MiniBatchDictionaryLearning(
            problem.start.shape[0], alpha=problem.alpha, dict_init=problem.start, batch_size=batch_size,
            fit_algorithm="cd", random_state=0,
        )  # fmt: skip
        rows = np.random.default_rng(0).permutation(problem.X.shape[0])
        for batch in range(effort):
            at = batch * batch_size % problem.X.shape[0]
            model.partial_fit(problem.X[rows[at : at + batch_size]])
        return model.components_

    return fit


PEERS = {"sparsemodels": sparsemodels, "spams": spams, "scikit-learn": scikit_learn}
