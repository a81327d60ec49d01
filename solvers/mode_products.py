r"""Products of a tensor with a matrix along each of its modes, on arrays of any library.

.. math:: (A_1 \otimes A_2 \otimes \dots \otimes A_d)\, \mathrm{vec}(T)

without the Kronecker product: one matrix product a mode, :math:`O(\prod_i m_i \sum_i k_i)` operations where the dense
matrix has :math:`\prod_i m_i k_i` entries. Vectors stand for tensors in C order, the last mode the fastest. Axes of a
tensor before its last d are carried along: they number measurements.
"""

import math
from collections.abc import Sequence
from typing import Any

import array_api_compat
import numpy as np

from .dense_codes import like, to_host

__all__ = ["is_complex", "mode_products", "namespace", "on_host", "outer_product", "placed", "weighted_slice_sums"]


def namespace(array: Any) -> Any:
    """The functions of the library of an array; for NumPy its own, which cost microseconds less than wrapped ones."""
    return np if type(array) is np.ndarray else array_api_compat.array_namespace(array)


def is_complex(array: Any) -> bool:
    """Whether an array has complex entries."""
    if type(array) is np.ndarray:
        return array.dtype.kind == "c"
    return bool(namespace(array).isdtype(array.dtype, "complex floating"))


def placed(values: np.ndarray, reference: Any) -> Any:
    """Values of NumPy in the library and on the device of another array."""
    return values if type(reference) is np.ndarray else like(values, reference)


def on_host(values: Any) -> np.ndarray:
    """An array in NumPy, copied only where it is not there."""
    return values if type(values) is np.ndarray else to_host(values)


def mode_products(tensor: Any, matrices: Sequence[Any]) -> Any:
    """A tensor multiplied by a matrix along each of its last modes.

    Parameters
    ----------
    tensor : array of shape (..., m_1, ..., m_d)
        The tensor.
    matrices : sequence of d arrays of shape (k_i, m_i), or None
        What multiplies each mode; None leaves a mode as it is.

    Returns
    -------
    array of shape (..., k_1, ..., k_d)
        The product. Modes that shrink most are multiplied first.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.mode_products import mode_products
    >>> A, B = np.array([[1.0, 2.0]]), np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> T = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> mode_products(T, [A, B])
    array([[10.,  7., 17.]])
    >>> np.kron(A, B) @ T.ravel()
    array([10.,  7., 17.])
    """
    xp, first = namespace(tensor), tensor.ndim - len(matrices)
    chosen = [mode for mode, matrix in enumerate(matrices) if matrix is not None]
    for mode in sorted(chosen, key=lambda mode: matrices[mode].shape[0] / matrices[mode].shape[1]):
        matrix, shape, axis = matrices[mode], tensor.shape, first + mode
        n_rows = matrix.shape[0]
        if axis == len(shape) - 1:
            tensor = xp.reshape(xp.reshape(tensor, (-1, shape[-1])) @ matrix.T, (*shape[:-1], n_rows))
        else:
            stacked = xp.reshape(tensor, (-1, shape[axis], math.prod(shape[axis + 1 :])))
            tensor = xp.reshape(xp.matmul(matrix, stacked), (*shape[:axis], n_rows, *shape[axis + 1 :]))
    return tensor


def outer_product(vectors: Sequence[Any]) -> Any:
    """The tensor of rank one that vectors span: products of their entries.

    Parameters
    ----------
    vectors : sequence of arrays of shape (m_i,)
        One vector a mode.

    Returns
    -------
    array of shape (m_1, ..., m_d)
        Their outer product.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.mode_products import outer_product
    >>> outer_product([np.array([1.0, 2.0]), np.array([3.0, 4.0])])
    array([[3., 4.],
           [6., 8.]])
    """
    product = vectors[0]
    for vector in vectors[1:]:
        product = product[..., None] * vector
    return product


def weighted_slice_sums(tensor: Any, weights: Sequence[Any], mode: int) -> Any:
    """The sums over the slices of one mode, with weights along all the others.

    Parameters
    ----------
    tensor : array of shape (..., m_1, ..., m_d)
        The tensor.
    weights : sequence of arrays of shape (m_i,)
        A weight for each index of each mode; that of `mode` itself is not used.
    mode : int
        The mode whose slices are summed.

    Returns
    -------
    array of shape (..., m_mode)
        The weighted sums.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.mode_products import weighted_slice_sums
    >>> weighted_slice_sums(np.array([[1.0, 2.0], [3.0, 4.0]]), [np.ones(2), np.array([1.0, 10.0])], 0)
    array([21., 43.])
    """
    rows = [None if other == mode else weight[None, :] for other, weight in enumerate(weights)]
    shape = (*tensor.shape[: tensor.ndim - len(rows)], tensor.shape[tensor.ndim - len(rows) + mode])
    return namespace(tensor).reshape(mode_products(tensor, rows), shape)
