r"""Training of k-sparse autoencoders by stochastic gradients of which only the support of the codes is computed.

**Units.** Samples enter as :math:`(x - b_0) / \sigma`, :math:`b_0` being the centre and
:math:`\sigma^2 = \frac1n \sum_i \|x_i - b_0\|^2`: the loss is a share of the variance about the centre, every parameter
has about the same size, and scaling the data by a power of two changes no bit of the training. What is returned is in
the units of the data: with :math:`c', b'` the trained biases, :math:`c = \sigma c'` and :math:`b = b_0 + \sigma b'`;
encoder directions and atoms have no units.

**One step** on a batch: the product :math:`(x - b) W_e^T + c`, the selection, the gradient on the support
(:mod:`.k_sparse_autoencoder_gradients`), the gradient of b with the encoder as it still is, and one pass over the
latents that the batch touches, which sums the gradient of each and moves it at once (:mod:`.sparse_adam`). No array of
the size of the weights is written but for the rows that move.

**Dead latents** are those not selected for the last `dead_after` samples.

**Learning rate.** It rises over the first 5 % of the steps, at most 1000, and falls to zero over the last fifth.

**Start.** Atoms are random directions, the encoder equals them, biases are zero.
"""

import time
from collections.abc import Callable
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg.blas

from .geometric_median import geometric_median
from .k_sparse_activations import (
    AbsTopKActivation,
    BatchTopKActivation,
    FeatureChoiceActivation,
    TopAFAActivation,
    batch_thresholds,
    select,
    with_budget,
)
from .k_sparse_autoencoder_gradients import (
    LargestFirst,
    WholeCode,
    batch_gradient,
    dead_latent_gradient,
    encoder_bias_gradient,
    joined,
)
from .row_blocks import map_blocks
from .row_selection import largest_in_rows
from .sparse_adam import (
    Adam,
    LatentState,
    Moments,
    Momentum,
    bias_rate,
    move_latents,
    new_state,
    no_moments,
    row_step,
)
from .sparse_codes import SparseCodes, from_padded

_BLOCK = 512  # rows of one matrix product: the same for every number of threads
_PATIENCE = 10  # epochs over which the loss must fall
_SHORTEST_MEMORY = 0.01  # the least weight of a batch in the running thresholds
_LONGEST_WARM_UP = 1000


class Autoencoder(NamedTuple):
    """A k-sparse autoencoder in the units of the data.

    Attributes
    ----------
    encoder : ndarray of shape (n_latents, n_features)
        Encoder directions.
    decoder : ndarray of shape (n_latents, n_features)
        Atoms, of norm one; the same array as `encoder` if they are tied.
    encoder_bias : ndarray of shape (n_latents,)
        What is added to the pre-activations, c.
    bias : ndarray of shape (n_features,)
        What is subtracted from samples and added to reconstructions, b.
    """

    encoder: np.ndarray
    decoder: np.ndarray
    encoder_bias: np.ndarray
    bias: np.ndarray


class TrainingRule(NamedTuple):
    """What is minimised, and how.

    Attributes
    ----------
    activation : TopKActivation or another activation
        What a code keeps.
    nesting : WholeCode, LargestFirst or Prefixes
        Which parts of a code reconstruct.
    optimizer : Adam or Momentum
        The rule of the steps.
    auxk_alpha : float
        Weight of the term of the dead latents.
    dead_after : int
        Samples after which a latent that no code used is dead.
    learn_bias : bool
        Whether b is trained.
    """

    activation: Any
    nesting: Any = WholeCode()
    optimizer: Adam | Momentum = Adam()
    auxk_alpha: float = 1.0 / 32.0
    dead_after: int = 10_000_000
    learn_bias: bool = True


class TrainingState(NamedTuple):
    """Parameters in the units of the training, and what it remembers; arrays, changed in place.

    Attributes
    ----------
    decoder, encoder : ndarray of shape (n_latents, n_features)
        Atoms and encoder directions; one array if they are tied.
    encoder_bias : ndarray of shape (n_latents,)
        The bias c'.
    bias : ndarray of shape (n_features,)
        The bias b'.
    latents : LatentState
        What the optimizer remembers of the latents.
    bias_moments : Moments
        What it remembers of b'.
    silent : ndarray of shape (n_latents,), int64
        Samples since a code used the latent.
    thresholds : ndarray of shape (n_latents,), float64
        Running means of the thresholds of the batches; NaN before the first.
    n_steps : ndarray of shape (1,), int64
        Steps so far.
    center : ndarray of shape (n_features,), float64
        The centre of the data.
    scale : ndarray of shape (1,), float64
        The root of the mean squared distance from it.
    """

    decoder: np.ndarray
    encoder: np.ndarray
    encoder_bias: np.ndarray
    bias: np.ndarray
    latents: LatentState
    bias_moments: Moments
    silent: np.ndarray
    thresholds: np.ndarray
    n_steps: np.ndarray
    center: np.ndarray
    scale: np.ndarray


