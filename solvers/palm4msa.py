r"""A matrix as a product of sparse factors, improved in turn: PALM4MSA.

.. math:: \min_{\lambda,\, S_j \in \mathcal E_j} \; \tfrac12 \| A - \lambda\, S_1 S_2 \cdots S_J \|_F^2

Proximal alternating linearised minimisation takes one projected gradient step in each factor in turn, with the step
length that the Lipschitz constant of that factor's gradient allows, and then the best :math:`\lambda`:

.. math:: S_j \leftarrow P_{\mathcal E_j}\Bigl(S_j - \tfrac{\lambda}{c} L^* (\lambda L S_j R - A) R^*\Bigr),
    \qquad c = (1 + \epsilon)\, \lambda^2 \|L\|_2^2 \|R\|_2^2,

L and R being the products of the factors to the left and to the right. The objective falls with every step whose
projection is exact. Its many stationary points make the start decisive: see
:mod:`~sparsemodels.solvers.hierarchical_factorization`.

The papers give every factor the Frobenius norm one. Here it is the root of the factor's smaller dimension, that of a
matrix with orthonormal rows or columns: the same iteration, but the products of many factors, and
:math:`\lambda`, stay of the size of the data.

**Certificate.** At a stationary point no factor moves. The residual collects how far each one moved in the last
iteration, in the units of the data, :math:`(\sum_j c_j \|S_j^+ - S_j\|_F^2)^{1/2} / \|A\|_F`; it stays the
same when A is scaled.

References
----------
L. Le Magoarou and R. Gribonval, "Flexible multilayer sparse approximations of matrices and applications", IEEE Journal
of Selected Topics in Signal Processing 10, 2016. J. Bolte, S. Sabach and M. Teboulle, "Proximal alternating linearized
minimization for nonconvex and nonsmooth problems", Mathematical Programming 146, 2014.
"""

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from .sparse_factor_projections import FixedFactor, check_constraints, project, shape_of

_MARGIN = 1.001  # on the Lipschitz constants: what the power iterations may have left out
_POWER_ITERATIONS, _POWER_TOL = 100, 1e-6
EARLY = ("time_limit", "stopped", "interrupted")
_EXACT = 8.0  # relative error, in roundings, below which the product cannot be told from the matrix

Matrix = np.ndarray
Product = Any  # a matrix, or None for the identity


class SparseProduct(NamedTuple):
    """A product of sparse factors with its certificate.

    Attributes
    ----------
    factors : tuple of ndarray
        The factors, left to right, of Frobenius norm sqrt(min(rows, columns)) unless they are fixed.
    scale : float
        The number in front of them.
    objective : float
        Half the squared Frobenius norm of what the product leaves of the matrix.
    objective_history : ndarray of shape (n_iter,)
        The objective after every iteration; of the hierarchical scheme, after every iteration on the whole matrix.
    kkt : float
        The relative residual of stationarity in the last iteration.
    n_iter : int
        Iterations; each updates every factor once. Of the hierarchical scheme, all of them together.
    status : str
        ``"converged"`` (`kkt` <= `tol`, or the product is the matrix up to rounding), ``"max_iter"``,
        ``"time_limit"``, ``"stopped"`` by `on_iteration`, or ``"interrupted"``.
    """

    factors: tuple[np.ndarray, ...]
    scale: float
    objective: float
    objective_history: np.ndarray
    kkt: float
    n_iter: int
    status: str


class _Stop(Exception):
    """Ends all levels at once."""


class Clock:
    """What may end a fit early, shared by all levels of the hierarchical scheme."""

    def __init__(self, deadline: float, on_iteration: Callable[[int, float], bool] | None):
        self.deadline, self.on_iteration, self.n_iter = deadline, on_iteration, 0

    def tick(self, objective: float) -> None:
        """Count an iteration; ends the fit where the time is over or the caller says so."""
        self.n_iter += 1
        if time.monotonic() > self.deadline:
            raise _Stop("time_limit")
        if self.on_iteration is not None and self.on_iteration(self.n_iter, objective):
            raise _Stop("stopped")


