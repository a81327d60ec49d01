"""Relevance vector regression: a few kernels, with error bars."""

import time
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from sparsemodels._base import Interval, StrOptions, _fit_context, check_weights, with_callbacks
from sparsemodels.solvers.evidence import EvidencePosterior
from sparsemodels.solvers.fast_marginal_likelihood import fast_marginal_likelihood
from sparsemodels.solvers.low_rank_design import low_rank_design
from sparsemodels.solvers.quadratic_forms import quadratic_forms
from sparsemodels.solvers.row_blocks import map_blocks
from sparsemodels.solvers.standardized_design import StandardizedDesign, standardize
from sparsemodels.solvers.standardized_targets import (
    StandardizedTargets,
    noise_in_standard_units,
    original_units,
    standardize_targets,
)

from .evidence_warnings import warn_of_posterior
from .kernel_design import kernel_factor
from .relevance_threshold import relevance_threshold
from .relevance_vector_machine import RelevanceVectorMachine

__all__ = ["RVMRegressor"]


class RVMRegressor(MultiOutputMixin, RegressorMixin, RelevanceVectorMachine):
    r"""Relevance vector machine: regression on the kernels of a few training samples, with error bars.

    The model is

    .. math:: y = b + \sum_j w_j \, k(x, x_j) + e, \qquad w_j \sim \mathcal N(0, \gamma_j), \quad
        e \sim \mathcal N(0, \sigma^2),

    with one kernel for every training sample. The prior variances :math:`\gamma_j` and the noise variance maximise the
    evidence, the probability of y with the coefficients integrated out. At a maximum most :math:`\gamma_j` are exactly
    zero: the other samples are the relevance vectors, typically far fewer than the support vectors of
    :class:`~sklearn.svm.SVR`, and there is no C and no epsilon to tune. Predictions come with standard deviations.

    Parameters
    ----------
    kernel : {"rbf", "linear", "poly", "sigmoid", "laplacian", "precomputed"} or callable, default="rbf"
        The kernel, of any sign and definiteness. A callable takes two arrays of samples (and `kernel_params`) and
        returns the matrix of the kernel between them. With ``"precomputed"`` X is this matrix: between the training
        samples in `fit`, of rows to predict and columns of all training samples in `predict`.
    gamma : {"scale", "auto"} or float, default="scale"
        The inverse width of ``"rbf"`` and ``"laplacian"`` and the slope of ``"poly"`` and ``"sigmoid"``. ``"scale"`` is
        ``1 / (n_features * X.var())``, ``"auto"`` is ``1 / n_features``. Of two widths, the one with the larger
        `log_evidence_` is to be preferred.
    degree : int, default=3
        The degree of ``"poly"``.
    coef0 : float, default=1.0
        The constant in ``"poly"`` and ``"sigmoid"``.
    kernel_params : dict, optional
        Keyword arguments of a callable kernel.
    bias : bool, default=True
        Whether there is a constant b, with a flat prior.
    noise_variance : float or "auto", default="auto"
        The variance of the noise in the units of y squared, > 0, if it is known; else it is learned.
    noise_floor : float, default=1e-6
        The smallest noise variance to be learned, relative to the variance of y.
    threshold : float or "auto", default=1.0
        The relevance :math:`q^2/s` that a sample needs, >= 1. At one, the evidence alone decides. More gives fewer
        relevance vectors and, for kernels, which are much alike, larger errors. ``"auto"`` is :math:`2 \log n`.
    alignment_tol : float, default=1e-3
        A sample is not added while the cosine between its kernel and that of a relevance vector is above one minus
        this: neighbours would take each other's place in ever smaller steps. Zero admits all.
    max_iter : int, default=10000
        The most actions: adding, changing or deleting one kernel.
    tol : float, default=1e-4
        The violation `kkt_` of the optimality conditions at which a fit ends.
    time_limit : float, optional
        Seconds after which the best model so far is kept, with its certificate and a warning.

    Attributes
    ----------
    relevance_ : ndarray of int of shape (n_relevance,)
        The relevance vectors among the training samples.
    relevance_vectors_ : ndarray of shape (n_relevance, n_features)
        The relevance vectors; empty with a precomputed kernel. Nothing else is kept of the training samples.
    dual_coef_ : ndarray of shape (n_relevance,) or (n_relevance, n_outputs)
        Posterior means of the coefficients of their kernels, in float64.
    intercept_ : float or ndarray of shape (n_outputs,)
        The constant b.
    prior_variances_ : ndarray of shape (n_relevance,)
        The prior variances of the coefficients; several outputs share them.
    covariance_ : ndarray of shape (n_relevance, n_relevance)
        The posterior covariance of the coefficients, the same for every output.
    noise_variance_ : float
        The noise variance, of a sample of weight one.
    gamma_ : float
        The number that `gamma` stood for; not with a precomputed kernel.
    threshold_ : float
        The relevance that a sample needed.
    kkt_ : float
        The largest violation of the optimality conditions of the evidence in the prior variances, without units; over
        relevance vectors and the samples that `alignment_tol` does not refuse.
    log_evidence_ : float
        The logarithm of the evidence; infinite if y is constant and the noise is to be learned.
    log_evidences_ : ndarray of shape (n_history,)
        The same along the way.
    n_iter_ : int
        Actions.
    status_ : str
        "converged", "max_iter", "stalled", "time_limit", "stopped" (by a callback) or "interrupted".
    n_features_in_ : int
        The number of features; of training samples with a precomputed kernel.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if `X` had string names.

    Raises
    ------
    ValueError
        If a parameter or the data is out of range; the message names the parameter, its value and what is allowed.

    See Also
    --------
    RVMClassifier : The same for classes.
    SparseBayesRegressor : The same on the features themselves.
    sklearn.svm.SVR : Support vectors, without probabilities.
    sklearn.gaussian_process.GaussianProcessRegressor : All samples, with error bars that grow away from the data.

    Notes
    -----
    Far from the relevance vectors a local kernel such as ``"rbf"`` is zero, and with it the uncertainty of the
    coefficients: the standard deviation shrinks to the noise (and that of b) where least is known. A Gaussian process
    does not have this defect.

    The evidence has local maxima, so that `kkt_` certifies a stationary point. Smooth kernels of many samples have a
    low rank: it is then found from a few columns of the kernel matrix, which is never formed, and the same problem is
    solved in its range. Otherwise memory is one kernel matrix and its products with the relevant columns. A
    precomputed kernel is used in place.

    References
    ----------
    M. E. Tipping, "Sparse Bayesian learning and the relevance vector machine", Journal of Machine Learning Research 1,
    2001. M. E. Tipping and A. C. Faul, "Fast marginal likelihood maximisation for sparse Bayesian models", AISTATS
    2003. C. E. Rasmussen and J. Quinonero-Candela, "Healing the relevance vector machine through augmentation", ICML
    2005: on its error bars.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.bayes import RVMRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-10.0, 10.0, (100, 1))
    >>> y = np.sinc(X[:, 0] / np.pi) + 0.1 * rng.standard_normal(100)
    >>> model = RVMRegressor(gamma=0.1).fit(X, y)
    >>> len(model.relevance_), round(model.noise_variance_**0.5, 2)
    (5, 0.09)
    >>> mean, std = model.predict([[0.0]], return_std=True)
    >>> mean.round(1), std.round(1)
    (array([1.]), array([0.1]))
    """

    _parameter_constraints: dict = {
        **RelevanceVectorMachine._parameter_constraints,
        "noise_variance": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "noise_floor": [Interval(Real, 0, 1, closed="neither")],
        "alignment_tol": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        kernel="rbf",
        *,
        gamma="scale",
        degree=3,
        coef0=1.0,
        kernel_params=None,
        bias=True,
        noise_variance="auto",
        noise_floor=1e-6,
        threshold=1.0,
        alignment_tol=1e-3,
        max_iter=10_000,
        tol=1e-4,
        time_limit=None,
    ):
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.bias = bias
        self.noise_variance = noise_variance
        self.noise_floor = noise_floor
        self.threshold = threshold
        self.alignment_tol = alignment_tol
        self.max_iter = max_iter
        self.tol = tol
        self.time_limit = time_limit

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "RVMRegressor":
        """Find the relevance vectors, by maximising the evidence.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, or with ``kernel="precomputed"`` the kernel between them, n_samples x n_samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets. Several outputs share the relevance vectors.
        sample_weight : array-like of shape (n_samples,), optional
            Weights >= 0: the noise of a sample has the variance `noise_variance_` over its weight, and the sum of the
            weights is the number of observations, so that integers mean repeated samples.

        Returns
        -------
        RVMRegressor
            The fitted estimator itself.
        """
        deadline = np.inf if self.time_limit is None else time.monotonic() + self.time_limit
        X, y = self._training_data(X, y, y_numeric=True, multi_output=True)
        weights, rows = None, np.arange(X.shape[0])
        if sample_weight is not None:
            weights = check_weights(sample_weight, X)
            rows = np.flatnonzero(weights)
            X, y, weights = self._rows_of(X, rows), y[rows], weights[rows]
        self._set_kernel(X, weights)
        targets = standardize_targets(y.reshape(len(y), -1), weights, center=self.bias)
        known = None if isinstance(self.noise_variance, str) else float(self.noise_variance)
        noise = noise_in_standard_units(targets, known, floor=self.noise_floor)
        total = float(len(y)) if weights is None else float(weights.sum())
        self.threshold_ = relevance_threshold(self.threshold, max(round(total), 1), targets.Y.shape[1])
        context = self._init_callback_context(max_subtasks=None)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)

        def on_iteration(n_iter: int, log_evidence: float) -> bool:
            task = context.subcontext(task_name="iteration")
            task.call_on_fit_task_begin(estimator=self, X=X, y=y)
            return bool(task.call_on_fit_task_end(estimator=self, X=X, y=y))

        if targets.is_constant and noise.learned:
            nothing = np.empty(0)
            found = EvidencePosterior(
                np.empty(0, dtype=np.intp),
                nothing,
                np.empty((0, targets.Y.shape[1])),
                np.empty((0, 0)),
                0.0,
                np.inf,
                nothing,
                0.0,
                0,
                "converged",
            )
            design = StandardizedDesign(None, None, nothing if self.bias else None, nothing)
        else:
            design, reduced, Y = self._design(X, targets, weights)
            found = fast_marginal_likelihood(
                reduced,
                Y,
                noise,
                threshold=self.threshold_,
                tol=self.tol,
                max_iter=self.max_iter,
                alignment_tol=float(self.alignment_tol),
                deadline=deadline,
                on_iteration=on_iteration,
            )
        self._set_relevant(X, found.active, rows)
        self._set_posterior(found, design, targets, y.ndim)
        self._total_weight = total
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        if self.status_ == "interrupted":
            raise KeyboardInterrupt
        warn_of_posterior(
            self,
            kkt=self.kkt_,
            tol=self.tol,
            status=self.status_,
            at_floor=noise.learned
            and not targets.is_constant
            and self.noise_variance_ <= 1.0001 * self.noise_floor * targets.scale**2,
            stacklevel=5,
        )
        return self

    def _design(
        self, X: Any, targets: StandardizedTargets, weights: np.ndarray | None
    ) -> tuple[StandardizedDesign, StandardizedDesign, np.ndarray]:
        """The means and norms of all kernels, and design and targets for the solver: of few rows if the rank is low."""
        factor = None
        if not self._is_precomputed:
            factor = kernel_factor(X, kernel=self.kernel, gamma=self.gamma_, degree=self.degree, coef0=self.coef0)
        if factor is None:
            design = standardize(self._training_kernel(X), weights, center=self.bias)
            return design, design, targets.Y
        low = low_rank_design(factor, targets.Y, weights, center=self.bias)
        return low.design._replace(means=low.means), low.design, low.Y

    def _set_posterior(
        self, found: EvidencePosterior, design: StandardizedDesign, targets: StandardizedTargets, n_dimensions: int
    ) -> None:
        answer = original_units(found, design, targets)
        self.dual_coef_ = answer.coef if n_dimensions == 2 else answer.coef[:, 0]
        self.intercept_ = answer.intercept if n_dimensions == 2 else float(answer.intercept[0])
        self.prior_variances_ = answer.prior_variances
        self.covariance_ = answer.covariance
        self.noise_variance_ = float(answer.noise_variance)
        self.log_evidence_ = float(answer.log_evidence)
        self.log_evidences_ = answer.log_evidences
        self.kkt_ = float(found.kkt)
        self.n_iter_ = int(found.n_iter)
        self.status_ = found.status
        self._kernel_means = np.zeros(len(found.active)) if design.means is None else design.means[found.active]

    def predict(self, X: Any, return_std: bool = False) -> Any:
        r"""Posterior means of targets, with their standard deviations if wanted.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, or with ``kernel="precomputed"`` their kernel with all training samples.
        return_std : bool, default=False
            Whether to return the standard deviation of each target as well: noise, posterior of the coefficients, and
            of the constant. ``sqrt(std**2 - noise_variance_)`` is that of the function without noise. A sample
            costs the square of the number of relevance vectors, and no matrix of samples by samples is formed.

        Returns
        -------
        mean : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The means.
        std : ndarray of the shape of `mean`
            Standard deviations, with `return_std`.
        """
        check_is_fitted(self)
        X = self._validate_new(X)
        mean = np.empty((X.shape[0], *self.dual_coef_.shape[1:]), dtype=X.dtype)
        std = np.empty(X.shape[0], dtype=X.dtype)
        # A flat prior leaves the constant known to the noise over the number of observations.
        always = self.noise_variance_ * (1.0 + (1.0 / self._total_weight if self.bias else 0.0))

        def work(start: int, stop: int) -> None:
            kernel = self._relevant_kernel(X[start:stop])
            mean[start:stop] = kernel @ self.dual_coef_ + self.intercept_
            if return_std:
                kernel = kernel - self._kernel_means
                std[start:stop] = np.sqrt(quadratic_forms(kernel, self.covariance_) + always)

        map_blocks(X.shape[0], None, work, block=4096)
        if not return_std:
            return mean
        return mean, (std if mean.ndim == 1 else np.repeat(std[:, None], mean.shape[1], axis=1))
