"""Real data small and free enough to ship, and generators of problems whose solution is known."""

from .diabetes import load_diabetes_quadratic
from .fermentation import load_fermentation
from .hyperspectral import make_hyperspectral_scene
from .movielens import fetch_movielens_100k
from .planted_lasso import make_planted_lasso
from .ratings import make_ratings
from .sparse_regression import make_sparse_regression

__all__ = [
    "fetch_movielens_100k",
    "load_diabetes_quadratic",
    "load_fermentation",
    "make_hyperspectral_scene",
    "make_planted_lasso",
    "make_ratings",
    "make_sparse_regression",
]
