"""Best subset selection with a proven lower bound: what its estimators share, and the regressor."""

import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sparsemodels._base import Interval
from sparsemodels.linear_model.composite_estimator import CompositeEstimator
from sparsemodels.linear_model.composite_regressor import CompositeRegressor
from sparsemodels.solvers.best_subset import BestSubset, best_subset
from sparsemodels.solvers.columns import as_columns
from sparsemodels.solvers.composite import Solution

__all__ = ["BestSubsetRegressor"]

_REMEDIES = {
    "max_swaps": "a search ended at max_swaps before it reached a local minimum: increase max_swaps",
    "time_limit": "the time_limit was reached: increase it",
    "stopped": "a callback stopped the fit",
}


class BestSubsetEstimator(CompositeEstimator):
    """What the estimators of best subsets share: parameters, the fit, the certificate."""

    _parameter_constraints: dict = {
        "n_nonzero_coefs": [None, Interval(Integral, 0, None, closed="left")],
        "alpha_l2": [Interval(Real, 0, None, closed="left")],
        "fit_intercept": ["boolean"],
        "max_swaps": [Interval(Integral, 0, None, closed="left")],
        "certify": ["boolean"],
        "max_nodes": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        n_nonzero_coefs=None,
        *,
        alpha_l2=0.0,
        fit_intercept=True,
        max_swaps=1000,
        certify=True,
        max_nodes=1000,
        tol=1e-6,
        time_limit=None,
    ):
        self.n_nonzero_coefs = n_nonzero_coefs
        self.alpha_l2 = alpha_l2
        self.fit_intercept = fit_intercept
        self.max_swaps = max_swaps
        self.certify = certify
        self.max_nodes = max_nodes
        self.tol = tol
        self.time_limit = time_limit

    def _size(self, n_features: int) -> int:
        if self.n_nonzero_coefs is None:
            return max(n_features // 10, 1)
        if self.n_nonzero_coefs > n_features:
            raise ValueError(
                f"n_nonzero_coefs must not exceed the number of features, {n_features}, got {self.n_nonzero_coefs}."
            )
        return int(self.n_nonzero_coefs)

    def _search(self, X: Any, loss: Any, sizes: Any, certify: Any, deadline: float, on_size: Any = None) -> BestSubset:
        return best_subset(
            X,
            loss,
            sizes,
            fit_intercept=self.fit_intercept,
            ridge=float(self.alpha_l2),
            max_swaps=self.max_swaps,
            certify=certify,
            max_nodes=self.max_nodes,
            tol=self.tol,
            deadline=deadline,
            on_size=on_size,
        )

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        X, y, weights = self._validate(X, y, sample_weight)
        size = self._size(X.shape[1])
        deadline = self._deadline()
        context = self._init_callback_context(max_subtasks=1)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)

        def on_size(size: int, objective: float, lower_bound: float) -> bool:
            task = context.subcontext(task_name="size")
            task.call_on_fit_task_begin(estimator=self, X=X, y=y)
            return bool(task.call_on_fit_task_end(estimator=self, X=X, y=y))

        loss = self._loss(y, weights / weights.sum())
        fit = self._search(as_columns(X), loss, [size], bool(self.certify), deadline, on_size)
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        self.n_nonzero_coefs_ = size
        self._set_subset(fit, 0, X.dtype)

    def _set_subset(self, fit: BestSubset, k: int, dtype: Any) -> None:
        """The fitted attributes; raises the interruption again once the best model so far is kept."""
        self.support_ = fit.supports[k]
        self.objective_ = float(fit.objectives[k])
        self.lower_bound_ = float(fit.lower_bounds[k])
        difference = self.objective_ - self.lower_bound_
        solution = Solution(
            coef=np.ascontiguousarray(fit.coefs[:, k]), intercept=float(fit.intercepts[k]), objective=self.objective_,
            dual_gap=difference, kkt=0.0, dual=np.empty(0), null_objective=fit.null_objective, n_iter=fit.n_moves,
            converged=fit.statuses[k] == "optimal", status=fit.statuses[k],
        )  # fmt: skip
        self._set_coefficients(solution, dtype)
        self.gap_ = difference / fit.null_objective if fit.null_objective > 0.0 else 0.0
        self.n_iter_ = fit.n_moves
        self.n_nodes_ = int(fit.n_nodes[k])
        self.status_ = fit.statuses[k]
        if self.status_ == "interrupted":
            raise KeyboardInterrupt
        if self.status_ in _REMEDIES:
            warnings.warn(
                f"{type(self).__name__} was cut short: its objective is proven to within {self.gap_:.3e} of the loss "
                f"without features, tol is {self.tol:.3e}; {_REMEDIES[self.status_]}.",
                ConvergenceWarning,
                stacklevel=4,
            )


