"""A matrix as a product of sparse factors, applied as fast as they are few."""

import time
import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from sparsemodels._base import (
    BaseEstimator,
    CallbackSupportMixin,
    Interval,
    StrOptions,
    _fit_context,
    with_callbacks,
)
from sparsemodels._remedies import REMEDIES
from sparsemodels.solvers.butterfly import (
    butterfly_lower_bound,
    butterfly_radices,
    digit_reversal,
    factorize_butterfly,
)
from sparsemodels.solvers.factor_schedules import Schedule, butterfly_schedule, hadamard_schedule
from sparsemodels.solvers.fast_operator import FastOperator
from sparsemodels.solvers.hierarchical_factorization import hierarchical_palm4msa
from sparsemodels.solvers.palm4msa import SparseProduct, palm4msa
from sparsemodels.solvers.spectral_norm_bound import spectral_norm_bound

__all__ = ["FastTransform"]

_LOWERED = 16.0  # roundings of the size of the matrix that a lower bound is lowered by
_ROUNDINGS = 1e3  # up to which an error counts as zero


class FastTransform(ClassNamePrefixFeaturesOutMixin, TransformerMixin, CallbackSupportMixin, BaseEstimator):
    r"""A fast transform found in a matrix: a product of sparse factors in its place.

    .. math:: A \approx \lambda\, S_1 S_2 \cdots S_J

    `fit` takes the matrix A itself: its rows are what samples will be multiplied with, the atoms of a dictionary, the
    basis functions of a transform. `transform` then maps samples X to :math:`X A^\top`, factor by factor, in
    :math:`2 \sum_j \mathrm{nnz}(S_j)` operations a sample in place of two for each entry of A.

    Parameters
    ----------
    n_factors : int or "auto", default="auto"
        The number J of factors. ``"auto"`` is the number of `constraints`, log2 n for ``"hadamard"``, and for
        ``"butterfly"`` the number that has the fewest nonzeros, log2 n where n is a power of two.
    constraints : {"butterfly", "hadamard"}, list or Schedule, default="butterfly"
        What the factors must satisfy. ``"butterfly"`` has the supports of fast Fourier and Hadamard transforms,
        generalised to matrices of any shape by the prime factors of its dimensions; a matrix of prime order stays one
        factor. ``"hadamard"``, for orders 2, 4, 8, ..., knows no supports, only their size: two nonzeros in a row.
        A list holds records from ``sparsemodels.solvers.sparse_factor_projections``, left to right. A ``Schedule``
        from ``sparsemodels.solvers.factor_schedules`` holds those of the hierarchical method too.
    method : {"auto", "butterfly", "hierarchical", "palm"}, default="auto"
        ``"butterfly"``, singular value decompositions of small blocks, exact and without iterations, for
        ``constraints="butterfly"``; ``"hierarchical"``, which takes one factor off after the other and improves all
        of them by PALM4MSA, alternating projected gradient steps; ``"palm"``, those steps alone, from a start that
        knows nothing. ``"auto"`` is ``"butterfly"`` where possible, ``"palm"`` for a list of more than two records,
        and else ``"hierarchical"``.
    side : {"right", "left"}, default="right"
        From which side ``"hierarchical"`` takes factors off.
    permutation : {"bit_reversal"}, array of int of shape (n_features,) or None, default=None
        An order of the columns in which A has the structure, :math:`A_{:, \pi} \approx \lambda S_1 \cdots S_J`. The
        fast Fourier transform needs ``"bit_reversal"``, the reversal of the digits of the column in the radices of
        the butterfly.
    tol : float, default=1e-4
        Iterations of a level end once its residual of stationarity is at most this.
    max_iter : int, default=100
        The most iterations of each level of ``"hierarchical"``, or of ``"palm"``.
    time_limit : float, optional
        Seconds after which the best product so far is kept.
    n_jobs : int, optional
        Threads of `transform` over blocks of samples. The answer does not depend on them.

    Attributes
    ----------
    factors_ : list of csr_array
        The factors :math:`S_1, \ldots, S_J`, each of Frobenius norm sqrt(min(rows, columns)).
    lambda_ : float
        The number :math:`\lambda` in front.
    permutation_ : ndarray of int of shape (`n_features_in_`,) or None
        The order of the columns.
    components_ : ndarray of shape (n_rows, `n_features_in_`)
        The product, multiplied out: the matrix that `transform` stands for. Computed when it is asked for.
    n_nonzeros_ : int
        The nonzeros of all factors together.
    rcg_ : float
        The relative complexity gain: how many times fewer nonzeros the factors have than A has entries.
    reconstruction_err_ : float
        The certificate: the Frobenius norm of A minus the product, relative to that of A.
    spectral_error_ : float
        An upper bound of the largest singular value of A minus the product, in the units of A: no sample of norm one
        is transformed with a larger error. It is the singular value up to order 512, a Schatten norm beyond, and the
        Frobenius norm where nothing but rounding is left.
    lower_bound_ : float
        For butterfly supports, a lower bound of `reconstruction_err_` of every product of factors with these supports.
        Zero for other constraints, of which none is known.
    kkt_ : float
        The relative residual of stationarity of ``"hierarchical"`` and ``"palm"``; NaN for ``"butterfly"``, which has
        `lower_bound_`.
    objective_history_ : ndarray
        Half the squared Frobenius error after every iteration on the whole matrix.
    n_iter_ : int
        Iterations, all levels together.
    status_ : str
        ``"converged"``, ``"max_iter"``, ``"time_limit"``, ``"stopped"`` by a callback, or ``"interrupted"``.
    n_features_in_ : int
        The columns of A.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if A has any.

    See Also
    --------
    sparsemodels.solvers.fast_operator.FastOperator : The product as a SciPy linear operator.
    sparsemodels.solvers.butterfly.factorize_butterfly : The same for complex matrices.

    Notes
    -----
    Only the product is determined: factors can exchange signs, scales and permutations with their neighbours.

    References
    ----------
    L. Le Magoarou and R. Gribonval, "Flexible multilayer sparse approximations of matrices and applications", IEEE
    Journal of Selected Topics in Signal Processing 10, 2016. Q.-T. Le, L. Zheng, E. Riccietti and R. Gribonval, "Fast
    learning of fast transforms, with guarantees", ICASSP 2022.

    Examples
    --------
    >>> import numpy as np, scipy.linalg
    >>> from sparsemodels.decomposition import FastTransform
    >>> H = scipy.linalg.hadamard(64)
    >>> fast = FastTransform().fit(H)
    >>> len(fast.factors_), fast.n_nonzeros_, round(fast.rcg_, 2), bool(fast.reconstruction_err_ < 1e-14)
    (6, 768, 5.33, True)
    >>> X = np.random.default_rng(0).standard_normal((5, 64))
    >>> bool(np.allclose(fast.transform(X), X @ H.T))
    True
    """

    _parameter_constraints: dict[str, list] = {
        "n_factors": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "constraints": [StrOptions({"butterfly", "hadamard"}), list, tuple],
        "method": [StrOptions({"auto", "butterfly", "hierarchical", "palm"})],
        "side": [StrOptions({"right", "left"})],
        "permutation": [StrOptions({"bit_reversal"}), "array-like", None],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        n_factors="auto",
        *,
        constraints="butterfly",
        method="auto",
        side="right",
        permutation=None,
        tol=1e-4,
        max_iter=100,
        time_limit=None,
        n_jobs=None,
    ):
        self.n_factors = n_factors
        self.constraints = constraints
        self.method = method
        self.side = side
        self.permutation = permutation
        self.tol = tol
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.n_jobs = n_jobs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in super().__getstate__().items() if name != "_operator"}
        if "factors_" in state:  # as arrays, which every safe loader takes
            state["factors_"] = [(f.data, f.indices, f.indptr, list(f.shape)) for f in self.factors_]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "factors_" in state:
            self.factors_ = [
                scipy.sparse.csr_array((data, indices, indptr), shape=tuple(shape))
                for data, indices, indptr, shape in state["factors_"]
            ]
            self._operator = FastOperator(self.factors_, self.lambda_, self.permutation_)

    def _count(self, available: int | None = None) -> int | None:
        """The number of factors that was asked for, or None."""
        if self.n_factors == "auto":
            return None
        if available is not None and self.n_factors != available:
            raise ValueError(f"n_factors must be 'auto' or the number {available} of constraints, got {self.n_factors}")
        return int(self.n_factors)

    def _schedule(self, shape: tuple[int, int], radices: Any) -> Schedule:
        """The constraints of the iterative methods."""
        if isinstance(self.constraints, Schedule):
            self._count(len(self.constraints.constraints))
            return self.constraints
        if not isinstance(self.constraints, str):
            self._count(len(self.constraints))
            return Schedule(tuple(self.constraints), ())
        if self.constraints == "butterfly":
            return butterfly_schedule(radices, self.side)
        if shape[0] != shape[1]:
            raise ValueError(f"constraints='hadamard' needs a square matrix, got X of shape {shape}")
        schedule = hadamard_schedule(shape[0], self._count())
        if self.side == "right":
            return schedule
        return schedule._replace(constraints=schedule.constraints[::-1])

    def _method(self) -> str:
        if self.method != "auto":
            if self.method == "butterfly" and not _is(self.constraints, "butterfly"):
                raise ValueError("method='butterfly' needs constraints='butterfly'")
            return self.method
        if _is(self.constraints, "butterfly"):
            return "butterfly"
        listed = not isinstance(self.constraints, str | Schedule) and len(self.constraints) > 2
        return "palm" if listed else "hierarchical"

    def _order(self, shape: tuple[int, int], radices: Any) -> np.ndarray | None:
        """The order of the columns."""
        if self.permutation is None:
            return None
        if _is(self.permutation, "bit_reversal"):
            if shape[0] != shape[1]:
                raise ValueError(f"permutation='bit_reversal' needs a square matrix, got X of shape {shape}")
            return digit_reversal(radices or butterfly_radices(*shape, self._count()))
        order = np.asarray(self.permutation)
        if order.shape != shape[1:] or not np.array_equal(np.sort(order), np.arange(shape[1])):
            raise ValueError(f"permutation must hold every column from 0 to {shape[1] - 1} once")
        return order

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> "FastTransform":
        """Find sparse factors of a matrix.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            The matrix A: one row for each feature that `transform` returns.
        y : None
            Ignored.

        Returns
        -------
        FastTransform
            The fitted estimator itself.
        """
        X = validate_data(self, X, dtype=(np.float64, np.float32))
        deadline = np.inf if self.time_limit is None else time.monotonic() + self.time_limit
        method = self._method()
        n_rows, n_columns = X.shape
        radices = butterfly_radices(n_rows, n_columns, self._count()) if _is(self.constraints, "butterfly") else None
        order = self._order(X.shape, radices)
        A = X if order is None else X[:, order]
        if radices is not None and method == "butterfly":
            context = self._init_callback_context(max_subtasks=1)
            context.call_on_fit_task_begin(estimator=self, X=X)
            factors, scale = _of_unit_size(factorize_butterfly(A, radices), X.dtype)
            solution = None
        else:
            schedule = self._schedule(X.shape, radices)
            levels = 1 if method == "palm" else max(2 * len(schedule.constraints) - 3, 1)
            context = self._init_callback_context(max_subtasks=levels * self.max_iter)
            context.call_on_fit_task_begin(estimator=self, X=X)

            def on_iteration(n_iter: int, objective: float) -> bool:
                task = context.subcontext(task_name="iteration")
                task.call_on_fit_task_begin(estimator=self, X=X)
                return bool(task.call_on_fit_task_end(estimator=self, X=X))

            options = {"tol": self.tol, "max_iter": self.max_iter, "deadline": deadline, "on_iteration": on_iteration}
            if method == "palm":
                rightwards = self.side == "right"
                solution = palm4msa(A, schedule.constraints, rightwards=rightwards, **options)
            else:
                solution = hierarchical_palm4msa(
                    A, schedule.constraints, schedule.residual_constraints, side=self.side, **options
                )
            factors, scale = [scipy.sparse.csr_array(factor) for factor in solution.factors], solution.scale
        context.call_on_fit_task_end(estimator=self, X=X)
        self._set_product(X, factors, scale, order)
        self.lower_bound_ = 0.0 if radices is None else _relative_bound(A, radices)
        self._set_certificates(X, solution)
        return self

    def _set_product(self, X: np.ndarray, factors: Any, scale: float, order: np.ndarray | None) -> None:
        """The fitted product, and how far it is from the matrix."""
        self.factors_, self.lambda_, self.permutation_ = factors, float(scale), order
        self._operator = FastOperator(factors, scale, order)
        self._n_features_out = X.shape[0]
        self.n_nonzeros_ = self._operator.n_nonzeros
        self.rcg_ = self._operator.complexity_gain
        dense = self._operator.to_dense()
        error = X.astype(np.float64) - dense
        size, distance = np.linalg.norm(X.astype(np.float64)), np.linalg.norm(error)
        self.reconstruction_err_ = float(distance / size) if size > 0.0 else 0.0
        rounding = _ROUNDINGS * float(np.finfo(X.dtype).eps)
        # An error of rounding needs no sharper bound, and a butterfly is found in less time than one takes.
        self.spectral_error_ = float(distance) if distance <= rounding * size else spectral_norm_bound(error)
        self._squared_norm = self._common_squared_norm(dense, rounding)

    def _common_squared_norm(self, dense: np.ndarray, rounding: float) -> float:
        """That of all rows, or of all columns, if they are orthogonal and of one norm: then the adjoint inverts."""
        wide = dense.shape[0] < dense.shape[1]
        for rows in (1, min(dense.shape)):  # most are told by the first row alone
            some = dense[:rows] if wide else dense[:, :rows].T
            gram = self._operator.rows(some) if wide else self._operator.transposed_rows(some)
            mean = float(np.trace(gram)) / rows
            if not mean > 0.0 or np.linalg.norm(gram - mean * np.eye(*gram.shape)) > rounding * mean * np.sqrt(rows):
                return 0.0
        return mean

    def _set_certificates(self, X: np.ndarray, solution: SparseProduct | None) -> None:
        if solution is None:
            squared = (self.reconstruction_err_ * np.linalg.norm(X.astype(np.float64))) ** 2
            self.kkt_, self.objective_history_ = np.nan, np.array([0.5 * squared])
            self.n_iter_, self.status_ = 1, "converged"
            return
        self.kkt_, self.objective_history_ = solution.kkt, solution.objective_history
        self.n_iter_, self.status_ = solution.n_iter, solution.status
        if solution.status == "interrupted":
            raise KeyboardInterrupt
        if solution.status != "converged":
            warnings.warn(
                f"FastTransform did not reach its tolerance: residual of stationarity {solution.kkt:.3e} > "
                f"{self.tol:.3e}; {REMEDIES[solution.status]}.",
                ConvergenceWarning,
                stacklevel=4,
            )

    @property
    def components_(self) -> np.ndarray:
        """The product, multiplied out: the matrix that `transform` stands for."""
        check_is_fitted(self)
        return self._operator.to_dense()

    def as_linear_operator(self) -> FastOperator:
        """The product as a SciPy linear operator, with its adjoint.

        Returns
        -------
        FastOperator
            ``A @ x`` for vectors and matrices of columns, ``A.H @ y`` for the adjoint.
        """
        check_is_fitted(self)
        return self._operator

    def transform(self, X: Any) -> np.ndarray:
        """Multiply samples with the rows of the matrix, by its sparse factors.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, n_rows)
            The product of X and the transposed matrix: for a dictionary, the correlations with all atoms.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        return self._operator.rows(X, self.n_jobs)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The samples of which the transform comes nearest to given values.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_rows)
            Values.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The least squares solutions of smallest norm. Where the rows or the columns of the product are orthogonal
            and of equal norm, as for a Hadamard matrix, its factors give them as fast as `transform`.
        """
        check_is_fitted(self)
        X = check_array(X, dtype=(np.float64, np.float32))
        if X.shape[1] != self._n_features_out:
            raise ValueError(f"X must have {self._n_features_out} columns, one a row of the matrix, got {X.shape[1]}.")
        if self._squared_norm > 0.0:
            return self._operator.transposed_rows(X, self.n_jobs) / X.dtype.type(self._squared_norm)
        return np.ascontiguousarray(scipy.linalg.lstsq(self.components_, X.T)[0].T)


def _is(parameter: Any, name: str) -> bool:
    return isinstance(parameter, str) and parameter == name


def _relative_bound(A: np.ndarray, radices: Any) -> float:
    """The lower bound of the relative error of a butterfly, lowered by what rounding may have added."""
    size = float(np.linalg.norm(A.astype(np.float64)))
    if size == 0.0:
        return 0.0
    return max(0.0, butterfly_lower_bound(A, radices) / size - _LOWERED * float(np.finfo(np.float64).eps))


def _of_unit_size(factors: Any, dtype: Any) -> tuple[list[scipy.sparse.csr_array], float]:
    """The factors with the norms of orthogonal ones, and the number that this leaves in front."""
    scale, scaled = 1.0, []
    for factor in factors:
        size = float(np.linalg.norm(factor.data)) / np.sqrt(min(factor.shape))
        scale *= size
        scaled.append((factor / size if size > 0.0 else factor).astype(dtype))
    return scaled, scale
