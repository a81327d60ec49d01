r"""The exact LASSO for piecewise-linear losses, :math:`\min_{w, b} f(X w + b) + \sum_j \lambda_j |w_j|`.

Least absolute deviations and quantile regression are linear programs. They are solved here without one being written
down: from vertex to vertex (:mod:`~sparsemodels.solvers.vertex_descent`) on a working set of columns, which grows by
the features that violate the optimality conditions until none does. The dual vector of the last basis proves the
solution, to rounding.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg

from .columns import SparseColumns, combine, correlate, shape
from .composite import Solution
from .losses.functions import fenchel_young, loss_value
from .losses.quantile import dual_box
from .path_problem import PathProblem
from .penalties.box import Box
from .penalties.functions import with_alpha
from .penalties.l1 import L1
from .penalties.vector_functions import (
    dual_scale,
    equation_coordinates,
    kkt_distances,
    penalty_gap,
    penalty_value,
)
from .vertex import keep_columns, new_vertex, reserve, settle_dual
from .vertex_descent import DEGENERATE, OPTIMAL, descend, steepest_edge

_SLACK = 1e-11  # of a dual constraint, relative to its terms
_TIGHTEST = 1e-15
_CHUNK = 100  # steps between two fresh inverses: rank-one changes lose digits
_IDLE = 30  # steps of length zero before tied data are perturbed
_PERTURBATION = 1e-9
_ROUNDS = 5  # of perturbation
_FIRST = 100  # features that join at once
_COEFFICIENT = 0.01  # of the squared length of its column counts a coefficient itself in the length of an edge


@functools.singledispatch
def linear_pieces(penalty: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""The levels and the bounds of a penalty :math:`\lambda_j |w_j|` on :math:`a_j \le w_j \le b_j`.

    Parameters
    ----------
    penalty : NamedTuple
        The penalty's record.

    Returns
    -------
    level : ndarray of shape (n_features,)
        The levels, in [0, inf].
    lower, upper : ndarray of shape (n_features,)
        The bounds around zero.

    Raises
    ------
    TypeError
        If the penalty is not piecewise linear.
    """
    raise TypeError(f"the penalty {type(penalty).__name__} cannot be solved: it registers no linear_pieces")


@linear_pieces.register(L1)
def _(penalty):
    infinite = np.isinf(penalty.weights)
    level = np.where(infinite, np.inf, penalty.alpha * np.where(infinite, 0.0, penalty.weights))
    return level, np.full(level.size, -np.inf), np.full(level.size, np.inf)


@linear_pieces.register(Box)
def _(penalty):
    return linear_pieces(penalty.penalty)[0], penalty.lower, penalty.upper


