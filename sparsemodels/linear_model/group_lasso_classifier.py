"""Logistic regression with penalised groups of features."""

from numbers import Real
from typing import Any

from sparsemodels._base import Interval
from sparsemodels.linear_model.composite_classifier import CompositeClassifier
from sparsemodels.linear_model.group_lasso import GroupPenalized, without_bounds
from sparsemodels.linear_model.path_cross_validation import PathCrossValidation, cross_validated


class GroupLassoClassifier(GroupPenalized, CompositeClassifier):
    r"""Logistic regression of two classes that selects groups of features, with a certificate.

    Minimises, over coefficients :math:`w` and an intercept :math:`b`,

    .. math::

        \frac{1}{\sum_i s_i} \sum_i s_i \log\bigl(1 + e^{-y_i (x_i^T w + b)}\bigr)
        + \alpha \sum_g (1 - \rho)\, \omega_g \|w_g\|_2 + \alpha \sum_j \rho\, \nu_j |w_j|,

    where :math:`y_i` is 1 for the second class and -1 for the first; the penalty is that of :class:`GroupLasso`.

    Parameters
    ----------
    groups : array-like of shape (n_features,), list of lists, or int, optional
        The label of each feature's group, or the features of each group (disjoint and complete), or the size of groups
        of consecutive features. By default each feature is a group.
    alpha : float, default=0.01
        The level of the penalty, >= 0.
    l1_ratio : float, default=0.0
        The share of the L1 norm, in [0, 1].
    group_weights : {"sqrt"}, None, float or array-like of shape (n_groups,), default="sqrt"
        A factor of each group's norm in [0, inf], in the order of the sorted labels: 0 leaves the norm unpenalised, inf
        excludes the group. "sqrt" is the root of the group's size; None is one.
    penalty : {"lasso", "mcp", "scad"}, default="lasso"
        How the norms are penalised; the last two are not convex.
    gamma : float, optional
        The concavity of "mcp" (> 0, by default 3) and "scad" (> 2, by default 3.7); inf is the lasso.
    fit_intercept : bool, default=True
        Whether to add an unpenalised intercept.
    penalty_weights : array-like of shape (n_features,) or float, optional
        A factor of the L1 norm for each feature, in [0, inf]; inf excludes the feature, whatever the `l1_ratio`.
    class_weight : dict or "balanced", optional
        A factor of the sample weights for each class; "balanced" gives both classes the same total weight.
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
    classes_ : ndarray of shape (2,)
        The classes, sorted.
    coef_ : ndarray of shape (1, n_features)
        The coefficients, in the precision of `X`.
    intercept_ : ndarray of shape (1,)
        The intercept.
    groups_, group_norms_, active_groups_ : ndarray
        As in :class:`GroupLasso`.
    dual_gap_ : float
        How far the objective can be above its minimum, at most; inf if it is not convex.
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
    GroupLassoClassifierCV : Chooses `alpha` and `l1_ratio` by cross-validation.
    GroupLasso : The same for regression.

    References
    ----------
    L. Meier, S. van de Geer and P. Bühlmann, "The group lasso for logistic regression", Journal of the Royal
    Statistical Society B 70, 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.linear_model import GroupLassoClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((80, 6))
    >>> y = np.where(X[:, 2] - 2 * X[:, 3] > 0, "yes", "no")
    >>> model = GroupLassoClassifier(["a", "a", "b", "b", "c", "c"], alpha=0.1).fit(X, y)
    >>> model.active_groups_
    array(['b'], dtype='<U1')
    >>> model.relative_gap_ <= 1e-6
    True
    """

    _parameter_constraints: dict = {
        **without_bounds(CompositeClassifier._parameter_constraints),
        **GroupPenalized._group_constraints,
    }

    def __init__(
        self,
        groups=None,
        alpha=0.01,
        *,
        l1_ratio=0.0,
        group_weights="sqrt",
        penalty="lasso",
        gamma=None,
        fit_intercept=True,
        penalty_weights=None,
        class_weight=None,
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
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.time_limit = time_limit


class GroupLassoClassifierCV(PathCrossValidation, GroupLassoClassifier):
    r"""Logistic regression with penalised groups, `alpha` and `l1_ratio` chosen by cross-validation.

    Every level of the path sees the same (stratified) folds. The objective is that of :class:`GroupLassoClassifier`.

    Parameters
    ----------
    groups : array-like of shape (n_features,), list of lists, or int, optional
        The label of each feature's group, or the features of each group, or the size of groups of consecutive features.
    l1_ratio : float or array-like, default=0.0
        The share of the L1 norm, in [0, 1]; of several, the one with the smallest cross-validated loss is chosen.
    alphas : int or array-like, default=100
        How many levels, geometric from `alpha_max_` down to ``eps * alpha_max_``, or the levels.
    eps : float, default=0.01
        The ratio of the smallest level to the largest.
    cv : int, splitter or iterable, default=5
        The folds, as in scikit-learn; drawn once per fit.
    selection : {"min", "1se"}, default="min"
        The level of the smallest mean loss, or the sparsest model within one standard error of it.
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
    class_weight : dict or "balanced", optional
        A factor of the sample weights for each class.
    tol : float, default=1e-6
        As in :class:`GroupLassoClassifier`, for every fit.
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
        The mean log loss on each fold's held-out rows.
    coef_path_ : ndarray of shape (n_features, n_alphas)
        The coefficients along the path on all data.
    intercept_path_, dual_gap_path_ : ndarray of shape (n_alphas,)
        The intercepts and duality gaps along it.
    classes_, coef_, intercept_, groups_, group_norms_, active_groups_ :
        As in :class:`GroupLassoClassifier`, for the chosen level.
    dual_gap_, relative_gap_, objective_, kkt_, alpha_max_, n_iter_, status_ :
        As in :class:`GroupLassoClassifier`, for the chosen level.
    max_fold_gap_ : float
        The largest duality gap of any fit on any fold.

    See Also
    --------
    sparsemodels.inspection.CrossValidationDisplay : Plots the losses.
    sparsemodels.inspection.CoefficientPathDisplay : Plots the path.

    References
    ----------
    L. Meier, S. van de Geer and P. Bühlmann, "The group lasso for logistic regression", Journal of the Royal
    Statistical Society B 70, 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.linear_model import GroupLassoClassifierCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((80, 6))
    >>> y = (X[:, 2] - 2 * X[:, 3] + rng.standard_normal(80) > 0).astype(int)
    >>> model = GroupLassoClassifierCV(groups=2, alphas=20, selection="1se").fit(X, y)
    >>> model.active_groups_
    array([1])
    """

    _parameter_constraints: dict = cross_validated(
        GroupLassoClassifier._parameter_constraints, l1_ratio=[Interval(Real, 0, 1, closed="both"), "array-like"]
    )

    def __init__(
        self,
        groups=None,
        *,
        l1_ratio=0.0,
        alphas=100,
        eps=0.01,
        cv=5,
        selection="min",
        group_weights="sqrt",
        penalty="lasso",
        gamma=None,
        fit_intercept=True,
        penalty_weights=None,
        class_weight=None,
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
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.n_jobs = n_jobs

    def _candidates(self, n_features: int) -> list[tuple[dict, Any]]:
        return self._shares(n_features)
