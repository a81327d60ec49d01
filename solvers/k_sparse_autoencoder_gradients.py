r"""The loss of a k-sparse autoencoder and its gradient, of which only the support of the codes is computed.

A batch of m samples x is coded and decoded by

.. math:: a = (x - b) W_e^T + c, \qquad z = \mathrm{select}(a), \qquad \hat x = z W_d + b,

the rows of :math:`W_e, W_d` (n_latents x n_features) being the encoder directions and the atoms. With nested codes
:math:`z^{(1)}, \ldots, z^{(C)} = z`, each a part of the next, the loss is

.. math:: F = \frac1{m C} \sum_i \sum_{q=1}^{C} \|x_i - z_i^{(q)} W_d - b\|^2
    + \frac{\lambda}{m} \sum_i \bigl(\|z_i\| - \|x_i - b\|\bigr)^2,

C being one but for the hierarchical loss (the parts are the largest entries of a row, :class:`LargestFirst`) and the
Matryoshka loss (the first latents, :class:`Prefixes`), and :math:`\lambda` zero but for top-AFA. The selection is held
fixed. With :math:`r^{(q)} = z^{(q)} W_d + b - x`, the segment q(j) of the first part that holds entry j, and

.. math:: g_i^{(q)} = \frac{2}{m C} \sum_{p \ge q} r_i^{(p)}, \qquad
    s_{ij} = \bigl\langle g_i^{(q(j))}, d_j \bigr\rangle
    + \frac{2 \lambda}{m} \bigl(\|z_i\| - \|x_i - b\|\bigr) \frac{z_{ij}}{\|z_i\|}

for the entries j of the support only, the gradient is

.. math:: \partial d_j = \sum_i z_{ij}\, g_i^{(q(j))}, \quad \partial e_j = \sum_i s_{ij} (x_i - b), \quad
    \partial c_j = \sum_i s_{ij}, \quad
    \partial b = \sum_i g_i^{(1)} - \sum_j \partial c_j\, e_j
    + \frac{2 \lambda}{m} \sum_i \bigl(\|z_i\| - \|x_i - b\|\bigr) \frac{x_i - b}{\|x_i - b\|}.

**Dead latents** (AuxK) reconstruct what the others leave: with :math:`e = x - \hat x` held fixed, and
:math:`\tilde z` the largest :math:`k_{\mathrm{aux}}` pre-activations of dead latents (positive ones, or of any sign
for the activation by magnitude), the loss has one more term,
:math:`\alpha \sum_i \|\tilde z_i W_d - e_i\|^2 / \sum_i \|e_i - \bar e\|^2`, zero where the residual has no variance.
Its gradient with respect to :math:`\tilde z_i W_d`,
:math:`2 \alpha (\tilde z_i W_d - e_i) / \sum \|e - \bar e\|^2`, takes the place of :math:`g_i` above; the bias b has
no part in it but through the pre-activations.

All entries, of codes and of dead latents alike, are gathered by latent: each latent owns its rows of the gradient, so
that no answer depends on the number of threads.
"""

from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np

from .kernel import kernel
from .row_blocks import map_blocks
from .sparse_codes import SparseCodes

_FAST = {"contract", "reassoc", "nsz", "arcp"}


class WholeCode(NamedTuple):
    """One reconstruction, from the whole code."""


class LargestFirst(NamedTuple):
    """Nested reconstructions from the largest entries of each code.

    Attributes
    ----------
    sizes : ndarray of shape (n_parts,), int64
        How many entries each part holds, increasing; the last one is the most entries of a code.
    """

    sizes: np.ndarray


class Prefixes(NamedTuple):
    """Nested reconstructions from the first latents.

    Attributes
    ----------
    sizes : ndarray of shape (n_parts,), int64
        How many latents each part holds, increasing; the last one is the number of latents.
    """

    sizes: np.ndarray


