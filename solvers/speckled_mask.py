"""A random choice of matrix entries that is computed, not stored: which are held out of a factorization.

Whether the entry (i, j) is held out is a hash of (seed, i, j) below a threshold. So the choice is the same in whatever
blocks, order, threads or storage format the entries are visited.
"""

from typing import Any

import numpy as np

_GOLDEN = 0x9E3779B97F4A7C15  # 2 ** 64 over the golden ratio: the increment of splitmix64
_BLOCK = 1 << 16  # entries hashed at a time: the temporaries stay in cache


def splitmix64(state: Any, index: Any) -> np.ndarray:
    """The outputs of splitmix64 generators at some indices: random access to independent streams of 64 bits.

    Parameters
    ----------
    state : array-like of uint64
        The seed of each generator.
    index : array-like of integers
        Which output of it, counted from zero; broadcasts against `state`.

    Returns
    -------
    ndarray of uint64
        The outputs.

    References
    ----------
    G. L. Steele, D. Lea and C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, for the
    generator; the constants of the mixing function are D. Stafford's variant 13.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.speckled_mask import splitmix64
    >>> splitmix64(np.uint64(1234567), np.arange(2))
    array([6457827717110365317, 3203168211198807973], dtype=uint64)
    """
    # At least one dimension: NumPy warns when a scalar wraps around, not when an array does.
    index = np.atleast_1d(np.asarray(index)).astype(np.uint64)
    value = (index + np.uint64(1)) * np.uint64(_GOLDEN) + np.asarray(state, dtype=np.uint64)
    value ^= value >> np.uint64(30)
    value *= np.uint64(0xBF58476D1CE4E5B9)
    value ^= value >> np.uint64(27)
    value *= np.uint64(0x94D049BB133111EB)
    value ^= value >> np.uint64(31)
    return value


def speckled(rows: Any, columns: Any, fraction: float, seed: int) -> np.ndarray:
    """Whether entries are held out.

    The output i of a generator with the given seed is the seed of the generator of row i; its output j decides on the
    entry (i, j).

    Parameters
    ----------
    rows, columns : array-like of integers
        The positions of the entries, >= 0; they broadcast against each other.
    fraction : float
        The expected share of entries held out, in [0, 1).
    seed : int
        The choice, in [0, 2 ** 64).

    Returns
    -------
    ndarray of bool
        True where an entry is held out, of the broadcast shape and at least one-dimensional.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.speckled_mask import speckled
    >>> rows, columns = np.arange(300)[:, np.newaxis], np.arange(200)
    >>> held = speckled(rows, columns, 0.1, seed=0)
    >>> round(float(held.mean()), 2)
    0.1
    >>> bool(np.array_equal(held[7, 5:9], speckled(7, np.arange(5, 9), 0.1, seed=0)))
    True
    """
    streams = splitmix64(np.uint64(seed), rows)
    return splitmix64(streams, columns) < np.uint64(int(fraction * 2.0**64))


def hold_out(known: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Hold out known entries of a dense matrix, but never all of a row or of a column.

    A row whose known entries would all be held out keeps them all, and so does a column: nothing could be learnt
    about it from the rest.

    Parameters
    ----------
    known : ndarray of bool of shape (n_rows, n_columns)
        True where an entry is known.
    fraction : float
        The expected share of entries held out, in [0, 1).
    seed : int
        The choice, in [0, 2 ** 64).

    Returns
    -------
    ndarray of bool of shape (n_rows, n_columns)
        True where a known entry is held out.
    """
    held = np.empty(known.shape, dtype=bool)
    columns = np.arange(known.shape[1])
    step = max(_BLOCK // max(columns.size, 1), 1)
    for start in range(0, known.shape[0], step):
        rows = np.arange(start, min(start + step, known.shape[0]))
        held[rows] = speckled(rows[:, np.newaxis], columns, fraction, seed) & known[rows]
    for axis in (1, 0):
        emptied = np.count_nonzero(held, axis=axis) == np.count_nonzero(known, axis=axis)
        held[(emptied, slice(None)) if axis == 1 else (slice(None), emptied)] = False
    return held


def hold_out_listed(
    rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int], fraction: float, seed: int
) -> np.ndarray:
    """Hold out entries of a matrix that lists its known entries, by the same rule as :func:`hold_out`.

    Parameters
    ----------
    rows, columns : ndarray of integers of shape (n_entries,)
        The positions of the known entries, each once, in any order.
    shape : tuple of two int
        The shape of the matrix.
    fraction : float
        The expected share of entries held out, in [0, 1).
    seed : int
        The choice, in [0, 2 ** 64).

    Returns
    -------
    ndarray of bool of shape (n_entries,)
        True where an entry is held out.
    """
    held = np.empty(rows.size, dtype=bool)
    for start in range(0, rows.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        held[block] = speckled(rows[block], columns[block], fraction, seed)
    for position, size in ((rows, shape[0]), (columns, shape[1])):
        left = np.bincount(position[~held], minlength=size)
        held[left[position] == 0] = False
    return held
