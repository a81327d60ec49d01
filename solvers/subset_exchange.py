r"""Subsets of the columns of a quadratic model, one in or out at a time, with the exact gain of every move.

For :math:`\frac12 w^T G w - c^T w + \frac\lambda2 \|w\|^2` the state at a subset A is the tableau of the sweep
operator: the inverse :math:`M = (G_{AA} + \lambda I)^{-1}`, the rows :math:`Q = M G_{A, :}`, the coefficients
:math:`w_A = M c_A`, and for every column its slope :math:`d = c - G w` and its pivot
:math:`s_j = G_{jj} + \lambda - G_{jA} Q_{:, j}`. Then, exactly,

- to remove i costs :math:`w_i^2 / (2 M_{ii})`,
- to add j gains :math:`d_j^2 / (2 s_j)`,
- to do both gains :math:`(d_j + w_i Q_{ij} / M_{ii})^2 / (2 (s_j + Q_{ij}^2 / M_{ii}))` less the cost of the first.

A move costs some ``2 * size * n_columns`` operations and the best of *all* swaps as many again: nothing has to be
screened, sampled or refitted to find it. A subset that no swap improves is a local minimum in the sense of the partial
swap inescapable minima, PSI(1), of Hazimeh and Mazumder, "Fast best subset selection", arXiv:1803.01454; the sweep
operator is that of A. E. Beaton, 1964.
"""

import time
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from .column_moments import column_moments
from .columns import _REDUCTION, combine, correlate_some, shape
from .gram_row_cache import GramRowCache
from .kernel import kernel

_EPS = np.finfo(np.float64).eps
#: Of a column's squared norm: what must be left of it beyond the span of the subset, for it to join. The Gram matrix
#: knows it to some 1e-15.
DEPENDENT = 1e-10
#: Relative to the loss without features: what of a gain may be rounding.
NEGLIGIBLE = 1e-13
_DRIFT = 200  # moves after which the tableau is computed afresh


class Tableau(NamedTuple):
    """The state at a subset; the first `size` entries of the first four fields count.

    Attributes
    ----------
    features : ndarray of shape (capacity,), int64
        The subset, in no particular order.
    values : ndarray of shape (capacity,)
        Its coefficients.
    inverse : ndarray of shape (capacity, capacity)
        The inverse M of its Gram matrix with the ridge.
    rows : ndarray of shape (capacity, n_columns)
        The rows Q.
    slopes, pivots : ndarray of shape (n_columns,)
        The slopes d and the pivots s.
    floors : ndarray of shape (n_columns,)
        The pivot above which a column can join; inf for members and for columns that never can.
    work : ndarray of shape (n_columns,)
        Memory for one row.
    """

    features: np.ndarray
    values: np.ndarray
    inverse: np.ndarray
    rows: np.ndarray
    slopes: np.ndarray
    pivots: np.ndarray
    floors: np.ndarray
    work: np.ndarray


def empty_tableau(capacity: int, slopes: np.ndarray, squares: np.ndarray, floors: np.ndarray) -> Tableau:
    """The tableau of the empty subset.

    Parameters
    ----------
    capacity : int
        The largest size of a subset.
    slopes, squares, floors : ndarray of shape (n_columns,)
        The inner products c, the diagonal of G with the ridge, and the least pivots.

    Returns
    -------
    Tableau
        The tableau; the arrays are copied.
    """
    return Tableau(
        np.zeros(capacity, dtype=np.int64), np.zeros(capacity), np.zeros((capacity, capacity)),
        np.empty((capacity, slopes.size)), slopes.copy(), squares.copy(), floors.copy(), np.empty(slopes.size),
    )  # fmt: skip


