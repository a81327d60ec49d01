r"""The square-root LASSO, :math:`\min_{w, b} \|y - X w - b\|_s + \alpha \sum_j p_j(w_j)`, by a scalar equation.

With :math:`\|r\| = \min_{\sigma > 0} \|r\|^2 / (2 \sigma) + \sigma / 2` the problem is one of the squared loss at level
:math:`\alpha \sigma`, where the noise level :math:`\sigma` solves :math:`\sigma = \|r(\alpha \sigma)\|` (Sun and Zhang,
2012). So one working set with one Gram matrix serves all iterations. While support and signs stay, the residual is
:math:`r_0 + \lambda q` with orthogonal parts, so that :math:`\|r\|^2` is linear in :math:`\lambda^2`: a secant in
squares ends the iteration in one step.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.special

from .column_moments import column_moments
from .columns import correlate
from .composite import Composite, Solution
from .losses.absolute import Absolute
from .losses.functions import fenchel_young, loss_value
from .losses.square_root import SquareRoot, dual_norm
from .losses.squared import Squared
from .path_problem import PathProblem
from .penalties.functions import with_alpha
from .penalties.vector_functions import kkt_distances, penalty_gap, penalty_value
from .quantile_lasso import VertexProblem, linear_pieces
from .unit_columns import gather_normalized

_ROUNDING = 1e-14  # a residual of this share of the targets is none
_NO_RESIDUAL = 1e-9  # a solution with this share of them is one without residual, which a proof then confirms
_DEPENDENT = 1e-12  # smallest singular value of columns, relative to the largest, from which on they are independent
_MAX_LEVELS = 100
_FINEST = 1e-26  # share of the tolerance
_POLISHED = 1e-4
_COLLAPSED = 1e-9
_SHRINKAGE = 0.03  # of the noise level in one step, at most


class SquareRootProblem(PathProblem):
    """A square-root LASSO between solves: the same with the squared loss, and the noise level.

    To paths, cross-validation and estimators it is what :class:`~sparsemodels.solvers.composite.Composite` is.

    Parameters
    ----------
    X : ndarray, sparse matrix or SparseColumns of shape (n_samples, n_features)
        The design, as :func:`~sparsemodels.solvers.columns.as_columns` returns it.
    loss : SquareRoot
        The loss' record.
    fit_intercept : bool
        Whether an unpenalised intercept is added.
    coef : ndarray of shape (n_features,), optional
        Where to start; zero by default.
    total_weight : float, optional
        How many samples the weights stand for, for :func:`pivotal_level`; the number of rows by default.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.losses import SquareRoot
    >>> from sparsemodels.solvers.penalties import L1
    >>> from sparsemodels.solvers.square_root_lasso import SquareRootProblem
    >>> X, y = np.eye(4), np.array([4.0, 1.0, 1.0, 0.0])
    >>> problem = SquareRootProblem(X, SquareRoot(y, np.full(4, 0.25)), fit_intercept=False)
    >>> solution = problem.solve(L1(0.4, np.ones(4)), tol=1e-12)
    >>> solution.coef.round(3), solution.status
    (array([2.114, 0.   , 0.   , 0.   ]), 'converged')
    """

    def __init__(
        self,
        X: Any,
        loss: SquareRoot,
        *,
        fit_intercept: bool,
        coef: np.ndarray | None = None,
        total_weight: float | None = None,
    ):
        self.X, self.loss, self.fit_intercept = X, loss, fit_intercept
        self.squared = Composite(X, Squared(loss.y, loss.weights), fit_intercept=fit_intercept)
        self.n_samples, self.n_features = self.squared.n_samples, self.squared.n_features
        self.features = self.squared.features
        self.total_weight = float(self.n_samples) if total_weight is None else total_weight
        self._size = float(loss_value(loss, np.zeros(self.n_samples)))
        self.null_objective = float(np.sqrt(2.0 * self.squared.null_objective))
        if self.null_objective <= _ROUNDING * self._size:
            self.null_objective = 0.0  # a constant target
        self._interpolation: tuple[np.ndarray, np.ndarray] | None = None
        self.restart(coef)

    @property
    def coef(self) -> np.ndarray:
        """The current coefficients, an array of shape (n_features,)."""
        return self.squared.coef

    @property
    def intercept(self) -> float:
        """The current intercept."""
        return self.squared.intercept

    @property
    def slope(self) -> np.ndarray:
        """The inner products of all columns with the dual vector, an array of shape (n_features,)."""
        return self._slope

    def restart(self, coef: np.ndarray | None = None) -> None:
        """Move the current point, to zero by default; the working set stays."""
        self.squared.restart(coef)
        self.refresh_all()

    def refresh_all(self) -> None:
        """Bring the slopes of all features up to date."""
        self._noise = float(loss_value(self.loss, self.squared.predictor))
        self._slope = np.zeros(self.n_features)
        if self._noise > _ROUNDING * self._size:
            self.squared.refresh_all()
            self._slope = self.squared.slope / self._noise

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
        r"""Solve for one penalty from the current point.

        Parameters
        ----------
        penalty : NamedTuple
            The penalty's record; a convex one that is proportional to its level.
        tol : float, default=1e-6
            The duality gap to reach, relative to the loss at zero coefficients.
        max_iter : int, default=1000
            The largest number of passes over the data.
        deadline : float, default=inf
            The time of :func:`time.monotonic` after which to return what there is.
        candidates : ndarray of int64, optional
            Features to take into the first working set.
        on_pass : callable, optional
            Called with the pass and the gap after every noise level; a true result stops.

        Returns
        -------
        Solution
            The best point found and its certificate.

        Notes
        -----
        Where the level is so small that the solution interpolates the targets, the noise level is zero and there is
        nothing to divide by. That solution is a vertex of a linear program, and found and proved as such (for a
        weighted L1 norm, with or without bounds).
        """
        alpha = _level(penalty)
        target = max(tol * self.null_objective, 1e-15 * self._size)
        if self.null_objective == 0.0:
            self.restart()
            return self._certified(penalty, np.zeros(self.n_samples), 1)._replace(status="converged", converged=True)
        if self._interpolation is not None:  # at a larger level; then the same point is the solution here
            coef, dual = self._interpolation
            if np.array_equal(self.coef, coef):
                solution = self._certified(penalty, alpha * dual, 1)
                if solution.dual_gap <= target:
                    return solution._replace(status="converged", converged=True)
        n_iter, best, status, share, tried = 0, None, "stalled", 0.1, alpha == 0.0
        noise = self._noise if self._noise > 1e-9 * self.null_objective else self.null_objective
        lower, upper, previous, polished = 0.0, np.inf, None, False
        try:
            for _ in range(_MAX_LEVELS):
                done, level = n_iter, noise

                def on_inner(step: int, gap: float, done: int = done, level: float = level) -> bool:
                    return on_pass is not None and bool(on_pass(done + step, gap / level))

                # A gap g of the squared problem is one of g / noise here.
                accuracy = share * target * max(noise, 0.1 * target) / self.squared.null_objective
                inner = self.squared.solve(
                    with_alpha(penalty, alpha * noise),
                    tol=accuracy,
                    max_iter=max(max_iter - n_iter, 1),
                    deadline=deadline,
                    candidates=candidates,
                    on_pass=on_inner,
                )
                n_iter, candidates = n_iter + inner.n_iter, None
                self._noise = residual = float(loss_value(self.loss, self.squared.predictor))
                # Feasible: the slopes are within the levels for alpha * noise, and the norm must not exceed one.
                scale = max(noise if alpha > 0.0 else 0.0, dual_norm(self.loss.weights, inner.dual))
                solution = self._certified(penalty, inner.dual / scale if scale > 0.0 else inner.dual, n_iter)
                best = solution if best is None or solution.dual_gap < best.dual_gap else best
                if best.dual_gap <= target:
                    status = "converged"
                    if polished or best.dual_gap <= _POLISHED * target:
                        break
                    polished = True  # one secant more: from the tolerance nearly to rounding
                if inner.status in ("interrupted", "stopped", "time_limit") or n_iter >= max_iter:
                    if status != "converged":
                        status = inner.status if inner.status not in ("converged", "stalled") else "max_iter"
                    break
                point = noise, residual, self.coef.copy()
                lower, upper = (max(lower, noise), upper) if residual > noise else (lower, min(upper, noise))
                mismatch = abs(residual - noise) / max(residual, noise) * solution.objective
                if mismatch < 0.3 * solution.dual_gap or upper - lower <= _COLLAPSED * upper:
                    # What is left is not the noise level, but the accuracy of the solution; so was what bounds it.
                    share *= 1e-3
                    lower, upper, previous = 0.0, np.inf, None
                    if share < _FINEST or inner.status == "stalled":
                        break
                noise, vanishes = _next_noise(point, previous, lower, upper)
                if vanishes and alpha > 0.0:
                    interpolant = self._refit(penalty, alpha, inner.dual / scale, target, n_iter)
                    if interpolant is not None:
                        best, status = interpolant, "converged"
                        break
                if not tried and ((vanishes and residual < 0.03 * self.null_objective) or self._saturated()):
                    tried = True
                    interpolant = self._interpolate(penalty, alpha, deadline, n_iter)
                    if interpolant is not None and interpolant.dual_gap <= target:
                        best, status = interpolant, "converged"
                        break
                if previous is not None and np.array_equal(np.sign(previous[2]), np.sign(point[2])):
                    # Coefficients are linear in the noise level as long as signs and support stay.
                    along = (noise - point[0]) / (point[0] - previous[0]) if point[0] != previous[0] else 0.0
                    moved = point[2] + along * (point[2] - previous[2])
                    if abs(along) < 10.0 and np.array_equal(np.sign(moved), np.sign(point[2])):
                        self.squared.restart(moved)
                previous = point
        except KeyboardInterrupt:
            if best is None:
                raise
            status = "interrupted"
        assert best is not None
        return best._replace(status=status, converged=status == "converged", n_iter=n_iter)

    def _saturated(self) -> bool:
        """Whether there are as many coefficients as samples: further features can only shrink the residual to zero."""
        count = np.count_nonzero(self.coef) + int(self.fit_intercept)
        return bool(count >= np.count_nonzero(self.loss.weights))

    def _refit(self, penalty: Any, alpha: float, dual: np.ndarray, target: float, n_iter: int) -> Solution | None:
        """The solution without residual if it has the support and the signs of the current point.

        While these stay, all slopes stay as the noise level goes to zero: the dual point of the current level proves
        the end, too. A fit by levels alone would approach that end for ever.
        """
        before, root = self.coef.copy(), np.sqrt(self.loss.weights)
        support = np.flatnonzero(before)
        if not 0 < support.size <= np.count_nonzero(root) - int(self.fit_intercept):
            return None
        columns, scale = np.empty((self.n_samples, support.size), order="F"), np.empty(support.size)
        gather_normalized(self.X, support, root, self.fit_intercept, columns, scale)
        centre = self.loss.weights @ self.loss.y if self.fit_intercept else 0.0
        fit, _, rank, _ = scipy.linalg.lstsq(columns, root * (self.loss.y - centre), cond=_DEPENDENT)
        if rank < support.size:
            return None  # no vertex: not the only solution of these signs
        coef = np.zeros(self.n_features)
        coef[support] = fit / scale
        if not np.array_equal(np.sign(coef), np.sign(before)):
            return None
        self.squared.restart(coef)
        if loss_value(self.loss, self.squared.predictor) <= _NO_RESIDUAL * self._size:
            solution = self._certified(penalty, dual, n_iter)
            if solution.dual_gap <= target:
                self._interpolation = coef, dual / alpha
                return solution
        self.squared.restart(before)
        return None

    def _interpolate(self, penalty: Any, alpha: float, deadline: float, n_iter: int) -> Solution | None:
        r"""The solution without residual, if there is one: a vertex of a linear program.

        If :math:`\theta` proves such a solution optimal, then :math:`t \theta` with :math:`t = \min_i \sqrt{s_i}`
        proves it optimal for the absolute loss at level :math:`t \alpha`, whose solver is exact.
        """
        try:
            linear_pieces(penalty)
        except TypeError:
            return None
        weights = self.loss.weights
        share = float(np.sqrt(weights[weights > 0.0].min()))
        problem = VertexProblem(self.X, Absolute(self.loss.y, weights), fit_intercept=self.fit_intercept)
        vertex = problem.solve(with_alpha(penalty, share * alpha), tol=1e-14, deadline=deadline)
        dual = vertex.dual / share
        norm = dual_norm(weights, dual)
        before = self.coef.copy()
        self.squared.restart(vertex.coef)
        solution = self._certified(penalty, dual / max(norm, 1.0), n_iter)
        if norm <= 1.0 + 1e-9 and solution.objective - penalty_value(penalty, vertex.coef, self.features) <= (
            _NO_RESIDUAL * self._size
        ):
            self._interpolation = self.coef.copy(), dual / alpha
        else:
            self.squared.restart(before)
        return solution

    def _certified(self, penalty: Any, dual: np.ndarray, n_iter: int) -> Solution:
        coef, predictor = self.squared.coef.copy(), self.squared.predictor
        self._slope = slope = correlate(self.X, dual)
        distances = np.empty(self.n_features)
        kkt = kkt_distances(penalty, coef, slope, self.features, distances)
        value = float(loss_value(self.loss, predictor)) + penalty_value(penalty, coef, self.features)
        gap = fenchel_young(self.loss, predictor, dual) + penalty_gap(penalty, coef, slope, self.features, 1.0)
        if not gap <= value:  # zero is always feasible
            dual, gap = np.zeros(self.n_samples), value
        return Solution(
            coef, self.squared.intercept, value, float(gap), float(kkt), dual, self.null_objective, n_iter, False, ""
        )


def _next_noise(point: tuple, previous: tuple | None, lower: float, upper: float) -> tuple[float, bool]:
    """Where the secant in squares meets the diagonal, within what is known; and whether it may meet it at zero."""
    noise, residual, _ = point
    following, vanishes = residual, False
    if previous is not None and previous[0] != noise:
        growth = (residual**2 - previous[1] ** 2) / (noise**2 - previous[0] ** 2)
        rest = residual**2 - growth * noise**2
        if growth < 1.0 and rest > 0.0:
            following = max(np.sqrt(rest / (1.0 - growth)), _SHRINKAGE * noise)  # signs may change on the way
        vanishes = residual < noise and (rest <= 0.0 or following < 0.3 * noise)
        if rest <= 0.0:
            following = max(residual, _SHRINKAGE * noise)
        if growth >= 1.0 and residual > noise:  # the diagonal lies beyond this piece
            following = 4.0 * noise
    if not lower < following < upper:
        following = np.sqrt(lower * upper) if 0.0 < lower and upper < np.inf else residual
    return float(following), bool(vanishes)


def _level(penalty: Any) -> float:
    """The level of a penalty, also inside of bounds."""
    while hasattr(penalty, "penalty"):
        penalty = penalty.penalty
    return float(penalty.alpha)


def pivotal_level(
    X: Any,
    weights: np.ndarray,
    total_weight: float,
    penalty_weights: np.ndarray,
    *,
    centred: bool,
    error: float = 0.05,
    slack: float = 1.1,
) -> float:
    r"""The level that exceeds all slopes of pure Gaussian noise, whatever its variance.

    At the true coefficients the slope of feature j is :math:`\sum_i s_i x_{ij} \varepsilon_i / \|\varepsilon\|_s`,
    for n samples of noise nearly normal with standard deviation :math:`d_j / \sqrt n`, where :math:`d_j` is that of the
    column; the noise level cancels. The level is :math:`\alpha = c t / \sqrt n` with
    :math:`\sum_j 2 (1 - \Phi(t \omega_j / d_j)) = \delta` over the penalised features, so that by the union bound no
    slope exceeds :math:`\alpha \omega_j` with a probability of about :math:`1 - \delta`. For standardised columns that
    is the :math:`c \Phi^{-1}(1 - \delta / (2 p)) / \sqrt n` of Belloni, Chernozhukov and Wang (2011); the slack c pays
    for :math:`\|\varepsilon\|` being random, too.

    Parameters
    ----------
    X : ndarray or SparseColumns of shape (n_samples, n_features)
        The design.
    weights : ndarray of shape (n_samples,)
        Sample weights that sum to one.
    total_weight : float
        Their sum before that, the number n of samples they stand for.
    penalty_weights : ndarray of shape (n_features,)
        The factors :math:`\omega` of the penalty in [0, inf].
    centred : bool
        Whether there is an intercept.
    error : float, default=0.05
        The probability :math:`\delta`.
    slack : float, default=1.1
        The factor c.

    Returns
    -------
    float
        The level; 0 if no feature is penalised.

    References
    ----------
    A. Belloni, V. Chernozhukov and L. Wang, "Square-root lasso: pivotal recovery of sparse signals via conic
    programming", Biometrika 98(4), 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.square_root_lasso import pivotal_level
    >>> X = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    >>> level = pivotal_level(X, np.full(4, 0.25), 4.0, np.ones(2), centred=False)
    >>> round(level, 4)  # 1.1 * 2.2414 / 2
    1.2328
    """
    _, squares, _ = column_moments(X, weights, np.zeros(weights.size), centred=centred)
    penalised = (penalty_weights > 0.0) & np.isfinite(penalty_weights) & (squares > 0.0)
    if not penalised.any():
        return 0.0
    ratio = penalty_weights[penalised] / np.sqrt(squares[penalised])
    top = -scipy.special.ndtri(error / (2 * ratio.size)) / ratio.min()

    def excess(t: float) -> float:
        return float(2.0 * scipy.special.ndtr(-t * ratio).sum() - error)

    bottom = -scipy.special.ndtri(error / 2) / ratio.max()
    root = top if excess(top) >= 0.0 or bottom >= top else scipy.optimize.brentq(excess, bottom, top, xtol=1e-14 * top)
    return float(slack * root / np.sqrt(total_weight))
