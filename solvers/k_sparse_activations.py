r"""Activations that keep few of the pre-activations of an autoencoder: which entries of a matrix become its code.

Pre-activations A hold one row a sample and one column a latent. An activation is a record; :func:`select` applies it
to all rows at once and returns the code in compressed rows, of which the entries are those of A at the places kept:

- :class:`TopKActivation` keeps of each row the k largest positive entries;
- :class:`AbsTopKActivation` keeps of each row the k entries largest in magnitude, with their signs;
- :class:`BatchTopKActivation` keeps the k m largest positive entries of all m rows together;
- :class:`FeatureChoiceActivation` keeps of column j the :math:`m_j` largest positive entries, where :math:`m_j` falls
  with j by the law of Zipf and sums to about k m;
- :class:`TopAFAActivation` keeps of each row the largest positive entries, as many as bring the norm of the code
  nearest to the norm :math:`\|x - b\|` of the sample;
- :class:`ThresholdActivation` keeps what reaches the threshold of its latent. It replaces batch top-k and feature
  choice outside training, where the code of a sample may not depend on the samples beside it.

An activation is piecewise the identity: its derivative is one at the places kept and zero elsewhere.

References
----------
A. Makhzani and B. Frey, "k-sparse autoencoders", ICLR 2014. L. Gao et al., "Scaling and evaluating sparse
autoencoders", ICLR 2025. X. Zhu, M. Khalili and Z. Zhu, "AbsTopK: rethinking sparse autoencoders for bidirectional
features", 2025. B. Bussmann, P. Leask and N. Nanda, "BatchTopK sparse autoencoders", 2024. K. Ayonrinde, "Adaptive
sparse allocation with mutual choice and feature choice sparse autoencoders", 2024. S. Lee et al., "Evaluating and
designing sparse autoencoders by approximating quasi-orthogonality", 2025.
"""

from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np

from .kernel import kernel
from .row_blocks import map_blocks
from .row_selection import kth_largest, largest_in_rows
from .sparse_codes import SparseCodes, concatenated, from_padded

_SAMPLED_EVERY = 61  # entries: a prime, so that no column is met more often than others
_MARGIN, _LEAST_SAMPLE = 1.1, 64  # more entries than wanted, relative and of the sample

#: Thresholds lie so much below the entries they come from: no rounding of a product drops these.
BELOW = 1.0 - 1e-5


class TopKActivation(NamedTuple):
    """Keep the largest positive entries of each row.

    Attributes
    ----------
    n_nonzero : int
        The most entries of a row, k.
    """

    n_nonzero: int


class AbsTopKActivation(NamedTuple):
    """Keep the entries of each row that are largest in magnitude, with their signs.

    Attributes
    ----------
    n_nonzero : int
        The most entries of a row, k.
    """

    n_nonzero: int


class BatchTopKActivation(NamedTuple):
    """Keep the largest positive entries of all rows together.

    Attributes
    ----------
    n_nonzero : int
        The entries of a row on average, k.
    """

    n_nonzero: int


class FeatureChoiceActivation(NamedTuple):
    r"""Keep the largest positive entries of each column, as many as the law of Zipf and Mandelbrot gives it.

    Column j, counted from one, keeps a share of the rows in proportion to :math:`(j + \text{offset})^{-s}`, at least
    one row and at most all.

    Attributes
    ----------
    n_nonzero : int
        The entries of a row on average, k.
    exponent : float
        The exponent s of the law.
    offset : float
        Flattens the head of the law.
    """

    n_nonzero: int
    exponent: float = 1.0
    offset: float = 10.0


class TopAFAActivation(NamedTuple):
    r"""Keep as many of the largest positive entries of each row as bring their norm nearest to that of the sample.

    Attributes
    ----------
    n_nonzero : int
        The most entries of a row.
    norm_weight : float
        Weight in the loss of the mean of :math:`(\|z\| - \|x - b\|)^2`.
    """

    n_nonzero: int
    norm_weight: float = 1.0 / 32.0


