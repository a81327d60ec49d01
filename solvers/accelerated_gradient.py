r"""Accelerated gradient for smooth loss plus L1 norm plus smooth concave part, on arrays of any library.

The methods differ in one number, the damping :math:`\alpha_k` between the accelerated and the plain sequence:
1 is the proximal gradient, :math:`2 / (k + 1)` Ghadimi and Lan's choice, and the largest that their conditions allow
follows the recursion of :func:`next_damping`, which is that of FISTA.
"""

import math
import time
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy.sparse
from array_api_compat import array_namespace, device, is_numpy_array

from .losses.functions import curvature, negative_gradient
from .losses.logistic import Logistic
from .penalties.concave_part import concave_gradient, concavity, thresholds

_SHARE = 0.99  # of the largest step that is safe
_REST = 3  # iterations after a restart before there may be another
_EXACT = 1500  # rows or columns up to which a norm comes from an eigenvalue decomposition
_MARGIN = 1.05  # on top of the power method, which approaches the norm from below


class GradientSolution(NamedTuple):
    r"""A point found by a gradient method and how good it is.

    Attributes
    ----------
    coef : array of shape (n_features,)
        The coefficients, in the library and on the device of the design.
    intercept : float
        The intercept; zero if there is none.
    kkt : float
        The largest distance of a slope to the subdifferential of its penalty.
    residual : float
        The largest entry of the last proximal gradient, :math:`\max_j |w_j - w_j^+| / \beta`.
    scale : float
        What `tol` is relative to: the largest slope at zero coefficients.
    n_iter : int
        Iterations, each with one gradient.
    converged : bool
        Whether `residual` and `kkt` reached the tolerance.
    status : {"converged", "max_iter", "time_limit", "interrupted"}
        Why the solver returned.
    """

    coef: Any
    intercept: float
    kkt: float
    residual: float
    scale: float
    n_iter: int
    converged: bool
    status: str


def next_damping(damping: float) -> float:
    r"""The largest damping after `damping` for which the method is known to converge.

    :math:`\alpha_{k+1} = 2 / (1 + \sqrt{1 + 4 / \alpha_k^2})`. From :math:`\alpha_1 = 1` it is the reciprocal of the
    sequence :math:`t_k` of FISTA, and at most :math:`2 / (k + 1)`.

    Parameters
    ----------
    damping : float
        The damping :math:`\alpha_k` in (0, 1].

    Returns
    -------
    float
        The damping :math:`\alpha_{k+1}`.

    Examples
    --------
    >>> from sparsemodels.solvers.accelerated_gradient import next_damping
    >>> round(next_damping(1.0), 3)
    0.618
    """
    return 2.0 / (1.0 + math.sqrt(1.0 + 4.0 / (damping * damping)))


class _Design:
    """Products with the columns of a design about their weighted means, whatever library holds it."""

    def __init__(self, X: Any, loss: Any, fit_intercept: bool):
        self.X = X
        numpy = scipy.sparse.issparse(X) or is_numpy_array(X)
        self.xp = array_namespace(np.empty(0)) if numpy else array_namespace(X)
        self.dtype: Any = np.float64 if numpy else X.dtype
        self.device: Any = None if numpy else device(X)
        self.transposed = X.T
        self.numpy = numpy
        self.weights = self.largest_curvature(loss)
        self.total = float(self.xp.sum(self.weights))
        self.means = self.transposed @ self.weights / self.total if fit_intercept else None

    def largest_curvature(self, loss: Any) -> Any:
        """The loss' curvature where it is largest, at the predictor zero."""
        if isinstance(loss, Logistic) and not self.numpy:
            return 0.25 * loss.weights
        return curvature(loss, self.array(np.zeros(self.X.shape[0])))

    def negative_gradient(self, loss: Any, predictor: Any) -> Any:
        """The loss' negative gradient; the logistic one's own is compiled for NumPy."""
        if isinstance(loss, Logistic) and not self.numpy:
            return loss.weights * (loss.y - 0.5 - 0.5 * self.xp.tanh(0.5 * predictor))  # overflows nowhere
        return negative_gradient(loss, predictor)

    def array(self, values: Any) -> Any:
        """Values of NumPy in the library, precision and device of the design."""
        return self.xp.asarray(values, dtype=self.dtype, device=self.device)

    def predict(self, coef: Any, level: float) -> Any:
        """The linear predictor, `level` at the mean of the columns."""
        predictor = self.X @ coef
        return predictor if self.means is None else predictor + (level - self.means @ coef)

    def correlate(self, vector: Any) -> Any:
        slope = self.transposed @ vector
        return slope if self.means is None else slope - self.xp.sum(vector) * self.means

    def largest_eigenvalue(self) -> float:
        """Of the weighted Gram matrix of the centred columns."""
        n, p = self.X.shape
        if min(n, p) <= _EXACT and not scipy.sparse.issparse(self.X):
            root = self.xp.sqrt(self.weights)[:, None]
            columns = root * (self.X if self.means is None else self.X - self.means[None, :])
            gram = columns @ columns.T if n < p else columns.T @ columns
            return max(float(self.xp.linalg.eigvalsh(gram)[-1]), 0.0)
        vector = self.array(np.random.default_rng(0).standard_normal(p))
        value = 0.0
        for _ in range(300):
            vector = vector / self.xp.sqrt(self.xp.sum(vector * vector))
            image = self.correlate(self.weights * self.predict(vector, 0.0))
            before, value = value, float(self.xp.sum(vector * image))
            vector = image
            if value <= before * (1.0 + 1e-4):
                break
        return _MARGIN * value


