"""Nonnegative/binary matrix factorization."""

import contextlib
import time
import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from sparsemodels._base import (
    BaseEstimator,
    CallbackSupportMixin,
    HasMethods,
    Interval,
    StrOptions,
    _fit_context,
    require_numpy,
    with_callbacks,
)
from sparsemodels._known_entries import known_entries
from sparsemodels._remedies import REMEDIES
from sparsemodels.solvers.binary_restarts import binary_minimizer, factorize
from sparsemodels.solvers.nonnegative_binary import (
    BinaryPenalty,
    NonnegativeBinary,
    bit_prices,
    half_squared_error,
    known_in_rows,
)
from sparsemodels.solvers.observed_matrix import (
    MostEntries,
    ObservedMatrix,
    SomeEntries,
    SparseMatrix,
    power_sum,
    shape,
    total_weight,
    transposed,
    values,
)
from sparsemodels.solvers.offset_rows import Side, improve_codes, improve_rows
from sparsemodels.solvers.qubo_sampler import DimodAdapter

from .codes_input import codes_input

__all__ = ["NBMF"]

_EXACT = ("auto", "enumerate", "sphere", "branch_and_bound")


class NBMF(ClassNamePrefixFeaturesOutMixin, TransformerMixin, CallbackSupportMixin, BaseEstimator):
    r"""Nonnegative/binary matrix factorization of a matrix of which a part may be unknown, such as ratings.

    One factor is nonnegative, the entries of the other are 0 or 1. With binary components,

    .. math:: \min_{W \ge 0,\; H \in \{0, 1\}^{r \times n}} \; \tfrac12 \sum_{(i, j) \text{ known}} v_{ij}
        \bigl(x_{ij} - (W H)_{ij}\bigr)^2 + \tfrac{\alpha \nu}{2} \|W\|_F^2

    with weights v (one where none are given) and :math:`\nu` the known weight per row. Every feature switches some of
    the `n_components` parts of a sample on. Both half-steps are exact: nonnegative least squares for the rows of W, a
    proof of optimality for every binary code.

    Parameters
    ----------
    n_components : int, default=2
        The number of parts, the bits of a code.
    binary : {"components", "codes"}, default="components"
        Which factor is binary: `components_`, or the codes of the samples. The real factor belongs on the side with
        more known entries per row or column.
    solver : str, callable or object with a method ``sample_qubo``, default="auto"
        What solves the binary problems. ``"auto"``, ``"enumerate"``, ``"sphere"`` and ``"branch_and_bound"`` are exact
        up to `max_nodes`; ``"tabu"`` and ``"simulated_annealing"`` are heuristics. A callable
        ``solver(G, c, start, random_state=...)`` returns codes for the minimisation of ``h @ G @ h / 2 - c @ h``, many
        at once; a sampler of the dimod kind is sent one model a code. Answers that are worse than what was there are
        not taken.
    max_nodes : int, default=2_000_000
        The nodes that an exact solver may visit for one code before it is left without a proof.
    alpha : float, default=0.0
        Weight of the ridge of the nonnegative factor.
    prior : {None, "mean"}, default=None
        With ``"mean"``, each bit has a probability, fitted along: a code that the data say little about follows the
        others. The negative log-probability of the codes is added to the objective.
    prior_strength : float, default=0.5
        Its weight, in units of the variance of the known entries: the share of noise in it would be the weight of a
        maximum a posteriori estimate.
    fit_baseline : bool, default=False
        Whether to fit :math:`\mu + a_i + b_j` beside the product: a mean, and an offset for each row and each column.
        Entries of X can then have any sign.
    baseline_shrinkage : float, default=5.0
        How strongly the offsets are shrunk, > 0: one over n known entries is multiplied by
        ``n / (n + baseline_shrinkage)``.
    n_init : int, default=2
        Random starts; the best fit is kept.
    n_perturbations : int, default=10
        Further starts from the best codes so far with a tenth of the bits flipped. They find better factorizations
        than as many random starts.
    missing : {"auto", "implicit"}, default="auto"
        NaN marks unknown entries of a dense X. What a sparse X does not store is zero, or unknown with
        ``"implicit"``.
    max_iter : int, default=100
        The most iterations of a start; each improves both factors.
    tol : float, default=1e-4
        A start has converged once an iteration replaces no code and `kkt_` is at most this.
    time_limit : float, optional
        Seconds after which the best factorization so far is returned.
    random_state : int, RandomState or None, default=None
        Random starts and seeds of heuristic solvers.
    n_jobs : int, optional
        Threads. The answer does not depend on their number, 1 or more; with None, one thread and the threads that the
        BLAS library takes.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        The factor H, as floats.
    codes_ : ndarray of shape (n_samples, n_components)
        The factor W of the training samples, as floats.
    mean_ : float
        The mean of the baseline; 0 without one.
    row_offset_, column_offset_ : ndarray of shape (n_samples,), (n_features,)
        Its offsets; zeros without one.
    bit_probabilities_ : ndarray of shape (n_components,)
        The share of codes in which each bit is set, smoothed by one of each value.
    rating_range_ : tuple of float
        The smallest and the largest known entry: where predictions are clipped to.
    n_inexact_ : int
        Codes that are not proved optimal for the nonnegative factor; all of them with a heuristic solver.
    n_changed_ : int
        Codes that the last iteration replaced; 0 at convergence.
    kkt_ : float
        How far the nonnegative factor and the baseline are from optimal for the codes: every coordinate's own best
        step, in the units of the data, over the norm of the data.
    is_block_optimal_ : bool
        The certificate: converged, and all codes proved. No single code and no single row of the other factor can be
        improved, the latter up to `tol`.
    objective_ : float
        The objective, with all penalties.
    objective_history_ : ndarray of shape (`n_iter_`,)
        The objective after each iteration; it never rises.
    reconstruction_err_ : float
        The root of the (weighted) sum of squared errors over the known entries.
    n_iter_ : int
        Iterations of the start that was kept.
    status_ : str
        Why the fit ended: ``"converged"``, ``"max_iter"``, ``"time_limit"``, ``"stopped"`` or ``"interrupted"``.
    n_features_in_ : int
        Features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X has them.

    Raises
    ------
    ValueError
        If a parameter or the data is out of range; the message names the parameter, its value and what is allowed.

    See Also
    --------
    sparsemodels.decomposition.NMF : Both factors are real.
    sparsemodels.datasets.make_ratings : Ratings whose factors are known.

    Notes
    -----
    The problem as a whole is not convex. Better than any single code is not best of all: `n_init` and
    `n_perturbations` look for a better block-optimal point.

    Not to be confused with factorizations of binary data, where the *matrix* has entries 0 and 1 and a Bernoulli
    likelihood.

    References
    ----------
    H. Terui, K. Inoue, Y. Hamakawa, K. Tatsumura and K. Kudo, "Collaborative filtering based on nonnegative/binary
    matrix factorization", Frontiers in Big Data 8, 2025, arXiv:2410.10381.

    Examples
    --------
    Three users and four films; two films for those who like the first genre, one for both:

    >>> import numpy as np
    >>> from sparsemodels.decomposition import NBMF
    >>> X = np.array([[4.0, 4.0, 5.0, 1.0], [2.0, np.nan, 5.0, 3.0], [1.0, 1.0, np.nan, 4.0]])
    >>> model = NBMF(n_components=2, random_state=0).fit(X)
    >>> model.predict_pairs([[1, 1], [2, 2]]).round(6)
    array([2., 5.])
    >>> model.is_block_optimal_, model.n_inexact_
    (True, 0)
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "binary": [StrOptions({"components", "codes"})],
        "solver": [StrOptions({*_EXACT, "tabu", "simulated_annealing"}), HasMethods(["sample_qubo"]), callable],
        "max_nodes": [Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "prior": [StrOptions({"mean"}), None],
        "prior_strength": [Interval(Real, 0, None, closed="left")],
        "fit_baseline": ["boolean"],
        "baseline_shrinkage": [Interval(Real, 0, None, closed="neither")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "n_perturbations": [Interval(Integral, 0, None, closed="left")],
        "missing": [StrOptions({"auto", "implicit"})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        n_components=2,
        *,
        binary="components",
        solver="auto",
        max_nodes=2_000_000,
        alpha=0.0,
        prior=None,
        prior_strength=0.5,
        fit_baseline=False,
        baseline_shrinkage=5.0,
        n_init=2,
        n_perturbations=10,
        missing="auto",
        max_iter=100,
        tol=1e-4,
        time_limit=None,
        random_state=None,
        n_jobs=None,
    ):
        self.n_components = n_components
        self.binary = binary
        self.solver = solver
        self.max_nodes = max_nodes
        self.alpha = alpha
        self.prior = prior
        self.prior_strength = prior_strength
        self.fit_baseline = fit_baseline
        self.baseline_shrinkage = baseline_shrinkage
        self.n_init = n_init
        self.n_perturbations = n_perturbations
        self.missing = missing
        self.max_iter = max_iter
        self.tol = tol
        self.time_limit = time_limit
        self.random_state = random_state
        self.n_jobs = n_jobs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = not self.fit_baseline
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, *, mask: Any = None, weights: Any = None) -> "NBMF":
        """Find the factors.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The matrix, >= 0 where it is known, or of any sign with `fit_baseline`. NaN marks unknown entries of a
            dense one.
        y : None
            Ignored.
        mask : array-like of bool of shape (n_samples, n_features), optional
            True where a dense X is known. What stands elsewhere is never read.
        weights : array-like or sparse matrix of shape (n_samples, n_features), optional
            Weights >= 0 of the entries; zero means unknown. For a sparse X with ``missing="implicit"``, a sparse
            matrix that stores the same entries.

        Returns
        -------
        NBMF
            The fitted estimator itself.
        """
        self._fit(X, mask, weights)
        return self

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X: Any, y: Any = None, *, mask: Any = None, weights: Any = None) -> np.ndarray:
        """Find the factors and return the codes that :meth:`transform` finds for them.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The matrix, as in :meth:`fit`.
        y : None
            Ignored.
        mask : array-like of bool of shape (n_samples, n_features), optional
            As in :meth:`fit`.
        weights : array-like or sparse matrix of shape (n_samples, n_features), optional
            As in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            The factor W.
        """
        matrix = self._fit(X, mask, weights)
        return self._sample_side(matrix).factor.astype(values(matrix).dtype)

    def _one_blas_thread(self) -> Any:
        return contextlib.nullcontext() if self.n_jobs is None else threadpool_limits(1, "blas")

    def _known(self, X: Any, mask: Any, weights: Any, reset: bool) -> ObservedMatrix:
        return known_entries(
            self, X, mask, weights, missing=self.missing, reset=reset, nonnegative=not self.fit_baseline
        )[1]

    def _penalty(self) -> BinaryPenalty:
        shrinkage = float(self.baseline_shrinkage) if self.fit_baseline else None
        return BinaryPenalty(self._ridge, shrinkage, self._prior_weight)

    def _minimizer(self, random: Any, deadline: float) -> Any:
        solver = DimodAdapter(self.solver) if hasattr(self.solver, "sample_qubo") else self.solver
        return binary_minimizer(solver, max_nodes=self.max_nodes, random=random, deadline=deadline, n_jobs=self.n_jobs)

    def _fit(self, X: Any, mask: Any, weights: Any) -> ObservedMatrix:
        require_numpy(X, "exact alternation")
        deadline = np.inf if self.time_limit is None else time.monotonic() + self.time_limit
        matrix = self._known(X, mask, weights, reset=True)
        real_rows = matrix if self.binary == "components" else transposed(matrix)
        random = check_random_state(self.random_state)
        context = self._init_callback_context(max_subtasks=(self.n_init + self.n_perturbations) * self.max_iter)
        context.call_on_fit_task_begin(estimator=self, X=X)

        def on_iteration(n_iter: int, objective: float) -> bool:
            task = context.subcontext(task_name="iteration")
            task.call_on_fit_task_begin(estimator=self, X=X)
            return bool(task.call_on_fit_task_end(estimator=self, X=X))

        self._ridge = float(self.alpha * total_weight(matrix) / shape(real_rows)[0])
        self._prior_weight = 0.0 if self.prior is None else float(self.prior_strength) * _variance(matrix)
        with self._one_blas_thread():
            solution = factorize(
                real_rows, self.n_components, self._penalty(), self._minimizer(random, deadline),
                n_init=self.n_init, n_perturbations=self.n_perturbations, random=random, deadline=deadline,
                tol=self.tol, max_iter=self.max_iter, on_iteration=on_iteration, n_jobs=self.n_jobs,
            )  # fmt: skip
        context.call_on_fit_task_end(estimator=self, X=X)
        self._set_solution(matrix, solution)
        return matrix

    def _set_solution(self, matrix: ObservedMatrix, solution: NonnegativeBinary) -> None:
        """The fitted attributes; raises the interruption again once the best model so far is kept."""
        dtype = values(matrix).dtype
        factors = [solution.W.astype(dtype), solution.codes.astype(dtype)]
        offsets = [solution.row_offset, solution.column_offset]
        if self.binary == "codes":
            factors, offsets = factors[::-1], offsets[::-1]
        self.codes_, self.components_ = factors[0], np.ascontiguousarray(factors[1].T)
        if not self.fit_baseline:
            offsets = [np.zeros(n) for n in shape(matrix)]
        self.row_offset_, self.column_offset_ = (offset.astype(dtype) for offset in offsets)
        self.mean_ = solution.mean
        self._known_rows, self._known_columns = known_in_rows(matrix), known_in_rows(transposed(matrix))
        self.bit_probabilities_ = solution.shares
        self.rating_range_ = _range(matrix)
        self.n_inexact_ = solution.n_inexact
        self.n_changed_ = solution.n_changed
        self.kkt_ = solution.kkt
        self.objective_ = solution.objective
        self.objective_history_ = solution.objective_history
        self.n_iter_ = solution.n_iter
        self.status_ = solution.status
        self.is_block_optimal_ = bool(solution.n_changed == 0 and solution.n_inexact == 0 and solution.kkt <= self.tol)
        self._n_features_out = self.n_components
        rows, columns = Side(solution.W, solution.row_offset), Side(solution.codes, solution.column_offset)
        real_rows = matrix if self.binary == "components" else transposed(matrix)
        self.reconstruction_err_ = float(np.sqrt(2.0 * half_squared_error(real_rows, rows, columns, solution.mean)))
        if solution.status == "interrupted":
            raise KeyboardInterrupt
        if solution.status != "converged":
            warnings.warn(
                f"NBMF did not converge: the last of {solution.n_iter} iterations replaced {solution.n_changed} codes, "
                f"KKT residual {solution.kkt:.3e}, tol={self.tol:.3e}; {REMEDIES[solution.status]}.",
                ConvergenceWarning,
                stacklevel=4,
            )
        elif solution.n_inexact and self.solver in _EXACT:
            warnings.warn(
                f"{solution.n_inexact} codes of NBMF are not proved optimal (n_inexact_): increase max_nodes, "
                f"now {self.max_nodes}.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _offset(self, offset: np.ndarray) -> np.ndarray:
        """Offsets as the solvers take them: none without a baseline."""
        return offset.astype(np.float64) if self.fit_baseline else np.empty(0)

    def _component_side(self) -> Side:
        factor = np.ascontiguousarray(self.components_.T, dtype=np.float64)
        return Side(factor, self._offset(self.column_offset_))

    def _sample_side(self, matrix: ObservedMatrix) -> Side:
        """The codes of samples, and their offsets, for the fitted components: exact whatever solver fitted them."""
        n_rows, fixed, penalty = shape(matrix)[0], self._component_side(), self._penalty()
        offset = np.zeros(n_rows if self.fit_baseline else 0)
        shrinkage = penalty.shrinkage or 0.0
        with self._one_blas_thread():
            if self.binary == "components":
                side = Side(np.zeros((n_rows, self.n_components)), offset)
                improve_rows(
                    matrix, side, fixed, self.mean_,
                    ridge=penalty.ridge, shrinkage=shrinkage, n_jobs=self.n_jobs,
                )  # fmt: skip
                return side
            side = Side(np.zeros((n_rows, self.n_components), dtype=np.uint8), offset)
            improve_codes(
                matrix, side, fixed, self.mean_,
                price=bit_prices(self.bit_probabilities_, known_in_rows(matrix), penalty),
                shrinkage=shrinkage, energy=power_sum(matrix, 2.0),
                minimize=binary_minimizer(max_nodes=self.max_nodes, n_jobs=self.n_jobs),
            )  # fmt: skip
            return side

    def transform(self, X: Any, *, mask: Any = None, weights: Any = None) -> np.ndarray:
        """The codes of samples, each row's own problem solved exactly.

        With a baseline, each sample's offset is fitted along; it is not part of the codes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, as in :meth:`fit`. A row without known entries has the code zero.
        mask : array-like of bool of shape (n_samples, n_features), optional
            As in :meth:`fit`.
        weights : array-like or sparse matrix of shape (n_samples, n_features), optional
            As in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
            The codes, with ``binary="codes"`` zeros and ones.
        """
        check_is_fitted(self)
        matrix = self._known(X, mask, weights, reset=False)
        return self._sample_side(matrix).factor.astype(values(matrix).dtype)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The matrix that codes stand for.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The products of the codes with the components, plus the mean and the offsets of the columns; the offset of
            a sample is not known from its code and counts as zero.
        """
        check_is_fitted(self)
        codes = codes_input(X, self.n_components, sparse=False)
        product = codes @ self.components_
        return (
            product + (self.column_offset_ + self.components_.dtype.type(self.mean_)) if self.fit_baseline else product
        )

    def predict_pairs(self, pairs: Any) -> np.ndarray:
        """The entries of the training matrix at given positions, as the factors have them.

        A row or a column without any known entry has no code: the mean code of the others, which need not be binary,
        and their mean offset stand in for its own.

        Parameters
        ----------
        pairs : array-like of int of shape (n_pairs, 2)
            Pairs of a row and a column of the training matrix, such as a user and an item, counted from 0.

        Returns
        -------
        ndarray of shape (n_pairs,)
            The predictions, clipped to `rating_range_`.
        """
        check_is_fitted(self)
        pairs = np.asarray(pairs)
        n_rows, n_columns = self.codes_.shape[0], self.components_.shape[1]
        if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
            raise ValueError(
                f"pairs must be an integer array of shape (n_pairs, 2), got shape {pairs.shape} of type {pairs.dtype}."
            )
        if len(pairs) and (pairs.min() < 0 or (pairs.max(axis=0) >= (n_rows, n_columns)).any()):
            raise ValueError(f"pairs must hold rows below {n_rows} and columns below {n_columns}, counted from 0.")
        rows, columns = pairs[:, 0], pairs[:, 1]
        left, a = _with_mean(self.codes_, self.row_offset_, self._known_rows, rows)
        right, b = _with_mean(self.components_.T, self.column_offset_, self._known_columns, columns)
        ratings = np.einsum("ia,ia->i", left, right) + a + b + self.mean_
        return np.clip(ratings, *self.rating_range_).astype(self.codes_.dtype)

    def score(self, X: Any, y: Any = None, *, mask: Any = None, weights: Any = None) -> float:
        """Minus half the mean squared error over the known entries, the codes fitted: the higher the better.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, as in :meth:`fit`.
        y : None
            Ignored.
        mask : array-like of bool of shape (n_samples, n_features), optional
            As in :meth:`fit`.
        weights : array-like or sparse matrix of shape (n_samples, n_features), optional
            As in :meth:`fit`.

        Returns
        -------
        float
            The score.
        """
        check_is_fitted(self)
        matrix = self._known(X, mask, weights, reset=False)
        error = half_squared_error(matrix, self._sample_side(matrix), self._component_side(), self.mean_)
        return -error / total_weight(matrix)


