"""A Newton step on the support: the exact solution for the current signs, kept within their pieces."""

from typing import Any

import numpy as np
import scipy.linalg

from .certificate import penalty_value
from .kernel import kernel
from .penalties.functions import smooth_piece


@kernel
def _free_coordinates(penalty, coef, features, lower, upper, slopes, curvatures):
    """The coordinates inside of a smooth piece of the penalty, and the pieces around them."""
    free = np.empty(coef.size, dtype=np.int64)
    count = 0
    for k in range(coef.size):
        low, high, slope, curvature = smooth_piece(penalty, coef[k], features[k])
        if low < coef[k] < high:
            free[count], lower[count], upper[count] = k, low, high
            slopes[count], curvatures[count] = slope, curvature
            count += 1
    return free[:count]


@kernel
def _submatrix(gram, free, diagonal, out):
    """The rows and columns of the free coordinates, lower triangle, plus a diagonal."""
    for a in range(free.size):
        row = gram[free[a]]
        for b in range(a + 1):
            out[a, b] = row[free[b]]
        out[a, a] += diagonal[a]


def newton_step(
    gram: np.ndarray, scale: np.ndarray, coef: np.ndarray, slope: np.ndarray, penalty: Any, features: np.ndarray
) -> bool:
    """Move to the minimum of the model over the support, or as far towards it as descends.

    With the signs fixed the penalty is quadratic, so the minimum is one Cholesky solve away. Where it lies beyond a
    kink, the step is cut there for every coordinate (if that descends) or stops at the first kink. Where the columns
    of the support are dependent there is no unique minimum; then the step follows a null direction of the model
    downhill to the first kink, which takes a column out of the support.

    Parameters
    ----------
    gram : ndarray of shape (>= m, >= m), C order
        The symmetric Gram matrix of unit columns, in its first m rows and columns.
    scale : ndarray of shape (m,)
        The norms of the columns.
    coef : ndarray of shape (m,)
        The coefficients of the original columns, updated in place.
    slope : ndarray of shape (m,)
        Minus the model's gradient with respect to the coefficients of the unit columns, updated in place.
    penalty : NamedTuple
        The penalty's record.
    features : ndarray of shape (m,), int64
        The penalty's index of each coordinate.

    Returns
    -------
    bool
        Whether the coefficients moved.
    """
    m = coef.size
    lower, upper, slopes, curvatures = np.empty((4, m))
    free = _free_coordinates(penalty, coef, features, lower, upper, slopes, curvatures)
    free = free[scale[free] > 0.0]
    size = free.size
    if size == 0:
        return False
    # In units of the unit columns from here on.
    unit = scale[free]
    old, lower, upper = coef[free] * unit, lower[:size] * unit, upper[:size] * unit
    curvatures = curvatures[:size] / unit**2
    gradient = slope[free] - slopes[:size] / unit
    matrix = np.zeros((size, size), dtype=gram.dtype)
    _submatrix(gram, free, curvatures, matrix)
    potrf, potrs = scipy.linalg.get_lapack_funcs(("potrf", "potrs"), (matrix,))
    factor, failed = potrf(matrix.T, lower=0, overwrite_a=1, clean=0)
    if failed > 0:
        # The leading columns are independent, the next one depends on them: minus its expansion, and one.
        step = np.zeros(size)
        step[failed - 1] = 1.0
        if failed > 1:
            leading, row = free[: failed - 1], gram[free[failed - 1]]
            solution, _ = potrs(factor[: failed - 1, : failed - 1], row[leading], lower=0)
            step[: failed - 1] = -solution
        if gradient @ step < 0.0:
            step = -step
    else:
        solution, _ = potrs(factor, gradient.astype(gram.dtype), lower=0)
        step = solution.astype(float)

    chosen = features[free]
    start_penalty = penalty_value(penalty, coef[free], chosen)

    def evaluate(new: np.ndarray) -> tuple[float, np.ndarray]:
        """The change of the objective, and of the slopes."""
        change = np.zeros(m)
        change[free] = new - old
        image = (change.astype(gram.dtype) @ gram[:m, :m]).astype(float)
        model = 0.5 * change @ image - slope @ change
        return model + penalty_value(penalty, new / unit, chosen) - start_penalty, image

    def first_kink() -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(step < 0.0, (lower - old) / step, np.where(step > 0.0, (upper - old) / step, np.inf))
        t = ratio.min()
        if failed > 0:  # along a nearly null direction: its own minimum, if that comes first
            change = np.zeros(m)
            change[free] = step
            bend = change[free] @ (change.astype(gram.dtype) @ gram[:m, :m])[free] + curvatures @ step**2
            t = min(t, gradient @ step / bend) if bend > 0.0 else t
        if not np.isfinite(t):
            return old
        t = t if failed > 0 else min(t, 1.0)
        new = old + t * step
        return np.where(ratio <= t, np.where(step < 0.0, lower, upper), new)

    new = first_kink() if failed > 0 else np.clip(old + step, lower, upper)
    change, image = evaluate(new)
    if change > 0.0 and failed == 0:
        new = first_kink()
        change, image = evaluate(new)
    if change > 0.0 or not np.any(new != old):
        return False
    # Exact bounds and zeros survive the units: a kink is where the penalty says it is.
    moved = np.where(new == lower, lower / unit, np.where(new == upper, upper / unit, new / unit))
    coef[free] = moved
    slope -= image
    return True
