"""The base of the regressors among the composite estimators."""

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin

from sparsemodels.linear_model.composite_estimator import CompositeEstimator


class CompositeRegressor(RegressorMixin, CompositeEstimator):
    """Base of the regressors that minimise a loss plus a penalty."""

    def _inverse_link(self, predictor: np.ndarray) -> np.ndarray:
        """From the linear predictor to the mean of the target."""
        return predictor

    def predict(self, X: Any) -> np.ndarray:
        """Predict the target.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples,)
            Predictions, in the units of the training target.
        """
        return self._inverse_link(self._linear_predictor(X))
