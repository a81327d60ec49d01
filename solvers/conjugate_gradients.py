r"""Preconditioned conjugate gradients for many right-hand sides at once, which leave as they converge."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

_FEWER = 0.75  # share of the right-hand sides that are left at which the others stop being carried along


class LinearSolution(NamedTuple):
    r"""Solutions of a linear system and how good they are.

    Attributes
    ----------
    X : ndarray of shape (n, n_right_hand_sides)
        The solutions.
    residuals : ndarray of shape (n_right_hand_sides,)
        Norms of their residuals R, :math:`(R^H P^{-1} R)^{1/2}` with the preconditioner P, relative to those of the
        right-hand sides. To the extent that P is A this is the error in the norm of A.
    n_products : int
        Columns that the operator was applied to.
    """

    X: np.ndarray
    residuals: np.ndarray
    n_products: int


def conjugate_gradients(
    apply: Callable[[np.ndarray], np.ndarray],
    B: np.ndarray,
    start: np.ndarray,
    *,
    diagonal: np.ndarray | None = None,
    tol: np.ndarray | float = 1e-6,
    max_iter: int = 1000,
) -> LinearSolution:
    """Solve ``A X = B`` for a Hermitian positive definite operator.

    Parameters
    ----------
    apply : callable
        The operator: from blocks of columns (n, k) to blocks of the same shape, each column for itself.
    B : ndarray of shape (n, n_right_hand_sides)
        Right-hand sides.
    start : ndarray of shape (n, n_right_hand_sides)
        Where to start; not changed.
    diagonal : ndarray of shape (n,), optional
        The diagonal of the operator or the like of it, > 0: the preconditioner.
    tol : float or ndarray of shape (n_right_hand_sides,), default=1e-6
        The residual to reach, relative to the right-hand side, both in the norm of the inverse preconditioner.
    max_iter : int, default=1000
        The most iterations.

    Returns
    -------
    LinearSolution
        The solutions, certified by their residuals.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.conjugate_gradients import conjugate_gradients
    >>> A = np.array([[2.0, 1.0], [1.0, 3.0]])
    >>> conjugate_gradients(lambda V: A @ V, np.array([[3.0], [4.0]]), np.zeros((2, 1))).X.round(6)
    array([[1.],
           [1.]])
    """
    X = np.array(start, dtype=np.result_type(B.dtype, start.dtype))
    started = bool(X.any())
    R = B - apply(X) if started else B.astype(X.dtype)
    n_products = B.shape[1] if started else 0
    inverse = np.ones((B.shape[0], 1)) if diagonal is None else (1.0 / diagonal)[:, None]
    scale = np.sqrt(_products(B, inverse * B))
    scale[scale == 0.0] = 1.0
    limit = np.broadcast_to(np.asarray(tol, dtype=np.float64), scale.shape) * scale
    residuals = np.sqrt(_products(R, inverse * R))
    left = np.flatnonzero(residuals > limit)
    x, r = X[:, left], R[:, left]
    direction, rho = inverse * r, residuals[left] ** 2
    for _ in range(max_iter):
        if not len(left):
            break
        image = apply(direction)
        n_products += len(left)
        curvature = _products(direction, image)
        step = np.divide(rho, curvature, out=np.zeros_like(rho), where=curvature > 0.0)
        x += step * direction
        r -= step * image
        z = inverse * r
        before, rho = rho, _products(r, z)
        residuals[left] = np.sqrt(rho)
        unfinished = residuals[left] > limit[left]
        direction *= np.divide(rho, before, out=np.zeros_like(rho), where=before > 0.0)
        direction += z
        if np.count_nonzero(unfinished) <= _FEWER * len(left):
            X[:, left] = x
            left, rho = left[unfinished], rho[unfinished]
            x, r, direction = x[:, unfinished], r[:, unfinished], direction[:, unfinished]
    X[:, left] = x
    return LinearSolution(X, residuals / scale, n_products)


def _products(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Inner products of columns with columns; real for the pairs that occur here."""
    if np.iscomplexobj(A):
        return np.einsum("ij,ij->j", A.real, B.real) + np.einsum("ij,ij->j", A.imag, B.imag)
    return np.einsum("ij,ij->j", A, B)
