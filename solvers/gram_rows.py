"""Rows of a Gram matrix :math:`X^T S X`, computed several at a time and kept.

Greedy methods need the inner products of every chosen column with all others. Computed one by one they read
the whole design once each, and that reading is all their time. Columns that score high now will mostly be
chosen soon: their rows are computed together, in one pass over the design.
"""

from typing import Any

import numpy as np

from .columns import _REDUCTION, SparseColumns, combine, shape
from .kernel import kernel

#: The most rows computed in one pass. Beyond, arithmetic costs more than the reading it saves.
BLOCK = 32


@kernel(fastmath=_REDUCTION)
def _four_by_four(x0, x1, x2, x3, b0, b1, b2, b3):
    # Sixteen sums in registers: every element loaded meets four others.
    a00 = a01 = a02 = a03 = a10 = a11 = a12 = a13 = 0.0
    a20 = a21 = a22 = a23 = a30 = a31 = a32 = a33 = 0.0
    for i in range(x0.size):
        u0, u1, u2, u3 = np.float64(x0[i]), np.float64(x1[i]), np.float64(x2[i]), np.float64(x3[i])
        v0, v1, v2, v3 = b0[i], b1[i], b2[i], b3[i]
        a00 += u0 * v0
        a01 += u0 * v1
        a02 += u0 * v2
        a03 += u0 * v3
        a10 += u1 * v0
        a11 += u1 * v1
        a12 += u1 * v2
        a13 += u1 * v3
        a20 += u2 * v0
        a21 += u2 * v1
        a22 += u2 * v2
        a23 += u2 * v3
        a30 += u3 * v0
        a31 += u3 * v1
        a32 += u3 * v2
        a33 += u3 * v3
    return a00, a01, a02, a03, a10, a11, a12, a13, a20, a21, a22, a23, a30, a31, a32, a33


@kernel
def _dense_products(X, block, out):
    n_block, n_columns = out.shape
    for j in range(0, n_columns, 4):
        # Past the end the last one is taken again: the same value is written twice.
        j1, j2, j3 = min(j + 1, n_columns - 1), min(j + 2, n_columns - 1), min(j + 3, n_columns - 1)
        for b in range(0, n_block, 4):
            b1, b2, b3 = min(b + 1, n_block - 1), min(b + 2, n_block - 1), min(b + 3, n_block - 1)
            sums = _four_by_four(X[:, j], X[:, j1], X[:, j2], X[:, j3], block[b], block[b1], block[b2], block[b3])
            out[b, j], out[b1, j], out[b2, j], out[b3, j] = sums[0], sums[1], sums[2], sums[3]
            out[b, j1], out[b1, j1], out[b2, j1], out[b3, j1] = sums[4], sums[5], sums[6], sums[7]
            out[b, j2], out[b1, j2], out[b2, j2], out[b3, j2] = sums[8], sums[9], sums[10], sums[11]
            out[b, j3], out[b1, j3], out[b2, j3], out[b3, j3] = sums[12], sums[13], sums[14], sums[15]


@kernel
def _sparse_products(X, block_rows, out):
    # `block_rows` is (n_rows, n_block): one stored element meets all the vectors in one stretch of memory.
    n_block = block_rows.shape[1]
    sums = np.empty(n_block)
    for j in range(out.shape[1]):
        sums[:] = 0.0
        for k in range(X.indptr[j], X.indptr[j + 1]):
            value = np.float64(X.data[k])
            row = block_rows[X.indices[k]]
            for b in range(n_block):
                sums[b] += value * row[b]
        for b in range(n_block):
            out[b, j] = sums[b]


