r"""Where a nonnegative factorization begins.

References
----------
C. Boutsidis and E. Gallopoulos, "SVD based initialization: a head start for nonnegative matrix factorization", Pattern
Recognition 41, 2008.
"""

import numpy as np

from .observed_matrix import MostEntries, ObservedMatrix, SomeEntries, power_sum, shape, total_weight, values


def random_factors(
    matrix: ObservedMatrix, n_components: int, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Draw factors uniformly, so that their product has on average the mean of the known entries.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The matrix, of shape (n_rows, n_columns).
    n_components : int
        The number of components.
    random_state : numpy.random.RandomState
        Where the numbers come from.

    Returns
    -------
    W : ndarray of shape (n_rows, n_components)
        The first factor.
    Ht : ndarray of shape (n_columns, n_components)
        The second factor, transposed.
    """
    n_rows, n_columns = shape(matrix)
    mean = max(power_sum(matrix, 1.0) / max(total_weight(matrix), 1e-300), 0.0)
    top = 2.0 * np.sqrt(mean / n_components)  # two uniform numbers have the mean top^2 / 4
    dtype = values(matrix).dtype
    W = (top * random_state.random_sample((n_rows, n_components))).astype(dtype)
    Ht = (top * random_state.random_sample((n_columns, n_components))).astype(dtype)
    return W, Ht


def factors_from_svd(left: np.ndarray, singular_values: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nonnegative factors from a singular value decomposition (NNDSVD).

    Each pair of singular vectors is split into its positive and its negative part, and the heavier of the two is kept:
    the best nonnegative approximation of rank one of the positive part of that term.

    Parameters
    ----------
    left : ndarray of shape (n_rows, n_components)
        Left singular vectors.
    singular_values : ndarray of shape (n_components,)
        Singular values >= 0, descending.
    right : ndarray of shape (n_columns, n_components)
        Right singular vectors.

    Returns
    -------
    W : ndarray of shape (n_rows, n_components)
        The first factor, with exact zeros.
    Ht : ndarray of shape (n_columns, n_components)
        The second factor, transposed, with exact zeros.
    """
    W, Ht = np.zeros_like(left), np.zeros_like(right)
    for k, value in enumerate(singular_values):
        candidates = []
        for sign in (1.0, -1.0):
            u, v = np.maximum(sign * left[:, k], 0.0), np.maximum(sign * right[:, k], 0.0)
            candidates.append((np.linalg.norm(u) * np.linalg.norm(v), u, v))
        weight, u, v = max(candidates, key=lambda candidate: candidate[0])
        if weight > 0.0:
            length = np.sqrt(value * weight)
            W[:, k], Ht[:, k] = length * u / np.linalg.norm(u), length * v / np.linalg.norm(v)
    return W, Ht


def mean_in_place_of_zeros(F: np.ndarray, mean: float) -> np.ndarray:
    """Put a constant where a factor is zero, in place: updates that cannot leave zero may then move (NNDSVDa)."""
    F[F == 0.0] = mean
    return F


def imputed(matrix: ObservedMatrix) -> np.ndarray | None:
    """A dense matrix for a spectral start: each unknown entry stands at the product of its row and column effects.

    Returns None where the matrix is complete.
    """
    if not isinstance(matrix, SomeEntries | MostEntries):
        return None
    n_rows, n_columns = shape(matrix)
    if isinstance(matrix, SomeEntries):
        filled = np.zeros((n_rows, n_columns), dtype=matrix.rows.data.dtype)
        known = np.zeros((n_rows, n_columns), dtype=bool)
        i = np.repeat(np.arange(n_rows), np.diff(matrix.rows.indptr))
        filled[i, matrix.rows.indices] = matrix.rows.data
        known[i, matrix.rows.indices] = True
    else:
        filled = np.array(matrix.X)
        known = np.ones((n_rows, n_columns), dtype=bool)
        i = np.repeat(np.arange(n_rows), np.diff(matrix.unknown_rows.indptr))
        known[i, matrix.unknown_rows.indices] = False
    total = filled.sum(dtype=np.float64)
    mean = total / max(known.sum(), 1)
    rows = filled.sum(axis=1, dtype=np.float64) / np.maximum(known.sum(axis=1), 1) / max(mean, 1e-300)
    columns = filled.sum(axis=0, dtype=np.float64) / np.maximum(known.sum(axis=0), 1) / max(mean, 1e-300)
    rank_one = (mean * rows)[:, None] * columns[None, :]
    return np.where(known, filled, rank_one).astype(filled.dtype)