class Training(NamedTuple):
    """How a training went.

    Attributes
    ----------
    loss_history : ndarray of shape (n_iter,)
        The mean loss of each epoch, a share of the variance, without the term of the dead latents.
    n_iter : int
        Epochs, the last one perhaps cut short.
    status : str
        ``"converged"``, ``"max_iter"``, ``"time_limit"``, ``"stopped"``, ``"interrupted"``, or ``"diverged"`` if the
        loss is not finite any more.
    """

    loss_history: np.ndarray
    n_iter: int
    status: str


def center_of(X: np.ndarray, center: str | None, *, n_jobs: int | None = None) -> np.ndarray:
    """The point, float64, that samples are measured from: ``"mean"``, ``"geometric_median"``, or None for zero."""
    if center == "mean":
        return X.mean(axis=0, dtype=np.float64)
    if center == "geometric_median":
        return geometric_median(X, n_jobs=n_jobs).median
    return np.zeros(X.shape[1])


def scale_of(X: np.ndarray, center: np.ndarray) -> float:
    """The root of the mean squared distance of samples from a point; one if that is zero."""
    peak = max(float(np.abs(X).max()), float(np.abs(center).max()))
    if peak == 0.0:
        return 1.0
    blocks = map_blocks(
        X.shape[0], 1, lambda start, stop: float(np.square((X[start:stop] - center) / peak).sum()), block=4096
    )
    return peak * float(np.sqrt(sum(blocks) / X.shape[0])) or 1.0


def start_training(
    n_latents: int, center: np.ndarray, scale: float, dtype: Any, random_state: Any, *, tied: bool = False
) -> TrainingState:
    """The state before the first step.

    Parameters
    ----------
    n_latents : int
        The number of latents.
    center : ndarray of shape (n_features,)
        The centre of the data.
    scale : float
        The root of the mean squared distance from it.
    dtype : dtype
        The precision of the parameters.
    random_state : numpy.random.RandomState
        Draws the atoms.
    tied : bool, default=False
        Whether encoder directions and atoms are one array.

    Returns
    -------
    TrainingState
        The state.
    """
    atoms = random_state.standard_normal((n_latents, center.size))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    decoder = atoms.astype(dtype)
    encoder = decoder if tied else decoder.copy()
    encoder_bias, bias = np.zeros(n_latents, dtype=dtype), np.zeros(center.size, dtype=dtype)
    return TrainingState(
        decoder, encoder, encoder_bias, bias, new_state(decoder, encoder, encoder_bias), no_moments(bias),
        np.zeros(n_latents, dtype=np.int64), np.full(n_latents, np.nan), np.zeros(1, dtype=np.int64),
        np.array(center, dtype=np.float64), np.array([scale]),
    )  # fmt: skip


def in_units_of_data(state: TrainingState) -> Autoencoder:
    """The autoencoder that a state stands for."""
    dtype, scale = state.decoder.dtype, state.scale[0]
    decoder = state.decoder.copy()
    encoder = decoder if state.encoder is state.decoder else state.encoder.copy()
    return Autoencoder(
        encoder, decoder, (scale * state.encoder_bias).astype(dtype), (state.center + scale * state.bias).astype(dtype)
    )


def standardized(X: np.ndarray, center: np.ndarray, scale: float) -> np.ndarray:
    """Samples in the units of the training, in their own precision."""
    return ((X - center) / scale).astype(X.dtype, copy=False)


def preactivations(
    centred: np.ndarray, encoder: np.ndarray, encoder_bias: np.ndarray, *, n_jobs: int | None = None
) -> np.ndarray:
    """The pre-activations of samples less the bias.

    Parameters
    ----------
    centred : ndarray of shape (n_samples, n_features), C order
        The samples less the bias.
    encoder : ndarray of shape (n_latents, n_features), C order
        The encoder directions.
    encoder_bias : ndarray of shape (n_latents,)
        What is added.
    n_jobs : int, optional
        Threads over blocks of rows, the same for every number of them. With None, one product with the threads of the
        BLAS library, which keeps the interpreter's lock.

    Returns
    -------
    ndarray of shape (n_samples, n_latents)
        The pre-activations.
    """
    out = np.empty((centred.shape[0], encoder.shape[0]), dtype=centred.dtype)
    if n_jobs is None:
        # The product is added to the biases: no pass over the pre-activations but that of BLAS itself.
        out[:] = encoder_bias
        gemm = scipy.linalg.blas.sgemm if out.dtype == np.float32 else scipy.linalg.blas.dgemm
        gemm(1.0, encoder.T, centred.T, beta=1.0, c=out.T, trans_a=1, overwrite_c=1)
        return out

    def work(start: int, stop: int) -> None:
        np.matmul(centred[start:stop], encoder.T, out=out[start:stop])
        out[start:stop] += encoder_bias

    map_blocks(centred.shape[0], n_jobs, work, block=_BLOCK)
    return out


