"""Matrix completion by alternating least squares."""

import time
import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from sparsemodels._base import Interval, StrOptions, _fit_context, require_numpy, with_callbacks
from sparsemodels.solvers.alternating_ridge import alternate_ridge, data_norm
from sparsemodels.solvers.observed_matrix import SomeEntries, total_weight

from .factored_completion import REMEDIES, FactoredCompletion, weight_of_rows

__all__ = ["ALSCompletion"]


class ALSCompletion(FactoredCompletion):
    r"""Completion of a partly observed matrix, such as ratings, by factors of a given rank.

    .. math:: \min \; \tfrac12 \sum_{(i, j) \text{ known}} v_{ij} (x_{ij} - \mu - a_i - b_j - w_i \cdot h_j)^2
        + \tfrac\alpha2 \Bigl(\|W\|_F^2 + \|H\|_F^2 + \|a\|^2 + \|b\|^2\Bigr)

    with weights v (one where none are given), the mean :math:`\mu` of what is known, and biases a of rows and b of
    columns. Alternating ridge regressions of all rows and of all columns never raise the objective.

    Parameters
    ----------
    rank : int, default=10
        The number of components, besides the biases.
    alpha : float, default=1.0
        The level of the ridge, >= 0.
    alpha_per_entry : bool, default=False
        Whether a row or a column counts in the penalty as often as it has known entries (by their weight): those with
        few are then shrunk no more than those with many. Good levels are then smaller, about 0.1 for ratings.
    biases : bool, default=True
        Whether to fit the mean and the biases.
    solver : {"cholesky", "cg", "coordinate_descent"}, default="cholesky"
        How a row is updated: exactly, at a cost of the squared rank per entry; by `n_steps` steps of preconditioned
        conjugate gradients from where it stands; or by as many sweeps over its coordinates. The last two cost the rank
        per entry and step, and pay off from a rank of some 30 on.
    n_steps : int, default=3
        Steps of ``"cg"``, sweeps of ``"coordinate_descent"``.
    tol : float, default=1e-3
        Stop once `kkt_` is at most this.
    max_iter : int, default=100
        The most sweeps, each an update of both factors.
    time_limit : float, optional
        Seconds after which the factors are returned as they are, with a warning.
    random_state : int, RandomState instance or None, default=None
        The random start.
    n_jobs : int, optional
        Threads over blocks of rows; the answer is the same for any number, to the bit.

    Attributes
    ----------
    components_ : ndarray of shape (rank, n_features)
        The factor H.
    codes_ : ndarray of shape (n_samples, rank + 1) or (n_samples, rank)
        The factor W of the training rows and, with biases, the bias of each row in the last column.
    column_bias_ : ndarray of shape (n_features,)
        The biases of the columns; zeros without.
    mean_ : float
        The weighted mean of the known entries; 0 without biases.
    kkt_ : float
        The certificate of a stationary point: the root of the sum, over all coordinates of both factors, of the squared
        gradient over the curvature, relative to the norm of what is fitted. It is how far single coordinates still
        want to move, in the units of the data.
    objective_ : float
        The penalised objective.
    objective_history_ : ndarray of shape (`n_iter_` + 2,)
        The objective at the start, after each sweep and after the last exact update of the codes; it never rises.
    n_iter_ : int
        Sweeps.
    status_ : str
        "converged", "max_iter", "time_limit", "stopped" or "interrupted".
    n_features_in_ : int
        The number of columns of the training matrix.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if `X` had string names.

    Raises
    ------
    ValueError
        If a parameter or the data is out of range; the message names the parameter, its value and what is allowed.

    See Also
    --------
    SoftImpute : The convex form of the same model: it finds the rank and certifies the global minimum.
    EASE : For implicit feedback, where what is not stored means "not taken", not "unknown".

    Notes
    -----
    The objective is not convex; a start at random usually leads to a good stationary point. Between the sweeps the
    factors are balanced: the pair of smallest penalty among those with the same product replaces them.

    A row without known entries has the code zero, and is predicted by the mean and the columns' biases.

    References
    ----------
    Y. Zhou, D. Wilkinson, R. Schreiber and R. Pan, "Large-scale parallel collaborative filtering for the Netflix
    prize", AAIM 2008. Y. Koren, R. Bell and C. Volinsky, "Matrix factorization techniques for recommender systems",
    Computer 42, 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.completion import ALSCompletion
    >>> random = np.random.default_rng(0)
    >>> truth = random.standard_normal((60, 2)) @ random.standard_normal((2, 40))
    >>> X = np.where(random.random(truth.shape) < 0.4, truth, np.nan)
    >>> model = ALSCompletion(rank=2, alpha=0.01, biases=False, tol=1e-6, random_state=0).fit(X)
    >>> bool(np.abs(model.complete(X) - truth).max() < 0.1)
    True
    """

    _parameter_constraints: dict = {
        "rank": [Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "alpha_per_entry": ["boolean"],
        "biases": ["boolean"],
        "solver": [StrOptions({"cholesky", "cg", "coordinate_descent"})],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
        "n_jobs": [None, Integral],
    }

    def __init__(
        self,
        rank=10,
        *,
        alpha=1.0,
        alpha_per_entry=False,
        biases=True,
        solver="cholesky",
        n_steps=3,
        tol=1e-3,
        max_iter=100,
        time_limit=None,
        random_state=None,
        n_jobs=None,
    ):
        self.rank = rank
        self.alpha = alpha
        self.alpha_per_entry = alpha_per_entry
        self.biases = biases
        self.solver = solver
        self.n_steps = n_steps
        self.tol = tol
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.random_state = random_state
        self.n_jobs = n_jobs

    def _ridge(self, counts: np.ndarray) -> np.ndarray:
        return self.alpha * counts if self.alpha_per_entry else np.full(counts.size, float(self.alpha))

    def _design(self) -> tuple[np.ndarray, float, bool]:
        columns = self.components_.T
        if self.biases:
            columns = np.column_stack([columns, self.column_bias_])
        return np.ascontiguousarray(columns), self.mean_, self.biases

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, *, mask: Any = None, weights: Any = None) -> "ALSCompletion":
        """Find the factors.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The matrix. NaN marks the unknown entries of a dense one; what a sparse one does not store is unknown.
        y : None
            Ignored.
        mask : array-like of bool of shape (n_samples, n_features), optional
            True where a dense X is known. What stands elsewhere is never read.
        weights : array-like or sparse matrix of shape (n_samples, n_features), optional
            Weights >= 0 of the entries; zero means unknown. For a sparse X, a sparse matrix that stores the same
            entries.

        Returns
        -------
        ALSCompletion
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
        ndarray of shape (n_samples, n_codes)
            The codes: `codes_`.
        """
        self._fit(X, mask, weights)
        return self.codes_

    def _fit(self, X: Any, mask: Any, weights: Any) -> None:
        deadline = np.inf if self.time_limit is None else time.monotonic() + self.time_limit
        require_numpy(X, self.solver)
        matrix = self._known(X, mask, weights, reset=True)
        mean = 0.0
        if self.biases:
            matrix, mean = _centred(matrix)
        ridges = self._ridge(weight_of_rows(matrix.rows)), self._ridge(weight_of_rows(matrix.columns))
        W, Ht = self._start(matrix)
        context = self._init_callback_context(max_subtasks=self.max_iter)
        context.call_on_fit_task_begin(estimator=self, X=X, y=None)

        def stop(n_iter: int, objective: float) -> bool:
            task = context.subcontext(task_name="sweep")
            task.call_on_fit_task_begin(estimator=self, X=X, y=None)
            return bool(task.call_on_fit_task_end(estimator=self, X=X, y=None))

        options = {"biased": self.biases, "n_jobs": self.n_jobs}
        swept = alternate_ridge(
            matrix, W, Ht, *ridges, solver=self.solver, n_steps=self.n_steps, tol=self.tol, max_iter=self.max_iter,
            deadline=deadline, on_iteration=stop, **options,
        )  # fmt: skip
        context.call_on_fit_task_end(estimator=self, X=X, y=None)
        self.mean_ = mean
        self.components_ = np.ascontiguousarray(Ht[:, : self.rank].T)
        self.column_bias_ = Ht[:, -1].copy() if self.biases else np.zeros(Ht.shape[0], dtype=Ht.dtype)
        self.codes_ = codes = self._codes(_shifted(matrix, mean))  # exact: what `transform` returns
        final = alternate_ridge(matrix, codes, Ht, *ridges, max_iter=0, **options)
        self.kkt_ = final.kkt
        self.objective_ = final.objective
        self.objective_history_ = np.append(swept.objective_history, final.objective)
        self.n_iter_ = swept.n_iter
        self.status_ = swept.status
        self._n_features_out = codes.shape[1]
        if swept.status == "interrupted":
            raise KeyboardInterrupt
        if swept.status != "converged":
            warnings.warn(
                f"ALSCompletion did not reach its tolerance: KKT residual {self.kkt_:.3e}, tol={self.tol:.3e}; "
                f"{REMEDIES[swept.status]}.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _start(self, matrix: SomeEntries) -> tuple[np.ndarray, np.ndarray]:
        """Random factors whose products are of the size of the data; biases start at zero."""
        random = check_random_state(self.random_state)
        shape = matrix.rows.indptr.size - 1, matrix.rows.n_columns
        spread = data_norm(matrix) / np.sqrt(max(total_weight(matrix), 1e-300))
        factors = []
        for size in shape:
            factor = random.standard_normal((size, self.rank)) * np.sqrt(spread / np.sqrt(self.rank))
            if self.biases:
                factor = np.column_stack([factor, np.zeros(size)])
            factors.append(np.ascontiguousarray(factor, dtype=matrix.rows.data.dtype))
        return factors[0], factors[1]


def _shifted(matrix: SomeEntries, shift: float) -> SomeEntries:
    """The matrix with a number added to its known entries."""
    if shift == 0.0:
        return matrix
    return SomeEntries(*(rows._replace(data=rows.data + rows.data.dtype.type(shift)) for rows in matrix))


def _centred(matrix: SomeEntries) -> tuple[SomeEntries, float]:
    """The matrix less its weighted mean, and the mean."""
    rows = matrix.rows
    weights = rows.weights if rows.weights.size else None
    mean = float(rows.data.dtype.type(np.average(rows.data.astype(np.float64), weights=weights)))
    return _shifted(matrix, -mean), mean
