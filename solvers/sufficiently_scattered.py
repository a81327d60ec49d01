r"""Whether the columns of a nonnegative matrix are sufficiently scattered: when a factorization is unique.

With the second-order cone :math:`\mathcal{C} = \{x : e^T x \ge \sqrt{r - 1}\, \|x\|\}`, the columns of a nonnegative
:math:`H \in \mathbb{R}^{r \times n}` are sufficiently scattered if

- SSC1: :math:`\mathcal{C} \subseteq \mathrm{cone}(H)`, and
- SSC2: the dual cone of H touches the boundary of the dual cone of :math:`\mathcal{C}` along the unit vectors only.

By duality SSC1 holds exactly if :math:`v^* = \max\{\|x\|^2 : H^T x \ge 0,\; e^T x = 1\} \le 1`, and SSC2 if, moreover,
only unit vectors attain :math:`\|x\| = 1`. The maximum of a convex function over a polytope is at one of its vertices.
These are the facet normals of the convex hull of the columns of H scaled to unit sums, a hull in r - 1 dimensions:
where it is small, Qhull lists them all. Beyond, :mod:`~sparsemodels.solvers.largest_norm` climbs to refute and branches
to prove.

References
----------
N. Gillis and R. Luce, "Checking the sufficiently scattered condition using a global non-convex optimization software",
IEEE Signal Processing Letters 31, 2024. Qhull route, necessary condition by linear programs and bounds: own
derivations.
"""

import time
from typing import NamedTuple

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from .largest_norm import ascend, into_polytope, largest_norm, maximise_linear

_FACET_WORK = 2e7  # n ** floor((r - 1) / 2), to which Qhull's facets are proportional at worst: a few seconds
_N_STARTS = 20


class SufficientlyScattered(NamedTuple):
    r"""What is known of the sufficiently scattered condition, with its certificate.

    Attributes
    ----------
    ssc1 : bool or None
        Whether the cone of the columns contains the second-order cone; None if neither could be shown in time.
    ssc2 : bool or None
        Whether, moreover, the two cones' duals touch along the unit vectors only. False wherever `ssc1` is False.
    value : float
        The largest :math:`\|x\|^2` that was met: a lower bound of the maximum, at least one.
    bound : float
        An upper bound of the maximum; infinite if none was needed, or if there is none. The facets give the maximum
        itself.
    certificate : ndarray of shape (r,) or None
        What refutes a condition that does not hold: x with ``H.T @ x >= 0`` and unit sum, with :math:`\|x\|^2 =`
        `value` > 1 if `ssc1` is False, with a norm of one and no unit vector if only `ssc2` is. None otherwise.
    n_nodes : int
        The boxes of the branch and bound; zero if it was not needed.
    method : {"direct", "qhull", "linear_programs", "branch_and_bound"}
        What decided.
    status : {"decided", "time_limit"}
        Whether everything could be decided.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.sufficiently_scattered import check_sufficiently_scattered
    >>> result = check_sufficiently_scattered(np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0]]))
    >>> result.ssc1, round(result.value, 6)  # the cone between three columns does not hold the circular cone
    (False, 3.0)
    """

    ssc1: bool | None
    ssc2: bool | None
    value: float
    bound: float
    certificate: np.ndarray | None
    n_nodes: int
    method: str
    status: str


