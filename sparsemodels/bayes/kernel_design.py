"""Kernels as the designs of relevance vector machines: one column a training sample.

The kernel matrix is most of what small fits cost. The Gaussian one is therefore evaluated here, in blocks of rows that
stay in cache: exponents by one matrix product, exponentials in place, one triangle where rows and columns are the same
samples. The others are those of :mod:`sklearn.metrics.pairwise`. Of kernels that are positive semidefinite, a factor of
low rank, if there is one, is found without the matrix.
"""

from typing import Any

import numpy as np
import scipy.sparse
from sklearn.metrics.pairwise import pairwise_kernels

from sparsemodels.solvers.low_rank_design import partial_cholesky

KERNELS = ("linear", "poly", "rbf", "sigmoid", "laplacian", "precomputed")

_FEWEST = 200  # samples below which the whole kernel is evaluated at once
_SHARE = 8  # the rank is low if it is at most the number of samples over this
_BLOCK = 64  # rows of a block: with 2000 columns it fills half of a megabyte

#: What each kernel of scikit-learn takes.
_PARAMETERS = {
    "linear": (),
    "poly": ("gamma", "degree", "coef0"),
    "rbf": ("gamma",),
    "sigmoid": ("gamma", "coef0"),
    "laplacian": ("gamma",),
}


def kernel_width(gamma: Any, X: Any, weights: np.ndarray | None = None) -> float:
    """The number that the parameter `gamma` of a kernel stands for.

    Parameters
    ----------
    gamma : {"scale", "auto"} or float
        ``"scale"``: one over the number of features times the variance of all entries of X; ``"auto"``: one over the
        number of features.
    X : ndarray or sparse array of shape (n_samples, n_features)
        Samples.
    weights : ndarray of shape (n_samples,), optional
        Weights of the samples in the variance.

    Returns
    -------
    float
        The number; for ``"scale"`` one if all entries are the same.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.bayes.kernel_design import kernel_width
    >>> kernel_width("scale", np.array([[0.0, 2.0], [4.0, 2.0]]))
    0.25
    """
    if not isinstance(gamma, str):
        return float(gamma)
    if gamma == "auto":
        return 1.0 / X.shape[1]
    shares = np.full(X.shape[0], 1.0 / X.shape[0]) if weights is None else weights / weights.sum()
    if scipy.sparse.issparse(X):
        mean = float((shares @ X).sum()) / X.shape[1]
        variance = float((shares @ X.multiply(X)).sum()) / X.shape[1] - mean**2
    else:
        mean = float((shares @ X).sum()) / X.shape[1]
        apart = X - mean
        variance = float((shares @ (apart * apart)).sum()) / X.shape[1]
    return 1.0 / (X.shape[1] * variance) if variance > 0.0 else 1.0


def gaussian_kernel(X: np.ndarray, Y: np.ndarray | None = None, *, gamma: float = 1.0) -> np.ndarray:
    r"""The matrix of :math:`\exp(-\gamma \|x_i - y_j\|^2)`.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Samples.
    Y : ndarray of shape (n_columns, n_features), optional
        Samples; by default X itself, which takes half the time.
    gamma : float, default=1.0
        The inverse of twice the squared width.

    Returns
    -------
    ndarray of shape (n_rows, n_columns)
        The kernel, in float64.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.bayes.kernel_design import gaussian_kernel
    >>> gaussian_kernel(np.array([[0.0], [1.0]]), gamma=np.log(2.0)).round(12)
    array([[1. , 0.5],
           [0.5, 1. ]])
    """
    symmetric = Y is None
    X = np.asarray(X, dtype=np.float64)
    Y = X if Y is None else np.asarray(Y, dtype=np.float64)
    # Distances do not depend on the origin, the rounding of their expansion does.
    center = Y.mean(axis=0)
    left, right = X - center, Y - center
    rows, n_features = X.shape
    # -gamma |x - y|^2 as one product: x, |x|^2 and 1 with y, 1 and |y|^2.
    factors = np.empty((rows, n_features + 2))
    np.multiply(left, 2.0 * gamma, out=factors[:, :n_features])
    factors[:, -2] = -gamma * np.einsum("ij,ij->i", left, left)
    factors[:, -1] = -1.0
    others = np.empty((n_features + 2, Y.shape[0]))
    others[:n_features] = right.T
    others[-2] = 1.0
    others[-1] = gamma * np.einsum("ij,ij->i", right, right)
    kernel = np.empty((rows, Y.shape[0]))
    for start in range(0, rows, _BLOCK):
        stop = min(start + _BLOCK, rows)
        first = start if symmetric else 0
        block = kernel[start:stop, first:]
        np.matmul(factors[start:stop], others[:, first:], out=block)
        np.minimum(block, 0.0, out=block)
        np.exp(block, out=block)
        if symmetric:
            kernel[stop:, start:stop] = block[:, stop - start :].T
    return kernel


