"""A permutation test of the null hypothesis that the target has nothing to do with the features."""

from collections.abc import Generator
from functools import partial
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import check_cv
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data
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
from sparsemodels.linear_model.simultaneous_glm import LOSSES
from sparsemodels.linear_model.stability_selection import check_two_classes
from sparsemodels.solvers.columns import as_columns
from sparsemodels.solvers.losses import loss_value, reweighted
from sparsemodels.solvers.path import alpha_max_passes
from sparsemodels.solvers.penalties import with_alpha
from sparsemodels.solvers.simultaneous import Companion, Design, run_together

_SHARE = 0.5  # of a problem's own alpha_max, where no level is given
_TIE = 1e-9  # relative: permutations that only exchange equal targets tie, up to rounding


class Outcome(NamedTuple):
    """What one fit contributes: an explained part and a whole, whose ratio is the statistic."""

    explained: float
    whole: float
    relative_gap: float
    n_iter: int
    status: str


class PermutationTest(CallbackSupportMixin, BaseEstimator):
    r"""Test whether a sparse linear model finds more in the targets than in the same targets in random order.

    If target and features are independent, every order of the targets is as likely as the one observed. With a
    statistic :math:`T_0` of the data and :math:`T_1, \dots, T_B` of permuted targets,

    .. math:: \text{p-value} = \frac{1 + \#\{b : T_b \ge T_0\}}{1 + B}

    is valid for every sample size. All permutations are one simultaneous problem over the same design.

    Parameters
    ----------
    loss : {"squared", "logistic"}, default="squared"
        The loss; for "logistic" the target holds two classes.
    statistic : {"alpha_max", "in_sample", "held_out"}, default="alpha_max"
        "alpha_max" is the smallest level with an empty model, the largest absolute correlation in effect: it needs
        one matrix product and no fit, and is most sensitive to few strong features. "in_sample" is the share of the
        empty model's loss that the fitted model explains, "held_out" the same on the rows held out by the folds `cv`:
        they are sensitive to many weaker features.
    alpha : float, optional
        The level of the fits; by default half of each problem's own smallest level with an empty model.
    l1_ratio : float, default=1.0
        The share of the L1 norm in the penalty, in (0, 1] unless `alpha` is given.
    n_permutations : int, default=999
        *B*; the smallest possible p-value is ``1 / (1 + B)``.
    cv : int, splitter or iterable, default=5
        The folds of "held_out", drawn once and used for all permutations.
    fit_intercept : bool, default=True
        Whether to add unpenalised intercepts.
    penalty_weights : array-like of shape (n_features,) or float, optional
        A factor of the penalty for each feature, in (0, inf].
    tol : float, default=1e-4
        The duality gap of every fit, relative to the loss of its empty model.
    max_iter : int, default=1000
        The largest number of passes over the data for each fit.
    time_limit : float, optional
        Seconds after which every fit stops where it is, with a warning.
    random_state : int, RandomState instance or None, default=None
        Draws the permutations.

    Attributes
    ----------
    statistic_ : float
        The statistic of the data.
    null_distribution_ : ndarray of shape (n_permutations,)
        The statistic of each permutation.
    p_value_ : float
        The p-value.
    relative_gap_ : float
        The largest relative duality gap of any fit; zero without fits.
    n_iter_ : int
        Passes over the data of all fits.
    status_ : str
        "converged", or why the first fit that did not reach its tolerance stopped.

    See Also
    --------
    StabilitySelection : Which features, where this test says whether any.

    References
    ----------
    - B. Phipson and G. K. Smyth, "Permutation p-values should never be zero", Stat. Appl. Genet. Mol. Biol. 9, 2010.
    - B. Conroy, J. Walz and P. Sajda, "Fast bootstrapping and permutation testing for assessing reproducibility and
      interpretability of multivariate fMRI decoding models", PLoS ONE 8, 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.linear_model import PermutationTest
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 200))
    >>> y = X[:, 3] + rng.standard_normal(100)
    >>> PermutationTest(random_state=0).fit(X, y).p_value_
    0.001
    >>> noise = rng.standard_normal(100)
    >>> PermutationTest(random_state=0).fit(X, noise).p_value_ > 0.05
    True
    """

    _parameter_constraints: dict = {
        "loss": [StrOptions(set(LOSSES))],
        "statistic": [StrOptions({"alpha_max", "in_sample", "held_out"})],
        "alpha": [None, Interval(Real, 0, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "n_permutations": [Interval(Integral, 1, None, closed="left")],
        "cv": ["cv_object"],
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
        statistic="alpha_max",
        alpha=None,
        l1_ratio=1.0,
        n_permutations=999,
        cv=5,
        fit_intercept=True,
        penalty_weights=None,
        tol=1e-4,
        max_iter=1000,
        time_limit=None,
        random_state=None,
    ):
        self.loss = loss
        self.statistic = statistic
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.n_permutations = n_permutations
        self.cv = cv
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
        """Compute the statistic of the data and of all permutations.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples. Dense and CSC input of 32 or 64 bits is used in place, and never copied.
        y : array-like of shape (n_samples,)
            Targets; two classes for the logistic loss.

        Returns
        -------
        PermutationTest
            The fitted estimator itself.
        """
        with threadpool_limits(1, "blas"):  # thousands of small products: threads cost more than they bring
            self._fit(X, y)
        return self

    def _fit(self, X: Any, y: Any) -> None:
        require_numpy(X, "coordinate descent")
        squared = self.loss == "squared"
        X, y = validate_data(
            self, X, y, accept_sparse="csc", dtype=(np.float64, np.float32), y_numeric=squared, ensure_min_samples=2
        )
        y = np.asarray(y, dtype=np.float64) if squared else check_two_classes(y)[0]
        penalty = make_penalty(self.l1_ratio, self.penalty_weights, None, False, X.shape[1])
        self._check(penalty)
        folds = self._folds(X, y)
        deadline = CompositeEstimator._deadline(self)  # type: ignore[arg-type]
        rng = check_random_state(self.random_state)
        orders = [np.arange(y.size)] + [rng.permutation(y.size) for _ in range(self.n_permutations)]
        design = Design(as_columns(X), fit_intercept=self.fit_intercept)
        context = self._init_callback_context(max_subtasks=len(orders) * len(folds))
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)

        def start(order: np.ndarray, fold: Any) -> tuple[Companion, Generator[None, None, Outcome]]:
            train, test = fold
            loss = LOSSES[self.loss](y[order], train)
            problem = design.problem(loss)
            return problem, passes(problem, loss if test is None else reweighted(loss, test))

        def passes(problem: Companion, judge: Any) -> Generator[None, None, Outcome]:
            task = context.subcontext(task_name="problem")
            task.call_on_fit_task_begin(estimator=self, X=X, y=y)
            whole = float(loss_value(judge, problem.predictor))
            outcome = Outcome(0.0, 1.0, 0.0, 1, "converged")
            if self.statistic == "alpha_max" or self.alpha is None:
                largest = yield from alpha_max_passes(problem, penalty)
                outcome = outcome._replace(explained=largest)
            if self.statistic != "alpha_max":
                level = _SHARE * largest if self.alpha is None else self.alpha
                solution = yield from problem.passes(
                    with_alpha(penalty, level), tol=self.tol, max_iter=self.max_iter, deadline=deadline
                )
                problem.restart(solution.coef)  # the best point is not always the last
                left = float(loss_value(judge, problem.predictor))
                null = solution.null_objective
                gap = solution.dual_gap / (null if null > 0.0 else 1.0)
                outcome = Outcome(whole - left, whole, gap, solution.n_iter, solution.status)
            task.call_on_fit_task_end(estimator=self, X=X, y=y)
            return outcome

        runs = run_together(design, [partial(start, order, fold) for order in orders for fold in folds])
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        statuses = ["interrupted" if run is None else run.status for run in runs]
        if "interrupted" in statuses:  # without all permutations there is no p-value
            raise KeyboardInterrupt
        statistics = np.array([_ratio(runs[k : k + len(folds)]) for k in range(0, len(runs), len(folds))])
        self.statistic_, self.null_distribution_ = float(statistics[0]), statistics[1:]
        ties = self.null_distribution_ >= self.statistic_ - _TIE * abs(self.statistic_)
        self.p_value_ = (1 + int(np.count_nonzero(ties))) / (1 + self.n_permutations)
        self.relative_gap_ = float(max(run.relative_gap for run in runs))
        self.n_iter_ = sum(run.n_iter for run in runs)
        failed = [status for status in statuses if status != "converged"]
        self.status_ = failed[0] if failed else "converged"
        warn_unless_converged(type(self).__name__, self.status_, self.relative_gap_, self.tol)

    def _check(self, penalty: Any) -> None:
        if (penalty.weights == 0.0).any():
            raise ValueError(
                "penalty_weights must be positive, got 0: with features that are always in the model, other orders of "
                "the targets are not equally likely."
            )
        if self.l1_ratio == 0.0 and (self.statistic == "alpha_max" or self.alpha is None):
            raise ValueError("l1_ratio must be > 0 unless alpha is given, got 0: no level gives an empty model.")

    def _folds(self, X: Any, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """Weights of the rows to train on and to judge by; one pair on all rows but for held-out losses."""
        if self.statistic != "held_out":
            return [(np.full(y.size, 1.0 / y.size), None)]
        folds = []
        for train, test in check_cv(self.cv, y, classifier=self.loss == "logistic").split(X, y):
            if self.loss == "logistic" and min(y.sum(), y.size - y.sum()) <= y.size - len(train):
                raise ValueError(
                    "y must hold more samples of each class than a fold holds out, got "
                    f"{int(min(y.sum(), y.size - y.sum()))} and {y.size - len(train)}."
                )
            weights = np.zeros((2, y.size))
            weights[0, train], weights[1, test] = 1.0 / len(train), 1.0 / len(test)
            folds.append((weights[0], weights[1]))
        return folds


def _ratio(runs: list[Outcome]) -> float:
    """The statistic of one order of the targets: what all folds explain of the whole."""
    whole = sum(run.whole for run in runs)
    return sum(run.explained for run in runs) / whole if whole > 0.0 else 0.0
