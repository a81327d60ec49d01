r"""Folded concave penalties as an L1 norm plus something smooth, :math:`p_j(w) = \lambda_j |w| + h_j(w)`.

With :math:`\lambda_j = \alpha \omega_j`, h is concave and continuously differentiable: what a gradient method needs.
Functions of whole arrays of any library that follows the array API.
"""

import functools
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from .l1 import L1
from .mcp import MCP
from .scad import SCAD


@functools.singledispatch
def concave_gradient(penalty: Any, levels: Any, coef: Any) -> Any:
    """The gradient of the concave part h at all coefficients, given their levels as an array of the same library."""
    raise TypeError(f"{type(penalty).__name__} is no L1 norm plus a smooth concave function")


@functools.singledispatch
def concavity(penalty: Any) -> float:
    """The Lipschitz constant of the gradient of the concave part."""
    raise TypeError(f"{type(penalty).__name__} is no L1 norm plus a smooth concave function")


def thresholds(penalty: Any) -> np.ndarray:
    """The levels of all features; an infinite weight stays infinite at ``alpha = 0``."""
    excluded = np.isinf(penalty.weights)
    return np.where(excluded, np.inf, penalty.alpha * np.where(excluded, 0.0, penalty.weights))


@concave_gradient.register(L1)
def _(penalty, levels, coef):
    return array_namespace(coef).zeros_like(coef)


@concavity.register(L1)
def _(penalty):
    return 0.0


@concave_gradient.register(MCP)
def _(penalty, levels, coef):
    xp = array_namespace(coef)
    return -xp.sign(coef) * xp.minimum(xp.abs(coef) / penalty.gamma, levels)


@concavity.register(MCP)
def _(penalty):
    return 1.0 / penalty.gamma


@concave_gradient.register(SCAD)
def _(penalty, levels, coef):
    xp = array_namespace(coef)
    excess = xp.abs(coef) - levels
    excess = xp.where(excess > 0.0, excess, xp.zeros_like(coef)) / (penalty.gamma - 1.0)
    return -xp.sign(coef) * xp.minimum(excess, levels)


@concavity.register(SCAD)
def _(penalty):
    return 1.0 / (penalty.gamma - 1.0)
