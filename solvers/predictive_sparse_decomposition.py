r"""Predictive sparse decomposition: a dictionary, sparse codes, and an encoder that guesses them, learned together.

.. math:: \min_{D, Z, F} \; \tfrac12 \|X - Z D\|_F^2 + \alpha \|Z\|_1 + \tfrac{w}{2} \|Z - F(X)\|_F^2,
    \qquad \|d_a\| = 1

Rows of X are signals. Three steps take turns, and none of them raises the objective. The codes of each signal solve a
lasso: with the augmented signal :math:`(x, \sqrt w F(x))` and the augmented atoms :math:`(d_a, \sqrt w e_a)` the last
term is part of the squared error. The atoms are improved one by one, each to its best unit vector. The encoder is
trained on the codes (:func:`~sparsemodels.solvers.feedforward_encoders.fit_encoder`).

References
----------
K. Kavukcuoglu, M. Ranzato and Y. LeCun, "Fast inference in sparse coding algorithms with applications to object
recognition", arXiv:1010.3467, 2008.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .coders import Dictionary, LassoCD, dictionary
from .feedforward_encoders import (
    Encoder,
    TanhEncoder,
    fit_encoder,
    predict,
    tanh_encoder,
    unrolled_encoder,
    whitening,
)
from .kernel import kernel
from .sparse_codes import SparseCodes, code_gram, code_products, concatenated
from .sparse_coding import encode

_ROWS = 4096  # signals that are augmented at a time
_ATOM_SWEEPS = 5
_ENCODER_STEPS, _FIRST_STEPS = 10, 50


class ExactCodes(NamedTuple):
    """The codes that minimise the objective for a given dictionary and encoder.

    Attributes
    ----------
    codes : SparseCodes
        The codes.
    energies : ndarray of shape (n_signals,), float64
        The objective of each signal.
    dual_gaps : ndarray of shape (n_signals,), float64
        How far, at the most, each energy is above the smallest possible one.
    relative_gap : float
        The largest gap relative to the energy of the code zero.
    converged : bool
        Whether every gap is within the tolerance.
    """

    codes: SparseCodes
    energies: np.ndarray
    dual_gaps: np.ndarray
    relative_gap: float
    converged: bool


class PredictiveDecomposition(NamedTuple):
    """A dictionary and an encoder with the codes that certify them.

    Attributes
    ----------
    atoms : ndarray of shape (n_components, n_features)
        The dictionary, rows of norm one.
    encoder : TanhEncoder or UnrolledEncoder
        The encoder.
    exact : ExactCodes
        The exact codes of the signals for these two.
    objective_history : ndarray of shape (n_iter + 1,)
        The objective with exact codes, at the start and after every iteration.
    correlation : float
        The correlation of the guessed codes with the exact ones, over all entries.
    n_iter : int
        How many times dictionary and encoder were improved.
    status : str
        ``"converged"``, ``"max_iter"``, ``"time_limit"``, ``"stopped"`` or ``"interrupted"``.
    """

    atoms: np.ndarray
    encoder: Encoder
    exact: ExactCodes
    objective_history: np.ndarray
    correlation: float
    n_iter: int
    status: str


def augmented(record: Dictionary, prediction_weight: float) -> Dictionary:
    r"""The dictionary of atoms :math:`(d_a, \sqrt w e_a)`.

    Parameters
    ----------
    record : Dictionary
        The atoms :math:`d_a`.
    prediction_weight : float
        The weight w.

    Returns
    -------
    Dictionary
        Atoms with `n_atoms` more features.
    """
    n_atoms, dtype = record.atoms.shape[0], record.atoms.dtype
    extra = np.sqrt(prediction_weight) * np.eye(n_atoms, dtype=dtype)
    gram = record.gram
    if gram.size:
        gram = gram + prediction_weight * np.eye(n_atoms, dtype=dtype)
    return Dictionary(
        np.hstack([record.atoms, extra]).astype(dtype, copy=False),
        gram.astype(dtype, copy=False),
        np.sqrt(record.norms**2 + prediction_weight),
    )


def exact_codes(
    X: np.ndarray,
    atoms: np.ndarray,
    encoder: Encoder | None,
    *,
    alpha: float,
    prediction_weight: float,
    tol: float = 1e-4,
    max_iter: int = 1000,
    start: SparseCodes | None = None,
    n_jobs: int | None = None,
) -> ExactCodes:
    r"""Solve for the codes, :math:`\min_z \tfrac12 \|x - z D\|^2 + \alpha \|z\|_1 + \tfrac{w}{2} \|z - F(x)\|^2`.

    Parameters
    ----------
    X : ndarray of shape (n_signals, n_features), C order
        The signals.
    atoms : ndarray of shape (n_components, n_features)
        The dictionary, in the precision of the signals.
    encoder : TanhEncoder, UnrolledEncoder or None
        The encoder F; without one the last term is left out.
    alpha : float
        Weight of the penalty, > 0.
    prediction_weight : float
        The weight w, >= 0.
    tol : float, default=1e-4
        Largest duality gap of a signal, relative to its energy at the code zero.
    max_iter : int, default=1000
        The most sweeps of coordinate descent for a signal.
    start : SparseCodes, optional
        Codes to begin at.
    n_jobs : int, optional
        Threads over blocks of signals; the answer does not depend on them.

    Returns
    -------
    ExactCodes
        The codes and their certificate.

    Examples
    --------
    One atom; with equal weight on data (4) and prediction (2) the code is their mean, less half the penalty:

    >>> import numpy as np
    >>> from sparsemodels.solvers.feedforward_encoders import UnrolledEncoder
    >>> from sparsemodels.solvers.predictive_sparse_decomposition import exact_codes
    >>> guess = UnrolledEncoder(np.array([[0.5]]), np.zeros((1, 1)), np.zeros(1), 0)
    >>> found = exact_codes(np.array([[4.0]]), np.array([[1.0]]), guess, alpha=0.5, prediction_weight=1.0)
    >>> found.codes.values
    array([2.75])
    """
    coder = LassoCD(float(alpha), False, tol, max_iter)
    record = dictionary(atoms)
    predicts = encoder is not None and prediction_weight > 0.0
    if predicts:
        record = augmented(record, prediction_weight)
    root = X.dtype.type(np.sqrt(prediction_weight))
    parts, residuals, gaps, energies = [], [], [], []
    for first in range(0, X.shape[0], _ROWS):
        rows = X[first : first + _ROWS]
        begin = None if start is None else _rows_of(start, first, first + rows.shape[0])
        if predicts and encoder is not None:
            rows = np.hstack([rows, root * predict(encoder, rows, n_jobs=n_jobs)])
        coding = encode(coder, rows, record, start=begin, n_jobs=n_jobs)
        parts.append(coding.codes)
        residuals.append(coding.squared_residual)
        gaps.append(coding.certificate)
        energies.append(0.5 * np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    codes = concatenated(parts)
    dual_gaps, zero = np.concatenate(gaps), np.concatenate(energies)
    relative = dual_gaps / np.where(zero > 0.0, zero, 1.0)
    n_signals = codes.indptr.size - 1
    owner = np.repeat(np.arange(n_signals), np.diff(codes.indptr))
    l1 = np.bincount(owner, weights=np.abs(codes.values), minlength=n_signals)
    worst = float(relative.max(initial=0.0))
    return ExactCodes(codes, 0.5 * np.concatenate(residuals) + alpha * l1, dual_gaps, worst, worst <= tol)


def _rows_of(codes: SparseCodes, start: int, stop: int) -> SparseCodes:
    bounds = codes.indptr[start : stop + 1]
    inside = slice(bounds[0], bounds[-1])
    return SparseCodes(bounds - bounds[0], codes.indices[inside], codes.values[inside], codes.n_atoms)


@kernel(fastmath={"contract", "nsz"})
def _descend_atoms(code_gram, products, atoms, max_sweeps):
    n_atoms, n_features = atoms.shape
    pull = np.empty(n_features)
    for _ in range(max_sweeps):
        for a in range(n_atoms):
            if code_gram[a, a] <= 0.0:
                continue
            pull[:] = products[a]
            for b in range(n_atoms):
                weight = code_gram[a, b]
                if b != a and weight != 0.0:
                    for j in range(n_features):
                        pull[j] -= weight * atoms[b, j]
            norm = np.sqrt(np.sum(pull * pull))
            if norm > 0.0:
                atoms[a] = pull / norm


def improve_atoms(codes: SparseCodes, X: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """Atoms of norm one that reconstruct the signals from their codes at least as well, one after the other.

    Parameters
    ----------
    codes : SparseCodes
        The codes.
    X : ndarray of shape (n_signals, n_features)
        The signals.
    atoms : ndarray of shape (n_components, n_features)
        The dictionary; not changed.

    Returns
    -------
    ndarray of shape (n_components, n_features)
        The better one. Atoms that no code uses stay.
    """
    wide = atoms.astype(np.float64)
    _descend_atoms(code_gram(codes), code_products(codes, X), wide, _ATOM_SWEEPS)
    return wide.astype(atoms.dtype)


def correlation(guess: np.ndarray, codes: SparseCodes) -> float:
    """The correlation of guessed codes, of shape (n_signals, n_components), with others; 0 if one is constant."""
    count = guess.size
    owner = np.repeat(np.arange(guess.shape[0]), np.diff(codes.indptr))
    values = codes.values.astype(np.float64)
    means = guess.sum(dtype=np.float64) / count, values.sum() / count
    squares = np.einsum("ij,ij->", guess, guess, dtype=np.float64) / count, values @ values / count
    spread = [square - mean**2 for square, mean in zip(squares, means)]
    if min(spread) <= 0.0:
        return 0.0
    inner = float(guess[owner, codes.indices].astype(np.float64) @ values) / count
    return float((inner - means[0] * means[1]) / np.sqrt(spread[0] * spread[1]))


def _without_dead_atoms(
    X: np.ndarray, atoms: np.ndarray, encoder: Encoder, exact: ExactCodes
) -> tuple[np.ndarray, Encoder]:
    """Turn atoms that no code uses towards the signals that cost most.

    Their codes are zero, so that nothing changes in the reconstruction. A tanh encoder is made to guess zero for them,
    which is what they are, and to be ready for the new direction; layers that feed codes back stay as they are.
    """
    used = np.zeros(atoms.shape[0], dtype=bool)
    used[exact.codes.indices] = True
    dead = np.flatnonzero(~used)
    if not dead.size:
        return atoms, encoder
    worst = np.argsort(-exact.energies, kind="stable")[: dead.size]
    norms = np.sqrt(np.einsum("ij,ij->i", X[worst], X[worst], dtype=np.float64))
    worst, norms = worst[norms > 0.0], norms[norms > 0.0]
    dead = dead[: worst.size]
    atoms = atoms.copy()
    atoms[dead] = X[worst] / norms[:, None]
    if not isinstance(encoder, TanhEncoder):
        return atoms, encoder
    weights, offsets, gains = encoder.weights.copy(), encoder.offsets.copy(), encoder.gains.copy()
    weights[:, dead] = (X[worst] / (norms[:, None] ** 2)).T
    offsets[dead] = gains[dead] = 0.0
    return atoms, TanhEncoder(weights, offsets, gains)


def decompose(
    X: np.ndarray,
    atoms: np.ndarray,
    *,
    alpha: float,
    prediction_weight: float,
    form: str = "tanh",
    n_layers: int = 1,
    tol: float = 1e-3,
    max_iter: int = 50,
    coding_tol: float = 1e-4,
    deadline: float = np.inf,
    on_iteration: Callable[[int, float], bool] | None = None,
    n_jobs: int | None = None,
) -> PredictiveDecomposition:
    """Learn a dictionary and an encoder of its codes.

    Parameters
    ----------
    X : ndarray of shape (n_signals, n_features), C order
        The signals.
    atoms : ndarray of shape (n_components, n_features)
        The dictionary to begin with, rows of norm one, in the precision of the signals; not changed.
    alpha : float
        Weight of the penalty of the codes, > 0.
    prediction_weight : float
        Weight w of the distance between codes and their guesses.
    form : {"tanh", "lista"}, default="tanh"
        The encoder.
    n_layers : int, default=1
        How many times ``"lista"`` feeds codes back.
    tol : float, default=1e-3
        Stop once an iteration lowers the objective by at most this share of it.
    max_iter : int, default=50
        The most iterations.
    coding_tol : float, default=1e-4
        Tolerance of the codes: largest duality gap relative to the energy of the code zero.
    deadline : float, default=inf
        When to stop, in seconds of ``time.monotonic()``.
    on_iteration : callable, optional
        Called with the number of iterations and the objective; stops the fit by returning True.
    n_jobs : int, optional
        Threads over blocks of signals; the answer does not depend on them.

    Returns
    -------
    PredictiveDecomposition
        Dictionary, encoder and certificates.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.predictive_sparse_decomposition import decompose
    >>> X = np.random.default_rng(0).laplace(size=(200, 4))
    >>> solution = decompose(X, np.eye(4), alpha=0.1, prediction_weight=1.0)
    >>> bool(np.all(np.diff(solution.objective_history) <= 0.0)), bool(solution.correlation > 0.9)
    (True, True)
    """
    common: dict = {"alpha": alpha, "prediction_weight": prediction_weight, "tol": coding_tol, "n_jobs": n_jobs}
    white = whitening(X)
    # The first codes do without a guess, and the encoder is trained on them.
    exact = exact_codes(X, atoms, None, **common)
    encoder: Encoder
    if form == "tanh":
        encoder = tanh_encoder(atoms, exact.codes, white.scale)
    else:
        encoder = unrolled_encoder(atoms, alpha, n_layers)
    encoder, _ = fit_encoder(encoder, X, exact.codes, white, max_iter=_FIRST_STEPS, n_jobs=n_jobs)
    exact = exact_codes(X, atoms, encoder, **common)
    objective = float(exact.energies.sum())
    history, n_iter, status = [objective], 0, "max_iter"
    best = atoms, encoder, exact
    try:
        while n_iter < max_iter:
            if time.monotonic() > deadline:
                status = "time_limit"
                break
            atoms, encoder, exact = best
            improved = improve_atoms(exact.codes, X, atoms)
            trained, _ = fit_encoder(encoder, X, exact.codes, white, max_iter=_ENCODER_STEPS, n_jobs=n_jobs)
            improved, trained = _without_dead_atoms(X, improved, trained, exact)
            exact = exact_codes(X, improved, trained, **common)
            n_iter += 1
            reached = float(exact.energies.sum())
            gain = objective - reached
            if gain >= 0.0:  # what is lost otherwise is within the tolerance of the codes
                best, objective = (improved, trained, exact), reached
            history.append(objective)
            if gain <= tol * objective:
                status = "converged"
                break
            if on_iteration is not None and on_iteration(n_iter, objective):
                status = "stopped"
                break
    except KeyboardInterrupt:
        status = "interrupted"
    atoms, encoder, exact = best
    guess = predict(encoder, X, n_jobs=n_jobs)
    return PredictiveDecomposition(
        atoms, encoder, exact, np.array(history), correlation(guess, exact.codes), n_iter, status
    )
