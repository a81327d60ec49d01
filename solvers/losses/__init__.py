"""Losses: one file a loss, each a record of its data and what can be done with it."""

from .absolute import Absolute
from .functions import (
    conjugate_scale,
    curvature,
    fenchel_young,
    is_quadratic,
    loss_value,
    negative_gradient,
    reweighted,
)
from .gamma import Gamma
from .huber import Huber
from .logistic import Logistic
from .multinomial import Multinomial
from .offset import Offset
from .poisson import Poisson
from .quantile import Quantile
from .square_root import SquareRoot
from .squared import Squared

__all__ = [
    "Absolute",
    "Gamma",
    "Huber",
    "Logistic",
    "Multinomial",
    "Offset",
    "Poisson",
    "Quantile",
    "SquareRoot",
    "Squared",
    "conjugate_scale",
    "curvature",
    "fenchel_young",
    "is_quadratic",
    "loss_value",
    "negative_gradient",
    "reweighted",
]
