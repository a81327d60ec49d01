r"""Euclidean projections, :math:`P_C(x) = \arg\min_{z \in C} \|z - x\|_2`, onto simple convex sets.

Each is exact: a direct method, right up to rounding in float64, whatever the precision of the input. A matrix is
projected row by row. The answer is a new array of the input's floating-point type; nothing of the caller's changes.
"""

import numpy as np
import scipy.linalg

from .kernel import kernel


def _points(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x)
    if x.dtype not in (np.float32, np.float64):
        x = x.astype(np.float64)
    if x.ndim not in (1, 2):
        raise ValueError(f"x must be a vector or a matrix of rows, got {x.ndim} dimensions")
    return x


def _check_radius(radius: float) -> float:
    if not (np.ndim(radius) == 0 and 0.0 <= radius < np.inf):
        raise ValueError(f"radius must be a number in [0, inf), got {radius!r}")
    return float(radius)


def _vector(name: str, value: np.ndarray, size: int) -> np.ndarray:
    value = np.asarray(value, dtype=np.float64)
    if value.shape != (size,):
        raise ValueError(f"{name} must have shape ({size},), one entry a column of x, got {value.shape}")
    return value


def project_box(x: np.ndarray, lower: np.ndarray | float, upper: np.ndarray | float) -> np.ndarray:
    r"""Onto a box: :math:`P(x)_j = \min(\max(x_j, l_j), u_j)`.

    Parameters
    ----------
    x : ndarray of shape (n,) or (m, n)
        The point, or one in every row.
    lower, upper : float or ndarray of shape (n,)
        The bounds, ``lower <= upper``; -inf and inf where there is none.

    Returns
    -------
    ndarray of the shape of `x`
        The projection.

    Raises
    ------
    ValueError
        If the box is empty.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.projections import project_box
    >>> project_box(np.array([-2.0, 0.5, 2.0]), -1.0, 1.0)
    array([-1. ,  0.5,  1. ])
    """
    x = _points(x)
    if not np.all(np.asarray(lower) <= np.asarray(upper)):
        raise ValueError(f"lower must be <= upper in every coordinate, got lower={lower!r} and upper={upper!r}")
    return np.clip(x, lower, upper).astype(x.dtype, copy=False)


def project_nonnegative(x: np.ndarray) -> np.ndarray:
    r"""Onto the nonnegative orthant: :math:`P(x)_j = \max(x_j, 0)`.

    Parameters
    ----------
    x : ndarray of shape (n,) or (m, n)
        The point, or one in every row.

    Returns
    -------
    ndarray of the shape of `x`
        The projection.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.projections import project_nonnegative
    >>> project_nonnegative(np.array([-2.0, 0.5]))
    array([0. , 0.5])
    """
    x = _points(x)
    return np.maximum(x, x.dtype.type(0))


@kernel
def _largest(row):
    largest = row[0]
    for value in row:
        if not value <= largest:  # NaN stays
            largest = value
            if value != value:
                break
    return np.float64(largest)


@kernel
def _project_simplex(row, radius, candidates, out):
    """Algorithm 1 of Condat (2016), begun at the largest entry; that entry (not finite: nothing is done)."""
    # Distances below the largest entry: exact for the entries that matter, however far from zero all of them are.
    # And the threshold is at least -radius from the start, so that most entries never become candidates.
    largest = _largest(row)
    if not np.isfinite(largest):
        return largest
    threshold, count = -radius, 1
    candidates[0] = 0.0
    skipped = False
    for value in row:
        distance = value - largest
        if distance > threshold:
            if distance == 0.0 and not skipped:  # the largest entry itself, a candidate already
                skipped = True
                continue
            candidates[count] = distance
            count += 1
            threshold += (distance - threshold) / count
    # Drop candidates below the threshold of the others, until none is. The excess over the radius corrects the
    # threshold, which so loses the rounding of the passes before.
    while True:
        excess, kept = -radius, 0
        for k in range(count):
            if candidates[k] > threshold:
                excess += candidates[k] - threshold
                candidates[kept] = candidates[k]
                kept += 1
        if kept > 0:
            threshold += excess / kept
        if kept == count or kept == 0:
            break
        count = kept
    for j in range(row.size):
        out[j] = max(row[j] - largest - threshold, 0.0)
    return largest


