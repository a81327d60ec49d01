"""Sparse least-absolute-deviations regression, exact."""

from typing import Any

import numpy as np

from sparsemodels.linear_model.composite_path import composite_path
from sparsemodels.linear_model.path_cross_validation import PathCrossValidation, cross_validated
from sparsemodels.linear_model.quantile_lasso import VertexRegressor
from sparsemodels.solvers.losses import Absolute
from sparsemodels.solvers.path import Path


class LADLasso(VertexRegressor):
    r"""Linear regression by least absolute deviations under a weighted L1 penalty, exact and with a certificate.

    Minimises, over coefficients :math:`w` and an intercept :math:`b`,

    .. math::

        \frac{1}{\sum_i s_i} \sum_i s_i |y_i - x_i^T w - b| + \alpha \sum_j \omega_j |w_j|
        \quad\text{with}\quad l_j \le w_j \le u_j,

    where :math:`s` are the sample weights and :math:`\omega` the penalty weights. A row counts by the sign of its error
    only: however wrong a target is, the fit does not move with it. This is :class:`QuantileLasso` for the median, with
    twice its `alpha`.

    Parameters
    ----------
    alpha : float, default=0.1
        The level of the penalty, >= 0. It has the units of the features and does not depend on those of `y`.
    fit_intercept : bool, default=True
        Whether to add an unpenalised intercept. Of sparse `X` only the columns of the working set become
        dense.
    penalty_weights : array-like of shape (n_features,) or float, optional
        A factor of the penalty for each feature, in [0, inf]: 0 leaves a feature unpenalised, inf excludes it.
    positive : bool, default=False
        Whether coefficients must be >= 0.
    bounds : pair (lower, upper), optional
        Bounds of the coefficients, numbers or arrays of shape (n_features,), with ``lower <= 0 <= upper``.
    tol : float, default=1e-6
        The duality gap to reach, relative to the loss of the empty model. A fit ends at a vertex, with a gap of
        rounding in most cases.
    max_iter : int, default=100_000
        The largest number of vertices visited.
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
        Vertices visited.
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
    LADLassoCV : Chooses `alpha` by cross-validation.
    QuantileLasso : Other quantiles.
    HuberLasso : Quadratic for small errors, and so more efficient where most are.

    Notes
    -----
    The problem is a linear program. It is solved from vertex to vertex by steepest edges on a working set of columns,
    and the dual vector of the last basis proves the solution.

    References
    ----------
    H. Wang, G. Li and G. Jiang, "Robust regression shrinkage and consistent variable selection through the LAD-Lasso",
    Journal of Business and Economic Statistics 25(3), 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.linear_model import LADLasso
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 20))
    >>> y = 2.0 * X[:, 0] - X[:, 1] + rng.standard_t(1.5, 200)
    >>> y[::10] += 1e6  # gross errors
    >>> model = LADLasso(alpha=0.2).fit(X, y)
    >>> np.flatnonzero(model.coef_)
    array([0, 1])
    >>> model.relative_gap_ <= 1e-6
    True
    """

    def __init__(
        self,
        alpha=0.1,
        *,
        fit_intercept=True,
        penalty_weights=None,
        positive=False,
        bounds=None,
        tol=1e-6,
        max_iter=100_000,
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
        return Absolute(y, weights)


class LADLassoCV(PathCrossValidation, LADLasso):
    r"""LADLasso with `alpha` chosen by cross-validation.

    Every level of the path sees the same folds. The objective is that of :class:`LADLasso`.

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
    max_iter : int, default=100_000
        The largest number of vertices visited for each level.
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
        The mean absolute error on each fold's held-out rows.
    coef_path_ : ndarray of shape (n_features, n_alphas)
        The coefficients along the path on all data.
    intercept_path_, dual_gap_path_ : ndarray of shape (n_alphas,)
        The intercepts and duality gaps along it.
    coef_, intercept_, dual_gap_, relative_gap_, objective_, kkt_, alpha_max_, n_iter_, status_ :
        As in :class:`LADLasso`, for the chosen level.
    max_fold_gap_ : float
        The largest duality gap of any fit on any fold.

    See Also
    --------
    sparsemodels.inspection.CrossValidationDisplay : Plots the errors.
    sparsemodels.inspection.CoefficientPathDisplay : Plots the path.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.linear_model import LADLassoCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 20))
    >>> y = 2.0 * X[:, 0] - X[:, 1] + rng.standard_t(1.5, 200)
    >>> model = LADLassoCV(alphas=10).fit(X, y)
    >>> model.coef_[:2].round()
    array([ 2., -1.])
    """

    _parameter_constraints: dict = cross_validated(LADLasso._parameter_constraints)

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
        max_iter=100_000,
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


def lad_lasso_path(
    X: Any, y: Any, *, alphas: Any = 100, eps: float = 1e-2, sample_weight: Any = None, **parameters: Any
) -> Path:
    """Coefficients of :class:`LADLasso` along a path of levels, each with its duality gap.

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
        Parameters of :class:`LADLasso` other than `alpha`, such as `penalty_weights` and `tol`.

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
    >>> from sparsemodels.linear_model import lad_lasso_path
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 20))
    >>> y = 2.0 * X[:, 0] - X[:, 1] + rng.standard_t(1.5, 200)
    >>> path = lad_lasso_path(X, y, alphas=5)
    >>> path.coefs.shape, path.converged
    ((20, 5), True)
    """
    return composite_path(LADLasso(**parameters), X, y, alphas=alphas, eps=eps, sample_weight=sample_weight)
