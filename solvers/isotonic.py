"""Isotonic regression by pooling adjacent violators."""

import numpy as np

from .kernel import kernel


@kernel
def decreasing_isotonic(target, result):
    r"""The non-increasing sequence nearest to `target`, :math:`\arg\min_{x_1 \ge x_2 \ge \ldots} \|x - y\|^2`.

    Neighbours that violate the order are pooled to their mean; equal values of the result are equal bit for bit.

    Parameters
    ----------
    target : ndarray of shape (n,)
        The sequence y.
    result : ndarray of shape (n,)
        Receives the answer; may be `target` itself.

    References
    ----------
    R. Barlow, D. Bartholomew, J. Bremner, H. Brunk, "Statistical inference under order restrictions", 1972.
    """
    n = target.size
    total = np.empty(n)
    start = np.empty(n + 1, dtype=np.int64)
    blocks = 0
    for i in range(n):
        total[blocks], start[blocks] = target[i], i
        blocks += 1
        # Compare means by cross-multiplication of sizes: no division until the end.
        while blocks > 1:
            size, previous = i + 1 - start[blocks - 1], start[blocks - 1] - start[blocks - 2]
            if total[blocks - 2] * size > total[blocks - 1] * previous:
                break
            total[blocks - 2] += total[blocks - 1]
            blocks -= 1
    start[blocks] = n
    for b in range(blocks):
        mean = total[b] / (start[b + 1] - start[b])
        for i in range(start[b], start[b + 1]):
            result[i] = mean
