"""MCP regression: selection without shrinking what is large."""

from numbers import Real
from typing import Any

import numpy as np

from sparsemodels._base import Interval
from sparsemodels.linear_model.composite_path import composite_path
from sparsemodels.linear_model.folded_concave import FoldedConcaveRegressor
from sparsemodels.linear_model.path_cross_validation import PathCrossValidation, cross_validated
from sparsemodels.solvers.path import Path
from sparsemodels.solvers.penalties import MCP


class MCPRegressor(FoldedConcaveRegressor):
    r"""Linear regression under the minimax concave penalty (MCP), which spares large coefficients.

    Looks for a minimum, over coefficients :math:`w` and an intercept :math:`b`, of

    .. math::

        \frac{1}{2 \sum_i s_i} \sum_i s_i (y_i - x_i^T w - b)^2 + \sum_j p(|w_j|;\; \alpha \omega_j),

    .. math::

        p(u; \lambda) = \begin{cases}
            \lambda u - u^2 / (2 \gamma) & u \le \gamma \lambda \\
            \gamma \lambda^2 / 2 & \text{otherwise,}
        \end{cases}

    where :math:`s` are the sample weights and :math:`\omega` the penalty weights. Near zero it is the LASSO's penalty,
    so it selects; far out it is constant, so large coefficients are not shrunk at all.

    Parameters
    ----------
    alpha : float, default=1.0
        The level of the penalty, >= 0.
    gamma : float, default=3.0
        How slowly the penalty flattens, in (0, inf]: it is constant beyond ``gamma * alpha``. For inf it is the LASSO.
    init : {"lasso", "zero"}, default="lasso"
        Where to start, which decides which of the stationary points is found: the LASSO of the same `alpha`, or zero.
    solver : {"auto", "coordinate_descent", "accelerated_gradient"}, default="auto"
        Coordinate descent with Newton steps on a working set, which "auto" takes, or the accelerated gradient with
        restarts on all features.
    fit_intercept : bool, default=True
        Whether to add an unpenalised intercept. Sparse `X` is centred implicitly and stays sparse.
    penalty_weights : array-like of shape (n_features,) or float, optional
        A factor of the level for each feature, in [0, inf]: 0 leaves a feature unpenalised, inf excludes it.
    positive : bool, default=False
        Whether coefficients must be >= 0; by coordinate descent only.
    tol : float, default=1e-6
        The violation of the optimality conditions to reach, relative to the largest slope of the empty model.
    max_iter : int, default=10000
        The largest number of passes over the data, or of accelerated gradient steps.
    warm_start : bool, default=False
        Whether to start from the coefficients of the previous fit instead of `init`.
    time_limit : float, optional
        Seconds after which the best model so far is kept, with its certificate and a warning.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        The coefficients, in the precision of `X`.
    intercept_ : float
        The intercept.
    kkt_ : float
        The largest violation of the optimality conditions, in the units of `alpha`: the certificate.
    locally_convex_ : bool
        Whether the objective curves upwards in every direction on the support: with a small `kkt_`, and slopes off
        the support inside of their thresholds, the answer is a strict local minimum.
    smallest_curvature_ : float
        The smallest of these curvatures, relative to that of the loss along one feature; inf for an empty support.
    objective_ : float
        The objective at the solution.
    dual_gap_, relative_gap_ : float
        Infinite: a problem that is not convex has no duality gap.
    alpha_max_ : float
        The smallest `alpha` at which the model without penalised features is stationary.
    n_iter_ : int
        Passes over the data, those of the start included.
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
    MCPRegressorCV : Chooses `alpha` by cross-validation.
    SCADRegressor : Shrinks small coefficients as the LASSO does.
    AdaptiveLasso : Less bias by convex steps.

    Notes
    -----
    The concavity is in units of features: scale them to unit variance first. A feature with a
    variance below ``1 / gamma`` meets a penalty that outweighs the loss' curvature: it is thresholded, kept or
    dropped as a whole.

    Scaling `y` and `alpha` by one factor scales the coefficients by it, and changes nothing else.

    References
    ----------
    C.-H. Zhang, "Nearly unbiased variable selection under minimax concave penalty", Annals of Statistics 38, 2010.

    P. Breheny and J. Huang, "Coordinate descent algorithms for nonconvex penalized regression, with applications to
    biological feature selection", Annals of Applied Statistics 5, 2011.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sparsemodels.linear_model import MCPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> X = StandardScaler().fit_transform(X)
    >>> model = MCPRegressor(alpha=10.0).fit(X, y)
    >>> int((model.coef_ != 0).sum())
    2
    >>> model.locally_convex_, bool(model.kkt_ <= 1e-6 * model.alpha_max_)
    (True, True)
    """

    _parameter_constraints: dict = {
        **FoldedConcaveRegressor._parameter_constraints,
        "gamma": [Interval(Real, 0, None, closed="right")],
    }

    def __init__(
        self,
        alpha=1.0,
        *,
        gamma=3.0,
        init="lasso",
        solver="auto",
        fit_intercept=True,
        penalty_weights=None,
        positive=False,
        tol=1e-6,
        max_iter=10_000,
        warm_start=False,
        time_limit=None,
    ):
        self.alpha = alpha
        self.gamma = gamma
        self.init = init
        self.solver = solver
        self.fit_intercept = fit_intercept
        self.penalty_weights = penalty_weights
        self.positive = positive
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.time_limit = time_limit

    def _concave_penalty(self, weights: np.ndarray) -> Any:
        return MCP(1.0, float(self.gamma), weights)


