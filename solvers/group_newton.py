"""A Newton step over the support of a penalty of the norms of groups, where the norms are smooth."""

from typing import Any

import numpy as np
import scipy.linalg

from .kernel import kernel
from .penalties.functions import smooth_piece, subdifferential_distance
from .penalties.group import length
from .penalties.l1 import level
from .penalties.vector_functions import penalty_value

_TINY = 1e-300  # a slope that is too much only for what is not penalised at all
_PIVOT = 4.0  # times size times eps: the ridge that keeps a Newton direction finite where columns are dependent
_HALVINGS = 10  # of a step, before there is none


@kernel
def _smooth_coordinates(penalty, coef, scale, features, starts, gradient, group):
    """The coordinates around which the penalty is smooth, its gradient there, and the group of each."""
    order = np.arange(coef.size)
    free = np.empty(coef.size, dtype=np.int64)
    count = 0
    for b in range(starts.size - 1):
        first, last = starts[b], starts[b + 1]
        g = penalty.group_of[features[first]]
        size = length(coef, order, first, last)
        unpenalised = subdifferential_distance(penalty.norm, 0.0, _TINY, g) == _TINY
        if size == 0.0 and not unpenalised:
            continue
        _, _, radial, _ = smooth_piece(penalty.norm, size, g)
        for k in range(first, last):
            threshold = level(penalty.l1, features[k])
            if scale[k] > 0.0 and (coef[k] != 0.0 or threshold == 0.0):
                free[count], group[count] = k, b
                gradient[count] = np.sign(coef[k]) * threshold if coef[k] != 0.0 else 0.0
                gradient[count] += radial * coef[k] / size if size > 0.0 else 0.0
                count += 1
    return free[:count]


@kernel
def _hessian(gram, scale, coef, penalty, features, starts, free, group, convexify, ridge, out):
    """The Hessian of the model and the penalty on some coordinates, in units of the unit columns; lower triangle."""
    order = np.arange(coef.size)
    begin, current = 0, -1
    radial, bend, size = 0.0, 0.0, 0.0
    for a in range(free.size):
        row, i = gram[free[a]], free[a]
        for b in range(a + 1):
            out[a, b] = row[free[b]]
        out[a, a] += ridge
        if group[a] != current:
            begin, current = a, group[a]
            size = length(coef, order, starts[current], starts[current + 1])
            _, _, radial, bend = smooth_piece(penalty.norm, size, penalty.group_of[features[i]])
            if convexify:
                bend = max(bend, 0.0)
        if size > 0.0 and (radial > 0.0 or bend != 0.0):
            # Second derivative of phi(|w|): phi'' along w, phi' / |w| across.
            along = (bend - radial / size) * coef[i] / (size * size) / scale[i]
            for b in range(begin, a + 1):
                out[a, b] += along * coef[free[b]] / scale[free[b]]
            out[a, a] += radial / size / (scale[i] * scale[i])


def newton_step_on_groups(
    gram: np.ndarray,
    scale: np.ndarray,
    coef: np.ndarray,
    slope: np.ndarray,
    penalty: Any,
    features: np.ndarray,
    starts: np.ndarray,
) -> bool:
    """A damped Newton step over the support, where norms and absolute values are smooth.

    Coordinates whose sign would change under an L1 part stop at zero. The step is halved until the objective falls.

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
    penalty : GroupNorm
        The penalty's record.
    features : ndarray of shape (m,), int64
        The feature of each column, groups contiguous.
    starts : ndarray of shape (n_groups + 1,), int64
        Where each group starts.

    Returns
    -------
    bool
        Whether a step was taken.
    """
    m = coef.size
    gradient, group = np.empty(m), np.empty(m, dtype=np.int64)
    free = _smooth_coordinates(penalty, coef, scale, features, starts, gradient, group)
    if free.size == 0:
        return False
    unit, old, group = scale[free], coef[free], group[: free.size]
    downhill = slope[free] - gradient[: free.size] / unit
    ridge = _PIVOT * free.size * float(np.finfo(gram.dtype).eps)
    matrix = np.zeros((free.size, free.size), dtype=gram.dtype)
    potrf, potrs = scipy.linalg.get_lapack_funcs(("potrf", "potrs"), (matrix,))
    for convexify in (False, True):
        matrix[:] = 0.0
        _hessian(gram, scale, coef, penalty, features, starts, free, group, convexify, ridge, matrix)
        factor, failed = potrf(matrix.T, lower=0, overwrite_a=1, clean=0)
        if failed == 0:
            break
    else:
        return False
    direction = potrs(factor, downhill.astype(gram.dtype), lower=0)[0].astype(float) / unit
    kinked = penalty.l1.alpha * penalty.l1.weights[features[free]] > 0.0
    before = penalty_value(penalty, coef, features)
    candidate = coef.copy()
    step = 1.0
    for _ in range(_HALVINGS):
        new = old + step * direction
        new[kinked & (new * old < 0.0)] = 0.0
        change = (new - old) * unit
        full = np.zeros(m, dtype=gram.dtype)
        full[free] = change
        image = (full @ gram[:m, :m]).astype(float)
        candidate[free] = new
        model = 0.5 * change @ image[free] - slope[free] @ change
        rounding = np.finfo(gram.dtype).eps * (before + np.abs(downhill) @ np.abs(change))
        if model + penalty_value(penalty, candidate, features) - before <= rounding:
            coef[free] = new
            slope -= image
            return True
        step *= 0.5
    return False
