"""Sparse logistic regression, binary and multinomial, with a duality gap."""

from numbers import Real
from typing import Any

import numpy as np

from sparsemodels._base import Interval
from sparsemodels.linear_model.composite_classifier import CompositeClassifier
from sparsemodels.linear_model.composite_estimator import check_penalty_weights
from sparsemodels.linear_model.composite_path import composite_path
from sparsemodels.linear_model.elastic_net_penalty import ElasticNetCandidates, ElasticNetPenalized
from sparsemodels.linear_model.path_cross_validation import PathCrossValidation, cross_validated
from sparsemodels.solvers.columns import as_columns
from sparsemodels.solvers.composite import Composite, Solution
from sparsemodels.solvers.losses import Multinomial
from sparsemodels.solvers.multinomial import MultinomialComposite
from sparsemodels.solvers.path import Path
from sparsemodels.solvers.penalties import Repeated


class SparseLogisticRegression(ElasticNetPenalized, CompositeClassifier):
    r"""Logistic regression under a weighted elastic-net penalty, with a certificate.

    For two classes, y = 0 and 1, minimises over coefficients :math:`w` and an intercept :math:`b`

    .. math::

        \frac{1}{\sum_i s_i} \sum_i s_i \left(\log(1 + e^{z_i}) - y_i z_i\right)
        + \alpha \sum_j \omega_j \left(\rho |w_j| + \frac{1 - \rho}{2} w_j^2\right)
        \quad\text{with}\quad z_i = x_i^T w + b,\; l_j \le w_j \le u_j,

    where :math:`s` are the sample weights times the class weights, :math:`\omega` the penalty weights and :math:`\rho`
    the `l1_ratio`. For more classes every one has its own coefficients, under the same penalty, and the loss is the
    multinomial one, :math:`\log \sum_k e^{z_{ik}} - z_{i y_i}`.

    In scikit-learn's :class:`~sklearn.linear_model.LogisticRegression` this is ``C = 1 / (alpha * n_samples)``.

    Parameters
    ----------
    alpha : float, default=1.0
        The level of the penalty, >= 0. From `alpha_max_` on the model is empty.
    l1_ratio : float, default=1.0
        The share of the L1 norm, in [0, 1]; the rest is half the squared Euclidean norm.
    class_weight : dict or "balanced", optional
        A factor of the weights of each class' rows; "balanced" gives every class the same total weight.
    fit_intercept : bool, default=True
        Whether to add an unpenalised intercept (to every class). Sparse `X` is centred implicitly and stays sparse.
    penalty_weights : array-like of shape (n_features,) or float, optional
        A factor of the penalty for each feature, in [0, inf]: 0 leaves a feature unpenalised, inf excludes it.
    positive : bool, default=False
        Whether coefficients must be >= 0.
    bounds : pair (lower, upper), optional
        Bounds of the coefficients, numbers or arrays of shape (n_features,), with ``lower <= 0 <= upper``.
    tol : float, default=1e-6
        The duality gap to reach, relative to the loss of the empty model.
    max_iter : int, default=1000
        The largest number of passes over the data.
    warm_start : bool, default=False
        Whether to start from the coefficients of the previous fit.
    time_limit : float, optional
        Seconds after which the best model so far is kept, with its certificate and a warning.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        The coefficients, in the precision of `X`; of the second class if there are two.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        The intercepts; those of more than two classes sum to zero.
    dual_gap_ : float
        How far the objective can be above its minimum, at most, in units of the objective.
    relative_gap_ : float
        The same, relative to the loss of the empty model: what `tol` bounds.
    objective_ : float
        The objective at the solution.
    kkt_ : float
        The largest violation of the optimality conditions, in the units of `alpha`.
    alpha_max_ : float
        The smallest `alpha` at which every penalised coefficient is zero.
    n_iter_ : int
        Passes over the data.
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
    SparseLogisticRegressionCV : Chooses `alpha` and `l1_ratio` by cross-validation.

    Notes
    -----
    A working set grows by the features that violate the optimality conditions most. On it, quadratic models of the loss
    are minimised and a line search goes to their minima (proximal Newton steps [1]_ [2]_), until the duality gap over
    *all* features is small. The gap is a relative entropy: that of the probabilities which the dual point stands for to
    those predicted.

    Classes that a plane separates have no finite solution without a penalty: with ``alpha=0``, or for features of
    weight zero, coefficients then grow until the loss is below the tolerance.

    References
    ----------
    .. [1] J. Friedman, T. Hastie and R. Tibshirani, "Regularization paths for generalized linear models via coordinate
       descent", Journal of Statistical Software 33(1), 2010.
    .. [2] J. Lee, Y. Sun and M. Saunders, "Proximal Newton-type methods for minimizing composite functions", SIAM
       Journal on Optimization 24(3), 2014.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer, load_iris
    >>> from sklearn.preprocessing import scale
    >>> from sparsemodels.linear_model import SparseLogisticRegression
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = SparseLogisticRegression(alpha=0.05).fit(scale(X), y)
    >>> int((model.coef_ != 0).sum()), round(model.score(scale(X), y), 3)
    (4, 0.958)
    >>> model.relative_gap_ <= 1e-6
    True
    >>> X, y = load_iris(return_X_y=True)
    >>> (SparseLogisticRegression(alpha=0.05).fit(X, y).coef_ != 0).astype(int)
    array([[0, 0, 1, 0],
           [0, 0, 0, 0],
           [0, 0, 1, 0]])
    """

    _parameter_constraints: dict = {
        **CompositeClassifier._parameter_constraints,
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
    }
    _multiclass = True

    def __init__(
        self,
        alpha=1.0,
        *,
        l1_ratio=1.0,
        class_weight=None,
        fit_intercept=True,
        penalty_weights=None,
        positive=False,
        bounds=None,
        tol=1e-6,
        max_iter=1000,
        warm_start=False,
        time_limit=None,
    ):
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.class_weight = class_weight
        self.fit_intercept = fit_intercept
        self.penalty_weights = penalty_weights
        self.positive = positive
        self.bounds = bounds
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.time_limit = time_limit

    def _loss(self, y: np.ndarray, weights: np.ndarray) -> Any:
        if self.classes_.size == 2:
            return super()._loss(y, weights)
        return Multinomial(y, weights, self.classes_.size)

    def _elastic_net(self, n_features: int, l1_ratio: float) -> Any:
        penalty = super()._elastic_net(n_features, l1_ratio)
        return penalty if self.classes_.size == 2 else Repeated(penalty, n_features)

    def _problem(self, X: Any, y: np.ndarray, weights: np.ndarray) -> Composite:
        kind = Composite if self.classes_.size == 2 else MultinomialComposite
        return kind(as_columns(X), self._loss(y, weights / weights.sum()), fit_intercept=self.fit_intercept)

    def _start(self, penalty: Any) -> np.ndarray | None:
        if not isinstance(penalty, Repeated):
            return super()._start(penalty)
        if not self.warm_start or not hasattr(self, "coef_"):
            return None
        if self.coef_.shape != (self.classes_.size, self.n_features_in_):
            return None
        start = np.asarray(self.coef_, dtype=np.float64)
        if self.positive or self.bounds is not None:
            start = np.clip(start, penalty.penalty.lower, penalty.penalty.upper)
        weights = check_penalty_weights(self.penalty_weights, self.n_features_in_)
        return np.where(np.isinf(weights), 0.0, start).ravel()

    def _set_coefficients(self, solution: Solution, dtype: Any) -> None:
        super()._set_coefficients(solution._replace(coef=solution.coef.reshape(-1, self.n_features_in_)), dtype)