def factor_shapes(shape: tuple[int, int], constraints: Sequence[Any]) -> list[tuple[int, int]]:
    """The shapes of the factors: what the constraints prescribe, else square of the smaller dimension.

    Parameters
    ----------
    shape : tuple of two int
        The shape of the product.
    constraints : sequence of constraint records
        One a factor.

    Returns
    -------
    list of tuple of two int
        The shapes, left to right.

    Raises
    ------
    TypeError
        If a constraint is none.
    ValueError
        If prescribed shapes do not fit together, or there is no constraint.
    """
    if not constraints:
        raise ValueError("constraints must hold a record for every factor, got none")
    sizes: list[int | None] = [None] * (len(constraints) + 1)
    sizes[0], sizes[-1] = shape
    for j, constraint in enumerate(constraints):
        prescribed = shape_of(constraint)
        for at, size in zip((j, j + 1), prescribed or (None, None), strict=True):
            sizes[at] = size if sizes[at] is None else sizes[at]
    whole = [min(shape) if size is None else int(size) for size in sizes]
    shapes = list(pairwise(whole))
    check_constraints(constraints, shapes)
    return shapes


def _times(left: Product, right: Product) -> Product:
    if left is None or right is None:
        return left if right is None else right
    return left @ right


def _norm(array: np.ndarray) -> float:
    """The Frobenius norm, summed in double precision."""
    return float(np.linalg.norm(array.astype(np.result_type(array, np.float64), copy=False)))


def _spectral_norm(matrix: Product, start: np.ndarray | None) -> tuple[float, np.ndarray | None]:
    """The largest singular value, by power iterations from the vector that the last call ended with."""
    if matrix is None:
        return 1.0, None
    if start is None or start.size != matrix.shape[1]:
        start = np.random.default_rng(0).standard_normal(matrix.shape[1]).astype(matrix.real.dtype)
    vector: np.ndarray = start / np.linalg.norm(start)
    norm = 0.0
    for _ in range(_POWER_ITERATIONS):
        image = matrix @ vector
        last, norm = norm, _norm(image)
        if norm == 0.0:
            # Orthogonal to all rows, or no rows at all: a bound serves.
            return _norm(matrix), None
        vector = matrix.conj().T @ (image / norm)
        vector /= np.linalg.norm(vector)
        if abs(norm - last) <= _POWER_TOL * norm:
            break
    return norm, vector


def _normalized(factor: Matrix, otherwise: Matrix) -> Matrix:
    norm = _norm(factor)
    return factor * factor.dtype.type(np.sqrt(min(factor.shape)) / norm) if norm > 0.0 else otherwise


def _identities(shapes: Sequence[tuple[int, int]], dtype: Any) -> list[Matrix]:
    return [np.eye(*shape, dtype=dtype) for shape in shapes]


def _feasible(constraint: Any, matrix: Matrix) -> Matrix:
    projected = project(constraint, matrix).astype(matrix.dtype, copy=False)
    return projected if isinstance(constraint, FixedFactor) else _normalized(projected, projected)


class _Problem:
    """One factorization problem: the matrix, what its factors must satisfy, and the vectors of the power iterations."""

    def __init__(self, A: Matrix, constraints: Sequence[Any], rightwards: bool):
        self.A, self.constraints = A, constraints
        n_factors = len(constraints)
        self.order = range(n_factors) if rightwards else range(n_factors - 1, -1, -1)
        self.rightwards = rightwards
        self.warm: list[list[np.ndarray | None]] = [[None, None] for _ in constraints]

    def sweep(self, factors: list[Matrix], points: list[Matrix], scale: float, update: bool) -> tuple[Product, float]:
        """One projected gradient step in each factor from its point; the product, and how far the factors moved.

        The factors are changed in place. Without `update`, all steps are measured and none is taken.
        """
        ahead: list[Product] = [None] * len(factors)  # products of the factors that are yet to come
        for later, j in pairwise(self.order[::-1]):
            ahead[j] = self._append(ahead[later], factors[later], before=True)
        behind: Product = None
        moved = 0.0
        for j in self.order:
            left, right = (behind, ahead[j]) if self.rightwards else (ahead[j], behind)
            if not isinstance(self.constraints[j], FixedFactor):
                norm_left, self.warm[j][0] = _spectral_norm(left, self.warm[j][0])
                norm_right, self.warm[j][1] = _spectral_norm(right, self.warm[j][1])
                lipschitz = _MARGIN * (scale * norm_left * norm_right) ** 2
                if lipschitz > 0.0:
                    gradient = scale * _times(_times(left, points[j]), right) - self.A
                    if left is not None:
                        gradient = left.conj().T @ gradient
                    if right is not None:
                        gradient = gradient @ right.conj().T
                    trial = project(self.constraints[j], points[j] - (scale / lipschitz) * gradient)
                    trial = _normalized(trial.astype(self.A.dtype, copy=False), factors[j])
                    moved += lipschitz * _norm(trial - points[j]) ** 2
                    if update:
                        factors[j] = trial
            behind = self._append(behind, factors[j], before=False)
        return behind, moved

    def _append(self, product: Product, factor: Matrix, before: bool) -> Product:
        """The product with one more factor at its end, in the order of the sweep, or before it."""
        return _times(factor, product) if before == self.rightwards else _times(product, factor)

    def best_scale(self, product: Matrix, scale: float) -> tuple[float, float]:
        """The number in front of a product that comes nearest to the matrix, and the distance."""
        size = _norm(product) ** 2
        if size > 0.0:
            scale = float(np.vdot(product, self.A).real) / size
        return scale, _norm(self.A - self.A.dtype.type(scale) * product)

    def kkt(self, factors: Sequence[Matrix], scale: float) -> float:
        """The relative residual of stationarity."""
        _, moved = self.sweep(list(factors), list(factors), scale, update=False)
        return float(np.sqrt(moved) / _norm(self.A))


