"""From the parameters of an estimator to the record of its sparse coder."""

from numbers import Integral, Real
from typing import Any

import numpy as np

from sparsemodels._base import Interval, StrOptions
from sparsemodels.solvers.coders import IHT, OLS, OMP, Coder, CoSaMP, LassoCD, LassoLARS, TopK

#: The names of the coders.
ALGORITHMS = ("omp", "ols", "lasso_cd", "lasso_lars", "iht", "cosamp", "topk", "abstopk")

#: Constraints of the parameters that describe a coder, for ``_parameter_constraints``.
CODING_CONSTRAINTS: dict[str, list[Any]] = {
    "algorithm": [StrOptions(set(ALGORITHMS))],
    "n_nonzero_coefs": [Interval(Integral, 1, None, closed="left"), None],
    "alpha": [Interval(Real, 0, None, closed="neither")],
    "max_residual": [Interval(Real, 0, None, closed="left"), None],
    "positive": ["boolean"],
}


def coder_of(
    algorithm: str,
    n_features: int,
    *,
    n_nonzero_coefs: int | None = None,
    alpha: float = 1.0,
    max_residual: float | None = None,
    positive: bool = False,
    normalize: bool = True,
    tol: float | None = None,
    max_iter: int | None = None,
) -> Coder:
    """The record of the coder with a given name.

    Parameters
    ----------
    algorithm : str
        One of ``ALGORITHMS``.
    n_features : int
        The length of the signals.
    n_nonzero_coefs : int, optional
        The most atoms of a signal. By default a tenth of `n_features`, at least one, and all that it takes where
        `max_residual` is given.
    alpha : float, default=1.0
        The weight of the penalty of the lasso.
    max_residual : float, optional
        The residual norm at which the pursuits stop.
    positive : bool, default=False
        Whether coefficients must be >= 0.
    normalize : bool, default=True
        Whether orthogonal matching pursuit compares atoms scaled to norm one.
    tol : float, optional
        The tolerance of the coders that iterate; their own by default.
    max_iter : int, optional
        The most iterations of a signal; their own by default.

    Returns
    -------
    OMP, OLS, LassoCD, LassoLARS, IHT, CoSaMP or TopK
        The record.

    Raises
    ------
    ValueError
        If the coder does not know an option that is set.
    """
    if max_residual is not None and algorithm not in ("omp", "ols"):
        raise ValueError(f"max_residual={max_residual} needs the coder 'omp' or 'ols', got {algorithm!r}.")
    if positive and algorithm == "abstopk":
        raise ValueError("positive=True contradicts the coder 'abstopk', which keeps signs: take 'topk'.")
    if n_nonzero_coefs is None:
        n_nonzero_coefs = n_features if max_residual is not None else max(1, n_features // 10)
    n_nonzero = int(n_nonzero_coefs)
    limits: dict[str, Any] = {"tol": tol, "max_iter": max_iter}
    limits = {name: value for name, value in limits.items() if value is not None}
    squared = 0.0 if max_residual is None else float(np.square(max_residual))
    match algorithm:
        case "omp":
            return OMP(n_nonzero, squared, positive, normalize)
        case "ols":
            return OLS(n_nonzero, squared, positive)
        case "lasso_cd":
            return LassoCD(float(alpha), positive, **limits)
        case "lasso_lars":
            limits.pop("tol", None)
            return LassoLARS(float(alpha), positive, **limits)
        case "iht":
            return IHT(n_nonzero, positive, **limits)
        case "cosamp":
            return CoSaMP(n_nonzero, positive, **limits)
    return TopK(n_nonzero, signed=algorithm == "abstopk")
