"""The quadratic model of a loss on a growing working set of groups, held as columns."""

from typing import Any

import numpy as np

from .block_descent import VANISHING
from .certificate import model_gap, stationarity
from .columns import _REDUCTION
from .group_update import Spectra, eigenbasis, stays_zero, update_group
from .kernel import kernel
from .penalties.l1 import L1
from .penalties.vector_functions import equation_coordinates, has_conjugate, kkt_distances
from .unit_columns import gather_normalized

_REDUCTION_OF_GAP = 0.1  # of the gap, by one model: solving it further is lost where the next one differs
_SWEEPS = 4  # over the groups that may move, between two products with all columns
_SMALL = 1_000_000


@kernel(fastmath=_REDUCTION)
def _column_slopes(columns, first, last, residual, slope):
    """The inner products of some columns with the residual, in the precision of the columns, four at a time."""
    n, zero, j = residual.size, columns.dtype.type(0), first
    while j + 4 <= last:
        one, two, three, four = columns[:, j], columns[:, j + 1], columns[:, j + 2], columns[:, j + 3]
        a, b, c, d = zero, zero, zero, zero
        for i in range(n):
            r = residual[i]
            a += one[i] * r
            b += two[i] * r
            c += three[i] * r
            d += four[i] * r
        slope[j], slope[j + 1], slope[j + 2], slope[j + 3] = a, b, c, d
        j += 4
    while j < last:
        one, a = columns[:, j], zero
        for i in range(n):
            a += one[i] * residual[i]
        slope[j] = a
        j += 1


@kernel
def _subtract_columns(columns, first, changes, size, residual):
    """Subtract a combination of columns from the residual, four at a time; `changes` have the columns' precision."""
    n, k = residual.size, 0
    while k + 4 <= size:
        j = first + k
        one, two, three, four = columns[:, j], columns[:, j + 1], columns[:, j + 2], columns[:, j + 3]
        a, b, c, d = changes[k], changes[k + 1], changes[k + 2], changes[k + 3]
        for i in range(n):
            residual[i] -= a * one[i] + b * two[i] + c * three[i] + d * four[i]
        k += 4
    while k < size:
        one, a = columns[:, first + k], changes[k]
        for i in range(n):
            residual[i] -= a * one[i]
        k += 1


@kernel
def _column_block(columns, scale, first, last, block, values):
    """The diagonal block of a group in units of the coefficients; of a large one a bound of the largest eigenvalue."""
    size = last - first
    if block.size < size * size:  # the trace
        total = 0.0
        for k in range(first, last):
            total += scale[k] * scale[k]
        values[:] = total
        return
    for i in range(size):
        one = columns[:, first + i]
        for k in range(i + 1):
            two, total = columns[:, first + k], 0.0
            for row in range(one.size):
                total += one[row] * two[row]
            total *= scale[first + i] * scale[first + k]
            block[i * size + k] = total
            block[k * size + i] = total


@kernel
def column_block_epochs(
    columns, scale, coef, slope, residual, penalty, features, active, starts, offsets, blocks, vectors, values, ready,
    linear, work, changes, n_epochs,
):  # fmt: skip
    """Cyclic block coordinate descent on a quadratic model given by its unit columns, the residual kept current.

    Parameters
    ----------
    columns : ndarray of shape (n, >= m), F order
        The columns, divided by their norms.
    scale : ndarray of shape (m,)
        The norms of the columns; zero for a zero column.
    coef : ndarray of shape (m,)
        The coefficients of the original columns, updated in place.
    slope : ndarray of shape (m,)
        Room for the slopes of the groups visited.
    residual : ndarray of shape (n,)
        The model's residual, in the precision of the columns, updated in place.
    penalty : GroupNorm
        The penalty's record.
    features : ndarray of shape (m,), int64
        The feature of each column, groups contiguous.
    active : ndarray of int64
        The groups to visit, in this order.
    starts : ndarray of shape (n_groups + 1,), int64
        Where each group starts.
    offsets, blocks, vectors, values, ready : ndarray
        The diagonal blocks and their eigenvectors, see :class:`~sparsemodels.solvers.group_update.Spectra`.
    linear : bool
        Whether the norms are penalised linearly.
    work : ndarray of shape (3, d)
        Room for three groups of the largest size.
    changes : ndarray of shape (d,)
        Room for one, in the precision of the columns.
    n_epochs : int
        The number of passes.
    """
    for _ in range(n_epochs):
        for b in active:
            first, last = starts[b], starts[b + 1]
            _column_slopes(columns, first, last, residual, slope)
            if linear and stays_zero(penalty, coef, slope, scale, features, first, last):
                continue
            block, basis = blocks[offsets[b] : offsets[b + 1]], vectors[offsets[b] : offsets[b + 1]]
            if not ready[b]:
                _column_block(columns, scale, first, last, block, values[first:last])
                if block.size:
                    eigenbasis(block, last - first, basis, values[first:last])
                ready[b] = True
            if update_group(
                coef, slope, scale, penalty, features, first, last, block, basis, values[first:last], linear, work
            ):
                for k in range(last - first):
                    changes[k] = work[1, k]
                _subtract_columns(columns, first, changes, last - first, residual)


