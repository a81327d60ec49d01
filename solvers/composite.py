r"""Sparse composite problems, :math:`\min_{w, b} f(X w + b) + \sum_j p_j(w_j)`, by working sets with certificates."""

import time
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from .block_model import BlockModel
from .certificate import undecided, undecided_groups
from .column_model import ColumnModel
from .column_moments import column_moments
from .columns import SparseColumns, combine, correlate, correlate_some, shape
from .generic import require
from .gram_model import GramModel
from .losses.functions import (
    SMOOTH,
    conjugate_scale,
    curvature,
    fenchel_young,
    is_quadratic,
    loss_value,
    negative_gradient,
)
from .penalties.vector_functions import (
    closure,
    dual_scale,
    equation_coordinates,
    has_conjugate,
    kkt_distances,
    penalty_gap,
    penalty_value,
    required,
    structure,
)
from .proximal_newton import newton_pass
from .unit_columns import gather_normalized

_MODELS = {"separable": (ColumnModel, GramModel), "groups": (BlockModel, GramModel), "joint": (GramModel,)}
_FEW = 500  # features: their Gram matrix costs next to nothing
_MAX_EPOCHS = 1000  # of coordinate descent within one pass
_PATIENCE = 3
_LONG_COLUMN = 100


class Solution(NamedTuple):
    r"""A solution of a composite problem and how good it is.

    Attributes
    ----------
    coef : ndarray of shape (n_features,)
        The coefficients w.
    intercept : float
        The intercept b; zero if there is none.
    objective : float
        The objective at the solution.
    dual_gap : float
        An upper bound of how far the objective is above its minimum; inf for a penalty without a conjugate.
    kkt : float
        The largest distance of a slope :math:`X_j^T \theta` to the subdifferential of its penalty.
    dual : ndarray of shape (n_samples,)
        The feasible dual point that proves the gap.
    null_objective : float
        The loss at zero coefficients (and the best intercept): the scale of `tol`.
    n_iter : int
        Passes over the data.
    converged : bool
        Whether the certificate reached the tolerance.
    status : {"converged", "max_iter", "stalled", "time_limit", "interrupted", "stopped"}
        Why the solver returned.
    """

    coef: np.ndarray
    intercept: float
    objective: float
    dual_gap: float
    kkt: float
    dual: np.ndarray
    null_objective: float
    n_iter: int
    converged: bool
    status: str


