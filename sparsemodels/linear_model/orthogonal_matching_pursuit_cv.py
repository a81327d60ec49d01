"""Orthogonal matching pursuit with the number of features, and the penalty, chosen by cross-validation."""

from numbers import Integral, Real
from typing import Any

import joblib
import numpy as np
import scipy.sparse
from sklearn import get_config
from sklearn.model_selection import check_cv
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from threadpoolctl import threadpool_limits

from sparsemodels._base import Interval, StrOptions, _fit_context
from sparsemodels.solvers.columns import as_columns
from sparsemodels.solvers.greedy_pursuit import greedy_pursuit

from .composite_estimator import check_penalty_weights
from .orthogonal_matching_pursuit import GreedyRegressor

__all__ = ["OrthogonalMatchingPursuitCV"]


class OrthogonalMatchingPursuitCV(GreedyRegressor):
    """Orthogonal matching pursuit with the number of features, and the penalty, chosen by cross-validation.

    For every fold and every level of the penalty one pursuit is run on the training part, and all its models,
    from no feature to `max_iter`, are judged on the test part. A pursuit that ends early stands for all
    larger numbers of features. The best pair is refitted on all data.

    Parameters
    ----------
    alphas : array-like of shape (n_alphas,), default=None
        Levels of the penalty to try. None means no penalty.
    loss : {"squared", "sqrt", "absolute"}, default="squared"
        The loss; see :class:`OrthogonalMatchingPursuit`.
    penalty : {"l0", "l1"}, default="l0"
        The penalty; see :class:`OrthogonalMatchingPursuit`.
    penalty_weights : float or array-like of shape (n_features,), default=None
        The penalty's weights in [0, inf]. None means ones.
    max_iter : int, default=None
        The largest number of features to select. None means a tenth of the features, but at least five if
        there are so many.
    normalize : bool, default=True
        Whether the weights of "l1" act on the coefficients of the features scaled to norm one.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    selection : {"min", "1se"}, default="min"
        The model with the least mean error, or the one with the fewest features whose mean error is within
        one standard error of the least.
    cv : int, cross-validation generator or iterable, default=None
        The folds, drawn once and the same for all levels; None means five. See
        :func:`sklearn.model_selection.check_cv`.
    n_jobs : int, default=None
        The number of threads for folds and levels. The result does not depend on it.

    Attributes
    ----------
    n_nonzero_coefs_ : int
        The chosen number of features.
    alpha_ : float
        The chosen level of the penalty.
    alphas_ : ndarray of shape (n_alphas,)
        The levels tried.
    error_path_ : ndarray of shape (n_alphas, max_iter + 1, n_folds)
        The errors on the test parts: mean squared errors, or mean absolute errors for the absolute loss;
        weighted by the sample weights; NaN for a fold whose test part has no weight.
    coef_, intercept_, support_, n_iter_, objective_, objective_path_, loss_path_, max_gain_, kkt_, status_ :
        Of the refit; see :class:`OrthogonalMatchingPursuit`.
    n_features_in_ : int
        The number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if `X` had names that are all strings.

    See Also
    --------
    OrthogonalMatchingPursuit : The pursuit with both given.

    Notes
    -----
    Training parts are expressed by weights of zero, so no rows are copied. The mean over folds weights every
    fold by the weight of its test part. The standard error is that of this mean.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sparsemodels.linear_model import OrthogonalMatchingPursuitCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = OrthogonalMatchingPursuitCV(max_iter=10, selection="1se").fit(X, y)
    >>> model.support_
    array([2, 8, 3, 6, 1])
    """

    _parameter_constraints: dict = {
        "alphas": ["array-like", None],
        "loss": [StrOptions({"squared", "sqrt", "absolute"})],
        "penalty": [StrOptions({"l0", "l1"})],
        "penalty_weights": ["array-like", Interval(Real, 0, None, closed="left"), None],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
        "normalize": ["boolean"],
        "fit_intercept": ["boolean"],
        "selection": [StrOptions({"min", "1se"})],
        "cv": ["cv_object"],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        *,
        alphas=None,
        loss="squared",
        penalty="l0",
        penalty_weights=None,
        max_iter=None,
        normalize=True,
        fit_intercept=True,
        selection="min",
        cv=None,
        n_jobs=None,
    ):
        self.alphas = alphas
        self.loss = loss
        self.penalty = penalty
        self.penalty_weights = penalty_weights
        self.max_iter = max_iter
        self.normalize = normalize
        self.fit_intercept = fit_intercept
        self.selection = selection
        self.cv = cv
        self.n_jobs = n_jobs

    def get_metadata_routing(self) -> MetadataRouter:
        """Describe which metadata `fit` takes and which it passes on to the splitter.

        Returns
        -------
        sklearn.utils.metadata_routing.MetadataRouter
            The router.
        """
        mapping = MethodMapping().add(caller="fit", callee="split")
        return MetadataRouter(owner=self).add_self_request(self).add(splitter=check_cv(self.cv), method_mapping=mapping)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, **params: Any) -> "OrthogonalMatchingPursuitCV":
        """Choose the model by cross-validation and fit it on all data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples. CSC is the format for sparse data, others are converted.
        y : array-like of shape (n_samples,)
            The targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples in the loss and in the errors, non-negative.
        **params : dict
            Metadata for the splitter, such as `groups`, if metadata routing is enabled.

        Returns
        -------
        OrthogonalMatchingPursuitCV
            The fitted estimator.
        """
        if params and not get_config()["enable_metadata_routing"]:
            raise ValueError(
                f"fit takes the metadata {sorted(params)} only with sklearn.set_config(enable_metadata_routing=True)."
            )
        split_params = process_routing(self, "fit", **params).splitter.split if params else {}
        X, y, weights = self._checked(X, y, sample_weight)
        n_samples, n_features = X.shape
        alphas = np.zeros(1) if self.alphas is None else np.asarray(self.alphas, dtype=np.float64)
        if alphas.ndim != 1 or not alphas.size or not np.all((alphas >= 0.0) & np.isfinite(alphas)):
            raise ValueError(
                f"alphas must be one or more finite non-negative numbers in one dimension, got {self.alphas!r}."
            )
        limit = min(max(n_features // 10, 5) if self.max_iter is None else int(self.max_iter), n_features)
        options = {
            "loss": self.loss,
            "penalty": self.penalty,
            "penalty_weights": check_penalty_weights(self.penalty_weights, n_features),
            "normalize": self.normalize,
            "fit_intercept": self.fit_intercept,
        }
        row_weights = np.ones(n_samples) if weights is None else weights
        folds = list(check_cv(self.cv).split(X, y, **split_params))
        columns = as_columns(X)
        jobs = (
            joblib.delayed(_fold_errors)(X, columns, y, row_weights, train, test, limit, alpha, options)
            for alpha in alphas
            for train, test in folds
        )
        with threadpool_limits(1, user_api="blas"):
            errors = joblib.Parallel(n_jobs=self.n_jobs, prefer="threads")(jobs)
            self.error_path_ = np.stack(errors).reshape(alphas.size, len(folds), limit + 1).swapaxes(1, 2)
            fold_weights = np.array([row_weights[test].sum() for _, test in folds])
            best_alpha, best_size = _select(self.error_path_, fold_weights, self.selection)
            self.alphas_ = alphas
            self.alpha_ = float(alphas[best_alpha])
            self.n_nonzero_coefs_ = best_size
            solution = greedy_pursuit(
                columns, y, n_nonzero_coefs=best_size, alpha=self.alpha_, sample_weight=weights, **options
            )
        self._set_solution(solution, X.dtype)
        return self


def _fold_errors(X, columns, y, row_weights, train, test, limit, alpha, options):
    """The errors on one test part after 0, 1, ..., limit selections on the training part."""
    weights = np.bincount(np.arange(y.size)[train], weights=row_weights[train], minlength=y.size)
    if not np.any(weights):
        raise ValueError("sample_weight is zero on the whole training part of a fold; choose other folds with cv.")
    fit = greedy_pursuit(columns, y, n_nonzero_coefs=limit, alpha=float(alpha), sample_weight=weights, **options)
    test = np.arange(y.size)[test]
    errors = np.full(limit + 1, np.nan)
    if np.any(row_weights[test]):
        part = X[:, fit.support][test].toarray() if scipy.sparse.issparse(X) else X[np.ix_(test, fit.support)]
        residual = y[test, None] - part @ fit.coef_path.T - fit.intercept_path
        loss = np.abs(residual) if options["loss"] == "absolute" else residual**2
        errors[: fit.n_iter + 1] = np.average(loss, axis=0, weights=row_weights[test])
        errors[fit.n_iter + 1 :] = errors[fit.n_iter]
    return errors


def _select(errors, fold_weights, selection):
    """The chosen (index of the level, number of features), from errors of shape (levels, numbers, folds)."""
    counted = fold_weights > 0.0
    shares = fold_weights[counted] / fold_weights.sum()
    mean = errors[:, :, counted] @ shares
    spread = (errors[:, :, counted] - mean[:, :, None]) ** 2 @ shares
    best = np.unravel_index(np.argmin(mean.T), mean.T.shape)  # ties: fewer features, then the earlier level
    if selection == "1se":
        error = np.sqrt(spread[best[1], best[0]] / max(np.count_nonzero(counted) - 1, 1))
        good = mean <= mean[best[1], best[0]] + error
        size = int(np.argmax(good.any(axis=0)))
        level = int(np.argmin(np.where(good[:, size], mean[:, size], np.inf)))
        return level, size
    return int(best[1]), int(best[0])
