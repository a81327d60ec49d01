"""64 bootstrap samples or permutations of one data set to the same relative duality gap: in a loop, or side by side."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import planted_regression
from lasso import half_decades

__all__ = ["BIG", "CASES", "PEERS", "TARGET", "TIGHT", "build", "efforts", "quality", "settings", "tiny"]

TITLE = "64 simultaneous problems"
TARGET, TIGHT = 1e-6, None


class Case(NamedTuple):
    """What the problems are made of."""

    n_samples: int
    n_features: int
    kind: str  # "bootstrap" or "permutation"
    loss: str = "squared"  # or "logistic"
    n_problems: int = 64
    n_nonzero: int = 50
    alpha_ratio: float = 0.2  # alpha / alpha_max of the data as they are
    seed: int = 0


class Problem(NamedTuple):
    """For every k, min over w of mean counts[k] loss(targets[k], X w) + alpha |w|_1."""

    X: np.ndarray  # float64, F-ordered
    targets: np.ndarray  # (n_problems, n_samples); -1 and 1 for the logistic loss
    counts: np.ndarray  # (n_problems, n_samples); how often a bootstrap sample holds each row
    alpha: float
    loss: str


CASES = {
    f"{loss}-{kind}-{n}x5000": Case(n, 5000, kind, loss)
    for loss in ("squared", "logistic")
    for kind in ("bootstrap", "permutation")
    for n in (300, 1000)
}
BIG: frozenset[str] = frozenset()


def build(case: Case) -> Problem:
    """The problem of a case: the same arrays for the same case in every process."""
    planted = planted_regression.Case(case.n_samples, case.n_features, case.n_nonzero, correlation=0.7, seed=case.seed)
    X, y, _, _ = planted_regression.build(planted)
    y = y if case.loss == "squared" else np.where(y > np.median(y), 1.0, -1.0)
    alpha_max = np.max(np.abs(X.T @ y)) / case.n_samples / (1.0 if case.loss == "squared" else 2.0)
    rng = np.random.default_rng(case.seed + 1)
    shape = case.n_problems, case.n_samples
    if case.kind == "bootstrap":
        counts = rng.multinomial(case.n_samples, np.full(case.n_samples, 1.0 / case.n_samples), size=case.n_problems)
        return Problem(X, np.broadcast_to(y, shape), counts, case.alpha_ratio * alpha_max, case.loss)
    targets = np.array([rng.permutation(y) for _ in range(case.n_problems)])
    return Problem(X, targets, np.ones(shape, dtype=np.int64), case.alpha_ratio * alpha_max, case.loss)


def tiny(case: Case) -> Case:
    """A case of the same dtype and layout that is solved at once: to compile on, and for ``--quick``."""
    return case._replace(n_samples=80, n_features=120, n_problems=5, n_nonzero=10, alpha_ratio=0.3)


def quality(problem: Problem, coefs: Any) -> float:
    """The largest (primal - dual) / (objective at zero), recomputed in NumPy from the coefficients alone."""
    X, targets, counts, alpha, loss = problem
    coefs = np.asarray(coefs, dtype=np.float64)
    if coefs.shape != (len(targets), X.shape[1]):
        raise ValueError(f"coefs has shape {coefs.shape}, it must be {(len(targets), X.shape[1])}.")
    n, predictors, gaps = X.shape[0], coefs @ X.T, []
    residuals = targets - predictors if loss == "squared" else targets / (1.0 + np.exp(targets * predictors))
    slopes = np.abs((counts * residuals) @ X).max(axis=1) / n
    for y, s, z, residual, slope, coef in zip(targets, counts, predictors, residuals, slopes, coefs, strict=True):
        largest = alpha / slope if slope > 0.0 else np.inf
        if loss == "squared":
            # The dual point c s r, with the best feasible c.
            squared = s @ residual**2
            c = np.clip(s @ (residual * y) / squared, -largest, largest) if squared > 0.0 else 0.0
            primal, dual, scale = 0.5 * squared, c * (s @ (residual * y)) - 0.5 * c**2 * squared, 0.5 * (s @ y**2)
        else:
            # The dual point c y q with q = 1 / (1 + exp(y z)): its loss is the entropy of c q.
            q = np.clip(min(largest, 1.0) * np.abs(residual), 1e-300, None)
            primal, dual = s @ np.logaddexp(0.0, -y * z), -s @ (q * np.log(q) + (1.0 - q) * np.log1p(-q))
            scale = n * np.log(2.0)
        gaps.append((primal + n * alpha * np.abs(coef).sum() - dual) / scale)
    return float(np.max(gaps))  # a NaN stays one


def efforts(peer: str, case: Case, target: float) -> tuple[float, ...]:
    """Tolerances in the peer's own meaning, from loose to strict, from where the target comes into reach."""
    if peer == "skglm" or (peer == "scikit-learn" and case.loss == "logistic"):
        return half_decades(1e-2, 1e-9)  # an optimality residual, relative to alpha; a relative change
    return tuple(target * share for share in (1.0, 0.5, 0.2, 0.1, 0.03, 0.01))


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    """The alternatives that were found to matter; the fastest of them on a case is timed."""
    return [{"p0": 10}, {"p0": 100}] if peer in ("celer", "skglm") else [{}]


