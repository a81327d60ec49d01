"""Directed acyclic graphs by concomitant linear estimation."""

import time
import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from sparsemodels._base import (
    BaseEstimator,
    CallbackSupportMixin,
    Interval,
    StrOptions,
    _fit_context,
    check_weights,
    require_numpy,
    with_callbacks,
)
from sparsemodels.solvers.concomitant_dag import RADII, concomitant_dag

from .variance_order import varsortability

__all__ = ["ConcomitantDAG"]

_REMEDIES = {
    "max_iter": "some variables depend on each other almost exactly: drop one of them, or raise alpha or tol",
    "time_limit": "the fit was cut short: raise time_limit",
    "interrupted": "the fit was interrupted",
    "stopped": "a callback stopped the fit",
}


class ConcomitantDAG(CallbackSupportMixin, BaseEstimator):
    r"""Directed acyclic graph of a linear structural equation model (CoLiDE), with concomitant noise scales.

    The model is :math:`x_j = \sum_i W_{ij} x_i + e_j`. Weights and noise scales minimise

    .. math::
        S(W, \sigma) = \sum_j \frac{\|x_j - \sum_i W_{ij} x_i\|^2}{2 n \sigma_j} + \frac{\sigma_j}{2}
        + \sum_{ij} \lambda_{ij} |W_{ij}|

    over acyclic W. The scales are estimated with the weights, as in the square-root LASSO, so that the level of the
    penalty need not follow the noise. A smooth function of W that is zero on acyclic graphs only leads along a central
    path to an almost acyclic W; its small weights are dropped, then the weakest until no cycle is left, and S is
    minimised over the weights of the edges that remain: the graph is exactly acyclic, and the weights are certified.

    Parameters
    ----------
    alpha : float, default=0.02
        The level of the penalty. The authors use 0.05 with ``penalty_scaling=None``.
    variance : {"equal", "unequal"}, default="equal"
        Whether the noise has one scale for all variables or one each. Equal scales make the graph identifiable.
    penalty_scaling : {"column", None}, default="column"
        The levels :math:`\lambda_{ij}` of the weights:

        - "column": :math:`\alpha \, \mathrm{sd}(x_i)`. The unit of the data does not matter: of c X, the graph and the
          weights are those of X, and the noise scales are c times as large.
        - None: :math:`\alpha`, the penalty of the authors. It is made for noise of a scale near one.
    threshold : float, default=0.3
        Weights of at most this size at the end of the path are no edges.
    sigma_min : float, default=1e-3
        The smallest noise scale, relative to the smallest standard deviation of a variable.
    max_iter : int, default=2000
        The steps of each of the four stages of the path; the last one has twice as many.
    tol : float, default=1e-8
        The duality gap of the weights to reach, relative to the score of the graph without edges.
    time_limit : float, default=None
        Seconds after which the path is cut short.

    Attributes
    ----------
    adjacency_matrix_ : ndarray of shape (`n_features_in_`, `n_features_in_`)
        The weights W; entry (i, j) is that of the edge from i to j, exactly zero where there is none.
    noise_scale_ : ndarray of shape (`n_features_in_`,)
        The standard deviations of the noise; all the same if they are taken to be equal.
    mean_ : ndarray of shape (`n_features_in_`,)
        The means of the variables.
    causal_order_ : ndarray of shape (`n_features_in_`,)
        The variables, each after all its parents.
    objective_ : float
        The score S of weights and scales.
    dual_gap_ : float
        A certificate of the weights: by so much at most, S is above its minimum over all weights on the same edges.
        The choice of the edges is a local search and has no certificate.
    acyclicity_ : float
        The log-determinant function at the end of the path, before edges were dropped: near zero if there was hardly
        anything to drop. That of `adjacency_matrix_` is exactly zero.
    relaxed_weights_ : ndarray of shape (`n_features_in_`, `n_features_in_`)
        The weights at the end of the path, before edges were dropped.
    varsortability_ : float
        How well the order of the variances agrees with the graph, see :func:`varsortability`. Near one, sorting by
        variance would have done (:func:`variance_sorted_graph`).
    n_iter_ : int
        The steps along the path.
    status_ : {"converged", "max_iter", "time_limit", "interrupted", "stopped"}
        Why the fit ended.
    n_features_in_ : int
        The number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if `X` had names that are all strings.

    See Also
    --------
    variance_sorted_graph : The baseline that sorts variables by their variance.

    Notes
    -----
    **Do not standardise X.** Of two linear Gaussian models with the same noise in each variable, the one with the right
    directions is told by its variances; standardised columns do not have them, and the directions found mean nothing.
    That is also why rescaling *single* columns changes the answer: it changes the model.

    A step of the path costs :math:`O(d^3)` for d variables; memory is some ten matrices of that order. A fit with 20
    variables takes a tenth of a second, one with 100 some ten seconds.

    References
    ----------
    S. S. Saboksayr, G. Mateos and M. Tepper, "CoLiDE: Concomitant linear DAG estimation", ICLR 2024.

    K. Bello, B. Aragam and P. Ravikumar, "DAGMA: Learning DAGs via M-matrices and a log-determinant acyclicity
    characterization", NeurIPS 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.structure import ConcomitantDAG
    >>> rng = np.random.default_rng(0)
    >>> noise = rng.standard_normal((500, 3))
    >>> first = noise[:, 0]
    >>> second = 1.5 * first + noise[:, 1]
    >>> third = first - second + noise[:, 2]
    >>> model = ConcomitantDAG().fit(np.column_stack([third, second, first]))
    >>> model.adjacency_matrix_.round(1)
    array([[ 0. ,  0. ,  0. ],
           [-0.9,  0. ,  0. ],
           [ 0.8,  1.5,  0. ]])
    >>> model.causal_order_
    array([2, 1, 0])
    """

    _parameter_constraints: dict = {
        "alpha": [Interval(Real, 0, None, closed="left")],
        "variance": [StrOptions({"equal", "unequal"})],
        "penalty_scaling": [StrOptions({"column"}), None],
        "threshold": [Interval(Real, 0, None, closed="left")],
        "sigma_min": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        alpha=0.02,
        *,
        variance="equal",
        penalty_scaling="column",
        threshold=0.3,
        sigma_min=1e-3,
        max_iter=2000,
        tol=1e-8,
        time_limit=None,
    ):
        self.alpha = alpha
        self.variance = variance
        self.penalty_scaling = penalty_scaling
        self.threshold = threshold
        self.sigma_min = sigma_min
        self.max_iter = max_iter
        self.tol = tol
        self.time_limit = time_limit

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "ConcomitantDAG":
        """Estimate the graph.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples of all variables, in one unit or in units of their own, but not standardised.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), optional
            Weights >= 0; an integer weight is a row that stands so many times.

        Returns
        -------
        ConcomitantDAG
            The fitted estimator.
        """
        require_numpy(X, "concomitant estimation")
        X = validate_data(self, X, dtype=(np.float64, np.float32), ensure_min_samples=2)
        shares = check_weights(sample_weight, X)
        shares = shares / shares.sum()
        self.mean_ = (shares @ X).astype(X.dtype, copy=False)
        centred = np.sqrt(shares)[:, None] * (X - shares @ X)  # float64, and never the caller's
        covariance = centred.T @ centred
        deviations = np.sqrt(np.diag(covariance))
        smallest = deviations[deviations > 0.0].min(initial=np.inf)
        smallest = smallest if np.isfinite(smallest) else 1.0
        # In the unit of the smallest deviation, which is never below the noise: the path is made for noise near one.
        unit = smallest if self.penalty_scaling == "column" else 1.0
        size = deviations / unit if self.penalty_scaling == "column" else np.ones_like(deviations)

        context = self._init_callback_context(max_subtasks=len(RADII))
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        deadline = np.inf if self.time_limit is None else time.monotonic() + self.time_limit

        def on_stage(stage: int) -> bool:
            task = context.subcontext(task_name="stage")
            task.call_on_fit_task_begin(estimator=self, X=X, y=y)
            return bool(task.call_on_fit_task_end(estimator=self, X=X, y=y))

        solution = concomitant_dag(
            covariance / unit**2,
            np.repeat(self.alpha * size[:, None], size.size, axis=1),
            equal=self.variance == "equal",
            threshold=float(self.threshold),
            floor=self.sigma_min * smallest / unit,
            max_iter=int(self.max_iter),
            tol=float(self.tol),
            deadline=deadline,
            on_stage=on_stage,
        )
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        self.adjacency_matrix_ = solution.weights.astype(X.dtype, copy=False)
        self.noise_scale_ = (unit * solution.noise_scale).astype(X.dtype, copy=False)
        self.relaxed_weights_ = solution.relaxed_weights.astype(X.dtype, copy=False)
        self.causal_order_ = solution.causal_order
        self.objective_ = unit * solution.objective
        self.dual_gap_ = unit * solution.dual_gap
        self.acyclicity_ = solution.acyclicity
        self.varsortability_ = varsortability(centred, self.adjacency_matrix_)
        self.n_iter_ = solution.n_iter
        self.status_ = solution.status
        if solution.status != "converged":
            warnings.warn(
                f"The weights have a duality gap of {self.dual_gap_:.1e} (tol={self.tol}), and the path took "
                f"{self.n_iter_} steps; {_REMEDIES[solution.status]}.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def score(self, X: Any, y: Any = None) -> float:
        """Compute the mean Gaussian log-likelihood of samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.
        y : None
            Ignored.

        Returns
        -------
        float
            The log-likelihood of a sample, on average.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        centred = X.astype(np.float64) - self.mean_
        scale = np.asarray(self.noise_scale_, dtype=np.float64)
        residual = (centred - centred @ self.adjacency_matrix_) / scale
        # The determinant of I - W is one: W is strictly triangular in the causal order.
        return float(
            -0.5 * np.mean((residual**2).sum(axis=1)) - np.log(scale).sum() - 0.5 * scale.size * np.log(2 * np.pi)
        )
