"""The quadratic model of a loss on a growing working set of columns, held as a Gram matrix."""

from typing import Any

import numpy as np

from .block_descent import block_descent
from .certificate import model_gap, no_worse, stationarity
from .columns import SparseColumns
from .coordinate_descent import gram_epochs
from .group_update import Spectra
from .newton import newton_descent, newton_step
from .penalties.vector_functions import equation_coordinates, has_conjugate, structure
from .proximal_descent import proximal_descent
from .unit_columns import CenteredColumns, append_columns, cross_products, gather_normalized, gather_sparse

_PASS = 16  # multiply-adds of a matrix product in the time of reading one number from memory
_REDUCTION = 0.1  # of the gap, by one model: solving it further is lost where the next one differs
# Below so many entries of X the work is in the calls, not in the numbers: single precision would save nothing.
_SMALL = 1_000_000


class GramModel:
    """A weighted least-squares model on a working set that only grows.

    The columns are centred (with an intercept), scaled to unit norm and copied, contiguous, in single precision
    unless the problem is small; their Gram matrix H is the model's Hessian. Single precision halves the cost of the
    products and of every epoch of coordinate descent, and costs no accuracy: the driver starts each model from a
    slope that is exact in double precision, so that a sequence of models is an iterative refinement. Where H is too
    ill-conditioned for that, :meth:`promote` turns to double precision.

    Parameters
    ----------
    X : ndarray of shape (n, p)
        The design.
    curvature : ndarray of shape (n,)
        The weights h of the model; they sum to one for the squared loss.
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

    first = 100
    lasting = True  # worth keeping while the curvature changes a little: a Gram matrix costs much

    def __init__(self, X: Any, curvature: np.ndarray, fit_intercept: bool, n_features: int):
        self.X = X
        self.fit_intercept = fit_intercept
        self.root_weights = np.sqrt(curvature)
        self.features = np.empty(0, dtype=np.int64)
        self.member = np.zeros(n_features, dtype=bool)
        small = curvature.size * n_features <= _SMALL
        self.dtype: Any = np.float64 if small else np.float32
        # Memory that is not touched is not there yet: room for many columns costs nothing, moving them does.
        self._columns: np.ndarray
        self._stored: CenteredColumns
        self._gram: np.ndarray
        self._scale: np.ndarray
        self._allocate(min(1024, n_features))
        self._spectra = Spectra()

    def _allocate(self, capacity: int) -> None:
        m, n = self.features.size, self.root_weights.size
        if isinstance(self.X, SparseColumns):
            n = 0  # their columns stay sparse
        columns = np.empty((n, capacity), dtype=self.dtype, order="F")
        gram = np.empty((capacity, capacity), dtype=self.dtype)
        scale = np.empty(capacity)
        if m:
            columns[:, :m] = self._columns[:n, :m]
            gram[:m, :m] = self._gram[:m, :m]
            scale[:m] = self._scale[:m]
        self._columns, self._gram, self._scale = columns, gram, scale

    @property
    def scale(self) -> np.ndarray:
        """The norms of the columns of the working set."""
        return self._scale[: self.features.size]

    def room(self, support: int) -> int:
        """How many features may join at once, given the size of the support.

        About as many as it has, or as many as cost no more than the pass over the data that the next choice costs
        (k new columns cost n m k fast operations, a pass reads n p numbers), but always enough to finish soon.
        """
        balanced = _PASS * self.member.size // max(self.features.size, 1)
        return max(min(max(self.first, support), balanced), support // 2, 10)

    def grow(self, new: np.ndarray) -> None:
        """Let features join the working set; costs one matrix product of old and new columns."""
        m, total = self.features.size, self.features.size + new.size
        if total > self._scale.size:
            self._allocate(max(total, min(2 * self._scale.size, self.member.size)))
        if isinstance(self.X, SparseColumns):
            self._grow_sparse(new, m, total)
            return
        joined = self._columns[:, m:total]
        gather_normalized(self.X, new, self.root_weights, self.fit_intercept, joined, self._scale[m:total])
        if m:
            cross = joined.T @ self._columns[:, :m]
            self._gram[m:total, :m] = cross
            self._gram[:m, m:total] = cross.T
        self._gram[m:total, m:total] = joined.T @ joined
        self.features = np.concatenate([self.features, new])
        self.member[new] = True

    def _grow_sparse(self, new: np.ndarray, m: int, total: int) -> None:
        joined, self._scale[m:total] = gather_sparse(self.X, new, self.root_weights, self.fit_intercept)
        self._stored = append_columns(self._stored, joined) if m else joined
        self._gram[:total, m:total] = cross_products(self._stored, joined)
        self._gram[m:total, :m] = self._gram[:m, m:total].T
        self.features = np.concatenate([self.features, new])
        self.member[new] = True

    def promote(self) -> bool:
        """Rebuild the model in double precision; False if it is already."""
        if self.dtype == np.float64:
            return False
        features, self.features = self.features, np.empty(0, dtype=np.int64)
        self.dtype = np.float64
        self._allocate(self._scale.size)
        self._spectra = Spectra()
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

        Without a conjugate of the penalty, the gap is what one step of each coordinate could still gain.

        Coordinate descent finds the signs, Newton steps on the support find the values: epochs are spent until they
        have cost as much as one Newton step, then one is taken.

        Parameters
        ----------
        penalty : NamedTuple
            The penalty's record.
        coef : ndarray of shape (m,)
            The coefficients, updated in place.
        slope : ndarray of shape (m,)
            Minus the gradient of the loss at `coef`, exact; updated in place by the model.
        residual : ndarray of shape (n,)
            The model's residual at `coef`.
        target : float
            The duality gap that is small enough; a tenth of the gap at the start is, too.
        max_epochs : int
            The largest number of epochs.

        Returns
        -------
        float
            The model's duality gap.
        """
        gram, scale, features = self._gram, self._scale[: self.features.size], self.features
        if structure(penalty) != "separable":
            problem = (gram, scale, coef, slope, residual @ residual, penalty, features, target, max_epochs)
            if structure(penalty) == "groups":
                return block_descent(*problem, spectra=self._spectra)
            return proximal_descent(*problem)
        divisor = np.where(scale > 0.0, scale, 1.0)
        start_coef, start_slope, start_norm = coef.copy(), slope.copy(), residual @ residual
        # The slope of a constant column is rounding, and it has no length to measure it by.
        unit_slope = np.where(scale > 0.0, slope / divisor, 0.0)

        convex = has_conjugate(penalty)
        measure = model_gap if convex else stationarity

        def gap() -> float:
            np.multiply(unit_slope, divisor, out=slope)
            # ||r - B d||^2 without forming it: the change d times the sum of the slopes before and after.
            norm = max(start_norm - (coef - start_coef) @ (start_slope + slope), 0.0)
            return measure(penalty, coef, slope, scale, features, norm)

        exact = convex and equation_coordinates(penalty, features).any()
        target = max(target, _REDUCTION * gap())
        n_epochs = 0
        while True:
            support = int(np.count_nonzero(coef))
            # A Newton step costs about support^3 / 3 fast operations, an epoch support * m slow ones.
            batch = int(min(max(20, support * support // (15 * features.size)), 50))
            moved = gram_epochs(gram, scale, coef, unit_slope, penalty, features, batch)
            n_epochs += batch
            current = gap()
            if (moved == 0 and not exact) or n_epochs >= max_epochs:
                return current
            # Where a Newton step costs no more than a pass over the data it is worth taking at the end, too: the
            # support polish that takes gaps from the tolerance to rounding. Slopes that must vanish need it always.
            done = current <= target
            if done and not exact:
                if support**3 <= 20 * self.root_weights.size * self.member.size:
                    before = coef.copy(), slope.copy()
                    if newton_step(gram, scale, coef, unit_slope, penalty, features):
                        polished = gap()
                        if no_worse(polished, current, coef, scale):
                            return polished
                        coef[:], slope[:] = before  # a step that a kink cut lowers the objective, not always the gap
                return current
            if newton_descent(gram, scale, coef, unit_slope, penalty, features):
                current = gap()
            if done or current <= target:
                return current
