"""Rows of a Gram matrix found by column, for sets of columns that grow and shrink."""

from typing import Any

import numpy as np

from .columns import combine
from .gram_rows import BLOCK, products

#: Bytes of rows beyond which those that are not in use are dropped.
MEMORY = 2**28


class GramRowCache:
    r"""Rows of :math:`X^T S X` about the weighted means, computed several at a time and kept.

    Like :class:`~sparsemodels.solvers.gram_rows.GramRows`, whose rows stand in the order of a pursuit, for searches
    that also take columns out again and come back to them later.

    Parameters
    ----------
    X : ndarray or SparseColumns of shape (n_rows, n_columns)
        The design.
    weights : ndarray of shape (n_rows,)
        Row weights :math:`s`.
    mean : ndarray of shape (n_columns,)
        What is subtracted from each column (zeros for none).

    Attributes
    ----------
    place : ndarray of shape (n_columns,), int64
        Where the row of a column lies; negative where it was not computed.
    columns : list of int
        The columns whose rows are kept.
    """

    def __init__(self, X: Any, weights: np.ndarray, mean: np.ndarray):
        self.X, self.weights, self.mean = X, weights, mean
        self.place = np.full(mean.size, -1)
        self.columns: list[int] = []
        self._rows = np.empty((0, mean.size))
        self._block, self._served = BLOCK // 2, 0

    def row(self, column: int, score: np.ndarray, keep: np.ndarray, n_more: int) -> np.ndarray:
        """The row of a column, a view that is valid until the next call.

        Parameters
        ----------
        column : int
            The column.
        score : ndarray of shape (n_columns,)
            How likely each column is to be asked for next; those not above zero never are.
        keep : ndarray of int64
            Columns whose rows must not be dropped.
        n_more : int
            How many columns will be asked for after this one, as far as is known.

        Returns
        -------
        ndarray of shape (n_columns,)
            Its inner products with all columns.
        """
        if self.place[column] < 0:
            self._compute(column, score, keep, n_more)
        else:
            self._served += 1
        return self._rows[self.place[column]]

    def rows(self, columns: np.ndarray) -> np.ndarray:
        """The rows of several columns, as a copy of shape (columns.size, n_columns)."""
        missing = columns[self.place[columns] < 0]
        if missing.size:
            self._append(missing.tolist(), columns)
        return self._rows[self.place[columns]]

    def _compute(self, column: int, score: np.ndarray, keep: np.ndarray, n_more: int) -> None:
        if self.columns:  # pay for many rows at once only while the guesses come true
            self._block = min(2 * self._block, BLOCK) if 4 * self._served >= self._block else max(self._block // 2, 1)
        self._served = 0
        wanted = [column]
        # Four rows cost little more than one: sixteen sums at a time stay in registers.
        n_guesses = max(min(self._block - 1, n_more + n_more // 4), 3)
        if n_guesses < score.size:
            n_look = min(n_guesses + 1 + len(self.columns), score.size)
            likely = np.argpartition(score, score.size - n_look)[score.size - n_look :]
            likely = likely[(self.place[likely] < 0) & (score[likely] > 0.0) & (likely != column)]
            wanted += likely[np.argsort(-score[likely], kind="stable")][:n_guesses].tolist()
        self._append(wanted, keep)

    def _append(self, wanted: list[int], keep: np.ndarray) -> None:
        n_columns = self.mean.size
        if 8 * (len(self.columns) + len(wanted)) * n_columns > MEMORY and len(self.columns) > 2 * keep.size + BLOCK:
            self.columns = [j for j in keep.tolist() if self.place[j] >= 0]
            self._rows = self._rows[self.place[self.columns]]
            self.place[:] = -1
            self.place[self.columns] = np.arange(len(self.columns))
        first, last = len(self.columns), len(self.columns) + len(wanted)
        if last > len(self._rows):
            grown = np.empty((max(last + BLOCK, len(self._rows) * 3 // 2), n_columns))
            grown[:first] = self._rows[:first]
            self._rows = grown
        block = np.empty((len(wanted), self.weights.size))
        for row, j in zip(block, wanted, strict=True):
            np.multiply(combine(self.X, np.array([j]), np.ones(1)) - self.mean[j], self.weights, out=row)
        products(self.X, block, self._rows[first:last])
        self.columns += wanted
        self.place[wanted] = np.arange(first, last)
