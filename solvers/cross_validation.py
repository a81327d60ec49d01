"""Cross-validation of whole paths: the same folds for every level, and no copy of the design."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed

from .columns import combine
from .losses.functions import loss_value, reweighted
from .path import Path


class CrossValidation(NamedTuple):
    """Held-out losses along a path.

    Attributes
    ----------
    losses : ndarray of shape (n_alphas, n_folds)
        The weighted mean loss on the rows held out; NaN for levels that a fold did not reach.
    dual_gaps : ndarray of shape (n_alphas, n_folds)
        The duality gap of each fit.
    statuses : list of str
        The status of each fold's path.
    """

    losses: np.ndarray
    dual_gaps: np.ndarray
    statuses: list[str]


def cross_validate(
    X: Any,
    loss: Any,
    weights: np.ndarray,
    folds: Iterable[tuple[np.ndarray, np.ndarray]],
    n_alphas: int,
    fit_path: Callable[[Any], Path],
    *,
    n_jobs: int | None = None,
) -> CrossValidation:
    """Fit one path a fold and evaluate it on the rows held out.

    A fold is a vector of sample weights in which the rows held out weigh nothing; the design is shared by all folds.

    Parameters
    ----------
    X : ndarray or SparseColumns of shape (n_samples, n_features)
        The design.
    loss : NamedTuple
        The loss' record, on all rows.
    weights : ndarray of shape (n_samples,)
        Sample weights of all rows.
    folds : iterable of (train, test)
        Index arrays; drawn once by the caller, so that every level sees the same folds.
    n_alphas : int
        How many levels a path has.
    fit_path : callable
        From a fold's loss to its :class:`~sparsemodels.solvers.path.Path`.
    n_jobs : int, optional
        Threads; the result is the same for every number.

    Returns
    -------
    CrossValidation
        Losses and certificates by level and fold.

    Raises
    ------
    ValueError
        If all sample weights of a fold's training or test rows are zero.
    """

    def one(fold: int, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
        train_weights, test_weights = np.zeros_like(weights), np.zeros_like(weights)
        np.add.at(train_weights, train, weights[train])
        np.add.at(test_weights, test, weights[test])
        for name, part in (("training", train_weights), ("held-out", test_weights)):
            if not part.any():
                raise ValueError(f"sample_weight is zero on all {name} rows of fold {fold}; use fewer or other folds")
        path = fit_path(reweighted(loss, train_weights))
        held_out = reweighted(loss, test_weights)
        losses, gaps = np.full((2, n_alphas), np.nan)
        for k in range(path.alphas.size):
            support = np.flatnonzero(path.coefs[:, k])
            predictor = combine(X, support, path.coefs[support, k]) + path.intercepts[k]
            losses[k], gaps[k] = loss_value(held_out, predictor), path.dual_gaps[k]
        return losses, gaps, path.status

    results = Parallel(n_jobs=n_jobs, backend="threading")(
        delayed(one)(fold, train, test) for fold, (train, test) in enumerate(folds)
    )
    losses, gaps, statuses = zip(*results, strict=True)
    return CrossValidation(np.column_stack(losses), np.column_stack(gaps), list(statuses))


def choose_level(losses: np.ndarray) -> tuple[int, int]:
    """The level of the smallest mean loss, and the sparsest level within one standard error of it.

    Parameters
    ----------
    losses : ndarray of shape (n_alphas, n_folds)
        Held-out losses, the most regularised level first.

    Returns
    -------
    best : int
        The index of the level with the smallest mean.
    one_standard_error : int
        The index of the sparsest level within one standard error of it.

    References
    ----------
    L. Breiman, J. Friedman, R. Olshen, C. Stone, "Classification and Regression Trees", 1984, section 3.4.3.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.cross_validation import choose_level
    >>> choose_level(np.array([[9.0, 9.0], [2.0, 3.0], [1.0, 3.0], [2.0, 4.0]]))
    (2, 1)
    """
    mean = losses.mean(axis=1)
    best = int(np.nanargmin(mean))
    error = losses[best].std(ddof=1) / np.sqrt(losses.shape[1]) if losses.shape[1] > 1 else 0.0
    return best, int(np.flatnonzero(mean <= mean[best] + error)[0])
