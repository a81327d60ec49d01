r"""The point with the least sum of distances to given points.

Weiszfeld's iteration takes the mean of the points weighted by their inverse distances,
:math:`T(y) = \sum_i w_i x_i / \sum_i w_i, \; w_i = 1 / \|x_i - y\|`. Where y is one of the points itself, with
multiplicity h, the step is cut by Vardi and Zhang: with :math:`R = \sum_{x_i \ne y} w_i (x_i - y)`, y is optimal if
:math:`\|R\| \le h`, else it moves to :math:`(1 - h / \|R\|)\, T(y) + (h / \|R\|)\, y`. The sum of distances never
rises.

References
----------
Y. Vardi and C.-H. Zhang, "The multivariate L1-median and associated data depth", PNAS 97, 2000.
"""

from typing import NamedTuple

import numpy as np

from .row_blocks import map_blocks


class GeometricMedian(NamedTuple):
    r"""A geometric median with its certificate.

    Attributes
    ----------
    median : ndarray of shape (n_features,), float64
        The point.
    optimality : float
        How far the optimality condition is missed: :math:`\max(0, \|R\| - h) / n`, between 0 and 1.
    n_iter : int
        Iterations.
    converged : bool
        Whether `optimality` is at most the tolerance.
    """

    median: np.ndarray
    optimality: float
    n_iter: int
    converged: bool


def geometric_median(
    X: np.ndarray, *, tol: float = 1e-5, max_iter: int = 100, n_jobs: int | None = None
) -> GeometricMedian:
    """Find the geometric median of the rows of a matrix.

    Parameters
    ----------
    X : ndarray of shape (n_points, n_features)
        The points.
    tol : float, default=1e-5
        Stop once `optimality` is at most this.
    max_iter : int, default=100
        The most iterations.
    n_jobs : int, optional
        Threads over blocks of points.

    Returns
    -------
    GeometricMedian
        The point and its certificate.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.geometric_median import geometric_median
    >>> found = geometric_median(np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [4.0, 4.0]]))
    >>> found.median, found.converged
    (array([2., 2.]), True)
    """
    n_points, n_features = X.shape
    median = X.mean(axis=0, dtype=np.float64)
    tiny = 1e-12 * max(float(np.abs(X).max(initial=0.0)), np.finfo(np.float64).tiny)

    def sums(start: int, stop: int) -> tuple[np.ndarray, float, int]:
        offsets = X[start:stop] - median
        distances = np.sqrt(np.einsum("ij,ij->i", offsets, offsets))
        apart = distances > tiny
        weights = 1.0 / distances[apart]
        return weights @ offsets[apart], float(weights.sum()), int(np.count_nonzero(~apart))

    for n_iter in range(max_iter + 1):
        blocks = map_blocks(n_points, n_jobs, sums, block=4096)
        pull = sum((block[0] for block in blocks), np.zeros(n_features))
        weight, equal = sum(block[1] for block in blocks), sum(block[2] for block in blocks)
        force = float(np.linalg.norm(pull))
        optimality = max(0.0, force - equal) / n_points
        if optimality <= tol or n_iter == max_iter:
            break
        median = median + (1.0 - equal / force) * pull / weight
    return GeometricMedian(median, optimality, n_iter, optimality <= tol)
