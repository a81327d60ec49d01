r"""Lasso codes of a block of signals, as far as the correlations of their residuals with all atoms are at hand.

A signal is solved on the atoms with the largest correlations :math:`d_a \cdot r`; then the correlations with all
atoms give the duality gap, and atoms whose correlation is above :math:`\alpha` join. Where a Gram matrix gives the
new correlations, :math:`D x - G z` from a few of its rows, the next round follows at once; else the caller brings them
for all signals of the block.

The dual point is the residual scaled by :math:`s = \min(1, \alpha / \max_a |d_a \cdot r|)` (without the absolute
value for codes >= 0), and

.. math:: \text{gap} = \tfrac12 \|r\|^2 + \alpha \|z\|_1 - \left(s\, x \cdot r - \tfrac12 s^2 \|r\|^2\right).
"""

from typing import Any, NamedTuple

import numpy as np

from .generic import generic
from .kernel import kernel
from .lasso_subproblem import AtomProducts, GramEntries, fill_row, solve_subproblem, squared_norm

_FAST = {"contract", "nsz", "reassoc"}
FIRST_ATOMS = 24  # of a working set; more than most codes have nonzeros
MORE_ATOMS = 16  # at least, that may join at a time
_BINS = 64  # of correlations, to find the largest without sorting
_MAX_ROUNDS = 200
_STRICTEST = 1e-9  # of the tolerance, on a working set that stalls


class BlockState(NamedTuple):
    """The codes of a block of signals on the way.

    Attributes
    ----------
    indices : ndarray of shape (n_signals, capacity), int32
        The atoms of each code.
    values : ndarray of shape (n_signals, capacity), float64
        Their coefficients.
    counts : ndarray of shape (n_signals,), int64
        How many there are.
    last : ndarray of shape (n_signals, capacity), int32
        The last working set.
    n_last : ndarray of shape (n_signals,), int64
        Its size.
    n_iter : ndarray of shape (n_signals,), int64
        Sweeps or steps so far.
    rounds : ndarray of shape (n_signals,), int64
        Working sets so far.
    strictness : ndarray of shape (n_signals,), float64
        The share of the tolerance that a working set has to reach.
    top : ndarray of shape (n_signals,), float64
        The largest correlation at the code.
    exact : ndarray of shape (n_signals,), bool
        Whether the last working set was solved to rounding.
    done : ndarray of shape (n_signals,), bool
        Whether the code is final.
    """

    indices: np.ndarray
    values: np.ndarray
    counts: np.ndarray
    last: np.ndarray
    n_last: np.ndarray
    n_iter: np.ndarray
    rounds: np.ndarray
    strictness: np.ndarray
    top: np.ndarray
    exact: np.ndarray
    done: np.ndarray


class Scan(NamedTuple):
    """Scratch for the correlations of one signal with all atoms.

    Attributes
    ----------
    correlations : ndarray of shape (n_atoms,)
        Inner products of the residual with the atoms, in the precision of the data.
    coefficients : ndarray of shape (n_atoms,)
        The coefficients in that precision.
    candidates : ndarray of shape (n_atoms + 1,), int64
        Atoms above the threshold.
    bins : ndarray of shape (64,), int64
        How many of them fall into each bin.
    """

    correlations: np.ndarray
    coefficients: np.ndarray
    candidates: np.ndarray
    bins: np.ndarray


def block_state(n: int, capacity: int) -> BlockState:
    """Empty codes of n signals with room for working sets of `capacity` atoms."""
    return BlockState(
        np.empty((n, capacity), dtype=np.int32),
        np.empty((n, capacity)),
        np.zeros(n, dtype=np.int64),
        np.empty((n, capacity), dtype=np.int32),
        np.zeros(n, dtype=np.int64),
        np.zeros(n, dtype=np.int64),
        np.zeros(n, dtype=np.int64),
        np.full(n, 0.1),
        np.zeros(n),
        np.zeros(n, dtype=bool),
        np.zeros(n, dtype=bool),
    )


def widened(state: BlockState, capacity: int) -> BlockState:
    """The same codes with more room."""
    wider = block_state(state.counts.size, capacity)
    width = state.indices.shape[1]
    for name in ("indices", "values", "last"):
        getattr(wider, name)[:, :width] = getattr(state, name)
    return state._replace(indices=wider.indices, values=wider.values, last=wider.last)


def scan(n_atoms: int, dtype: Any) -> Scan:
    """Scratch for a dictionary."""
    return Scan(
        np.empty(n_atoms, dtype=dtype),
        np.empty(n_atoms, dtype=dtype),
        np.empty(n_atoms + 1, dtype=np.int64),
        np.empty(_BINS, dtype=np.int64),
    )


