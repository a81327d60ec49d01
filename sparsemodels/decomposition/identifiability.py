"""When a nonnegative factorization is unique: the sufficiently scattered condition."""

import math
import time
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils import check_array

from sparsemodels.solvers.sufficiently_scattered import SufficientlyScattered, check_sufficiently_scattered

__all__ = ["SufficientlyScattered", "sufficiently_scattered"]

_METHODS = ("auto", "qhull", "branch_and_bound")


def sufficiently_scattered(
    H: Any, *, method: str = "auto", tol: float = 1e-7, time_limit: float | None = None
) -> SufficientlyScattered:
    r"""Decide whether the columns of a nonnegative matrix are sufficiently scattered.

    A factorization :math:`X = W H` with nonnegative factors of rank r is unique, up to the order and the scale of the
    components, if the columns of H and the rows of W are sufficiently scattered: spread so widely over the nonnegative
    orthant that no other simplicial cone lies between. If only the columns of H are, and they sum to one, the
    factorization of smallest volume of W is unique. The condition has two parts, with the largest circular cone inside
    the orthant, :math:`\mathcal{C} = \{x : e^T x \ge \sqrt{r - 1}\, \|x\|\}`:

    - SSC1: :math:`\mathcal{C} \subseteq \mathrm{cone}(H)`, that is, :math:`\|x\| \le 1` for every x with
      :math:`H^T x \ge 0` and :math:`e^T x = 1`;
    - SSC2: only unit vectors x attain :math:`\|x\| = 1`.

    Checking it is NP-hard in general. Here it is decided with a certificate, or reported as undecided.

    Parameters
    ----------
    H : array-like of shape (n_components, n_features)
        Nonnegative, such as ``components_``; for the codes pass ``W.T``. Only the directions of the columns matter:
        zero columns are ignored, and so is the scale of each column.
    method : {"auto", "qhull", "branch_and_bound"}, default="auto"
        How to find the largest norm. "qhull" lists all facets of the convex hull of the scaled columns: exact, and a
        matter of milliseconds for up to about seven components. "branch_and_bound" refutes by linear programs from many
        starts and proves by splitting boxes, one linear program each; columns with few nonzeros are decided in seconds
        for twenty components. "auto" takes the facets while there are few.
    tol : float, default=1e-7
        Squared norms within `tol` of one count as one, and points with a coordinate within ``2 * tol`` of one as the
        unit vector.
    time_limit : float, optional
        Seconds after which to return what is known; no limit by default. Qhull cannot be stopped.

    Returns
    -------
    SufficientlyScattered
        ``ssc1`` and ``ssc2``, each True, False or None for undecided; ``certificate``, the point x that refutes a
        condition that does not hold; ``value``, the largest squared norm met, and ``bound``, an upper bound.

    Raises
    ------
    ValueError
        If a parameter is out of range, or `H` has a negative entry or none that is positive.

    See Also
    --------
    NMF : The factorization.

    Notes
    -----
    The exact zeros of the columns carry the condition: for each k it takes at least r - 1 columns with a zero in row k.
    Multiplicative updates leave tiny positive numbers where zeros should be; set them to zero before the check. Columns
    measured with noise are, strictly, different columns: the answer is about `H` as it is given.

    A refuted SSC1 does not mean that the factorization is ambiguous: the condition is sufficient, not necessary.

    References
    ----------
    K. Huang, N. D. Sidiropoulos and A. Swami, "Non-negative matrix factorization revisited: uniqueness and algorithm
    for symmetric decomposition", IEEE Transactions on Signal Processing 62, 2014.

    N. Gillis and R. Luce, "Checking the sufficiently scattered condition using a global non-convex optimization
    software", IEEE Signal Processing Letters 31, 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.decomposition import sufficiently_scattered
    >>> H = np.array([[1, 1, 1, 0, 0, 0], [1, 0, 0, 1, 1, 0], [0, 1, 0, 1, 0, 1], [0, 0, 1, 0, 1, 1]])
    >>> result = sufficiently_scattered(H)
    >>> result.ssc1, result.ssc2
    (True, False)
    >>> result.certificate
    array([-0.5,  0.5,  0.5,  0.5])
    >>> sufficiently_scattered(np.hstack([H, np.eye(4)])).ssc2
    True
    """
    if method not in _METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, _METHODS))}, got {method!r}.")
    if not isinstance(tol, Real) or not 0.0 < tol <= 1e-2:
        raise ValueError(f"tol must be a number in (0, 0.01], got {tol!r}.")
    if time_limit is not None and (not isinstance(time_limit, Real) or not 0.0 < time_limit < math.inf):
        raise ValueError(f"time_limit must be None or a positive number of seconds, got {time_limit!r}.")
    H = check_array(H, dtype=np.float64, input_name="H")
    if H.min() < 0.0:
        raise ValueError(f"H must be nonnegative, got an entry of {H.min()}.")
    if H.max() == 0.0:
        raise ValueError("H must have an entry that is not zero, got a matrix of zeros.")
    deadline = np.inf if time_limit is None else time.monotonic() + float(time_limit)
    return check_sufficiently_scattered(H, method=method, tol=float(tol), deadline=deadline)
