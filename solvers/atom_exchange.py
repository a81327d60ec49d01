r"""Atoms that would be worth more elsewhere: the weakest one leaves, and an atom that does the work of two is split.

Alternating between codes and atoms stops where one atom stands between two directions of the data, its users in two
groups, while another atom serves hardly any signal. Let :math:`e_i` be the residuals of the users of an atom without
its part and :math:`c_i` what they cost now. If each may take the better of two new atoms, the objective falls by

.. math:: \sum_i \Bigl[ c_i - \tfrac12 \|e_i\|^2
    + \tfrac12 \max_{d \in \{d', d''\}} S(\langle e_i, d \rangle, \alpha)^2 \Bigr]

with S the soft threshold of the penalty, if there is one. The new atoms are found by alternating between the choice and
the best direction of each group. The exchange is made if this is more than what giving up the weakest atom costs. So it
lowers the objective, and an atom that no signal uses always finds a better place.
"""

import numpy as np
import scipy.linalg
import scipy.sparse

from .k_svd import users_of_atoms
from .sparse_codes import SparseCodes, from_matrix, reconstruct
from .unit_atoms import normalized

_STEPS = 8  # of the search for two directions
_FEWEST = 4  # users of an atom that is split
_TRIED = 3  # atoms that are looked at for each one that may leave
_WORTHWHILE = 1e-9  # share of the energy that an exchange must gain


def _shrunk(products: np.ndarray, alpha: float, positive: bool) -> np.ndarray:
    """The best coefficients for given inner products with a unit vector."""
    if positive:
        return np.maximum(products - alpha, 0.0)
    return np.sign(products) * np.maximum(np.abs(products) - alpha, 0.0)


def _unit(direction: np.ndarray, positive: bool) -> np.ndarray:
    return normalized((np.maximum(direction, 0.0) if positive else direction)[None])[0]


def _split(E: np.ndarray, atom: np.ndarray, alpha: float, positive: bool, positive_atoms: bool):
    """Two directions, the choice of each row of E (True: the second), its coefficients, and what they gain, twice."""
    residual = E - np.outer(_shrunk(E @ atom, alpha, positive), atom)
    last = atom.size - 1
    spread = scipy.linalg.eigh(residual.T @ residual, subset_by_index=(last, last))[1][:, 0]
    pair = [_unit(atom + 0.5 * spread, positive_atoms), _unit(atom - 0.5 * spread, positive_atoms)]
    for step in range(_STEPS + 1):
        coefficients = [_shrunk(E @ direction, alpha, positive) for direction in pair]
        second = np.abs(coefficients[1]) > np.abs(coefficients[0])
        if second.all() or not second.any():
            return None
        if step < _STEPS:
            for which, members in enumerate((~second, second)):
                pair[which] = _unit(E[members].T @ coefficients[which][members], positive_atoms)
    chosen = np.where(second, coefficients[1], coefficients[0])
    return pair, second, chosen, float(chosen @ chosen)


def exchange_atoms(
    codes: SparseCodes,
    X: np.ndarray,
    atoms: np.ndarray,
    *,
    alpha: float = 0.0,
    positive: bool = False,
    positive_atoms: bool = False,
    n_most: int = 1,
    n_jobs: int | None = None,
) -> tuple[SparseCodes, int]:
    """Let the weakest atoms split others where this lowers the objective.

    Parameters
    ----------
    codes : SparseCodes
        The codes; not changed.
    X : ndarray of shape (n_signals, n_features), C order
        The signals.
    atoms : ndarray of shape (n_atoms, n_features), C order
        The atoms, of norm one; changed in place.
    alpha : float, default=0.0
        Weight of the l1 norm of the codes.
    positive : bool, default=False
        Whether coefficients must be >= 0.
    positive_atoms : bool, default=False
        Whether entries of the atoms must be >= 0.
    n_most : int, default=1
        The most exchanges.
    n_jobs : int, optional
        Threads over blocks of signals.

    Returns
    -------
    codes : SparseCodes
        The codes over the new atoms.
    n_exchanged : int
        How many exchanges there were.
    """
    residual = np.subtract(X, reconstruct(codes, atoms, n_jobs=n_jobs), dtype=np.float64)
    squares = np.einsum("ij,ij->i", residual, residual)
    pointers, signals, slots = users_of_atoms(codes)
    indices, values = codes.indices.copy(), codes.values.copy()
    strength = np.bincount(indices, weights=values.astype(np.float64) ** 2, minlength=codes.n_atoms)
    owners = np.repeat(np.arange(squares.size), np.diff(codes.indptr))
    unexplained = np.bincount(indices, weights=squares[owners], minlength=codes.n_atoms)
    weakest = np.argsort(strength, kind="stable")[: min(n_most, codes.n_atoms // 2)]
    rest = np.setdiff1d(np.argsort(-unexplained, kind="stable"), weakest, assume_unique=True)
    candidates = iter(rest[np.argsort(-unexplained[rest], kind="stable")][: _TRIED * weakest.size])
    least = _WORTHWHILE * (float(squares.sum()) + float(strength.sum()))
    n_exchanged = 0

    def part_of(a: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows, at = signals[pointers[a] : pointers[a + 1]], slots[pointers[a] : pointers[a + 1]]
        return rows, at, residual[rows] + np.outer(values[at], atoms[a])

    for weak in weakest:
        rows, at, without = part_of(weak)
        loss = np.sum(without**2) - np.sum(residual[rows] ** 2) - 2.0 * alpha * np.abs(values[at]).sum()
        kept = residual[rows]
        residual[rows] = without
        done = False
        for a in candidates:
            users, where, E = part_of(a)
            if users.size < _FEWEST:
                continue
            split = _split(E, atoms[a].astype(np.float64), alpha, positive, positive_atoms)
            if split is None:
                continue
            pair, second, chosen, fit = split
            cost = np.sum(residual[users] ** 2) + 2.0 * alpha * np.abs(values[where]).sum()
            if cost - (np.sum(E**2) - fit) > loss + least:
                values[at] = 0.0
                atoms[a], atoms[weak] = pair
                indices[where[second]] = weak
                values[where] = chosen
                residual[users] = E - np.where(second, chosen, 0.0)[:, None] * pair[1]
                residual[users] -= np.where(second, 0.0, chosen)[:, None] * pair[0]
                done = True
                n_exchanged += 1
                break
        if not done:
            residual[rows] = kept
            break
    if n_exchanged == 0:
        return codes, 0
    shape = (squares.size, codes.n_atoms)
    return from_matrix(scipy.sparse.csr_array((values, indices, codes.indptr), shape=shape)), n_exchanged
