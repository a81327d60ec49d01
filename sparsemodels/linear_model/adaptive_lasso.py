"""Adaptive LASSO regression: reweighted by its own pilot, with a duality gap."""

from numbers import Integral, Real
from typing import Any

import numpy as np

from sparsemodels._base import Interval
from sparsemodels.linear_model.composite_estimator import make_penalty
from sparsemodels.linear_model.composite_path import composite_path
from sparsemodels.linear_model.composite_regressor import CompositeRegressor
from sparsemodels.linear_model.path_cross_validation import PathCrossValidation, cross_validated
from sparsemodels.solvers.composite import Composite, Solution
from sparsemodels.solvers.path import Path, solve_path
from sparsemodels.solvers.reweighting import AdaptiveSolver


class AdaptiveLasso(CompositeRegressor):
    r"""Adaptive LASSO: large coefficients of a pilot are penalised less, its zeros are excluded.

    A LASSO at level :math:`\alpha` is the pilot; then, `n_reweights` times, the weighted LASSO

    .. math::

        \frac{1}{2 \sum_i s_i} \sum_i s_i (y_i - x_i^T w - b)^2 + \alpha \sum_j \hat\omega_j |w_j|,
        \qquad \hat\omega_j = \omega_j \left(\bar w / |\hat w_j|\right)^\gamma

    is solved with weights from the solution :math:`\hat w` before it, where :math:`\bar w` is the mean magnitude of
    its nonzeros. Each stage is a convex problem; the certificate is the last one's.

    Parameters
    ----------
    alpha : float, default=1.0
        The level of the penalty, >= 0, in every stage.
    gamma : float, default=1.0
        The exponent of the weights, > 0.
    n_reweights : int, default=1
        How many times to reweight; 0 is the LASSO.
    fit_intercept : bool, default=True
        Whether to add an unpenalised intercept.
    penalty_weights : array-like of shape (n_features,) or float, optional
        The weights :math:`\omega` of the pilot, in [0, inf].
    positive : bool, default=False
        Whether coefficients must be >= 0.
    bounds : pair (lower, upper), optional
        Bounds of the coefficients, with ``lower <= 0 <= upper``.
    tol : float, default=1e-6
        The duality gap of each stage, relative to the loss of the empty model.
    max_iter : int, default=1000
        The largest number of passes over the data for each stage.
    warm_start : bool, default=False
        Whether to start the pilot from the coefficients of the previous fit.
    time_limit : float, optional
        Seconds after which the best model so far is kept, with its certificate and a warning.

    Attributes
    ----------
    coef_, intercept_, dual_gap_, relative_gap_, objective_, kkt_, alpha_max_, n_iter_, status_ :
        As in :class:`Lasso`; the certificate is that of the last weighted LASSO.
    penalty_weights_ : ndarray of shape (n_features,)
        The weights of the last stage: ``Lasso(alpha, penalty_weights=model.penalty_weights_)`` is the same model.

    See Also
    --------
    Lasso : Under weights that you choose.

    References
    ----------
    H. Zou, "The adaptive lasso and its oracle properties", Journal of the American Statistical Association 101, 2006.
    P. Bühlmann and L. Meier, discussion of "One-step sparse estimates in nonconcave penalized likelihood models",
    Annals of Statistics 36, 2008 (the pilot is itself a LASSO, and the step can be repeated).

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sparsemodels.linear_model import AdaptiveLasso
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = AdaptiveLasso(alpha=0.5).fit(X, y)
    >>> (model.coef_ != 0).sum() <= 5, model.relative_gap_ <= 1e-6
    (np.True_, True)
    """

    _parameter_constraints: dict = {
        **CompositeRegressor._parameter_constraints,
        "gamma": [Interval(Real, 0, None, closed="neither")],
        "n_reweights": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        alpha=1.0,
        *,
        gamma=1.0,
        n_reweights=1,
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
        self.gamma = gamma
        self.n_reweights = n_reweights
        self.fit_intercept = fit_intercept
        self.penalty_weights = penalty_weights
        self.positive = positive
        self.bounds = bounds
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.time_limit = time_limit

    def _penalty(self, n_features: int) -> Any:
        return make_penalty(1.0, self.penalty_weights, self.bounds, self.positive, n_features)

    def _solve(self, problem: Composite, penalty: Any, deadline: float, on_pass: Any) -> Solution:
        solve = AdaptiveSolver(self.gamma, self.n_reweights)
        solution = solve(problem, penalty, tol=self.tol, max_iter=self.max_iter, deadline=deadline, on_pass=on_pass)
        self.penalty_weights_ = solve.weights
        return solution

    def _path(
        self, problem: Composite, penalty: Any, alphas: np.ndarray, deadline: float, on_alpha: Any = None
    ) -> Path:
        solve = AdaptiveSolver(self.gamma, self.n_reweights)
        return solve_path(
            problem,
            penalty,
            alphas,
            tol=self.tol,
            max_iter=self.max_iter,
            deadline=deadline,
            solve=solve,
            on_alpha=on_alpha,
        )


class AdaptiveLassoCV(PathCrossValidation, AdaptiveLasso):
    """Adaptive LASSO regression with `alpha` chosen by cross-validation.

    The weights are computed anew on the training rows of every fold, at every level: nothing of the held-out rows
    reaches the model that is tested on them. The objective is that of :class:`AdaptiveLasso`.

    Parameters
    ----------
    gamma : float, default=1.0
        The exponent of the weights, > 0.
    n_reweights : int, default=1
        How many times to reweight.
    alphas : int or array-like, default=100
        How many levels, geometric from `alpha_max_` down to ``eps * alpha_max_``, or the levels.
    eps : float, default=1e-3
        The ratio of the smallest level to the largest.
    cv : int, splitter or iterable, default=5
        The folds, as in scikit-learn; drawn once per fit.
    selection : {"min", "1se"}, default="min"
        The level of the smallest mean error, or the sparsest model within one standard error of it.
    fit_intercept : bool, default=True
        Whether to add an unpenalised intercept.
    penalty_weights : array-like of shape (n_features,) or float, optional
        The weights of the pilot, in [0, inf].
    positive : bool, default=False
        Whether coefficients must be >= 0.
    bounds : pair (lower, upper), optional
        Bounds of the coefficients, with ``lower <= 0 <= upper``.
    tol : float, default=1e-6
        The duality gap of every fit, relative to the loss of the empty model.
    max_iter : int, default=1000
        The largest number of passes over the data for each stage.
    time_limit : float, optional
        Seconds after which the levels done so far are compared, with a warning.
    n_jobs : int, optional
        Threads over the folds; the result is the same for every number.

    Attributes
    ----------
    alpha_, alpha_min_, alpha_1se_, alphas_, mse_path_, coef_path_, intercept_path_, dual_gap_path_, max_fold_gap_ :
        As in :class:`LassoCV`.
    coef_, intercept_, dual_gap_, relative_gap_, objective_, kkt_, alpha_max_, n_iter_, status_ :
        As in :class:`AdaptiveLasso`, for the chosen level.

    See Also
    --------
    LassoCV : Without reweighting.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sparsemodels.linear_model import AdaptiveLassoCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = AdaptiveLassoCV(alphas=20).fit(X, y)
    >>> model.mse_path_.shape
    (20, 5)
    """

    _parameter_constraints: dict = cross_validated(AdaptiveLasso._parameter_constraints)

    def __init__(
        self,
        *,
        gamma=1.0,
        n_reweights=1,
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
        self.gamma = gamma
        self.n_reweights = n_reweights
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


def adaptive_lasso_path(
    X: Any,
    y: Any,
    *,
    gamma: float = 1.0,
    n_reweights: int = 1,
    alphas: Any = 100,
    eps: float = 1e-3,
    sample_weight: Any = None,
    **parameters: Any,
) -> Path:
    """Adaptive LASSO along a path of levels, each with the duality gap of its last stage.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples.
    y : array-like of shape (n_samples,)
        Targets.
    gamma : float, default=1.0
        The exponent of the weights, > 0.
    n_reweights : int, default=1
        How many times to reweight.
    alphas : int or array-like, default=100
        How many levels, or the levels (solved in decreasing order).
    eps : float, default=1e-3
        The ratio of the smallest level to the largest.
    sample_weight : array-like of shape (n_samples,), optional
        Weights >= 0.
    **parameters
        Parameters of :class:`AdaptiveLasso` other than `alpha`, such as `fit_intercept`, `penalty_weights` and `tol`.

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
    >>> from sklearn.datasets import load_diabetes
    >>> from sparsemodels.linear_model import adaptive_lasso_path
    >>> X, y = load_diabetes(return_X_y=True)
    >>> adaptive_lasso_path(X, y, alphas=5).converged
    True
    """
    return composite_path(
        AdaptiveLasso(1.0, gamma=gamma, n_reweights=n_reweights, **parameters),
        X,
        y,
        alphas=alphas,
        eps=eps,
        sample_weight=sample_weight,
    )
