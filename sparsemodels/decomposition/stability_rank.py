"""The number of components of a factorization, chosen by what stays the same when the data are perturbed."""

import time
import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from joblib import Parallel, delayed
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.validation import check_array
from threadpoolctl import threadpool_limits

from sparsemodels._base import Interval, StrOptions, _fit_context, require_numpy, with_callbacks
from sparsemodels._known_entries import known_entries
from sparsemodels.solvers.factor_alignment import Alignment, align_factors
from sparsemodels.solvers.observed_matrix import power_sum, shape
from sparsemodels.solvers.row_update import no_terms, squared_error, update_rows
from sparsemodels.solvers.silhouettes import angular_silhouettes

from .perturbation import perturbed, resampled
from .rank_selector import RankSelector, check_ranks, given, rank_candidate

__all__ = ["StabilityRankSelector"]

_LARGEST_DEFAULT = 10
_START = 1e-3  # of the mean of a factor: the smallest entry at which a fit starts


class Run(NamedTuple):
    """The factors of one perturbation, as rows, and the certificate of the fit."""

    factors: np.ndarray
    kkt: float
    status: str


class StabilityRankSelector(RankSelector):
    r"""Choose the largest rank whose components are the same when the data are perturbed.

    For every candidate rank, the factorization is fitted to many perturbed copies of the data. The components of all
    copies are matched one to one and form as many clusters as there are components. How well the clusters are set
    apart is measured by silhouettes of the angles between components: near one where every copy has the same
    components, falling, often below zero, where components are shaped by noise or split at will. The largest rank
    whose *worst* cluster has a mean silhouette of at least `threshold` is chosen.

    Parameters
    ----------
    estimator : estimator instance, default=None
        The factorization: an estimator with the parameter `n_components` and, once fitted, either `components_` of
        shape (n_components, n_features) or, for relational tensors, `entity_factors_` of shape (n_entities,
        n_components). None stands for :class:`NMF` with its defaults. Where its `random_state` is None, each
        perturbed copy starts elsewhere, drawn from that of this estimator.
    ranks : array-like of int, default=None
        The candidates for `n_components`. By default from 1 to 10, or to the smallest dimension of the data.
    n_perturbations : int, default=20
        How many perturbed copies of the data, at least 2. All ranks see the same ones.
    noise : {"uniform", "poisson", "bootstrap"}, default="uniform"
        How they are perturbed: every entry times a number from the uniform distribution on ``[1 - epsilon,
        1 + epsilon]``; counts drawn from Poisson distributions with the entries as means; or samples (of a tensor,
        slices along the first axis) drawn with replacement. The mean of the first two is the data themselves.
    epsilon : float, default=0.015
        The half width of the uniform noise, in (0, 1).
    threshold : float, default=0.8
        The smallest silhouette of the worst cluster at which a rank counts as stable, in [-1, 1].
    time_limit : float, default=None
        Seconds after which no further fit is begun; the ranks that are complete are used.
    random_state : int, RandomState instance or None, default=None
        Draws the perturbations and, where the estimator has no `random_state` of its own, its initial factors.
    n_jobs : int, default=None
        Threads over ranks and perturbations. The result is the same for every number.

    Attributes
    ----------
    best_rank_ : int
        The chosen rank.
    n_components_ : int
        The same.
    best_estimator_ : estimator instance
        The factorization of that rank, fitted to the data as they are. Where its parameter `init` takes factors, it
        starts at the mean directions of the clusters, so that its components are in their order.
    components_ : ndarray of shape (`n_components_`, n_features)
        Its components, if it has any.
    ranks_ : ndarray of shape (n_ranks,)
        The ranks, ascending.
    silhouettes_ : ndarray of shape (n_ranks,)
        The mean silhouette of each rank's worst cluster, in [-1, 1]; one for the rank 1.
    mean_silhouettes_ : ndarray of shape (n_ranks,)
        The mean silhouette over all clusters.
    component_silhouettes_ : ndarray of shape (`n_components_`,)
        The mean silhouette of each cluster at the chosen rank: how stable each component is.
    errors_ : ndarray of shape (n_ranks,)
        The norm of the residual over that of the data, each rank fitted to the data as they are.
    max_kkt_ : float
        The largest residual of the optimality conditions of any fit; NaN if the estimator has none.
    status_ : str
        "converged"; or "time_limit" or "stopped" (by a callback) where ranks are missing.
    n_features_in_ : int
        The number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if `X` had string names.

    Raises
    ------
    ValueError
        If a parameter or the data is out of range; the message names the parameter, its value and what is allowed.

    Warns
    -----
    UserWarning
        If no rank is stable; the one with the largest silhouette is then chosen.

    See Also
    --------
    NMFCV : The rank that predicts held-out entries best.
    NonnegativeRESCAL : Communities in relational tensors, which this drives too.
    sparsemodels.inspection.RankSelectionDisplay : Draws silhouettes and errors.

    Notes
    -----
    Components are matched by the Hungarian method to the mean directions of their clusters, again and again until no
    order changes. A large silhouette says that the components are reproducible, not that the rank is sufficient: look
    at `errors_` too.

    References
    ----------
    - L. B. Alexandrov et al., "Deciphering signatures of mutational processes operative in human cancer", Cell
      Reports 3, 2013.
    - D. P. Truong, E. Skau, V. I. Valtchinov and B. S. Alexandrov, "Determination of latent dimensionality in
      international trade flow", Machine Learning: Science and Technology 1, 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.decomposition import StabilityRankSelector
    >>> rng = np.random.default_rng(0)
    >>> X = rng.exponential(size=(60, 4)) @ (rng.random((4, 40)) * (rng.random((4, 40)) < 0.4))
    >>> X += 0.05 * rng.random(X.shape)
    >>> selector = StabilityRankSelector(ranks=range(2, 7), n_perturbations=6, random_state=0).fit(X)
    >>> selector.best_rank_
    4
    >>> bool(selector.silhouettes_[2] > 0.9 > 0.5 > selector.silhouettes_[3])
    True
    """

    _parameter_constraints: dict = {
        **RankSelector._parameter_constraints,
        "ranks": [None, "array-like"],
        "n_perturbations": [Interval(Integral, 2, None, closed="left")],
        "noise": [StrOptions({"uniform", "poisson", "bootstrap"})],
        "epsilon": [Interval(Real, 0, 1, closed="neither")],
        "threshold": [Interval(Real, -1, 1, closed="both")],
    }

    def __init__(
        self,
        estimator=None,
        *,
        ranks=None,
        n_perturbations=20,
        noise="uniform",
        epsilon=0.015,
        threshold=0.8,
        time_limit=None,
        random_state=None,
        n_jobs=None,
    ):
        self.estimator = estimator
        self.ranks = ranks
        self.n_perturbations = n_perturbations
        self.noise = noise
        self.epsilon = epsilon
        self.threshold = threshold
        self.time_limit = time_limit
        self.random_state = random_state
        self.n_jobs = n_jobs

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self, X: Any, y: Any = None, *, mask: Any = None, weights: Any = None, **params: Any
    ) -> "StabilityRankSelector":
        """Choose the rank, and fit the factorization of that rank to the data as they are.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or a relational tensor
            The data; a tensor has the shape (n_relations, n_entities, n_entities), or is a list of sparse matrices.
            Unknown entries are left to the estimator; they are not perturbed.
        y : None
            Ignored.
        mask : array-like of bool of shape (n_samples, n_features), optional
            True where a dense X is known. What stands elsewhere is never read.
        weights : array-like or sparse matrix of shape (n_samples, n_features), optional
            Weights >= 0 of the entries; zero means unknown.
        **params : dict
            With metadata routing enabled, passed on to the factorization as it requests.

        Returns
        -------
        StabilityRankSelector
            The fitted estimator itself.
        """
        routed, deadline = self._routed(params), self._deadline()
        estimator = self._check_estimator()
        require_numpy(X, type(estimator).__name__)
        metadata = given(mask=mask, weights=weights)
        checked, record, known = self._validate(X, estimator, mask, weights)
        ranks = self._candidates(checked)
        rng = check_random_state(self.random_state)
        seeds = [tuple(int(number) for number in rng.randint(2**31 - 1, size=2)) for _ in range(self.n_perturbations)]
        last_seed = int(rng.randint(2**31 - 1))
        context = self._init_callback_context(max_subtasks=len(ranks))
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)

        def stop() -> bool:
            task = context.subcontext(task_name="rank")
            task.call_on_fit_task_begin(estimator=self, X=X, y=y)
            return bool(task.call_on_fit_task_end(estimator=self, X=X, y=y))

        def perturb(seed: int) -> tuple[Any, dict[str, Any]]:
            if self.noise == "bootstrap":
                return resampled(checked, metadata, seed)
            return perturbed(checked, known, self.noise, self.epsilon, seed), metadata

        def fit_one(rank: int, seeds: tuple[int, int], deadline: float) -> Run | None:
            if time.monotonic() > deadline:
                return None
            copy, copied_metadata = perturb(seeds[0])
            model = rank_candidate(estimator, rank, seeds[1])
            model.fit(copy, **copied_metadata, **routed)
            kkt, status = getattr(model, "kkt_", np.nan), getattr(model, "status_", "converged")
            return Run(_factors(model), float(kkt), str(status))

        def fit_at_centroids(rank: int, alignment: Alignment) -> tuple[Any, float]:
            model = rank_candidate(estimator, rank, last_seed)
            if record is not None and _start_can_be(tuple, model):
                model.set_params(init=_pair(record, alignment.centroids))
            elif record is None and _start_can_be(np.ndarray, model):
                model.set_params(init=_without_zeros(alignment.centroids.T))
            return _fit_with_error(model, X, record, {**metadata, **routed})

        runs = self._run(ranks, seeds, fit_one, deadline, stop)
        tried = [rank for rank in ranks if rank in runs]
        alignments = [align_factors(np.stack([run.factors for run in runs[rank]])) for rank in tried]
        clusters = [_silhouettes(alignment, runs[rank]) for rank, alignment in zip(tried, alignments)]
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        with warnings.catch_warnings(), threadpool_limits(1, "blas"):
            warnings.simplefilter("ignore", UserWarning)
            models = Parallel(n_jobs=self.n_jobs, backend="threading")(
                delayed(fit_at_centroids)(rank, alignment) for rank, alignment in zip(tried, alignments)
            )
        self._set_results(tried, clusters, models, runs)
        if self.status_ == "interrupted":
            raise KeyboardInterrupt
        self._warn(runs)
        return self

    def _validate(self, X: Any, estimator: Any, mask: Any, weights: Any) -> tuple[Any, Any, np.ndarray | None]:
        """The data; for a matrix, what is known of it, as a record and, where it is dense, as a mask."""
        positive = get_tags(estimator).input_tags.positive_only
        if isinstance(X, list | tuple) and X and all(map(scipy.sparse.issparse, X)):
            self.n_features_in_ = X[0].shape[1]
            return [scipy.sparse.csr_array(part) for part in X], None, None
        if (X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim) == 3:
            tensor = check_array(
                X, dtype=(np.float64, np.float32), allow_nd=True, ensure_all_finite=False, input_name="X"
            )
            if self.noise == "poisson" and (tensor < 0.0).any():
                raise ValueError(f"noise='poisson' needs X >= 0, got {np.nanmin(tensor)}.")
            self.n_features_in_ = tensor.shape[2]
            known = None if mask is None else ~np.isnan(tensor) & np.asarray(mask, dtype=bool)
            return tensor, None, known
        missing = getattr(estimator, "missing", "auto")
        checked, record = known_entries(
            self, X, mask, weights, missing=missing, nonnegative=positive or self.noise == "poisson", min_samples=2
        )
        if scipy.sparse.issparse(checked) or (mask is None and weights is None):
            return checked, record, None
        known = ~np.isnan(checked)
        if mask is not None:
            known &= check_array(mask, dtype=None).astype(bool, copy=False)
        if weights is not None:
            known &= check_array(weights, dtype=np.float64) > 0.0
        return checked, record, known

    def _candidates(self, X: Any) -> list[int]:
        if self.ranks is not None:
            return check_ranks(self.ranks)
        dimensions = X[0].shape if isinstance(X, list) else X.shape[-2:]
        return list(range(1, min(_LARGEST_DEFAULT, *dimensions) + 1))

    def _run(
        self,
        ranks: list[int],
        seeds: list[tuple[int, ...]],
        fit_one: Callable[..., Run | None],
        deadline: float,
        stop: Callable[[], bool],
    ) -> dict[int, list[Run]]:
        """All fits to perturbed copies, of the ranks for which they are complete; sets `status_`."""
        runs: dict[int, list[Run]] = {}
        self.status_ = "converged"
        try:
            for rank in ranks:
                limit = deadline if runs else np.inf  # the first rank is tried whatever the time
                # Warnings of single fits are summed up in one. All threads share the filters: set here, once.
                with warnings.catch_warnings(), threadpool_limits(1, "blas"):
                    warnings.simplefilter("ignore", UserWarning)
                    done = Parallel(n_jobs=self.n_jobs, backend="threading")(
                        delayed(fit_one)(rank, pair, limit) for pair in seeds
                    )
                if None in done:
                    self.status_ = "time_limit"
                    break
                runs[rank] = done
                if stop() and rank != ranks[-1]:
                    self.status_ = "stopped"
                    break
        except KeyboardInterrupt:
            if not runs:
                raise
            self.status_ = "interrupted"
        return runs

    def _set_results(
        self,
        ranks: list[int],
        clusters: list[np.ndarray],
        models: list[tuple[Any, float]],
        runs: dict[int, list[Run]],
    ) -> None:
        self.ranks_ = np.array(ranks)
        self.silhouettes_ = np.array([means.min() for means in clusters])
        self.mean_silhouettes_ = np.array([means.mean() for means in clusters])
        self.errors_ = np.array([error for _, error in models])
        kkts = np.array([run.kkt for done in runs.values() for run in done])
        self.max_kkt_ = float(np.nanmax(kkts)) if not np.isnan(kkts).all() else np.nan
        stable = np.flatnonzero(self.silhouettes_ >= self.threshold)
        chosen = int(stable[-1] if stable.size else self.silhouettes_.argmax())
        self.best_rank_ = self.n_components_ = ranks[chosen]
        self.component_silhouettes_ = clusters[chosen]
        self.best_estimator_ = models[chosen][0]

    def _warn(self, runs: dict[int, list[Run]]) -> None:
        self._warn_unless_all_tried()
        if self.silhouettes_.max() < self.threshold:
            warnings.warn(
                f"no rank is stable: the largest silhouette of a worst cluster is {self.silhouettes_.max():.3f}, at "
                f"rank {self.best_rank_}, threshold={self.threshold}; try smaller ranks or less noise.",
                UserWarning,
                stacklevel=3,
            )
        late = [run.kkt for run in runs[self.best_rank_] if run.status != "converged"]
        if late or getattr(self.best_estimator_, "status_", "converged") != "converged":
            kkts = [*late, getattr(self.best_estimator_, "kkt_", np.nan)]
            warnings.warn(
                f"{len(late)} of {self.n_perturbations} fits of the chosen rank to perturbed data, or that to the data "
                f"as they are, did not reach the tolerance of the estimator: KKT residual {np.nanmax(kkts):.3e}; "
                "increase its max_iter or tol.",
                ConvergenceWarning,
                stacklevel=3,
            )


