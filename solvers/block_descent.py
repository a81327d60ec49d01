"""Block coordinate descent on a quadratic model, for norms of disjoint groups of features."""

from typing import Any

import numpy as np

from .certificate import model_gap, stationarity
from .group_newton import newton_step_on_groups
from .group_update import LARGE, Spectra, eigenbasis, stays_zero, update_group
from .kernel import kernel
from .penalties.l1 import L1
from .penalties.vector_functions import equation_coordinates, has_conjugate

_REDUCTION = 0.1  # of the gap, by one model: solving it further is lost where the next one differs
VANISHING = 0.01  # of the target, where slopes must vanish
_POLISH = 3  # Newton steps at the end
_CHECK = 3  # epochs between two gaps


@kernel
def _gram_block(gram, scale, first, last, block, values):
    """The diagonal block of a group in units of the coefficients; of a large one a bound of the largest eigenvalue."""
    size = last - first
    if size > LARGE:
        largest = 0.0
        for i in range(first, last):
            total = 0.0
            for k in range(first, last):
                total += abs(gram[i, k]) * scale[k]
            largest = max(largest, total * scale[i])
        values[:] = largest
        return
    for i in range(size):
        for k in range(size):
            block[i * size + k] = scale[first + i] * gram[first + i, first + k] * scale[first + k]


@kernel
def _subtract_rows(gram, first, changes, size, slope):
    """Subtract the combination of some rows of the Gram matrix from the slopes, four rows at a time."""
    m = slope.size
    k = 0
    while k + 4 <= size:
        a, b, c, d = changes[k], changes[k + 1], changes[k + 2], changes[k + 3]
        row_a, row_b, row_c, row_d = gram[first + k], gram[first + k + 1], gram[first + k + 2], gram[first + k + 3]
        for i in range(m):
            slope[i] -= a * row_a[i] + b * row_b[i] + c * row_c[i] + d * row_d[i]
        k += 4
    while k < size:
        a, row = changes[k], gram[first + k]
        for i in range(m):
            slope[i] -= a * row[i]
        k += 1


@kernel
def block_epochs(
    gram, scale, coef, slope, penalty, features, starts, offsets, blocks, vectors, values, ready, linear, work, n_epochs
):
    """Cyclic block coordinate descent on a quadratic model given by the Gram matrix of its unit columns.

    A group that stays at zero costs O(its size), one that moves a pass over its rows of the Gram matrix.

    Parameters
    ----------
    gram : ndarray of shape (>= m, >= m), C order
        The symmetric Gram matrix of columns divided by their norms, in its first m rows and columns.
    scale : ndarray of shape (m,)
        The norms of the columns; zero for a zero column.
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
    offsets, blocks, vectors, values, ready : ndarray
        The diagonal blocks and their eigenvectors, see :class:`Spectra`; updated in place.
    linear : bool
        Whether the norms are penalised linearly.
    work : ndarray of shape (3, d)
        Room for three groups of the largest size.
    n_epochs : int
        The number of passes; fewer are made if a pass moves nothing.

    Returns
    -------
    int
        The number of groups that moved in the last pass.

    References
    ----------
    Z. Qin, K. Scheinberg and D. Goldfarb, "Efficient block-coordinate descent algorithms for the group lasso",
    Mathematical Programming Computation 5, 2013; J. Yang and T. Hastie, "A fast and scalable pathwise-solver for
    group lasso and elastic net penalized regression via block-coordinate descent", 2024.
    """
    moved = 0
    for _ in range(n_epochs):
        moved = 0
        for b in range(starts.size - 1):
            first, last = starts[b], starts[b + 1]
            # Beyond a kink of a concave penalty there may be a lower minimum, which only the prox finds.
            if linear and stays_zero(penalty, coef, slope, scale, features, first, last):
                continue
            block, basis = blocks[offsets[b] : offsets[b + 1]], vectors[offsets[b] : offsets[b + 1]]
            if not ready[b]:
                _gram_block(gram, scale, first, last, block, values[first:last])
                if last - first <= LARGE:
                    eigenbasis(block, last - first, basis, values[first:last])
                ready[b] = True
            if update_group(
                coef, slope, scale, penalty, features, first, last, block, basis, values[first:last], linear, work
            ):
                moved += 1
                _subtract_rows(gram, first, work[1], last - first, slope)
        if moved == 0:
            break
    return moved


