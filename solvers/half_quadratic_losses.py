r"""Robust losses of a residual's norm, and the weights by which least squares minimises them.

Each loss :math:`\rho(e)` is a concave function of :math:`e^2`, hence below its tangent there,

.. math:: \rho(e) \le \rho(e_0) + \tfrac12 v(e_0)\,(e^2 - e_0^2), \qquad v(e) = \rho'(e) / e:

lowering the least squares with the weights v of the current residuals lowers the robust loss, and at the current
residuals both have the same gradient.

======================  ============================================  =========================
record                  :math:`\rho(e)`                                :math:`v(e)`
======================  ============================================  =========================
:class:`Correntropy`    :math:`\sigma^2 (1 - e^{-e^2 / 2\sigma^2})`    :math:`e^{-e^2/2\sigma^2}`
:class:`Cauchy`         :math:`\frac{\sigma^2}{2} \log(1 + e^2/\sigma^2)`  :math:`1 / (1 + e^2/\sigma^2)`
:class:`HuberNorm`      :math:`e^2/2` up to :math:`\sigma`, then       :math:`\min(1, \sigma / e)`
                        :math:`\sigma e - \sigma^2/2`
:class:`SmoothedNorm`   :math:`e` from :math:`\sigma` on, below        :math:`1 / \max(e, \sigma)`
                        :math:`e^2 / 2\sigma + \sigma/2`
======================  ============================================  =========================

Every one of them grows with its :math:`\sigma`: making that smaller never raises the loss.

References
----------
D. Geman and G. Reynolds, "Constrained restoration and the recovery of discontinuities", IEEE Transactions on Pattern
Analysis and Machine Intelligence 14, 1992 (half-quadratic minimisation); W. Liu, P. P. Pokharel and J. C. Principe,
"Correntropy: properties and applications in non-Gaussian signal processing", IEEE Transactions on Signal Processing 55,
2007.
"""

from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np


class Correntropy(NamedTuple):
    """One minus a Gaussian of the residual: nothing far out matters (also Welsch's loss).

    Attributes
    ----------
    sigma : float
        Its width, > 0.
    """

    sigma: float


class Cauchy(NamedTuple):
    """The logarithm of a Cauchy density: far out, every doubling of the residual costs the same.

    Attributes
    ----------
    sigma : float
        Its width, > 0.
    """

    sigma: float


class HuberNorm(NamedTuple):
    """Quadratic for small residuals and linear for large ones; convex.

    Attributes
    ----------
    sigma : float
        Where the one becomes the other, > 0.
    """

    sigma: float


class SmoothedNorm(NamedTuple):
    """The norm itself, with a quadratic in place of its tip: the l21 norm when summed over columns; convex.

    Attributes
    ----------
    sigma : float
        Where the quadratic ends, > 0; small beside the residuals.
    """

    sigma: float


LOSSES: dict[str, type] = {"correntropy": Correntropy, "cauchy": Cauchy, "huber": HuberNorm, "l21": SmoothedNorm}

# The width in units of the noise. For single entries, the factors that keep 95 % of the efficiency of least squares
# when the noise is Gaussian; for norms of many entries, which hardly vary, less separates the outliers.
_ENTRY_FACTORS = {"correntropy": 2.985, "cauchy": 2.385, "huber": 1.345, "l21": 1e-3}
_NORM_FACTORS = {"correntropy": 2.0, "cauchy": 2.0, "huber": 1.5, "l21": 1e-3}
_MEDIAN_OF_NORMAL = 0.6744897501960817  # of the absolute value of a standard normal variable


def automatic_width(name: str, squares: np.ndarray, entries: bool) -> float:
    """The width that suits the current residuals, by their median.

    Parameters
    ----------
    name : {"correntropy", "cauchy", "huber", "l21"}
        The loss.
    squares : ndarray
        The squared residual norms.
    entries : bool
        Whether they are those of single entries rather than of rows or columns.

    Returns
    -------
    float
        The width; zero if at least half of the residuals are.
    """
    median = float(np.sqrt(np.median(squares)))
    return median / _MEDIAN_OF_NORMAL * _ENTRY_FACTORS[name] if entries else median * _NORM_FACTORS[name]


@singledispatch
def robust_value(loss: Any, squares: np.ndarray) -> np.ndarray:
    """The loss at the residuals whose squares are given."""
    raise TypeError(f"not a robust loss: {type(loss).__name__}")


@singledispatch
def robust_weight(loss: Any, squares: np.ndarray) -> np.ndarray:
    """The weights of the residuals whose squares are given."""
    raise TypeError(f"not a robust loss: {type(loss).__name__}")


@robust_value.register
def _(loss: Correntropy, squares: np.ndarray) -> np.ndarray:
    return -(loss.sigma**2) * np.expm1(squares * (-0.5 / loss.sigma**2))


@robust_weight.register
def _(loss: Correntropy, squares: np.ndarray) -> np.ndarray:
    return np.exp(squares * (-0.5 / loss.sigma**2))


@robust_value.register
def _(loss: Cauchy, squares: np.ndarray) -> np.ndarray:
    return 0.5 * loss.sigma**2 * np.log1p(squares / loss.sigma**2)


@robust_weight.register
def _(loss: Cauchy, squares: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + squares / loss.sigma**2)


@robust_value.register
def _(loss: HuberNorm, squares: np.ndarray) -> np.ndarray:
    norms = np.sqrt(squares)
    return np.where(norms <= loss.sigma, 0.5 * squares, loss.sigma * (norms - 0.5 * loss.sigma))


@robust_weight.register
def _(loss: HuberNorm, squares: np.ndarray) -> np.ndarray:
    return loss.sigma / np.maximum(np.sqrt(squares), loss.sigma)


@robust_value.register
def _(loss: SmoothedNorm, squares: np.ndarray) -> np.ndarray:
    norms = np.sqrt(squares)
    return np.where(norms >= loss.sigma, norms, 0.5 * (squares / loss.sigma + loss.sigma))


@robust_weight.register
def _(loss: SmoothedNorm, squares: np.ndarray) -> np.ndarray:
    return 1.0 / np.maximum(np.sqrt(squares), loss.sigma)
