"""Sparse multinomial regression: a composite problem whose loss couples several responses."""

from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse

from .columns import SparseColumns, correlate, shape
from .composite import Composite
from .gram_model import GramModel
from .losses.functions import curvature, loss_value, negative_gradient
from .losses.multinomial import Multinomial
from .responses import Responses
from .unit_columns import gather_normalized

_CONSTANT = 1e-13  # share of a column's squared norm below which it is constant up to rounding
_NEWTON_STEPS = 50


class MultinomialModel(GramModel):
    r"""The quadratic model of a multinomial loss on a working set of coefficients, as a Gram matrix.

    The coefficient of feature j in class k has index ``k * n_features + j``. The Hessian of a row,
    :math:`\operatorname{diag}(p) - p p^T` with its probabilities p, couples the classes.

    Parameters
    ----------
    X : Responses
        The design, once for every class.
    curvature : ndarray of shape (n_classes * n_samples,)
        Weights times probabilities.
    weights : ndarray of shape (n_samples,)
        The sample weights.
    fit_intercept : bool
        Whether the intercepts of all classes are eliminated.
    """

    def __init__(self, X: Responses, curvature: np.ndarray, weights: np.ndarray, fit_intercept: bool):
        super().__init__(X, curvature, fit_intercept, shape(X)[1])
        self.dtype = np.float64
        self._allocate(0)
        self._mass = curvature.reshape(X.n_responses, -1)
        self._share = np.divide(self._mass, weights, out=np.zeros_like(self._mass), where=weights > 0.0)
        # How the intercepts bend the loss, and the inverse of that; adding the same to all of them bends nothing.
        bend = np.diag(self._mass.sum(axis=1)) - self._mass @ self._share.T
        self._inverse = np.linalg.pinv(bend, rcond=1e-10, hermitian=True)

    def _allocate(self, capacity: int) -> None:
        """The Gram matrix only: products of columns need no columns of unit norm."""
        m = self.features.size
        gram, scale = np.empty((capacity, capacity)), np.empty(capacity)
        if m:
            gram[:m, :m], scale[:m] = self._gram[:m, :m], self._scale[:m]
        self._gram, self._scale = gram, scale

    def promote(self) -> bool:
        """Nothing to gain: the model is in double precision already."""
        return False

    def _parts(self, indices: np.ndarray) -> list[tuple[np.ndarray, Any]]:
        """For every class, where its coefficients stand among some, and their columns of the design."""
        design, p = self.X.design, shape(self.X.design)[1]
        if isinstance(design, SparseColumns):
            design = scipy.sparse.csc_array((design.data, design.indices, design.indptr), shape=shape(design))
        places = [np.flatnonzero(indices // p == k) for k in range(self.X.n_responses)]
        return [(place, design[:, indices[place] % p].astype(np.float64)) for place in places]

    def _products(self, rows: list, columns: list) -> np.ndarray:
        """Entries of the Hessian between two lists of coefficients, as :meth:`_parts` gives them."""
        out = np.zeros((sum(place.size for place, _ in rows), sum(place.size for place, _ in columns)))
        for k, (above, left) in enumerate(rows):
            for m, (beside, right) in enumerate(columns):
                if above.size and beside.size:
                    product = _weighted(left, self._mass[k] * ((k == m) - self._share[m])).T @ right
                    out[np.ix_(above, beside)] = product.toarray() if scipy.sparse.issparse(product) else product
        return out

    def _against_intercepts(self, parts: list) -> np.ndarray:
        """Entries of the Hessian between the intercepts and some coefficients."""
        ones = [(np.array([k]), np.ones((self._mass.shape[1], 1))) for k in range(self.X.n_responses)]
        return self._products(ones, parts)

    def grow(self, new: np.ndarray) -> None:
        """Let coefficients join the working set."""
        m, total = self.features.size, self.features.size + new.size
        if total > self._scale.size:
            self._allocate(max(total, min(2 * self._scale.size, self.member.size)))
        self.features = np.concatenate([self.features, new])
        self.member[new] = True
        joined, everything = self._parts(new), self._parts(self.features)
        products = self._products(joined, everything)
        raw = np.diag(products[:, m:]).copy()
        if self.fit_intercept:
            sides = self._against_intercepts(joined), self._against_intercepts(everything)
            products -= sides[0].T @ self._inverse @ sides[1]
        squares = np.diag(products[:, m:])
        self._scale[m:total] = np.sqrt(np.where(squares > _CONSTANT * raw, squares, 0.0))
        unit = np.divide(1.0, self.scale, out=np.zeros(total), where=self.scale > 0.0)
        self._gram[m:total, :total] = products * unit[m:, None] * unit
        self._gram[:m, m:total] = self._gram[m:total, :m].T


def _weighted(columns: Any, weights: np.ndarray) -> Any:
    """The rows of some columns times weights."""
    if scipy.sparse.issparse(columns):
        return scipy.sparse.diags_array(weights) @ columns
    return columns * weights[:, None]


class MultinomialComposite(Composite):
    r"""A multinomial problem between solves, :math:`\min_{W, b} f(X W + 1 b^T) + \sum_k p(w_k)`.

    The coefficients of all classes are one vector, class after class, and so are predictors and dual points; the
    penalty is a :class:`~sparsemodels.solvers.penalties.repeated.Repeated` one.

    Parameters
    ----------
    X : ndarray or SparseColumns of shape (n_samples, n_features)
        The design.
    loss : Multinomial
        The loss.
    fit_intercept : bool
        Whether every class has an unpenalised intercept.
    """

    def __init__(self, X: Any, loss: Multinomial, *, fit_intercept: bool):
        super().__init__(Responses(X, loss.n_classes), loss, fit_intercept=fit_intercept)
        self._lazy = False

    def refresh_all(self) -> None:
        """Bring the slopes of all features of all classes up to date."""
        parts = self.theta.reshape(self.X.n_responses, -1)
        self.slope = np.concatenate([correlate(self.X.design, part) for part in parts])
        self._computed_at[:] = self._travelled

    def balance(self, linear: np.ndarray) -> None:
        """From the predictors without intercepts: the best intercepts, by Newton's method, and the gradient.

        The intercepts sum to zero: adding the same number to all changes no probability.
        """
        count, weights = self.X.n_responses, self.loss.weights
        intercept = np.zeros(count) + self.intercept
        self.linear = linear
        self.predictor = linear + np.repeat(intercept, weights.size)
        self.theta = negative_gradient(self.loss, self.predictor)
        for _ in range(_NEWTON_STEPS if self.fit_intercept else 0):
            total = self.theta.reshape(count, -1).sum(axis=1)
            if np.abs(total).max() <= 1e-15 * np.abs(self.theta).sum():
                break
            mass = curvature(self.loss, self.predictor).reshape(count, -1)
            share = np.divide(mass, weights, out=np.zeros_like(mass), where=weights > 0.0)
            bend = np.diag(mass.sum(axis=1)) - mass @ share.T
            # A class that is all but certain bends next to nothing: no step is longer than its gradient allows.
            shift = np.linalg.solve(bend + 1e-12 * np.eye(count) + 1.0 / count, total)
            shift -= shift.mean()
            value, step = loss_value(self.loss, self.predictor), 1.0
            while True:
                predictor = linear + np.repeat(intercept + step * shift, weights.size)
                theta = negative_gradient(self.loss, predictor)
                if loss_value(self.loss, predictor) <= value * (1.0 + 1e-15) or step < 1e-6:
                    break
                step *= 0.5
            if not np.abs(theta.reshape(count, -1).sum(axis=1)).max() < np.abs(total).max():
                break
            intercept, self.predictor, self.theta = intercept + step * shift, predictor, theta
        self.intercept = intercept

    def _dual_point(self, penalty: Any, equations: Any) -> tuple[np.ndarray, np.ndarray]:
        """A dual direction and its slopes, orthogonal to the columns whose slope must vanish.

        Every class is projected in the same way, so that the dual variables of a sample still sum to zero.
        """
        count = self.X.n_responses
        active = (equations > 0) & (self.coef != 0.0) | (equations == 2)
        columns = np.flatnonzero(active.reshape(count, -1).any(axis=0))
        if columns.size == 0:
            return self.theta, self.slope
        root = np.sqrt(self.loss.weights)
        if self._projection is None or self._projection[0] != columns.tobytes():
            unit = np.empty((root.size, columns.size), order="F")
            gather_normalized(self.X.design, columns, root, self.fit_intercept, unit, np.empty(columns.size))
            q, r, _ = scipy.linalg.qr(unit, mode="economic", pivoting=True, overwrite_a=True)
            diagonal = np.abs(np.diag(r))
            self._projection = columns.tobytes(), q[:, diagonal > 1e-11 * max(diagonal.max(), 1e-300)]
        basis = self._projection[1]
        theta = self.theta.reshape(count, -1)
        residual = np.divide(theta, root, out=np.zeros_like(theta), where=root > 0.0)
        for _ in range(2):  # twice is enough: orthogonal to working precision
            residual -= (residual @ basis) @ basis.T
        dual = residual * root
        slope = np.stack([correlate(self.X.design, part) for part in dual])
        slope[:, columns] = 0.0
        return dual.ravel(), slope.ravel()

    def _build(self, kind: Any, members: np.ndarray | None) -> MultinomialModel:
        weights = curvature(self.loss, self.predictor)
        model = MultinomialModel(self.X, weights, self.loss.weights, self.fit_intercept)
        if members is not None and members.size:
            model.grow(members)
        return model
