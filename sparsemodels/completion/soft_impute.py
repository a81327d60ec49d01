"""Matrix completion by the nuclear norm."""

import time
import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sparsemodels._base import Interval, _fit_context, require_numpy, with_callbacks
from sparsemodels.solvers.soft_impute import alpha_max, soft_impute

from .factored_completion import REMEDIES, FactoredCompletion

__all__ = ["SoftImpute"]


class SoftImpute(FactoredCompletion):
    r"""Completion of a partly observed matrix by the nuclear norm, to a certified duality gap.

    .. math:: \min_Z \; \tfrac12 \sum_{(i, j) \text{ known}} v_{ij} (x_{ij} - z_{ij})^2 + \alpha \|Z\|_*

    with weights v (one where none are given) and the sum of singular values as the penalty: a convex problem whose
    solution is of low rank, the lower the larger `alpha`. It is held as :math:`Z = W H`, codes times components.

    Parameters
    ----------
    alpha : float, default=1.0
        The level of the nuclear norm, > 0, in units of the singular values of `X`; from `alpha_max_` on the solution
        is zero.
    rank_max : int, optional
        The largest rank. If it is in the way, the solution is the best found within it, its gap is honest and stays
        open, and a warning says so.
    tol : float, default=1e-4
        The duality gap to reach, relative to the objective of the zero matrix.
    max_iter : int, default=500
        The most iterations: alternating sweeps and proximal steps together.
    warm_start : bool, default=False
        Whether to start from the last solution, as along a path of decreasing levels.
    time_limit : float, optional
        Seconds after which the best solution so far is returned, with a warning.
    n_jobs : int, optional
        Threads over blocks of rows; the answer is the same for any number, to the bit.

    Attributes
    ----------
    components_ : ndarray of shape (`rank_`, n_features)
        The factor :math:`H = D^{1/2} V^T`.
    codes_ : ndarray of shape (n_samples, `rank_`)
        The factor :math:`W = U D^{1/2}` of the training rows.
    singular_values_ : ndarray of shape (`rank_`,)
        The singular values D of Z, in decreasing order.
    rank_ : int
        The rank of Z.
    alpha_max_ : float
        The smallest level with the solution zero.
    dual_gap_ : float
        The certificate: an upper bound of how far the objective is above its minimum over all matrices.
    relative_gap_ : float
        The gap relative to the objective of the zero matrix, to compare with `tol`.
    objective_ : float
        The objective.
    objective_history_ : ndarray
        The objective after each proximal step.
    n_iter_ : int
        Alternating sweeps and proximal steps.
    status_ : str
        "converged", "rank_max", "max_iter", "time_limit", "stopped" or "interrupted".
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
    ALSCompletion : A given rank, biases of rows and columns; faster, no global certificate.

    Notes
    -----
    A proximal step in singular values decides on the rank, alternating ridge regressions do the rest; no dense matrix
    of the size of `X` is formed. Where all entries are known the solution is the singular value decomposition with its
    values shrunk by `alpha`, in one step.

    New rows have the codes that are optimal for the fitted components. For training rows they agree with `codes_` up
    to the tolerance.

    References
    ----------
    R. Mazumder, T. Hastie and R. Tibshirani, "Spectral regularization algorithms for learning large incomplete
    matrices", Journal of Machine Learning Research 11, 2010. T. Hastie, R. Mazumder, J. Lee and R. Zadeh, "Matrix
    completion and low-rank SVD via fast alternating least squares", Journal of Machine Learning Research 16, 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.completion import SoftImpute
    >>> random = np.random.default_rng(0)
    >>> truth = random.standard_normal((60, 2)) @ random.standard_normal((2, 40))
    >>> X = np.where(random.random(truth.shape) < 0.5, truth, np.nan)
    >>> model = SoftImpute(alpha=0.5).fit(X)
    >>> model.rank_, bool(model.relative_gap_ <= 1e-4)
    (2, True)
    >>> bool(np.abs(model.complete(X) - truth).mean() < 0.1)
    True
    """

    _parameter_constraints: dict = {
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "rank_max": [None, Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "time_limit": [None, Interval(Real, 0, None, closed="neither")],
        "n_jobs": [None, Integral],
    }

    def __init__(
        self, alpha=1.0, *, rank_max=None, tol=1e-4, max_iter=500, warm_start=False, time_limit=None, n_jobs=None
    ):
        self.alpha = alpha
        self.rank_max = rank_max
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.time_limit = time_limit
        self.n_jobs = n_jobs

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, *, mask: Any = None, weights: Any = None) -> "SoftImpute":
        """Complete the matrix.

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
        SoftImpute
            The fitted estimator itself.
        """
        deadline = np.inf if self.time_limit is None else time.monotonic() + self.time_limit
        require_numpy(X, "soft_impute")
        matrix = self._known(X, mask, weights, reset=True)
        n_rows = matrix.rows.indptr.size - 1
        start = None
        if self.warm_start and hasattr(self, "codes_") and self.codes_.shape[0] == n_rows:
            dtype = matrix.rows.data.dtype
            start = self.codes_.astype(dtype), np.ascontiguousarray(self.components_.T, dtype=dtype)
        context = self._init_callback_context(max_subtasks=self.max_iter)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)

        def stop(n_iter: int, gap: float) -> bool:
            task = context.subcontext(task_name="proximal step")
            task.call_on_fit_task_begin(estimator=self, X=X, y=y)
            return bool(task.call_on_fit_task_end(estimator=self, X=X, y=y))

        solution = soft_impute(
            matrix, float(self.alpha), rank_max=self.rank_max, start=start, tol=self.tol, max_iter=self.max_iter,
            deadline=deadline, on_iteration=stop, n_jobs=self.n_jobs,
        )  # fmt: skip
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        root = np.sqrt(solution.singular_values)
        self.alpha_max_ = alpha_max(matrix)
        self.codes_ = (solution.U * root).astype(matrix.rows.data.dtype, copy=False)
        self.components_ = (root[:, np.newaxis] * solution.Vt).astype(matrix.rows.data.dtype, copy=False)
        self.singular_values_ = solution.singular_values
        self.rank_ = self._n_features_out = root.size
        self.objective_ = solution.objective
        self.objective_history_ = solution.objective_history
        self.dual_gap_ = solution.dual_gap
        self.relative_gap_ = solution.dual_gap / solution.null_objective if solution.null_objective > 0.0 else 0.0
        self.n_iter_ = solution.n_iter
        self.status_ = solution.status
        if solution.status == "interrupted":
            raise KeyboardInterrupt
        if solution.status != "converged":
            warnings.warn(
                f"SoftImpute did not reach its tolerance: relative duality gap {self.relative_gap_:.3e} > "
                f"{self.tol:.3e}; {REMEDIES[solution.status]}.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self
