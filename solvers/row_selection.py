"""The k largest entries of every row of a matrix.

The maxima of many interleaved parts of a row come first, in one vectorised pass. The k-th largest of them is a lower
bound of the k-th largest entry: the entries that reach it are a few more than k, and the selection among them is short.
"""

import numpy as np

from .kernel import kernel
from .row_blocks import map_blocks

#: At least so many parts of a row for each entry wanted: more leave fewer candidates and cost more themselves.
_PARTS = 4


@kernel
def kth_largest(keys, count, k):
    """The k-th largest of the first `count` keys, which are reordered (Hoare's selection)."""
    low, high, target = 0, count - 1, k - 1
    while low < high:
        pivot = keys[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while keys[i] > pivot:
                i += 1
            while pivot > keys[j]:
                j -= 1
            if i <= j:
                keys[i], keys[j] = keys[j], keys[i]
                i += 1
                j -= 1
        if target <= j:
            high = j
        elif target >= i:
            low = i
        else:
            break
    return keys[target]


@kernel
def _magnitude(value, signed):
    return abs(value) if signed else value


@kernel
def selection_scratch(row, k):
    """Scratch of :func:`select_from_row` for rows like this one: maxima of parts, their places, keys, survivors."""
    parts = row.size
    while parts >= 2 * _PARTS * k:
        parts = (parts + 1) // 2
    places = np.empty(parts, dtype=np.int32)
    return np.empty(parts, dtype=row.dtype), places, np.empty(row.size, row.dtype), np.empty(row.size, dtype=np.int32)


@kernel
def select_from_row(row, k, signed, scratch, indices, values):
    """Select the largest entries of one row.

    Parameters
    ----------
    row : ndarray of shape (n_columns,)
        The row. NaN is never selected.
    k : int
        How many entries.
    signed : bool
        Whether magnitudes are compared; else only positive entries are selected.
    scratch : tuple of ndarray
        From :func:`selection_scratch`.
    indices : ndarray of shape (k,), int32
        Filled with the columns, increasing; of equal entries the first are taken.
    values : ndarray of shape (k,)
        Filled with the entries.

    Returns
    -------
    int
        The number of entries: fewer than k where no more are nonzero (or positive).
    """
    maxima, high_parts, keys, survivors = scratch
    smallest = np.nextafter(row.dtype.type(0), row.dtype.type(1))  # no zero is selected
    maxima[:] = smallest
    for left in range(0, row.size, maxima.size):
        part = row[left : left + maxima.size]
        if signed:
            for j in range(part.size):
                key = abs(part[j])
                maxima[j] = key if key > maxima[j] else maxima[j]
        else:
            for j in range(part.size):
                maxima[j] = part[j] if part[j] > maxima[j] else maxima[j]
    keys[: maxima.size] = maxima
    bound = kth_largest(keys, maxima.size, k) if maxima.size > k else smallest
    # Entries that reach the bound stand in the parts whose maximum does: little more than k of them.
    n_high = 0
    for j in range(maxima.size):
        high_parts[n_high] = j
        n_high += maxima[j] >= bound
    found = 0
    for left in range(0, row.size, maxima.size):
        for t in range(n_high):
            j = left + high_parts[t]
            if j >= row.size:
                break
            key = _magnitude(row[j], signed)
            survivors[found], keys[found] = j, key  # kept by the next line or overwritten: no branch to mispredict
            found += key >= bound
    places = k  # for entries equal to the k-th largest
    if found > k:
        bound = kth_largest(keys, found, k)
        for t in range(k):
            places -= keys[t] > bound
    count = 0
    for s in range(found):
        j = survivors[s]
        key = _magnitude(row[j], signed)
        if found > k and key <= bound:
            if key < bound or places == 0:
                continue
            places -= 1
        indices[count], values[count] = j, row[j]
        count += 1
    return count


@kernel
def _select_rows(A, k, signed, indices, values, counts):
    scratch = selection_scratch(A[0], k)
    for i in range(A.shape[0]):
        counts[i] = select_from_row(A[i], k, signed, scratch, indices[i], values[i])


def largest_in_rows(
    A: np.ndarray, k: int, signed: bool = False, n_jobs: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Select the k largest entries of every row.

    Parameters
    ----------
    A : ndarray of shape (n_rows, n_columns), C order
        The matrix. NaN is never selected.
    k : int
        How many entries a row.
    signed : bool, default=False
        Whether magnitudes are compared; else only positive entries are selected.
    n_jobs : int, optional
        Threads over blocks of rows.

    Returns
    -------
    indices : ndarray of shape (n_rows, min(k, n_columns)), int32
        The columns, increasing; of equal entries the first are taken. Zero behind the count.
    values : ndarray of shape (n_rows, min(k, n_columns))
        The entries. Zero behind the count.
    counts : ndarray of shape (n_rows,), int64
        How many entries of each row count: fewer than k where no more are nonzero (or positive).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.row_selection import largest_in_rows
    >>> indices, values, counts = largest_in_rows(np.array([[1.0, -5.0, 2.0, 4.0]]), 2)
    >>> indices, values, counts
    (array([[2, 3]], dtype=int32), array([[2., 4.]]), array([2]))
    """
    k = min(k, A.shape[1])
    indices = np.zeros((A.shape[0], k), dtype=np.int32)
    values = np.zeros((A.shape[0], k), dtype=A.dtype)
    counts = np.zeros(A.shape[0], dtype=np.int64)

    def work(start: int, stop: int) -> None:
        rows = slice(start, stop)
        _select_rows(A[rows], k, signed, indices[rows], values[rows], counts[rows])

    map_blocks(A.shape[0], n_jobs, work)
    return indices, values, counts
