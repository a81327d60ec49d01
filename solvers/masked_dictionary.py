r"""Dictionaries that predict what they have not seen: codes from some features, atoms from the others.

A dictionary with more atoms than the signals were made of, learned from noisy signals by its reconstruction error,
ends up with atoms for the noise: a signal that is coded by them has a smaller error than one coded by the true atoms.
So Chidambaram, Wu, Cheng and Ge (2023) code each signal from a part of its features and count the error of the others
only,

.. math:: \min_{\|d_a\| = 1} \; \tfrac12 \sum_{H} \bigl\| X_H - Z^{(H)} D_H \bigr\|_F^2 ,
    \qquad Z^{(H)} = \operatorname{code}(X_{\bar H}, D_{\bar H}) ,

where the sets H of hidden features share all features out, anew in each pass. Noise in hidden features cannot be known
from the visible ones, if it is independent, and a dictionary that fits noise gains nothing.

**Updates.** With the codes fixed, the objective falls apart into ridge regressions of the hidden features on codes
that have not seen them. Atoms of norm one have entries of variance 1/n_features, and a residual of variance
:math:`\sigma^2` per entry then asks for

.. math:: D_H \leftarrow \bigl(Z^T Z + s \, n_\text{features} \sigma^2 I\bigr)^{-1} Z^T X_H ,

the posterior mean for s = 1. Codes have errors of their own, and s = 4 recovered atoms better in experiments. Once all
features have had their turn, atoms are brought to norm one. Some ten passes of this end nearer to the true atoms than
five hundred passes of the stochastic gradients (Adam) of the paper.

**Stopping.** Atoms carry what they have taken over from a signal in one pass into its codes of the next one, so that
the objective of the signals that are learned from goes on falling while atoms become worse. Hence some signals are
never learned from. Their error in hidden features does not know them; it stops falling where atoms are near their best,
and the atoms with the least of it are returned. There the gradient of the training signals is not zero, and `kkt` says
by how much: this is no minimum, and is not meant to be one.

References
----------
M. Chidambaram, C. Wu, Y. Cheng and R. Ge, "Hiding data helps: on the benefits of masking for sparse coding",
International Conference on Machine Learning, 2023.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from .coders import Coder, dictionary
from .sparse_codes import SparseCodes, code_gram, code_products, squared_residuals
from .sparse_coding import encode
from .unit_atoms import atom_stationarity, normalized

_FEWEST_VALIDATED = 5  # signals: with fewer the error of the training signals has to do


class MaskedLearning(NamedTuple):
    """A dictionary learned from hidden features, and how well it predicts those of signals that it has not seen.

    Attributes
    ----------
    atoms : ndarray of shape (n_atoms, n_features)
        The atoms, of norm one, in the precision of the signals.
    objective : float
        The squared error in hidden features of the signals that were not learned from, relative to their energy.
        Larger than 1.0 means that zeros are a better prediction.
    objective_history : ndarray
        The same at the start and after every pass.
    training_history : ndarray
        The same of the signals that were learned from.
    kkt : float
        How far the atoms are from their own best steps for the masked objective of the training signals, relative to
        the norm of these. It does not go to zero: see the module on stopping.
    n_iter : int
        Passes made; those after the best one count.
    status : str
        ``"converged"`` (no pass improved the objective by `tol` any more), ``"max_iter"``, ``"time_limit"``,
        ``"stopped"`` or ``"interrupted"``.
    """

    atoms: np.ndarray
    objective: float
    objective_history: np.ndarray
    training_history: np.ndarray
    kkt: float
    n_iter: int
    status: str


class _Pass(NamedTuple):
    atoms: np.ndarray  # the next ones
    objective: float  # all of the present ones
    training: float
    kkt: float


def feature_folds(n_features: int, masked_fraction: float, random_state: Any) -> list[np.ndarray]:
    """The features in random order, cut into sets that are hidden in turn.

    Parameters
    ----------
    n_features : int
        The number of features.
    masked_fraction : float
        The share of features in one set, at most a half. 0.0 gives one set of all, which are then also visible:
        nothing is hidden.
    random_state : numpy.random.RandomState
        Draws the order.

    Returns
    -------
    list of ndarray
        The sets, each in increasing order.
    """
    n_folds = 1 if masked_fraction == 0.0 else min(max(2, round(1.0 / masked_fraction)), n_features)
    return [np.sort(fold) for fold in np.array_split(random_state.permutation(n_features), n_folds)]


def codes_from_visible(
    coder: Coder, X: np.ndarray, atoms: np.ndarray, hidden: np.ndarray, *, n_jobs: int | None = None
) -> SparseCodes:
    """Codes of signals from all features but the hidden ones.

    Parameters
    ----------
    coder : record of a coder
        The coder. The parts of the atoms that it sees are shorter than one.
    X : ndarray of shape (n_signals, n_features)
        The signals.
    atoms : ndarray of shape (n_atoms, n_features)
        The atoms.
    hidden : ndarray of int
        The features that are left out; all of them means none.
    n_jobs : int, optional
        Threads over blocks of signals.

    Returns
    -------
    SparseCodes
        The codes.
    """
    if hidden.size == X.shape[1]:
        return encode(coder, X, dictionary(atoms), n_jobs=n_jobs).codes
    visible = np.setdiff1d(np.arange(X.shape[1]), hidden)
    seen = np.ascontiguousarray(X[:, visible])
    return encode(coder, seen, dictionary(atoms[:, visible]), n_jobs=n_jobs).codes


def masked_loss(X: np.ndarray, atoms: np.ndarray, codes: SparseCodes, hidden: np.ndarray) -> tuple[float, np.ndarray]:
    r"""Half the squared error in hidden features, and its gradient in their columns of the atoms, codes fixed.

    Parameters
    ----------
    X : ndarray of shape (n_signals, n_features)
        The signals.
    atoms : ndarray of shape (n_atoms, n_features)
        The atoms.
    codes : SparseCodes
        Codes of the signals, from the other features.
    hidden : ndarray of int
        The hidden features.

    Returns
    -------
    loss : float
        :math:`\tfrac12 \|X_H - Z D_H\|_F^2`.
    gradient : ndarray of shape (n_atoms, n_hidden), float64
        :math:`-Z^T (X_H - Z D_H)`; all other columns have none.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.masked_dictionary import masked_loss
    >>> from sparsemodels.solvers.sparse_codes import from_matrix
    >>> masked_loss(np.array([[1.0, 5.0]]), np.array([[1.0, 3.0]]), from_matrix(np.array([[1.0]])), np.array([1]))
    (2.0, array([[-2.]]))
    """
    columns = np.ascontiguousarray(atoms[:, hidden])
    targets = np.ascontiguousarray(X[:, hidden])
    loss = 0.5 * float(squared_residuals(codes, targets, columns).sum())
    return loss, code_gram(codes) @ columns.astype(np.float64) - code_products(codes, targets)


def _first(codes: SparseCodes, n_signals: int) -> SparseCodes:
    """The codes of the first signals."""
    end = codes.indptr[n_signals]
    return SparseCodes(codes.indptr[: n_signals + 1], codes.indices[:end], codes.values[:end], codes.n_atoms)


def _pass_over_features(
    X: np.ndarray,
    n_training: int,
    atoms: np.ndarray,
    coder: Coder,
    folds: list[np.ndarray],
    shrinkage: float,
    n_jobs: int | None,
) -> _Pass:
    """Hide each fold once: what the atoms are worth, and the next ones. Signals from `n_training` on only validate."""
    n_features = X.shape[1]
    proposed = np.zeros(atoms.shape)
    slopes = np.zeros(atoms.shape)
    curvatures = np.zeros(atoms.shape[0])
    squared = np.zeros(X.shape[0])
    for hidden in folds:
        codes = codes_from_visible(coder, X, atoms, hidden, n_jobs=n_jobs)
        targets = np.ascontiguousarray(X[:, hidden])
        columns = np.ascontiguousarray(atoms[:, hidden])
        left = squared_residuals(codes, targets, columns, n_jobs=n_jobs)
        squared += left
        codes = _first(codes, n_training)
        gram, products = code_gram(codes), code_products(codes, targets[:n_training])
        slopes[:, hidden] = products - gram @ columns.astype(np.float64)
        curvatures += gram.diagonal() * (hidden.size / n_features)
        variance = float(left[:n_training].mean()) / hidden.size
        # Without an error nothing is to be shrunk, but codes may be dependent.
        ridge = shrinkage * n_features * variance + 1e-10 * max(float(gram.diagonal().max()), np.finfo(float).tiny)
        gram.flat[:: gram.shape[0] + 1] += ridge
        factor = scipy.linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
        proposed[:, hidden] = scipy.linalg.cho_solve(factor, products, overwrite_b=True, check_finite=False)
    unused = ~proposed.any(axis=1)
    proposed[unused] = atoms[unused]
    energies = np.einsum("ij,ij->i", X, X, dtype=np.float64)
    training = _share(squared[:n_training], energies[:n_training])
    total = float(energies[:n_training].sum())
    moves = atom_stationarity(curvatures, slopes, atoms)
    return _Pass(
        normalized(proposed).astype(atoms.dtype),
        _share(squared[n_training:], energies[n_training:]) if n_training < X.shape[0] else training,
        training,
        moves / np.sqrt(total) if total > 0.0 else 0.0,
    )


def _share(squared: np.ndarray, energies: np.ndarray) -> float:
    total = float(energies.sum())
    return float(squared.sum()) / total if total > 0.0 else 0.0


def learn_masked(
    X: np.ndarray,
    atoms: np.ndarray,
    coder: Coder,
    masked_fraction: float = 0.1,
    *,
    shrinkage: float = 4.0,
    validation_fraction: float = 0.1,
    patience: int = 5,
    tol: float = 1e-4,
    max_iter: int = 100,
    deadline: float = np.inf,
    on_iteration: Callable[[int, float], bool] | None = None,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> MaskedLearning:
    """Learn a dictionary by predicting hidden features from codes of the visible ones.

    Parameters
    ----------
    X : ndarray of shape (n_signals, n_features), C order
        The signals, all entries known, float32 or float64.
    atoms : ndarray of shape (n_atoms, n_features)
        Where to start, of any norm; not changed. None of the signals: it would predict itself, and be judged by itself.
        See :func:`random_mixtures`.
    coder : record of a coder
        How visible features are coded, ``OMP(k, normalize=False)`` in the paper: visible parts of atoms are shorter
        than one, and raw inner products prefer the atoms of which more is seen.
    masked_fraction : float, default=0.1
        The share of features that is hidden at a time, at most 0.5. A pass codes all signals 1 / `masked_fraction`
        times. 0.0 hides nothing: the same updates for the reconstruction error, as a control.
    shrinkage : float, default=4.0
        The factor s of the ridge.
    validation_fraction : float, default=0.1
        The share of signals that is not learned from. With 0.0, or if this is fewer than 5 signals, the training
        signals judge themselves.
    patience : int, default=5
        How many passes without improvement end the fit, counted once the objective has begun to fall.
    tol : float, default=1e-4
        What counts as an improvement of the objective, relative to the best one so far.
    max_iter : int, default=100
        The most passes.
    deadline : float, default=inf
        When to stop, in seconds of ``time.monotonic()``.
    on_iteration : callable, optional
        Called with the number of passes and the objective; stops the fit by returning True.
    random_state : numpy.random.RandomState, optional
        Draws the validation signals and the folds.
    n_jobs : int, optional
        Threads over blocks of signals; the answer does not depend on them.

    Returns
    -------
    MaskedLearning
        The best atoms, and what they are worth on signals and features that they were not learned from.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.coders import OMP
    >>> from sparsemodels.solvers.masked_dictionary import learn_masked
    >>> random = np.random.RandomState(0)
    >>> atoms = np.linalg.qr(random.standard_normal((8, 8)))[0]
    >>> X = np.where(random.random_sample((300, 8)) < 0.1, random.standard_normal((300, 8)), 0.0) @ atoms
    >>> found = learn_masked(X, random.standard_normal((12, 8)), OMP(2, normalize=False), random_state=random)
    >>> bool(found.objective < found.objective_history[0])
    True
    """
    random_state = np.random.RandomState(0) if random_state is None else random_state
    n_validated = int(validation_fraction * X.shape[0])
    n_training = X.shape[0] - (n_validated if n_validated >= _FEWEST_VALIDATED else 0)
    if n_training < X.shape[0]:
        X = X[random_state.permutation(X.shape[0])]
    atoms = normalized(np.asarray(atoms, dtype=X.dtype))
    history: list[float] = []
    training_history: list[float] = []
    best, best_kkt, reference, waited, fallen = atoms, np.inf, np.inf, 0, False
    status, n_iter = "max_iter", 0
    try:
        while True:
            folds = feature_folds(X.shape[1], masked_fraction, random_state)
            found = _pass_over_features(X, n_training, atoms, coder, folds, shrinkage, n_jobs)
            if found.objective < min(history, default=np.inf):
                best, best_kkt = atoms, found.kkt
            # From a random start the error may rise first: atoms grow before they are right. Then falls are awaited.
            fallen = fallen or (n_iter > 0 and found.objective < history[-1])
            waited = 0 if not fallen or found.objective < reference * (1.0 - tol) else waited + 1
            reference = min(reference, found.objective) if fallen else found.objective
            history.append(found.objective)
            training_history.append(found.training)
            if n_iter and on_iteration is not None and on_iteration(n_iter, found.objective):
                status = "stopped"
            elif waited >= patience or found.objective == 0.0:
                status = "converged"
            elif time.monotonic() > deadline:
                status = "time_limit"
            elif n_iter < max_iter:
                atoms, n_iter = found.atoms, n_iter + 1
                continue
            break
    except KeyboardInterrupt:
        status = "interrupted"
    return MaskedLearning(
        best, min(history, default=np.inf), np.array(history), np.array(training_history), best_kkt, n_iter, status
    )


def random_mixtures(X: np.ndarray, n_atoms: int, random_state: Any) -> np.ndarray:
    """Atoms to start at: Gaussian combinations of all signals, of norm one.

    They vary as the signals do, and know none of them: a signal as an atom would predict itself, hidden features
    included.

    Parameters
    ----------
    X : ndarray of shape (n_signals, n_features)
        The signals.
    n_atoms : int
        How many atoms; more than signals will do.
    random_state : numpy.random.RandomState
        Draws the weights.

    Returns
    -------
    ndarray of shape (n_atoms, n_features)
        The atoms, in the precision of X.
    """
    scale = float(np.abs(X).max(initial=0.0))
    signals = X / scale if scale > 0.0 else X
    return normalized(random_state.standard_normal((n_atoms, X.shape[0])).astype(X.dtype) @ signals)
