r"""The method of optimal directions: all atoms at once by least squares, for given codes.

.. math:: D \leftarrow (Z^T Z + \varepsilon I)^{-1} Z^T X

and then every atom is divided by its norm and its coefficients multiplied by it, which changes no product Z D.

References
----------
K. Engan, S. O. Aase and J. H. Husoy, "Method of optimal directions for frame design", IEEE International Conference on
Acoustics, Speech and Signal Processing, 1999.
"""

import numpy as np
import scipy.linalg

_RIDGE = 1e-12  # of the largest curvature: codes of two atoms may be collinear


def optimal_directions(gram: np.ndarray, products: np.ndarray, atoms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least-squares atoms for given codes, brought to norm one, and the norms that they had.

    Parameters
    ----------
    gram : ndarray of shape (n_atoms, n_atoms), float64
        The Gram matrix of the codes.
    products : ndarray of shape (n_atoms, n_features), float64
        The products of codes and signals.
    atoms : ndarray of shape (n_atoms, n_features)
        The present atoms, of norm one: those that no code uses, and those whose best value is zero, stay.

    Returns
    -------
    atoms : ndarray of shape (n_atoms, n_features), float64
        The new atoms, of norm one.
    norms : ndarray of shape (n_atoms,), float64
        By what to multiply the coefficients of each; one for atoms that no code uses.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.optimal_directions import optimal_directions
    >>> Z, X = np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([[0.0, 2.0], [3.0, 2.0]])
    >>> atoms, scales = optimal_directions(Z.T @ Z, Z.T @ X, np.eye(2))
    >>> atoms.round(6), scales.round(6)
    (array([[0., 1.],
           [1., 0.]]), array([2., 3.]))
    """
    new, norms = atoms.astype(np.float64), np.ones(atoms.shape[0])
    used = np.flatnonzero(np.diagonal(gram) > 0.0)
    if used.size == 0:
        return new, norms
    system = gram[np.ix_(used, used)]
    ridge = _RIDGE * system.diagonal().max()
    diagonal = np.arange(used.size)
    while True:
        system[diagonal, diagonal] += ridge
        try:
            factor = scipy.linalg.cho_factor(system, lower=True)
            break
        except np.linalg.LinAlgError:
            ridge *= 100.0
    solved = scipy.linalg.cho_solve(factor, products[used])
    lengths = np.linalg.norm(solved, axis=1)
    norms[used] = lengths
    alive = lengths > 0.0
    new[used[alive]] = solved[alive] / lengths[alive, None]
    return new, norms
