"""Real data small and free enough to ship, and generators of problems whose solution is known."""

from .diabetes import load_diabetes_quadratic
from .fermentation import load_fermentation
from .planted_lasso import make_planted_lasso
from .sparse_regression import make_sparse_regression

__all__ = [
    "load_diabetes_quadratic",
    "load_fermentation",
    "make_planted_lasso",
    "make_sparse_regression",
]