class ThresholdActivation(NamedTuple):
    """Keep the entries that reach the threshold of their column.

    Attributes
    ----------
    thresholds : ndarray of shape (n_latents,)
        Thresholds > 0; infinite for a latent that never fires.
    """

    thresholds: np.ndarray


Activation = (
    TopKActivation
    | AbsTopKActivation
    | BatchTopKActivation
    | FeatureChoiceActivation
    | TopAFAActivation
    | ThresholdActivation
)


@singledispatch
def select(
    activation: Any, preactivations: np.ndarray, norms: np.ndarray | None = None, *, n_jobs: int | None = None
) -> SparseCodes:
    r"""The code of all rows: the entries that an activation keeps.

    Parameters
    ----------
    activation : TopKActivation or another record of this module
        What to keep.
    preactivations : ndarray of shape (n_samples, n_latents), C order
        The pre-activations A.
    norms : ndarray of shape (n_samples,), float64, optional
        The norms :math:`\|x - b\|` of the samples; :class:`TopAFAActivation` needs them.
    n_jobs : int, optional
        Threads over blocks of rows; the answer does not depend on them.

    Returns
    -------
    SparseCodes
        The kept entries. Of equal entries the first are kept; zeros never are.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.k_sparse_activations import AbsTopKActivation, BatchTopKActivation, select
    >>> from sparsemodels.solvers.sparse_codes import to_dense
    >>> A = np.array([[3.0, -4.0, 2.0], [0.5, 1.0, -2.0]])
    >>> to_dense(select(AbsTopKActivation(1), A))
    array([[ 0., -4.,  0.],
           [ 0.,  0., -2.]])
    >>> to_dense(select(BatchTopKActivation(1), A))
    array([[3., 0., 2.],
           [0., 0., 0.]])
    """
    raise TypeError(f"not an activation: {type(activation).__name__}")


@select.register(TopKActivation)
def _(activation, preactivations, norms=None, *, n_jobs=None):
    return from_padded(*largest_in_rows(preactivations, activation.n_nonzero, False, n_jobs), preactivations.shape[1])


@select.register(AbsTopKActivation)
def _(activation, preactivations, norms=None, *, n_jobs=None):
    return from_padded(*largest_in_rows(preactivations, activation.n_nonzero, True, n_jobs), preactivations.shape[1])


@select.register(BatchTopKActivation)
def _(activation, preactivations, norms=None, *, n_jobs=None):
    count = activation.n_nonzero * preactivations.shape[0]
    bounds = np.full(preactivations.shape[1], _probable_bound(preactivations, count))
    codes = _reaching(preactivations, bounds)
    if codes.values.size < count and bounds[0] > _smallest(preactivations.dtype):  # the sample was not typical
        bounds[:] = _smallest(preactivations.dtype)
        codes = _reaching(preactivations, bounds)
    return _largest_of_all(codes, count)


