"""Subsets of the columns of a curved loss, such as the logistic one: moves ranked by its quadratic model, refitted.

At the present fit the loss has a quadratic model with the curvatures as row weights. Its tableau over the subset and
the most promising other columns (:mod:`~sparsemodels.solvers.subset_exchange`) gives the gain of every move of the
model; the best of them are refitted by Newton's method, and the first that really lowers the objective is made. It is
the idea of splicing, J. Zhu et al., "A polynomial algorithm for best-subset selection problem", PNAS 117, 2020, with
the exact gains of the model in place of those of its diagonal.
"""

import time
from typing import Any

import numpy as np
import scipy.linalg

from .column_moments import column_moments
from .columns import combine, shape
from .losses.functions import curvature, loss_value, negative_gradient
from .subset_exchange import DEPENDENT, NEGLIGIBLE, best_addition, best_removal, empty_tableau, fill_tableau

_EPS = np.finfo(np.float64).eps
_CANDIDATES = 64  # columns outside of the subset that the model looks at
_ATTEMPTS = 8  # of its best swaps are refitted before the subset counts as locally best
_NEWTON_STEPS = 50
#: Of the loss without features: below it the classes are separated, and the minimum is at infinity.
_SEPARATED = 1e-8


class CurvedSearch:
    """Subsets for a smooth convex loss with a ridge.

    Parameters
    ----------
    X : ndarray or SparseColumns of shape (n_rows, n_columns)
        The design.
    loss : NamedTuple
        The loss' record.
    fit_intercept : bool
        Whether an intercept is fitted.
    ridge : float
        The ridge, >= 0.
    capacity : int
        The largest size of a subset.

    Attributes
    ----------
    features : ndarray of shape (size,), int64
        The present subset.
    null_objective : float
        The objective of the empty one.
    n_moves : int
        How many columns were added or removed.
    """

    def __init__(self, X: Any, loss: Any, fit_intercept: bool, ridge: float, capacity: int):
        self.X, self.loss, self.fit_intercept, self.ridge = X, loss, fit_intercept, ridge
        self.capacity = min(capacity, shape(X)[1])
        self.n_moves = 0
        self.negligible = self.separated = 0.0
        self._model: Any = None
        self.values, self.intercept = np.empty(0), 0.0
        self.reset([])
        self.null_objective = self.objective
        self.negligible = NEGLIGIBLE * self.null_objective
        self.separated = _SEPARATED * self.null_objective

    @property
    def size(self) -> int:
        """The size of the present subset."""
        return self.features.size

    @property
    def objective(self) -> float:
        """Its objective; all that separate the classes are equally good."""
        return max(self._value, self.separated)

    def reset(self, features: Any) -> None:
        """Go to another subset."""
        features = np.array(features, dtype=np.int64)
        self._accept(features, *self._refit(features, np.zeros(features.size), 0.0))

    def save(self) -> Any:
        """The present subset with all that was computed for it."""
        return self.features, self.values, self.intercept, self._value, self.predictor, self._model

    def restore(self, saved: Any) -> None:
        """Go back to a saved subset."""
        self.features, self.values, self.intercept, self._value, self.predictor, self._model = saved

    def _accept(self, features, values, intercept, objective, predictor):
        self.features, self.values, self.intercept = features, values, intercept
        self._value, self.predictor = objective, predictor
        self._model = None

    def _columns(self, features: np.ndarray) -> np.ndarray:
        columns = np.empty((shape(self.X)[0], features.size), order="F")
        for k in range(features.size):
            columns[:, k] = combine(self.X, features[k : k + 1], np.ones(1))
        return columns

    def _refit(self, features, values, intercept):
        """Newton's method from a start: (values, intercept, objective, predictor)."""
        columns = self._columns(features)
        predictor = columns @ values + intercept
        objective = float(loss_value(self.loss, predictor)) + 0.5 * self.ridge * float(values @ values)
        for _ in range(_NEWTON_STEPS):
            theta, weights = negative_gradient(self.loss, predictor), curvature(self.loss, predictor)
            total = weights.sum()
            mean = weights @ columns / total if self.fit_intercept else np.zeros(features.size)
            centred = columns - mean
            slope = theta @ centred - self.ridge * values
            hessian = centred.T @ (weights[:, None] * centred)
            hessian[np.diag_indices(features.size)] += self.ridge
            step = _newton_direction(hessian, slope)
            shift = float(theta.sum() / total - mean @ step) if self.fit_intercept else 0.0
            decrement = float(slope @ step) + (theta.sum() ** 2 / total if self.fit_intercept else 0.0)
            if not decrement > max(1e-2 * self.negligible, 1e-16 * objective) or objective < self.separated:
                break
            direction, length = columns @ step + shift, 1.0
            while length > 1e-10:
                new = values + length * step
                value = float(loss_value(self.loss, predictor + length * direction))
                value += 0.5 * self.ridge * float(new @ new)
                if value <= objective - 1e-4 * length * decrement:
                    break
                length *= 0.5
            else:
                break
            values, intercept, predictor = new, intercept + length * shift, predictor + length * direction
            stop = objective - value <= 1e-2 * self.negligible
            objective = value
            if stop:
                break
        return values, intercept, objective, predictor

    def _local(self, n_candidates: int):
        """The model's tableau over the subset and the most promising other columns, and those columns."""
        if self._model is None:
            theta, weights = negative_gradient(self.loss, self.predictor), curvature(self.loss, self.predictor)
            mean, square, slopes = column_moments(self.X, weights, theta, centred=self.fit_intercept)
            usable = square > (64 * _EPS) ** 2 * (square + weights.sum() * mean**2)
            squares = square + self.ridge
            score = np.divide(slopes**2, squares, out=np.zeros(squares.size), where=usable)
            score[self.features] = 0.0
            self._model = weights, mean, slopes, squares, score
        weights, mean, slopes, squares, score = self._model
        chosen = np.argpartition(-score, min(n_candidates, score.size - 1))[:n_candidates]
        chosen = chosen[score[chosen] > 0.0]
        local = np.concatenate([self.features, chosen])
        columns = (self._columns(local) - mean[local]) * np.sqrt(weights)[:, None]
        k = self.size
        rows = columns[:, :k].T @ columns
        diagonal = squares[local]
        correlation = slopes[local] + self.values @ rows
        correlation[:k] = rows[:, :k] @ self.values + self.ridge * self.values  # the fit is optimal in the model
        floors = DEPENDENT * diagonal
        tableau = empty_tableau(k + 1, correlation, diagonal, floors)
        try:
            fill_tableau(tableau, np.arange(k), rows, correlation, diagonal, self.ridge)
        except scipy.linalg.LinAlgError:  # the curvature has vanished: a fit that separates the classes
            return None, local
        tableau.floors[:k] = np.inf
        return tableau, local

    def forward(self, size: int) -> None:
        """Add the column that gains most in the model, again and again, up to a size or to where none gains."""
        while self.size < min(size, self.capacity):
            tableau, local = self._local(_CANDIDATES)
            if tableau is None:
                break
            gain, place = best_addition(tableau)
            if place < 0 or 0.5 * gain <= self.negligible:
                break
            k = self.size
            row = tableau.rows[:k, place]
            value = tableau.slopes[place] / tableau.pivots[place]
            features = np.append(self.features, local[place])
            values = np.append(self.values - row * value, value)
            self._accept(features, *self._refit(features, values, self.intercept))
            self.n_moves += 1

    def backward(self, size: int) -> None:
        """Remove the member that costs least in the model, again and again, down to a size."""
        while self.size > size:
            tableau, _ = self._local(0)
            position = int(np.argmin(np.abs(self.values)))
            if tableau is not None:
                position = best_removal(tableau, self.size)[1]
            features, values = np.delete(self.features, position), np.delete(self.values, position)
            self._accept(features, *self._refit(features, values, self.intercept))
            self.n_moves += 1

    def exchange(self, max_swaps: int, deadline: float = np.inf) -> bool:
        """Make swaps until none of the model's best gains; False if `max_swaps` or the deadline came first."""
        for n_swaps in range(max_swaps + 1):
            moves = self._swaps()
            if not moves:
                return True
            if n_swaps == max_swaps or time.monotonic() > deadline:
                return False
            for features, values in moves:
                fit = self._refit(features, values, self.intercept)
                if max(fit[2], self.separated) < self.objective - 2.0 * self.negligible:
                    self._accept(features, *fit)
                    self.n_moves += 2
                    break
            else:
                return True
        return False

    def _swaps(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The best swaps of the model, each as a subset and where to start its fit."""
        k = self.size
        if k == 0:
            return []
        tableau, local = self._local(_CANDIDATES)
        if tableau is None or local.size == k:
            return []
        rows, inverse = tableau.rows[:k, k:], np.diag(tableau.inverse[:k, :k])
        ratio = self.values / inverse
        slopes = tableau.slopes[k:] + ratio[:, None] * rows
        pivots = tableau.pivots[k:] + rows**2 / inverse[:, None]
        gains = np.where(pivots > tableau.floors[k:], slopes**2 / np.maximum(pivots, 1e-300), 0.0)
        gains -= (self.values * ratio)[:, None]
        moves = []
        for flat in np.argsort(-gains, axis=None, kind="stable")[:_ATTEMPTS]:
            leaving, entering = divmod(int(flat), local.size - k)
            if 0.5 * gains[leaving, entering] <= self.negligible:
                break
            value = slopes[leaving, entering] / pivots[leaving, entering]
            factor = tableau.inverse[:k, leaving] / inverse[leaving]
            values = self.values - factor * self.values[leaving]
            values -= (rows[:, entering] - factor * rows[leaving, entering]) * value
            features = self.features.copy()
            features[leaving], values[leaving] = local[k + entering], value
            moves.append((features, values))
        return moves

    def solution(self) -> tuple[np.ndarray, float, float]:
        """Coefficients of the present subset, intercept and objective."""
        return self.values, float(self.intercept), self._value


def _newton_direction(hessian: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Solve for a step; of least size, in units of the columns, where these are dependent."""
    if slope.size == 0:
        return slope
    scale = np.sqrt(np.diag(hessian))
    scale[scale == 0.0] = 1.0
    unit = hessian / np.outer(scale, scale)
    try:
        factor = scipy.linalg.cho_factor(unit, lower=True)
        if np.diag(factor[0]).min() > 1e-6:
            return scipy.linalg.cho_solve(factor, slope / scale) / scale
    except scipy.linalg.LinAlgError:
        pass
    return np.linalg.lstsq(unit, slope / scale, rcond=1e-12)[0] / scale
