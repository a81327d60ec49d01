"""Signals of which entries may be missing: validated once, for every estimator that codes them."""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_array, validate_data


def observed_signals(
    estimator: Any, X: Any, mask: Any = None, *, reset: bool, min_samples: int = 1
) -> tuple[np.ndarray, np.ndarray | None]:
    """Validate signals, NaN or a mask marking what is missing.

    Parameters
    ----------
    estimator : estimator
        On whose behalf: its name stands in messages, its number of features is set or checked.
    X : array-like of shape (n_samples, n_features)
        The signals. NaN marks missing entries.
    mask : array-like of bool of shape (n_samples, n_features), optional
        True where an entry is known. What stands elsewhere is never read.
    reset : bool
        Whether to set the number of features, as in `fit`, or to check it.
    min_samples : int, default=1
        The fewest signals.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features), C order, float64 or float32
        The signals, zero where they are missing.
    known : ndarray of shape (n_samples, n_features), bool, or None
        Which entries are known; None if all are.

    Raises
    ------
    ValueError
        If a known entry is not finite or a shape is wrong.
    """
    X = validate_data(
        estimator,
        X,
        dtype=(np.float64, np.float32),
        order="C",
        ensure_all_finite="allow-nan" if mask is None else False,
        ensure_min_samples=min_samples,
        reset=reset,
    )
    if mask is None:
        if np.isfinite(X.sum(dtype=np.float64)):
            return X, None
        known = ~np.isnan(X)
    else:
        known = check_array(mask, dtype=None, order="C")
        if known.shape != X.shape:
            raise ValueError(f"mask must have the shape of X, {X.shape}, got {known.shape}.")
        if known.dtype != bool:
            if not np.isin(known, (0, 1)).all():
                raise ValueError("mask must hold booleans: True where an entry is known.")
            known = known.astype(bool)
    X = np.where(known, X, X.dtype.type(0))
    if not np.isfinite(X.sum(dtype=np.float64)) and not np.isfinite(X).all():
        raise ValueError(
            f"Input X contains infinity or NaN at a known position, which {type(estimator).__name__} does not take."
        )
    return X, (None if known.all() else known)
