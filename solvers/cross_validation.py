"""Cross-validation of whole paths: the same folds for every level, and no copy of the design."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from .columns import combine
from .losses.functions import loss_value, reweighted
from .path import Path
from .simultaneous import Design, run_together


class CrossValidation(NamedTuple):
    """Held-out losses along a path.

    Attributes
    ----------
    losses : ndarray of shape (n_alphas, n_folds)
        The weighted mean loss on the rows held out; NaN for levels that a fold did not reach.
    dual_gaps : ndarray of shape (n_alphas, n_folds)
        The duality gap of each fit.
    kkts : ndarray of shape (n_alphas, n_folds)
        The KKT residual of each fit.
    statuses : list of str
        The status of each fold's path.
    """

    losses: np.ndarray
    dual_gaps: np.ndarray
    kkts: np.ndarray
    statuses: list[str]


def cross_validate(
    X: Any,
    loss: Any,
    weights: np.ndarray,
    folds: Iterable[tuple[np.ndarray, np.ndarray]],
    n_alphas: int,
    fit_path: Callable[[Any], Any],
    *,
    n_jobs: int | None = None,
    design: Design | None = None,
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
        From a fold's loss to its :class:`~sparsemodels.solvers.path.Path`; with a `design`, to a problem over it and
        the coroutine of its path.
    n_jobs : int, optional
        Threads; the result is the same for every number.
    design : Design, optional
        What the folds share: they are then solved side by side, and one product serves the gradients of all.

    Returns
    -------
    CrossValidation
        Losses and certificates by level and fold.

    Raises
    ------
    ValueError
        If all sample weights of a fold's training or test rows are zero.
    """
    losses: list[Any] = []
    held_out: list[Any] = []
    for fold, rows in enumerate(folds):
        for name, part, record in zip(("training", "held-out"), rows, (losses, held_out), strict=True):
            chosen = np.zeros_like(weights)
            np.add.at(chosen, part, weights[part])
            if not chosen.any():
                raise ValueError(f"sample_weight is zero on all {name} rows of fold {fold}; use fewer or other folds")
            record.append(reweighted(loss, chosen))

    def fit(chosen: np.ndarray) -> list[tuple[np.ndarray, str]]:
        if design is None:
            paths = [fit_path(losses[fold]) for fold in chosen]
        else:
            paths = run_together(design, [partial(fit_path, losses[fold]) for fold in chosen])
        return [_evaluate(X, held_out[fold], path, n_alphas) for fold, path in zip(chosen, paths, strict=True)]

    n_blocks = len(losses) if design is None else min(effective_n_jobs(n_jobs), len(losses))
    blocks = np.array_split(np.arange(len(losses)), n_blocks)
    results = Parallel(n_jobs=n_jobs, backend="threading")(delayed(fit)(block) for block in blocks)
    tables, statuses = zip(*(result for block in results for result in block), strict=True)
    errors, gaps, kkts = np.stack(tables, axis=-1)
    return CrossValidation(errors, gaps, kkts, list(statuses))


def _evaluate(X: Any, held_out: Any, path: Path | None, n_alphas: int) -> tuple[np.ndarray, str]:
    """The losses on the rows held out, the gaps and KKT residuals, and the status of one fold's path."""
    table = np.full((3, n_alphas), np.nan)
    if path is None:
        return table, "interrupted"
    done = path.alphas.size
    for k in range(done):
        table[0, k] = loss_value(held_out, _predictor(X, path.coefs[:, k], path.intercepts[k]))
    table[1, :done], table[2, :done] = path.dual_gaps, path.kkts
    return table, path.status


def _predictor(X: Any, coef: np.ndarray, intercept: Any) -> np.ndarray:
    """The linear predictor; with several intercepts, one response after the other."""
    support = np.flatnonzero(coef)
    linear = combine(X, support, coef[support])
    return linear + np.repeat(intercept, linear.size // np.size(intercept))


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
