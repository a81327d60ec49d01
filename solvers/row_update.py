r"""The half-step of every alternating factorization: nonnegative least squares for all rows of one factor.

With the other factor K fixed, the rows of F are problems of their own,

.. math:: \min_{0 \le f \le u_i} \; \tfrac12 \sum_j w_{ij} (x_{ij} - f \cdot k_j)^2 + \lambda_i \sum_a f_a
    + \tfrac12 \rho_i \|f\|^2 - p_i \cdot f
    \;=\; \tfrac12 f^\top (G_i + \rho_i I) f - (b_i + p_i - \lambda_i)^\top f + \text{constant},

with :math:`G_i = \sum_j w_{ij} k_j k_j^\top` and :math:`b_i = \sum_j w_{ij} x_{ij} k_j`. Every penalty is an edit of
this small system. Where all entries are known, :math:`G = K^\top K` is one for all rows and the :math:`b_i` are one
matrix product. Coordinate descent on the rows (hierarchical alternating least squares, HALS) costs
:math:`r^2` a sweep, next to :math:`n r` for the product: several sweeps are cheap. Many rows are swept
together, one a vector lane.

References
----------
N. Gillis and F. Glineur, "Accelerated multiplicative updates and hierarchical ALS algorithms for nonnegative matrix
factorization", Neural Computation 24, 2012.
"""

from collections.abc import Callable, Iterator
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np

from .block_principal_pivoting import pivot_rows
from .kernel import kernel
from .observed_matrix import DenseMatrix, MostEntries, SparseMatrix, power_sum, shape
from .row_blocks import map_blocks

_LANES = 64  # rows swept together: whole vector registers, and loops long enough to be worth their start
_BLOCK = 1024  # rows of one task: fixed, so that no answer depends on the number of workers


class RowTerms(NamedTuple):
    """What is added to the least squares of each row: one number a row each.

    Attributes
    ----------
    l1 : ndarray of shape (n_rows,)
        Weight of the sum of the row.
    ridge : ndarray of shape (n_rows,)
        Weight of half its squared norm.
    upper : ndarray of shape (n_rows,)
        Upper bound of its entries; can be infinite.
    pull : ndarray of shape (n_rows, n_components) or (0, n_components)
        A linear reward of its entries; empty for none.
    """

    l1: np.ndarray
    ridge: np.ndarray
    upper: np.ndarray
    pull: np.ndarray


class RowsUpdate(NamedTuple):
    """What an update of all rows measured.

    Attributes
    ----------
    loss : float
        Half the weighted squared error over the known entries after the update, without penalties.
    kkt_squared : float
        How far the rows were from optimal before it: the sum over all entries of the curvature times the square of
        the entry's own best step.
    n_sweeps : int
        The most sweeps that any row took.
    """

    loss: float
    kkt_squared: float
    n_sweeps: int


def no_terms(n_rows: int, n_components: int) -> RowTerms:
    """Plain nonnegative least squares: no penalty and no upper bound."""
    nothing = np.zeros(n_rows)
    return RowTerms(nothing, nothing, np.full(n_rows, np.inf), np.empty((0, n_components)))


