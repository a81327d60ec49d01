r"""Training of k-sparse autoencoders on arrays of any library, on their device: :mod:`.autoencoder_training` again.

The same model, loss, gradient, order of samples and optimizer, written with the array API standard, so that arrays of
CuPy and PyTorch stay where they are. On a processor the support of the codes decides the cost; here codes are matrices
with zeros, and every step is a few matrix products, which is what such devices do best. The parameters to begin with
are drawn by NumPy and moved: the answer is that of the other trainer up to rounding.

Sums are taken in double precision, which the device must have.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from .autoencoder_training import (
    Autoencoder,
    TrainingRule,
    TrainingState,
    norm_weight,
    start_training,
    step_on_rows,
)
from .dense_codes import batch_minima, dense_gradient, kept, like, norms_for, quotient, select_dense, squares
from .k_sparse_activations import AbsTopKActivation, BatchTopKActivation, FeatureChoiceActivation, TopKActivation
from .sparse_adam import Adam, Momentum, bias_rate

_SHORTEST_MEMORY = 0.01
_BLOCK = 4096


@dataclass
class ArrayTrainingState:
    """Parameters in the units of the training, and what it remembers, on one device.

    Attributes
    ----------
    decoder, encoder : array of shape (n_latents, n_features)
        Atoms and encoder directions.
    encoder_bias : array of shape (n_latents,)
        The bias of the pre-activations.
    bias : array of shape (n_features,)
        The bias of the samples.
    tied : bool
        Whether encoder directions and atoms are the same.
    moments : dict of str to tuple of two arrays
        Moments of the four, by name.
    counts : array of shape (n_latents,), int64
        Steps of each latent.
    silent : array of shape (n_latents,), int64
        Samples since a code used the latent.
    thresholds : array of shape (n_latents,), float64
        Running means of the thresholds of the batches; NaN before the first.
    n_steps : ndarray of shape (1,), int64
        Steps so far.
    center : array of shape (n_features,), float64
        The centre of the data.
    scale : ndarray of shape (1,), float64
        The root of the mean squared distance from it.
    """

    decoder: Any
    encoder: Any
    encoder_bias: Any
    bias: Any
    tied: bool
    moments: dict[str, tuple[Any, Any]]
    counts: Any
    silent: Any
    thresholds: Any
    n_steps: np.ndarray
    center: Any
    scale: np.ndarray


def array_center(X: Any, center: str | None) -> Any:
    """The point, float64, that samples are measured from: ``"mean"``, ``"geometric_median"``, or None for zero."""
    xp = array_namespace(X)
    if center is None:
        return xp.zeros((X.shape[1],), dtype=xp.float64, device=device(X))
    mean = xp.sum(X, axis=0, dtype=xp.float64) / X.shape[0]
    return mean if center == "mean" else _geometric_median(X, mean)


def _geometric_median(X: Any, median: Any, tol: float = 1e-5, max_iter: int = 100) -> Any:
    """The steps of :func:`~.geometric_median.geometric_median` on the device of the points."""
    xp = array_namespace(X)
    tiny = 1e-12 * max(float(xp.max(xp.abs(X))), float(np.finfo(np.float64).tiny))
    for n_iter in range(max_iter + 1):
        pull, weight, equal = xp.zeros_like(median), 0.0, 0
        for start in range(0, X.shape[0], _BLOCK):
            offsets = xp.astype(X[start : min(start + _BLOCK, X.shape[0]), :], xp.float64) - median
            distances = xp.sqrt(xp.sum(offsets * offsets, axis=1))
            inverse = quotient(xp.ones_like(distances), xp.where(distances > tiny, distances, xp.zeros_like(distances)))
            pull = pull + inverse @ offsets
            weight += float(xp.sum(inverse))
            equal += int(xp.sum(xp.astype(distances <= tiny, xp.int64)))
        force = float(xp.sqrt(xp.sum(pull * pull)))
        if max(0.0, force - equal) <= tol * X.shape[0] or n_iter == max_iter:
            break
        median = median + ((1.0 - equal / force) / weight) * pull
    return median


def array_scale(X: Any, center: Any) -> float:
    """The root of the mean squared distance of samples from a point; one if that is zero."""
    xp = array_namespace(X)
    peak = max(float(xp.max(xp.abs(X))), float(xp.max(xp.abs(center))))
    if peak == 0.0:
        return 1.0
    total = 0.0
    for start in range(0, X.shape[0], _BLOCK):
        total += float(squares((xp.astype(X[start : min(start + _BLOCK, X.shape[0]), :], xp.float64) - center) / peak))
    return peak * float(np.sqrt(total / X.shape[0])) or 1.0


def start_array_training(
    X: Any, n_latents: int, center: Any, scale: float, random_state: Any, *, tied: bool = False
) -> ArrayTrainingState:
    """The state before the first step: that of NumPy, on the device of the data.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        The data.
    n_latents : int
        The number of latents.
    center : array of shape (n_features,), float64
        The centre of the data.
    scale : float
        The root of the mean squared distance from it.
    random_state : numpy.random.RandomState
        Draws the atoms.
    tied : bool, default=False
        Whether encoder directions and atoms are the same.

    Returns
    -------
    ArrayTrainingState
        The state.
    """
    xp = array_namespace(X)
    start: TrainingState = start_training(n_latents, np.zeros(X.shape[1]), scale, np.float64, random_state)
    arrays = {name: like(getattr(start, name), X, X.dtype) for name in ("decoder", "encoder", "encoder_bias", "bias")}
    moments = {name: (xp.zeros_like(array), xp.zeros_like(array)) for name, array in arrays.items()}
    integers = {name: like(values, X) for name, values in (("counts", start.silent), ("silent", start.silent))}
    return ArrayTrainingState(
        **arrays, tied=tied, moments=moments, **integers, thresholds=like(start.thresholds, X),
        n_steps=start.n_steps, center=center, scale=start.scale,
    )  # fmt: skip


def _stepped(optimizer: Any, values: Any, gradient: Any, moments: tuple, counts: Any, touched: Any, rate: float):
    """Parameters and moments after one step of the rows that are touched; the others as they were."""
    xp = array_namespace(values)
    first, second = moments
    if values.ndim == 2:
        touched, counts = touched[:, None], counts[:, None]
    if isinstance(optimizer, Momentum):
        new_first, new_second = optimizer.momentum * first + gradient, second
        new = values - rate * new_first
    elif isinstance(optimizer, Adam):
        steps = xp.astype(xp.where(touched, counts, xp.ones_like(counts)), xp.float64)
        length = xp.astype(rate / (1.0 - optimizer.beta1**steps), values.dtype)
        correction = xp.astype(1.0 / xp.sqrt(1.0 - optimizer.beta2**steps), values.dtype)
        new_first = optimizer.beta1 * first + (1.0 - optimizer.beta1) * gradient
        new_second = optimizer.beta2 * second + (1.0 - optimizer.beta2) * gradient * gradient
        new = values - length * new_first / (xp.sqrt(new_second) * correction + optimizer.epsilon)
    else:
        raise TypeError(f"not an optimizer: {type(optimizer).__name__}")
    kept = [xp.where(touched, a, b) for a, b in ((new, values), (new_first, first), (new_second, second))]
    return kept[0], (kept[1], kept[2])


def _code_of_dead(activation: Any, values: Any, dead: Any, n_features: int) -> Any:
    """The code of the dead latents alone: of each row the n_features / 2 largest, at least one."""
    alive_zero = kept(values, dead[None, :])
    of_dead = AbsTopKActivation if isinstance(activation, AbsTopKActivation) else TopKActivation
    return select_dense(of_dead(max(1, n_features // 2)), alive_zero)


def array_training_step(state: ArrayTrainingState, batch: Any, rule: TrainingRule, rate: float) -> float:
    """Move all parameters by one step on one batch, as :func:`~.autoencoder_training.training_step` does.

    Parameters
    ----------
    state : ArrayTrainingState
        Changed in place.
    batch : array of shape (n_samples, n_features)
        Samples in the units of the training.
    rule : TrainingRule
        What is minimised, and how.
    rate : float
        The learning rate of this step.

    Returns
    -------
    float
        The loss of the batch before the step, without the term of dead latents.
    """
    xp, activation, rate = array_namespace(batch), rule.activation, float(rate)
    centred = batch - state.bias
    values = centred @ state.encoder.T + state.encoder_bias
    norms = norms_for(activation, centred)
    codes = select_dense(activation, values, norms)
    gradient = dense_gradient(
        centred, codes, state.decoder, rule.nesting, norm_weight=norm_weight(activation), norms=norms
    )
    of_decoder, slopes = gradient.decoder, gradient.slopes
    fired = xp.any(codes != 0.0, axis=0)
    touched = fired
    dead = state.silent >= rule.dead_after
    if rule.auxk_alpha and bool(xp.any(dead)):
        residual = -gradient.residual
        mean = xp.astype(xp.sum(residual, axis=0, dtype=xp.float64) / residual.shape[0], residual.dtype)
        variance = float(squares(residual - mean))
        factor = rule.auxk_alpha / variance if variance > 0.0 else 0.0
        auxiliary = _code_of_dead(activation, values, dead, centred.shape[1])
        more = dense_gradient(residual, auxiliary, state.decoder, n_total=1)
        of_decoder, slopes = of_decoder + factor * more.decoder, slopes + factor * more.slopes
        touched = touched | xp.any(auxiliary != 0.0, axis=0)
    of_encoder_bias = xp.sum(slopes, axis=0, dtype=xp.float64)
    of_bias = gradient.bias - of_encoder_bias @ xp.astype(state.encoder, xp.float64)
    of_encoder = slopes.T @ centred
    state.silent = xp.where(fired, xp.zeros_like(state.silent), state.silent + batch.shape[0])
    state.n_steps[0] += 1
    state.counts = state.counts + xp.astype(touched, xp.int64)

    def step(name: str, slope: Any) -> Any:
        stepped, state.moments[name] = _stepped(
            rule.optimizer, getattr(state, name), slope, state.moments[name], state.counts, touched, rate
        )
        return stepped

    if state.tied:
        of_decoder = of_decoder + of_encoder
    else:
        state.encoder = step("encoder", of_encoder)
    along = xp.sum(of_decoder * state.decoder, axis=1, dtype=xp.float64)
    moved = step("decoder", of_decoder - xp.astype(along, batch.dtype)[:, None] * state.decoder)
    inverse = xp.astype(quotient(xp.ones_like(along), xp.sqrt(squares(moved, axis=1))), batch.dtype)
    state.decoder = xp.where(touched[:, None], moved * inverse[:, None], moved)
    if state.tied:
        state.encoder = state.decoder
    state.encoder_bias = step("encoder_bias", xp.astype(of_encoder_bias, batch.dtype))
    if rule.learn_bias:
        all_of_them = xp.ones_like(state.bias, dtype=xp.bool)
        steps = xp.full(state.bias.shape, int(state.n_steps[0]), dtype=xp.int64, device=device(batch))
        state.bias, state.moments["bias"] = _stepped(
            rule.optimizer, state.bias, xp.astype(of_bias, batch.dtype), state.moments["bias"], steps, all_of_them,
            bias_rate(rule.optimizer, rate),
        )  # fmt: skip
    if isinstance(activation, BatchTopKActivation | FeatureChoiceActivation):
        new = batch_minima(activation, codes)
        weight = max(1.0 / float(state.n_steps[0]), _SHORTEST_MEMORY)
        old = xp.where(xp.isnan(state.thresholds), new, state.thresholds)
        state.thresholds = xp.where(xp.isnan(new), state.thresholds, old + weight * (new - old))
    return gradient.loss


@step_on_rows.register(ArrayTrainingState)
def _(state, X, rows, rule, rate, *, n_jobs=None):
    xp = array_namespace(X)
    samples = xp.astype(xp.take(X, like(rows, X), axis=0), xp.float64)
    batch = xp.astype((samples - state.center) / float(state.scale[0]), X.dtype)
    return array_training_step(state, batch, rule, rate)


def array_model(state: ArrayTrainingState) -> Autoencoder:
    """The autoencoder that a state stands for, in the units of the data, on its device."""
    xp, dtype = array_namespace(state.decoder), state.decoder.dtype
    scale = float(state.scale[0])
    bias = xp.astype(state.center + scale * xp.astype(state.bias, xp.float64), dtype)
    return Autoencoder(state.encoder, state.decoder, scale * state.encoder_bias, bias)
