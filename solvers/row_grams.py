r"""The least squares of single rows when not every entry counts alike: a Gram matrix and a right-hand side for each.

Row i of a matrix, fitted by the rows of a factor K over the entries that are known, is the quadratic

.. math:: \tfrac12 \sum_{j \in \Omega_i} w_{ij} (x_{ij} - f \cdot k_j)^2 = \tfrac12 f^\top G_i f - b_i^\top f
    + \text{constant}, \qquad G_i = \sum_{j \in \Omega_i} w_{ij} k_j k_j^\top,
    \quad b_i = \sum_{j \in \Omega_i} w_{ij} x_{ij} k_j.

The rows of K that belong to the known entries are gathered into a tile that stays in the nearest cache, transposed, the
values of the entries as one more row below them. The inner products of the tile's rows are then G, b and the energy of
the row all at once: sixteen running sums at a time, vectorised along the entries. Only the upper triangle is made, in
float64 also for float32 data.

Where few entries are unknown, :math:`G_i = K^\top K - \sum_{j \notin \Omega_i} k_j k_j^\top` costs less. The difference
loses digits where a component lives on the unknown entries: such rows are made from the known ones.
"""

from functools import singledispatch
from typing import Any

import numpy as np

from .kernel import kernel
from .observed_matrix import DenseMatrix, MostEntries, SomeEntries, SparseMatrix

_TILE = 3072  # numbers in a tile: 24 kB
_LOST = 1e-6  # of a diagonal entry may be left by a difference before it is made anew

_SUMS = {"contract", "reassoc", "nsz"}


