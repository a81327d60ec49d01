"""Best subset selection with the number of features chosen by cross-validation or an information criterion."""

from numbers import Integral
from typing import Any

import numpy as np
from scipy.special import gammaln
from sklearn.base import is_classifier
from sklearn.model_selection import check_cv
from threadpoolctl import threadpool_limits

from sparsemodels._base import StrOptions
from sparsemodels.linear_model.best_subset import BestSubsetEstimator
from sparsemodels.linear_model.best_subset_classifier import BestSubsetClassifier
from sparsemodels.linear_model.best_subset_sizes import check_sizes
from sparsemodels.linear_model.composite_regressor import CompositeRegressor
from sparsemodels.solvers.best_subset import BestSubset
from sparsemodels.solvers.columns import as_columns
from sparsemodels.solvers.cross_validation import choose_level, cross_validate
from sparsemodels.solvers.path import Path

__all__ = ["BestSubsetClassifierCV", "BestSubsetRegressorCV"]


def as_path(fit: BestSubset) -> Path:
    """Subsets by size as a path, with the sizes as its levels."""
    gaps = fit.objectives - fit.lower_bounds
    return Path(
        fit.sizes.astype(float), fit.coefs, fit.intercepts, fit.objectives, gaps, np.zeros(fit.sizes.size),
        np.full(fit.sizes.size, fit.n_moves), fit.null_objective, True,
        "interrupted" if "interrupted" in fit.statuses else "converged",
    )  # fmt: skip


def information_criterion(
    name: str, losses: np.ndarray, sizes: np.ndarray, n_samples: float, n_features: int, squared: bool
) -> np.ndarray:
    r"""An information criterion of models of several sizes; the smallest is best.

    Twice the negative log-likelihood, which is :math:`n \log(2 f)` for half the mean squared error f with the noise
    level at its best, and :math:`2 n f` for the mean log loss; plus 2 for each coefficient (AIC), :math:`\log n` (BIC),
    or :math:`\log n` and twice the logarithm of the number of subsets of the size (EBIC; J. Chen and Z. Chen, 2008,
    with their factor at one).

    Parameters
    ----------
    name : {"aic", "bic", "ebic"}
        The criterion.
    losses : ndarray of shape (n_sizes,)
        The mean losses f, without the ridge.
    sizes : ndarray of shape (n_sizes,)
        The numbers of selected features.
    n_samples : float
        The number n of samples: the sum of their weights.
    n_features : int
        The number of features to select from.
    squared : bool
        Whether the loss is squared.

    Returns
    -------
    ndarray of shape (n_sizes,)
        The criterion.
    """
    if squared:
        deviance = n_samples * np.log(np.maximum(2.0 * losses, np.finfo(np.float64).tiny))
    else:
        deviance = 2.0 * n_samples * losses
    if name == "aic":
        return deviance + 2.0 * sizes
    criterion = deviance + np.log(n_samples) * sizes
    if name == "ebic":
        subsets = gammaln(n_features + 1.0) - gammaln(sizes + 1.0) - gammaln(n_features - sizes + 1.0)
        criterion += 2.0 * subsets
    return criterion


