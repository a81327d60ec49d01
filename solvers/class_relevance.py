r"""Which features the evidence of a linear classifier asks for: their relevance, seen from the features that are in.

See :mod:`~sparsemodels.solvers.laplace_evidence` for the formulas.
"""

from typing import NamedTuple

import numpy as np

from .class_likelihood import ClassTargets
from .class_posterior import ClassPosterior, EvidenceSlopes, class_posterior, weighted_gram
from .standardized_design import StandardizedDesign, columns, cross, standardize

_POOL = 400  # columns times contrasts among which new ones are chosen by rank-one updates
_FEW = 8  # this many may always join at once


class ClassState(NamedTuple):
    """Some features with their variances and the posterior.

    Attributes
    ----------
    active : ndarray of int of shape (n_active,)
        The features, increasing.
    variances : ndarray of shape (n_active,)
        Their prior variances, in units of the standardized columns.
    columns : ndarray of shape (n_samples, n_active)
        Their standardized columns.
    posterior : ClassPosterior
        The posterior.
    """

    active: np.ndarray
    variances: np.ndarray
    columns: np.ndarray
    posterior: ClassPosterior


class ClassProblem(NamedTuple):
    """A design with labels.

    Attributes
    ----------
    design : StandardizedDesign
        The design, its rows without weights.
    targets : ClassTargets
        The labels with the weights.
    fit_intercept : bool
        Whether there are intercepts.
    largest : float
        The largest prior variance.
    """

    design: StandardizedDesign
    targets: ClassTargets
    fit_intercept: bool
    largest: float


def class_state(
    problem: ClassProblem, active: np.ndarray, variances: np.ndarray, old: ClassState | None = None
) -> ClassState:
    """The state at given variances.

    Parameters
    ----------
    problem : ClassProblem
        The problem.
    active : ndarray of int of shape (n_active,)
        The features, increasing.
    variances : ndarray of shape (n_active,)
        Their prior variances > 0.
    old : ClassState, optional
        A state from which the search of the mode starts.

    Returns
    -------
    ClassState
        The state.
    """
    n_samples, n_free = len(problem.targets.codes), int(problem.fit_intercept)
    m = problem.targets.contrasts.shape[1]
    same = old is not None and np.array_equal(old.active, active)
    chosen = old.columns if old is not None and same else columns(problem.design, active)
    D = np.empty((n_samples, n_free + len(active)), order="F")
    D[:, :n_free] = 1.0
    np.multiply(chosen, np.sqrt(variances), out=D[:, n_free:])
    start = np.zeros((D.shape[1], m))
    if old is not None:
        mode = old.posterior.mode
        if same:
            mode = mode + _first_order(old.posterior, np.log(variances / old.variances))
        start[:n_free] = mode[:n_free]
        _, here, there = np.intersect1d(active, old.active, return_indices=True)
        ratio = np.sqrt(old.variances[there] / variances[here])  # to the new units of the prior
        start[n_free + here] = ratio[:, None] * mode[n_free + there]
    return ClassState(active, variances, chosen, class_posterior(problem.targets, D, n_free, start))


def _first_order(posterior: ClassPosterior, step: np.ndarray) -> np.ndarray:
    """How the mode moves with the logarithms of the variances."""
    if np.max(np.abs(step), initial=0.0) > 1.0:
        return np.zeros_like(posterior.mode)
    pull = posterior.mode.copy()
    pull[: posterior.n_free] = 0.0
    pull[posterior.n_free :] *= step[:, None]
    inverse = posterior.inverse_factor
    return (inverse.T @ (inverse @ pull.ravel())).reshape(pull.shape)


def relevances(problem: ClassProblem, state: ClassState, slopes: EvidenceSlopes) -> tuple[np.ndarray, np.ndarray]:
    """Relevances of all features and their inner products with the slopes of the likelihood.

    Those of the active ones are taken from the posterior itself: here their own share would cancel.

    Parameters
    ----------
    problem : ClassProblem
        The problem.
    state : ClassState
        The model.
    slopes : EvidenceSlopes
        The slopes of its evidence.

    Returns
    -------
    relevance : ndarray of shape (n_features,)
        The relevances.
    q : ndarray of shape (n_features, n_contrasts)
        The inner products.
    """
    design, posterior = problem.design, state.posterior
    m = problem.targets.contrasts.shape[1]
    q = cross(design, posterior.slopes)
    total = np.einsum("kki->i", posterior.curvatures)
    within = standardize(design.X, total, center=problem.fit_intercept)
    squares = np.where(np.isfinite(within.norms), within.norms, 0.0) ** 2
    if design.means is not None and within.means is not None:
        squares = squares + total.sum() * np.abs(within.means - design.means) ** 2
    squares = squares / design.norms**2
    z = squares.copy()
    for contrast in range(m):
        blocks = posterior.curvatures[contrast]
        parts = [cross(design, blocks[k][:, None] * posterior.D) for k in range(m)]
        half = np.stack(parts, axis=2).reshape(len(q), -1) @ posterior.inverse_factor.T
        z -= np.einsum("jd,jd->j", half, half)
    relevance = _relevance(q, z, squares)
    relevance[state.active] = slopes.relevance
    return relevance, q


