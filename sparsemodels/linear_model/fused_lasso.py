"""The fused LASSO of ordered features, with a duality gap."""

from numbers import Real
from typing import Any

from sparsemodels._base import Interval
from sparsemodels.linear_model.composite_path import composite_path
from sparsemodels.linear_model.composite_regressor import CompositeRegressor
from sparsemodels.linear_model.path_cross_validation import PathCrossValidation, cross_validated
from sparsemodels.solvers.path import Path
from sparsemodels.solvers.penalties import Fused


class FusedLasso(CompositeRegressor):
    r"""Linear regression whose coefficients are sparse and piecewise constant over ordered features.

    Minimises, over coefficients :math:`w` and an intercept :math:`b`,

    .. math::

        \frac{1}{2 \sum_i s_i} \sum_i s_i (y_i - x_i^T w - b)^2
        + \alpha \Big(\rho \sum_j |w_j| + (1 - \rho) \sum_j |w_{j+1} - w_j|\Big),

    where :math:`s` are the sample weights and :math:`\rho` the `l1_ratio`: for features along time, frequency, a
    spectrum or a chromosome, whose effect comes in stretches.

    Parameters
    ----------
    alpha : float, default=1.0
        The level of the penalty, >= 0.
    l1_ratio : float, default=0.5
        The share of the L1 norm of the coefficients, in (0, 1]; the rest is that of their differences.
    fit_intercept : bool, default=True
        Whether to add an unpenalised intercept. Sparse `X` is centred implicitly and stays sparse.
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
        The largest violation of the optimality conditions, in the units of the slopes :math:`X^T r / n`.
    alpha_max_ : float
        The smallest `alpha` at which every coefficient is zero.
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
    FusedLassoCV : Chooses `alpha` by cross-validation.
    Lasso : The same with ``l1_ratio=1``.

    Notes
    -----
    All features are coupled, so that the Gram matrix of all of them is held, of shape (n_features, n_features).
    The proximal operator is exact and takes linear time [1]_.

    References
    ----------
    .. [1] N. A. Johnson, "A dynamic programming algorithm for the fused Lasso and L0-segmentation", Journal of
       Computational and Graphical Statistics 22(2), 2013.
    .. [2] R. Tibshirani, M. Saunders, S. Rosset, J. Zhu and K. Knight, "Sparsity and smoothness via the fused lasso",
       Journal of the Royal Statistical Society B 67(1), 2005.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.linear_model import FusedLasso
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((60, 30))
    >>> y = X[:, 10:20].sum(axis=1) + 0.1 * rng.standard_normal(60)
    >>> model = FusedLasso(alpha=0.1, l1_ratio=0.2).fit(X, y)
    >>> np.unique(model.coef_.round(2))
    array([0.  , 0.97])
    """

    _parameter_constraints: dict = {
        **CompositeRegressor._parameter_constraints,
        "l1_ratio": [Interval(Real, 0, 1, closed="right")],
    }

    def __init__(
        self,
        alpha=1.0,
        *,
        l1_ratio=0.5,
        fit_intercept=True,
        tol=1e-6,
        max_iter=1000,
        warm_start=False,
        time_limit=None,
    ):
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.time_limit = time_limit

    def _penalty(self, n_features: int) -> Any:
        return Fused(1.0, float(self.l1_ratio), n_features)


class FusedLassoCV(PathCrossValidation, FusedLasso):
    """The fused LASSO with `alpha` chosen by cross-validation.

    Parameters
    ----------
    l1_ratio : float, default=0.5
        As in :class:`FusedLasso`.
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
    alpha_, alpha_min_, alpha_1se_, alphas_, mse_path_, coef_path_, intercept_path_, dual_gap_path_, max_fold_gap_ :
        As in :class:`LassoCV`.
    coef_, intercept_, dual_gap_, relative_gap_, objective_, kkt_, alpha_max_, n_iter_, status_ :
        As in :class:`FusedLasso`, for the chosen level.

    See Also
    --------
    FusedLasso : The model for one `alpha`.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.linear_model import FusedLassoCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((60, 30))
    >>> y = X[:, 10:20].sum(axis=1) + rng.standard_normal(60)
    >>> FusedLassoCV(alphas=20, l1_ratio=0.2).fit(X, y).mse_path_.shape
    (20, 5)
    """

    _parameter_constraints: dict = cross_validated(FusedLasso._parameter_constraints)

    def __init__(
        self,
        *,
        l1_ratio=0.5,
        alphas=100,
        eps=1e-3,
        cv=5,
        selection="min",
        fit_intercept=True,
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
        self.tol = tol
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.n_jobs = n_jobs


def fused_lasso_path(
    X: Any,
    y: Any,
    *,
    l1_ratio: float = 0.5,
    alphas: Any = 100,
    eps: float = 1e-3,
    sample_weight: Any = None,
    **parameters: Any,
) -> Path:
    """The fused LASSO along a path of levels, each with its duality gap.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples.
    y : array-like of shape (n_samples,)
        Targets.
    l1_ratio : float, default=0.5
        The share of the L1 norm of the coefficients, in (0, 1].
    alphas : int or array-like, default=100
        How many levels, or the levels (solved in decreasing order).
    eps : float, default=1e-3
        The ratio of the smallest level to the largest.
    sample_weight : array-like of shape (n_samples,), optional
        Weights >= 0.
    **parameters
        Parameters of :class:`FusedLasso` other than `alpha`, such as `fit_intercept` and `tol`.

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
    >>> from sparsemodels.linear_model import fused_lasso_path
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((60, 30))
    >>> y = X[:, 10:20].sum(axis=1) + rng.standard_normal(60)
    >>> fused_lasso_path(X, y, alphas=5).converged
    True
    """
    return composite_path(
        FusedLasso(1.0, l1_ratio=l1_ratio, **parameters), X, y, alphas=alphas, eps=eps, sample_weight=sample_weight
    )
