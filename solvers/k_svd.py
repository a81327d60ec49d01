r"""K-SVD: each atom together with its coefficients, for the signals that use it.

With :math:`E = R_S + z_a d_a` the residual of the signals S that use atom a, without its part, the best atom and
coefficients are the leading singular pair of E. One power step from the present pair,

.. math:: d_a \leftarrow E^T z_a / \|E^T z_a\|, \qquad z_a \leftarrow E d_a,

is nearly as good and costs two passes over the residual (Rubinstein, Zibulevsky and Elad, 2008). Either half of it
minimises the objective in one of the two, so that none of this ever raises it; with a penalty :math:`\alpha \|Z\|_1`
the second half is :math:`z_a \leftarrow S(E d_a, \alpha)`, with S the soft threshold.

References
----------
M. Aharon, M. Elad and A. Bruckstein, "K-SVD: an algorithm for designing overcomplete dictionaries for sparse
representation", IEEE Transactions on Signal Processing 54, 2006. R. Rubinstein, M. Zibulevsky and M. Elad, "Efficient
implementation of the K-SVD algorithm using batch orthogonal matching pursuit", Technion CS-2008-08, 2008.
"""

import numpy as np
import scipy.linalg

from .kernel import kernel
from .sparse_codes import SparseCodes
from .unit_atoms import onto_sphere

_FAST = {"contract", "reassoc", "nsz"}


@kernel
def _by_atom(indptr, indices, pointers, signals, slots):
    """The users of each atom and where their coefficients stand."""
    for e in range(indices.size):
        pointers[indices[e] + 1] += 1
    for a in range(pointers.size - 1):
        pointers[a + 1] += pointers[a]
    filled = pointers.copy()
    for i in range(indptr.size - 1):
        for e in range(indptr[i], indptr[i + 1]):
            at = filled[indices[e]]
            signals[at], slots[at] = i, e
            filled[indices[e]] += 1


def users_of_atoms(codes: SparseCodes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which signals use which atom.

    Parameters
    ----------
    codes : SparseCodes
        The codes.

    Returns
    -------
    pointers : ndarray of shape (n_atoms + 1,), int64
        Where each atom begins in the other two.
    signals : ndarray of shape (n_nonzeros,), int64
        Its users, increasing.
    slots : ndarray of shape (n_nonzeros,), int64
        Where their coefficients stand among the values of the codes.
    """
    pointers = np.zeros(codes.n_atoms + 1, dtype=np.int64)
    signals = np.empty(codes.indices.size, dtype=np.int64)
    slots = np.empty(codes.indices.size, dtype=np.int64)
    _by_atom(codes.indptr, codes.indices, pointers, signals, slots)
    return pointers, signals, slots


@kernel(fastmath=_FAST)
def _power_steps(pointers, signals, slots, values, residual, atoms, n_steps, alpha, positive, positive_atoms):
    n_features = atoms.shape[1]
    direction = np.empty(n_features)
    for a in range(atoms.shape[0]):
        begin, end = pointers[a], pointers[a + 1]
        if begin == end:
            continue
        atom = atoms[a]
        for step in range(n_steps):
            direction[:] = 0.0
            for t in range(begin, end):
                row, value = residual[signals[t]], values[slots[t]]
                if step == 0:
                    for j in range(n_features):
                        row[j] += value * atom[j]
                for j in range(n_features):
                    direction[j] += value * row[j]
            if onto_sphere(direction, positive_atoms):
                for j in range(n_features):
                    atom[j] = direction[j]
            for t in range(begin, end):
                row = residual[signals[t]]
                fit = 0.0
                for j in range(n_features):
                    fit += row[j] * atom[j]
                if fit > 0.0:
                    fit = max(fit - alpha, 0.0)
                else:
                    fit = 0.0 if positive else min(fit + alpha, 0.0)
                values[slots[t]] = fit
                if step == n_steps - 1:
                    value = values[slots[t]]
                    for j in range(n_features):
                        row[j] -= value * atom[j]


def _singular_pairs(pointers, signals, slots, values, residual, atoms):
    """The exact rank-one fit of every atom in turn."""
    for a in np.flatnonzero(np.diff(pointers)):
        part = slice(pointers[a], pointers[a + 1])
        rows, at = signals[part], slots[part]
        E = residual[rows].astype(np.float64) + np.outer(values[at], atoms[a])
        n_users, n_features = E.shape
        square = E @ E.T if n_users < n_features else E.T @ E
        last = square.shape[0] - 1
        vector = scipy.linalg.eigh(square, subset_by_index=(last, last))[1][:, 0]
        direction = E.T @ vector if n_users < n_features else vector
        norm = np.linalg.norm(direction)
        if norm == 0.0:
            continue
        sign = -1.0 if direction @ atoms[a] < 0.0 else 1.0  # the side on which the atom was
        atoms[a] = sign / norm * direction
        values[at] = E @ atoms[a]
        residual[rows] = E - np.outer(values[at], atoms[a])


def k_svd_sweep(
    codes: SparseCodes,
    residual: np.ndarray,
    atoms: np.ndarray,
    *,
    exact: bool = False,
    n_power_steps: int = 1,
    alpha: float = 0.0,
    positive: bool = False,
    positive_atoms: bool = False,
) -> None:
    r"""Refit every atom and its nonzero coefficients once, in place.

    Parameters
    ----------
    codes : SparseCodes
        The codes; their values are changed, their supports stay (values may become zero).
    residual : ndarray of shape (n_signals, n_features), C order
        The signals minus what the codes stand for; changed along.
    atoms : ndarray of shape (n_atoms, n_features), C order
        The atoms, of norm one; changed. Those that no code uses stay.
    exact : bool, default=False
        Whether to take the leading singular pair instead of power steps; for `alpha` = 0 and free signs only.
    n_power_steps : int, default=1
        Power steps of each atom.
    alpha : float, default=0.0
        Weight of the l1 norm of the codes.
    positive : bool, default=False
        Whether coefficients must be >= 0.
    positive_atoms : bool, default=False
        Whether entries of the atoms must be >= 0.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.k_svd import k_svd_sweep
    >>> from sparsemodels.solvers.sparse_codes import from_matrix
    >>> X, atoms = np.array([[3.0, 4.0], [6.0, 8.0]]), np.array([[0.0, 1.0]])
    >>> codes = from_matrix(X @ atoms.T)
    >>> k_svd_sweep(codes, X - np.outer(codes.values, atoms), atoms)
    >>> atoms, codes.values
    (array([[0.6, 0.8]]), array([ 5., 10.]))
    """
    by_atom = (*users_of_atoms(codes), codes.values, residual, atoms)
    if exact and alpha == 0.0 and not positive and not positive_atoms:
        _singular_pairs(*by_atom)
    else:
        _power_steps(*by_atom, n_power_steps, alpha, positive, positive_atoms)
