r"""Nonnegative RESCAL: communities of entities and the relations between them.

A relational tensor of T slices over n entities is approximated by :math:`X_t \approx A R_t A^\top` with
:math:`A \ge 0` (n x k), which says what communities an entity belongs to, and :math:`R_t \ge 0` (k x k), which says how
communities relate in slice t:

.. math:: \min_{A, R \ge 0} \; \tfrac12 \sum_t \sum_{(i, j)\ \text{known}} (x_{tij} - a_i^\top R_t a_j)^2.

Coordinate descent (:mod:`~sparsemodels.solvers.rescal_coordinate_descent`) takes turns on A and R; each iteration
starts from a point extrapolated along the last step, and is undone where that does not pay. Multiplicative updates are
there for comparison.

References
----------
M. Nickel, V. Tresp and H.-P. Kriegel, "A three-way model for collective learning on multi-relational data", ICML 2011.

D. P. Truong, E. Skau, V. I. Valtchinov and B. S. Alexandrov, "Determination of latent dimensionality in international
trade flow", Machine Learning: Science and Technology 1, 2020 (multiplicative updates).
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .relational_slices import RelationalSlices, links_matrix
from .rescal_coordinate_descent import linked_factor, sweep_entities, sweep_relations

_TINY = 1e-300


class RelationalFactorization(NamedTuple):
    """A nonnegative RESCAL model with its certificate.

    Attributes
    ----------
    A : ndarray of shape (n_entities, n_components)
        The factors of the entities; their columns sum to one, or are zero.
    R : ndarray of shape (n_slices, n_components, n_components)
        The relations between components.
    objective : float
        Half the squared error over the known entries.
    objective_history : ndarray of shape (n_iter + 1,)
        The objective at the start and after each iteration.
    kkt : float
        The relative KKT residual: each coordinate's own best step, in the units of the data, relative to the data.
    n_iter : int
        Iterations.
    status : str
        "converged", "max_iter", "stalled", "time_limit", "stopped" or "interrupted".
    """

    A: np.ndarray
    R: np.ndarray
    objective: float
    objective_history: np.ndarray
    kkt: float
    n_iter: int
    status: str


def slice_targets(data: RelationalSlices, A: np.ndarray) -> np.ndarray:
    r""":math:`A^\top X_t A` for every slice, unknown entries counting as zero; shape (n_slices, k, k)."""
    return np.stack([A.T @ (slice_ @ A) for slice_ in data.slices])


def _unknown_targets(data: RelationalSlices, A: np.ndarray, R: np.ndarray) -> np.ndarray:
    r"""What the model's own values at the unknown positions add to the targets."""
    extra = np.zeros_like(R)
    for t, (i, j) in enumerate(data.unknown):
        if i.size:
            modelled = np.einsum("ia,ia->i", A[i] @ R[t], A[j])
            extra[t] = (A[i] * modelled[:, np.newaxis]).T @ A[j]
    return extra


def _improve_relations(
    data: RelationalSlices, A: np.ndarray, R: np.ndarray, targets: np.ndarray, symmetric: bool, max_sweeps: int,
    delta: float,
) -> None:  # fmt: skip
    """Sweep until the steps are small against the first, the unknown entries filled with the model before each."""
    G = A.T @ A
    incomplete = any(i.size for i, _ in data.unknown)
    first = 0.0
    for sweep in range(max_sweeps):
        gradient = G @ R @ G - targets
        if incomplete:
            gradient -= _unknown_targets(data, A, R)
        moved = sweep_relations(G, gradient, R, symmetric)
        if sweep == 0:
            first = moved
        if moved <= delta**2 * first:
            break


def _objective(data: RelationalSlices, A: np.ndarray, R: np.ndarray, targets: np.ndarray) -> float:
    """Half the squared error over the known entries, from the targets; from the residual where that would cancel."""
    G = A.T @ A
    loss = 0.5 * data.squared_norm - np.vdot(targets, R) + 0.5 * np.vdot(G @ R @ G, R)
    loss -= 0.5 * np.vdot(_unknown_targets(data, A, R), R)
    if loss > 1e-6 * data.squared_norm or not isinstance(data.slices[0], np.ndarray):
        return max(float(loss), 0.0)
    total = 0.0
    for slice_, relation, (i, j) in zip(data.slices, R, data.unknown, strict=True):
        residual = slice_ - A @ relation @ A.T
        residual[i, j] = 0.0
        total += np.vdot(residual, residual)
    return 0.5 * float(total)


