r"""The evidence as a function of the variances of components and of the noise: states, steps, certificates.

A state holds all that an iteration reads at given variances. It is computed on the active columns only
(:mod:`sparsemodels.solvers.active_evidence`); the certificate is computed anew from the data, for all columns.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from .active_evidence import ActiveEvidence
from .component_deletion import Fit, relevances_alone
from .evidence import (
    EvidencePosterior,
    EvidenceTerms,
    Noise,
    full_terms,
    log_evidence,
)
from .noise_estimate import log_noise_prior, noise_violation
from .standardized_design import StandardizedDesign
from .variance_components import ComponentPosterior, component_violation, pooled, variance_shares

_ROUNDING = 1e-13  # of sums of order one a row or a column
# Of the power of the targets over the variance of the noise, of which the quadratic form is what is left.
_CANCELLATION = 1e-14


class ComponentState(NamedTuple):
    """The evidence at given variances.

    Attributes
    ----------
    gamma : ndarray of shape (n_components,)
        Variances of all components.
    noise : Noise
        The noise.
    components : ndarray of int of shape (n_active_components,)
        Those of positive variance.
    columns : ndarray of int of shape (n_active,)
        Columns with a share in them.
    shares : csc_array of shape (n_active, n_active_components)
        These shares.
    variances : ndarray of shape (n_active,)
        Prior variances of the columns.
    terms : EvidenceTerms
        Of the columns.
    power, z : ndarray of shape (n_active_components,)
        P and Z of :mod:`sparsemodels.solvers.variance_components`.
    objective : float
        The log evidence plus the log prior of the noise.
    residual_power : float
        The squared norm of the targets less the posterior mean.
    determined : float
        The number of well-determined coefficients.
    """

    gamma: np.ndarray
    noise: Noise
    components: np.ndarray
    columns: np.ndarray
    shares: scipy.sparse.csc_array
    variances: np.ndarray
    terms: EvidenceTerms
    power: np.ndarray
    z: np.ndarray
    objective: float
    residual_power: float
    determined: float


class Certificate(NamedTuple):
    """A state seen from all columns of the design.

    Attributes
    ----------
    state : ComponentState
        The state.
    terms : EvidenceTerms
        Of all columns.
    mean, covariance : ndarray of shape (n_active, n_outputs), (n_active, n_active)
        The posterior.
    relevances : ndarray of shape (n_components,)
        Of all components.
    kkt : float
        The largest violation of the conditions in the variances of the components.
    noise_violation : float
        The violation of that in the variance of the noise.
    """

    state: ComponentState
    terms: EvidenceTerms
    mean: np.ndarray
    covariance: np.ndarray
    relevances: np.ndarray
    kkt: float
    noise_violation: float


class ComponentEvidence:
    """The evidence of a design and its targets under a prior of components.

    Parameters
    ----------
    design : StandardizedDesign
        The design.
    Y : ndarray of shape (n_samples, n_outputs)
        Weighted, centred targets.
    prior : Independent, Groups, Neighbors, Mixture or another record
        The prior.

    Attributes
    ----------
    shares : csc_array of shape (n_features, n_components)
        Shares of the components in columns; empty rows for columns of zeros, on which nothing depends.
    sizes : ndarray of shape (n_components,)
        How many columns each component has a share in.
    n_outputs : int
        The number of outputs.
    is_complex : bool
        Whether design or targets are complex.
    """

    def __init__(self, design: StandardizedDesign, Y: np.ndarray, prior: Any):
        self.design, self.Y = design, Y
        shares = scipy.sparse.diags_array(np.isfinite(design.norms).astype(np.float64)) @ variance_shares(
            prior, design.X.shape[1]
        )
        self.shares = scipy.sparse.csc_array(shares)
        self.shares.eliminate_zeros()
        self.shares.sort_indices()
        self.sizes = np.diff(self.shares.indptr).astype(np.float64)
        self.n_outputs = Y.shape[1]
        self.is_complex = np.iscomplexobj(Y) or np.issubdtype(design.X.dtype, np.complexfloating)
        self._active = ActiveEvidence(design, Y)

    @property
    def cheap(self) -> bool:
        """Whether all pairs of active columns cost no more than the terms do."""
        return self._active.is_primal

    def flat_start(self) -> np.ndarray:
        """Equal variances under which the fit is expected to have the power of the targets."""
        gamma = np.zeros(len(self.sizes))
        total = self.n_outputs * self.shares.sum()
        if total > 0.0:
            gamma[self.sizes > 0.0] = self._active.power / total
        return gamma

    def at(self, gamma: np.ndarray, noise: Noise) -> ComponentState:
        """The state at given variances.

        Parameters
        ----------
        gamma : ndarray of shape (n_components,)
            Variances of components, >= 0; zero for those without columns.
        noise : Noise
            The noise.

        Returns
        -------
        ComponentState
            The state.
        """
        components = np.flatnonzero(gamma > 0.0)
        shares = self.shares[:, components]
        columns = np.unique(shares.indices).astype(np.intp)
        shares = scipy.sparse.csc_array(shares[columns])
        variances = shares @ gamma[components]
        self._active.select(columns)
        terms = self._active.terms(variances, noise.variance)
        power, z = pooled(shares, terms)
        signal = float(variances @ np.sum(np.abs(terms.q) ** 2, axis=1))
        residual_power = noise.variance * max(terms.quadratic - signal, 0.0)
        objective = self.objective_of(terms.log_determinant, terms.quadratic, noise)
        determined = float(variances @ terms.z)
        return ComponentState(
            gamma, noise, components, columns, shares, variances, terms, power, z, objective, residual_power, determined
        )

    def objective_of(self, log_determinant: float, quadratic: float, noise: Noise) -> float:
        """The log evidence plus the log prior of the noise, from the terms."""
        value = log_evidence(
            log_determinant, quadratic, noise.variance, noise.degrees_of_freedom, self.n_outputs, self.is_complex
        )
        return value + log_noise_prior(noise, noise.variance)

    def rounding(self, state: ComponentState) -> float:
        """By how much two objectives may differ for no other reason than rounding."""
        scale = abs(state.objective) + self.n_outputs * max(state.noise.degrees_of_freedom, len(state.columns))
        return _ROUNDING * scale + _CANCELLATION * self._active.power / state.noise.variance

    def violation(self, state: ComponentState) -> float:
        """The largest violation of the conditions in the variances that are positive, and in that of the noise."""
        ratio = np.divide(state.power, state.z, out=np.zeros_like(state.power), where=state.z > 0.0)
        return max(float(np.max(np.abs(ratio - 1.0), initial=0.0)), self.noise_violation(state))

    def noise_violation(self, state: ComponentState) -> float:
        """The violation of the condition in the variance of the noise."""
        return noise_violation(state.noise, state.residual_power, state.determined, self.n_outputs, self.is_complex)

    def pooled(self, terms: EvidenceTerms) -> tuple[np.ndarray, np.ndarray]:
        """P and Z of all components, from the terms of all columns."""
        return pooled(self.shares, terms)

    def fit(self, state: ComponentState) -> Fit:
        """All pairs of active columns, for steps of second order and for leaving components out.

        Parameters
        ----------
        state : ComponentState
            The state.

        Returns
        -------
        Fit
            The evidence around it.
        """
        self._active.select(state.columns)
        covariance = self._active.covariance_of_fit(state.variances, state.noise.variance)
        covariance[np.diag_indices_from(covariance)] = state.variances * state.terms.z  # the accurate diagonal
        mean = np.sqrt(state.variances)[:, None] * state.terms.q
        return Fit(covariance, mean, _parts(state), state.terms.log_determinant, state.terms.quadratic)

    def certify(self, state: ComponentState, threshold: float) -> Certificate:
        r"""The conditions of optimality of a state, all computed anew from the data.

        Parameters
        ----------
        state : ComponentState
            The state.
        threshold : float
            The relevance that a component needs.

        Returns
        -------
        Certificate
            The posterior and its certificate.
        """
        variances, columns = state.variances, state.columns
        terms, mean, covariance = full_terms(self.design, self.Y, columns, variances, state.noise.variance)
        power, z = self.pooled(terms)
        relevances = np.divide(power, z, out=np.zeros_like(power), where=z > 0.0)
        alone = np.empty(0)
        if threshold > 1.0:
            root = np.sqrt(variances)
            within = np.eye(len(root)) - covariance / np.outer(root, root)
            within[np.diag_indices_from(within)] = variances * terms.z[columns]
            alone = relevances_alone(Fit(within, root[:, None] * terms.q[columns], _parts(state), 0.0, 0.0))
        kkt = component_violation(relevances, state.components, alone, threshold)
        signal = float(variances @ np.sum(np.abs(terms.q[columns]) ** 2, axis=1))
        state = state._replace(
            objective=self.objective_of(terms.log_determinant, terms.quadratic, state.noise),
            residual_power=state.noise.variance * max(terms.quadratic - signal, 0.0),
            determined=float(variances @ terms.z[columns]),
        )
        return Certificate(state, terms, mean, covariance, relevances, kkt, self.noise_violation(state))

    def posterior(self, certificate: Certificate, history: list[float], n_iter: int, status: str) -> ComponentPosterior:
        """What a solver returns.

        Parameters
        ----------
        certificate : Certificate
            Of the final state.
        history : list of float
            The objective along the way.
        n_iter : int
            Iterations that were made.
        status : str
            Why the solver returned.

        Returns
        -------
        ComponentPosterior
            The answer.
        """
        state = certificate.state
        value = state.objective - log_noise_prior(state.noise, state.noise.variance)
        posterior = EvidencePosterior(
            state.columns,
            state.variances,
            certificate.mean,
            certificate.covariance,
            state.noise.variance,
            value,
            np.array(history),
            certificate.kkt,
            n_iter,
            status,
        )
        return ComponentPosterior(posterior, state.components, state.gamma[state.components])


def _parts(state):
    """Which part of the variance of each active column comes from which active component."""
    parts = state.shares.copy()
    parts.data *= np.repeat(state.gamma[state.components], np.diff(parts.indptr)) / state.variances[parts.indices]
    return parts
