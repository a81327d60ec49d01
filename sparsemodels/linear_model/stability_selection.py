"""Stability selection: the features that a sparse model selects on most halves of the data."""

from collections.abc import Generator
from functools import partial
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from sparsemodels._base import (
    BaseEstimator,
    CallbackSupportMixin,
    Interval,
    StrOptions,
    _fit_context,
    require_numpy,
    with_callbacks,
)
from sparsemodels.linear_model.composite_estimator import CompositeEstimator, make_penalty, warn_unless_converged
from sparsemodels.linear_model.path_cross_validation import levels
from sparsemodels.linear_model.simultaneous_glm import LOSSES
from sparsemodels.solvers.columns import as_columns
from sparsemodels.solvers.path import Path, alpha_max, path_passes
from sparsemodels.solvers.simultaneous import Companion, Design, run_together


class Resample(NamedTuple):
    """What is kept of the path of one resample."""

    gaps: np.ndarray
    relative_gap: float
    n_selected: int
    n_iter: int
    status: str


def check_two_classes(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels as 0 and 1, and what they stand for."""
    classes, labels = np.unique(y, return_inverse=True)
    if classes.size != 2:
        raise ValueError(f"y must hold two classes with loss='logistic', got {classes.size}.")
    return labels.astype(np.float64), classes


class StabilitySelection(SelectorMixin, CallbackSupportMixin, BaseEstimator):
    r"""Select the features that a sparse linear model chooses on most random halves of the samples.

    A path of models is fitted to each of many random subsamples. The share of subsamples on which feature *j* has a
    coefficient at the level :math:`\alpha` is its selection probability :math:`\hat\Pi_j(\alpha)`, and the stable
    features are those with :math:`\max_\alpha \hat\Pi_j(\alpha) \ge \pi`. If subsamples select *q* of the *p* features
    on average, on the path as a whole, the expected number of wrong ones among the stable is at most

    .. math:: \frac{q^2}{(2 \pi - 1)\, p}

    (Meinshausen and Bühlmann, theorem 1, for noise features that are exchangeable and are selected no more often than
    by chance; Shah and Samworth, theorem 1, without these assumptions for features that are selected less often than
    :math:`q / p`). The bound is informative where the path stops early: choose `eps` so that *q* is of the order of
    :math:`\sqrt p`.

    Parameters
    ----------
    loss : {"squared", "logistic"}, default="squared"
        The loss; for "logistic" the target holds two classes, and the subsamples have equal shares of them.
    alphas : int or array-like, default=30
        How many levels, geometric from `alpha_max_` down to ``eps * alpha_max_``, or the levels.
    eps : float, default=0.3
        The ratio of the smallest level to the largest.
    l1_ratio : float, default=1.0
        The share of the L1 norm in the penalty, in (0, 1] for an automatic grid.
    n_resamples : int, default=100
        How many subsamples; an odd number is rounded up for complementary pairs.
    sample_fraction : float, default=0.5
        The share of the samples in each. The error bound is that of halves.
    complementary_pairs : bool, default=True
        Whether subsamples come in disjoint pairs (Shah and Samworth), else independently.
    weakness : float, default=1.0
        Where below one, each subsample's penalty of each feature is divided by this number or not, at random: the
        randomised LASSO, which parts correlated features.
    threshold : float, default=0.6
        The selection probability :math:`\pi` in (0.5, 1] of a stable feature.
    fit_intercept : bool, default=True
        Whether to add unpenalised intercepts.
    penalty_weights : array-like of shape (n_features,) or float, optional
        A factor of the penalty for each feature, in [0, inf].
    tol : float, default=1e-4
        The duality gap of every fit, relative to the loss of its empty model.
    max_iter : int, default=1000
        The largest number of passes over the data for each fit.
    time_limit : float, optional
        Seconds after which the levels that all subsamples have reached are used, with a warning.
    random_state : int, RandomState instance or None, default=None
        Draws the subsamples.

    Attributes
    ----------
    alphas_ : ndarray of shape (n_alphas,)
        The levels, decreasing.
    alpha_max_ : float
        The smallest level with an empty model, on all samples.
    selection_probabilities_ : ndarray of shape (n_features, n_alphas)
        The share of subsamples on which each feature is selected at each level.
    scores_ : ndarray of shape (n_features,)
        The largest of them.
    n_selected_ : ndarray of shape (n_resamples,), int
        How many of the penalised features each subsample selects at any level; their mean is *q*.
    error_bound_ : float
        The bound of the expected number of wrong features among the stable ones, at `threshold`.
    dual_gap_path_ : ndarray of shape (n_alphas, n_resamples)
        The duality gap of every fit.
    n_iter_ : int
        Passes over the data of all fits.
    status_ : str
        "converged", or why the first fit that did not reach its tolerance stopped.

    See Also
    --------
    SimultaneousGLM : The fits side by side that stand behind it.

    References
    ----------
    - N. Meinshausen and P. Bühlmann, "Stability selection", J. R. Stat. Soc. B 72, 2010.
    - R. D. Shah and R. J. Samworth, "Variable selection with error control: another look at stability selection",
      J. R. Stat. Soc. B 75, 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.linear_model import StabilitySelection
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 200))
    >>> y = X[:, 3] - X[:, 7] + rng.standard_normal(100)
    >>> model = StabilitySelection(eps=0.5, random_state=0).fit(X, y)
    >>> model.get_support(indices=True)
    array([3, 7])
    >>> model.error_bound_ < 1.0
    True
    """

    _parameter_constraints: dict = {
        "loss": [StrOptions(set(LOSSES))],
        "alphas": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "eps": [Interval(Real, 0, 1, closed="neither")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "n_resamples": [Interval(Integral, 1, None, closed="left")],
        "sample_fraction": [Interval(Real, 0, 1, closed="neither")],
        "complementary_pairs": ["boolean"],
        "weakness": [Interval(Real, 0, 1, closed="right")],
        "threshold": [Interval(Real, 0.5, 1, closed="right")],
        "random_state": ["random_state"],
        **{
            name: CompositeEstimator._parameter_constraints[name]
            for name in ("fit_intercept", "penalty_weights", "tol", "max_iter", "time_limit")
        },
    }

    def __init__(
        self,
        loss="squared",
        *,
        alphas=30,
        eps=0.3,
        l1_ratio=1.0,
        n_resamples=100,
        sample_fraction=0.5,
        complementary_pairs=True,
        weakness=1.0,
        threshold=0.6,
        fit_intercept=True,
        penalty_weights=None,
        tol=1e-4,
        max_iter=1000,
        time_limit=None,
        random_state=None,
    ):
        self.loss = loss
        self.alphas = alphas
        self.eps = eps
        self.l1_ratio = l1_ratio
        self.n_resamples = n_resamples
        self.sample_fraction = sample_fraction
        self.complementary_pairs = complementary_pairs
        self.weakness = weakness
        self.threshold = threshold
        self.fit_intercept = fit_intercept
        self.penalty_weights = penalty_weights
        self.tol = tol
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        return tags

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any) -> Any:
        """Fit the paths of all subsamples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples. Dense and CSC input of 32 or 64 bits is used in place, and never copied.
        y : array-like of shape (n_samples,)
            Targets; two classes for the logistic loss.

        Returns
        -------
        StabilitySelection
            The fitted estimator itself.
        """
        if self.complementary_pairs and self.sample_fraction > 0.5:
            raise ValueError(
                f"sample_fraction must be at most 0.5 with complementary_pairs=True, got {self.sample_fraction}."
            )
        with threadpool_limits(1, "blas"):  # thousands of small products: threads cost more than they bring
            self._fit(X, y)
        return self

    def _fit(self, X: Any, y: Any) -> None:
        require_numpy(X, "coordinate descent")
        squared = self.loss == "squared"
        X, y = validate_data(
            self, X, y, accept_sparse="csc", dtype=(np.float64, np.float32), y_numeric=squared, ensure_min_samples=2
        )
        y, classes = (np.asarray(y, dtype=np.float64), None) if squared else check_two_classes(y)
        strata = [np.arange(y.size)] if classes is None else [np.flatnonzero(y == label) for label in (0.0, 1.0)]
        base = make_penalty(self.l1_ratio, self.penalty_weights, None, False, X.shape[1])
        candidates = (base.weights > 0.0) & np.isfinite(base.weights)
        deadline = CompositeEstimator._deadline(self)  # type: ignore[arg-type]
        rng = check_random_state(self.random_state)
        subsamples = self._subsamples(strata, rng)
        context = self._init_callback_context(max_subtasks=len(subsamples))
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        design = Design(as_columns(X), fit_intercept=self.fit_intercept)
        full = design.problem(LOSSES[self.loss](y, np.full(y.size, 1.0 / y.size)))
        self.alpha_max_ = alpha_max(full, base)
        alphas = levels(self.alpha_max_, self.alphas, self.eps)
        seeds = rng.randint(np.iinfo(np.int32).max, size=len(subsamples))
        counts = np.zeros((X.shape[1], alphas.size), dtype=np.int64)

        def start(rows: np.ndarray, seed: int) -> tuple[Companion, Generator[None, None, Resample]]:
            weights = np.zeros(y.size)
            weights[rows] = 1.0 / rows.size
            problem = design.problem(LOSSES[self.loss](y, weights))
            return problem, passes(problem, self._weakened(base, seed))

        def passes(problem: Companion, penalty: Any) -> Generator[None, None, Resample]:
            task = context.subcontext(task_name="subsample")
            task.call_on_fit_task_begin(estimator=self, X=X, y=y)
            path: Path = yield from path_passes(
                problem, penalty, alphas, tol=self.tol, max_iter=self.max_iter, deadline=deadline
            )
            selected = path.coefs != 0.0
            counts[:, : path.alphas.size] += selected
            task.call_on_fit_task_end(estimator=self, X=X, y=y)
            n_selected = int(np.count_nonzero(selected[candidates].any(axis=1)))
            relative_gap = path.dual_gaps.max() / (path.null_objective if path.null_objective > 0.0 else 1.0)
            return Resample(path.dual_gaps, relative_gap, n_selected, int(path.n_iters.sum()), path.status)

        runs = run_together(design, [partial(start, rows, seed) for rows, seed in zip(subsamples, seeds)])
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        done = [run for run in runs if run is not None]
        if not done:
            raise KeyboardInterrupt
        # A level counts if every subsample that was begun has reached it.
        n_levels = min(run.gaps.size for run in done)
        self.alphas_ = alphas[:n_levels]
        self.selection_probabilities_ = counts[:, :n_levels] / len(done)
        self.scores_ = self.selection_probabilities_.max(axis=1)
        self.n_selected_ = np.array([run.n_selected for run in done])
        self.dual_gap_path_ = np.column_stack([run.gaps[:n_levels] for run in done])
        self.n_iter_ = sum(run.n_iter for run in done)
        self._n_candidates = int(np.count_nonzero(candidates))
        self.error_bound_ = self.error_bound()
        statuses = [run.status for run in done if run.status != "converged"]
        self.status_ = statuses[0] if statuses else ("converged" if len(done) == len(runs) else "interrupted")
        if "interrupted" in (self.status_, *statuses):
            raise KeyboardInterrupt
        warn_unless_converged(type(self).__name__, self.status_, max(run.relative_gap for run in done), self.tol)

    def _subsamples(self, strata: list[np.ndarray], rng: np.random.RandomState) -> list[np.ndarray]:
        """The rows of each subsample: disjoint pairs, or independent draws."""
        per_draw = 2 if self.complementary_pairs else 1
        sizes = [max(int(self.sample_fraction * stratum.size), 1) for stratum in strata]
        if any(size * per_draw > stratum.size for size, stratum in zip(sizes, strata)):
            raise ValueError("y must hold at least two samples of each class for complementary pairs of subsamples.")
        subsamples = []
        for _ in range(-(-self.n_resamples // per_draw)):
            orders = [rng.permutation(stratum) for stratum in strata]
            for part in range(per_draw):
                rows = [order[part * size : (part + 1) * size] for order, size in zip(orders, sizes)]
                subsamples.append(np.sort(np.concatenate(rows)))
        return subsamples

    def _weakened(self, penalty: Any, seed: int) -> Any:
        if self.weakness == 1.0:
            return penalty
        hard = np.random.RandomState(seed).randint(2, size=penalty.weights.size) == 1
        return penalty._replace(weights=np.where(hard, penalty.weights / self.weakness, penalty.weights))

    def error_bound(self, threshold: float | None = None) -> float:
        r"""The bound of the expected number of wrong features among those stable at a threshold.

        Parameters
        ----------
        threshold : float, optional
            The selection probability in (0.5, 1]; the parameter `threshold` by default.

        Returns
        -------
        float
            :math:`q^2 / ((2 \pi - 1) p)`, with *q* the mean of `n_selected_` and *p* the number of penalised features.
        """
        check_is_fitted(self, "n_selected_")
        threshold = self.threshold if threshold is None else threshold
        if not 0.5 < threshold <= 1.0:
            raise ValueError(f"threshold must lie in (0.5, 1], got {threshold!r}.")
        if self._n_candidates == 0:
            return 0.0
        return float(self.n_selected_.mean() ** 2 / ((2.0 * threshold - 1.0) * self._n_candidates))

    def _get_support_mask(self) -> np.ndarray:
        check_is_fitted(self)
        return self.scores_ >= self.threshold