class BestSubsetCrossValidation(BestSubsetEstimator):
    """Base of the estimators that choose the number of features."""

    _parameter_constraints: dict = {
        **{k: v for k, v in BestSubsetEstimator._parameter_constraints.items() if k != "n_nonzero_coefs"},
        "sizes": [None, Integral, "array-like"],
        "cv": ["cv_object"],
        "selection": [StrOptions({"min", "1se", "aic", "bic", "ebic"})],
        "n_jobs": [None, Integral],
    }

    def __init__(
        self,
        *,
        sizes=None,
        cv=None,
        selection="min",
        alpha_l2=0.0,
        fit_intercept=True,
        max_swaps=1000,
        certify=True,
        max_nodes=1000,
        tol=1e-6,
        time_limit=None,
        n_jobs=None,
    ):
        self.sizes = sizes
        self.cv = cv
        self.selection = selection
        self.alpha_l2 = alpha_l2
        self.fit_intercept = fit_intercept
        self.max_swaps = max_swaps
        self.certify = certify
        self.max_nodes = max_nodes
        self.tol = tol
        self.time_limit = time_limit
        self.n_jobs = n_jobs

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        with threadpool_limits(1, "blas"):
            self._fit_sizes(X, y, sample_weight)

    def _fit_sizes(self, X: Any, y: Any, sample_weight: Any) -> None:
        X, y, weights = self._validate(X, y, sample_weight)
        sizes = check_sizes(self.sizes, X.shape[1])
        deadline = self._deadline()
        columns, loss = as_columns(X), self._loss(y, weights / weights.sum())
        folds = []
        if self.selection in ("min", "1se"):
            folds = list(check_cv(self.cv, y, classifier=is_classifier(self)).split(X, y))
        context = self._init_callback_context(max_subtasks=2)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        statuses = []
        if folds:
            validation = cross_validate(
                columns, loss, weights, folds, sizes.size,
                lambda fold: as_path(self._search(columns, fold, sizes, False, deadline)), n_jobs=self.n_jobs,
            )  # fmt: skip
            statuses = validation.statuses
            losses = validation.losses
            self.criterion_path_ = losses.mean(axis=1)
            best, sparsest = choose_level(losses)
            chosen = best if self.selection == "min" else sparsest
            if is_classifier(self):
                self.loss_path_ = losses
            else:
                self.mse_path_ = 2.0 * losses  # the loss is half of it
                self.criterion_path_ = 2.0 * self.criterion_path_
        else:
            fit = self._search(columns, loss, sizes, False, deadline)
            squares = 0.5 * float(self.alpha_l2) * np.sum(fit.coefs**2, axis=0)
            self.criterion_path_ = information_criterion(
                self.selection, fit.objectives - squares, np.array([support.size for support in fit.supports]),
                float(weights.sum()), X.shape[1], not is_classifier(self),
            )  # fmt: skip
            chosen = int(np.argmin(self.criterion_path_))
        self._report(context, "choice", X, y)
        certified = [int(sizes[chosen])] if self.certify else []
        fit = self._search(columns, loss, sizes, certified, deadline)
        self._report(context, "model", X, y)
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        self.sizes_ = fit.sizes
        self.n_nonzero_coefs_ = int(sizes[chosen])
        self.coef_path_ = fit.coefs.astype(X.dtype, copy=False)
        self.intercept_path_ = fit.intercepts
        self.objective_path_ = fit.objectives
        if "interrupted" in statuses:
            fit.statuses[chosen] = "interrupted"
        self._set_subset(fit, chosen, X.dtype)

    def _report(self, context: Any, name: str, X: Any, y: Any) -> None:
        task = context.subcontext(task_name=name)
        task.call_on_fit_task_begin(estimator=self, X=X, y=y)
        task.call_on_fit_task_end(estimator=self, X=X, y=y)


class BestSubsetRegressorCV(BestSubsetCrossValidation, CompositeRegressor):
    """Best subset selection with the number of features chosen by the data.

    By cross-validation: for every fold the subsets of all sizes are found on the training part and judged on the part
    held out. Or by an information criterion of the subsets of all data, without folds.

    Parameters
    ----------
    sizes : int or array-like of int, default=None
        The numbers of features to compare; an int is all from zero to it. None means zero to a tenth of the features,
        but at least five if there are so many, and thirty at most.
    cv : int, cross-validation generator or iterable, default=None
        The folds, the same for all sizes; None means five. See :func:`sklearn.model_selection.check_cv`.
    selection : {"min", "1se", "aic", "bic", "ebic"}, default="min"
        The size with the least mean error; the smallest whose mean error is within one standard error of the least;
        or that of the least information criterion. EBIC adds to BIC the number of subsets to choose from: for many
        features.
    alpha_l2 : float, default=0.0
        The ridge.
    fit_intercept : bool, default=True
        Whether to fit an intercept. It counts as no feature and is not penalised.
    max_swaps : int, default=1000
        The largest number of exchanges of one descent.
    certify : bool, default=True
        Whether to look for a lower bound, for the chosen size.
    max_nodes : int, default=1000
        The effort of the proof; see :class:`BestSubsetRegressor`.
    tol : float, default=1e-6
        How far the lower bound may be below the objective of a model that counts as proven best, relative to the loss
        without features.
    time_limit : float, default=None
        Seconds after which the subsets found so far are compared.
    n_jobs : int, default=None
        Threads over the folds; the result is the same for every number.

    Attributes
    ----------
    n_nonzero_coefs_ : int
        The chosen number of features.
    sizes_ : ndarray of shape (n_sizes,)
        The numbers compared.
    criterion_path_ : ndarray of shape (n_sizes,)
        What was minimised: the mean of the held-out errors, or the information criterion.
    mse_path_ : ndarray of shape (n_sizes, n_folds)
        The mean squared errors held out; only with folds.
    coef_path_ : ndarray of shape (n_features, n_sizes)
        The coefficients of all sizes, on all data.
    intercept_path_ : ndarray of shape (n_sizes,)
        The intercepts.
    objective_path_ : ndarray of shape (n_sizes,)
        The objectives.
    coef_, intercept_, support_, objective_, lower_bound_, gap_, n_iter_, n_nodes_, status_ :
        Of the chosen size; see :class:`BestSubsetRegressor`.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if `X` had any that are all strings.

    See Also
    --------
    BestSubsetRegressor : With a given number of features.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sparsemodels.linear_model import BestSubsetRegressorCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> BestSubsetRegressorCV(sizes=10, selection="bic").fit(X, y).support_
    array([1, 2, 3, 6, 8])
    """

    def __init__(
        self,
        *,
        sizes=None,
        cv=None,
        selection="min",
        alpha_l2=0.0,
        fit_intercept=True,
        max_swaps=1000,
        certify=True,
        max_nodes=1000,
        tol=1e-6,
        time_limit=None,
        n_jobs=None,
    ):
        super().__init__(
            sizes=sizes,
            cv=cv,
            selection=selection,
            alpha_l2=alpha_l2,
            fit_intercept=fit_intercept,
            max_swaps=max_swaps,
            certify=certify,
            max_nodes=max_nodes,
            tol=tol,
            time_limit=time_limit,
            n_jobs=n_jobs,
        )


