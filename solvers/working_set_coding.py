r"""Lasso codes of many signals: small problems on working sets, certified over the whole dictionary.

.. math:: \min_z \; \tfrac12 \|x - z D\|^2 + \alpha \|z\|_1

A code has few nonzeros, so most atoms play no part. A signal is solved on the atoms with the largest correlations
:math:`d_a \cdot r`; then the correlations with all atoms give the duality gap, and those above :math:`\alpha` join.
With the Gram matrix at hand they are :math:`D x - G z`, a few of its rows. Without it, or where every signal misses
entries of its own, the residuals of a block of signals stand side by side and one matrix product with the dictionary
serves them all.
"""

from typing import Any

import numpy as np

from .coders import Coding, Dictionary
from .coders import dictionary as make_dictionary
from .kernel import kernel
from .lasso_subproblem import AtomProducts, GramEntries, subproblem
from .row_blocks import map_blocks
from .sparse_codes import SparseCodes, concatenated, from_padded, to_csr
from .working_set_rounds import FIRST_ATOMS, MORE_ATOMS, advance, block_state, duality_gap, scan, widened

_FAST = {"contract", "nsz", "reassoc"}
_BLOCK_ENTRIES = 1 << 18  # correlations of one block of signals: they stay in the nearer caches
_ROUNDING = 1e-12  # relative gaps below this are not told apart


@kernel(fastmath=_FAST)
def _residual(indices, values, count, atoms, signal, weights, i, out):
    for t in range(out.size):
        out[t] = signal[t]
    for s in range(count):
        atom, value = atoms[indices[s]], np.float64(values[s])
        for t in range(out.size):
            out[t] -= value * atom[t]
    if weights.shape[0] > 0:
        for t in range(out.size):
            out[t] *= weights[i, t]


@kernel
def _residuals(state, rows, atoms, X, weights, out):
    """Residuals of some of the signals, in the precision of `out`."""
    buffer = np.empty(X.shape[1])
    for at in range(rows.size):
        i = rows[at]
        _residual(state.indices[i], state.values[i], state.counts[i], atoms, X[i], weights, i, buffer)
        for t in range(buffer.size):
            out[at, t] = buffer[t]


@kernel
def _certify(coder, tol, state, values, atoms, X, weights, squares, noise, squared_residual, gaps, doubtful):
    """Round the codes; their squared residuals and gaps, and which gaps rounding may change by half."""
    buffer = np.empty(X.shape[1])
    for i in range(X.shape[0]):
        count = state.counts[i]
        for s in range(count):
            values[i, s] = state.values[i, s]
            state.values[i, s] = values[i, s]
        _residual(state.indices[i], state.values[i], count, atoms, X[i], weights, i, buffer)
        l1, x_r, r_r = 0.0, 0.0, 0.0
        for s in range(count):
            l1 += abs(state.values[i, s])
        for t in range(buffer.size):
            x_r += X[i, t] * buffer[t]
            r_r += buffer[t] * buffer[t]
        gap = duality_gap(x_r, r_r, l1, state.top[i], coder.alpha)
        squared_residual[i], gaps[i] = r_r, gap
        error = l1 * noise * np.sqrt(squares[i])
        doubtful[i] = error > 0.5 * max(gap, max(tol, _ROUNDING) * 0.5 * squares[i])


@kernel
def _begin(indptr, indices, values, first, positive, state):
    for i in range(state.counts.size):
        count = 0
        for s in range(indptr[first + i], indptr[first + i + 1]):
            value = np.float64(values[s])
            if value > 0.0 or (value < 0.0 and not positive):
                state.indices[i, count], state.values[i, count] = indices[s], value
                count += 1
        state.counts[i] = count


def _code_block(coder, tol, X, atoms, gram, norms, known, start, first) -> Coding:
    """Code one block of signals, with a Gram matrix if there is one."""
    n, n_atoms = X.shape[0], atoms.shape[0]
    weights = np.empty((0, X.shape[1])) if known is None else known.astype(np.float64)
    squares = np.einsum("ij,ij->i", X, X, dtype=np.float64)
    noise = 2.0 * float(np.finfo(X.dtype).eps) * float(norms.max(initial=0.0))
    with_gram = gram.size > 0
    entries = GramEntries(gram) if with_gram else AtomProducts(atoms, weights, np.empty(X.shape[1]))
    longest = 0 if start is None else int(np.diff(start.indptr[first : first + n + 1]).max(initial=0))
    capacity = max(1, min(n_atoms, 2 * max(FIRST_ATOMS, longest + MORE_ATOMS)))
    state, sub = block_state(n, capacity), subproblem(capacity)
    scratch = scan(n_atoms, X.dtype)
    C = R = X @ atoms.T
    if start is not None:
        _begin(start.indptr, start.indices, start.values, first, coder.positive, state)
    rows = np.flatnonzero(state.counts)
    while True:
        if not with_gram and rows.size:
            residuals = np.empty((rows.size, X.shape[1]), dtype=X.dtype)
            _residuals(state, rows, atoms, X, weights, residuals)
            R = C.copy() if R is C else R
            R[rows] = residuals @ atoms.T
        at = 0
        while (at := advance(coder, tol, entries, C, R, squares, noise, state, scratch, sub, at)) < n:
            capacity = min(n_atoms, 2 * capacity)
            state, sub = widened(state, capacity), subproblem(capacity)
        rows = np.flatnonzero(~state.done)
        if rows.size == 0:
            break
    values = np.empty(state.values.shape, dtype=X.dtype)
    squared_residual, gaps, doubtful = np.empty(n), np.empty(n), np.empty(n, dtype=bool)
    _certify(coder, tol, state, values, atoms, X, weights, squares, noise, squared_residual, gaps, doubtful)
    rows = np.flatnonzero(doubtful)
    if rows.size:
        residuals = np.empty((rows.size, X.shape[1]))
        _residuals(state, rows, atoms, X, weights, residuals)
        correlations = residuals @ atoms.T.astype(np.float64, copy=False)
        tops = (correlations if coder.positive else np.abs(correlations)).max(axis=1)
        x_r = np.einsum("ij,ij->i", residuals, X[rows], dtype=np.float64)
        for i, product, top in zip(rows, x_r, tops, strict=True):
            l1 = np.abs(state.values[i, : state.counts[i]]).sum()
            gaps[i] = duality_gap(product, squared_residual[i], l1, top, coder.alpha)
    codes = from_padded(state.indices, values, state.counts, n_atoms)
    return Coding(codes, squared_residual, gaps, state.n_iter)


