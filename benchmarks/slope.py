"""SLOPE with the weights of Benjamini and Hochberg, without intercept, to a relative duality gap."""

from collections.abc import Callable
from typing import Any

import numpy as np
import planted_regression
from lasso import half_decades
from planted_regression import Case, Problem, tiny
from scipy.special import ndtri

__all__ = ["BIG", "CASES", "PEERS", "TARGET", "TIGHT", "build", "efforts", "quality", "settings", "tiny"]

TITLE = "SLOPE"
TARGET, TIGHT = 1e-6, None
Q = 0.1

CASES = {
    "dense-1000x5000": Case(1000, 5000, 100, correlation=0.7),
    "dense-1000x5000-end": Case(1000, 5000, 100, correlation=0.7, alpha_ratio=0.02),
    "csc-20000x50000": Case(20000, 50000, 200, density=1e-3),
    "dense-1000x5000-path": Case(1000, 5000, 100, correlation=0.7, n_alphas=50),
}
BIG: frozenset[str] = frozenset()


def sequence(n_features: int) -> np.ndarray:
    """The weights by rank."""
    return -ndtri(0.5 * Q * np.arange(1, n_features + 1) / n_features)


def dual_norm(scores: np.ndarray) -> float:
    """The smallest level at which these scores leave every coefficient at zero."""
    return float(np.max(np.cumsum(np.sort(np.abs(scores))[::-1]) / np.cumsum(sequence(scores.size))))


def build(case: Case) -> Problem:
    """The design and target of the LASSO benchmarks, the levels relative to the largest of SLOPE."""
    problem = planted_regression.build(case)
    scores = problem.X.T @ problem.y / case.n_samples
    return problem._replace(alphas=problem.alphas * dual_norm(scores) / np.max(np.abs(scores)))


def quality(problem: Problem, coefs: Any) -> float:
    """Largest (primal - dual) / (objective at zero), the residual scaled to the best feasible multiple."""
    X, y, alphas, _ = problem
    gaps = []
    for alpha, w in zip(alphas, np.asarray(coefs, dtype=float).reshape(X.shape[1], -1).T, strict=True):
        residual = y - X @ w
        level = dual_norm(X.T @ residual / len(y))
        largest = alpha / level if level > 0.0 else np.inf
        square = residual @ residual
        theta = np.clip(residual @ y / square if square > 0.0 else 0.0, -largest, largest) * residual
        penalty = len(y) * alpha * (sequence(w.size) @ np.sort(np.abs(w))[::-1])
        gap = 0.5 * square + penalty - y @ theta + 0.5 * theta @ theta
        gaps.append(gap / (0.5 * y @ y))
    return float(np.max(gaps))


def efforts(peer: str, case: Case, target: float) -> tuple[float, ...]:
    """Tolerances in the peer's own meaning, from loose to strict."""
    if peer == "sparsemodels":
        return tuple(target * share for share in (1.0, 0.5, 0.2, 0.1))
    return half_decades(1e-3, 1e-11)


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    """The alternatives that were found to matter; the fastest of them on a case is timed."""
    return {"sortedl1": [{"hybrid_cd_type": "cyclical"}, {"hybrid_cd_type": "permuted"}]}.get(peer, [{}])


def sparsemodels() -> Callable:
    from sparsemodels.linear_model import SlopeRegressor, slope_path

    def fit(problem, effort):
        options = {"fit_intercept": False, "tol": effort, "q": Q}
        if len(problem.alphas) > 1:
            return slope_path(problem.X, problem.y, alphas=problem.alphas, **options).coefs
        return SlopeRegressor(problem.alpha, **options).fit(problem.X, problem.y).coef_

    return fit


def sortedl1() -> Callable:
    from sortedl1 import Slope

    def fit(problem, effort, **setting):
        model = Slope(lam=sequence(problem.X.shape[1]), fit_intercept=False, tol=effort, max_iter=1_000_000, **setting)
        if len(problem.alphas) > 1:
            path = model.path(problem.X, problem.y, alphas=problem.alphas, tol_dev_change=0.0, tol_dev_ratio=1.0)
            return np.asarray(path.coefs).reshape(problem.X.shape[1], -1)
        model.alpha = problem.alpha
        return np.ravel(model.fit(problem.X, problem.y).coef_)

    return fit


def skglm() -> Callable:
    from skglm import GeneralizedLinearEstimator
    from skglm.datafits import Quadratic
    from skglm.penalties import SLOPE
    from skglm.solvers import FISTA

    def fit(problem, effort):
        columns = []
        for alpha in problem.alphas:
            solver = FISTA(max_iter=100_000, tol=effort * problem.alphas[-1], opt_strategy="fixpoint")
            model = GeneralizedLinearEstimator(Quadratic(), SLOPE(sequence(problem.X.shape[1]), alpha), solver)
            columns.append(model.fit(problem.X, problem.y).coef_)
        return np.column_stack(columns)

    return fit


PEERS = {"sparsemodels": sparsemodels, "sortedl1": sortedl1, "skglm": skglm}
