r"""What learning a dictionary minimises, and the certificate of a dictionary with the codes of its training signals.

.. math:: \min_{\|d_a\| = 1, \; Z} \; \tfrac12 \sum_{(i, j) \text{ known}} \bigl(x_{ij} - (Z D)_{ij}\bigr)^2
    + \alpha \|Z\|_1 \qquad \text{or} \quad \|z_i\|_0 \le k \text{ instead of the penalty.}

Unknown entries are filled in by the present reconstruction Z D before every update of the dictionary. With them filled
in, the squared error over all entries equals that over the known ones at the present pair and lies above it at every
other one: an update that lowers the first lowers the second (an EM step). Both have the same gradient at the present
pair, so that a stationary point of one is one of the other.
"""

from typing import NamedTuple

import numpy as np

from .coders import OLS, OMP, Coder, Coding, Dictionary, LassoCD, LassoLARS
from .kernel import kernel
from .sparse_codes import SparseCodes, code_gram, code_products, reconstruct, squared_residuals
from .sparse_coding import encode
from .unit_atoms import atom_stationarity


class Signals(NamedTuple):
    """Training signals of which a part may be unknown.

    Attributes
    ----------
    X : ndarray of shape (n_signals, n_features), C order
        The signals; zero where unknown.
    known : ndarray of shape (n_signals, n_features), bool, or None
        Which entries are known; None for all.
    """

    X: np.ndarray
    known: np.ndarray | None = None


class DictionaryFit(NamedTuple):
    """A dictionary, the codes of the training signals and their certificate.

    Attributes
    ----------
    atoms : ndarray of shape (n_atoms, n_features)
        The atoms, of norm one, in the precision of the signals.
    codes : SparseCodes
        The codes.
    objective : float
        The objective of both.
    objective_history : ndarray
        The objective at the start and after every iteration.
    squared_error : float
        The squared residual over the known entries.
    kkt : float
        How far the atoms are from their own best steps given the codes, relative to the norm of the signals.
    coding_gap : float
        The duality gap of the codes given the atoms, summed over all signals, relative to half the energy of the
        signals, where the coder is a lasso; NaN for the others, which have no bound.
    n_iter : int
        Iterations.
    status : str
        ``"converged"``, ``"max_iter"``, ``"time_limit"``, ``"stopped"`` or ``"interrupted"``.
    """

    atoms: np.ndarray
    codes: SparseCodes
    objective: float
    objective_history: np.ndarray
    squared_error: float
    kkt: float
    coding_gap: float
    n_iter: int
    status: str


class Certificate(NamedTuple):
    """What a pair of dictionary and codes is worth, and the two matrices that improve the dictionary.

    Attributes
    ----------
    objective : float
        The objective.
    kkt : float
        The relative stationarity of the atoms.
    gram : ndarray of shape (n_atoms, n_atoms), float64
        The Gram matrix of the codes.
    products : ndarray of shape (n_atoms, n_features), float64
        The products of the codes with the signals, their unknown entries filled in.
    """

    objective: float
    kkt: float
    gram: np.ndarray
    products: np.ndarray


def l1_weight(coder: Coder) -> float:
    """The weight of the l1 norm of the codes in the objective of a coder."""
    return coder.alpha if isinstance(coder, LassoCD | LassoLARS) else 0.0


def energy(signals: Signals) -> float:
    """The squared norm of all known entries."""
    return float(np.einsum("ij,ij->", signals.X, signals.X, dtype=np.float64))


def completed(signals: Signals, codes: SparseCodes, atoms: np.ndarray, *, n_jobs: int | None = None) -> np.ndarray:
    """The signals with their unknown entries filled in by the reconstruction; not a copy where all are known."""
    if signals.known is None:
        return signals.X
    return np.where(signals.known, signals.X, reconstruct(codes, atoms, n_jobs=n_jobs))


def objective_of(coder: Coder, codes: SparseCodes, squared_residual: np.ndarray) -> float:
    """The objective of codes that leave given squared residuals."""
    objective = 0.5 * float(squared_residual.sum())
    if l1_weight(coder) > 0.0:
        objective += l1_weight(coder) * float(np.abs(codes.values).sum(dtype=np.float64))
    return objective


