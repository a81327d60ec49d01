"""Fitted models looked into: pictures in the manner of scikit-learn's Display classes, and explained predictions."""

from .coefficient_path import CoefficientPathDisplay
from .cross_validation_curve import CrossValidationDisplay
from .rank_selection import RankSelectionDisplay
from .representer_values import RepresenterValues, nuclear_representer_values, representer_values

__all__ = [
    "CoefficientPathDisplay",
    "CrossValidationDisplay",
    "RankSelectionDisplay",
    "RepresenterValues",
    "nuclear_representer_values",
    "representer_values",
]
