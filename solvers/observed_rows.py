r"""Row updates where part of the entries is known: a Gram matrix for every row, made from its known entries.

Each row of the factor is a small quadratic problem of its own (:mod:`~sparsemodels.solvers.row_grams`): its Gram
matrix costs half of :math:`r^2` multiplications for every known entry. Next to that, sweeps of coordinate descent are
cheap (:mod:`~sparsemodels.solvers.rows_side_by_side`). With many components the Gram matrices cost more than sweeps
without them (:mod:`~sparsemodels.solvers.cyclic_component_descent`).
"""

import numpy as np

from .cyclic_component_descent import descend_rows, new_long_tile
from .kernel import kernel
from .observed_matrix import SomeEntries
from .row_grams import entry_gram, new_tile
from .row_update import RowsUpdate, RowTerms, in_blocks, update_rows
from .rows_side_by_side import LANES, Pivots, Sweeps, improve_rows, new_rows, put_row, take_row

_MANY_COMPONENTS = 48  # from here on rows keep residuals: as fast as Gram matrices at 40, a third of the time at 100
_CANCELLATION = 1e-6  # share of its energy below which a row's loss is summed entry by entry


@kernel(fastmath={"contract", "reassoc", "nsz"})
def listed_row_error(indices, data, weights, start, stop, f, K):
    """The weighted squared error of a row, summed entry by entry."""
    total = 0.0
    for t in range(np.uint64(start), np.uint64(stop)):
        k = K[np.uint64(indices[t])]
        error = np.float64(data[t])
        for a in range(f.size):
            error -= np.float64(f[a]) * np.float64(k[a])
        total += error * error * (weights[t] if weights.size > 0 else 1.0)
    return total


@kernel
def _update(entries, first, last, F, K, terms, method, tile, weighted, gram, rows, totals):
    """Update rows first..last-1; `totals` takes the loss, the squared KKT residual at entry and the most sweeps."""
    indices, data, weights, indptr = entries.indices, entries.data, entries.weights, entries.indptr
    for begin in range(first, last, LANES):
        width = min(LANES, last - begin)
        for lane in range(width):
            i = begin + lane
            entry_gram(indices, data, weights, indptr[i], indptr[i + 1], K, tile, weighted, gram)
            put_row(rows, lane, gram, F[i], terms, i)
            if indptr[i] == indptr[i + 1] and terms.ridge[i] == 0.0:
                rows.f[:, lane] = 0.0  # nothing known, and no penalty that says what the row is
        improve_rows(method, rows, width, totals)
        for lane in range(width):
            i = begin + lane
            error = take_row(rows, lane, F[i])
            if error <= _CANCELLATION * rows.energy[lane]:
                error = listed_row_error(indices, data, weights, indptr[i], indptr[i + 1], F[i], K)
            totals[0] += 0.5 * error


@kernel(fastmath={"contract", "reassoc", "nsz"})
def _measure(entries, first, last, F, K, terms, scratch, totals):
    """Loss and squared KKT residual of rows as they are: no Gram matrix, the gradient from the residuals."""
    f, gradient, curvature = scratch[0], scratch[1], scratch[2]
    indices, data, weights, indptr = entries.indices, entries.data, entries.weights, entries.indptr
    loss = 0.0
    for i in range(first, last):
        for a in range(f.size):
            f[a] = F[i, a]
            gradient[a] = terms.l1[i] + terms.ridge[i] * f[a]
            if terms.pull.shape[0] > 0:
                gradient[a] -= terms.pull[i, a]
            curvature[a] = terms.ridge[i]
        for t in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            k = K[np.uint64(indices[t])]
            error = np.float64(data[t])
            for a in range(f.size):
                error -= f[a] * k[a]
            weight = np.float64(weights[t]) if weights.size > 0 else 1.0
            loss += 0.5 * weight * error * error
            error *= weight
            for a in range(f.size):
                gradient[a] -= error * k[a]
                curvature[a] += weight * np.float64(k[a]) * k[a]
        for a in range(f.size):
            if curvature[a] > 0.0:
                move = min(max(f[a] - gradient[a] / curvature[a], 0.0), terms.upper[i]) - f[a]
                totals[1] += curvature[a] * move * move
    totals[0] += loss


@update_rows.register
def _(
    matrix: SomeEntries,
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
    r = F.shape[1]
    method = Pivots() if exact else Sweeps(max_sweeps, delta)
    terms = terms._replace(pull=terms.pull.astype(np.float64, copy=False))

    def work(start: int, stop: int) -> np.ndarray:
        totals = np.zeros(3)
        if max_sweeps == 0:
            _measure(matrix.rows, start, stop, F, K, terms, np.empty((3, r)), totals)
            return totals
        if r >= _MANY_COMPONENTS and not exact:
            tile = new_long_tile(matrix.rows.indptr, start, stop, r)
            weighted = tile.copy() if matrix.rows.weights.size else tile
            descend_rows(
                matrix.rows, start, stop, F, K, terms, max_sweeps, delta,
                tile, weighted, np.empty(tile.shape[1]), np.empty((2, r)), totals,
            )  # fmt: skip
            return totals
        tile = new_tile(r)
        weighted = tile.copy() if matrix.rows.weights.size else tile
        gram = np.empty((tile.shape[0], tile.shape[0]))
        _update(matrix.rows, start, stop, F, K, terms, method, tile, weighted, gram, new_rows(r), totals)
        return totals

    totals = in_blocks(F.shape[0], n_jobs, work)
    return RowsUpdate(float(totals[:, 0].sum()), float(totals[:, 1].sum()), int(totals[:, 2].max()))
