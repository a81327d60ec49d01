"""Lasso problems built around a solution: coefficients, objective and dual are known beforehand."""

from typing import Any

import numpy as np
import scipy.sparse
from sklearn.utils import Bunch, check_random_state

from .sparse_regression import _check_real, _check_whole, _draw_design

# How far inside its interval the dual of a zero coefficient stays: strict complementarity, hence a unique
# solution.
_MARGIN = 0.05


def make_planted_lasso(
    n_samples: int = 50,
    n_features: int = 100,
    n_informative: int = 8,
    *,
    n_unpenalized: int = 0,
    n_excluded: int = 0,
    alpha: float = 0.1,
    l1_ratio: float = 1.0,
    penalty_weights: str = "uniform",
    bounds: str | None = None,
    sample_weight: bool = False,
    fit_intercept: bool = True,
    noise_level: float = 1.0,
    correlation: float = 0.0,
    density: float = 1.0,
    random_state: Any = None,
) -> Bunch:
    r"""Build a lasso or elastic-net problem whose solution is known to rounding.

    With normalised sample weights :math:`q_i = s_i / \sum_k s_k` the problem is

    .. math::

        \min_{w, b}\ \tfrac12 \sum_i q_i (y_i - x_i^T w - b)^2
        + \alpha \sum_j \omega_j \left(\rho\,|w_j| + \tfrac{1-\rho}{2} w_j^2\right)
        \quad \text{subject to } l_j \le w_j \le u_j.

    The coefficients `w`, the intercept `b` and the residual `r` are drawn first. Each column is then moved
    along `r`, on its nonzero entries only, until its correlation :math:`g_j = \sum_i q_i x_{ij} r_i` is what
    the optimality condition

    .. math::

        g_j - \alpha (1-\rho)\,\omega_j w_j \in \alpha\rho\,\omega_j\, \partial |w_j| + N_{[l_j, u_j]}(w_j)

    asks for (N is the normal cone of the interval), and :math:`y = X w + b + r`. Zero coefficients get a dual
    strictly inside its interval, so that the solution is unique.

    Parameters
    ----------
    n_samples : int, default=50
        The number of rows.
    n_features : int, default=100
        The number of columns.
    n_informative : int, default=8
        How many penalised coefficients differ from zero.
    n_unpenalized : int, default=0
        How many more nonzero coefficients have the penalty weight 0.
    n_excluded : int, default=0
        How many columns have an infinite penalty weight, hence a zero coefficient. They are the columns most
        correlated with the residual: who ignores the weight selects them.
    alpha : float, default=0.1
        The penalty level, positive.
    l1_ratio : float, default=1.0
        The mixing parameter :math:`\rho` in (0, 1]; 1 is the lasso.
    penalty_weights : {"uniform", "random"}, default="uniform"
        Penalty weights :math:`\omega_j` of the other columns: 1, or uniform in [0.5, 2].
    bounds : {None, "positive", "box"}, default=None
        No bounds; ``w >= 0``; or intervals around 0 where every other informative coefficient lies on its
        bound and some of the zero coefficients may move in one direction only.
    sample_weight : bool, default=False
        Whether the rows have unequal weights, uniform in [0.2, 2].
    fit_intercept : bool, default=True
        Whether there is an intercept. If not, `b` is 0.
    noise_level : float, default=1.0
        The standard deviation of the residual before centring, positive.
    correlation : float, default=0.0
        Correlation of neighbouring features, in (-1, 1). Must be 0 if `density` < 1.
    density : float, default=1.0
        The share of nonzero entries of `X`, in (0, 1]. Below 1, `X` is a SciPy CSC array.
    random_state : int, RandomState instance or None, default=None
        The source of randomness; an int for the same problem every time.

    Returns
    -------
    Bunch
        The problem and what was planted:

        X : ndarray (F-ordered) or scipy.sparse.csc_array of shape (n_samples, n_features)
            The design.
        y : ndarray of shape (n_samples,)
            The response.
        sample_weight : ndarray of shape (n_samples,) or None
            The row weights.
        alpha, l1_ratio, fit_intercept
            As given.
        penalty_weights : ndarray of shape (n_features,)
            The penalty weights, including 0 and inf.
        bounds : tuple of two ndarrays of shape (n_features,) or None
            Lower and upper bounds.
        coef : ndarray of shape (n_features,)
            The solution.
        intercept : float
            Its intercept.
        support : ndarray
            The sorted indices of the nonzero coefficients.
        objective : float
            The optimal value.
        dual_point : ndarray of shape (n_samples,)
            The residual `r` of the solution. It maximises the dual
            :math:`\sum_i q_i (y_i r_i - r_i^2 / 2) - \sum_j \phi_j(\sum_i q_i x_{ij} r_i)`, with
            :math:`\phi_j` the conjugate of the penalty on the interval, and attains the same value.

    Raises
    ------
    ValueError
        If a parameter is outside its range, or the support and the intercept need more than `n_samples` rows.

    References
    ----------
    Y. Nesterov, "Gradient methods for minimizing composite functions", Mathematical Programming 140 (2013),
    section 6, generates sparse least-squares problems with a known optimum in the same spirit.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.datasets import make_planted_lasso
    >>> problem = make_planted_lasso(30, 60, 4, alpha=0.2, random_state=0)
    >>> correlations = problem.X.T @ problem.dual_point / 30
    >>> np.allclose(correlations[problem.support], 0.2 * np.sign(problem.coef[problem.support]))
    True
    >>> bool(np.abs(np.delete(correlations, problem.support)).max() < 0.2)
    True
    """
    _check_whole("n_samples", n_samples, 1)
    _check_whole("n_features", n_features, 1)
    _check_whole("n_informative", n_informative, 0, n_features)
    _check_whole("n_unpenalized", n_unpenalized, 0, n_features)
    _check_whole("n_excluded", n_excluded, 0, n_features)
    _check_real("alpha", alpha, 0, np.inf, "must be finite and positive", open_low=True, open_high=True)
    _check_real("l1_ratio", l1_ratio, 0, 1, "must be in (0, 1]", open_low=True)
    _check_real("noise_level", noise_level, 0, np.inf, "must be finite and positive", open_low=True, open_high=True)
    _check_real("correlation", correlation, -1, 1, "must be in (-1, 1)", open_low=True, open_high=True)
    _check_real("density", density, 0, 1, "must be in (0, 1]", open_low=True)
    if penalty_weights not in ("uniform", "random"):
        raise ValueError(f"penalty_weights={penalty_weights!r} is unknown; choose 'uniform' or 'random'.")
    if bounds not in (None, "positive", "box"):
        raise ValueError(f"bounds={bounds!r} is unknown; choose None, 'positive' or 'box'.")
    if density < 1 and correlation != 0:
        raise ValueError(f"correlation={correlation} must be 0 if density={density} is below 1.")
    special = n_informative + n_unpenalized + n_excluded
    if special > n_features:
        raise ValueError(
            f"n_informative + n_unpenalized + n_excluded = {special} must not exceed n_features={n_features}."
        )
    needed = n_informative + n_unpenalized + bool(fit_intercept) + 1
    if needed > n_samples:
        raise ValueError(f"n_samples={n_samples} is too small for a unique solution; use at least {needed} rows.")
    rng = check_random_state(random_state)

    weights = rng.uniform(0.2, 2.0, n_samples) if sample_weight else None
    share = np.full(n_samples, 1.0 / n_samples) if weights is None else weights / weights.sum()
    residual = noise_level * rng.standard_normal(n_samples)
    if fit_intercept:
        residual -= share @ residual
    intercept = float(rng.standard_normal()) if fit_intercept else 0.0

    chosen = rng.permutation(n_features)[:special]
    informative, unpenalized, excluded = np.split(chosen, [n_informative, n_informative + n_unpenalized])
    omega = rng.uniform(0.5, 2.0, n_features) if penalty_weights == "random" else np.ones(n_features)
    omega[unpenalized] = 0.0
    omega[excluded] = np.inf

    nonzero = np.concatenate([informative, unpenalized])
    sign = np.zeros(n_features)
    sign[nonzero] = 1.0 if bounds == "positive" else rng.choice([-1.0, 1.0], nonzero.size)
    coef = sign * rng.uniform(0.5, 2.0, n_features)
    low, high, push = _draw_bounds(bounds, coef, informative[::2], rng)

    finite = np.isfinite(omega)
    threshold = alpha * l1_ratio * np.where(finite, omega, 0.0)
    ridge = alpha * (1.0 - l1_ratio) * np.where(finite, omega, 0.0)
    wanted = sign * (threshold + alpha * push) + ridge * coef

    X = _draw_design(n_samples, n_features, correlation, density, rng)
    if scipy.sparse.issparse(X):
        X = _fill_columns(X, chosen, density, rng)
    # A second pass removes the rounding of the first.
    for _ in range(2):
        correlations = X.T @ (share * residual)
        # A zero coefficient that may only grow is held back from above only, and conversely.
        floor = np.where(low < 0, -(1 - _MARGIN) * threshold, -np.inf)
        ceiling = np.where(high > 0, (1 - _MARGIN) * threshold, np.inf)
        target = np.clip(correlations, floor, ceiling)
        target[nonzero] = wanted[nonzero]
        target[excluded] = 3.0 * alpha
        X = _move_along(X, residual, target - correlations, share)

    y = X @ coef + intercept + residual
    penalty = omega[finite] @ (l1_ratio * np.abs(coef[finite]) + (1.0 - l1_ratio) / 2 * coef[finite] ** 2)
    return Bunch(
        X=X,
        y=y,
        sample_weight=weights,
        alpha=alpha,
        l1_ratio=l1_ratio,
        fit_intercept=fit_intercept,
        penalty_weights=omega,
        bounds=None if bounds is None else (low, high),
        coef=coef,
        intercept=intercept,
        support=np.sort(nonzero),
        objective=float(0.5 * share @ residual**2 + alpha * penalty),
        dual_point=residual,
    )


