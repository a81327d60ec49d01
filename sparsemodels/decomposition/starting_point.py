"""Where a nonnegative factorization begins: what the parameter `init` means."""

from typing import Any

import numpy as np
import scipy.sparse
from sklearn import config_context
from sklearn.utils.extmath import randomized_svd
from sklearn.utils.validation import check_array

from sparsemodels.solvers.fixed_component_codes import least_squares_codes
from sparsemodels.solvers.initial_factors import factors_from_svd, imputed, mean_in_place_of_zeros, random_factors
from sparsemodels.solvers.observed_matrix import (
    DenseMatrix,
    ObservedMatrix,
    SparseMatrix,
    power_sum,
    shape,
    total_weight,
    values,
)
from sparsemodels.solvers.successive_projection import successive_projection


def starting_point(
    X: Any, matrix: ObservedMatrix, n_components: int | str, init: Any, random_state: Any
) -> tuple[np.ndarray, np.ndarray]:
    """W and the transpose of H where a fit begins.

    Parameters
    ----------
    X : {ndarray, sparse array} of shape (n_samples, n_features)
        The validated matrix.
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        What is known of it.
    n_components : int or "auto"
        The rank.
    init : {"nndsvd", "nndsvda", "spa", "random"}, tuple of two arrays or None
        As in :class:`~sparsemodels.decomposition.NMF`.
    random_state : numpy.random.RandomState
        Where random numbers come from.

    Returns
    -------
    W : ndarray of shape (n_samples, n_components)
        The codes, of the type of X, C-contiguous.
    Ht : ndarray of shape (n_features, n_components)
        The components, transposed, likewise.

    Raises
    ------
    ValueError
        If `init` does not fit the shape of X.
    """
    (n_rows, n_columns), dtype = shape(matrix), values(matrix).dtype
    if n_components != "auto":
        rank = int(n_components)
    else:
        rank = int(np.shape(init[0])[-1]) if isinstance(init, tuple) and init else min(n_rows, n_columns)
    if isinstance(init, tuple):
        return _given(init, (n_rows, rank), (rank, n_columns), dtype)
    if init is None:
        complete = isinstance(matrix, DenseMatrix | SparseMatrix)
        init = "nndsvda" if complete and rank <= min(n_rows, n_columns) else "random"
    if init == "random":
        return random_factors(matrix, rank, random_state)
    if rank > min(n_rows, n_columns):
        raise ValueError(
            f"init={init!r} needs n_components <= min(n_samples, n_features) = {min(n_rows, n_columns)}, got {rank}."
        )
    dense = imputed(matrix)
    filled = X if dense is None else dense
    if init == "spa":
        found = successive_projection(matrix if dense is None else DenseMatrix(dense), rank).indices
        rows = filled[found].toarray() if scipy.sparse.issparse(filled) else filled[found]
        _, Ht = random_factors(matrix, rank, random_state)  # for components beyond the rank of X
        Ht[:, : found.size] = rows.T
        return least_squares_codes(matrix, Ht), Ht
    with config_context(array_api_dispatch=False):  # the same numbers whatever the caller's configuration
        left, singular, right = randomized_svd(filled, rank, random_state=random_state)
    W, Ht = factors_from_svd(left, singular, right.T)
    if init == "nndsvda":
        mean = power_sum(matrix, 1.0) / total_weight(matrix)
        mean_in_place_of_zeros(W, mean)
        mean_in_place_of_zeros(Ht, mean)
    return np.ascontiguousarray(W, dtype=dtype), np.ascontiguousarray(Ht, dtype=dtype)


def _given(init: tuple, W_shape: tuple[int, int], H_shape: tuple[int, int], dtype: Any):
    """The caller's own factors, checked."""
    if len(init) != 2:
        raise ValueError(f"init must be a pair (W, H), got {len(init)} items.")
    factors = []
    for name, factor, expected in zip("WH", init, (W_shape, H_shape), strict=True):
        factor = check_array(factor, dtype=dtype)
        if factor.shape != expected:
            raise ValueError(f"init's {name} must have the shape {expected}, got {factor.shape}.")
        if factor.min() < 0.0:
            raise ValueError(f"Negative values in data passed to NMF (init's {name}); it must be >= 0.")
        factors.append(factor)
    return np.ascontiguousarray(factors[0]), np.ascontiguousarray(factors[1].T)