class Composite:
    """A composite problem between solves: the design, the loss, the working-set model and the current point.

    One instance serves a whole path: the model of the working set, the current coefficients and the slopes of all
    features stay from one penalty to the next.

    Parameters
    ----------
    X : ndarray, sparse matrix or SparseColumns of shape (n_samples, n_features)
        The design, as :func:`~sparsemodels.solvers.columns.as_columns` returns it.
    loss : NamedTuple
        The loss' record.
    fit_intercept : bool
        Whether an unpenalised intercept is added.
    coef : ndarray of shape (n_features,), optional
        Where to start; zero by default.

    Attributes
    ----------
    largest_slope : float
        The largest slope of any full gradient so far, from that at zero on: the scale of a KKT residual.
    stale : bool
        Whether somebody else is to bring the slopes up to date; never here, see
        :class:`~sparsemodels.solvers.simultaneous.Companion`.
    """

    stale = False
    largest_slope = 0.0
    _worthwhile = 0.7  # share of the slopes above which all are computed anew

    def __init__(self, X: Any, loss: Any, *, fit_intercept: bool, coef: np.ndarray | None = None):
        require(loss, SMOOTH, "the loss")
        self.X, self.loss, self.fit_intercept = X, loss, fit_intercept
        self.n_samples, self.n_features = shape(X)
        self.features = np.arange(self.n_features)
        self.coef = np.zeros(self.n_features)
        self.intercept: Any = 0.0
        self._model: Any = None
        self._projection: tuple[bytes, np.ndarray] | None = None
        self._settle()
        self.null_objective = float(loss_value(loss, self.predictor))
        if coef is not None and np.any(coef):
            self.coef = np.array(coef, dtype=float)
            self._settle()
        self.slope = np.zeros(self.n_features)
        # Slopes are brought up to date only where they may matter: the dual point has travelled so far in all, and
        # had so far when each slope was computed.
        self._travelled = 0.0
        self._computed_at = np.zeros(self.n_features)
        self._norms: np.ndarray | None = None
        # A column of a handful of entries is read sooner than reasoned about.
        entries = X.data.size if isinstance(X, SparseColumns) else self.n_samples * self.n_features
        self._lazy = entries > _LONG_COLUMN * self.n_features
        self.refresh_all()

    def restart(self, coef: np.ndarray | None = None) -> None:
        """Move the current point, to zero by default; the working set stays."""
        if coef is None and not self.coef.any():
            return
        self.coef = np.zeros(self.n_features) if coef is None else np.array(coef, dtype=float)
        self._settle()
        self.refresh_all()

    def refresh_all(self) -> None:
        """Bring the slopes of all features up to date."""
        self.slope = correlate(self.X, self.theta)
        self.largest_slope = max(self.largest_slope, float(np.abs(self.slope).max(initial=0.0)))
        self._computed_at[:] = self._travelled
        self.stale = False

    def refresh(self, penalty: Any) -> None:
        r"""Bring the slopes up to date where they may matter to a penalty.

        A slope changes by at most :math:`\|x_j - \bar x_j\| \|\Delta\theta\|`. Most stay far inside of their
        thresholds, provably, and need no pass over their columns: the dynamic safe rules (Fercoq, Gramfort and
        Salmon, 2015) turned around, to save work on the certificate instead of dropping features.
        """
        if not self._lazy or structure(penalty) == "joint":
            self.refresh_all()
            return
        if self._norms is None:  # on the way, one pass for both
            ones = np.ones(self.n_samples)
            _, squares, self.slope = column_moments(self.X, ones, self.theta, centred=self.fit_intercept)
            self._norms = np.sqrt(squares) * (1.0 + 1e-9)  # beyond the rounding of norms and products
            self._computed_at[:] = self._travelled
            return
        reach = self._norms * (self._travelled - self._computed_at)
        member = self._model.member if self._model is not None else np.zeros(self.n_features, dtype=bool)
        screen = undecided if structure(penalty) == "separable" else undecided_groups
        chosen = screen(penalty, self.coef, self.slope, reach, member)
        if chosen.size > self._worthwhile * self.n_features:
            self.refresh_all()
        else:
            correlate_some(self.X, chosen, self.theta, self.slope)
            self._computed_at[chosen] = self._travelled

    def _settle(self) -> None:
        """From the coefficients: the linear predictor, the best intercept and the loss' negative gradient."""
        support = np.flatnonzero(self.coef)
        self.balance(combine(self.X, support, self.coef[support]))

    def balance(self, linear: np.ndarray) -> None:
        """From the predictor without intercept: the best intercept, the predictor and the loss' negative gradient.

        Newton's method in one variable (two steps for a quadratic loss), kept between the points where the gradient
        is known to have either sign; where a step gains little, that interval is halved.
        """
        self.linear = linear
        lower, upper, before = -np.inf, np.inf, np.inf
        for _ in range(100):
            self.predictor = linear + self.intercept
            self.theta = negative_gradient(self.loss, self.predictor)
            if not self.fit_intercept:
                return
            total, size = self.theta.sum(), np.abs(self.theta).sum()
            if abs(total) <= 1e-15 * size:
                return
            if total > 0.0:
                lower = self.intercept
            else:
                upper = self.intercept
            new = self.intercept + total / curvature(self.loss, self.predictor).sum()
            if new == self.intercept:
                return
            slow, before = abs(total) > 0.1 * before, abs(total)
            if np.isfinite(upper - lower) and (slow or not lower < new < upper):
                new = 0.5 * (lower + upper)
            if not lower < new < upper:
                return
            self.intercept = new

    def column_curvatures(self) -> np.ndarray:
        """The second derivative of the loss' model along each feature: squared weighted norms of centred columns."""
        weights = curvature(self.loss, self.predictor)
        return column_moments(self.X, weights, self.theta, centred=self.fit_intercept)[1]

    def objective(self, penalty: Any) -> float:
        """The objective at the current point."""
        return float(loss_value(self.loss, self.predictor)) + penalty_value(penalty, self.coef, self.features)

    def _dual_point(self, penalty: Any, equations: Any) -> tuple[np.ndarray, np.ndarray]:
        """A dual direction and its slopes, orthogonal to the columns whose slope must vanish.

        These are the unpenalised columns, and those that a penalty without an L1 part keeps inside of a half-line:
        without the projection the largest feasible multiple of the gradient would be zero.
        """
        active = np.flatnonzero((equations > 0) & (self.coef != 0.0) | (equations == 2))
        if active.size == 0:
            return self.theta, self.slope
        root = np.sqrt(curvature(self.loss, self.predictor))
        key = active.tobytes() + (b"" if is_quadratic(self.loss) else root.tobytes())
        if self._projection is None or self._projection[0] != key:
            columns = np.empty((self.n_samples, active.size), order="F")
            gather_normalized(self.X, active, root, self.fit_intercept, columns, np.empty(active.size))
            q, r, _ = scipy.linalg.qr(columns, mode="economic", pivoting=True, overwrite_a=True)
            diagonal = np.abs(np.diag(r))
            self._projection = key, q[:, diagonal > 1e-11 * max(diagonal.max(), 1e-300)]
        basis = self._projection[1]
        residual = np.divide(self.theta, root, out=np.zeros_like(root), where=root > 0.0)
        for _ in range(2):  # twice is enough: orthogonal to working precision
            residual -= basis @ (basis.T @ residual)
        dual = root * residual
        slope = correlate(self.X, dual)
        slope[active] = 0.0
        return dual, slope

    def model(self, penalty: Any) -> Any:
        """The quadratic model of the loss at the current point, kept as long as it is exact."""
        kind = structure(penalty)  # coupled penalties are descended on by a Gram matrix, or by blocks
        if self._model is None or not isinstance(self._model, _MODELS[kind]):
            members = None if self._model is None else self._model.features
            sparse = isinstance(self.X, SparseColumns) and kind == "separable"
            self._model = self._build(ColumnModel if sparse else GramModel, members)
        elif isinstance(self._model, GramModel):
            size = self._model.features.size
            if kind == "separable" and size > 2 * self.n_samples + 1000:
                self._model = self._build(ColumnModel, self._model.features)
            elif kind == "groups" and size > max(self.n_samples, _FEW) and not isinstance(self.X, SparseColumns):
                self._model = self._build(BlockModel, self._model.features)
        return self._model

    def renew(self, penalty: Any, features: np.ndarray) -> None:
        """Replace the model by one with the curvature of the current point, on some features of its working set."""
        precise = self._model.dtype == np.float64
        self._model = self._build(type(self._model), closure(penalty, features))
        if precise:
            self._model.promote()

    def _build(self, kind: Any, members: np.ndarray | None) -> Any:
        model = kind(self.X, curvature(self.loss, self.predictor), self.fit_intercept, self.n_features)
        if members is not None and members.size:
            model.grow(members)
        return model

    def moved(self, features: np.ndarray, theta: np.ndarray) -> None:
        """Take note that the dual point moved from `theta`, and that the slopes of some features follow at once."""
        self._travelled += float(np.linalg.norm(self.theta - theta))
        self._computed_at[features] = self._travelled

    def solve(
        self,
        penalty: Any,
        *,
        tol: float = 1e-6,
        max_iter: int = 1000,
        deadline: float = np.inf,
        candidates: np.ndarray | None = None,
        on_pass: Callable[[int, float], Any] | None = None,
    ) -> Solution:
        """Solve for one penalty from the current point; the outer loop of every convex pair.

        Full gradient, KKT scores and duality gap; stop; else let the worst violators join the working set and
        minimise the quadratic model on it.

        Parameters
        ----------
        penalty : NamedTuple
            The penalty's record.
        tol : float, default=1e-6
            The duality gap to reach, relative to the loss at zero coefficients (without a conjugate: the KKT residual,
            relative to the largest slope there).
        max_iter : int, default=1000
            The largest number of passes over the data.
        deadline : float, default=inf
            The time of :func:`time.monotonic` after which to return what there is.
        candidates : ndarray of int64, optional
            Features to take into the first working set, such as the strong rule's.
        on_pass : callable, optional
            Called with the pass and the gap after every certificate; a true result stops.

        Returns
        -------
        Solution
            The best point found and its certificate.
        """
        passes = self.passes(
            penalty, tol=tol, max_iter=max_iter, deadline=deadline, candidates=candidates, on_pass=on_pass
        )
        return run_alone(self, passes)

    def passes(
        self,
        penalty: Any,
        *,
        tol: float = 1e-6,
        max_iter: int = 1000,
        deadline: float = np.inf,
        candidates: np.ndarray | None = None,
        on_pass: Callable[[int, float], Any] | None = None,
    ) -> Generator[None, None, Solution]:
        """The passes of :meth:`solve` as a coroutine that pauses where slopes are to come from elsewhere.

        Parameters
        ----------
        penalty, tol, max_iter, deadline, candidates, on_pass : object
            As in :meth:`solve`.

        Returns
        -------
        Solution
            The best point found and its certificate.

        Yields
        ------
        None
            While `stale`: :meth:`solve` then computes the slopes, a driver of many problems those of all at once.
        """
        convex = check_pair(self.loss, penalty)
        if self._norms is not None:
            self.refresh(penalty)  # the last penalty may have had wider thresholds
        if self.stale:
            yield
        floor = 1e-30 * float(loss_value(self.loss, np.zeros(self.n_samples)))
        target = max(tol * self.null_objective, floor)
        equations = equation_coordinates(penalty, self.features) if convex else None
        distances = np.empty(self.n_features)
        lower_bound, best, stalls, smallest, lowest, status = -np.inf, None, 0, np.inf, np.inf, "max_iter"
        try:
            for n_iter in range(1, max_iter + 1):
                kkt = kkt_distances(penalty, self.coef, self.slope, self.features, distances)
                value = self.objective(penalty)
                if convex:
                    dual, slope = self._dual_point(penalty, equations)
                    c = min(dual_scale(penalty, slope, self.features), conjugate_scale(self.loss, dual))
                    gap = fenchel_young(self.loss, self.predictor, c * dual)
                    gap += penalty_gap(penalty, self.coef, slope, self.features, c)
                    merit = gap
                else:
                    dual, c, gap = self.theta, 1.0, np.inf
                    self.largest_slope = max(self.largest_slope, float(np.abs(self.slope).max(initial=0.0)))
                    merit, target = kkt, tol * self.largest_slope
                    if self.null_objective <= floor and not self.coef.any():
                        merit = 0.0  # a constant target: slopes are rounding, and there is nothing to explain
                if best is None or value - gap > lower_bound:
                    lower_bound, proof = value - gap, c * dual
                else:  # an earlier dual point proves more; a difference of two values is exact up to their rounding
                    gap = min(gap, max(value - lower_bound, 4e-16 * value))
                best = (self.coef.copy(), self.intercept, value, gap, kkt, proof, n_iter)
                stop = on_pass is not None and on_pass(n_iter, gap)
                if merit <= target or gap <= target:
                    status = "converged"
                    break
                if stop or time.monotonic() > deadline:
                    status = "stopped" if stop else "time_limit"
                    break
                if n_iter == max_iter:
                    break
                grown = self._grow(penalty, distances, candidates, equations)
                candidates = None
                # Passes that gain next to nothing: turn to double precision, then give up.
                stalls = (
                    0 if grown or merit <= 0.9 * smallest or (convex and value < lowest - 0.1 * target) else stalls + 1
                )
                smallest, lowest = merit if grown else min(merit, smallest), min(value, lowest)
                if stalls >= _PATIENCE:
                    stalls = 0
                    if not self._model.promote():
                        status = "stalled"
                        break
                self._descend(penalty, 0.3 * target if convex else 0.0)
                if self.stale:
                    yield
        except KeyboardInterrupt:
            if best is None:
                raise
            status = "interrupted"
        assert best is not None  # max_iter >= 1
        coef, intercept, value, gap, kkt, proof, n_iter = best
        return Solution(
            coef, intercept, value, float(gap), float(kkt), proof, self.null_objective, n_iter,
            status == "converged", status,
        )  # fmt: skip

    def _grow(
        self, penalty: Any, distances: np.ndarray, candidates: np.ndarray | None, equations: np.ndarray | None
    ) -> bool:
        """Let the worst violators join the working set, as many as the model can take at little cost."""
        model = self.model(penalty)
        if candidates is not None:
            model.grow(closure(penalty, candidates[~model.member[candidates]]))
        always = self.coef != 0.0
        if equations is not None:
            always |= equations == 2
        wanted = np.flatnonzero(always & ~model.member)
        outside = np.flatnonzero((distances > 0.0) & ~model.member & ~always)
        size = model.room(np.count_nonzero(self.coef))
        if outside.size > size:
            outside = outside[np.argpartition(-distances[outside], size)[:size]]
        new = closure(penalty, np.concatenate([wanted, np.sort(outside)]))
        if new.size:
            model.grow(new)
        return new.size > 0

    def _descend(self, penalty: Any, target: float) -> None:
        """Minimise the model on the working set and move there."""
        if not is_quadratic(self.loss):
            newton_pass(self, penalty, target)
            theta = self.theta
            self._settle()  # from the coefficients: no rounding is carried along
        else:
            model = self.model(penalty)
            features, root, theta = model.features, model.root_weights, self.theta
            new, slope = self.coef[features], self.slope[features]
            residual = np.divide(theta, root, out=np.zeros_like(root), where=root > 0.0)
            model.solve(penalty, new, slope, residual, target, _MAX_EPOCHS)
            self.coef[features] = new
            self._settle()
        self._travelled += float(np.linalg.norm(self.theta - theta))
        self.refresh(penalty)


def run_alone(problem: Composite, passes: Generator[None, None, Any]) -> Any:
    """Run a coroutine of one problem to its end.

    Parameters
    ----------
    problem : Composite
        The problem.
    passes : generator
        Its :meth:`Composite.passes`, or what is made of them.

    Returns
    -------
    object
        What the coroutine returns.
    """
    while True:
        try:
            next(passes)
            Composite.refresh_all(problem)
        except StopIteration as end:
            return end.value


def check_pair(loss: Any, penalty: Any) -> bool:
    """Check up front that a loss and a penalty can be solved together.

    Parameters
    ----------
    loss, penalty : NamedTuple
        The records.

    Returns
    -------
    bool
        Whether there is a duality gap: both registered their conjugate side.

    Raises
    ------
    TypeError
        Naming the generic functions that a record's class did not register.
    """
    require(loss, SMOOTH, "the loss")
    require(penalty, required(penalty), "the penalty")
    return type(loss) in fenchel_young.registry and has_conjugate(penalty)
