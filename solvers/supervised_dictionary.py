r"""Supervised dictionary learning lifted to one matrix of low rank.

Codes H and a dictionary D (atoms are rows) are to reconstruct the data and to carry the labels:

.. math:: \min \; \sum_i s_i\, \ell_{y_i}(a_i + z_i \gamma + b) + \xi \sum_i s_i \|x_i - h_i D\|^2
    + \tfrac\nu2 \bigl(\|A\|^2 + \|\gamma\|^2\bigr)

with :math:`a_i = x_i A`, :math:`A = D^T \beta`, in the **filter** model and :math:`a_i = h_i \beta`, A being these
logits, their squares weighted by s, in the **feature** model. The factors enter through A and B = H D alone:
in the filter model A and :math:`B^T` share a column space of at most r dimensions, in the feature model A and B do.
With :math:`\Pi` the projector on that space, B is the projection of the data, and what is left is one problem,

.. math:: \min_{A, \Pi} g(A) + \tfrac12 \operatorname{tr} (I - \Pi) K, \quad \Pi A = A, \; \operatorname{rank} \Pi = r,

with :math:`K = 2 \xi X^T S X` of features or :math:`2 \xi S^{1/2} X X^T S^{1/2}` of samples and g convex: the loss,
minimised over :math:`\gamma` and b, plus the ridge.

References
----------
J. Lee, H. Lyu and W. Yao, "Supervised dictionary learning with auxiliary covariates", arXiv:2206.06774, 2022.
"""

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize
import scipy.sparse

from .class_labels import (
    ClassLabels,
    LogisticFit,
    entropy,
    fit_logistic,
    largest_curvature,
    log_loss,
    probabilities,
    pull,
)
from .leading_subspace import Products, Spectrum, eigenstructure, leading

_BY_NEWTON = 400  # coefficients of the model without bound on its rank, up to which Newton's method finds them
_SEGMENT_STEPS = 12  # evaluations of the bound between two dual points
_CLOSED = 1e-6  # relative gap, from which on no better bound is looked for
_FLAT = 1e-5  # relative difference of two inner values of the bound, at which its maximum is found
_GOLDEN = 0.5 * (np.sqrt(5.0) - 1.0)


class Classified(NamedTuple):
    """A matrix A with the best covariate coefficients and intercepts for it.

    Attributes
    ----------
    A : ndarray of shape (n_dimensions, n_columns)
        The matrix.
    image : ndarray of shape (n_samples, n_columns)
        Its part of the logits.
    offset_coef : ndarray of shape (n_offsets, n_columns)
        Coefficients of the covariates and of the intercept.
    logits : ndarray of shape (n_samples, n_columns)
        All of the logits.
    value : float
        The loss plus the ridge of A and of the covariates.
    """

    A: np.ndarray
    image: np.ndarray
    offset_coef: np.ndarray
    logits: np.ndarray
    value: float


