r"""Sparse coding by keeping the largest coefficients: of one product, or of every gradient step.

Atoms of any norm are treated as if scaled to norm one: with :math:`s_a = \|d_a\|`, scores are
:math:`\langle d_a, r \rangle / s_a` and coefficients are compared as :math:`s_a z_a`. Of a signal with unknown entries
only the known part of an atom counts, in its norm as well.
"""

from typing import Any

import numpy as np

from .coders import IHT, Coding, Dictionary, TopK
from .kernel import kernel
from .row_blocks import map_blocks
from .row_selection import select_from_row, selection_scratch
from .sparse_codes import SparseCodes, concatenated, from_padded, squared_residuals

_BLOCK = 512
_SLACK = 0.01  # a step must lower the objective by this share more than its first-order bound asks


def atom_norms(dictionary: Dictionary, known: np.ndarray | None) -> np.ndarray:
    """The norms of the atoms, of shape (1, n_atoms), or of their known parts, of shape (n_signals, n_atoms)."""
    if known is None:
        return dictionary.norms[np.newaxis]
    squares = np.square(dictionary.atoms, dtype=np.float64)
    return np.sqrt(known.astype(np.float64) @ squares.T)


@kernel
def _inverse(norms):
    """One over each norm, zero for the zero atom, which is never selected."""
    out = np.zeros_like(norms)
    for a in range(norms.size):
        if norms[a] > 0.0:
            out[a] = 1.0 / norms[a]
    return out


@kernel
def _select_signals(products, norms, k, signed, indices, values, counts):
    scores = np.empty_like(norms[0])
    scratch = selection_scratch(scores, k)
    chosen = np.empty(k)
    inverse = _inverse(norms[0])
    for i in range(products.shape[0]):
        if i > 0 and norms.shape[0] > 1:
            inverse = _inverse(norms[i])
        for a in range(scores.size):
            scores[a] = products[i, a] * inverse[a]
        counts[i] = select_from_row(scores, k, signed, scratch, indices[i], chosen)
        for t in range(counts[i]):
            values[i, t] = chosen[t] * inverse[indices[i, t]]


def select_largest(
    coder: TopK, X: np.ndarray, dictionary: Dictionary, known: np.ndarray | None = None, n_jobs: int | None = None
) -> Coding:
    """Keep the atoms whose inner products with the signal are largest.

    Parameters
    ----------
    coder : TopK
        The number of atoms, and whether signs are free.
    X : ndarray of shape (n_signals, n_features), C order
        The signals, zero where unknown.
    dictionary : Dictionary
        The atoms.
    known : ndarray of shape (n_signals, n_features), bool, optional
        Which entries are known.
    n_jobs : int, optional
        Threads over blocks of signals.

    Returns
    -------
    Coding
        The codes; nothing is minimised, and the certificates are zero.
    """
    atoms, k = dictionary.atoms, min(coder.n_nonzero, dictionary.atoms.shape[0])

    def work(start: int, stop: int):
        products = X[start:stop] @ atoms.T
        indices, values = np.zeros((stop - start, k), np.int32), np.zeros((stop - start, k), atoms.dtype)
        counts = np.zeros(stop - start, np.int64)
        norms = atom_norms(dictionary, None if known is None else known[start:stop])
        _select_signals(products, norms, k, coder.signed, indices, values, counts)
        return from_padded(indices, values, counts, atoms.shape[0])

    codes = concatenated(map_blocks(X.shape[0], n_jobs, work, _BLOCK))
    squares = squared_residuals(codes, X, atoms, known, n_jobs=n_jobs)
    return Coding(codes, squares, np.zeros(X.shape[0]), np.ones(X.shape[0], np.int64))


