"""Sparse Bayesian regression: a prior variance for every coefficient, and the evidence decides which are zero."""

import time
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import LinearOperator
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted

from sparsemodels._base import (
    BaseEstimator,
    CallbackSupportMixin,
    Interval,
    StrOptions,
    _fit_context,
    check_weights,
    require_numpy,
    with_callbacks,
)
from sparsemodels.solvers.evidence import EvidencePosterior, Noise
from sparsemodels.solvers.quadratic_forms import quadratic_forms
from sparsemodels.solvers.standardized_design import StandardizedDesign, standardize
from sparsemodels.solvers.standardized_targets import (
    StandardizedTargets,
    noise_in_standard_units,
    original_units,
    standardize_targets,
)

from .complex_data import is_complex, kept_precision, samples, training_data
from .evidence_warnings import warn_of_posterior
from .relevance_threshold import relevance_threshold

__all__ = ["SparseBayesRegressor"]

_SOLVERS = {"auto", "fast", "mackay", "mm", "em", "cofem", "reweighted_l1"}
_FIXED_POINT = {"mackay", "mm", "em"}


class SparseBayesRegressor(CallbackSupportMixin, MultiOutputMixin, RegressorMixin, BaseEstimator):
    r"""Linear regression by sparse Bayesian learning (automatic relevance determination), with a certificate.

    The model is :math:`y = b + X w + e` with noise of variance :math:`\sigma^2` and an independent Gaussian prior of
    variance :math:`\gamma_j` on each coefficient. The prior variances, and the noise variance unless it is known,
    maximise the evidence

    .. math::

        p(y \mid \gamma, \sigma^2) = \mathcal N(y \mid b, \; \sigma^2 I + X \,\mathrm{diag}(\gamma)\, X^T),

    with the intercept b integrated out under a flat prior. At a maximum most :math:`\gamma_j` are exactly zero, and so
    are their coefficients; the others come with a posterior covariance. The answer follows the units of X and y:
    scaling them, or a single column, scales coefficients and changes nothing else.

    Parameters
    ----------
    solver : {"auto", "fast", "mackay", "mm", "em", "cofem", "reweighted_l1"}, default="auto"
        All solvers have the same stationary points, where `kkt_` is zero, but may end in different ones.
        ``"fast"`` maximises over one prior variance at a time, adding, changing and deleting columns (Tipping and
        Faul). ``"mackay"``, ``"mm"`` and ``"em"`` update all of them together, starting from all columns: MacKay's rule
        with steps of ``"mm"`` where the evidence would fall, the convex bounds of Wipf and Nagarajan, and expectation
        maximisation, which is slow and there for comparison. ``"cofem"`` needs nothing but products with `X` and its
        adjoint, and is the one for a ``scipy.sparse.linalg.LinearOperator``. ``"reweighted_l1"`` is a sequence of
        weighted lasso problems. ``"auto"``: ``"cofem"`` for an operator, ``"mackay"`` with `groups` or `coupling`,
        else ``"fast"``.
    noise_variance : float or "auto", default="auto"
        The variance of the noise in the units of y squared, > 0, if it is known; else it is learned.
    noise_prior : pair (shape, scale), optional
        An inverse gamma prior of the noise variance, :math:`p(\sigma^2) \propto (\sigma^2)^{-a-1} e^{-b/\sigma^2}`,
        with b in the units of y squared.
    noise_floor : float, default=1e-6
        The smallest noise variance to be learned, relative to the variance of y.
    threshold : float or "auto", default="auto"
        The relevance :math:`q^2/s` that a coefficient needs to be nonzero, >= 1. At one, the evidence alone decides: it
        keeps about a third of the columns that have nothing to do with y. ``"auto"`` is :math:`2 \log p` for p
        columns: one such column is kept in every few fits. For complex data, several outputs and groups it is the
        number that is exceeded by chance as rarely.
    fit_intercept : bool, default=True
        Whether to add an intercept. Sparse `X` is centred implicitly and stays sparse.
    groups : array-like of shape (n_features,), optional
        The group of each feature, by label: features of a group share one prior variance (of their standardized
        columns), and are relevant together.
    intra_correlation : {"none", "ar1"}, float or array-like, default="none"
        The prior correlation between neighbours within a group: none, a first-order autoregression whose coefficient
        is learned, the coefficient in (-1, 1), or a matrix for the largest group, of which smaller ones take the
        leading part. Correlations are those of the coefficients of standardized columns.
    coupling : float, optional
        The share > 0 of a feature's prior variance that each of its two neighbours gets as well, for coefficients that
        come in clusters. With 0 < coupling <= 1 features next to a relevant one are relevant sooner.
    allow_complex : bool, default=False
        Whether `X` and y may be complex: then so are coefficients and noise, with their magnitudes in all formulas.
    max_iter : int, default=1000
        The most iterations; actions on a column for ``"fast"``, in rounds of up to a few dozen.
    tol : float, default=1e-4
        The violation `kkt_` of the optimality conditions at which a fit ends.
    n_probes : int, default=20
        Random probes of ``"cofem"`` for posterior variances.
    cg_tol : float, default=1e-6
        The relative residual of its linear systems.
    warm_start : bool, default=False
        Whether to start from the prior variances of the previous fit.
    time_limit : float, optional
        Seconds after which the best model so far is kept, with its certificate and a warning.
    random_state : int, RandomState instance or None, default=None
        For the probes of ``"cofem"``.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_outputs, n_features)
        Posterior means, zero where the prior variance is.
    intercept_ : float or ndarray of shape (n_outputs,)
        The intercept.
    active_ : ndarray of int of shape (n_active,)
        Features of positive prior variance.
    prior_variances_ : ndarray of shape (n_features,)
        The prior variances :math:`\gamma`; several outputs share them.
    covariance_ : ndarray of shape (n_active, n_active)
        The posterior covariance of the active coefficients, the same for every output. ``"cofem"`` with more than 2000
        active columns keeps variances only, shape (n_active,), estimated by probes, as is `kkt_` then; `log_evidence_`
        is NaN.
    noise_variance_ : float
        The noise variance, of a row of weight one.
    threshold_ : float
        The relevance that a coefficient needed.
    intra_correlation_ : float
        The coefficient of the autoregression within groups, for ``intra_correlation="ar1"``.
    kkt_ : float
        The largest violation of the optimality conditions of the evidence in the prior variances, without units:
        :math:`|q_j^2/z_j - 1|` over active and :math:`q_j^2/(\tau z_j) - 1` over other columns. With groups or
        coupling both numbers are sums over what shares a variance; with ``"ar1"`` also about by how much the learned
        coefficient is off.
    log_evidence_ : float
        The logarithm of the evidence; infinite if y is constant and the noise is to be learned.
    log_evidences_ : ndarray of shape (n_history,)
        The same along the way.
    n_iter_ : int
        Iterations or actions.
    status_ : str
        "converged", "max_iter", "stalled", "time_limit", "stopped" (by a callback) or "interrupted".
    n_features_in_ : int
        The number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if `X` had string names.

    Raises
    ------
    ValueError
        If a parameter or the data is out of range; the message names the parameter, its value and what is allowed.

    See Also
    --------
    SparseBayesClassifier : The same for classes.
    RVMRegressor : The same on kernels.
    KroneckerSparseBayes : The same for Kronecker products of dictionaries.
    sparsemodels.linear_model.Lasso : A convex problem with a duality gap.

    Notes
    -----
    The evidence has local maxima, and finding the highest is NP-hard: `kkt_` certifies a stationary point, and
    `log_evidence_` compares two of them.

    With more columns than rows and ``threshold=1`` the noise variance that is learned can fall to its floor, since the
    model then explains all of y; a warning says so. A threshold, a prior or a known variance prevent it.

    Memory: ``"fast"`` keeps products of all columns with the active ones, n_features x n_active, and copies of some
    columns; ``"mackay"``, ``"mm"`` and ``"em"`` a copy of the active columns, all of them at the start.

    References
    ----------
    M. E. Tipping, "Sparse Bayesian learning and the relevance vector machine", Journal of Machine Learning Research 1,
    2001. M. E. Tipping and A. C. Faul, "Fast marginal likelihood maximisation for sparse Bayesian models", AISTATS
    2003. D. Wipf and S. Nagarajan, "A new view of automatic relevance determination", NIPS 20, 2007. Z. Zhang and B. D.
    Rao, "Extension of SBL algorithms for the recovery of block sparse signals with intra-block correlation", IEEE
    Transactions on Signal Processing 61, 2013. A. Lin, A. H. Song, B. Bilgic and D. Ba, "Covariance-free sparse
    Bayesian learning", IEEE Transactions on Signal Processing 70, 2022.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sparsemodels.bayes import SparseBayesRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = SparseBayesRegressor().fit(X, y)
    >>> model.active_
    array([1, 2, 3, 6, 8])
    >>> mean, std = model.predict(X[:2], return_std=True)
    >>> bool(model.kkt_ <= 1e-4)
    True

    In other units the same model:

    >>> (SparseBayesRegressor().fit(1e-3 * X, 1e3 * y).active_ == model.active_).all()
    np.True_
    """

    _parameter_constraints: dict = {
        "solver": [StrOptions(_SOLVERS)],
        "noise_variance": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "noise_prior": [None, "array-like"],
        "noise_floor": [Interval(Real, 0, 1, closed="neither")],
        "threshold": [StrOptions({"auto"}), Interval(Real, 1, None, closed="left")],
        "fit_intercept": ["boolean"],
        "groups": [None, "array-like"],
        "intra_correlation": [StrOptions({"none", "ar1"}), Interval(Real, -1, 1, closed="neither"), "array-like"],
        "coupling": [None, Interval(Real, 0, None, closed="neither")],
        "allow_complex": ["boolean"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "n_probes": [Interval(Integral, 1, None, closed="left")],
        "cg_tol": [Interval(Real, 0, 1, closed="neither")],
        "warm_start": ["boolean"],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
    }
    coef_: np.ndarray
    intercept_: Any
    prior_variances_: np.ndarray
    noise_variance_: float
    kkt_: float
    status_: str

    def __init__(
        self,
        *,
        solver="auto",
        noise_variance="auto",
        noise_prior=None,
        noise_floor=1e-6,
        threshold="auto",
        fit_intercept=True,
        groups=None,
        intra_correlation="none",
        coupling=None,
        allow_complex=False,
        max_iter=1000,
        tol=1e-4,
        n_probes=20,
        cg_tol=1e-6,
        warm_start=False,
        time_limit=None,
        random_state=None,
    ):
        self.solver = solver
        self.noise_variance = noise_variance
        self.noise_prior = noise_prior
        self.noise_floor = noise_floor
        self.threshold = threshold
        self.fit_intercept = fit_intercept
        self.groups = groups
        self.intra_correlation = intra_correlation
        self.coupling = coupling
        self.allow_complex = allow_complex
        self.max_iter = max_iter
        self.tol = tol
        self.n_probes = n_probes
        self.cg_tol = cg_tol
        self.warm_start = warm_start
        self.time_limit = time_limit
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "SparseBayesRegressor":
        """Maximise the evidence.

        Parameters
        ----------
        X : {array-like, sparse matrix, LinearOperator} of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets. Several outputs share prior variances, and so the set of their nonzero coefficients.
        sample_weight : array-like of shape (n_samples,), optional
            Weights >= 0: the noise of a row has the variance `noise_variance_` over its weight, and the sum of the
            weights is the number of observations, so that integers mean repeated rows.

        Returns
        -------
        SparseBayesRegressor
            The fitted estimator itself.
        """
        require_numpy(X, self.solver)
        X, y = training_data(self, X, y, allow_complex=self.allow_complex)
        solver = self._solver(X)
        weights = None if sample_weight is None else check_weights(sample_weight, X)
        prior = self._noise_prior()
        n_degrees = (y.shape[1] if y.ndim == 2 else 1) * (2 if is_complex(X) or is_complex(y) else 1)
        labels = self._labels(X.shape[1])
        if labels is None:
            threshold = relevance_threshold(self.threshold, X.shape[1], n_degrees)
        else:
            sizes = np.bincount(labels)
            # Strong correlation leaves a group little more than one degree of freedom, whatever its size.
            least = int(sizes.min()) if self._correlation(labels) is None else 1
            threshold = relevance_threshold(self.threshold, len(sizes), n_degrees * least)
        known = None if isinstance(self.noise_variance, str) else float(self.noise_variance)
        deadline = np.inf if self.time_limit is None else time.monotonic() + self.time_limit
        start = self.prior_variances_ if self.warm_start and hasattr(self, "prior_variances_") else None

        targets = standardize_targets(y.reshape(len(y), -1), weights, center=self.fit_intercept)
        noise = noise_in_standard_units(targets, known, prior, self.noise_floor)
        # Nobody knows how many: ``"fast"`` reports once in a round of actions, which may also find nothing to do.
        context = self._init_callback_context(max_subtasks=None)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)

        def on_iteration(n_iter: int, log_evidence: float) -> bool:
            task = context.subcontext(task_name="iteration")
            task.call_on_fit_task_begin(estimator=self, X=X, y=y)
            return bool(task.call_on_fit_task_end(estimator=self, X=X, y=y))

        self.__dict__.pop("intra_correlation_", None)
        if targets.is_constant and noise.learned:
            self._set_constant(X, targets)
        else:
            design = standardize(X, weights, center=self.fit_intercept)
            if start is not None:
                start = self._start(start, design, targets)
            options: dict[str, Any] = {
                "threshold": threshold,
                "tol": self.tol,
                "max_iter": self.max_iter,
                "start": start,
                "deadline": deadline,
                "on_iteration": on_iteration,
            }
            posterior = self._maximise(solver, design, targets, noise, options)
            self._set(posterior, design, targets, X)
        self.threshold_ = threshold
        if y.ndim == 1:
            self.coef_, self.intercept_ = self.coef_[0], self.intercept_[0]
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        if self.status_ == "interrupted":
            raise KeyboardInterrupt
        floor = noise.learned and not targets.is_constant
        warn_of_posterior(
            self,
            kkt=self.kkt_,
            tol=self.tol,
            status=self.status_,
            at_floor=floor and self.noise_variance_ <= 1.0001 * self.noise_floor * targets.scale**2,
            stacklevel=5,
        )
        return self

    def _solver(self, X: Any) -> str:
        """The solver that runs, after what cannot be combined was refused."""
        operator, structured = isinstance(X, LinearOperator), self.groups is not None or self.coupling is not None
        if self.groups is not None and self.coupling is not None:
            raise ValueError("coupling must be None where groups are given, got both.")
        correlated = not (isinstance(self.intra_correlation, str) and self.intra_correlation == "none")
        if self.groups is None and correlated:
            raise ValueError(f"intra_correlation={self.intra_correlation!r} needs groups, got None.")
        solver = self.solver
        if solver == "auto":
            solver = "cofem" if operator else "mackay" if structured else "fast"
        if operator and solver != "cofem":
            raise ValueError(f"solver must be 'cofem' or 'auto' for a LinearOperator, got {self.solver!r}.")
        if structured and solver not in _FIXED_POINT:
            what = "groups" if self.groups is not None else "coupling"
            raise ValueError(f"solver must be 'auto', 'mackay', 'mm' or 'em' with {what}, got {self.solver!r}.")
        return solver

    def _labels(self, n_features: int) -> np.ndarray | None:
        """The groups of the features, numbered from zero."""
        if self.groups is None:
            return None
        groups = np.asarray(self.groups)
        if groups.shape != (n_features,):
            raise ValueError(f"groups must have one label a feature, shape {(n_features,)}, got {groups.shape}.")
        return np.unique(groups, return_inverse=True)[1]

    def _correlation(self, labels: np.ndarray | None) -> Any:
        """The correlation within groups: "ar1", a coefficient, a matrix, or None."""
        given = self.intra_correlation
        if labels is None or (isinstance(given, str) and given == "none"):
            return None
        if isinstance(given, str | Real):
            return given if isinstance(given, str) else float(given)
        matrix, size = check_array(given, dtype=np.float64, input_name="intra_correlation"), np.bincount(labels).max()
        if matrix.shape != (size, size) or not np.array_equal(matrix, matrix.T) or np.linalg.eigvalsh(matrix)[0] <= 0.0:
            raise ValueError(
                "intra_correlation must be a symmetric, positive definite matrix of the size of the largest group, "
                f"{size}, got one of shape {matrix.shape}."
            )
        return matrix

    def _noise_prior(self) -> tuple[float, float] | None:
        if self.noise_prior is None:
            return None
        prior = np.asarray(self.noise_prior, dtype=np.float64)
        if prior.shape != (2,) or not (np.isfinite(prior).all() and (prior >= 0.0).all()):
            raise ValueError(f"noise_prior must be a pair (shape, scale) of numbers >= 0, got {self.noise_prior!r}.")
        return float(prior[0]), float(prior[1])

    def _start(self, variances: np.ndarray, design: StandardizedDesign, targets: StandardizedTargets) -> Any:
        """Prior variances of an earlier fit in the units of this one."""
        if len(variances) != len(design.norms):
            return None
        active = np.flatnonzero((variances > 0.0) & np.isfinite(design.norms))
        return active, variances[active] * (design.norms[active] / targets.scale) ** 2

    def _maximise(
        self, solver: str, design: StandardizedDesign, targets: StandardizedTargets, noise: Noise, options: dict
    ) -> EvidencePosterior:
        """Call the solver by name."""
        if solver == "fast":
            from sparsemodels.solvers.fast_marginal_likelihood import fast_marginal_likelihood

            return fast_marginal_likelihood(design, targets.Y, noise, **options)
        if solver == "cofem":
            from sparsemodels.solvers.covariance_free_em import covariance_free_em

            seed = check_random_state(self.random_state).randint(2**31 - 1)
            probes = {"n_probes": self.n_probes, "cg_tol": self.cg_tol, "random_state": seed}
            return covariance_free_em(design, targets.Y, noise, **options, **probes)
        if solver == "reweighted_l1":
            from sparsemodels.solvers.evidence_reweighted_l1 import evidence_reweighted_l1

            return evidence_reweighted_l1(design, targets.Y, noise, **options)
        return self._fixed_point(solver, design, targets, noise, options)

    def _fixed_point(
        self, rule: str, design: StandardizedDesign, targets: StandardizedTargets, noise: Noise, options: dict
    ) -> EvidencePosterior:
        """All variances at once, with their structure."""
        from sparsemodels.solvers.evidence_fixed_point import evidence_fixed_point
        from sparsemodels.solvers.variance_components import Groups, Independent, Neighbors

        labels, start = self._labels(design.norms.shape[0]), options["start"]
        correlation = self._correlation(labels)
        if labels is not None and correlation is not None:
            from sparsemodels.solvers.block_correlation import block_evidence

            options = {name: value for name, value in options.items() if name != "start"}
            answer = block_evidence(
                design, targets.Y, noise, labels=labels, correlation=correlation, rule=rule, **options
            )
            if isinstance(correlation, str):
                self.intra_correlation_ = float(answer.correlation)
            return answer.posterior._replace(kkt=max(answer.posterior.kkt, answer.correlation_kkt))
        prior: Any = Independent()
        if self.coupling is not None:
            prior, start = Neighbors(float(self.coupling)), None
        elif labels is not None:
            prior = Groups(labels)
            if start is not None:
                groups, first = np.unique(labels[start[0]], return_index=True)
                start = groups, start[1][first]
        options = {**options, "start": start, "rule": rule}
        return evidence_fixed_point(design, targets.Y, noise, prior=prior, **options)

    def _set(
        self, posterior: EvidencePosterior, design: StandardizedDesign, targets: StandardizedTargets, X: Any
    ) -> None:
        answer = original_units(posterior, design, targets)
        n_features = design.norms.shape[0]
        dtype = kept_precision(X.dtype, answer.coef.dtype)
        self.coef_ = np.zeros((targets.Y.shape[1], n_features), dtype=dtype)
        self.coef_[:, posterior.active] = answer.coef.T
        self.intercept_ = answer.intercept.astype(dtype)
        self.active_ = posterior.active
        self.prior_variances_ = np.zeros(n_features)
        self.prior_variances_[posterior.active] = answer.prior_variances
        self.covariance_ = answer.covariance
        self.noise_variance_ = float(answer.noise_variance)
        self.kkt_ = float(posterior.kkt)
        self.log_evidence_ = float(answer.log_evidence)
        self.log_evidences_ = answer.log_evidences
        self.n_iter_ = int(posterior.n_iter)
        self.status_ = posterior.status
        means = np.zeros(n_features) if design.means is None else design.means
        self._active_means = means[posterior.active]
        self._total_weight = targets.degrees_of_freedom + float(self.fit_intercept)

    def _set_constant(self, X: Any, targets: StandardizedTargets) -> None:
        """Nothing is to be explained: all coefficients are zero, and so is the noise."""
        nothing = np.empty(0)
        n_features, dtype = X.shape[1], kept_precision(X.dtype, targets.Y.dtype)
        self.coef_ = np.zeros((targets.Y.shape[1], n_features), dtype=dtype)
        self.intercept_ = targets.means.astype(dtype)
        self.active_ = np.empty(0, dtype=np.intp)
        self.prior_variances_ = np.zeros(n_features)
        self.covariance_ = np.empty((0, 0))
        self.noise_variance_, self.kkt_, self.log_evidence_ = 0.0, 0.0, np.inf
        self.log_evidences_, self.n_iter_, self.status_ = nothing, 0, "converged"
        self._active_means, self._total_weight = nothing, targets.degrees_of_freedom + float(self.fit_intercept)

    def predict(self, X: Any, return_std: bool = False, return_cov: bool = False) -> Any:
        r"""Posterior means of targets, with what is known of their spread.

        Parameters
        ----------
        X : {array-like, sparse matrix, LinearOperator} of shape (n_samples, n_features)
            Samples.
        return_std : bool, default=False
            Whether to return the standard deviation of each target as well: noise, posterior of the active
            coefficients and, with an intercept, of the intercept. It takes the square of the number of active
            features a row.
        return_cov : bool, default=False
            Whether to return the covariance of the targets, n_samples x n_samples, instead.

        Returns
        -------
        mean : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The means.
        std : ndarray of the shape of `mean`
            Standard deviations, with `return_std`.
        cov : ndarray of shape (n_samples, n_samples)
            The covariance, with `return_cov`, the same for every output.
        """
        check_is_fitted(self)
        if return_std and return_cov:
            raise ValueError("return_std and return_cov cannot both be True: the covariance holds the deviations.")
        require_numpy(X, self.solver)
        X = samples(self, X, allow_complex=self.allow_complex)
        mean = np.asarray(X @ self.coef_.T + self.intercept_)
        if not (return_std or return_cov):
            return mean
        if isinstance(X, LinearOperator):
            unit = np.zeros((X.shape[1], len(self.active_)))
            unit[self.active_, np.arange(len(self.active_))] = 1.0
            rows = X.matmat(unit)
        else:
            rows = X[:, self.active_]
            rows = rows.toarray() if scipy.sparse.issparse(rows) else rows
        rows = rows.astype(np.result_type(rows.dtype, np.float64)) - self._active_means
        # A flat prior leaves the intercept known to the noise over the number of observations.
        shared = self.noise_variance_ / self._total_weight if self.fit_intercept else 0.0
        if return_cov:
            weighted = rows * self.covariance_ if self.covariance_.ndim == 1 else rows @ self.covariance_
            covariance = weighted @ rows.conj().T + shared
            covariance[np.diag_indices_from(covariance)] += self.noise_variance_
            return mean, covariance
        std = np.sqrt(quadratic_forms(rows, self.covariance_) + (self.noise_variance_ + shared)).astype(mean.real.dtype)
        return mean, (std if mean.ndim == 1 else np.repeat(std[:, None], mean.shape[1], axis=1))
