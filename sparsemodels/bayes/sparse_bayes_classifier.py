"""Classification with few relevant features and honest probabilities."""

from typing import Any

import numpy as np
import scipy.sparse
from sklearn.utils.validation import validate_data

from sparsemodels._base import _fit_context, require_numpy, with_callbacks
from sparsemodels.bayes.laplace_classifier import LaplaceClassifier

__all__ = ["SparseBayesClassifier"]


class SparseBayesClassifier(LaplaceClassifier):
    r"""Logistic and softmax regression with automatic relevance determination.

    The scores of the classes are linear, :math:`f = b + x^T W`, with a softmax on top; for two classes f is the log
    odds of the second. The coefficients of feature j have independent Gaussian priors of a variance
    :math:`\gamma_j` of its own,

    .. math:: p(y \mid X, W, b) \prod_j \mathcal N(w_j \mid 0, \gamma_j I) ,

    and the variances are those of most evidence, by the method of Laplace. Most of them are zero: there is no level of
    a penalty to tune.

    Parameters
    ----------
    multi_class : {"multinomial", "ovr"}, default="multinomial"
        For more than two classes: one softmax, in which a feature has one prior variance and is relevant for all
        classes or for none; or one class against the rest, each with its own relevant features.
    threshold : float >= 1 or "auto", default="auto"
        The relevance that a feature needs. Features of pure noise reach one, where the evidence alone decides, in a
        third of all cases, and the 2 log p of ``"auto"`` less than once among p; for a softmax ``"auto"`` is the value
        of the same probability. Less gives more features, and often slightly better predictions.
    fit_intercept : bool, default=True
        Whether to add intercepts, with a flat prior.
    class_weight : dict or "balanced", optional
        A factor of the sample weights for each class; "balanced" gives all classes the same total weight.
    tol : float, default=1e-4
        Stop once the conditions of the evidence are violated by at most this; see `kkt_`.
    max_iter : int, default=100
        The most iterations.
    warm_start : bool, default=False
        Whether to start from the prior variances of the previous fit.
    time_limit : float, optional
        Seconds after which the best model so far is kept, with its certificate and a warning.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes with positive weight, sorted.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        The coefficients at the mode of the posterior, in the precision of `X`. Of a softmax they sum to zero over
        classes.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        The intercepts.
    active_ : ndarray of int of shape (n_active,)
        The relevant features, increasing; with ``"ovr"`` those of any class.
    prior_variances_ : ndarray of shape (n_features,) or (n_classes, n_features)
        The prior variances, zero for irrelevant features; one row a class with ``"ovr"``.
    threshold_ : float
        The relevance that a feature needed.
    covariance_ : ndarray or list of ndarray
        The posterior covariance of the active coefficients: (n_active, n_active) for two classes; for a softmax
        (n_classes, n_active, n_classes, n_active); with ``"ovr"`` a list of matrices, one a class, over the features
        with a positive prior variance there.
    kkt_ : float
        The largest violation of the conditions of the evidence, without units: the relevance of active features is
        one, that of the others at most `threshold_`.
    log_evidence_ : float or ndarray of shape (n_classes,)
        The log evidence by the method of Laplace; one a class with ``"ovr"``.
    log_evidences_ : ndarray or list of ndarray
        The same along the way.
    n_iter_ : int
        Iterations; the most of any class.
    status_ : str
        "converged", "max_iter", "stalled", "time_limit", "interrupted" or "stopped" (by a callback).
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
    sparsemodels.linear_model.SparseLogisticRegression : The same model with an L1 penalty.
    sklearn.gaussian_process.GaussianProcessClassifier : Laplace's method for functions instead of coefficients.

    Notes
    -----
    Scaling a feature scales its coefficients and changes nothing else. The evidence has local maxima; `kkt_` certifies
    one of them. With m = n_classes - 1 and a active features, an iteration takes :math:`O(n p a m^2)` operations and a
    few times :math:`O(n a^2 m^2 + (a m)^3)`; ``"ovr"`` has m = 1 for each class.

    References
    ----------
    M. E. Tipping, "Sparse Bayesian learning and the relevance vector machine", Journal of Machine Learning Research 1,
    2001. D. J. C. MacKay, "The evidence framework applied to classification networks", Neural Computation 4, 1992.

    Examples
    --------
    Two of ten features matter. Far from the data probabilities are moderate, for the coefficients are uncertain:

    >>> import numpy as np
    >>> from sparsemodels.bayes import SparseBayesClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 10))
    >>> y = 2 * X[:, 3] - 3 * X[:, 7] + rng.logistic(size=200) > 0
    >>> model = SparseBayesClassifier().fit(X, y)
    >>> model.active_
    array([3, 7])
    >>> score, std = model.linear_predictor(50 * X[:1], return_std=True)
    >>> bool(abs(score[0]) > 2 * std[0] > 10)
    True
    """

    def __init__(
        self,
        *,
        multi_class="multinomial",
        threshold="auto",
        fit_intercept=True,
        class_weight=None,
        tol=1e-4,
        max_iter=100,
        warm_start=False,
        time_limit=None,
    ):
        self.multi_class = multi_class
        self.threshold = threshold
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.time_limit = time_limit

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "SparseBayesClassifier":
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples. Dense input of 32 or 64 bits and sparse CSC input are used in place.
        y : array-like of shape (n_samples,)
            Classes.
        sample_weight : array-like of shape (n_samples,), optional
            Weights >= 0; an integer weight is a row that stands so many times.

        Returns
        -------
        SparseBayesClassifier
            The fitted estimator itself.
        """
        require_numpy(X, "laplace")
        X, y = validate_data(self, X, y, accept_sparse="csc", dtype=(np.float64, np.float32))
        design, codes, weights = self._validate_classes(X, y, sample_weight)
        context = self._init_callback_context(max_subtasks=self._most_iterations())
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        self._fit_design(design, codes, weights, context, X, y)
        self.coef_ = self._coefficients.astype(X.dtype, copy=False)
        self.active_ = self._active
        self.intercept_ = self._intercepts.astype(X.dtype, copy=False)
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        self._report()
        return self

    def _validate_new(self, X: Any) -> Any:
        return validate_data(self, X, accept_sparse=("csr", "csc"), dtype=(np.float64, np.float32), reset=False)

    def _columns(self, X: Any, indices: np.ndarray) -> np.ndarray:
        return X[:, indices].toarray() if scipy.sparse.issparse(X) else X[:, indices]
