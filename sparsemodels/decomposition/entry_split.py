"""Known entries of a matrix split at random: a part to train a factorization on, and a part to test it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from sklearn.utils.validation import check_array

from sparsemodels.solvers.speckled_mask import hold_out, hold_out_listed

_DENSE_BYTES = 2**30  # the largest sparse matrix that is made dense for its zeros to be held out
_DRAWS = 100  # tries to hold out at least one entry of a small matrix


class EntrySplit(NamedTuple):
    """One replicate: what to train on and its range, the entries held out, and the seed of its fits."""

    X: Any
    fit_params: dict[str, Any]
    smallest: float
    largest: float
    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    weights: np.ndarray | None
    seed: int


def splitter(X: Any, mask: Any, weights: Any, *, implicit: bool) -> Callable[[float, int, int], EntrySplit]:
    """How to split a validated matrix: a function of the share to hold out, the choice, and the seed of the fits.

    With `implicit`, only what a sparse matrix stores is known. Zeros of other sparse matrices are entries like all
    others: the matrix is made dense, or refused where that takes too much memory.
    """
    if implicit:
        return _listed_splitter(X, weights)
    if scipy.sparse.issparse(X):
        X = _densified(X)
    known = ~np.isnan(X)
    if mask is not None:
        known &= check_array(mask, dtype=None).astype(bool, copy=False)
    if weights is not None:
        weights = check_array(weights, dtype=np.float64)
        known &= weights > 0.0
    return _dense_splitter(X, known, weights)


def draw_split(split: Callable[[float, int, int], EntrySplit], fraction: float, rng: Any) -> EntrySplit:
    """A random split that holds out at least one entry."""
    for _ in range(_DRAWS):
        high, low, seed = (int(number) for number in rng.randint(2**31 - 1, size=3))
        drawn = split(fraction, high << 32 | low, seed)
        if drawn.rows.size:
            return drawn
    raise ValueError(f"test_fraction={fraction} holds out no entry of X: too few are known; increase it.")


def _densified(X: Any) -> np.ndarray:
    size = X.shape[0] * X.shape[1] * X.dtype.itemsize
    if size > _DENSE_BYTES:
        raise MemoryError(
            f"zeros of X cannot be held out: made dense it takes {size / 2**30:.1f} GiB, more than "
            f"{_DENSE_BYTES / 2**30:.0f} GiB; set mask_zeros=True to use the stored entries only."
        )
    return X.toarray()


def _dense_splitter(
    X: np.ndarray, known: np.ndarray, weights: np.ndarray | None
) -> Callable[[float, int, int], EntrySplit]:
    def split(fraction: float, choice: int, seed: int) -> EntrySplit:
        held = hold_out(known, fraction, choice)
        rows, columns = np.nonzero(held)
        held_weights = None if weights is None else weights[rows, columns]
        mask = known & ~held
        fit_params = {"mask": mask} | ({} if weights is None else {"weights": weights})
        smallest, largest = X.min(where=mask, initial=np.inf), X.max(where=mask, initial=-np.inf)
        return EntrySplit(
            X, fit_params, float(smallest), float(largest), rows, columns, X[rows, columns], held_weights, seed
        )

    return split


def _listed_splitter(X: Any, weights: Any) -> Callable[[float, int, int], EntrySplit]:
    csr = scipy.sparse.csr_array(X, copy=True)
    csr.sum_duplicates()
    rows = np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr))
    columns, values = csr.indices, csr.data
    if weights is not None:
        weights = scipy.sparse.csr_array(weights, dtype=np.float64, copy=True)
        weights.sum_duplicates()
        positive = weights.data > 0.0
        rows, columns, values, weights = rows[positive], columns[positive], values[positive], weights.data[positive]

    def matrix(entries: np.ndarray, kept: np.ndarray) -> Any:
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows[kept], minlength=csr.shape[0]))])
        return scipy.sparse.csr_array((entries[kept], columns[kept], indptr.astype(columns.dtype)), shape=csr.shape)

    def split(fraction: float, choice: int, seed: int) -> EntrySplit:
        held = hold_out_listed(rows, columns, csr.shape, fraction, choice)
        fit_params = {} if weights is None else {"weights": matrix(weights, ~held)}
        held_weights = None if weights is None else weights[held]
        train = matrix(values, ~held)
        smallest, largest = float(train.data.min()), float(train.data.max())
        return EntrySplit(
            train, fit_params, smallest, largest, rows[held], columns[held], values[held], held_weights, seed
        )

    return split
