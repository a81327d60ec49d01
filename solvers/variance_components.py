r"""Priors of sparse Bayesian learning whose variances are mixtures of components: single columns, groups, neighbours.

The prior variances of the coefficients are :math:`v = K \gamma` with a nonnegative matrix K of **shares** and the
variances :math:`\gamma \ge 0` of components. A prior is a record; :func:`variance_shares` gives its matrix. With
:math:`z_j` and :math:`q_j` of :mod:`sparsemodels.solvers.evidence`, and their sums over components

.. math:: Z = K^T z, \qquad P = K^T \overline{|q|^2},

:math:`\partial L / \partial \gamma_i = Z_i - P_i` for :math:`L = \log|C| + \overline{y^H C^{-1} y}`, minus twice the
log evidence of one output. The relevance of a component is :math:`P_i / Z_i`: one where it is stationary, at most one
where the component does best at zero.

**Updates.** :math:`\log|C|` is concave in :math:`\gamma`, so it lies below its tangent, of slope Z. Splitting each
coefficient into the parts :math:`w_{ji}` that its components contribute,
:math:`y^H C^{-1} y = \min \|y - X w\|^2 / \sigma^2 + \sum_{ji} |w_{ji}|^2 / (K_{ji} \gamma_i)`; with the parts that are
best at the current variances this lies below :math:`\mathrm{const} + \sum_i \gamma_i^2 P_i / \gamma_i^{new}`. The sum
of both bounds is least at

- ``mm``: :math:`\gamma_i \sqrt{P_i / Z_i}`, by which the evidence never falls;
- ``mackay``: :math:`\gamma_i P_i / Z_i` goes twice as far in :math:`\log \gamma`: faster and not monotone;
- ``em``: the mean of :math:`E |w_{ji}|^2 / K_{ji}` over the :math:`d_i` coefficients of a component,
  :math:`\gamma_i + \gamma_i^2 (P_i - Z_i) / d_i`, by which the evidence never falls either.

References
----------
D. Wipf and S. Nagarajan, "A new view of automatic relevance determination", NIPS 20, 2008. J. Fang, Y. Shen, H. Li
and P. Wang, "Pattern-coupled sparse Bayesian learning for recovery of block-sparse signals", IEEE Transactions on
Signal Processing 63, 2015.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from .evidence import EvidencePosterior, EvidenceTerms


class Independent(NamedTuple):
    """A variance for every coefficient."""


class Groups(NamedTuple):
    """A variance for every group of coefficients.

    Attributes
    ----------
    labels : ndarray of int of shape (n_features,)
        The group of every coefficient, from 0 on; groups may be of unequal sizes.
    """

    labels: np.ndarray


class Neighbors(NamedTuple):
    r"""A variance for every coefficient, shared with its neighbours: supports in clusters.

    The variance of coefficient j is :math:`\gamma_j + s (\gamma_{j-1} + \gamma_{j+1})`.

    Attributes
    ----------
    strength : float
        The share s >= 0 of a neighbour.
    """

    strength: float = 0.5


class Mixture(NamedTuple):
    """Any nonnegative shares.

    Attributes
    ----------
    shares : sparse array of shape (n_features, n_components)
        What each component contributes to the variance of each coefficient.
    """

    shares: Any


class ComponentPosterior(NamedTuple):
    """A local maximum of the evidence in the variances of components.

    Attributes
    ----------
    posterior : EvidencePosterior
        Of the coefficients; its certificate is that of the components.
    components : ndarray of int of shape (n_active_components,)
        Components of positive variance, increasing.
    component_variances : ndarray of shape (n_active_components,)
        Their variances.
    """

    posterior: EvidencePosterior
    components: np.ndarray
    component_variances: np.ndarray


@functools.singledispatch
def variance_shares(prior: Any, n_features: int) -> scipy.sparse.csc_array:
    r"""The matrix K of a prior with variances :math:`v = K \gamma`.

    Parameters
    ----------
    prior : Independent, Groups, Neighbors, Mixture or another record
        The prior.
    n_features : int
        How many coefficients there are.

    Returns
    -------
    csc_array of shape (n_features, n_components)
        The shares, nonnegative.

    Examples
    --------
    >>> from sparsemodels.solvers.variance_components import Neighbors, variance_shares
    >>> variance_shares(Neighbors(0.5), 3).toarray()
    array([[1. , 0.5, 0. ],
           [0.5, 1. , 0.5],
           [0. , 0.5, 1. ]])
    """
    raise TypeError(f"no shares are known for a prior of type {type(prior).__name__}")


@variance_shares.register
def _(prior: Independent, n_features: int) -> scipy.sparse.csc_array:
    return scipy.sparse.eye_array(n_features, format="csc")


@variance_shares.register
def _(prior: Groups, n_features: int) -> scipy.sparse.csc_array:
    labels = np.asarray(prior.labels)
    return scipy.sparse.csc_array(
        (np.ones(n_features), (np.arange(n_features), labels)), (n_features, labels.max() + 1)
    )


@variance_shares.register
def _(prior: Neighbors, n_features: int) -> scipy.sparse.csc_array:
    if prior.strength == 0.0 or n_features == 1:
        return scipy.sparse.eye_array(n_features, format="csc")
    beside = np.full(n_features - 1, float(prior.strength))
    return scipy.sparse.diags_array([beside, np.ones(n_features), beside], offsets=[-1, 0, 1], format="csc")


@variance_shares.register
def _(prior: Mixture, n_features: int) -> scipy.sparse.csc_array:
    return scipy.sparse.csc_array(prior.shares)


def pooled(shares: scipy.sparse.csc_array, terms: EvidenceTerms) -> tuple[np.ndarray, np.ndarray]:
    """The sums of squared q, averaged over outputs, and of z over components.

    Parameters
    ----------
    shares : csc_array of shape (n_columns, n_components)
        The shares of the columns of `terms`.
    terms : EvidenceTerms
        The terms.

    Returns
    -------
    power : ndarray of shape (n_components,)
        P.
    z : ndarray of shape (n_components,)
        Z.
    """
    return np.mean(np.abs(terms.q) ** 2, axis=1) @ shares, terms.z @ shares


def updated_variances(rule: str, gamma: np.ndarray, power: np.ndarray, z: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The variances of components after a step.

    Parameters
    ----------
    rule : {"em", "mm", "mackay"}
        The update.
    gamma : ndarray of shape (n_components,)
        The variances, > 0.
    power, z : ndarray of shape (n_components,)
        P and Z, see :func:`pooled`.
    sizes : ndarray of shape (n_components,)
        How many coefficients each has a share in.

    Returns
    -------
    ndarray of shape (n_components,)
        The new variances, >= 0.
    """
    if rule == "em":
        return np.maximum(gamma + gamma**2 * (power - z) / sizes, 0.0)
    ratio = np.divide(power, z, out=np.zeros_like(power), where=z > 0.0)
    return gamma * (np.sqrt(ratio) if rule == "mm" else ratio)


def component_violation(
    relevances: np.ndarray, components: np.ndarray, alone: np.ndarray, threshold: float = 1.0
) -> float:
    r"""The largest violation of the optimality conditions in the variances of components, without units.

    Parameters
    ----------
    relevances : ndarray of shape (n_components,)
        P / Z of all components.
    components : ndarray of int of shape (n_active_components,)
        Those of positive variance.
    alone : ndarray of shape (n_active_components,)
        Their relevances, measured without themselves.
    threshold : float, default=1.0
        The relevance :math:`\tau` that a component needs.

    Returns
    -------
    float
        The maximum over active components of :math:`|r_i - 1|`, over the others of :math:`r_i / \tau - 1`, and with
        :math:`\tau > 1` over active ones of :math:`1 - \bar r_i / \tau`; at least zero.
    """
    inactive = np.ones(len(relevances), dtype=bool)
    inactive[components] = False
    violation = max(
        float(np.max(np.abs(relevances[components] - 1.0), initial=0.0)),
        float(np.max(relevances[inactive] / threshold - 1.0, initial=0.0)),
    )
    if threshold > 1.0:
        violation = max(violation, float(np.max(1.0 - alone / threshold, initial=0.0)))
    return violation
