r"""Online dictionary learning: codes of a few signals, their sums, one sweep over the atoms, and the next few.

All that the atoms need to know of the codes Z of signals X are the sums :math:`A = Z^T Z` and :math:`B = Z^T X`
(:mod:`.unit_atoms`). Codes over early atoms are worth less than those over today's: when N signals have been seen, the
t-th one counts with the weight

.. math:: (t / N)^\rho ,

a function of the signal and not of the batch that it came in: a batch of any size lets all older sums fade by
:math:`(N_\text{old} / N)^\rho`.

so that the latest :math:`N / (\rho + 1)` signals have most of the weight. Once this is about all of the signals that
there are, nothing fades any more: the old code of a signal is taken out of the sums as its new one comes in, the sums
are those of the latest codes, all with weight one, and the objective of these codes falls with every batch.

References
----------
J. Mairal, F. Bach, J. Ponce and G. Sapiro, "Online learning for matrix factorization and sparse coding", Journal of
Machine Learning Research 11, 2010.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .coders import Coder, dictionary
from .dictionary_objective import Signals, completed, encode_no_worse
from .sparse_codes import SparseCodes, code_gram, code_products
from .unit_atoms import improve_atoms

#: The power with which the weight of a signal grows with its number.
FORGETTING = 5.0


class Sums(NamedTuple):
    """What the codes of all signals so far say about the atoms.

    Attributes
    ----------
    gram : ndarray of shape (n_atoms, n_atoms), float64
        The weighted Gram matrix of the codes.
    products : ndarray of shape (n_atoms, n_features), float64
        The weighted products of codes and signals.
    n_seen : int
        How many signals there were.
    """

    gram: np.ndarray
    products: np.ndarray
    n_seen: int


def no_sums(n_atoms: int, n_features: int) -> Sums:
    """The sums before the first signal."""
    return Sums(np.zeros((n_atoms, n_atoms)), np.zeros((n_atoms, n_features)), 0)


def sums_of(codes: SparseCodes, X: np.ndarray) -> Sums:
    """The sums of given codes, all with weight one."""
    return Sums(code_gram(codes), code_products(codes, X), X.shape[0])


def scaled(codes: SparseCodes, factors: np.ndarray) -> SparseCodes:
    """The codes of each signal multiplied by a factor of its own."""
    values = codes.values * np.repeat(factors, np.diff(codes.indptr))
    return codes._replace(values=values.astype(codes.values.dtype, copy=False))


def absorb(sums: Sums, codes: SparseCodes, X: np.ndarray, *, forgetting: float = FORGETTING) -> Sums:
    """The sums after one more batch of signals; older ones fade.

    Parameters
    ----------
    sums : Sums
        The sums so far; their arrays are overwritten.
    codes : SparseCodes
        The codes of the batch.
    X : ndarray of shape (n_signals, n_features)
        The signals of the batch.
    forgetting : float, default=5.0
        The power rho of the weights; 0.0 weighs all signals the same.

    Returns
    -------
    Sums
        The sums of all.

    Examples
    --------
    Two signals at once, or one after the other:

    >>> import numpy as np
    >>> from sparsemodels.solvers.online_dictionary import absorb, no_sums
    >>> from sparsemodels.solvers.sparse_codes import from_matrix
    >>> Z, X = np.array([[4.0], [2.0]]), np.array([[1.0], [3.0]])
    >>> both = absorb(no_sums(1, 1), from_matrix(Z), X)
    >>> single = absorb(absorb(no_sums(1, 1), from_matrix(Z[:1]), X[:1]), from_matrix(Z[1:]), X[1:])
    >>> both.gram, single.gram
    (array([[4.5]]), array([[4.5]]))
    """
    n_seen = sums.n_seen + X.shape[0]
    weights = (np.arange(sums.n_seen + 1, n_seen + 1) / n_seen) ** forgetting
    fade = (sums.n_seen / n_seen) ** forgetting
    if fade != 1.0:
        np.multiply(sums.gram, fade, out=sums.gram)
        np.multiply(sums.products, fade, out=sums.products)
    code_gram(scaled(codes, np.sqrt(weights)), out=sums.gram)
    code_products(scaled(codes, weights), X, out=sums.products)
    return Sums(sums.gram, sums.products, n_seen)


def replace_codes(sums: Sums, old: SparseCodes, old_X: np.ndarray, new: SparseCodes, new_X: np.ndarray) -> None:
    """Take the codes of some signals out of the sums and put their new ones in, in place, all with weight one.

    Parameters
    ----------
    sums : Sums
        The sums; changed.
    old : SparseCodes
        The codes to take out.
    old_X : ndarray of shape (n_signals, n_features)
        The signals that came in with them: where entries are unknown, what had been filled in.
    new : SparseCodes
        The codes to put in.
    new_X : ndarray of shape (n_signals, n_features)
        The signals now.
    """
    np.subtract(sums.gram, code_gram(old), out=sums.gram)
    code_gram(new, out=sums.gram)
    code_products(old._replace(values=-old.values), old_X, out=sums.products)
    code_products(new, new_X, out=sums.products)


def pass_over(
    coder: Coder,
    signals: Signals,
    batches: Sequence[np.ndarray],
    order: Sequence[int],
    codes: list[SparseCodes | None],
    sums: Sums,
    atoms: np.ndarray,
    filled: np.ndarray | None,
    *,
    fade: bool,
    positive: bool = False,
    deadline: float = np.inf,
    n_jobs: int | None = None,
) -> Sums:
    """Visit every batch of signals once: code it, add to the sums, sweep over the atoms.

    Parameters
    ----------
    coder : record of a coder
        The coder.
    signals : Signals
        All signals.
    batches : sequence of ndarray of int
        The rows of each batch.
    order : sequence of int
        The order of the batches.
    codes : list of SparseCodes or None
        The latest codes of each batch, None before the first; changed.
    sums : Sums
        The sums; their arrays are overwritten.
    atoms : ndarray of shape (n_atoms, n_features), float64
        The atoms; changed.
    filled : ndarray of shape (n_signals, n_features) or None
        The signals with unknown entries as they were filled in last; changed. None where all are known.
    fade : bool
        Whether older sums fade; else the old codes of a batch are taken out of them.
    positive : bool, default=False
        Whether entries of the atoms must be >= 0.
    deadline : float, default=inf
        When to stop, in seconds of ``time.monotonic()``; the batches that remain keep their codes.
    n_jobs : int, optional
        Threads over blocks of signals.

    Returns
    -------
    Sums
        The sums after the pass.
    """
    for b in order:
        rows, old = batches[b], codes[b]
        batch = Signals(signals.X[rows], None if signals.known is None else signals.known[rows])
        prepared = dictionary(atoms.astype(signals.X.dtype, copy=False))
        new = encode_no_worse(coder, batch, prepared, old, keep_better=not fade, n_jobs=n_jobs).codes
        X = completed(batch, new, prepared.atoms)
        if fade or old is None:
            sums = absorb(sums, new, X)
        else:
            replace_codes(sums, old, X if filled is None else filled[rows], new, X)
        if filled is not None:
            filled[rows] = X
        codes[b] = new
        improve_atoms(sums.gram, sums.products, atoms, positive=positive)
        if time.monotonic() > deadline:
            break
    return sums