@select.register(FeatureChoiceActivation)
def _(activation, preactivations, norms=None, *, n_jobs=None):
    n_samples, n_latents = preactivations.shape
    wanted = column_counts(activation, n_samples, n_latents)

    def work(start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        columns = np.ascontiguousarray(preactivations[:, start:stop].T)
        total = int(wanted[start:stop].sum())
        rows, values = np.empty(total, dtype=np.int32), np.empty(total, dtype=columns.dtype)
        counts = np.empty(stop - start, dtype=np.int64)
        found = _largest_in_each(columns, wanted[start:stop], rows, values, counts)
        return rows[:found], values[:found], counts

    parts = map_blocks(n_latents, n_jobs, work, block=256)
    rows, values, counts = (np.concatenate(pieces) for pieces in zip(*parts, strict=True))
    return _by_rows(rows, values, counts, n_samples)


@select.register(TopAFAActivation)
def _(activation, preactivations, norms=None, *, n_jobs=None):
    n_latents = preactivations.shape[1]

    def work(start: int, stop: int) -> SparseCodes:
        A = preactivations[start:stop]
        indptr = np.zeros(A.shape[0] + 1, dtype=np.int64)
        indices, values = np.empty(A.size, dtype=np.int32), np.empty(A.size, dtype=A.dtype)
        _match_norms(A, norms[start:stop], activation.n_nonzero, indptr, indices, values)
        return SparseCodes(indptr, indices[: indptr[-1]].copy(), values[: indptr[-1]].copy(), n_latents)

    return concatenated(map_blocks(preactivations.shape[0], n_jobs, work))


@select.register(ThresholdActivation)
def _(activation, preactivations, norms=None, *, n_jobs=None):
    bounds = activation.thresholds.astype(preactivations.dtype)
    return concatenated(
        map_blocks(preactivations.shape[0], n_jobs, lambda start, stop: _reaching(preactivations[start:stop], bounds))
    )


def batch_thresholds(activation: Any, codes: SparseCodes) -> np.ndarray:
    """The thresholds that one batch suggests for the codes of single samples.

    Parameters
    ----------
    activation : BatchTopKActivation or FeatureChoiceActivation
        The activation that made the codes.
    codes : SparseCodes
        The codes of a batch.

    Returns
    -------
    ndarray of shape (n_latents,), float64
        The smallest entry kept, of the whole batch or of each latent, times ``BELOW``. NaN where nothing was kept.
    """
    least = np.full(codes.n_atoms, np.inf)
    if isinstance(activation, FeatureChoiceActivation):
        np.minimum.at(least, codes.indices, codes.values)
    elif codes.values.size:
        least[:] = codes.values.min()
    return np.where(np.isfinite(least), BELOW * least, np.nan)


def with_budget(activation: Any, n_nonzero: int) -> Any:
    """The same activation with another number of entries."""
    return activation._replace(n_nonzero=n_nonzero)


def column_counts(activation: FeatureChoiceActivation, n_samples: int, n_latents: int) -> np.ndarray:
    """How many samples each latent takes: the law of Zipf, cut at one and at all samples, summing to the budget.

    Parameters
    ----------
    activation : FeatureChoiceActivation
        The law and the mean number of latents of a sample.
    n_samples : int
        The samples of the batch.
    n_latents : int
        The latents.

    Returns
    -------
    ndarray of shape (n_latents,), int64
        Falling counts. Their sum is the budget up to rounding, if that is at least one sample for each latent.
    """
    law = (np.arange(1, n_latents + 1) + activation.offset) ** -activation.exponent
    budget = float(min(activation.n_nonzero, n_latents)) * n_samples
    low, high = 0.0, n_samples / law[-1]
    for _ in range(100):  # the sum rises with the factor
        factor = 0.5 * (low + high)
        if np.clip(factor * law, 1.0, n_samples).sum() < budget:
            low = factor
        else:
            high = factor
    return np.rint(np.clip(high * law, 1.0, n_samples)).astype(np.int64)


def _smallest(dtype: Any) -> Any:
    """The smallest positive number: a bound that every positive entry reaches."""
    return np.nextafter(dtype.type(0), dtype.type(1))


def _probable_bound(A: np.ndarray, count: int) -> Any:
    """A number that a little more than `count` entries reach, in all likelihood: a quantile of every 61st entry."""
    smallest = _smallest(A.dtype)
    sample = A.reshape(-1)[::_SAMPLED_EVERY]
    rank = int(count / _SAMPLED_EVERY * _MARGIN) + _LEAST_SAMPLE
    if rank >= sample.size:
        return smallest
    return max(np.partition(sample, sample.size - rank)[sample.size - rank], smallest)


def _largest_of_all(codes: SparseCodes, count: int) -> SparseCodes:
    """The `count` largest entries of a code; of equal ones the first."""
    values = codes.values
    if values.size <= count:
        return codes
    least = np.partition(values, values.size - count)[values.size - count]
    kept = values > least
    ties = np.flatnonzero(values == least)
    kept[ties[: count - np.count_nonzero(kept)]] = True
    before = np.concatenate(([0], np.cumsum(kept)))
    return SparseCodes(before[codes.indptr], codes.indices[kept], values[kept], codes.n_atoms)


@kernel
def _append_reaching(A, bounds, indptr, indices, values):
    at = 0
    for i in range(A.shape[0]):
        row = A[i]
        for j in range(row.size):
            indices[at], values[at] = j, row[j]  # kept by the next line or overwritten: no branch to mispredict
            at += row[j] >= bounds[j]
        indptr[i + 1] = at


def _reaching(A: np.ndarray, bounds: np.ndarray) -> SparseCodes:
    """The entries that reach the bound of their column."""
    indptr = np.zeros(A.shape[0] + 1, dtype=np.int64)
    indices, values = np.empty(A.size + 1, dtype=np.int32), np.empty(A.size + 1, dtype=A.dtype)
    _append_reaching(A, bounds, indptr, indices, values)
    return SparseCodes(indptr, indices[: indptr[-1]].copy(), values[: indptr[-1]].copy(), A.shape[1])


@kernel
def _largest_in_each(rows_of_A, wanted, indices, values, counts):
    """The largest positive entries of each row, a number of its own; returns how many there are in all."""
    keys = np.empty(rows_of_A.shape[1] + 1, dtype=rows_of_A.dtype)
    at = 0
    for i in range(rows_of_A.shape[0]):
        row = rows_of_A[i]
        found = 0
        for j in range(row.size):
            keys[found] = row[j]
            found += row[j] > 0.0
        count = min(found, wanted[i])
        counts[i] = count
        if count == 0:
            continue
        least = kth_largest(keys, found, count)
        places = count  # for entries equal to the least one
        for t in range(found):
            places -= keys[t] > least
        for j in range(row.size):
            if row[j] >= least:
                if row[j] == least:
                    if places == 0:
                        continue
                    places -= 1
                indices[at], values[at] = j, row[j]
                at += 1
    return at


@kernel
def _scatter_columns(rows, values, counts, starts, indices, sorted_values):
    t = 0
    for j in range(counts.size):
        for _ in range(counts[j]):
            at = starts[rows[t]]
            indices[at], sorted_values[at] = j, values[t]
            starts[rows[t]] += 1
            t += 1


def _by_rows(rows: np.ndarray, values: np.ndarray, counts: np.ndarray, n_rows: int) -> SparseCodes:
    """A matrix in compressed rows from one in compressed columns."""
    indptr = np.zeros(n_rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows, minlength=n_rows), out=indptr[1:])
    indices, sorted_values = np.empty(rows.size, dtype=np.int32), np.empty_like(values)
    _scatter_columns(rows, values, counts, indptr[:-1].copy(), indices, sorted_values)
    return SparseCodes(indptr, indices, sorted_values, counts.size)


