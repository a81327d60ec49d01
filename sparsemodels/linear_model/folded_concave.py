"""What regressors under a folded concave penalty share: where they start, how they are solved, what they report."""

from typing import Any

import numpy as np
import scipy.sparse

from sparsemodels._base import StrOptions
from sparsemodels.linear_model.composite_estimator import check_bounds, check_penalty_weights
from sparsemodels.linear_model.composite_regressor import CompositeRegressor
from sparsemodels.solvers.accelerated_gradient import accelerated_gradient
from sparsemodels.solvers.columns import SparseColumns
from sparsemodels.solvers.composite import Composite, Solution
from sparsemodels.solvers.local_convexity import smallest_curvature
from sparsemodels.solvers.losses import curvature
from sparsemodels.solvers.path import Path, solve_path
from sparsemodels.solvers.penalties import L1, Box, with_alpha
from sparsemodels.solvers.penalties.vector_functions import kkt_distances

# The relative gap of the LASSO that a fit starts from: a start needs its support and rough values, not its digits.
_START = 1e-3


class FoldedConcaveRegressor(CompositeRegressor):
    """Base of the regressors under MCP and SCAD.

    A nonconvex problem has many stationary points, and which of them a descent finds depends on where it starts. A
    single fit starts from the LASSO of the same level, which is convex and hence starts from nowhere in particular; a
    path starts each level from the one before.
    """

    _parameter_constraints: dict = {
        **{name: rule for name, rule in CompositeRegressor._parameter_constraints.items() if name != "bounds"},
        "init": [StrOptions({"lasso", "zero"})],
        "solver": [StrOptions({"auto", "coordinate_descent", "accelerated_gradient"})],
    }

    def _concave_penalty(self, weights: np.ndarray) -> Any:
        """The record of the penalty at the level one, without constraints."""
        raise NotImplementedError

    def _penalty(self, n_features: int) -> Any:
        penalty = self._concave_penalty(check_penalty_weights(self.penalty_weights, n_features))
        if not self.positive:
            return penalty
        if self.solver == "accelerated_gradient":
            raise ValueError("positive must be False with solver='accelerated_gradient', got True.")
        lower, upper = check_bounds(None, True, n_features)  # type: ignore[misc]
        return Box(penalty, lower, upper)

    def _problem(self, X: Any, y: np.ndarray, weights: np.ndarray) -> Composite:
        self._solved = super()._problem(X, y, weights)  # until the solution is set
        return self._solved

    def _solve(self, problem: Composite, penalty: Any, deadline: float, on_pass: Any) -> Solution:
        passes = 0
        if self.init == "lasso" and self.max_iter > 1 and not problem.coef.any():
            start = problem.solve(
                _lasso(penalty), tol=_START, max_iter=self.max_iter - 1, deadline=deadline, on_pass=on_pass
            )
            passes = start.n_iter
            if start.status in ("interrupted", "stopped", "time_limit"):
                problem.restart(start.coef)
                reached = problem.solve(penalty, tol=self.tol, max_iter=1)
                return reached._replace(n_iter=passes, status=start.status, converged=False)
        solve = _accelerated if self.solver == "accelerated_gradient" else Composite.solve
        solution = solve(
            problem, penalty, tol=self.tol, max_iter=self.max_iter - passes, deadline=deadline, on_pass=on_pass
        )
        return solution._replace(n_iter=passes + solution.n_iter)

    def _path(
        self, problem: Composite, penalty: Any, alphas: np.ndarray, deadline: float, on_alpha: Any = None
    ) -> Path:
        path = solve_path(
            problem,
            penalty,
            alphas,
            tol=self.tol,
            max_iter=self.max_iter,
            deadline=deadline,
            solve=_accelerated if self.solver == "accelerated_gradient" else None,
            on_alpha=on_alpha,
        )
        if problem is self.__dict__.get("_solved"):  # and not that of a fold
            self.kkt_path_ = path.kkts
        return path

    def _set_solution(self, solution: Solution, dtype: Any) -> None:
        problem = self.__dict__.pop("_solved")
        level = getattr(self, "alpha_", None)  # chosen by cross-validation
        penalty = with_alpha(self._penalty(problem.n_features), self.alpha if level is None else level)
        weights = curvature(problem.loss, problem.predictor)
        self.smallest_curvature_ = smallest_curvature(
            problem.X, weights, penalty, solution.coef, fit_intercept=self.fit_intercept
        )
        self.locally_convex_ = self.smallest_curvature_ > 0.0
        super()._set_solution(solution, dtype)


def _lasso(penalty: Any) -> Any:
    """The L1 norm with the same slope at zero."""
    if isinstance(penalty, Box):
        return penalty._replace(penalty=_lasso(penalty.penalty))
    return L1(penalty.alpha, penalty.weights)


def _accelerated(
    problem: Composite,
    penalty: Any,
    *,
    tol: float,
    max_iter: int,
    deadline: float,
    candidates: Any = None,
    on_pass: Any = None,
) -> Solution:
    """The accelerated gradient in the place of :meth:`Composite.solve`; it works on all features at once."""
    X = problem.X
    if isinstance(X, SparseColumns):
        X = scipy.sparse.csc_array((X.data, X.indices, X.indptr), shape=(problem.n_samples, problem.n_features))
    found = accelerated_gradient(
        X,
        problem.loss,
        penalty,
        fit_intercept=problem.fit_intercept,
        coef=problem.coef,
        tol=tol,
        max_iter=max_iter,
        deadline=deadline,
    )
    problem.restart(found.coef)
    kkt = kkt_distances(penalty, problem.coef, problem.slope, problem.features, np.empty(problem.n_features))
    stop = on_pass is not None and on_pass(found.n_iter, np.inf)
    status = "stopped" if stop and not found.converged else found.status
    return Solution(
        coef=problem.coef.copy(),
        intercept=problem.intercept,
        objective=problem.objective(penalty),
        dual_gap=np.inf,
        kkt=kkt,
        dual=problem.theta,
        null_objective=problem.null_objective,
        n_iter=found.n_iter,
        converged=found.converged,
        status=status,
    )