@kernel
def _project_rows_on_simplex(x, radius, candidates, out):
    for i in range(x.shape[0]):
        if not np.isfinite(_project_simplex(x[i], radius, candidates, out[i])):
            return i
    return -1


def project_simplex(x: np.ndarray, radius: float = 1.0) -> np.ndarray:
    r"""Onto the simplex: :math:`P(x)_j = \max(x_j - \tau, 0)` with the :math:`\tau` that makes the sum the radius.

    Takes O(n) operations in practice and O(n) work memory, for one row at a time.

    Parameters
    ----------
    x : ndarray of shape (n,) or (m, n)
        The point, or one in every row; -inf for a coordinate that must be zero.
    radius : float, default=1.0
        The sum of the answer's entries, >= 0.

    Returns
    -------
    ndarray of the shape of `x`
        The projection; its entries are exact up to rounding relative to the radius, even if all entries of `x`
        share a large offset.

    Raises
    ------
    ValueError
        If `radius` is negative or not finite, or the largest entry of a row is not finite.

    References
    ----------
    L. Condat, "Fast projection onto the simplex and the l1 ball", Mathematical Programming 158, 2016, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.projections import project_simplex
    >>> project_simplex(np.array([0.5, 1.0, -1.0]))
    array([0.25, 0.75, 0.  ])
    """
    x, radius = _points(x), _check_radius(radius)
    if x.shape[-1] == 0:
        raise ValueError("x must have at least one column: the simplex of no coordinates is empty")
    rows, out = np.atleast_2d(x), np.empty(x.shape, dtype=x.dtype)
    bad = _project_rows_on_simplex(rows, radius, np.empty(x.shape[-1]), np.atleast_2d(out))
    if bad >= 0:
        raise ValueError(f"x must have a finite largest entry in every row, got {rows[bad].max()} in row {bad}")
    return out


@kernel
def _project_weighted_l1(row, radius, weights, members, out):
    """Drop coordinates below the threshold of the others until none is; False if an entry is not finite."""
    norm, count = 0.0, 0
    for j in range(row.size):
        magnitude = abs(np.float64(row[j]))
        if not magnitude < np.inf:
            return False
        out[j] = row[j]
        if magnitude > 0.0 and weights[j] > 0.0:
            norm += weights[j] * magnitude  # inf for an infinite weight
            members[count] = j
            count += 1
    if norm <= radius:
        return True
    # Infinite weights leave no room, and zero weights ask for none.
    kept = 0
    for k in range(count):
        j = members[k]
        if weights[j] == np.inf:
            out[j] = 0.0
        else:
            members[kept] = j
            kept += 1
    total, count, threshold, first = kept, kept, 0.0, True
    while count > 0:
        excess, square, kept = -radius, 0.0, 0
        for k in range(count):
            j = members[k]
            rest = abs(np.float64(row[j])) - threshold * weights[j]
            if rest > 0.0:
                excess += weights[j] * rest
                square += weights[j] * weights[j]
                members[kept], members[k] = members[k], members[kept]
                kept += 1
        if kept > 0:
            threshold = max(threshold + excess / square, 0.0)
        if (kept == count and not first) or kept == 0:
            break
        count, first = kept, False
    for k in range(total):
        j = members[k]
        out[j] = np.sign(row[j]) * max(abs(np.float64(row[j])) - threshold * weights[j], 0.0)
    return True


@kernel
def _project_rows_on_weighted_l1(x, radius, weights, members, out):
    for i in range(x.shape[0]):
        if not _project_weighted_l1(x[i], radius, weights, members, out[i]):
            return i
    return -1


