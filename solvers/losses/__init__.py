"""Losses: one file a loss, each a record of its data and what can be done with it."""

from .functions import curvature, fenchel_young, is_quadratic, loss_value, negative_gradient, reweighted
from .squared import Squared

__all__ = [
    "Squared",
    "curvature",
    "fenchel_young",
    "is_quadratic",
    "loss_value",
    "negative_gradient",
    "reweighted",
]