def new_tile(n_components: int) -> np.ndarray:
    """A tile for a factor: a row for each component, one for the values, zero rows up to a multiple of four."""
    height = (n_components + 4) // 4 * 4
    return np.zeros((height, max(32, _TILE // height // 16 * 16)))


@kernel
def load_tile(indices, data, weights, start, stop, K, tile, weighted):
    """Gather the rows of a factor that belong to listed entries.

    Parameters
    ----------
    indices : ndarray of int of shape (n_entries,)
        The columns of the entries: rows of `K`.
    data : ndarray of shape (n_entries,) or (0,)
        Their values; the row of values stays as it is when empty.
    weights : ndarray of shape (n_entries,) or (0,)
        Their weights; empty for none.
    start, stop : int
        Which entries; no more than the tile is wide.
    K : ndarray of shape (n_columns, n_components)
        The factor.
    tile : ndarray of shape (height, width), float64
        From :func:`new_tile`; written.
    weighted : ndarray of shape (height, width), float64
        Another one, written with the weights multiplied in; `tile` itself where there are no weights.

    Returns
    -------
    int
        How much of the tile's width is in use; what does not belong to an entry is zero.
    """
    r = K.shape[1]
    n = stop - start
    t = 0
    while t + 4 <= n:  # four entries at a time: their places in a row of the tile are neighbours
        s = np.uint64(start + t)
        k0, k1 = K[np.uint64(indices[s])], K[np.uint64(indices[s + np.uint64(1)])]
        k2, k3 = K[np.uint64(indices[s + np.uint64(2)])], K[np.uint64(indices[s + np.uint64(3)])]
        for a in range(r):
            row = tile[a]
            row[t], row[t + 1], row[t + 2], row[t + 3] = k0[a], k1[a], k2[a], k3[a]
        t += 4
    while t < n:
        k0 = K[np.uint64(indices[np.uint64(start + t)])]
        for a in range(r):
            tile[a, t] = k0[a]
        t += 1
    if data.size > 0:
        for t in range(n):
            tile[r, t] = data[start + t]
    width = (n + 15) // 16 * 16
    for a in range(r + 1):
        for t in range(n, width):
            tile[a, t] = 0.0
    if weights.size > 0:
        for a in range(r + 1):
            for t in range(n):
                weighted[a, t] = tile[a, t] * weights[start + t]
            for t in range(n, width):
                weighted[a, t] = 0.0
    return width


@kernel(fastmath=_SUMS)
def _add_block(left, right, width, a, b, gram):
    """Add the inner products of rows a..a+3 of one tile with rows b..b+3 of another."""
    x0, x1, x2, x3 = left[a, :width], left[a + 1, :width], left[a + 2, :width], left[a + 3, :width]
    y0, y1, y2, y3 = right[b, :width], right[b + 1, :width], right[b + 2, :width], right[b + 3, :width]
    s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = 0.0
    s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = 0.0
    for t in range(width):
        u0, u1, u2, u3 = x0[t], x1[t], x2[t], x3[t]
        v0, v1, v2, v3 = y0[t], y1[t], y2[t], y3[t]
        s00 += u0 * v0
        s01 += u0 * v1
        s02 += u0 * v2
        s03 += u0 * v3
        s10 += u1 * v0
        s11 += u1 * v1
        s12 += u1 * v2
        s13 += u1 * v3
        s20 += u2 * v0
        s21 += u2 * v1
        s22 += u2 * v2
        s23 += u2 * v3
        s30 += u3 * v0
        s31 += u3 * v1
        s32 += u3 * v2
        s33 += u3 * v3
    g0, g1, g2, g3 = gram[a, b : b + 4], gram[a + 1, b : b + 4], gram[a + 2, b : b + 4], gram[a + 3, b : b + 4]
    g0[0], g0[1], g0[2], g0[3] = g0[0] + s00, g0[1] + s01, g0[2] + s02, g0[3] + s03
    g1[0], g1[1], g1[2], g1[3] = g1[0] + s10, g1[1] + s11, g1[2] + s12, g1[3] + s13
    g2[0], g2[1], g2[2], g2[3] = g2[0] + s20, g2[1] + s21, g2[2] + s22, g2[3] + s23
    g3[0], g3[1], g3[2], g3[3] = g3[0] + s30, g3[1] + s31, g3[2] + s32, g3[3] + s33


@kernel(fastmath=_SUMS)
def _add_diagonal_block(left, right, width, a, gram):
    """Add the upper triangle of the inner products of rows a..a+3 of two tiles."""
    x0, x1, x2, x3 = left[a, :width], left[a + 1, :width], left[a + 2, :width], left[a + 3, :width]
    y0, y1, y2, y3 = right[a, :width], right[a + 1, :width], right[a + 2, :width], right[a + 3, :width]
    s00 = s01 = s02 = s03 = s11 = s12 = s13 = s22 = s23 = s33 = 0.0
    for t in range(width):
        u0, u1, u2, u3 = x0[t], x1[t], x2[t], x3[t]
        v0, v1, v2, v3 = y0[t], y1[t], y2[t], y3[t]
        s00 += u0 * v0
        s01 += u0 * v1
        s02 += u0 * v2
        s03 += u0 * v3
        s11 += u1 * v1
        s12 += u1 * v2
        s13 += u1 * v3
        s22 += u2 * v2
        s23 += u2 * v3
        s33 += u3 * v3
    g0, g1, g2, g3 = gram[a, a : a + 4], gram[a + 1, a : a + 4], gram[a + 2, a : a + 4], gram[a + 3, a : a + 4]
    g0[0], g0[1], g0[2], g0[3] = g0[0] + s00, g0[1] + s01, g0[2] + s02, g0[3] + s03
    g1[1], g1[2], g1[3] = g1[1] + s11, g1[2] + s12, g1[3] + s13
    g2[2], g2[3] = g2[2] + s22, g2[3] + s23
    g3[3] += s33


@kernel(fastmath=_SUMS)
def _add_last(left, right, width, a, last, gram):
    """Add the inner products of rows a..a+3 of one tile with the last row of another."""
    x0, x1, x2, x3 = left[a, :width], left[a + 1, :width], left[a + 2, :width], left[a + 3, :width]
    y = right[last, :width]
    s0 = s1 = s2 = s3 = 0.0
    for t in range(width):
        value = y[t]
        s0 += x0[t] * value
        s1 += x1[t] * value
        s2 += x2[t] * value
        s3 += x3[t] * value
    gram[a, last] += s0
    gram[a + 1, last] += s1
    gram[a + 2, last] += s2
    gram[a + 3, last] += s3


@kernel(fastmath=_SUMS)
def _last_square(left, right, width, last):
    x, y = left[last, :width], right[last, :width]
    total = 0.0
    for t in range(width):
        total += x[t] * y[t]
    return total


@kernel
def entry_gram(indices, data, weights, start, stop, K, tile, weighted, gram):
    """Write the extended Gram matrix of listed entries of one row.

    Parameters
    ----------
    indices : ndarray of int of shape (n_entries,)
        The columns of the entries: rows of `K`.
    data : ndarray of shape (n_entries,) or (0,)
        Their values; empty for zeros.
    weights : ndarray of shape (n_entries,) or (0,)
        Their weights; empty for none.
    start, stop : int
        Which entries; any number.
    K : ndarray of shape (n_columns, n_components)
        The factor.
    tile, weighted : ndarray of shape (height, width), float64
        Scratch, as in :func:`load_tile`.
    gram : ndarray of shape (height, height), float64
        Written in its upper triangle: the Gram matrix, in column `n_components` the right-hand side, and on the
        diagonal below them the energy of the row, the weighted sum of the squared values.
    """
    height, capacity = tile.shape
    r = K.shape[1]
    alone = r % 4 == 0  # then the row of values is the only one of the last four rows
    bottom = r if alone else height
    gram[:] = 0.0
    while start < stop:
        end = min(start + capacity, stop)
        width = load_tile(indices, data, weights, start, end, K, tile, weighted)
        for a in range(0, bottom, 4):
            _add_diagonal_block(tile, weighted, width, a, gram)
            for b in range(a + 4, bottom, 4):
                _add_block(tile, weighted, width, a, b, gram)
            if alone:
                _add_last(tile, weighted, width, a, r, gram)
        if alone:
            gram[r, r] += _last_square(tile, weighted, width, r)
        start = end


@kernel
def remaining_gram(X_row, unknown, start, stop, K, total, tile, known, values, gram):
    """Write the extended Gram matrix of the known entries of a row of which few entries are unknown.

    Parameters
    ----------
    X_row : ndarray of shape (n_columns,)
        The row.
    unknown : ndarray of int of shape (n_entries,)
        Lists of unknown columns, sorted in each row.
    start, stop : int
        Where the row's list is.
    K : ndarray of shape (n_columns, n_components)
        The factor.
    total : ndarray of shape (n_components, n_components), float64
        Its Gram matrix over all columns.
    tile : ndarray of shape (height, width), float64
        From :func:`new_tile`; scratch.
    known : ndarray of int64 of shape (n_columns,)
        Scratch.
    values : ndarray of shape (n_columns,)
        Scratch of the type of `X_row`.
    gram : ndarray of shape (height, height), float64
        Written in its upper triangle.

    Returns
    -------
    bool
        Whether the right-hand side and the energy were made too, because the row was made from its known entries.
    """
    r, n = K.shape[1], X_row.size
    nothing = values[:0]
    if 2 * (stop - start) < n:
        tile[r] = 0.0
        entry_gram(unknown, nothing, nothing, start, stop, K, tile, tile, gram)
        sound = True
        for a in range(r):
            for b in range(a, r):
                gram[a, b] = total[a, b] - gram[a, b]
            sound = sound and (gram[a, a] >= _LOST * total[a, a])
        if sound:
            return False
    n_known = 0
    for j in range(n):
        if start < stop and unknown[start] == j:
            start += 1
        else:
            known[n_known] = j
            values[n_known] = X_row[j]
            n_known += 1
    entry_gram(known, values, nothing, 0, n_known, K, tile, tile, gram)
    return True


@kernel
def unpack(gram, G, b):
    """Write the symmetric Gram matrix and the right-hand side of an extended one."""
    r = b.size
    for a in range(r):
        for c in range(a, r):
            G[a, c] = gram[a, c]
            G[c, a] = gram[a, c]
        b[a] = gram[a, r]


@kernel
def _some_grams(entries, K, rows, tile, weighted, gram, G, b):
    for s in range(rows.size):
        start, stop = entries.indptr[rows[s]], entries.indptr[rows[s] + 1]
        entry_gram(entries.indices, entries.data, entries.weights, start, stop, K, tile, weighted, gram)
        unpack(gram, G[s], b[s])


@kernel
def _most_grams(X, unknown, K, rows, total, tile, gram, G, b):
    known = np.empty(X.shape[1], dtype=np.int64)
    values = np.empty(X.shape[1], dtype=X.dtype)
    r = K.shape[1]
    for s in range(rows.size):
        i = rows[s]
        start, stop = unknown.indptr[i], unknown.indptr[i + 1]
        if not remaining_gram(X[i], unknown.indices, start, stop, K, total, tile, known, values, gram):
            for a in range(r):
                gram[a, r] = b[s, a]
        unpack(gram, G[s], b[s])


@singledispatch
def row_grams(matrix: Any, K: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The Gram matrices and right-hand sides of some rows.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The matrix, from :func:`~sparsemodels.solvers.observed_matrix.observe`.
    K : ndarray of shape (n_columns, n_components), C order
        The factor that the rows are fitted by, of the type of the matrix.
    rows : ndarray of int of shape (n_rows,)
        Which rows.

    Returns
    -------
    G : ndarray of shape (n_rows, n_components, n_components), float64
        A symmetric Gram matrix for each row: the sum of its known entries' rows of `K`, each times itself and the
        entry's weight. Where all entries are known they are one matrix, read-only, seen as many.
    b : ndarray of shape (n_rows, n_components), float64
        The right-hand sides: the same sums of values times rows of `K`.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.observed_matrix import observe
    >>> from sparsemodels.solvers.row_grams import row_grams
    >>> X = np.array([[1.0, np.nan, np.nan], [np.nan, 2.0, np.nan]])
    >>> K = np.array([[1.0, 0.0], [1.0, 3.0], [5.0, 5.0]])
    >>> G, b = row_grams(observe(X), K, np.array([1]))
    >>> G[0].tolist(), b[0].tolist()
    ([[1.0, 3.0], [3.0, 9.0]], [2.0, 6.0])
    """
    raise TypeError(f"not an observed matrix: {type(matrix).__name__}")


@row_grams.register
def _(matrix: DenseMatrix, K: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _shared(K, matrix.X[rows] @ K)


@row_grams.register
def _(matrix: SparseMatrix, K: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _shared(K, row_grams(SomeEntries(*matrix), K, rows)[1])  # zeros add nothing to the right-hand side


def _shared(K: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    wide = K.astype(np.float64, copy=False)
    G = wide.T @ wide
    return np.broadcast_to(G, (b.shape[0], *G.shape)), b.astype(np.float64, copy=False)


@row_grams.register
def _(matrix: SomeEntries, K: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r = K.shape[1]
    rows = np.asarray(rows, dtype=np.int64)
    G, b = np.empty((rows.size, r, r)), np.empty((rows.size, r))
    tile = new_tile(r)
    weighted = tile.copy() if matrix.rows.weights.size else tile
    _some_grams(matrix.rows, K, rows, tile, weighted, np.empty((tile.shape[0],) * 2), G, b)
    return G, b


@row_grams.register
def _(matrix: MostEntries, K: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r = K.shape[1]
    rows = np.asarray(rows, dtype=np.int64)
    wide = K.astype(np.float64, copy=False)
    b = (matrix.X[rows] @ K).astype(np.float64, copy=False)
    G = np.empty((rows.size, r, r))
    tile = new_tile(r)
    _most_grams(matrix.X, matrix.unknown_rows, K, rows, wide.T @ wide, tile, np.empty((tile.shape[0],) * 2), G, b)
    return G, b
