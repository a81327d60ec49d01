r"""The best atoms of norm one for given codes, one atom after the other, and how far atoms are from that.

With the codes Z of the signals X fixed, half the squared error depends on them through two small matrices only, the
Gram matrix :math:`A = Z^T Z` of the codes and the products :math:`B = Z^T X`:

.. math:: \tfrac12 \|X - Z D\|_F^2 = \tfrac12 \|X\|_F^2 - \langle B, D \rangle + \tfrac12 \langle A, D D^T \rangle .

In one atom of norm one, the others fixed, this is linear, and its minimiser is the direction

.. math:: u_a = B_a - \sum_{b \ne a} A_{ab} d_b = (B - A D)_a + A_{aa} d_a, \qquad d_a \leftarrow u_a / \|u_a\| ,

of its positive part where entries must be >= 0. So a sweep over the atoms never raises the objective.

**Certificate.** At a stationary point no atom moves. The residual sums over all atoms the curvature :math:`A_{aa}`
times the squared length of the atom's own best step and divides by the norm of the data,

.. math:: \sqrt{\sum_a A_{aa} \bigl\| u_a / \|u_a\| - d_a \bigr\|^2} \Big/ \|X\|_F ,

so that it stays the same when the data are scaled. An atom that no code uses counts nothing.

References
----------
J. Mairal, F. Bach, J. Ponce and G. Sapiro, "Online learning for matrix factorization and sparse coding", Journal of
Machine Learning Research 11, 2010, Algorithm 2, with atoms of norm one instead of at most one.
"""

import numpy as np

from .kernel import kernel

_FAST = {"contract", "reassoc", "nsz"}
_BLOCK = 32  # atoms swept between two matrix products


def normalized(atoms: np.ndarray) -> np.ndarray:
    """The atoms divided by their norms; an atom of zeros becomes the first unit vector.

    Parameters
    ----------
    atoms : ndarray of shape (n_atoms, n_features)
        Atoms of any norm.

    Returns
    -------
    ndarray of shape (n_atoms, n_features)
        Atoms of norm one, in the same precision and in C order.
    """
    largest = np.abs(atoms).max(axis=1, initial=0.0, keepdims=True)
    # The largest entry first: squares of very large or small entries leave the range of their precision.
    scaled = np.divide(atoms, np.where(largest > 0.0, largest, 1.0), dtype=np.float64)
    scaled[largest[:, 0] == 0.0, 0] = 1.0
    scaled /= np.linalg.norm(scaled, axis=1, keepdims=True)
    return np.ascontiguousarray(scaled, dtype=atoms.dtype)


@kernel
def onto_sphere(direction, positive):
    """Turn a direction into the unit vector with the largest inner product with it, in place; False for zero."""
    largest, best = -np.inf, 0
    total = 0.0
    for j in range(direction.size):
        if direction[j] > largest:
            largest, best = direction[j], j
        if not positive or direction[j] > 0.0:
            total += direction[j] * direction[j]
    if positive and largest <= 0.0:
        direction[:] = 0.0
        direction[best] = 1.0
        return largest < 0.0
    if total == 0.0:
        return False
    inverse = 1.0 / np.sqrt(total)
    for j in range(direction.size):
        direction[j] = 0.0 if positive and direction[j] < 0.0 else inverse * direction[j]
    return True


@kernel(fastmath=_FAST)
def _sweep_block(gram, first, products, atoms, positive):
    """Sweep the atoms from `first` on, of which `products` are the rows of B - A D; the squared steps by curvature."""
    size, n_features = products.shape
    step = np.empty(n_features)
    moved = 0.0
    for t in range(size):
        a = first + t
        curvature = gram[a, a]
        if curvature <= 0.0:
            continue
        for j in range(n_features):
            step[j] = products[t, j] + curvature * atoms[a, j]
        if not onto_sphere(step, positive):
            continue
        squared = 0.0
        for j in range(n_features):
            target = step[j]
            step[j] = target - atoms[a, j]
            atoms[a, j] = target
            squared += step[j] * step[j]
        moved += curvature * squared
        for s in range(t + 1, size):
            weight = gram[first + s, a]
            if weight != 0.0:
                for j in range(n_features):
                    products[s, j] -= weight * step[j]
    return moved


def improve_atoms(
    gram: np.ndarray, products: np.ndarray, atoms: np.ndarray, *, positive: bool = False, n_sweeps: int = 1
) -> float:
    """Sweep over the atoms in place: each becomes the best one of norm one for given codes and other atoms.

    Parameters
    ----------
    gram : ndarray of shape (n_atoms, n_atoms), float64
        The Gram matrix A of the codes.
    products : ndarray of shape (n_atoms, n_features), float64
        The products B of codes and signals.
    atoms : ndarray of shape (n_atoms, n_features), float64
        The atoms, of norm one; changed. Those with a zero on the diagonal of `gram` stay.
    positive : bool, default=False
        Whether their entries must be >= 0.
    n_sweeps : int, default=1
        The number of sweeps.

    Returns
    -------
    float
        The square root of the sum over all atoms and sweeps of the curvature times the squared step.

    Examples
    --------
    Two signals that one atom codes by (2, 1): it turns towards 2 x_1 + x_2.

    >>> import numpy as np
    >>> from sparsemodels.solvers.unit_atoms import improve_atoms
    >>> atoms = np.array([[0.0, 1.0]])
    >>> step = improve_atoms(np.array([[5.0]]), np.array([[3.0, 4.0]]), atoms)
    >>> atoms
    array([[0.6, 0.8]])
    """
    moved = 0.0
    for _ in range(n_sweeps):
        for first in range(0, atoms.shape[0], _BLOCK):
            rows = slice(first, first + _BLOCK)
            moved += _sweep_block(gram, first, products[rows] - gram[rows] @ atoms, atoms, positive)
    return float(np.sqrt(moved))


def atom_stationarity(
    curvatures: np.ndarray, slopes: np.ndarray, atoms: np.ndarray, *, positive: bool = False
) -> float:
    r"""How far atoms are from their own best steps, in the units of the signals.

    Parameters
    ----------
    curvatures : ndarray of shape (n_atoms,), float64
        The diagonal of the Gram matrix of the codes.
    slopes : ndarray of shape (n_atoms, n_features), float64
        The products of the codes with the residual, :math:`Z^T (X - Z D) = B - A D`.
    atoms : ndarray of shape (n_atoms, n_features)
        The atoms, of norm one.
    positive : bool, default=False
        Whether their entries must be >= 0.

    Returns
    -------
    float
        The square root of the sum over all atoms of the curvature times the squared step.
    """
    used = curvatures > 0.0
    current = atoms[used].astype(np.float64)
    target = slopes[used] + curvatures[used, None] * current
    if positive:
        kept = np.maximum(target, 0.0)
        none = ~kept.any(axis=1)
        kept[none, np.argmax(target[none], axis=1)] = 1.0
        target = kept
    norms = np.linalg.norm(target, axis=1, keepdims=True)
    best = np.where(norms > 0.0, target / np.where(norms > 0.0, norms, 1.0), current)
    return float(np.sqrt(curvatures[used] @ np.sum((best - current) ** 2, axis=1)))