class BestSubsetClassifierCV(BestSubsetCrossValidation, BestSubsetClassifier):
    """Best subset selection for two classes with the number of features chosen by the data.

    Parameters
    ----------
    sizes : int or array-like of int, default=None
        The numbers of features to compare; an int is all from zero to it. None means zero to a tenth of the features,
        but at least five if there are so many, and thirty at most.
    cv : int, cross-validation generator or iterable, default=None
        The folds, the same for all sizes and stratified by class; None means five.
    selection : {"min", "1se", "aic", "bic", "ebic"}, default="min"
        As in :class:`BestSubsetRegressorCV`.
    alpha_l2 : float, default=0.0
        The ridge.
    fit_intercept : bool, default=True
        Whether to fit an intercept. It counts as no feature and is not penalised.
    class_weight : dict or "balanced", default=None
        A factor of the weights of each class' rows, held out or not; "balanced" gives every class the same total.
    max_swaps : int, default=1000
        The largest number of exchanges of one descent.
    certify : bool, default=True
        Whether to look for a lower bound, for the chosen size.
    max_nodes : int, default=1000
        The effort of the proof; see :class:`BestSubsetClassifier`.
    tol : float, default=1e-6
        How far the lower bound may be below the objective of a model that counts as proven best, relative to the loss
        without features.
    time_limit : float, default=None
        Seconds after which the subsets found so far are compared.
    n_jobs : int, default=None
        Threads over the folds; the result is the same for every number.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        The classes.
    loss_path_ : ndarray of shape (n_sizes, n_folds)
        The mean log losses held out; only with folds.
    n_nonzero_coefs_, sizes_, criterion_path_, coef_path_, intercept_path_, objective_path_ :
        As in :class:`BestSubsetRegressorCV`.
    coef_, intercept_, support_, objective_, lower_bound_, gap_, n_iter_, n_nodes_, status_ :
        Of the chosen size; see :class:`BestSubsetClassifier`.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if `X` had any that are all strings.

    See Also
    --------
    BestSubsetClassifier : With a given number of features.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import scale
    >>> from sparsemodels.linear_model import BestSubsetClassifierCV
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = BestSubsetClassifierCV(sizes=6, selection="bic", alpha_l2=1e-3).fit(scale(X), y)
    >>> model.n_nonzero_coefs_
    5
    """

    _parameter_constraints: dict = {
        **BestSubsetCrossValidation._parameter_constraints,
        "class_weight": BestSubsetClassifier._parameter_constraints["class_weight"],
    }

    def __init__(
        self,
        *,
        sizes=None,
        cv=None,
        selection="min",
        alpha_l2=0.0,
        fit_intercept=True,
        class_weight=None,
        max_swaps=1000,
        certify=True,
        max_nodes=1000,
        tol=1e-6,
        time_limit=None,
        n_jobs=None,
    ):
        super().__init__(
            sizes=sizes,
            cv=cv,
            selection=selection,
            alpha_l2=alpha_l2,
            fit_intercept=fit_intercept,
            max_swaps=max_swaps,
            certify=certify,
            max_nodes=max_nodes,
            tol=tol,
            time_limit=time_limit,
            n_jobs=n_jobs,
        )
        self.class_weight = class_weight
