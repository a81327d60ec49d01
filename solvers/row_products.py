"""Inner products of many vectors with all columns of a design whose rows lie contiguous in memory."""

import numpy as np

from .kernel import kernel

_COLUMNS, _ROWS = 256, 64  # a block of the design that stays in the nearest caches


@kernel(fastmath={"contract"})
def row_products(X, block, out):
    """Write the inner products of several vectors with all columns, :math:`B X`.

    Every number is the same sum in the same order whatever else is in the block, which no matrix product of a BLAS
    promises: there the order may depend on the shapes, and on the place in them.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns), C order
        The design, float32 or float64.
    block : ndarray of shape (n_block, n_rows), float64
        The vectors, one a row.
    out : ndarray of shape (n_block, n_columns), float64
        Where to write.
    """
    n, p = X.shape
    last = block.shape[0] - 1
    sums = np.empty((4, _COLUMNS))
    out[:] = 0.0
    for left in range(0, p, _COLUMNS):
        width = min(_COLUMNS, p - left)
        right = left + width
        s0, s1, s2, s3 = sums[0, :width], sums[1, :width], sums[2, :width], sums[3, :width]
        for top in range(0, n, _ROWS):
            bottom = min(top + _ROWS, n)
            for b0 in range(0, last + 1, 4):
                # Past the end the last one is taken again, and not written.
                b1, b2, b3 = min(b0 + 1, last), min(b0 + 2, last), min(b0 + 3, last)
                s0[:], s1[:] = out[b0, left:right], out[b1, left:right]
                s2[:], s3[:] = out[b2, left:right], out[b3, left:right]
                i = top
                while i + 4 <= bottom:  # sixteen products for every four numbers read
                    x0, x1, x2, x3 = X[i, left:right], X[i + 1, left:right], X[i + 2, left:right], X[i + 3, left:right]
                    v00, v01, v02, v03 = block[b0, i], block[b0, i + 1], block[b0, i + 2], block[b0, i + 3]
                    v10, v11, v12, v13 = block[b1, i], block[b1, i + 1], block[b1, i + 2], block[b1, i + 3]
                    v20, v21, v22, v23 = block[b2, i], block[b2, i + 1], block[b2, i + 2], block[b2, i + 3]
                    v30, v31, v32, v33 = block[b3, i], block[b3, i + 1], block[b3, i + 2], block[b3, i + 3]
                    for j in range(width):
                        u0, u1, u2, u3 = np.float64(x0[j]), np.float64(x1[j]), np.float64(x2[j]), np.float64(x3[j])
                        s0[j] += v00 * u0 + v01 * u1 + v02 * u2 + v03 * u3
                        s1[j] += v10 * u0 + v11 * u1 + v12 * u2 + v13 * u3
                        s2[j] += v20 * u0 + v21 * u1 + v22 * u2 + v23 * u3
                        s3[j] += v30 * u0 + v31 * u1 + v32 * u2 + v33 * u3
                    i += 4
                while i < bottom:
                    x0 = X[i, left:right]
                    v0, v1, v2, v3 = block[b0, i], block[b1, i], block[b2, i], block[b3, i]
                    for j in range(width):
                        u0 = np.float64(x0[j])
                        s0[j] += v0 * u0
                        s1[j] += v1 * u0
                        s2[j] += v2 * u0
                        s3[j] += v3 * u0
                    i += 1
                out[b0, left:right] = s0
                if b0 + 1 <= last:
                    out[b1, left:right] = s1
                if b0 + 2 <= last:
                    out[b2, left:right] = s2
                if b0 + 3 <= last:
                    out[b3, left:right] = s3
