"""Many related sparse linear models over one design, fitted side by side."""

from collections.abc import Generator
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
import scipy.special
from sklearn.base import MultiOutputMixin
from sklearn.utils.validation import validate_data
from threadpoolctl import threadpool_limits

from sparsemodels._base import (
    Interval,
    StrOptions,
    _fit_context,
    check_weights,
    require_numpy,
    with_callbacks,
)
from sparsemodels.linear_model.composite_estimator import CompositeEstimator, make_penalty, warn_unless_converged
from sparsemodels.linear_model.composite_regressor import CompositeRegressor
from sparsemodels.solvers.columns import as_columns
from sparsemodels.solvers.composite import Solution
from sparsemodels.solvers.losses import Logistic, Squared
from sparsemodels.solvers.path import alpha_max_passes
from sparsemodels.solvers.penalties import with_alpha
from sparsemodels.solvers.simultaneous import Companion, Design, run_together

LOSSES = {"squared": Squared, "logistic": Logistic}


def check_loss_targets(loss: str, targets: np.ndarray) -> None:
    """Targets that a loss is defined for."""
    if loss == "logistic" and ((targets < 0.0) | (targets > 1.0)).any():
        wrong = targets[(targets < 0.0) | (targets > 1.0)][0]
        raise ValueError(f"y must lie in [0, 1] with loss='logistic', got {wrong}.")


def problem_weights(sample_weight: Any, X: Any, y: np.ndarray) -> np.ndarray:
    """Sample weights as a matrix with one column, or one a problem."""
    weights = np.asarray(1.0 if sample_weight is None else sample_weight)
    if weights.ndim != 2:
        return check_weights(sample_weight, X)[:, None]
    if y.ndim == 1:
        raise ValueError(
            f"sample_weight must be a vector where y is one, got shape {weights.shape}; "
            "for several problems with the same targets give y as a column, y[:, None]."
        )
    if weights.shape[0] != X.shape[0] or weights.shape[1] == 0:
        raise ValueError(
            f"sample_weight must have shape ({X.shape[0]},) or ({X.shape[0]}, n_problems), got {weights.shape}."
        )
    for k in range(weights.shape[1]):
        try:
            check_weights(weights[:, k], X)
        except ValueError as error:
            raise ValueError(f"sample_weight, column {k}: {error}") from None
    return weights.astype(np.float64, copy=False)