def accelerated_gradient(
    X: Any,
    loss: Any,
    penalty: Any,
    *,
    fit_intercept: bool = True,
    coef: Any = None,
    tol: float = 1e-6,
    max_iter: int = 100_000,
    damping: Literal["optimal", "ghadimi_lan", "none"] = "optimal",
    restart: bool = True,
    deadline: float = np.inf,
) -> GradientSolution:
    r"""Minimise a smooth loss plus a folded concave penalty by an accelerated gradient with restarts.

    The penalty is split as :math:`\lambda_j |w| + h_j(w)` with h smooth and concave. With the step
    :math:`\beta < 1 / \max(L_f, L_h)` and :math:`g = \nabla (f + h)`,

    .. math::

        u &= (1 - \alpha_k) v + \alpha_k w, \\
        w &\leftarrow S(w - (\beta / \alpha_k)\, g(u),\; \lambda \beta / \alpha_k), \\
        v &\leftarrow S(u - \beta\, g(u),\; \lambda \beta),

    with the soft threshold S. It stops where the proximal gradient :math:`(u - v) / \beta` is small.

    Parameters
    ----------
    X : array or scipy sparse matrix of shape (n_samples, n_features)
        The design: of NumPy, or of any library of the array API, such as CuPy or torch, which then does all products
        on its device and in its precision.
    loss : NamedTuple
        The record of a loss whose curvature is largest at the predictor zero: the squared and the logistic, with
        arrays of the library of `X`.
    penalty : MCP, SCAD or L1
        The penalty's record, with weights of NumPy.
    fit_intercept : bool, default=True
        Whether an unpenalised intercept is added; the columns are centred implicitly.
    coef : array of shape (n_features,), optional
        Where to start; zero by default.
    tol : float, default=1e-6
        The proximal gradient and the KKT residual to reach, relative to the largest slope at zero coefficients.
    max_iter : int, default=100000
        The largest number of iterations.
    damping : {"optimal", "ghadimi_lan", "none"}, default="optimal"
        The recursion of :func:`next_damping`, :math:`2 / (k + 1)`, or 1, which is the proximal gradient.
    restart : bool, default=True
        Whether both sequences start anew from v where momentum carries v uphill, at the earliest three iterations
        after the last restart.
    deadline : float, default=inf
        The time of :func:`time.monotonic` after which to return what there is.

    Returns
    -------
    GradientSolution
        The point v and its certificate.

    Notes
    -----
    The step comes from the largest eigenvalue of a Gram matrix of the smaller side, up to 1500 rows or columns, and
    from the power method beyond.

    References
    ----------
    S. Ghadimi and G. Lan, "Accelerated gradient methods for nonconvex nonlinear and stochastic programming",
    Mathematical Programming 156, 2016.

    B. O'Donoghue and E. Candès, "Adaptive restart for accelerated gradient schemes", Foundations of Computational
    Mathematics 15, 2015, section 3.2: the restart.

    K. Yang, M. Asgharian and S. Bhatnagar, "Improved nonconvex optimization using accelerated gradient for penalized
    sparse learning", arXiv:2009.10629: the damping.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.accelerated_gradient import accelerated_gradient
    >>> from sparsemodels.solvers.losses import Squared
    >>> from sparsemodels.solvers.penalties import MCP
    >>> X, y = np.eye(2), np.array([3.0, 1.0])
    >>> loss, penalty = Squared(y, np.full(2, 0.5)), MCP(0.6, 3.0, np.ones(2))
    >>> accelerated_gradient(X, loss, penalty, fit_intercept=False).coef.round(6)
    array([3., 0.])
    """
    p, curving = X.shape[1], concavity(penalty)
    design = _Design(X, loss, fit_intercept)
    xp = design.xp
    levels = design.array(thresholds(penalty))
    largest = max(design.largest_eigenvalue(), curving, np.finfo(np.float64).tiny)
    beta = _SHARE / largest
    intercept_step = 1.0 / design.total if design.total > 0.0 else 0.0

    def slopes(coef: Any, level: float) -> tuple[Any, float]:
        theta = design.negative_gradient(loss, design.predict(coef, level))
        return design.correlate(theta), float(xp.sum(theta)) if fit_intercept else 0.0

    def soft(point: Any, threshold: Any) -> Any:
        size = xp.abs(point) - threshold
        return xp.sign(point) * xp.where(size > 0.0, size, xp.zeros_like(size))

    w = v = design.array(np.zeros(p) if coef is None else coef)
    b = c = 0.0  # the intercepts of w and v, at the means of the columns
    for _ in range(100):
        slope, excess = slopes(xp.zeros_like(v), b)
        b += intercept_step * excess
        if abs(excess) <= 1e-15 * design.total * (1.0 + abs(b)):
            break
    c = b
    scale = float(xp.max(xp.abs(slope)))
    target = tol * scale
    alpha, rest = 1.0, 0
    residual, status, iterations = math.inf, "max_iter", 0
    try:
        while iterations < max_iter:
            iterations += 1
            u, a = (1.0 - alpha) * v + alpha * w, (1.0 - alpha) * c + alpha * b
            slope, excess = slopes(u, a)
            gradient = concave_gradient(penalty, levels, u) - slope
            long = beta / alpha
            w, b = soft(w - long * gradient, long * levels), b + intercept_step / alpha * excess
            last, v, c = v, soft(u - beta * gradient, beta * levels), a + intercept_step * excess
            residual = max(float(xp.max(xp.abs(u - v))) / beta, abs(excess))
            if residual <= target and kkt_residual(penalty, levels, v, *slopes(v, c)) <= target:
                status = "converged"
                break
            if time.monotonic() > deadline:
                status = "time_limit"
                break
            rest += 1
            # The proximal gradient at u against the way that v went: momentum carries it uphill.
            if restart and rest >= _REST and float(xp.sum((u - v) * (v - last))) > 0.0:
                alpha, rest, w, b = 1.0, 0, v, c
            elif damping == "optimal":
                alpha = next_damping(alpha)
            elif damping == "ghadimi_lan":
                alpha = 2.0 / (2.0 / alpha + 1.0)
    except KeyboardInterrupt:
        status = "interrupted"
    kkt = kkt_residual(penalty, levels, v, *slopes(v, c))
    intercept = c - float(design.means @ v) if fit_intercept else 0.0
    return GradientSolution(v, intercept, kkt, residual, scale, iterations, status == "converged", status)


def kkt_residual(penalty: Any, levels: Any, coef: Any, slope: Any, excess: float = 0.0) -> float:
    """The largest distance of a slope to the subdifferential of the penalty, and of the intercept's to zero."""
    xp = array_namespace(coef)
    inside = xp.abs(slope) - levels
    inside = xp.where(inside > 0.0, inside, xp.zeros_like(inside))
    nonzero = coef != 0.0
    finite = xp.where(nonzero, levels, xp.zeros_like(levels))  # an excluded feature has an infinite level
    outside = xp.abs(slope - xp.sign(coef) * finite - concave_gradient(penalty, levels, coef))
    return max(float(xp.max(xp.where(nonzero, outside, inside))), abs(excess))
