"""What the estimators of composite problems share: from scikit-learn's arguments to a solved problem and back."""

import time
import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from sparsemodels._base import (
    BaseEstimator,
    CallbackSupportMixin,
    Interval,
    _fit_context,
    check_weights,
    require_numpy,
    with_callbacks,
)
from sparsemodels._remedies import REMEDIES
from sparsemodels.solvers.columns import as_columns
from sparsemodels.solvers.composite import Composite, Solution
from sparsemodels.solvers.losses import Squared
from sparsemodels.solvers.path import Path, alpha_max, solve_path
from sparsemodels.solvers.penalties import L1, Box, ElasticNet, with_alpha


def feature_vector(name: str, values: Any, n_features: int, default: float) -> np.ndarray:
    """One number a feature from a parameter that is None, a number or an array; errors name the parameter."""
    if values is None:
        return np.full(n_features, default)
    try:
        vector = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers, got {values!r}.") from None
    if vector.ndim == 0:
        vector = np.full(n_features, float(vector))
    if vector.shape != (n_features,):
        raise ValueError(
            f"{name} must be a number or have one entry for each of the {n_features} features, "
            f"got shape {vector.shape}."
        )
    if np.isnan(vector).any():
        raise ValueError(f"{name} must not contain NaN, got NaN at feature {int(np.flatnonzero(np.isnan(vector))[0])}.")
    return vector


def check_penalty_weights(penalty_weights: Any, n_features: int) -> np.ndarray:
    """Penalty weights in [0, inf], one a feature."""
    weights = feature_vector("penalty_weights", penalty_weights, n_features, 1.0)
    if (weights < 0.0).any():
        j = int(np.flatnonzero(weights < 0.0)[0])
        raise ValueError(f"penalty_weights must lie in [0, inf], got {weights[j]} at feature {j}.")
    return weights