def fill_tableau(
    tableau: Tableau, features: np.ndarray, gram_rows: np.ndarray, slopes: np.ndarray, squares: np.ndarray, ridge: float
) -> None:
    """Compute the tableau of a subset afresh, by a Cholesky factorisation.

    Parameters
    ----------
    tableau : Tableau
        The tableau, overwritten but for the floors.
    features : ndarray of shape (size,), int64
        The subset.
    gram_rows : ndarray of shape (size, n_columns)
        The rows of G that belong to it.
    slopes, squares : ndarray of shape (n_columns,)
        The inner products c, and the diagonal of G with the ridge.
    ridge : float
        The ridge.

    Raises
    ------
    scipy.linalg.LinAlgError
        If the columns of the subset are dependent.
    """
    size = features.size
    tableau.features[:size] = features
    tableau.slopes[:], tableau.pivots[:] = slopes, squares
    if size == 0:
        return
    block = gram_rows[:, features]
    block = 0.5 * (block + block.T)
    block[np.diag_indices(size)] += ridge
    # LAPACK itself: at the size of these matrices its wrappers take longer than the work.
    factor, failure = scipy.linalg.lapack.dpotrf(block, lower=1)
    if failure:
        raise scipy.linalg.LinAlgError("the columns of the subset are dependent")
    lower, _ = scipy.linalg.lapack.dpotri(factor, lower=1)
    inverse = np.tril(lower)
    inverse += np.tril(lower, -1).T
    tableau.inverse[:size, :size] = inverse
    np.dot(inverse, gram_rows, out=tableau.rows[:size])
    tableau.values[:size] = inverse @ slopes[features]
    tableau.slopes[:] -= tableau.values[:size] @ gram_rows
    for row, gram_row in zip(tableau.rows[:size], gram_rows, strict=True):
        _subtract_product(row, gram_row, tableau.pivots)


@kernel
def _subtract_product(row, other, out):
    for j in range(out.size):
        out[j] -= row[j] * other[j]


@kernel(fastmath=_REDUCTION)
def _add(scale, row, out):
    for j in range(out.size):
        out[j] += scale * row[j]


@kernel
def sweep_in(tableau, size, feature, gram_row):
    """Take a column into the subset of `size`: one pivot of the sweep operator."""
    features, values, inverse, rows, slopes, pivots, floors, work = tableau
    work[:] = gram_row
    for a in range(size):
        _add(-gram_row[features[a]], rows[a], work)
    pivot = pivots[feature]
    value = slopes[feature] / pivot
    for a in range(size):
        column = rows[a, feature]
        values[a] -= column * value
        for b in range(size):
            inverse[a, b] += column * rows[b, feature] / pivot
        inverse[a, size] = inverse[size, a] = -column / pivot
    inverse[size, size] = 1.0 / pivot
    for a in range(size):
        _add(-rows[a, feature] / pivot, work, rows[a])
    for j in range(work.size):
        row = work[j] / pivot
        rows[size, j] = row
        slopes[j] -= value * work[j]
        pivots[j] -= row * work[j]
    features[size] = feature
    values[size] = value
    floors[feature] = np.inf


@kernel
def sweep_out(tableau, size, position, floor):
    """Take the column at a position out of the subset of `size`; the last one moves to its place."""
    features, values, inverse, rows, slopes, pivots, floors, _ = tableau
    diagonal = inverse[position, position]
    ratio = values[position] / diagonal
    row = rows[position]
    for j in range(row.size):
        slopes[j] += ratio * row[j]
        pivots[j] += row[j] * row[j] / diagonal
    for a in range(size):
        if a != position:
            factor = inverse[a, position] / diagonal
            _add(-factor, row, rows[a])
            values[a] -= factor * values[position]
            for b in range(size):
                if b != position:
                    inverse[a, b] -= factor * inverse[position, b]
    floors[features[position]] = floor
    last = size - 1
    if position != last:
        features[position], values[position] = features[last], values[last]
        rows[position] = rows[last]
        inverse[position, :size] = inverse[last, :size]
        inverse[:size, position] = inverse[:size, last]
        inverse[position, position] = inverse[last, last]


@kernel
def addition_scores(tableau, out):
    """Twice the gain of adding each column; zero where it cannot join."""
    slopes, pivots, floors = tableau.slopes, tableau.pivots, tableau.floors
    for j in range(slopes.size):
        out[j] = slopes[j] * slopes[j] / pivots[j] if pivots[j] > floors[j] else 0.0


