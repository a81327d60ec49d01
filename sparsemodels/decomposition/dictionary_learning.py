"""Dictionary learning."""

import contextlib
import time
import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array, check_is_fitted
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
from sparsemodels._remedies import REMEDIES
from sparsemodels.solvers.alternating_dictionary import Options, learn_dictionary
from sparsemodels.solvers.atom_replacement import as_atoms, coherence, separated, welch_bound, worst_represented
from sparsemodels.solvers.coders import Coder, dictionary
from sparsemodels.solvers.dictionary_objective import Signals, coding_gap, completed, energy
from sparsemodels.solvers.masked_dictionary import learn_masked, random_mixtures
from sparsemodels.solvers.metric_coordinates import (
    MetricCoordinates,
    from_coordinates,
    metric_coordinates,
    to_coordinates,
)
from sparsemodels.solvers.online_dictionary import Sums, absorb, no_sums
from sparsemodels.solvers.sparse_codes import SparseCodes, to_csr
from sparsemodels.solvers.sparse_coding import encode
from sparsemodels.solvers.unit_atoms import improve_atoms, normalized

from .codes_input import codes_input
from .codes_output import codes_output
from .coding_parameters import ALGORITHMS, CODING_CONSTRAINTS, coder_of
from .observed_signals import observed_signals

__all__ = ["DictionaryLearning"]

_FADED = 1e-6  # share of the mean usage below which an atom counts as unused in partial_fit


def _learns_from_all_features(estimator: Any) -> bool:
    """Whether `partial_fit` exists: hidden features have an algorithm of their own, which needs all signals."""
    return estimator.masked_fraction == 0.0