def resampled(problem: Problem) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """(X, y, alpha) of every problem without weights, for who takes none.

    The rows of a bootstrap sample are scaled by the square roots of their counts where the loss is squared, and
    repeated where it is not.
    """
    X, targets, counts, alpha, loss = problem
    for y, s in zip(targets, counts, strict=True):
        if (s == 1).all():
            yield X, y, alpha
        elif loss == "squared":
            rows = np.flatnonzero(s)
            root = np.sqrt(s[rows])
            yield np.asfortranarray(X[rows] * root[:, None]), y[rows] * root, alpha * len(y) / len(rows)
        else:
            rows = np.repeat(np.arange(len(y)), s)
            yield np.asfortranarray(X[rows]), y[rows], alpha


def sparsemodels() -> Callable:
    from sparsemodels.linear_model import SimultaneousGLM

    def fit(problem, effort):
        X, targets, counts, alpha, loss = problem
        targets = targets if loss == "squared" else (targets + 1.0) / 2.0
        model = SimultaneousGLM(loss, alpha, fit_intercept=False, tol=effort)
        return model.fit(X, targets.T, sample_weight=counts.T).coef_

    return fit


def sparsemodels_separate() -> Callable:
    from sparsemodels.linear_model import Lasso, SparseLogisticRegression

    def fit(problem, effort):
        X, targets, counts, alpha, loss = problem
        kind = Lasso if loss == "squared" else SparseLogisticRegression
        model = kind(alpha=alpha, fit_intercept=False, tol=effort)
        return [model.fit(X, y, sample_weight=s).coef_.ravel() for y, s in zip(targets, counts, strict=True)]

    return fit


def scikit_learn() -> Callable:
    from sklearn.linear_model import Lasso, LogisticRegression

    def fit(problem, effort):
        X, targets, counts, alpha, loss = problem
        if loss == "squared":
            model = Lasso(alpha=alpha, fit_intercept=False, tol=effort, max_iter=100_000)
        else:
            model = LogisticRegression(
                C=1.0 / (len(X) * alpha),
                l1_ratio=1.0,
                solver="liblinear",
                fit_intercept=False,
                tol=effort,
                max_iter=100_000,
                random_state=0,
            )
        return [
            model.fit(X, y, sample_weight=s.astype(float)).coef_.ravel() for y, s in zip(targets, counts, strict=True)
        ]

    return fit


def celer() -> Callable:
    from celer import Lasso, LogisticRegression

    def fit(problem, effort, p0):
        options = {"fit_intercept": False, "tol": effort, "max_iter": 1000, "max_epochs": 100_000, "p0": p0}
        coefs = []
        for X, y, alpha in resampled(problem):
            if problem.loss == "squared":
                model = Lasso(alpha=alpha, **options)
            else:
                model = LogisticRegression(C=1.0 / (len(y) * alpha), **options)
            coefs.append(model.fit(X, y).coef_.ravel())
        return coefs

    return fit


def skglm() -> Callable:
    from skglm import Lasso, SparseLogisticRegression

    def fit(problem, effort, p0):
        options = {"fit_intercept": False, "max_iter": 1000, "max_epochs": 100_000}
        coefs = []
        for X, y, alpha in resampled(problem):
            if problem.loss == "squared":
                model = Lasso(alpha, tol=effort * alpha, p0=p0, **options)
            else:
                model = SparseLogisticRegression(alpha, tol=effort * alpha, **options)
            coefs.append(model.fit(X, y).coef_.ravel())
        return coefs

    return fit


PEERS = {
    "sparsemodels": sparsemodels,
    "sparsemodels, separate": sparsemodels_separate,
    "scikit-learn": scikit_learn,
    "celer": celer,
    "skglm": skglm,
}