@kernel
def best_addition(tableau):
    """The column whose addition gains most: (twice the gain, column), or (0.0, -1) if none can join."""
    slopes, pivots, floors = tableau.slopes, tableau.pivots, tableau.floors
    best, chosen = 0.0, -1
    for j in range(slopes.size):
        if pivots[j] > floors[j] and slopes[j] * slopes[j] > best * pivots[j]:
            best, chosen = slopes[j] * slopes[j] / pivots[j], j
    return best, chosen


@kernel
def best_removal(tableau, size):
    """The member whose removal costs least: (twice the cost, position)."""
    best, chosen = np.inf, -1
    for a in range(size):
        cost = tableau.values[a] ** 2 / tableau.inverse[a, a]
        if cost < best:
            best, chosen = cost, a
    return best, chosen


@kernel
def best_swap(tableau, size, least):
    """The exchange of a member for another column that gains most: (twice the gain, position, column).

    The column is -1 where no swap gains more than `least`.
    """
    slopes, pivots, floors = tableau.slopes, tableau.pivots, tableau.floors
    best, leaving, entering = least, -1, -1
    for a in range(size):
        row, inverse = tableau.rows[a], 1.0 / tableau.inverse[a, a]
        ratio = tableau.values[a] * inverse
        cost = tableau.values[a] * ratio
        threshold = best + cost
        for j in range(slopes.size):
            slope = slopes[j] + ratio * row[j]
            pivot = pivots[j] + inverse * row[j] * row[j]
            if slope * slope > threshold * pivot and pivot > floors[j]:
                threshold = slope * slope / pivot
                best, leaving, entering = threshold - cost, a, j
    return best, leaving, entering


