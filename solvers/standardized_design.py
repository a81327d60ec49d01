r"""A design as sparse Bayesian learning reads it: rows weighted, columns centred and of norm one, nothing copied.

Column j of a design X stands for

.. math:: \tilde x_j = S^{1/2} (x_j - m_j 1) / \|S^{1/2} (x_j - m_j 1)\|

with the weights of the rows :math:`S` and the weighted means :math:`m`. In these units every tolerance and every
pruning rule is relative, so that the scale of X decides nothing. The design may be dense, sparse or a
:class:`scipy.sparse.linalg.LinearOperator`, real or complex; solvers call the three functions of this file only.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import LinearOperator

_BLOCK = 4_000_000  # entries of a block of columns that is worked on at a time
_FAR = 1e4  # distance of a column from zero over its spread, beyond which blocks of columns are centred themselves
_CONSTANT = 10.0  # in units of rounding: below it the spread of a column is rounding


class StandardizedDesign(NamedTuple):
    """A design with the weights of its rows and the means and norms of its columns.

    Attributes
    ----------
    X : ndarray, CSC array or LinearOperator of shape (n_samples, n_features)
        The design as it was given.
    root_weights : ndarray of shape (n_samples,) or None
        Square roots of the weights of the rows; None stands for ones.
    means : ndarray of shape (n_features,) or None
        Weighted means of the columns; None without an intercept.
    norms : ndarray of shape (n_features,)
        Norms of the weighted, centred columns; infinite for columns that are constant, which stand for zeros.
    """

    X: Any
    root_weights: np.ndarray | None
    means: np.ndarray | None
    norms: np.ndarray


def standardize(X: Any, weights: np.ndarray | None = None, *, center: bool = True) -> StandardizedDesign:
    """The record of a design.

    Parameters
    ----------
    X : ndarray, sparse array or LinearOperator of shape (n_samples, n_features)
        The design; a sparse one is brought to compressed columns.
    weights : ndarray of shape (n_samples,), optional
        Weights >= 0 of the rows, not all zero.
    center : bool, default=True
        Whether the weighted means of the columns are taken out.

    Returns
    -------
    StandardizedDesign
        The record. The norms of a LinearOperator are not known: they are set to one.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.standardized_design import columns, standardize
    >>> design = standardize(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> columns(design, np.array([0, 1])).round(3)
    array([[-0.707,  0.   ],
           [ 0.707,  0.   ]])
    """
    n_samples, n_features = X.shape
    root = None if weights is None else np.sqrt(np.asarray(weights, dtype=np.float64))
    total = float(n_samples) if weights is None else float(np.sum(weights))
    weights = np.ones(n_samples) if weights is None else np.asarray(weights, dtype=np.float64)
    if isinstance(X, LinearOperator):
        means = np.conj(X.rmatvec(weights)) / total if center else None
        return StandardizedDesign(X, root, means, np.ones(n_features))
    if scipy.sparse.issparse(X):
        X = scipy.sparse.csc_array(X)
        means = np.asarray(weights @ X) / total if center else None
        norms = _sparse_norms(X, weights, means, total)
    else:
        means = np.empty(n_features, dtype=np.result_type(X.dtype, np.float64)) if center else None
        norms = np.empty(n_features)
        for block in _blocks(n_samples, n_features):
            part = X[:, block].astype(np.result_type(X.dtype, np.float64), copy=False)
            if means is not None:
                means[block] = weights @ part / total
                part = part - means[block]
            norms[block] = np.sqrt(weights @ (np.abs(part) ** 2 if np.iscomplexobj(part) else part * part))
    if means is not None:
        rounding = _CONSTANT * np.finfo(X.dtype).eps * np.abs(means) * np.sqrt(total)
        norms = np.where(norms > rounding, norms, np.inf)
    return StandardizedDesign(X, root, means, np.where(norms > 0.0, norms, np.inf))


def _blocks(n_samples: int, n_features: int) -> list[slice]:
    width = max(_BLOCK // max(n_samples, 1), 1)
    return [slice(start, min(start + width, n_features)) for start in range(0, n_features, width)]


def _sparse_norms(X, weights, means, total):
    """Norms of sparse columns: the stored entries, and all others at minus the mean; no cancellation."""
    column = np.repeat(np.arange(X.shape[1]), np.diff(X.indptr))
    mean = np.zeros(X.shape[1]) if means is None else means
    weight = weights[X.indices]
    squares = np.bincount(column, weight * np.abs(X.data - mean[column]) ** 2, X.shape[1])
    elsewhere = total - np.bincount(column, weight, X.shape[1])
    return np.sqrt(squares + np.maximum(elsewhere, 0.0) * np.abs(mean) ** 2)


def columns(design: StandardizedDesign, indices: np.ndarray) -> np.ndarray:
    """Some standardized columns, as a dense array of its own.

    Parameters
    ----------
    design : StandardizedDesign
        The design.
    indices : ndarray of int of shape (n_columns,)
        Which.

    Returns
    -------
    ndarray of shape (n_samples, n_columns)
        The columns, in Fortran order, float64 or complex128.
    """
    if isinstance(design.X, LinearOperator):
        unit = np.zeros((design.X.shape[1], len(indices)))
        unit[indices, np.arange(len(indices))] = 1.0
        part = design.X.matmat(unit)
    elif scipy.sparse.issparse(design.X):
        part = design.X[:, indices].toarray()
    else:
        part = design.X[:, indices]
    part = np.array(part, dtype=np.result_type(design.X.dtype, np.float64), order="F")
    if design.means is not None:
        part -= design.means[indices]
    if design.root_weights is not None:
        part *= design.root_weights[:, None]
    part /= design.norms[indices]
    return part


def _far_from_center(design: StandardizedDesign) -> bool:
    """Whether products with the raw design, and the means taken out of them, would cancel too many digits."""
    if design.means is None or isinstance(design.X, LinearOperator):
        return False
    total = design.X.shape[0] if design.root_weights is None else np.sum(design.root_weights**2)
    return bool(np.any(np.abs(design.means) * np.sqrt(total) > _FAR * design.norms))


def squared_norms(design: StandardizedDesign) -> np.ndarray:
    """Squared norms of the standardized columns: ones, zeros where a column is constant, measured for an operator.

    Parameters
    ----------
    design : StandardizedDesign
        The design.

    Returns
    -------
    ndarray of shape (n_features,)
        The squared norms. Those of a LinearOperator cost a product for every column, unless its norms were set.
    """
    if not isinstance(design.X, LinearOperator) or np.any(design.norms != 1.0):
        return np.isfinite(design.norms).astype(np.float64)
    answer = np.empty(design.X.shape[1])
    for block in _blocks(*design.X.shape):
        part = columns(design, np.arange(block.start, block.stop))
        answer[block] = np.einsum("ij,ij->j", part, part.conj()).real
    return answer


def cross(design: StandardizedDesign, block: np.ndarray) -> np.ndarray:
    r"""Inner products :math:`\tilde X^H B` of all standardized columns with those of a block.

    Parameters
    ----------
    design : StandardizedDesign
        The design.
    block : ndarray of shape (n_samples, n_columns)
        Columns in the weighted space: products with the square roots of the weights are part of the design.

    Returns
    -------
    ndarray of shape (n_features, n_columns)
        The inner products.
    """
    X = design.X
    if _far_from_center(design):
        answer = np.empty((X.shape[1], block.shape[1]), dtype=np.result_type(X.dtype, np.float64, block.dtype))
        for part in _blocks(*X.shape):
            answer[part] = columns(design, np.arange(part.start, part.stop)).conj().T @ block
        return answer
    weighted = block if design.root_weights is None else block * design.root_weights[:, None]
    if isinstance(X, LinearOperator):
        answer = X.rmatmat(weighted)
    elif scipy.sparse.issparse(X):
        answer = (X.T if not np.iscomplexobj(X) else X.conj().T) @ weighted
    elif X.dtype == np.result_type(X.dtype, np.float64):
        # conj() of a complex design would copy it: conjugate the small factors instead.
        answer = np.conj(X.T @ np.conj(weighted)) if np.iscomplexobj(X) else X.T @ weighted
    else:
        answer = np.empty((X.shape[1], weighted.shape[1]), dtype=np.result_type(X.dtype, np.float64, weighted.dtype))
        for part in _blocks(*X.shape):
            answer[part] = np.conj(X[:, part]).T.astype(answer.dtype) @ weighted
    if design.means is not None:
        answer = answer - np.conj(design.means)[:, None] * weighted.sum(axis=0)
    return answer / design.norms[:, None]


def product(design: StandardizedDesign, coef: np.ndarray) -> np.ndarray:
    r"""The product :math:`\tilde X W`.

    Parameters
    ----------
    design : StandardizedDesign
        The design.
    coef : ndarray of shape (n_features, n_columns)
        Coefficients of the standardized columns.

    Returns
    -------
    ndarray of shape (n_samples, n_columns)
        The combinations of the columns.
    """
    if _far_from_center(design):
        answer = np.zeros((design.X.shape[0], coef.shape[1]), np.result_type(design.X.dtype, np.float64, coef.dtype))
        for part in _blocks(*design.X.shape):
            answer += columns(design, np.arange(part.start, part.stop)) @ coef[part]
        return answer
    X, raw = design.X, coef / design.norms[:, None]
    if isinstance(X, LinearOperator):
        answer = X.matmat(raw)
    elif scipy.sparse.issparse(X) or X.dtype == np.result_type(X.dtype, np.float64):
        answer = X @ raw
    else:
        answer = np.zeros((X.shape[0], raw.shape[1]), dtype=np.result_type(X.dtype, np.float64, raw.dtype))
        for part in _blocks(*X.shape):
            answer += X[:, part].astype(answer.dtype) @ raw[part]
    if design.means is not None:
        answer = answer - design.means @ raw
    return answer if design.root_weights is None else answer * design.root_weights[:, None]