@kernel
def correlations(gram, products, atoms, signal, known, support, values, count, residual, out):
    """The inner products of all atoms with the residual of a code.

    Parameters
    ----------
    gram : ndarray of shape (n_atoms, n_atoms) or (0, 0)
        The inner products of the atoms; empty to go through the residual itself.
    products : ndarray of shape (n_atoms,)
        Those of the atoms with the signal.
    atoms : ndarray of shape (n_atoms, n_features)
        The atoms.
    signal : ndarray of shape (n_features,)
        The signal, zero where unknown.
    known : ndarray of shape (n_features,) or (0,), bool
        Which entries are known; empty for all.
    support, values : ndarray
        The code: atoms and coefficients, of which the first `count` are in use.
    count : int
        How many.
    residual : ndarray of shape (n_features,), float64
        Scratch.
    out : ndarray of shape (n_atoms,), float64
        Where to write.
    """
    if gram.shape[0] > 0:
        out[:] = products
        for t in range(count):
            row, value = gram[support[t]], values[t]
            for a in range(out.size):
                out[a] -= value * row[a]
        return
    residual[:] = signal
    for t in range(count):
        atom, value = atoms[support[t]], values[t]
        for j in range(residual.size):
            residual[j] -= value * atom[j]
    for j in range(known.size):
        if not known[j]:
            residual[j] = 0.0
    for a in range(out.size):
        total = 0.0
        for j in range(residual.size):
            total += residual[j] * atoms[a, j]
        out[a] = total


@kernel
def _squared_norm(gram, atoms, known, support, values, count, work):
    """The squared norm of a combination of atoms over the known entries."""
    total = 0.0
    if gram.shape[0] > 0:
        for s in range(count):
            row, value = gram[support[s]], 0.0
            for t in range(count):
                value += row[support[t]] * values[t]
            total += values[s] * value
        return max(total, 0.0)
    work[:] = 0.0
    for t in range(count):
        for j in range(work.size):
            work[j] += values[t] * atoms[support[t], j]
    for j in range(work.size):
        if known.size == 0 or known[j]:
            total += work[j] * work[j]
    return total


@kernel
def _difference(support, values, count, old_support, old_values, old_count, indices, change):
    """The difference of two codes whose supports increase; returns how many entries it has."""
    s, t, n = 0, 0, 0
    while s < count or t < old_count:
        if t >= old_count or (s < count and support[s] < old_support[t]):
            indices[n], change[n] = support[s], values[s]
            s += 1
        elif s >= count or old_support[t] < support[s]:
            indices[n], change[n] = old_support[t], -old_values[t]
            t += 1
        else:
            indices[n], change[n] = support[s], values[s] - old_values[t]
            s += 1
            t += 1
        n += 1
    return n


@kernel
def _threshold_signals(
    gram, products, atoms, X, known, norms, k, positive, tol, max_iter, indices, values, counts, change, n_iter
):
    # T. Blumensath and M. Davies, "Normalized iterative hard thresholding", 2010: the step is the exact one on the
    # present support, and is shortened when the support changes and the bound of its decrease would not hold.
    n_atoms, n_features = atoms.shape
    gradient, point = np.empty(n_atoms), np.empty(n_atoms)
    residual = np.empty(n_features)
    scratch = selection_scratch(point, k)
    support, code = np.empty(k, np.int32), np.empty(k)
    new_support, new_code = np.empty(k, np.int32), np.empty(k)
    both, step = np.empty(2 * k, np.int32), np.empty(2 * k)
    norm, inverse = norms[0], _inverse(norms[0])
    for i in range(X.shape[0]):
        if i > 0 and norms.shape[0] > 1:
            norm, inverse = norms[i], _inverse(norms[i])
        visible = known[i] if known.shape[0] > 0 else known[:0].ravel()
        size = 0.0
        for j in range(n_features):
            size += np.float64(X[i, j]) ** 2
        size = np.sqrt(size)
        count, moved, rounds = 0, 0.0, 0
        while rounds < max_iter and size > 0.0:
            correlations(gram, products[i], atoms, X[i], visible, support, code, count, residual, gradient)
            for a in range(n_atoms):
                gradient[a] *= inverse[a]  # of unit atoms
            n = count
            if count > 0:
                both[:n] = support[:n]
            else:
                n = select_from_row(gradient, k, not positive, scratch, both, step)
            square = 0.0
            for t in range(n):
                square += gradient[both[t]] ** 2
                step[t] = gradient[both[t]] * inverse[both[t]]
            bend = _squared_norm(gram, atoms, visible, both, step, n, residual)
            mu = square / bend if bend > 0.0 else 1.0
            for _ in range(60):
                for a in range(n_atoms):
                    point[a] = mu * gradient[a]
                for t in range(count):
                    point[support[t]] += norm[support[t]] * code[t]
                new_count = select_from_row(point, k, not positive, scratch, new_support, new_code)
                for t in range(new_count):
                    new_code[t] *= inverse[new_support[t]]
                n = _difference(new_support, new_code, new_count, support, code, count, both, step)
                bend = _squared_norm(gram, atoms, visible, both, step, n, residual)
                length = 0.0
                for t in range(n):
                    length += (norm[both[t]] * step[t]) ** 2
                same = new_count == count
                for t in range(count):
                    same = same and new_support[t] == support[t]
                if same or bend * mu <= (1.0 - _SLACK) * length:
                    break
                mu = min(0.5 * mu, (1.0 - _SLACK) * length / bend)
            support, new_support = new_support, support
            code, new_code = new_code, code
            count = new_count
            moved = np.sqrt(bend) / size
            rounds += 1
            if moved <= tol:
                break
        indices[i, :count], counts[i] = support[:count], count
        for t in range(count):
            values[i, t] = code[t]
        change[i], n_iter[i] = moved, rounds


