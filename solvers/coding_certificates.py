r"""How good sparse codes are, computed from the codes alone.

For the lasso, :math:`\theta = s\,r` with :math:`s = \min(1, \alpha / \max_a |\langle d_a, r \rangle|)` is feasible for
the dual problem, and the duality gap bounds how far the objective is from the smallest one. For codes of few atoms, two
facts: whether the coefficients are the best ones on their atoms, and whether the code is the sparsest of all, which the
coherence of the atoms proves for an exact code of fewer than :math:`(1 + 1/\mu)/2` atoms.
"""

import numpy as np

from .coders import Dictionary
from .row_blocks import map_blocks
from .sparse_codes import SparseCodes, to_csr

_BLOCK = 1024


def _residuals(X, codes, dictionary, known):
    residual = X.astype(np.float64) - to_csr(codes) @ dictionary.atoms.astype(np.float64)
    return residual if known is None else np.where(known, residual, 0.0)


def _block(codes: SparseCodes, start: int, stop: int) -> SparseCodes:
    first, last = codes.indptr[start], codes.indptr[stop]
    indptr = codes.indptr[start : stop + 1] - first
    return SparseCodes(indptr, codes.indices[first:last], codes.values[first:last], codes.n_atoms)


def lasso_gaps(
    X: np.ndarray,
    codes: SparseCodes,
    dictionary: Dictionary,
    alpha: float,
    *,
    positive: bool = False,
    known: np.ndarray | None = None,
    n_jobs: int | None = None,
) -> np.ndarray:
    r"""Duality gaps of :math:`\tfrac12 \|x - z D\|^2 + \alpha \|z\|_1`.

    Parameters
    ----------
    X : ndarray of shape (n_signals, n_features)
        The signals, zero where unknown.
    codes : SparseCodes
        The codes.
    dictionary : Dictionary
        The atoms.
    alpha : float
        The weight of the penalty.
    positive : bool, default=False
        Whether coefficients must be >= 0.
    known : ndarray of shape (n_signals, n_features), bool, optional
        Which entries are known.
    n_jobs : int, optional
        Threads over blocks of signals.

    Returns
    -------
    ndarray of shape (n_signals,), float64
        Upper bounds of objective minus smallest objective; infinite for a code that breaks `positive`.
    """
    atoms = dictionary.atoms.astype(np.float64, copy=False)

    def work(start: int, stop: int) -> np.ndarray:
        part, signals = _block(codes, start, stop), X[start:stop].astype(np.float64)
        residual = _residuals(signals, part, dictionary, None if known is None else known[start:stop])
        slopes = residual @ atoms.T
        steepest = (slopes if positive else np.abs(slopes)).max(axis=1, initial=0.0)
        scale = np.minimum(1.0, alpha / np.maximum(steepest, np.finfo(np.float64).tiny))
        # r.x = r.r + (z D).r, and the gap as a sum of terms that vanish one by one: no difference of large numbers.
        csr = to_csr(part).astype(np.float64)
        square = np.einsum("ij,ij->i", residual, residual)
        penalty = np.asarray(abs(csr).sum(axis=1)).ravel()
        fitted = np.asarray(csr.multiply(slopes).sum(axis=1)).ravel()
        gap = 0.5 * (1.0 - scale) ** 2 * square + alpha * penalty - scale * fitted
        if positive:
            gap[np.asarray(csr.min(axis=1).toarray()).ravel() < 0.0] = np.inf
        return np.maximum(gap, 0.0)

    return np.concatenate(map_blocks(X.shape[0], n_jobs, work, _BLOCK))


def refit_violations(
    X: np.ndarray,
    codes: SparseCodes,
    dictionary: Dictionary,
    *,
    positive: bool = False,
    known: np.ndarray | None = None,
    n_jobs: int | None = None,
) -> np.ndarray:
    r"""How far coefficients are from the least-squares ones on their atoms.

    Parameters
    ----------
    X : ndarray of shape (n_signals, n_features)
        The signals, zero where unknown.
    codes : SparseCodes
        The codes.
    dictionary : Dictionary
        The atoms.
    positive : bool, default=False
        Whether coefficients must be >= 0.
    known : ndarray of shape (n_signals, n_features), bool, optional
        Which entries are known.
    n_jobs : int, optional
        Threads over blocks of signals.

    Returns
    -------
    ndarray of shape (n_signals,), float64
        The largest :math:`|\langle d_a, r \rangle| / (\|d_a\| \|x\|)` over the atoms of each code, zero at the optimum;
        infinite for a code that breaks `positive`.
    """
    atoms = dictionary.atoms.astype(np.float64, copy=False)

    def work(start: int, stop: int) -> np.ndarray:
        part, signals = _block(codes, start, stop), X[start:stop].astype(np.float64)
        visible = None if known is None else known[start:stop]
        residual = _residuals(signals, part, dictionary, visible)
        row = np.repeat(np.arange(stop - start), np.diff(part.indptr))
        chosen = atoms[part.indices]
        norms = dictionary.norms[part.indices]
        if visible is not None:
            norms = np.linalg.norm(np.where(visible[row], chosen, 0.0), axis=1)
        sizes = np.linalg.norm(signals, axis=1)[row] * norms
        violations = np.abs(np.einsum("ij,ij->i", chosen, residual[row]))
        violations = np.divide(violations, sizes, out=np.zeros_like(violations), where=sizes > 0.0)
        if positive:
            violations[part.values < 0.0] = np.inf
        worst = np.zeros(stop - start)
        np.maximum.at(worst, row, violations)
        return worst

    return np.concatenate(map_blocks(X.shape[0], n_jobs, work, 256))


def mutual_coherence(dictionary: Dictionary) -> float:
    """The largest cosine, in magnitude, between two different atoms; zero atoms are left out."""
    used = dictionary.norms > 0.0
    unit = dictionary.atoms[used].astype(np.float64) / dictionary.norms[used, None]
    largest = 0.0
    for start in range(0, unit.shape[0], _BLOCK):
        cosines = np.abs(unit[start : start + _BLOCK] @ unit.T)
        rows = np.arange(cosines.shape[0])
        cosines[rows, start + rows] = 0.0
        largest = max(largest, float(cosines.max(initial=0.0)))
    return min(largest, 1.0)


def proven_sparsest(
    codes: SparseCodes, residual_norm: np.ndarray, signal_norm: np.ndarray, coherence: float
) -> np.ndarray:
    r"""Which codes are proven to be the sparsest of their signals.

    Parameters
    ----------
    codes : SparseCodes
        The codes.
    residual_norm, signal_norm : ndarray of shape (n_signals,)
        The norms of residuals and signals.
    coherence : float
        The mutual coherence :math:`\mu` of the atoms.

    Returns
    -------
    ndarray of shape (n_signals,), bool
        True for an exact code (residual at most 1e-10 of the signal) with fewer than :math:`(1 + 1/\mu)/2` atoms: every
        other exact code of that signal has more.

    References
    ----------
    D. L. Donoho and M. Elad, "Optimally sparse representation in general (nonorthogonal) dictionaries via l1
    minimization", Proceedings of the National Academy of Sciences 100, 2003.
    """
    counts = np.diff(codes.indptr)
    return (residual_norm <= 1e-10 * signal_norm) & (2.0 * counts * coherence < coherence + 1.0)