def descend(
    A: Matrix,
    constraints: Sequence[Any],
    factors: Sequence[Matrix],
    scale: float,
    rightwards: bool,
    tol: float,
    max_iter: int,
    clock: Clock,
    fresh: bool = False,
) -> SparseProduct:
    """PALM4MSA on a matrix of norm sqrt(min(shape)), from given factors.

    With `fresh`, the given factors serve the updates of the others only: the first step of each begins at zero, where
    it projects the correlations of the matrix with the other factors.
    """
    problem = _Problem(A, constraints, rightwards)
    energy = _norm(A)
    rounding = _EXACT * float(np.finfo(A.dtype).eps) * energy
    current, last = list(factors), list(factors)
    best: Any = None
    history: list[float] = []
    momentum, lost = 0, False
    status, kkt = "max_iter", np.inf
    try:
        while len(history) < max_iter:
            push = A.real.dtype.type(momentum / (momentum + 3.0))
            points = [S + push * (S - T) if momentum else S for S, T in zip(current, last, strict=True)]
            if fresh and not history:
                points = [np.zeros_like(S) for S in current]
            trial = list(current)
            product, moved = problem.sweep(trial, points, scale, update=True)
            if not history and not lost and not np.any(product):
                # Nothing of the matrix is seen from there: anywhere else is better.
                draw = np.random.default_rng(0).standard_normal
                current = [
                    _feasible(c, draw(S.shape).astype(A.dtype)) for c, S in zip(constraints, current, strict=True)
                ]
                last, fresh, lost = current, False, True
                continue
            trial_scale, error = problem.best_scale(product, scale)
            objective = 0.5 * error**2
            if best is None or objective <= best[2]:
                current, last, scale = trial, current, trial_scale
                best = (tuple(trial), scale, objective)
                momentum += 1
            elif momentum:  # back to the best point, and a plain step
                current, scale = list(best[0]), best[1]
                last, momentum = current, 0
                moved = np.inf
            else:  # a rule that is no projection: go on from where it led
                current, last, scale = trial, trial, trial_scale
            history.append(best[2])
            clock.tick(best[2])
            if error <= rounding:
                status, kkt = "converged", problem.kkt(best[0], best[1])
                break
            if np.sqrt(moved) <= tol * energy:
                kkt = problem.kkt(best[0], best[1])
                if kkt <= tol:
                    status = "converged"
                    break
    except _Stop as stop:
        status = str(stop)
    except KeyboardInterrupt:
        status = "interrupted"
    if best is None:  # interrupted in the first iteration
        best = (tuple(_feasible(c, f) for c, f in zip(constraints, factors, strict=True)), 0.0, 0.5 * energy**2)
    if status != "converged":
        kkt = problem.kkt(best[0], best[1])
    found, scale, objective = best
    return SparseProduct(found, scale, objective, np.array(history), float(kkt), len(history), status)


def prepared(A: Matrix) -> tuple[Matrix, float]:
    """The matrix scaled to the norm of one with orthonormal rows or columns, and the scale taken out."""
    A = np.asarray(A)
    if A.dtype.char not in "fdFD":
        A = A.astype(np.float64)
    largest = float(np.abs(A).max(initial=0.0))
    if largest == 0.0:
        return A, 0.0
    scaled = A / A.dtype.type(largest)
    norm = float(_norm(scaled) / np.sqrt(min(A.shape)))
    return scaled / A.dtype.type(norm), norm * largest