class BlockModel:
    """A weighted least-squares model on a working set of groups, for supports about as large as the number of rows.

    There a Gram matrix costs more than it saves: block descent works on the residual instead, and visits only groups
    that may move. The columns are those of :class:`~sparsemodels.solvers.gram_model.GramModel`, which it takes over.

    Parameters
    ----------
    X : ndarray of shape (n, p)
        The design.
    curvature : ndarray of shape (n,)
        The weights h of the model.
    fit_intercept : bool
        Whether an unpenalised intercept is eliminated by centring.
    n_features : int
        The number p of features.

    Attributes
    ----------
    features : ndarray of shape (m,), int64
        The working set, in the order in which features joined.
    member : ndarray of shape (p,), bool
        Whether a feature is in the working set.
    """

    lasting = True  # worth keeping while the curvature changes a little: the blocks and their bases cost much

    def __init__(self, X: Any, curvature: np.ndarray, fit_intercept: bool, n_features: int):
        self.X = X
        self.fit_intercept = fit_intercept
        self.root_weights = np.sqrt(curvature)
        self.features = np.empty(0, dtype=np.int64)
        self.member = np.zeros(n_features, dtype=bool)
        small = curvature.size * n_features <= _SMALL
        self.dtype: Any = np.float64 if small else np.float32
        self._columns = np.empty((curvature.size, 0), dtype=self.dtype, order="F")
        self._scale = np.empty(0)
        self._spectra = Spectra()

    @property
    def scale(self) -> np.ndarray:
        """The norms of the columns of the working set."""
        return self._scale

    def room(self, support: int) -> int:
        """How many features may join at once, given the size of the support; groups that stay zero cost little."""
        return max(200, support)

    def grow(self, new: np.ndarray) -> None:
        """Let features join the working set; copies their columns."""
        m, total = self.features.size, self.features.size + new.size
        if total > self._columns.shape[1]:
            columns = np.empty((self.root_weights.size, min(2 * total, self.member.size)), dtype=self.dtype, order="F")
            columns[:, :m] = self._columns[:, :m]
            self._columns = columns
        self._scale = np.concatenate([self._scale, np.empty(new.size)])
        joined, scale = self._columns[:, m:total], self._scale[m:total]
        gather_normalized(self.X, new, self.root_weights, self.fit_intercept, joined, scale)
        self.features = np.concatenate([self.features, new])
        self.member[new] = True

    def promote(self) -> bool:
        """Copy the columns anew in double precision; False if they are already."""
        if self.dtype == np.float64:
            return False
        features, self.features = self.features, np.empty(0, dtype=np.int64)
        self.dtype = np.float64
        self._columns = np.empty((self.root_weights.size, 0), order="F")
        self._scale, self._spectra = np.empty(0), Spectra()
        self.grow(features)
        return True

    def solve(
        self,
        penalty: Any,
        coef: np.ndarray,
        slope: np.ndarray,
        residual: np.ndarray,
        target: float,
        max_epochs: int,
    ) -> float:
        """Minimise the model plus the penalty over the working set, to a duality gap of the model.

        Parameters
        ----------
        penalty : GroupNorm
            The penalty's record.
        coef : ndarray of shape (m,)
            The coefficients, updated in place.
        slope : ndarray of shape (m,)
            Minus the gradient of the loss at `coef`; updated in place by the model.
        residual : ndarray of shape (n,)
            The model's residual at `coef`; left as it is.
        target : float
            The duality gap that is small enough; a tenth of the gap at the start is, too.
        max_epochs : int
            The largest number of epochs.

        Returns
        -------
        float
            The model's duality gap; for a penalty without a conjugate, what one step of each group could gain.
        """
        spectra, features, scale = self._spectra, self.features, self._scale
        spectra.extend(penalty, features)
        columns = self._columns[:, : features.size]
        current_residual = residual.astype(self.dtype)
        convex, linear = has_conjugate(penalty), isinstance(penalty.norm, L1)
        measure = model_gap if convex else stationarity
        work, changes = np.empty((3, spectra.largest)), np.empty(spectra.largest, dtype=self.dtype)
        unit_slope, distances = np.zeros(features.size), np.empty(features.size)
        group = np.repeat(np.arange(spectra.starts.size - 1), np.diff(spectra.starts))

        norm = float(residual @ residual)
        current = measure(penalty, coef, slope, scale, features, norm)
        target = max(target, (_REDUCTION_OF_GAP if convex else _REDUCTION_OF_GAP**3) * current)
        # The gap of the model underestimates what slopes that must vanish cost the certificate: go further there.
        exact = convex and equation_coordinates(penalty, features).any()
        target *= VANISHING if exact else 1.0
        n_epochs = 0
        while (current > target or (exact and n_epochs == 0)) and n_epochs < max_epochs:
            kkt_distances(penalty, coef, slope, features, distances)
            may_move = (distances > 0.0) | (coef != 0.0)
            if not linear:
                may_move[:] = True
            active = np.unique(group[may_move])
            if active.size == 0:
                break
            column_block_epochs(
                columns, scale, coef, unit_slope, current_residual, penalty, features, active, spectra.starts,
                spectra.offsets, spectra.blocks, spectra.vectors, spectra.values, spectra.ready, linear, work, changes,
                _SWEEPS,
            )  # fmt: skip
            n_epochs += _SWEEPS
            _column_slopes(columns, 0, features.size, current_residual, unit_slope)
            np.multiply(unit_slope, scale, out=slope)
            norm = float(current_residual.astype(float) @ current_residual)
            current = measure(penalty, coef, slope, scale, features, norm)
        return current
