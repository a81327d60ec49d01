r"""A vertex of a piecewise-linear regression problem, held as the inverse of a small basis.

The problem, on the columns of a working set, is

.. math:: \min_w \sum_i \max(u_i r_i, l_i r_i) + \sum_j \lambda_j |w_j|, \quad r = y - X w, \quad a_j \le w_j \le b_j,

with :math:`l_i \le 0 \le u_i`: least absolute deviations and quantile regression under L1 penalties and bounds. Its
objective has a kink where a residual is zero, and where a coefficient is zero or at a bound. A vertex lies on p of
them: on k interpolated rows, and on a kink of all coefficients but k. So the basis is a k-by-k matrix, the interpolated
rows of the *basic* columns, however many rows and columns there are.
"""

from typing import NamedTuple

import numpy as np

from .columns import _REDUCTION
from .kernel import kernel


class Vertex(NamedTuple):
    r"""A vertex and the room to move to others; changed in place.

    The working set fills the leading m of `capacity` columns. Its first k are the basic ones, in the order of the rows
    of the inverse.

    Attributes
    ----------
    size : ndarray of shape (2,), int64
        The sizes k and m of the basis and of the working set.
    features : ndarray of shape (capacity,), int64
        Which features the columns are; -1 for the intercept.
    columns : ndarray of shape (n, capacity), C order
        The columns.
    low, high : ndarray of shape (n,)
        The slopes l and u of each row's loss: the box of the dual vector.
    level, lower, upper : ndarray of shape (capacity,)
        The penalty level and the bounds of each column.
    coef, side, slope : ndarray of shape (capacity,)
        The coefficients; the sign of the piece on which a basic one is; the inner products with the dual vector.
    rows : ndarray of shape (rank,), int64
        The interpolated rows, in the order of the columns of the inverse.
    inverse : ndarray of shape (rank, rank)
        In its leading k rows and columns, the inverse of the interpolated rows of the basic columns.
    interpolated : ndarray of shape (n,), bool
        Whether a row is in the basis.
    sign : ndarray of shape (n,)
        On which side of its kink each row is, also where its residual happens to be zero.
    residual, dual : ndarray of shape (n,)
        The residual; the dual vector of the basis, which is feasible where the vertex is optimal.
    row_slack, column_slack : ndarray of shape (n,) and (capacity,)
        By how much a dual constraint may be violated.
    row_size, column_size : ndarray of shape (n,) and (capacity,)
        The sizes of targets and columns, to tell numbers from rounding.
    column_unit : ndarray of shape (capacity,)
        The squared length of a unit change of each coefficient, beside that of the residuals that change with it.
    row_weight, column_weight : ndarray of shape (n,) and (capacity,)
        The squared lengths of the edges that let go of an interpolated row, and of those along a nonbasic column; a
        length is that of the change of the residuals, each in units of its kink :math:`u_i - l_i`, and of the
        coefficients.
    """

    size: np.ndarray
    features: np.ndarray
    columns: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    coef: np.ndarray
    side: np.ndarray
    slope: np.ndarray
    rows: np.ndarray
    inverse: np.ndarray
    interpolated: np.ndarray
    sign: np.ndarray
    residual: np.ndarray
    dual: np.ndarray
    row_slack: np.ndarray
    column_slack: np.ndarray
    row_size: np.ndarray
    column_size: np.ndarray
    column_unit: np.ndarray
    row_weight: np.ndarray
    column_weight: np.ndarray


def new_vertex(y: np.ndarray, low: np.ndarray, high: np.ndarray, row_size: np.ndarray) -> Vertex:
    """The vertex of an empty working set, with room for some columns.

    Parameters
    ----------
    y : ndarray of shape (n,)
        The targets.
    low, high : ndarray of shape (n,)
        The box of the dual vector, ``low < high``.
    row_size : ndarray of shape (n,)
        The sizes of the targets.

    Returns
    -------
    Vertex
        With all coefficients zero and an empty basis.
    """
    n, capacity = y.size, 64
    rank = min(n, capacity)
    sign = np.where(y >= 0.0, 1.0, -1.0)
    by_column = {name: np.zeros(capacity) for name in _BY_COLUMN}
    return Vertex(
        size=np.zeros(2, dtype=np.int64),
        features=np.zeros(capacity, dtype=np.int64),
        columns=np.zeros((n, capacity)),
        low=low,
        high=high,
        rows=np.zeros(rank, dtype=np.int64),
        inverse=np.zeros((rank, rank)),
        interpolated=np.zeros(n, dtype=bool),
        sign=sign,
        residual=y.copy(),
        dual=np.where(sign > 0.0, high, low),
        row_slack=np.zeros(n),
        row_size=row_size,
        row_weight=np.ones(n),
        **by_column,
    )


