"""Sparse tensors of coefficients behind a Kronecker product, with their uncertainty."""

import math
import time
import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

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
from sparsemodels.solvers.kronecker_evidence import KroneckerEvidence, maximize_evidence
from sparsemodels.solvers.kronecker_posterior import KroneckerPosterior, kronecker_posterior
from sparsemodels.solvers.mode_products import mode_products

from .evidence_warnings import warn_of_posterior

__all__ = ["KroneckerSparseBayes"]


class KroneckerSparseBayes(ClassNamePrefixFeaturesOutMixin, TransformerMixin, CallbackSupportMixin, BaseEstimator):
    r"""Sparse Bayesian learning of a tensor that is seen through one matrix a mode.

    .. math:: y = (H_1 \otimes \dots \otimes H_d)\, x + e, \qquad
        x \sim N(0, \mathrm{diag}(\gamma_1 \otimes \dots \otimes \gamma_d)), \quad e \sim N(0, \sigma^2 I)

    The variances :math:`\gamma_i \ge 0` of every mode are those that maximise the evidence, and most of them become
    zero: the nonzeros of x lie in a few slices of each mode. Everything is computed by products along modes; the
    Kronecker product, :math:`\prod_i M_i` by :math:`\prod_i N_i`, is never formed. Real and complex data alike.

    Parameters
    ----------
    factors : list of array-like of shape (M_i, N_i), optional
        The matrices :math:`H_1, \dots, H_d`, real or complex, any number of them, of any shapes. None is one identity
        matrix on the features.
    method : {"svd", "mackay", "mm", "am"}, default="svd"
        How variances are improved. ``"svd"`` takes the tensor of rank one next to the second moments, mode by mode, and
        ends with ``"mackay"``, the fixed-point rule, which is guarded: where the evidence would fall, it takes a step
        of ``"mm"``. ``"mm"`` is majorisation, with evidence that never falls. ``"am"`` is expectation maximisation,
        with evidence that never falls either but for couplings, and far slower.
    polish : bool, default=True
        Whether ``"svd"`` ends with ``"mackay"``. Without, it ends where its factors settle, which is near a stationary
        point but is none. The same holds for ``"am"`` with a coupling.
    coupling : float or sequence of float, optional
        For all modes, or for each, the share in [0, 1] of its own variance that an entry gives to each of its two
        neighbours, where nonzeros come in clusters. None and 0 are no coupling.
    noise_variance : float or "auto", default="auto"
        The variance of the noise, > 0; of a complex number, of real and imaginary part together. ``"auto"`` learns it.
    noise_floor : float, default=1e-6
        The least that ``"auto"`` may find, relative to the mean square of the data. Where more can be explained than
        there is, the noise would shrink without end; a warning says so.
    evidence_threshold : float or "auto", default="auto"
        The nats of log evidence that an entry of a mode must be worth to stay, >= 0. ``"auto"`` is the logarithm of the
        number of all entries, :math:`\log \sum_i N_i`: what it costs to name one. Zero leaves the choice to the
        variances alone, which keep an entry that explains nothing but noise about one time in two.
    prune_tol : float, default=1e-6
        Entries are zero from this share of the largest variance of their mode on, in units of the data.
    max_iter : int, default=500
        The most iterations, each with one decomposition of every factor.
    tol : float, default=1e-4
        Stop once `kkt_` is at most this.
    time_limit : float, optional
        Seconds after which the present model is kept.

    Attributes
    ----------
    coef_tensor_ : ndarray of shape (N_1, ..., N_d) or (n_samples, N_1, ..., N_d)
        The posterior mean of x: of one measurement that was given as a tensor or a vector, or of all samples.
    posterior_variance_ : ndarray of shape (N_1, ..., N_d)
        The posterior variances, the same for all samples.
    variances_ : list of ndarray of shape (N_i,)
        The prior variances, of Euclidean norm one in every mode but the last, which has the scale.
    active_ : list of ndarray of int
        For each mode the entries of positive variance.
    noise_variance_ : float
        The variance of the noise.
    kkt_ : float
        The certificate: with :math:`v = \gamma_1 \otimes \dots \otimes \gamma_d`, q the inner products of the columns
        with :math:`C^{-1} y` and z their quadratic forms in :math:`C^{-1}`, C the covariance of the data, the largest
        :math:`|\sum v |q|^2 / \sum v z - 1|` over the slices of positive variance, and
        :math:`|\|C^{-1} y\|^2 / \mathrm{tr}\, C^{-1} - 1|` for noise that is learned. Zero at a stationary point of
        the evidence. The evidence has many; the certificate does not say that this is the best of them.
    dropped_ratio_ : float
        The largest such ratio at an entry of zero. Up to one, the evidence would fall if any came back; above, it would
        rise, though by less than `evidence_threshold` asks for or from below what `prune_tol` lets live.
    log_evidence_ : float
        The log evidence of all samples, in nats, with all constants.
    log_evidences_ : ndarray
        That before each iteration.
    n_iter_ : int
        Iterations.
    status_ : str
        ``"converged"``, ``"settled"`` (a heuristic without polish), ``"max_iter"``, ``"time_limit"``, ``"stopped"`` by
        a callback, or ``"interrupted"``.
    n_features_in_ : int
        The values of one measurement, the product of all M_i.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X has them.

    See Also
    --------
    sparsemodels.decomposition.SparseCoder : Sparse codes over one explicit dictionary.

    Notes
    -----
    An iteration costs :math:`O(\sum_i M_i^2 N_i)` for decompositions, and products along modes of tensors of the sizes
    of y and of x; both shrink with the entries that are left. Samples share their variances, and with them the support.

    With a coupling, :math:`\gamma_i = C_i \theta_i` for a tridiagonal matrix :math:`C_i` and parameters
    :math:`\theta_i \ge 0`, which then take the place of the variances in all rules and in the certificate. Columns
    are scaled to norm one before, so that the unit of a column does not matter.

    References
    ----------
    Y. He and G. Joseph, "Bayesian algorithms for Kronecker-structured sparse vector recovery with application to
    IRS-MIMO channel estimation", IEEE Transactions on Signal Processing, 2024. D. Wipf and S. Nagarajan, "A new view
    of automatic relevance determination", NeurIPS 2007.

    Examples
    --------
    A matrix with two nonzeros in one column, seen through two random matrices:

    >>> import numpy as np
    >>> from sparsemodels.bayes import KroneckerSparseBayes
    >>> rng = np.random.default_rng(0)
    >>> H = [rng.standard_normal((6, 8)), rng.standard_normal((7, 9))]
    >>> x = np.zeros((8, 9))
    >>> x[2, 5], x[4, 5] = 1.0, -2.0
    >>> Y = H[0] @ x @ H[1].T + 0.01 * rng.standard_normal((6, 7))
    >>> model = KroneckerSparseBayes(H).fit(Y)
    >>> [active.tolist() for active in model.active_], model.status_
    ([[2, 4], [5]], 'converged')
    >>> model.coef_tensor_[2:5, 5].round(2)
    array([ 1.,  0., -2.])
    """

    _parameter_constraints: dict = {
        "factors": [list, tuple, None],
        "method": [StrOptions({"svd", "mackay", "mm", "am"})],
        "polish": ["boolean"],
        "coupling": [Interval(Real, 0, 1, closed="both"), "array-like", None],
        "noise_variance": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "noise_floor": [Interval(Real, 0, 1, closed="neither")],
        "evidence_threshold": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "prune_tol": [Interval(Real, 0, 1, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        factors=None,
        *,
        method="svd",
        polish=True,
        coupling=None,
        noise_variance="auto",
        noise_floor=1e-6,
        evidence_threshold="auto",
        prune_tol=1e-6,
        max_iter=500,
        tol=1e-4,
        time_limit=None,
    ):
        self.factors = factors
        self.method = method
        self.polish = polish
        self.coupling = coupling
        self.noise_variance = noise_variance
        self.noise_floor = noise_floor
        self.evidence_threshold = evidence_threshold
        self.prune_tol = prune_tol
        self.max_iter = max_iter
        self.tol = tol
        self.time_limit = time_limit

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _checked_factors(self) -> list[np.ndarray] | None:
        """The factors that were given, as matrices of numbers in double precision."""
        if self.factors is None:
            return None
        if len(self.factors) == 0:
            raise ValueError("factors must hold at least one matrix, got an empty list; None is one identity matrix.")
        checked = []
        for mode, factor in enumerate(self.factors):
            matrix = np.asarray(factor)
            if matrix.dtype.kind not in "biufc":
                raise ValueError(f"factors[{mode}] must be a matrix of numbers, got type {matrix.dtype}.")
            matrix = matrix.astype(np.complex128 if matrix.dtype.kind == "c" else np.float64)
            if matrix.ndim != 2 or matrix.size == 0:
                raise ValueError(f"factors[{mode}] must be a matrix with entries, got one of shape {matrix.shape}.")
            if not np.all(np.isfinite(matrix)):
                raise ValueError(f"factors[{mode}] must be finite, got NaN or infinity.")
            if not np.any(matrix):
                raise ValueError(f"factors[{mode}] must have an entry other than zero.")
            checked.append(matrix)
        return checked

    def _couplings(self, n_modes: int) -> list[float]:
        """One coupling a mode."""
        if self.coupling is None or isinstance(self.coupling, Real):
            return [float(self.coupling or 0.0)] * n_modes
        couplings = np.asarray(self.coupling, dtype=np.float64)
        if couplings.shape != (n_modes,) or not np.all((couplings >= 0.0) & (couplings <= 1.0)):
            raise ValueError(
                f"coupling must be a number in [0, 1] or {n_modes} of them, one a mode, got {self.coupling!r}."
            )
        return [float(share) for share in couplings]

    def _rows(self, X: Any, factors: list[np.ndarray] | None, *, reset: bool) -> tuple[np.ndarray, bool]:
        """Validated measurements as rows, in their own precision, and whether it was one that came without an axis."""
        require_numpy(X, self.method)
        if factors is None:
            return validate_data(self, X, dtype=(np.float64, np.float32), reset=reset), False
        shape = tuple(factor.shape[0] for factor in factors)
        n_values, given = math.prod(shape), np.shape(X)
        alone = False
        if len(given) != 2 or given[1] != n_values:
            alone = given in (shape, (n_values,))
            if not alone and given[1:] != shape:
                raise ValueError(
                    f"X must be a tensor of the shape {shape} that the factors ask for, a stack of them, a vector of "
                    f"{n_values} values or rows of as many, got an array of shape {given}."
                )
            X = np.asarray(X).reshape(-1, n_values)
        values = np.asarray(X)
        if values.dtype.kind != "c":
            return validate_data(self, X, dtype=(np.float64, np.float32), reset=reset), alone
        for part in (values.real, values.imag):  # scikit-learn checks real numbers only
            validate_data(self, part, reset=reset)
        return values, alone

    def _problem(self, rows: np.ndarray, factors: list[np.ndarray] | None) -> tuple[np.ndarray, list[np.ndarray]]:
        """Measurements as tensors and factors of one type, in double precision."""
        factors = [np.eye(rows.shape[1])] if factors is None else factors
        dtype = np.result_type(np.float64, rows, *factors)
        tensor = np.ascontiguousarray(rows, dtype=dtype).reshape(-1, *(factor.shape[0] for factor in factors))
        return tensor, [np.ascontiguousarray(factor, dtype=dtype) for factor in factors]

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "KroneckerSparseBayes":
        """Learn the variances of every mode, and the posterior of the coefficients.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Measurements as rows, tensors of shape (M_1, ..., M_d) in C order; several share their variances. With
            `factors`, also one tensor of that shape, a stack of shape (n_samples, M_1, ..., M_d), or one vector. An
            array that has `n_features` columns counts as rows: the only case in which two readings fit is a matrix
            of one row, with the same values in both.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), optional
            Weights >= 0 of the samples; an integer weight is a sample that stands so many times.

        Returns
        -------
        KroneckerSparseBayes
            The fitted estimator itself.
        """
        checked = self._checked_factors()
        rows, alone = self._rows(X, checked, reset=True)
        weights = None if sample_weight is None else check_weights(sample_weight, np.empty((rows.shape[0], 1)))
        tensor, factors = self._problem(rows, checked)
        threshold = self.evidence_threshold
        deadline = np.inf if self.time_limit is None else time.monotonic() + self.time_limit
        context = self._init_callback_context(max_subtasks=self.max_iter)
        context.call_on_fit_task_begin(estimator=self, X=X)

        def on_iteration(n_iter: int, log_evidence: float) -> bool:
            task = context.subcontext(task_name="iteration")
            task.call_on_fit_task_begin(estimator=self, X=X)
            return bool(task.call_on_fit_task_end(estimator=self, X=X))

        found = maximize_evidence(
            tensor,
            factors,
            method=self.method,
            polish=self.polish,
            couplings=self._couplings(len(factors)),
            noise_variance=None if self.noise_variance == "auto" else float(self.noise_variance),
            noise_floor=self.noise_floor,
            prune_tol=self.prune_tol,
            threshold=math.log(sum(factor.shape[1] for factor in factors)) if threshold == "auto" else float(threshold),
            max_iter=self.max_iter,
            tol=self.tol,
            weights=weights,
            deadline=deadline,
            on_iteration=on_iteration,
        )
        self._set_model(found, rows, tensor, factors, alone)
        context.call_on_fit_task_end(estimator=self, X=X)
        if found.status == "interrupted":
            raise KeyboardInterrupt
        warn_of_posterior(
            self,
            kkt=self.kkt_,
            tol=self.tol,
            status="converged" if found.status == "settled" else found.status,
            stacklevel=4,
        )
        if found.noise_at_floor:
            warnings.warn(
                "KroneckerSparseBayes explains all of the data: the noise variance that it learned fell to noise_floor "
                "times their mean square. If they are noisy they were overfitted: give noise_variance, or raise "
                "noise_floor.",
                UserWarning,
                stacklevel=4,
            )
        return self

    def _set_model(
        self, found: KroneckerEvidence, rows: np.ndarray, tensor: np.ndarray, factors: list[np.ndarray], alone: bool
    ) -> None:
        """The fitted attributes."""
        self.variances_, self.noise_variance_ = found.variances, found.noise_variance
        self.active_ = [np.flatnonzero(variance > 0.0) for variance in found.variances]
        if not all(active.size for active in self.active_):  # of a prior that is zero as a whole
            self.active_ = [active[:0] for active in self.active_]
        self._n_features_out = math.prod(factor.shape[1] for factor in factors)
        posterior = self._posterior(tensor, factors)
        mean = posterior.mean.astype(_precision(rows, posterior.mean))
        self.coef_tensor_ = mean[0] if alone else mean
        self.posterior_variance_ = posterior.variance.astype(mean.real.dtype)
        self.kkt_, self.dropped_ratio_ = found.kkt, found.dropped_ratio
        self.log_evidence_, self.log_evidences_ = found.log_evidence, found.log_evidences
        self.n_iter_, self.status_ = found.n_iter, found.status

    def _posterior(self, tensor: np.ndarray, factors: list[np.ndarray]) -> KroneckerPosterior:
        """The posterior of measurements under the learned variances."""
        if self.active_[0].size == 0:
            shape = tuple(factor.shape[1] for factor in factors)
            return KroneckerPosterior(np.zeros((len(tensor), *shape), dtype=tensor.dtype), np.zeros(shape), math.nan)
        return kronecker_posterior(tensor, factors, self.variances_, self.noise_variance_)

    def transform(self, X: Any) -> np.ndarray:
        """The posterior means of the coefficients of new measurements, under the learned variances.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Measurements, in any form that :meth:`fit` takes.

        Returns
        -------
        ndarray of shape (n_samples, N_1 * ... * N_d)
            The means as rows, in C order.
        """
        check_is_fitted(self)
        factors = self._checked_factors()
        rows, _ = self._rows(X, factors, reset=False)
        mean = self._posterior(*self._problem(rows, factors)).mean
        return mean.reshape(len(mean), -1).astype(_precision(rows, mean))

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The measurements without noise that coefficients stand for: the Kronecker product applied.

        Parameters
        ----------
        X : array-like of shape (n_samples, N_1 * ... * N_d)
            Coefficients as rows.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The measurements as rows.
        """
        check_is_fitted(self)
        codes = np.asarray(X)
        if codes.dtype.kind != "c":
            codes = check_array(X, dtype=(np.float64, np.float32))
        if codes.ndim != 2 or codes.shape[1] != self._n_features_out:
            raise ValueError(f"X must have {self._n_features_out} columns, one a coefficient, got shape {codes.shape}.")
        factors = self._checked_factors()
        if factors is None:
            return np.array(codes)
        dtype = np.result_type(np.float64, codes, *factors)
        factors = [factor.astype(dtype) for factor in factors]
        tensor = codes.astype(dtype).reshape(-1, *(factor.shape[1] for factor in factors))
        values = mode_products(tensor, factors)
        return values.reshape(len(values), -1).astype(_precision(codes, values))


def _precision(given: np.ndarray, computed: np.ndarray) -> np.dtype:
    """The type of what was computed, single where the data was single."""
    single = given.dtype in (np.float32, np.complex64)
    return np.dtype({"c": "complex64", "f": "float32"}[computed.dtype.kind]) if single else computed.dtype