def gradients(
    data: RelationalSlices, A: np.ndarray, R: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    r"""Gradients of the objective, and the curvatures that the KKT residual is measured with.

    Parameters
    ----------
    data : RelationalSlices
        The tensor.
    A : ndarray of shape (n_entities, n_components)
        The factors of the entities.
    R : ndarray of shape (n_slices, n_components, n_components)
        The relations.

    Returns
    -------
    tuple of ndarray
        The gradient in A; its curvature, that of the problem in which the other factor K of L is fixed; the gradient in
        R, and its curvature.
    """
    K, G = linked_factor(A, R), A.T @ A
    S = K.T @ K
    gradient_A = A @ S - links_matrix(data.links) @ K
    curvature_A = np.tile(np.diag(S), (A.shape[0], 1))
    rows = np.repeat(np.arange(A.shape[0]), np.diff(data.links.unknown_start))
    unknown = K[data.links.unknown]
    np.subtract.at(gradient_A, rows, np.einsum("ia,ia->i", A[rows], unknown)[:, np.newaxis] * unknown)
    np.subtract.at(curvature_A, rows, unknown**2)
    gradient_R = G @ R @ G - slice_targets(data, A) - _unknown_targets(data, A, R)
    curvature_R = np.tile(np.outer(np.diag(G), np.diag(G)), (R.shape[0], 1, 1))
    for t, (i, j) in enumerate(data.unknown):
        curvature_R[t] -= (A[i] ** 2).T @ A[j] ** 2
    return gradient_A, np.maximum(curvature_A, 0.0), gradient_R, np.maximum(curvature_R, 0.0)


def kkt_residual(data: RelationalSlices, A: np.ndarray, R: np.ndarray, *, symmetric: bool = False) -> float:
    r"""Relative KKT residual of a model.

    With gradient g and curvature c of a coordinate z, its own best step is :math:`z - \max(z - g / c, 0)`. The residual
    is the root of the sum of :math:`c\,(\text{step})^2` over all coordinates, relative to the norm of the known
    entries: it has no unit, and rescaling the components or the data does not change it.

    Parameters
    ----------
    data : RelationalSlices
        The tensor.
    A : ndarray of shape (n_entities, n_components)
        The factors of the entities.
    R : ndarray of shape (n_slices, n_components, n_components)
        The relations.
    symmetric : bool, default=False
        Whether R is restricted to symmetric slices.

    Returns
    -------
    float
        The residual; zero for a tensor of zeros with a model of zeros.
    """
    gradient_A, curvature_A, gradient_R, curvature_R = gradients(data, A, R)
    if symmetric:  # of the symmetric part; each pair counts once in either place
        gradient_R = 0.5 * (gradient_R + gradient_R.transpose(0, 2, 1))
    total = _squared_steps(A, gradient_A, curvature_A) + _squared_steps(R, gradient_R, curvature_R)
    return float(np.sqrt(total / max(data.squared_norm, _TINY)))


def _squared_steps(value: np.ndarray, gradient: np.ndarray, curvature: np.ndarray) -> float:
    safe = np.where(curvature > 0.0, curvature, 1.0)
    steps = value - np.maximum(value - gradient / safe, 0.0)
    return float((curvature * steps**2).sum())


def nonnegative_rescal(
    data: RelationalSlices,
    A: np.ndarray,
    R: np.ndarray | None = None,
    *,
    solver: str = "hals",
    symmetric: bool = False,
    tol: float = 1e-4,
    max_iter: int = 500,
    deadline: float = np.inf,
    on_iteration: Callable[[int, float], bool] | None = None,
) -> RelationalFactorization:
    """Fit a nonnegative RESCAL model from a start.

    Parameters
    ----------
    data : RelationalSlices
        The tensor, nonnegative.
    A : ndarray of shape (n_entities, n_components)
        Where to start.
    R : ndarray of shape (n_slices, n_components, n_components), optional
        Where to start; the best for `A` by default.
    solver : {"hals", "mu"}, default="hals"
        Exact coordinate descent, or multiplicative updates.
    symmetric : bool, default=False
        Whether all slices of R are symmetric.
    tol : float, default=1e-4
        The relative KKT residual to reach.
    max_iter : int, default=500
        The largest number of iterations.
    deadline : float, default=inf
        The time of :func:`time.monotonic` after which to return what there is.
    on_iteration : callable, optional
        Called with the number of iterations and the objective after each; True stops.

    Returns
    -------
    RelationalFactorization
        The model, normalized, and its certificate. The objective never rises.
    """
    A = np.array(A, dtype=np.float64, order="C")
    targets = slice_targets(data, A)
    if R is None:
        R = np.zeros((len(data.slices), A.shape[1], A.shape[1]))
        _improve_relations(data, A, R, targets, symmetric, 50, 1e-3)
        if solver == "mu":  # zeros would stay
            R += 1e-2 * max(float(R.mean()), _TINY)
    R = np.array(R, dtype=np.float64, order="C")
    history = [_objective(data, A, R, targets)]
    before_A, before_R, momentum, most = A, R, 0.5 if solver == "hals" else 0.0, 1.0
    status, quiet = "max_iter", 0
    try:
        for n_iter in range(1, max_iter + 1):
            if solver == "hals":
                proposal = _descend(
                    data,
                    np.maximum(A + momentum * (A - before_A), 0.0),
                    np.maximum(R + momentum * (R - before_R), 0.0),
                    symmetric,
                )
            else:
                proposal = _multiply(data, A, R, targets, history[-1], symmetric)
            accepted = proposal.objective <= history[-1]
            history.append(min(proposal.objective, history[-1]))
            before_A, before_R = A, R  # a refused step leaves no momentum: the next one is plain, and descends
            if accepted:
                A, R, targets = proposal.A, proposal.R, proposal.targets
                momentum, most = min(most, 1.05 * momentum), min(1.0, 1.01 * most)
            else:
                momentum, most = momentum / 1.5, momentum
            small = proposal.moved <= (tol * tol) * data.squared_norm
            if accepted and small and kkt_residual(data, A, R, symmetric=symmetric) <= tol:
                status = "converged"
                break
            quiet = quiet + 1 if history[-2] - history[-1] <= 1e-15 * data.squared_norm else 0
            if quiet == 20:  # nothing but rounding is left to gain
                status = "stalled"
                break
            if on_iteration is not None and on_iteration(n_iter, history[-1]):
                status = "stopped"
                break
            if time.monotonic() > deadline:
                status = "time_limit"
                break
    except KeyboardInterrupt:
        status = "interrupted"
    A, R = normalize(A, R)
    kkt = kkt_residual(data, A, R, symmetric=symmetric)
    if kkt <= tol and status in ("max_iter", "stalled"):
        status = "converged"
    return RelationalFactorization(A, R, history[-1], np.array(history), kkt, len(history) - 1, status)


class _Proposal(NamedTuple):
    """Where one iteration leads, the targets and the objective there, and the squared size of its steps in A."""

    A: np.ndarray
    R: np.ndarray
    targets: np.ndarray
    objective: float
    moved: float


def _descend(data: RelationalSlices, A: np.ndarray, R: np.ndarray, symmetric: bool) -> _Proposal:
    """One iteration of coordinate descent; A and R are changed."""
    K = linked_factor(A, R)
    moved = sweep_entities(data.links, A, R, K, K.T @ K, 2)
    targets = slice_targets(data, A)
    _improve_relations(data, A, R, targets, symmetric, 10, 0.1)
    return _Proposal(A, R, targets, _objective(data, A, R, targets), moved)


def _multiply(
    data: RelationalSlices, A: np.ndarray, R: np.ndarray, targets: np.ndarray, objective: float, symmetric: bool
) -> _Proposal:
    r"""One iteration of multiplicative updates.

    The ratio of the negative to the positive part of the gradient in A is taken to the power of one where that lowers
    the objective. The power 1/4 always does: the quartic part of the objective lies under its separable bound in
    :math:`(a' / a)^4`, the quadratic part under its tangent in :math:`\log(a' / a)`.
    """
    gradient, curvature, _, _ = gradients(data, A, R)
    attraction = links_matrix(data.links) @ linked_factor(A, R)
    ratio = attraction / np.maximum(gradient + attraction, _TINY)
    new_A, new_targets = A, targets
    for power in (1.0, 0.5, 0.25):
        trial = A * ratio**power
        trial_targets = slice_targets(data, trial)
        if _objective(data, trial, R, trial_targets) <= objective:
            new_A, new_targets = trial, trial_targets
            break
    G = new_A.T @ new_A
    repulsion, attraction = G @ R @ G - _unknown_targets(data, new_A, R), new_targets
    if symmetric:
        repulsion, attraction = repulsion + repulsion.transpose(0, 2, 1), attraction + attraction.transpose(0, 2, 1)
    new_R = R * (attraction / np.maximum(repulsion, _TINY))
    reached = _objective(data, new_A, new_R, new_targets)
    return _Proposal(new_A, new_R, new_targets, reached, _squared_steps(A, gradient, curvature))


def normalize(A: np.ndarray, R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale the columns of A to unit sums, and R against it.

    Parameters
    ----------
    A : ndarray of shape (n_entities, n_components)
        The factors of the entities.
    R : ndarray of shape (n_slices, n_components, n_components)
        The relations.

    Returns
    -------
    tuple of ndarray
        The scaled A and R; a column of zeros stays.
    """
    sums = A.sum(axis=0)
    scale = np.where(sums > 0.0, sums, 1.0)
    return A / scale, R * np.outer(scale, scale)


def relations_given_entities(
    data: RelationalSlices, A: np.ndarray, *, symmetric: bool = False, tol: float = 1e-10, max_sweeps: int = 10_000
) -> np.ndarray:
    """The best relations for given factors of the entities: nonnegative least squares, slice by slice.

    Parameters
    ----------
    data : RelationalSlices
        The tensor.
    A : ndarray of shape (n_entities, n_components)
        The factors of the entities.
    symmetric : bool, default=False
        Whether the relations are to be symmetric.
    tol : float, default=1e-10
        Sweep until the steps are small against the first by this factor.
    max_sweeps : int, default=10000
        The largest number of sweeps.

    Returns
    -------
    ndarray of shape (n_slices, n_components, n_components)
        The relations.
    """
    A = np.ascontiguousarray(A, dtype=np.float64)
    R = np.zeros((len(data.slices), A.shape[1], A.shape[1]))
    _improve_relations(data, A, R, slice_targets(data, A), symmetric, max_sweeps, tol)
    return R
