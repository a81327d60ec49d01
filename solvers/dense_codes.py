r"""Codes as matrices with zeros, on arrays of any library: what :mod:`.k_sparse_activations` keeps, and its gradient.

The rules and formulas are those of the kernels; here they are written with the array API standard, so that arrays of
CuPy and PyTorch stay on their device. Sums are taken in double precision, which the device must have.
"""

from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import (
    array_namespace,
    device,
    is_array_api_strict_namespace,
    is_cupy_array,
    is_torch_array,
)

from .k_sparse_activations import (
    BELOW,
    AbsTopKActivation,
    BatchTopKActivation,
    FeatureChoiceActivation,
    ThresholdActivation,
    TopAFAActivation,
    TopKActivation,
    column_counts,
)
from .k_sparse_autoencoder_gradients import LargestFirst, Prefixes, WholeCode


def to_host(values: Any) -> np.ndarray:
    """A copy of an array, of whatever library, in NumPy."""
    if is_torch_array(values):
        return values.detach().cpu().numpy().copy()
    if is_cupy_array(values):
        return values.get()
    xp = array_namespace(values)
    if is_array_api_strict_namespace(xp):
        values = values.to_device(xp.Device("CPU_DEVICE"))
    return np.array(values)


def like(values: Any, reference: Any, dtype: Any = None) -> Any:
    """Values of NumPy, in the library and on the device of another array; by default in their own precision."""
    xp = array_namespace(reference)
    values = np.asarray(values)
    dtype = getattr(xp, values.dtype.name) if dtype is None else dtype
    return xp.asarray(values, dtype=dtype, device=device(reference))


def squares(values: Any, axis: int | None = None) -> Any:
    """The sum of squares, in double precision."""
    xp = array_namespace(values)
    return xp.sum(values * values, axis=axis, dtype=xp.float64)


@singledispatch
def select_dense(activation: Any, preactivations: Any, norms: Any = None) -> Any:
    """The code of all rows as a matrix with zeros: the entries that an activation keeps.

    Parameters
    ----------
    activation : TopKActivation or another record of :mod:`.k_sparse_activations`
        What to keep.
    preactivations : array of shape (n_samples, n_latents)
        The pre-activations.
    norms : array of shape (n_samples,), float64, optional
        The norms of the samples less the bias; :class:`~.k_sparse_activations.TopAFAActivation` needs them.

    Returns
    -------
    array of shape (n_samples, n_latents)
        The codes. Of equal entries the first are kept.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.dense_codes import select_dense
    >>> from sparsemodels.solvers.k_sparse_activations import AbsTopKActivation
    >>> select_dense(AbsTopKActivation(1), np.array([[3.0, -4.0, 2.0], [0.5, 1.0, -2.0]]))
    array([[ 0., -4.,  0.],
           [ 0.,  0., -2.]])
    """
    raise TypeError(f"not an activation: {type(activation).__name__}")


@select_dense.register(TopKActivation)
def _(activation, preactivations, norms=None):
    return kept(preactivations, _first_largest(_positive(preactivations), activation.n_nonzero))


@select_dense.register(AbsTopKActivation)
def _(activation, preactivations, norms=None):
    sizes = array_namespace(preactivations).abs(preactivations)
    return kept(preactivations, _first_largest(sizes, activation.n_nonzero))


@select_dense.register(BatchTopKActivation)
def _(activation, preactivations, norms=None):
    xp = array_namespace(preactivations)
    flat = xp.reshape(_positive(preactivations), (1, -1))
    mask = _first_largest(flat, activation.n_nonzero * preactivations.shape[0])
    return kept(preactivations, xp.reshape(mask, preactivations.shape))


@select_dense.register(FeatureChoiceActivation)
def _(activation, preactivations, norms=None):
    wanted = like(column_counts(activation, *preactivations.shape)[None, :], preactivations)
    return kept(preactivations, _first_largest(_positive(preactivations), wanted, axis=0))


