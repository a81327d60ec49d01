"""What a user must hear about a fit by evidence: that it is not stationary, or that the noise fell to its floor."""

import warnings
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from sparsemodels._remedies import REMEDIES


def warn_of_posterior(
    estimator: Any, *, kkt: float, tol: float, status: str, at_floor: bool = False, stacklevel: int = 3
) -> None:
    """Warn of a certificate above the tolerance, and of noise that was learned down to its floor.

    Parameters
    ----------
    estimator : estimator
        On whose behalf.
    kkt : float
        The certificate.
    tol : float
        What it should be at most.
    status : str
        Why the solver returned.
    at_floor : bool, default=False
        Whether the learned variance of the noise is at its floor.
    stacklevel : int, default=3
        Of the warnings.
    """
    name = type(estimator).__name__
    if status != "converged":
        warnings.warn(
            f"{name} stopped before its tolerance: kkt {kkt:.3e}, tol {tol:.3e}; "
            f"{REMEDIES.get(status, 'increase max_iter or tol')}.",
            ConvergenceWarning,
            stacklevel=stacklevel + 1,
        )
    if at_floor:
        warnings.warn(
            f"the noise variance that {name} learned fell to its floor, noise_floor times the variance of y: the "
            "model explains all of y. If the data are noisy, they were overfitted: give noise_variance or "
            "noise_prior, or raise noise_floor or threshold.",
            UserWarning,
            stacklevel=stacklevel + 1,
        )