def _draw_bounds(
    bounds: str | None, coef: np.ndarray, at_bound: np.ndarray, rng: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower and upper bounds around the coefficients, and how hard the data push against them."""
    low, high, push = np.full(coef.size, -np.inf), np.full(coef.size, np.inf), np.zeros(coef.size)
    if bounds == "positive":
        low[:] = 0.0
    elif bounds == "box":
        low = np.minimum(coef, 0.0) - rng.uniform(0.1, 1.0, coef.size)
        high = np.maximum(coef, 0.0) + rng.uniform(0.1, 1.0, coef.size)
        one_sided = rng.random_sample(coef.size)
        low[(coef == 0) & (one_sided < 0.2)] = 0.0
        high[(coef == 0) & (one_sided > 0.8)] = 0.0
        upper = at_bound[coef[at_bound] > 0]
        lower = at_bound[coef[at_bound] < 0]
        high[upper] = coef[upper]
        low[lower] = coef[lower]
        push[at_bound] = rng.uniform(0.1, 1.0, at_bound.size)
    return low, high, push


def _fill_columns(
    X: scipy.sparse.csc_array, columns: np.ndarray, density: float, rng: np.random.RandomState
) -> scipy.sparse.csc_array:
    """Redraw columns of a sparse design with three entries or more: their condition can then be met."""
    n_samples = X.shape[0]
    n_stored = min(n_samples, max(3, round(density * n_samples)))
    X = X.tolil()
    for j in columns:
        X[:, [j]] = 0.0
        for i in rng.choice(n_samples, n_stored, replace=False):
            X[i, j] = rng.standard_normal() / np.sqrt(density)
    return scipy.sparse.csc_array(X)


def _move_along(X: Any, residual: np.ndarray, change: np.ndarray, share: np.ndarray) -> Any:
    """Change the correlation of every column with the residual, on the column's nonzero entries only."""
    if not scipy.sparse.issparse(X):
        moved = np.flatnonzero(change)
        X[:, moved] += residual[:, None] * (change[moved] / (share @ residual**2))
        return X
    energy = np.add.reduceat(
        np.append(share[X.indices] * residual[X.indices] ** 2, 0.0), np.minimum(X.indptr[:-1], X.nnz)
    )
    step = np.divide(change, energy, out=np.zeros_like(change), where=change != 0)
    X.data += np.repeat(step, np.diff(X.indptr)) * residual[X.indices]
    return X
