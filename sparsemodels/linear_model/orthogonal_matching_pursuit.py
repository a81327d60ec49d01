"""Orthogonal matching pursuit for a family of regularised losses."""

import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from sparsemodels._base import (
    BaseEstimator,
    Interval,
    StrOptions,
    _fit_context,
    check_weights,
    require_numpy,
)
from sparsemodels.solvers.columns import as_columns
from sparsemodels.solvers.greedy_pursuit import GreedyPursuit, greedy_pursuit

from .composite_estimator import check_penalty_weights

__all__ = ["OrthogonalMatchingPursuit"]

#: Above this a refit counts as not solved: the solvers reach 1e-10, least squares some 1e-14.
_REFIT_TOLERANCE = 1e-6


class GreedyRegressor(RegressorMixin, BaseEstimator):
    """What the pursuit and its cross-validation share: checks, fitted attributes, predictions."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _checked(self, X, y, sample_weight):
        require_numpy(X, "greedy pursuit")
        X, y = validate_data(self, X, y, accept_sparse="csc", dtype=(np.float64, np.float32), y_numeric=True)
        weights = None if sample_weight is None else check_weights(sample_weight, X)
        return X, np.asarray(y, dtype=np.float64), weights

    def _set_solution(self, solution: GreedyPursuit, dtype):
        self.coef_ = solution.coef.astype(dtype, copy=False)
        self.intercept_ = solution.intercept
        self.support_ = solution.support
        self.n_iter_ = solution.n_iter
        self.objective_ = solution.objective
        self.objective_path_ = solution.objective_path
        self.loss_path_ = solution.loss_path
        self.max_gain_ = solution.max_gain
        self.kkt_ = solution.kkt
        self.status_ = solution.status
        if not solution.kkt <= _REFIT_TOLERANCE:
            warnings.warn(
                "A refit on the selected features is not solved: its optimality conditions are violated by "
                f"{solution.kkt:.1e}, more than {_REFIT_TOLERANCE:.0e}. Select fewer features, or drop nearly "
                "collinear ones.",
                ConvergenceWarning,
                stacklevel=3,
            )

    def predict(self, X: Any) -> np.ndarray:
        """Predict the target for each row of `X`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples.

        Returns
        -------
        ndarray of shape (n_samples,)
            The predictions, ``X @ coef_ + intercept_``.
        """
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=("csr", "csc"), dtype=(np.float64, np.float32), reset=False)
        return X @ self.coef_ + self.intercept_


class OrthogonalMatchingPursuit(GreedyRegressor):
    r"""Orthogonal matching pursuit for a regularised loss: three losses, two penalties, six rules.

    Features are selected one at a time. With the objective

    .. math:: G(x) = F(r) + \mathrm{pen}(x), \qquad r = y - X x - b,

    each round selects the feature whose coefficient alone, at its best value, lowers G most, and then refits
    the loss F, without the penalty, on all features selected so far. The penalty steers the selection and
    ends it: the pursuit stops when no feature lowers G. Without a penalty (``alpha=0``) and with "squared" or
    "sqrt" this is the orthogonal matching pursuit of scikit-learn on features of norm one; features of other
    norms are compared as if they were scaled to norm one.

    Parameters
    ----------
    n_nonzero_coefs : int, default=None
        The largest number of features to select. None means a tenth of the features, at least one, or, if
        `tol` is given, as many as it takes.
    loss : {"squared", "sqrt", "absolute"}, default="squared"
        The loss, with sample weights :math:`s_i` (ones by default, and never normalised):

        - "squared": :math:`F(r) = \sum_i s_i r_i^2`;
        - "sqrt": its square root, :math:`(\sum_i s_i r_i^2)^{1/2}`. With "l1" the best `alpha` does not depend on
          the noise level;
        - "absolute": :math:`F(r) = \sum_i s_i |r_i|`, which withstands gross errors in some of the targets.
    penalty : {"l0", "l1"}, default="l0"
        The penalty:

        - "l0": :math:`\alpha \sum_{x_j \ne 0} w_j^2`;
        - "l1": :math:`\alpha \sum_j w_j |x_j|`.
    alpha : float, default=0.0
        The level of the penalty. There is no factor 1/2 and no 1 / n_samples in front of the loss.
    penalty_weights : float or array-like of shape (n_features,), default=None
        The weights :math:`w_j` in [0, inf]. A feature of weight 0 is never penalised, one of weight inf never
        selected. None means ones.
    tol : float, default=None
        Stop as soon as the loss F is at or below `tol`. With `n_nonzero_coefs` given, whichever comes first.
    normalize : bool, default=True
        Whether the weights of "l1" act on the coefficients of the features scaled to norm one,
        :math:`\alpha \sum_j w_j \|X_j\|_2 |x_j|`, so that the units of the features do not matter. The norm
        is taken about the mean if an intercept is fitted (about zero for the absolute loss). Coefficients are
        always those of the features as given; "l0" does not depend on their scale in any case.
    fit_intercept : bool, default=True
        Whether to fit an intercept b, never penalised.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        The coefficients.
    intercept_ : float
        The intercept.
    support_ : ndarray of shape (`n_iter_`,)
        The selected features, in the order of selection.
    n_iter_ : int
        The number of rounds, which is the number of selected features.
    n_nonzero_coefs_ : int
        The largest number of features that could have been selected.
    objective_ : float
        The objective G at the solution.
    objective_path_, loss_path_ : ndarray of shape (`n_iter_` + 1,)
        The objective and the loss after each round, from the empty support on.
    max_gain_ : float
        A certificate of the selection: the largest decrease of the objective that the coefficient of one more
        feature could bring; zero if the pursuit went on as long as it pays.
    kkt_ : float
        A certificate of the refits: the largest violation of their optimality conditions over all rounds. For
        "squared" and "sqrt" it is the correlation of the residual with a selected feature, relative to the
        norms of feature and target; for "absolute" the duality gap, relative to the loss without features.
    status_ : str
        Why the pursuit stopped: "n_nonzero_coefs", "tol", "no_gain", "stalled" (shrinking or removing a
        selected coefficient would lower the objective more than a new feature), "zero_residual", or
        "dependent" (only features remain that depend linearly on the selected ones).
    n_features_in_ : int
        The number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if `X` had names that are all strings.

    See Also
    --------
    OrthogonalMatchingPursuitCV : The number of features (and the penalty) by cross-validation.
    sklearn.linear_model.OrthogonalMatchingPursuit : The unpenalised pursuit for the squared loss.

    Notes
    -----
    A feature that depends linearly on the selected ones is passed over. Ties go to the feature of lowest
    index.

    For the absolute loss the intercept takes part in the refits only, and a feature with a mean far from zero
    is judged by moves that shift all predictions: centre such features first. Its kinks can also stop the
    pursuit early, with "no_gain", where no single coefficient lowers the loss though several together would.

    Sparse `X` in CSC format, float32 and any memory order are used in place, without a copy. Beside `X` the
    memory is some ``(k + 100) * n_features + 2 * k * n_samples`` floats for k selected features.

    References
    ----------
    S. Mohammad-Taheri and S. Brugiapaglia, "The greedy side of the LASSO: New algorithms for weighted sparse
    recovery via loss function-based orthogonal matching pursuit", arXiv:2303.00844.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sparsemodels.linear_model import OrthogonalMatchingPursuit
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = OrthogonalMatchingPursuit(n_nonzero_coefs=3).fit(X, y)
    >>> model.support_
    array([2, 8, 3])
    """

    _parameter_constraints: dict = {
        "n_nonzero_coefs": [Interval(Integral, 1, None, closed="left"), None],
        "loss": [StrOptions({"squared", "sqrt", "absolute"})],
        "penalty": [StrOptions({"l0", "l1"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "penalty_weights": ["array-like", Interval(Real, 0, None, closed="left"), None],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "normalize": ["boolean"],
        "fit_intercept": ["boolean"],
    }

    def __init__(
        self,
        n_nonzero_coefs=None,
        *,
        loss="squared",
        penalty="l0",
        alpha=0.0,
        penalty_weights=None,
        tol=None,
        normalize=True,
        fit_intercept=True,
    ):
        self.n_nonzero_coefs = n_nonzero_coefs
        self.loss = loss
        self.penalty = penalty
        self.alpha = alpha
        self.penalty_weights = penalty_weights
        self.tol = tol
        self.normalize = normalize
        self.fit_intercept = fit_intercept

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "OrthogonalMatchingPursuit":
        """Select features and fit their coefficients.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples. CSC is the format for sparse data, others are converted.
        y : array-like of shape (n_samples,)
            The targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples in the loss, non-negative. An integer weight is that many copies of the
            sample.

        Returns
        -------
        OrthogonalMatchingPursuit
            The fitted estimator.
        """
        X, y, weights = self._checked(X, y, sample_weight)
        n_samples, n_features = X.shape
        if self.n_nonzero_coefs is not None:
            if self.n_nonzero_coefs > n_features:
                raise ValueError(
                    f"n_nonzero_coefs must not exceed the number of features, {n_features}, got {self.n_nonzero_coefs}."
                )
            limit = int(self.n_nonzero_coefs)
        else:
            limit = max(n_features // 10, 1) if self.tol is None else min(n_samples, n_features)
        solution = greedy_pursuit(
            as_columns(X),
            y,
            n_nonzero_coefs=limit,
            loss=self.loss,
            penalty=self.penalty,
            alpha=float(self.alpha),
            penalty_weights=check_penalty_weights(self.penalty_weights, n_features),
            tol=self.tol,
            normalize=self.normalize,
            fit_intercept=self.fit_intercept,
            sample_weight=weights,
        )
        self.n_nonzero_coefs_ = limit
        self._set_solution(solution, X.dtype)
        return self
