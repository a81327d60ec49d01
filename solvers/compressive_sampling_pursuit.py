"""Compressive sampling matching pursuit: candidates join in bulk, a refit decides which of them stay."""

import numpy as np

from .block_principal_pivoting import solve_row
from .cholesky import append, solve
from .coders import Coding, CoSaMP, Dictionary
from .hard_thresholding import coded_in_blocks, correlations
from .kernel import kernel
from .row_selection import select_from_row, selection_scratch

_BLOCK = 512
_INDEPENDENT = 1e-6  # distance of an atom from the span of those before it, relative to its norm


@kernel
def _inner_product(gram, atoms, known, a, b):
    if gram.shape[0] > 0:
        return np.float64(gram[a, b])
    total = 0.0
    for j in range(atoms.shape[1]):
        if known.size == 0 or known[j]:
            total += np.float64(atoms[a, j]) * atoms[b, j]
    return total


@kernel
def _refit(gram, products, atoms, known, positive, support, count, values, work):
    """Least squares on a support; atoms that depend on earlier ones get zero."""
    Q, target, factor, kept = work
    n = 0
    for s in range(count):
        for t in range(n):
            Q[n, t] = _inner_product(gram, atoms, known, support[s], support[kept[t]])
            Q[t, n] = Q[n, t]
        square = _inner_product(gram, atoms, known, support[s], support[s])
        Q[n, n] = square
        if square > 0.0 and append(factor, n, Q[n], square) > _INDEPENDENT:
            target[n] = products[support[s]]
            kept[n] = s
            n += 1
    values[:count] = 0.0
    if positive and n > 0:
        solution = np.zeros(n)
        solve_row(Q[:n, :n].copy(), target[:n], np.inf, solution, np.empty((n + 6, n)))
        target[:n] = solution
    else:
        solve(factor, n, target)
    for t in range(n):
        values[kept[t]] = target[t]


@kernel
def _merge(support, count, chosen, n_chosen, out):
    """The union of two increasing lists; returns its size."""
    s, t, n = 0, 0, 0
    while s < count or t < n_chosen:
        if t >= n_chosen or (s < count and support[s] < chosen[t]):
            out[n] = support[s]
            s += 1
        else:
            if s < count and support[s] == chosen[t]:
                s += 1
            out[n] = chosen[t]
            t += 1
        n += 1
    return n


@kernel
def _pursue_signals(
    gram, products, atoms, X, known, norms, k, positive, tol, max_iter, indices, values, counts, certificate, n_iter
):
    n_atoms, n_features = atoms.shape
    width = min(3 * k, n_atoms)
    twice = min(2 * k, n_atoms)
    scores, residual = np.empty(n_atoms), np.empty(n_features)
    scratch = selection_scratch(scores, twice)
    support, code = np.empty(k, np.int32), np.empty(k)
    new_support, new_code = np.empty(k, np.int32), np.empty(k)
    chosen, chosen_scores = np.empty(twice, np.int32), np.empty(twice)
    merged, merged_code = np.empty(width, np.int32), np.empty(width)
    sizes = np.empty(width)
    size_scratch = selection_scratch(sizes, k)
    places, place_sizes = np.empty(k, np.int32), np.empty(k)
    work = np.empty((width, width)), np.empty(width), np.empty((width, width)), np.empty(width, np.int64)
    for i in range(X.shape[0]):
        norm = norms[min(i, norms.shape[0] - 1)]
        visible = known[i] if known.shape[0] > 0 else known[:0].ravel()
        size = 0.0
        for j in range(n_features):
            size += np.float64(X[i, j]) ** 2
        best, count, rounds = size, 0, 0
        while rounds < max_iter and size > 0.0:
            correlations(gram, products[i], atoms, X[i], visible, support, code, count, residual, scores)
            for a in range(n_atoms):
                scores[a] = scores[a] / norm[a] if norm[a] > 0.0 else 0.0
            n_chosen = select_from_row(scores, twice, not positive, scratch, chosen, chosen_scores)
            n = _merge(support, count, chosen, n_chosen, merged)
            _refit(gram, products[i], atoms, visible, positive, merged, n, merged_code, work)
            sizes[:] = 0.0
            for t in range(n):
                sizes[t] = abs(merged_code[t]) * norm[merged[t]]
            new_count = select_from_row(sizes, k, False, size_scratch, places, place_sizes)
            for t in range(new_count):
                new_support[t] = merged[places[t]]
            _refit(gram, products[i], atoms, visible, positive, new_support, new_count, new_code, work)
            fit = 0.0
            for t in range(new_count):
                fit += new_code[t] * products[i, new_support[t]]
            rounds += 1
            left = max(size - fit, 0.0)
            gain = np.sqrt(best) - np.sqrt(left)
            if gain > 0.0:
                support, new_support = new_support, support
                code, new_code = new_code, code
                count, best = new_count, left
            if gain <= tol * np.sqrt(size):
                break
        correlations(gram, products[i], atoms, X[i], visible, support, code, count, residual, scores)
        violation, n = 0.0, 0
        for t in range(count):
            if code[t] != 0.0:
                violation = max(violation, abs(scores[support[t]]) / (norm[support[t]] * np.sqrt(size)))
                indices[i, n], values[i, n] = support[t], code[t]
                n += 1
        counts[i], certificate[i], n_iter[i] = n, violation, rounds


def compressive_pursuit(
    coder: CoSaMP, X: np.ndarray, dictionary: Dictionary, known: np.ndarray | None = None, n_jobs: int | None = None
) -> Coding:
    """Code signals by compressive sampling matching pursuit.

    The code with the smallest residual so far is kept: a round that does not lower it ends the signal.

    Parameters
    ----------
    coder : CoSaMP
        The number of atoms, the tolerance and the most rounds.
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
        The codes; the certificate is the optimality of the refit, the largest inner product of the residual with a unit
        atom of the support relative to the signal.

    References
    ----------
    D. Needell and J. A. Tropp, "CoSaMP: iterative signal recovery from incomplete and inaccurate samples", Applied and
    Computational Harmonic Analysis 26, 2009.
    """
    return coded_in_blocks(_pursue_signals, coder, X, dictionary, known, n_jobs)