def check_bounds(bounds: Any, positive: bool, n_features: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Lower and upper bounds around zero, or None where there are none."""
    if bounds is None and not positive:
        return None
    if bounds is None:
        return np.zeros(n_features), np.full(n_features, np.inf)
    try:
        low, high = bounds
    except (TypeError, ValueError):
        raise ValueError(f"bounds must be a pair (lower, upper), got {bounds!r}.") from None
    lower = feature_vector("bounds[0]", low, n_features, -np.inf)
    upper = feature_vector("bounds[1]", high, n_features, np.inf)
    if positive:
        lower = np.maximum(lower, 0.0)
    wrong = np.flatnonzero((lower > 0.0) | (upper < 0.0))
    if wrong.size:
        j = int(wrong[0])
        raise ValueError(f"bounds must enclose zero, got [{lower[j]}, {upper[j]}] at feature {j}.")
    return lower, upper


def make_penalty(l1_ratio: float, penalty_weights: Any, bounds: Any, positive: bool, n_features: int) -> Any:
    """The record of the penalty that an estimator's parameters describe, at the level one."""
    weights = check_penalty_weights(penalty_weights, n_features)
    box = check_bounds(bounds, positive, n_features)
    penalty: Any = L1(1.0, weights) if l1_ratio == 1.0 else ElasticNet(1.0, float(l1_ratio), weights)
    return penalty if box is None else Box(penalty, *box)


def warn_unless_converged(name: str, status: str, gap: float, target: float, kkt: float = np.inf) -> None:
    """Say how far the answer is from certified, and what to do about it."""
    if status != "converged":
        certificate = f"duality gap {gap:.3e} > {target:.3e} (tol * loss at zero)"
        if not np.isfinite(gap):  # a penalty that is not convex has none
            certificate = f"KKT residual {kkt:.3e}"
        warnings.warn(
            f"{name} did not reach its tolerance: {certificate}; {REMEDIES[status]}.",
            ConvergenceWarning,
            stacklevel=4,
        )


class CompositeEstimator(CallbackSupportMixin, BaseEstimator):
    """Base of the linear models that minimise a loss plus a penalty.

    A subclass says which: `_loss` and `_penalty` return the records, `_check_target` what targets the loss takes.
    """

    _parameter_constraints: dict = {
        "alpha": [Interval(Real, 0, None, closed="left")],
        "fit_intercept": ["boolean"],
        "penalty_weights": [None, Interval(Real, 0, None, closed="both"), "array-like"],
        "positive": ["boolean"],
        "bounds": [None, tuple, list],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
    }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _validate(self, X: Any, y: Any, sample_weight: Any) -> tuple[Any, np.ndarray, np.ndarray]:
        """Everything that can be wrong with the input, before any work."""
        require_numpy(X, "coordinate descent")
        X, y = validate_data(self, X, y, accept_sparse="csc", dtype=(np.float64, np.float32), y_numeric=True)
        return X, self._check_target(np.asarray(y, dtype=np.float64)), check_weights(sample_weight, X)

    def _check_target(self, y: np.ndarray) -> np.ndarray:
        """The targets, if the loss is defined for them; a ValueError if not."""
        return y

    def _loss(self, y: np.ndarray, weights: np.ndarray) -> Any:
        """The record of the loss under weights that sum to one."""
        return Squared(y, weights)

    def _penalty(self, n_features: int) -> Any:
        """The record of the penalty at the level one."""
        raise NotImplementedError

    def _level(self, problem: Composite) -> float:
        """The level of the penalty."""
        return float(self.alpha)

    def _largest_level(self, problem: Composite, penalty: Any) -> float:
        """Where an automatic grid of levels begins: at the smallest level with an empty model."""
        return alpha_max(problem, penalty)

    def _deadline(self) -> float:
        return np.inf if self.time_limit is None else time.monotonic() + self.time_limit

    def _problem(self, X: Any, y: np.ndarray, weights: np.ndarray) -> Composite:
        loss = self._loss(y, weights / weights.sum())
        return Composite(as_columns(X), loss, fit_intercept=self.fit_intercept)

    def _fold_problem(self, full: Composite, loss: Any) -> Composite:
        """The problem of one fold: the same design under other weights."""
        return Composite(full.X, loss, fit_intercept=self.fit_intercept)

    def _set_solution(self, solution: Solution, dtype: Any) -> None:
        """The fitted attributes; raises the interruption again once the best model so far is kept."""
        self._set_coefficients(solution, dtype)
        self.n_iter_ = solution.n_iter
        self.objective_ = solution.objective
        self.dual_gap_ = solution.dual_gap
        self.relative_gap_ = solution.dual_gap / solution.null_objective if solution.null_objective > 0 else 0.0
        self.kkt_ = solution.kkt
        self.status_ = solution.status
        if solution.status == "interrupted":
            raise KeyboardInterrupt
        target = self.tol * solution.null_objective
        warn_unless_converged(type(self).__name__, solution.status, solution.dual_gap, target, solution.kkt)

    def _set_coefficients(self, solution: Solution, dtype: Any) -> None:
        self.coef_ = solution.coef.astype(dtype, copy=False)
        self.intercept_ = float(solution.intercept)

    def _start(self, penalty: Any) -> np.ndarray | None:
        """Where a warm start begins: the last coefficients, made feasible."""
        if not self.warm_start or not hasattr(self, "coef_") or self.coef_.size != self.n_features_in_:
            return None
        start = np.asarray(self.coef_, dtype=np.float64).ravel()
        if isinstance(penalty, Box):
            start = np.clip(start, penalty.lower, penalty.upper)
        return np.where(np.isinf(check_penalty_weights(getattr(self, "penalty_weights", None), start.size)), 0.0, start)

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples. Dense F-ordered and sparse CSC input of 32 or 64 bits is used in place.
        y : array-like of shape (n_samples,)
            Targets.
        sample_weight : array-like of shape (n_samples,), optional
            Weights >= 0; an integer weight is a row that stands so many times.

        Returns
        -------
        estimator
            The fitted estimator itself.
        """
        self._fit(X, y, sample_weight)
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        X, y, weights = self._validate(X, y, sample_weight)
        penalty = self._penalty(X.shape[1])
        deadline = self._deadline()
        context = self._init_callback_context(max_subtasks=self.max_iter)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        problem = self._problem(X, y, weights)
        self.alpha_max_ = alpha_max(problem, penalty)
        penalty = with_alpha(penalty, self._level(problem))
        problem.restart(self._start(penalty))

        def on_pass(n_iter: int, gap: float) -> bool:
            task = context.subcontext(task_name="pass")
            task.call_on_fit_task_begin(estimator=self, X=X, y=y)
            return bool(task.call_on_fit_task_end(estimator=self, X=X, y=y))

        solution = self._solve(problem, penalty, deadline, on_pass)
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        self._set_solution(solution, X.dtype)

    def _solve(self, problem: Composite, penalty: Any, deadline: float, on_pass: Any) -> Solution:
        """Solve at one level."""
        return problem.solve(penalty, tol=self.tol, max_iter=self.max_iter, deadline=deadline, on_pass=on_pass)

    def _path(
        self, problem: Composite, penalty: Any, alphas: np.ndarray, deadline: float, on_alpha: Any = None
    ) -> Path:
        """Solve at one level after the other."""
        return solve_path(
            problem, penalty, alphas, tol=self.tol, max_iter=self.max_iter, deadline=deadline, on_alpha=on_alpha
        )

    def _linear_predictor(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=("csr", "csc"), dtype=(np.float64, np.float32), reset=False)
        return X @ self.coef_.T.astype(X.dtype, copy=False) + np.asarray(self.intercept_, dtype=X.dtype)
