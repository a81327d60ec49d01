r"""Low-rank projected gradient descent (LPGD) for lifted supervised dictionary learning.

A gradient step, then the nearest matrix of rank r. In the metric of the two blocks,
:math:`L \|A\|^2 + \|B\|_K^2` with L the Lipschitz constant of the classification part, the step of B ends on the data
wherever it began: the reconstruction *is* its own quadratic model. Hence B is never formed. One step goes to

.. math:: A^+ = \Pi \bar A, \quad \bar A = A - \nabla g(A) / L, \quad
    \Pi \text{ the leading } r \text{ eigenvectors of } K + L \bar A \bar A^T,

which minimises a majorizer: the objective cannot rise. A is extrapolated as in FISTA, from the start anew whenever the
objective would rise; L is tried smaller than the worst case and doubled where the majorizer fails.

References
----------
J. Lee, H. Lyu and W. Yao, "Supervised dictionary learning with auxiliary covariates", arXiv:2206.06774, 2022.
B. O'Donoghue and E. Candes, "Adaptive restart for accelerated gradient schemes", Foundations of Computational
Mathematics 15, 2015.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.linalg

from .class_labels import log_loss, loss_at_zero
from .leading_subspace import Leading, leading, subspace_basis
from .supervised_dictionary import Classified, SupervisedProblem

_ROUNDING = 1e-13  # relative: rises of the objective by no more than this are rounding
_VALUE_ONLY = 1e-10  # precision of the best intercepts that is enough for the value
_SHRINK, _SMALLEST = 0.9, 1e-3  # of the Lipschitz constant: per step, and at all
_PATIENCE = 5  # iterations between two measurements of the certificate, at first


class LiftedSolution(NamedTuple):
    """A dictionary's column space with the classifier on it, and their certificates.

    Attributes
    ----------
    point : Classified
        The matrix A with covariate coefficients and intercepts.
    basis : ndarray of shape (n_dimensions, rank)
        Orthonormal vectors that span the common column space of A and the reconstruction.
    objective : float
        The objective.
    objective_history : ndarray of shape (n_iter + 1,)
        The objective at the start and after every iteration; never rises.
    kkt : float
        The norm of the projected-gradient step in the metric of the blocks, relative to the square root of twice the
        loss at zero.
    n_iter : int
        Iterations.
    status : str
        ``"converged"`` (`kkt` <= `tol`), ``"max_iter"``, ``"stalled"`` (steps below rounding), ``"time_limit"``,
        ``"stopped"`` by `on_iteration`, or ``"interrupted"``.
    """

    point: Classified
    basis: np.ndarray
    objective: float
    objective_history: np.ndarray
    kkt: float
    n_iter: int
    status: str


def gradient_step(problem: SupervisedProblem, A: np.ndarray, gradient: np.ndarray, lipschitz: float, rank: int):
    """The gradient step of A, its projection and the new subspace."""
    subspace = leading(problem.K, np.sqrt(lipschitz) * (A - gradient / lipschitz), rank)
    return subspace.projected / np.sqrt(lipschitz), subspace


def step_residual(problem: SupervisedProblem, point: Classified, basis: np.ndarray, rank: int) -> float:
    """The relative norm of the projected-gradient step from a point, its best offsets given.

    Parameters
    ----------
    problem : SupervisedProblem
        The problem.
    point : Classified
        The matrix A.
    basis : ndarray of shape (n_dimensions, rank)
        The column space of the reconstruction, which holds A.
    rank : int
        The number of atoms.

    Returns
    -------
    float
        The residual; zero at a stationary point.
    """
    lipschitz = problem.lipschitz
    gradient = problem.gradient(point.A, point.logits)
    A, subspace = gradient_step(problem, point.A, gradient, lipschitz, rank)
    other = subspace_basis(problem.K, subspace)
    # The change of the reconstruction is (P - P') Y for two projectors: through one basis of both, small.
    triangle = scipy.linalg.qr(np.hstack([basis, other]), mode="r")[0][: basis.shape[1] + other.shape[1]]
    change = triangle @ np.vstack([(problem.factor.T @ basis).T, -(problem.factor.T @ other).T])
    squared = lipschitz * float(np.sum((A - point.A) ** 2)) + float(np.sum(change**2))
    return float(np.sqrt(squared / (2.0 * loss_at_zero(problem.labels))))


def low_rank_projected_gradient(
    problem: SupervisedProblem,
    rank: int,
    start: np.ndarray,
    *,
    tol: float = 1e-4,
    max_iter: int = 1000,
    deadline: float = np.inf,
    on_iteration: Callable[[int, float], bool] | None = None,
) -> LiftedSolution:
    """Minimise the lifted objective over matrices of bounded rank.

    Parameters
    ----------
    problem : SupervisedProblem
        The problem.
    rank : int
        The number of atoms.
    start : ndarray of shape (n_dimensions, n_columns)
        The matrix A to start from, projected first.
    tol : float, default=1e-4
        Stop once the certificate `kkt` is at most this.
    max_iter : int, default=1000
        The most iterations.
    deadline : float, default=inf
        The value of ``time.monotonic()`` from which on no iteration begins.
    on_iteration : callable, optional
        Called with the number of iterations and the objective; a true return value stops.

    Returns
    -------
    LiftedSolution
        The best point with its certificate.
    """
    bound = problem.lipschitz
    A, subspace = gradient_step(problem, start, np.zeros_like(start), bound, rank)
    point = problem.classified(A, problem.image(A))

    def total(point: Classified, subspace: Leading) -> float:
        return point.value + 0.5 * max(problem.trace - subspace.captured, 0.0)

    objective = total(point, subspace)
    history, n_iter, status, kkt = [objective], 0, "max_iter", np.inf
    previous, age, lipschitz = point, 1.0, bound
    scale = np.sqrt(2.0 * loss_at_zero(problem.labels))
    wait = patience = _PATIENCE
    measured = False
    try:
        while n_iter < max_iter:
            if time.monotonic() > deadline:
                status = "time_limit"
                break
            next_age = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * age * age))
            push = (age - 1.0) / next_age
            pushed = [new + push * (new - old) for new, old in zip(point[:4], previous[:4], strict=True)]
            A, logits = pushed[0], pushed[3]
            if push == 0.0:
                value = point.value
            else:
                ridge = problem.alpha * np.sum(A**2) + np.sum((problem.offset_ridge @ pushed[2]) * pushed[2])
                value = log_loss(problem.labels, logits) + 0.5 * float(ridge)
            gradient = problem.gradient(A, logits)
            while True:
                candidate_A, candidate_subspace = gradient_step(problem, A, gradient, lipschitz, rank)
                image = problem.image(candidate_A)
                candidate = problem.classified(candidate_A, image, pushed[2], precision=_VALUE_ONLY)
                move = candidate_A - A
                model = value + float(np.sum(gradient * move)) + 0.5 * lipschitz * float(np.sum(move**2))
                if candidate.value <= model + _ROUNDING * abs(model) or lipschitz >= bound:
                    break
                lipschitz = min(2.0 * lipschitz, bound)
            candidate_objective = total(candidate, candidate_subspace)
            if candidate_objective > objective and push > 0.0:
                previous, age = point, 1.0  # the same iteration again, without the push
                continue
            n_iter += 1
            if candidate_objective > objective + _ROUNDING * abs(objective):
                status = "stalled"
                break
            previous, point, subspace, age = point, candidate, candidate_subspace, next_age
            objective, measured = min(candidate_objective, objective), False
            history.append(objective)
            if on_iteration is not None and on_iteration(n_iter, objective):
                status = "stopped"
                break
            wait -= 1
            if np.sqrt(lipschitz) * np.linalg.norm(move) <= tol * scale and wait <= 0:
                kkt, measured = step_residual(problem, point, subspace_basis(problem.K, subspace), rank), True
                if kkt <= tol:
                    status = "converged"
                    break
                patience = min(2 * patience, 100)
                wait = patience
            lipschitz = max(_SHRINK * lipschitz, _SMALLEST * bound)
    except KeyboardInterrupt:
        status = "interrupted"
    basis = subspace_basis(problem.K, subspace)
    if not measured:
        kkt = step_residual(problem, point, basis, rank)
        if kkt <= tol and status in ("max_iter", "stalled"):
            status = "converged"
    return LiftedSolution(point, basis, objective, np.array(history), kkt, n_iter, status)
