"""Linearly independent columns, one by one: a thin QR factorisation that grows."""

import numpy as np

from .cholesky import solve_upper

#: A column nearer than this to the span of the others, relative to its norm, depends linearly on them.
DEPENDENCE = np.sqrt(np.finfo(np.float64).eps)


def doubled(array: np.ndarray, size: int) -> np.ndarray:
    """A copy of the first rows with room for as many again."""
    grown = np.empty((2 * size, *array.shape[1:]))
    grown[:size] = array[:size]
    return grown


class IndependentColumns:
    """Columns and an orthonormal basis of their span: a thin QR factorisation, one column at a time."""

    def __init__(self, n_rows: int):
        self.size = 0
        self.columns, self.basis = np.empty((2, 8, n_rows))
        self.factor = np.empty((8, 8))  # lower triangular: columns = factor @ basis

    def append(self, column: np.ndarray) -> bool:
        """Take a column in, unless it depends linearly on the others."""
        k = self.size
        if k == len(self.columns):
            self.columns, self.basis = (doubled(array, k) for array in (self.columns, self.basis))
            factor = np.empty((2 * k, 2 * k))
            factor[:k, :k] = self.factor
            self.factor = factor
        basis, norm = self.basis[:k], np.linalg.norm(column)
        inner = basis @ column
        rest = column - inner @ basis
        length = np.linalg.norm(rest)
        for _ in range(2):
            # Gram-Schmidt loses orthogonality in proportion to what it takes away: then once more.
            if length > 0.5 * norm or length <= DEPENDENCE * norm:
                break
            again = basis @ rest
            rest -= again @ basis
            inner += again
            length = np.linalg.norm(rest)
        if not length > DEPENDENCE * norm:
            return False
        self.columns[k], self.basis[k] = column, rest / length
        self.factor[k, :k], self.factor[k, k] = inner, length
        self.size += 1
        return True

    def coefficients(self, inner: np.ndarray) -> np.ndarray:
        """The least-squares coefficients of a vector with these inner products with the basis."""
        coef = inner.copy()
        solve_upper(self.factor, self.size, coef)
        return coef