@select_dense.register(TopAFAActivation)
def _(activation, preactivations, norms=None):
    xp = array_namespace(preactivations)
    positive = _positive(preactivations)
    most = min(activation.n_nonzero, positive.shape[1])
    falling = xp.astype(xp.sort(positive, axis=1, descending=True)[:, :most], xp.float64)
    distances = xp.abs(xp.sqrt(xp.cumulative_sum(falling * falling, axis=1)) - norms[:, None])
    counts = xp.argmin(distances, axis=1) + 1
    counts = xp.where(norms > 0.0, counts, xp.zeros_like(counts))
    return kept(preactivations, _first_largest(positive, counts[:, None]))


@select_dense.register(ThresholdActivation)
def _(activation, preactivations, norms=None):
    thresholds = array_namespace(preactivations).astype(activation.thresholds, preactivations.dtype)
    return kept(preactivations, preactivations >= thresholds[None, :])


def _positive(values: Any) -> Any:
    return array_namespace(values).where(values > 0.0, values, array_namespace(values).zeros_like(values))


def kept(values: Any, mask: Any) -> Any:
    """The values where a mask is true, zeros elsewhere."""
    xp = array_namespace(values)
    return xp.where(mask, values, xp.zeros_like(values))


def _first_largest(keys: Any, counts: Any, axis: int = 1) -> Any:
    """Where the largest of keys >= 0 stand along an axis, of equal ones the first; keys of zero never.

    `counts` is one number for all rows (columns), or an array with one for each that broadcasts over the keys.
    """
    xp, length = array_namespace(keys), keys.shape[axis]
    if isinstance(counts, int):
        if counts >= length:
            return keys > 0.0
        if is_torch_array(keys) and axis == 1:  # a selection, where the standard knows but sorting
            least = xp.topk(keys, counts, dim=1)[0][:, -1:]
        else:
            least = xp.sort(keys, axis=axis, descending=True)
            least = least[:, counts - 1 : counts] if axis == 1 else least[counts - 1 : counts, :]
    else:
        places = xp.arange(length, device=device(keys))
        places = places[None, :] if axis == 1 else places[:, None]
        falling = xp.sort(keys, axis=axis, descending=True)
        last = xp.where(places == counts - 1, falling, xp.zeros_like(falling))
        least = xp.where(
            counts > 0,
            xp.sum(last, axis=axis, keepdims=True),
            xp.asarray(xp.inf, dtype=keys.dtype, device=device(keys)),
        )
    above = keys > least
    ties = xp.astype(keys == least, xp.int64)
    places_left = counts - xp.sum(xp.astype(above, xp.int64), axis=axis, keepdims=True)
    first_ties = (ties > 0) & (xp.cumulative_sum(ties, axis=axis) <= places_left)
    return (above | first_ties) & (keys > 0.0)


def norms_for(activation: Any, centred: Any) -> Any:
    """The norms of samples, float64, where the activation or its loss needs them."""
    if not isinstance(activation, TopAFAActivation):
        return None
    return array_namespace(centred).sqrt(squares(centred, axis=1))


def batch_minima(activation: Any, codes: Any) -> Any:
    """The smallest entry kept, float64: of the whole batch, or of each latent; NaN where nothing was kept."""
    xp = array_namespace(codes)
    entries = xp.astype(codes, xp.float64)
    infinite = xp.full(entries.shape, xp.inf, dtype=xp.float64, device=device(codes))
    least = xp.min(xp.where(entries != 0.0, entries, infinite), axis=0)
    if not isinstance(activation, FeatureChoiceActivation):
        least = xp.zeros_like(least) + xp.min(least)
    return xp.where(xp.isinf(least), xp.asarray(xp.nan, dtype=xp.float64, device=device(codes)), BELOW * least)


class DenseGradient(NamedTuple):
    """The loss of a batch, and its derivatives.

    Attributes
    ----------
    loss : float
        The loss F, without the term of dead latents.
    decoder : array of shape (n_latents, n_features)
        The derivative with respect to the atoms.
    slopes : array of shape (n_samples, n_latents)
        That with respect to the codes, zero outside their support.
    bias : array of shape (n_features,), float64
        That with respect to b at fixed pre-activations.
    residual : array of shape (n_samples, n_features)
        The reconstructions from the whole codes less the samples.
    """

    loss: float
    decoder: Any
    slopes: Any
    bias: Any
    residual: Any


