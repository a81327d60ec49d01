"""Relevance vector classification: a few kernels, with probabilities."""

from typing import Any

import numpy as np

from sparsemodels._base import StrOptions, _fit_context, with_callbacks

from .laplace_classifier import LaplaceClassifier
from .relevance_vector_machine import RelevanceVectorMachine

__all__ = ["RVMClassifier"]


class RVMClassifier(RelevanceVectorMachine, LaplaceClassifier):
    r"""Relevance vector machine: classification by the kernels of a few training samples, with probabilities.

    The scores of the classes are

    .. math:: f(x) = b + \sum_j w_j \, k(x, x_j), \qquad w_j \sim \mathcal N(0, \gamma_j I),

    with one kernel for every training sample and a softmax on top; for two classes f is the log odds of the second. The
    prior variances :math:`\gamma_j` are those of most evidence, by the method of Laplace. Most of them are exactly
    zero: the other samples are the relevance vectors, typically far fewer than the support vectors of
    :class:`~sklearn.svm.SVC`. There is no C to tune, and probabilities take the uncertainty of the scores into account.

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
    bias : bool, default=False
        Whether there is a constant b, with a flat prior. For kernels that vanish far away, such as ``"rbf"``, the
        constant decides there and can be anything: without it the probabilities go to one half, and in between they are
        as good. With ``"linear"`` the boundary goes through the origin without it.
    multi_class : {"multinomial", "ovr"}, default="multinomial"
        For more than two classes: one softmax, in which a sample has one prior variance and is relevant for all classes
        or for none; or one class against the rest, each with its own relevance vectors.
    class_weight : dict or "balanced", optional
        A factor of the sample weights for each class; "balanced" gives all classes the same total weight.
    threshold : float or "auto", default=1.0
        The relevance that a sample needs, >= 1. At one, the evidence alone decides. More gives fewer relevance vectors
        and, for kernels, which are much alike, larger errors.
    max_iter : int, default=100
        The most iterations.
    tol : float, default=1e-4
        The violation `kkt_` of the optimality conditions at which a fit ends.
    time_limit : float, optional
        Seconds after which the best model so far is kept, with its certificate and a warning.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes with positive weight, sorted.
    relevance_ : ndarray of int of shape (n_relevance,)
        The relevance vectors among the training samples, increasing; with ``"ovr"`` those of any class.
    relevance_vectors_ : ndarray of shape (n_relevance, n_features)
        The relevance vectors; empty with a precomputed kernel. Nothing else is kept of the training samples.
    dual_coef_ : ndarray of shape (1, n_relevance) or (n_classes, n_relevance)
        The coefficients of their kernels at the mode of the posterior, in float64.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        The constants b.
    prior_variances_ : ndarray of shape (n_relevance,) or (n_classes, n_relevance)
        The prior variances of the coefficients; one row a class with ``"ovr"``.
    covariance_ : ndarray or list of ndarray
        The posterior covariance of the coefficients: (n_relevance, n_relevance) for two classes; for a softmax
        (n_classes, n_relevance, n_classes, n_relevance); with ``"ovr"`` a list of matrices, one a class, over the
        samples with a positive prior variance there.
    gamma_ : float
        The number that `gamma` stood for; not with a precomputed kernel.
    threshold_ : float
        The relevance that a kernel needed.
    kkt_ : float
        The largest violation of the conditions of the evidence, without units.
    log_evidence_ : float or ndarray of shape (n_classes,)
        The log evidence by the method of Laplace; one a class with ``"ovr"``.
    log_evidences_ : ndarray or list of ndarray
        The same along the way.
    n_iter_ : int
        Iterations; the most of any class.
    status_ : str
        "converged", "max_iter", "stalled", "time_limit", "interrupted" or "stopped" (by a callback).
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
    RVMRegressor : The same for numbers.
    SparseBayesClassifier : The same on the features themselves.
    sklearn.svm.SVC : Support vectors.
    sklearn.gaussian_process.GaussianProcessClassifier : All samples.

    Notes
    -----
    Far from the relevance vectors a local kernel such as ``"rbf"`` is zero, and so are scores and their uncertainty:
    the probabilities there are equal, because nothing is said about these samples. With `bias` they are those of b.

    The evidence has local maxima; `kkt_` certifies one of them. Memory is one kernel matrix of the training samples and
    a few columns of it; a precomputed one is used in place.

    References
    ----------
    M. E. Tipping, "Sparse Bayesian learning and the relevance vector machine", Journal of Machine Learning Research 1,
    2001.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from sparsemodels.bayes import RVMClassifier
    >>> X, y = make_moons(200, noise=0.2, random_state=0)
    >>> model = RVMClassifier(gamma=1.0).fit(X, y)
    >>> bool(len(model.relevance_) < 20), bool(model.score(X, y) > 0.95)
    (True, True)
    >>> model.predict_proba([[100.0, 100.0]])  # far from all samples
    array([[0.5, 0.5]])
    """

    _parameter_constraints: dict = {
        **RelevanceVectorMachine._parameter_constraints,
        "multi_class": [StrOptions({"multinomial", "ovr"})],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }
    warm_start = False  # other samples are other kernels

    def __init__(
        self,
        kernel="rbf",
        *,
        gamma="scale",
        degree=3,
        coef0=1.0,
        kernel_params=None,
        bias=False,
        multi_class="multinomial",
        class_weight=None,
        threshold=1.0,
        max_iter=100,
        tol=1e-4,
        time_limit=None,
    ):
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.bias = bias
        self.multi_class = multi_class
        self.class_weight = class_weight
        self.threshold = threshold
        self.max_iter = max_iter
        self.tol = tol
        self.time_limit = time_limit

    @property
    def fit_intercept(self) -> bool:
        """Whether there is a constant: the name that linear models have for `bias`."""
        return self.bias

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "RVMClassifier":
        """Find the relevance vectors, by maximising the evidence.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, or with ``kernel="precomputed"`` the kernel between them, n_samples x n_samples.
        y : array-like of shape (n_samples,)
            Classes.
        sample_weight : array-like of shape (n_samples,), optional
            Weights >= 0; an integer weight is a sample that stands so many times.

        Returns
        -------
        RVMClassifier
            The fitted estimator itself.
        """
        X, y = self._training_data(X, y)
        context = self._init_callback_context(max_subtasks=None)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        rows, codes, weights = self._validate_classes(np.arange(X.shape[0]), y, sample_weight)
        samples = self._rows_of(X, rows)
        self._set_kernel(samples, weights)
        self._fit_design(self._training_kernel(samples), codes, weights, context, X, y)
        self._keep_relevant(samples, rows)
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        self._report()
        return self

    def _keep_relevant(self, samples: Any, rows: np.ndarray) -> None:
        """Forget the samples that are not relevant."""
        active, self._active = self._active, np.arange(len(self._active))
        self._set_relevant(samples, active, rows)
        self.dual_coef_ = self._coefficients = self._coefficients[:, active]
        self.intercept_ = self._intercepts
        self.prior_variances_ = self.prior_variances_[..., active]
        for posterior in self._posteriors:
            posterior["active"] = np.searchsorted(active, posterior["active"])

    def _columns(self, X: Any, indices: np.ndarray) -> np.ndarray:
        return self._relevant_kernel(X)
