"""The two halves of a greedy pursuit that depend on its loss: score all columns, refit the selected ones.

A state holds the present fit: ``support`` in the order of selection and ``values``, the refitted
coefficients; ``intercept``, ``loss``; ``exact``, whether the residual is zero to rounding; ``column_norms``;
and ``usable``, the columns that can be selected. ``append`` refits with one more column, ``gains`` scores
all, ``certify`` checks every refit.
"""

from typing import Any

import numpy as np

from .absolute_scores import absolute_gains
from .column_moments import column_moments
from .columns import SparseColumns, combine, correlate
from .gram_rows import GramRows
from .greedy_scores import euclidean_gains
from .independent_columns import IndependentColumns, doubled
from .least_absolute_deviations import least_absolute_deviations

_EPS = np.finfo(np.float64).eps


def _column(X: Any, j: int) -> np.ndarray:
    return combine(X, np.array([j]), np.ones(1))


class EuclideanRefit:
    """Scores and refits for the losses of the Euclidean norm.

    Columns and targets are taken about their weighted means and scaled by the square roots of the weights,
    one selected column at a time; the design is left as it is. The correlations of all columns with the
    residual follow from rows of the Gram matrix and are computed afresh from the residual before rounding
    errors can matter.
    """

    def __init__(self, X, y, weights, fit_intercept, squared):
        self.X, self.weights, self.squared = X, weights, squared
        self.roots = np.sqrt(weights)
        self.center = float(weights @ y / weights.sum()) if fit_intercept else 0.0
        self.target = self.roots * (y - self.center)
        self.mean, self.square, correlation = column_moments(
            X, weights, self.roots * self.target, centred=fit_intercept
        )
        self.size = np.sqrt(self.square + weights.sum() * self.mean**2)  # norms of the columns as they are
        # A column that is constant to rounding is the intercept once more.
        self.usable = self.square > (64 * _EPS * self.size) ** 2
        self.reference = correlation  # the correlations at the coefficients `anchor`
        self.correlation = correlation.copy()
        self.anchor = np.empty(0)
        self.scale = float(np.linalg.norm(self.roots * y))
        self.residual = self.target.copy()
        self.norm = self.norm_anchor = float(np.linalg.norm(self.target))
        self.selected = IndependentColumns(y.size)
        self.gram = GramRows(X, weights, self.mean)
        self.inner = np.empty(8)
        self.support: list[int] = []
        self.values = np.empty(0)
        self.work = np.empty(y.size)
        self.inverse_roots = np.divide(1.0, self.roots, out=np.zeros(y.size), where=self.roots > 0.0)

    @property
    def column_norms(self) -> np.ndarray:
        """The norms of the (centred) columns."""
        return np.sqrt(self.square)

    @property
    def loss(self) -> float:
        """The loss of the present fit."""
        return self.norm**2 if self.squared else self.norm

    @property
    def rounding(self) -> float:
        """The rounding error of the residual, from the sizes of what was subtracted to get it."""
        return 10 * _EPS * (self.scale + float(np.abs(self.values) @ self.size[self.support]))

    @property
    def exact(self) -> bool:
        """Whether the residual is zero to rounding."""
        return self.norm <= self.rounding

    @property
    def intercept(self) -> float:
        """The intercept of the present fit."""
        return self.center - float(self.mean[self.support] @ self.values)

    def append(self, j: int) -> bool:
        """Refit with one more column; False, and nothing done, if it depends linearly on the others."""
        if not self.selected.append(self.roots * (_column(self.X, j) - self.mean[j])):
            return False
        k = self.selected.size
        if k > self.inner.size:
            self.inner = doubled(self.inner, k - 1)
        direction = self.selected.basis[k - 1]
        self.inner[k - 1] = direction @ self.residual
        self.residual -= self.inner[k - 1] * direction
        self.norm = float(np.linalg.norm(self.residual))
        self.values = self.selected.coefficients(self.inner[:k])
        self.support.append(j)
        return True

    def _recompute(self):
        """Residual from the coefficients, correction of both, correlations from the residual."""
        selected, k = self.selected, self.selected.size
        for _ in range(2):
            self.residual = self.target - self.values @ selected.columns[:k]
            correction = selected.basis[:k] @ self.residual
            self.inner[:k] += correction
            self.values = self.values + selected.coefficients(correction)
        self.residual = self.target - self.values @ selected.columns[:k]
        self.norm = self.norm_anchor = float(np.linalg.norm(self.residual))
        correlate(self.X, self.roots * self.residual, out=self.reference)
        self.anchor = self.values
        self.correlation[:] = self.reference

    def gains(self, rule, coef, last, n_more, out):
        """Fill in the scores; `last` are the previous ones, `n_more` counts those still to come.

        With `n_more` zero nothing will be selected any more: the fit and the correlations are computed
        afresh.
        """
        k = self.selected.size
        if k and (n_more == 0 or self.norm < 0.05 * self.norm_anchor):
            self._recompute()
        elif k:
            for j in self.support[self.gram.n_chosen :]:
                self.gram.choose(j, last, n_more)
            change = self.values.copy()
            change[: self.anchor.size] -= self.anchor
            np.dot(change, self.gram.chosen, out=self.correlation)
            np.subtract(self.reference, self.correlation, out=self.correlation)
        self.correlation[self.support] = 0.0
        euclidean_gains(
            self.X, rule, self.correlation, self.square, self.mean, coef, self.residual * self.inverse_roots,
            self.weights, self.norm, self.rounding * self.size, self.usable, self.work, out,
        )  # fmt: skip

    def certify(self, coef_path):
        """For each refit, the largest correlation of its residual with a selected column."""
        columns = self.selected.columns[: self.selected.size]
        norm = np.linalg.norm(self.target)
        if not len(columns) or not norm:
            return np.zeros(len(coef_path))
        inner = (self.target - coef_path @ columns) @ columns.T / (norm * np.linalg.norm(columns, axis=1))
        return np.max(np.abs(np.tril(inner, -1)), axis=1)