@generic
def refresh(entries: Any, products: np.ndarray, state: BlockState, i: int, scan: Scan) -> bool:
    """The correlations of the code of a signal from the inner products of the signal; whether that is possible."""
    raise TypeError


@kernel(fastmath=_FAST)
def _subtract_gram_rows(gram, products, indices, coefficients, count, out):
    n_atoms = out.size
    for a in range(n_atoms):
        out[a] = products[a]
    s = 0
    while s + 4 <= count:  # four rows at a time: the sums are read and written a quarter as often
        row0, row1, row2, row3 = gram[indices[s]], gram[indices[s + 1]], gram[indices[s + 2]], gram[indices[s + 3]]
        z0, z1, z2, z3 = coefficients[s], coefficients[s + 1], coefficients[s + 2], coefficients[s + 3]
        for a in range(n_atoms):
            out[a] -= z0 * row0[a] + z1 * row1[a] + z2 * row2[a] + z3 * row3[a]
        s += 4
    while s < count:
        row0, z0 = gram[indices[s]], coefficients[s]
        for a in range(n_atoms):
            out[a] -= z0 * row0[a]
        s += 1


@refresh.register(GramEntries)
def _(entries, products, state, i, scan):
    count = state.counts[i]
    for s in range(count):
        scan.coefficients[s] = state.values[i, s]
    _subtract_gram_rows(entries.gram, products, state.indices[i], scan.coefficients, count, scan.correlations)
    return True


@refresh.register(AtomProducts)
def _(entries, products, state, i, scan):
    return False


@kernel
def _above(correlations, threshold, positive, candidates):
    """List the atoms above a threshold: written everywhere, counted where it counts, so that nothing branches."""
    count = 0
    if positive:
        for a in range(correlations.size):
            candidates[count] = a
            count += correlations[a] > threshold
    else:
        for a in range(correlations.size):
            candidates[count] = a
            count += abs(correlations[a]) > threshold
    return count


@kernel
def duality_gap(x_r, r_r, l1, top, alpha):
    r"""The gap between the objective at a code and its dual at the scaled residual, not below zero.

    Parameters
    ----------
    x_r : float
        The inner product of signal and residual.
    r_r : float
        The squared norm of the residual.
    l1 : float
        The l1 norm of the code.
    top : float
        The largest correlation :math:`|d_a \cdot r|`, without the absolute value for codes >= 0.
    alpha : float
        Weight of the penalty.

    Returns
    -------
    float
        The gap.
    """
    scale = alpha / top if top > alpha else 1.0
    return max(0.5 * r_r + alpha * l1 - scale * x_r + 0.5 * scale * scale * r_r, 0.0)


@kernel
def _choose(correlations, scan, n_candidates, threshold, top, first, room, sub):
    """The candidates with the largest correlations into a working set, roughly in order; how many.

    Descent that meets the strongest atoms first makes fewer wrong starts.
    """
    bins, last = scan.bins, scan.bins.size - 1
    width = (scan.bins.size - 0.01) / (top - threshold)
    bins[:] = 0
    for s in range(n_candidates):
        bins[last - int((abs(correlations[scan.candidates[s]]) - threshold) * width)] += 1
    total = 0
    for b in range(bins.size):
        here = bins[b]
        bins[b] = total
        total += here
    for s in range(n_candidates):
        atom = scan.candidates[s]
        b = last - int((abs(correlations[atom]) - threshold) * width)
        if bins[b] < room:
            sub.atoms[first + bins[b]] = atom
            bins[b] += 1
    return min(n_candidates, room)


@kernel
def _load(entries, i, products, correlations, state, sub, count, n):
    """Set up the problem on a working set; its first atoms are those of the code."""
    for j in range(n):
        atom = sub.atoms[j]
        sub.products[j] = products[atom]
        sub.correlations[j] = correlations[atom]
        sub.squares[j] = squared_norm(entries, i, atom)
        sub.code[j] = state.values[i, j] if j < count else 0.0
        sub.present[j] = 0
    if count > 0:  # their correlations anew in float64: those given may be rounded, or marked as taken
        for j in range(n):
            sub.correlations[j] = sub.products[j]
        for j in range(count):
            fill_row(entries, i, sub, n, j)
            value, first = sub.code[j], j * n
            for b in range(n):
                sub.correlations[b] -= value * sub.gram[first + b]