class DictionaryLearning(ClassNamePrefixFeaturesOutMixin, TransformerMixin, CallbackSupportMixin, BaseEstimator):
    r"""Learn atoms of which every signal needs a few.

    .. math:: \min_{\|d_a\| = 1, \; Z} \; \tfrac12 \sum_{(i, j) \text{ known}} \bigl(x_{ij} - (Z D)_{ij}\bigr)^2

    with at most `n_nonzero_coefs` nonzeros in each row of Z, or with the penalty :math:`\alpha \|Z\|_1` where the
    coder is a lasso. The atoms, the rows of D, have norm one exactly.

    Parameters
    ----------
    n_components : int, optional
        The number of atoms; `n_features` by default.
    solver : {"online", "ksvd", "mod", "bcd"}, default="online"
        How atoms are improved: after every small batch of signals; each together with its coefficients; all at once
        by least squares, which costs the cube of `n_components`; or by sweeps of best single atoms.
    coder : {"omp", "ols", "lasso_cd", "lasso_lars", "iht", "cosamp", "topk", "abstopk"}, default="omp"
        How signals are coded, in `fit` and in `transform`, as in :class:`SparseCoder`.
    n_nonzero_coefs : int, optional
        The most atoms of a signal, for all coders but the lasso. A tenth of `n_features` by default, at least one.
    alpha : float, default=1.0
        Weight of the l1 norm of the codes, for the lasso, the same in `fit` and `transform`.
    max_residual : float, optional
        Residual norm at which ``"omp"`` and ``"ols"`` stop. With it the objective need not fall in every iteration.
    positive : bool, default=False
        Whether codes must be >= 0.
    positive_components : bool, default=False
        Whether entries of the atoms must be >= 0.
    init : {"random"} or array of shape (n_components, n_features), optional
        Where to start: None for signals drawn at random, Gaussian random atoms, or given atoms.
    batch_size : int, default=256
        Signals of one batch of ``"online"``.
    shuffle : bool, default=True
        Whether ``"online"`` draws batches and their order at random.
    exact_rank_one : bool, default=False
        Whether ``"ksvd"`` takes the leading singular pair of an atom and its coefficients instead of one power step.
        Without effect where codes are penalised or signs are constrained.
    replace_unused : {"worst", "random"} or None, default="worst"
        What an atom becomes that no signal uses, or that has the direction of another: the signal that is represented
        worst, or any one. With ``"worst"``, weak atoms also split those that do the work of two.
    coherence_max : float, optional
        The largest absolute inner product of two atoms, at least the bound of Welch. Atoms that come closer are
        turned apart. `kkt_`, which does not know of the bound, need not reach `tol` then.
    n_trials : int, default=2
        Once the fit has settled, a tenth of the atoms is given up for badly represented signals and learning goes on;
        if the objective does not settle 1 % lower, this is undone. After this many failures in a row the fit ends.
    masked_fraction : float, default=0.0
        If positive, the share of features from which codes are hidden; the atoms are learned from the error in
        hidden features, by an algorithm of its own. For noisy signals and more atoms than they are made of.
    normalize_masked : bool, default=False
        Whether ``"omp"`` compares atoms scaled to norm one within the visible features.
    metric : array of shape (n_features, n_features), optional
        A positive semidefinite matrix M: errors and norms are those of :math:`\|x\|_M^2 = x^T M x`, so that atoms have
        norm one in it. A Gram matrix of calibration data for instance.
    tol : float, default=1e-3
        Stop once `kkt_` is at most this.
    max_iter : int, default=100
        The most iterations; for ``"online"``, passes over the signals.
    time_limit : float, optional
        Seconds after which the best dictionary so far is returned.
    random_state : int, RandomState or None, default=None
        Draws the start, batches and trials.
    n_jobs : int, optional
        Threads over blocks of signals. The answer does not depend on their number, 1 or more; with None, one thread
        and the threads that the BLAS library takes.
    output : {"auto", "csr", "dense"}, default="auto"
        The form of codes; ``"auto"`` is dense up to four million entries.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        The atoms.
    n_components_ : int
        Their number.
    codes_ : csr_array of shape (n_samples, n_components)
        The codes of the training signals to which the certificate belongs. A signal whose earlier code is better than
        the one that a greedy coder finds keeps it, which `transform` cannot know.
    kkt_ : float
        The certificate: the relative stationarity of the atoms given `codes_`. Every atom's own best step along the
        sphere, weighted by the square root of its usage, over the norm of the signals.
    coding_gap_ : float
        For the lasso, the duality gap of `codes_` relative to half the energy of the signals; NaN for other coders,
        which have no bound.
    objective_ : float
        The objective of `components_` and `codes_`; with `masked_fraction`, the share of the energy of hidden features
        of held-out signals that is not predicted.
    objective_history_ : ndarray
        The objective at the start (but for ``"online"``) and after each iteration.
    reconstruction_err_ : float
        The norm of the residual over the known entries of the training signals.
    coherence_ : float
        The largest absolute inner product of two atoms, in the metric if there is one.
    n_iter_ : int
        Iterations.
    n_steps_ : int
        Calls of `partial_fit`.
    status_ : str
        Why the fit ended: ``"converged"``, ``"max_iter"``, ``"time_limit"``, ``"stopped"`` or ``"interrupted"``.
    n_features_in_ : int
        Features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X has them.

    See Also
    --------
    sparsemodels.decomposition.SparseCoder : Codes over a given dictionary.
    sparsemodels.decomposition.NMF : Nonnegative factors.
    sklearn.decomposition.MiniBatchDictionaryLearning : Dense codes, atoms of norm at most one.

    Notes
    -----
    The problem is not convex: the certificate says that no atom can improve on its own, not that the dictionary is the
    best one. Unknown entries are filled in by the present reconstruction before each update of the atoms, which never
    raises the error of the known ones.

    References
    ----------
    J. Mairal, F. Bach, J. Ponce and G. Sapiro, "Online learning for matrix factorization and sparse coding", Journal of
    Machine Learning Research 11, 2010. M. Aharon, M. Elad and A. Bruckstein, "K-SVD", IEEE Transactions on Signal
    Processing 54, 2006. K. Engan, S. O. Aase and J. H. Husoy, "Method of optimal directions for frame design", ICASSP,
    1999. M. Chidambaram, C. Wu, Y. Cheng and R. Ge, "Hiding data helps", ICML, 2023.

    Examples
    --------
    Signals that are multiples of one of three atoms:

    >>> import numpy as np
    >>> from sparsemodels.decomposition import DictionaryLearning
    >>> atoms = np.array([[0.6, 0.8], [0.8, -0.6], [1.0, 0.0]])
    >>> rng = np.random.default_rng(0)
    >>> X = atoms[rng.integers(3, size=60)] * rng.uniform(1.0, 2.0, (60, 1))
    >>> model = DictionaryLearning(3, solver="ksvd", n_nonzero_coefs=1, random_state=0).fit(X)
    >>> np.abs(model.components_[np.argsort(model.components_[:, 1])]).round(6)
    array([[0.8, 0.6],
           [1. , 0. ],
           [0.6, 0.8]])
    >>> model.status_, bool(model.reconstruction_err_ < 1e-6)
    ('converged', True)
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "solver": [StrOptions({"online", "ksvd", "mod", "bcd"})],
        "coder": [StrOptions(set(ALGORITHMS))],
        **{name: allowed for name, allowed in CODING_CONSTRAINTS.items() if name != "algorithm"},
        "positive_components": ["boolean"],
        "init": [StrOptions({"random"}), "array-like", None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "exact_rank_one": ["boolean"],
        "replace_unused": [StrOptions({"worst", "random"}), None],
        "coherence_max": [Interval(Real, 0, 1, closed="both"), None],
        "n_trials": [Interval(Integral, 0, None, closed="left")],
        "masked_fraction": [Interval(Real, 0, 0.5, closed="both")],
        "normalize_masked": ["boolean"],
        "metric": ["array-like", None],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
        "output": [StrOptions({"auto", "csr", "dense"})],
    }

    def __init__(
        self,
        n_components=None,
        *,
        solver="online",
        coder="omp",
        n_nonzero_coefs=None,
        alpha=1.0,
        max_residual=None,
        positive=False,
        positive_components=False,
        init=None,
        batch_size=256,
        shuffle=True,
        exact_rank_one=False,
        replace_unused="worst",
        coherence_max=None,
        n_trials=2,
        masked_fraction=0.0,
        normalize_masked=False,
        metric=None,
        tol=1e-3,
        max_iter=100,
        time_limit=None,
        random_state=None,
        n_jobs=None,
        output="auto",
    ):
        self.n_components = n_components
        self.solver = solver
        self.coder = coder
        self.n_nonzero_coefs = n_nonzero_coefs
        self.alpha = alpha
        self.max_residual = max_residual
        self.positive = positive
        self.positive_components = positive_components
        self.init = init
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.exact_rank_one = exact_rank_one
        self.replace_unused = replace_unused
        self.coherence_max = coherence_max
        self.n_trials = n_trials
        self.masked_fraction = masked_fraction
        self.normalize_masked = normalize_masked
        self.metric = metric
        self.tol = tol
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.output = output

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.metric is None and self.masked_fraction == 0.0
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _one_blas_thread(self) -> Any:
        return contextlib.nullcontext() if self.n_jobs is None else threadpool_limits(1, "blas")

    def _coder(self, n_features: int, *, normalize: bool = True) -> Coder:
        return coder_of(
            self.coder,
            n_features,
            n_nonzero_coefs=self.n_nonzero_coefs,
            alpha=self.alpha,
            max_residual=self.max_residual,
            positive=self.positive,
            normalize=normalize,
        )

    def _signals(self, X: Any, mask: Any, *, reset: bool) -> Signals:
        """Validated signals, in the coordinates of the metric."""
        require_numpy(X, self.solver)
        X, known = observed_signals(self, X, mask, reset=reset)
        if known is not None:
            for name, value in (("metric", self.metric is not None), ("masked_fraction", self.masked_fraction > 0.0)):
                if value:
                    raise ValueError(
                        f"{name} needs X without missing entries: Input X contains NaN, or a mask was given."
                    )
        coordinates = self._coordinates(X.shape[1], X.dtype)
        return Signals(X if coordinates is None else to_coordinates(coordinates, X), known)

    def _coordinates(self, n_features: int, dtype: Any) -> MetricCoordinates | None:
        if self.metric is None:
            return None
        metric = check_array(self.metric, dtype=np.float64, input_name="metric")
        if metric.shape != (n_features, n_features):
            raise ValueError(
                f"metric must have one row and one column a feature, {(n_features, n_features)}, got {metric.shape}."
            )
        return metric_coordinates(metric, dtype)

    def _check(self, n_features: int) -> int:
        """The number of atoms; contradictions among the parameters are errors."""
        n_components = n_features if self.n_components is None else int(self.n_components)
        if self.coherence_max is not None:
            least = welch_bound(n_components, n_features)
            if self.coherence_max < least:
                raise ValueError(
                    f"coherence_max={self.coherence_max} cannot be met: {n_components} atoms of {n_features} features "
                    f"have a coherence of at least {least:.4f}, the bound of Welch."
                )
            if self.positive_components or self.masked_fraction > 0.0:
                raise ValueError("coherence_max cannot be combined with positive_components or masked_fraction.")
        if self.masked_fraction > 0.0 and self.positive_components:
            raise ValueError("masked_fraction cannot be combined with positive_components.")
        if self.metric is not None and self.positive_components:
            raise ValueError("metric cannot be combined with positive_components.")
        return n_components

    def _start(self, signals: Signals, n_components: int, random_state: np.random.RandomState) -> np.ndarray:
        X = signals.X
        n_features = X.shape[1]
        if self.init is not None and not isinstance(self.init, str):
            atoms = check_array(self.init, dtype=X.dtype, order="C", copy=True, input_name="init")
            if atoms.shape != (n_components, n_features):
                raise ValueError(
                    f"init must have the shape of components_, {(n_components, n_features)}, got {atoms.shape}."
                )
            coordinates = self._coordinates(n_features, X.dtype)
            atoms = atoms if coordinates is None else to_coordinates(coordinates, atoms)
        elif self.init is None and self.masked_fraction > 0.0:
            atoms = random_mixtures(X, n_components, random_state)
        else:
            atoms = random_state.standard_normal((n_components, n_features)).astype(X.dtype)
            if self.init is None:
                rows = random_state.permutation(np.flatnonzero(X.any(axis=1)))[:n_components]
                atoms[: rows.size] = X[rows]
        return normalized(np.abs(atoms) if self.positive_components else atoms)

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, *, mask: Any = None) -> "DictionaryLearning":
        """Learn the atoms.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Signals. NaN marks missing entries.
        y : None
            Ignored.
        mask : array-like of bool of shape (n_samples, n_features), optional
            True where an entry is known. What stands elsewhere is never read.

        Returns
        -------
        DictionaryLearning
            The fitted estimator itself.
        """
        signals = self._signals(X, mask, reset=True)
        n_components = self._check(signals.X.shape[1])
        deadline = np.inf if self.time_limit is None else time.monotonic() + self.time_limit
        random_state = check_random_state(self.random_state)
        context = self._init_callback_context(max_subtasks=self.max_iter)
        context.call_on_fit_task_begin(estimator=self, X=X)

        def on_iteration(n_iter: int, objective: float) -> bool:
            task = context.subcontext(task_name="iteration")
            task.call_on_fit_task_begin(estimator=self, X=X)
            return bool(task.call_on_fit_task_end(estimator=self, X=X))

        options: dict[str, Any] = {
            "tol": self.tol,
            "max_iter": self.max_iter,
            "deadline": deadline,
            "on_iteration": on_iteration,
            "random_state": random_state,
            "n_jobs": self.n_jobs,
        }
        with self._one_blas_thread():
            atoms = self._start(signals, n_components, random_state)
            self._learn(signals, atoms, options)
        context.call_on_fit_task_end(estimator=self, X=X)
        for name in ("_sums", "n_steps_"):  # a new fit forgets what partial_fit has summed
            self.__dict__.pop(name, None)
        if self.status_ == "interrupted":
            raise KeyboardInterrupt
        if self.status_ != "converged":
            what = "the prediction of hidden features still improved" if self.masked_fraction > 0.0 else (
                f"KKT residual {self.kkt_:.3e} > {self.tol:.3e}" if self.kkt_ > self.tol
                else f"its atoms are stationary, but not all of {self.n_trials} trials were made"
            )  # fmt: skip
            warnings.warn(
                f"DictionaryLearning did not reach its tolerance: {what}; {REMEDIES[self.status_]}.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return self

    def _learn(self, signals: Signals, atoms: np.ndarray, options: dict[str, Any]) -> None:
        """Run the solver and set the fitted attributes."""
        coder = self._coder(signals.X.shape[1])
        if self.masked_fraction > 0.0:
            visible = self._coder(signals.X.shape[1], normalize=self.normalize_masked)
            masked = learn_masked(signals.X, atoms, visible, self.masked_fraction, **options)
            coding = encode(coder, signals.X, dictionary(masked.atoms), n_jobs=self.n_jobs)
            total = energy(signals)
            self._set_atoms(masked.atoms)
            self._codes: tuple[Any, ...] = tuple(coding.codes)
            self.kkt_ = masked.kkt
            self.coding_gap_ = coding_gap(coder, coding, total)
            self.objective_ = masked.objective
            self.objective_history_ = masked.objective_history
            self.reconstruction_err_ = float(np.sqrt(coding.squared_residual.sum()))
            self.n_iter_, self.status_ = masked.n_iter, masked.status
            return
        given = self.init is not None and not isinstance(self.init, str)
        found = learn_dictionary(
            signals,
            atoms,
            coder,
            Options(
                self.solver, self.exact_rank_one, int(self.batch_size), self.shuffle, self.replace_unused,
                self.coherence_max, self.n_trials, not given, self.positive_components,
            ),
            **options,
        )  # fmt: skip
        self._set_atoms(found.atoms)
        self._codes = tuple(found.codes)
        self.kkt_ = found.kkt
        self.coding_gap_ = found.coding_gap
        self.objective_ = found.objective
        self.objective_history_ = found.objective_history
        self.reconstruction_err_ = float(np.sqrt(found.squared_error))
        self.n_iter_, self.status_ = found.n_iter, found.status

    def _set_atoms(self, atoms: np.ndarray) -> None:
        """The atoms, among the features."""
        coordinates = self._coordinates(atoms.shape[1], atoms.dtype)
        self.components_ = atoms if coordinates is None else from_coordinates(coordinates, atoms)
        self.n_components_ = self._n_features_out = atoms.shape[0]

    def _atoms(self, dtype: Any) -> np.ndarray:
        """The atoms in the coordinates of the metric."""
        atoms = np.ascontiguousarray(self.components_, dtype=dtype)
        coordinates = self._coordinates(atoms.shape[1], dtype)
        return atoms if coordinates is None else to_coordinates(coordinates, atoms)

    @property
    def codes_(self) -> scipy.sparse.csr_array:
        """The codes of the training signals; kept as plain arrays, which every safe loader of pickles takes."""
        if "_codes" not in self.__dict__:
            raise AttributeError("codes_ is there after fit only.")
        return to_csr(SparseCodes(*self._codes))

    @property
    def coherence_(self) -> float:
        """The largest absolute inner product of two atoms, computed when it is asked for."""
        return coherence(self._atoms(self.components_.dtype))

    def _encode(self, signals: Signals) -> tuple[SparseCodes, np.ndarray]:
        coder = self._coder(signals.X.shape[1])
        with self._one_blas_thread():
            atoms = dictionary(self._atoms(signals.X.dtype))
            coding = encode(coder, signals.X, atoms, known=signals.known, n_jobs=self.n_jobs)
        return coding.codes, coding.squared_residual

    def transform(self, X: Any, *, mask: Any = None) -> np.ndarray | scipy.sparse.csr_array:
        """Code signals over the learned atoms, by the coder and with the penalty of `fit`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Signals. NaN marks missing entries.
        mask : array-like of bool of shape (n_samples, n_features), optional
            True where an entry is known.

        Returns
        -------
        ndarray or csr_array of shape (n_samples, n_components)
            The codes, in the form that `output` says.
        """
        check_is_fitted(self)
        return codes_output(self, self._encode(self._signals(X, mask, reset=False))[0], self.output)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The signals that codes stand for.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The combinations of the atoms.
        """
        check_is_fitted(self)
        codes = codes_input(X, self.n_components_)
        return np.asarray(codes @ self.components_)

    def score(self, X: Any, y: Any = None, *, mask: Any = None) -> float:
        """The negative mean squared error of a known entry, its codes fitted: the higher the better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Signals, as in :meth:`fit`.
        y : None
            Ignored.
        mask : array-like of bool of shape (n_samples, n_features), optional
            As in :meth:`fit`.

        Returns
        -------
        float
            Minus the mean squared residual, in the metric if there is one.
        """
        check_is_fitted(self)
        signals = self._signals(X, mask, reset=False)
        n_known = signals.X.size if signals.known is None else int(signals.known.sum())
        return -float(self._encode(signals)[1].sum()) / max(n_known, 1)

    @available_if(_learns_from_all_features)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None, *, mask: Any = None) -> "DictionaryLearning":
        """Learn from one more batch of signals, by the ``"online"`` update.

        What the atoms need to know of all signals so far is two matrices: the Gram matrix of their codes and the
        products of codes and signals. Older signals count less, each by its number and not by its batch: the t-th of N
        with the weight :math:`(t / N)^5`. After :meth:`fit` it goes on from the learned atoms, with sums that begin
        anew.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            A batch of signals, of any number.
        y : None
            Ignored.
        mask : array-like of bool of shape (n_samples, n_features), optional
            True where an entry is known.

        Returns
        -------
        DictionaryLearning
            The estimator itself.
        """
        first = not hasattr(self, "components_")
        signals = self._signals(X, mask, reset=first)
        n_components = self._check(signals.X.shape[1])
        dtype = signals.X.dtype
        with self._one_blas_thread():
            if first:
                atoms = self._start(signals, n_components, check_random_state(self.random_state))
            else:
                atoms = self._atoms(dtype)
            if not hasattr(self, "_sums"):
                self._sums: tuple[Any, ...] = tuple(no_sums(*atoms.shape))
                self.n_steps_ = 0
            coder = self._coder(signals.X.shape[1])
            coding = encode(coder, signals.X, dictionary(atoms), known=signals.known, n_jobs=self.n_jobs)
            filled = completed(signals, coding.codes, atoms)
            sums = absorb(Sums(*self._sums), coding.codes, filled)
            self._sums = tuple(sums)  # no record: what is pickled is plain data
            precise = atoms.astype(np.float64)
            improve_atoms(sums.gram, sums.products, precise, positive=self.positive_components)
            usage = sums.gram.diagonal()
            unused = np.flatnonzero(usage <= _FADED * usage.mean())
            if unused.size and self.replace_unused is not None:
                rows = worst_represented(signals.X, coding.squared_residual, unused.size)
                unused = unused[: rows.size]
                precise[unused] = as_atoms(signals.X[rows].astype(np.float64), self.positive_components)
                sums.gram[unused] = sums.gram[:, unused] = 0.0
                sums.products[unused] = 0.0
            if self.coherence_max is not None:
                precise = separated(precise, self.coherence_max)
        self._set_atoms(precise.astype(dtype))
        self.n_steps_ += 1
        return self