def check_sufficiently_scattered(
    H: np.ndarray, *, method: str = "auto", tol: float = 1e-7, deadline: float = np.inf
) -> SufficientlyScattered:
    """Decide whether the columns of a nonnegative matrix are sufficiently scattered.

    Parameters
    ----------
    H : ndarray of shape (r, n)
        A nonnegative float64 matrix with at least one column that is not zero.
    method : {"auto", "qhull", "branch_and_bound"}, default="auto"
        How to find the maximum: by listing all facets, by linear programs and branch and bound, or by the facets where
        there are few.
    tol : float, default=1e-7
        Squared norms within `tol` of one count as one.
    deadline : float, default=inf
        The time of :func:`time.monotonic` after which to return what is known. Qhull cannot be stopped.

    Returns
    -------
    SufficientlyScattered
        What is known, with its certificate.
    """
    rank = H.shape[0]
    rows = unit_columns(H)
    if rank == 1:
        return SufficientlyScattered(True, True, 1.0, 1.0, None, 0, "direct", "decided")
    hidden = _orthogonal_direction(rows)
    if hidden is not None:  # the columns span no cone with an interior: x can run off along a line
        return _refuted(rows, _far_along(hidden), np.inf, 0, "direct")
    if rank == 2:
        return _from_vertices(rows, _vertices_of_segment(rows), tol, "direct")
    if method == "qhull" or (method == "auto" and (rank <= 6 or rows.shape[0] ** ((rank - 1) // 2) <= _FACET_WORK)):
        try:
            return _from_vertices(rows, _vertices_by_facets(rows), tol, "qhull")
        except QhullError:  # too flat for Qhull; linear programs do not mind
            pass
    return _by_linear_programs(rows, tol, deadline)


def unit_columns(H: np.ndarray) -> np.ndarray:
    """The distinct nonzero columns of a nonnegative matrix, scaled to unit sums, as rows.

    Parameters
    ----------
    H : ndarray of shape (r, n)
        The matrix.

    Returns
    -------
    ndarray of shape (n_distinct, r)
        The rows, C-contiguous.
    """
    largest = H.max(axis=0)
    scaled = (H[:, largest > 0.0] / largest[largest > 0.0]).T  # first by the largest: sums neither over- nor underflow
    scaled /= scaled.sum(axis=1)[:, np.newaxis]
    _, first = np.unique(scaled.round(13), axis=0, return_index=True)
    return np.ascontiguousarray(scaled[np.sort(first)])


def _orthogonal_direction(rows: np.ndarray) -> np.ndarray | None:
    """A direction z with a zero sum and ``rows @ z >= 0`` if the rows do not span the space, else None."""
    _, singular, right = np.linalg.svd(rows, full_matrices=True)
    rank = int(np.count_nonzero(singular > rows.shape[1] * np.finfo(np.float64).eps * singular[0]))
    if rank == rows.shape[1]:
        return None
    normal = right[-1]  # rows @ normal = 0
    direction = normal - normal.mean()
    # The rows have unit sums: rows @ direction = -mean(normal), of one sign.
    return direction if normal.mean() <= 0.0 else -direction


def _far_along(direction: np.ndarray) -> np.ndarray:
    """A point with a unit sum and a squared norm of two, from the centre along a direction with a zero sum."""
    size = direction.size
    return np.full(size, 1.0 / size) + direction * np.sqrt((2.0 - 1.0 / size) / (direction @ direction))


def _refuted(rows: np.ndarray, point: np.ndarray, bound: float, n_nodes: int, method: str) -> SufficientlyScattered:
    point = into_polytope(rows, point)
    value = float(point @ point)
    return SufficientlyScattered(False, False, value, max(bound, value), point, n_nodes, method, "decided")


def _vertices_of_segment(rows: np.ndarray) -> np.ndarray:
    """The vertices for r = 2, as :func:`_vertices_by_facets`."""
    extremes = rows[[int(np.argmax(rows[:, 0])), int(np.argmax(rows[:, 1]))]]
    return np.column_stack([extremes[:, 1], -extremes[:, 0]]) * np.array([[-1.0], [1.0]])


def _vertices_by_facets(rows: np.ndarray) -> np.ndarray:
    """Normals of all facets of the cone of the rows, one each: multiples of the vertices of the polytope.

    In the coordinates without the last one, a facet of Qhull is ``n @ z + o = 0`` with ``n @ z + o <= 0`` inside. On
    the plane of unit sums that is ``a @ x >= 0`` with ``a = (-n - o, -o)``.
    """
    options = "Qt" if rows.shape[1] <= 5 else "Qt Qx"
    equations = ConvexHull(rows[:, :-1], qhull_options=options).equations
    normals, offsets = equations[:, :-1], equations[:, -1:]
    return np.hstack([-normals - offsets, -offsets])


def _from_vertices(rows: np.ndarray, normals: np.ndarray, tol: float, method: str) -> SufficientlyScattered:
    sums, squares = normals.sum(axis=1), np.einsum("ij,ij->i", normals, normals)
    # A facet normal with a sum that is not positive is a direction in which the polytope has no end.
    flat = sums <= np.finfo(np.float64).eps * np.sqrt(squares)
    if flat.any():
        steepest = normals[int(np.argmin(sums / np.sqrt(squares)))]
        return _refuted(rows, _far_along(_without_sum(steepest)), np.inf, 0, method)
    vertices = normals / sums[:, np.newaxis]
    norms = squares / sums**2
    longest = int(np.argmax(norms))
    value = float(norms[longest])
    if value > 1.0 + tol:
        return _refuted(rows, vertices[longest], value, 0, method)
    touching = np.flatnonzero((norms >= 1.0 - tol) & (vertices.max(axis=1) <= 1.0 - 2.0 * tol))
    if touching.size == 0:
        return SufficientlyScattered(True, True, value, value, None, 0, method, "decided")
    point = into_polytope(rows, vertices[touching[0]])
    return SufficientlyScattered(True, False, value, value, point, 0, method, "decided")


def _without_sum(normal: np.ndarray) -> np.ndarray:
    """From a direction with a sum that is not positive to one with none: the centre, at which all rows are positive."""
    return normal - normal.mean()


def _by_linear_programs(rows: np.ndarray, tol: float, deadline: float) -> SufficientlyScattered:
    size, threshold = rows.shape[1], 1.0 + tol
    point, upper = _necessary_condition(rows, threshold, deadline)
    if point is None and time.monotonic() <= deadline:
        point = _climb(rows, 1.0 - (size - 1.0) * upper, upper, threshold, deadline)
    if point is not None:
        return _refuted(rows, point, np.inf, 0, "linear_programs")
    if not np.isfinite(upper).all():
        return SufficientlyScattered(None, None, 1.0, np.inf, None, 0, "linear_programs", "time_limit")
    lower = 1.0 - (upper.sum() - upper)
    first = largest_norm(rows, lower, upper, threshold, deadline=deadline)
    if first.status == "exceeded":
        return _refuted(rows, first.point, first.bound, first.n_nodes, "branch_and_bound")
    value, bound = max(first.value, 1.0), max(first.bound, 1.0)
    if first.status != "proved":
        return SufficientlyScattered(None, None, value, bound, None, first.n_nodes, "branch_and_bound", "time_limit")
    # The unit vectors attain one. Without their surroundings, nothing may come within tol of it.
    away = np.minimum(upper, 1.0 - 2.0 * tol)
    second = largest_norm(rows, lower, away, 1.0 - tol, deadline=deadline)
    n_nodes = first.n_nodes + second.n_nodes
    ssc2 = {"proved": True, "exceeded": False}.get(second.status)
    certificate = into_polytope(rows, second.point) if ssc2 is False else None
    status = "decided" if ssc2 is not None else "time_limit"
    return SufficientlyScattered(True, ssc2, value, bound, certificate, n_nodes, "branch_and_bound", status)


def _necessary_condition(rows: np.ndarray, threshold: float, deadline: float) -> tuple[np.ndarray | None, np.ndarray]:
    r"""Refute by the necessary condition NC-SSC, or bound every coordinate.

    SSC1 needs, for every k, :math:`e - e_k` in the relative interior of the cone of the columns with a zero in row k,
    and those columns of rank r - 1. Read from the dual side: :math:`x_k \le 1` everywhere in the polytope, with
    equality at :math:`e_k` only. Both are linear programs, the second because a linear function without symmetry
    vanishes on a cone only if the cone is a point.

    Returns a point whose squared norm exceeds the threshold or None, and upper bounds of the coordinates.
    """
    size = rows.shape[1]
    # If the coordinates are at most one in this box, they are everywhere: a point outside is joined to the centre by a
    # segment that leaves the box where some coordinate exceeds two.
    far = np.full(size, 2.0 * size)
    upper = np.full(size, np.inf)
    tilt = np.random.default_rng(0).standard_normal((size,))
    for k in range(size):
        if time.monotonic() > deadline:
            return None, upper
        unit = np.zeros(size)
        unit[k] = 1.0
        step = maximise_linear(rows, unit, -far, far)
        assert step is not None  # e_k itself is feasible
        point, upper[k], _ = step
        if point @ point > threshold:
            return point, upper
        face = -far
        face[k] = 1.0
        for direction in (tilt, -tilt):
            step = maximise_linear(rows, direction, face, far)
            if step is not None and step[0] @ step[0] > threshold:
                return step[0], upper
    return None, np.maximum(upper, 1.0)


def _climb(
    rows: np.ndarray, lower: np.ndarray, upper: np.ndarray, threshold: float, deadline: float
) -> np.ndarray | None:
    """A point whose squared norm exceeds the threshold, from many starts, or None if none was found."""
    random = np.random.default_rng(0)
    for _ in range(_N_STARTS):
        if time.monotonic() > deadline:
            break
        direction = random.standard_normal(upper.size)
        point = ascend(rows, direction - direction.mean(), lower, upper)
        if point @ point > threshold:
            return point
    return None
