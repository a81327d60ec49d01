r"""Atoms that do no work, or the work of others, and what to put in their place.

Alternating between codes and atoms never leaves an atom that no code uses, and may drive two atoms to one direction.
The signals that are represented worst, brought to norm one, are better atoms than both. Atoms that must be kept apart,
:math:`|\langle d_a, d_b \rangle| \le \mu`, are turned against each other in their common plane by equal angles until
they are (Mailhe, Barchiesi and Plumbley, 2012).

References
----------
B. Mailhe, D. Barchiesi and M. D. Plumbley, "INK-SVD: learning incoherent dictionaries for sparse representations", IEEE
International Conference on Acoustics, Speech and Signal Processing, 2012. L. R. Welch, "Lower bounds on the maximum
cross correlation of signals", IEEE Transactions on Information Theory 20, 1974.
"""

import numpy as np
import scipy.sparse

from .sparse_codes import SparseCodes, from_matrix
from .unit_atoms import normalized

_SEPARATE = 0.99  # two signals closer than this in direction give one new atom
_MAX_TURNS = 1000  # rounds over all pairs that are too close


def as_atoms(signals: np.ndarray, positive: bool = False) -> np.ndarray:
    """Signals of shape (n, n_features) as atoms of norm one, of entries >= 0 if asked for."""
    return normalized(np.maximum(signals, 0.0) if positive else signals)


def welch_bound(n_atoms: int, n_features: int) -> float:
    """The least coherence that so many atoms can have, after Welch: 0 where they can be orthogonal."""
    if n_atoms <= n_features:
        return 0.0
    return float(np.sqrt((n_atoms - n_features) / (n_features * (n_atoms - 1.0))))


def coherence(atoms: np.ndarray) -> float:
    """The largest absolute inner product of two atoms of norm one; 0.0 for a single atom."""
    products = np.abs(np.asarray(atoms, dtype=np.float64) @ np.asarray(atoms, dtype=np.float64).T)
    np.fill_diagonal(products, 0.0)
    return float(products.max(initial=0.0))


def duplicates(atoms: np.ndarray, usage: np.ndarray, limit: float) -> list[tuple[int, int]]:
    """Pairs (kept, dropped) of atoms whose absolute inner product is above a limit, closest first, no atom twice.

    Parameters
    ----------
    atoms : ndarray of shape (n_atoms, n_features)
        Atoms of norm one.
    usage : ndarray of shape (n_atoms,)
        How much each is used; of a pair the one that is used less is dropped.
    limit : float
        The largest inner product that is left alone.

    Returns
    -------
    list of tuple
        The pairs.
    """
    products = np.abs(atoms @ atoms.T)
    first, second = np.nonzero(np.triu(products > limit, 1))
    pairs: list[tuple[int, int]] = []
    seen: set[int] = set()
    for t in np.argsort(-products[first, second], kind="stable"):
        a, b = int(first[t]), int(second[t])
        if a in seen or b in seen:
            continue
        seen.update((a, b))
        pairs.append((a, b) if usage[a] >= usage[b] else (b, a))
    return pairs


def merged(codes: SparseCodes, atoms: np.ndarray, pairs: list[tuple[int, int]]) -> SparseCodes:
    """The codes after the coefficients of dropped atoms have been added to those of the kept ones, with their sign."""
    if not pairs:
        return codes
    kept, dropped = np.array(pairs).T
    target, sign = np.arange(codes.n_atoms, dtype=np.int32), np.ones(codes.n_atoms)
    target[dropped] = kept
    sign[dropped] = np.sign(np.einsum("ij,ij->i", atoms[kept], atoms[dropped]))
    values = (codes.values * sign[codes.indices]).astype(codes.values.dtype)
    merged_csr = scipy.sparse.csr_array(
        (values, target[codes.indices], codes.indptr), shape=(codes.indptr.size - 1, codes.n_atoms)
    )
    return from_matrix(merged_csr)


def worst_represented(X: np.ndarray, squared_residual: np.ndarray, n_wanted: int) -> np.ndarray:
    """Which signals to make atoms of: those with the largest residual, no two of nearly one direction.

    Parameters
    ----------
    X : ndarray of shape (n_signals, n_features)
        The signals.
    squared_residual : ndarray of shape (n_signals,)
        What their codes leave.
    n_wanted : int
        The most signals to choose.

    Returns
    -------
    ndarray of shape (<= n_wanted,), int64
        The rows, worst first. Signals that are represented to rounding are not chosen.
    """
    chosen: list[int] = []
    directions = np.empty((n_wanted, X.shape[1]))
    candidates = np.argsort(-squared_residual, kind="stable")[: 20 * n_wanted + 20]
    for i in candidates:
        energy = float(X[i].astype(np.float64) @ X[i])
        if len(chosen) == n_wanted:
            break
        if squared_residual[i] <= 1e-12 * energy or energy == 0.0:
            continue
        direction = X[i] / np.sqrt(energy)
        if np.abs(directions[: len(chosen)] @ direction).max(initial=0.0) < _SEPARATE:
            directions[len(chosen)] = direction
            chosen.append(int(i))
    return np.array(chosen, dtype=np.int64)


def separated(atoms: np.ndarray, limit: float) -> np.ndarray:
    r"""Atoms of norm one turned apart until no two have an inner product above a limit, where that can be reached.

    Parameters
    ----------
    atoms : ndarray of shape (n_atoms, n_features)
        Atoms of norm one; not changed.
    limit : float
        The largest absolute inner product :math:`\mu` allowed, at least :func:`welch_bound`.

    Returns
    -------
    ndarray of shape (n_atoms, n_features)
        The atoms; the same ones, not a copy, if they are far enough apart. Near the bound of Welch they may still be
        too close after a thousand rounds.
    """
    current, target = atoms, limit * (1.0 - 4.0 * np.finfo(atoms.dtype).eps)
    for _ in range(_MAX_TURNS):
        products = current.astype(np.float64) @ current.T.astype(np.float64)
        close = np.triu(np.abs(products) > limit, 1)
        if not close.any():
            break
        if current is atoms:
            current = atoms.astype(np.float64)
        first, second = np.nonzero(close)
        touched = np.zeros(atoms.shape[0], dtype=bool)
        for t in np.argsort(-np.abs(products[first, second]), kind="stable"):
            a, b = first[t], second[t]
            if touched[a] or touched[b]:
                continue
            touched[a] = touched[b] = True
            sign = 1.0 if products[a, b] > 0.0 else -1.0
            middle, apart = current[a] + sign * current[b], current[a] - sign * current[b]
            width = np.linalg.norm(apart)
            if width == 0.0:  # one direction: any other one is as good to turn to
                apart = np.zeros(atoms.shape[1])
                apart[np.argmin(np.abs(middle))] = 1.0
                apart -= (apart @ middle) / (middle @ middle) * middle
                width = np.linalg.norm(apart)
            # cos of the angle between them = target: half of it on either side of the middle.
            along = np.sqrt(0.5 * (1.0 + target)) / np.linalg.norm(middle) * middle
            across = np.sqrt(0.5 * (1.0 - target)) / width * apart
            current[a], current[b] = along + across, sign * (along - across)
    return current if current is atoms else current.astype(atoms.dtype)