def kernel_matrix(
    X: Any,
    Y: Any = None,
    *,
    kernel: Any = "rbf",
    gamma: float = 1.0,
    degree: int = 3,
    coef0: float = 1.0,
    kernel_params: dict | None = None,
) -> np.ndarray:
    """The kernel between samples.

    Parameters
    ----------
    X : ndarray or sparse array of shape (n_rows, n_features)
        Samples.
    Y : ndarray or sparse array of shape (n_columns, n_features), optional
        Samples; by default X itself.
    kernel : str or callable, default="rbf"
        One of :data:`KERNELS` but ``"precomputed"``, or a function of X, Y and `kernel_params`.
    gamma, degree, coef0 : float, int, float
        Parameters of the kernels that have them.
    kernel_params : dict, optional
        Keyword arguments of a callable kernel.

    Returns
    -------
    ndarray of shape (n_rows, n_columns)
        The kernel.

    Raises
    ------
    ValueError
        If a callable returns anything but a finite real matrix of this shape, or a kernel overflows.
    """
    if callable(kernel):
        matrix = kernel(X, X if Y is None else Y, **(kernel_params or {}))
        return _checked(matrix, (X.shape[0], (X if Y is None else Y).shape[0]))
    sparse = scipy.sparse.issparse(X) or scipy.sparse.issparse(Y)
    if kernel == "rbf" and not sparse:
        return gaussian_kernel(X, Y, gamma=gamma)
    values = {"gamma": gamma, "degree": degree, "coef0": coef0}
    parameters = {name: values[name] for name in _PARAMETERS[kernel]}
    X = X.astype(np.float64, copy=False)
    Y = Y if Y is None else Y.astype(np.float64, copy=False)
    matrix = pairwise_kernels(X, Y, metric="polynomial" if kernel == "poly" else kernel, **parameters)
    matrix = matrix.toarray() if scipy.sparse.issparse(matrix) else matrix
    if kernel in ("linear", "poly") and not np.isfinite(matrix).all():
        raise ValueError(f"kernel={kernel!r} overflows on these samples: scale X, or choose a smaller gamma or degree.")
    return matrix


def _checked(matrix: Any, shape: tuple[int, int]) -> np.ndarray:
    matrix = matrix.toarray() if scipy.sparse.issparse(matrix) else np.asarray(matrix)
    if matrix.shape != shape:
        raise ValueError(
            f"A callable kernel must return one row for each row of X and one column for each row of Y, shape {shape}, "
            f"got {matrix.shape}."
        )
    if not (np.issubdtype(matrix.dtype, np.floating) or np.issubdtype(matrix.dtype, np.integer)):
        raise ValueError(f"A callable kernel must return real numbers, got an array of {matrix.dtype}.")
    if matrix.dtype not in (np.float32, np.float64):
        matrix = matrix.astype(np.float64)
    if not np.isfinite(matrix).all():
        raise ValueError("A callable kernel must return finite numbers, got NaN or infinity.")
    return matrix


def kernel_factor(
    X: np.ndarray, *, kernel: Any = "rbf", gamma: float = 1.0, degree: int = 3, coef0: float = 1.0
) -> np.ndarray | None:
    """A factor L of low rank with the kernel L L' between samples, to rounding.

    Parameters
    ----------
    X : ndarray or sparse array of shape (n_samples, n_features)
        Samples.
    kernel : str or callable, default="rbf"
        ``"rbf"``, ``"linear"`` and ``"poly"`` with ``coef0 >= 0`` can have a factor.
    gamma, degree, coef0 : float, int, float
        Parameters of the kernels that have them.

    Returns
    -------
    ndarray of shape (n_samples, rank) or None
        The factor; None where the kernel has no low rank, where it can be indefinite, and for few samples.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.bayes.kernel_design import kernel_factor
    >>> kernel_factor(np.linspace(0.0, 1.0, 1000)[:, None]).shape
    (1000, 11)
    """
    n_samples = X.shape[0]
    named = kernel in ("rbf", "linear") or (kernel == "poly" and coef0 >= 0.0) if isinstance(kernel, str) else False
    if not named or n_samples < _FEWEST or scipy.sparse.issparse(X):
        return None
    X = np.asarray(X, dtype=np.float64)
    if kernel == "rbf":
        diagonal = np.ones(n_samples)
    else:
        squares = np.einsum("ij,ij->i", X, X)
        diagonal = squares if kernel == "linear" else (gamma * squares + coef0) ** degree
        if not np.isfinite(diagonal).all():
            return None

    def column(j: int) -> np.ndarray:
        if kernel == "rbf":
            apart = X - X[j]
            return np.exp(-gamma * np.einsum("ij,ij->i", apart, apart))
        products = X @ X[j]
        return products if kernel == "linear" else (gamma * products + coef0) ** degree

    return partial_cholesky(column, diagonal, n_samples // _SHARE)