class SimultaneousGLM(MultiOutputMixin, CompositeRegressor):
    r"""Many sparse linear models over one design, fitted side by side.

    Problem *p* has targets :math:`y_{\cdot p}` and sample weights :math:`s_{\cdot p}` of its own (normalised to sum to
    one), and minimises

    .. math:: \sum_i s_{ip}\, \ell(y_{ip}, x_i^\top w_p + b_p)
              + \alpha_p \sum_j \omega_j \bigl(\rho |w_{jp}| + \tfrac{1 - \rho}{2} w_{jp}^2\bigr).

    Bootstrap samples, folds and subsamples are weights; permutations and several responses are targets. The gradients
    of all problems are one matrix product, the design is checked and read once for all, and each problem stops by its
    own duality gap. A problem's answer does not depend, to the last bit, on the others that are fitted with it.

    Parameters
    ----------
    loss : {"squared", "logistic"}, default="squared"
        :math:`\ell`: half the squared error, or the log loss of targets in [0, 1].
    alpha : float or array-like of shape (n_problems,), default=1.0
        The level of the penalty, of all problems or of each.
    l1_ratio : float, default=1.0
        :math:`\rho` in [0, 1], the share of the L1 norm.
    fit_intercept : bool, default=True
        Whether to add unpenalised intercepts.
    penalty_weights : array-like of shape (n_features,) or float, optional
        :math:`\omega`, a factor of the penalty for each feature, in [0, inf].
    positive : bool, default=False
        Whether coefficients must be >= 0.
    bounds : pair (lower, upper), optional
        Bounds of the coefficients, numbers or one for each feature, with ``lower <= 0 <= upper``.
    tol : float, default=1e-6
        The duality gap of every problem, relative to the loss of its empty model.
    max_iter : int, default=1000
        The largest number of passes over the data for each problem.
    warm_start : bool, default=False
        Whether to start from the last coefficients, where there are as many problems.
    time_limit : float, optional
        Seconds after which each problem returns its best model so far, with a warning.

    Attributes
    ----------
    coef_ : ndarray of shape (n_problems, n_features)
        The coefficients; (n_features,) if `y` was a vector.
    intercept_ : ndarray of shape (n_problems,)
        The intercepts; a float if `y` was a vector.
    dual_gap_, relative_gap_, kkt_, objective_, alpha_max_ : ndarray of shape (n_problems,)
        Each problem's duality gap, the same relative to the loss of the empty model, KKT residual, objective, and
        smallest level with an empty model; floats if `y` was a vector.
    n_iter_ : ndarray of shape (n_problems,), int
        Passes over the data.
    status_ : ndarray of shape (n_problems,), str
        "converged", or why a problem stopped.

    See Also
    --------
    StabilitySelection : How often features are selected on half of the samples.
    PermutationTest : Whether a model does better than on permuted targets.

    Examples
    --------
    Twenty bootstrap samples of a data set: how often is each feature selected?

    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from sparsemodels.linear_model import SimultaneousGLM
    >>> X, y = load_diabetes(return_X_y=True)
    >>> counts = np.random.default_rng(0).multinomial(442, np.full(442, 1 / 442), size=20)
    >>> model = SimultaneousGLM(alpha=1.0).fit(X, y[:, None], sample_weight=counts.T)
    >>> model.coef_.shape
    (20, 10)
    >>> bool((model.relative_gap_ <= 1e-6).all())
    True
    """

    _parameter_constraints: dict = {
        **CompositeEstimator._parameter_constraints,
        "loss": [StrOptions(set(LOSSES))],
        "alpha": [Interval(Real, 0, None, closed="left"), "array-like"],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        loss="squared",
        alpha=1.0,
        *,
        l1_ratio=1.0,
        fit_intercept=True,
        penalty_weights=None,
        positive=False,
        bounds=None,
        tol=1e-6,
        max_iter=1000,
        warm_start=False,
        time_limit=None,
    ):
        self.loss = loss
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.penalty_weights = penalty_weights
        self.positive = positive
        self.bounds = bounds
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.time_limit = time_limit

    def _penalty(self, n_features: int) -> Any:
        return make_penalty(self.l1_ratio, self.penalty_weights, self.bounds, self.positive, n_features)

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Fit all models.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples. Dense and CSC input of 32 or 64 bits is used in place, and never copied.
        y : array-like of shape (n_samples,), (n_samples, 1) or (n_samples, n_problems)
            Targets: of one problem, of all problems, or of each.
        sample_weight : array-like of shape (n_samples,) or (n_samples, n_problems), optional
            Weights >= 0, of all problems or of each; an integer weight is a row that stands so many times.

        Returns
        -------
        SimultaneousGLM
            The fitted estimator itself.
        """
        with threadpool_limits(1, "blas"):  # thousands of small products: threads cost more than they bring
            self._fit(X, y, sample_weight)
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        require_numpy(X, "coordinate descent")
        X, y = validate_data(
            self, X, y, accept_sparse="csc", dtype=(np.float64, np.float32), multi_output=True, y_numeric=True
        )
        targets = np.asarray(y, dtype=np.float64).reshape(X.shape[0], -1)
        check_loss_targets(self.loss, targets)
        weights = problem_weights(sample_weight, X, y)
        n_problems = max(targets.shape[1], weights.shape[1])
        if min(targets.shape[1], weights.shape[1]) not in (1, n_problems):
            raise ValueError(
                f"y and sample_weight must have equally many columns or one, got {targets.shape[1]} and "
                f"{weights.shape[1]}."
            )
        alphas = self._levels(n_problems)
        penalty, deadline = self._penalty(X.shape[1]), self._deadline()
        starts = self._starts(n_problems, penalty)
        design = Design(as_columns(X), fit_intercept=self.fit_intercept)
        largest = np.full(n_problems, np.nan)
        context = self._init_callback_context(max_subtasks=n_problems)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        stopped: list[bool] = []

        def start(k: int) -> tuple[Companion, Generator[None, None, Solution]]:
            target = np.ascontiguousarray(targets[:, k if targets.shape[1] > 1 else 0])
            weight = np.ascontiguousarray(weights[:, k if weights.shape[1] > 1 else 0])
            problem = design.problem(LOSSES[self.loss](target, weight / weight.sum()))
            return problem, passes(k, problem)

        def passes(k: int, problem: Companion) -> Generator[None, None, Solution]:
            task = context.subcontext(task_name="problem")
            task.call_on_fit_task_begin(estimator=self, X=X, y=y)
            largest[k] = yield from alpha_max_passes(problem, penalty)
            problem.restart(starts[k])
            solution = yield from problem.passes(
                with_alpha(penalty, alphas[k]),
                tol=self.tol,
                max_iter=self.max_iter,
                deadline=deadline,
                on_pass=lambda *_: bool(stopped),
            )
            if task.call_on_fit_task_end(estimator=self, X=X, y=y):
                stopped.append(True)
            return solution._replace(dual=np.empty(0))  # as long as the data, for every problem

        solutions = run_together(design, [partial(start, k) for k in range(n_problems)])
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        self._set_solutions(solutions, largest, X, y.ndim == 1)

    def _levels(self, n_problems: int) -> np.ndarray:
        alphas = np.asarray(self.alpha, dtype=np.float64)
        if alphas.shape not in ((), (n_problems,)):
            raise ValueError(
                f"alpha must be a number or have one entry for each of the {n_problems} problems, "
                f"got shape {alphas.shape}."
            )
        if not np.isfinite(alphas).all() or (alphas < 0.0).any():
            raise ValueError(f"alpha must be finite and >= 0, got {self.alpha!r}.")
        return np.broadcast_to(alphas, (n_problems,))

    def _starts(self, n_problems: int, penalty: Any) -> list[np.ndarray | None]:
        last = np.atleast_2d(self.coef_) if self.warm_start and hasattr(self, "coef_") else np.empty((0, 0))
        if last.shape != (n_problems, self.n_features_in_):
            return [None] * n_problems
        lower, upper = (penalty.lower, penalty.upper) if hasattr(penalty, "lower") else (-np.inf, np.inf)
        inner = penalty.penalty if hasattr(penalty, "penalty") else penalty
        last = np.where(np.isinf(inner.weights), 0.0, np.clip(last.astype(np.float64), lower, upper))
        return list(last)

    def _set_solutions(self, solutions: list[Any], largest: np.ndarray, X: Any, vectors: bool) -> None:
        nothing = np.zeros(X.shape[1]), 0.0, np.nan, np.inf, np.inf, np.empty(0), np.nan
        empty = Solution(*nothing, n_iter=0, converged=False, status="interrupted")
        solutions = [empty if solution is None else solution for solution in solutions]

        def collect(name: str) -> Any:
            values = np.array([getattr(solution, name) for solution in solutions])
            return values[0].item() if vectors else values

        null = collect("null_objective")
        self.coef_ = np.array([solution.coef for solution in solutions], dtype=X.dtype)
        self.coef_ = self.coef_[0] if vectors else self.coef_
        self.intercept_, self.n_iter_, self.objective_ = collect("intercept"), collect("n_iter"), collect("objective")
        self.dual_gap_, self.kkt_, self.status_ = collect("dual_gap"), collect("kkt"), collect("status")
        gaps = np.atleast_1d(self.dual_gap_ / np.where(null > 0.0, null, 1.0))
        self.relative_gap_: Any = float(gaps[0]) if vectors else gaps
        self.alpha_max_: Any = float(largest[0]) if vectors else largest
        statuses = [solution.status for solution in solutions]
        if "interrupted" in statuses:
            raise KeyboardInterrupt
        failed = [k for k, status in enumerate(statuses) if status != "converged"]
        if failed:
            worst = max(failed, key=lambda k: gaps[k])
            name = type(self).__name__
            if len(statuses) > 1:
                name = f"{name} on {len(failed)} of {len(statuses)} problems, the worst of which is number {worst},"
            target = self.tol * solutions[worst].null_objective
            warn_unless_converged(name, statuses[worst], solutions[worst].dual_gap, target)

    def _inverse_link(self, predictor: np.ndarray) -> np.ndarray:
        return scipy.special.expit(predictor) if self.loss == "logistic" else predictor

    def predict(self, X: Any) -> np.ndarray:
        """Predict the mean of the target under every model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, n_problems)
            Predictions: for the logistic loss, probabilities; of shape (n_samples,) if the target was a vector.
        """
        return super().predict(X)
