"""Factor structure by correlation thresholding."""

import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import validate_data

from sparsemodels._base import BaseEstimator, Interval, StrOptions, _fit_context, check_weights, require_numpy
from sparsemodels.solvers.correlation_thresholding import (
    candidate_thresholds,
    confirmatory_factor_model,
    correlation_factors,
    n_parameters,
)

__all__ = ["CorrelationThresholding"]

_COMPARISON = 1e-6  # of the deviance per variable: models to be compared need not be fitted further


class CorrelationThresholding(BaseEstimator):
    r"""Which variables measure which factors, by thresholding correlations.

    Two variables are joined where their correlation exceeds a threshold in size. A variable that measures one factor
    only is joined to the variables that measure it, too, and to no other: its closed neighbourhood is a clique. Each
    clique found in this way is a factor, and its members load on it. A variable may load on several factors; each
    factor must have at least one variable of its own. The threshold with the best fitting model is chosen.

    Parameters
    ----------
    threshold : "path" or float, default="path"
        Correlations of at most this size count as none. "path" tries all thresholds that make a difference (beyond ten
        variables: steps of 0.02) and takes the structure of best `criterion`.
    min_size : int, default=2
        The smallest number of variables of a factor.
    criterion : {"bic", "aic", None}, default="bic"
        By which the threshold is chosen, for the factor model
        :math:`R = \Lambda \Phi \Lambda^T + \Psi` fitted by maximum likelihood. None fits no model; then the threshold
        must be a number.

    Attributes
    ----------
    structure_ : ndarray of shape (`n_features_in_`, `n_factors_`), bool
        Which variables load on which factors. The first variable of a factor that loads on no other orders them.
    factors_ : list of ndarray
        The variables of each factor.
    n_factors_ : int
        The number of factors.
    threshold_ : float
        The threshold.
    thresholds_ : ndarray of shape (n_structures,)
        The thresholds with different structures that were compared.
    criterion_path_ : ndarray of shape (n_structures,)
        The criterion for each of them; nan where no model was fitted, because there is no criterion, or the model has
        more parameters than there are correlations.
    loadings_ : ndarray of shape (`n_features_in_`, `n_factors_`)
        The loadings :math:`\Lambda` of the standardised variables, if a model was fitted.
    factor_correlations_ : ndarray of shape (`n_factors_`, `n_factors_`)
        The correlations :math:`\Phi` of the factors, if a model was fitted.
    uniquenesses_ : ndarray of shape (`n_features_in_`,)
        The diagonal of :math:`\Psi`: the variance of each standardised variable that the factors leave.
    log_likelihood_ : float
        The mean log-likelihood of a standardised sample, if a model was fitted.
    n_iter_ : int
        The steps of the EM algorithm for the structure chosen; 0 without a model.
    n_features_in_ : int
        The number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if `X` had names that are all strings.

    See Also
    --------
    sklearn.decomposition.FactorAnalysis : Factors on which all variables load.

    Notes
    -----
    The signs and the units of the variables do not matter. At one threshold the search takes well under a second for
    2000 variables: rows of the graph are bit sets. What takes time on a path are the fits of the models; for very many
    variables give a threshold and ``criterion=None``.

    References
    ----------
    D. S. Kim and Q. Zhou, "Structure learning of latent factors via clique search on correlation thresholded graphs",
    ICML 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.structure import CorrelationThresholding
    >>> rng = np.random.default_rng(0)
    >>> factors = rng.standard_normal((500, 2))
    >>> X = factors @ [[0.8, 0.8, 0.8, 0, 0], [0, 0, 0.8, 0.8, 0.8]] + 0.5 * rng.standard_normal((500, 5))
    >>> CorrelationThresholding().fit(X).factors_
    [array([0, 1, 2]), array([2, 3, 4])]
    """

    _parameter_constraints: dict = {
        "threshold": [StrOptions({"path"}), Interval(Real, 0, 1, closed="left")],
        "min_size": [Interval(Integral, 1, None, closed="left")],
        "criterion": [StrOptions({"bic", "aic"}), None],
    }

    def __init__(self, threshold="path", *, min_size=2, criterion="bic"):
        self.threshold = threshold
        self.min_size = min_size
        self.criterion = criterion

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "CorrelationThresholding":
        """Find the factors.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples of the variables.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), optional
            Weights >= 0; an integer weight is a row that stands so many times.

        Returns
        -------
        CorrelationThresholding
            The fitted estimator.
        """
        require_numpy(X, "correlation thresholding")
        if self.threshold == "path" and self.criterion is None:
            raise ValueError('criterion must be "bic" or "aic" where threshold="path", got None.')
        X = validate_data(self, X, dtype=(np.float64, np.float32), ensure_min_samples=2)
        weights = check_weights(sample_weight, X)
        n_samples = float(weights.sum())
        correlation = _correlation(X, weights / n_samples)
        p = correlation.shape[0]
        thresholds = candidate_thresholds(correlation) if self.threshold == "path" else np.array([self.threshold])
        structures: dict[bytes, tuple[float, np.ndarray]] = {}
        for threshold in thresholds:
            structure = correlation_factors(correlation, threshold, min_size=int(self.min_size))
            key = np.ascontiguousarray(structure[:, np.lexsort(structure)]).tobytes()
            structures.setdefault(key, (float(threshold), structure))
        self.thresholds_ = np.array([threshold for threshold, _ in structures.values()])
        candidates = [structure for _, structure in structures.values()]
        self.criterion_path_ = np.full(len(candidates), np.nan)
        best = 0
        if self.criterion is not None:
            price = 2.0 if self.criterion == "aic" else np.log(n_samples)
            for k, structure in enumerate(candidates):
                # More parameters than correlations: any data would fit. Nothing is to be learned from that.
                if n_parameters(structure) <= p * (p + 1) // 2:
                    model = confirmatory_factor_model(correlation, structure, tol=_COMPARISON)
                    self.criterion_path_[k] = n_samples * model.deviance + price * model.n_parameters
            if not np.all(np.isnan(self.criterion_path_)):
                best = int(np.nanargmin(self.criterion_path_))
        self.threshold_ = float(self.thresholds_[best])
        self.structure_ = candidates[best]
        self.n_factors_ = self.structure_.shape[1]
        self.factors_ = [np.flatnonzero(column) for column in self.structure_.T]
        self.n_iter_ = 0
        if self.criterion is not None:
            chosen = confirmatory_factor_model(correlation, self.structure_)
            self.loadings_ = chosen.loadings.astype(X.dtype, copy=False)
            self.factor_correlations_ = chosen.factor_correlations.astype(X.dtype, copy=False)
            self.uniquenesses_ = chosen.uniquenesses.astype(X.dtype, copy=False)
            self.log_likelihood_ = -0.5 * (chosen.deviance + p * np.log(2 * np.pi))
            self.n_iter_ = chosen.n_iter
            if not chosen.converged:
                warnings.warn(
                    f"The fit of the chosen factor model did not settle in {chosen.n_iter} steps of the EM algorithm: "
                    "a factor has too few variables, or two factors are nearly the same. Raise min_size or threshold.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
        return self


def _correlation(X: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The weighted correlations; a constant variable correlates with itself only."""
    centred = np.sqrt(shares)[:, None] * (X - shares @ X)
    covariance = centred.T @ centred
    deviations = np.sqrt(np.diag(covariance))
    # Of a constant column rounding leaves next to nothing of the mean.
    constant = deviations <= 1e-14 * np.abs(shares @ X)
    deviations[constant | (deviations == 0.0)] = 1.0
    correlation = np.clip(covariance / np.outer(deviations, deviations), -1.0, 1.0)
    correlation[constant] = correlation[:, constant] = 0.0
    np.fill_diagonal(correlation, 1.0)
    return correlation
