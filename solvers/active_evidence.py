r"""The evidence on a changing set of columns, by the smaller of two factorizations, with everything cached that lasts.

For many active columns :math:`C / \sigma^2` is factorized, of the order of the rows (see
:func:`~sparsemodels.solvers.evidence.dual_terms`), for few ones :math:`I + R X^H X R`, of the order of the columns
(:func:`~sparsemodels.solvers.evidence.primal_terms`), where a column that leaves takes a row and a column out of
a Gram matrix that stays.
"""

import numpy as np
import scipy.linalg

from .evidence import EvidenceTerms, dual_terms, posterior_factor, primal_terms
from .standardized_design import StandardizedDesign, columns, cross

_SWITCH = 1.5  # columns per row up to which the primal factorization costs less: 2 a^3 / 3 against 2 n^2 a + n^3 / 3


class ActiveEvidence:
    """The evidence and its derivatives on the active columns of a design.

    Parameters
    ----------
    design : StandardizedDesign
        The design.
    Y : ndarray of shape (n_samples, n_outputs)
        Weighted, centred targets.

    Attributes
    ----------
    active : ndarray of int of shape (n_active,)
        The columns that are selected.
    power : float
        The sum of the squared magnitudes of the targets.

    Notes
    -----
    Memory: a dense copy of the active columns while they are more than 1.5 times the rows, else their Gram matrix.
    """

    def __init__(self, design: StandardizedDesign, Y: np.ndarray):
        self.design, self.Y = design, Y
        self.power = float(np.vdot(Y, Y).real)
        self.active = np.empty(0, dtype=np.intp)
        self._correlations = cross(design, Y)
        self._chosen: np.ndarray | None = None
        self._gram: np.ndarray | None = None

    @property
    def is_primal(self) -> bool:
        """Whether the Gram matrix is at hand."""
        return self._gram is not None

    def select(self, active: np.ndarray) -> None:
        """Change the active columns.

        Parameters
        ----------
        active : ndarray of int of shape (n_active,)
            The columns, increasing.
        """
        if np.array_equal(active, self.active):
            return
        primal = len(active) <= _SWITCH * len(self.Y)
        kept = np.isin(active, self.active, assume_unique=True)
        inside = np.searchsorted(self.active, active[kept])
        if self._gram is not None and primal:
            self._gram = self._regrown(active, kept, self._gram[np.ix_(inside, inside)])
        elif primal:
            self._gram = self._gram_of(active, kept, inside)
            self._chosen = None
        elif self._chosen is not None and kept.all():
            self._chosen = self._chosen[:, inside]
        else:
            self._chosen, self._gram = columns(self.design, active), None
        self.active = active

    def _gram_of(self, active, kept, inside):
        n_features = self.design.X.shape[1]
        if self._chosen is not None and kept.all():
            chosen = self._chosen[:, inside]
            return chosen.conj().T @ chosen
        if 2 * len(active) > n_features:  # block by block, without a copy of the design
            gram = np.empty((len(active), len(active)), dtype=self._correlations.dtype)
            for start in range(0, len(active), 256):
                part = slice(start, start + 256)
                gram[:, part] = cross(self.design, columns(self.design, active[part]))[active]
            return (gram + gram.conj().T) / 2.0
        chosen = columns(self.design, active)
        return chosen.conj().T @ chosen

    def _regrown(self, active, kept, gram):
        """A Gram matrix with the rows of the columns that are new."""
        if kept.all():
            return gram
        answer = np.empty((len(active), len(active)), dtype=gram.dtype)
        answer[np.ix_(kept, kept)] = gram
        new = columns(self.design, active[~kept])
        if 2 * len(active) > self.design.X.shape[1]:
            block = cross(self.design, new)[active]
        else:
            block = columns(self.design, active).conj().T @ new
        answer[:, ~kept] = block
        answer[~kept] = block.conj().T
        return answer

    def terms(self, variances: np.ndarray, noise_variance: float) -> EvidenceTerms:
        """The evidence and its derivatives for the active columns.

        Parameters
        ----------
        variances : ndarray of shape (n_active,)
            Prior variances, >= 0.
        noise_variance : float
            The variance of the noise, > 0.

        Returns
        -------
        EvidenceTerms
            The terms.
        """
        if self._gram is not None:
            return primal_terms(self._gram, self._correlations[self.active], self.power, variances, noise_variance)
        chosen = np.empty((len(self.Y), 0)) if self._chosen is None else self._chosen
        return dual_terms(chosen, self.Y, variances, noise_variance)

    def covariance_of_fit(self, variances: np.ndarray, noise_variance: float) -> np.ndarray:
        r"""The matrix :math:`\Gamma^{1/2} X^H C^{-1} X \Gamma^{1/2}`: the identity less the posterior covariance.

        Parameters
        ----------
        variances : ndarray of shape (n_active,)
            Prior variances, >= 0.
        noise_variance : float
            The variance of the noise, > 0.

        Returns
        -------
        ndarray of shape (n_active, n_active)
            The matrix, Hermitian with eigenvalues from 0 to 1; the posterior covariance is in units of the prior.
        """
        root = np.sqrt(variances / noise_variance)
        if self._gram is not None:
            factor = posterior_factor(self._gram, root)
            answer = -_inverse(factor)
            answer[np.diag_indices_from(answer)] += 1.0
            return answer
        half = self._chosen * root
        outer = half @ half.conj().T
        outer[np.diag_indices_from(outer)] += 1.0
        factor = scipy.linalg.cholesky(outer, lower=True, overwrite_a=True, check_finite=False)
        white = scipy.linalg.solve_triangular(factor, half, lower=True, check_finite=False)
        return white.conj().T @ white


def _inverse(factor):
    """The inverse of the matrix with a lower Cholesky factor."""
    if factor.size == 0:
        return factor.copy()
    invert = scipy.linalg.lapack.zpotri if np.iscomplexobj(factor) else scipy.linalg.lapack.dpotri
    lower = invert(factor, lower=True)[0]
    answer = lower + np.tril(lower, -1).conj().T
    return answer
