"""Nonnegative RESCAL: communities in relational tensors."""

import time
import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
from sklearn.base import TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils.extmath import randomized_svd
from sklearn.utils.validation import check_is_fitted

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
from sparsemodels.solvers.initial_factors import factors_from_svd, mean_in_place_of_zeros
from sparsemodels.solvers.nonnegative_rescal import (
    RelationalFactorization,
    nonnegative_rescal,
    relations_given_entities,
)
from sparsemodels.solvers.relational_slices import RelationalSlices, links_matrix, relational_slices

__all__ = ["NonnegativeRESCAL"]


class NonnegativeRESCAL(TransformerMixin, CallbackSupportMixin, BaseEstimator):
    r"""Nonnegative RESCAL: what communities entities belong to, and how communities relate.

    A relational tensor has T slices over the same n entities, such as who exports to whom in each year or who follows,
    quotes and answers whom. Each slice is approximated by

    .. math:: X_t \approx A R_t A^\top, \qquad A \ge 0 \ (n \times k), \quad R_t \ge 0 \ (k \times k):

    row i of A says to which communities entity i belongs, in whichever role, and :math:`R_t` how much each community
    sends to each other in slice t. The squared error over all known entries is minimised.

    Parameters
    ----------
    n_components : int, default=2
        The number k of communities, at most the number of entities.
    init : {"nndsvda", "random"} or ndarray of shape (n_entities, n_components), default="nndsvda"
        Where A begins: at the nonnegative parts of the leading singular vectors of all relations side by side, with the
        mean in place of zeros, or at random, or at a given nonnegative matrix.
    solver : {"hals", "mu"}, default="hals"
        How to descend: by coordinates, each minimised exactly, with extrapolation between iterations; or by
        multiplicative updates, which are slower by far and never reach exact zeros.
    n_init : int, default=1
        How many starts to take; all but the first are random. The model of smallest error is kept.
    symmetric_relation : bool, default=False
        Whether :math:`R_t = R_t^\top`, for relations without a direction.
    tol : float, default=1e-4
        The relative KKT residual at which to stop.
    max_iter : int, default=500
        The largest number of iterations of each start.
    time_limit : float, optional
        Seconds after which the best model so far is returned, with a warning.
    random_state : int, RandomState instance or None, default=None
        Of random starts, and of the singular vectors of more than 2000 entities.

    Attributes
    ----------
    entity_factors_ : ndarray of shape (n_entities, n_components)
        The matrix A. Its columns sum to one, or are zero: so fits can be compared column by column.
    relations_ : ndarray of shape (n_slices, n_components, n_components)
        The matrices :math:`R_t`. With the columns of A summing to one, entry (a, b) is the sum of all that community a
        sends to community b.
    reconstruction_err_ : float
        The root of the squared error over the known entries.
    objective_ : float
        Half the squared error.
    objective_history_ : ndarray of shape (`n_iter_` + 1,)
        The objective at the start and after each iteration; it never rises.
    kkt_ : float
        The relative KKT residual: the best step of each single coordinate, in the units of the data, relative to the
        norm of the known entries. It has no unit and does not depend on how the components are scaled.
    n_iter_ : int
        The iterations of the start that was kept.
    status_ : str
        Why the solver returned: "converged", "max_iter", "stalled", "time_limit", "stopped" (by a callback) or
        "interrupted".
    n_features_in_ : int
        The number of entities.

    Raises
    ------
    ValueError
        If a parameter is out of range, or the data are no square nonnegative slices; the message names the parameter,
        its value and what is allowed.

    See Also
    --------
    NMF : For one matrix, with different factors for rows and columns.

    Notes
    -----
    NaN marks an unknown entry. Relations of entities with themselves often are unknown, not zero: put NaN on the
    diagonal.

    The factors are unique up to the order of the communities, at best: compare fits after matching their columns, with
    the rows and columns of `relations_` in the same order.

    Dense slices are kept twice, by rows and by columns, in 64-bit floats. An iteration costs as much as a few products
    of the tensor with A.

    References
    ----------
    M. Nickel, V. Tresp and H.-P. Kriegel, "A three-way model for collective learning on multi-relational data", ICML
    2011.

    D. P. Truong, E. Skau, V. I. Valtchinov and B. S. Alexandrov, "Determination of latent dimensionality in
    international trade flow", Machine Learning: Science and Technology 1, 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.decomposition import NonnegativeRESCAL
    >>> membership = np.repeat(np.eye(2), 3, axis=0)  # entities 0 to 2, entities 3 to 5
    >>> first = membership @ [[1.0, 0.0], [2.0, 0.0]] @ membership.T
    >>> second = membership @ [[0.0, 3.0], [0.0, 1.0]] @ membership.T
    >>> model = NonnegativeRESCAL(n_components=2, tol=1e-8, random_state=0).fit(np.stack([first, second]))
    >>> order = np.argsort(-model.entity_factors_[0])  # the community of entity 0 first
    >>> print(model.entity_factors_[:, order].round(3).T)
    [[0.333 0.333 0.333 0.    0.    0.   ]
     [0.    0.    0.    0.333 0.333 0.333]]
    >>> print(model.relations_[0][np.ix_(order, order)].round(3))
    [[ 9.  0.]
     [18.  0.]]
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "init": [StrOptions({"nndsvda", "random"}), np.ndarray],
        "solver": [StrOptions({"hals", "mu"})],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "symmetric_relation": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components=2,
        *,
        init="nndsvda",
        solver="hals",
        n_init=1,
        symmetric_relation=False,
        tol=1e-4,
        max_iter=500,
        time_limit=None,
        random_state=None,
    ):
        self.n_components = n_components
        self.init = init
        self.solver = solver
        self.n_init = n_init
        self.symmetric_relation = symmetric_relation
        self.tol = tol
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.positive_only = True
        tags.input_tags.allow_nan = True
        tags.non_deterministic = True
        return tags

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> "NonnegativeRESCAL":
        """Find communities and the relations between them.

        Parameters
        ----------
        X : array-like of shape (n_slices, n_entities, n_entities) or list of sparse matrices
            The relations, >= 0: entry (t, i, j) is what entity i sends to entity j in slice t. NaN marks unknown
            entries; what sparse slices do not store is zero.
        y : None
            Ignored.

        Returns
        -------
        NonnegativeRESCAL
            The fitted estimator itself.
        """
        deadline = np.inf if self.time_limit is None else time.monotonic() + self.time_limit
        require_numpy(X, self.solver)
        data, dtype = _check_slices(X)
        n_entities = data.slices[0].shape[0]
        if self.n_components > n_entities:
            raise ValueError(
                f"n_components must be at most the number of entities, {n_entities}, got {self.n_components}."
            )
        self.n_features_in_ = n_entities
        random_state = check_random_state(self.random_state)
        context = self._init_callback_context(max_subtasks=self.n_init * self.max_iter)
        context.call_on_fit_task_begin(estimator=self, X=X)

        def on_iteration(n_iter: int, objective: float) -> bool:
            task = context.subcontext(task_name="iteration")
            task.call_on_fit_task_begin(estimator=self, X=X)
            return bool(task.call_on_fit_task_end(estimator=self, X=X))

        best: RelationalFactorization | None = None
        for run in range(self.n_init):
            start = self._start(data, "random" if run else self.init, random_state)
            solution = nonnegative_rescal(
                data, start,
                solver=self.solver, symmetric=self.symmetric_relation, tol=self.tol, max_iter=self.max_iter,
                deadline=deadline, on_iteration=on_iteration,
            )  # fmt: skip
            if best is None or solution.objective < best.objective:
                best = solution
            if solution.status in ("time_limit", "stopped", "interrupted"):
                best = best._replace(status=solution.status)
                break
        assert best is not None  # there is at least one start
        context.call_on_fit_task_end(estimator=self, X=X)
        self._set_solution(best, dtype)
        return self

    def _start(self, data: RelationalSlices, init: Any, random_state: np.random.RandomState) -> np.ndarray:
        n_entities, k = data.slices[0].shape[0], self.n_components
        if isinstance(init, np.ndarray):
            start = check_array(init, dtype=np.float64, input_name="init")
            if start.shape != (n_entities, k) or start.min() < 0.0:
                raise ValueError(
                    f"init must be a nonnegative array of shape ({n_entities}, {k}), got shape {start.shape} with the "
                    f"smallest entry {start.min()}."
                )
            return start
        if init == "random":
            return random_state.random_sample((n_entities, k))
        start, _ = factors_from_svd(*_leading_singular_vectors(links_matrix(data.links), k, random_state))
        return mean_in_place_of_zeros(start, max(float(start.mean()), np.finfo(np.float64).tiny))

    def _set_solution(self, solution: RelationalFactorization, dtype: Any) -> None:
        self.entity_factors_ = solution.A.astype(dtype, copy=False)
        self.relations_ = solution.R.astype(dtype, copy=False)
        self.objective_ = solution.objective
        self.objective_history_ = solution.objective_history
        self.reconstruction_err_ = float(np.sqrt(2.0 * solution.objective))
        self.kkt_ = solution.kkt
        self.n_iter_ = solution.n_iter
        self.status_ = solution.status
        if solution.status == "interrupted":
            raise KeyboardInterrupt
        if solution.status != "converged":
            warnings.warn(
                f"NonnegativeRESCAL did not reach its tolerance: relative KKT residual {solution.kkt:.3e}, "
                f"tol={self.tol:.3e}; {REMEDIES[solution.status]}.",
                ConvergenceWarning,
                stacklevel=3,
            )

    def transform(self, X: Any) -> np.ndarray:
        """Relate the communities in new slices: the best relations for the fitted `entity_factors_`.

        Parameters
        ----------
        X : array-like of shape (n_slices, n_entities, n_entities) or list of sparse matrices
            Relations between the entities of the fit, in the same order.

        Returns
        -------
        ndarray of shape (n_slices, n_components, n_components)
            The matrices :math:`R_t`: nonnegative least squares, solved slice by slice.
        """
        check_is_fitted(self)
        data, dtype = _check_slices(X)
        if data.slices[0].shape[0] != self.n_features_in_:
            raise ValueError(
                f"X must relate {self.n_features_in_} entities, as in the fit, got {data.slices[0].shape[0]}."
            )
        relations = relations_given_entities(data, self.entity_factors_, symmetric=self.symmetric_relation)
        return relations.astype(dtype, copy=False)

    def inverse_transform(self, X: Any) -> np.ndarray:
        r"""Compute the slices that relations stand for.

        Parameters
        ----------
        X : array-like of shape (n_slices, n_components, n_components)
            Relations between communities, such as `relations_`.

        Returns
        -------
        ndarray of shape (n_slices, n_entities, n_entities)
            The products :math:`A R_t A^\top`.
        """
        check_is_fitted(self)
        relations = check_array(X, allow_nd=True, ensure_2d=False, dtype=(np.float64, np.float32))
        k = self.n_components
        if relations.ndim != 3 or relations.shape[1:] != (k, k):
            raise ValueError(f"X must have the shape (n_slices, {k}, {k}), got {relations.shape}.")
        return self.entity_factors_ @ relations @ self.entity_factors_.T


def _leading_singular_vectors(
    L: Any, k: int, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left singular vectors, singular values and right singular vectors of a wide matrix, in columns."""
    n = L.shape[0]
    if n > 2000:
        left, values, right = randomized_svd(L, k, n_iter=3, random_state=random_state)
        return left, values, right.T
    squares = L @ L.T
    squares = squares.toarray() if scipy.sparse.issparse(squares) else squares
    eigenvalues, vectors = scipy.linalg.eigh(squares, subset_by_index=(n - k, n - 1))
    left, values = vectors[:, ::-1], np.sqrt(np.maximum(eigenvalues[::-1], 0.0))
    return left, values, (L.T @ left) / np.where(values > 0.0, values, 1.0)


