r"""Leaving components of a Gaussian prior out one by one, each by an exact update of the evidence.

With :math:`T = V^{1/2} X^H C^{-1} X V^{1/2}` and :math:`m = V^{1/2} X^H C^{-1} Y`, prior variances V, leaving out the
part D of the variances of some columns S (all of it: :math:`D = I`), in units of V, changes them by the Woodbury
identity to

.. math:: T + T_{:S} (D^{-1} - T_{SS})^{-1} T_{S:}, \qquad m + T_{:S} (D^{-1} - T_{SS})^{-1} m_S .

The relevance that a component has without itself is the ratio of the D-weighted sums of :math:`|m_j|^2` and
:math:`T_{jj}` after that. For a single column it is :math:`|m_j|^2 / (T_{jj} (1 - T_{jj}))`, and leaving the column
out raises the evidence if and only if this is less than one (Faul and Tipping, 2002).
"""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse


class Fit(NamedTuple):
    r"""The evidence around some prior variances, in units of these.

    Attributes
    ----------
    covariance : ndarray of shape (n_columns, n_columns)
        T; the identity less it is the posterior covariance.
    mean : ndarray of shape (n_columns, n_outputs)
        m, which is also the posterior mean.
    parts : sparse array of shape (n_columns, n_components) or None
        Which part of the variance of a column comes from which component; rows sum to one. None where each column is a
        component, for callers who need no deletions.
    log_determinant, quadratic : float
        As in :class:`~sparsemodels.solvers.evidence.EvidenceTerms`.
    """

    covariance: np.ndarray
    mean: np.ndarray
    parts: Any  # a csc_array or None
    log_determinant: float
    quadratic: float


def relevances_alone(fit: Fit, below: float = np.inf, kept: np.ndarray | None = None) -> np.ndarray:
    """The relevances of components, each without itself.

    Parameters
    ----------
    fit : Fit
        The evidence.
    below : float, default=inf
        Components whose relevance with themselves is not below this are passed over: without themselves it is no less.
    kept : ndarray of bool of shape (n_components,), optional
        Components to look at; all by default.

    Returns
    -------
    ndarray of shape (n_components,)
        The relevances; infinite for those passed over.
    """
    diagonal = np.diag(fit.covariance).real
    power = np.mean(np.abs(fit.mean) ** 2, axis=1)
    tiny = np.finfo(np.float64).tiny
    indptr, rows, part = fit.parts.indptr, fit.parts.indices, fit.parts.data
    looked_at = np.arange(fit.parts.shape[1]) if kept is None else np.flatnonzero(kept)
    answer = np.full(fit.parts.shape[1], np.inf)
    if len(rows) == len(answer) == len(diagonal):  # one column a component
        own = rows[looked_at]
        answer[looked_at] = power[own] / np.maximum(diagonal[own] * (1.0 - diagonal[own]), tiny)
        return answer
    together = (power @ fit.parts)[looked_at] / np.maximum((diagonal @ fit.parts)[looked_at], tiny)
    for i in looked_at[together < below]:
        S, D = rows[indptr[i] : indptr[i + 1]], part[indptr[i] : indptr[i + 1]]
        block = fit.covariance[np.ix_(S, S)]
        # (I - T D)^-1 [T, m]: what T and m are without the component
        alone = np.linalg.solve(np.eye(len(S)) - block * D, np.hstack([block, fit.mean[S]]))
        left = D @ np.diag(alone[:, : len(S)]).real
        answer[i] = D @ np.mean(np.abs(alone[:, len(S) :]) ** 2, axis=1) / max(left, tiny)
    return answer


def without_components(fit: Fit, threshold: float) -> tuple[Fit, np.ndarray, np.ndarray]:
    """Leave components out, that of least relevance first, as long as one has less than a threshold without itself.

    Parameters
    ----------
    fit : Fit
        The evidence; not changed.
    threshold : float
        The relevance that a component needs.

    Returns
    -------
    fit : Fit
        The evidence without them, in units of the variances that are left.
    columns : ndarray of bool of shape (n_columns,)
        Columns that still have a variance.
    components : ndarray of bool of shape (n_components,)
        Components that are left.
    """
    kept = np.ones(fit.parts.shape[1], dtype=bool)
    alone = relevances_alone(fit, threshold)
    if not np.any(alone < threshold):
        return fit, np.ones(len(fit.mean), dtype=bool), kept
    left = np.ones(len(fit.mean))  # of the variance of each column
    covariance, mean = fit.covariance.copy(), fit.mean.copy()
    log_determinant, quadratic = fit.log_determinant, fit.quadratic
    current = fit._replace(covariance=covariance, mean=mean)
    while np.any(alone < threshold):
        i = int(np.argmin(alone))
        kept[i] = False
        entries = slice(fit.parts.indptr[i], fit.parts.indptr[i + 1])
        S, D = fit.parts.indices[entries], fit.parts.data[entries]
        left[S] -= D
        change = np.linalg.inv(np.diag(1.0 / D) - covariance[np.ix_(S, S)])
        side, here = covariance[:, S].copy(), mean[S].copy()
        log_determinant -= float(np.linalg.slogdet(change)[1] - np.sum(np.log(D)))
        quadratic += float(np.vdot(here, change @ here).real)
        covariance += (side @ change) @ side.conj().T
        mean += side @ (change @ here)
        alone = relevances_alone(current, threshold, kept)
    remaining = fit.parts[:, kept]
    columns = np.zeros(len(left), dtype=bool)
    columns[remaining.indices] = True
    scale = np.sqrt(left[columns])
    parts = remaining[columns]
    parts = (scipy.sparse.diags_array(1.0 / left[columns]) @ parts).tocsc()
    covariance = scale[:, None] * covariance[np.ix_(columns, columns)] * scale
    answer = Fit(covariance, scale[:, None] * mean[columns], parts, log_determinant, quadratic)
    return answer, columns, kept
