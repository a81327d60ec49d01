r"""What a sparse coder is asked for: a record of its parameters, chosen by its class in :mod:`.sparse_coding`.

All code a signal x over the atoms :math:`d_a` of a dictionary, :math:`x \approx \sum_a z_a d_a`. Atoms may have any
norm: the greedy rules see them scaled to norm one, the penalty of the lasso acts on the coefficients as they are.
"""

from typing import NamedTuple

import numpy as np

from .sparse_codes import SparseCodes

#: Above this many atoms no Gram matrix is kept: it would take more memory than the signals of a usual batch.
LARGEST_GRAM = 10_000


class Dictionary(NamedTuple):
    """Atoms, and what every coder needs of them.

    Attributes
    ----------
    atoms : ndarray of shape (n_atoms, n_features), C order
        The atoms, one a row, of any norm; float32 or float64.
    gram : ndarray of shape (n_atoms, n_atoms) or (0, 0)
        Their inner products, in their precision; empty where they are too many or were not wanted.
    norms : ndarray of shape (n_atoms,), float64
        Their norms.
    """

    atoms: np.ndarray
    gram: np.ndarray
    norms: np.ndarray


def dictionary(atoms: np.ndarray, *, with_gram: bool = True) -> Dictionary:
    """The record of a dictionary.

    Parameters
    ----------
    atoms : ndarray of shape (n_atoms, n_features)
        The atoms.
    with_gram : bool, default=True
        Whether to compute the Gram matrix, if the atoms are not more than ``LARGEST_GRAM``.

    Returns
    -------
    Dictionary
        The record.
    """
    atoms = np.ascontiguousarray(atoms)
    norms = np.sqrt(np.einsum("ij,ij->i", atoms, atoms, dtype=np.float64))
    keep = with_gram and atoms.shape[0] <= LARGEST_GRAM
    gram = atoms @ atoms.T if keep else np.empty((0, 0), dtype=atoms.dtype)
    return Dictionary(atoms, gram, norms)


class OMP(NamedTuple):
    r"""Orthogonal matching pursuit: add the atom with the largest :math:`|\langle d_a, r \rangle| / \|d_a\|`, refit.

    Attributes
    ----------
    n_nonzero : int
        The most atoms of a signal.
    max_squared_residual : float
        Stop a signal once its squared residual norm is at most this; 0.0 never stops early.
    positive : bool
        Whether coefficients must be >= 0.
    normalize : bool
        Whether the score divides by the norm of the atom; without, the raw inner product decides.
    """

    n_nonzero: int
    max_squared_residual: float = 0.0
    positive: bool = False
    normalize: bool = True


class OLS(NamedTuple):
    """Orthogonal least squares: add the atom that lowers the residual of the refit most.

    Attributes
    ----------
    n_nonzero : int
        The most atoms of a signal.
    max_squared_residual : float
        Stop a signal once its squared residual norm is at most this; 0.0 never stops early.
    positive : bool
        Whether coefficients must be >= 0.
    """

    n_nonzero: int
    max_squared_residual: float = 0.0
    positive: bool = False


class LassoCD(NamedTuple):
    r"""The lasso, :math:`\min \frac12 \|x - z D\|^2 + \alpha \|z\|_1`, by coordinate descent on a working set.

    Attributes
    ----------
    alpha : float
        Weight of the penalty.
    positive : bool
        Whether coefficients must be >= 0.
    tol : float
        Stop a signal once its duality gap is at most `tol` times :math:`\frac12 \|x\|^2`.
    max_iter : int
        The most sweeps of a signal.
    """

    alpha: float
    positive: bool = False
    tol: float = 1e-4
    max_iter: int = 1000


class LassoLARS(NamedTuple):
    """The same lasso by least angle regression: exact, from the empty code down to `alpha`.

    Attributes
    ----------
    alpha : float
        Weight of the penalty.
    positive : bool
        Whether coefficients must be >= 0.
    max_iter : int
        The most steps of a signal: atoms that enter or leave.
    """

    alpha: float
    positive: bool = False
    max_iter: int = 1000


class IHT(NamedTuple):
    """Iterative hard thresholding: gradient steps, each cut to the `n_nonzero` largest coefficients of unit atoms.

    Attributes
    ----------
    n_nonzero : int
        The most atoms of a signal.
    positive : bool
        Whether coefficients must be >= 0.
    tol : float
        Stop a signal once a step changes its reconstruction by less than `tol` times its norm.
    max_iter : int
        The most steps of a signal.
    """

    n_nonzero: int
    positive: bool = False
    tol: float = 1e-6
    max_iter: int = 300


class CoSaMP(NamedTuple):
    """Compressive sampling matching pursuit: merge twice as many candidates, refit, prune.

    Attributes
    ----------
    n_nonzero : int
        The most atoms of a signal.
    positive : bool
        Whether coefficients must be >= 0.
    tol : float
        Stop a signal once its residual norm falls by less than `tol` times the norm of the signal.
    max_iter : int
        The most rounds of a signal.
    """

    n_nonzero: int
    positive: bool = False
    tol: float = 1e-6
    max_iter: int = 50


class TopK(NamedTuple):
    r"""The atoms with the largest :math:`\langle d_a, x \rangle / \|d_a\|`, each with its own coefficient, no refit.

    The coefficient is that of the signal on the atom alone, :math:`\langle d_a, x \rangle / \|d_a\|^2`: for atoms of
    norm one, the inner product.

    Attributes
    ----------
    n_nonzero : int
        The most atoms of a signal.
    signed : bool
        Whether the largest magnitudes are kept with their signs; else the largest positive ones.
    """

    n_nonzero: int
    signed: bool = False


Coder = OMP | OLS | LassoCD | LassoLARS | IHT | CoSaMP | TopK


class Coding(NamedTuple):
    r"""Codes of signals with what proves them.

    Attributes
    ----------
    codes : SparseCodes
        The codes.
    squared_residual : ndarray of shape (n_signals,), float64
        The squared residual norm of each signal over its known entries.
    certificate : ndarray of shape (n_signals,), float64
        For the lasso the duality gap, in the units of the objective. For the pursuits and CoSaMP the optimality of the
        refit: the largest :math:`|\langle d_a, r \rangle| / (\|d_a\| \|x\|)` over the support. For IHT the change
        of the last step, relative to the signal. Zeros for TopK, which minimises nothing.
    n_iter : ndarray of shape (n_signals,), int64
        Atoms selected, sweeps, or steps.
    """

    codes: SparseCodes
    squared_residual: np.ndarray
    certificate: np.ndarray
    n_iter: np.ndarray