class BestSubsetRegressor(BestSubsetEstimator, CompositeRegressor):
    r"""Best subset selection: least squares on the best few features, with a bound of how good any could be.

    Minimises

    .. math:: \frac{1}{2} \sum_i s_i (y_i - x_i^T w - b)^2 + \frac{\rho}{2} \|w\|_2^2
        \quad \text{with at most } k \text{ nonzero coefficients},

    with sample weights scaled to :math:`\sum_i s_i = 1`, so that the loss is half the mean squared error. Finding the
    minimum is NP-hard. The model that is found is a local minimum that no exchange of a feature improves; the lower
    bound, from the perspective relaxation and branch and bound, says how far it can be from the best of all subsets,
    and often that it *is* the best.

    Parameters
    ----------
    n_nonzero_coefs : int, default=None
        The largest number k of features. None means a tenth of the features, at least one.
    alpha_l2 : float, default=0.0
        The ridge :math:`\rho`. A small one stabilises correlated features, and makes bounds possible where there are
        more features than samples.
    fit_intercept : bool, default=True
        Whether to fit an intercept b. It counts as no feature and is not penalised.
    max_swaps : int, default=1000
        The largest number of exchanges of one descent.
    certify : bool, default=True
        Whether to look for a lower bound. Without, `lower_bound_` is zero, and the fit takes less time.
    max_nodes : int, default=1000
        The largest number of nodes of the branch and bound: more nodes, a better bound. One is the relaxation alone.
    tol : float, default=1e-6
        How far the lower bound may be below the objective of a model that counts as proven best, relative to the loss
        without features.
    time_limit : float, default=None
        Seconds after which the best model so far is returned with what is proven.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients.
    intercept_ : float
        Intercept.
    support_ : ndarray of shape (n_selected,)
        The selected features, increasing; fewer than `n_nonzero_coefs` where more gain nothing.
    n_nonzero_coefs_ : int
        The largest number of features that could have been selected.
    objective_ : float
        The objective of the model.
    lower_bound_ : float
        What the objective of no model with so few features can be below.
    gap_ : float
        Their difference, relative to the loss without features.
    n_iter_ : int
        How many features the search added and removed.
    n_nodes_ : int
        How many relaxations the proof took.
    status_ : str
        "optimal" if the model is proven best, to `tol`. If not: "max_nodes" where branch and bound ended before;
        "unproven" where it does not apply, see the notes; "not_certified" without `certify`; "time_limit", "max_swaps",
        "stopped" and "interrupted" where the fit was cut short.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if `X` had any that are all strings.

    See Also
    --------
    BestSubsetRegressorCV : With the number of features chosen by cross-validation or an information criterion.
    best_subset_path : Several numbers of features at once.
    OrthogonalMatchingPursuit : The greedy method, without second thoughts.

    Notes
    -----
    Branch and bound applies to up to a thousand features, or to those that the relaxation leaves undecided. Its
    relaxation lives on curvature that each feature has for itself: on the ridge, and on the smallest eigenvalue of the
    correlations. With neither (more features than samples, or exact collinearity, and ``alpha_l2=0``) no bound above
    zero is found; ``alpha_l2=0.01`` or so is enough for one, and it bounds the model with that ridge.

    References
    ----------
    - H. Hazimeh, R. Mazumder, "Fast best subset selection: coordinate descent and local combinatorial optimization
      algorithms", Oper. Res. 68, 2020.
    - J. Zhu and others, "A polynomial algorithm for best-subset selection problem", PNAS 117, 2020.
    - A. Atamturk, A. Gomez, "Safe screening rules for l0-regression from perspective relaxations", ICML 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sparsemodels.linear_model import BestSubsetRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = BestSubsetRegressor(4).fit(X, y)
    >>> model.support_, model.status_
    (array([2, 3, 4, 8]), 'optimal')
    """

    def __init__(
        self,
        n_nonzero_coefs=None,
        *,
        alpha_l2=0.0,
        fit_intercept=True,
        max_swaps=1000,
        certify=True,
        max_nodes=1000,
        tol=1e-6,
        time_limit=None,
    ):
        super().__init__(
            n_nonzero_coefs,
            alpha_l2=alpha_l2,
            fit_intercept=fit_intercept,
            max_swaps=max_swaps,
            certify=certify,
            max_nodes=max_nodes,
            tol=tol,
            time_limit=time_limit,
        )