class Entries(NamedTuple):
    """The nonzeros of codes with all that the gradient of their latents needs.

    Attributes
    ----------
    latents : ndarray of shape (n_entries,), int32
        The latent.
    rows : ndarray of shape (n_entries,), int32
        The sample.
    gradient_rows : ndarray of shape (n_entries,), int32
        The row of `gradients` that belongs to the entry's reconstruction.
    values : ndarray of shape (n_entries,)
        The entry of the code, z.
    slopes : ndarray of shape (n_entries,)
        The derivative of the loss with respect to it, s.
    gradients : ndarray of shape (n_gradient_rows, n_features)
        Derivatives of the loss with respect to reconstructions, g.
    """

    latents: np.ndarray
    rows: np.ndarray
    gradient_rows: np.ndarray
    values: np.ndarray
    slopes: np.ndarray
    gradients: np.ndarray


class ByLatent(NamedTuple):
    """Entries in the order of their latents.

    Attributes
    ----------
    starts : ndarray of shape (n_latents + 1,), int64
        Where the entries of each latent begin in `order`.
    order : ndarray of shape (n_entries,), int64
        The entries, those of one latent in the order of rows.
    """

    starts: np.ndarray
    order: np.ndarray


@singledispatch
def segments(nesting: Any, codes: SparseCodes) -> tuple[np.ndarray, int]:
    """To which of the nested parts every entry of a code belongs first.

    Parameters
    ----------
    nesting : WholeCode, LargestFirst or Prefixes
        How the parts are nested.
    codes : SparseCodes
        The codes.

    Returns
    -------
    segments : ndarray of shape (n_nonzeros,), int32
        The first part that holds the entry.
    n_parts : int
        The number of parts.
    """
    raise TypeError(f"not a nesting: {type(nesting).__name__}")


@segments.register(WholeCode)
def _(nesting, codes):
    return np.zeros(codes.indices.size, dtype=np.int32), 1


@segments.register(LargestFirst)
def _(nesting, codes):
    parts = np.empty(codes.indices.size, dtype=np.int32)
    _segments_by_rank(codes.indptr, codes.values, nesting.sizes, parts)
    return parts, nesting.sizes.size


@segments.register(Prefixes)
def _(nesting, codes):
    part_of_latent = np.searchsorted(nesting.sizes, np.arange(codes.n_atoms), side="right").astype(np.int32)
    return part_of_latent[codes.indices], nesting.sizes.size


@kernel
def _segments_by_rank(indptr, values, sizes, parts):
    for i in range(indptr.size - 1):
        for s in range(indptr[i], indptr[i + 1]):
            rank = 0  # entries of the row that are larger, or equal and before
            for t in range(indptr[i], indptr[i + 1]):
                larger = abs(values[t]) > abs(values[s])
                rank += larger or (t < s and abs(values[t]) == abs(values[s]))
            part = 0
            while sizes[part] <= rank:
                part += 1
            parts[s] = part


@kernel(fastmath=_FAST)
def _add_four_rows(sums, matrix, i0, i1, i2, i3, weight0, weight1, weight2, weight3):
    row0, row1, row2, row3 = matrix[i0], matrix[i1], matrix[i2], matrix[i3]
    for j in range(sums.size):
        sums[j] += weight0 * row0[j] + weight1 * row1[j] + weight2 * row2[j] + weight3 * row3[j]