def coded_in_blocks(
    code_signals: Any,
    coder: Any,
    X: np.ndarray,
    dictionary: Dictionary,
    known: np.ndarray | None,
    n_jobs: int | None,
) -> Coding:
    """Hand blocks of signals to the kernel of an iterative coder of at most k atoms.

    Parameters
    ----------
    code_signals : kernel
        Takes the Gram matrix or an empty one, products, atoms, signals, what is known of them, norms of the atoms, the
        parameters of the coder, and fills in codes, certificates and iterations.
    coder : IHT or CoSaMP
        The parameters.
    X : ndarray of shape (n_signals, n_features), C order
        The signals, zero where unknown.
    dictionary : Dictionary
        The atoms.
    known : ndarray of shape (n_signals, n_features), bool, optional
        Which entries are known.
    n_jobs : int, optional
        Threads over blocks of signals.

    Returns
    -------
    Coding
        The codes.
    """
    atoms, k = dictionary.atoms, min(coder.n_nonzero, dictionary.atoms.shape[0])
    gram = dictionary.gram if known is None else dictionary.gram[:0, :0]
    certificate, n_iter = np.zeros(X.shape[0]), np.zeros(X.shape[0], np.int64)

    def work(start: int, stop: int) -> SparseCodes:
        rows = slice(start, stop)
        indices, values = np.zeros((stop - start, k), np.int32), np.zeros((stop - start, k), atoms.dtype)
        counts = np.zeros(stop - start, np.int64)
        visible = np.empty((0, 0), bool) if known is None else known[rows]
        norms = atom_norms(dictionary, None if known is None else visible)
        limits = (k, coder.positive, coder.tol, coder.max_iter)
        results = (indices, values, counts, certificate[rows], n_iter[rows])
        code_signals(gram, X[rows] @ atoms.T, atoms, X[rows], visible, norms, *limits, *results)
        return from_padded(indices, values, counts, atoms.shape[0])

    codes = concatenated(map_blocks(X.shape[0], n_jobs, work, _BLOCK))
    return Coding(codes, squared_residuals(codes, X, atoms, known, n_jobs=n_jobs), certificate, n_iter)


def iterate_hard_thresholding(
    coder: IHT, X: np.ndarray, dictionary: Dictionary, known: np.ndarray | None = None, n_jobs: int | None = None
) -> Coding:
    """Code signals by normalized iterative hard thresholding.

    Parameters
    ----------
    coder : IHT
        The number of atoms, the tolerance and the most steps.
    X : ndarray of shape (n_signals, n_features), C order
        The signals, zero where unknown.
    dictionary : Dictionary
        The atoms.
    known : ndarray of shape (n_signals, n_features), bool, optional
        Which entries are known.
    n_jobs : int, optional
        Threads over blocks of signals.

    Returns
    -------
    Coding
        The codes; the certificate is the norm of the last step in the space of the signals, relative to the signal.

    References
    ----------
    T. Blumensath and M. E. Davies, "Normalized iterative hard thresholding: guaranteed stability and performance",
    IEEE Journal of Selected Topics in Signal Processing 4, 2010.
    """
    return coded_in_blocks(_threshold_signals, coder, X, dictionary, known, n_jobs)
