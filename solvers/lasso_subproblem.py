r"""The lasso of one signal on a few atoms: what the solvers of it share.

.. math:: \min_z \; \tfrac12 \Big\|x - \sum_{j} z_j d_{a_j}\Big\|^2 + \alpha \|z\|_1

over a working set of atoms :math:`a_1, \dots, a_n` needs their inner products with the signal and with each other
only. Rows of the small Gram matrix are taken when an atom first moves: most atoms of a working set never do. All of it
is small enough for the nearest cache, and in float64 whatever the precision of the data.
"""

from typing import Any, NamedTuple

import numpy as np

from .generic import generic
from .kernel import kernel

_FAST = {"contract", "nsz", "reassoc"}


class GramEntries(NamedTuple):
    """Inner products of atoms that are all known.

    Attributes
    ----------
    gram : ndarray of shape (n_atoms, n_atoms)
        The Gram matrix of the dictionary.
    """

    gram: np.ndarray


class AtomProducts(NamedTuple):
    """Inner products of atoms that are computed when wanted, over the known entries of a signal.

    Attributes
    ----------
    atoms : ndarray of shape (n_atoms, n_features)
        The dictionary.
    weights : ndarray of shape (n_signals, n_features) or (0, n_features), float64
        One where an entry of a signal is known, else zero; empty if all are.
    buffer : ndarray of shape (n_features,), float64
        Scratch.
    """

    atoms: np.ndarray
    weights: np.ndarray
    buffer: np.ndarray


class Subproblem(NamedTuple):
    """A lasso on n atoms with room for `capacity` of them.

    Attributes
    ----------
    atoms : ndarray of shape (capacity,), int64
        The working set.
    products : ndarray of shape (capacity,), float64
        Inner products of the signal with its atoms.
    squares : ndarray of shape (capacity,), float64
        Their squared norms.
    code : ndarray of shape (capacity,), float64
        The coefficients, changed in place.
    correlations : ndarray of shape (capacity,), float64
        Inner products of the residual with the atoms, kept up to date.
    gram : ndarray of shape (capacity * capacity,), float64
        Row j of the n x n Gram matrix begins at ``j * n``.
    present : ndarray of shape (capacity,), int8
        Whether a row is there.
    factor : ndarray of shape (capacity * capacity,), float64
        A Cholesky factor of the active atoms, rows of length n, with the inverses of its diagonal.
    active : ndarray of shape (capacity,), int64
        Places of the active atoms in the working set.
    sides : ndarray of shape (capacity,), int8
        The sign of an active atom, 0 of one that is not, 2 of one that must not enter.
    step : ndarray of shape (capacity,), float64
        A direction in the active coefficients.
    forward : ndarray of shape (capacity,), float64
        The right side of `step` after forward substitution.
    slope : ndarray of shape (capacity,), float64
        The change of the correlations along `step`.
    exact : ndarray of shape (1,), bool
        Whether the last solution is exact to rounding.
    """

    atoms: np.ndarray
    products: np.ndarray
    squares: np.ndarray
    code: np.ndarray
    correlations: np.ndarray
    gram: np.ndarray
    present: np.ndarray
    factor: np.ndarray
    active: np.ndarray
    sides: np.ndarray
    step: np.ndarray
    forward: np.ndarray
    slope: np.ndarray
    exact: np.ndarray


def subproblem(capacity: int) -> Subproblem:
    """Scratch for working sets of up to `capacity` atoms."""
    square = capacity * capacity
    return Subproblem(
        atoms=np.empty(capacity, dtype=np.int64),
        products=np.empty(capacity),
        squares=np.empty(capacity),
        code=np.empty(capacity),
        correlations=np.empty(capacity),
        gram=np.empty(square),
        present=np.empty(capacity, dtype=np.int8),
        factor=np.empty(square),
        active=np.empty(capacity, dtype=np.int64),
        sides=np.empty(capacity, dtype=np.int8),
        step=np.empty(capacity),
        forward=np.empty(capacity),
        slope=np.empty(capacity),
        exact=np.zeros(1, dtype=bool),
    )


@generic
def squared_norm(entries: Any, signal: int, atom: int) -> float:
    """The squared norm of an atom over the known entries of a signal."""
    raise TypeError


