"""Sparse Gamma regression with a duality gap."""

from numbers import Real
from typing import Any

import numpy as np
from sklearn.metrics import d2_tweedie_score

from sparsemodels._base import Interval
from sparsemodels.linear_model.composite_path import composite_path
from sparsemodels.linear_model.composite_regressor import CompositeRegressor
from sparsemodels.linear_model.elastic_net_penalty import ElasticNetCandidates, ElasticNetPenalized
from sparsemodels.linear_model.path_cross_validation import PathCrossValidation, cross_validated
from sparsemodels.solvers.losses import Gamma
from sparsemodels.solvers.path import Path


class SparseGammaRegressor(ElasticNetPenalized, CompositeRegressor):
    r"""Gamma regression under a weighted elastic-net penalty, with a certificate.

    Minimises, over coefficients :math:`w` and an intercept :math:`b`, half the mean deviance of positive targets with
    expectation :math:`\mu_i = \exp(x_i^T w + b)` and a constant coefficient of variation, plus an elastic net,

    .. math::

        \frac{1}{\sum_i s_i} \sum_i s_i \left(\frac{y_i}{\mu_i} - 1 - \log \frac{y_i}{\mu_i}\right)
        + \alpha \sum_j \omega_j \left(\rho |w_j| + \frac{1 - \rho}{2} w_j^2\right)
        \quad\text{with}\quad l_j \le w_j \le u_j,

    where :math:`s` are the sample weights, :math:`\omega` the penalty weights and :math:`\rho` the `l1_ratio`. With
    ``l1_ratio=0`` this is scikit-learn's :class:`~sklearn.linear_model.GammaRegressor`, at the same `alpha`. The units
    of `y` change nothing but the intercept.

    Parameters
    ----------
    alpha : float, default=1.0
        The level of the penalty, >= 0.
    l1_ratio : float, default=1.0
        The share of the L1 norm, in [0, 1]; the rest is half the squared Euclidean norm.
    fit_intercept : bool, default=True
        Whether to add an unpenalised intercept. Sparse `X` is centred implicitly and stays sparse.
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
    coef_ : ndarray of shape (n_features,)
        The coefficients, in the precision of `X`.
    intercept_ : float
        The intercept.
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
    SparseGammaRegressorCV : Chooses `alpha` and `l1_ratio` by cross-validation.
    SparsePoissonRegressor : For counts.

    References
    ----------
    J. Friedman, T. Hastie and R. Tibshirani, "Regularization paths for generalized linear models via coordinate
    descent", Journal of Statistical Software 33(1), 2010; J. Lee, Y. Sun and M. Saunders, "Proximal Newton-type methods
    for minimizing composite functions", SIAM Journal on Optimization 24(3), 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.linear_model import SparseGammaRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 20))
    >>> y = np.exp(0.5 * X[:, 0] - 0.5 * X[:, 1]) * rng.gamma(5.0, 0.2, 200)
    >>> model = SparseGammaRegressor(alpha=0.1).fit(X, y)
    >>> np.flatnonzero(model.coef_)
    array([0, 1])
    >>> model.relative_gap_ <= 1e-6
    True
    """

    _parameter_constraints: dict = {
        **CompositeRegressor._parameter_constraints,
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        alpha=1.0,
        *,
        l1_ratio=1.0,
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
        self.fit_intercept = fit_intercept
        self.penalty_weights = penalty_weights
        self.positive = positive
        self.bounds = bounds
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.time_limit = time_limit

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        return tags

    def _check_target(self, y: np.ndarray) -> np.ndarray:
        if (y <= 0.0).any():
            raise ValueError(f"y must be > 0 for a Gamma loss, got {y.min()}.")
        return y

    def _loss(self, y: np.ndarray, weights: np.ndarray) -> Any:
        return Gamma(y, weights)

    def _inverse_link(self, predictor: np.ndarray) -> np.ndarray:
        return np.exp(predictor)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of the deviance that the model explains, D^2.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,)
            Targets.
        sample_weight : array-like of shape (n_samples,), optional
            Weights >= 0.

        Returns
        -------
        float
            One minus the deviance over that of a constant prediction; at most 1.
        """
        return d2_tweedie_score(y, self.predict(X), sample_weight=sample_weight, power=2)


class SparseGammaRegressorCV(ElasticNetCandidates, PathCrossValidation, SparseGammaRegressor):
    r"""SparseGammaRegressor with `alpha` and `l1_ratio` chosen by cross-validation.

    Every level of the path sees the same folds. The objective is that of :class:`SparseGammaRegressor`.

    Parameters
    ----------
    l1_ratio : float or array-like, default=1.0
        The share of the L1 norm, in (0, 1]; of several, the one with the smallest cross-validated loss is chosen.
    alphas : int or array-like, default=100
        How many levels, geometric from `alpha_max_` down to ``eps * alpha_max_``, or the levels.
    eps : float, default=1e-3
        The ratio of the smallest level to the largest.
    cv : int, splitter or iterable, default=5
        The folds, as in scikit-learn; drawn once per fit.
    selection : {"min", "1se"}, default="min"
        The level of the smallest mean loss, or the sparsest model within one standard error of it.
    fit_intercept : bool, default=True
        Whether to add an unpenalised intercept.
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
    alpha_, l1_ratio_ : float
        The chosen level and share.
    alpha_min_, alpha_1se_ : float
        The levels of the two selection rules.
    alphas_ : ndarray of shape (n_alphas,)
        The levels, decreasing.
    loss_path_ : ndarray of shape (n_alphas, n_folds)
        Half the mean deviance on each fold's held-out rows.
    coef_path_ : ndarray of shape (n_features, n_alphas)
        The coefficients along the path on all data.
    intercept_path_, dual_gap_path_ : ndarray of shape (n_alphas,)
        The intercepts and duality gaps along it.
    coef_, intercept_, dual_gap_, relative_gap_, objective_, kkt_, alpha_max_, n_iter_, status_ :
        As in :class:`SparseGammaRegressor`, for the chosen level.
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
    >>> import numpy as np
    >>> from sparsemodels.linear_model import SparseGammaRegressorCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 20))
    >>> y = np.exp(0.5 * X[:, 0] - 0.5 * X[:, 1]) * rng.gamma(5.0, 0.2, 200)
    >>> model = SparseGammaRegressorCV(alphas=20, selection="1se").fit(X, y)
    >>> model.coef_[:2].round(1)
    array([ 0.5, -0.4])
    """

    _parameter_constraints: dict = cross_validated(
        SparseGammaRegressor._parameter_constraints, l1_ratio=[Interval(Real, 0, 1, closed="right"), "array-like"]
    )

    def __init__(
        self,
        *,
        l1_ratio=1.0,
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


def sparse_gamma_path(
    X: Any, y: Any, *, alphas: Any = 100, eps: float = 1e-3, sample_weight: Any = None, **parameters: Any
) -> Path:
    """Coefficients of :class:`SparseGammaRegressor` along a path of levels, each with its duality gap.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples.
    y : array-like of shape (n_samples,)
        Positive targets.
    alphas : int or array-like, default=100
        How many levels, or the levels (solved in decreasing order).
    eps : float, default=1e-3
        The ratio of the smallest level to the largest.
    sample_weight : array-like of shape (n_samples,), optional
        Weights >= 0.
    **parameters
        Parameters of :class:`SparseGammaRegressor` other than `alpha`, such as `l1_ratio`, `penalty_weights` and `tol`.

    Returns
    -------
    Path
        ``alphas``, ``coefs`` (n_features, n_alphas), ``intercepts``, ``dual_gaps`` and more; see
        :class:`sparsemodels.solvers.path.Path`.

    Raises
    ------
    ValueError
        If a parameter or the data is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.linear_model import sparse_gamma_path
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 20))
    >>> y = np.exp(0.5 * X[:, 0] - 0.5 * X[:, 1]) * rng.gamma(5.0, 0.2, 200)
    >>> path = sparse_gamma_path(X, y, alphas=5)
    >>> path.coefs.shape, path.converged
    ((20, 5), True)
    """
    return composite_path(SparseGammaRegressor(**parameters), X, y, alphas=alphas, eps=eps, sample_weight=sample_weight)
