"""The quadratic model of a loss on a growing working set of columns, held as the columns themselves."""

from typing import Any

import numpy as np

from .anderson import Anderson
from .certificate import model_gap, no_worse, slope_rounding, stationarity
from .columns import SparseColumns, column_axpy, correlate_columns
from .coordinate_descent import column_epochs
from .kernel import kernel
from .newton import newton_descent
from .penalties.vector_functions import equation_coordinates, has_conjugate, penalty_value
from .unit_columns import CenteredColumns, append_columns, as_scipy, gather_normalized, gather_sparse

_REDUCTION = 0.1  # of the gap, by one model: solving it further is lost where the next one differs

_PATIENCE = 42  # epochs before a Newton step is tried
_ROUNDING = 1e-15  # of an objective
_LARGEST_GRAM = 10_000  # the largest support for which one is


@kernel
def _subtract(columns, active, change, residual):
    for k in range(active.size):
        if change[k] != 0.0:
            column_axpy(columns, active[k], -change[k], residual)


class ColumnModel:
    """A weighted least-squares model whose coordinate descent works on the residual.

    It stands in for :class:`~sparsemodels.solvers.gram_model.GramModel` where a Gram matrix would cost more than it
    saves: sparse designs, and supports larger than the number of rows.

    Parameters
    ----------
    X : ndarray or SparseColumns of shape (n, p)
        The design.
    curvature : ndarray of shape (n,)
        The weights h of the model.
    fit_intercept : bool
        Whether an unpenalised intercept is eliminated by centring; implicitly where `X` is sparse.
    n_features : int
        The number p of features.

    Attributes
    ----------
    features : ndarray of shape (m,), int64
        The working set, in the order in which features joined.
    member : ndarray of shape (p,), bool
        Whether a feature is in the working set.
    """

    lasting = False  # a new model costs no more than two epochs
    dtype: Any = np.float64

    def __init__(self, X: Any, curvature: np.ndarray, fit_intercept: bool, n_features: int):
        self.X = X
        self.fit_intercept = fit_intercept
        self.root_weights = np.sqrt(curvature)
        self.features = np.empty(0, dtype=np.int64)
        self.member = np.zeros(n_features, dtype=bool)
        self._columns: Any = np.empty((curvature.size, 0), order="F")
        self._scale = np.empty(0)

    @property
    def scale(self) -> np.ndarray:
        """The norms of the columns of the working set."""
        return self._scale

    def room(self, support: int) -> int:
        """How many features may join at once, given the size of the support; columns that stay zero cost little."""
        return max(1000, 4 * support)

    def grow(self, new: np.ndarray) -> None:
        """Let features join the working set; copies their columns."""
        self.features = np.concatenate([self.features, new])
        self.member[new] = True
        if isinstance(self.X, SparseColumns):
            joined, scale = gather_sparse(self.X, new, self.root_weights, self.fit_intercept)
            self._columns = append_columns(self._columns, joined) if self._scale.size else joined
            self._scale = np.concatenate([self._scale, scale])
            return
        m, total = self._scale.size, self.features.size
        if total > self._columns.shape[1]:
            columns = np.empty((self.root_weights.size, min(2 * total, self.member.size)), order="F")
            columns[:, :m] = self._columns[:, :m]
            self._columns = columns
        self._scale = np.concatenate([self._scale, np.empty(new.size)])
        gather_normalized(
            self.X,
            new,
            self.root_weights,
            self.fit_intercept,
            self._columns[:, m:total],
            self._scale[m:total],
        )

    def promote(self) -> bool:
        """Nothing to gain: the model is in double precision already."""
        return False

    def _gram(self, active: np.ndarray) -> np.ndarray:
        if not isinstance(self._columns, CenteredColumns):
            chosen = self._columns[:, active]
            return chosen.T @ chosen
        means = self._columns.means[active]
        matrix = as_scipy(self._columns.columns)[:, active]
        return (matrix.T @ matrix).toarray() - self._columns.total * np.outer(means, means)

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

        Without a conjugate of the penalty, the gap is what one step of each coordinate could still gain.

        One epoch over the working set, then epochs over the support with Anderson extrapolation; if that is slow,
        Newton steps on the support.

        Parameters
        ----------
        penalty : NamedTuple
            The penalty's record.
        coef : ndarray of shape (m,)
            The coefficients, updated in place.
        slope : ndarray of shape (m,)
            Minus the gradient of the loss at `coef`; overwritten.
        residual : ndarray of shape (n,)
            The model's residual at `coef`; overwritten.
        target : float
            The duality gap that is small enough; a tenth of the gap at the start is, too.
        max_epochs : int
            The largest number of epochs.

        Returns
        -------
        float
            The model's duality gap.
        """
        columns, scale, features = self._columns, self._scale, self.features
        everything = np.arange(features.size)
        centered = isinstance(columns, CenteredColumns)

        convex = has_conjugate(penalty)
        measure = model_gap if convex else stationarity

        def settle() -> None:
            """Bring the residual's part along the centring direction back into it."""
            if centered:
                residual[:] += columns.shift[0] * self.root_weights
                columns.shift[0] = 0.0

        def gap() -> float:
            correlate_columns(columns, residual, slope)
            np.multiply(slope, scale, out=slope)
            return measure(penalty, coef, slope, scale, features, residual @ residual)

        def replace(active: np.ndarray, new: np.ndarray, known: float = -np.inf) -> bool:
            """Move to new coefficients if that lowers the objective; where it is level to rounding, the known gap."""
            settle()
            trial = residual.copy()
            _subtract(columns, active, (new - coef[active]) * scale[active], trial)
            if centered:
                trial += columns.shift[0] * self.root_weights
                columns.shift[0] = 0.0
            chosen, old = features[active], coef[active]
            before = 0.5 * (residual @ residual) + penalty_value(penalty, old, chosen)
            after = 0.5 * (trial @ trial) + penalty_value(penalty, new, chosen)
            rounding = _ROUNDING * before + slope_rounding(coef, scale) * np.abs((new - old) * scale[active]).sum()
            level = known >= 0.0 and abs(after - before) <= rounding
            if not (level or after < before):
                return False
            coef[active] = new
            residual[:], trial = trial, residual.copy()
            if level and not no_worse(gap(), known, coef, scale):
                coef[active], residual[:] = old, trial
                return False
            return True

        # Slopes that must vanish do so only up to the patience of the epochs, and a KKT residual is no square as a gap
        # is: a Newton step finishes them.
        exact = not convex or equation_coordinates(penalty, features).any()
        target = max(target, _REDUCTION * gap())
        n_epochs = 0
        while True:
            column_epochs(columns, scale, coef, residual, penalty, features, everything, 1)
            active = np.flatnonzero(coef)
            anderson = Anderson(active.size)
            anderson.push(coef[active])
            for _ in range(5):
                column_epochs(columns, scale, coef, residual, penalty, features, active, 1)
                extrapolated = anderson.push(coef[active])
            if extrapolated is not None:
                replace(active, extrapolated)
            n_epochs += 6
            settle()
            current = gap()
            done = current <= target
            if (done and not exact) or n_epochs >= max_epochs:
                return current
            if (exact or n_epochs >= _PATIENCE) and 0 < active.size <= _LARGEST_GRAM:
                new, unit_slope = coef[active], slope[active] / np.where(scale > 0.0, scale, 1.0)[active]
                if newton_descent(self._gram(active), scale[active], new, unit_slope, penalty, features[active]):
                    if replace(active, new, current):
                        current = gap()
            if done or current <= target:
                return current
