r"""Greedy pursuit of many signals on the Gram matrix of their dictionary.

With the orthonormal directions :math:`q_1, q_2, \dots` of the chosen atoms, keep the rows :math:`v_t = D q_t`, by
modified Gram-Schmidt on rows of the Gram matrix: :math:`v_t = (G_a - \sum_{s<t} v_s[a] \, v_s) / \rho_t` with the pivot
:math:`\rho_t^2 = G_{aa} - \sum_s v_s[a]^2`. The correlations with the residual then follow by
:math:`\alpha \leftarrow \alpha - c_t v_t` with :math:`c_t = \alpha_a / \rho_t`, the squared norms of the atoms outside
the span by :math:`\nu \leftarrow \nu - v_t^2`, the squared residual norm by
:math:`\epsilon \leftarrow \epsilon - c_t^2`, and the triangle of the final refit is :math:`R_{st} = v_s[a_t]`. No step
solves a system, and the last row is never formed.

This is batch orthogonal matching pursuit (Rubinstein, Zibulevsky and Elad, 2008), with the Cholesky factor applied to
rows of the Gram matrix instead of solved with.
"""

import math

import numpy as np

from .kernel import kernel
from .refit_quality import back_substitute, prove, squared_residual, step_to_boundary, sum_of_squares

#: Atoms whose rows are worked on together.
STRETCH = 128
_FAST = {"contract", "reassoc", "nsz", "arcp"}


def smallest_pivot(dtype: np.dtype) -> float:
    """The share of an atom outside the span of others that its Gram matrix can still resolve (it holds squares)."""
    return 1e-3 if dtype == np.float32 else 1e-7


@kernel(fastmath=_FAST)
def score_atoms(alpha, outside, least, least_squares, positive, score):
    r"""What decides : :math:`|\alpha|`, or :math:`\alpha^2 / \nu`; zero where an atom may not be chosen."""
    if least_squares:
        floor = least[0]
        for j in range(score.size):
            score[j] = alpha[j] * alpha[j] / outside[j] if outside[j] > floor else 0.0
    else:
        for j in range(score.size):
            score[j] = abs(alpha[j])
    if positive:
        for j in range(score.size):
            score[j] = score[j] if alpha[j] > 0.0 else 0.0


@kernel
def find_peaks(bits, peaks):
    """The largest score of every stretch of atoms, and of all, as bits.

    Nonnegative floats are ordered as the integers of their bits are, and a maximum of integers goes in vectors while
    one of floats, which must look for NaN, does not.
    """
    best = peaks[0] * 0
    for c in range(peaks.size):
        peak, start = best * 0, c * STRETCH
        if start + STRETCH <= bits.size:
            for j in range(STRETCH):
                peak = max(peak, bits[start + j])
        else:
            for j in range(start, bits.size):
                peak = max(peak, bits[j])
        peaks[c] = peak
        best = max(best, peak)
    return best


@kernel
def locate(score, peaks, least):
    """The first atom whose score is at least `least` > 0; `peaks` are those of the stretches, as floats."""
    c = 0
    while peaks[c] < least:
        c += 1
    atom = c * STRETCH
    while score[atom] < least:
        atom += 1
    return atom


@kernel(fastmath=_FAST)
def _begin_with_four(row, source, w, v0, v1, v2, v3, w0, w1, w2, w3):
    for j in range(row.size):
        row[j] = w * source[j] - (w0 * v0[j] + w1 * v1[j] + w2 * v2[j] + w3 * v3[j])


@kernel(fastmath=_FAST)
def _begin_with_two(row, source, w, v0, v1, w0, w1):
    for j in range(row.size):
        row[j] = w * source[j] - (w0 * v0[j] + w1 * v1[j])


@kernel(fastmath=_FAST)
def _subtract_two(row, v0, v1, w0, w1):
    for j in range(row.size):
        row[j] -= w0 * v0[j] + w1 * v1[j]


@kernel(fastmath=_FAST)
def _subtract_four(row, v0, v1, v2, v3, w0, w1, w2, w3):
    for j in range(row.size):
        row[j] -= w0 * v0[j] + w1 * v1[j] + w2 * v2[j] + w3 * v3[j]


