"""Pictures of fitted models, in the manner of scikit-learn's Display classes."""

from .coefficient_path import CoefficientPathDisplay
from .cross_validation_curve import CrossValidationDisplay

__all__ = ["CoefficientPathDisplay", "CrossValidationDisplay"]