class AbsoluteRefit:
    """Scores and refits for the absolute loss; the intercept is a column that is always in."""

    def __init__(self, X, y, weights, fit_intercept):
        self.X, self.weights, self.fit_intercept = X, weights, fit_intercept
        self.rows = np.flatnonzero(weights)
        self.target, self.row_weights = y[self.rows], weights[self.rows]
        _, square, _ = column_moments(X, weights, np.zeros(y.size), centred=False)
        self.column_norms = np.sqrt(square)
        self.usable = square > 0.0
        self.selected = IndependentColumns(self.rows.size)
        self.support: list[int] = []
        self.basis = np.empty(0, dtype=np.int64)
        self.scale = float(np.abs(self.target).max())
        self.certificates: list[tuple[float, float]] = []
        self.residual = np.zeros(y.size)
        self.buffers = np.empty((3, y.size + 1))
        self.row_numbers = np.empty(y.size + 1, dtype=np.int64)
        if fit_intercept:
            self.selected.append(np.ones(self.rows.size))
        self._refit()
        self.loss_without_columns = self.loss

    @property
    def exact(self) -> bool:
        """Whether the residual is zero to rounding."""
        return self.loss <= self.rounding * self.row_weights.sum()

    def _refit(self):
        columns = self.selected.columns[: self.selected.size]
        fit = least_absolute_deviations(columns, self.target, self.row_weights, basis=self.basis)
        # A linear program leaves no basis: the next refit starts anew.
        self.basis = np.empty(0, dtype=np.int64) if fit.basis is None else fit.basis
        first = int(self.fit_intercept)
        self.intercept = float(fit.coef[0]) if first else 0.0
        self.values = fit.coef[first:]
        self.rounding = 10 * _EPS * (self.scale + float(np.abs(fit.coef) @ np.abs(columns).max(axis=1, initial=0.0)))
        self.loss = fit.objective
        self.residual[self.rows] = fit.residual
        # Residuals that are zero but for rounding would pass the screen of the scores as kinks to the wrong
        # side.
        self.residual[np.abs(self.residual) <= max(self.rounding, 1e-10 * self.scale)] = 0.0
        self.certificates.append((fit.dual_gap, fit.kkt))

    def append(self, j: int) -> bool:
        """Refit with one more column; False, and nothing done, if it depends linearly on the others."""
        if not self.selected.append(_column(self.X, j)[self.rows]):
            return False
        self.support.append(j)
        self._refit()
        return True

    def gains(self, rule, coef, last, n_more, out):
        """Fill in the scores, zero for columns that cannot be the best; `last` and `n_more` are not needed."""
        buffers = (self.buffers[0], self.row_numbers, self.buffers[1], self.buffers[2])
        X, residual, weights = self.X, self.residual, self.weights
        slopes = correlate(X, weights * np.sign(residual))
        slopes[~self.usable] = 0.0
        order = np.argsort(-np.abs(slopes), kind="stable")
        if isinstance(X, SparseColumns) or abs(X.strides[0]) <= abs(X.strides[1]):
            absolute_gains(X, rule, coef, residual, weights, slopes, order, 0.0, False, *buffers, out)
        else:  # C order: columns are copied out a hundred or so at a time
            best = 0.0
            for start in range(0, out.size, 128):
                part = order[start : start + 128]
                block, scores = np.asfortranarray(X[:, part], dtype=np.float64), np.empty(part.size)
                best = absolute_gains(
                    block, type(rule)(rule.penalty[part]), coef[part], residual, weights, slopes[part],
                    np.arange(part.size), best, False, *buffers, scores,
                )  # fmt: skip
                out[part] = scores
        # What rounding makes of a gain of nothing.
        out[out <= self.rounding * self.row_weights.sum()] = 0.0
        out[~self.usable] = 0.0

    def certify(self, coef_path):
        """For each refit, its duality gap relative to the first loss, or its dual infeasibility."""
        loss = self.loss_without_columns or 1.0
        return np.array([max(gap / loss, kkt) for gap, kkt in self.certificates])