def products(X: Any, block: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The inner products of several vectors with all columns, :math:`B X`, in one pass over the design.

    Parameters
    ----------
    X : ndarray or SparseColumns of shape (n_rows, n_columns)
        The design.
    block : ndarray of shape (n_block, n_rows), float64, C order
        The vectors, one a row.
    out : ndarray of shape (n_block, n_columns), float64
        Where to write.

    Returns
    -------
    ndarray of shape (n_block, n_columns)
        `out`.
    """
    if isinstance(X, SparseColumns):
        _sparse_products(X, np.ascontiguousarray(block.T), out)
    elif abs(X.strides[0]) <= abs(X.strides[1]):
        _dense_products(X, block, out)
    elif X.dtype == np.float64 and X.flags.c_contiguous:
        np.dot(block, X, out=out)
    else:
        for start in range(0, X.shape[1], 256):
            stop = min(start + 256, X.shape[1])
            out[:, start:stop] = block @ X[:, start:stop].astype(np.float64)
    return out


class GramRows:
    """The Gram rows of the columns chosen so far, in their order, and those of likely next ones behind them.

    Parameters
    ----------
    X : ndarray or SparseColumns of shape (n_rows, n_columns)
        The design.
    weights : ndarray of shape (n_rows,)
        Row weights :math:`s`.
    mean : ndarray of shape (n_columns,)
        What is subtracted from each column (zeros for none).

    Notes
    -----
    Memory: ``(chosen + 3 * BLOCK) * n_columns`` floats, doubled for a moment when the array grows.
    """

    def __init__(self, X: Any, weights: np.ndarray, mean: np.ndarray):
        self.X, self.weights, self.mean = X, weights, mean
        self.n_chosen = 0
        self.columns: list[int] = []
        self._rows = np.empty((0, shape(X)[1]))
        self._block = BLOCK // 2
        self._served = 0  # chosen columns found among those of the last pass

    @property
    def chosen(self) -> np.ndarray:
        """The rows of the chosen columns, of shape (n_chosen, n_columns)."""
        return self._rows[: self.n_chosen]

    def choose(self, column: int, score: np.ndarray, n_more: int) -> None:
        """Make sure that the next chosen column's row is there.

        Parameters
        ----------
        column : int
            The column.
        score : ndarray of shape (n_columns,)
            How likely each column is to be chosen next; those not above zero never are.
        n_more : int
            How many columns may still be chosen after this one.
        """
        if column in self.columns[self.n_chosen :]:
            self._served += 1
        else:
            self._compute(column, score, n_more)
        place, found = self.n_chosen, self.columns.index(column, self.n_chosen)
        if found != place:
            self._rows[[place, found]] = self._rows[[found, place]]
            self.columns[place], self.columns[found] = self.columns[found], self.columns[place]
        self.n_chosen += 1

    def _compute(self, column, score, n_more):
        if self.columns:  # pay for many rows at once only while the guesses come true
            self._block = min(2 * self._block, BLOCK) if 4 * self._served >= self._block else max(self._block // 2, 1)
        self._served = 0
        if len(self.columns) - self.n_chosen > 2 * BLOCK:
            del self.columns[self.n_chosen :]
        wanted = [column]
        n_guesses = min(self._block - 1, n_more + n_more // 4, score.size - 1)
        if n_guesses > 0:
            n_look = min(n_guesses + len(self.columns) + 1, score.size)
            likely = np.argpartition(score, score.size - n_look)[score.size - n_look :]
            likely = likely[np.argsort(-score[likely], kind="stable")]
            known = {column, *self.columns}
            wanted += [int(j) for j in likely if score[j] > 0.0 and int(j) not in known][:n_guesses]
        first, last = len(self.columns), len(self.columns) + len(wanted)
        if last > len(self._rows):
            grown = np.empty((max(last + BLOCK, len(self._rows) * 3 // 2), score.size))
            grown[:first] = self._rows[:first]
            self._rows = grown
        block = np.empty((len(wanted), self.weights.size))
        for row, j in zip(block, wanted):
            np.multiply(combine(self.X, np.array([j]), np.ones(1)) - self.mean[j], self.weights, out=row)
        products(self.X, block, self._rows[first:last])
        self.columns += wanted
