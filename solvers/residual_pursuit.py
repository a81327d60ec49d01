r"""Greedy pursuit of many signals on their residuals, all signals of a block one step at a time.

Without a Gram matrix every step needs the inner products of the atoms with something that only the step knows: the
residual r, or for least squares the new direction q. For a block of signals these are the rows of a matrix, and one
matrix product with the dictionary serves them all. Unknown entries are zero in every residual and every direction,
so they need no further thought but in the norms of the atoms: :math:`\|d_a\|^2 = \sum_{j \text{ known}} d_{aj}^2`, a
matrix product again.
"""

from typing import Any

import numpy as np

from .coders import OLS, OMP, Dictionary
from .gram_pursuit import STRETCH, find_peaks, locate, score_atoms, smallest_pivot
from .kernel import kernel
from .refit_quality import back_substitute, prove, step_to_boundary
from .row_blocks import map_blocks

_FAST = {"contract", "reassoc", "nsz", "arcp"}
_BLOCK_BYTES = 1 << 23


@kernel(fastmath=_FAST)
def _dot(left, right):
    total = 0.0
    for j in range(left.size):
        total += left[j] * right[j]
    return total


@kernel(fastmath=_FAST)
def _orthogonalise(atom, known, directions, t, triangle):
    """Direction t from the known entries of an atom: its part outside the directions before; twice is enough."""
    row = directions[t]
    for j in range(row.size):
        row[j] = atom[j] if known.size == 0 or known[j] else 0.0
    square = _dot(row, row)
    triangle[: t + 1, t] = 0.0
    for _ in range(2):
        for s in range(t):
            part = _dot(directions[s], row)
            triangle[s, t] += part
            for j in range(row.size):
                row[j] -= part * directions[s, j]
    left = _dot(row, row)
    triangle[t, t] = np.sqrt(left)
    if left > 0.0:
        for j in range(row.size):
            row[j] /= triangle[t, t]
    return square, left


@kernel
def _drop_and_refit(
    signal, known, atoms, support, size, first, coef, target, directions, triangle, y, lengths, taken
):  # fmt: skip
    """Drop the atoms whose coefficients reach zero until the refit of the others is positive; the new support size."""
    while first >= 0:
        size -= 1
        for t in range(first, size):
            support[t], coef[t], lengths[t] = support[t + 1], coef[t + 1], lengths[t + 1]
        for t in range(size):
            _orthogonalise(atoms[support[t]], known, directions, t, triangle)
            y[t] = _dot(directions[t], signal)
        back_substitute(triangle, y, size, target)
        first = step_to_boundary(target, size, coef)
    # What left may come back, and what depended on it may be chosen.
    taken[:] = False
    for t in range(size):
        taken[support[t]] = True
    return size


@kernel(fastmath=_FAST)
def _begin_least_squares(atoms, inverse, directions, size, residual, alpha, outside):
    """Correlations and squared norms outside the span from scratch, for atoms scaled to norm one."""
    for a in range(alpha.size):
        alpha[a] = _dot(atoms[a], residual) * inverse[a]
        total = 1.0
        for t in range(size):
            total -= (_dot(atoms[a], directions[t]) * inverse[a]) ** 2
        outside[a] = total


@kernel(fastmath=_FAST)
def _take_direction(products, inverse, coefficient, alpha, outside):
    """Take a direction out of scaled correlations and norms, given its inner products with the atoms."""
    factor = coefficient[0]
    for a in range(alpha.size):
        part = products[a] * inverse[a]
        alpha[a] -= factor * part
        outside[a] -= part * part


@kernel(fastmath=_FAST)
def _scale(products, inverse, alpha):
    for a in range(alpha.size):
        alpha[a] = products[a] * inverse[a]


