r"""Row updates where few entries are unknown: one Gram matrix for all rows, less what is unknown of each.

The right-hand sides are one matrix product, zeros standing in for the unknown entries; the Gram matrix of a row is that
of all columns less those of its unknown entries (:func:`~sparsemodels.solvers.row_grams.remaining_gram`).
"""

import numpy as np

from .kernel import kernel
from .observed_matrix import MostEntries
from .row_grams import new_tile, remaining_gram
from .row_update import RowsUpdate, RowTerms, in_blocks, update_rows
from .rows_side_by_side import LANES, Pivots, Sweeps, improve_rows, new_rows, put_row, take_row

_CANCELLATION = 1e-6  # share of its energy below which a row's loss is summed entry by entry


@kernel(fastmath={"contract", "reassoc", "nsz"})
def _energy(row):
    total = 0.0
    for j in range(row.size):
        total += np.float64(row[j]) * np.float64(row[j])
    return total


@kernel(fastmath={"contract", "reassoc", "nsz"})
def _row_error(X_row, unknown, start, stop, f, K):
    """The squared error of a row over its known entries, summed entry by entry."""
    total = 0.0
    for j in range(X_row.size):
        if start < stop and unknown[start] == j:
            start += 1
            continue
        error = np.float64(X_row[j])
        for a in range(f.size):
            error -= np.float64(f[a]) * np.float64(K[j, a])
        total += error * error
    return total


@kernel
def _update(X, unknown, first, last, B, F, K, total, terms, method, tile, gram, rows, known, values, totals):
    """Update rows first..last-1; `totals` takes the loss, the squared KKT residual at entry and the most sweeps."""
    r = F.shape[1]
    indices, indptr = unknown.indices, unknown.indptr
    for begin in range(first, last, LANES):
        width = min(LANES, last - begin)
        for lane in range(width):
            i = begin + lane
            if not remaining_gram(X[i], indices, indptr[i], indptr[i + 1], K, total, tile, known, values, gram):
                for a in range(r):
                    gram[a, r] = B[i - first, a]
                gram[r, r] = _energy(X[i])
            put_row(rows, lane, gram, F[i], terms, i)
            if indptr[i + 1] - indptr[i] == X.shape[1] and terms.ridge[i] == 0.0:
                rows.f[:, lane] = 0.0  # nothing known, and no penalty that says what the row is
        improve_rows(method, rows, width, totals)
        for lane in range(width):
            i = begin + lane
            error = take_row(rows, lane, F[i])
            if error <= _CANCELLATION * rows.energy[lane]:
                error = _row_error(X[i], indices, indptr[i], indptr[i + 1], F[i], K)
            totals[0] += 0.5 * error


def _measure(
    matrix: MostEntries, start: int, stop: int, F: np.ndarray, K: np.ndarray, total: np.ndarray, terms: RowTerms
) -> np.ndarray:
    """Loss and squared KKT residual of rows as they are, from their residuals."""
    unknown, rows = matrix.unknown_rows, slice(start, stop)
    f = F[rows].astype(np.float64, copy=False)
    wide = K.astype(np.float64, copy=False)
    lengths = np.diff(unknown.indptr[start : stop + 1])
    entries = slice(unknown.indptr[start], unknown.indptr[stop])
    row_of, column_of = np.repeat(np.arange(stop - start), lengths), unknown.indices[entries]
    residual = matrix.X[rows] - f @ wide.T
    residual[row_of, column_of] = 0.0
    ridge = terms.ridge[rows, None]
    gradient = terms.l1[rows, None] + ridge * f - residual @ wide
    if terms.pull.shape[0] > 0:
        gradient -= terms.pull[rows]
    missing = np.zeros(f.shape)
    np.add.at(missing, row_of, wide[column_of] ** 2)
    # A component that lives on unknown entries: what rounding leaves of the difference is no curvature.
    curvature = np.diag(total) - missing
    doubtful = np.flatnonzero((curvature < 1e-6 * np.diag(total)).any(axis=1))
    for i in doubtful:
        known = np.ones(wide.shape[0], dtype=bool)
        known[column_of[row_of == i]] = False
        curvature[i] = (wide[known] ** 2).sum(axis=0)
    curvature += ridge
    held = curvature > 0.0
    move = np.clip(f - gradient / np.where(held, curvature, 1.0), 0.0, terms.upper[rows, None]) - f
    return np.array([0.5 * float(np.vdot(residual, residual)), float((curvature * move**2 * held).sum()), 0.0])


@update_rows.register
def _(
    matrix: MostEntries,
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
    r, n_columns = F.shape[1], K.shape[0]
    method = Pivots() if exact else Sweeps(max_sweeps, delta)
    terms = terms._replace(pull=terms.pull.astype(np.float64, copy=False))
    wide = K.astype(np.float64, copy=False)
    total = wide.T @ wide

    def work(start: int, stop: int) -> np.ndarray:
        if max_sweeps == 0:
            return _measure(matrix, start, stop, F, K, total, terms)
        totals = np.zeros(3)
        B = (matrix.X[start:stop] @ K).astype(np.float64, copy=False)
        tile = new_tile(r)
        gram, rows = np.empty((tile.shape[0], tile.shape[0])), new_rows(r)
        known, values = np.empty(n_columns, dtype=np.int64), np.empty(n_columns, dtype=matrix.X.dtype)
        _update(
            matrix.X, matrix.unknown_rows, start, stop, B, F, K, total, terms, method,
            tile, gram, rows, known, values, totals,
        )  # fmt: skip
        return totals

    totals = in_blocks(F.shape[0], n_jobs, work)
    return RowsUpdate(float(totals[:, 0].sum()), float(totals[:, 1].sum()), int(totals[:, 2].max()))