class VertexProblem(PathProblem):
    """A problem with a piecewise-linear loss between solves: the design, the loss and the current vertex.

    To paths, cross-validation and estimators it is what :class:`~sparsemodels.solvers.composite.Composite` is for
    smooth losses: one instance serves a whole path, each solution is the start of the next.

    Parameters
    ----------
    X : ndarray, sparse matrix or SparseColumns of shape (n_samples, n_features)
        The design, as :func:`~sparsemodels.solvers.columns.as_columns` returns it.
    loss : NamedTuple
        The loss' record, :class:`~sparsemodels.solvers.losses.Quantile` or
        :class:`~sparsemodels.solvers.losses.Absolute`.
    fit_intercept : bool
        Whether an unpenalised intercept is added.
    coef : ndarray of shape (n_features,), optional
        Where to start; zero by default.

    Raises
    ------
    TypeError
        If the loss is not piecewise linear.

    Notes
    -----
    The columns of the working set are copied, dense: some n times twice the largest support numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.losses import Quantile
    >>> from sparsemodels.solvers.penalties import L1
    >>> from sparsemodels.solvers.quantile_lasso import VertexProblem
    >>> X, y = np.array([[0.0], [1], [2], [3]]), np.array([1.0, 3, 50, 7])
    >>> problem = VertexProblem(X, Quantile(y, np.full(4, 0.25), 0.5), fit_intercept=True)
    >>> solution = problem.solve(L1(0.1, np.ones(1)))
    >>> solution.coef, solution.intercept, solution.status
    (array([2.]), 1.0, 'converged')
    """

    def __init__(self, X: Any, loss: Any, *, fit_intercept: bool, coef: np.ndarray | None = None):
        self.X, self.loss, self.fit_intercept = X, loss, fit_intercept
        self.n_samples, self.n_features = shape(X)
        self.features = np.arange(self.n_features)
        low, high = dual_box(loss)
        self._weighted = np.flatnonzero(high > low)  # a row without weight has no kink
        self._low, self._high = low[self._weighted], high[self._weighted]
        self._y = loss.y[self._weighted]
        size = np.abs(self._y)
        typical = np.median(size) or size.mean() or 1.0
        self._row_size, self._typical = np.maximum(size, typical), typical
        self.restart()
        self.null_objective = float(loss_value(loss, np.full(self.n_samples, self.intercept)))
        if coef is not None and np.any(coef):
            self.restart(coef)

    def restart(self, coef: np.ndarray | None = None) -> None:
        """Move to the vertex at zero (with the best intercept), or to one on the support of some coefficients.

        Parameters
        ----------
        coef : ndarray of shape (n_features,), optional
            The coefficients. The vertex interpolates rows of the smallest residuals, so that an optimal vertex is
            found again.
        """
        self._vertex = new_vertex(self._y, self._low, self._high, self._row_size)
        self._target = self._y
        self._member = np.zeros(self.n_features, dtype=bool)
        self._means = np.zeros(self.n_features)
        self._column_scale = 0.0
        if self.fit_intercept:
            self._join(np.array([-1]))
        self._slacken(_SLACK)
        self._optimize(np.inf, 10_000)
        if coef is not None and np.any(coef):
            self._crash(np.asarray(coef, dtype=float))
        self._read()

    def refresh_all(self) -> None:
        """Nothing to do: the slopes are those of the current vertex."""

    def _crash(self, coef: np.ndarray) -> None:
        """A basis on the support of given coefficients, of rows with small residuals, as independent as can be."""
        support = np.flatnonzero(coef)
        self._join(support)
        v, n = self._vertex, self._y.size
        m = int(v.size[1])
        start = np.zeros(m)
        start[m - support.size :] = coef[support]
        residual = self._y - v.columns[:, :m] @ start
        if self.fit_intercept:
            start[v.features[:m] < 0] = center = np.median(residual)
            residual -= center
        near = np.argsort(np.abs(residual), kind="stable")[: min(n, 2 * m)]
        # Independent columns first, then independent rows among the nearest; the nearer ones count for more.
        _, r, order = scipy.linalg.qr(v.columns[:, :m], mode="economic", pivoting=True)
        diagonal = np.abs(np.diag(r))
        order = order[: np.count_nonzero(diagonal > 1e-9 * max(diagonal.max(initial=0.0), 1e-300))]
        scale = np.abs(residual[near])
        importance = 1.0 / (1.0 + scale / max(1e-6 * self._typical, 1e-300))
        block = v.columns[np.ix_(near, order)] * importance[:, None]
        _, r, chosen = scipy.linalg.qr(block.T, mode="economic", pivoting=True)
        diagonal = np.abs(np.diag(r)) / importance[chosen[: min(block.shape)]]
        if order.size == 0 or near.size < order.size or diagonal[: order.size].min() < 1e-9 * diagonal.max():
            return  # the vertex at zero, with these features in the working set
        k = order.size
        keep_columns(v, np.concatenate([order, np.setdiff1d(np.arange(m), order)]))
        v.size[0] = k
        v.rows[:k] = near[chosen[:k]]
        v.interpolated[:] = False
        v.interpolated[v.rows[:k]] = True
        v.coef[:m] = 0.0
        v.coef[:k] = start[order]
        v.side[:k] = np.sign(v.coef[:k])
        v.level[:m] = 0.0
        v.lower[:m], v.upper[:m] = -np.inf, np.inf
        self._renew()
        self._measure(0)

    def _join(self, new: np.ndarray) -> None:
        """Let features join the working set; -1 is the intercept. Columns are centred, which changes no coefficient."""
        if new.size == 0:
            return
        m = int(self._vertex.size[1])
        total = m + new.size
        self._vertex = v = reserve(self._vertex, total)
        block = self._columns(new)
        if self.fit_intercept and new[0] >= 0:
            mass = (v.high - v.low) / (v.high - v.low).sum()
            for _ in range(2):
                means = mass @ block
                block -= means
                self._means[new] += means
        joined = slice(m, total)
        v.columns[:, joined] = block
        v.features[joined] = new
        v.column_size[joined] = np.abs(block).max(axis=0)
        v.coef[joined] = v.side[joined] = v.level[joined] = 0.0
        v.lower[joined], v.upper[joined] = -np.inf, np.inf
        v.slope[joined] = v.dual @ block
        v.size[1] = total
        self._member[new[new >= 0]] = True
        self._measure(m)

    def _columns(self, new: np.ndarray) -> np.ndarray:
        if new[0] < 0:
            return np.ones((self._y.size, 1))
        if not isinstance(self.X, SparseColumns):
            return np.array(self.X[:, new][self._weighted], dtype=np.float64)
        block = np.empty((self._y.size, new.size))
        for t, j in enumerate(new):
            block[:, t] = combine(self.X, np.array([j]), np.ones(1))[self._weighted]
        return block

    def _measure(self, start: int) -> None:
        """The lengths of the edges along nonbasic columns, and for ``start = 0`` of all edges."""
        v = self._vertex
        k, m = v.size
        mass, joined = (v.high - v.low) ** 2, slice(start, int(m))
        block = v.columns[:, joined]
        v.column_unit[joined] = np.where(v.features[joined] < 0, 0.0, _COEFFICIENT * (mass @ block**2))
        unit = v.column_unit[:k]
        weight = v.column_unit[joined].copy()
        if k:
            image = v.inverse[:k, :k] @ v.columns[v.rows[:k], joined]
            block = block - v.columns[:, :k] @ image
            weight += unit @ image**2
        v.column_weight[joined] = np.maximum(weight + mass @ block**2, 1e-300)
        if start == 0 and k:
            inverse = v.inverse[:k, :k]
            v.row_weight[v.rows[:k]] = mass @ (v.columns[:, :k] @ inverse) ** 2 + unit @ inverse**2

    def _set_penalty(self, penalty: Any) -> np.ndarray:
        """The levels and bounds of the working set; returns the levels of all features."""
        level, lower, upper = linear_pieces(penalty)
        v = self._vertex
        m = int(v.size[1])
        members, real = v.features[:m], v.features[:m] >= 0
        v.level[:m] = np.where(real, level[members], 0.0)
        v.lower[:m] = np.where(real, lower[members], -np.inf)
        v.upper[:m] = np.where(real, upper[members], np.inf)
        return level

    def _slacken(self, share: float) -> None:
        v = self._vertex
        m = int(v.size[1])
        v.row_slack[:] = share * (v.high - v.low)
        v.column_slack[:m] = share * v.column_size[:m] * np.abs(v.dual).sum()

    def _renew(self) -> None:
        """A fresh inverse, and everything that follows from it."""
        v = self._vertex
        k, m = v.size
        rows, inverse, basis = v.rows[:k], v.inverse[:k, :k], v.columns[v.rows[:k], :k]
        if k:
            inverse[:] = np.linalg.inv(basis)
            still = k + np.flatnonzero(v.coef[k:m])
            target = self._target[rows] - v.columns[np.ix_(rows, still)] @ v.coef[still]
            coef = inverse @ target
            v.coef[:k] = coef + inverse @ (target - basis @ coef)
        v.residual[:] = self._target - v.columns[:, :m] @ v.coef[:m]
        v.residual[rows] = 0.0
        sure = np.abs(v.residual) > 1e-12 * v.row_size
        v.sign[:] = np.where(sure, np.sign(v.residual), v.sign)
        sure = np.abs(v.coef[:k]) > 1e-12 * np.abs(v.coef[:k]).max(initial=0.0)
        v.side[:k] = np.where(sure | (v.side[:k] == 0.0), np.where(v.coef[:k] < 0.0, -1.0, 1.0), v.side[:k])
        v.dual[:] = np.where(v.interpolated, v.dual, np.where(v.sign > 0.0, v.high, v.low))
        work = np.empty(2 * k)
        for _ in range(2):
            v.slope[:m] = v.dual @ v.columns[:, :m]
            settle_dual(v, work)

    def _optimize(self, deadline: float, max_steps: int) -> tuple[int, str]:
        """Descend to an optimal vertex of the working set; the number of steps, and why it ended."""
        n_steps, rounds, fruitless = 0, 0, 0
        try:
            while True:
                steps, state = descend(
                    self._vertex, min(_CHUNK, max_steps - n_steps), _IDLE * (1 + rounds), 1e-12 * self._typical
                )
                n_steps += steps
                self._renew()
                if state == OPTIMAL and steepest_edge(self._vertex)[0] < 0:
                    if self._target is self._y:
                        return n_steps, "converged"
                    self._target = self._y  # the basis, on the targets as given
                    self._renew()
                fruitless = fruitless + 1 if steps == 0 else 0
                if state == DEGENERATE:
                    rounds += 1
                    self._perturb(rounds)
                if rounds > _ROUNDS or fruitless > 2:
                    return n_steps, "stalled"
                if n_steps >= max_steps:
                    return n_steps, "max_iter"
                if time.monotonic() > deadline:
                    return n_steps, "time_limit"
        finally:
            if self._target is not self._y:
                self._target = self._y
                self._renew()

    def _perturb(self, seed: int) -> None:
        """Move the targets a little, so that what is tied at this vertex comes apart on the side where it is."""
        v = self._vertex
        k = int(v.size[0])
        random = np.random.default_rng(seed)
        coef, size = v.coef[:k], v.column_size[:k]
        tiny = _PERTURBATION * self._typical / np.where(size > 0.0, size, 1.0)
        away = np.where(np.abs(coef) <= tiny, np.where(v.level[:k] > 0.0, v.side[:k], 0.0), 0.0)
        away = np.where(
            np.abs(coef - v.lower[:k]) <= tiny, 1.0, np.where(np.abs(coef - v.upper[:k]) <= tiny, -1.0, away)
        )
        shift = v.columns[:, :k] @ (away * tiny * random.uniform(0.5, 1.0, k))
        tied = ~v.interpolated & (np.abs(v.residual) <= _PERTURBATION * v.row_size)
        shift += np.where(tied, v.sign * _PERTURBATION * v.row_size * random.uniform(0.5, 1.0, v.sign.size), 0.0)
        self._target = self._target + shift
        self._renew()

    def _read(self) -> None:
        """From the vertex: coefficients, intercept, linear predictor, a dual vector in its box and its slopes."""
        v = self._vertex
        m = int(v.size[1])
        members, real = v.features[:m], v.features[:m] >= 0
        self.coef = np.zeros(self.n_features)
        # A basic coefficient at its bound may be beyond by rounding.
        self.coef[members[real]] = np.clip(v.coef[:m], v.lower[:m], v.upper[:m])[real]
        support = np.flatnonzero(self.coef)
        self.intercept = float(v.coef[:m][~real].sum() - self._means[support] @ self.coef[support])
        self.predictor = combine(self.X, support, self.coef[support]) + self.intercept
        self.dual = np.zeros(self.n_samples)
        self.dual[self._weighted] = self._balanced(np.clip(v.dual, v.low, v.high))
        self.slope = correlate(self.X, self.dual)

    def _balanced(self, dual: np.ndarray) -> np.ndarray:
        """The dual vector moved within its box to a sum of zero, as an intercept asks for; at an optimum it stays."""
        low, high = self._low, self._high
        size = np.abs(dual).sum()
        if not self.fit_intercept or abs(dual.sum()) <= 1e-12 * size:
            return dual
        lower, upper = -1.0, 1.0  # of the shift, in units of the box
        for _ in range(80):
            shift = 0.5 * (lower + upper)
            moved = np.clip(dual + shift * (high - low), low, high)
            if moved.sum() > 0.0:
                upper = shift
            else:
                lower = shift
        return moved

    def _certificate(self, penalty: Any) -> tuple[float, float, float, np.ndarray]:
        """The objective, the duality gap, the KKT residual and each feature's distance to optimality."""
        slope = self.slope
        equations = equation_coordinates(penalty, self.features) > 0
        if equations.any():
            # A slope that must vanish does so to rounding, at an optimal vertex.
            v = self._vertex
            rounding = np.zeros(self.n_features)
            members = v.features[: int(v.size[1])]
            rounding[members[members >= 0]] = v.column_size[: members.size][members >= 0]
            rounding = 1e-11 * np.abs(self.dual).sum() * (rounding + np.abs(self._means))
            slope = np.where(equations & (np.abs(slope) <= rounding), 0.0, slope)
        distances = np.empty(self.n_features)
        kkt = kkt_distances(penalty, self.coef, slope, self.features, distances)
        c = dual_scale(penalty, slope, self.features)
        gap = fenchel_young(self.loss, self.predictor, c * self.dual)
        gap += penalty_gap(penalty, self.coef, slope, self.features, c)
        value = float(loss_value(self.loss, self.predictor)) + penalty_value(penalty, self.coef, self.features)
        self._proof = c * self.dual
        return value, float(gap), float(kkt), distances

    def solve(
        self,
        penalty: Any,
        *,
        tol: float = 1e-6,
        max_iter: int = 100_000,
        deadline: float = np.inf,
        candidates: np.ndarray | None = None,
        on_pass: Callable[[int, float], Any] | None = None,
    ) -> Solution:
        """Solve for one penalty from the current vertex.

        Parameters
        ----------
        penalty : NamedTuple
            The penalty's record: :class:`~sparsemodels.solvers.penalties.L1`, or that in a
            :class:`~sparsemodels.solvers.penalties.Box`.
        tol : float, default=1e-6
            The duality gap to reach, relative to the loss at zero coefficients. A solution is optimal on its working
            set in any case; with a tolerance above zero a few features may remain that could lower the objective by
            no more than this.
        max_iter : int, default=100_000
            The largest number of vertices visited.
        deadline : float, default=inf
            The time of :func:`time.monotonic` after which to return what there is.
        candidates : ndarray of int64, optional
            Features to take into the first working set.
        on_pass : callable, optional
            Called with the number of vertices and the gap after every pass over all features; a true result stops.

        Returns
        -------
        Solution
            The vertex found and its certificate; ``n_iter`` counts vertices.
        """
        level = self._set_penalty(penalty)
        v = self._vertex
        k, m = (int(size) for size in v.size)
        rounding = 1e-9 * np.abs(v.coef[:m])
        inside = (v.lower[:m] - rounding <= v.coef[:m]) & (v.coef[:m] <= v.upper[:m] + rounding)
        kink = (v.coef[k:m] == 0.0) | (v.coef[k:m] == v.lower[k:m]) | (v.coef[k:m] == v.upper[k:m])
        if not inside.all() or not kink.all() or (v.coef[:m][np.isinf(v.level[:m])] != 0.0).any():
            self.restart()  # the last penalty had other bounds
        elif m > 4 * k + 4 * _FIRST:
            self._forget(np.abs(v.slope[k:m]) >= 0.7 * v.level[k:m])
        if candidates is not None:
            self._join(candidates[~self._member[candidates] & np.isfinite(level[candidates])])
        target = max(tol * self.null_objective, 1e-30 * float(loss_value(self.loss, np.zeros(self.n_samples))))
        slack, n_iter, status = _SLACK, 0, "converged"
        interrupted = False
        while True:
            self._set_penalty(penalty)
            self._slacken(slack)
            try:
                self._renew()
                steps, status = self._optimize(deadline, max_iter - n_iter)
                n_iter += steps
            except KeyboardInterrupt:
                interrupted, status = True, "interrupted"
                self._renew()
            self._read()
            value, gap, kkt, distances = self._certificate(penalty)
            stop = on_pass is not None and not interrupted and on_pass(n_iter, gap)
            if gap <= target and not interrupted:
                status = "converged"
                break
            if stop or status not in ("converged", "stalled"):
                status = "stopped" if stop else status
                break
            outside = np.flatnonzero((distances > 0.0) & ~self._member & np.isfinite(level))
            if outside.size == 0:
                if status == "stalled" or slack <= _TIGHTEST:
                    status = "stalled"
                    break
                slack *= 0.01  # the dual vector is feasible to the slack only
                continue
            most = max(_FIRST, int(self._vertex.size[0]))
            if outside.size > most:
                outside = np.sort(outside[np.argpartition(-distances[outside], most)[:most]])
            self._join(outside)
        return Solution(
            self.coef.copy(), self.intercept, value, gap, kkt, self._proof, self.null_objective, max(n_iter, 1),
            status == "converged", status,
        )  # fmt: skip

    def _forget(self, near: np.ndarray) -> None:
        """Let nonbasic columns that are far from their thresholds, and zero, leave the working set."""
        v = self._vertex
        k, m = v.size
        stay = near | (v.coef[k:m] != 0.0) | (v.level[k:m] == 0.0)
        kept = np.concatenate([np.arange(k), k + np.flatnonzero(stay)])
        keep_columns(v, kept)
        self._member[:] = False
        members = v.features[: kept.size]
        self._member[members[members >= 0]] = True
        self._means[~self._member] = 0.0

    def refine_alpha_max(self, penalty: Any, largest: float) -> float:
        r"""The smallest level at which all penalised coefficients are zero, from one that is large enough.

        Where data are tied there are many dual vectors of the model without penalised features, and that of its basis
        need not be the one that allows the smallest level. The smallest is
        :math:`\max_w (f(0) - f(w)) / \Omega(w)`, found by the method of Dinkelbach from below.

        Parameters
        ----------
        penalty : NamedTuple
            The penalty at any level.
        largest : float
            A level at which they are zero, that of the current vertex.

        Returns
        -------
        float
            The level.
        """
        v = self._vertex
        tied = ~v.interpolated & (np.abs(v.residual) <= 1e-12 * v.row_size)
        null, unit = float(loss_value(self.loss, self.predictor)), with_alpha(penalty, 1.0)
        if null <= 1e-14 * self._typical * float((v.high - v.low).sum()):
            return 0.0  # nothing is left to explain
        if not tied.any() or not 0.0 < largest < np.inf:
            return largest
        start = self.coef.copy()
        smallest, alpha = 0.0, 0.5 * largest
        for _ in range(60):
            solution = self.solve(with_alpha(penalty, alpha), tol=1e-13)
            size = penalty_value(unit, solution.coef, self.features)
            gain = null - float(loss_value(self.loss, self.predictor))
            if size > 0.0 and null - solution.objective > 1e-13 * null:
                better = gain / size
                if better <= smallest * (1.0 + 1e-12):
                    break
                smallest = alpha = better
            elif smallest > 0.0:
                break
            else:
                largest = alpha
                alpha *= 0.5
        self.restart(start)
        return min(largest, smallest * (1.0 + 1e-11)) if smallest > 0.0 else largest
