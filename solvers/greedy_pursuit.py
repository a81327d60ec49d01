r"""Orthogonal matching pursuit on a regularised loss: select by the best one-coordinate move, refit, repeat.

With :math:`G(x) = F(y - X x) + \mathrm{pen}(x)`,

1. every column is scored by :math:`\Delta_j = G(x) - \min_t G(x + t e_j)`
   (:mod:`~sparsemodels.solvers.greedy_scores`),
2. the best one joins the support S,
3. the coefficients on S are refitted by :math:`\min_z F(y - X_S z)`, without the penalty,

until nothing is gained. The penalty only steers the selection and stops it. After S. Mohammad-Taheri and S.
Brugiapaglia, "The greedy side of the LASSO", arXiv:2303.00844, Algorithm 1; without a penalty it is
orthogonal matching pursuit.
"""

from typing import Any, NamedTuple

import numpy as np

from .columns import shape
from .greedy_refits import AbsoluteRefit, EuclideanRefit
from .greedy_rules import RULES

#: Why a pursuit can stop, by the name in ``status``.
STATUS = {
    "n_nonzero_coefs": "the number of columns asked for is reached",
    "tol": "the loss has fallen to the tolerance",
    "no_gain": "no further column lowers the objective",
    "stalled": "shrinking or removing a selected coefficient lowers the objective more than a new column",
    "zero_residual": "the selected columns fit the targets to rounding",
    "dependent": "every column that would lower the objective depends linearly on the selected ones",
}


class GreedyPursuit(NamedTuple):
    """The result of a greedy pursuit.

    Attributes
    ----------
    coef : ndarray of shape (n_columns,)
        The coefficients, zero off the support.
    intercept : float
        The intercept, 0.0 without one.
    support : ndarray of shape (n_iter,), int64
        The selected columns in the order of selection.
    n_iter : int
        How many there are.
    objective, loss : float
        The penalised loss and the loss alone, at the end.
    objective_path, loss_path : ndarray of shape (n_iter + 1,)
        The same after each selection, from the empty support on.
    coef_path : ndarray of shape (n_iter + 1, n_iter)
        The refitted coefficients after each selection, in the order of `support`.
    intercept_path : ndarray of shape (n_iter + 1,)
        The intercepts that go with them.
    max_gain : float
        The largest decrease of the objective that one new column's coefficient alone could bring at the end;
        zero for a pursuit that went as far as it pays.
    max_gain_support : float
        The same for the coefficients of the support: what the penalty holds against the unpenalised refit.
    kkt : float
        The largest violation of the refits' optimality conditions, the maximum of `kkt_path`.
    kkt_path : ndarray of shape (n_iter + 1,)
        For each refit, recomputed from the coefficients: the largest correlation of the residual with a
        selected column relative to the norms of column and targets, or, for the absolute loss, the duality
        gap relative to the loss of the empty support (and the violation of the dual constraint where that is
        larger).
    skipped : ndarray of int64
        Columns passed over because they depend linearly on the selected ones.
    status : str
        Why the pursuit stopped, a key of ``STATUS``.
    """

    coef: np.ndarray
    intercept: float
    support: np.ndarray
    n_iter: int
    objective: float
    loss: float
    objective_path: np.ndarray
    loss_path: np.ndarray
    coef_path: np.ndarray
    intercept_path: np.ndarray
    max_gain: float
    max_gain_support: float
    kkt: float
    kkt_path: np.ndarray
    skipped: np.ndarray
    status: str


def penalties(
    penalty: str, alpha: float, penalty_weights: np.ndarray, column_norms: np.ndarray, normalize: bool
) -> np.ndarray:
    r"""The penalties of single columns, :math:`P_j = \alpha w_j^2` or :math:`\kappa_j = \alpha w_j`.

    Parameters
    ----------
    penalty : {"l0", "l1"}
        The penalty.
    alpha : float
        Its level.
    penalty_weights : ndarray of shape (n_columns,)
        The weights :math:`w_j` in [0, inf]; infinite ones stay infinite at any level.
    column_norms : ndarray of shape (n_columns,)
        The norms of the columns.
    normalize : bool
        Whether "l1" acts on the coefficients of the columns scaled to norm one, :math:`\kappa_j = \alpha w_j
        \|a_j\|`.

    Returns
    -------
    ndarray of shape (n_columns,)
        The penalties.
    """
    finite = np.where(np.isinf(penalty_weights), 0.0, penalty_weights)
    level = alpha * finite**2 if penalty == "l0" else alpha * finite * (column_norms if normalize else 1.0)
    return np.where(np.isinf(penalty_weights), np.inf, level)


