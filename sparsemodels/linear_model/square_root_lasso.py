"""Sparse linear regression whose penalty level does not depend on the noise."""

from numbers import Real
from typing import Any

import numpy as np

from sparsemodels._base import Interval, StrOptions
from sparsemodels.linear_model.composite_estimator import check_penalty_weights, make_penalty
from sparsemodels.linear_model.composite_path import composite_path
from sparsemodels.linear_model.composite_regressor import CompositeRegressor
from sparsemodels.linear_model.path_cross_validation import PathCrossValidation, cross_validated
from sparsemodels.solvers.columns import as_columns
from sparsemodels.solvers.losses import SquareRoot
from sparsemodels.solvers.path import Path
from sparsemodels.solvers.square_root_lasso import SquareRootProblem, pivotal_level


class SquareRootLasso(CompositeRegressor):
    r"""Linear regression by the square-root LASSO, with a level that needs no estimate of the noise.

    Minimises, over coefficients :math:`w` and an intercept :math:`b`,

    .. math::

        \left(\frac{1}{\sum_i s_i} \sum_i s_i (y_i - x_i^T w - b)^2\right)^{1/2} + \alpha \sum_j \omega_j |w_j|
        \quad\text{with}\quad l_j \le w_j \le u_j,

    where :math:`s` are the sample weights and :math:`\omega` the penalty weights. The solution is that of
    :class:`Lasso` at the level :math:`\alpha \hat\sigma`, with :math:`\hat\sigma` the root mean squared error of that
    very solution; so the right `alpha` does not depend on the noise or the units of `y`. It is the scaled LASSO.

    Parameters
    ----------
    alpha : float or "auto", default="auto"
        The level of the penalty, >= 0. Where others write :math:`\|y - X w\|_2 + \kappa \|w\|_1` this is
        :math:`\kappa / \sqrt n`. "auto" is 1.1 times the level that the slopes of Gaussian noise, of any variance,
        stay below with a probability of 95 %; for standardised features
        :math:`1.1\, \Phi^{-1}(1 - 0.05 / (2 p)) / \sqrt n` [1]_. There, n is the sum of the sample weights.
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
    alpha_ : float
        The level used.
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
    SquareRootLassoCV : Chooses `alpha` by cross-validation.
    Lasso : The same for the squared loss, whose level is in units of the noise.

    Notes
    -----
    A scalar equation for the noise level is solved by secants over fits of the squared loss, which share one working
    set [2]_. Where `alpha` is so small that the solution interpolates the targets, the noise level is zero; that
    solution is a vertex of a linear program, and is found and proved as such.

    References
    ----------
    .. [1] A. Belloni, V. Chernozhukov and L. Wang, "Square-root lasso: pivotal recovery of sparse signals via conic
       programming", Biometrika 98(4), 2011.
    .. [2] T. Sun and C.-H. Zhang, "Scaled sparse linear regression", Biometrika 99(4), 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.linear_model import SquareRootLasso
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 20))
    >>> y = 2.0 * X[:, 0] - X[:, 1] + rng.standard_normal(200)
    >>> for scale in (1.0, 1000.0):  # no level to adapt
    ...     print(np.flatnonzero(SquareRootLasso().fit(X, scale * y).coef_))
    [0 1]
    [0 1]
    """

    _parameter_constraints: dict = {
        **CompositeRegressor._parameter_constraints,
        "alpha": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
    }

    def __init__(
        self,
        alpha="auto",
        *,
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
        self.fit_intercept = fit_intercept
        self.penalty_weights = penalty_weights
        self.positive = positive
        self.bounds = bounds
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.time_limit = time_limit

    def _loss(self, y: np.ndarray, weights: np.ndarray) -> Any:
        return SquareRoot(y, weights)

    def _penalty(self, n_features: int) -> Any:
        return make_penalty(1.0, self.penalty_weights, self.bounds, self.positive, n_features)

    def _problem(self, X: Any, y: np.ndarray, weights: np.ndarray) -> Any:
        total = float(weights.sum())
        loss = self._loss(y, weights / total)
        return SquareRootProblem(as_columns(X), loss, fit_intercept=self.fit_intercept, total_weight=total)

    def _fold_problem(self, full: Any, loss: Any) -> Any:
        return SquareRootProblem(full.X, loss, fit_intercept=self.fit_intercept)

    def _level(self, problem: Any) -> float:
        self.alpha_ = self.alpha
        if isinstance(self.alpha, str):
            weights = check_penalty_weights(self.penalty_weights, problem.n_features)
            self.alpha_ = pivotal_level(
                problem.X, problem.loss.weights, problem.total_weight, weights, centred=self.fit_intercept
            )
        return float(self.alpha_)


class SquareRootLassoCV(PathCrossValidation, SquareRootLasso):
    r"""SquareRootLasso with `alpha` chosen by cross-validation.

    Every level of the path sees the same folds. The objective is that of :class:`SquareRootLasso`.

    Parameters
    ----------
    alphas : int or array-like, default=100
        How many levels, geometric from `alpha_max_` down to ``eps * alpha_max_``, or the levels.
    eps : float, default=1e-2
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
    alpha_ : float
        The chosen level.
    alpha_min_, alpha_1se_ : float
        The levels of the two selection rules.
    alphas_ : ndarray of shape (n_alphas,)
        The levels, decreasing.
    loss_path_ : ndarray of shape (n_alphas, n_folds)
        The root of the mean squared error on each fold's held-out rows.
    coef_path_ : ndarray of shape (n_features, n_alphas)
        The coefficients along the path on all data.
    intercept_path_, dual_gap_path_ : ndarray of shape (n_alphas,)
        The intercepts and duality gaps along it.
    coef_, intercept_, dual_gap_, relative_gap_, objective_, kkt_, alpha_max_, n_iter_, status_ :
        As in :class:`SquareRootLasso`, for the chosen level.
    max_fold_gap_ : float
        The largest duality gap of any fit on any fold.

    See Also
    --------
    sparsemodels.inspection.CrossValidationDisplay : Plots the errors.
    sparsemodels.inspection.CoefficientPathDisplay : Plots the path.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.linear_model import SquareRootLassoCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 20))
    >>> y = 2.0 * X[:, 0] - X[:, 1] + rng.standard_normal(200)
    >>> model = SquareRootLassoCV(alphas=10).fit(X, y)
    >>> model.coef_[:2].round()
    array([ 2., -1.])
    """

    _parameter_constraints: dict = cross_validated(SquareRootLasso._parameter_constraints)

    def __init__(
        self,
        *,
        alphas=100,
        eps=1e-2,
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


def square_root_lasso_path(
    X: Any, y: Any, *, alphas: Any = 100, eps: float = 1e-2, sample_weight: Any = None, **parameters: Any
) -> Path:
    """Coefficients of :class:`SquareRootLasso` along a path of levels, each with its duality gap.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples.
    y : array-like of shape (n_samples,)
        Targets.
    alphas : int or array-like, default=100
        How many levels, or the levels (solved in decreasing order).
    eps : float, default=1e-2
        The ratio of the smallest level to the largest.
    sample_weight : array-like of shape (n_samples,), optional
        Weights >= 0.
    **parameters
        Parameters of :class:`SquareRootLasso` other than `alpha`, such as `penalty_weights` and `tol`.

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
    >>> from sparsemodels.linear_model import square_root_lasso_path
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 20))
    >>> y = 2.0 * X[:, 0] - X[:, 1] + rng.standard_t(1.5, 200)
    >>> path = square_root_lasso_path(X, y, alphas=5)
    >>> path.coefs.shape, path.converged
    ((20, 5), True)
    """
    return composite_path(SquareRootLasso(**parameters), X, y, alphas=alphas, eps=eps, sample_weight=sample_weight)