@generic
def fill_row(entries: Any, signal: int, sub: Subproblem, n: int, j: int) -> None:
    """Fill row j of the small Gram matrix of n atoms."""
    raise TypeError


@generic
def solve_subproblem(
    coder: Any, entries: Any, signal: int, sub: Subproblem, n: int, energy: float, gap: float, budget: int
) -> int:
    """Solve the lasso on the first n atoms of a working set.

    The implementations start at ``sub.code``, of which ``sub.correlations`` hold the correlations, or at zero. They
    leave a code whose duality gap on the working set is at most `gap`, for a signal with half squared norm `energy`,
    and its correlations, after at most about `budget` sweeps or steps; they return how many it took.
    """
    raise TypeError


@squared_norm.register(GramEntries)
def _(entries, signal, atom):
    return np.float64(entries.gram[atom, atom])


@fill_row.register(GramEntries)
def _(entries, signal, sub, n, j):
    row = entries.gram[sub.atoms[j]]
    first = j * n
    for b in range(n):
        sub.gram[first + b] = row[sub.atoms[b]]
    sub.present[j] = 1


@kernel(fastmath=_FAST)
def _inner(left, right):
    total = 0.0
    for t in range(left.size):
        total += np.float64(left[t]) * right[t]
    return total


@squared_norm.register(AtomProducts)
def _(entries, signal, atom):
    row = entries.atoms[atom]
    total = 0.0
    if entries.weights.shape[0] == 0:
        for t in range(row.size):
            total += np.float64(row[t]) * row[t]
    else:
        weights = entries.weights[signal]
        for t in range(row.size):
            total += np.float64(row[t]) * row[t] * weights[t]
    return total


@fill_row.register(AtomProducts)
def _(entries, signal, sub, n, j):
    row, buffer = entries.atoms[sub.atoms[j]], entries.buffer
    for t in range(buffer.size):
        buffer[t] = row[t]
    if entries.weights.shape[0] > 0:
        weights = entries.weights[signal]
        for t in range(buffer.size):
            buffer[t] *= weights[t]
    first = j * n
    for b in range(n):
        sub.gram[first + b] = sub.squares[j] if b == j else _inner(entries.atoms[sub.atoms[b]], buffer)
    sub.present[j] = 1


@kernel
def append_active(sub, n, size, j, limit):
    """Border the factor of the active atoms by atom j of the working set; whether it is independent enough.

    Parameters
    ----------
    sub : Subproblem
        Holds row j of the Gram matrix, and the active atoms in ``active[:size]``.
    n : int
        The size of the working set.
    size : int
        The number of active atoms before.
    j : int
        The new one.
    limit : float
        The smallest squared pivot, relative to the squared norm of the atom.

    Returns
    -------
    bool
        False leaves the factor as it was.
    """
    factor, new, start = sub.factor, size * n, j * n
    rest = sub.gram[start + j]
    bound = limit * rest
    for s in range(size):
        row = s * n
        total = sub.gram[start + sub.active[s]]
        for t in range(s):
            total -= factor[row + t] * factor[new + t]
        total *= factor[row + s]
        factor[new + s] = total
        rest -= total * total
    if not rest > bound:
        return False
    factor[new + size] = 1.0 / np.sqrt(rest)
    sub.active[size] = j
    return True


@kernel
def substitute_back(sub, n, size):
    """From ``forward`` to ``step``: the second half of a solution with the factor."""
    factor, step = sub.factor, sub.step
    for s in range(size):
        step[s] = sub.forward[s]
    for s in range(size - 1, -1, -1):
        row = s * n
        value = step[s] * factor[row + s]
        step[s] = value
        for t in range(s):
            step[t] -= factor[row + t] * value


@kernel
def substitute_forward(sub, n, size, s, right):
    """The entry s of ``forward`` for one more entry of the right side."""
    row = s * n
    for t in range(s):
        right -= sub.factor[row + t] * sub.forward[t]
    sub.forward[s] = right * sub.factor[row + s]


@kernel(fastmath=_FAST)
def refresh_correlations(sub, n):
    """The correlations of the code, from the inner products of the signal."""
    for b in range(n):
        sub.correlations[b] = sub.products[b]
    for j in range(n):
        value = sub.code[j]
        if value != 0.0:
            first = j * n
            for b in range(n):
                sub.correlations[b] -= value * sub.gram[first + b]
