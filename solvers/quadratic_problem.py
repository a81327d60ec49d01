r"""A convex quadratic plus a separable penalty, by its Hessian: checks, slopes, spectrum and certificates."""

from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg

from .block_updates import diagonal_entry
from .columns import SparseColumns, as_columns, column_axpy, shape
from .kernel import kernel
from .penalties.functions import conjugate_domain
from .penalties.vector_functions import dual_scale, has_conjugate, penalty_gap, penalty_value

_EIGENVALUES = 2000  # the order up to which the smallest eigenvalue is computed unasked


@kernel
def _clip_to_domain(penalty, slope, out):
    """The nearest slope with a finite conjugate, and the squared distance to it."""
    total = 0.0
    for j in range(slope.size):
        lower, upper = conjugate_domain(penalty, j)
        out[j] = min(max(slope[j], lower), upper)
        total += (slope[j] - out[j]) ** 2
    return total


@kernel
def _row_sums(H, out):
    """The sums of absolute values in each row of a symmetric SparseColumns."""
    for j in range(out.size):
        out[j] = 0.0
        for t in range(H.indptr[j], H.indptr[j + 1]):
            out[j] += abs(H.data[t])


@kernel
def _diagonal(H, out):
    for j in range(out.size):
        out[j] = diagonal_entry(H, j)


@kernel
def _multiply(H, coef, out):
    """Subtract H w."""
    for j in range(coef.size):
        if coef[j] != 0.0:
            column_axpy(H, j, -coef[j], out)


class QuadraticProblem:
    r"""The problem :math:`\min \tfrac12 w^T H w - q^T w + \sum_j p_j(w_j)`.

    Parameters
    ----------
    hessian : ndarray or sparse matrix of shape (p, p)
        H.
    linear : ndarray of shape (p,)
        The vector q.
    penalty : NamedTuple
        The penalty's record.
    squared_norm : float, optional
        The constant that makes the quadratic half of a squared norm.
    """

    def __init__(self, hessian: Any, linear: np.ndarray, penalty: Any, squared_norm: float | None):
        H = as_columns(hessian)
        rows, p = shape(H)
        if rows != p or linear.shape != (p,):
            raise ValueError(f"hessian must be square and match linear, got shapes {(rows, p)} and {linear.shape}.")
        self.sparse = isinstance(H, SparseColumns)
        if self.sparse:
            if H.data.dtype != np.float64:
                H = H._replace(data=H.data.astype(np.float64))
            matrix = scipy.sparse.csc_array((H.data, H.indices, H.indptr), shape=(p, p))
            asymmetry = abs(matrix - matrix.T).max() if p else 0.0
            finite, size = np.isfinite(H.data).all(), abs(H.data).max(initial=0.0)
            self.row_sums = np.empty(p)
            _row_sums(H, self.row_sums)
        else:
            # Symmetric: the transpose of a C-ordered matrix is itself, with its columns contiguous.
            H = np.asarray(H, dtype=np.float64)
            H = H if H.flags.f_contiguous else np.ascontiguousarray(H).T
            matrix = H
            finite = np.isfinite(H).all()
            asymmetry = max((np.abs(H[:, j] - H[j]).max() for j in range(p)), default=0.0)
            size = np.abs(H).max(initial=0.0)
            self.row_sums = np.abs(H).sum(axis=0)
        if not finite or not np.isfinite(linear).all():
            raise ValueError("hessian and linear must be finite.")
        if asymmetry > 1e-10 * size:
            raise ValueError(f"hessian must be symmetric, but two entries that should be equal differ by {asymmetry}.")
        self.H, self.matrix, self.p, self.q, self.penalty = H, matrix, p, linear, penalty
        self.diagonal = np.empty(p)
        _diagonal(H, self.diagonal)
        if np.any(self.diagonal < 0.0):
            raise ValueError("hessian must be positive semidefinite, and has a negative diagonal entry.")
        self.squared_norm = squared_norm
        self.convex = has_conjugate(penalty)
        self.features = np.arange(p)

    def spectrum(self, strong_convexity: float | None) -> tuple[float, float]:
        """The largest eigenvalue, or a bound, and the smallest, or zero."""
        gershgorin = float(self.row_sums.max(initial=0.0))
        if self.p <= _EIGENVALUES and strong_convexity is None:
            dense = self.matrix.toarray() if self.sparse else self.matrix
            values = scipy.linalg.eigvalsh(dense, check_finite=False)
            rounding = self.p * np.finfo(float).eps * max(values[-1], 0.0)
            return float(values[-1]) + rounding, max(float(values[0]) - rounding, 0.0)
        if self.p > 10:
            try:
                largest_value = scipy.sparse.linalg.eigsh(
                    self.matrix, k=1, which="LA", v0=np.ones(self.p), tol=1e-3, return_eigenvectors=False
                )[0]
                # Lanczos comes from below; its tolerance is a residual, which bounds the error.
                gershgorin = min(gershgorin, 1.01 * float(largest_value))
            except scipy.sparse.linalg.ArpackNoConvergence:
                pass
        if strong_convexity is None:
            strong_convexity = max(float((2.0 * self.diagonal - self.row_sums).min()), 0.0)
        return gershgorin, strong_convexity

    def slope(self, coef: np.ndarray) -> np.ndarray:
        """The slope q - H w, from scratch."""
        out = self.q.copy()
        _multiply(self.H, coef, out)
        return out

    def objective(self, coef: np.ndarray, slope: np.ndarray) -> float:
        """The objective at a point of known slope."""
        quadratic = -0.5 * float(coef @ (self.q + slope)) + 0.5 * (self.squared_norm or 0.0)
        return quadratic + penalty_value(self.penalty, coef, self.features)

    def gap(self, coef: np.ndarray, slope: np.ndarray, strong_convexity: float) -> float:
        """The smaller of two duality gaps: a multiple of the slope as dual point, or the slope made feasible."""
        gap = np.inf
        if not self.convex:
            return gap
        if self.squared_norm is not None:
            c = dual_scale(self.penalty, slope, self.features)
            residual_norm = max(self.squared_norm - float(coef @ (self.q + slope)), 0.0)
            gap = 0.5 * (1.0 - c) ** 2 * residual_norm
            gap += penalty_gap(self.penalty, coef, slope, self.features, c)
        if strong_convexity > 0.0:
            # With u the clipped slope, f(w) + f*(-u) + u'w = (s - u)' H^-1 (s - u) / 2.
            feasible = np.empty(self.p)
            squares = _clip_to_domain(self.penalty, slope, feasible)
            other = 0.5 * squares / strong_convexity
            gap = min(gap, other + penalty_gap(self.penalty, coef, feasible, self.features, 1.0))
        return float(gap)
