"""Iteratively reweighted L1: the adaptive LASSO."""

import time
from typing import Any

import numpy as np

from .composite import Composite, Solution
from .penalties import L1, Box

_PILOT, _ROUNDING = 1e-6, 1e-13


def adaptive_weights(coef: np.ndarray, weights: np.ndarray, gamma: float) -> np.ndarray:
    r"""Penalty weights from a pilot estimate, :math:`\omega_j (\bar w / |w_j|)^\gamma`.

    Parameters
    ----------
    coef : ndarray of shape (n_features,)
        The pilot estimate w.
    weights : ndarray of shape (n_features,)
        The weights :math:`\omega` of the pilot's penalty.
    gamma : float
        The exponent, > 0.

    Returns
    -------
    ndarray of shape (n_features,)
        The weights; infinite where the pilot is zero, unchanged where they are 0 or inf. The mean :math:`\bar w` of
        the penalised nonzero magnitudes makes them free of units: scaling the target scales the answer.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.reweighting import adaptive_weights
    >>> adaptive_weights(np.array([3.0, 1.0, 0.0]), np.ones(3), 1.0)
    array([0.66666667, 2.        ,        inf])
    """
    magnitude = np.abs(coef)
    penalised = (weights > 0.0) & np.isfinite(weights)
    chosen = penalised & (magnitude > 0.0)
    result = np.where(penalised, np.inf, weights)
    if chosen.any():
        result[chosen] = weights[chosen] * (magnitude[chosen].mean() / magnitude[chosen]) ** gamma
    return result


def _l1(penalty: Any) -> L1:
    inner = penalty.penalty if isinstance(penalty, Box) else penalty
    if not isinstance(inner, L1):
        raise TypeError(f"the adaptive LASSO reweights an L1 penalty, got {type(inner).__name__}")
    return inner


def solve_adaptive(
    problem: Composite,
    penalty: Any,
    *,
    gamma: float,
    n_reweights: int,
    tol: float = 1e-6,
    max_iter: int = 1000,
    deadline: float = np.inf,
    **options: Any,
) -> tuple[Solution, np.ndarray]:
    """Solve a weighted LASSO, then again under weights from its solution.

    Parameters
    ----------
    problem : Composite
        The problem.
    penalty : L1 or Box of L1
        The penalty of the pilot; its level is that of every stage.
    gamma : float
        The exponent of the weights.
    n_reweights : int
        How many times to reweight.
    tol : float, default=1e-6
        The relative duality gap of the last stage.
    max_iter : int, default=1000
        The largest number of passes over the data for each stage.
    deadline : float, default=inf
        The time of :func:`time.monotonic` after which to return what there is.
    **options
        More options of :meth:`Composite.solve`.

    Returns
    -------
    solution : Solution
        The last stage's solution, certified for its weights; `n_iter` counts all stages.
    weights : ndarray of shape (n_features,)
        The last stage's penalty weights.
    """
    original = _l1(penalty)
    weights, n_iter = original.weights, 0
    # The weights amplify what the pilot left open, so all stages but the last are solved to near rounding.
    tols = [max(_PILOT * tol, _ROUNDING)] * n_reweights + [tol]
    solution = problem.solve(penalty, tol=tols[0], max_iter=max_iter, deadline=deadline, **options)
    for stage_tol in tols[1:]:
        n_iter += solution.n_iter
        if solution.status in ("interrupted", "time_limit", "stopped") or time.monotonic() > deadline:
            break
        weights = adaptive_weights(solution.coef, original.weights, gamma)
        stage: Any = L1(original.alpha, weights)
        if isinstance(penalty, Box):
            stage = penalty._replace(penalty=stage)
        options = {**options, "candidates": None}
        solution = problem.solve(stage, tol=stage_tol, max_iter=max_iter, deadline=deadline, **options)
    else:
        n_iter += solution.n_iter
    return solution._replace(n_iter=n_iter), weights