class MCPRegressorCV(PathCrossValidation, MCPRegressor):
    r"""MCP regression with `alpha` chosen by cross-validation.

    Every level of the path sees the same folds, and starts from the solution of the level before. The objective is
    that of :class:`MCPRegressor`.

    Parameters
    ----------
    gamma : float, default=3.0
        How slowly the penalty flattens, in (0, inf]: it is constant beyond ``gamma * alpha``. For inf it is the LASSO.
    alphas : int or array-like, default=100
        How many levels, geometric from `alpha_max_` down to ``eps * alpha_max_``, or the levels.
    eps : float, default=1e-2
        The ratio of the smallest level to the largest.
    cv : int, splitter or iterable, default=5
        The folds, as in scikit-learn; drawn once per fit.
    selection : {"min", "1se"}, default="min"
        The level of the smallest mean error, or the sparsest model within one standard error of it.
    solver : {"auto", "coordinate_descent", "accelerated_gradient"}, default="auto"
        Coordinate descent with Newton steps on a working set, which "auto" takes, or the accelerated gradient.
    fit_intercept : bool, default=True
        Whether to add an unpenalised intercept.
    penalty_weights : array-like of shape (n_features,) or float, optional
        A factor of the level for each feature, in [0, inf].
    positive : bool, default=False
        Whether coefficients must be >= 0; by coordinate descent only.
    tol : float, default=1e-6
        The violation of the optimality conditions of every fit, relative to the largest slope of the empty model.
    max_iter : int, default=10000
        The largest number of passes over the data, or of accelerated gradient steps, for each level.
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
    mse_path_ : ndarray of shape (n_alphas, n_folds)
        The mean squared error on each fold's held-out rows.
    coef_path_ : ndarray of shape (n_features, n_alphas)
        The coefficients along the path on all data.
    intercept_path_, kkt_path_ : ndarray of shape (n_alphas,)
        The intercepts and violations of the optimality conditions along it.
    dual_gap_path_, max_fold_gap_ :
        Infinite: a problem that is not convex has no duality gap.
    coef_, intercept_, kkt_, locally_convex_, smallest_curvature_, objective_ :
        As in :class:`MCPRegressor`, for the chosen level.
    dual_gap_, relative_gap_, alpha_max_, n_iter_, status_ :
        As in :class:`MCPRegressor`, for the chosen level.

    See Also
    --------
    sparsemodels.inspection.CrossValidationDisplay : Plots the errors.
    sparsemodels.inspection.CoefficientPathDisplay : Plots the path.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sparsemodels.linear_model import MCPRegressorCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = MCPRegressorCV(selection="1se").fit(StandardScaler().fit_transform(X), y)
    >>> model.alpha_1se_ >= model.alpha_min_
    True
    """

    _parameter_constraints: dict = cross_validated(MCPRegressor._parameter_constraints)

    def __init__(
        self,
        *,
        gamma=3.0,
        alphas=100,
        eps=1e-2,
        cv=5,
        selection="min",
        solver="auto",
        fit_intercept=True,
        penalty_weights=None,
        positive=False,
        tol=1e-6,
        max_iter=10_000,
        time_limit=None,
        n_jobs=None,
    ):
        self.gamma = gamma
        self.alphas = alphas
        self.eps = eps
        self.cv = cv
        self.selection = selection
        self.solver = solver
        self.fit_intercept = fit_intercept
        self.penalty_weights = penalty_weights
        self.positive = positive
        self.tol = tol
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.n_jobs = n_jobs


def mcp_path(
    X: Any,
    y: Any,
    *,
    alphas: Any = 100,
    eps: float = 1e-2,
    sample_weight: Any = None,
    **parameters: Any,
) -> Path:
    """MCP regression along a path of levels, each started from the one before and with its KKT residual.

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
        Parameters of :class:`MCPRegressor` other than `alpha` and `init`, such as `gamma`, `fit_intercept` and
        `tol`.

    Returns
    -------
    Path
        ``alphas``, ``coefs`` (n_features, n_alphas), ``intercepts``, ``kkts`` and more; see
        :class:`sparsemodels.solvers.path.Path`. Its duality gaps are infinite.

    Raises
    ------
    ValueError
        If a parameter or the data is out of range.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sparsemodels.linear_model import mcp_path
    >>> X, y = load_diabetes(return_X_y=True)
    >>> path = mcp_path(StandardScaler().fit_transform(X), y, alphas=5)
    >>> path.coefs.shape, path.converged
    ((10, 5), True)
    """
    return composite_path(MCPRegressor(1.0, **parameters), X, y, alphas=alphas, eps=eps, sample_weight=sample_weight)