@kernel
def advance(
    signals, known, masked, atoms, products, inverse, active, moving, goals, limits, least_squares, positive, normalize,
    dependent, precision, size, n_iter, support, coef, y, directions, triangle, lengths, residual, alpha, outside,
    taken, score, bits
):  # fmt: skip
    """One step of every active signal: take in the products, choose an atom, refit, say what to multiply next.

    `products` are those of `moving` with the atoms, one row for an active signal: of its residual, or (least squares,
    from the second step on) of its last direction. Signals that are done leave `active`; the number of the others is
    returned.
    """
    n_active, width = 0, support.shape[1] - 1
    floor = dependent * dependent
    least = np.full(1, floor, dtype=atoms.dtype)
    factor = np.empty(1, dtype=atoms.dtype)
    peak_bits = np.zeros((score.size + STRETCH - 1) // STRETCH, dtype=bits.dtype)
    peaks = peak_bits.view(atoms.dtype)
    best_bits = np.zeros(1, dtype=bits.dtype)
    best_score = best_bits.view(atoms.dtype)
    target = np.empty(width + 1)
    everything = np.empty(0, dtype=np.bool_)
    one_row = inverse.shape[0] == 1
    for place in range(active.size):
        i = active[place]
        mask = known[i] if masked else everything
        scales = inverse[0 if one_row else i]
        row = products[place]
        if least_squares:
            row = alpha[i]
            t = size[i] - 1
            if t >= 0:
                factor[0] = y[i, t]
                _take_direction(products[place], scales, factor, row, outside[i])
            else:
                _scale(products[place], scales, row)
                outside[i, :] = 1.0
        elif normalize:
            _scale(products[place], scales, row)
        score_atoms(row, outside[i], least, least_squares, positive, score)
        rounding = limits[i]
        chosen, passed = False, 0
        while not chosen:
            best_bits[0] = find_peaks(bits, peak_bits)
            best = np.float64(best_score[0])
            if least_squares:
                enough, tie = rounding * rounding, best - 32.0 * precision * best - rounding * np.sqrt(best)
            elif normalize:
                enough, tie = rounding, best - 0.5 * rounding
            else:
                enough, tie = 0.0, best - 16.0 * precision * best
            if best <= enough:
                break
            atom = locate(score, peaks, max(tie, 0.5 * best))
            t = size[i]
            square, pivot = 1.0, 0.0
            if not taken[i, atom]:
                square, pivot = _orthogonalise(atoms[atom], mask, directions[i], t, triangle[i])
            small = rounding if normalize else rounding * np.sqrt(square)
            if pivot <= floor * square or abs(np.float64(row[atom])) <= small:
                taken[i, atom] = True
                score[atom] = 0.0
                passed += 1
                if passed > 10 * width + 100:
                    break
                continue
            chosen = True
            support[i, t], taken[i, atom] = atom, True
            lengths[i, t] = np.sqrt(square)
            y[i, t] = _dot(directions[i, t], residual[i])
            size[i] += 1
            n_iter[i] += 1
        if not chosen:
            continue
        dropped = False
        if positive:
            coef[i, size[i] - 1] = 0.0
            back_substitute(triangle[i], y[i], size[i], target)
            first = step_to_boundary(target, size[i], coef[i])
            if first >= 0:
                dropped = True
                size[i] = _drop_and_refit(
                    signals[i], mask, atoms, support[i], size[i], first, coef[i], target, directions[i], triangle[i],
                    y[i], lengths[i], taken[i],
                )  # fmt: skip
                residual[i, :] = signals[i]
                for t in range(size[i]):
                    residual[i] -= y[i, t] * directions[i, t]
        if not dropped:
            residual[i] -= y[i, size[i] - 1] * directions[i, size[i] - 1]
        left = _dot(residual[i], residual[i])
        if left <= goals[i] or size[i] == width or n_iter[i] > 4 * width + 16:
            continue
        active[n_active] = i
        if not least_squares:
            moving[n_active, :] = residual[i]
        elif dropped:
            _begin_least_squares(atoms, scales, directions[i], size[i], residual[i], alpha[i], outside[i])
            moving[n_active, :] = 0.0
        else:
            moving[n_active, :] = directions[i, size[i] - 1]
        n_active += 1
    return n_active


@kernel
def prove_all(
    signals, known, masked, atoms, precision, lengths_of_signals, units, size, support, coef, y, triangle, lengths,
    positive, indices, values, squared, certificate
):  # fmt: skip
    """The coefficients of the last refits, and their proofs."""
    width, n_features = support.shape[1], signals.shape[1]
    correction, gradient, residual = np.empty(width), np.empty(width), np.empty(n_features)
    ones, everything = np.ones(width), np.empty(0, dtype=np.bool_)
    for i in range(signals.shape[0]):
        if size[i] == 0:
            squared[i], certificate[i] = lengths_of_signals[i] ** 2, 0.0
            continue
        if not positive:
            back_substitute(triangle[i], y[i], size[i], coef[i])
        for t in range(size[i]):
            coef[i, t] *= units[i]
            indices[i, t] = support[i, t]
        squared[i], certificate[i] = prove(
            signals[i], known[i] if masked else everything, atoms, support[i], size[i], lengths[i], triangle[i], ones,
            lengths_of_signals[i], precision, coef[i], values[i], residual, gradient, correction,
        )  # fmt: skip
        if positive:
            for t in range(size[i]):
                values[i, t] = max(values[i, t], 0.0)


def code_on_residuals(
    coder: OMP | OLS, X: np.ndarray, dictionary: Dictionary, known: np.ndarray | None, rows: Any, n_jobs: int | None
) -> None:
    """Code signals without a Gram matrix.

    Parameters
    ----------
    coder : OMP or OLS
        The rule of selection and when to stop.
    X : ndarray of shape (n_signals, n_features)
        The signals, zero where unknown.
    dictionary : Dictionary
        The atoms.
    known : ndarray of shape (n_signals, n_features), bool, or None
        Which entries of the signals are known.
    rows : record of arrays
        Where the answers go: indices, values, counts, squared, certificate, n_iter.
    n_jobs : int, optional
        Threads over blocks of signals.
    """
    atoms, norms = dictionary.atoms, dictionary.norms
    dtype, (n_atoms, n_features) = atoms.dtype, atoms.shape
    width = rows.indices.shape[1]
    precision, least_squares = float(np.finfo(dtype).eps), isinstance(coder, OLS)
    normalize = coder.normalize if isinstance(coder, OMP) else True
    squared_atoms = np.square(atoms) if known is not None else np.empty((0, 0))
    inverse_norms = _inverse(norms, dtype)[None, :]
    bytes_a_signal = 8 * (width * n_features + (5 if least_squares else 2) * n_atoms)
    block = min(max(_BLOCK_BYTES // bytes_a_signal, 16), 256)

    def work(start: int, stop: int) -> None:
        n = stop - start
        # In units of about the length of the signal, a power of two, so that no square under- or overflows.
        signals = X[start:stop].astype(np.float64)
        total = np.einsum("ij,ij->i", signals, signals)
        lengths_of_signals = np.sqrt(total)
        units = np.ldexp(1.0, np.frexp(lengths_of_signals)[1])
        signals /= units[:, None]
        mask = np.empty((0, 0), dtype=bool) if known is None else known[start:stop]
        inverse = inverse_norms
        if known is not None:
            inverse = _inverse(np.sqrt(np.maximum(mask.astype(dtype) @ squared_atoms.T, 0.0)), dtype)
        limits = 16.0 * precision * lengths_of_signals / units
        # No rounding, of the residual or of the coefficients, may carry a signal over its bound.
        goals = coder.max_squared_residual / units**2
        goals -= 8.0 * np.finfo(np.float64).eps * np.sqrt(goals) + (2.0 * precision) ** 2
        goals = np.maximum(goals, limits**2)
        size, n_iter = rows.counts[start:stop], rows.n_iter[start:stop]
        size[:] = n_iter[:] = 0
        support, triangle = np.empty((n, width + 1), dtype=np.int64), np.empty((n, width + 1, width + 1))
        coef, y, lengths = np.empty((n, width + 1)), np.empty((n, width + 1)), np.empty((n, width + 1))
        directions, residual = np.empty((n, width + 1, n_features)), signals.copy()
        held = n_atoms if least_squares else 0
        alpha, outside = np.empty((n, held), dtype=dtype), np.empty((n, held), dtype=dtype)
        taken, score = np.zeros((n, n_atoms), dtype=bool), np.empty(n_atoms, dtype=dtype)
        products = np.empty((n, n_atoms), dtype=dtype)
        active = np.flatnonzero((total > coder.max_squared_residual) & (total > 0.0) & np.isfinite(total))
        moving = signals[active].astype(dtype)
        while active.size:
            now = np.dot(moving, atoms.T, out=products[: active.size])
            n_active = advance(
                signals,
                mask,
                known is not None,
                atoms,
                now,
                inverse,
                active,
                moving,
                goals,
                limits,
                least_squares,
                coder.positive,
                normalize,
                smallest_pivot(dtype),
                precision,
                size,
                n_iter,
                support,
                coef,
                y,
                directions,
                triangle,
                lengths,
                residual,
                alpha,
                outside,
                taken,
                score,
                score.view(np.int32 if dtype == np.float32 else np.int64),
            )
            active, moving = active[:n_active], moving[:n_active]
        prove_all(
            X[start:stop], mask, known is not None, atoms, precision, lengths_of_signals, units, size, support, coef, y,
            triangle, lengths, coder.positive, rows.indices[start:stop], rows.values[start:stop],
            rows.squared[start:stop], rows.certificate[start:stop],
        )  # fmt: skip

    map_blocks(X.shape[0], n_jobs, work, block)


def _inverse(norms: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """One over the norms, zero for atoms of norm zero."""
    return np.divide(1.0, norms, out=np.zeros(norms.shape), where=norms > 0.0).astype(dtype)
