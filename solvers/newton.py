"""A Newton step on the support: the exact solution for the current signs, kept within their pieces."""

from typing import Any

import numpy as np
import scipy.linalg

from .certificate import slope_rounding
from .kernel import kernel
from .penalties.functions import smooth_piece
from .penalties.vector_functions import penalty_value

STILL, CUT, FULL = range(3)
_PIVOT = 4.0  # times the rounding of a pivot: columns this close to dependent count as dependent
_CUTS = 1000  # steps times support: where a Cholesky factor is cheap, be persistent


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


@kernel
def _image(gram, free, change, out):
    """The product of the Gram matrix with a vector that is zero but at the free coordinates, row by row."""
    for a in range(free.size):
        row, factor = gram[free[a]], change[a]
        if factor != 0.0:
            for i in range(out.size):
                out[i] += factor * row[i]


def newton_step(
    gram: np.ndarray, scale: np.ndarray, coef: np.ndarray, slope: np.ndarray, penalty: Any, features: np.ndarray
) -> int:
    """Move to the minimum of the model over the support, or as far towards it as descends.

    With the signs fixed the penalty is quadratic, so the minimum is one Cholesky solve away. Where it lies beyond
    kinks, the coordinates concerned stop there; if that does not descend, the step is halved down to the first kink.
    Where the columns of the support are dependent there is no unique minimum; then the step follows a null direction
    of the model downhill to the first kink, which takes a column out of the support. Where a concave penalty outweighs
    the curvature of the loss there is none either; then it follows a direction of negative curvature downhill, as far
    beyond the ends of smooth pieces as that descends.

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
    int
        `FULL` if the minimum over the support was reached, `CUT` if a kink cut the step, `STILL` if nothing moved.
    """
    m = coef.size
    lower, upper, slopes, curvatures = np.empty((4, m))
    free = _free_coordinates(penalty, coef, features, lower, upper, slopes, curvatures)
    # In units of the unit columns from here on. A zero column has no minimum of its own.
    keep = scale[free] > 0.0
    kept, free = np.flatnonzero(keep), free[keep]
    unit = scale[free]
    bottom, top = lower[kept], upper[kept]
    old, lower, upper = coef[free] * unit, bottom * unit, top * unit
    curvatures = curvatures[kept] / unit**2
    gradient = slope[free] - slopes[kept] / unit

    rounding_of_slopes = slope_rounding(coef, scale)
    held = False
    while True:
        if free.size == 0:
            return STILL
        step, dependent = _direction(gram, free, curvatures, gradient)
        level = hold = False
        if dependent >= 0:
            descent = gradient @ step
            # Where the objective is level along a null direction, rounding must not choose the way: the dependent
            # coefficient shrinks. While that is the sum of large slopes, all but this coefficient are settled first.
            level = bool(abs(descent) <= rounding_of_slopes * np.abs(step).sum())
            hold = not level and bool(
                abs(descent) <= np.sqrt(np.finfo(gram.dtype).eps) * (np.abs(gradient) @ np.abs(step))
            )
            if (old[dependent] > 0.0) if level else (descent < 0.0):
                step = -step
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = np.where(step < 0.0, (lower - old) / step, np.where(step > 0.0, (upper - old) / step, np.inf))
        first = reach.min()
        if dependent < 0 or (np.isfinite(first) and not hold):
            break
        # Unpenalised columns that depend on each other: any solution will do, the last one stays as it is.
        held |= np.isfinite(first)
        rest = np.arange(free.size) != dependent
        free, unit, old, lower, upper = free[rest], unit[rest], old[rest], lower[rest], upper[rest]
        curvatures, gradient, bottom, top = curvatures[rest], gradient[rest], bottom[rest], top[rest]

    chosen = features[free]
    start_penalty = penalty_value(penalty, coef[free], chosen)

    def coefficients(new: np.ndarray) -> np.ndarray:
        """In their own units. A kink is where the penalty says it is: there and back, its units would round."""
        return np.where(new == lower, bottom, np.where(new == upper, top, new / unit))

    def image_of(change: np.ndarray) -> np.ndarray:
        image = np.zeros(m)
        _image(gram, free, change, image)
        return image

    def evaluate(new: np.ndarray) -> tuple[float, np.ndarray]:
        """The change of the objective beyond its rounding, and that of the slopes."""
        change = new - old
        image = image_of(change)
        model = 0.5 * change @ image[free] - slope[free] @ change
        rounding = np.finfo(gram.dtype).eps * (abs(start_penalty) + np.abs(gradient) @ np.abs(change))
        if level:
            rounding += rounding_of_slopes * np.abs(change).sum()
        return model + penalty_value(penalty, coefficients(new), chosen) - start_penalty - rounding, image

    def move(t: float) -> np.ndarray:
        return np.where(reach <= t, np.where(step < 0.0, lower, upper), old + t * step)

    t, shortest = 1.0, first
    if dependent >= 0:
        # Nearly null: the direction may have a minimum of its own before the first kink.
        bend = step @ image_of(step)[free] + curvatures @ step**2
        t = shortest = min(first, gradient @ step / bend) if bend > 0.0 and not level else first
        if np.any(curvatures < 0.0):
            # Downwards on and on: the first end of a piece may be no kink, and a rounding away.
            t = max(t, reach[np.isfinite(reach)].max())
    new = move(t)
    change, image = evaluate(new)
    while change > 0.0 and t > shortest:  # fewer kinks at a time: each try costs far less than a new factor
        t = max(0.5 * t, shortest)
        new = move(t)
        change, image = evaluate(new)
    if not change <= 0.0 or not np.any(new != old):
        return STILL
    coef[free] = coefficients(new)
    slope -= image
    return FULL if dependent < 0 and first >= 1.0 and not held else CUT