def _relevance(q: np.ndarray, z: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Relevances from their terms; zero where all of a column but rounding lies in the span of the model."""
    return np.divide(np.einsum("jk,jk->j", q, q), z, out=np.zeros(len(z)), where=z > 1e-12 * squares)


def relevance_without(problem: ClassProblem, state: ClassState, index: int) -> tuple[float, ClassState]:
    """The relevance of an active feature in the model without it, and that model.

    Parameters
    ----------
    problem : ClassProblem
        The problem.
    state : ClassState
        The model.
    index : int
        The position of the feature among the active ones.

    Returns
    -------
    relevance : float
        The relevance.
    rest : ClassState
        The model without the feature, the variances of the others as they are.
    """
    keep = np.arange(len(state.active)) != index
    rest = class_state(problem, state.active[keep], state.variances[keep], state)
    posterior, column = rest.posterior, state.columns[:, index : index + 1]
    half = weighted_gram(column, posterior.D, posterior.curvatures) @ posterior.inverse_factor.T
    squares = np.array([float(np.einsum("kki->i", posterior.curvatures) @ column[:, 0] ** 2)])
    z = squares - float(np.einsum("kd,kd->", half, half))
    return float(_relevance(column.T @ posterior.slopes, z, squares)[0]), rest


def candidates(
    problem: ClassProblem, state: ClassState, relevance: np.ndarray, q: np.ndarray, allowed: np.ndarray, level: float
):
    """Features to let in: greedily, as if the likelihood were Gaussian, among the most relevant.

    Parameters
    ----------
    problem : ClassProblem
        The problem.
    state : ClassState
        The model.
    relevance : ndarray of shape (n_features,)
        The relevances of all features.
    q : ndarray of shape (n_features, n_contrasts)
        Their inner products with the slopes of the likelihood.
    allowed : ndarray of bool of shape (n_features,)
        Which may join.
    level : float
        The relevance they need; at least one of them has it.

    Returns
    -------
    features : ndarray of int of shape (n_new,)
        The features, the most relevant first.
    variances : ndarray of shape (n_new,)
        Their prior variances.
    """
    posterior, m = state.posterior, problem.targets.contrasts.shape[1]
    order = np.flatnonzero(allowed & (relevance > level))
    order = order[np.argsort(-relevance[order], kind="stable")][: max(_POOL // m, 1)]
    pool = columns(problem.design, order)
    half = weighted_gram(pool, posterior.D, posterior.curvatures) @ posterior.inverse_factor.T
    z = (weighted_gram(pool, pool, posterior.curvatures) - half @ half.T).reshape(len(order), m, len(order), m)
    q = q[order].copy()
    chosen: list[int] = []
    variances: list[float] = []
    free = np.ones(len(order), dtype=bool)
    while len(chosen) < max(_FEW, len(state.active)) and free.any():
        traces = np.einsum("jkjk->j", z)
        powers = np.einsum("jk,jk->j", q, q)
        ratio = np.divide(powers, traces, out=np.zeros(len(order)), where=free & (traces > 0.0))
        best = int(np.argmax(ratio))
        if ratio[best] <= level:
            break
        # The best variance of a block that is round.
        variance = min((ratio[best] - 1.0) * m / traces[best], problem.largest)
        chosen.append(int(order[best]))
        variances.append(variance)
        free[best] = False
        gain = np.linalg.inv(np.eye(m) / variance + z[best, :, best, :])
        column = z[:, :, best, :] @ gain
        q -= column @ q[best]
        z -= np.tensordot(column, z[best], axes=(2, 0))
    return np.array(chosen, dtype=np.intp), np.array(variances)
