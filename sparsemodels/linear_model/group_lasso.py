"""Regression with penalised groups of features: group lasso, sparse group lasso and their concave relatives."""

from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np

from sparsemodels._base import Interval, StrOptions
from sparsemodels.linear_model.composite_estimator import CompositeEstimator, check_penalty_weights
from sparsemodels.linear_model.composite_path import composite_path
from sparsemodels.linear_model.composite_regressor import CompositeRegressor
from sparsemodels.linear_model.path_cross_validation import PathCrossValidation, cross_validated
from sparsemodels.solvers.composite import Solution
from sparsemodels.solvers.path import Path
from sparsemodels.solvers.penalties import L1, MCP, SCAD, group_norm, with_alpha
from sparsemodels.solvers.penalties.vector_functions import vector_prox

_GAMMA = {"mcp": 3.0, "scad": 3.7}


def check_groups(groups: Any, n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """The labels of the groups, and the position of each feature's group among them."""
    if groups is None:
        return np.arange(n_features), np.arange(n_features)
    if isinstance(groups, Integral):
        if groups < 1 or n_features % groups:
            raise ValueError(f"groups must be a size that divides the {n_features} features, got {groups}.")
        size = int(groups)
        return np.arange(n_features // size), np.arange(n_features) // size
    if isinstance(groups, Iterable) and not isinstance(groups, (str, bytes, np.ndarray)):
        groups = list(groups)
        if groups and all(np.ndim(members) == 1 and not isinstance(members, str) for members in groups):
            return np.arange(len(groups)), _from_lists(groups, n_features)
    try:
        labels = np.asarray(groups)
    except ValueError:
        raise ValueError("groups must hold one label a feature or lists of features, got a mixture.") from None
    if labels.shape != (n_features,):
        raise ValueError(
            f"groups must have one label for each of the {n_features} features or be lists of features, "
            f"got shape {labels.shape}."
        )
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise ValueError(f"groups must not contain NaN, got NaN at feature {int(np.flatnonzero(np.isnan(labels))[0])}.")
    return np.unique(labels, return_inverse=True)


def _from_lists(groups: list, n_features: int) -> np.ndarray:
    """The group of each feature from the features of each group."""
    group_of = np.full(n_features, -1)
    for g, members in enumerate(groups):
        indices = np.asarray(members)
        if indices.size == 0 or indices.dtype.kind not in "iu":
            raise ValueError(f"groups must hold non-empty lists of integers, got {members!r} as group {g}.")
        outside = indices[(indices < 0) | (indices >= n_features)]
        if outside.size:
            raise ValueError(
                f"groups must hold features from 0 to {n_features - 1}, got {int(outside[0])} in group {g}."
            )
        seen = indices[group_of[indices] >= 0]
        if seen.size or np.unique(indices).size < indices.size:
            j = int(seen[0]) if seen.size else int(indices[np.diff(np.sort(indices), prepend=-1) == 0][0])
            raise ValueError(f"groups must be disjoint, got feature {j} twice.")
        group_of[indices] = g
    missing = np.flatnonzero(group_of < 0)
    if missing.size:
        raise ValueError(
            f"groups must cover every feature, got none for feature {int(missing[0])}; "
            "a group of weight 0 is not penalised."
        )
    return group_of


def check_group_weights(group_weights: Any, sizes: np.ndarray) -> np.ndarray:
    """Weights of the groups in [0, inf]."""
    if isinstance(group_weights, str):
        return np.sqrt(sizes)
    if group_weights is None:
        return np.ones(sizes.size)
    try:
        weights = np.asarray(group_weights, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"group_weights must hold numbers, got {group_weights!r}.") from None
    if weights.ndim == 0:
        weights = np.full(sizes.size, float(weights))
    if weights.shape != sizes.shape:
        raise ValueError(
            f"group_weights must be 'sqrt', a number or have one entry for each of the {sizes.size} groups, "
            f"got shape {weights.shape}."
        )
    wrong = np.flatnonzero(~(weights >= 0.0))
    if wrong.size:
        raise ValueError(f"group_weights must lie in [0, inf], got {weights[wrong[0]]} for group {int(wrong[0])}.")
    return weights


class GroupPenalized(CompositeEstimator):
    """What the estimators with penalised groups share; stands first among the base classes."""

    _group_constraints: dict = {
        "groups": [None, Interval(Integral, 1, None, closed="left"), "array-like"],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "group_weights": [StrOptions({"sqrt"}), None, Interval(Real, 0, None, closed="both"), "array-like"],
        "penalty": [StrOptions({"lasso", "mcp", "scad"})],
        "gamma": [None, Interval(Real, 0, None, closed="neither")],
    }

    def _norms(self, n_features: int) -> tuple[Any, np.ndarray]:
        """The record that penalises the norms, and the group of each feature."""
        labels, group_of = check_groups(self.groups, n_features)
        weights = check_group_weights(self.group_weights, np.bincount(group_of, minlength=labels.size))
        if self.penalty == "lasso":
            return L1(1.0, weights), group_of
        gamma = _GAMMA[self.penalty] if self.gamma is None else float(self.gamma)
        if self.penalty == "scad" and gamma <= 2.0:
            raise ValueError(f"gamma must be > 2 for penalty='scad', got {gamma}.")
        return (MCP if self.penalty == "mcp" else SCAD)(1.0, gamma, weights), group_of

    def _penalty(self, n_features: int, l1_ratio: float | None = None) -> Any:
        norm, group_of = self._norms(n_features)
        ratio = self.l1_ratio if l1_ratio is None else l1_ratio
        return group_norm(
            norm, group_of, l1_ratio=ratio, weights=check_penalty_weights(self.penalty_weights, n_features)
        )

    def _shares(self, n_features: int) -> list[tuple[dict, Any]]:
        """The penalties of all L1 shares to compare."""
        ratios = np.atleast_1d(np.asarray(self.l1_ratio, dtype=np.float64))
        if ratios.ndim != 1 or ratios.size == 0 or not ((ratios >= 0.0) & (ratios <= 1.0)).all():
            raise ValueError(f"l1_ratio must lie in [0, 1], got {self.l1_ratio!r}.")
        return [({"l1_ratio": float(ratio)}, self._penalty(n_features, ratio)) for ratio in ratios]

    def _start(self, penalty: Any) -> np.ndarray | None:
        start = super()._start(penalty)
        if start is None:
            return None
        # At level zero only what is excluded is penalised.
        return vector_prox(with_alpha(penalty, 0.0), start, 1.0, np.arange(start.size))

    def _set_coefficients(self, solution: Solution, dtype: Any) -> None:
        super()._set_coefficients(solution, dtype)
        labels, self.groups_ = check_groups(self.groups, solution.coef.size)
        self.group_norms_ = np.sqrt(np.bincount(self.groups_, weights=solution.coef**2, minlength=labels.size))
        self.active_groups_ = labels[self.group_norms_ > 0.0]


def without_bounds(constraints: dict) -> dict:
    """Parameter constraints without those of the bounds on coefficients."""
    return {name: rule for name, rule in constraints.items() if name not in ("positive", "bounds")}


class GroupLasso(GroupPenalized, CompositeRegressor):
    r"""Linear regression that selects groups of features, with a certificate.

    Minimises, over coefficients :math:`w` and an intercept :math:`b`,

    .. math::

        \frac{1}{2 \sum_i s_i} \sum_i s_i (y_i - x_i^T w - b)^2
        + \alpha \sum_g (1 - \rho)\, \omega_g \|w_g\|_2 + \alpha \sum_j \rho\, \nu_j |w_j|,

    where :math:`w_g` are the coefficients of group g, :math:`\omega` the group weights, :math:`\nu` the penalty
    weights, :math:`\rho` the `l1_ratio` and :math:`s` the sample weights. With ``l1_ratio=0``, the group lasso, a group
    is in or out as a whole; in between, the sparse group lasso, it is sparse within. With ``penalty="mcp"`` or
    ``"scad"`` a concave function takes the place of :math:`\alpha (1 - \rho) \omega_g \|w_g\|`, so that large groups
    are not shrunk.

    Parameters
    ----------
    groups : array-like of shape (n_features,), list of lists, or int, optional
        The label of each feature's group, or the features of each group (disjoint and complete), or the size of groups
        of consecutive features. By default each feature is a group.
    alpha : float, default=1.0
        The level of the penalty, >= 0.
    l1_ratio : float, default=0.0
        The share of the L1 norm, in [0, 1].
    group_weights : {"sqrt"}, None, float or array-like of shape (n_groups,), default="sqrt"
        A factor of each group's norm in [0, inf], in the order of the sorted labels: 0 leaves the norm unpenalised, inf
        excludes the group. "sqrt" is the root of the group's size, which lets groups of noise enter equally easily
        whatever their size; None is one.
    penalty : {"lasso", "mcp", "scad"}, default="lasso"
        How the norms are penalised; the last two are not convex.
    gamma : float, optional
        The concavity of "mcp" (> 0, by default 3) and "scad" (> 2, by default 3.7); inf is the lasso.
    fit_intercept : bool, default=True
        Whether to add an unpenalised intercept. Sparse `X` is centred implicitly and stays sparse.
    penalty_weights : array-like of shape (n_features,) or float, optional
        A factor of the L1 norm for each feature, in [0, inf]; inf excludes the feature, whatever the `l1_ratio`.
    tol : float, default=1e-6
        The duality gap to reach, relative to the loss of the empty model; for a penalty that is not convex the
        violation of the optimality conditions, relative to the largest slope of the empty model.
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
    groups_ : ndarray of shape (n_features,)
        The position of each feature's group among the sorted labels, or in the list of groups.
    group_norms_ : ndarray of shape (n_groups,)
        The Euclidean norm of each group's coefficients.
    active_groups_ : ndarray of shape (n_active_groups,)
        The labels (or positions) of the groups with coefficients other than zero.
    dual_gap_ : float
        How far the objective can be above its minimum, at most, in units of the objective; inf if it is not convex.
    relative_gap_ : float
        The same, relative to the loss of the empty model: what `tol` bounds.
    objective_ : float
        The objective at the solution.
    kkt_ : float
        The largest violation of the optimality conditions of a group, as a Euclidean norm in the units of `alpha`.
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
    GroupLassoCV : Chooses `alpha` and `l1_ratio` by cross-validation.
    GroupLassoClassifier : The same for two classes.
    Lasso : Selects features one by one.

    Notes
    -----
    A working set of groups grows by those that violate the optimality conditions most; there, each group in turn is
    minimised exactly in its eigenbasis [3]_, and Newton steps over the support finish, until the duality gap over *all*
    groups is small. Features of one group are best on a common scale: the penalty is not invariant under a rescaling
    of one of them.

    References
    ----------
    .. [1] M. Yuan and Y. Lin, "Model selection and estimation in regression with grouped variables", Journal of the
       Royal Statistical Society B 68, 2006.
    .. [2] N. Simon, J. Friedman, T. Hastie and R. Tibshirani, "A sparse-group lasso", Journal of Computational and
       Graphical Statistics 22, 2013.
    .. [3] J. Yang and T. Hastie, "A fast and scalable pathwise-solver for group lasso and elastic net penalized
       regression via block-coordinate descent", 2024.
    .. [4] P. Breheny and J. Huang, "Group descent algorithms for nonconvex penalized linear and logistic regression
       models with grouped predictors", Statistics and Computing 25, 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.linear_model import GroupLasso
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((50, 6))
    >>> y = X[:, 2] - 2 * X[:, 3] + 0.1 * rng.standard_normal(50)
    >>> model = GroupLasso(["a", "a", "b", "b", "c", "c"], alpha=0.1).fit(X, y)
    >>> model.active_groups_
    array(['b'], dtype='<U1')
    >>> model.relative_gap_ <= 1e-6
    True
    """

    _parameter_constraints: dict = {
        **without_bounds(CompositeRegressor._parameter_constraints),
        **GroupPenalized._group_constraints,
    }

    def __init__(
        self,
        groups=None,
        alpha=1.0,
        *,
        l1_ratio=0.0,
        group_weights="sqrt",
        penalty="lasso",
        gamma=None,
        fit_intercept=True,
        penalty_weights=None,
        tol=1e-6,
        max_iter=1000,
        warm_start=False,
        time_limit=None,
    ):
        self.groups = groups
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.group_weights = group_weights
        self.penalty = penalty
        self.gamma = gamma
        self.fit_intercept = fit_intercept
        self.penalty_weights = penalty_weights
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.time_limit = time_limit


class GroupLassoCV(PathCrossValidation, GroupLasso):
    r"""Group-lasso regression with `alpha` and `l1_ratio` chosen by cross-validation.

    Every level of the path sees the same folds. The objective is that of :class:`GroupLasso`.

    Parameters
    ----------
    groups : array-like of shape (n_features,), list of lists, or int, optional
        The label of each feature's group, or the features of each group, or the size of groups of consecutive features.
    l1_ratio : float or array-like, default=0.0
        The share of the L1 norm, in [0, 1]; of several, the one with the smallest cross-validated error is chosen.
    alphas : int or array-like, default=100
        How many levels, geometric from `alpha_max_` down to ``eps * alpha_max_``, or the levels.
    eps : float, default=1e-3
        The ratio of the smallest level to the largest.
    cv : int, splitter or iterable, default=5
        The folds, as in scikit-learn; drawn once per fit.
    selection : {"min", "1se"}, default="min"
        The level of the smallest mean error, or the sparsest model within one standard error of it.
    group_weights : {"sqrt"}, None, float or array-like of shape (n_groups,), default="sqrt"
        A factor of each group's norm, in [0, inf].
    penalty : {"lasso", "mcp", "scad"}, default="lasso"
        How the norms are penalised.
    gamma : float, optional
        The concavity of "mcp" and "scad".
    fit_intercept : bool, default=True
        Whether to add an unpenalised intercept.
    penalty_weights : array-like of shape (n_features,) or float, optional
        A factor of the L1 norm for each feature, in [0, inf].
    tol : float, default=1e-6
        As in :class:`GroupLasso`, for every fit.
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
    mse_path_ : ndarray of shape (n_alphas, n_folds)
        The mean squared error on each fold's held-out rows.
    coef_path_ : ndarray of shape (n_features, n_alphas)
        The coefficients along the path on all data.
    intercept_path_, dual_gap_path_ : ndarray of shape (n_alphas,)
        The intercepts and duality gaps along it.
    coef_, intercept_, groups_, group_norms_, active_groups_ :
        As in :class:`GroupLasso`, for the chosen level.
    dual_gap_, relative_gap_, objective_, kkt_, alpha_max_, n_iter_, status_ :
        As in :class:`GroupLasso`, for the chosen level.
    max_fold_gap_ : float
        The largest duality gap of any fit on any fold.

    See Also
    --------
    sparsemodels.inspection.CrossValidationDisplay : Plots the errors.
    sparsemodels.inspection.CoefficientPathDisplay : Plots the path.

    References
    ----------
    N. Simon, J. Friedman, T. Hastie and R. Tibshirani, "A sparse-group lasso", Journal of Computational and Graphical
    Statistics 22, 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.linear_model import GroupLassoCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((50, 6))
    >>> y = X[:, 2] - 2 * X[:, 3] + 0.1 * rng.standard_normal(50)
    >>> model = GroupLassoCV(groups=2, l1_ratio=[0.0, 0.5], selection="1se").fit(X, y)
    >>> model.active_groups_
    array([1])
    """

    _parameter_constraints: dict = cross_validated(
        GroupLasso._parameter_constraints, l1_ratio=[Interval(Real, 0, 1, closed="both"), "array-like"]
    )

    def __init__(
        self,
        groups=None,
        *,
        l1_ratio=0.0,
        alphas=100,
        eps=1e-3,
        cv=5,
        selection="min",
        group_weights="sqrt",
        penalty="lasso",
        gamma=None,
        fit_intercept=True,
        penalty_weights=None,
        tol=1e-6,
        max_iter=1000,
        time_limit=None,
        n_jobs=None,
    ):
        self.groups = groups
        self.l1_ratio = l1_ratio
        self.alphas = alphas
        self.eps = eps
        self.cv = cv
        self.selection = selection
        self.group_weights = group_weights
        self.penalty = penalty
        self.gamma = gamma
        self.fit_intercept = fit_intercept
        self.penalty_weights = penalty_weights
        self.tol = tol
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.n_jobs = n_jobs

    def _candidates(self, n_features: int) -> list[tuple[dict, Any]]:
        return self._shares(n_features)


def group_lasso_path(
    X: Any,
    y: Any,
    *,
    groups: Any = None,
    alphas: Any = 100,
    eps: float = 1e-3,
    sample_weight: Any = None,
    **parameters: Any,
) -> Path:
    """Group-lasso regression along a path of levels, each with its duality gap.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples.
    y : array-like of shape (n_samples,)
        Targets.
    groups : array-like of shape (n_features,), list of lists, or int, optional
        The label of each feature's group, or the features of each group, or the size of groups of consecutive features.
    alphas : int or array-like, default=100
        How many levels, or the levels (solved in decreasing order).
    eps : float, default=1e-3
        The ratio of the smallest level to the largest.
    sample_weight : array-like of shape (n_samples,), optional
        Weights >= 0.
    **parameters
        Parameters of :class:`GroupLasso` other than `alpha`, such as `l1_ratio`, `group_weights` and `tol`.

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
    >>> from sparsemodels.linear_model import group_lasso_path
    >>> X, y = load_diabetes(return_X_y=True)
    >>> path = group_lasso_path(X, y, groups=[0, 0, 1, 1, 2, 2, 2, 2, 2, 2], alphas=5)
    >>> path.coefs.shape, path.converged
    ((10, 5), True)
    """
    estimator = GroupLasso(groups, **parameters)
    return composite_path(estimator, X, y, alphas=alphas, eps=eps, sample_weight=sample_weight)