def _joined(parts: list[Coding], n_atoms: int, dtype: Any) -> Coding:
    if not parts:
        nothing = np.zeros(0)
        codes = SparseCodes(np.zeros(1, dtype=np.int64), np.zeros(0, np.int32), np.zeros(0, dtype), n_atoms)
        return Coding(codes, nothing, nothing, np.zeros(0, dtype=np.int64))
    return Coding(
        concatenated([part.codes for part in parts]),
        np.concatenate([part.squared_residual for part in parts]),
        np.concatenate([part.certificate for part in parts]),
        np.concatenate([part.n_iter for part in parts]),
    )


def _rows_of(codes: SparseCodes, rows: np.ndarray) -> SparseCodes:
    chosen = to_csr(codes)[rows]
    return SparseCodes(
        chosen.indptr.astype(np.int64), chosen.indices.astype(np.int32, copy=False), chosen.data, codes.n_atoms
    )


def code_on_working_sets(
    coder: Any,
    tol: float,
    X: np.ndarray,
    dictionary: Dictionary,
    known: np.ndarray | None,
    start: SparseCodes | None,
    n_jobs: int | None,
) -> Coding:
    """Code signals by the lasso, each on working sets of its own.

    Parameters
    ----------
    coder : LassoCD or LassoLARS
        What is asked for; it has an implementation of :func:`.solve_subproblem`.
    tol : float
        Duality gap to reach, relative to half the squared norm of a signal.
    X : ndarray of shape (n_signals, n_features), C order
        The signals, in the precision of the dictionary; zero where unknown.
    dictionary : Dictionary
        The atoms. Where it has no Gram matrix, every round over a block of signals is a product with all atoms.
    known : ndarray of shape (n_signals, n_features), bool, optional
        Which entries count. Signals with the same known entries share a Gram matrix of their own where they are at
        least half as many as the atoms; for others the inner products they need are computed for each.
    start : SparseCodes, optional
        Codes to begin at.
    n_jobs : int, optional
        Threads over blocks of signals.

    Returns
    -------
    Coding
        Codes, squared residuals, duality gaps and sweeps or steps.

    Raises
    ------
    ValueError
        If `alpha` is not positive and finite.
    """
    if not 0.0 < coder.alpha < np.inf:
        raise ValueError(
            f"alpha must be a finite number > 0, got {coder.alpha}: without a penalty codes are plain least squares, "
            "for which numpy.linalg.lstsq is made."
        )
    coder = coder._replace(alpha=float(coder.alpha), positive=bool(coder.positive), max_iter=int(coder.max_iter))
    if "tol" in coder._fields:
        coder = coder._replace(tol=float(coder.tol))
    X = np.ascontiguousarray(X)
    n_signals, n_atoms = X.shape[0], dictionary.atoms.shape[0]
    if known is None or known.all():
        return _code_all(coder, tol, X, dictionary, None, start, n_jobs)
    patterns, group = np.unique(np.packbits(known, axis=1), axis=0, return_inverse=True)
    sizes = np.bincount(group.ravel(), minlength=len(patterns))
    order, parts, apart = [], [], np.ones(n_signals, dtype=bool)
    for p in np.flatnonzero(sizes >= max(1, n_atoms // 2)):
        rows = np.flatnonzero(group.ravel() == p)
        columns = known[rows[0]]
        whole = columns.all() and dictionary.gram.size
        own = dictionary if whole else make_dictionary(dictionary.atoms[:, columns])
        its_start = None if start is None else _rows_of(start, rows)
        parts.append(
            _code_all(coder, tol, np.ascontiguousarray(X[np.ix_(rows, columns)]), own, None, its_start, n_jobs)
        )
        order.append(rows)
        apart[rows] = False
    rows = np.flatnonzero(apart)
    if rows.size:
        its_start = None if start is None else _rows_of(start, rows)
        without = dictionary._replace(gram=np.empty((0, 0), dtype=X.dtype))
        parts.append(_code_all(coder, tol, X[rows], without, known[rows], its_start, n_jobs))
        order.append(rows)
    joined = _joined(parts, n_atoms, X.dtype)
    back = np.argsort(np.concatenate(order))
    residuals, gaps = joined.squared_residual[back], joined.certificate[back]
    return Coding(_rows_of(joined.codes, back), residuals, gaps, joined.n_iter[back])


def _code_all(coder, tol, X, dictionary, known, start, n_jobs) -> Coding:
    atoms, gram, norms = dictionary
    block = min(1024, max(64, _BLOCK_ENTRIES // max(1, atoms.shape[0])))

    def work(first: int, stop: int) -> Coding:
        here = None if known is None else known[first:stop]
        return _code_block(coder, tol, X[first:stop], atoms, gram, norms, here, start, first)

    return _joined(map_blocks(X.shape[0], n_jobs, work, block), atoms.shape[0], X.dtype)
