r"""Encoders that guess the codes of signals without an optimisation, and their training on codes that are known.

Rows are signals. Two forms, both of them trained by :func:`fit_encoder` on the squared error
:math:`\tfrac12 \|Z - F(X)\|_F^2`:

.. math::

    F(X) &= \tanh(X W + c)\, \mathrm{diag}(g) \\
    F(X) &= Z_T, \qquad Z_0 = S_\theta(X W), \qquad Z_t = S_\theta(X W + Z_{t-1} Q)

with soft thresholding :math:`S_\theta`. The second form is proximal gradient descent for the lasso, cut off after T + 1
steps and with its matrices set free.

References
----------
K. Kavukcuoglu, M. Ranzato and Y. LeCun, "Fast inference in sparse coding algorithms with applications to object
recognition", arXiv:1010.3467, 2008. K. Gregor and Y. LeCun, "Learning fast approximations of sparse coding", ICML 2010.
"""

from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.optimize

from .row_blocks import map_blocks
from .sparse_codes import SparseCodes

_RIDGE = 1e-4  # of the largest variance: directions of the data below it are not stretched any further
_SLOPE = 1e-9  # relative to the energy of the signals: a gradient at which training has nothing more to do


class TanhEncoder(NamedTuple):
    r"""One matrix product and a squashing, :math:`F(X) = \tanh(X W + c)\, \mathrm{diag}(g)`.

    Attributes
    ----------
    weights : ndarray of shape (n_features, n_components)
        The matrix W.
    offsets : ndarray of shape (n_components,)
        The vector c.
    gains : ndarray of shape (n_components,)
        The vector g: the largest magnitude that each code can have.
    """

    weights: np.ndarray
    offsets: np.ndarray
    gains: np.ndarray


class UnrolledEncoder(NamedTuple):
    r"""Soft thresholding again and again with learned matrices, :math:`Z_t = S_\theta(X W + Z_{t-1} Q)`, from zero.

    Attributes
    ----------
    weights : ndarray of shape (n_features, n_components)
        The matrix W.
    feedback : ndarray of shape (n_components, n_components)
        The matrix Q.
    thresholds : ndarray of shape (n_components,)
        The thresholds, >= 0.
    n_layers : int
        How many times codes are fed back, T.
    """

    weights: np.ndarray
    feedback: np.ndarray
    thresholds: np.ndarray
    n_layers: int


Encoder = TanhEncoder | UnrolledEncoder


def tanh_encoder(atoms: np.ndarray, codes: SparseCodes, scale: float) -> TanhEncoder:
    """An encoder to begin at: the inner products with the atoms, bent at the largest code of each.

    Parameters
    ----------
    atoms : ndarray of shape (n_components, n_features)
        The dictionary, atoms of norm one.
    codes : SparseCodes
        Codes of the signals.
    scale : float
        The gain of an atom without a code, > 0.

    Returns
    -------
    TanhEncoder
        The encoder, in the precision of the atoms.
    """
    gains = np.zeros(codes.n_atoms, dtype=atoms.dtype)
    np.maximum.at(gains, codes.indices, np.abs(codes.values))
    gains[gains == 0.0] = scale
    return TanhEncoder(np.ascontiguousarray((atoms / gains[:, None]).T), np.zeros_like(gains), gains)


def unrolled_encoder(atoms: np.ndarray, alpha: float, n_layers: int) -> UnrolledEncoder:
    r"""An encoder to begin at: `n_layers` + 1 steps of proximal gradient descent for the lasso, from zero.

    Parameters
    ----------
    atoms : ndarray of shape (n_components, n_features)
        The dictionary.
    alpha : float
        Weight of the penalty, of the objective :math:`\tfrac12 \|x - z D\|^2 + \alpha \|z\|_1`.
    n_layers : int
        How many times codes are fed back.

    Returns
    -------
    UnrolledEncoder
        The encoder, in the precision of the atoms.
    """
    n_components = atoms.shape[0]
    gram = atoms @ atoms.T
    curvature = float(scipy.linalg.eigvalsh(gram, subset_by_index=[n_components - 1] * 2)[0])
    return UnrolledEncoder(
        np.ascontiguousarray(atoms.T) / atoms.dtype.type(curvature),
        np.eye(n_components, dtype=atoms.dtype) - gram / atoms.dtype.type(curvature),
        np.full(n_components, alpha / curvature, dtype=atoms.dtype),
        n_layers,
    )


def in_precision(encoder: Encoder, dtype: Any) -> Encoder:
    """The same encoder with arrays of a floating-point type; itself if they have it."""
    arrays: dict[str, Any] = {
        name: field.astype(dtype, copy=False)
        for name, field in encoder._asdict().items()
        if isinstance(field, np.ndarray)
    }
    return encoder._replace(**arrays)


@singledispatch
def _forward(encoder: Any, X: np.ndarray) -> np.ndarray:
    raise TypeError(f"not an encoder: {type(encoder).__name__}")


