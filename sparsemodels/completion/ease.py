"""EASE: recommendation by the regression of every item on all the others."""

import warnings
from numbers import Real
from typing import Any

import array_api_compat
import numpy as np
import scipy.sparse
from sklearn import get_config
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from sparsemodels._base import BaseEstimator, Interval, _fit_context, check_weights, require_numpy
from sparsemodels.solvers.item_regression import gram_matrix, regress_items, regress_items_of_array
from sparsemodels.solvers.top_items import top_items

from .factored_completion import check_n_items

__all__ = ["EASE"]

_ROWS = 1024


class EASE(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Item-to-item weights for recommendation from implicit feedback, in closed form.

    .. math:: \min_B \; \tfrac12 \sum_i v_i \|x_i - x_i B\|^2
        + \tfrac12 \sum_j \Bigl(\alpha + \tfrac{p}{1 - p}\, g_{jj}\Bigr) \|b_j\|^2
        \quad\text{with}\quad \mathrm{diag}(B) = 0

    with rows :math:`x_i` of `X` (users) and :math:`b_j` of B, weights v (one where none are given), the `dropout` p and
    the diagonal :math:`g_{jj} = \sum_i v_i x_{ij}^2`. Column j of B is the ridge regression of item j on all other
    items: what a user took is predicted from everything else the user took. The score of the items for a user x is
    :math:`x B`.

    Parameters
    ----------
    alpha : float, default=500.0
        The level of the ridge, > 0. A good one grows with the number of users; between 100 and 1000 for some 10 000 to
        a million of them.
    dropout : float, default=0.0
        The probability p, in [0, 1), of leaving out each entry of the input. Its expectation is a ridge in proportion
        to each item's own sum of squares, which keeps popular items from explaining everything.
    store_gram : bool, default=True
        Whether to keep the Gram matrix of the items for :meth:`partial_fit`; without it the fit holds one matrix of
        the size of `coef_` instead of two.
    n_jobs : int, optional
        Threads of the sparse Gram product; the result is the same for any number, to the bit. Those of the inverse are
        BLAS's own.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features, n_features)
        The weights B, zero on the diagonal, of the type of `X`.
    kkt_ : float
        The certificate: the norm of the gradient off the diagonal, relative to that at B = 0; zero at the solution. It
        is estimated from random sign vectors, at no cost next to that of the fit.
    n_samples_seen_ : int
        The rows that the weights rest on.
    n_features_in_ : int
        The number of items.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if `X` had string names.

    Raises
    ------
    ValueError
        If a parameter or the data is out of range; the message names the parameter, its value and what is allowed.

    See Also
    --------
    ALSCompletion : For explicit ratings, of which those that are not stored are unknown.

    Notes
    -----
    What `X` does not store counts as zero: not taken. The cost is the sparse Gram product plus ``n_features ** 3``
    operations, the memory ``n_features ** 2`` numbers for `coef_` and as many for the Gram matrix; users times items is
    never formed by :meth:`fit` or :meth:`recommend`. With data in float32, time and memory are half, and a warning is
    given if `alpha` is too small for that precision.

    Dense arrays of PyTorch, CuPy and other array API libraries are fitted where they are if scikit-learn's
    ``array_api_dispatch`` is on.

    References
    ----------
    H. Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019. H. Steck, "Autoencoders that don't
    overfit towards the identity", NeurIPS 2020.

    Examples
    --------
    >>> import numpy as np
    >>> import scipy.sparse
    >>> from sparsemodels.completion import EASE
    >>> taken = scipy.sparse.csr_array(np.array([[1, 1, 0, 0], [1, 1, 0, 1], [0, 0, 1, 1], [0, 1, 0, 0.0]]))
    >>> model = EASE(alpha=1.0).fit(taken)
    >>> model.recommend(taken[[3]], n_items=2)
    array([[0, 3]])
    >>> bool(model.kkt_ < 1e-12)
    True
    """

    _parameter_constraints: dict = {
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "store_gram": ["boolean"],
        "n_jobs": [None, int],
    }

    def __init__(self, alpha=500.0, *, dropout=0.0, store_gram=True, n_jobs=None):
        self.alpha = alpha
        self.dropout = dropout
        self.store_gram = store_gram
        self.n_jobs = n_jobs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _validate(self, X: Any, reset: bool) -> Any:
        xp = array_api_compat.array_namespace(X) if _is_foreign(X) else np
        return validate_data(self, X, accept_sparse="csr", dtype=(xp.float64, xp.float32), reset=reset)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "EASE":
        """Learn the weights of items for items.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            What each user (row) took; CSR of 32 or 64 bits is used in place.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), optional
            Weights >= 0 of the rows; an integer weight is a row that stands so many times.

        Returns
        -------
        EASE
            The fitted estimator itself.
        """
        X = self._validate(X, reset=True)
        gram = self._products(X, sample_weight)
        self.n_samples_seen_ = X.shape[0]
        self._solve(gram, overwrite=not self.store_gram)
        self._gram = gram if self.store_gram else None
        return self

    def _products(self, X: Any, sample_weight: Any, gram: Any = None) -> Any:
        """The Gram matrix of rows, added to another one; for NumPy the upper triangle alone means something."""
        weights = None if sample_weight is None else check_weights(sample_weight, np.empty((X.shape[0], 1)))
        if not _is_foreign(X):
            return gram_matrix(X, weights, out=gram, n_jobs=self.n_jobs)
        xp = array_api_compat.array_namespace(X)
        weighted = X
        if weights is not None:
            weighted = X * xp.asarray(weights, dtype=X.dtype, device=array_api_compat.device(X))[:, None]
        return X.T @ weighted if gram is None else gram + X.T @ weighted

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, solve: bool = True) -> "EASE":
        """Add rows to those that the weights rest on.

        The Gram matrix of all rows is the sum of those of the batches, so the result is that of one fit to all of
        them. After a fit that did not keep its own (``store_gram=False``) the sum begins anew, as `n_samples_seen_`
        tells.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The new rows.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), optional
            Weights >= 0 of the rows.
        solve : bool, default=True
            Whether to compute the weights now, at the cost of a fit. With False the Gram matrix alone is updated:
            for all batches but the last.

        Returns
        -------
        EASE
            The estimator itself.
        """
        first = not hasattr(self, "n_features_in_")
        X = self._validate(X, reset=first)
        if first or self._gram is None:
            self._gram, self.n_samples_seen_ = None, 0
        elif not _is_foreign(X) and X.dtype != self._gram.dtype:
            X = X.astype(self._gram.dtype)
        self._gram = self._products(X, sample_weight, self._gram)
        self.n_samples_seen_ += X.shape[0]
        if solve:
            self._solve(self._gram, overwrite=False)
        return self

    def _solve(self, gram: Any, overwrite: bool) -> None:
        share = self.dropout / (1.0 - self.dropout)
        if _is_foreign(gram):
            diagonal = array_api_compat.array_namespace(gram).linalg.diagonal(gram)
            self.coef_, self.kkt_ = regress_items_of_array(gram, self.alpha + share * diagonal)
            return
        ridge = self.alpha + share * gram.diagonal().astype(np.float64)
        try:
            self.coef_, self.kkt_ = regress_items(gram, ridge, overwrite=overwrite)
        except np.linalg.LinAlgError:
            raise ValueError(
                f"alpha={self.alpha} is too small for {gram.dtype}: the penalized Gram matrix is not positive definite "
                "in that precision. Increase alpha or pass X as float64."
            ) from None
        limit = float(np.sqrt(np.finfo(gram.dtype).eps))
        if self.kkt_ > limit:
            warnings.warn(
                f"EASE lost half the digits of {gram.dtype}: relative gradient {self.kkt_:.3e} > {limit:.3e}; "
                "increase alpha or pass X as float64.",
                ConvergenceWarning,
                stacklevel=3,
            )

    def transform(self, X: Any) -> Any:
        """The scores of all items for every row.

        The score of an item does not depend on whether the row holds it: the diagonal of `coef_` is zero.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            What each user took.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The scores, dense; :meth:`recommend` never holds them all.
        """
        check_is_fitted(self, "coef_")
        self._check_namespace(X, "transform")
        X = self._validate(X, reset=False)
        return X @ self._coef_for(X)

    def recommend(self, X: Any, n_items: int = 10, *, exclude_seen: bool = True) -> np.ndarray:
        """The items with the highest scores for every row, a block of rows at a time.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            What each user took.
        n_items : int, default=10
            How many items, 1 to `n_features`.
        exclude_seen : bool, default=True
            Whether to leave out the items that a row holds, those with an entry other than zero.

        Returns
        -------
        ndarray of int of shape (n_samples, n_items)
            The items, the best first, of equal scores the smaller index first; -1 where a row has no more.
        """
        check_is_fitted(self, "coef_")
        require_numpy(X, "recommend")
        self._check_namespace(X, "recommend")
        X = self._validate(X, reset=False)
        check_n_items(n_items, self.n_features_in_)
        coef = self._coef_for(X)
        seen = None
        if exclude_seen:
            seen = scipy.sparse.csr_array(X, copy=scipy.sparse.issparse(X))
            seen.sum_duplicates()
            seen.eliminate_zeros()
        return top_items(lambda rows: X[rows] @ coef, X.shape[0], X.shape[1], n_items, exclude=seen)[0]

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """The share of the sum of squares that the rows' other items explain: the higher the better.

        As no item takes part in its own score, this is a measure of prediction, fit for rows that were not in the fit
        and for :class:`~sklearn.model_selection.GridSearchCV`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            What each user took.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), optional
            Weights >= 0 of the rows.

        Returns
        -------
        float
            ``1 - ||X - X B||^2 / ||X||^2``; at most 1, and 0 for scores of zero.
        """
        check_is_fitted(self, "coef_")
        self._check_namespace(X, "score")
        X = self._validate(X, reset=False)
        weights = np.ones(X.shape[0]) if sample_weight is None else check_weights(sample_weight, X)
        coef = self._coef_for(X)
        error = total = 0.0
        for start in range(0, X.shape[0], _ROWS):
            rows = X[start : min(start + _ROWS, X.shape[0]), :]
            left = rows @ coef
            rows = rows.toarray() if scipy.sparse.issparse(rows) else rows
            left = rows - left
            part = weights[start : start + _ROWS]
            error += float(part @ _squared_norms(left))
            total += float(part @ _squared_norms(rows))
        return 1.0 - error / total if total > 0.0 else 0.0

    def _coef_for(self, X: Any) -> Any:
        return self.coef_ if _is_foreign(X) else self.coef_.astype(X.dtype, copy=False)

    def _check_namespace(self, X: Any, method: str) -> None:
        foreign = _is_foreign(self.coef_)
        if foreign != _is_foreign(X) or (
            foreign and array_api_compat.array_namespace(X) != array_api_compat.array_namespace(self.coef_)
        ):
            raise ValueError(
                f"Inputs passed to EASE.{method}() must use the same namespace as those passed to fit(), "
                f"got {type(X).__name__} after a fit to {type(self.coef_).__name__}."
            )


def _squared_norms(rows: Any) -> np.ndarray:
    """The squared norm of each row, in float64 on the host."""
    if not _is_foreign(rows):
        return np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    xp = array_api_compat.array_namespace(rows)
    norms = xp.sum(rows * rows, axis=1)
    return np.array([float(norm) for norm in norms])


def _is_foreign(X: Any) -> bool:
    """Whether scikit-learn let through an array that is not NumPy's."""
    foreign = array_api_compat.is_array_api_obj(X) and not array_api_compat.is_numpy_array(X)
    return foreign and bool(get_config()["array_api_dispatch"])