def reserve(v: Vertex, capacity: int) -> Vertex:
    """The same vertex with room for at least so many columns."""
    n, old = v.columns.shape
    if capacity <= old:
        return v
    capacity = max(capacity, 2 * old)
    rank = min(n, capacity)

    def wider(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        result = np.zeros(shape, dtype=array.dtype)
        result[tuple(slice(0, size) for size in array.shape)] = array
        return result

    return v._replace(
        features=wider(v.features, (capacity,)),
        columns=wider(v.columns, (n, capacity)),
        rows=wider(v.rows, (rank,)),
        inverse=wider(v.inverse, (rank, rank)),
        **{name: wider(getattr(v, name), (capacity,)) for name in _BY_COLUMN},
    )


def keep_columns(v: Vertex, kept: np.ndarray) -> None:
    """Let all columns but some leave the working set; those kept include the basic ones, in their order."""
    m = kept.size
    v.columns[:, :m] = v.columns[:, kept]
    for array in (v.features, *(getattr(v, name) for name in _BY_COLUMN)):
        array[:m] = array[kept]
    v.size[1] = m


_BY_COLUMN = (
    "level",
    "lower",
    "upper",
    "coef",
    "side",
    "slope",
    "column_slack",
    "column_size",
    "column_unit",
    "column_weight",
)


@kernel(fastmath=_REDUCTION)
def dot(a, b, size):
    """The inner product of the leading entries."""
    total = 0.0
    for i in range(size):
        total += a[i] * b[i]
    return total


@kernel
def axpy(scale, a, b, size):
    """Add a multiple of the leading entries of one vector to another."""
    for i in range(size):
        b[i] += scale * a[i]


@kernel
def row_times_inverse(v, values, k, out):
    """The product of a row vector with the inverse."""
    out[:k] = 0.0
    for a in range(k):
        if values[a] != 0.0:
            axpy(values[a], v.inverse[a], out, k)


@kernel
def exchange_columns(v, a, b):
    """Let two columns change places."""
    if a == b:
        return
    for i in range(v.residual.size):
        v.columns[i, a], v.columns[i, b] = v.columns[i, b], v.columns[i, a]
    v.features[a], v.features[b] = v.features[b], v.features[a]
    for array in (
        v.level, v.lower, v.upper, v.coef, v.side, v.slope, v.column_slack, v.column_size, v.column_unit,
        v.column_weight,
    ):  # fmt: skip
        array[a], array[b] = array[b], array[a]


@kernel
def replace_row(v, k, p, entering, image):
    """Replace row `p` of the basis by another, given its product with the inverse; overwrites that."""
    pivot = image[p]
    image[p] -= 1.0
    for a in range(k):
        scale = v.inverse[a, p] / pivot
        if scale != 0.0:
            axpy(-scale, image, v.inverse[a], k)
    v.rows[p] = entering


@kernel
def replace_column(v, k, a, image):
    """Replace column `a` of the basis by another, given the inverse's product with it."""
    pivot, pivot_row = image[a], v.inverse[a]
    for b in range(k):
        if b != a and image[b] != 0.0:
            axpy(-image[b] / pivot, pivot_row, v.inverse[b], k)
    for p in range(k):
        pivot_row[p] /= pivot


@kernel
def append(v, k, entering, column_image, row_image, pivot):
    """Border the basis by column k and one row, given both products with the inverse and the Schur complement."""
    for a in range(k):
        axpy(column_image[a] / pivot, row_image, v.inverse[a], k)
        v.inverse[a, k] = -column_image[a] / pivot
        v.inverse[k, a] = -row_image[a] / pivot
    v.inverse[k, k] = 1.0 / pivot
    v.rows[k] = entering


@kernel
def delete(v, k, p, a):
    """Take row `p` and column `a` out of the basis; the last ones take their places."""
    last, pivot, pivot_row = k - 1, v.inverse[a, p], v.inverse[a]
    for b in range(k):
        scale = v.inverse[b, p] / pivot
        if b != a and scale != 0.0:
            axpy(-scale, pivot_row, v.inverse[b], k)
    if a != last:
        v.inverse[a, :k] = v.inverse[last, :k]
    for b in range(last):
        v.inverse[b, p] = v.inverse[b, last]
    v.rows[p] = v.rows[last]


@kernel
def settle_dual(v, work):
    """Correct the dual vector on the interpolated rows, so that the slopes of the basic columns are as they must be."""
    k, m = v.size
    for a in range(k):
        work[a] = v.level[a] * v.side[a] - v.slope[a]
    correction = work[k : 2 * k]
    row_times_inverse(v, work, k, correction)
    for p in range(k):
        if correction[p] != 0.0:
            v.dual[v.rows[p]] += correction[p]
            axpy(correction[p], v.columns[v.rows[p]], v.slope, m)
    for a in range(k):
        v.slope[a] = v.level[a] * v.side[a]
