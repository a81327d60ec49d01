"""SLOPE: regression under the sorted L1 norm, with a duality gap."""

from numbers import Real
from typing import Any

import numpy as np
import scipy.special

from sparsemodels._base import Interval, StrOptions
from sparsemodels.linear_model.composite_path import composite_path
from sparsemodels.linear_model.composite_regressor import CompositeRegressor
from sparsemodels.linear_model.path_cross_validation import PathCrossValidation, cross_validated
from sparsemodels.solvers.path import Path
from sparsemodels.solvers.penalties import Slope


def rank_weights(sequence: Any, q: float, n_features: int) -> np.ndarray:
    """The weights of the sorted L1 norm by rank, from what the user gave."""
    rank = np.arange(1, n_features + 1)
    if isinstance(sequence, str):
        if sequence == "bh":
            return -scipy.special.ndtri(0.5 * q * rank / n_features)
        return np.ones(n_features) if sequence == "lasso" else np.linspace(1.0, q, n_features)
    try:
        weights = np.asarray(sequence, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"sequence must be a name or hold numbers, got {sequence!r}.") from None
    if weights.shape != (n_features,):
        raise ValueError(f"sequence must have one entry for each of the {n_features} features, got {weights.shape}.")
    if not np.isfinite(weights).all() or (weights < 0.0).any() or (np.diff(weights) > 0.0).any():
        raise ValueError(f"sequence must be finite, >= 0 and non-increasing, got {sequence!r}.")
    return weights.copy()