@kernel(fastmath={"contract", "nsz"})
def sweep_rows(G, B, F, l1, ridge, upper, pull, max_sweeps, delta, totals):
    """Sweep blocks of rows that share one Gram matrix, in place.

    Parameters
    ----------
    G : ndarray of shape (n_components, n_components), float64
        The Gram matrix of the other factor.
    B : ndarray of shape (n_rows, n_components)
        The right-hand sides.
    F : ndarray of shape (n_rows, n_components)
        The rows, changed in place.
    l1, ridge, upper : ndarray of shape (n_rows,), float64
        As in :class:`RowTerms`.
    pull : ndarray of shape (n_rows or 0, n_components), float64
        As in :class:`RowTerms`.
    max_sweeps : int
        The most sweeps; 0 only measures.
    delta : float
        Stop once a sweep lowers the objective by less than `delta` squared of what the first one did.
    totals : ndarray of shape (3,)
        Adds up: the inner product of the rows with gradient minus right-hand side (for the loss); the squared
        KKT residual at entry; and keeps the most sweeps.
    """
    n_rows, r = F.shape
    step, drop = np.zeros(_LANES), np.zeros(_LANES)
    lanes = step.size  # not a constant: the compiler would unroll loops over one before it thinks of vectors
    f = np.zeros((r, lanes))
    g = np.zeros((r, lanes))
    inverse = np.zeros((r, lanes))  # of the curvatures; a division would cost as much as ten entries

    low_l1 = np.zeros(lanes)
    diagonal = np.ones(lanes)
    top = np.zeros(lanes)
    for first in range(0, n_rows, lanes):
        width = min(lanes, n_rows - first)
        for lane in range(width):
            low_l1[lane] = l1[first + lane]
            diagonal[lane] = ridge[first + lane]
            top[lane] = upper[first + lane]
            for a in range(r):
                f[a, lane] = F[first + lane, a]
                g[a, lane] = low_l1[lane] - B[first + lane, a] + diagonal[lane] * f[a, lane]
                if pull.shape[0] > 0:
                    g[a, lane] -= pull[first + lane, a]
        for lane in range(width, lanes):  # idle lanes stand still
            low_l1[lane], diagonal[lane], top[lane] = 0.0, 1.0, np.inf
            f[:, lane] = 0.0
            g[:, lane] = 0.0
        for a in range(r):
            for b in range(r):
                weight = G[a, b]
                for lane in range(lanes):
                    g[b, lane] += weight * f[a, lane]
        drop[:] = 0.0
        for a in range(r):
            for lane in range(lanes):
                curvature = G[a, a] + diagonal[lane]
                # Where nothing depends on an entry it stays; where only the l1 penalty does, it goes to zero.
                inverse[a, lane] = 1.0 / curvature if curvature > 0.0 else (np.inf if g[a, lane] > 0.0 else 0.0)
                if curvature > 0.0:
                    move = min(max(f[a, lane] - g[a, lane] * inverse[a, lane], 0.0), top[lane]) - f[a, lane]
                    drop[lane] += curvature * move * move
        totals[1] += drop.sum()
        sweeps = 0
        first_decrease = 0.0
        while sweeps < max_sweeps:
            drop[:] = 0.0
            for a in range(r):
                weight = G[a, a]
                for lane in range(lanes):
                    old = f[a, lane]
                    new = min(max(old - g[a, lane] * inverse[a, lane], 0.0), top[lane])
                    f[a, lane] = new
                    step[lane] = new - old
                    drop[lane] += (weight + diagonal[lane]) * step[lane] * step[lane]
                for b in range(r):
                    weight = G[a, b]
                    for lane in range(lanes):
                        g[b, lane] += weight * step[lane]
                for lane in range(lanes):
                    g[a, lane] += diagonal[lane] * step[lane]
            decrease = drop.sum()
            sweeps += 1
            if sweeps == 1:
                first_decrease = decrease
            if decrease <= delta * delta * first_decrease:
                break
        totals[2] = max(totals[2], sweeps)
        loss = 0.0
        for lane in range(width):
            i = first + lane
            for a in range(r):
                value = f[a, lane]
                if value != 0.0:
                    plain = g[a, lane] - low_l1[lane] - diagonal[lane] * value
                    if pull.shape[0] > 0:
                        plain += pull[i, a]
                    loss += value * (plain - B[i, a])
                if max_sweeps > 0:
                    F[i, a] = value
        totals[0] += loss


class NormalEquations(NamedTuple):
    """What the rows' least squares keep of a complete matrix and a fixed factor, to be solved more than once.

    Attributes
    ----------
    G : ndarray of shape (n_components, n_components), float64
        The Gram matrix of the fixed factor.
    B : ndarray of shape (n_rows, n_components)
        The products of the matrix with it.
    """

    G: np.ndarray
    B: np.ndarray


@singledispatch
def products(matrix: Any, K: np.ndarray, start: int, stop: int) -> np.ndarray:
    """The products of some rows of a complete matrix with the other factor, of shape (stop - start, n_components)."""
    raise TypeError(f"not a complete matrix: {type(matrix).__name__}")


