"""Best subset selection with a proven lower bound, for two classes."""

from typing import Any

import numpy as np

from sparsemodels.linear_model.best_subset import BestSubsetEstimator
from sparsemodels.linear_model.composite_classifier import CompositeClassifier

__all__ = ["BestSubsetClassifier"]


class BestSubsetClassifier(BestSubsetEstimator, CompositeClassifier):
    r"""Best subset selection for two classes: logistic regression on the best few features, with a lower bound.

    Minimises

    .. math:: \sum_i s_i \log(1 + e^{-y_i (x_i^T w + b)}) + \frac{\rho}{2} \|w\|_2^2
        \quad \text{with at most } k \text{ nonzero coefficients},

    for :math:`y_i = \pm 1` and sample weights (times class weights) scaled to :math:`\sum_i s_i = 1`. Moves are ranked
    by the quadratic model of the loss and made if the refitted model is better. The lower bound is that of the
    perspective relaxation and of branch and bound on it, or, without a ridge, the loss with all features.

    Parameters
    ----------
    n_nonzero_coefs : int, default=None
        The largest number k of features. None means a tenth of the features, at least one.
    alpha_l2 : float, default=0.0
        The ridge :math:`\rho`. With a small one there is a minimum even where the features separate the classes, and
        a bound even where there are more features than samples.
    fit_intercept : bool, default=True
        Whether to fit an intercept b. It counts as no feature and is not penalised.
    class_weight : dict or "balanced", default=None
        A factor of the weights of each class' rows; "balanced" gives every class the same total weight.
    max_swaps : int, default=1000
        The largest number of exchanges of one descent.
    certify : bool, default=True
        Whether to look for a lower bound. Without, `lower_bound_` is zero, and the fit takes less time.
    max_nodes : int, default=1000
        The effort of the proof, in nodes of the branch and bound for a squared loss; one for the logistic loss counts
        ten of them.
    tol : float, default=1e-6
        How far the lower bound may be below the objective of a model that counts as proven best, relative to the loss
        without features.
    time_limit : float, default=None
        Seconds after which the best model so far is returned with what is proven.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        The classes.
    coef_ : ndarray of shape (1, n_features)
        Coefficients: of the log odds of the second class.
    intercept_ : ndarray of shape (1,)
        Intercept.
    support_, n_nonzero_coefs_, objective_, lower_bound_, gap_, n_iter_, n_nodes_, status_ :
        As in :class:`BestSubsetRegressor`.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if `X` had any that are all strings.

    See Also
    --------
    BestSubsetClassifierCV : With the number of features chosen by cross-validation or an information criterion.

    References
    ----------
    - J. Zhu and others, "A polynomial algorithm for best-subset selection problem", PNAS 117, 2020.
    - H. Hazimeh, R. Mazumder, A. Dedieu, "Learning sparse classifiers", JMLR 22, 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import scale
    >>> from sparsemodels.linear_model import BestSubsetClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = BestSubsetClassifier(3, alpha_l2=1e-3).fit(scale(X), y)
    >>> round(model.score(scale(X), y), 2)
    0.97
    """

    _parameter_constraints: dict = {
        **BestSubsetEstimator._parameter_constraints,
        "class_weight": CompositeClassifier._parameter_constraints["class_weight"],
    }

    def __init__(
        self,
        n_nonzero_coefs=None,
        *,
        alpha_l2=0.0,
        fit_intercept=True,
        class_weight=None,
        max_swaps=1000,
        certify=True,
        max_nodes=1000,
        tol=1e-6,
        time_limit=None,
    ):
        super().__init__(
            n_nonzero_coefs,
            alpha_l2=alpha_l2,
            fit_intercept=fit_intercept,
            max_swaps=max_swaps,
            certify=certify,
            max_nodes=max_nodes,
            tol=tol,
            time_limit=time_limit,
        )
        self.class_weight = class_weight

    def _linear_predictor(self, X: Any) -> np.ndarray:
        # In double precision: without a limit on their size, log odds grow to where single precision sees certainty.
        return super()._linear_predictor(X).astype(np.float64)