def block_descent(
    gram: np.ndarray,
    scale: np.ndarray,
    coef: np.ndarray,
    slope: np.ndarray,
    loss_norm: float,
    penalty: Any,
    features: np.ndarray,
    target: float,
    max_epochs: int,
    spectra: Spectra | None = None,
) -> float:
    """Minimise a quadratic model plus a norm of disjoint groups: block descent and Newton steps on the support.

    Parameters
    ----------
    gram : ndarray of shape (>= m, >= m)
        The symmetric Gram matrix of unit columns, in its first m rows and columns.
    scale : ndarray of shape (m,)
        The norms of the columns.
    coef : ndarray of shape (m,)
        The coefficients of the original columns, updated in place.
    slope : ndarray of shape (m,)
        Minus the model's gradient with respect to the coefficients, updated in place.
    loss_norm : float
        Twice the model's loss at `coef`.
    penalty : GroupNorm
        The penalty's record.
    features : ndarray of shape (m,), int64
        The feature of each coordinate, groups contiguous.
    target : float
        The duality gap that is small enough; a tenth of the gap at the start is, too.
    max_epochs : int
        The largest number of epochs.
    spectra : Spectra, optional
        What earlier calls found out about the same Gram matrix.

    Returns
    -------
    float
        The model's duality gap; for a penalty without a conjugate, what one step of each group could gain.
    """
    spectra = Spectra() if spectra is None else spectra
    spectra.extend(penalty, features)
    starts = spectra.starts
    divisor = np.where(scale > 0.0, scale, 1.0)
    unit_slope = np.where(scale > 0.0, slope / divisor, 0.0)
    start_coef, start_slope = coef.copy(), slope.copy()
    convex, linear = has_conjugate(penalty), isinstance(penalty.norm, L1)
    measure = model_gap if convex else stationarity
    work = np.empty((3, spectra.largest))

    def gap() -> float:
        np.multiply(unit_slope, divisor, out=slope)
        norm = max(loss_norm - (coef - start_coef) @ (start_slope + slope), 0.0)
        return measure(penalty, coef, slope, scale, features, norm)

    current = gap()
    target = max(target, (_REDUCTION if convex else _REDUCTION**3) * current)
    # The gap of the model underestimates what slopes that must vanish cost the certificate: go further there.
    exact = convex and equation_coordinates(penalty, features).any()
    target *= VANISHING if exact else 1.0
    n_epochs, since_newton = 0, 0
    while (current > target or (exact and n_epochs == 0)) and n_epochs < max_epochs:
        moved = block_epochs(
            gram, scale, coef, unit_slope, penalty, features, starts, spectra.offsets, spectra.blocks, spectra.vectors,
            spectra.values, spectra.ready, linear, work, _CHECK,
        )  # fmt: skip
        n_epochs, since_newton = n_epochs + _CHECK, since_newton + _CHECK
        current = gap()
        if moved == 0 or (current <= target and not exact):
            break
        support = int(np.count_nonzero(coef))
        # A Newton step costs about support^3 / 3 fast operations, an epoch support * m slow ones.
        if exact or since_newton >= min(support * support // (15 * features.size), 50):
            since_newton = 0
            if newton_step_on_groups(gram, scale, coef, unit_slope, penalty, features, starts):
                current = gap()
    if gram.dtype == np.float64:  # small, or asked for the last digits: take the gap from the target to rounding
        for _ in range(_POLISH):
            before = coef.copy(), unit_slope.copy(), current
            if not newton_step_on_groups(gram, scale, coef, unit_slope, penalty, features, starts):
                break
            current = gap()
            if current >= before[2]:
                coef[:], unit_slope[:] = before[:2]
                current = gap()
                break
    return current