def norms_for(activation: Any, centred: np.ndarray) -> np.ndarray | None:
    """The norms of samples, float64, where the activation or its loss needs them."""
    if not isinstance(activation, TopAFAActivation):
        return None
    return np.sqrt(np.einsum("ij,ij->i", centred, centred, dtype=np.float64))


def norm_weight(activation: Any) -> float:
    """The weight of the difference of norms in the loss."""
    return activation.norm_weight if isinstance(activation, TopAFAActivation) else 0.0


def nested_for(nesting: Any, n_nonzero: int) -> Any:
    """The nesting when codes have at most `n_nonzero` entries: parts of more become the whole code."""
    if not isinstance(nesting, LargestFirst):
        return nesting
    return LargestFirst(np.append(nesting.sizes[nesting.sizes < n_nonzero], n_nonzero))


def code_of_dead(
    activation: Any, preactivation: np.ndarray, dead: np.ndarray, n_features: int, *, n_jobs: int | None = None
) -> SparseCodes:
    """The code of the dead latents alone: of each row the n_features / 2 largest, at least one."""
    own = np.ascontiguousarray(preactivation[:, dead])
    signed = isinstance(activation, AbsTopKActivation)
    indices, values, counts = largest_in_rows(own, max(1, n_features // 2), signed, n_jobs)
    return from_padded(dead.astype(np.int32)[indices], values, counts, preactivation.shape[1])


def training_step(
    state: TrainingState, batch: np.ndarray, rule: TrainingRule, rate: float, *, n_jobs: int | None = None
) -> float:
    """Move all parameters by one step on one batch.

    Parameters
    ----------
    state : TrainingState
        Changed in place.
    batch : ndarray of shape (n_samples, n_features), C order
        Samples in the units of the training.
    rule : TrainingRule
        What is minimised, and how.
    rate : float
        The learning rate of this step.
    n_jobs : int, optional
        Threads; the answer does not depend on them.

    Returns
    -------
    float
        The loss of the batch before the step, without the term of the dead latents.
    """
    activation, n_latents = rule.activation, state.decoder.shape[0]
    centred = batch - state.bias
    values = preactivations(centred, state.encoder, state.encoder_bias, n_jobs=n_jobs)
    norms = norms_for(activation, centred)
    codes = select(activation, values, norms, n_jobs=n_jobs)
    gradient = batch_gradient(
        centred, codes, state.decoder, rule.nesting, norm_weight=norm_weight(activation), norms=norms, n_jobs=n_jobs
    )
    entries = gradient.entries
    dead = np.flatnonzero(state.silent >= rule.dead_after)
    if rule.auxk_alpha and dead.size:
        n_parts = entries.gradients.shape[0] // centred.shape[0]
        residual = entries.gradients[n_parts - 1 :: n_parts] * centred.dtype.type(-0.5 * centred.shape[0] * n_parts)
        auxiliary = code_of_dead(activation, values, dead, centred.shape[1], n_jobs=n_jobs)
        _, more = dead_latent_gradient(residual, auxiliary, state.decoder, rule.auxk_alpha, n_jobs=n_jobs)
        entries = joined(entries, more)
    slopes = encoder_bias_gradient(entries, n_latents)
    bias_gradient = gradient.bias_gradient - slopes.astype(centred.dtype) @ state.encoder
    np.add(state.silent, centred.shape[0], out=state.silent)
    state.silent[codes.indices] = 0
    state.n_steps[0] += 1
    move_latents(
        rule.optimizer, rate, entries, centred, slopes.astype(centred.dtype), state.decoder, state.encoder,
        state.encoder_bias, state.latents, n_jobs=n_jobs,
    )  # fmt: skip
    if rule.learn_bias:
        moments = state.bias_moments
        row_step(
            rule.optimizer, state.bias, bias_gradient.astype(centred.dtype), moments.first, moments.second,
            int(state.n_steps[0]), bias_rate(rule.optimizer, rate),
        )  # fmt: skip
    if isinstance(activation, BatchTopKActivation | FeatureChoiceActivation):
        _remember(state.thresholds, batch_thresholds(activation, codes), max(1.0 / state.n_steps[0], _SHORTEST_MEMORY))
    return gradient.loss


@singledispatch
def step_on_rows(
    state: Any, X: Any, rows: np.ndarray, rule: TrainingRule, rate: float, *, n_jobs: int | None = None
) -> float:
    """Move all parameters by one step on some rows of the data: :func:`training_step`, for every kind of state.

    Parameters
    ----------
    state : TrainingState or ArrayTrainingState
        Changed in place.
    X : array of shape (n_samples, n_features)
        The data, in its own units.
    rows : ndarray of int
        The samples of the batch.
    rule : TrainingRule
        What is minimised, and how.
    rate : float
        The learning rate of this step.
    n_jobs : int, optional
        Threads; the answer does not depend on them.

    Returns
    -------
    float
        The loss of the batch before the step, without the term of the dead latents.
    """
    raise TypeError(f"not a state of a training: {type(state).__name__}")


@step_on_rows.register(TrainingState)
def _(state, X, rows, rule, rate, *, n_jobs=None):
    batch = standardized(X[rows], state.center, float(state.scale[0]))
    return training_step(state, batch, rule, rate, n_jobs=n_jobs)


def _remember(thresholds: np.ndarray, new: np.ndarray, weight: float) -> None:
    known = ~np.isnan(new)
    first = known & np.isnan(thresholds)
    thresholds[first] = new[first]
    thresholds[known] += weight * (new[known] - thresholds[known])


def learning_rate_at(step: int, n_steps: int) -> float:
    """The share of the full learning rate at a step of a training of known length."""
    warm_up = min(_LONGEST_WARM_UP, 1 + n_steps // 20)
    return min(1.0, (step + 1) / warm_up, (n_steps - step) / (0.2 * n_steps))


def entries_at(epoch: int, max_iter: int, n_nonzero: int, schedule: tuple[int, float] | None) -> int:
    """How many entries codes have in an epoch: falling linearly over the first share of the epochs."""
    if schedule is None:
        return n_nonzero
    first, share = schedule
    progress = epoch / max(1.0, share * max_iter)
    return n_nonzero if progress >= 1.0 else max(n_nonzero, round(first + (n_nonzero - first) * progress))


def train(
    X: Any,
    state: Any,
    rule: TrainingRule,
    *,
    learning_rate: float,
    batch_size: int,
    max_iter: int,
    tol: float = 0.0,
    k_schedule: tuple[int, float] | None = None,
    deadline: float = np.inf,
    on_epoch: Callable[[int, float], bool] | None = None,
    random_state: Any,
    n_jobs: int | None = None,
) -> Training:
    """Train an autoencoder in place.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), C order
        The data, in its own units; an array of the library of the state.
    state : TrainingState or ArrayTrainingState
        Where to start; changed in place.
    rule : TrainingRule
        What is minimised, and how.
    learning_rate : float
        The full learning rate.
    batch_size : int
        The most samples of a batch; an epoch has batches of equal size, up to one.
    max_iter : int
        Epochs.
    tol : float, default=0.0
        Stop once the loss fell by less than this share in ten epochs; 0.0 never stops early.
    k_schedule : tuple of int and float, optional
        The entries of a code in the first epoch, and the share of the epochs over which they fall.
    deadline : float, default=inf
        When to stop, in seconds of ``time.monotonic()``.
    on_epoch : callable, optional
        Called with the number of epochs and the loss; stops the training by returning True.
    random_state : numpy.random.RandomState
        Shuffles the samples of each epoch.
    n_jobs : int, optional
        Threads; the answer does not depend on them.

    Returns
    -------
    Training
        The history. At least one step is made.
    """
    n_samples = X.shape[0]
    n_batches = -(-n_samples // batch_size)
    history: list[float] = []
    status, step = "max_iter", 0
    n_nonzero = rule.activation.n_nonzero
    try:
        for epoch in range(max_iter):
            count = entries_at(epoch, max_iter, n_nonzero, k_schedule)
            current = rule._replace(
                activation=with_budget(rule.activation, count), nesting=nested_for(rule.nesting, count)
            )
            total, seen = 0.0, 0
            for rows in np.array_split(random_state.permutation(n_samples), n_batches):
                rate = learning_rate * learning_rate_at(step, max_iter * n_batches)
                with np.errstate(over="ignore", invalid="ignore"):  # the loss tells
                    total += rows.size * step_on_rows(state, X, rows, current, rate, n_jobs=n_jobs)
                seen += rows.size
                step += 1
                if time.monotonic() > deadline:
                    status = "time_limit"
                    break
            history.append(total / seen)
            if not np.isfinite(total):
                status = "diverged"
                break
            if status == "time_limit":
                break
            if on_epoch is not None and on_epoch(epoch + 1, history[-1]):
                status = "stopped"
                break
            settled = k_schedule is None or count == n_nonzero
            if tol > 0.0 and settled and len(history) > _PATIENCE:
                earlier, recent = min(history[:-_PATIENCE]), min(history[-_PATIENCE:])
                if recent > (1.0 - tol) * earlier:
                    status = "converged"
                    break
    except KeyboardInterrupt:
        status = "interrupted"
    return Training(np.array(history), len(history), status)
