"""Nonnegative matrix factorization."""

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
from sklearn.utils.validation import check_is_fitted
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
from sparsemodels._known_entries import known_entries, warn_of_empty
from sparsemodels._remedies import REMEDIES
from sparsemodels.solvers.alternating_factorization import Factorization
from sparsemodels.solvers.factor_penalty import penalty_value
from sparsemodels.solvers.observed_matrix import (
    DenseMatrix,
    ObservedMatrix,
    SparseMatrix,
    shape,
    total_weight,
    values,
)
from sparsemodels.solvers.row_update import RowTerms, gram, no_terms, sweep_rows

from .codes_input import codes_input
from .factor_penalties import code_penalty, penalties
from .factorization_loss import loss_of
from .starting_point import starting_point

__all__ = ["NMF"]

_FORGETTING = 2.0  # the power with which the weight of a batch in `partial_fit` grows with its number


def _minimises_squared_error(estimator: Any) -> bool:
    """Whether `partial_fit` exists: sums over all batches suffice for squared error only."""
    return loss_of(estimator).name == "squared error"


class NMF(ClassNamePrefixFeaturesOutMixin, TransformerMixin, CallbackSupportMixin, BaseEstimator):
    r"""Nonnegative matrix factorization, with missing entries, penalties, robust losses and a certificate.

    .. math:: \min_{W, H \ge 0} \; \sum_{(i, j) \text{ known}} v_{ij}\, d\bigl(x_{ij}, (W H)_{ij}\bigr)
        + \alpha_W \nu_W \Bigl(\rho \|W\|_1 + \tfrac{1 - \rho}{2} \|W\|_F^2\Bigr)
        + \alpha_H \nu_H \Bigl(\rho \|H\|_1 + \tfrac{1 - \rho}{2} \|H\|_F^2\Bigr)

    with weights v (one where none are given), :math:`\rho` the `l1_ratio`, and :math:`\nu_W, \nu_H` the known weight
    per row and per column: `n_features` and `n_samples` where everything is known, as in scikit-learn.

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        The rank. ``"auto"`` is the smaller of the two dimensions.
    loss : str or float, default="frobenius"
        The divergence d: ``"frobenius"``, half the squared error, ``"kullback-leibler"`` or ``"itakura-saito"``, or the
        :math:`\beta` of any beta-divergence, in [-1, 3], of which these are 2, 1 and 0. ``"correntropy"``,
        ``"huber"``, ``"l21"`` and ``"cauchy"`` are robust: they count large residuals less.
    solver : {"auto", "hals", "bpp", "mu", "cd"}, default="auto"
        ``"hals"``, accelerated and extrapolated coordinate descent on rows, and ``"bpp"``, exact nonnegative least
        squares by block principal pivoting, for squared error; ``"mu"``, multiplicative updates, and ``"cd"``,
        second-order coordinate descent, for every beta-divergence. ``"auto"`` takes ``"hals"`` for squared error
        and the robust losses and ``"cd"`` for the other divergences.
    init : {"nndsvd", "nndsvda", "spa", "random"}, tuple of two arrays or None, default=None
        Where to start: from a singular value decomposition, with zeros kept or replaced by the mean; from the most
        extreme rows of X (successive projection); or from uniform random numbers. A tuple holds W of shape
        (n_samples, n_components) and H of shape (n_components, n_features). None is ``"nndsvda"`` if every entry is
        known and the rank is not above both dimensions, else ``"random"``.
    n_init : int, default=1
        How many starts to try; all but the first are random. The factorization with the lowest objective is kept.
    alpha_W : float, default=0.0
        Weight of the penalty of W.
    alpha_H : float or "same", default="same"
        Weight of the penalty of H; ``"same"`` is `alpha_W`.
    l1_ratio : float, default=0.0
        The share of the lasso in the penalties, in [0, 1].
    upper_bound : float, optional
        Upper bound of all entries of `components_` and of the codes.
    simplex : {"codes", "components"}, optional
        Make the rows of W, or the rows of `components_`, sum to one.
    graph_W : {array, sparse matrix} of shape (n_samples, n_samples), optional
        Symmetric affinities >= 0 of the samples: neighbours get similar codes. `transform` does not use it.
    graph_H : {array, sparse matrix} of shape (n_features, n_features), optional
        Symmetric affinities >= 0 of the features: neighbours get similar loadings.
    graph_strength : float, default=1.0
        Weight of half the sum over pairs of rows, each once, of affinity times squared distance.
    robust_axis : {"elements", "samples", "features"}, default="elements"
        What a robust loss may discount: single entries, whole rows, or whole columns of X.
    robust_scale : float or "auto", default="auto"
        The size of residuals, in the units of X, from which on a robust loss counts them less. ``"auto"`` follows
        their median during the first start, and stays.
    missing : {"auto", "implicit"}, default="auto"
        NaN marks missing entries of a dense X. What a sparse X does not store is zero, or missing with
        ``"implicit"``.
    extrapolate : bool, default=True
        Whether ``"hals"`` and ``"bpp"`` push the factors on along their last change.
    tol : float, default=1e-4
        Stop once `kkt_` is at most this.
    max_iter : int, default=200
        The most iterations; each improves both factors.
    time_limit : float, optional
        Seconds after which the best factorization so far is returned.
    random_state : int, RandomState or None, default=None
        Random starts and the randomised singular value decomposition.
    n_jobs : int, optional
        Threads over blocks of rows. The answer does not depend on their number, 1 or more; with None, one thread and
        the threads that the BLAS library takes.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        The factor H.
    n_components_ : int
        The rank.
    kkt_ : float
        The certificate: the relative residual of the optimality conditions at the fitted pair. Every entry's own best
        step, in the units of the data, over the norm of the data; zero at a stationary point, and unchanged when X or
        a component are scaled.
    objective_ : float
        The objective, with penalties.
    objective_history_ : ndarray of shape (`n_iter_` + 1,) or longer
        The objective at the start and after each iteration.
    reconstruction_err_ : float
        The square root of twice the loss of the training data: for squared error, the Frobenius norm of the
        residual over the known entries.
    n_iter_ : int
        Iterations.
    status_ : str
        Why the fit ended: ``"converged"``, ``"max_iter"``, ``"time_limit"``, ``"stopped"`` or ``"interrupted"``.
    robust_weights_ : ndarray
        Of a robust loss: the final weight of each sample or feature, or of each known entry in the order of rows.
    robust_scale_ : float
        Of a robust loss: the size of residuals from which on they count less.
    n_steps_ : int
        Calls of `partial_fit`.
    n_features_in_ : int
        Features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X has them.

    See Also
    --------
    sparsemodels.decomposition.NBMF : One factor is binary.
    sparsemodels.decomposition.NMFCV : Chooses the rank by held-out entries.
    sparsemodels.decomposition.sufficiently_scattered : Whether the factors are unique.
    sklearn.decomposition.NMF : Without missing entries, and with one sweep per product.

    Notes
    -----
    After the last iteration the codes of the training data are solved exactly for the final components, so that
    ``fit_transform(X)`` and ``fit(X).transform(X)`` agree. The problem is not convex: the certificate says that a
    stationary point was found, not that it is the best one.

    References
    ----------
    N. Gillis and F. Glineur, "Accelerated multiplicative updates and hierarchical ALS algorithms for nonnegative
    matrix factorization", Neural Computation 24, 2012. A. M. S. Ang and N. Gillis, "Accelerating nonnegative matrix
    factorization algorithms using extrapolation", Neural Computation 31, 2019. J. Kim and H. Park, "Fast nonnegative
    matrix factorization", SIAM Journal on Scientific Computing 33, 2011.

    Examples
    --------
    Two of nine entries are missing; the rank-one factorization fills them in:

    >>> import numpy as np
    >>> from sparsemodels.decomposition import NMF
    >>> X = np.array([[1.0, 2.0, np.nan], [2.0, 4.0, 6.0], [np.nan, 6.0, 9.0]])
    >>> model = NMF(n_components=1, tol=1e-8, random_state=0)
    >>> codes = model.fit_transform(X)
    >>> model.inverse_transform(codes).round(4)
    array([[1., 2., 3.],
           [2., 4., 6.],
           [3., 6., 9.]])
    >>> model.status_, bool(model.kkt_ <= 1e-8)
    ('converged', True)
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "loss": [
            StrOptions({"frobenius", "kullback-leibler", "itakura-saito", "correntropy", "huber", "l21", "cauchy"}),
            Interval(Real, -1, 3, closed="both"),
        ],
        "solver": [StrOptions({"auto", "hals", "bpp", "mu", "cd"})],
        "init": [StrOptions({"nndsvd", "nndsvda", "spa", "random"}), tuple, None],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "alpha_W": [Interval(Real, 0, None, closed="left")],
        "alpha_H": [Interval(Real, 0, None, closed="left"), StrOptions({"same"})],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "upper_bound": [None, Interval(Real, 0, None, closed="neither")],
        "simplex": [StrOptions({"codes", "components"}), None],
        "graph_W": ["array-like", "sparse matrix", None],
        "graph_H": ["array-like", "sparse matrix", None],
        "graph_strength": [Interval(Real, 0, None, closed="left")],
        "robust_axis": [StrOptions({"elements", "samples", "features"})],
        "robust_scale": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "missing": [StrOptions({"auto", "implicit"})],
        "extrapolate": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        n_components="auto",
        *,
        loss="frobenius",
        solver="auto",
        init=None,
        n_init=1,
        alpha_W=0.0,
        alpha_H="same",
        l1_ratio=0.0,
        upper_bound=None,
        simplex=None,
        graph_W=None,
        graph_H=None,
        graph_strength=1.0,
        robust_axis="elements",
        robust_scale="auto",
        missing="auto",
        extrapolate=True,
        tol=1e-4,
        max_iter=200,
        time_limit=None,
        random_state=None,
        n_jobs=None,
    ):
        self.n_components = n_components
        self.loss = loss
        self.solver = solver
        self.init = init
        self.n_init = n_init
        self.alpha_W = alpha_W
        self.alpha_H = alpha_H
        self.l1_ratio = l1_ratio
        self.upper_bound = upper_bound
        self.simplex = simplex
        self.graph_W = graph_W
        self.graph_H = graph_H
        self.graph_strength = graph_strength
        self.robust_axis = robust_axis
        self.robust_scale = robust_scale
        self.missing = missing
        self.extrapolate = extrapolate
        self.tol = tol
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.random_state = random_state
        self.n_jobs = n_jobs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, *, mask: Any = None, weights: Any = None) -> "NMF":
        """Find the factors.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The matrix, >= 0 where it is known. NaN marks missing entries of a dense one.
        y : None
            Ignored.
        mask : array-like of bool of shape (n_samples, n_features), optional
            True where a dense X is known. What stands elsewhere is never read.
        weights : array-like or sparse matrix of shape (n_samples, n_features), optional
            Weights >= 0 of the entries; zero means missing. For a sparse X with ``missing="implicit"``, a sparse
            matrix that stores the same entries.

        Returns
        -------
        NMF
            The fitted estimator itself.
        """
        self._fit(X, mask, weights)
        return self

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X: Any, y: Any = None, *, mask: Any = None, weights: Any = None) -> np.ndarray:
        """Find the factors and return the codes.

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
        return self._fit(X, mask, weights)

    def _one_blas_thread(self) -> Any:
        return contextlib.nullcontext() if self.n_jobs is None else threadpool_limits(1, "blas")

    def _fit(self, X: Any, mask: Any, weights: Any) -> np.ndarray:
        require_numpy(X, self.solver)
        X, matrix = known_entries(self, X, mask, weights, missing=self.missing)
        warn_of_empty(self, matrix)
        loss = loss_of(self)
        loss.check(matrix)
        deadline = np.inf if self.time_limit is None else time.monotonic() + self.time_limit
        penalty_W, penalty_H = penalties(self, matrix)
        self._known_per_row = total_weight(matrix) / shape(matrix)[0]
        random_state = check_random_state(self.random_state)
        context = self._init_callback_context(max_subtasks=self.n_init * self.max_iter)
        context.call_on_fit_task_begin(estimator=self, X=X)

        def on_iteration(n_iter: int, objective: float) -> bool:
            task = context.subcontext(task_name="iteration")
            task.call_on_fit_task_begin(estimator=self, X=X)
            return bool(task.call_on_fit_task_end(estimator=self, X=X))

        options = {"tol": self.tol, "max_iter": self.max_iter, "deadline": deadline, "n_jobs": self.n_jobs}
        best: Any = None
        attributes: dict[str, Any] = {}
        with self._one_blas_thread():
            for run in range(self.n_init):
                init = "random" if run else self.init
                W, Ht = starting_point(X, matrix, self.n_components, init, random_state)
                solution = loss.solve(matrix, W, Ht, penalty_W, penalty_H, on_iteration=on_iteration, **options)
                if best is None or solution.objective < best.objective:
                    best, attributes = solution, loss.attributes()
                if solution.status in ("time_limit", "stopped", "interrupted"):
                    best = best._replace(status=solution.status)
                    break
        context.call_on_fit_task_end(estimator=self, X=X)
        for name, value in attributes.items():
            setattr(self, name, value)
        cost = penalty_value(penalty_W, best.W) + penalty_value(penalty_H, best.Ht)
        self._set_solution(best, best.objective - cost)
        return best.W

    def _set_solution(self, solution: Factorization, loss: float) -> None:
        """The fitted attributes; raises the interruption again once the best model so far is kept."""
        for name in ("_code_gram", "_code_products", "n_steps_"):  # a new fit forgets what partial_fit has summed
            self.__dict__.pop(name, None)
        self.components_ = np.ascontiguousarray(solution.Ht.T)
        self.n_components_ = self._n_features_out = self.components_.shape[0]
        self.kkt_ = solution.kkt
        self.objective_ = solution.objective
        self.objective_history_ = solution.objective_history
        self.reconstruction_err_ = float(np.sqrt(2.0 * max(loss, 0.0)))
        self.n_iter_ = solution.n_iter
        self.status_ = solution.status
        if solution.status == "interrupted":
            raise KeyboardInterrupt
        if solution.status != "converged":
            warnings.warn(
                f"{type(self).__name__} did not reach its tolerance: KKT residual {solution.kkt:.3e} > {self.tol:.3e}; "
                f"{REMEDIES[solution.status]}.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _fitted_codes(self, matrix: ObservedMatrix) -> np.ndarray:
        """The codes of rows for the fitted components."""
        Ht = np.ascontiguousarray(self.components_.T, dtype=values(matrix).dtype)
        with self._one_blas_thread():
            return loss_of(self, fitted=True).codes(
                matrix,
                Ht,
                code_penalty(self, self._known_per_row),
                max_iter=max(self.max_iter, 1000),
                n_jobs=self.n_jobs,
            )

    def transform(self, X: Any, *, mask: Any = None, weights: Any = None) -> np.ndarray:
        """The codes of samples: each row's own problem, solved exactly for squared error.

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
            The codes.
        """
        check_is_fitted(self)
        _, matrix = known_entries(self, X, mask, weights, missing=self.missing, reset=False)
        loss_of(self, fitted=True).check(matrix)
        return self._fitted_codes(matrix)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The matrix that codes stand for.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The products of the codes with the components.
        """
        check_is_fitted(self)
        codes = codes_input(X, self.n_components_)
        return codes @ self.components_

    def score(self, X: Any, y: Any = None, *, mask: Any = None, weights: Any = None) -> float:
        """The negative mean loss of a known entry, its codes fitted: the higher the better.

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
            Minus the weighted mean of d over the known entries; for squared error, minus half the mean squared error.
        """
        check_is_fitted(self)
        _, matrix = known_entries(self, X, mask, weights, missing=self.missing, reset=False)
        loss = loss_of(self, fitted=True)
        loss.check(matrix)
        Ht = np.ascontiguousarray(self.components_.T, dtype=values(matrix).dtype)
        return -loss.value(matrix, self._fitted_codes(matrix), Ht) / total_weight(matrix)

    @available_if(_minimises_squared_error)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None) -> "NMF":
        """Learn from one more batch of samples, for squared error on complete data.

        What the components need to know of all batches so far is two small matrices: the Gram matrix of the codes and
        the products of codes and samples. Each call solves the batch's codes exactly, adds to both, and improves the
        components on the sums: online matrix factorization. After :meth:`fit` it goes on from the fitted components,
        with sums that begin anew.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            A batch without missing entries.
        y : None
            Ignored.

        Returns
        -------
        NMF
            The estimator itself.

        References
        ----------
        J. Mairal, F. Bach, J. Ponce and G. Sapiro, "Online learning for matrix factorization and sparse coding",
        Journal of Machine Learning Research 11, 2010.
        """
        first = not hasattr(self, "components_")
        if not hasattr(self, "_code_gram"):
            self.n_steps_ = 0
        require_numpy(X, self.solver)
        X, matrix = known_entries(self, X, missing=self.missing, reset=first)
        loss = loss_of(self)
        if not isinstance(matrix, DenseMatrix | SparseMatrix):
            raise ValueError("partial_fit needs X without missing entries.")
        if self.graph_W is not None or self.graph_H is not None or self.simplex == "components":
            raise ValueError("partial_fit takes no graph and no simplex='components'.")
        penalty_W, penalty_H = penalties(self, matrix)
        self._known_per_row = total_weight(matrix) / shape(matrix)[0]
        if first:
            random_state = check_random_state(self.random_state)
            _, Ht = starting_point(X, matrix, self.n_components, self.init, random_state)
        else:
            Ht = np.ascontiguousarray(self.components_.T, dtype=values(matrix).dtype)
        n_features, rank = Ht.shape
        if first or not hasattr(self, "_code_gram"):
            self._code_gram, self._code_products = np.zeros((rank, rank)), np.zeros((n_features, rank))
            self._n_seen = 0.0
        with self._one_blas_thread():
            codes = loss.codes(matrix, Ht, penalty_W, max_iter=self.max_iter, n_jobs=self.n_jobs)
            data = X if scipy.sparse.issparse(X) else np.asarray(X)
            # Codes of early components are worth less than those of today's.
            kept = (1.0 - 1.0 / (self.n_steps_ + 1)) ** _FORGETTING
            self._code_gram = kept * self._code_gram + gram(codes)
            self._code_products = kept * self._code_products + data.T @ codes
            self._n_seen = kept * self._n_seen + codes.shape[0]
            share = self._n_seen / codes.shape[0]  # the penalty of the components grows with the samples seen
            plain = no_terms(n_features, rank)
            terms = RowTerms(
                plain.l1 + share * penalty_H.l1,
                plain.ridge + share * penalty_H.l2,
                np.full(n_features, penalty_H.upper_bound),
                plain.pull,
            )
            totals = np.zeros(3)
            sweep_rows(self._code_gram, self._code_products, Ht, *terms, 10, 0.01, totals)
        self.components_ = np.ascontiguousarray(Ht.T)
        self.n_components_ = self._n_features_out = rank
        self.n_steps_ += 1
        return self