@singledispatch
def _parts(nesting: Any, codes: Any) -> list[tuple[slice, Any]]:
    """The entries that each nested code has more than the one before: columns, and codes in these columns."""
    raise TypeError(f"not a nesting: {type(nesting).__name__}")


@_parts.register(WholeCode)
def _(nesting, codes):
    return [(slice(None), codes)]


@_parts.register(Prefixes)
def _(nesting, codes):
    ends = [int(size) for size in nesting.sizes]
    return [(slice(a, b), codes[:, a:b]) for a, b in zip([0, *ends[:-1]], ends, strict=True)]


@_parts.register(LargestFirst)
def _(nesting, codes):
    xp = array_namespace(codes)
    order = xp.argsort(xp.abs(codes), axis=1, descending=True, stable=True)
    ranks = xp.argsort(order, axis=1)
    ends = [int(size) for size in nesting.sizes]
    return [(slice(None), kept(codes, (ranks >= a) & (ranks < b))) for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def dense_gradient(
    centred: Any,
    codes: Any,
    decoder: Any,
    nesting: Any = WholeCode(),
    *,
    norm_weight: float = 0.0,
    norms: Any = None,
    n_total: int | None = None,
) -> DenseGradient:
    """The loss of a batch and its gradient, as :func:`~.k_sparse_autoencoder_gradients.batch_gradient` has them.

    Parameters
    ----------
    centred : array of shape (n_samples, n_features)
        The samples less the bias.
    codes : array of shape (n_samples, n_latents)
        Their codes.
    decoder : array of shape (n_latents, n_features)
        The atoms.
    nesting : WholeCode, LargestFirst or Prefixes, default=WholeCode()
        Which parts of the codes reconstruct.
    norm_weight : float, default=0.0
        Weight of the mean squared difference of norms.
    norms : array of shape (n_samples,), float64, optional
        The norms of the samples less the bias; needed if `norm_weight` is not zero.
    n_total : int, optional
        By how many samples sums are divided; those of the batch by default.

    Returns
    -------
    DenseGradient
        The loss and its derivatives.
    """
    xp = array_namespace(centred)
    n_total = centred.shape[0] if n_total is None else n_total
    parts = _parts(nesting, codes)
    scale, residual, loss, residuals = 2.0 / (n_total * len(parts)), -centred, 0.0, []
    for columns, part in parts:
        residual = residual + part @ decoder[columns, :]
        residuals.append(residual)
        loss += float(squares(residual)) / (n_total * len(parts))
    of_decoder, slopes = xp.zeros_like(decoder), xp.zeros_like(codes)
    direction = xp.zeros_like(residual)
    for (columns, part), left in zip(reversed(parts), reversed(residuals), strict=True):
        direction = direction + scale * left
        of_decoder[columns, :] = of_decoder[columns, :] + part.T @ direction
        of_part = kept(direction @ decoder[columns, :].T, part != 0.0)
        slopes[:, columns] = slopes[:, columns] + of_part
    of_bias = xp.sum(direction, axis=0, dtype=xp.float64)
    if norm_weight:
        code_norms = xp.sqrt(squares(codes, axis=1))
        excess = code_norms - norms
        loss += norm_weight * float(xp.sum(excess * excess)) / n_total
        weight = (2.0 * norm_weight / n_total) * excess
        slopes = slopes + xp.astype(quotient(weight, code_norms), codes.dtype)[:, None] * codes
        of_bias = of_bias + quotient(weight, norms) @ xp.astype(centred, xp.float64)
    return DenseGradient(loss, of_decoder, slopes, of_bias, residual)


def quotient(numerator: Any, denominator: Any) -> Any:
    """The quotient, zero where the denominator is."""
    xp = array_namespace(numerator)
    zero = denominator == 0.0
    return xp.where(zero, xp.zeros_like(numerator), numerator / xp.where(zero, xp.ones_like(numerator), denominator))