def _check_slices(X: Any) -> tuple[RelationalSlices, np.dtype]:
    """The tensor and the type of the answer; a ValueError if these are no square nonnegative slices."""
    if scipy.sparse.issparse(X):
        raise ValueError(
            f"X must have three dimensions or be a list of sparse slices, got one sparse matrix of shape {X.shape}; "
            "pass [X] for a single slice."
        )
    if isinstance(X, (list, tuple)) and X and all(map(scipy.sparse.issparse, X)):
        slices = [
            check_array(part, accept_sparse="csr", dtype=np.float64, ensure_all_finite="allow-nan", input_name="X")
            for part in X
        ]
        shapes = {part.shape for part in slices}
        if len(shapes) > 1 or len(set(next(iter(shapes)))) > 1:
            raise ValueError(f"X must hold square slices of one shape, got the shapes {sorted(shapes)}.")
        smallest = min((float(np.nanmin(part.data)) for part in slices if not np.isnan(part.data).all()), default=0.0)
        dtype = np.result_type(*(part.dtype for part in X))
        _refuse_negative(smallest)
        return relational_slices(slices), np.dtype(np.float32 if dtype == np.float32 else np.float64)
    array = check_array(
        X, allow_nd=True, ensure_2d=False, dtype=(np.float64, np.float32), ensure_all_finite="allow-nan",
        input_name="X",
    )  # fmt: skip
    if array.ndim != 3 or array.shape[1] != array.shape[2]:
        raise ValueError(f"X must have the shape (n_slices, n_entities, n_entities), got {array.shape}.")
    if np.isnan(array).all():
        raise ValueError("X must have an entry that is known, got NaN everywhere.")
    _refuse_negative(float(np.nanmin(array)))
    return relational_slices(array), array.dtype


def _refuse_negative(smallest: float) -> None:
    if smallest < 0.0:
        raise ValueError(f"Negative values in data passed to NonnegativeRESCAL: X must be >= 0, got {smallest}.")
