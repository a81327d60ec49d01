"""Orthogonal matching pursuit and orthogonal least squares of many signals over one dictionary.

Three ways lead to the same codes: on the Gram matrix of the dictionary (:mod:`.gram_pursuit`), with a Gram matrix for
every pattern of known entries that many signals share, and on residuals (:mod:`.residual_pursuit`) where a Gram matrix
would cost more than it saves.
"""

import functools
import threading
from typing import NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from .coders import LARGEST_GRAM, OLS, OMP, Coding, Dictionary
from .coders import dictionary as dictionary_of
from .gram_pursuit import code_block, smallest_pivot
from .residual_pursuit import code_on_residuals
from .row_blocks import map_blocks
from .sparse_codes import from_padded

_SIGNALS_PER_PRODUCT = 512


class _Rows(NamedTuple):
    """Codes in rows of equal length, and what a pursuit says of each."""

    indices: np.ndarray
    values: np.ndarray
    counts: np.ndarray
    squared: np.ndarray
    certificate: np.ndarray
    n_iter: np.ndarray


def pursue(
    coder: OMP | OLS, X: np.ndarray, dictionary: Dictionary, known: np.ndarray | None = None, n_jobs: int | None = None
) -> Coding:
    r"""Code signals greedily: one atom at a time, with a refit of all coefficients after each.

    A signal gets fewer atoms than asked for where its residual vanishes, where `max_squared_residual` is reached, or
    where every further atom depends on the chosen ones. Ties go to the lowest index. With ``positive`` the refit is
    the nonnegative least squares of the support, by the active-set method of Lawson and Hanson: atoms whose
    coefficient reaches zero leave.

    Parameters
    ----------
    coder : OMP or OLS
        The rule of selection and when to stop.
    X : ndarray of shape (n_signals, n_features), C order
        The signals, in the precision of the dictionary, zero where unknown.
    dictionary : Dictionary
        The atoms, of any norm.
    known : ndarray of shape (n_signals, n_features), bool, optional
        Which entries of the signals are known; all by default. Atoms are scored and refitted on these alone.
    n_jobs : int, optional
        Threads over blocks of signals; the answer does not depend on them.

    Returns
    -------
    Coding
        Codes, squared residual norms over the known entries (recomputed from the codes in float64), the optimality
        of each refit, and how many atoms were selected.

    Notes
    -----
    Beyond the answer the memory is 512 rows of inner products and ``n_nonzero`` rows of the Gram matrix per thread.

    References
    ----------
    .. [1] R. Rubinstein, M. Zibulevsky and M. Elad, "Efficient implementation of the K-SVD algorithm using batch
       orthogonal matching pursuit", Technion, CS-2008-08, 2008.
    .. [2] T. T. Nguyen, J. Idier, C. Soussen and E.-H. Djermoune, "Non-negative orthogonal greedy algorithms", IEEE
       Transactions on Signal Processing 67, 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.batch_pursuit import pursue
    >>> from sparsemodels.solvers.coders import OLS, dictionary
    >>> from sparsemodels.solvers.sparse_codes import to_dense
    >>> atoms = np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.6, 0.8, 0.0]])
    >>> coding = pursue(OLS(2), np.array([[0.5, 3.0, 1.0]]), dictionary(atoms))
    >>> to_dense(coding.codes), coding.squared_residual
    (array([[0.5, 1.5, 0. ]]), array([1.]))
    """
    n_signals, n_atoms = X.shape[0], dictionary.atoms.shape[0]
    width = min(coder.n_nonzero, *dictionary.atoms.shape)
    rows = _empty_rows(n_signals, width, X.dtype)
    if width > 0:
        with _blas_threads().limit(limits=1, user_api="blas"):
            if known is None:
                _code_known(coder, X, dictionary, rows, n_jobs)
            else:
                _code_masked(coder, X, dictionary, known, rows, n_jobs)
    else:
        np.einsum("ij,ij->i", X, X, out=rows.squared, dtype=np.float64)
    codes = from_padded(rows.indices, rows.values, rows.counts, n_atoms)
    return Coding(codes, rows.squared, rows.certificate, rows.n_iter)


@functools.cache
def _blas_threads() -> ThreadpoolController:
    """Control of the BLAS threads of this process, which are held to one: the threads are those of `n_jobs`.

    A product is rounded by the number of threads that share it, and a rounding can decide which atom is chosen.
    """
    return ThreadpoolController()


