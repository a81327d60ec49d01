r"""Sparse Bayesian regression by fixed-point iterations on the evidence: EM, convex bounding, MacKay, and Newton.

All components of the prior start active; those that the evidence does not want fade, and leave. The updates are those
of :mod:`sparsemodels.solvers.variance_components` and :mod:`sparsemodels.solvers.noise_estimate`, made jointly. They
converge linearly, and slower than that for components on their way to zero, which has three cures: components are left
out by an exact test (:mod:`sparsemodels.solvers.component_deletion`); after some MacKay iterations the steps are those
of Newton (:mod:`sparsemodels.solvers.component_newton`), never down; and at the end every component that has left is
looked at once more, and comes back if the evidence wants it.

References
----------
D. J. C. MacKay, "Bayesian interpolation", Neural Computation 4, 1992. M. E. Tipping, "Sparse Bayesian learning and the
relevance vector machine", Journal of Machine Learning Research 1, 2001. D. Wipf and S. Nagarajan, "A new view of
automatic relevance determination", NIPS 20, 2008.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .component_deletion import without_components
from .component_evidence import Certificate, ComponentEvidence, ComponentState
from .component_newton import LONGEST_STEP, newton_step
from .evidence import EvidencePosterior, Noise
from .noise_estimate import updated_noise
from .standardized_design import StandardizedDesign
from .variance_components import ComponentPosterior, Independent, updated_variances

_WARM_UP = 10  # MacKay iterations before the first Newton step: they lead to better maxima than greedier steps
_EVERY = 10  # iterations of the slow rules between two looks for components to leave out
_PATIENCE = 50  # iterations between two looks for components that fail the threshold
_INNER = 0.5  # of the tolerance: what the iteration must reach before the certificate is computed
_ROUNDS = 30  # the most times that components come back
_SHORTENINGS, _LENGTHENINGS = 3, 4  # the most, each by a factor of 4
_FAINTEST = 1e-6  # of its estimate: the smallest variance with which a component is tried


def evidence_fixed_point(
    design: StandardizedDesign,
    Y: np.ndarray,
    noise: Noise,
    *,
    rule: str = "mackay",
    prior: Any = Independent(),
    threshold: float = 1.0,
    tol: float = 1e-4,
    max_iter: int = 500,
    prune_tol: float = 1e-8,
    start: tuple[np.ndarray, np.ndarray] | None = None,
    deadline: float = np.inf,
    on_iteration: Callable[[int, float], bool] | None = None,
) -> EvidencePosterior:
    r"""Maximize the evidence over the variances of a prior and the noise.

    Parameters
    ----------
    design : StandardizedDesign
        The design.
    Y : ndarray of shape (n_samples, n_outputs)
        Weighted, centred targets.
    noise : Noise
        What is known of the noise.
    rule : {"mackay", "mm", "em"}, default="mackay"
        The update. ``"mackay"`` is safeguarded: a step by which the evidence falls is taken again by ``"mm"``. After
        some iterations it goes over to Newton steps. The other two are monotone by themselves, and slow.
    prior : Independent, Groups, Neighbors, Mixture or another record, default=Independent()
        Which variances there are; see :mod:`sparsemodels.solvers.variance_components`.
    threshold : float, default=1.0
        The relevance :math:`\tau \ge 1` that a component needs, measured without itself, to be active. Above one, few
        irrelevant components stay; the evidence is then not monotone where one is left out.
    tol : float, default=1e-4
        Stop once no condition of optimality, neither that in the variances nor that in the noise, is violated by
        more. The conditions have no units.
    max_iter : int, default=500
        The most iterations.
    prune_tol : float, default=1e-8
        A component leaves once its variance is below this share of the largest one, if it is fading.
    start : tuple of ndarrays (components, variances), optional
        Where to start: those of an earlier fit. All equal by default.
    deadline : float, default=inf
        When to stop, in seconds of ``time.monotonic()``.
    on_iteration : callable, optional
        Called with the number of iterations and the objective; stops the fit by returning True.

    Returns
    -------
    EvidencePosterior
        The posterior of the coefficients. Its `kkt` is that of the components, and `log_evidences` holds the
        log evidence plus the log prior of the noise after every iteration.

    Notes
    -----
    With n rows, p columns and a active ones an iteration costs 2 n^2 a + n^3 / 3 operations as long as a > 1.5 n, then
    2 a^3 / 3 (4 a^3 / 3 with a Newton step). The check at the end, n p a, is repeated until no column that has left
    wants to come back. Memory: a dense copy of the active columns for a > 1.5 n, else their Gram matrix.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.evidence import Noise
    >>> from sparsemodels.solvers.evidence_fixed_point import evidence_fixed_point
    >>> from sparsemodels.solvers.standardized_design import standardize
    >>> design = standardize(np.eye(4), center=False)
    >>> Y = np.array([[3.0], [0.5], [0.0], [-2.0]])
    >>> posterior = evidence_fixed_point(design, Y, Noise(1.0, False, 0.0, 0.0, 0.0, 4.0))
    >>> posterior.active, posterior.variances.round(6)
    (array([0, 3]), array([8., 3.]))
    """
    return component_fixed_point(
        design,
        Y,
        noise,
        rule=rule,
        prior=prior,
        threshold=threshold,
        tol=tol,
        max_iter=max_iter,
        prune_tol=prune_tol,
        start=start,
        deadline=deadline,
        on_iteration=on_iteration,
    ).posterior


def component_fixed_point(
    design: StandardizedDesign,
    Y: np.ndarray,
    noise: Noise,
    *,
    rule: str = "mackay",
    prior: Any = Independent(),
    threshold: float = 1.0,
    tol: float = 1e-4,
    max_iter: int = 500,
    prune_tol: float = 1e-8,
    start: tuple[np.ndarray, np.ndarray] | None = None,
    deadline: float = np.inf,
    on_iteration: Callable[[int, float], bool] | None = None,
) -> ComponentPosterior:
    """As :func:`evidence_fixed_point`, with the variances of the components beside the posterior.

    Parameters
    ----------
    design : StandardizedDesign
        The design.
    Y : ndarray of shape (n_samples, n_outputs)
        Weighted, centred targets.
    noise : Noise
        What is known of the noise.
    rule, prior, threshold, tol, max_iter, prune_tol, start, deadline, on_iteration : as there
        As there.

    Returns
    -------
    ComponentPosterior
        The posterior of the coefficients and the variances of the components.
    """
    evidence = ComponentEvidence(design, Y, prior)
    # Spurious components fit the targets before they are left out: till then the noise stays what it is.
    withheld = noise.learned and threshold > 1.0 and start is None
    if start is None:
        gamma = evidence.flat_start()
    else:
        gamma = np.zeros(len(evidence.sizes))
        gamma[start[0]] = start[1]
        gamma[evidence.sizes == 0.0] = 0.0
    state = evidence.at(gamma, noise._replace(learned=noise.learned and not withheld))
    history, n_iter, rounds, thinned = [state.objective], 0, 0, 0
    warm_up = _WARM_UP if start is None else 0
    certificate, status, stuck = None, "max_iter", False
    try:
        while True:
            if stuck or evidence.violation(state) <= _INNER * tol:
                certificate = evidence.certify(state, threshold)
                if max(certificate.kkt, certificate.noise_violation) <= tol:
                    if not withheld:
                        status = "converged"
                        break
                    changed: ComponentState | None
                    changed = evidence.at(state.gamma, noise._replace(variance=state.noise.variance))
                    withheld = False
                else:
                    changed = _revised(evidence, certificate, threshold, tol)
                    rounds += 1
                if changed is None or rounds > _ROUNDS:
                    status = "stalled"
                    break
                state, warm_up, certificate, stuck = changed, 0, None, False
                prune_tol = 0.0  # what came back once leaves by the exact test only
                continue
            if n_iter >= max_iter:
                break
            if threshold > 1.0 and n_iter >= thinned + _PATIENCE:
                # The slow rules need not converge on components that will be left out.
                state, thinned = _reduced(evidence, state, threshold), n_iter
            if rule == "mackay" and n_iter >= warm_up and evidence.cheap:
                new = _newton_iteration(evidence, state, prune_tol)
            else:
                new = _iteration(evidence, state, rule, prune_tol)
                if new is not None and rule != "mackay" and n_iter % _EVERY == _EVERY - 1 and evidence.cheap:
                    new = _reduced(evidence, new, 1.0)
            if new is None:  # within rounding of a maximum: the others may still want to come back
                stuck = True
                continue
            state = new
            n_iter += 1
            history.append(state.objective)
            if time.monotonic() > deadline:
                status = "time_limit"
                break
            if on_iteration is not None and on_iteration(n_iter, state.objective):
                status = "stopped"
                break
    except KeyboardInterrupt:
        status = "interrupted"
    if certificate is None:
        certificate = evidence.certify(state, threshold)
        if max(certificate.kkt, certificate.noise_violation) <= tol and not withheld:
            status = "converged" if status in ("max_iter", "stalled") else status
    return evidence.posterior(certificate, history, n_iter, status)


def _iteration(
    evidence: ComponentEvidence, state: ComponentState, rule: str, prune_tol: float
) -> ComponentState | None:
    """One step of a rule, with its safeguards; None if no step raises the evidence."""
    lowest = state.objective - evidence.rounding(state)
    # Joint steps first; last one that is monotone for any degrees of freedom, the noise as it is.
    trials = [(rule, rule)] + [("mm", "mm")] * (rule == "mackay") + [("mm", None)] * state.noise.learned
    for variance_rule, noise_rule in trials:
        gamma = np.zeros_like(state.gamma)
        new = updated_variances(
            variance_rule, state.gamma[state.components], state.power, state.z, evidence.sizes[state.components]
        )
        fading = state.power < state.z
        gamma[state.components] = _pruned(new, fading, prune_tol)
        noise = state.noise
        if noise_rule is not None:
            noise = noise._replace(
                variance=updated_noise(
                    noise_rule,
                    noise,
                    state.residual_power,
                    state.determined,
                    evidence.n_outputs,
                    evidence.is_complex,
                )
            )
        trial = evidence.at(gamma, noise)
        if trial.objective >= lowest:
            return trial
    return None


def _pruned(gamma, fading, prune_tol):
    return np.where(fading & (gamma < prune_tol * gamma.max(initial=0.0)), 0.0, gamma)


def _reduced(evidence: ComponentEvidence, state: ComponentState, threshold: float) -> ComponentState:
    """The state without the components that have less than a threshold of relevance without themselves."""
    _, _, kept = without_components(evidence.fit(state), threshold)
    if kept.all():
        return state
    gamma = state.gamma.copy()
    gamma[state.components[~kept]] = 0.0
    return evidence.at(gamma, state.noise)


def _newton_iteration(evidence: ComponentEvidence, state: ComponentState, prune_tol: float) -> ComponentState | None:
    """Leave out what is better left out, then a Newton step, shortened until the evidence does not fall."""
    fit, _, kept = without_components(evidence.fit(state), 1.0)
    noise, components = state.noise, state.components[kept]
    at_floor = noise.variance <= noise.floor and state.residual_power < noise.variance * evidence.n_outputs * (
        noise.degrees_of_freedom - state.determined
    )
    step, noise_step, convex = newton_step(fit, noise, noise.learned and not at_floor, evidence.is_complex)

    def moved(length: float) -> ComponentState:
        gamma = np.zeros_like(state.gamma)
        change = np.exp(np.clip(length * step, -LONGEST_STEP, LONGEST_STEP))
        gamma[components] = _pruned(state.gamma[components] * change, step < 0.0, prune_tol)
        if not noise_step:
            return evidence.at(gamma, noise)
        variance = noise.variance * float(np.exp(np.clip(length * noise_step, -LONGEST_STEP, LONGEST_STEP)))
        return evidence.at(gamma, noise._replace(variance=max(variance, noise.floor)))

    lowest = evidence.objective_of(fit.log_determinant, fit.quadratic, noise) - evidence.rounding(state)
    best = None
    for shortening in range(_SHORTENINGS):
        trial = moved(0.25**shortening)
        if trial.objective >= lowest:
            best = trial
            break
    if best is not None and not convex and shortening == 0:
        # Away from a maximum the safe step is short where the evidence is nearly flat, as between two columns alike.
        for lengthening in range(1, _LENGTHENINGS):
            trial = moved(4.0**lengthening)
            if not trial.objective > best.objective:
                break
            best = trial
    if best is not None:
        return best
    if not kept.all():
        gamma = np.zeros_like(state.gamma)
        gamma[components] = state.gamma[components]
        state = evidence.at(gamma, noise)
    return _iteration(evidence, state, "mackay", prune_tol)


def _revised(
    evidence: ComponentEvidence, certificate: Certificate, threshold: float, tol: float
) -> ComponentState | None:
    """Leave out components that fail the threshold, or else admit those that pass it; None if there is neither."""
    state = certificate.state
    if threshold > 1.0:
        reduced = _reduced(evidence, state, threshold)
        if len(reduced.components) < len(state.components):
            return reduced
    relevances = certificate.relevances.copy()
    relevances[state.components] = 0.0
    wanted = np.flatnonzero(relevances > threshold * (1.0 + tol))
    power, z = (values[wanted] for values in evidence.pooled(certificate.terms))
    best = evidence.sizes[wanted] * (power - z) / z**2  # exact for single columns
    order = np.argsort(-relevances[wanted], kind="stable")
    lowest = state.objective - evidence.rounding(state)
    count, shrink = len(wanted), 1.0
    while count > 0 and shrink > _FAINTEST:
        gamma = state.gamma.copy()
        gamma[wanted[order[:count]]] = shrink * best[order[:count]]
        trial = evidence.at(gamma, state.noise)
        if trial.objective >= lowest:
            return trial
        # The most relevant one alone always helps, a block of several columns at least with a small variance.
        count, shrink = (count // 2, shrink) if count > 1 else (1, shrink / 4.0)
    return None
