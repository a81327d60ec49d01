r"""Sparse Bayesian classification: the prior variances of most evidence, by the method of Laplace.

The model and its log evidence at given variances :math:`\gamma` are those of
:mod:`~sparsemodels.solvers.class_posterior`. All contrasts of a feature share one variance, so that a feature is
relevant for all classes or for none. With the gradient :math:`u` of the log likelihood, its curvature W and
:math:`C^{-1} = W - W X_A \Sigma X_A^T W`,

.. math::

    q_j = X_j^T u, \quad z_j = \mathrm{tr}\, X_j^T C^{-1} X_j, \quad
    \frac{\partial \log p}{\partial \gamma_j} = \tfrac12 (\|q_j\|^2 - z_j) \quad \text{at fixed } W,

so that the **relevance** :math:`r_j = \|q_j\|^2 / z_j` is one for active features and at most one for the others: the
certificate. These are the stationary points of relevance vector machines and of MacKay's evidence framework.

An iteration lets features of too large a relevance in, several at a time, chosen as the greedy algorithm for a Gaussian
likelihood would, by rank-one updates among the most relevant ones; then Newton's method moves the logarithms of the
variances, and features that would be irrelevant on their own leave.

References
----------
A. C. Faul and M. E. Tipping, "Analysis of sparse Bayesian learning", NIPS 14, 2002. M. E. Tipping and A. C. Faul, "Fast
marginal likelihood maximisation for sparse Bayesian models", AISTATS 2003.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .class_likelihood import ClassTargets, class_contrasts
from .class_posterior import EvidenceSlopes, evidence_slopes
from .class_relevance import ClassProblem, ClassState, candidates, class_state, relevance_without, relevances
from .standardized_design import standardize

_RETURNS = 3  # times that a feature may join
_LARGEST = 1e12  # of a variance of a column of norm one, per sample
_STRIDE = 3.0  # largest change of the logarithm of a variance in one step
_FLATTEST = 1e-3  # relative curvature of the evidence below which a step trusts it no more
_DOUBT = 3.0  # thresholds: the estimate of the relevance without a feature below which that is computed
_NOTHING = 1e-9  # share of a prior variance that the data explain, of a feature that vanishes
_POLISH = 1e-3  # of the tolerance: Newton steps are cheap, and rounding shall not show
_STEPS = 5  # Newton steps between two looks at the other features
_HALVINGS = 40
_TURN = 0.5  # share of a slope that may come back at the end of a step


class LaplaceEvidence(NamedTuple):
    """A local maximum of the Laplace evidence.

    Attributes
    ----------
    active : ndarray of int of shape (n_active,)
        Features of positive prior variance, increasing.
    variances : ndarray of shape (n_active,)
        Their prior variances, in the units of X.
    coef : ndarray of shape (n_scores, n_active)
        Coefficients at the mode: one row for two classes, else one a class.
    intercept : ndarray of shape (n_scores,)
        Intercepts.
    centers : ndarray of shape (n_active,)
        What is taken from the columns before `inverse_factor` is applied.
    inverse_factor : ndarray of shape (d, d)
        With the row ``e = (1, x - centers)``, without the one if there is no intercept, and d its length times the
        number of contrasts, the scores of x have the covariance
        ``H @ H.T`` with ``H[k] = inverse_factor.reshape(d, -1, n_contrasts)[:, :, k] @ e``.
    log_evidence : float
        The Laplace approximation of the log evidence.
    log_evidences : ndarray of shape (n_history,)
        The same along the way.
    kkt : float
        The largest violation of the conditions of the evidence: of ``|r - 1|`` over active features and of
        ``r / threshold - 1`` over the others; with a threshold also of ``1 - r / threshold`` over active features, r
        being what it is without them.
    decrement : float
        The Newton decrement of the mode.
    n_iter : int
        Iterations.
    status : str
        ``"converged"``, ``"max_iter"``, ``"stalled"``, ``"time_limit"``, ``"stopped"`` or ``"interrupted"``.
    """

    active: np.ndarray
    variances: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray
    centers: np.ndarray
    inverse_factor: np.ndarray
    log_evidence: float
    log_evidences: np.ndarray
    kkt: float
    decrement: float
    n_iter: int
    status: str


def _insert(state: ClassState, new: np.ndarray, variances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    active = np.concatenate([state.active, new])
    order = np.argsort(active)
    return active[order], np.concatenate([state.variances, variances])[order]


def _newton_step(
    problem: ClassProblem, state: ClassState, slopes: EvidenceSlopes, missing: np.ndarray
) -> tuple[ClassState, EvidenceSlopes] | None:
    """Variances along a Newton step in their logarithms, until the evidence would fall; None where it does at once.

    The slopes are no gradient of one function, as the curvature follows the mode: the step is halved while the slope
    along it has turned by more than it was. What the following adds to the Hessian, `missing` learns by symmetric
    rank-one updates.
    """
    gradient, bend = slopes.gradient, slopes.bend + missing
    # In units of its own size, so that features that are hardly determined are not lost in rounding.
    unit = np.sqrt(np.maximum(slopes.information + np.abs(gradient), np.finfo(np.float64).tiny))
    values, vectors = np.linalg.eigh(bend / unit[:, None] / unit)
    values = np.maximum(np.abs(values), _FLATTEST)
    step = vectors @ ((vectors.T @ (gradient / unit)) / values) / unit
    step *= min(1.0, _STRIDE / max(float(np.abs(step).max()), np.finfo(np.float64).tiny))
    for _ in range(_HALVINGS):
        variances = np.minimum(state.variances * np.exp(step), problem.largest)
        new = class_state(problem, state.active, variances, state)
        found = evidence_slopes(new.posterior)
        _learn(missing, step, gradient - found.gradient - 0.5 * (slopes.bend + found.bend) @ step, unit)
        if found.gradient @ step >= -_TURN * (gradient @ step):
            return new, found
        step = 0.5 * step
    return None


def _learn(missing: np.ndarray, step: np.ndarray, change: np.ndarray, unit: np.ndarray) -> None:
    """The symmetric rank-one update by which `missing` maps a step to a change of the gradient."""
    error, scaled = (change - missing @ step) / unit, step * unit
    along = float(error @ scaled)
    size = float(np.linalg.norm(scaled))
    if size > 1e-6 and abs(along) > 0.1 * size * float(np.linalg.norm(error)):  # else it would learn rounding
        missing += np.outer(error * unit, error * unit) / along


def _without_irrelevant(
    problem: ClassProblem,
    state: ClassState,
    slopes: EvidenceSlopes,
    threshold: float,
    stays: np.ndarray,
    doubt: float = 1.0,
) -> tuple[ClassState, EvidenceSlopes]:
    """Take features out, one after the other, that would not be relevant in the model without them.

    Only those are tried of which the estimate at the present curvature is at most `doubt` thresholds.
    """
    doubted = slopes.relevance_alone <= doubt * threshold
    doubted &= ~stays[state.active] | (slopes.determined < _NOTHING)
    for j in state.active[doubted][np.argsort(slopes.relevance_alone[doubted], kind="stable")]:
        relevance, rest = relevance_without(problem, state, int(np.searchsorted(state.active, j)))
        if relevance <= threshold:
            state = rest
        else:
            stays[j] = True  # no need to ask again before the other features have been looked at
    return state, slopes if len(slopes.gradient) == len(state.active) else evidence_slopes(state.posterior)


def _violation(
    problem: ClassProblem,
    state: ClassState,
    slopes: EvidenceSlopes,
    relevance: np.ndarray,
    threshold: float,
    enough: float,
) -> float:
    """The certificate; what takes most work only where the rest is at most `enough`."""
    outside = np.delete(relevance, state.active)
    violation = max(
        float(np.max(np.abs(slopes.relevance - 1.0), initial=0.0)),
        float(np.max(outside / threshold - 1.0, initial=0.0)),
    )
    if threshold > 1.0 and violation <= enough:
        for index in np.flatnonzero(slopes.relevance_alone <= _DOUBT * threshold):
            alone, _ = relevance_without(problem, state, int(index))
            violation = max(violation, 1.0 - alone / threshold)
    return violation


def laplace_evidence(
    X: Any,
    codes: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    n_classes: int = 2,
    fit_intercept: bool = True,
    threshold: float = 1.0,
    tol: float = 1e-4,
    max_iter: int = 100,
    start: tuple[np.ndarray, np.ndarray] | None = None,
    deadline: float = np.inf,
    on_iteration: Callable[[int, float], bool] | None = None,
) -> LaplaceEvidence:
    r"""Find the prior variances of a linear classifier of most evidence.

    Parameters
    ----------
    X : ndarray or sparse array of shape (n_samples, n_features)
        The design; any units.
    codes : ndarray of int of shape (n_samples,)
        The class of each sample, from 0; at least two classes have weight.
    weights : ndarray of shape (n_samples,), optional
        Weights >= 0 of the samples.
    n_classes : int, default=2
        The number of classes.
    fit_intercept : bool, default=True
        Whether there are intercepts, with a flat prior.
    threshold : float, default=1.0
        The relevance, >= 1, that a feature needs to be active.
    tol : float, default=1e-4
        Stop once the violation of the conditions of the evidence is at most this.
    max_iter : int, default=100
        The most iterations.
    start : (active, variances), optional
        Where to start, in the units of X.
    deadline : float, default=inf
        When to stop, in seconds of ``time.monotonic()``.
    on_iteration : callable, optional
        Called with the number of iterations and the log evidence; stops the fit by returning True.

    Returns
    -------
    LaplaceEvidence
        The posterior and its certificate.

    Notes
    -----
    With m contrasts and a active features, an iteration costs :math:`O(n p a m^2)` for the relevances of all features
    and, a few times, :math:`O(n a^2 m^2 + (a m)^3)`. The evidence rises nearly always, but need not.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.laplace_evidence import laplace_evidence
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 10))
    >>> codes = (X[:, 3] - X[:, 7] + rng.logistic(size=200) > 0).astype(int)
    >>> found = laplace_evidence(X, codes, threshold=5.0)
    >>> found.active, found.status
    (array([3, 7]), 'converged')
    """
    n_samples, n_features = X.shape
    weights = np.ones(n_samples) if weights is None else np.asarray(weights, dtype=np.float64)
    # Units and centres of columns, for good; the weights of rows are those of the likelihood.
    design = standardize(X, weights, center=fit_intercept)._replace(root_weights=None)
    targets = ClassTargets(np.asarray(codes, dtype=np.intp), weights, class_contrasts(n_classes))
    problem = ClassProblem(design, targets, fit_intercept, _LARGEST * float(weights.sum()))
    active, variances = np.empty(0, dtype=np.intp), np.empty(0)
    if start is not None:
        first, given = np.asarray(start[0], dtype=np.intp), np.asarray(start[1], dtype=np.float64)
        usable = np.isfinite(design.norms[first]) & (given > 0.0)
        active = first[usable]
        variances = np.minimum(given[usable] * design.norms[active] ** 2, problem.largest)
    joined = np.zeros(n_features, dtype=np.intp)
    state = class_state(problem, active, variances)
    slopes = evidence_slopes(state.posterior)
    history: list[float] = []
    n_iter, status = 0, "max_iter"
    try:
        while True:
            relevance, q = relevances(problem, state, slopes)
            kkt = _violation(problem, state, slopes, relevance, threshold, tol)
            history.append(state.posterior.log_evidence)
            if on_iteration is not None and n_iter > 0 and on_iteration(n_iter, history[-1]):
                status = "stopped"
                break
            if kkt <= tol or n_iter >= max_iter or time.monotonic() > deadline:
                status = "converged" if kkt <= tol else "max_iter" if n_iter >= max_iter else "time_limit"
                break
            n_iter += 1
            before = state
            allowed = joined < _RETURNS
            allowed[state.active] = False
            level = threshold * (1.0 + 0.5 * tol)
            if np.any(relevance[allowed] > level):
                new, sizes = candidates(problem, state, relevance, q, allowed, level)
                state = class_state(problem, *_insert(state, new, sizes), state)
                joined[np.setdiff1d(state.active, before.active)] += 1
                slopes = evidence_slopes(state.posterior)
            grown = len(state.active) > len(before.active)
            missing, seen = np.zeros(2 * state.active.shape), state.active
            stays = joined >= _RETURNS
            for _ in range(_STEPS if grown else 4 * _STEPS):
                state, slopes = _without_irrelevant(problem, state, slopes, threshold, stays)
                left = np.isin(seen, state.active)
                missing, seen = missing[np.ix_(left, left)], state.active
                if np.max(np.abs(slopes.relevance - 1.0), initial=0.0) <= (0.1 if grown else _POLISH * tol):
                    break
                better = _newton_step(problem, state, slopes, missing)
                if better is None:
                    break
                state, slopes = better
            if threshold > 1.0 and not grown:
                state, slopes = _without_irrelevant(problem, state, slopes, threshold, joined >= _RETURNS, _DOUBT)
            if state is before:
                status = "stalled"
                break
    except KeyboardInterrupt:
        status = "interrupted"
        slopes = evidence_slopes(state.posterior)
        history.append(state.posterior.log_evidence)
    relevance, _ = relevances(problem, state, slopes)
    kkt = _violation(problem, state, slopes, relevance, threshold, np.inf)
    return _answer(problem, state, history, kkt, n_iter, status)


def _answer(
    problem: ClassProblem, state: ClassState, history: list[float], kkt: float, n_iter: int, status: str
) -> LaplaceEvidence:
    """The state in the units of X."""
    design, posterior, targets = problem.design, state.posterior, problem.targets
    n_free, m = posterior.n_free, targets.contrasts.shape[1]
    norms = design.norms[state.active]
    centers = np.zeros(len(norms)) if design.means is None else design.means[state.active].astype(np.float64)
    scale = np.sqrt(state.variances) / norms
    contrasts = np.ones((1, 1)) if m == 1 else targets.contrasts
    coef = contrasts @ (scale[:, None] * posterior.mode[n_free:]).T
    intercept = contrasts @ posterior.mode[0] if n_free else np.zeros(len(contrasts))
    units = np.repeat(np.concatenate([np.ones(n_free), scale]), m)
    return LaplaceEvidence(
        state.active,
        state.variances / norms**2,
        coef,
        intercept - coef @ centers,
        centers,
        posterior.inverse_factor * units,
        posterior.log_evidence,
        np.asarray(history),
        kkt,
        posterior.decrement,
        n_iter,
        status,
    )
