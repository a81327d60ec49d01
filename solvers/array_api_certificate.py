"""Codes and certificates of k-sparse autoencoders on arrays of any library: :mod:`.autoencoder_certificate` again."""

from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace, device

from .autoencoder_certificate import refitted_errors, unexplained
from .autoencoder_training import Autoencoder, TrainingRule, norm_weight
from .dense_codes import batch_minima, dense_gradient, like, norms_for, quotient, select_dense, squares, to_host
from .k_sparse_activations import with_budget
from .sparse_codes import from_matrix

_BLOCK = 4096  # rows of one matrix product
_REFITTED = 1000


def encode_array(X: Any, model: Autoencoder, activation: Any) -> Any:
    """The codes of samples, each by itself.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        The samples.
    model : Autoencoder
        The autoencoder, on the device of the samples.
    activation : TopKActivation, AbsTopKActivation, TopAFAActivation or ThresholdActivation
        What a code keeps.

    Returns
    -------
    array of shape (n_samples, n_latents)
        The codes, a matrix with zeros.
    """
    xp = array_namespace(X)
    blocks = []
    for start in range(0, X.shape[0], _BLOCK):
        centred = X[start : min(start + _BLOCK, X.shape[0]), :] - model.bias
        values = centred @ model.encoder.T + model.encoder_bias
        blocks.append(select_dense(activation, values, norms_for(activation, centred)))
    return xp.concat(blocks, axis=0)