def in_units(solution: SparseProduct, unit: float) -> SparseProduct:
    """The product in the units of the data, of which `unit` was taken out."""
    return solution._replace(
        scale=solution.scale * unit,
        objective=solution.objective * unit * unit,
        objective_history=solution.objective_history * unit * unit,
    )


def product_for_zeros(constraints: Sequence[Any], shapes: Sequence[tuple[int, int]], dtype: Any) -> SparseProduct:
    """The product for a matrix of zeros."""
    start = _identities(shapes, dtype)
    factors = tuple(_feasible(c, f) for c, f in zip(constraints, start, strict=True))
    return SparseProduct(factors, 0.0, 0.0, np.zeros(0), 0.0, 0, "converged")


def palm4msa(
    A: np.ndarray,
    constraints: Sequence[Any],
    *,
    factors: Sequence[np.ndarray] | None = None,
    scale: float | None = None,
    rightwards: bool = True,
    tol: float = 1e-4,
    max_iter: int = 100,
    deadline: float = np.inf,
    on_iteration: Callable[[int, float], bool] | None = None,
) -> SparseProduct:
    """Approximate a matrix by a product of sparse factors, all of them improved in turn.

    Parameters
    ----------
    A : ndarray of shape (n_rows, n_columns)
        Real or complex.
    constraints : sequence of constraint records
        One for each factor, left to right, from :mod:`~sparsemodels.solvers.sparse_factor_projections`.
    factors : sequence of ndarray, optional
        Where to start, not changed; by default the first factor to be updated is zero and the others are identities.
    scale : float, optional
        The number in front of them at the start; by default, one times the size of `A`.
    rightwards : bool, default=True
        Whether an iteration updates the factors from left to right.
    tol : float, default=1e-4
        Stop once the residual of stationarity is at most this.
    max_iter : int, default=100
        The most iterations.
    deadline : float, default=inf
        When to stop, in seconds of ``time.monotonic()``.
    on_iteration : callable, optional
        Called with the number of iterations and the objective (of `A` scaled); stops the fit by returning True.

    Returns
    -------
    SparseProduct
        The best product that was met, and its certificate.

    Raises
    ------
    TypeError
        If a constraint registers no projection.
    ValueError
        If the shapes of matrix, constraints and factors do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.palm4msa import palm4msa
    >>> from sparsemodels.solvers.sparse_factor_projections import FixedSupport, LargestPerRow
    >>> A = np.array([[2.0, 2.0], [2.0, -2.0]]) @ np.diag([3.0, 1.0])
    >>> solution = palm4msa(A, [LargestPerRow(2), FixedSupport(np.eye(2, dtype=bool))], tol=1e-12)
    >>> product = solution.scale * solution.factors[0] @ solution.factors[1]
    >>> bool(np.allclose(product, A)), solution.status
    (True, 'converged')
    """
    A, unit = prepared(A)
    shapes = factor_shapes(A.shape, constraints)
    start = (
        first_factors(shapes, A.dtype, rightwards, constraints)
        if factors is None
        else _checked(factors, shapes, A.dtype)
    )
    if unit == 0.0:
        return product_for_zeros(constraints, shapes, A.dtype)
    number = 1.0 if scale is None else scale / unit
    solution = descend(A, constraints, start, number, rightwards, tol, max_iter, Clock(deadline, on_iteration))
    return in_units(solution, unit)


def first_factors(
    shapes: Sequence[tuple[int, int]], dtype: Any, rightwards: bool, constraints: Sequence[Any] = ()
) -> list[Matrix]:
    """Identities, fixed factors, and zero for the factor that is updated first."""
    start = _identities(shapes, dtype)
    first = 0 if rightwards else -1
    start[first] = np.zeros_like(start[first])
    for j, constraint in enumerate(constraints):
        if isinstance(constraint, FixedFactor):
            start[j] = project(constraint, start[j])
    return start


def _checked(factors: Sequence[np.ndarray], shapes: Sequence[tuple[int, int]], dtype: Any) -> list[Matrix]:
    given = [np.shape(factor) for factor in factors]
    if given != list(shapes):
        raise ValueError(f"factors must have the shapes {list(shapes)}, got {given}")
    return [np.array(factor, dtype=dtype) for factor in factors]
