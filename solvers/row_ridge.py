r"""Ridge regression of the rows of a partly observed matrix on the rows of a fixed factor.

One row :math:`f` of a factor, the other factor with rows :math:`k_j` fixed, minimises over its known entries j

.. math:: \tfrac12 \sum_j w_j (x_j - f \cdot k_j)^2 + \tfrac12 \rho \|f\|^2.

With biases the last columns of the two factors are the biases of rows and of columns: the row then fits
:math:`x_j - c_j` with :math:`(k_j, 1)`, :math:`c_j` being the last entry of its partner. The transposed matrix asks for
the same with the roles exchanged, so one update serves both factors.

Three ways lead to the minimum: a Cholesky factor of the row's r x r system, preconditioned conjugate gradients and
coordinate descent; the latter two start from the row as it is, take a few steps of a cost linear in r, and never raise
the objective.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from .kernel import kernel
from .observed_matrix import DenseMatrix, ObservedMatrix, SomeEntries, SparseMatrix, SparseRows

_FAST = {"contract", "reassoc", "nsz", "arcp"}
_TILE = 64  # entries gathered for one matrix product


class RowsSolved(NamedTuple):
    """What one update of all rows of a factor found.

    Attributes
    ----------
    loss : float
        Half the weighted sum of squared residuals after the update, without the penalty.
    kkt_squared : float
        At entry: the sum over rows and coordinates of squared gradient over curvature, in the units of the loss.
    """

    loss: float
    kkt_squared: float


def entries(matrix: ObservedMatrix) -> SomeEntries:
    """List the known entries of any observed matrix.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The matrix.

    Returns
    -------
    SomeEntries
        The same matrix, its known entries listed by rows and by columns; nothing is copied where they are listed
        already.
    """
    if isinstance(matrix, SomeEntries):
        return matrix
    if isinstance(matrix, SparseMatrix):
        raise TypeError("the zeros of a SparseMatrix are known entries: observe it with implicit=True, or dense")
    if isinstance(matrix, DenseMatrix):
        return SomeEntries(_complete_rows(matrix.X), _complete_rows(matrix.X.T))
    return SomeEntries(_all_but(matrix.X, matrix.unknown_rows), _all_but(matrix.X.T, matrix.unknown_columns))


def _complete_rows(X: np.ndarray) -> SparseRows:
    n_rows, n_columns = X.shape
    index = np.int32 if X.size < 2**31 else np.int64
    indices = np.tile(np.arange(n_columns, dtype=index), n_rows)
    indptr = np.arange(n_rows + 1, dtype=index) * index(n_columns)
    return SparseRows(X.ravel(), indices, indptr, n_columns, np.empty(0, dtype=X.dtype))


def _all_but(X: np.ndarray, unknown: SparseRows) -> SparseRows:
    complete = _complete_rows(X)
    keep = np.ones(X.size, dtype=bool)
    counts = np.diff(unknown.indptr)
    starts = np.repeat(np.arange(X.shape[0], dtype=np.int64) * X.shape[1], counts)
    keep[starts + unknown.indices] = False
    indptr = complete.indptr - unknown.indptr.astype(complete.indptr.dtype)
    return complete._replace(data=complete.data[keep], indices=complete.indices[keep], indptr=indptr)


def solve_rows(
    rows: SparseRows,
    F: np.ndarray,
    K: np.ndarray,
    ridge: np.ndarray,
    *,
    biased: bool = False,
    solver: str = "cholesky",
    n_steps: int = 3,
    n_jobs: int | None = None,
) -> RowsSolved:
    """Improve every row of a factor, the other factor fixed.

    Parameters
    ----------
    rows : SparseRows
        The known entries by the rows of `F`.
    F : ndarray of shape (n_rows, rank)
        The factor to improve, in C order, float32 or float64; changed in place.
    K : ndarray of shape (n_columns, rank)
        The fixed factor, in C order, of the same type.
    ridge : ndarray of shape (n_rows,)
        The penalty of each row, >= 0. A row without entries and penalty becomes zero.
    biased : bool, default=False
        Whether the last columns of `F` and `K` are biases.
    solver : {"cholesky", "cg", "coordinate_descent"}, default="cholesky"
        How a row is solved: exactly, or by `n_steps` steps or sweeps from where it stands.
    n_steps : int, default=3
        Steps of "cg", sweeps of "coordinate_descent"; 0 only measures.
    n_jobs : int, optional
        Threads over blocks of rows; the result is the same for any number, to the bit.

    Returns
    -------
    RowsSolved
        The loss after the update and the gradient before it.
    """
    n_rows, rank = F.shape
    losses, gradients = np.empty(n_rows), np.empty(n_rows)
    if solver == "cholesky" and n_steps > 0:
        update, width = _cholesky_rows, 0
    elif solver == "coordinate_descent":
        update, width = _descent_rows, int(np.diff(rows.indptr).max(initial=0))
    else:
        update, width = _gradient_rows, 0

    def block(first: int, last: int) -> None:
        scratch, tile = np.empty((rank, max(rank, width))), np.empty((_TILE + rank, rank))
        vectors = np.empty((6, max(rank, width, _TILE)))
        update(
            rows.data, rows.indices, rows.indptr, rows.weights, F, K, ridge, biased, n_steps, first, last,
            scratch, tile, vectors, losses, gradients,
        )  # fmt: skip

    n_blocks = min(effective_n_jobs(n_jobs), max(n_rows, 1))
    if n_blocks == 1:
        block(0, n_rows)
    else:
        Parallel(n_jobs=n_blocks, backend="threading")(
            delayed(block)(first, last) for first, last in _balanced(rows.indptr, n_blocks)
        )
    return RowsSolved(float(losses.sum()), float(gradients.sum()))


def _balanced(indptr: np.ndarray, n_blocks: int) -> list[tuple[int, int]]:
    """Blocks of rows with about the same number of entries."""
    cuts = np.searchsorted(indptr, np.linspace(0, indptr[-1], n_blocks + 1)[1:-1])
    edges = [0, *(int(cut) for cut in cuts), indptr.size - 1]
    return [(first, last) for first, last in pairwise(edges) if last > first]


@kernel(fastmath=_FAST)
def _fitted(f, k, biased):
    """The fitted value of an entry from the two rows."""
    rank = f.size - 1 if biased else f.size
    total = 0.0
    for a in range(rank):
        total += f[a] * k[a]
    return total + f[rank] + k[rank] if biased else total


@kernel(fastmath=_FAST)
def _row_loss(data, indices, weights, first, last, f, K, biased):
    total = 0.0
    for t in range(first, last):
        error = data[t] - _fitted(f, K[indices[t]], biased)
        total += (weights[t] if weights.size else 1.0) * error * error
    return 0.5 * total


@kernel(fastmath=_FAST)
def _row_system(data, indices, weights, first, last, K, biased, tile, value, part, gram, right):
    """The Gram matrix sum w k k^T and the right side sum w x k of a row, a tile of gathered entries at a time."""
    rank = right.size
    right[:] = 0.0
    gram[:, :] = 0.0
    for start in range(first, last, _TILE):
        size = min(_TILE, last - start)
        for s in range(size):
            t = start + s
            root = math.sqrt(weights[t]) if weights.size else 1.0
            gathered, k = tile[s], K[indices[t]]
            for a in range(rank):
                gathered[a] = root * k[a]
            value[s] = root * data[t]
            if biased:
                value[s] -= gathered[rank - 1]
                gathered[rank - 1] = root
            for a in range(rank):
                right[a] += value[s] * gathered[a]
        np.dot(tile[:size].T, tile[:size], part)
        for a in range(rank):
            for b in range(rank):
                gram[a, b] += part[a, b]


@kernel(fastmath=_FAST)
def _solve_positive(gram, right):
    """Overwrite the upper triangle by its Cholesky factor, four pivots at a time, and the right side by the solution.

    A pivot that is zero next to the diagonal (no ridge, and a direction that no entry sees) leaves its coordinate zero.
    """
    rank = right.size
    largest = 0.0
    for k in range(rank):
        largest = max(largest, gram[k, k])
    for start in range(0, rank, 4):
        stop = min(start + 4, rank)
        for k in range(start, stop):
            row = gram[k]
            for p in range(start, k):
                above = gram[p]
                factor = above[k]
                for b in range(k, rank):
                    row[b] -= factor * above[b]
                right[k] -= factor * right[p]
            scale = 1.0 / math.sqrt(row[k]) if row[k] > 1e-14 * largest else 0.0
            for b in range(k, rank):
                row[b] *= scale
            right[k] *= scale
        if stop < rank:
            p0, p1, p2, p3 = gram[start], gram[start + 1], gram[start + 2], gram[start + 3]
            r0, r1, r2, r3 = right[start], right[start + 1], right[start + 2], right[start + 3]
            for i in range(stop, rank):
                row, c0, c1, c2, c3 = gram[i], p0[i], p1[i], p2[i], p3[i]
                right[i] -= c0 * r0 + c1 * r1 + c2 * r2 + c3 * r3
                for b in range(i, rank):
                    row[b] -= c0 * p0[b] + c1 * p1[b] + c2 * p2[b] + c3 * p3[b]
    for k in range(rank - 1, -1, -1):
        row, total = gram[k], right[k]
        for b in range(k + 1, rank):
            total -= row[b] * right[b]
        right[k] = total / row[k] if row[k] > 0.0 else 0.0


@kernel(fastmath=_FAST)
def _cholesky_rows(
    data, indices, indptr, weights, F, K, ridge, biased, n_steps, first, last, gram, tile, vectors, losses, gradients
):
    """Every row's normal equations, solved exactly."""
    rank = F.shape[1]
    right, gradient = vectors[0, :rank], vectors[1, :rank]
    value, part = vectors[2], tile[_TILE:]
    for i in range(first, last):
        begin, end = indptr[i], indptr[i + 1]
        _row_system(data, indices, weights, begin, end, K, biased, tile, value, part, gram, right)
        for a in range(rank):
            gram[a, a] += ridge[i]
            gradient[a] = -right[a]
        for a in range(rank):
            gradient[a] += gram[a, a] * F[i, a]
            for b in range(a + 1, rank):
                gradient[a] += gram[a, b] * F[i, b]
                gradient[b] += gram[a, b] * F[i, a]
        total = 0.0
        for a in range(rank):
            if gram[a, a] > 0.0:
                total += gradient[a] * gradient[a] / gram[a, a]
        gradients[i] = total
        _solve_positive(gram, right)
        for a in range(rank):
            F[i, a] = right[a]
        losses[i] = _row_loss(data, indices, weights, begin, end, F[i], K, biased)