@kernel
def _sift_down(keys, size, at):
    # Restore the heap whose largest key is the first, after a change of keys[at].
    key = keys[at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and keys[child + 1] > keys[child]:
            child += 1
        if keys[child] <= key:
            break
        keys[at] = keys[child]
        at = child
    keys[at] = key


@kernel
def _match_norms(A, norms, most, indptr, indices, values):
    """Keep the largest positive entries of each row, as many as bring their norm nearest to the one given."""
    keys = np.empty(A.shape[1] + 1, dtype=A.dtype)
    at = 0
    for i in range(A.shape[0]):
        row, size = A[i], 0
        for j in range(row.size):
            keys[size] = row[j]
            size += row[j] > 0.0
        for place in range(size // 2 - 1, -1, -1):
            _sift_down(keys, size, place)
        least, square, reached, count, ties = A.dtype.type(0), 0.0, 0.0, 0, 0
        while size > 0 and count < most and reached < norms[i]:
            square += np.float64(keys[0]) ** 2
            following = np.sqrt(square)
            # The norm rises with every entry: nearest is the last below the target or the first beyond it.
            if count > 0 and abs(following - norms[i]) >= abs(reached - norms[i]):
                break
            ties = ties + 1 if keys[0] == least else 1
            reached, least = following, keys[0]
            count += 1
            size -= 1
            keys[0] = keys[size]
            _sift_down(keys, size, 0)
        for j in range(row.size):
            if count > 0 and row[j] >= least:
                if row[j] == least:
                    if ties == 0:
                        continue
                    ties -= 1
                indices[at], values[at] = j, row[j]
                at += 1
        indptr[i + 1] = at