@products.register
def _(matrix: DenseMatrix, K: np.ndarray, start: int, stop: int) -> np.ndarray:
    # A matrix in single precision is multiplied in it, and only the product widened.
    return (matrix.X[start:stop] @ K.astype(matrix.X.dtype, copy=False)).astype(K.dtype, copy=False)


@products.register
def _(matrix: NormalEquations, K: np.ndarray, start: int, stop: int) -> np.ndarray:
    return matrix.B[start:stop]


@kernel(fastmath={"contract", "nsz"})
def _sparse_products(data, indices, indptr, K, start, stop, out):
    r = K.shape[1]
    for i in range(start, stop):
        row = out[i - start]
        t, end = np.uint64(indptr[i]), np.uint64(indptr[i + 1])
        while t + np.uint64(4) <= end:  # four at a time: a quarter of the reads and writes of the row
            t1, t2, t3 = t + np.uint64(1), t + np.uint64(2), t + np.uint64(3)
            x0, x1, x2, x3 = data[t], data[t1], data[t2], data[t3]
            k0, k1 = K[np.uint64(indices[t])], K[np.uint64(indices[t1])]
            k2, k3 = K[np.uint64(indices[t2])], K[np.uint64(indices[t3])]
            for a in range(r):
                row[a] += x0 * k0[a] + x1 * k1[a] + x2 * k2[a] + x3 * k3[a]
            t += np.uint64(4)
        while t < end:
            value = data[t]
            other = K[np.uint64(indices[t])]
            for a in range(r):
                row[a] += value * other[a]
            t += np.uint64(1)


@products.register
def _(matrix: SparseMatrix, K: np.ndarray, start: int, stop: int) -> np.ndarray:
    rows = matrix.rows
    out = np.zeros((stop - start, K.shape[1]))
    _sparse_products(rows.data, rows.indices, rows.indptr, K, start, stop, out)
    return out


def in_blocks(n_rows: int, n_jobs: int | None, work: Callable[[int, int], np.ndarray]) -> np.ndarray:
    """Call `work(start, stop)` for fixed blocks of rows; the results, one a row, in order whatever the workers."""
    return np.array(map_blocks(n_rows, n_jobs, work, _BLOCK))


@singledispatch
def update_rows(
    matrix: Any,
    F: np.ndarray,
    K: np.ndarray,
    terms: RowTerms,
    *,
    max_sweeps: int,
    delta: float = 0.1,
    exact: bool = False,
    n_jobs: int | None = None,
    energy: float | None = None,
) -> RowsUpdate:
    """Improve all rows of one factor, in place, the other fixed.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The matrix, seen so that its rows belong to the rows of `F`.
    F : ndarray of shape (n_rows, n_components), C order
        The factor, changed in place.
    K : ndarray of shape (n_columns, n_components), C order
        The other factor.
    terms : RowTerms
        Penalties and bounds.
    max_sweeps : int
        The most sweeps of coordinate descent over a row; 0 changes nothing and only measures.
    delta : float, default=0.1
        Sweeps stop once one brings less than this share (of the length of the step) of the first.
    exact : bool, default=False
        Solve each row's problem exactly instead, by block principal pivoting.
    n_jobs : int, optional
        Threads; the answer does not depend on them.
    energy : float, optional
        The squared norm of the matrix where it is known already.

    Returns
    -------
    RowsUpdate
        Loss after the update, KKT residual before it.
    """
    if not isinstance(matrix, DenseMatrix | SparseMatrix | NormalEquations):
        raise TypeError(f"not an observed matrix: {type(matrix).__name__}")
    G = matrix.G if isinstance(matrix, NormalEquations) else gram(K)

    def work(start: int, stop: int) -> np.ndarray:
        B = products(matrix, K, start, stop)
        rows, block = F[start:stop], slice(start, stop)
        pull = terms.pull[block].astype(np.float64, copy=False)
        totals = np.zeros(3)
        edits = terms.l1[block], terms.ridge[block], terms.upper[block], pull
        if exact and max_sweeps > 0:
            sweep_rows(G, B, rows, *edits, 0, delta, totals)
            totals[0] = 0.0
            pivot_rows(G, B, rows, *edits)
            after = np.zeros(3)
            sweep_rows(G, B, rows, *edits, 0, delta, after)
            totals[0], totals[2] = after[0], 1.0
        else:
            sweep_rows(G, B, rows, *edits, max_sweeps, delta, totals)
        return totals

    totals = in_blocks(F.shape[0], n_jobs, work)
    energy = power_sum(matrix, 2.0) if energy is None else energy  # type: ignore[arg-type]
    loss = 0.5 * (energy + totals[:, 0].sum())
    return RowsUpdate(max(loss, 0.0), float(totals[:, 1].sum()), int(totals[:, 2].max()))


