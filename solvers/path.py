"""Regularisation paths with warm starts: one problem, many levels of its penalty."""

import time
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import numpy as np

from .composite import Composite, Solution, run_alone
from .generic import require
from .path_problem import PathProblem
from .penalties.functions import with_alpha
from .penalties.vector_functions import kkt_distances, largest_critical_alpha, required_of_paths

# Excludes every penalised feature, and leaves its products with weights and steps finite.
_PROHIBITIVE = 1e150


class Path(NamedTuple):
    """Solutions along a decreasing sequence of levels, each with its certificate.

    Attributes
    ----------
    alphas : ndarray of shape (n_alphas,)
        The levels of the penalty, in the order solved.
    coefs : ndarray of shape (n_features, n_alphas)
        The coefficients.
    intercepts : ndarray of shape (n_alphas,)
        The intercepts.
    objectives : ndarray of shape (n_alphas,)
        The objective at each solution.
    dual_gaps : ndarray of shape (n_alphas,)
        An upper bound of each objective's distance to its minimum.
    kkts : ndarray of shape (n_alphas,)
        The KKT residuals.
    n_iters : ndarray of shape (n_alphas,), int
        Passes over the data for each level.
    null_objective : float
        The loss at zero coefficients: the scale of the tolerance.
    converged : bool
        Whether every level reached the tolerance.
    status : str
        "converged", or why the first level that did not reach the tolerance stopped. After "interrupted",
        "time_limit" and "stopped" the path ends with the last level begun.
    """

    alphas: np.ndarray
    coefs: np.ndarray
    intercepts: np.ndarray
    objectives: np.ndarray
    dual_gaps: np.ndarray
    kkts: np.ndarray
    n_iters: np.ndarray
    null_objective: float
    converged: bool
    status: str


def alpha_max(problem: Composite, penalty: Any, *, tol: float = 1e-10) -> float:
    """The smallest level at which every penalised coefficient is zero.

    Exact under penalty weights, bounds and an intercept: where features are unpenalised, the problem is first solved
    in these alone. Moves the problem's current point to that solution.

    Parameters
    ----------
    problem : Composite
        The problem.
    penalty : NamedTuple
        The penalty at any level.
    tol : float, default=1e-10
        The relative gap to which unpenalised features are fitted.

    Returns
    -------
    float
        The level; inf if none is large enough (a pure ridge penalty), 0 if there is nothing to penalise.
    """
    return run_alone(problem, alpha_max_passes(problem, penalty, tol=tol))


def alpha_max_passes(problem: Composite, penalty: Any, *, tol: float = 1e-10) -> Generator[None, None, float]:
    """The passes of :func:`alpha_max` as a coroutine, as :meth:`Composite.passes` are those of a solve.

    Parameters
    ----------
    problem, penalty, tol : object
        As in :func:`alpha_max`.

    Returns
    -------
    float
        The level.

    Yields
    ------
    None
        While the problem's slopes are stale.
    """
    require(penalty, required_of_paths(penalty), "the penalty")
    problem.restart()
    if problem.stale:
        yield
    excluded = with_alpha(penalty, _PROHIBITIVE)
    distances = np.empty(problem.n_features)
    if kkt_distances(excluded, problem.coef, problem.slope, problem.features, distances) > 0.0:
        yield from problem.passes(excluded, tol=tol)
        problem.refresh_all()
        if problem.stale:
            yield
    free = problem.coef != 0.0
    slope = np.where(free, 0.0, problem.slope)
    # A few units in the last place up: at this level the thresholds must not round to below the slopes.
    largest = float(largest_critical_alpha(penalty, slope) * (1.0 + 2.0**-50))
    return problem.refine_alpha_max(penalty, largest) if isinstance(problem, PathProblem) else largest


def alpha_grid(largest: float, n_alphas: int, eps: float) -> np.ndarray:
    """A geometric grid of levels from `largest` down to ``eps * largest``.

    Parameters
    ----------
    largest : float
        The first level, usually :func:`alpha_max`.
    n_alphas : int
        How many levels.
    eps : float
        The ratio of the last level to the first.

    Returns
    -------
    ndarray of shape (n_alphas,)
        The levels, decreasing.

    Examples
    --------
    >>> from sparsemodels.solvers.path import alpha_grid
    >>> alpha_grid(1.0, 3, 0.01).round(3)
    array([1.  , 0.1 , 0.01])
    """
    grid = largest * np.geomspace(1.0, eps, n_alphas)
    grid[0] = largest
    return grid