class SparseLogisticRegressionCV(ElasticNetCandidates, PathCrossValidation, SparseLogisticRegression):
    r"""Logistic regression with `alpha` and `l1_ratio` chosen by cross-validation.

    Every level of the path sees the same folds. The objective is that of :class:`SparseLogisticRegression`.

    Parameters
    ----------
    l1_ratio : float or array-like, default=1.0
        The share of the L1 norm, in (0, 1]; of several, the one with the smallest cross-validated loss is chosen.
    class_weight : dict or "balanced", optional
        A factor of the weights of each class' rows; "balanced" gives every class the same total weight.
    alphas : int or array-like, default=100
        How many levels, geometric from `alpha_max_` down to ``eps * alpha_max_``, or the levels.
    eps : float, default=1e-3
        The ratio of the smallest level to the largest.
    cv : int, splitter or iterable, default=5
        The folds, as in scikit-learn: stratified by class; drawn once per fit.
    selection : {"min", "1se"}, default="min"
        The level of the smallest mean loss, or the sparsest model within one standard error of it.
    fit_intercept : bool, default=True
        Whether to add an unpenalised intercept (to every class).
    penalty_weights : array-like of shape (n_features,) or float, optional
        A factor of the penalty for each feature, in [0, inf].
    positive : bool, default=False
        Whether coefficients must be >= 0.
    bounds : pair (lower, upper), optional
        Bounds of the coefficients, with ``lower <= 0 <= upper``.
    tol : float, default=1e-6
        The duality gap of every fit, relative to the loss of the empty model.
    max_iter : int, default=1000
        The largest number of passes over the data for each level.
    time_limit : float, optional
        Seconds after which the levels done so far are compared, with a warning.
    n_jobs : int, optional
        Threads over the folds; the result is the same for every number.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, sorted.
    alpha_, l1_ratio_ : float
        The chosen level and share.
    alpha_min_, alpha_1se_ : float
        The levels of the two selection rules.
    alphas_ : ndarray of shape (n_alphas,)
        The levels, decreasing.
    loss_path_ : ndarray of shape (n_alphas, n_folds)
        The mean log loss on each fold's held-out rows.
    coef_path_ : ndarray of shape (n_features, n_alphas) or (n_classes, n_features, n_alphas)
        The coefficients along the path on all data.
    intercept_path_ : ndarray of shape (n_alphas,) or (n_alphas, n_classes)
        The intercepts along it.
    dual_gap_path_ : ndarray of shape (n_alphas,)
        The duality gaps along it.
    coef_, intercept_, dual_gap_, relative_gap_, objective_, kkt_, alpha_max_, n_iter_, status_ :
        As in :class:`SparseLogisticRegression`, for the chosen level.
    max_fold_gap_ : float
        The largest duality gap of any fit on any fold.

    See Also
    --------
    sparsemodels.inspection.CrossValidationDisplay : Plots the errors.
    sparsemodels.inspection.CoefficientPathDisplay : Plots the path.

    References
    ----------
    J. Friedman, T. Hastie and R. Tibshirani, "Regularization paths for generalized linear models via coordinate
    descent", Journal of Statistical Software 33(1), 2010.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import scale
    >>> from sparsemodels.linear_model import SparseLogisticRegressionCV
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = SparseLogisticRegressionCV(alphas=20, eps=0.01, selection="1se").fit(scale(X), y)
    >>> model.alpha_1se_ >= model.alpha_min_
    True
    """

    _parameter_constraints: dict = cross_validated(
        SparseLogisticRegression._parameter_constraints, l1_ratio=[Interval(Real, 0, 1, closed="right"), "array-like"]
    )

    def __init__(
        self,
        *,
        l1_ratio=1.0,
        class_weight=None,
        alphas=100,
        eps=1e-3,
        cv=5,
        selection="min",
        fit_intercept=True,
        penalty_weights=None,
        positive=False,
        bounds=None,
        tol=1e-6,
        max_iter=1000,
        time_limit=None,
        n_jobs=None,
    ):
        self.l1_ratio = l1_ratio
        self.class_weight = class_weight
        self.alphas = alphas
        self.eps = eps
        self.cv = cv
        self.selection = selection
        self.fit_intercept = fit_intercept
        self.penalty_weights = penalty_weights
        self.positive = positive
        self.bounds = bounds
        self.tol = tol
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.n_jobs = n_jobs

    def _fold_problem(self, full: Composite, loss: Any) -> Composite:
        if isinstance(full, MultinomialComposite):
            return MultinomialComposite(full.X.design, loss, fit_intercept=self.fit_intercept)
        return super()._fold_problem(full, loss)

    def _set_path(self, path: Path, validation: Any, largest: float, dtype: Any) -> None:
        super()._set_path(path, validation, largest, dtype)
        if self.classes_.size > 2:
            self.coef_path_ = self.coef_path_.reshape(self.classes_.size, self.n_features_in_, -1)