def _variance(matrix: ObservedMatrix) -> float:
    """The weighted variance of the known entries."""
    stored, weight = values(matrix), total_weight(matrix)
    weights = matrix.rows.weights if isinstance(matrix, SomeEntries) else np.empty(0)
    total = np.vdot(weights, stored) if weights.size else stored.sum(dtype=np.float64)
    return max(power_sum(matrix, 2.0) / weight - float(total / weight) ** 2, 0.0)


def _range(matrix: ObservedMatrix) -> tuple[float, float]:
    """The smallest and the largest known entry."""
    known = values(matrix)
    if isinstance(matrix, MostEntries):
        rows = np.repeat(np.arange(known.shape[0]), np.diff(matrix.unknown_rows.indptr))
        where = np.ones(known.shape, dtype=bool)
        where[rows, matrix.unknown_rows.indices] = False
        known = known[where]
    low, high = float(known.min(initial=np.inf)), float(known.max(initial=-np.inf))
    if isinstance(matrix, SparseMatrix) and known.size < np.prod(shape(matrix), dtype=float):
        low, high = min(low, 0.0), max(high, 0.0)
    return low, high


def _with_mean(
    factor: np.ndarray, offset: np.ndarray, known: np.ndarray, which: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Some rows of a factor and their offsets; the mean of the known ones where nothing is known."""
    rows, offsets = factor[which].astype(np.float64), offset[which].astype(np.float64)
    unknown = ~known[which]
    if unknown.any():
        rows[unknown] = factor[known].mean(axis=0, dtype=np.float64)
        offsets[unknown] = offset[known].mean(dtype=np.float64)
    return rows, offsets
