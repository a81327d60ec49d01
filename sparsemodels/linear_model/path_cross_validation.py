"""Cross-validated choice of the penalty level, shared by the ``*CV`` estimators."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.model_selection import check_cv
from threadpoolctl import threadpool_limits

from sparsemodels._base import Interval, StrOptions
from sparsemodels.linear_model.composite_estimator import CompositeEstimator, warn_unless_converged
from sparsemodels.solvers.columns import SparseColumns
from sparsemodels.solvers.composite import Composite, Solution
from sparsemodels.solvers.cross_validation import choose_level, cross_validate
from sparsemodels.solvers.path import Path, alpha_grid, path_passes
from sparsemodels.solvers.simultaneous import Design


def check_alphas(alphas: Any) -> np.ndarray:
    """A decreasing vector of finite levels >= 0 from what the user gave."""
    try:
        vector = np.asarray(alphas, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"alphas must be a count or an array of numbers, got {alphas!r}.") from None
    if vector.ndim != 1 or vector.size == 0:
        raise ValueError(f"alphas must be a count or a non-empty 1-D array, got shape {vector.shape}.")
    if not np.isfinite(vector).all() or (vector < 0.0).any():
        raise ValueError(f"alphas must be finite and >= 0, got {vector[~(vector >= 0.0) | ~np.isfinite(vector)][0]}.")
    return np.sort(vector)[::-1].copy()


def levels(largest: float, alphas: Any, eps: float) -> np.ndarray:
    """The levels of a path, decreasing: as given, or a grid from the largest that is of interest."""
    if not isinstance(alphas, Integral):
        return check_alphas(alphas)
    if not np.isfinite(largest):
        raise ValueError("l1_ratio must be > 0 for an automatic grid, got 0: no level makes all coefficients zero.")
    # With a constant target (or nothing to penalise) every level gives the same model; the grid is then arbitrary.
    return alpha_grid(largest if largest > 0.0 else 1.0, int(alphas), eps)


def cross_validated(constraints: dict, **others: Any) -> dict:
    """The parameter constraints of an estimator's ``*CV`` class, from those of the estimator."""
    own = {name: rule for name, rule in constraints.items() if name not in ("alpha", "warm_start")}
    return {**own, **PathCrossValidation._parameter_constraints, **others}


class PathCrossValidation(CompositeEstimator):
    """What makes an estimator choose its `alpha` by cross-validation; stands before it among the base classes."""

    _parameter_constraints: dict = {
        "alphas": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "eps": [Interval(Real, 0, 1, closed="neither")],
        "cv": ["cv_object"],
        "selection": [StrOptions({"min", "1se"})],
        "n_jobs": [None, Integral],
    }

    def _candidates(self, n_features: int) -> list[tuple[dict, Any]]:
        """The penalties to compare: the parameters they stand for, and their records."""
        return [({}, self._penalty(n_features))]

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        # Hundreds of small problems: threads of BLAS cost more than they bring, and fight with those over the folds.
        with threadpool_limits(1, "blas"):
            self._fit_folds(X, y, sample_weight)

    def _fit_folds(self, X: Any, y: Any, sample_weight: Any) -> None:
        X, y, weights = self._validate(X, y, sample_weight)
        candidates = self._candidates(X.shape[1])
        folds = list(check_cv(self.cv, y, classifier=is_classifier(self)).split(X, y))
        deadline = self._deadline()
        context = self._init_callback_context(max_subtasks=len(candidates) * (len(folds) + 1))
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        full = self._problem(X, y, weights)
        design = self._shared_design(full)
        options = {"tol": self.tol, "max_iter": self.max_iter, "deadline": deadline}
        runs = []
        for parameters, penalty in candidates:
            largest = self._largest_level(full, penalty)
            alphas = levels(largest, self.alphas, self.eps)

            def fit_path(loss: Any, penalty: Any = penalty, alphas: np.ndarray = alphas) -> Any:
                if design is None:
                    return self._path(self._fold_problem(full, loss), penalty, alphas, deadline)
                problem = design.problem(loss)
                return problem, path_passes(problem, penalty, alphas, **options)

            validation = cross_validate(
                full.X, full.loss, weights, folds, alphas.size, fit_path, n_jobs=self.n_jobs, design=design
            )
            self._report(context, "folds", X, y)
            runs.append((parameters, penalty, alphas, largest, validation))
        means = [np.nanmin(np.append(run[-1].losses.mean(axis=1), np.inf)) for run in runs]
        parameters, penalty, alphas, largest, validation = runs[int(np.argmin(means))]
        for name, value in parameters.items():
            setattr(self, f"{name}_", value)
        full.restart()
        path = self._path(full, penalty, alphas, deadline)
        self._report(context, "path", X, y)
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        self._set_path(path, validation, largest, X.dtype)

    def _shared_design(self, full: Composite) -> Design | None:
        """What the folds share, where their paths are the usual ones: one product then serves all their gradients."""
        usual = (
            type(self)._path is CompositeEstimator._path
            and type(self)._fold_problem is CompositeEstimator._fold_problem
        )
        plain = type(full) is Composite and isinstance(full.X, (np.ndarray, SparseColumns))
        return Design(full.X, fit_intercept=self.fit_intercept) if usual and plain else None

    def _report(self, context: Any, name: str, X: Any, y: Any) -> None:
        task = context.subcontext(task_name=name)
        task.call_on_fit_task_begin(estimator=self, X=X, y=y)
        task.call_on_fit_task_end(estimator=self, X=X, y=y)

    def _set_path(self, path: Path, validation: Any, largest: float, dtype: Any) -> None:
        done = path.alphas.size
        losses = validation.losses[:done]
        best, sparsest = choose_level(losses) if np.isfinite(losses.mean(axis=1)).any() else (done - 1, done - 1)
        chosen = best if self.selection == "min" else sparsest
        self.alphas_ = path.alphas
        self.alpha_max_ = largest
        if type(self)._loss is CompositeEstimator._loss:
            self.mse_path_ = 2.0 * losses  # the squared loss is half of it
        else:
            self.loss_path_ = losses
        self.alpha_min_, self.alpha_1se_ = float(path.alphas[best]), float(path.alphas[sparsest])
        self.alpha_ = float(path.alphas[chosen])
        self.coef_path_ = path.coefs.astype(dtype, copy=False)
        self.intercept_path_ = path.intercepts
        self.dual_gap_path_ = path.dual_gaps
        self.n_iter_ = int(path.n_iters.sum())
        solution = Solution(
            coef=np.ascontiguousarray(path.coefs[:, chosen]),
            intercept=path.intercepts[chosen],
            objective=path.objectives[chosen],
            dual_gap=path.dual_gaps[chosen],
            kkt=path.kkts[chosen],
            dual=np.empty(0),
            null_objective=path.null_objective,
            n_iter=self.n_iter_,
            converged=path.converged,
            status=path.status,
        )
        self.max_fold_gap_ = (
            float(np.nanmax(validation.dual_gaps)) if np.isfinite(validation.dual_gaps).any() else np.inf
        )
        interrupted = [status for status in validation.statuses if status == "interrupted"]
        self._set_solution(solution._replace(status="interrupted") if interrupted else solution, dtype)
        failed = [status for status in validation.statuses if status != "converged"]
        if failed:
            target, kkt = self.tol * path.null_objective, float(np.nanmax(np.append(validation.kkts, 0.0)))
            warn_unless_converged(f"{type(self).__name__} on a fold", failed[0], self.max_fold_gap_, target, kkt)
