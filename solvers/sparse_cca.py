r"""Sparse canonical correlation analysis: few features of one view against few samples of the other.

For a view with features, the rows of :math:`X` being samples, and a view given by its kernel :math:`K` between the
samples, and for a *seed* sample k,

.. math:: \min_{w,\, e} \; \|X w - K e\|^2 + \mu \|w\|_1 + \gamma \|e\|_1
    \quad\text{with}\quad e_k = 1,\; 0 \le e \le 1:

the seed keeps both sides from vanishing and makes the problem convex. With :math:`e_k` moved to the target it is a
lasso in the remaining variables, with bounds on some of them, which
:class:`~sparsemodels.solvers.composite.Composite` solves to a certified duality gap.

References
----------
D. R. Hardoon and J. Shawe-Taylor, "Sparse canonical correlation analysis", Machine Learning 83, 2011.
"""

from typing import NamedTuple

import numpy as np

from .composite import Composite
from .losses import Squared
from .penalties import L1, Box


class SeededCCA(NamedTuple):
    """The solution for one seed, with its certificate.

    Attributes
    ----------
    weights : ndarray of shape (n_features,)
        The weights w of the features.
    dual_coef : ndarray of shape (n_samples,)
        The coefficients e of the samples, in [0, 1]; 1 at the seed.
    correlation : float
        The correlation of the two scores over the samples other than the seed; 0 if one of them is constant.
    objective : float
        The objective.
    dual_gap : float
        An upper bound of how far the objective is above its minimum.
    null_objective : float
        The squared norm of the seed's kernel column: the scale of `tol`.
    kkt : float
        The largest violation of the optimality conditions.
    n_iter : int
        Passes over the data.
    converged : bool
        Whether the gap reached the tolerance.
    status : str
        Why the solver returned, as in :class:`~sparsemodels.solvers.composite.Solution`.
    """

    weights: np.ndarray
    dual_coef: np.ndarray
    correlation: float
    objective: float
    dual_gap: float
    null_objective: float
    kkt: float
    n_iter: int
    converged: bool
    status: str


def stacked_design(X: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The design of the lasso in (w, e), built once for all seeds.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The centred features of the first view.
    kernel : ndarray of shape (n_samples, n_samples)
        The centred kernel of the second.

    Returns
    -------
    ndarray of shape (n_samples, n_features + n_samples)
        X beside the negative kernel, in Fortran order.
    """
    n_samples, n_features = X.shape
    design = np.empty((n_samples, n_features + n_samples), order="F")
    design[:, :n_features] = X
    np.negative(kernel, out=design[:, n_features:])
    return design


def seeded_sparse_cca(
    design: np.ndarray,
    seed: int,
    *,
    sparsity: float = 1.0,
    dual_sparsity: float = 1.0,
    tol: float = 1e-6,
    max_iter: int = 1000,
    deadline: float = np.inf,
) -> SeededCCA:
    r"""Solve sparse canonical correlation analysis for one seed.

    The levels follow the paper: :math:`\mu` is `sparsity` times the mean of :math:`2 |X^T K_k|` and :math:`\gamma` is
    `dual_sparsity` times the mean of :math:`2 |K^T K_k|` with a zero at the seed, so that the answer does not depend
    on the scale of either view. (The paper weighs the two views by :math:`\tau` and :math:`1 - \tau` on top; with
    these levels that only scales w.)

    Parameters
    ----------
    design : ndarray of shape (n_samples, n_features + n_samples)
        What :func:`stacked_design` returned.
    seed : int
        The sample k whose coefficient is one.
    sparsity, dual_sparsity : float, default=1.0
        The levels of the two norms, > 0.
    tol : float, default=1e-6
        The duality gap to reach, relative to :math:`\|K_k\|^2`.
    max_iter : int, default=1000
        The largest number of passes over the data.
    deadline : float, default=inf
        The time of :func:`time.monotonic` after which to return what there is.

    Returns
    -------
    SeededCCA
        The solution and its certificate.
    """
    n_samples = design.shape[0]
    n_features = design.shape[1] - n_samples
    target = -design[:, n_features + seed]
    slopes = 2.0 * np.abs(design.T @ target)
    slopes[n_features + seed] = 0.0
    level, dual_level = sparsity * slopes[:n_features].mean(), dual_sparsity * slopes[n_features:].mean()
    weights = np.repeat([level, dual_level], [n_features, n_samples])
    weights[n_features + seed] = np.inf  # the seed's coefficient is fixed: its column is the target
    lower = np.repeat([-np.inf, 0.0], [n_features, n_samples])
    upper = np.repeat([np.inf, 1.0], [n_features, n_samples])
    # Half the sum of squares with weights of two: the objective and its gap in the units of the formula.
    problem = Composite(design, Squared(target, np.full(n_samples, 2.0)), fit_intercept=False)
    solution = problem.solve(Box(L1(1.0, weights), lower, upper), tol=tol, max_iter=max_iter, deadline=deadline)
    w, e = solution.coef[:n_features], solution.coef[n_features:].copy()
    x_score, y_score = design[:, :n_features] @ w, target - design[:, n_features:] @ e
    e[seed] = 1.0
    others = np.arange(n_samples) != seed
    return SeededCCA(
        w, e, correlation(x_score[others], y_score[others]), solution.objective + dual_level, solution.dual_gap,
        solution.null_objective, solution.kkt, solution.n_iter, solution.converged, solution.status,
    )  # fmt: skip


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """The correlation of two vectors; 0 if one of them is constant.

    Parameters
    ----------
    first, second : ndarray of shape (n,)
        The vectors.

    Returns
    -------
    float
        The correlation.
    """
    if first.size < 2:
        return 0.0
    first, second = first - first.mean(), second - second.mean()
    scale = np.linalg.norm(first) * np.linalg.norm(second)
    return float(np.clip(first @ second / scale, -1.0, 1.0)) if scale > 0.0 else 0.0