@kernel(fastmath=_FAST)
def _row_gradients(target, indptr, indices, values, parts, decoder, scale, first, gradients, slopes, squares):
    # gradients: (n_rows, n_parts, n_features), filled with g; squares: the squared residual norms, over parts.
    n_rows, n_parts, n_features = gradients.shape
    for i in range(n_rows):
        begin, end = indptr[first + i], indptr[first + i + 1]
        gradients[i] = 0.0
        alone = begin
        if n_parts == 1:
            alone = begin + (end - begin) // 4 * 4
            for s in range(begin, alone, 4):
                _add_four_rows(
                    gradients[i, 0], decoder, indices[s], indices[s + 1], indices[s + 2], indices[s + 3],
                    values[s], values[s + 1], values[s + 2], values[s + 3],
                )  # fmt: skip
        for s in range(alone, end):
            value, atom, sums = values[s], decoder[indices[s]], gradients[i, parts[s]]
            for j in range(n_features):
                sums[j] += value * atom[j]
        for j in range(n_features):
            gradients[i, 0, j] -= target[i, j]
        for part in range(1, n_parts):
            for j in range(n_features):
                gradients[i, part, j] += gradients[i, part - 1, j]
        for part in range(n_parts - 1, -1, -1):
            square = 0.0
            residual = gradients[i, part]
            for j in range(n_features):
                square += np.float64(residual[j]) * residual[j]
                residual[j] *= scale
            squares[i, part] = square
            if part < n_parts - 1:
                for j in range(n_features):
                    residual[j] += gradients[i, part + 1, j]
        for s in range(begin, end):
            atom, direction = decoder[indices[s]], gradients[i, parts[s]]
            slope = direction[0] * atom[0]
            for j in range(1, n_features):
                slope += direction[j] * atom[j]
            slopes[s] = slope


class BatchGradient(NamedTuple):
    """The loss of a batch, and its derivatives with respect to codes and reconstructions.

    Attributes
    ----------
    loss : float
        The loss F, without the term of the dead latents.
    squared_residual : float
        The squared residual norms of the whole codes, summed over the batch.
    entries : Entries
        The support, from which the gradients of all latents follow.
    bias_gradient : ndarray of shape (n_features,), float64
        The derivative with respect to b at fixed pre-activations.
    """

    loss: float
    squared_residual: float
    entries: Entries
    bias_gradient: np.ndarray


def batch_gradient(
    centred: np.ndarray,
    codes: SparseCodes,
    decoder: np.ndarray,
    nesting: Any = WholeCode(),
    *,
    norm_weight: float = 0.0,
    norms: np.ndarray | None = None,
    n_total: int | None = None,
    n_jobs: int | None = None,
) -> BatchGradient:
    r"""The loss of a batch and its gradient up to the latents.

    Parameters
    ----------
    centred : ndarray of shape (n_samples, n_features), C order
        The samples less the bias, x - b.
    codes : SparseCodes
        Their codes, z.
    decoder : ndarray of shape (n_latents, n_features), C order
        The atoms.
    nesting : WholeCode, LargestFirst or Prefixes, default=WholeCode()
        Which parts of the codes reconstruct.
    norm_weight : float, default=0.0
        Weight :math:`\lambda` of the mean squared difference of norms.
    norms : ndarray of shape (n_samples,), float64, optional
        The norms of x - b; needed if `norm_weight` is not zero.
    n_total : int, optional
        By how many samples sums are divided; those of the batch by default.
    n_jobs : int, optional
        Threads over blocks of rows.

    Returns
    -------
    BatchGradient
        The loss and the gradient.
    """
    n_samples, n_features = centred.shape
    n_total = n_samples if n_total is None else n_total
    parts, n_parts = segments(nesting, codes)
    gradients = np.empty((n_samples, n_parts, n_features), dtype=centred.dtype)
    slopes = np.empty_like(codes.values)
    squares = np.empty((n_samples, n_parts))
    scale = centred.dtype.type(2.0 / (n_total * n_parts))

    def work(start: int, stop: int) -> None:
        rows = slice(start, stop)
        _row_gradients(
            centred[rows], codes.indptr, codes.indices, codes.values, parts, decoder, scale, start,
            gradients[rows], slopes, squares[rows],
        )  # fmt: skip

    map_blocks(n_samples, n_jobs, work, block=256)
    loss = float(squares.sum()) / (n_total * n_parts)
    bias_gradient = gradients[:, 0].sum(axis=0, dtype=np.float64)
    rows_of_entries = np.repeat(np.arange(n_samples, dtype=np.int32), np.diff(codes.indptr))
    if norm_weight:
        assert norms is not None
        code_norms = np.sqrt(np.bincount(rows_of_entries, np.square(codes.values, dtype=np.float64), n_samples))
        excess = code_norms - norms
        loss += norm_weight * float(excess @ excess) / n_total
        weight = (2.0 * norm_weight / n_total) * excess
        pull = np.divide(weight, code_norms, out=np.zeros(n_samples), where=code_norms > 0.0)
        slopes += (pull[rows_of_entries] * codes.values).astype(slopes.dtype)
        bias_gradient += np.divide(weight, norms, out=np.zeros(n_samples), where=norms > 0.0) @ centred
    entries = Entries(
        codes.indices, rows_of_entries, rows_of_entries * np.int32(n_parts) + parts, codes.values, slopes,
        gradients.reshape(n_samples * n_parts, n_features),
    )  # fmt: skip
    return BatchGradient(loss, float(squares[:, -1].sum()), entries, bias_gradient)