@kernel(fastmath=_FAST)
def _append_direction(
    gram, scale, atom, t, triangle, coefficient, weights, basis, alpha, outside, least, least_squares, score
):  # fmt: skip
    """Form the row v_t of the atom chosen last and take it out of the correlations, the norms outside, the scores."""
    row, source, inverse = basis[t], gram[atom], 1.0 / triangle[t, t]
    for s in range(t):
        weights[s] = triangle[s, t] * inverse
    weights[t] = inverse
    if scale.size:
        weights[t] = inverse * scale[atom]
        w = weights[t]
        for j in range(row.size):
            row[j] = w * scale[j] * source[j]
        source = row
        weights[t] = 1.0
    s, w = 0, weights[t]
    # Four rows at a time: the new one is read and written a quarter as often.
    if t >= 4:
        _begin_with_four(
            row, source, w, basis[0], basis[1], basis[2], basis[3], weights[0], weights[1], weights[2], weights[3]
        )
        s = 4
    elif t >= 2:
        _begin_with_two(row, source, w, basis[0], basis[1], weights[0], weights[1])
        s = 2
    else:
        for j in range(row.size):
            row[j] = w * source[j]
    while s + 4 <= t:
        _subtract_four(
            row, basis[s], basis[s + 1], basis[s + 2], basis[s + 3],
            weights[s], weights[s + 1], weights[s + 2], weights[s + 3],
        )  # fmt: skip
        s += 4
    if s + 2 <= t:
        _subtract_two(row, basis[s], basis[s + 1], weights[s], weights[s + 1])
        s += 2
    if s < t:
        other, w = basis[s], weights[s]
        for j in range(row.size):
            row[j] -= w * other[j]
    weights[t] = coefficient
    w = weights[t]
    if least_squares:
        for j in range(row.size):
            alpha[j] -= w * row[j]
        for j in range(row.size):
            outside[j] -= row[j] * row[j]
        score_atoms(alpha, outside, least, True, False, score)
    else:
        for j in range(row.size):
            alpha[j] -= w * row[j]
            score[j] = abs(alpha[j])


@kernel
def _project(gram, scale, atom, t, basis, triangle):
    """The column of the triangle of an atom; its squared norm, and its squared norm outside the span."""
    square = np.float64(gram[atom, atom])
    if scale.size:
        square *= np.float64(scale[atom]) ** 2
    left = square
    for s in range(t):
        triangle[s, t] = basis[s, atom]
        left -= triangle[s, t] * triangle[s, t]
    triangle[t, t] = np.sqrt(max(left, 0.0))
    return square, left


@kernel
def _refit_nonnegative(
    gram, scale, start, outside, least, least_squares, score, support, size, first, coef, target, triangle, y, weights,
    basis, alpha, taken, i, scales, lengths
):  # fmt: skip
    """Drop the atoms whose coefficients reach zero until the refit of the others is positive; the new support size."""
    while first >= 0:
        size -= 1
        for t in range(first, size):
            support[t], coef[t] = support[t + 1], coef[t + 1]
            scales[t], lengths[t] = scales[t + 1], lengths[t + 1]
        alpha[:] = start
        outside[:] = 1.0
        for t in range(size):
            _project(gram, scale, support[t], t, basis, triangle)
            y[t] = np.float64(alpha[support[t]]) / triangle[t, t]
            _append_direction(
                gram, scale, support[t], t, triangle, y[t], weights, basis, alpha, outside, least, least_squares, score
            )
        back_substitute(triangle, y, size, target)
        first = step_to_boundary(target, size, coef)
    # What left may come back, and what depended on it may be chosen.
    taken[:] = -1
    for t in range(size):
        taken[support[t]] = i
    return size