class SlopeRegressor(CompositeRegressor):
    r"""Linear regression under the sorted L1 norm (SLOPE), with a certificate.

    Minimises, over coefficients :math:`w` and an intercept :math:`b`,

    .. math::

        \frac{1}{2 \sum_i s_i} \sum_i s_i (y_i - x_i^T w - b)^2 + \alpha \sum_i \lambda_i |w|_{(i)},

    where :math:`s` are the sample weights and :math:`|w|_{(1)} \ge |w|_{(2)} \ge \ldots` the sorted magnitudes: the
    largest coefficient is penalised most. That controls false discoveries, and ties the coefficients of correlated
    features to a common magnitude. Features should have a common scale.

    Parameters
    ----------
    alpha : float, default=1.0
        The level of the penalty, >= 0.
    sequence : {"bh", "oscar", "lasso"} or array-like of shape (n_features,), default="bh"
        The weights by rank: "bh" are the normal quantiles :math:`\Phi^{-1}(1 - i q / 2p)` of the procedure of Benjamini
        and Hochberg, "oscar" decrease linearly from 1 to ``q``, "lasso" are all 1; or non-increasing numbers >= 0.
    q : float, default=0.1
        The false discovery rate that "bh" aims at on orthonormal designs; the last weight of "oscar". In (0, 1).
    fit_intercept : bool, default=True
        Whether to add an unpenalised intercept. Sparse `X` is centred implicitly and stays sparse.
    tol : float, default=1e-6
        The duality gap to reach, relative to the loss of the empty model.
    max_iter : int, default=1000
        The largest number of passes over the data.
    warm_start : bool, default=False
        Whether to start from the coefficients of the previous fit.
    time_limit : float, optional
        Seconds after which the best model so far is kept, with its certificate and a warning.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        The coefficients, in the precision of `X`.
    intercept_ : float
        The intercept.
    dual_gap_ : float
        How far the objective can be above its minimum, at most, in units of the objective.
    relative_gap_ : float
        The same, relative to the loss of the empty model: what `tol` bounds.
    objective_ : float
        The objective at the solution.
    kkt_ : float
        The largest violation of the optimality conditions, in the units of the slopes :math:`X^T r / n`.
    alpha_max_ : float
        The smallest `alpha` at which every coefficient is zero.
    n_iter_ : int
        Passes over the data.
    status_ : str
        "converged", "max_iter", "stalled", "time_limit", "interrupted" or "stopped" (by a callback).
    n_features_in_ : int
        The number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if `X` had string names.

    Raises
    ------
    ValueError
        If a parameter or the data is out of range; the message names the parameter, its value and what is allowed.

    See Also
    --------
    SlopeRegressorCV : Chooses `alpha` by cross-validation.
    Lasso : All weights equal, or one for each feature.

    Notes
    -----
    Accelerated proximal gradient steps on a working set find the clusters of tied coefficients, Newton steps on these
    find their values; the duality gap is over all features.

    References
    ----------
    M. Bogdan, E. van den Berg, C. Sabatti, W. Su and E. Candes, "SLOPE - adaptive variable selection via convex
    optimization", Annals of Applied Statistics 9(3), 2015. J. Larsson, M. Bogdan and J. Wallin, "The strong screening
    rule for SLOPE", NeurIPS 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sparsemodels.linear_model import SlopeRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = SlopeRegressor(alpha=0.2, q=0.2).fit(X, y)
    >>> int((model.coef_ != 0).sum()), model.relative_gap_ <= 1e-6
    (5, True)
    """

    _parameter_constraints: dict = {
        **CompositeRegressor._parameter_constraints,
        "sequence": [StrOptions({"bh", "oscar", "lasso"}), "array-like"],
        "q": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(
        self,
        alpha=1.0,
        *,
        sequence="bh",
        q=0.1,
        fit_intercept=True,
        tol=1e-6,
        max_iter=1000,
        warm_start=False,
        time_limit=None,
    ):
        self.alpha = alpha
        self.sequence = sequence
        self.q = q
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.time_limit = time_limit

    def _penalty(self, n_features: int) -> Any:
        return Slope(1.0, rank_weights(self.sequence, self.q, n_features))


class SlopeRegressorCV(PathCrossValidation, SlopeRegressor):
    """SLOPE with `alpha` chosen by cross-validation.

    Parameters
    ----------
    sequence : {"bh", "oscar", "lasso"} or array-like of shape (n_features,), default="bh"
        The weights by rank, as in :class:`SlopeRegressor`.
    q : float, default=0.1
        The rate that "bh" aims at, the last weight of "oscar".
    alphas : int or array-like, default=100
        How many levels, geometric from `alpha_max_` down to ``eps * alpha_max_``, or the levels.
    eps : float, default=1e-3
        The ratio of the smallest level to the largest.
    cv : int, splitter or iterable, default=5
        The folds, as in scikit-learn; drawn once per fit.
    selection : {"min", "1se"}, default="min"
        The level of the smallest mean error, or the sparsest model within one standard error of it.
    fit_intercept : bool, default=True
        Whether to add an unpenalised intercept.
    tol : float, default=1e-6
        The duality gap of every fit, relative to the loss of the empty model.
    max_iter : int, default=1000
        The largest number of passes over the data for each level.
    time_limit : float, optional
        Seconds after which the levels done so far are compared, with a warning.
    n_jobs : int, optional
        Threads over the folds; the result is the same for every number.

    Attributes
    ----------
    alpha_, alpha_min_, alpha_1se_, alphas_, mse_path_, coef_path_, intercept_path_, dual_gap_path_, max_fold_gap_ :
        As in :class:`LassoCV`.
    coef_, intercept_, dual_gap_, relative_gap_, objective_, kkt_, alpha_max_, n_iter_, status_ :
        As in :class:`SlopeRegressor`, for the chosen level.

    See Also
    --------
    SlopeRegressor : The model for one `alpha`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sparsemodels.linear_model import SlopeRegressorCV
    >>> X, y = load_diabetes(return_X_y=True)
    >>> SlopeRegressorCV(alphas=20).fit(X, y).mse_path_.shape
    (20, 5)
    """

    _parameter_constraints: dict = cross_validated(SlopeRegressor._parameter_constraints)

    def __init__(
        self,
        *,
        sequence="bh",
        q=0.1,
        alphas=100,
        eps=1e-3,
        cv=5,
        selection="min",
        fit_intercept=True,
        tol=1e-6,
        max_iter=1000,
        time_limit=None,
        n_jobs=None,
    ):
        self.sequence = sequence
        self.q = q
        self.alphas = alphas
        self.eps = eps
        self.cv = cv
        self.selection = selection
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.n_jobs = n_jobs


def slope_path(
    X: Any,
    y: Any,
    *,
    alphas: Any = 100,
    eps: float = 1e-3,
    sample_weight: Any = None,
    **parameters: Any,
) -> Path:
    """SLOPE along a path of levels, each with its duality gap.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples.
    y : array-like of shape (n_samples,)
        Targets.
    alphas : int or array-like, default=100
        How many levels, or the levels (solved in decreasing order).
    eps : float, default=1e-3
        The ratio of the smallest level to the largest.
    sample_weight : array-like of shape (n_samples,), optional
        Weights >= 0.
    **parameters
        Parameters of :class:`SlopeRegressor` other than `alpha`, such as `fit_intercept` and `tol`.

    Returns
    -------
    Path
        ``alphas``, ``coefs`` (n_features, n_alphas), ``intercepts``, ``dual_gaps`` and more; see
        :class:`sparsemodels.solvers.path.Path`.

    Raises
    ------
    ValueError
        If a parameter or the data is out of range.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sparsemodels.linear_model import slope_path
    >>> X, y = load_diabetes(return_X_y=True)
    >>> slope_path(X, y, alphas=5).converged
    True
    """
    return composite_path(SlopeRegressor(1.0, **parameters), X, y, alphas=alphas, eps=eps, sample_weight=sample_weight)