@kernel(fastmath=_FAST)
def _add_scaled(k, scale, biased, out):
    """Add a multiple of k, or of k with its bias replaced by one."""
    rank = k.size - 1 if biased else k.size
    for a in range(rank):
        out[a] += scale * k[a]
    if biased:
        out[rank] += scale


@kernel(fastmath=_FAST)
def _design_dot(k, f, biased):
    rank = k.size - 1 if biased else k.size
    total = 0.0
    for a in range(rank):
        total += k[a] * f[a]
    return total + f[rank] if biased else total


@kernel(fastmath=_FAST)
def _gradient_rows(
    data, indices, indptr, weights, F, K, ridge, biased, n_steps, first, last, scratch, tile, vectors, losses, gradients
):
    """A few steps of conjugate gradients in every row, preconditioned by the diagonal; with none, the measure alone."""
    rank = F.shape[1]
    f, residual, curvature = vectors[0, :rank], vectors[1, :rank], vectors[2, :rank]
    preconditioned, direction, product = vectors[3, :rank], vectors[4, :rank], vectors[5, :rank]
    for i in range(first, last):
        begin, end = indptr[i], indptr[i + 1]
        loss = 0.0
        for a in range(rank):
            f[a] = F[i, a]
            residual[a] = -ridge[i] * f[a]
            curvature[a] = ridge[i]
        for t in range(begin, end):
            weight = weights[t] if weights.size else 1.0
            k = K[indices[t]]
            error = data[t] - _fitted(f, k, biased)
            loss += weight * error * error
            _add_scaled(k, weight * error, biased, residual)
            for a in range(rank):
                curvature[a] += weight * k[a] * k[a]
            if biased:
                curvature[rank - 1] += weight * (1.0 - k[rank - 1] * k[rank - 1])
        measure = 0.0
        for a in range(rank):
            preconditioned[a] = residual[a] / curvature[a] if curvature[a] > 0.0 else 0.0
            direction[a] = preconditioned[a]
            measure += residual[a] * preconditioned[a]
        gradients[i] = measure
        losses[i] = 0.5 * loss
        if n_steps == 0 or not measure > 0.0:
            continue
        for _ in range(n_steps):
            for a in range(rank):
                product[a] = ridge[i] * direction[a]
            for t in range(begin, end):
                k = K[indices[t]]
                along = _design_dot(k, direction, biased)
                _add_scaled(k, (weights[t] if weights.size else 1.0) * along, biased, product)
            bend = 0.0
            for a in range(rank):
                bend += direction[a] * product[a]
            if not bend > 0.0:
                break
            step, following = measure / bend, 0.0
            for a in range(rank):
                f[a] += step * direction[a]
                residual[a] -= step * product[a]
                preconditioned[a] = residual[a] / curvature[a] if curvature[a] > 0.0 else 0.0
                following += residual[a] * preconditioned[a]
            if not following > 1e-30 * gradients[i]:
                break
            for a in range(rank):
                direction[a] = preconditioned[a] + following / measure * direction[a]
            measure = following
        for a in range(rank):
            F[i, a] = f[a]
        losses[i] = _row_loss(data, indices, weights, begin, end, F[i], K, biased)