def gram(K: np.ndarray) -> np.ndarray:
    """The Gram matrix of a factor's columns in float64."""
    return (K.T @ K).astype(np.float64)


def with_products(matrix: Any, K: np.ndarray) -> Any:
    """The normal equations of all rows of a complete matrix, for more than one use; another matrix as it is."""
    if isinstance(matrix, DenseMatrix | SparseMatrix):
        return NormalEquations(gram(K), products(matrix, K, 0, shape(matrix)[0]))
    return matrix


@singledispatch
def squared_error(matrix: Any, F: np.ndarray, K: np.ndarray) -> float:
    """The weighted squared error over the known entries, summed entry by entry: exact also for a perfect fit."""
    rows = matrix.rows
    return float(
        _listed_error(rows.data, rows.indices, rows.indptr, rows.weights, F, K, isinstance(matrix, SparseMatrix))
    )


@squared_error.register
def _(matrix: DenseMatrix, F: np.ndarray, K: np.ndarray) -> float:
    return sum(_sum_of_squares(residual) for _, residual in _residual_blocks(matrix.X, F, K))


@squared_error.register
def _(matrix: MostEntries, F: np.ndarray, K: np.ndarray) -> float:
    unknown = matrix.unknown_rows
    total = 0.0
    for start, residual in _residual_blocks(matrix.X, F, K):
        ends = unknown.indptr[start : start + residual.shape[0] + 1]
        rows = np.repeat(np.arange(residual.shape[0]), np.diff(ends))
        residual[rows, unknown.indices[ends[0] : ends[-1]]] = 0.0
        total += _sum_of_squares(residual)
    return total


def _residual_blocks(X: np.ndarray, F: np.ndarray, K: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, F.shape[0], _BLOCK):
        yield start, X[start : start + _BLOCK] - F[start : start + _BLOCK] @ K.T


def _sum_of_squares(block: np.ndarray) -> float:
    """In float64 also for float32."""
    return (
        float(np.vdot(block, block)) if block.dtype == np.float64 else float(np.square(block, dtype=np.float64).sum())
    )


@kernel(fastmath={"contract", "reassoc", "nsz"})
def _listed_error(data, indices, indptr, weights, F, K, zeros_are_known):
    total = 0.0
    r = F.shape[1]
    for i in range(indptr.size - 1):
        for t in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            other = K[np.uint64(indices[t])]
            fit = 0.0
            for a in range(r):
                fit += np.float64(F[i, a]) * np.float64(other[a])
            error = data[t] - fit
            square = error * error
            if zeros_are_known:  # its part of the sum over all entries of the squared fit is added below
                square -= fit * fit
            total += square * weights[t] if weights.size else square
    if zeros_are_known:
        squares_F = np.zeros((r, r))
        squares_K = np.zeros((r, r))
        for i in range(F.shape[0]):
            for a in range(r):
                for b in range(r):
                    squares_F[a, b] += np.float64(F[i, a]) * np.float64(F[i, b])
        for j in range(K.shape[0]):
            for a in range(r):
                for b in range(r):
                    squares_K[a, b] += np.float64(K[j, a]) * np.float64(K[j, b])
        total += (squares_F * squares_K).sum()
    return total
