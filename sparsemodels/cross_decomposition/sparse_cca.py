"""Sparse canonical correlation analysis between features and a kernel."""

import time
import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.linalg
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted, validate_data

from sparsemodels._base import (
    BaseEstimator,
    CallbackSupportMixin,
    Interval,
    StrOptions,
    _fit_context,
    require_numpy,
    with_callbacks,
)
from sparsemodels.solvers.sparse_cca import SeededCCA, seeded_sparse_cca, stacked_design

__all__ = ["SparseCCA"]


class SparseCCA(CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Sparse canonical correlation analysis: few features of one view, few samples of the other.

    Two views of the same samples, `X` by its features and `y` by its kernel K (the inner products of samples, or any
    other kernel), are projected to scores that agree. For each component and a seed sample k,

    .. math:: \min_{w,\, e} \; \|X w - K e\|^2 + \mu \|w\|_1 + \gamma \|e\|_1
        \quad\text{with}\quad e_k = 1,\; 0 \le e \le 1

    on the centred views: a convex problem, solved to a certified duality gap. The scores of the first view are
    :math:`X w`, those of the second :math:`K e`.

    Parameters
    ----------
    n_components : int, default=1
        The number of pairs of scores.
    sparsity : float, default=1.0
        The level of the L1 norm of the feature weights, > 0: :math:`\mu` is `sparsity` times the mean of
        :math:`2 |X^T K_k|` over the features.
    dual_sparsity : float, default=1.0
        The level of the L1 norm of the sample coefficients, > 0: :math:`\gamma` is `dual_sparsity` times the mean of
        :math:`2 |K^T K_k|` over the samples, the seed counting as zero. Values well below one lead to nothing: equal
        coefficients of all samples cancel in a centred kernel, and no weights are needed to match that.
    kernel : {"linear", "precomputed"}, default="linear"
        Whether `y` holds the features of the second view, or its kernel between the samples.
    seeds : int or array-like of int, optional
        The samples to try as the seed; all by default, each at the cost of one fit.
    criterion : {"correlation", "objective"}, default="correlation"
        Which seed to take: the one with the largest correlation of the scores over the other samples (the seed's own
        scores agree by construction), or the one with the smallest objective relative to :math:`\|K_k\|^2`.
    scale : bool, default=True
        Whether to divide features by their standard deviation, in `X` and, with a linear kernel, in `y`.
    tol : float, default=1e-6
        The duality gap to reach, relative to :math:`\|K_k\|^2`.
    max_iter : int, default=1000
        The largest number of passes over the data for each seed.
    time_limit : float, optional
        Seconds after which no further seed is tried and the best so far is kept, with a warning.

    Attributes
    ----------
    x_weights_ : ndarray of shape (n_features, n_components)
        The sparse weights w of the features, of the deflated view after the first component.
    dual_coefs_ : ndarray of shape (n_samples, n_components)
        The sparse coefficients e of the samples, in [0, 1], one at the seed; zero for a component that was not
        reached.
    x_rotations_ : ndarray of shape (n_features, n_components)
        What takes the centred and scaled `X` to its scores; the weights themselves for the first component.
    dual_rotations_ : ndarray of shape (n_samples, n_components)
        What takes the centred kernel to the scores of the second view.
    x_scores_, y_scores_ : ndarray of shape (n_samples, n_components)
        The scores of the training samples. Those of different components are uncorrelated in each view.
    correlations_ : ndarray of shape (n_components,)
        The correlations of the pairs over the samples other than the seed; 0 where all weights are zero, because
        `sparsity` is too large or nothing is left to relate.
    seeds_ : ndarray of shape (n_components,)
        The chosen seeds.
    objective_ : ndarray of shape (n_components,)
        The objectives.
    dual_gap_ : ndarray of shape (n_components,)
        How far each objective can be above its minimum, at most.
    relative_gap_ : ndarray of shape (n_components,)
        The same, relative to :math:`\|K_k\|^2`: what `tol` bounds.
    kkt_ : ndarray of shape (n_components,)
        The largest violation of the optimality conditions.
    n_iter_ : int
        The largest number of passes over the data for any chosen seed.
    status_ : list of str
        Why the solver returned, for each component: "converged", "max_iter", "stalled", "time_limit", "interrupted" or
        "stopped" (by a callback). The last two end the fit: later components are missing.
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
    sklearn.cross_decomposition.CCA : Dense weights, for fewer features than samples.
    sklearn.cross_decomposition.PLSCanonical : Dense weights of largest covariance, for any number of features.

    Notes
    -----
    Neither the scale of a view nor the relative weight of the two matters: the levels move along. After each component
    both views are deflated by their own scores, as in canonical partial least squares.

    The kernel takes ``n_samples ** 2`` floats, and every component one fit for each seed.

    References
    ----------
    D. R. Hardoon and J. Shawe-Taylor, "Sparse canonical correlation analysis", Machine Learning 83, 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.cross_decomposition import SparseCCA
    >>> random = np.random.default_rng(0)
    >>> latent = random.standard_normal((60, 1))
    >>> X = np.hstack([latent + 0.1 * random.standard_normal((60, 2)), random.standard_normal((60, 20))])
    >>> Y = np.hstack([latent + 0.1 * random.standard_normal((60, 2)), random.standard_normal((60, 3))])
    >>> model = SparseCCA().fit(X, Y)
    >>> np.flatnonzero(model.x_weights_[:, 0])
    array([0, 1])
    >>> bool(model.relative_gap_[0] <= 1e-6)
    True
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "sparsity": [Interval(Real, 0, None, closed="neither")],
        "dual_sparsity": [Interval(Real, 0, None, closed="neither")],
        "kernel": [StrOptions({"linear", "precomputed"})],
        "seeds": [None, Interval(Integral, 0, None, closed="left"), "array-like"],
        "criterion": [StrOptions({"correlation", "objective"})],
        "scale": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        n_components=1,
        *,
        sparsity=1.0,
        dual_sparsity=1.0,
        kernel="linear",
        seeds=None,
        criterion="correlation",
        scale=True,
        tol=1e-6,
        max_iter=1000,
        time_limit=None,
    ):
        self.n_components = n_components
        self.sparsity = sparsity
        self.dual_sparsity = dual_sparsity
        self.kernel = kernel
        self.seeds = seeds
        self.criterion = criterion
        self.scale = scale
        self.tol = tol
        self.max_iter = max_iter
        self.time_limit = time_limit

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.two_d_labels = True
        return tags

    def _second_view(self, y: Any) -> np.ndarray:
        if y is None:
            raise ValueError("SparseCCA requires y to be passed, but the target y is None.")
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        return y.reshape(-1, 1) if y.ndim == 1 else y

    def _check_seeds(self, n_samples: int) -> np.ndarray:
        if self.seeds is None:
            return np.arange(n_samples)
        seeds = np.atleast_1d(np.asarray(self.seeds))
        if seeds.ndim != 1 or seeds.size == 0 or seeds.dtype.kind not in "iu":
            raise ValueError(f"seeds must be an integer or an array of integers, got {self.seeds!r}.")
        if seeds.min() < 0 or seeds.max() >= n_samples:
            raise ValueError(f"seeds must lie in [0, {n_samples - 1}], got {self.seeds!r}.")
        return seeds

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any) -> "SparseCCA":
        """Find pairs of sparse projections.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The first view.
        y : array-like of shape (n_samples,) or (n_samples, n_targets) or (n_samples, n_samples)
            The second view: its features or, with ``kernel="precomputed"``, its kernel between the samples.

        Returns
        -------
        SparseCCA
            The fitted estimator itself.
        """
        deadline = np.inf if self.time_limit is None else time.monotonic() + self.time_limit
        require_numpy(X, "coordinate descent")
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        Y = self._second_view(y)
        check_consistent_length(X, Y)
        n_samples, n_features = X.shape
        if self.n_components > min(n_samples, n_features):
            raise ValueError(
                f"n_components must be at most min(n_samples, n_features) = {min(n_samples, n_features)}, "
                f"got {self.n_components}."
            )
        seeds = self._check_seeds(n_samples)
        self._x_mean, self._x_scale = _moments(X, self.scale)
        X = (X - self._x_mean) / self._x_scale
        kernel = self._centred_training_kernel(Y)
        context = self._init_callback_context(max_subtasks=self.n_components * seeds.size)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)

        def stop() -> bool:
            task = context.subcontext(task_name="seed")
            task.call_on_fit_task_begin(estimator=self, X=X, y=y)
            return bool(task.call_on_fit_task_end(estimator=self, X=X, y=y))

        self._fit_components(X, kernel, seeds, deadline, stop)
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        if self.status_[-1] == "interrupted":
            raise KeyboardInterrupt
        for component, status in enumerate(self.status_):
            if status != "converged":
                warnings.warn(
                    f"Component {component} of SparseCCA did not reach its tolerance, or not all seeds were tried "
                    f"({status}): relative duality gap {self.relative_gap_[component]:.3e}, tol={self.tol:.3e}; "
                    "increase max_iter, time_limit or tol.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
        return self

    def _centred_training_kernel(self, Y: np.ndarray) -> np.ndarray:
        if self.kernel == "linear":
            self._y_mean, self._y_scale = _moments(Y, self.scale)
            self._y_train = (Y - self._y_mean) / self._y_scale
            return self._y_train @ self._y_train.T
        if Y.shape[0] != Y.shape[1]:
            raise ValueError(f"y must be a square kernel with kernel='precomputed', got shape {Y.shape}.")
        if not np.allclose(Y, Y.T, rtol=1e-7, atol=1e-9 * np.abs(Y).max(initial=0.0)):
            raise ValueError("y must be a symmetric kernel with kernel='precomputed', got one that is not.")
        self._kernel_means, self._kernel_mean = Y.mean(axis=0), float(Y.mean())
        return self._centred_kernel(Y)

    def _centred_kernel(self, kernel: np.ndarray) -> np.ndarray:
        """Inner products with the training samples, of features centred at the training mean."""
        return kernel - kernel.mean(axis=1)[:, np.newaxis] - self._kernel_means + self._kernel_mean

    def _fit_components(self, X: np.ndarray, kernel: np.ndarray, seeds: np.ndarray, deadline: float, stop: Any) -> None:
        n_samples, size = X.shape[0], self.n_components
        solutions, chosen = [], []
        # Rows of the deflated views are what projections leave of them: P X and P K P.
        x, k = X, kernel
        x_scores, y_scores = np.zeros((n_samples, size)), np.zeros((n_samples, size))
        for component in range(size):
            solution, seed = self._best_seed(stacked_design(x, k), seeds, deadline, stop)
            solutions.append(solution)
            chosen.append(seed)
            x_scores[:, component], y_scores[:, component] = x @ solution.weights, k @ solution.dual_coef
            x = _without_dust(_deflate(x, x_scores[:, component]), X)
            k = _deflate(_deflate(k, y_scores[:, component]).T, y_scores[:, component]).T
            k = _without_dust(k, kernel)
            if solution.status in ("interrupted", "stopped"):
                break
        size = len(solutions)
        x_scores, y_scores = x_scores[:, :size], y_scores[:, :size]
        self.x_scores_, self.y_scores_ = x_scores, y_scores
        self.x_weights_ = np.column_stack([solution.weights for solution in solutions])
        self.dual_coefs_ = np.column_stack([solution.dual_coef for solution in solutions])
        self.x_rotations_ = _rotations(X.T, self.x_weights_, x_scores)
        directions = _project_out(self.dual_coefs_, y_scores)
        self.dual_rotations_ = _rotations(kernel, directions, y_scores)
        if self.kernel == "linear":
            self._y_rotations = self._y_train.T @ self.dual_rotations_
            del self._y_train
        self.seeds_ = np.array(chosen)
        self.correlations_ = np.array([solution.correlation for solution in solutions])
        self.objective_ = np.array([solution.objective for solution in solutions])
        self.dual_gap_ = np.array([solution.dual_gap for solution in solutions])
        self.relative_gap_ = np.array([_relative(solution) for solution in solutions])
        self.kkt_ = np.array([solution.kkt for solution in solutions])
        self.n_iter_ = max(solution.n_iter for solution in solutions)
        self.status_ = [solution.status for solution in solutions]
        self._n_features_out = size

    def _best_seed(self, design: np.ndarray, seeds: np.ndarray, deadline: float, stop: Any) -> tuple[SeededCCA, int]:
        """The solution of the best seed; the first one tried is always solved as far as the deadline allows."""
        best, best_merit, best_seed = None, -np.inf, -1
        for seed in seeds:
            solution = seeded_sparse_cca(
                design, int(seed),
                sparsity=self.sparsity, dual_sparsity=self.dual_sparsity, tol=self.tol, max_iter=self.max_iter,
                deadline=deadline,
            )  # fmt: skip
            merit = solution.correlation
            if self.criterion == "objective":
                merit = -solution.objective / solution.null_objective if solution.null_objective > 0.0 else -np.inf
            if best is None or merit > best_merit:
                best, best_merit, best_seed = solution, merit, int(seed)
            if solution.status == "interrupted":
                best = best._replace(status="interrupted", converged=False)
                break
            last = seed == seeds[-1]
            if not last and time.monotonic() > deadline:
                best = best._replace(status="time_limit", converged=False)
                break
            if stop() and not last:
                best = best._replace(status="stopped", converged=False)
                break
        assert best is not None  # there is at least one seed
        return best, best_seed

    def transform(self, X: Any, y: Any = None) -> Any:
        """Project new samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The first view.
        y : array-like of shape (n_samples,), (n_samples, n_targets) or (n_samples, n_samples_fit), optional
            The second view: its features or, with ``kernel="precomputed"``, its kernel between these samples and
            those of the fit.

        Returns
        -------
        ndarray of shape (n_samples, n_components), or two of them
            The scores of `X` or, if `y` is given, of both views.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        x_scores = ((X - self._x_mean) / self._x_scale) @ self.x_rotations_
        if y is None:
            return x_scores
        Y = self._second_view(y)
        check_consistent_length(X, Y)
        wanted = self._y_mean.size if self.kernel == "linear" else self._kernel_means.size
        if Y.shape[1] != wanted:
            raise ValueError(f"y must have {wanted} columns, as in the fit, got {Y.shape[1]}.")
        if self.kernel == "linear":
            return x_scores, ((Y - self._y_mean) / self._y_scale) @ self._y_rotations
        return x_scores, self._centred_kernel(Y) @ self.dual_rotations_


def _moments(view: np.ndarray, scale: bool) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations of features; one for a feature that is constant up to rounding."""
    mean = view.mean(axis=0)
    deviation = view.std(axis=0, ddof=1)
    constant = deviation <= 10 * np.finfo(np.float64).eps * np.abs(view).max(axis=0)
    return mean, np.where(constant | (not scale), 1.0, deviation)


def _deflate(rows: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Project a score out of the columns."""
    size = score @ score
    return rows - np.outer(score, score @ rows / size) if size > 0.0 else rows


def _without_dust(deflated: np.ndarray, view: np.ndarray) -> np.ndarray:
    """Zero where nothing but rounding is left of a view: the next component would be fitted to it at any scale."""
    return deflated if np.abs(deflated).max() > 1e-12 * np.abs(view).max() else np.zeros_like(deflated)


def _project_out(coefs: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Each column without its components along the scores before it, so that a kernel need not be deflated."""
    result = coefs.copy()
    for h in range(coefs.shape[1]):
        for g in range(h):
            result[:, h : h + 1] = _deflate(result[:, h : h + 1], scores[:, g])
    return result


def _rotations(view: np.ndarray, weights: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """From weights of deflated views to weights of the view itself.

    The score h of a sample is its product with weight h, less what the scores before it already account for:
    ``t_h = x w_h - sum_{g < h} t_g (p_g w_h)`` with the loadings ``p_g = X^T t_g / |t_g|^2``.
    """
    size = np.einsum("ij,ij->j", scores, scores)
    normalized = scores / np.where(size > 0.0, size, 1.0)
    loadings = view @ normalized  # (n_features, n_components); with a kernel, inner products with the loadings
    system = np.triu(loadings.T @ weights, k=1) + np.eye(scores.shape[1])
    return scipy.linalg.solve_triangular(system, weights.T, trans="T").T


def _relative(solution: SeededCCA) -> float:
    return solution.dual_gap / solution.null_objective if solution.null_objective > 0.0 else 0.0
