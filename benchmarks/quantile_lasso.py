"""L1-penalised quantile regression with an intercept, to a relative distance from the certified minimum."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from lasso import half_decades, remembered

__all__ = ["BIG", "CASES", "PEERS", "TARGET", "TIGHT", "build", "efforts", "quality", "settings", "tiny"]

TITLE = "Quantile LASSO"
TARGET, TIGHT = 1e-6, 1e-9


class Case(NamedTuple):
    """The size of a problem; `alpha_ratio` is relative to the smallest level with an empty model."""

    n_samples: int
    n_features: int
    alpha_ratio: float
    quantile: float = 0.5


class Problem(NamedTuple):
    """The data, the level and the quantile."""

    X: np.ndarray
    y: np.ndarray
    alpha: float
    quantile: float


CASES = {
    "500x200": Case(500, 200, 0.05),
    "500x1000": Case(500, 1000, 0.1),
    "1000x500": Case(1000, 500, 0.05),
    "2000x500-upper": Case(2000, 500, 0.1, quantile=0.9),
    "1000x5000": Case(1000, 5000, 0.2),
}
BIG: frozenset[str] = frozenset()


def tiny(case: Case) -> Case:
    """A small case of the same kind."""
    return case._replace(n_samples=40, n_features=20)


def build(case: Case) -> Problem:
    """Ten relevant features, errors with heavy tails."""
    rng = np.random.default_rng(0)
    n, p = case.n_samples, case.n_features
    X = np.asfortranarray(rng.standard_normal((n, p)))
    y = X[:, :10] @ (2.0 * rng.standard_normal(10)) + rng.standard_t(2, n) + 1.0
    dual = np.where(y > np.quantile(y, case.quantile), case.quantile, case.quantile - 1.0) / n
    return Problem(X, y, float(case.alpha_ratio * np.abs(X.T @ dual).max()), case.quantile)


def _loss(residual: np.ndarray, quantile: float) -> float:
    return float(np.mean(np.maximum(quantile * residual, (quantile - 1.0) * residual)))


@remembered
def _lower_bound(problem: Problem) -> float:
    """The value of a dual vector, made feasible here: below every objective."""
    from sparsemodels.solvers.losses import Quantile
    from sparsemodels.solvers.penalties import L1
    from sparsemodels.solvers.quantile_lasso import VertexProblem

    X, y, alpha, quantile = problem
    loss = Quantile(y, np.full(len(y), 1.0 / len(y)), quantile)
    dual = VertexProblem(X, loss, fit_intercept=True).solve(L1(alpha, np.ones(X.shape[1])), tol=1e-12).dual
    if abs(dual.sum()) > 1e-12:
        raise RuntimeError("the dual vector does not sum to zero")
    dual = np.clip(dual, (quantile - 1.0) / len(y), quantile / len(y))
    return float(dual @ y * min(1.0, alpha / np.abs(X.T @ dual).max()))


def quality(problem: Problem, solution: tuple[np.ndarray, float]) -> float:
    """(Objective - lower bound) / (loss of the empty model)."""
    coef, intercept = solution
    value = _loss(problem.y - problem.X @ coef - intercept, problem.quantile) + problem.alpha * np.abs(coef).sum()
    empty = _loss(problem.y - np.quantile(problem.y, problem.quantile), problem.quantile)
    return (value - _lower_bound(problem)) / empty


def efforts(peer: str, case: Case, target: float) -> tuple[float, ...]:
    """Tolerances in the peer's own meaning, from loose to strict; the linear programs are exact."""
    if peer == "sparsemodels":
        return (target, 0.1 * target)
    return half_decades(1e-3, 1e-9) if peer == "skglm" else (0.0,)


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    """The alternatives that were found to matter; the fastest of them on a case is timed."""
    return {"scikit-learn": [{"solver": "highs-ds"}, {"solver": "highs-ipm"}]}.get(peer, [{}])


def sparsemodels() -> Callable:
    from sparsemodels.linear_model import QuantileLasso

    def fit(problem, effort):
        model = QuantileLasso(problem.alpha, quantile=problem.quantile, tol=effort).fit(problem.X, problem.y)
        return model.coef_, model.intercept_

    return fit


def scikit_learn() -> Callable:
    from sklearn.linear_model import QuantileRegressor

    def fit(problem, effort, solver):
        model = QuantileRegressor(quantile=problem.quantile, alpha=problem.alpha, solver=solver)
        model.fit(problem.X, problem.y)
        return model.coef_, model.intercept_

    return fit


def skglm() -> Callable:
    """Its primal-dual solver has no intercept: the target is centred at the solution's own, which is given to it."""
    from skglm.experimental.pdcd_ws import PDCD_WS
    from skglm.experimental.quantile_regression import Pinball
    from skglm.penalties import L1

    @remembered
    def centred(problem: Problem) -> tuple[np.ndarray, float]:
        from sparsemodels.linear_model import QuantileLasso

        model = QuantileLasso(problem.alpha, quantile=problem.quantile, tol=1e-12).fit(problem.X, problem.y)
        return problem.y - model.intercept_, model.intercept_

    def fit(problem, effort):
        target, intercept = centred(problem)
        n = len(target)  # its loss is a sum
        solver = PDCD_WS(max_iter=500, max_epochs=20_000, tol=effort, warm_start=False, verbose=False)
        from skglm.utils.jit_compilation import compiled_clone

        coef = solver.solve(
            problem.X, target, compiled_clone(Pinball(problem.quantile)), compiled_clone(L1(n * problem.alpha))
        )[0]
        return coef, intercept

    return fit


PEERS = {"sparsemodels": sparsemodels, "scikit-learn": scikit_learn, "skglm": skglm}