class SupervisedProblem:
    """The lifted problem: data, labels and weights of the parts.

    Parameters
    ----------
    X : ndarray or sparse array of shape (n_samples, n_features), float64
        The data.
    labels : ClassLabels
        The labels and sample weights.
    covariates : ndarray of shape (n_samples, n_covariates)
        Covariates, which only the classifier sees; may have no columns.
    model : {"filter", "feature"}
        What the classifier sees of the data: :math:`x D^T`, or the codes.
    reconstruction_weight : float
        The weight of the reconstruction, > 0.
    alpha : float
        The ridge, > 0.
    fit_intercept : bool
        Whether to add an intercept without ridge.
    moderate : int, optional
        As for :func:`~sparsemodels.solvers.leading_subspace.eigenstructure`.
    """

    def __init__(
        self,
        X: Any,
        labels: ClassLabels,
        covariates: np.ndarray,
        *,
        model: str,
        reconstruction_weight: float,
        alpha: float,
        fit_intercept: bool,
        moderate: int | None = None,
    ):
        self.X, self.labels, self.model = X, labels, model
        self.reconstruction_weight, self.alpha = reconstruction_weight, alpha
        self.root = np.sqrt(labels.weights)[:, None]
        n_samples, n_features = X.shape
        self.n_dimensions = n_features if model == "filter" else n_samples
        self.n_columns = labels.targets.shape[1]
        ones = np.ones((n_samples, 1 if fit_intercept else 0))
        self.offsets = np.hstack([covariates, ones])
        self.offset_ridge = np.diag([alpha] * covariates.shape[1] + [0.0] * ones.shape[1])
        scaled = X.multiply(self.root).tocsr() if scipy.sparse.issparse(X) else X * self.root
        scaled = scaled * np.sqrt(2.0 * reconstruction_weight)
        self.factor = scaled.T if model == "filter" else scaled
        self.trace = float(np.sum(scaled.data**2) if scipy.sparse.issparse(scaled) else np.sum(scaled**2))
        self._moderate = moderate

    @cached_property
    def K(self) -> Spectrum | Products:
        """What the reconstruction sees of the data."""
        return eigenstructure(self.factor, **({} if self._moderate is None else {"moderate": self._moderate}))

    @cached_property
    def lipschitz(self) -> float:
        """The largest curvature of the classification part in A: the metric of that block."""
        curvature = largest_curvature(self.labels)
        if self.model == "feature":
            return curvature + self.alpha
        largest = leading(self.K, np.zeros((self.n_dimensions, 1)), 1).total
        return curvature * largest / (2.0 * self.reconstruction_weight) + self.alpha

    def image(self, A: np.ndarray) -> np.ndarray:
        """The logits of A."""
        return self.X @ A if self.model == "filter" else A / self.root

    def adjoint(self, theta: np.ndarray) -> np.ndarray:
        """The adjoint of :meth:`image`."""
        return self.X.T @ theta if self.model == "filter" else theta / self.root

    def classified(
        self, A: np.ndarray, image: np.ndarray, start: np.ndarray | None = None, *, precision: float = 1e-15
    ) -> Classified:
        """Minimise over the covariate coefficients and intercepts."""
        if start is None:
            start = np.zeros((self.offsets.shape[1], self.n_columns))
        fit = fit_logistic(self.labels, self.offsets, self.offset_ridge, offset=image, start=start, precision=precision)
        return Classified(A, image, fit.coef, fit.logits, fit.value + 0.5 * self.alpha * float(np.sum(A * A)))

    def gradient(self, A: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """The gradient of the classification part with respect to A."""
        return self.alpha * A - self.adjoint(pull(self.labels, logits))

    def without_rank(self) -> Classified:
        """The minimum of the classification part alone: a ridge regression in the filter model."""
        d, c, q = self.n_dimensions, self.n_columns, self.offsets.shape[1]
        if self.model == "filter" and d * c <= _BY_NEWTON and not scipy.sparse.issparse(self.X):
            ridge = np.diag(np.concatenate([np.full(d, self.alpha), np.diag(self.offset_ridge)]))
            design = np.hstack([self.X, self.offsets])
            fit: LogisticFit = fit_logistic(
                self.labels, design, ridge, offset=np.zeros((design.shape[0], c)), start=np.zeros((d + q, c))
            )
            A = fit.coef[:d]
            return self.classified(A, self.image(A), fit.coef[d:])
        weights = np.concatenate([np.full(d, self.alpha), np.diag(self.offset_ridge)])[:, None]

        def value_and_gradient(vector: np.ndarray) -> tuple[float, np.ndarray]:
            coef = vector.reshape(d + q, c)
            logits = self.image(coef[:d]) + self.offsets @ coef[d:]
            theta = pull(self.labels, logits)
            slope = weights * coef - np.vstack([self.adjoint(theta), self.offsets.T @ theta])
            return log_loss(self.labels, logits) + 0.5 * float(np.sum(weights * coef**2)), slope.ravel()

        found = scipy.optimize.minimize(
            value_and_gradient,
            np.zeros((d + q) * c),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 200, "ftol": 1e-10, "gtol": 1e-10},
        )
        coef = found.x.reshape(d + q, c)
        return self.classified(coef[:d], self.image(coef[:d]), coef[d:])

    def dual_bound(self, chance: np.ndarray, rank: int) -> float:
        r"""A lower bound of the objective of every dictionary with `rank` atoms.

        .. math:: \sum_i s_i H(p_i) + \tfrac12 \operatorname{tr} K - \tfrac12 \sum_{j \le r} \lambda_j\bigl(
            K + \tfrac1\nu \Theta \Theta^T\bigr) - \tfrac{1}{2 \nu} \|Z^T S (Y - P)\|^2

        with :math:`\Theta` the adjoint of :math:`S (Y - P)`. It is the dual of the problem with the projector replaced
        by any :math:`0 \preceq \Pi \preceq I` of trace r, in which :math:`A = \Pi A` becomes the convex term
        :math:`\tfrac\nu2 \operatorname{tr} A^T \Pi^+ A`.

        Parameters
        ----------
        chance : ndarray of shape (n_samples, n_columns)
            Probabilities P, whose weighted sums over samples are those of the labels where there is an intercept.
        rank : int
            The number of atoms r.

        Returns
        -------
        float
            The bound.
        """
        theta = self.labels.weights[:, None] * (self.labels.targets - chance)
        total = leading(self.K, self.adjoint(theta) / np.sqrt(self.alpha), rank).total
        ridge = np.diag(self.offset_ridge)
        slopes = self.offsets[:, ridge > 0.0].T @ theta
        bound = entropy(self.labels, chance) + 0.5 * (self.trace - total)
        return bound - float(np.sum(slopes**2)) / (2.0 * self.alpha)

    def lower_bound(self, points: list[Classified], rank: int, *, objective: float = np.inf) -> float:
        """The best bound on the segment between the probabilities of two points; the bound is concave there.

        Parameters
        ----------
        points : list of Classified
            Two points, with the best covariate coefficients and intercepts.
        rank : int
            The number of atoms.
        objective : float, default=inf
            The search ends once the bound is this, less one part in a million.

        Returns
        -------
        float
            The bound.
        """
        first, second = (probabilities(point.logits) for point in points)

        def at(share: float) -> float:
            return self.dual_bound((1.0 - share) * first + share * second, rank)

        enough = objective - _CLOSED * abs(objective) if np.isfinite(objective) else np.inf
        best = at(0.0)
        if best >= enough:
            return best
        best = max(best, at(1.0))
        if best >= enough:
            return best
        low, high = 0.0, 1.0
        left, right = high - _GOLDEN, low + _GOLDEN
        value_left, value_right = at(left), at(right)
        for _ in range(_SEGMENT_STEPS):
            best = max(best, value_left, value_right)
            if best >= enough or abs(value_left - value_right) <= _FLAT * abs(best):
                break
            if value_left < value_right:
                low, left, value_left = left, right, value_right
                right = low + _GOLDEN * (high - low)
                value_right = at(right)
            else:
                high, right, value_right = right, left, value_left
                left = high - _GOLDEN * (high - low)
                value_left = at(left)
        return max(best, value_left, value_right)