def array_thresholds(X: Any, model: Autoencoder, activation: Any, batch_size: int, random_state: Any) -> Any:
    """The thresholds that stand for an activation of batches: the means over the batches of one shuffled pass.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        The samples.
    model : Autoencoder
        The autoencoder.
    activation : BatchTopKActivation or FeatureChoiceActivation
        The activation of batches.
    batch_size : int
        The most samples of a batch.
    random_state : numpy.random.RandomState
        Shuffles the samples.

    Returns
    -------
    array of shape (n_latents,), float64
        The thresholds; infinite for a latent that no batch used.
    """
    xp, n_samples = array_namespace(X), X.shape[0]
    total = xp.zeros((model.decoder.shape[0],), dtype=xp.float64, device=device(X))
    seen = xp.zeros_like(total)
    for rows in np.array_split(random_state.permutation(n_samples), -(-n_samples // batch_size)):
        centred = xp.take(X, like(rows, X), axis=0) - model.bias
        new = batch_minima(activation, select_dense(activation, centred @ model.encoder.T + model.encoder_bias))
        unknown = xp.isnan(new)
        total = total + xp.where(unknown, xp.zeros_like(new), new)
        seen = seen + xp.astype(~unknown, xp.float64)
    infinite = xp.asarray(xp.inf, dtype=xp.float64, device=device(X))
    return xp.where(seen > 0.0, quotient(total, seen), infinite)


class ArrayCertificate(NamedTuple):
    """What proves how good an autoencoder is on given data; see :mod:`.autoencoder_certificate`.

    Attributes
    ----------
    unexplained : float
        The fraction of variance that the codes leave unexplained.
    gradient_norm : float
        The norm of the gradient of the relative error.
    coding_excess : float
        The fraction of variance that least squares on the supports would gain.
    mean_l0 : float
        The mean number of nonzeros of a code.
    n_dead : int
        Latents that no code uses.
    """

    unexplained: float
    gradient_norm: float
    coding_excess: float
    mean_l0: float
    n_dead: int


def certify_array(
    X: Any,
    model: Autoencoder,
    mean: Any,
    scale: float,
    rule: TrainingRule,
    coder: Any,
    of_training: Any,
    *,
    tied: bool = False,
) -> ArrayCertificate:
    """Measure an autoencoder on data, on their device.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
        The data.
    model : Autoencoder
        The autoencoder.
    mean : array of shape (n_features,), float64
        The point that the variance is taken about.
    scale : float
        The unit of the loss.
    rule : TrainingRule
        What was minimised.
    coder : TopKActivation or another activation of single samples
        The activation of codes.
    of_training : TopKActivation or another activation of single samples
        The one whose loss is differentiated.
    tied : bool, default=False
        Whether encoder directions and atoms are the same parameters.

    Returns
    -------
    ArrayCertificate
        The measurements.
    """
    xp, n_samples = array_namespace(X), X.shape[0]
    error = variance = loss = 0.0
    n_nonzero = 0
    used = xp.zeros((model.decoder.shape[0],), dtype=xp.bool, device=device(X))
    of_decoder = xp.zeros(model.decoder.shape, dtype=xp.float64, device=device(X))
    of_encoder, of_bias = xp.zeros_like(of_decoder), xp.zeros_like(mean)
    of_encoder_bias = xp.zeros_like(of_decoder[:, 0])
    for start in range(0, n_samples, _BLOCK):
        samples = X[start : min(start + _BLOCK, X.shape[0]), :]
        centred = samples - model.bias
        codes = encode_array(samples, model, coder)
        error += float(squares(codes @ model.decoder - centred))
        variance += float(squares(xp.astype(samples, xp.float64) - mean))
        n_nonzero += int(xp.sum(xp.astype(codes != 0.0, xp.int64)))
        used = used | xp.any(codes != 0.0, axis=0)
        codes = codes if of_training is coder else encode_array(samples, model, of_training)
        centred = centred / scale
        gradient = dense_gradient(
            centred, codes / scale, model.decoder, rule.nesting, norm_weight=norm_weight(rule.activation),
            norms=norms_for(rule.activation, centred), n_total=n_samples,
        )  # fmt: skip
        slopes = xp.sum(gradient.slopes, axis=0, dtype=xp.float64)
        loss += gradient.loss
        of_decoder = of_decoder + xp.astype(gradient.decoder, xp.float64)
        of_encoder = of_encoder + xp.astype(gradient.slopes.T @ centred, xp.float64)
        of_encoder_bias = of_encoder_bias + slopes
        of_bias = of_bias + gradient.bias - slopes @ xp.astype(model.encoder, xp.float64)
    atoms = xp.astype(model.decoder, xp.float64)
    of_decoder = of_decoder + of_encoder if tied else of_decoder
    of_decoder = of_decoder - xp.sum(of_decoder * atoms, axis=1)[:, None] * atoms
    square = float(squares(of_decoder)) + float(squares(of_encoder_bias))
    square += 0.0 if tied else float(squares(of_encoder))
    square += float(squares(of_bias)) if rule.learn_bias else 0.0
    gradient_norm = 0.5 * float(np.sqrt(square / loss)) if loss > 0.0 else 0.0
    excess = _coding_excess(X, model, mean, coder)
    n_used = int(xp.sum(xp.astype(used, xp.int64)))
    return ArrayCertificate(
        unexplained(error, variance), gradient_norm, excess, n_nonzero / n_samples, model.decoder.shape[0] - n_used
    )


def _coding_excess(X: Any, model: Autoencoder, mean: Any, coder: Any) -> float:
    """What least squares on the supports of some samples would gain, on the host."""
    n_samples = X.shape[0]
    rows = np.unique(np.linspace(0, n_samples - 1, min(n_samples, _REFITTED)).astype(np.int64))
    taken = array_namespace(X).take(X, like(rows, X), axis=0)
    codes = encode_array(taken, model, coder)
    errors = float(squares(codes @ model.decoder - (taken - model.bias)))
    samples = to_host(taken)
    refitted = refitted_errors(samples, from_matrix(to_host(codes)), Autoencoder(*(to_host(part) for part in model)))[1]
    variance = float(np.square(samples - to_host(mean)).sum())
    return unexplained(max(0.0, errors - float(refitted.sum())), variance)


def train_thresholds(
    X: Any, model: Autoencoder, activation: Any, budgets: set[int], batch_size: int, seed: int
) -> dict[int, Any]:
    """The thresholds for some numbers of entries of a code; see :func:`array_thresholds`."""
    return {
        count: array_thresholds(X, model, with_budget(activation, count), batch_size, np.random.RandomState(seed))
        for count in budgets
    }
