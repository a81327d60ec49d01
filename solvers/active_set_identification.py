r"""When a proximal method has found the zeros of the solution: what the theory bounds, and what was seen.

At the solution, the slope of a coordinate at a kink lies in the kink's subdifferential, with some room to its boundary.
The smallest room is the margin :math:`\delta`. Within the radius :math:`\delta / (2 L)` of the solution the slopes have
moved by less than half of it, and a proximal step of length at most 1 / L puts every such coordinate on its kink.
"""

from typing import Any, NamedTuple

import numpy as np

from .kernel import kernel
from .penalties.functions import smooth_piece, subdifferential_distance


class Identification(NamedTuple):
    r"""The identification of the active set.

    Attributes
    ----------
    margin : float
        :math:`\delta`, the smallest distance of a slope at a kink to the boundary of the subdifferential there; inf if
        no coordinate is at a kink. Zero where a coordinate is at a kink by coincidence only: then nothing is promised.
    radius : float
        :math:`\delta / (2 L)`: from a point this close, one proximal step of 1 / L or less finds every kink.
    lipschitz : float
        L, the largest eigenvalue of the Hessian or a bound of it.
    strong_convexity : float
        :math:`\mu`, the smallest eigenvalue or a bound; zero if unknown.
    iteration_bound : float
        :math:`\kappa \log(2 L \|w^0 - w^*\| / \delta)` with :math:`\kappa = L / \mu`: so many proximal gradient steps
        are enough, with a block of all coordinates; inf without strong convexity.
    observed : int
        The update after which no coordinate entered or left a kink any more.
    """

    margin: float
    radius: float
    lipschitz: float
    strong_convexity: float
    iteration_bound: float
    observed: int


@kernel
def _room(penalty, coef, slope, j, unit, sign):
    """How far the slope may move in one direction before it leaves the subdifferential."""
    reach = unit
    while reach < 1e15 * unit:
        outside = subdifferential_distance(penalty, coef, slope + sign * reach, j)
        if outside > 0.0:
            return max(reach - outside, 0.0)
        reach *= 8.0
    return np.inf


@kernel
def identification_margin(penalty, coef, slope):
    """The smallest room of a slope at a kink within its subdifferential.

    Parameters
    ----------
    penalty : NamedTuple
        The penalty's record.
    coef, slope : ndarray of shape (p,)
        A solution and its slope.

    Returns
    -------
    float
        The margin; inf if no coordinate is at a kink.
    """
    unit = 0.0
    for j in range(slope.size):
        unit = max(unit, abs(slope[j]))
    unit = unit if unit > 0.0 else 1.0
    margin = np.inf
    for j in range(coef.size):
        lower, upper, _, _ = smooth_piece(penalty, coef[j], j)
        if lower < coef[j] < upper:
            continue
        if subdifferential_distance(penalty, coef[j], slope[j], j) > 0.0:
            return 0.0  # not optimal yet
        for sign in (-1.0, 1.0):
            margin = min(margin, _room(penalty, coef[j], slope[j], j, unit, sign))
    return margin


def identification(
    penalty: Any,
    coef: np.ndarray,
    slope: np.ndarray,
    start_distance: float,
    lipschitz: float,
    strong_convexity: float,
    observed: int,
) -> Identification:
    r"""Report on the active set of a solution.

    Parameters
    ----------
    penalty : NamedTuple
        The penalty's record.
    coef, slope : ndarray of shape (p,)
        The solution and its slope.
    start_distance : float
        :math:`\|w^0 - w^*\|`.
    lipschitz, strong_convexity : float
        The largest and the smallest eigenvalue of the Hessian.
    observed : int
        The last update at which a coordinate entered or left a kink.

    Returns
    -------
    Identification
        Margin, radius and bound.
    """
    margin = float(identification_margin(penalty, coef, slope))
    radius = margin / (2.0 * lipschitz) if lipschitz > 0.0 else np.inf
    if start_distance <= radius:
        bound = 0.0
    elif radius == 0.0 or strong_convexity <= 0.0:
        bound = np.inf
    else:
        bound = lipschitz / strong_convexity * float(np.log(start_distance / radius))
    return Identification(margin, radius, lipschitz, strong_convexity, bound, observed)