def _factors(model: Any) -> np.ndarray:
    """What is compared between fits, one component a row."""
    if hasattr(model, "entity_factors_"):
        return np.asarray(model.entity_factors_).T
    return np.asarray(model.components_)


def _silhouettes(alignment: Alignment, runs: list[Run]) -> np.ndarray:
    """The mean silhouette of each cluster."""
    clusters = np.stack([run.factors[order] for run, order in zip(runs, alignment.orders)])
    return angular_silhouettes(clusters).mean(axis=0)


def _start_can_be(kind: type, model: Any) -> bool:
    """Whether the estimator's parameter `init` takes a pair of factors, or an array of one."""
    return kind in getattr(model, "_parameter_constraints", {}).get("init", ())


def _without_zeros(factor: np.ndarray) -> np.ndarray:
    """Multiplicative updates cannot leave zero, and a divergence can be infinite there."""
    return np.maximum(factor, _START * factor.mean())


def _pair(record: Any, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a fit to the data can start: the given components with their exact codes, of equal lengths, none zero."""
    K = np.ascontiguousarray(centroids.T)
    W = np.zeros((shape(record)[0], K.shape[1]))
    update_rows(record, W, K, no_terms(*W.shape), max_sweeps=1, exact=True)
    lengths = np.sqrt(np.linalg.norm(W, axis=0))
    W, H = W / np.where(lengths > 0.0, lengths, 1.0), lengths[:, np.newaxis] * centroids
    return _without_zeros(W), _without_zeros(H)


def _fit_with_error(model: Any, X: Any, record: Any, params: dict[str, Any]) -> tuple[Any, float]:
    """Fit a factorization to the data, and measure the norm of its residual relative to that of the data."""
    energy = _tensor_energy(X) if record is None else power_sum(record, 2.0)
    if record is None or getattr(model, "loss", "frobenius") in ("frobenius", 2.0):
        model.fit(X, **params)
        residual = float(model.reconstruction_err_)
    else:
        codes = np.ascontiguousarray(model.fit_transform(X, **params), dtype=np.float64)
        components = np.ascontiguousarray(np.asarray(model.components_, dtype=np.float64).T)
        residual = float(np.sqrt(squared_error(record, codes, components)))
    return model, residual / float(np.sqrt(energy)) if energy > 0.0 else 0.0


def _tensor_energy(X: Any) -> float:
    """The sum of the squares of what is known of a tensor."""
    if isinstance(X, list | tuple):
        return sum(float(np.nansum(np.square(part.data, dtype=np.float64))) for part in X)
    return float(np.nansum(np.square(X, dtype=np.float64)))
