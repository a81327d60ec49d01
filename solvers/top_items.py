"""The best columns of every row of a score matrix that is never held whole."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .kernel import kernel

_BLOCK_BYTES = 1 << 25


@kernel
def _best_of_rows(scores, first, indptr, indices, best, best_scores):
    """Fill a heap of the best columns of each row, the worst of them on top, and sort it from the end.

    The listed columns of a row are left out. Of equal scores the smaller column counts as better.
    """
    size = best.shape[1]
    for i in range(scores.shape[0]):
        heap, keys = best[first + i], best_scores[first + i]
        listed, last = 0, 0
        if indptr.size:
            listed, last = indptr[first + i], indptr[first + i + 1]
        count = 0
        for j in range(scores.shape[1]):
            if listed < last and indices[listed] == j:
                listed += 1
                continue
            value = scores[i, j]
            if not value > -np.inf or (count == size and not value > keys[0]):
                continue
            if count < size:  # up from the end
                at = count
                count += 1
                while at > 0:
                    above = (at - 1) // 2
                    # j is larger than all columns before it: of equal scores it is the worse one
                    if keys[above] < value:
                        break
                    heap[at], keys[at] = heap[above], keys[above]
                    at = above
                heap[at], keys[at] = j, value
            else:
                _sink(heap, keys, size, j, value)
        for end in range(count - 1, 0, -1):
            j, value = heap[end], keys[end]
            heap[end], keys[end] = heap[0], keys[0]
            _sink(heap, keys, end, j, value)
        heap[count:] = -1
        keys[count:] = -np.inf


@kernel
def _sink(heap, keys, size, j, value):
    """Put an entry on the top of a heap in the place of what is there and let it down."""
    at = 0
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        right = below + 1
        if right < size and (keys[right] < keys[below] or (keys[right] == keys[below] and heap[right] > heap[below])):
            below = right
        if keys[below] > value or (keys[below] == value and heap[below] < j):
            break
        heap[at], keys[at] = heap[below], keys[below]
        at = below
    heap[at], keys[at] = j, value


def top_items(
    score_rows: Callable[[slice], np.ndarray], n_rows: int, n_columns: int, n_items: int, *, exclude: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rank the best columns of every row, a block of rows at a time.

    Parameters
    ----------
    score_rows : callable
        Takes a slice of rows and returns their scores, an ndarray of shape (n_rows_of_slice, n_columns).
    n_rows, n_columns : int
        The shape of the score matrix.
    n_items : int
        How many columns to return for each row, 1 to `n_columns`.
    exclude : scipy CSR array of shape (n_rows, n_columns), optional
        Its stored entries are left out.

    Returns
    -------
    items : ndarray of int64 of shape (n_rows, n_items)
        The columns in the order of decreasing scores, of equal ones the smaller first; -1 where a row has no more.
    scores : ndarray of float64 of shape (n_rows, n_items)
        Their scores; -inf where there is none.
    """
    items, scores = np.empty((n_rows, n_items), dtype=np.int64), np.empty((n_rows, n_items))
    indptr, indices = np.empty(0, np.int32), np.empty(0, np.int32)
    if exclude is not None:
        exclude = exclude if exclude.has_sorted_indices else exclude.sorted_indices()
        indptr, indices = exclude.indptr, exclude.indices
    block = max(1, _BLOCK_BYTES // (8 * n_columns))
    for first in range(0, n_rows, block):
        rows = score_rows(slice(first, min(first + block, n_rows)))
        _best_of_rows(np.ascontiguousarray(rows), first, indptr, indices, items, scores)
    return items, scores