def sparse_logistic_path(
    X: Any, y: Any, *, alphas: Any = 100, eps: float = 1e-3, sample_weight: Any = None, **parameters: Any
) -> Path:
    """Coefficients of :class:`SparseLogisticRegression` along a path of levels, each with its duality gap.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples.
    y : array-like of shape (n_samples,)
        Classes.
    alphas : int or array-like, default=100
        How many levels, or the levels (solved in decreasing order).
    eps : float, default=1e-3
        The ratio of the smallest level to the largest.
    sample_weight : array-like of shape (n_samples,), optional
        Weights >= 0.
    **parameters
        Parameters of :class:`SparseLogisticRegression` other than `alpha`, such as `l1_ratio` and `class_weight`.

    Returns
    -------
    Path
        ``alphas``, ``coefs`` (n_features, n_alphas), ``intercepts``, ``dual_gaps`` and more, where the coefficients of
        more than two classes stand one class after the other; see :class:`sparsemodels.solvers.path.Path`.

    Raises
    ------
    ValueError
        If a parameter or the data is out of range.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import scale
    >>> from sparsemodels.linear_model import sparse_logistic_path
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> path = sparse_logistic_path(scale(X), y, alphas=5)
    >>> path.coefs.shape, path.converged
    ((30, 5), True)
    """
    return composite_path(
        SparseLogisticRegression(**parameters), X, y, alphas=alphas, eps=eps, sample_weight=sample_weight
    )