@singledispatch
def _slopes(encoder: Any, X: np.ndarray, codes: SparseCodes, start: int) -> tuple[float, tuple[np.ndarray, ...]]:
    """Half the squared error of one block of signals, whose codes begin at row `start`, and its gradients."""
    raise TypeError(f"not an encoder: {type(encoder).__name__}")


@_forward.register(TanhEncoder)
def _(encoder, X):
    out = X @ encoder.weights
    out += encoder.offsets
    np.tanh(out, out=out)
    out *= encoder.gains
    return out


@_slopes.register(TanhEncoder)
def _(encoder, X, codes, start):
    bent = X @ encoder.weights
    bent += encoder.offsets
    np.tanh(bent, out=bent)
    error = _minus_codes(bent * encoder.gains, codes, start)
    of_gains = np.einsum("ij,ij->j", error, bent)
    loss = _half_energy(error)
    error *= encoder.gains
    np.multiply(bent, bent, out=bent)
    np.subtract(1.0, bent, out=bent)
    error *= bent
    return loss, (X.T @ error, error.sum(axis=0), of_gains)


def _shrink(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return values - np.clip(values, -thresholds, thresholds)


@_forward.register(UnrolledEncoder)
def _(encoder, X):
    drive = X @ encoder.weights
    out = _shrink(drive, encoder.thresholds)
    for _ in range(encoder.n_layers):
        out = _shrink(drive + out @ encoder.feedback, encoder.thresholds)
    return out


@_slopes.register(UnrolledEncoder)
def _(encoder, X, codes, start):
    drive = X @ encoder.weights
    layers = [_shrink(drive, encoder.thresholds)]
    for _ in range(encoder.n_layers):
        layers.append(_shrink(drive + layers[-1] @ encoder.feedback, encoder.thresholds))
    error = _minus_codes(layers[-1].copy(), codes, start)
    loss = _half_energy(error)
    of_drive, of_thresholds = np.zeros_like(drive), np.zeros_like(encoder.thresholds)
    of_feedback = np.zeros_like(encoder.feedback)
    for t in range(encoder.n_layers, -1, -1):
        # What a threshold cut to zero passes nothing back; the rest passes it whole.
        error[layers[t] == 0.0] = 0.0
        of_thresholds -= np.einsum("ij,ij->j", error, np.sign(layers[t]))
        of_drive += error
        if t:
            of_feedback += layers[t - 1].T @ error
            error = error @ encoder.feedback.T
    return loss, (X.T @ of_drive, of_feedback, of_thresholds)


def _minus_codes(values: np.ndarray, codes: SparseCodes, start: int) -> np.ndarray:
    n_rows = values.shape[0]
    bounds = codes.indptr[start : start + n_rows + 1]
    rows = np.repeat(np.arange(n_rows), np.diff(bounds))
    values[rows, codes.indices[bounds[0] : bounds[-1]]] -= codes.values[bounds[0] : bounds[-1]]
    return values


def _half_energy(error: np.ndarray) -> float:
    return 0.5 * float(np.einsum("ij,ij->", error, error, dtype=np.float64))


def predict(encoder: Encoder, X: np.ndarray, *, n_jobs: int | None = None) -> np.ndarray:
    """The codes that an encoder guesses.

    Parameters
    ----------
    encoder : TanhEncoder or UnrolledEncoder
        The encoder.
    X : ndarray of shape (n_signals, n_features)
        The signals.
    n_jobs : int, optional
        Threads over blocks of signals; the answer does not depend on them.

    Returns
    -------
    ndarray of shape (n_signals, n_components)
        The codes.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.feedforward_encoders import predict, unrolled_encoder
    >>> encoder = unrolled_encoder(np.eye(3), 0.5, n_layers=1)  # orthogonal atoms: the first step is the lasso
    >>> predict(encoder, np.array([[2.0, 0.25, -1.0]]))
    array([[ 1.5,  0. , -0.5]])
    """
    out = np.empty((X.shape[0], encoder.weights.shape[1]), dtype=np.result_type(X, encoder.weights))

    def work(start: int, stop: int) -> None:
        out[start:stop] = _forward(encoder, X[start:stop])

    map_blocks(X.shape[0], n_jobs, work)
    return out


def prediction_loss(
    encoder: Encoder, X: np.ndarray, codes: SparseCodes, *, n_jobs: int | None = None
) -> tuple[float, tuple[np.ndarray, ...]]:
    r"""Half the squared error of guessed codes, :math:`\tfrac12 \|Z - F(X)\|_F^2`, and its gradients.

    Parameters
    ----------
    encoder : TanhEncoder or UnrolledEncoder
        The encoder.
    X : ndarray of shape (n_signals, n_features)
        The signals.
    codes : SparseCodes
        The codes that the encoder should guess.
    n_jobs : int, optional
        Threads over blocks of signals; the answer does not depend on them.

    Returns
    -------
    loss : float
        The loss, summed over the signals.
    gradients : tuple of ndarray, float64
        By the arrays of the encoder, in their order.
    """
    parts = map_blocks(
        X.shape[0], n_jobs, lambda start, stop: _slopes(encoder, X[start:stop], codes, start), block=1024
    )
    gradients = tuple(
        np.asarray(np.sum(arrays, axis=0, dtype=np.float64)) for arrays in zip(*(part[1] for part in parts))
    )
    return float(sum(part[0] for part in parts)), gradients


class Whitening(NamedTuple):
    """The coordinates in which training is well conditioned.

    Attributes
    ----------
    map : ndarray of shape (n_features, n_features), float64
        Symmetric; signals times it over `scale` have the identity for their second moments, but for the weakest
        directions.
    inverse : ndarray of shape (n_features, n_features), float64
        Its inverse.
    scale : float
        The root mean square of the entries of the signals, or 1 if all are zero.
    """

    map: np.ndarray
    inverse: np.ndarray
    scale: float


def whitening(X: np.ndarray) -> Whitening:
    """The whitening of signals, X of shape (n_signals, n_features), by the eigenvectors of their second moments."""
    moments = np.zeros((X.shape[1], X.shape[1]))
    for start in range(0, X.shape[0], 1024):
        rows = X[start : start + 1024].astype(np.float64)
        moments += rows.T @ rows
    moments /= X.shape[0]
    scale = float(np.sqrt(np.trace(moments) / X.shape[1])) or 1.0
    variances, axes = scipy.linalg.eigh(moments / scale**2)
    roots = np.sqrt(np.maximum(variances, 0.0) + _RIDGE * max(variances[-1], 1e-30))
    return Whitening((axes / roots) @ axes.T, (axes * roots) @ axes.T, scale)


def fit_encoder(
    encoder: Encoder,
    X: np.ndarray,
    codes: SparseCodes,
    white: Whitening,
    *,
    max_iter: int = 10,
    n_jobs: int | None = None,
) -> tuple[Encoder, float]:
    r"""Train an encoder on codes, by a limited-memory quasi-Newton method with a line search.

    Parameters
    ----------
    encoder : TanhEncoder or UnrolledEncoder
        Where to begin; not changed.
    X : ndarray of shape (n_signals, n_features)
        The signals.
    codes : SparseCodes
        The codes that the encoder should guess.
    white : Whitening
        From :func:`whitening`; the search takes place in these coordinates.
    max_iter : int, default=10
        The most steps; each lowers the loss.
    n_jobs : int, optional
        Threads over blocks of signals; the answer does not depend on them.

    Returns
    -------
    encoder : TanhEncoder or UnrolledEncoder
        The trained encoder, in the precision of the one given.
    loss : float
        Half its squared error, never above that of the encoder given.
    """
    arrays = [field for field in encoder if isinstance(field, np.ndarray)]
    shapes, dtype = [array.shape for array in arrays], arrays[0].dtype
    ends = np.cumsum([array.size for array in arrays])[:-1]
    scale = white.scale
    # The units of the arrays, in those of the signals: tanh takes pure numbers, soft thresholding does not.
    units = (1.0 / scale, 1.0, scale) if isinstance(encoder, TanhEncoder) else (1.0, 1.0, scale)
    energy = X.shape[0] * X.shape[1] * scale**2

    def unpack(point: np.ndarray) -> list[np.ndarray]:
        return [part.reshape(shape) for part, shape in zip(np.split(point, ends), shapes)]

    def encoder_at(point: np.ndarray) -> Any:
        first, *others = unpack(point)
        values = [white.map @ first, *others]
        fields: dict[str, Any] = {
            name: np.ascontiguousarray(value * unit, dtype=dtype)
            for name, value, unit in zip(encoder._fields, values, units)
        }
        return encoder._replace(**fields)

    def value_and_slope(point: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradients = prediction_loss(encoder_at(point), X, codes, n_jobs=n_jobs)
        slopes = [gradient * (unit / energy) for gradient, unit in zip(gradients, units)]
        slopes[0] = white.map @ slopes[0]
        return loss / energy, np.concatenate([slope.ravel() for slope in slopes])

    scaled = [array.astype(np.float64) / unit for array, unit in zip(arrays, units)]
    start = np.concatenate([(white.inverse @ scaled[0]).ravel(), *(array.ravel() for array in scaled[1:])])
    lower = np.full(start.size, -np.inf)
    if isinstance(encoder, UnrolledEncoder):
        lower[ends[-1] :] = 0.0
    before = prediction_loss(encoder, X, codes, n_jobs=n_jobs)[0]
    found = scipy.optimize.minimize(
        value_and_slope,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=scipy.optimize.Bounds(lower, np.inf),
        options={"maxiter": max_iter, "ftol": 0.0, "gtol": _SLOPE},
    )
    trained = encoder_at(found.x)
    after = found.fun * energy
    return (trained, after) if after < before else (encoder, before)
