"""What the completions by two factors share: from what is known of a matrix to its codes and back."""

from typing import Any

import numpy as np
import scipy.sparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from sparsemodels._base import BaseEstimator, CallbackSupportMixin
from sparsemodels._known_entries import known_entries
from sparsemodels._remedies import REMEDIES as _REMEDIES
from sparsemodels.solvers.observed_matrix import SomeEntries
from sparsemodels.solvers.row_ridge import entries, residuals, solve_rows
from sparsemodels.solvers.top_items import top_items

REMEDIES = {**_REMEDIES, "rank_max": "the rank_max is in the way: increase it or alpha"}


class FactoredCompletion(ClassNamePrefixFeaturesOutMixin, TransformerMixin, CallbackSupportMixin, BaseEstimator):
    """Base of the estimators that complete a matrix by the product of codes and components.

    A subclass sets `components_` and `codes_`, and `_design`: the columns' rows of the fixed factor of a new row's
    ridge regression, with the mean to take off first and whether the last column holds biases; `_ridge` is its
    penalty.
    """

    codes_: np.ndarray
    components_: np.ndarray

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _design(self) -> tuple[np.ndarray, float, bool]:
        return np.ascontiguousarray(self.components_.T), 0.0, False

    def _ridge(self, counts: np.ndarray) -> np.ndarray:
        return np.full(counts.size, float(self.alpha))

    def _known(self, X: Any, mask: Any, weights: Any, *, reset: bool) -> SomeEntries:
        """The known entries of a matrix; a sparse one knows what it stores."""
        _, record = known_entries(self, X, mask, weights, missing="implicit", reset=reset, nonnegative=False)
        return entries(record)

    def _codes(self, matrix: SomeEntries) -> np.ndarray:
        design, mean, biased = self._design()
        rows = matrix.rows
        dtype = rows.data.dtype
        rows = rows._replace(data=rows.data - dtype.type(mean)) if mean else rows
        codes = np.zeros((rows.indptr.size - 1, design.shape[1]), dtype=dtype)
        ridge = self._ridge(weight_of_rows(rows))
        solve_rows(rows, codes, design.astype(dtype, copy=False), ridge, biased=biased, n_jobs=self.n_jobs)
        return codes

    def _rebuilt(self, codes: np.ndarray) -> np.ndarray:
        design, mean, biased = self._design()
        design = design.astype(codes.dtype, copy=False)
        if not biased:
            return codes @ design.T
        product = codes[:, :-1] @ design[:, :-1].T
        product += codes[:, -1:] + (design[:, -1] + codes.dtype.type(mean))
        return product

    def transform(self, X: Any, *, mask: Any = None, weights: Any = None) -> np.ndarray:
        """The codes of rows, new or old: each row's own ridge regression on the fitted components, solved exactly.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, as in :meth:`fit`. A row without known entries has the code zero.
        mask : array-like of bool of shape (n_samples, n_features), optional
            As in :meth:`fit`.
        weights : array-like or sparse matrix of shape (n_samples, n_features), optional
            As in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_codes)
            The codes.
        """
        check_is_fitted(self)
        return self._codes(self._known(X, mask, weights, reset=False))

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The rows that codes stand for, every entry of them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_codes)
            Codes.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The fitted values.
        """
        check_is_fitted(self)
        codes = check_array(X, dtype=(np.float64, np.float32), ensure_min_features=0)
        if codes.shape[1] != self.codes_.shape[1]:
            raise ValueError(f"X must have {self.codes_.shape[1]} columns, as the codes have, got {codes.shape[1]}.")
        return self._rebuilt(codes)

    def complete(self, X: Any, *, mask: Any = None, weights: Any = None) -> np.ndarray:
        """Rows with their unknown entries filled in; the known ones stay as they are.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, as in :meth:`fit`.
        mask : array-like of bool of shape (n_samples, n_features), optional
            As in :meth:`fit`.
        weights : array-like or sparse matrix of shape (n_samples, n_features), optional
            As in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The completed rows, dense.
        """
        check_is_fitted(self)
        matrix = self._known(X, mask, weights, reset=False)
        filled = self._rebuilt(self._codes(matrix))
        rows = np.repeat(np.arange(filled.shape[0]), np.diff(matrix.rows.indptr))
        filled[rows, matrix.rows.indices] = matrix.rows.data
        return filled

    def predict_pairs(self, pairs: Any) -> np.ndarray:
        """The fitted values of single entries of the training matrix.

        Parameters
        ----------
        pairs : array-like of int of shape (n_pairs, 2)
            Pairs of a row and a column of the training matrix, such as a user and an item, counted from 0.

        Returns
        -------
        ndarray of shape (n_pairs,)
            The fitted values.
        """
        check_is_fitted(self)
        pairs = np.asarray(pairs)
        design, mean, biased = self._design()
        shape = self.codes_.shape[0], design.shape[0]
        if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
            raise ValueError(
                f"pairs must be an integer array of shape (n_pairs, 2), got shape {pairs.shape} of type {pairs.dtype}."
            )
        if len(pairs) and (pairs.min() < 0 or (pairs.max(axis=0) >= shape).any()):
            raise ValueError(f"pairs must hold rows below {shape[0]} and columns below {shape[1]}, counted from 0.")
        result = np.empty(len(pairs), dtype=self.codes_.dtype)
        for start in range(0, len(pairs), 1 << 14):  # in blocks: two gathered factors are larger than the answer
            rows, columns = pairs[start : start + (1 << 14)].T
            left, right = self.codes_[rows], design[columns]
            if biased:
                values = np.einsum("ia,ia->i", left[:, :-1], right[:, :-1]) + left[:, -1] + right[:, -1] + mean
            else:
                values = np.einsum("ia,ia->i", left, right)
            result[start : start + (1 << 14)] = values
        return result

    def recommend(self, X: Any, n_items: int = 10, *, exclude_seen: bool = True) -> np.ndarray:
        """The columns with the largest fitted values in every row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, as in :meth:`fit`.
        n_items : int, default=10
            How many columns, 1 to `n_features`.
        exclude_seen : bool, default=True
            Whether to leave out the known entries of a row.

        Returns
        -------
        ndarray of int of shape (n_samples, n_items)
            The columns, the best first; -1 where a row has no more.
        """
        check_is_fitted(self)
        matrix = self._known(X, None, None, reset=False)
        check_n_items(n_items, self.n_features_in_)
        codes = self._codes(matrix)
        shape = codes.shape[0], self.n_features_in_
        rows = matrix.rows
        seen = scipy.sparse.csr_array((rows.data, rows.indices, rows.indptr), shape=shape) if exclude_seen else None
        return top_items(lambda part: self._rebuilt(codes[part]), *shape, n_items, exclude=seen)[0]

    def score(self, X: Any, y: Any = None, *, mask: Any = None, weights: Any = None) -> float:
        """The negative mean squared error over the known entries of rows, their codes fitted: the higher the better.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, as in :meth:`fit`.
        y : None
            Ignored.
        mask : array-like of bool of shape (n_samples, n_features), optional
            As in :meth:`fit`.
        weights : array-like or sparse matrix of shape (n_samples, n_features), optional
            As in :meth:`fit`.

        Returns
        -------
        float
            The score.
        """
        check_is_fitted(self)
        matrix = self._known(X, mask, weights, reset=False)
        codes = self._codes(matrix)
        design, mean, biased = self._design()
        rows = matrix.rows._replace(data=matrix.rows.data - matrix.rows.data.dtype.type(mean))
        errors = residuals(rows, codes, design.astype(codes.dtype, copy=False), biased)
        return -float(np.average(errors**2, weights=rows.weights if rows.weights.size else None))


def weight_of_rows(rows: Any) -> np.ndarray:
    """The weights of the known entries of each row together."""
    counts = np.diff(rows.indptr)
    if not rows.weights.size:
        return counts.astype(np.float64)
    return np.bincount(np.repeat(np.arange(counts.size), counts), weights=rows.weights, minlength=counts.size)


def check_n_items(n_items: Any, n_features: int) -> None:
    """Reject a number of items that there are not."""
    whole = isinstance(n_items, (int, np.integer)) and not isinstance(n_items, bool)
    if not whole or not 1 <= n_items <= n_features:
        raise ValueError(f"n_items must be an integer from 1 to n_features = {n_features}, got {n_items!r}.")
