"""The base of sparse Bayesian classifiers: from labels to posteriors, and from those to probabilities."""

import time
import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.special
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from sparsemodels._base import BaseEstimator, CallbackSupportMixin, Interval, StrOptions, check_weights
from sparsemodels._remedies import REMEDIES
from sparsemodels.bayes.relevance_threshold import relevance_threshold
from sparsemodels.solvers.class_likelihood import class_contrasts
from sparsemodels.solvers.class_posterior import score_covariances
from sparsemodels.solvers.laplace_evidence import LaplaceEvidence, laplace_evidence
from sparsemodels.solvers.moderated_probabilities import moderated_log_probabilities
from sparsemodels.solvers.row_blocks import map_blocks


def _dtype_of(X: Any) -> Any:
    return np.float32 if getattr(X, "dtype", None) == np.float32 else np.float64


def _log_probabilities_of_two(log_odds: np.ndarray, variances: np.ndarray) -> np.ndarray:
    apart = np.zeros((len(log_odds), 2, 2))
    apart[:, 0, 1] = apart[:, 1, 0] = variances
    return moderated_log_probabilities(np.stack([np.zeros_like(log_odds), log_odds], axis=1), apart)


class LaplaceClassifier(ClassifierMixin, CallbackSupportMixin, BaseEstimator):
    """Base of the classifiers with independent Gaussian priors on the coefficients of a design.

    A subclass checks new samples in `_validate_new` and turns them into the columns of its design in `_columns`.
    """

    _parameter_constraints: dict = {
        "multi_class": [StrOptions({"multinomial", "ovr"})],
        "threshold": [Interval(Real, 1, None, closed="left"), StrOptions({"auto"})],
        "fit_intercept": ["boolean"],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
    }

    def _validate_new(self, X: Any) -> Any:
        """Samples to predict, checked against those of `fit`."""
        raise NotImplementedError

    def _columns(self, X: Any, indices: np.ndarray) -> np.ndarray:
        """Some columns of the design at new samples that were checked, dense."""
        raise NotImplementedError

    def _validate_classes(self, X: Any, y: Any, sample_weight: Any) -> tuple[Any, np.ndarray, np.ndarray]:
        """Samples of positive weight, their positions in `classes_`, and their weights times class weights."""
        check_classification_targets(y)
        weights = check_weights(sample_weight, X)
        if isinstance(self.class_weight, dict):
            for label, weight in self.class_weight.items():
                if not 0.0 <= weight < np.inf:
                    raise ValueError(f"class_weight must hold finite weights >= 0, got {weight!r} for class {label!r}.")
            weights = weights * compute_sample_weight(self.class_weight, y)
        if not weights.all():
            X, y, weights = X[weights > 0.0], np.asarray(y)[weights > 0.0], weights[weights > 0.0]
        classes, codes = np.unique(y, return_inverse=True)
        if classes.size < 2:
            raise ValueError(
                "y must hold at least two classes with positive weight, got "
                + ("none." if classes.size == 0 else f"the one class {classes.tolist()[0]!r}.")
            )
        if self.class_weight == "balanced":
            weights = weights * (weights.sum() / (classes.size * np.bincount(codes, weights=weights)))[codes]
        self.classes_ = classes
        return X, codes, weights

    def _start(self, n_columns: int, n_problems: int) -> list[Any]:
        """Where a warm start begins: at the last prior variances, one pair (active, variances) a problem."""
        if not self.warm_start or not hasattr(self, "prior_variances_"):
            return [None] * n_problems
        variances = np.atleast_2d(self.prior_variances_)
        if variances.shape != (n_problems, n_columns):
            return [None] * n_problems
        return [(np.flatnonzero(row), row[row > 0.0].astype(np.float64)) for row in variances]

    def _one_problem(self) -> bool:
        return self.classes_.size == 2 or self.multi_class == "multinomial"

    def _most_iterations(self) -> int:
        """Iterations that a fit can make: the number of subtasks of its callback context."""
        return self.max_iter * (1 if self._one_problem() else self.classes_.size)

    def _fit_design(self, design: Any, codes: np.ndarray, weights: np.ndarray, context: Any, X: Any, y: Any) -> None:
        """Find the posterior of the coefficients of a design and set what was fitted."""
        n_classes, n_columns = self.classes_.size, design.shape[1]
        tasks = (
            [(codes, n_classes)]
            if self._one_problem()
            else [((codes == k).astype(np.intp), 2) for k in range(n_classes)]
        )
        starts = self._start(n_columns, len(tasks))
        self.threshold_ = relevance_threshold(self.threshold, n_columns, tasks[0][1] - 1)
        deadline = np.inf if self.time_limit is None else time.monotonic() + self.time_limit

        def on_iteration(n_iter: int, log_evidence: float) -> bool:
            task = context.subcontext(task_name="iteration")
            task.call_on_fit_task_begin(estimator=self, X=X, y=y)
            return bool(task.call_on_fit_task_end(estimator=self, X=X, y=y))

        found: list[LaplaceEvidence] = []
        broken = False
        for (labels, n_labels), start in zip(tasks, starts):
            solution = laplace_evidence(
                design,
                labels,
                weights,
                n_classes=n_labels,
                fit_intercept=self.fit_intercept,
                threshold=self.threshold_,
                tol=self.tol,
                max_iter=0 if broken else self.max_iter,
                start=start,
                deadline=deadline,
                on_iteration=on_iteration,
            )
            broken = broken or solution.status in ("stopped", "interrupted")
            found.append(solution)
        self._set_posteriors(found, n_columns)

    def _set_posteriors(self, found: list[LaplaceEvidence], n_columns: int) -> None:
        """Fitted attributes as plain data."""
        coefficients = np.zeros((len(found[0].coef) if len(found) == 1 else len(found), n_columns))
        variances = np.zeros((len(found), n_columns))
        for k, one in enumerate(found):
            variances[k, one.active] = one.variances
            rows = slice(None) if len(found) == 1 else slice(k, k + 1)
            coefficients[rows, one.active] = one.coef
        self._coefficients = coefficients
        self._intercepts = np.concatenate([one.intercept for one in found])
        self._posteriors = [
            {"active": one.active, "centers": one.centers, "inverse_factor": one.inverse_factor} for one in found
        ]
        single = len(found) == 1
        self.prior_variances_ = variances[0] if single else variances
        self._active = np.flatnonzero(variances.any(axis=0))
        covariances = [self._coefficient_covariance(one) for one in found]
        self.covariance_ = covariances[0] if single else covariances
        self.log_evidence_ = found[0].log_evidence if single else np.array([one.log_evidence for one in found])
        self.log_evidences_ = found[0].log_evidences if single else [one.log_evidences for one in found]
        self.kkt_ = max(one.kkt for one in found)
        self.n_iter_ = max(one.n_iter for one in found)
        statuses = [one.status for one in found]
        ends = [s for s in ("interrupted", "stopped", "time_limit", "max_iter", "stalled") if s in statuses]
        self.status_ = ends[0] if ends else "converged"

    def _coefficient_covariance(self, one: LaplaceEvidence) -> np.ndarray:
        """The covariance of the active coefficients: (a, a), or (n_classes, a, n_classes, a) for the softmax."""
        m, a = max(len(one.coef) - 1, 1), len(one.active)
        half = one.inverse_factor[:, one.inverse_factor.shape[1] - a * m :]
        if m == 1:
            return half.T @ half
        spread = np.einsum("daj,kj->dka", half.reshape(len(half), a, m), class_contrasts(m + 1))
        return np.tensordot(spread, spread, axes=(0, 0))

    def _report(self) -> None:
        """Raise an interruption again and warn of a fit that did not converge, once the model is kept."""
        if self.status_ == "interrupted":
            raise KeyboardInterrupt
        if self.status_ != "converged":
            warnings.warn(
                f"{type(self).__name__} did not reach its tolerance: violation of the conditions of the evidence "
                f"{self.kkt_:.3e}, tol={self.tol:.3e}; {REMEDIES[self.status_]}.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _moments(self, X: Any, work: Any) -> np.ndarray:
        """Rows of what `work(logits, covariances)` makes of the moments of the scores, block of rows by block of rows.

        `logits` has a column a class, or one for two classes; `covariances` is a list, one a problem, of blocks of
        shape (n_contrasts, n_contrasts, n_rows).
        """
        active = self._active
        columns = self._columns(X, active)

        def block(start: int, stop: int) -> np.ndarray:
            rows = columns[start:stop].astype(np.float64, copy=False)
            logits = rows @ self._coefficients[:, active].T + self._intercepts
            covariances = []
            for posterior in self._posteriors:
                chosen = rows[:, np.searchsorted(active, posterior["active"])] - posterior["centers"]
                if self.fit_intercept:
                    chosen = np.hstack([np.ones((len(rows), 1)), chosen])
                alone = len(self._posteriors) > 1 or len(self.classes_) == 2
                m = 1 if alone else len(self.classes_) - 1
                covariances.append(score_covariances(chosen, posterior["inverse_factor"], m))
            return work(logits, covariances)

        return np.concatenate(map_blocks(columns.shape[0], None, block))

    def linear_predictor(self, X: Any, return_std: bool = False) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """The posterior mean of the scores: the log odds of the second class, or one score a class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        return_std : bool, default=False
            Whether to return the posterior standard deviations of the scores as well.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            The means. Of a softmax they sum to zero over classes.
        std : ndarray of the same shape
            The standard deviations, with `return_std` only.
        """
        check_is_fitted(self)
        X = self._validate_new(X)
        dtype, binary = _dtype_of(X), len(self.classes_) == 2
        if not return_std:
            scores = self._columns(X, self._active) @ self._coefficients[:, self._active].T + self._intercepts
            return (scores[:, 0] if binary else scores).astype(dtype)

        def work(logits: np.ndarray, covariances: list[np.ndarray]) -> np.ndarray:
            if binary or len(covariances) > 1:
                variances = np.stack([c[0, 0] for c in covariances], axis=1)
            else:
                V = class_contrasts(len(self.classes_))
                variances = np.einsum("kl,lmi,km->ik", V, covariances[0], V, optimize=True)
            return np.stack([logits, np.sqrt(variances)], axis=2)

        both = self._moments(X, work).astype(dtype)
        both = both[:, 0] if binary else both
        return both[..., 0], both[..., 1]

    def _log_probabilities(self, X: Any) -> np.ndarray:
        """Log probabilities of the classes, averaged over the posterior."""
        check_is_fitted(self)
        X = self._validate_new(X)

        def work(logits: np.ndarray, covariances: list[np.ndarray]) -> np.ndarray:
            if len(covariances) > 1:
                pairs = zip(logits.T, covariances)
                own = np.stack([_log_probabilities_of_two(one, c[0, 0])[:, 1] for one, c in pairs], axis=1)
                return own - scipy.special.logsumexp(own, axis=1, keepdims=True)
            if logits.shape[1] == 1:
                return _log_probabilities_of_two(logits[:, 0], covariances[0][0, 0])
            V = class_contrasts(len(self.classes_))
            between = np.einsum("kl,lmi,jm->ikj", V, covariances[0], V, optimize=True)
            own = np.einsum("ikk->ik", between)
            apart = own[:, :, None] + own[:, None, :] - 2.0 * between
            return moderated_log_probabilities(logits, np.maximum(apart, 0.0))

        return self._moments(X, work).astype(_dtype_of(X))

    def decision_function(self, X: Any) -> np.ndarray:
        """The log odds of the second class, or the log probability of each class, averaged over the posterior.

        Nearer to indifference than the linear predictor, the more so the less is known of it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            The decisions; one column a class if there are more than two.
        """
        logs = self._log_probabilities(X)
        return logs[:, 1] - logs[:, 0] if logs.shape[1] == 2 else logs

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, averaged over the posterior of the scores.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of `classes_`.
        """
        return np.exp(self._log_probabilities(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithm of the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Log probabilities, in the order of `classes_`.
        """
        return self._log_probabilities(X)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples,)
            Classes.
        """
        decision = self.decision_function(X)
        codes = (decision > 0.0).astype(np.intp) if decision.ndim == 1 else decision.argmax(axis=1)
        return self.classes_[codes]