def _direction(
    gram: np.ndarray, free: np.ndarray, curvatures: np.ndarray, gradient: np.ndarray
) -> tuple[np.ndarray, int]:
    """The Newton direction and -1; or a null direction and the index of a dependent column, whose entry is one."""
    size = free.size
    matrix = np.zeros((size, size), dtype=gram.dtype)
    _submatrix(gram, free, curvatures, matrix)
    potrf, potrs, trtrs = scipy.linalg.get_lapack_funcs(("potrf", "potrs", "trtrs"), (matrix,))
    factor, failed = potrf(matrix.T, lower=0, overwrite_a=1, clean=0)
    # A pivot is the squared distance of a unit column to the span of those before it: the quadratic form of the
    # combination that remains, this column less its expansion in those. The larger the entries of that, the more do
    # the roundings of the matrix weigh in it.
    pivots = np.diag(factor)[: failed - 1 if failed > 0 else size] ** 2
    eps = float(np.finfo(gram.dtype).eps)
    dependent = failed - 1
    for k in np.flatnonzero(pivots <= max(np.sqrt(eps), _PIVOT * eps * size)):
        unit = np.zeros(k + 1, dtype=gram.dtype)
        unit[k] = factor[k, k]
        combination, _ = trtrs(factor[: k + 1, : k + 1], unit, lower=0)
        if pivots[k] <= _PIVOT * eps * max(size, float(np.abs(combination).sum()) ** 2):
            dependent = int(k)
            break
    if dependent < 0:
        solution, _ = potrs(factor, gradient.astype(gram.dtype), lower=0)
        return solution.astype(float), -1
    step = np.zeros(size)
    step[dependent] = 1.0
    if dependent > 0:
        expansion = np.ascontiguousarray(gram[free[dependent]][free[:dependent]])
        solution, _ = potrs(factor[:dependent, :dependent], expansion, lower=0)
        step[:dependent] = -solution
    return step, dependent


def newton_descent(
    gram: np.ndarray, scale: np.ndarray, coef: np.ndarray, slope: np.ndarray, penalty: Any, features: np.ndarray
) -> bool:
    """Newton steps until one is not cut: the minimum over a support that only shrinks.

    Every cut takes a coordinate to its kink, where it stays, so the steps are few and end at the minimum over a face;
    the idea of the inner loop of Lawson and Hanson (1974) for non-negative least squares.

    Parameters
    ----------
    gram, scale, coef, slope : ndarray
        As for :func:`newton_step`; the last two are updated in place.
    penalty : NamedTuple
        The penalty's record.
    features : ndarray of shape (m,), int64
        The penalty's index of each coordinate.

    Returns
    -------
    bool
        Whether the coefficients moved.
    """
    moved = False
    for _ in range(max(2, _CUTS // max(int(np.count_nonzero(coef)), 1))):
        outcome = newton_step(gram, scale, coef, slope, penalty, features)
        moved |= outcome != STILL
        if outcome != CUT:
            break
    return moved
