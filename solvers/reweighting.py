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


class AdaptiveSolver:
    """Solve a weighted LASSO, then again under weights from its solution; called level by level along a path.

    Every stage starts from its own solution at the level before, which is nearer than the stage before.

    Parameters
    ----------
    gamma : float
        The exponent of the weights.
    n_reweights : int
        How many times to reweight.

    Attributes
    ----------
    weights : ndarray of shape (n_features,)
        The penalty weights of the last stage of the last call.
    """

    def __init__(self, gamma: float, n_reweights: int):
        self.gamma, self.n_reweights = gamma, n_reweights
        self._starts: list[np.ndarray | None] = [None] * (n_reweights + 1)

    def __call__(
        self,
        problem: Composite,
        penalty: Any,
        *,
        tol: float = 1e-6,
        deadline: float = np.inf,
        candidates: np.ndarray | None = None,
        **options: Any,
    ) -> Solution:
        """Solve all stages at one level.

        Parameters
        ----------
        problem : Composite
            The problem.
        penalty : L1 or Box of L1
            The penalty of the pilot; its level is that of every stage.
        tol : float, default=1e-6
            The relative duality gap of the last stage.
        deadline : float, default=inf
            The time of :func:`time.monotonic` after which to return what there is.
        candidates : ndarray of int64, optional
            Features to take into the pilot's first working set.
        **options
            More options of :meth:`Composite.solve`.

        Returns
        -------
        Solution
            The last stage's solution, certified for its weights; `n_iter` counts all stages.
        """
        original = _l1(penalty)
        self.weights, stage, n_iter = original.weights, penalty, 0
        for k in range(self.n_reweights + 1):
            start = self._starts[k]
            if start is not None:
                problem.restart(np.where(np.isinf(self.weights), 0.0, start))
            # The weights amplify what a stage left open, so all but the last are solved to near rounding.
            stage_tol = tol if k == self.n_reweights else max(_PILOT * tol, _ROUNDING)
            solution = problem.solve(stage, tol=stage_tol, deadline=deadline, candidates=candidates, **options)
            self._starts[k], candidates = solution.coef, None
            n_iter += solution.n_iter
            if solution.status in ("interrupted", "time_limit", "stopped") or time.monotonic() > deadline:
                break
            if k < self.n_reweights:
                self.weights = adaptive_weights(solution.coef, original.weights, self.gamma)
                stage = L1(original.alpha, self.weights)
                stage = penalty._replace(penalty=stage) if isinstance(penalty, Box) else stage
        return solution._replace(n_iter=n_iter)
