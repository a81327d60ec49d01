r"""Sparse Bayesian regression as a sequence of weighted lasso problems.

The determinant in the evidence is concave in the variances, so its tangent at :math:`\gamma` bounds it, and
:math:`y^H C^{-1} y` is the minimum over w of :math:`\|y - X w\|^2 / \sigma^2 + \sum_j |w_j|^2 / \gamma_j`. For L
outputs with shared variances minus twice the log evidence (minus the log evidence, for complex data) is therefore, up
to a constant and with equality at the current variances, at most

.. math:: \frac{\|Y - X W\|_F^2}{\sigma^2} + \sum_j \Bigl( \frac{\|w_j\|^2}{\gamma_j} + L z_j \gamma_j \Bigr) .

The best :math:`\gamma_j = \|w_j\| / \sqrt{L z_j}` leaves the lasso
:math:`\tfrac12 \|Y - X W\|_F^2 + \sigma^2 \sum_j \sqrt{L z_j} \|w_j\|`, with the norm of rows as penalty. Solving it,
setting the variances and computing :math:`z` anew never lowers the evidence, up to the duality gap of the lasso. Most
columns are zero after the first one. The variance of the noise waits: learned while all columns are still there, it
would collapse.

Once the evidence gains little, :func:`~sparsemodels.solvers.working_set_evidence.ascend_evidence` climbs the rest of
the way to the same kind of stationary point as every other solver, learning the noise on the way.

References
----------
D. Wipf and S. Nagarajan, "Iterative reweighted l1 and l2 methods for finding sparse solutions", IEEE Journal of
Selected Topics in Signal Processing 4, 2010.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .composite import Composite
from .evidence import EvidencePosterior, Noise, certified_posterior, dual_terms, full_terms, log_evidence
from .losses.squared import Squared
from .penalties.l1 import L1
from .shared_support_lasso import shared_support_lasso
from .standardized_design import StandardizedDesign, columns
from .working_set_evidence import ascend_evidence

_FIRST_GAP = 1e-4  # of the lasso, relative to its objective at zero
_LAST_GAP = 1e-10
_LOOKS = 30  # at all columns, in a lasso of several outputs: descent is all that the bound asks for
_ENOUGH = 0.05  # gain of an iteration in nats at which the second-order ascent takes over


class _Lasso:
    """The weighted lasso of the standardized columns, from solution to solution."""

    def __init__(self, X: np.ndarray, Y: np.ndarray):
        self.X, self.Y = X, Y
        self.dtype = np.result_type(X, Y)
        self.coef = np.zeros((X.shape[1], Y.shape[1]), dtype=self.dtype)
        self.problem: Any = None
        if Y.shape[1] == 1 and not np.issubdtype(self.dtype, np.complexfloating):
            n = len(Y)
            loss = Squared(np.ascontiguousarray(Y[:, 0]), np.full(n, 1.0 / n))
            self.problem = Composite(X, loss, fit_intercept=False)

    def solve(self, levels: np.ndarray, tol: float, deadline: float) -> np.ndarray:
        """The coefficients; a lasso of one real output by the solver of all convex pairs."""
        if self.problem is None:
            self.coef = shared_support_lasso(self.X, self.Y, levels, self.coef, tol=tol, max_iter=_LOOKS).coef
        else:
            penalty = L1(1.0 / len(self.Y), levels)
            self.coef = self.problem.solve(penalty, tol=tol, deadline=deadline).coef[:, None]
        return self.coef


def evidence_reweighted_l1(
    design: StandardizedDesign,
    Y: np.ndarray,
    noise: Noise,
    *,
    threshold: float = 1.0,
    tol: float = 1e-4,
    max_iter: int = 500,
    start: tuple[np.ndarray, np.ndarray] | None = None,
    deadline: float = np.inf,
    on_iteration: Callable[[int, float], bool] | None = None,
) -> EvidencePosterior:
    """A local maximum of the evidence by weighted lasso problems.

    Parameters
    ----------
    design : StandardizedDesign
        The design; dense or sparse. A dense copy of the standardized columns is held.
    Y : ndarray of shape (n_samples, n_outputs)
        Weighted, centred targets.
    noise : Noise
        What is known of the noise.
    threshold : float, default=1.0
        The relevance that a column needs, measured without itself, to be active. The lasso knows nothing of it; it
        decides in the end.
    tol : float, default=1e-4
        The violation of the optimality conditions to reach.
    max_iter : int, default=500
        The most iterations, lasso problems and steps of the end together.
    start : tuple of ndarray (active, variances), optional
        Columns and their prior variances to start from; by default all, of the same variance.
    deadline : float, default=inf
        When to stop, in seconds of ``time.monotonic()``.
    on_iteration : callable, optional
        Called with the number of iterations and the logarithm of the evidence; stops the fit by returning True.

    Returns
    -------
    EvidencePosterior
        The posterior with its certificate.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.evidence import Noise
    >>> from sparsemodels.solvers.evidence_reweighted_l1 import evidence_reweighted_l1
    >>> from sparsemodels.solvers.standardized_design import standardize
    >>> design = standardize(np.eye(3), center=False)
    >>> noise = Noise(1.0, False, 0.0, 0.0, 0.0, 3.0)
    >>> posterior = evidence_reweighted_l1(design, np.array([[3.0], [0.5], [2.0]]), noise)
    >>> posterior.active, posterior.variances.round(3)  # c^2 - 1 where positive
    (array([0, 2]), array([8., 3.]))
    """
    usable = np.flatnonzero(np.isfinite(design.norms))
    n_outputs = Y.shape[1]
    power = float(np.vdot(Y, Y).real)
    history: list[float] = []
    active, variances, n_iter, status = np.empty(0, dtype=np.intp), np.empty(0), 0, "settled"
    if start is not None:
        active, variances = np.asarray(start[0], dtype=np.intp), np.asarray(start[1], dtype=np.float64)
    if power == 0.0 or not len(usable):
        active, variances = np.empty(0, dtype=np.intp), np.empty(0)
    else:
        if start is None:
            active, variances = usable, np.full(len(usable), power / (n_outputs * len(usable)))
        before, gap, status, evaluated = -np.inf, _FIRST_GAP, "max_iter", (active, variances)
        try:
            X = columns(design, np.arange(len(design.norms)))
            lasso = _Lasso(X, Y)
            while n_iter < max_iter:
                z, value = _terms(design, X, Y, active, variances, noise)
                evaluated = active, variances
                history.append(value)
                if n_iter > 0 and value - before <= _ENOUGH:
                    status = "settled"
                    break
                gain, before = value - before, value
                gap = min(gap, max(0.1 * gain / (np.maximum(power, 1e-300) / noise.variance), _LAST_GAP))
                if n_iter > 0 and on_iteration is not None and on_iteration(n_iter, value):
                    status = "stopped"
                    break
                if time.monotonic() > deadline:
                    status = "time_limit"
                    break
                n_iter += 1
                slopes = np.sqrt(n_outputs * np.maximum(z, np.finfo(np.float64).eps / noise.variance))
                W = lasso.solve(noise.variance * slopes, gap, deadline)
                lengths = np.linalg.norm(W, axis=1)
                active = usable[lengths[usable] > 0.0]
                variances = lengths[active] / slopes[active]
        except KeyboardInterrupt:
            status = "interrupted"
            active, variances = evaluated
    if status == "settled":
        end = ascend_evidence(
            design, Y, active, variances, noise, threshold=threshold, tol=tol, max_iter=max_iter, deadline=deadline,
            on_iteration=on_iteration, log_evidences=history, n_iter=n_iter,
        )  # fmt: skip
        active, variances, noise, n_iter, status = end
    return certified_posterior(design, Y, active, variances, noise, threshold, history, n_iter, status)


def _terms(design, X, Y, active, variances, noise):
    """For all columns z, and the logarithm of the evidence."""
    if len(active) <= X.shape[0]:
        terms, _, _ = full_terms(design, Y, active, variances, noise.variance)
    else:
        every = np.zeros(X.shape[1])
        every[active] = variances
        terms = dual_terms(X, Y, every, noise.variance)
    is_complex = np.iscomplexobj(terms.q)
    value = log_evidence(
        terms.log_determinant, terms.quadratic, noise.variance, noise.degrees_of_freedom, Y.shape[1], is_complex
    )
    return terms.z, value
