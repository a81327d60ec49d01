"""How far predicted entries of a matrix are from the true ones, entry by entry, as a factorization's loss sees it."""

from typing import Any

import numpy as np

from .beta_divergence import divergence

_BETAS = {"frobenius": 2.0, "kullback-leibler": 1.0, "itakura-saito": 0.0}
_ROBUST = ("correntropy", "huber", "l21", "cauchy")


def held_out_errors(loss: Any, values: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """The error of each held-out entry in the measure that belongs to a loss.

    Parameters
    ----------
    loss : str or float
        The loss of the factorization. For "frobenius" the squared error; for "kullback-leibler", "itakura-saito" and
        any other exponent beta their divergence; for the losses that tolerate outliers ("correntropy", "huber",
        "l21", "cauchy") the absolute error, which tolerates them too and has no scale to be chosen.
    values, predictions : ndarray of shape (n_entries,)
        The entries, and what is predicted for them. Where a divergence would be infinite at zero, what is zero counts
        as float64's machine epsilon times the mean of the values: a very bad prediction, but a finite one.

    Returns
    -------
    ndarray of shape (n_entries,), float64
        The errors.

    Raises
    ------
    ValueError
        If no measure is known for the loss.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.held_out_errors import held_out_errors
    >>> x, y = np.array([3.0, 1.0]), np.array([1.0, 1.0])
    >>> held_out_errors("frobenius", x, y)
    array([4., 0.])
    >>> held_out_errors("kullback-leibler", x, y).round(3)
    array([1.296, 0.   ])
    """
    x, y = np.asarray(values, dtype=np.float64), np.asarray(predictions, dtype=np.float64)
    if isinstance(loss, str) and loss in _ROBUST:
        return np.abs(x - y)
    beta = _BETAS.get(loss) if isinstance(loss, str) else loss
    if beta is None:
        raise ValueError(f"no measure of held-out entries is known for loss={loss!r}; give a function as scoring.")
    if beta == 2.0:
        return (x - y) ** 2
    floor = np.finfo(np.float64).eps * float(x.mean()) if x.size else 0.0
    if beta <= 1.0:
        y = np.maximum(y, floor)
    if beta <= 0.0:
        x = np.maximum(x, floor)
    return divergence(x, y, float(beta))
