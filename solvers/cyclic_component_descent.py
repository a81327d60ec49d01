r"""Row updates for many components where part of the entries is known: coordinate descent with the residual kept.

A sweep over a row with N known entries costs 4 N r operations and no Gram matrix, which would take :math:`N r^2`: with
forty components and more, a few sweeps are cheaper. The rows of the other factor that belong to the known entries are
gathered into a tile once for all sweeps.

References
----------
H.-F. Yu, C.-J. Hsieh, S. Si and I. Dhillon, "Parallel matrix factorization for recommender systems", Knowledge and
Information Systems 41, 2014.
"""

import numpy as np

from .kernel import kernel
from .row_grams import load_tile


def new_long_tile(indptr: np.ndarray, start: int, stop: int, n_components: int) -> np.ndarray:
    """A tile that holds any one of the rows start..stop-1."""
    longest = int(np.diff(indptr[start : stop + 1]).max(initial=0))
    return np.zeros((n_components + 1, (longest + 15) // 16 * 16))


@kernel(fastmath={"contract", "reassoc", "nsz"})
def descend_rows(entries, first, last, F, K, terms, max_sweeps, delta, tile, weighted, error, scratch, totals):
    """Improve rows first..last-1 in place by coordinate descent on their residuals.

    Parameters
    ----------
    entries : SparseRows
        The known entries.
    first, last : int
        Which rows.
    F : ndarray of shape (n_rows, n_components)
        The factor, changed in place.
    K : ndarray of shape (n_columns, n_components)
        The other factor.
    terms : RowTerms
        Penalties and bounds.
    max_sweeps : int
        The most sweeps over a row.
    delta : float
        A row's sweeps stop once one lowers its objective by less than `delta` squared of what the first one did.
    tile, weighted : ndarray of shape (n_components + 1, width), float64
        Scratch from :func:`new_long_tile`; the same array twice where there are no weights.
    error : ndarray of shape (width,), float64
        Scratch.
    scratch : ndarray of shape (2, n_components), float64
        Scratch.
    totals : ndarray of shape (3,), float64
        Takes the loss, the squared KKT residual at entry and the most sweeps.
    """
    r = F.shape[1]
    f, curvature = scratch[0], scratch[1]
    indices, data, weights, indptr = entries.indices, entries.data, entries.weights, entries.indptr
    loss = 0.0
    for i in range(first, last):
        width = load_tile(indices, data, weights, indptr[i], indptr[i + 1], K, tile, weighted)
        l1, ridge, upper = terms.l1[i], terms.ridge[i], terms.upper[i]
        pulled = terms.pull.shape[0] > 0
        if width == 0 and ridge == 0.0:
            F[i] = 0.0  # nothing known, and no penalty that says what the row is
            continue
        for t in range(width):
            error[t] = tile[r, t]
        for a in range(r):
            f[a] = F[i, a]
            row, value = tile[a], f[a]
            if value != 0.0:
                for t in range(width):
                    error[t] -= value * row[t]
        for a in range(r):  # the certificate at entry: every coordinate's own best step
            row, other = tile[a], weighted[a]
            square, slope = 0.0, 0.0
            for t in range(width):
                square += other[t] * row[t]
                slope += other[t] * error[t]
            curvature[a] = square + ridge
            if curvature[a] > 0.0:
                slope += -l1 - ridge * f[a] + (terms.pull[i, a] if pulled else 0.0)
                move = min(max(f[a] + slope / curvature[a], 0.0), upper) - f[a]
                totals[1] += curvature[a] * move * move
        first_decrease = 0.0
        for sweep in range(max_sweeps):
            decrease = 0.0
            for a in range(r):
                row, other = tile[a], weighted[a]
                slope = -l1 - ridge * f[a] + (terms.pull[i, a] if pulled else 0.0)
                if curvature[a] <= 0.0:  # nothing depends on the entry, or only the l1 penalty does
                    f[a] = 0.0 if slope < 0.0 else f[a]
                    continue
                for t in range(width):
                    slope += other[t] * error[t]
                move = min(max(f[a] + slope / curvature[a], 0.0), upper) - f[a]
                if move != 0.0:
                    f[a] += move
                    decrease += curvature[a] * move * move
                    for t in range(width):
                        error[t] -= move * row[t]
            totals[2] = max(totals[2], sweep + 1)
            if sweep == 0:
                first_decrease = decrease
            if decrease <= delta * delta * first_decrease:
                break
        for a in range(r):
            F[i, a] = f[a]
        if weights.size > 0:
            for t in range(indptr[i + 1] - indptr[i]):
                loss += 0.5 * weights[indptr[i] + t] * error[t] * error[t]
        else:
            for t in range(width):
                loss += 0.5 * error[t] * error[t]
    totals[0] += loss
