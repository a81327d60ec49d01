"""Penalties: one file a penalty, each a record of its parameters and what can be done with it."""

from .box import Box
from .elastic_net import ElasticNet
from .functions import (
    conjugate,
    conjugate_domain,
    conjugate_maximizer,
    critical_alpha,
    prox,
    smooth_piece,
    subdifferential_distance,
    value,
    with_alpha,
)
from .l1 import L1

__all__ = [
    "L1",
    "Box",
    "ElasticNet",
    "conjugate",
    "conjugate_domain",
    "conjugate_maximizer",
    "critical_alpha",
    "prox",
    "smooth_piece",
    "subdifferential_distance",
    "value",
    "with_alpha",
]
