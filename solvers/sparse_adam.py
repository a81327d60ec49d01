r"""Adam and momentum for parameters of which a batch touches few rows.

A latent that no sample of a batch uses has no gradient: its rows stay as they are, and so do their moments. Each row
counts its own steps t and corrects the bias of its moments by them:

.. math:: m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad
    w \leftarrow w - \eta\, \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}.

So an update costs as much as the gradient, not as much as all parameters; a row that is touched at every step moves
exactly as under Adam. Momentum is :math:`u \leftarrow \mu u + g, w \leftarrow w - \eta u`, on touched rows too.

Atoms stay on the unit sphere: the part of their gradient along the atom is removed before the step, and the atom is
normalised after it.

References
----------
D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.
"""

from typing import NamedTuple

import numpy as np

from .generic import generic
from .k_sparse_autoencoder_gradients import Entries, by_latent, latent_gradient
from .kernel import kernel
from .row_blocks import map_blocks

_FAST = {"contract", "reassoc", "nsz", "arcp"}
_LONGEST_BIAS_STEP = 0.05


class Adam(NamedTuple):
    """Adam.

    Attributes
    ----------
    beta1 : float
        Memory of the mean of gradients.
    beta2 : float
        Memory of the mean of their squares.
    epsilon : float
        Added to the root of the second, in the units of the gradient.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


class Momentum(NamedTuple):
    """Stochastic gradient descent with momentum.

    Attributes
    ----------
    momentum : float
        The share of the last step that the next one repeats.
    """

    momentum: float = 0.9


@generic
def row_step(optimizer, row, gradient, first, second, count, rate):
    """Move one row of parameters against its gradient; `first` and `second` are its moments, `count` its steps."""
    raise TypeError(f"not an optimizer: {type(optimizer).__name__}")


@row_step.register(Adam)
def _(optimizer, row, gradient, first, second, count, rate):
    of = row.dtype.type
    beta1, beta2, epsilon = of(optimizer.beta1), of(optimizer.beta2), of(optimizer.epsilon)
    rest1, rest2 = of(1.0 - optimizer.beta1), of(1.0 - optimizer.beta2)
    step = of(rate / (1.0 - optimizer.beta1**count))
    correction = of(1.0 / np.sqrt(1.0 - optimizer.beta2**count))
    for j in range(row.size):
        slope = gradient[j]
        first[j] = beta1 * first[j] + rest1 * slope
        second[j] = beta2 * second[j] + rest2 * slope * slope
        row[j] -= step * first[j] / (np.sqrt(second[j]) * correction + epsilon)


@row_step.register(Momentum)
def _(optimizer, row, gradient, first, second, count, rate):
    momentum, step = row.dtype.type(optimizer.momentum), row.dtype.type(rate)
    for j in range(row.size):
        first[j] = momentum * first[j] + gradient[j]
        row[j] -= step * first[j]


def bias_rate(optimizer: Adam | Momentum, rate: float) -> float:
    """The learning rate of the bias b.

    Every sample moves b, and few move a latent: gradient descent takes steps of a latent that would be too long for b,
    in the direction of which the loss has a curvature of about two.
    """
    return min(rate, _LONGEST_BIAS_STEP) if isinstance(optimizer, Momentum) else rate


class Moments(NamedTuple):
    """The moments of an array of parameters.

    Attributes
    ----------
    first : ndarray
        The mean of gradients, or the momentum; of the shape of the parameters.
    second : ndarray
        The mean of squared gradients.
    """

    first: np.ndarray
    second: np.ndarray


def no_moments(parameters: np.ndarray) -> Moments:
    """Zero moments for an array of parameters."""
    return Moments(np.zeros_like(parameters), np.zeros_like(parameters))


class LatentState(NamedTuple):
    """What an optimizer remembers of the latents.

    Attributes
    ----------
    decoder, encoder : Moments
        Moments of the atoms and of the encoder directions; those of the encoder are not used if both are tied.
    encoder_bias : Moments
        Moments of c, of shape (n_latents,).
    counts : ndarray of shape (n_latents,), int64
        Steps of each latent.
    """

    decoder: Moments
    encoder: Moments
    encoder_bias: Moments
    counts: np.ndarray


@kernel(fastmath=_FAST)
def _remove_parallel(direction, atom):
    along = 0.0
    for j in range(atom.size):
        along += np.float64(direction[j]) * atom[j]
    along = atom.dtype.type(along)
    for j in range(atom.size):
        direction[j] -= along * atom[j]


@kernel(fastmath=_FAST)
def _normalize(atom):
    square = 0.0
    for j in range(atom.size):
        square += np.float64(atom[j]) * atom[j]
    if square > 0.0:
        inverse = atom.dtype.type(1.0 / np.sqrt(square))
        for j in range(atom.size):
            atom[j] *= inverse


@kernel(fastmath=_FAST)
def _move_latents(
    optimizer, rate, tied, touched, starts, order, entries, centred, slopes, decoder, encoder, encoder_bias, state
):
    decoder_gradient = np.empty(decoder.shape[1], dtype=decoder.dtype)
    encoder_gradient = np.empty(decoder.shape[1], dtype=decoder.dtype)
    for t in range(touched.size):
        latent = touched[t]
        latent_gradient(starts[latent], starts[latent + 1], order, entries, centred, decoder_gradient, encoder_gradient)
        state.counts[latent] += 1
        count = state.counts[latent]
        if tied:
            for j in range(decoder_gradient.size):
                decoder_gradient[j] += encoder_gradient[j]
        else:
            row_step(
                optimizer, encoder[latent], encoder_gradient, state.encoder.first[latent],
                state.encoder.second[latent], count, rate,
            )  # fmt: skip
        _remove_parallel(decoder_gradient, decoder[latent])
        row_step(
            optimizer, decoder[latent], decoder_gradient, state.decoder.first[latent], state.decoder.second[latent],
            count, rate,
        )  # fmt: skip
        _normalize(decoder[latent])
        row_step(
            optimizer, encoder_bias[latent : latent + 1], slopes[latent : latent + 1],
            state.encoder_bias.first[latent : latent + 1], state.encoder_bias.second[latent : latent + 1], count, rate,
        )  # fmt: skip


def move_latents(
    optimizer: Adam | Momentum,
    rate: float,
    entries: Entries,
    centred: np.ndarray,
    slopes: np.ndarray,
    decoder: np.ndarray,
    encoder: np.ndarray,
    encoder_bias: np.ndarray,
    state: LatentState,
    *,
    n_jobs: int | None = None,
) -> None:
    """One step of all latents that a batch uses, in place.

    Parameters
    ----------
    optimizer : Adam or Momentum
        The rule.
    rate : float
        The learning rate.
    entries : Entries
        The support of the batch.
    centred : ndarray of shape (n_samples, n_features)
        The samples less the bias.
    slopes : ndarray of shape (n_latents,)
        The derivative of the loss with respect to c.
    decoder, encoder : ndarray of shape (n_latents, n_features)
        Atoms and encoder directions; one array if they are tied.
    encoder_bias : ndarray of shape (n_latents,)
        The bias c of the encoder.
    state : LatentState
        Moments and counts of steps.
    n_jobs : int, optional
        Threads over blocks of latents; the answer does not depend on them.
    """
    places = by_latent(entries, decoder.shape[0])
    touched = np.flatnonzero(np.diff(places.starts))
    tied = encoder is decoder

    def work(start: int, stop: int) -> None:
        _move_latents(
            optimizer, rate, tied, touched[start:stop], *places, entries, centred, slopes, decoder, encoder,
            encoder_bias, state,
        )  # fmt: skip

    map_blocks(touched.size, n_jobs, work, block=256)


def new_state(decoder: np.ndarray, encoder: np.ndarray, encoder_bias: np.ndarray) -> LatentState:
    """The state of an optimizer before its first step."""
    tied = encoder is decoder
    return LatentState(
        no_moments(decoder),
        no_moments(encoder[:1] if tied else encoder),
        no_moments(encoder_bias),
        np.zeros(decoder.shape[0], dtype=np.int64),
    )
