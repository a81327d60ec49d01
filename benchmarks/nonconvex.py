"""MCP and SCAD regression without intercept, one alpha and paths of 100, to a relative KKT residual.

These problems are not convex: packages may end at different stationary points, each certified by its own residual.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import planted_regression
from lasso import half_decades
from scipy import sparse

TITLE = "MCP and SCAD"
MEANING = (
    "The quality is the KKT residual, relative to the largest slope at zero; every package is timed at 1e-06. The "
    "problems are not convex: stationary points differ with the start, and ours is timed from the faster of its two."
)
TARGET, TIGHT = 1e-6, None


class Case(NamedTuple):
    """A regression problem and the penalty, with its usual gamma."""

    regression: planted_regression.Case
    penalty: str
    gamma: float


class Problem(NamedTuple):
    """min over w of ||y - X w||^2 / (2 n_samples) + sum_j p(w_j) for every alpha, the columns of variance one."""

    regression: planted_regression.Problem
    penalty: str
    gamma: float
    alpha_max: float


_ONE = {"correlation": 0.7, "alpha_ratio": 0.1}
_PATH = {**_ONE, "n_alphas": 100}
CASES = {
    "mcp-1000x5000": Case(planted_regression.Case(1000, 5000, 100, **_ONE), "mcp", 3.0),
    "scad-1000x5000": Case(planted_regression.Case(1000, 5000, 100, **_ONE), "scad", 3.7),
    "mcp-path-1000x5000": Case(planted_regression.Case(1000, 5000, 100, **_PATH), "mcp", 3.0),
    "scad-path-1000x5000": Case(planted_regression.Case(1000, 5000, 100, **_PATH), "scad", 3.7),
    "mcp-path-2000x10000": Case(planted_regression.Case(2000, 10000, 200, **_PATH), "mcp", 3.0),
}
BIG = frozenset({"mcp-path-2000x10000"})


def build(case: Case) -> Problem:
    """The problem of a case."""
    problem = planted_regression.build(case.regression)
    largest = float(np.abs(problem.X.T @ problem.y).max()) / len(problem.y)
    return Problem(problem, case.penalty, case.gamma, largest)


def tiny(case: Case) -> Case:
    """A small case of the same kind."""
    return case._replace(regression=planted_regression.tiny(case.regression))


def quality(problem: Problem, coefs: Any) -> float:
    """The largest KKT residual over the alphas, relative to alpha_max, from the coefficients alone.

    The distance of each slope :math:`X_j^T (y - X w) / n` to the subdifferential of its penalty: to [-alpha, alpha]
    where the coefficient is zero, to the derivative with its sign elsewhere.
    """
    X, y, alphas, _ = problem.regression
    gamma = problem.gamma
    coefs = np.asarray(coefs.todense()) if sparse.issparse(coefs) else np.asarray(coefs)
    coefs = coefs.reshape(X.shape[1], -1)
    if coefs.shape[1] != len(alphas):
        raise ValueError(f"coefs has {coefs.shape[1]} columns, it must have {len(alphas)}.")
    slopes, sizes = X.T @ (y[:, None] - X @ coefs) / len(y), np.abs(coefs)
    if problem.penalty == "mcp":
        derivative = np.maximum(alphas - sizes / gamma, 0.0)
    else:
        derivative = np.minimum(alphas, np.maximum(gamma * alphas - sizes, 0.0) / (gamma - 1.0))
    at_zero, elsewhere = np.maximum(np.abs(slopes) - alphas, 0.0), np.abs(slopes - np.sign(coefs) * derivative)
    return float(np.max(np.where(coefs == 0.0, at_zero, elsewhere))) / problem.alpha_max


def efforts(peer: str, case: Case, target: float) -> tuple[float, ...]:
    """Tolerances in the peer's own meaning, from loose to strict."""
    if peer == "pycasso":  # a squared change of the coefficients
        return half_decades(1e-10, 1e-15)
    return tuple(target * share for share in (10.0, 3.0, 1.0, 0.3, 0.1, 0.01))  # a KKT residual over alpha_max


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    """The alternatives that were found to matter; the fastest of them on a case is timed."""
    if case.regression.n_alphas > 1:
        return [{}]
    return {
        "sparsemodels": [{"init": "lasso"}, {"init": "zero"}],
        "skglm": [{"p0": 10}, {"p0": 100}, {"ws_strategy": "fixpoint"}],
    }.get(peer, [{}])


def sparsemodels() -> Callable:
    from sparsemodels.linear_model import MCPRegressor, SCADRegressor, mcp_path, scad_path

    def fit(problem, effort, **setting):
        X, y, alphas, _ = problem.regression
        options = {"gamma": problem.gamma, "fit_intercept": False, "tol": effort, **setting}
        if len(alphas) > 1:
            path = mcp_path if problem.penalty == "mcp" else scad_path
            return path(X, y, alphas=alphas, **options).coefs
        kind = MCPRegressor if problem.penalty == "mcp" else SCADRegressor
        return kind(alphas[0], **options).fit(X, y).coef_

    return fit


def skglm() -> Callable:
    from skglm.datafits import Quadratic
    from skglm.penalties import SCAD, MCPenalty
    from skglm.solvers import AndersonCD
    from skglm.utils.jit_compilation import compiled_clone

    penalties = {
        "mcp": compiled_clone(MCPenalty(1.0, 3.0)),
        "scad": compiled_clone(SCAD(1.0, 3.7)),
    }
    datafit = compiled_clone(Quadratic())

    def fit(problem, effort, **setting):
        X, y, alphas, _ = problem.regression
        options = {"tol": effort * problem.alpha_max, "max_iter": 1000, "max_epochs": 100_000, **setting}
        solver = AndersonCD(fit_intercept=False, **options)
        penalty = penalties[problem.penalty]
        penalty.gamma = problem.gamma
        return solver.path(X, y, datafit, penalty, alphas=alphas)[1]

    return fit


def pycasso() -> Callable:
    from pycasso import Solver

    def fit(problem, effort):
        X, y, alphas, _ = problem.regression
        levels = alphas if len(alphas) > 1 else np.geomspace(problem.alpha_max, alphas[0], 10)
        solver = Solver(
            X,
            y,
            lambdas=levels,
            family="gaussian",
            penalty=problem.penalty,
            gamma=problem.gamma,
            useintercept=False,
            standardize=False,
            prec=effort,
            max_ite=100_000,
        )
        solver.train()
        coefs = np.asarray(solver.coef()["beta"]).T
        return coefs if len(alphas) > 1 else coefs[:, -1]

    return fit


PEERS = {"sparsemodels": sparsemodels, "skglm": skglm, "pycasso": pycasso}