@kernel(fastmath=_FAST)
def _descent_rows(
    data, indices, indptr, weights, F, K, ridge, biased, n_steps, first, last, columns, tile, vectors, losses, gradients
):
    """A few sweeps over the coordinates of every row, the residual of its entries kept."""
    rank = F.shape[1]
    error, weight = vectors[0], vectors[1]
    curvature, f = vectors[2, :rank], vectors[3, :rank]
    for i in range(first, last):
        begin, size = indptr[i], indptr[i + 1] - indptr[i]
        for a in range(rank):
            f[a] = F[i, a]
        for s in range(size):
            k = K[indices[begin + s]]
            error[s] = data[begin + s] - _fitted(f, k, biased)
            weight[s] = weights[begin + s] if weights.size else 1.0
            for a in range(rank):
                columns[a, s] = k[a]
            if biased:
                columns[rank - 1, s] = 1.0
        total = 0.0
        for a in range(rank):
            column, slope, bend = columns[a], -ridge[i] * f[a], ridge[i]
            for s in range(size):
                slope += weight[s] * error[s] * column[s]
                bend += weight[s] * column[s] * column[s]
            curvature[a] = bend
            if bend > 0.0:
                total += slope * slope / bend
        gradients[i] = total
        for _ in range(n_steps):
            for a in range(rank):
                column, slope = columns[a], -ridge[i] * f[a]
                for s in range(size):
                    slope += weight[s] * error[s] * column[s]
                if curvature[a] > 0.0:
                    step = slope / curvature[a]
                    f[a] += step
                    for s in range(size):
                        error[s] -= step * column[s]
        for a in range(rank):
            F[i, a] = f[a]
        losses[i] = _row_loss(data, indices, weights, begin, begin + size, F[i], K, biased)


@kernel(fastmath=_FAST)
def _residual_rows(data, indices, indptr, F, K, biased, out):
    for i in range(F.shape[0]):
        for t in range(indptr[i], indptr[i + 1]):
            out[t] = data[t] - _fitted(F[i], K[indices[t]], biased)


def residuals(rows: SparseRows, F: np.ndarray, K: np.ndarray, biased: bool = False) -> np.ndarray:
    """The residual of every known entry, in the order of `rows`, in float64.

    Parameters
    ----------
    rows : SparseRows
        The known entries by the rows of `F`.
    F, K : ndarray of shape (n_rows, rank) and (n_columns, rank)
        The factors.
    biased : bool, default=False
        Whether the last columns of the factors are biases.

    Returns
    -------
    ndarray of shape (n_entries,)
        Value minus fitted value.
    """
    out = np.empty(rows.data.size)
    _residual_rows(rows.data, rows.indices, rows.indptr, F, K, biased, out)
    return out
