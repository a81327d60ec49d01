r"""Codes of a trained autoencoder, and what proves how good they and it are.

- The **fraction of variance unexplained**, :math:`\sum \|x - \hat x\|^2 / \sum \|x - \bar x\|^2`.
- The **gradient** of the relative error: the norm of the gradient of :math:`\sqrt F`, F being the loss on all data in
  units in which samples have mean squared distance one from the centre, the selection held fixed, and the part of the
  gradient along each atom removed, since atoms have norm one. It has no units, does not change when the data are
  scaled, and is zero at a stationary point.
- The **coding excess**: by how much of the variance the error would fall, if the latents that a code selects were
  fitted by least squares instead of by the encoder.
"""

from typing import Any, NamedTuple

import numpy as np

from .autoencoder_training import Autoencoder, norm_weight, norms_for, preactivations
from .k_sparse_activations import Activation, batch_thresholds, select
from .k_sparse_autoencoder_gradients import batch_gradient, parameter_gradients
from .row_blocks import map_blocks
from .sparse_codes import SparseCodes, concatenated, squared_residuals

_BLOCK = 1024
_REFITTED = 1000  # samples at most whose codes are fitted again
_DEPENDENT = 1e-10  # relative ridge: atoms of a support may depend on each other


def encode_samples(
    X: np.ndarray, model: Autoencoder, activation: Activation, *, n_jobs: int | None = None
) -> SparseCodes:
    """The codes of samples, each by itself.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), C order
        The samples, in the precision of the model.
    model : Autoencoder
        The autoencoder.
    activation : TopKActivation, AbsTopKActivation, TopAFAActivation or ThresholdActivation
        What a code keeps: an activation that does not look at other samples.
    n_jobs : int, optional
        Threads over blocks of samples.

    Returns
    -------
    SparseCodes
        The codes.
    """

    def work(start: int, stop: int) -> SparseCodes:
        centred = X[start:stop] - model.bias
        values = preactivations(centred, model.encoder, model.encoder_bias, n_jobs=1)
        return select(activation, values, norms_for(activation, centred))

    return concatenated(map_blocks(X.shape[0], n_jobs, work, block=_BLOCK))


