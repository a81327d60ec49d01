"""The number of components of a matrix factorization, chosen by cross-validation over single entries."""

import time
import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.validation import has_fit_parameter
from threadpoolctl import threadpool_limits

from sparsemodels._base import Interval, StrOptions, _fit_context, require_numpy, with_callbacks
from sparsemodels._known_entries import known_entries
from sparsemodels.solvers.held_out_errors import held_out_errors
from sparsemodels.solvers.rank_search import Errors, choose_rank, growing_ranks, ranks_in_order

from .entry_split import EntrySplit, draw_split, splitter
from .rank_selector import RankSelector, check_ranks, given, rank_candidate

__all__ = ["NMFCV"]

_BLOCK = 1 << 15  # entries predicted at a time


class Outcome(NamedTuple):
    """What one fit to a part of the entries came to."""

    error: float
    kkt: float
    status: str


class NMFCV(RankSelector):
    r"""Choose the rank of a matrix factorization by holding out single entries.

    A random share of the known entries is hidden, scattered over the whole matrix like speckles. For every candidate
    rank *r* the factorization is fitted to the other entries, and the hidden ones are predicted by
    :math:`\hat x_{ij} = \sum_{a=1}^r w_{ia} h_{aj}`. Too small a rank misses structure and too large a one fits noise;
    the mean error over the hidden entries shows both. Whole rows cannot be held out for this: their codes would be
    computed from the very entries to be predicted.

    Parameters
    ----------
    estimator : estimator instance, default=None
        The factorization: an estimator with the parameter `n_components`, whose `fit` takes a `mask` of known entries.
        Entries are predicted by its method `predict`, from pairs of a row and a column of the training matrix, or else
        by the products of the codes that `fit_transform` returns with `components_`, clipped to the range of the
        entries trained on. None stands for :class:`NMF` with its defaults. Where its `random_state` is None, it is set
        from that of this estimator.
    ranks : array-like of int or "auto", default="auto"
        The candidates for `n_components`. "auto" doubles the rank until the mean error has twice not improved, and then
        narrows down by golden section: logarithmically many ranks, the best one if the error first falls and then
        rises. The smaller of `n_samples` and `n_features` is the largest rank tried.
    test_fraction : float, default=0.1
        The share of the known entries to hold out in each replicate, in (0, 1).
    n_replicates : int, default=3
        How many times entries are held out, each time others; all ranks see the same ones.
    rule : {"min", "1se"}, default="min"
        Whether to choose the rank of the smallest mean error, or the smallest rank whose mean error is within one
        standard error of it.
    patience : int, default=5
        With given `ranks`, tried from the smallest up, stop once this many in a row have not improved on the smallest
        mean error. None tries all.
    mask_zeros : bool, default=False
        For sparse `X`: whether entries that are not stored are unknown, neither trained on nor held out, rather than
        zero. If True, the parameter `missing` of the estimator is set to ``"implicit"``. If False, and the estimator
        does not have that setting itself, zeros are held out like any other entry; to that end `X` is made dense,
        which is refused where it would take more than 1 GiB.
    scoring : callable, default=None
        A function ``scoring(x, prediction)`` of two vectors that returns the error of each entry. By default the
        measure that belongs to the estimator's `loss`: the squared error, the divergence of the loss, or, for losses
        that tolerate outliers, the absolute error.
    time_limit : float, default=None
        Seconds after which no further ranks are tried; the best one so far is then fitted to all entries.
    random_state : int, RandomState instance or None, default=None
        Draws the entries held out and, where the estimator has no `random_state` of its own, its initial factors.
    n_jobs : int, default=None
        Threads over ranks and replicates. The result is the same for every number.

    Attributes
    ----------
    best_rank_ : int
        The chosen rank.
    n_components_ : int
        The same.
    best_estimator_ : estimator instance
        The factorization of that rank, fitted to all known entries.
    components_ : ndarray of shape (`n_components_`, n_features)
        Its components.
    ranks_ : ndarray of shape (n_ranks,)
        The ranks tried, ascending.
    error_path_ : ndarray of shape (n_ranks, n_replicates)
        The mean error over the entries held out, for each rank and replicate.
    mean_error_ : ndarray of shape (n_ranks,)
        Its mean over the replicates.
    standard_error_ : ndarray of shape (n_ranks,)
        The standard error of that mean: the standard deviation over the replicates by the root of their number; NaN for
        a single replicate.
    rank_min_, rank_1se_ : int
        The choices of the two rules.
    cv_results_ : dict of str to ndarray
        The same in the manner of :class:`~sklearn.model_selection.GridSearchCV`, the scores being negative errors:
        ``"param_n_components"``, ``"split0_test_score"``, ..., ``"mean_test_score"``, ``"std_test_score"``,
        ``"rank_test_score"``.
    max_kkt_ : float
        The largest residual of the optimality conditions of any fit to a part of the entries; NaN if the estimator has
        none.
    status_ : str
        "converged"; or "time_limit" or "stopped" (by a callback) where ranks are missing that would have been tried.
    n_features_in_ : int
        The number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if `X` had string names.

    Raises
    ------
    ValueError
        If a parameter or the data is out of range; the message names the parameter, its value and what is allowed.
    MemoryError
        If zeros of a sparse matrix would have to be held out that is too large to be made dense.

    See Also
    --------
    StabilityRankSelector : The largest rank whose components are the same when the data are perturbed.
    sparsemodels.inspection.RankSelectionDisplay : Draws the errors.

    Notes
    -----
    What is held out has no influence at all on what is fitted: not on the starting point, the scale or the stopping
    test. An entry is held out if a hash of (seed, row, column) is below a threshold, so that the choice depends on
    neither threads nor storage format. A row or column never loses all its entries.

    At ranks beyond the right one, an unpenalised factorization can predict almost anything for rows and columns of
    which little is known. What lies outside the range of all entries trained on is visibly wrong: hence the clipping,
    without which a few such entries would decide on everything.

    A dense `X` costs ``n_replicates`` masks of one byte an entry.

    References
    ----------
    - S. Wold, "Cross-validatory estimation of the number of components in factor and principal components models",
      Technometrics 20, 1978.
    - A. B. Owen and P. O. Perry, "Bi-cross-validation of the SVD and the nonnegative matrix factorization", Ann. Appl.
      Stat. 3, 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.decomposition import NMFCV
    >>> rng = np.random.default_rng(0)
    >>> X = rng.exponential(size=(60, 4)) @ rng.exponential(size=(4, 40))
    >>> X = np.maximum(X + 0.3 * rng.standard_normal(X.shape), 0.0)
    >>> search = NMFCV(ranks=range(1, 8), rule="1se", random_state=0).fit(X)
    >>> search.best_rank_
    4
    >>> search.transform(X).shape
    (60, 4)
    """

    _parameter_constraints: dict = {
        **RankSelector._parameter_constraints,
        "ranks": ["array-like", StrOptions({"auto"})],
        "test_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_replicates": [Interval(Integral, 1, None, closed="left")],
        "rule": [StrOptions({"min", "1se"})],
        "patience": [None, Interval(Integral, 1, None, closed="left")],
        "mask_zeros": ["boolean"],
        "scoring": [None, callable],
    }

    def __init__(
        self,
        estimator=None,
        *,
        ranks="auto",
        test_fraction=0.1,
        n_replicates=3,
        rule="min",
        patience=5,
        mask_zeros=False,
        scoring=None,
        time_limit=None,
        random_state=None,
        n_jobs=None,
    ):
        self.estimator = estimator
        self.ranks = ranks
        self.test_fraction = test_fraction
        self.n_replicates = n_replicates
        self.rule = rule
        self.patience = patience
        self.mask_zeros = mask_zeros
        self.scoring = scoring
        self.time_limit = time_limit
        self.random_state = random_state
        self.n_jobs = n_jobs

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, *, mask: Any = None, weights: Any = None, **params: Any) -> "NMFCV":
        """Choose the rank, and fit the factorization of that rank to all known entries.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The matrix. Entries can be unknown: NaN in a dense one, left out of a sparse one if the estimator has
            ``missing="implicit"``, or by the `mask`. Only known ones are held out.
        y : None
            Ignored.
        mask : array-like of bool of shape (n_samples, n_features), optional
            True where a dense X is known. What stands elsewhere is never read.
        weights : array-like or sparse matrix of shape (n_samples, n_features), optional
            Weights >= 0 of the entries, in the fits and in their errors; zero means unknown.
        **params : dict
            With metadata routing enabled, passed on to the factorization as it requests.

        Returns
        -------
        NMFCV
            The fitted estimator itself.
        """
        routed, deadline = self._routed(params), self._deadline()
        estimator = self._check_estimator()
        ranks = None if isinstance(self.ranks, str) else check_ranks(self.ranks)
        if self.rule == "1se" and self.n_replicates == 1:
            raise ValueError("n_replicates must be at least 2 with rule='1se', got 1: one has no standard error.")
        require_numpy(X, type(estimator).__name__)
        implicit = scipy.sparse.issparse(X) and (self.mask_zeros or getattr(estimator, "missing", "auto") == "implicit")
        if implicit and estimator.missing != "implicit":
            estimator = clone(estimator).set_params(missing="implicit")
        checked, _ = known_entries(
            self, X, mask, weights,
            missing="implicit" if implicit else "auto",
            nonnegative=get_tags(estimator).input_tags.positive_only,
            min_samples=2,
        )  # fmt: skip
        if checked.shape[1] < 2:
            raise ValueError(f"Found array with 1 feature(s) (shape={checked.shape}) while NMFCV needs at least 2.")
        rng = check_random_state(self.random_state)
        split = splitter(checked, mask, weights, implicit=implicit)
        splits = [draw_split(split, self.test_fraction, rng) for _ in range(self.n_replicates)]
        seed = int(rng.randint(2**31 - 1))
        if ranks is None:
            search = growing_ranks(min(checked.shape), self.rule)
        else:
            search = ranks_in_order(ranks, self.patience)
        context = self._init_callback_context(max_subtasks=None)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)

        def stop() -> bool:
            task = context.subcontext(task_name="ranks")
            task.call_on_fit_task_begin(estimator=self, X=X, y=y)
            return bool(task.call_on_fit_task_end(estimator=self, X=X, y=y))

        outcomes = self._run(search, estimator, splits, routed, deadline, stop)
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        self._set_outcomes(outcomes)
        if self.status_ == "interrupted":
            raise KeyboardInterrupt
        self.best_estimator_ = rank_candidate(estimator, self.best_rank_, seed)
        self.best_estimator_.fit(X, **given(mask=mask, weights=weights), **routed)
        self._warn(outcomes)
        return self

    def _check_estimator(self) -> Any:
        estimator = super()._check_estimator()
        name = type(estimator).__name__
        if not has_fit_parameter(estimator, "mask"):
            raise ValueError(f"estimator must take a mask of known entries in its fit, got {name}, which does not.")
        if self.mask_zeros and "missing" not in estimator.get_params(deep=False):
            raise ValueError(f"mask_zeros=True needs an estimator with the parameter missing, got {name}.")
        return estimator

    def _run(
        self,
        search: Any,
        estimator: Any,
        splits: list[EntrySplit],
        routed: dict[str, Any],
        deadline: float,
        stop: Callable[[], bool],
    ) -> dict[int, list[Outcome]]:
        """Try ranks until the search has found what it looks for; sets `status_`."""
        outcomes: dict[int, list[Outcome]] = {}
        self.status_ = "converged"
        wave = next(search)

        def fit_one(rank: int, split: EntrySplit, deadline: float) -> Outcome | None:
            if time.monotonic() > deadline:
                return None
            model = rank_candidate(estimator, rank, split.seed)
            predictions = _predictions(model, split, routed)
            kkt, status = getattr(model, "kkt_", np.nan), getattr(model, "status_", "converged")
            return Outcome(self._error(model, predictions, split), float(kkt), str(status))

        try:
            while True:
                # The first rank is tried whatever the time.
                tasks = [
                    delayed(fit_one)(rank, split, deadline if outcomes or rank != wave[0] else np.inf)
                    for rank in wave
                    for split in splits
                ]
                # Warnings of single fits are summed up in one. All threads share the filters: set here, once.
                with warnings.catch_warnings(), threadpool_limits(1, "blas"):
                    warnings.simplefilter("ignore", UserWarning)
                    runs = Parallel(n_jobs=self.n_jobs, backend="threading")(tasks)
                for k, rank in enumerate(wave):
                    replicates = runs[k * len(splits) : (k + 1) * len(splits)]
                    if None not in replicates:
                        outcomes[rank] = replicates
                if None in runs:
                    self.status_ = "time_limit"
                    break
                wave = search.send([_errors(outcomes[rank]) for rank in wave])
                if stop():
                    self.status_ = "stopped"
                    break
        except StopIteration:
            pass
        except KeyboardInterrupt:
            if not outcomes:
                raise
            self.status_ = "interrupted"
        return outcomes

    def _error(self, model: Any, predictions: np.ndarray, split: EntrySplit) -> float:
        """The weighted mean error over the entries held out."""
        if self.scoring is None:
            errors = held_out_errors(getattr(model, "loss", "frobenius"), split.values, predictions)
        else:
            errors = np.asarray(self.scoring(split.values, predictions), dtype=np.float64)
            if errors.shape != split.values.shape:
                raise ValueError(
                    f"scoring must return one error for each of {split.values.size} entries, got shape {errors.shape}."
                )
        return float(np.average(errors, weights=split.weights))

    def _set_outcomes(self, outcomes: dict[int, list[Outcome]]) -> None:
        ranks = sorted(outcomes)
        errors = {rank: _errors(outcomes[rank]) for rank in ranks}
        self.ranks_ = np.array(ranks)
        self.error_path_ = np.array([[run.error for run in outcomes[rank]] for rank in ranks])
        self.mean_error_ = np.array([errors[rank].mean for rank in ranks])
        self.standard_error_ = np.array([errors[rank].standard_error for rank in ranks])
        kkts = np.array([run.kkt for runs in outcomes.values() for run in runs])
        self.max_kkt_ = float(np.nanmax(kkts)) if not np.isnan(kkts).all() else np.nan
        self.rank_min_, self.rank_1se_ = choose_rank(errors, "min"), choose_rank(errors, "1se")
        self.best_rank_ = self.n_components_ = self.rank_min_ if self.rule == "min" else self.rank_1se_
        order = np.argsort(self.mean_error_, kind="stable")
        places = np.empty(order.size, dtype=np.int32)
        places[order] = np.arange(1, order.size + 1)
        self.cv_results_ = {
            "param_n_components": self.ranks_,
            **{f"split{k}_test_score": -column for k, column in enumerate(self.error_path_.T)},
            "mean_test_score": -self.mean_error_,
            "std_test_score": self.error_path_.std(axis=1),
            "rank_test_score": places,
        }

    def _warn(self, outcomes: dict[int, list[Outcome]]) -> None:
        self._warn_unless_all_tried()
        runs = [run for rank in {self.rank_min_, self.rank_1se_} for run in outcomes[rank]]
        late = [run.kkt for run in runs if run.status != "converged"]
        if late:
            warnings.warn(
                f"{len(late)} of {len(runs)} fits of the chosen rank to a part of the entries did not reach the "
                f"tolerance of the estimator: KKT residual {max(late):.3e}; increase its max_iter or tol.",
                ConvergenceWarning,
                stacklevel=3,
            )


def _errors(runs: list[Outcome]) -> Errors:
    errors = np.array([run.error for run in runs])
    spread = float(errors.std(ddof=1) / np.sqrt(errors.size)) if errors.size > 1 else np.nan
    return Errors(float(errors.mean()), spread)


def _predictions(model: Any, split: EntrySplit, routed: dict[str, Any]) -> np.ndarray:
    """Fit a factorization to one part of the entries, and predict those held out."""
    if hasattr(model, "predict"):
        model.fit(split.X, **split.fit_params, **routed)
        return np.asarray(model.predict(np.column_stack([split.rows, split.columns])), dtype=np.float64)
    codes = np.asarray(model.fit_transform(split.X, **split.fit_params, **routed))
    components = np.ascontiguousarray(model.components_.T)
    predictions = np.empty(split.rows.size)
    for start in range(0, split.rows.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        predictions[block] = np.einsum("ea,ea->e", codes[split.rows[block]], components[split.columns[block]])
    return np.clip(predictions, split.smallest, split.largest, out=predictions)
