"""Regression under the k-support norm, the convex relaxation of ridge regression on k features or groups."""

from numbers import Integral
from typing import Any

import numpy as np

from sparsemodels._base import Interval
from sparsemodels.linear_model.composite_path import composite_path
from sparsemodels.linear_model.composite_regressor import CompositeRegressor
from sparsemodels.linear_model.path_cross_validation import PathCrossValidation, cross_validated
from sparsemodels.solvers.composite import Composite, Solution
from sparsemodels.solvers.path import Path, solve_path
from sparsemodels.solvers.penalties import ElasticNet, KSupport


def check_groups(groups: Any, group_costs: Any, n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """The index of each feature's group and the groups' costs, from what the user gave."""
    labels = np.arange(n_features) if groups is None else np.asarray(groups)
    if labels.shape != (n_features,):
        raise ValueError(f"groups must have one label for each of the {n_features} features, got shape {labels.shape}.")
    names, group = np.unique(labels, return_inverse=True)
    if group_costs is None:
        return group, np.ones(names.size)
    try:
        costs = np.asarray(group_costs, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"group_costs must hold numbers, got {group_costs!r}.") from None
    if costs.shape != (names.size,):
        raise ValueError(f"group_costs must have one entry for each of the {names.size} groups, got {costs.shape}.")
    if not (np.isfinite(costs) & (costs > 0.0)).all():
        raise ValueError(f"group_costs must be finite and > 0, got {group_costs!r}.")
    return group, costs


class KSupportRegressor(CompositeRegressor):
    r"""Linear regression under the squared (group) k-support norm, with a certificate.

    Minimises, over coefficients :math:`w` and an intercept :math:`b`,

    .. math::

        \frac{1}{2 \sum_i s_i} \sum_i s_i (y_i - x_i^T w - b)^2 + \frac{\alpha}{2}
        \min_u \Big\{\sum_g \frac{\|w_g\|^2}{u_g} : 0 \le u \le 1, \sum_g d_g u_g \le k\Big\},

    where :math:`s` are the sample weights, :math:`w_g` the coefficients of a group (of one feature, by default) and
    :math:`d` the `group_costs`. The penalty is the tightest convex bound of the ridge penalty on models of at most `k`
    groups: where the solution has no more, it is the best such model, proven. With ``k = 1`` the penalty is the squared
    L1 norm, with ``k = n_features`` the ridge penalty.

    Parameters
    ----------
    alpha : float, default=1.0
        The level of the penalty, >= 0; the smaller it is, the softer is the promise of `k`.
    k : int, default=10
        How many features (or groups) a model may have, >= 1.
    groups : array-like of shape (n_features,), optional
        The group of each feature, any labels; by default every feature is a group.
    group_costs : array-like of shape (n_groups,), optional
        What selecting each group counts towards `k`, > 0, in the order of ``numpy.unique(groups)``; by default 1.
    exact_k : bool, default=False
        Whether to keep the `k` largest features (or groups, by their costs) of the solution only, and to fit these
        again under the ridge penalty.
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
        How far the objective can be above its minimum, at most. With `exact_k`: above that of the best model of at most
        `k` features, which the convex problem bounds from below.
    relative_gap_ : float
        The same, relative to the loss of the empty model.
    objective_ : float
        The objective at the solution.
    kkt_ : float
        The largest violation of the optimality conditions, in the units of the slopes :math:`X^T r / n`.
    alpha_max_ : float
        Infinite: no level of a squared norm makes all coefficients zero.
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
    KSupportRegressorCV : Chooses `alpha` by cross-validation.
    ElasticNet : The other compromise between L1 and ridge, looser by a factor of up to sqrt(2).

    References
    ----------
    A. Argyriou, R. Foygel and N. Srebro, "Sparse prediction with the k-support norm", NIPS 2012. Y. Refael, I. Arbel
    and W. Huleihel, "Weighted group sparse envelope function", arXiv 2212.12921.

    Examples
    --------
    >>> from sparsemodels.linear_model import KSupportRegressor
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((50, 100))
    >>> y = X[:, :3].sum(axis=1) + 0.1 * rng.standard_normal(50)
    >>> model = KSupportRegressor(alpha=0.1, k=3, exact_k=True).fit(X, y)
    >>> np.flatnonzero(model.coef_)
    array([0, 1, 2])
    >>> model.relative_gap_ < 0.1
    True
    """

    _parameter_constraints: dict = {
        **CompositeRegressor._parameter_constraints,
        "k": [Interval(Integral, 1, None, closed="left")],
        "groups": [None, "array-like"],
        "group_costs": [None, "array-like"],
        "exact_k": ["boolean"],
    }

    def __init__(
        self,
        alpha=1.0,
        *,
        k=10,
        groups=None,
        group_costs=None,
        exact_k=False,
        fit_intercept=True,
        tol=1e-6,
        max_iter=1000,
        warm_start=False,
        time_limit=None,
    ):
        self.alpha = alpha
        self.k = k
        self.groups = groups
        self.group_costs = group_costs
        self.exact_k = exact_k
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.time_limit = time_limit

    def _penalty(self, n_features: int) -> Any:
        return KSupport(1.0, float(self.k), *check_groups(self.groups, self.group_costs, n_features))

    def _largest_level(self, problem: Composite, penalty: Any) -> float:
        # No level empties a squared norm: at this one, every coefficient is at most half of its own regression's.
        return float(problem.column_curvatures().max())

    def _solve(
        self, problem: Composite, penalty: Any, deadline: float, on_pass: Any = None, **options: Any
    ) -> Solution:
        options = {"tol": self.tol, "max_iter": self.max_iter, "deadline": deadline, **options}
        relaxed = problem.solve(penalty, on_pass=on_pass, **options)
        if not self.exact_k or relaxed.status == "interrupted":
            return relaxed
        chosen = largest_groups(penalty, relaxed.coef)
        weights = np.where(chosen[penalty.group], 1.0, np.inf)
        problem.restart(np.where(np.isinf(weights), 0.0, relaxed.coef))
        refit = problem.solve(ElasticNet(penalty.alpha, 0.0, weights), **{**options, "candidates": None})
        # The relaxation is a lower bound for every model of k groups.
        gap = max(refit.objective - (relaxed.objective - relaxed.dual_gap), refit.dual_gap)
        problem.restart(relaxed.coef)
        status = relaxed.status if refit.status == "converged" else refit.status
        return refit._replace(dual_gap=gap, n_iter=relaxed.n_iter + refit.n_iter, status=status)

    def _path(
        self, problem: Composite, penalty: Any, alphas: np.ndarray, deadline: float, on_alpha: Any = None
    ) -> Path:
        def solve(problem: Composite, penalty: Any, *, deadline: float, **options: Any) -> Solution:
            return self._solve(problem, penalty, deadline, **options)

        options = {"tol": self.tol, "max_iter": self.max_iter, "deadline": deadline}
        return solve_path(problem, penalty, alphas, solve=solve, on_alpha=on_alpha, **options)


def largest_groups(penalty: KSupport, coef: np.ndarray) -> np.ndarray:
    """Which groups to keep: by decreasing size per cost, as long as they fit into the budget."""
    size = np.sqrt(np.bincount(penalty.group, coef * coef, penalty.costs.size))
    chosen = np.zeros(size.size, dtype=bool)
    room = penalty.k
    for g in np.argsort(-size / np.sqrt(penalty.costs), kind="stable"):
        if size[g] > 0.0 and penalty.costs[g] <= room * (1.0 + 1e-12):
            chosen[g] = True
            room -= penalty.costs[g]
    return chosen


class KSupportRegressorCV(PathCrossValidation, KSupportRegressor):
    """The k-support norm with `alpha` chosen by cross-validation.

    The grid starts where every coefficient is shrunk to less than half: no level makes all coefficients zero.

    Parameters
    ----------
    k : int, default=10
        How many features (or groups) a model may have, >= 1.
    groups : array-like of shape (n_features,), optional
        The group of each feature, any labels; by default every feature is a group.
    group_costs : array-like of shape (n_groups,), optional
        What selecting each group counts towards `k`, > 0; by default 1.
    exact_k : bool, default=False
        Whether to keep the `k` largest features (or groups) only, and to fit these again under the ridge penalty.
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
        As in :class:`KSupportRegressor`, for the chosen level.

    See Also
    --------
    KSupportRegressor : The model for one `alpha`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sparsemodels.linear_model import KSupportRegressorCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> KSupportRegressorCV(k=3, alphas=20).fit(X, y).mse_path_.shape
    (20, 5)
    """

    _parameter_constraints: dict = cross_validated(KSupportRegressor._parameter_constraints)

    def __init__(
        self,
        *,
        k=10,
        groups=None,
        group_costs=None,
        exact_k=False,
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
        self.k = k
        self.groups = groups
        self.group_costs = group_costs
        self.exact_k = exact_k
        self.alphas = alphas
        self.eps = eps
        self.cv = cv
        self.selection = selection
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.n_jobs = n_jobs


def k_support_path(
    X: Any,
    y: Any,
    *,
    k: int = 10,
    alphas: Any = 100,
    eps: float = 1e-3,
    sample_weight: Any = None,
    **parameters: Any,
) -> Path:
    """The k-support norm along a path of levels, each with its duality gap.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples.
    y : array-like of shape (n_samples,)
        Targets.
    k : int, default=10
        How many features (or groups) a model may have, >= 1.
    alphas : int or array-like, default=100
        How many levels, or the levels (solved in decreasing order).
    eps : float, default=1e-3
        The ratio of the smallest level to the largest.
    sample_weight : array-like of shape (n_samples,), optional
        Weights >= 0.
    **parameters
        Parameters of :class:`KSupportRegressor` other than `alpha`, such as `fit_intercept` and `tol`.

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
    >>> from sparsemodels.linear_model import k_support_path
    >>> X, y = load_diabetes(return_X_y=True)
    >>> k_support_path(X, y, k=3, alphas=5).converged
    True
    """
    return composite_path(
        KSupportRegressor(1.0, k=k, **parameters), X, y, alphas=alphas, eps=eps, sample_weight=sample_weight
    )