def certificate(
    signals: Signals,
    codes: SparseCodes,
    squared_residual: np.ndarray,
    atoms: np.ndarray,
    coder: Coder,
    total: float,
    *,
    positive: bool = False,
    n_jobs: int | None = None,
) -> Certificate:
    """The objective and the stationarity of a dictionary with given codes.

    Parameters
    ----------
    signals : Signals
        The signals.
    codes : SparseCodes
        Their codes.
    squared_residual : ndarray of shape (n_signals,), float64
        What they leave of each signal.
    atoms : ndarray of shape (n_atoms, n_features)
        The atoms, of norm one.
    coder : record of a coder
        Whose penalty belongs to the objective.
    total : float
        The energy of the signals.
    positive : bool, default=False
        Whether entries of the atoms must be >= 0.
    n_jobs : int, optional
        Threads over blocks of signals.

    Returns
    -------
    Certificate
        The certificate.
    """
    gram = code_gram(codes)
    products = code_products(codes, completed(signals, codes, atoms, n_jobs=n_jobs))
    moves = atom_stationarity(gram.diagonal(), products - gram @ atoms.astype(np.float64), atoms, positive=positive)
    objective = objective_of(coder, codes, squared_residual)
    return Certificate(objective, moves / np.sqrt(total) if total > 0.0 else 0.0, gram, products)


def coding_gap(coder: Coder, coding: Coding, total: float) -> float:
    """The duality gap of all codes relative to half the energy of the signals; NaN where the coder has none."""
    if not isinstance(coder, LassoCD | LassoLARS):
        return float("nan")
    return float(coding.certificate.sum()) / (0.5 * total) if total > 0.0 else 0.0


@kernel
def _row_sums(indptr, values, out):
    for i in range(out.size):
        total = 0.0
        for e in range(indptr[i], indptr[i + 1]):
            total += abs(values[e])
        out[i] = total


def _costs(coder: Coder, codes: SparseCodes, squared_residual: np.ndarray) -> np.ndarray:
    """The objective of every signal."""
    alpha = l1_weight(coder)
    if alpha == 0.0:
        return squared_residual
    sums = np.empty(squared_residual.size)
    _row_sums(codes.indptr, codes.values, sums)
    return 0.5 * squared_residual + alpha * sums


@kernel
def _take_rows(choice, ptr0, indices0, values0, ptr1, indices1, values1, indptr, indices, values):
    for i in range(choice.size):
        at = indptr[i]
        if choice[i]:
            for e in range(ptr1[i], ptr1[i + 1]):
                indices[at], values[at] = indices1[e], values1[e]
                at += 1
        else:
            for e in range(ptr0[i], ptr0[i + 1]):
                indices[at], values[at] = indices0[e], values0[e]
                at += 1


def rows_from(choice: np.ndarray, first: SparseCodes, second: SparseCodes) -> SparseCodes:
    """The rows of `second` where `choice` holds, else those of `first`."""
    indptr = np.zeros(choice.size + 1, dtype=np.int64)
    np.cumsum(np.where(choice, np.diff(second.indptr), np.diff(first.indptr)), out=indptr[1:])
    indices = np.empty(indptr[-1], dtype=np.int32)
    values = np.empty(indptr[-1], dtype=first.values.dtype)
    _take_rows(
        choice, first.indptr, first.indices, first.values, second.indptr, second.indices,
        second.values.astype(values.dtype, copy=False), indptr, indices, values,
    )  # fmt: skip
    return SparseCodes(indptr, indices, values, first.n_atoms)


def encode_no_worse(
    coder: Coder,
    signals: Signals,
    dictionary: Dictionary,
    old: SparseCodes | None,
    *,
    keep_better: bool = True,
    n_jobs: int | None = None,
) -> Coding:
    """Code signals; a signal whose old code is better over the same atoms keeps it.

    Greedy coders may do worse than the code that a signal has already. With the better of the two the objective never
    rises. Where a pursuit stops at a bound on the residual nothing is kept: there fewer atoms are better, not a smaller
    residual.

    Parameters
    ----------
    coder : record of a coder
        The coder.
    signals : Signals
        The signals.
    dictionary : Dictionary
        The atoms.
    old : SparseCodes, optional
        The codes so far.
    keep_better : bool, default=True
        Whether to compare; without, the old codes are only where an iterative coder starts.
    n_jobs : int, optional
        Threads over blocks of signals.

    Returns
    -------
    Coding
        The codes; certificates and iterations are those of the new ones.
    """
    coding = encode(coder, signals.X, dictionary, known=signals.known, start=old, n_jobs=n_jobs)
    bounded = isinstance(coder, OMP | OLS) and coder.max_squared_residual > 0.0
    if old is None or not keep_better or bounded or isinstance(coder, LassoCD):
        return coding
    left = squared_residuals(old, signals.X, dictionary.atoms, signals.known, n_jobs=n_jobs)
    choice = _costs(coder, old, left) < _costs(coder, coding.codes, coding.squared_residual)
    if not choice.any():
        return coding
    return coding._replace(
        codes=rows_from(choice, coding.codes, old),
        squared_residual=np.where(choice, left, coding.squared_residual),
    )