def calibrated_thresholds(
    X: np.ndarray, model: Autoencoder, activation: Any, batch_size: int, random_state: Any, *, n_jobs: int | None = None
) -> np.ndarray:
    """The thresholds that stand for an activation of batches: the means over the batches of one shuffled pass.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The samples.
    model : Autoencoder
        The autoencoder.
    activation : BatchTopKActivation or FeatureChoiceActivation
        The activation of batches.
    batch_size : int
        The most samples of a batch.
    random_state : numpy.random.RandomState
        Shuffles the samples.
    n_jobs : int, optional
        Threads.

    Returns
    -------
    ndarray of shape (n_latents,), float64
        The thresholds; infinite for a latent that no batch used.
    """
    n_samples, n_latents = X.shape[0], model.decoder.shape[0]
    total, seen = np.zeros(n_latents), np.zeros(n_latents)
    for rows in np.array_split(random_state.permutation(n_samples), -(-n_samples // batch_size)):
        values = preactivations(X[rows] - model.bias, model.encoder, model.encoder_bias, n_jobs=n_jobs)
        new = batch_thresholds(activation, select(activation, values, n_jobs=n_jobs))
        known = ~np.isnan(new)
        total[known] += new[known]
        seen[known] += 1.0
    return np.divide(total, seen, out=np.full(n_latents, np.inf), where=seen > 0.0)


def unexplained(squared_error: float, variance: float) -> float:
    """Error over variance; zero where both are zero."""
    if variance > 0.0:
        return squared_error / variance
    return 0.0 if squared_error == 0.0 else np.inf


def rows_of(codes: SparseCodes, start: int, stop: int) -> SparseCodes:
    """The codes of some samples."""
    begin, end = codes.indptr[start], codes.indptr[stop]
    return SparseCodes(
        codes.indptr[start : stop + 1] - begin, codes.indices[begin:end], codes.values[begin:end], codes.n_atoms
    )


def squared_errors(X: np.ndarray, codes: SparseCodes, model: Autoencoder, *, n_jobs: int | None = None) -> np.ndarray:
    """The squared norms of what codes leave of samples, float64, of shape (n_samples,)."""

    def work(start: int, stop: int) -> np.ndarray:
        return squared_residuals(rows_of(codes, start, stop), X[start:stop] - model.bias, model.decoder)

    return np.concatenate(map_blocks(X.shape[0], n_jobs, work, block=_BLOCK))


def squared_spread(X: np.ndarray, center: np.ndarray) -> float:
    """The squared distances of samples from a point, summed."""
    return float(sum(map_blocks(X.shape[0], 1, lambda a, b: np.square(X[a:b] - center).sum(), block=_BLOCK)))


class Stationarity(NamedTuple):
    """The loss on all data and the norm of the gradient of its root.

    Attributes
    ----------
    loss : float
        The loss F in units in which samples have mean squared distance one from the centre.
    gradient_norm : float
        The norm of the gradient of the root of F.
    """

    loss: float
    gradient_norm: float


def stationarity(
    X: np.ndarray,
    codes: SparseCodes,
    model: Autoencoder,
    scale: float,
    activation: Any,
    nesting: Any,
    *,
    learn_bias: bool = True,
    n_jobs: int | None = None,
) -> Stationarity:
    """How far an autoencoder is from a stationary point of its loss on given data.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), C order
        The data.
    codes : SparseCodes
        Their codes by the model.
    model : Autoencoder
        The autoencoder.
    scale : float
        The root of the mean squared distance of samples from the centre.
    activation : TopKActivation or another activation
        The activation; it decides whether the loss compares norms.
    nesting : WholeCode, LargestFirst or Prefixes
        Which parts of the codes reconstruct.
    learn_bias : bool, default=True
        Whether b is a parameter.
    n_jobs : int, optional
        Threads.

    Returns
    -------
    Stationarity
        The loss and the norm.
    """
    n_samples, n_features = X.shape
    tied = model.encoder is model.decoder
    decoder_sum, encoder_sum = (np.zeros(model.decoder.shape) for _ in range(2))
    bias_sum, encoder_bias_sum, loss = np.zeros(n_features), np.zeros(model.decoder.shape[0]), 0.0
    for start in range(0, n_samples, _BLOCK):
        stop = min(start + _BLOCK, n_samples)
        # In the units of the training.
        centred = ((X[start:stop] - model.bias) / X.dtype.type(scale)).astype(X.dtype, copy=False)
        part = rows_of(codes, start, stop)
        part = part._replace(values=part.values / X.dtype.type(scale))
        gradient = batch_gradient(
            centred, part, model.decoder, nesting, norm_weight=norm_weight(activation),
            norms=norms_for(activation, centred), n_total=n_samples, n_jobs=n_jobs,
        )  # fmt: skip
        loss += gradient.loss
        rows = parameter_gradients(gradient.entries, centred, model.encoder, gradient.bias_gradient, n_jobs=n_jobs)
        decoder_sum += rows.decoder
        encoder_sum += rows.encoder
        encoder_bias_sum += rows.encoder_bias
        bias_sum += rows.bias
    if tied:
        decoder_sum += encoder_sum
        encoder_sum[:] = 0.0
    atoms = model.decoder.astype(np.float64)
    decoder_sum -= np.einsum("ij,ij->i", decoder_sum, atoms)[:, None] * atoms
    squares = [np.sum(block**2) for block in (decoder_sum, encoder_sum, encoder_bias_sum)]
    if learn_bias:
        squares.append(np.sum(bias_sum**2))
    norm = float(np.sqrt(sum(squares)))
    return Stationarity(loss, 0.5 * norm / float(np.sqrt(loss)) if loss > 0.0 else 0.0)


def refitted_errors(X: np.ndarray, codes: SparseCodes, model: Autoencoder) -> tuple[np.ndarray, np.ndarray]:
    """The squared errors of samples if the latents of their codes were fitted by least squares.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples; of more than a thousand, as many evenly spaced ones are taken.
    codes : SparseCodes
        Their codes.
    model : Autoencoder
        The autoencoder.

    Returns
    -------
    rows : ndarray of shape (n_taken,), int64
        The samples that were taken.
    squared_errors : ndarray of shape (n_taken,), float64
        Their squared errors after the fit.
    """
    rows = np.unique(np.linspace(0, X.shape[0] - 1, min(X.shape[0], _REFITTED)).astype(np.int64))
    errors = np.empty(rows.size)
    for at, row in enumerate(rows):
        target = X[row].astype(np.float64) - model.bias
        atoms = model.decoder[codes.indices[codes.indptr[row] : codes.indptr[row + 1]]].astype(np.float64)
        gram = atoms @ atoms.T
        gram[np.diag_indices_from(gram)] += _DEPENDENT
        residual = target - np.linalg.solve(gram, atoms @ target) @ atoms
        errors[at] = residual @ residual
    return rows, errors
