"""Small triangular systems of a greedy refit, and the proof of the refit from the signal itself."""

import numpy as np

from .kernel import kernel

_FAST = {"contract", "reassoc", "nsz", "arcp"}


@kernel
def back_substitute(triangle, right, size, out):
    """Solve R z = y for the leading `size` rows of an upper triangle."""
    for t in range(size - 1, -1, -1):
        total = right[t]
        for s in range(t + 1, size):
            total -= triangle[t, s] * out[s]
        out[t] = total / triangle[t, t]


@kernel
def solve_normal_equations(triangle, right, size, out):
    """Solve R'R z = g for the leading `size` rows; `right` is overwritten."""
    for t in range(size):
        total = right[t]
        for s in range(t):
            total -= triangle[s, t] * right[s]
        right[t] = total / triangle[t, t]
    back_substitute(triangle, right, size, out)


@kernel
def step_to_boundary(target, size, coef):
    """Move nonnegative coefficients towards a target until the first of them is zero.

    Returns which one that is, or -1 if the target is positive and reached: the inner step of Lawson and Hanson.
    """
    step, first = 1.0, -1
    for t in range(size):
        if target[t] <= 0.0:
            part = coef[t] / (coef[t] - target[t]) if coef[t] > 0.0 else 0.0
            if first < 0 or part < step:
                step, first = part, t
    for t in range(size):
        coef[t] = target[t] if first < 0 else coef[t] + step * (target[t] - coef[t])
    return first


@kernel(fastmath=_FAST)
def sum_of_squares(row):
    """The squared norm of a row, in float64."""
    total = 0.0
    for j in range(row.size):
        total += np.float64(row[j]) * np.float64(row[j])
    return total


@kernel(fastmath=_FAST)
def squared_residual(signal, known, atoms, support, size, coef, residual):
    """The residual of a code over the known entries (all, if `known` is empty), in float64; its squared norm."""
    for j in range(residual.size):
        residual[j] = signal[j]
    for t in range(size):
        atom, value = support[t], np.float64(coef[t])
        for j in range(residual.size):
            residual[j] -= value * atoms[atom, j]
    if known.size:
        for j in range(residual.size):
            residual[j] = residual[j] if known[j] else 0.0
    return sum_of_squares(residual)


@kernel(fastmath=_FAST)
def refit_violation(atoms, support, size, lengths, residual, gradient):
    """The largest cosine of residual and atom times the norm of the residual; `gradient` keeps the inner products."""
    worst = 0.0
    for t in range(size):
        atom, total = support[t], 0.0
        for j in range(residual.size):
            total += atoms[atom, j] * residual[j]
        gradient[t] = total
        worst = max(worst, abs(total) / lengths[t])
    return worst


@kernel
def prove(
    signal, known, atoms, support, size, lengths, triangle, scales, length, precision, coef, rounded, residual,
    gradient, correction
):  # fmt: skip
    """Round the coefficients of a refit to the precision of the codes, refine them if need be, prove them.

    The normal equations lose digits when atoms are nearly dependent. One step of iterative refinement with the
    residual in float64 brings them back; it is taken only where the certificate asks for it.

    Returns the squared residual norm and the certificate; the coefficients are in `rounded`.
    """
    for t in range(size):
        rounded[t] = coef[t]
    square = squared_residual(signal, known, atoms, support, size, rounded, residual)
    worst = refit_violation(atoms, support, size, lengths, residual, gradient)
    for _ in range(4):
        if worst <= 32.0 * precision * length:
            break
        for t in range(size):
            gradient[t] *= scales[t]
        solve_normal_equations(triangle, gradient, size, correction)
        for t in range(size):
            coef[t] = rounded[t]
            rounded[t] = coef[t] + scales[t] * correction[t]
        new_square = squared_residual(signal, known, atoms, support, size, rounded, residual)
        new_worst = refit_violation(atoms, support, size, lengths, residual, gradient)
        if not new_worst < worst:
            for t in range(size):
                rounded[t] = coef[t]
            break
        square, slow, worst = new_square, new_worst > 0.5 * worst, new_worst
        if slow:
            break
    return square, worst / length
