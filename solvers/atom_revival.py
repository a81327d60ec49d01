"""Ways out of dead ends of dictionary learning: work for every atom, and trials with some atoms given up."""

import numpy as np

from .atom_exchange import exchange_atoms
from .atom_replacement import as_atoms, duplicates, merged, worst_represented
from .coders import Coder
from .dictionary_objective import Signals, completed, l1_weight
from .sparse_codes import SparseCodes, squared_residuals

_SAME = 0.99  # absolute inner product from which on two atoms are one


def _without(codes: SparseCodes, dropped: np.ndarray) -> SparseCodes:
    """The codes with the coefficients of some atoms set to zero."""
    gone = np.zeros(codes.n_atoms, dtype=bool)
    gone[dropped] = True
    return codes._replace(values=np.where(gone[codes.indices], codes.values.dtype.type(0), codes.values))


def perturbed(
    signals: Signals,
    codes: SparseCodes,
    squared_residual: np.ndarray,
    atoms: np.ndarray,
    random_state: np.random.RandomState,
    *,
    positive_atoms: bool = False,
) -> tuple[np.ndarray, SparseCodes]:
    """Give up a tenth of the atoms for badly represented signals: the weakest, and some whose users fare badly.

    Parameters
    ----------
    signals : Signals
        The signals.
    codes : SparseCodes
        Their codes; not changed.
    squared_residual : ndarray of shape (n_signals,), float64
        What they leave.
    atoms : ndarray of shape (n_atoms, n_features)
        The atoms; not changed.
    random_state : numpy.random.RandomState
        Draws among the badly represented.
    positive_atoms : bool, default=False
        Whether entries of the atoms must be >= 0.

    Returns
    -------
    atoms : ndarray of shape (n_atoms, n_features)
        The atoms, some of them new.
    codes : SparseCodes
        The codes, zero for the new ones.
    """
    n_atoms = codes.n_atoms
    half = max(1, n_atoms // 20)
    strength = np.bincount(codes.indices, weights=codes.values.astype(np.float64) ** 2, minlength=n_atoms)
    owners = np.repeat(np.arange(squared_residual.size), np.diff(codes.indptr))
    unexplained = np.bincount(codes.indices, weights=squared_residual[owners], minlength=n_atoms)
    worst = np.argsort(-unexplained, kind="stable")[: 6 * half]
    drawn = random_state.choice(worst, min(half, worst.size), replace=False)
    dropped = np.unique(np.concatenate([np.argsort(strength, kind="stable")[:half], drawn]))
    codes = _without(codes, dropped)
    left = squared_residuals(codes, signals.X, atoms, signals.known)
    candidates = np.argsort(-left, kind="stable")[: 20 * dropped.size]
    rows = random_state.choice(candidates, min(dropped.size, candidates.size), replace=False)
    atoms = atoms.copy()
    atoms[dropped[: rows.size]] = as_atoms(signals.X[rows], positive_atoms)
    return atoms, codes


def with_work(
    signals: Signals,
    codes: SparseCodes,
    atoms: np.ndarray,
    coder: Coder,
    random_state: np.random.RandomState,
    *,
    rule: str = "worst",
    positive_atoms: bool = False,
    n_jobs: int | None = None,
) -> tuple[SparseCodes, np.ndarray, bool]:
    """Give every atom work of its own.

    Parameters
    ----------
    signals : Signals
        The signals.
    codes : SparseCodes
        Their codes; not changed.
    atoms : ndarray of shape (n_atoms, n_features)
        The atoms; not changed.
    coder : record of a coder
        Whose penalty and signs the codes have.
    random_state : numpy.random.RandomState
        Draws signals for the rule ``"random"``.
    rule : {"worst", "random"}, default="worst"
        Which signals unused atoms become; with ``"worst"``, weak atoms also split others.
    positive_atoms : bool, default=False
        Whether entries of the atoms must be >= 0.
    n_jobs : int, optional
        Threads over blocks of signals.

    Returns
    -------
    codes : SparseCodes
        The codes that belong to the new atoms.
    atoms : ndarray of shape (n_atoms, n_features)
        The new atoms.
    changed : bool
        Whether anything changed.
    """
    X, atoms = completed(signals, codes, atoms, n_jobs=n_jobs), atoms.copy()
    strength = np.bincount(codes.indices, weights=codes.values.astype(np.float64) ** 2, minlength=codes.n_atoms)
    pairs = duplicates(atoms, strength, _SAME)
    codes = merged(codes, atoms, pairs)
    strength = np.bincount(codes.indices, weights=codes.values.astype(np.float64) ** 2, minlength=codes.n_atoms)
    unused = np.flatnonzero(strength == 0.0)
    changed = bool(pairs)
    alpha, positive = l1_weight(coder), bool(getattr(coder, "positive", False))
    if unused.size:
        squares = squared_residuals(codes, X, atoms, n_jobs=n_jobs)
        if rule == "random":
            nonzero = np.flatnonzero(squares > 0.0)
            rows = random_state.choice(nonzero, min(unused.size, nonzero.size), replace=False)
        else:
            rows = worst_represented(X, squares, unused.size)
        atoms[unused[: rows.size]] = as_atoms(X[rows], positive_atoms)
        changed = changed or rows.size > 0
    elif rule == "worst" and not getattr(coder, "max_squared_residual", 0.0):
        codes, n_exchanged = exchange_atoms(
            codes, X, atoms, alpha=alpha, positive=positive, positive_atoms=positive_atoms,
            n_most=max(1, codes.n_atoms // 20), n_jobs=n_jobs,
        )  # fmt: skip
        changed = changed or n_exchanged > 0
    return codes, atoms, changed
