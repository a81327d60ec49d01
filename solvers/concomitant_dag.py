r"""Directed acyclic graphs by concomitant estimation (CoLiDE): a continuous path to a graph, and a certified fit on it.

The path (Saboksayr, Mateos and Tepper, ICLR 2024) minimises :math:`\mu S + h` for decreasing :math:`\mu`, with the
score S of :mod:`~sparsemodels.solvers.concomitant_scores` and h of :mod:`~sparsemodels.solvers.acyclicity`.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .acyclicity import acyclicity, strongest_acyclic_edges
from .concomitant_scores import concomitant_scales, fit_edges, residual_products
from .kernel import kernel

_MOMENTS = (0.9, 0.999)  # of Adam
_STEP = 5e-3  # in the units of a weight
_CHUNK = 100  # steps between two looks at objective and clock
_SETTLED = 1e-9  # relative change of the objective in a chunk

#: The central path: the weight of the score, and the radius s of the log-determinant's domain.
SCORE_WEIGHTS = (1.0, 0.1, 0.01, 0.001)
RADII = (1.0, 0.9, 0.8, 0.7)


class DirectedAcyclicGraph(NamedTuple):
    """An acyclic structural equation model and how good it is.

    Attributes
    ----------
    weights : ndarray of shape (d, d)
        W; entry (i, j) is the weight of the edge from i to j. Exactly acyclic.
    noise_scale : ndarray of shape (d,)
        The standard deviations of the noise.
    objective : float
        The score S of `weights`.
    dual_gap : float
        An upper bound of how far the score is above its minimum over all weights on the same edges.
    causal_order : ndarray of shape (d,)
        The variables, each after its parents.
    relaxed_weights : ndarray of shape (d, d)
        The end of the central path, before edges were dropped.
    acyclicity : float
        The acyclicity function h of `relaxed_weights` at the last radius; that of `weights` is zero.
    n_iter : int
        The steps along the path.
    converged : bool
        Whether the gap reached the tolerance, after a path that was not cut short.
    status : {"converged", "max_iter", "time_limit", "interrupted", "stopped"}
        Why the solver returned.
    """

    weights: np.ndarray
    noise_scale: np.ndarray
    objective: float
    dual_gap: float
    causal_order: np.ndarray
    relaxed_weights: np.ndarray
    acyclicity: float
    n_iter: int
    converged: bool
    status: str


@kernel
def path_value(covariance, weights, score_weight, radius, equal, floor, gradient, inverse, variances, scales):
    r"""The smooth part :math:`\mu S + h` of one stage of the path, and its gradient; inf outside of the domain.

    Parameters
    ----------
    covariance, weights : ndarray of shape (d, d)
        C and W.
    score_weight, radius : float
        The stage's :math:`\mu` and s.
    equal, floor : bool, float
        As for :func:`concomitant_scales`.
    gradient, inverse : ndarray of shape (d, d)
        Overwritten.
    variances, scales : ndarray of shape (d,)
        Overwritten.

    Returns
    -------
    float
        The value, without the penalty.
    """
    h = acyclicity(weights, radius, inverse)
    if h == np.inf:
        return np.inf
    d = weights.shape[0]
    residual_products(covariance, weights, gradient, variances)
    loss = concomitant_scales(variances, equal, floor, scales)
    for i in range(d):
        for j in range(d):
            gradient[i, j] = 2.0 * weights[i, j] * inverse[j, i] - score_weight * gradient[i, j] / scales[j]
    return score_weight * loss + h


@kernel
def path_steps(
    covariance, levels, weights, score_weight, radius, equal, floor, first, last, n_steps, state, step, memory, vectors
):  # fmt: skip
    """Proximal steps with Adam's preconditioner in one stage of the path; zeros are exact.

    A step that leaves the domain of the log-determinant is taken back, and the next ones are half as long.

    Parameters
    ----------
    covariance, levels : ndarray of shape (d, d)
        C, and the level of the penalty of each weight.
    weights : ndarray of shape (d, d)
        W, updated in place.
    score_weight, radius, equal, floor : float, float, bool, float
        As for :func:`path_value`.
    first, last, n_steps : int
        Where in the stage this chunk starts and ends, and how many steps the stage has: step lengths fall linearly.
    state : ndarray of shape (2,)
        The number of steps in the moments, and the factor of the step length.
    step : float
        The step length at the start of the stage, in the units of a weight.
    memory : ndarray of shape (5, d, d)
        The two moments, which are kept from chunk to chunk, and room.
    vectors : ndarray of shape (2, d)
        Room.

    Returns
    -------
    float
        The objective, with the penalty, before the last step.
    """
    d = weights.shape[0]
    mean, square, gradient, inverse, before = memory[0], memory[1], memory[2], memory[3], memory[4]
    value, penalty = np.inf, 0.0
    for t in range(first, last):
        new = path_value(
            covariance, weights, score_weight, radius, equal, floor, gradient, inverse, vectors[0], vectors[1]
        )
        if new == np.inf:
            weights[:] = before
            mean[:] = 0.0
            square[:] = 0.0
            state[0] = 0.0
            state[1] *= 0.5
            continue
        value = new
        before[:] = weights
        state[0] += 1.0
        length = step * state[1] * (1.0 - t / n_steps) / (1.0 - _MOMENTS[0] ** state[0])
        correction = 1.0 - _MOMENTS[1] ** state[0]
        penalty = 0.0
        for i in range(d):
            for j in range(d):
                if i == j:
                    continue
                slope = gradient[i, j]
                mean[i, j] = _MOMENTS[0] * mean[i, j] + (1.0 - _MOMENTS[0]) * slope
                square[i, j] = _MOMENTS[1] * square[i, j] + (1.0 - _MOMENTS[1]) * slope * slope
                penalty += levels[i, j] * abs(weights[i, j])
                scale = np.sqrt(square[i, j] / correction)
                if scale == 0.0:
                    continue
                point = weights[i, j] - length * mean[i, j] / scale
                threshold = step * state[1] * (1.0 - t / n_steps) / scale * score_weight * levels[i, j]
                weights[i, j] = np.sign(point) * max(abs(point) - threshold, 0.0)
    return value + score_weight * penalty


def concomitant_dag(
    covariance: np.ndarray,
    levels: np.ndarray,
    *,
    equal: bool,
    threshold: float = 0.3,
    floor: float = 0.0,
    max_iter: int = 2000,
    tol: float = 1e-8,
    deadline: float = np.inf,
    on_stage: Callable[[int], Any] | None = None,
) -> DirectedAcyclicGraph:
    r"""Estimate a directed acyclic graph by the central path, and the weights on its edges with a certificate.

    Four stages of proximal steps lead to a nearly acyclic W with exact zeros. Weights up to the threshold are dropped,
    then the weakest until the graph is acyclic, and the score is minimised over the edges that are left.

    Parameters
    ----------
    covariance : ndarray of shape (d, d)
        C. Its scale matters: the path weighs the score, which has the units of the data, against acyclicity. Noise
        scales near one are what it is made for.
    levels : ndarray of shape (d, d)
        The level of the penalty of each weight, in the units of C's roots.
    equal : bool
        Whether all variables have the same noise scale.
    threshold : float, default=0.3
        Relaxed weights of at most this size are no edges.
    floor : float, default=0.0
        The smallest noise scale.
    max_iter : int, default=2000
        The steps of each stage; the last one has twice as many.
    tol : float, default=1e-8
        The duality gap of the fit on the edges, relative to the score without edges.
    deadline : float, default=inf
        The time of :func:`time.monotonic` after which the path is cut short.
    on_stage : callable, optional
        Called with the stage after each; a true result cuts the path short.

    Returns
    -------
    DirectedAcyclicGraph
        The graph.
    """
    d = covariance.shape[0]
    relaxed = np.zeros((d, d))
    memory, vectors = np.zeros((5, d, d)), np.empty((2, d))
    n_iter, status = 0, ""
    try:
        for stage, (score_weight, radius) in enumerate(zip(SCORE_WEIGHTS, RADII)):
            n_steps = max_iter * (2 if stage == len(RADII) - 1 else 1)
            memory[:2] = 0.0
            memory[4] = relaxed
            state, previous = np.array([0.0, 1.0]), np.inf
            # The domain shrinks with the radius: shrink the weights into it.
            while acyclicity(relaxed, radius, memory[3]) == np.inf:
                relaxed *= 0.9
                memory[4] = relaxed
            for first in range(0, n_steps, _CHUNK):
                last = min(first + _CHUNK, n_steps)
                value = path_steps(
                    covariance, levels, relaxed, score_weight, radius, equal, floor, first, last, n_steps, state,
                    _STEP, memory, vectors,
                )  # fmt: skip
                n_iter += last - first
                if time.monotonic() > deadline:
                    status = "time_limit"
                    break
                if abs(previous - value) <= _SETTLED * abs(value):
                    break
                previous = value
            if on_stage is not None and on_stage(stage):
                status = status or "stopped"
            if status:
                break
    except KeyboardInterrupt:
        status = "interrupted"
    if acyclicity(relaxed, radius, memory[3]) == np.inf:  # the last step left the domain
        relaxed = memory[4].copy()
    h = float(acyclicity(relaxed, radius, memory[3]))
    edges, order = strongest_acyclic_edges(np.where(np.abs(relaxed) > threshold, relaxed, 0.0))
    weights, scales, objective, gap = fit_edges(
        covariance, levels, edges, equal=equal, floor=floor, tol=tol, weights=relaxed
    )
    empty = concomitant_scales(np.diag(covariance).copy(), equal, floor, np.empty(d))
    solved = gap <= max(tol, 1e-13) * empty
    status = status or ("converged" if solved else "max_iter")
    return DirectedAcyclicGraph(
        weights, scales, objective, gap, order, relaxed, h, n_iter, status == "converged", status
    )