def _empty_rows(n_signals: int, width: int, dtype: np.dtype) -> _Rows:
    return _Rows(
        np.empty((n_signals, width), dtype=np.int32),
        np.empty((n_signals, width), dtype=dtype),
        np.zeros(n_signals, dtype=np.int64),
        np.zeros(n_signals),
        np.zeros(n_signals),
        np.zeros(n_signals, dtype=np.int64),
    )


def _code_known(coder: OMP | OLS, X: np.ndarray, dictionary: Dictionary, rows: _Rows, n_jobs: int | None) -> None:
    """Code signals of which every entry is known."""
    if dictionary.gram.size:
        _code_on_gram(coder, X, dictionary, rows, n_jobs)
    else:
        code_on_residuals(coder, X, dictionary, None, rows, n_jobs)


def _code_on_gram(coder: OMP | OLS, X: np.ndarray, dictionary: Dictionary, rows: _Rows, n_jobs: int | None) -> None:
    atoms, gram, norms = dictionary
    precision = float(np.finfo(atoms.dtype).eps)
    least_squares = isinstance(coder, OLS)
    unit = bool(np.all((np.abs(norms - 1.0) <= 4.0 * precision) | (norms == 0.0)))
    scale, scaled = np.empty(0, dtype=atoms.dtype), atoms
    normalize = coder.normalize if isinstance(coder, OMP) else True
    if normalize and not unit:
        scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0.0).astype(atoms.dtype)
        scaled = atoms * scale[:, None]
    scratch = threading.local()

    def work(start: int, stop: int) -> None:
        if not hasattr(scratch, "products"):  # once a thread
            scratch.products = np.empty((_SIGNALS_PER_PRODUCT, norms.size), dtype=atoms.dtype)
            scratch.basis = np.empty((rows.indices.shape[1], norms.size), dtype=atoms.dtype)
            scratch.score = np.empty(norms.size, dtype=atoms.dtype)
        products = np.dot(X[start:stop], scaled.T, out=scratch.products[: stop - start])
        code_block(
            X[start:stop],
            products,
            atoms,
            gram,
            scale,
            norms,
            float(coder.max_squared_residual),
            least_squares,
            np.empty(norms.size, dtype=atoms.dtype) if coder.positive else None,
            unit or normalize,
            smallest_pivot(atoms.dtype),
            precision,
            scratch.basis,
            scratch.score,
            scratch.score.view(np.int32 if atoms.dtype == np.float32 else np.int64),
            *(array[start:stop] for array in rows),
        )

    map_blocks(X.shape[0], n_jobs, work, _SIGNALS_PER_PRODUCT)


def _code_masked(
    coder: OMP | OLS, X: np.ndarray, dictionary: Dictionary, known: np.ndarray, rows: _Rows, n_jobs: int | None
) -> None:
    """Code signals with unknown entries: together those that share a pattern, if a Gram matrix of it pays."""
    n_atoms, n_features = dictionary.atoms.shape
    packed = np.packbits(known, axis=1)
    patterns = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first, group_of, sizes = np.unique(patterns, return_index=True, return_inverse=True, return_counts=True)
    # A Gram matrix takes the time of n_atoms products with the dictionary, and spares all but one of each signal.
    together = sizes * (rows.indices.shape[1] - 1) >= n_atoms
    if n_atoms > LARGEST_GRAM:
        together[:] = False
    for group in np.flatnonzero(together):
        members = np.flatnonzero(group_of == group)
        columns = np.flatnonzero(known[first[group]])
        width = min(rows.indices.shape[1], columns.size)
        if width == 0:
            continue
        part = _empty_rows(members.size, width, X.dtype)
        if columns.size == n_features:
            restricted = dictionary if dictionary.gram.size else dictionary_of(dictionary.atoms)
        else:
            restricted = dictionary_of(dictionary.atoms[:, columns])
        _code_known(coder, np.ascontiguousarray(X[members][:, columns]), restricted, part, n_jobs)
        for array, answer in zip(rows, part, strict=True):
            if array.ndim == 2:
                array[members, :width] = answer
            else:
                array[members] = answer
    alone = np.flatnonzero(~together[group_of])
    if alone.size == X.shape[0]:
        code_on_residuals(coder, X, dictionary, known, rows, n_jobs)
    elif alone.size:
        part = _empty_rows(alone.size, rows.indices.shape[1], X.dtype)
        code_on_residuals(coder, X[alone], dictionary, known[alone], part, n_jobs)
        for array, answer in zip(rows, part, strict=True):
            array[alone] = answer