@kernel
def _store(state, sub, i, n):
    count = 0
    for j in range(n):
        state.last[i, j] = sub.atoms[j]
        if sub.code[j] != 0.0:
            state.indices[i, count] = sub.atoms[j]
            state.values[i, count] = sub.code[j]
            count += 1
    state.counts[i] = count
    state.n_last[i] = n
    state.exact[i] = sub.exact[0]


@kernel
def advance(coder, tol, entries, C, R, squares, noise, state, scan, sub, begin):
    """Solve signals on working sets as far as their correlations with all atoms are at hand.

    Parameters
    ----------
    coder : LassoCD or LassoLARS
        What is asked for, and who solves the small problems.
    tol : float
        Duality gap to reach, relative to half the squared norm of a signal.
    entries : GramEntries or AtomProducts
        Inner products of atoms.
    C : ndarray of shape (n_signals, n_atoms)
        Inner products of signals and atoms.
    R : ndarray of shape (n_signals, n_atoms)
        The same of their residuals; not looked at where a Gram matrix gives them.
    squares : ndarray of shape (n_signals,), float64
        Squared norms of the signals.
    noise : float
        What rounding adds to a correlation, relative to the norm of a signal.
    state : BlockState
        The codes, advanced.
    scan : Scan
        Scratch.
    sub : Subproblem
        Scratch for a working set.
    begin : int
        The first signal to look at.

    Returns
    -------
    int
        The signal whose working set found no room, or the number of signals.
    """
    n_signals = C.shape[0]
    capacity = sub.atoms.size
    alpha, positive = coder.alpha, coder.positive
    for i in range(begin, n_signals):
        if state.done[i]:
            continue
        products = C[i]
        correlations = R[i]
        energy = 0.5 * squares[i]
        threshold = alpha + noise * np.sqrt(squares[i])
        if state.counts[i] > 0 and refresh(entries, products, state, i, scan):
            correlations = scan.correlations
        while True:
            count = state.counts[i]
            top, l1, fit, inner = 0.0, 0.0, 0.0, 0.0
            for s in range(count):
                atom, value = state.indices[i, s], state.values[i, s]
                correlation = np.float64(correlations[atom])
                top = max(top, correlation if positive else abs(correlation))
                l1 += abs(value)
                fit += value * correlation
                inner += value * products[atom]
                scan.coefficients[s] = correlations[atom]
                correlations[atom] = 0.0  # no candidate
            n_candidates = _above(correlations, threshold, positive, scan.candidates)
            highest = threshold
            for s in range(n_candidates):
                highest = max(highest, abs(np.float64(correlations[scan.candidates[s]])))
            if n_candidates > 0:
                top = max(top, highest)
            state.top[i] = top
            x_r = squares[i] - inner
            r_r = max(x_r - fit, 0.0)
            gap = duality_gap(x_r, r_r, l1, top, alpha)
            if (
                state.rounds[i] == 0 and count > 0 and 0.5 * r_r + alpha * l1 > energy
            ):  # a start that is worse than none
                state.counts[i] = 0
                correlations = products
                continue
            if gap <= tol * energy or state.n_iter[i] >= coder.max_iter or state.rounds[i] > _MAX_ROUNDS:
                state.done[i] = True
                break
            fresh = 0
            for s in range(n_candidates):
                seen = False
                for t in range(state.n_last[i]):
                    if state.last[i, t] == scan.candidates[s]:
                        seen = True
                        break
                if not seen:
                    fresh += 1
                    break
            if fresh == 0:  # nothing to add: solve the last working set better, if that is possible
                state.strictness[i] *= 0.01
                if state.exact[i] or state.strictness[i] < _STRICTEST:
                    state.done[i] = True
                    break
            room = FIRST_ATOMS if count == 0 else max(MORE_ATOMS, count)
            if count + min(n_candidates, room) > capacity:
                for s in range(count):
                    correlations[state.indices[i, s]] = scan.coefficients[s]
                return i
            for s in range(count):
                sub.atoms[s] = state.indices[i, s]
            n = count
            if n_candidates > 0:
                n += _choose(correlations, scan, n_candidates, threshold, highest, count, room, sub)
            _load(entries, i, products, correlations, state, sub, count, n)
            goal = state.strictness[i] * tol * energy
            budget = coder.max_iter - state.n_iter[i]
            state.n_iter[i] += solve_subproblem(coder, entries, i, sub, n, energy, goal, budget)
            state.rounds[i] += 1
            _store(state, sub, i, n)
            if state.counts[i] == 0:
                correlations = products
            elif refresh(entries, products, state, i, scan):
                correlations = scan.correlations
            else:
                break
    return n_signals
