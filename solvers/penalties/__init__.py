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
from .fused import Fused
from .group import GroupNorm, group_norm
from .k_support import KSupport
from .l0 import L0
from .l1 import L1
from .mcp import MCP
from .perspective import Perspective
from .repeated import Repeated
from .scad import SCAD
from .slope import Slope

__all__ = [
    "L0",
    "L1",
    "MCP",
    "SCAD",
    "Box",
    "ElasticNet",
    "Fused",
    "GroupNorm",
    "KSupport",
    "Perspective",
    "Repeated",
    "Slope",
    "conjugate",
    "conjugate_domain",
    "conjugate_maximizer",
    "critical_alpha",
    "group_norm",
    "prox",
    "smooth_piece",
    "subdifferential_distance",
    "value",
    "with_alpha",
]
