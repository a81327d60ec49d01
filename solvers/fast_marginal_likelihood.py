r"""Sparse Bayesian regression by greedy actions on single columns: fast marginal likelihood, on working sets.

Columns are added, re-estimated and deleted one at a time, the action of largest gain in evidence first
(:mod:`sparsemodels.solvers.evidence_actions`). An action costs a product with the columns that may be added next:
with all of them, most of the time would go into columns that never enter. So a round

1. computes z and q of all columns by a few matrix products, with their certificate;
2. picks a working set, the active columns and the most relevant others, and its Gram matrix;
3. acts greedily on the working set;
4. moves all variances of the active columns, and that of the noise once the actions are exhausted, to a stationary
   point of the evidence by Newton steps (:mod:`sparsemodels.solvers.variance_polish`);

until no condition is violated, on any column. What all actions and steps raise is the evidence less a price of every
active column, :math:`\tfrac{L}{2} (\tau - 1 - \log\tau)` for a threshold :math:`\tau`, so that no set comes back.

References
----------
M. E. Tipping and A. C. Faul, "Fast marginal likelihood maximisation for sparse Bayesian models", AISTATS 2003.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .active_posterior import ActivePosterior, active_posterior, column_terms
from .cross_products import CrossProducts
from .evidence import EvidencePosterior, EvidenceTerms, Noise, certified_posterior, evidence_violation, relevance
from .evidence_actions import EXHAUSTED, take_actions
from .standardized_design import StandardizedDesign, columns, cross, squared_norms
from .variance_polish import objective, polished, violation_of_noise

_CANDIDATES = 64  # inactive columns of a working set, at least
_REFRESH = 64  # actions after which everything is computed anew: rounding accumulates
_REFRESHES = 6  # of a round
_LOOSE = 0.1  # relevances so near to one are left to Newton steps
_STEPS, _LAST_STEPS = 4, 12  # Newton steps of a round with and without new columns
_FINISHED = ("converged", "stalled", "max_iter")
_LITTLE = 0.01  # noise, over the power of the targets, from which a second search starts
_INNER = 0.1  # of the tolerance: what Newton steps reach for


class _Problem:
    """The data of a fit in the form the rounds need them."""

    def __init__(self, design: StandardizedDesign, Y: np.ndarray, threshold: float, alignment_tol: float):
        self.dtype = np.result_type(design.X.dtype, Y.dtype, np.float64)
        self.is_complex = bool(np.issubdtype(self.dtype, np.complexfloating))
        self.design, self.Y = design, Y
        self.threshold, self.alignment_tol = threshold, alignment_tol
        self.correlations = cross(design, Y).astype(self.dtype, copy=False)
        self.power = float(np.vdot(Y, Y).real)
        self.squared_norms = squared_norms(design)
        self.products = CrossProducts(design, self.dtype)

    def posterior(self, products, active, variances, noise_variance) -> ActivePosterior:
        gram = products[active]
        return active_posterior(gram, self.correlations[active], self.power, variances, noise_variance)


def fast_marginal_likelihood(
    design: StandardizedDesign,
    Y: np.ndarray,
    noise: Noise,
    *,
    threshold: float = 1.0,
    tol: float = 1e-4,
    max_iter: int = 10_000,
    alignment_tol: float = 0.0,
    start: tuple[np.ndarray, np.ndarray] | None = None,
    deadline: float = np.inf,
    on_iteration: Callable[[int, float], bool] | None = None,
) -> EvidencePosterior:
    r"""Maximize the evidence over the variances of single columns and the noise, from few active columns upwards.

    Parameters
    ----------
    design : StandardizedDesign
        The design; one that is not a LinearOperator is best, of which columns come at a product each.
    Y : ndarray of shape (n_samples, n_outputs)
        Weighted, centred targets; the outputs share their active columns.
    noise : Noise
        What is known of the noise. A variance that is learned starts from the given one. If it ends above 0.01 of the
        power of the targets and there is a threshold, a second search starts from there; if noise alone is worth more
        than the answer, from all of that power. The better answer is kept.
    threshold : float, default=1.0
        The relevance :math:`\tau \ge 1` that a column needs, measured without itself, to be active; 2 log(n_features)
        keeps nearly all irrelevant columns out, one keeps about a third of those it sees.
    tol : float, default=1e-4
        Stop once no condition of optimality, neither that in the variances nor that in the noise, is violated by
        more. The conditions have no units.
    max_iter : int, default=10000
        The most actions and Newton steps together.
    alignment_tol : float, default=0.0
        A column whose inner product with an active one exceeds one less this in magnitude stays out, and out of the
        certificate. Zero for no such test.
    start : tuple of ndarrays (active, variances), optional
        Where to start: those of an earlier fit. No active column by default.
    deadline : float, default=inf
        When to stop, in seconds of ``time.monotonic()``.
    on_iteration : callable, optional
        Called once a round with the number of actions and the objective; stops the fit by returning True.

    Returns
    -------
    EvidencePosterior
        The posterior; `log_evidences` holds the log evidence plus the log prior of the noise at every round.

    Notes
    -----
    With w columns in the working set and a active ones an action costs 2 w a operations, a round
    p a^2 and 2 n p for every column that is active for the first time. Memory: p numbers for every column that was ever
    active (:class:`~sparsemodels.solvers.cross_products.CrossProducts`), and a dense copy of the working set.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.evidence import Noise
    >>> from sparsemodels.solvers.fast_marginal_likelihood import fast_marginal_likelihood
    >>> from sparsemodels.solvers.standardized_design import standardize
    >>> design = standardize(np.eye(4), center=False)
    >>> Y = np.array([[3.0], [0.5], [0.0], [-2.0]])
    >>> posterior = fast_marginal_likelihood(design, Y, Noise(1.0, False, 0.0, 0.0, 0.0, 4.0))
    >>> posterior.active, posterior.variances.round(6)
    (array([0, 3]), array([8., 3.]))
    """
    problem = _Problem(design, Y, threshold, alignment_tol)
    options: dict[str, Any] = {"tol": tol, "deadline": deadline, "on_iteration": on_iteration}
    answer = _search(problem, noise, _given(start, problem.squared_norms), max_iter=max_iter, **options)
    if not noise.learned or answer.status not in _FINISHED or problem.power == 0.0:
        return answer
    # The noise may end far too large, where what is not in the model yet hides every single column, or too small, where
    # many columns fit anything: look from the other side too.
    nothing = _given(None, problem.squared_norms)
    power = problem.power / (Y.shape[1] * noise.degrees_of_freedom)
    alone = noise._replace(variance=max(power, noise.floor))
    empty = problem.posterior(problem.products.of(nothing[0]), nothing[0], nothing[1], alone.variance)
    others = [alone] if objective(empty, alone, problem.is_complex) > _worth(problem, answer) else []
    if start is None and threshold > 1.0 and min(noise.variance, answer.noise_variance) > _LITTLE * power:
        others.append(noise._replace(variance=max(_LITTLE * power, noise.floor)))
    for other_noise in others:
        other = _search(problem, other_noise, nothing, max_iter=max(max_iter - answer.n_iter, 0), **options)
        better = other.status in _FINISHED and _worth(problem, other) > _worth(problem, answer)
        answer = (other if better else answer)._replace(n_iter=answer.n_iter + other.n_iter)
    return answer


def _worth(problem, posterior):
    """The evidence, with the prior of the noise, less the price of every active column."""
    half = 1.0 if problem.is_complex else 0.5
    price = half * problem.Y.shape[1] * (problem.threshold - 1.0 - np.log(problem.threshold))
    return posterior.log_evidences[-1] - price * len(posterior.active)


def _search(
    problem: _Problem,
    noise: Noise,
    start: tuple[np.ndarray, np.ndarray],
    *,
    tol: float,
    max_iter: int,
    deadline: float,
    on_iteration: Callable[[int, float], bool] | None,
) -> EvidencePosterior:
    """Rounds from one start."""
    design, threshold = problem.design, problem.threshold
    active, variances = start
    if noise.learned:
        noise = noise._replace(variance=max(noise.variance, noise.floor))
    products = problem.products.of(active)
    history: list[float] = []
    n_iter, idle, status = 0, 0, "max_iter"
    try:
        while True:
            posterior = problem.posterior(products, active, variances, noise.variance)
            z, q = column_terms(posterior, problem.squared_norms, problem.correlations, products, active)
            q[_aligned(products, active, problem.alignment_tol)] = 0.0
            terms = EvidenceTerms(z, q, posterior.log_determinant, posterior.quadratic)
            history.append(objective(posterior, noise, problem.is_complex))
            kkt = evidence_violation(terms, active, variances, threshold)
            of_noise = violation_of_noise(posterior, noise, problem.is_complex)
            if max(kkt, of_noise) <= tol:
                status = "converged"
                break
            if n_iter >= max_iter:
                break
            if idle >= 2:
                status = "stalled"
                break
            if time.monotonic() > deadline:
                status = "time_limit"
                break
            if on_iteration is not None and on_iteration(n_iter, history[-1]):
                status = "stopped"
                break
            candidates, outside = _candidates(relevance(z, q), active, threshold)
            tolerances = max(0.5 * tol, min(_LOOSE, _INNER * kkt)), 0.5 * tol if idle else _LOOSE
            active, variances, taken, exhausted = _act(
                problem,
                products,
                active,
                variances,
                candidates,
                outside,
                noise.variance,
                tolerances,
                max_iter - n_iter,
            )
            products = problem.products.of(active)
            ready = noise._replace(learned=noise.learned and exhausted)
            limit = min(_STEPS if len(candidates) else _LAST_STEPS, max_iter - n_iter - taken)
            variances, ready, steps = polished(
                products[active],
                problem.correlations[active],
                problem.power,
                variances,
                ready,
                threshold,
                _INNER * tol,
                limit,
            )
            noise = ready._replace(learned=noise.learned)
            n_iter += taken + steps
            idle = idle + 1 if taken + steps == 0 else 0
    except KeyboardInterrupt:
        status = "interrupted"
    answer = certified_posterior(design, problem.Y, active, variances, noise, threshold, history, n_iter, status)
    if problem.alignment_tol > 0.0 and status != "interrupted":
        answer = answer._replace(kkt=kkt)
    # Near the span of the active columns z is a small difference: the certificate measures such columns anew.
    return answer._replace(status="stalled") if status == "converged" and answer.kkt > tol else answer


def _given(start, squared_norms):
    """Active columns and variances to start from: only what can be active."""
    if start is None:
        return np.empty(0, dtype=np.intp), np.empty(0)
    active, variances = np.asarray(start[0], dtype=np.intp), np.asarray(start[1], dtype=np.float64)
    possible = (variances > 0.0) & (squared_norms[active] > 0.0)
    return active[possible], variances[possible]


def _aligned(products, active, alignment_tol):
    """The inactive columns that are aligned with an active one."""
    if not alignment_tol > 0.0:
        return np.empty(0, dtype=np.intp)
    aligned = np.any(np.abs(products) > 1.0 - alignment_tol, axis=1)
    aligned[active] = False
    return np.flatnonzero(aligned)


def _candidates(relevances, active, threshold):
    """The most relevant columns that may be added, ties by index, and what the best of the others would gain."""
    relevances = relevances.copy()
    relevances[active] = 0.0
    passing = np.flatnonzero(relevances > threshold)
    order = np.argsort(-relevances[passing], kind="stable")
    count = max(_CANDIDATES, len(active))
    best_outside = relevances[passing[order[count]]] if len(passing) > count else 1.0
    return passing[order[:count]], best_outside - 1.0 - np.log(best_outside)


def _act(problem, products, active, variances, candidates, outside, noise_variance, tolerances, max_actions):
    """Actions on the active columns and the candidates, as long as there are any."""
    working = np.concatenate([active, candidates])
    count, n_active = len(working), len(active)
    gram = np.empty((count, count), dtype=problem.dtype, order="F")
    gram[:, :n_active] = products[working]
    gram[:n_active, n_active:] = products[candidates].conj().T
    chosen = columns(problem.design, candidates)
    gram[n_active:, n_active:] = chosen.conj().T @ chosen
    correlations, norms = problem.correlations[working], problem.squared_norms[working]
    local = np.arange(count)
    gamma = np.zeros(count)
    gamma[:n_active] = variances
    alignment = 1.0 - problem.alignment_tol if problem.alignment_tol > 0.0 else 2.0
    total, reason = 0, EXHAUSTED
    for _ in range(_REFRESHES):
        inside = local[:n_active].copy()
        among = gram[:, inside]
        posterior = active_posterior(
            among[inside], correlations[inside], problem.power, gamma[:n_active], noise_variance
        )
        z, q = column_terms(posterior, norms, correlations, among, inside)
        place = np.full(count, -1)
        place[inside] = np.arange(n_active)
        covariance = np.zeros((count, count), dtype=problem.dtype, order="F")
        covariance[:n_active, :n_active] = noise_variance * (posterior.half.conj().T @ posterior.half)
        n_active, taken, reason = take_actions(
            gram.T,
            z,
            np.ascontiguousarray(q),
            local,
            place,
            gamma,
            covariance.T,
            n_active,
            noise_variance,
            problem.threshold,
            *tolerances,
            outside,
            min(_REFRESH, max_actions - total),
            alignment,
        )
        total += taken
        if reason == EXHAUSTED or total >= max_actions:
            break
    return working[local[:n_active]], gamma[:n_active].copy(), total, reason == EXHAUSTED and outside == 0.0