class SquaredSearch:
    """Subsets for a weighted squared loss with a ridge.

    Parameters
    ----------
    X : ndarray or SparseColumns of shape (n_rows, n_columns)
        The design.
    loss : Squared
        The loss' record.
    fit_intercept : bool
        Whether an intercept is fitted.
    ridge : float
        The ridge, >= 0.
    capacity : int
        The largest size of a subset.

    Attributes
    ----------
    size : int
        The size of the present subset.
    null_objective : float
        The objective of the empty one.
    n_moves : int
        How many columns were added or removed.

    Notes
    -----
    Memory: the rows of the Gram matrix of all columns that ever were in a subset, and some 30 more, but at most about
    a quarter of a gigabyte beyond those of the present one; and ``capacity`` rows of the tableau.
    """

    def __init__(self, X: Any, loss: Any, fit_intercept: bool, ridge: float, capacity: int):
        self.X, self.ridge = X, ridge
        self.weights = loss.weights
        n_columns = shape(X)[1]
        self.center = float(loss.weights @ loss.y) if fit_intercept else 0.0
        self.target = loss.y - self.center
        # A constant target is its mean but for rounding.
        if loss.weights @ self.target**2 <= (8 * _EPS) ** 2 * (loss.weights @ loss.y**2):
            self.target = np.zeros_like(self.target)
        mean, square, product = column_moments(X, loss.weights, loss.weights * self.target, centred=fit_intercept)
        # The weighted target sums to zero but for rounding; a column far from zero would feel it.
        self.correlation = product - mean * float(np.sum(loss.weights * self.target))
        self.mean, self.squares = mean, square + ridge
        # A column that is constant to rounding is the intercept once more.
        constant = square <= (64 * _EPS) ** 2 * (square + mean**2)
        self.floors = np.where(constant, np.inf, DEPENDENT * self.squares)
        self.gram = GramRowCache(X, loss.weights, mean)
        self.null_objective = 0.5 * float(loss.weights @ self.target**2)
        self.negligible = NEGLIGIBLE * self.null_objective
        self.tableau = empty_tableau(min(capacity, n_columns), self.correlation, self.squares, self.floors)
        self.size = self.n_moves = self._drift = 0

    @property
    def features(self) -> np.ndarray:
        """The present subset."""
        return self.tableau.features[: self.size]

    @property
    def objective(self) -> float:
        """The objective of the present subset, up to rounding relative to that of the empty one."""
        return self.null_objective - 0.5 * float(self.correlation[self.features] @ self.tableau.values[: self.size])

    def reset(self, features: Any) -> None:
        """Go to another subset."""
        features = np.array(features, dtype=np.int64)
        rows = self.gram.rows(features)
        self.tableau.floors[:] = self.floors
        fill_tableau(self.tableau, features, rows, self.correlation, self.squares, self.ridge)
        self.tableau.floors[features] = np.inf
        self.size, self._drift = features.size, 0

    def save(self) -> Any:
        """The present subset with all that was computed for it."""
        k, t = self.size, self.tableau
        return (
            t.features[:k].copy(), t.values[:k].copy(), t.inverse[:k, :k].copy(), t.rows[:k].copy(), t.slopes.copy(),
            t.pivots.copy(), t.floors.copy(), self._drift,
        )  # fmt: skip

    def restore(self, saved: Any) -> None:
        """Go back to a saved subset."""
        features, values, inverse, rows, slopes, pivots, floors, self._drift = saved
        self.size = k = features.size
        t = self.tableau
        t.features[:k], t.values[:k], t.inverse[:k, :k], t.rows[:k] = features, values, inverse, rows
        t.slopes[:], t.pivots[:], t.floors[:] = slopes, pivots, floors

    def _join(self, feature: int, n_more: int) -> None:
        scores = self.tableau.slopes
        if self.gram.place[feature] < 0:
            scores = np.zeros(scores.size)
            addition_scores(self.tableau, scores)
        sweep_in(self.tableau, self.size, feature, self.gram.row(feature, scores, self.features, n_more))
        self.size += 1
        self._moved()

    def _leave(self, position: int) -> None:
        sweep_out(self.tableau, self.size, position, self.floors[self.tableau.features[position]])
        self.size -= 1
        self._moved()

    def _moved(self) -> None:
        self.n_moves += 1
        self._drift += 1
        if self._drift >= _DRIFT:
            self.reset(self.features)

    def forward(self, size: int) -> None:
        """Add the best column, again and again, up to a size or to where none gains anything."""
        while self.size < min(size, self.tableau.features.size):
            gain, feature = best_addition(self.tableau)
            if feature < 0 or 0.5 * gain <= self.negligible:
                break
            self._join(feature, size - self.size - 1)

    def backward(self, size: int) -> None:
        """Remove the member that costs least, again and again, down to a size."""
        while self.size > size:
            self._leave(best_removal(self.tableau, self.size)[1])

    def exchange(self, max_swaps: int, deadline: float = np.inf) -> bool:
        """Make the best swap until none gains; False if `max_swaps` or the deadline came first."""
        for _ in range(max_swaps):
            _, leaving, entering = best_swap(self.tableau, self.size, 2.0 * self.negligible)
            if entering < 0:
                return True
            if time.monotonic() > deadline:
                return False
            self._leave(leaving)
            self._join(entering, 0)
        return best_swap(self.tableau, self.size, 2.0 * self.negligible)[2] < 0

    def solution(self) -> tuple[np.ndarray, float, float]:
        """Coefficients of the present subset, intercept and objective, refined on the data themselves."""
        features = self.features.copy()
        values = self.tableau.values[: self.size].copy()
        slopes = np.empty(shape(self.X)[1])
        mean, inverse = self.mean[features], self.tableau.inverse[: self.size, : self.size]
        for step in range(3):
            residual = self.target - combine(self.X, features, values) + float(mean @ values)
            if step == 2:
                break
            weighted = self.weights * residual
            correlate_some(self.X, features, weighted, slopes)
            values += inverse @ (slopes[features] - mean * weighted.sum() - self.ridge * values)
        objective = 0.5 * float(self.weights @ residual**2) + 0.5 * self.ridge * float(values @ values)
        return values, self.center - float(mean @ values), objective