@kernel
def code_block(
    signals, products, atoms, gram, scale, norms, bound, least_squares, start, comparable, dependent, precision,
    basis, score, bits, indices, values, counts, squared, certificate, n_iter
):  # fmt: skip
    """Code the signals of a block, given their inner products with the (scaled) atoms, which are overwritten.

    `start` is scratch of one number an atom if codes must be >= 0, and None if not: the refit of such codes is then not
    even compiled. `comparable` says that scaled atoms all have norm one (or zero); `dependent` is the share of its norm
    below which the part of an atom outside the span is rounding; `bits` is `score` seen as integers; the answers are
    the arrays from `indices` on, as wide as the most atoms of a signal.
    """
    n_atoms, width = gram.shape[0], indices.shape[1]
    n_features = signals.shape[1]
    noise, floor = 16.0 * precision, dependent * dependent
    # Where the recursion of the squared residual has lost its digits to cancellation, it is recomputed.
    doubt = max(1e-7, 100.0 * precision)
    everything = np.empty(0, dtype=np.bool_)
    support, taken = np.empty(width + 1, dtype=np.int64), np.full(n_atoms, -1, dtype=np.int64)
    triangle, y = np.zeros((width + 1, width + 1)), np.empty(width + 1)
    coef, target, scales, lengths = np.empty(width + 1), np.empty(width + 1), np.ones(width + 1), np.empty(width + 1)
    correction, gradient, residual = np.empty(width + 1), np.empty(width + 1), np.empty(n_features)
    rounded, weights = np.empty(width + 1, dtype=atoms.dtype), np.empty(width + 2, dtype=atoms.dtype)
    least = np.full(1, floor, dtype=atoms.dtype)
    outside = np.ones(n_atoms if least_squares else 0, dtype=atoms.dtype)
    peak_bits = np.zeros((n_atoms + STRETCH - 1) // STRETCH, dtype=bits.dtype)
    peaks = peak_bits.view(atoms.dtype)
    best_bits = np.zeros(1, dtype=bits.dtype)
    best_score = best_bits.view(atoms.dtype)
    for i in range(signals.shape[0]):
        counts[i] = n_iter[i] = 0
        squared[i] = certificate[i] = 0.0
        signal, alpha = signals[i], products[i]
        total = sum_of_squares(signal)
        squared[i] = total
        if not 0.0 < total < np.inf or total <= bound:
            continue
        length, unit = np.sqrt(total), 1.0
        exponent = math.frexp(length)[1]
        if abs(exponent) > 20:  # so that no square under- or overflows
            unit = math.ldexp(1.0, min(max(exponent, -120), 120))
            weights[0] = 1.0 / unit
            for j in range(n_atoms):
                alpha[j] *= weights[0]
        if start is not None:
            start[:] = alpha
        outside[:] = 1.0
        left = total / unit**2
        rounding = noise * np.sqrt(left)
        # Below the bound by what the last digits may change; never below what rounding leaves.
        goal, slack = max(bound / unit**2 * (1.0 - 1e-15), rounding * rounding), doubt * left
        size, passed = 0, 0
        score_atoms(alpha, outside, least, least_squares, start is not None, score)
        while True:
            best_bits[0] = find_peaks(bits, peak_bits)
            best = np.float64(best_score[0])
            # Ties go to the lowest index, also when rounding made the scores differ.
            if least_squares:
                enough, tie = rounding * rounding, best - 2.0 * noise * best - rounding * np.sqrt(best)
            elif comparable:
                enough, tie = rounding, best - 0.5 * rounding
            else:
                enough, tie = 0.0, best - noise * best
            if best <= enough:
                break
            atom = locate(score, peaks, max(tie, 0.5 * best))
            square, pivot = 1.0, 0.0
            if taken[atom] != i:
                square, pivot = _project(gram, scale, atom, size, basis, triangle)
            if pivot <= floor * square or abs(np.float64(alpha[atom])) <= rounding * np.sqrt(square):
                # Dependent on the chosen atoms, or its correlation is rounding: passed over.
                taken[atom] = i
                score[atom] = 0.0
                passed += 1
                if passed > 10 * width + 100:
                    break
                continue
            y[size] = np.float64(alpha[atom]) / triangle[size, size]
            support[size] = atom
            scales[size] = scale[atom] if scale.size else 1.0
            lengths[size] = norms[atom]
            taken[atom] = i
            left -= y[size] * y[size]
            size += 1
            n_iter[i] += 1
            rebuilt = False
            if start is not None:
                coef[size - 1] = 0.0
                back_substitute(triangle, y, size, target)
                first = step_to_boundary(target, size, coef)
                if first >= 0:
                    rebuilt = True
                    size = _refit_nonnegative(
                        gram, scale, start, outside, least, least_squares, score, support, size, first, coef, target,
                        triangle, y, weights, basis, alpha, taken, i, scales, lengths,
                    )  # fmt: skip
                    left = total / unit**2
                    for t in range(size):
                        left -= y[t] * y[t]
            if left <= goal + slack:
                if start is None:
                    back_substitute(triangle, y, size, coef)
                for t in range(size):
                    rounded[t] = coef[t] * scales[t] * unit
                left = squared_residual(signal, everything, atoms, support, size, rounded, residual) / unit**2
                if left <= goal:
                    break
            if size == width or n_iter[i] > 4 * width + 16:
                break
            if not rebuilt:
                t = size - 1
                _append_direction(
                    gram, scale, support[t], t, triangle, y[t], weights, basis, alpha, outside, least, least_squares,
                    score,
                )  # fmt: skip
            if start is not None:
                score_atoms(alpha, outside, least, least_squares, start is not None, score)
        if start is None:
            back_substitute(triangle, y, size, coef)
        for t in range(size):
            coef[t] *= scales[t] * unit
            indices[i, t] = support[t]
        squared[i], certificate[i] = prove(
            signal, everything, atoms, support, size, lengths, triangle, scales, length, precision, coef, values[i],
            residual, gradient, correction,
        )  # fmt: skip
        if start is not None:
            for t in range(size):
                values[i, t] = max(values[i, t], 0.0)
        counts[i] = size