def greedy_pursuit(
    X: Any,
    y: np.ndarray,
    *,
    n_nonzero_coefs: int,
    loss: str = "squared",
    penalty: str = "l0",
    alpha: float = 0.0,
    penalty_weights: np.ndarray | None = None,
    tol: float | None = None,
    normalize: bool = True,
    fit_intercept: bool = False,
    sample_weight: np.ndarray | None = None,
) -> GreedyPursuit:
    r"""Select columns greedily for a regularised loss, and refit the loss on them.

    Parameters
    ----------
    X : ndarray or SparseColumns of shape (n_rows, n_columns)
        The design; never copied or changed.
    y : ndarray of shape (n_rows,)
        The targets.
    n_nonzero_coefs : int
        The largest number of columns to select.
    loss : {"squared", "sqrt", "absolute"}
        :math:`F(r) = \sum_i s_i r_i^2`, its square root, or :math:`\sum_i s_i |r_i|`.
    penalty : {"l0", "l1"}
        :math:`\alpha \sum_{x_j \ne 0} w_j^2` or :math:`\alpha \sum_j w_j |x_j|`.
    alpha : float
        The level of the penalty, non-negative.
    penalty_weights : ndarray of shape (n_columns,), optional
        The weights :math:`w_j` in [0, inf]: 0 is never penalised, inf never selected. Ones by default.
    tol : float, optional
        Stop once :math:`F(r)` is at or below this.
    normalize : bool
        Whether the weights of "l1" act on the coefficients of the columns scaled to norm one.
    fit_intercept : bool
        Whether an intercept is fitted (never penalised).
    sample_weight : ndarray of shape (n_rows,), optional
        The row weights :math:`s_i \ge 0`, not all zero and not normalised: a weight of two is the row twice.

    Returns
    -------
    GreedyPursuit
        The solution, its path and its certificates.

    Notes
    -----
    Ties go to the lowest index. A column that depends linearly on the selected ones is passed over.

    Memory beside the design: ``k`` rows of the Gram matrix and up to some 100 more, ``(k + 100) * n_columns``
    numbers, and ``2 * k * n_rows`` for `k` selected columns; for the absolute loss ``2 * k * n_rows`` alone.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.greedy_pursuit import greedy_pursuit
    >>> fit = greedy_pursuit(np.eye(4), np.array([1.0, -4.0, 0.5, 3.0]), n_nonzero_coefs=4, alpha=2.0)
    >>> fit.support, fit.coef, fit.status
    (array([1, 3]), array([ 0., -4.,  0.,  3.]), 'no_gain')
    """
    n_rows, n_columns = shape(X)
    y = np.asarray(y, dtype=np.float64)
    weights = np.ones(n_rows) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    state: Any
    if loss == "absolute":
        state = AbsoluteRefit(X, y, weights, fit_intercept)
    else:
        state = EuclideanRefit(X, y, weights, fit_intercept, loss == "squared")
    pw = np.ones(n_columns) if penalty_weights is None else np.asarray(penalty_weights, dtype=np.float64)
    rule: Any = RULES[loss, penalty](penalties(penalty, alpha, pw, state.column_norms, normalize))
    state.usable &= np.isfinite(rule.penalty)

    coef, gains = np.zeros((2, n_columns))
    losses, objectives = [state.loss], [state.loss]
    values, intercepts = [state.values], [state.intercept]
    skipped: list[int] = []
    limit, status = min(n_nonzero_coefs, n_columns), ""
    support = state.support
    passed_over = False  # whether a dependent column was passed over since the last selection
    while True:
        if state.exact:
            status = "zero_residual"
        elif tol is not None and state.loss <= tol:
            status = "tol"
        elif len(support) >= limit:
            status = "n_nonzero_coefs"
        if status:
            break
        state.gains(rule, coef, gains, limit - len(support), gains)
        inside, best = _split(gains, support)
        if best <= 0.0:
            status = "dependent" if passed_over else "no_gain"
            break
        if inside > best:
            status = "stalled"
            break
        # The lowest index among those equal to rounding.
        j = int(np.argmax(gains >= best * (1.0 - 1e-12)))
        passed_over = not state.append(j)
        if passed_over:
            skipped.append(j)
            state.usable[j] = False
            continue
        coef[support] = state.values
        losses.append(state.loss)
        objectives.append(state.loss + _penalty(penalty, rule.penalty[support], state.values))
        values.append(state.values)
        intercepts.append(state.intercept)

    # The last refit and the certificates are computed afresh, free of what rounding did on the way.
    state.gains(rule, coef, gains, 0, gains)
    inside, outside = _split(gains, support)
    coef[support] = state.values
    values[-1], intercepts[-1], losses[-1] = state.values, state.intercept, state.loss
    objectives[-1] = state.loss + _penalty(penalty, rule.penalty[support], state.values)
    n_iter = len(support)
    coef_path = np.zeros((n_iter + 1, n_iter))
    for row, present in zip(coef_path, values):
        row[: present.size] = present
    kkt_path = state.certify(coef_path)
    return GreedyPursuit(
        coef=coef,
        intercept=state.intercept,
        support=np.array(support, dtype=np.int64),
        n_iter=n_iter,
        objective=objectives[-1],
        loss=state.loss,
        objective_path=np.array(objectives),
        loss_path=np.array(losses),
        coef_path=coef_path,
        intercept_path=np.array(intercepts),
        max_gain=outside,
        max_gain_support=inside,
        kkt=float(kkt_path.max()),
        kkt_path=kkt_path,
        skipped=np.array(skipped, dtype=np.int64),
        status=status,
    )


def _split(gains: np.ndarray, support: list[int]) -> tuple[float, float]:
    """The largest gain inside the support and outside; leave only those outside."""
    inside = float(gains[support].max(initial=0.0))
    gains[support] = 0.0
    return inside, float(gains.max(initial=0.0))


def _penalty(penalty: str, levels: np.ndarray, values: np.ndarray) -> float:
    return float(levels[values != 0.0].sum() if penalty == "l0" else levels @ np.abs(values))
