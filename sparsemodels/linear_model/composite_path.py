"""Regularisation paths as functions, from the arguments of the estimators."""

from numbers import Integral
from typing import Any

from sparsemodels.linear_model.composite_estimator import CompositeEstimator
from sparsemodels.linear_model.path_cross_validation import levels
from sparsemodels.solvers.path import Path


def composite_path(
    estimator: CompositeEstimator, X: Any, y: Any, *, alphas: Any, eps: float, sample_weight: Any
) -> Path:
    """Solve an estimator's problem for a sequence of levels, whatever its own `alpha`."""
    estimator._validate_params()
    if not 0.0 < eps < 1.0:
        raise ValueError(f"eps must lie in (0, 1), got {eps!r}.")
    if isinstance(alphas, Integral) and alphas < 1:
        raise ValueError(f"alphas must be a count >= 1 or an array, got {alphas!r}.")
    X, y, weights = estimator._validate(X, y, sample_weight)
    deadline = estimator._deadline()
    problem, penalty = estimator._problem(X, y, weights), estimator._penalty(X.shape[1])
    grid = levels(estimator._largest_level(problem, penalty), alphas, eps)
    problem.restart()
    return estimator._path(problem, penalty, grid, deadline)
