"""What the estimators that choose a rank share: a factorization of the chosen rank that speaks for them."""

import time
import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sparsemodels._base import BaseEstimator, CallbackSupportMixin, Interval

from .nmf import NMF


def check_ranks(ranks: Any) -> list[int]:
    """Candidate ranks, ascending, each once."""
    candidates = np.asarray(ranks)
    if candidates.ndim != 1 or candidates.size == 0 or candidates.dtype.kind not in "iu" or candidates.min() < 1:
        raise ValueError(f"ranks must be a non-empty list of integers >= 1, got {ranks!r}.")
    return np.unique(candidates).tolist()


def rank_candidate(estimator: Any, rank: int, seed: int) -> Any:
    """An unfitted copy of a factorization with another rank, and with a seed where it has none of its own."""
    candidate = clone(estimator).set_params(n_components=rank)
    if "random_state" in candidate.get_params(deep=False) and candidate.random_state is None:
        candidate.set_params(random_state=seed)
    return candidate


def given(**metadata: Any) -> dict[str, Any]:
    """What of optional metadata is there."""
    return {name: value for name, value in metadata.items() if value is not None}


def _best_has(name: str) -> Any:
    return available_if(lambda self: hasattr(getattr(self, "best_estimator_", self._factorization()), name))


class RankSelector(ClassNamePrefixFeaturesOutMixin, TransformerMixin, CallbackSupportMixin, BaseEstimator):
    """Base of the estimators that choose the rank of a factorization.

    A subclass's `fit` sets `best_estimator_` and `status_`.
    """

    _parameter_constraints: dict = {
        "estimator": "no_validation",  # what it must be able to do is checked in fit
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
        "n_jobs": [None, Integral],
    }

    def _factorization(self) -> Any:
        return NMF() if self.estimator is None else self.estimator

    def _check_estimator(self) -> Any:
        estimator = self._factorization()
        if not hasattr(estimator, "fit") or "n_components" not in estimator.get_params(deep=False):
            name = type(estimator).__name__
            raise ValueError(f"estimator must be a factorization with the parameter n_components, got {name}.")
        return estimator

    def _deadline(self) -> float:
        return np.inf if self.time_limit is None else time.monotonic() + self.time_limit

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self._factorization())
        tags.input_tags = inner.input_tags
        if inner.transformer_tags is not None:
            tags.transformer_tags = inner.transformer_tags
        return tags

    def get_metadata_routing(self) -> MetadataRouter:
        """Say what becomes of metadata: a mask and weights are used here, all else is for the factorization.

        Returns
        -------
        MetadataRouter
            Description of the routes.
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        return router.add(
            estimator=self._factorization(), method_mapping=MethodMapping().add(caller="fit", callee="fit")
        )

    def _routed(self, params: dict[str, Any]) -> dict[str, Any]:
        """What of a fit's other arguments the factorization asks for."""
        return dict(process_routing(self, "fit", **params).estimator.fit) if params else {}

    def _warn_unless_all_tried(self) -> None:
        if self.status_ != "converged":
            reason = {"time_limit": "the time_limit was reached", "stopped": "a callback stopped the search"}
            warnings.warn(
                f"{type(self).__name__} has not tried all ranks: {reason[self.status_]}; the best of "
                f"{self.ranks_.tolist()} is {self.best_rank_}.",
                ConvergenceWarning,
                stacklevel=4,
            )

    @property
    def components_(self) -> np.ndarray:
        """The components of the factorization of the chosen rank."""
        return self.best_estimator_.components_

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def fit_transform(self, X: Any, y: Any = None, *, mask: Any = None, weights: Any = None, **params: Any) -> Any:
        """Choose the rank, and return the codes of all samples under it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The matrix, as in :meth:`fit`.
        y : None
            Ignored.
        mask : array-like of bool of shape (n_samples, n_features), optional
            As in :meth:`fit`.
        weights : array-like or sparse matrix of shape (n_samples, n_features), optional
            As in :meth:`fit`.
        **params : dict
            As in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_samples, `n_components_`)
            The codes.
        """
        return self.fit(X, y, mask=mask, weights=weights, **params).transform(X, mask=mask, weights=weights)

    def transform(self, X: Any, *, mask: Any = None, weights: Any = None) -> Any:
        """The codes of samples under the factorization of the chosen rank.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        mask : array-like of bool of shape (n_samples, n_features), optional
            True where a dense X is known.
        weights : array-like or sparse matrix of shape (n_samples, n_features), optional
            Weights >= 0 of the entries.

        Returns
        -------
        ndarray of shape (n_samples, `n_components_`)
            The codes.
        """
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_.transform(X, **given(mask=mask, weights=weights))

    @_best_has("inverse_transform")
    def inverse_transform(self, X: Any) -> Any:
        """The matrix that codes stand for.

        Parameters
        ----------
        X : array-like of shape (n_samples, `n_components_`)
            Codes.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Their products with the components.
        """
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_.inverse_transform(X)

    @_best_has("score")
    def score(self, X: Any, y: Any = None, *, mask: Any = None, weights: Any = None) -> float:
        """The score of the factorization of the chosen rank.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : None
            Ignored.
        mask : array-like of bool of shape (n_samples, n_features), optional
            True where a dense X is known.
        weights : array-like or sparse matrix of shape (n_samples, n_features), optional
            Weights >= 0 of the entries.

        Returns
        -------
        float
            What the estimator's `score` says; the higher the better.
        """
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_.score(X, **given(mask=mask, weights=weights))
