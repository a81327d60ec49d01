r"""Multiplicative updates: every entry times the ratio of the two parts of its gradient.

With the gradient of the divergence split into two nonnegative sums over the known entries,

.. math:: f_a \leftarrow \min\Bigl(u,\; f_a \Bigl(\frac{\sum_j w_j x_j y_j^{\beta-2} k_{ja}}
    {\sum_j w_j y_j^{\beta-1} k_{ja} + \lambda + \rho f_a}\Bigr)^{\gamma}\Bigr), \qquad y_j = f \cdot k_j,

the objective never rises if :math:`\gamma` is small enough (:func:`monotone_exponent`). An entry that is zero stays
zero, and one that has to become zero only approaches it: starting points are lifted off zero (:func:`lift_zeros`), and
high accuracy is a matter for :mod:`~sparsemodels.solvers.divergence_newton`.

References
----------
D. D. Lee and H. S. Seung, "Algorithms for non-negative matrix factorization", NIPS 2000. C. Févotte and J. Idier,
"Algorithms for nonnegative matrix factorization with the beta-divergence", Neural Computation 23, 2011.
"""

import numpy as np

_LIFT = 1e-3


def monotone_exponent(beta: float, ridge: float = 0.0) -> float:
    r"""The exponent with which no multiplicative update raises the objective.

    The divergence lies below a sum of powers of the factors :math:`u_a` by which the entries change, which touches it
    at one. Replacing the increasing powers by the largest of them, and the decreasing ones by the smallest, keeps
    it above, and leaves two powers: :math:`\gamma` is one over the difference of their exponents. Without ridge that
    is the exponent of Févotte and Idier: 1 for beta from 1 to 2, :math:`1 / (2 - \beta)` below and
    :math:`1 / (\beta - 1)` above.

    Parameters
    ----------
    beta : float
        Which divergence.
    ridge : float, default=0.0
        The weight of half the sum of squares; only whether it is positive matters.

    Returns
    -------
    float
        The exponent, in (0, 1].

    Examples
    --------
    >>> from sparsemodels.solvers.multiplicative_updates import monotone_exponent
    >>> monotone_exponent(0.0), monotone_exponent(1.0), monotone_exponent(3.0), monotone_exponent(1.0, ridge=2.0)
    (0.5, 1.0, 0.5, 0.5)
    """
    largest = max(beta - 1.0, 1.0 if ridge > 0.0 else 0.0)  # of the gradient's parts that grow with u
    smallest = min(beta - 2.0, 0.0)
    return 1.0 / (largest - smallest)


def lift_zeros(F: np.ndarray) -> np.ndarray:
    """Raise the zeros of a factor to a thousandth of its mean, in place: multiplicative updates cannot leave zero.

    Parameters
    ----------
    F : ndarray
        A factor >= 0.

    Returns
    -------
    ndarray
        The same array; all ones if there was nothing but zeros.
    """
    mean = F.mean(dtype=np.float64)
    F[F == 0.0] = _LIFT * mean if mean > 0.0 else 1.0
    return F