def project_l1_ball(x: np.ndarray, radius: float = 1.0, weights: np.ndarray | None = None) -> np.ndarray:
    r"""Onto the L1 ball: :math:`P(x)_j = \mathrm{sign}(x_j) \max(|x_j| - \tau \omega_j, 0)`.

    Here :math:`\tau \ge 0` is the smallest number for which :math:`\sum_j \omega_j |P(x)_j| \le r`.

    Parameters
    ----------
    x : ndarray of shape (n,) or (m, n)
        The point, or one in every row; finite.
    radius : float, default=1.0
        The radius r, >= 0.
    weights : ndarray of shape (n,), optional
        A factor for each coordinate in [0, inf]: 0 leaves a coordinate free, inf makes it zero. All one by default.

    Returns
    -------
    ndarray of the shape of `x`
        The projection.

    Raises
    ------
    ValueError
        If `radius` or a weight is negative, or `x` is not finite.

    References
    ----------
    L. Condat, "Fast projection onto the simplex and the l1 ball", Mathematical Programming 158, 2016; with weights:
    C. Michelot, "A finite algorithm for finding the projection of a point onto the canonical simplex of R^n", Journal
    of Optimization Theory and Applications 50, 1986, whose sweeps carry over.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.projections import project_l1_ball
    >>> project_l1_ball(np.array([0.5, -1.0, 0.1]))
    array([ 0.25, -0.75,  0.  ])
    """
    x, radius = _points(x), _check_radius(radius)
    if weights is None:
        magnitude = np.abs(x)
        outside = np.atleast_1d(magnitude.sum(axis=-1, dtype=np.float64)) > radius
        if not np.all(np.isfinite(x)):
            raise ValueError("x must be finite")
        out = x.copy()
        if outside.any():
            rows = np.atleast_2d(out)
            rows[outside] = np.copysign(project_simplex(np.atleast_2d(magnitude)[outside], radius), rows[outside])
        return out
    weights = _vector("weights", weights, x.shape[-1])
    if not np.all(weights >= 0.0):
        raise ValueError(f"weights must be in [0, inf], got {weights[~(weights >= 0.0)][0]}")
    out, members = np.empty(x.shape, dtype=x.dtype), np.empty(x.shape[-1], dtype=np.int64)
    bad = _project_rows_on_weighted_l1(np.atleast_2d(x), radius, weights, members, np.atleast_2d(out))
    if bad >= 0:
        raise ValueError(f"x must be finite, got {np.atleast_2d(x)[bad]} in row {bad}")
    return out


def project_l2_ball(x: np.ndarray, radius: float = 1.0) -> np.ndarray:
    r"""Onto the Euclidean ball: :math:`P(x) = x \min(1, r / \|x\|_2)`.

    Parameters
    ----------
    x : ndarray of shape (n,) or (m, n)
        The point, or one in every row; finite.
    radius : float, default=1.0
        The radius r, >= 0.

    Returns
    -------
    ndarray of the shape of `x`
        The projection.

    Raises
    ------
    ValueError
        If `radius` is negative or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.projections import project_l2_ball
    >>> project_l2_ball(np.array([3.0, 4.0]))
    array([0.6, 0.8])
    """
    x, radius = _points(x), _check_radius(radius)
    # Relative to the largest entry, whose square could overflow.
    largest = np.abs(x).max(axis=-1, keepdims=True, initial=0.0).astype(np.float64)
    unit = x / np.where(largest > 0.0, largest, 1.0)
    norm = np.sqrt(np.sum(unit * unit, axis=-1, keepdims=True))
    with np.errstate(over="ignore"):  # a radius many times as large as the point
        inside = (largest == 0.0) | (norm <= radius / np.where(largest > 0.0, largest, 1.0))
    return np.where(inside, x, unit * (radius / np.where(norm > 0.0, norm, 1.0))).astype(x.dtype)


def _excess(x: np.ndarray, normal: np.ndarray, offset: float) -> tuple[np.ndarray, np.ndarray]:
    """The unit normal, and how far each point lies beyond the hyperplane along it."""
    normal = _vector("normal", normal, x.shape[-1])
    largest = np.abs(normal).max(initial=0.0)
    if not 0.0 < largest < np.inf:
        raise ValueError(f"normal must be finite and not zero, got {normal}")
    if not (np.ndim(offset) == 0 and np.isfinite(offset)):
        raise ValueError(f"offset must be a finite number, got {offset!r}")
    unit = normal / largest
    norm = np.sqrt(unit @ unit)
    unit /= norm
    return unit, x @ unit - offset / largest / norm


def project_hyperplane(x: np.ndarray, normal: np.ndarray, offset: float = 0.0) -> np.ndarray:
    r"""Onto the hyperplane :math:`a^T z = b`: :math:`P(x) = x - a\,(a^T x - b) / \|a\|_2^2`.

    Parameters
    ----------
    x : ndarray of shape (n,) or (m, n)
        The point, or one in every row.
    normal : ndarray of shape (n,)
        The normal a; not zero.
    offset : float, default=0.0
        The right-hand side b.

    Returns
    -------
    ndarray of the shape of `x`
        The projection.

    Raises
    ------
    ValueError
        If `normal` is zero, not finite or of another length, or `offset` is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.projections import project_hyperplane
    >>> project_hyperplane(np.array([1.0, 2.0]), np.array([0.0, 2.0]), 2.0)
    array([1., 1.])
    """
    x = _points(x)
    unit, excess = _excess(x, normal, offset)
    return (x - excess[..., None] * unit).astype(x.dtype)