def dead_latent_gradient(
    residual: np.ndarray, codes: SparseCodes, decoder: np.ndarray, weight: float, *, n_jobs: int | None = None
) -> tuple[float, Entries]:
    r"""The term of the dead latents and its gradient up to the latents.

    Parameters
    ----------
    residual : ndarray of shape (n_samples, n_features), C order
        What the other latents leave, x minus its reconstruction; held fixed.
    codes : SparseCodes
        The codes of the dead latents.
    decoder : ndarray of shape (n_latents, n_features), C order
        The atoms.
    weight : float
        The weight :math:`\alpha` of the term.
    n_jobs : int, optional
        Threads over blocks of rows.

    Returns
    -------
    loss : float
        The term, with its weight.
    entries : Entries
        The support of the dead latents.
    """
    spread = residual - residual.mean(axis=0, dtype=np.float64).astype(residual.dtype)
    variance = float(np.square(spread, dtype=np.float64).sum())
    # The mean of n samples over n is the sum over the variance.
    factor = weight / variance if variance > 0.0 else 0.0
    gradient = batch_gradient(residual, codes, decoder, n_total=1, n_jobs=n_jobs)
    scaled = residual.dtype.type(factor)
    entries = gradient.entries._replace(
        slopes=gradient.entries.slopes * scaled, gradients=gradient.entries.gradients * scaled
    )
    return factor * gradient.loss, entries


def joined(first: Entries, second: Entries) -> Entries:
    """The entries of two codes of the same samples."""
    shifted = second._replace(gradient_rows=second.gradient_rows + np.int32(first.gradients.shape[0]))
    return Entries(*(np.concatenate(pair) for pair in zip(first, shifted, strict=True)))


@kernel
def _sort_by_latent(latents, starts, order):
    # `starts` is moved to the end of each latent's entries.
    for s in range(latents.size):
        order[starts[latents[s]]] = s
        starts[latents[s]] += 1


def by_latent(entries: Entries, n_latents: int) -> ByLatent:
    """The order of entries by latent."""
    starts = np.zeros(n_latents + 1, dtype=np.int64)
    np.cumsum(np.bincount(entries.latents, minlength=n_latents), out=starts[1:])
    order = np.empty(entries.latents.size, dtype=np.int64)
    _sort_by_latent(entries.latents, starts[:-1].copy(), order)
    return ByLatent(starts, order)


