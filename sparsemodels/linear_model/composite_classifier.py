"""The base of the classifiers among the composite estimators."""

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from sparsemodels._base import StrOptions, check_weights, require_numpy
from sparsemodels.linear_model.composite_estimator import CompositeEstimator
from sparsemodels.solvers.composite import Solution
from sparsemodels.solvers.losses import Logistic


class CompositeClassifier(ClassifierMixin, CompositeEstimator):
    """Base of the classifiers that minimise a logistic loss plus a penalty, of two classes unless a subclass says more.

    The second of the sorted classes is the one that a positive decision stands for.
    """

    _parameter_constraints: dict = {
        **CompositeEstimator._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }
    _multiclass = False

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = self._multiclass
        return tags

    def _validate(self, X: Any, y: Any, sample_weight: Any) -> tuple[Any, np.ndarray, np.ndarray]:
        """Design, class of each row as its position among the sorted classes, and weights times class weights."""
        require_numpy(X, "coordinate descent")
        X, y = validate_data(self, X, y, accept_sparse="csc", dtype=(np.float64, np.float32))
        check_classification_targets(y)
        weights = check_weights(sample_weight, X)
        classes, codes = np.unique(y, return_inverse=True)
        if not self._multiclass and classes.size > 2:
            raise ValueError(
                f"Only binary classification is supported. The type of the target is multiclass: "
                f"y must hold two classes, got {classes.size}."
            )
        present = classes[np.bincount(codes, weights=weights, minlength=classes.size) > 0.0]
        if present.size < 2:
            raise ValueError(
                f"y must hold at least two classes with positive weight, got the one class {present.tolist()[0]!r}."
            )
        if isinstance(self.class_weight, dict):
            for label, weight in self.class_weight.items():
                if not 0.0 <= weight < np.inf:
                    raise ValueError(f"class_weight must hold finite weights >= 0, got {weight!r} for class {label!r}.")
        if self.class_weight is not None:
            weights = weights * self._class_weights(y, codes, classes, weights)
            if np.count_nonzero(np.bincount(codes, weights=weights) > 0.0) < 2:
                raise ValueError(f"class_weight must leave weight on two classes, got {self.class_weight!r}.")
        self.classes_ = classes
        return X, codes.astype(np.float64), weights

    def _class_weights(self, y: np.ndarray, codes: np.ndarray, classes: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """One factor a row; "balanced" gives every class the same total weight, sample weights included."""
        if self.class_weight == "balanced":
            totals = np.bincount(codes, weights=weights, minlength=classes.size)
            share = np.divide(weights.sum(), classes.size * totals, out=np.zeros(classes.size), where=totals > 0.0)
            return share[codes]
        return compute_sample_weight(self.class_weight, y)

    def _loss(self, y: np.ndarray, weights: np.ndarray) -> Any:
        return Logistic(y, weights)

    def _set_coefficients(self, solution: Solution, dtype: Any) -> None:
        self.coef_ = np.atleast_2d(solution.coef).astype(dtype, copy=False)
        self.intercept_ = np.atleast_1d(solution.intercept).astype(dtype)  # type: ignore[assignment]

    def decision_function(self, X: Any) -> np.ndarray:
        """The linear predictor: the log odds of the second class, or one unnormalised log probability a class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            The predictor; one column a class if there are more than two.
        """
        check_is_fitted(self)
        predictor = self._linear_predictor(X)
        return predictor.ravel() if predictor.shape[1] == 1 else predictor

    def predict(self, X: Any) -> np.ndarray:
        """Predict the most probable class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples,)
            Classes.
        """
        predictor = self.decision_function(X)
        codes = (predictor > 0.0).astype(int) if predictor.ndim == 1 else predictor.argmax(axis=1)
        return self.classes_[codes]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of `classes_`.
        """
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Predict the logarithm of the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Log probabilities, in the order of `classes_`.
        """
        predictor = self.decision_function(X)
        if predictor.ndim == 1:
            return -np.logaddexp(0.0, np.column_stack([predictor, -predictor]))
        largest = predictor.max(axis=1, keepdims=True)
        return predictor - largest - np.log(np.exp(predictor - largest).sum(axis=1, keepdims=True))