def _strong_set(problem: Composite, penalty: Any, alpha: float, previous: float) -> np.ndarray:
    """The sequential strong rule: features whose slope could reach the next threshold if slopes move as fast as it.

    The rule is a heuristic (Tibshirani et al., 2012); the KKT scores of the next pass catch what it leaves out. On
    coarse grids it would let everything in, so it never looks further than 15 % below the next level.
    """
    distances = np.empty(problem.n_features)
    level = with_alpha(penalty, max(2.0 * alpha - previous, 0.85 * alpha))
    kkt_distances(level, np.zeros(problem.n_features), problem.slope, problem.features, distances)
    return np.flatnonzero((distances > 0.0) | (problem.coef != 0.0))


def solve_path(
    problem: Composite,
    penalty: Any,
    alphas: np.ndarray,
    *,
    tol: float = 1e-6,
    max_iter: int = 1000,
    deadline: float = np.inf,
    solve: Callable[..., Solution] | None = None,
    on_alpha: Callable[[int, Solution], Any] | None = None,
) -> Path:
    """Solve for each level in turn, each from the solution before.

    Parameters
    ----------
    problem : Composite
        The problem; its working set and its current point are kept from level to level.
    penalty : NamedTuple
        The penalty; its level is replaced.
    alphas : ndarray of shape (n_alphas,)
        The levels, best in decreasing order.
    tol : float, default=1e-6
        The duality gap of every solution, relative to the loss at zero coefficients.
    max_iter : int, default=1000
        The largest number of passes over the data for each level.
    deadline : float, default=inf
        The time of :func:`time.monotonic` after which to return the levels done so far.
    solve : callable, optional
        Solves one level, ``solve(problem, penalty, **options)``; :meth:`Composite.solve` by default.
    on_alpha : callable, optional
        Called with the index and the solution of each level; a true result stops.

    Returns
    -------
    Path
        The solutions and their certificates.
    """
    passes = path_passes(
        problem, penalty, alphas, tol=tol, max_iter=max_iter, deadline=deadline, solve=solve, on_alpha=on_alpha
    )
    return run_alone(problem, passes)


def path_passes(
    problem: Composite,
    penalty: Any,
    alphas: np.ndarray,
    *,
    tol: float = 1e-6,
    max_iter: int = 1000,
    deadline: float = np.inf,
    solve: Callable[..., Solution] | None = None,
    on_alpha: Callable[[int, Solution], Any] | None = None,
) -> Generator[None, None, Path]:
    """The passes of :func:`solve_path` as a coroutine, as :meth:`Composite.passes` are those of one level.

    Parameters
    ----------
    problem, penalty, alphas, tol, max_iter, deadline, solve, on_alpha : object
        As in :func:`solve_path`.

    Returns
    -------
    Path
        The solutions and their certificates.

    Yields
    ------
    None
        While the problem's slopes are stale.
    """
    require(penalty, required_of_paths(penalty), "the penalty")
    coefs = np.zeros((problem.n_features, len(alphas)), order="F")
    solutions: list[Solution] = []
    previous = None
    for k, alpha in enumerate(alphas):
        candidates = None
        if previous is not None and alpha < previous:
            candidates = _strong_set(problem, penalty, alpha, previous)
        options: dict[str, Any] = {
            "tol": tol,
            "max_iter": max_iter,
            "deadline": deadline,
            "candidates": candidates,
        }
        if solve is None:
            solution = yield from problem.passes(with_alpha(penalty, alpha), **options)
        else:
            solution = solve(problem, with_alpha(penalty, alpha), **options)
        solutions.append(solution)
        coefs[:, k] = solution.coef
        stop = on_alpha is not None and on_alpha(k, solution)
        if solution.status in ("interrupted", "time_limit", "stopped"):
            break
        if stop or time.monotonic() > deadline:
            solutions[-1] = solution._replace(status="stopped" if stop else "time_limit")
            break
        previous = alpha
    done = len(solutions)
    statuses = [s.status for s in solutions]
    failures = [status for status in statuses if status != "converged"]

    def collect(name: str) -> np.ndarray:
        return np.array([getattr(s, name) for s in solutions])

    return Path(
        np.asarray(alphas, dtype=float)[:done],
        coefs[:, :done],
        collect("intercept"),
        collect("objective"),
        collect("dual_gap"),
        collect("kkt"),
        collect("n_iter"),
        problem.null_objective,
        all(s.converged for s in solutions) and done == len(alphas),
        failures[0] if failures else "converged",
    )
