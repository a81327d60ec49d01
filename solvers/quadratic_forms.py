"""Quadratic forms of many rows: predictive variances without a matrix of rows by rows."""

import numpy as np

from .row_blocks import map_blocks


def quadratic_forms(X: np.ndarray, matrix: np.ndarray, *, n_jobs: int | None = None) -> np.ndarray:
    r"""The numbers :math:`x_i^T M \bar x_i` for all rows of X.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
        Rows, real or complex.
    matrix : ndarray of shape (n_columns, n_columns) or (n_columns,)
        A Hermitian matrix, such as a posterior covariance, or the diagonal of one that has nothing else.
    n_jobs : int, optional
        Threads over blocks of rows.

    Returns
    -------
    ndarray of shape (n_rows,)
        The forms, in float64.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.quadratic_forms import quadratic_forms
    >>> quadratic_forms(np.array([[1.0, 2.0], [0.0, 1.0]]), np.array([[2.0, 1.0], [1.0, 3.0]]))
    array([18.,  3.])
    """
    answer = np.empty(X.shape[0])

    def work(start: int, stop: int) -> None:
        rows = X[start:stop].astype(np.result_type(X.dtype, np.float64), copy=False)
        image = rows * matrix if matrix.ndim == 1 else rows @ matrix
        answer[start:stop] = np.einsum("ij,ij->i", image, rows.conj()).real

    map_blocks(X.shape[0], n_jobs, work)
    return answer