@kernel(fastmath=_FAST)
def latent_gradient(start, stop, order, entries, centred, decoder_row, encoder_row):
    """Sum the gradient of one latent.

    Parameters
    ----------
    start, stop : int
        Where its entries stand in `order`.
    order : ndarray of shape (n_entries,), int64
        The entries by latent.
    entries : Entries
        The entries.
    centred : ndarray of shape (n_samples, n_features)
        The samples less the bias.
    decoder_row, encoder_row : ndarray of shape (n_features,)
        Filled with the derivatives with respect to the latent's atom and its encoder direction.
    """
    decoder_row[:] = 0.0
    encoder_row[:] = 0.0
    paired = start + (stop - start) // 4 * 4
    for t in range(start, paired, 4):  # four at once: the sums are read and written a quarter as often
        s0, s1, s2, s3 = order[t], order[t + 1], order[t + 2], order[t + 3]
        _add_four_rows(
            decoder_row, entries.gradients, entries.gradient_rows[s0], entries.gradient_rows[s1],
            entries.gradient_rows[s2], entries.gradient_rows[s3],
            entries.values[s0], entries.values[s1], entries.values[s2], entries.values[s3],
        )  # fmt: skip
        _add_four_rows(
            encoder_row, centred, entries.rows[s0], entries.rows[s1], entries.rows[s2], entries.rows[s3],
            entries.slopes[s0], entries.slopes[s1], entries.slopes[s2], entries.slopes[s3],
        )  # fmt: skip
    for t in range(paired, stop):
        s = order[t]
        value, slope = entries.values[s], entries.slopes[s]
        gradient, sample = entries.gradients[entries.gradient_rows[s]], centred[entries.rows[s]]
        for j in range(decoder_row.size):
            decoder_row[j] += value * gradient[j]
            encoder_row[j] += slope * sample[j]


class Gradients(NamedTuple):
    """The gradient of the loss with respect to all parameters.

    Attributes
    ----------
    decoder : ndarray of shape (n_latents, n_features)
        With respect to the atoms.
    encoder : ndarray of shape (n_latents, n_features)
        With respect to the encoder directions.
    encoder_bias : ndarray of shape (n_latents,), float64
        With respect to c.
    bias : ndarray of shape (n_features,), float64
        With respect to b.
    """

    decoder: np.ndarray
    encoder: np.ndarray
    encoder_bias: np.ndarray
    bias: np.ndarray


@kernel
def _all_latents(starts, order, entries, centred, first, decoder_rows, encoder_rows):
    for j in range(decoder_rows.shape[0]):
        latent = first + j
        latent_gradient(starts[latent], starts[latent + 1], order, entries, centred, decoder_rows[j], encoder_rows[j])


def encoder_bias_gradient(entries: Entries, n_latents: int) -> np.ndarray:
    """The derivative of the loss with respect to c, float64: the slopes, summed over samples."""
    return np.bincount(entries.latents, entries.slopes, minlength=n_latents)


def parameter_gradients(
    entries: Entries,
    centred: np.ndarray,
    encoder: np.ndarray,
    bias_gradient: np.ndarray,
    *,
    n_jobs: int | None = None,
) -> Gradients:
    """The gradient with respect to all parameters, in full.

    Parameters
    ----------
    entries : Entries
        The support of a batch, from :func:`batch_gradient`.
    centred : ndarray of shape (n_samples, n_features)
        The samples less the bias.
    encoder : ndarray of shape (n_latents, n_features)
        The encoder directions.
    bias_gradient : ndarray of shape (n_features,)
        The derivative with respect to b at fixed pre-activations.
    n_jobs : int, optional
        Threads over blocks of latents.

    Returns
    -------
    Gradients
        The gradient.
    """
    places = by_latent(entries, encoder.shape[0])
    decoder_rows, encoder_rows = (np.empty(encoder.shape, dtype=centred.dtype) for _ in range(2))

    def work(start: int, stop: int) -> None:
        _all_latents(*places, entries, centred, start, decoder_rows[start:stop], encoder_rows[start:stop])

    map_blocks(encoder.shape[0], n_jobs, work, block=256)
    slopes = encoder_bias_gradient(entries, encoder.shape[0])
    return Gradients(decoder_rows, encoder_rows, slopes, bias_gradient - slopes @ encoder)