def project_half_space(x: np.ndarray, normal: np.ndarray, offset: float = 0.0) -> np.ndarray:
    r"""Onto the half-space :math:`a^T z \le b`: :math:`P(x) = x - a \max(a^T x - b, 0) / \|a\|_2^2`.

    Parameters
    ----------
    x : ndarray of shape (n,) or (m, n)
        The point, or one in every row.
    normal : ndarray of shape (n,)
        The outward normal a; not zero.
    offset : float, default=0.0
        The right-hand side b.

    Returns
    -------
    ndarray of the shape of `x`
        The projection.

    Raises
    ------
    ValueError
        If `normal` is zero, not finite or of another length, or `offset` is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.projections import project_half_space
    >>> project_half_space(np.array([[1.0, 2.0], [1.0, -2.0]]), np.array([0.0, 1.0]))
    array([[ 1.,  0.],
           [ 1., -2.]])
    """
    x = _points(x)
    unit, excess = _excess(x, normal, offset)
    return (x - np.maximum(excess, 0.0)[..., None] * unit).astype(x.dtype)


def project_affine(x: np.ndarray, matrix: np.ndarray, offset: np.ndarray) -> np.ndarray:
    r"""Onto the affine set :math:`A z = b`: :math:`P(x) = x - A^+ (A x - b)`, by a QR factorisation of :math:`A^T`.

    Costs one factorisation of :math:`A` for all rows of `x`. Linearly dependent equations are no harm.

    Parameters
    ----------
    x : ndarray of shape (n,) or (m, n)
        The point, or one in every row.
    matrix : ndarray of shape (k, n)
        The equations A.
    offset : ndarray of shape (k,)
        The right-hand sides b.

    Returns
    -------
    ndarray of the shape of `x`
        The projection.

    Raises
    ------
    ValueError
        If the shapes do not fit, an entry is not finite or the equations contradict each other.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.projections import project_affine
    >>> project_affine(np.array([1.0, 2.0, 3.0]), np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 2.0]]), np.array([3.0, 2.0]))
    array([0.5, 1.5, 1. ])
    """
    x = _points(x)
    matrix, offset = np.asarray(matrix, dtype=np.float64), np.asarray(offset, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] != x.shape[-1] or offset.shape != matrix.shape[:1]:
        raise ValueError(
            f"matrix must have shape (k, {x.shape[-1]}) and offset shape (k,), got {matrix.shape} and {offset.shape}"
        )
    if not (np.all(np.isfinite(matrix)) and np.all(np.isfinite(offset))):
        raise ValueError("matrix and offset must be finite")
    # In equations of unit length, so that the rank does not depend on their units.
    largest = np.abs(matrix).max(axis=1, initial=0.0)
    if np.any(offset[largest == 0.0] != 0.0):
        raise ValueError("matrix and offset contradict each other: a zero row with a right-hand side that is not zero")
    used = largest > 0.0
    rows, right = matrix[used] / largest[used, None], offset[used] / largest[used]
    norms = np.sqrt(np.sum(rows * rows, axis=1))
    rows, right = rows / norms[:, None], right / norms
    q, r, order = scipy.linalg.qr(rows.T, mode="economic", pivoting=True)
    diagonal = np.abs(np.diag(r))
    # The diagonal of a pivoted QR falls; unit rows begin it with one.
    rank = int(np.count_nonzero(diagonal > 10.0 * max(matrix.shape) * np.finfo(np.float64).eps))
    coordinates = scipy.linalg.solve_triangular(r[:rank, :rank], right[order[:rank]], trans="T")
    basis = q[:, :rank]
    error = np.abs(rows @ (basis @ coordinates) - right).max(initial=0.0)
    if error > 1e-8 * np.abs(right).max(initial=0.0):
        raise ValueError(f"matrix and offset contradict each other: the best point misses an equation by {error:.1e}")
    out = x.astype(np.float64)
    for _ in range(2):  # the second pass removes the rounding of the first from the equations
        out -= (out @ basis - coordinates) @ basis.T
    return out.astype(x.dtype)
