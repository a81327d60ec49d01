"""Best subsets of several sizes, as a function."""

from typing import Any

import numpy as np

from sparsemodels.linear_model.best_subset import BestSubsetRegressor
from sparsemodels.linear_model.best_subset_classifier import BestSubsetClassifier
from sparsemodels.solvers.best_subset import BestSubset
from sparsemodels.solvers.columns import as_columns

__all__ = ["best_subset_path"]


def best_subset_path(
    X: Any, y: Any, *, sizes: Any = None, loss: str = "squared", sample_weight: Any = None, **parameters: Any
) -> BestSubset:
    """Find the best subsets of several sizes.

    The subset of a size is never worse than the one that a fit of this size alone finds: neighbouring sizes only add
    starting points for each other.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples.
    y : array-like of shape (n_samples,)
        Targets, or labels of two classes.
    sizes : int or array-like of int, default=None
        The numbers of features; an int is all from zero to it. None means zero to a tenth of the features, but at
        least five if there are so many, and thirty at most.
    loss : {"squared", "logistic"}, default="squared"
        The loss of :class:`BestSubsetRegressor` or of :class:`BestSubsetClassifier`.
    sample_weight : array-like of shape (n_samples,), optional
        Weights >= 0.
    **parameters : dict
        Further parameters of the estimator but `n_nonzero_coefs`.

    Returns
    -------
    BestSubset
        Named tuple of `sizes`, `supports`, `coefs` of shape (n_features, n_sizes), `intercepts`, `objectives`,
        `lower_bounds`, `null_objective`, `n_moves`, `n_nodes` and `statuses`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sparsemodels.linear_model import best_subset_path
    >>> X, y = load_diabetes(return_X_y=True)
    >>> path = best_subset_path(X, y, sizes=3)
    >>> path.supports
    [array([], dtype=int64), array([2]), array([2, 8]), array([2, 3, 8])]
    """
    if loss not in ("squared", "logistic"):
        raise ValueError(f"loss must be 'squared' or 'logistic', got {loss!r}.")
    kind: Any = BestSubsetRegressor if loss == "squared" else BestSubsetClassifier
    estimator = kind(**parameters)
    estimator._validate_params()
    X, y, weights = estimator._validate(X, y, sample_weight)
    grid = check_sizes(sizes, X.shape[1])
    record = estimator._loss(y, weights / weights.sum())
    return estimator._search(as_columns(X), record, grid, bool(estimator.certify), estimator._deadline())


def check_sizes(sizes: Any, n_features: int) -> np.ndarray:
    """Increasing numbers of features from what the user gave."""
    if sizes is None:
        return np.arange(min(max(n_features // 10, 5), 30, n_features) + 1)
    try:
        grid = np.asarray(sizes)
        whole = grid.astype(np.int64)
    except (TypeError, ValueError):
        raise ValueError(f"sizes must be whole numbers, got {sizes!r}.") from None
    if grid.ndim > 1 or grid.size == 0 or np.any(whole != grid):
        raise ValueError(f"sizes must be a whole number or a non-empty 1-D array of them, got {sizes!r}.")
    if whole.min() < 0 or whole.max() > n_features:
        wrong = whole.min() if whole.min() < 0 else whole.max()
        raise ValueError(f"sizes must lie between 0 and the number of features, {n_features}, got {wrong}.")
    return np.arange(int(whole) + 1) if grid.ndim == 0 else np.unique(whole)
