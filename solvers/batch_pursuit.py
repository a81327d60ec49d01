"""Orthogonal matching pursuit and orthogonal least squares of many signals over one dictionary."""

import numpy as np

from .coders import OLS, OMP, Coding, Dictionary
from .kernel import kernel
from .row_blocks import map_blocks
from .sparse_codes import from_padded, reconstruct

#: An atom whose part outside the span of the chosen ones is below this share of its norm counts as dependent.
_DEPENDENT = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-7}


@kernel
def _add_direction(atom, weight, q, R, t):
    """Orthogonalise an atom (masked by 0/1 weights) against the first t directions; the pivot."""
    row = q[t]
    for j in range(row.size):
        row[j] = weight[j] * atom[j]
    for s in range(t):
        R[s, t] = 0.0
    for _ in range(2):  # twice is enough
        for s in range(t):
            dot = 0.0
            for j in range(row.size):
                dot += q[s, j] * row[j]
            R[s, t] += dot
            for j in range(row.size):
                row[j] -= dot * q[s, j]
    square = 0.0
    for j in range(row.size):
        square += row[j] * row[j]
    R[t, t] = np.sqrt(square)
    if square > 0.0:
        for j in range(row.size):
            row[j] /= R[t, t]
    return R[t, t]


@kernel
def _back_substitute(R, y, size, z):
    for t in range(size - 1, -1, -1):
        total = y[t]
        for s in range(t + 1, size):
            total -= R[t, s] * z[s]
        z[t] = total / R[t, t]


@kernel
def _pursue_signals(
    X, known, masked, atoms, n_nonzero, bound, positive, normalize, least_squares, dependent, tie, indices, values,
    counts, n_iter
):
    n_atoms, n_features = atoms.shape
    width = min(n_nonzero, n_atoms, n_features)
    q = np.empty((width + 1, n_features))
    R = np.zeros((width + 1, width + 1))
    y, z, old = np.empty(width + 1), np.empty(width + 1), np.empty(width + 1)
    r, weight = np.empty(n_features), np.ones(n_features)
    norm, outside, score = np.empty(n_atoms), np.empty(n_atoms), np.empty(n_atoms)
    blocked = np.empty(n_atoms, dtype=np.bool_)
    support = np.empty(width + 1, dtype=np.int64)
    for i in range(X.shape[0]):
        size, tried = 0, 0
        total = 0.0
        for j in range(n_features):
            if masked:
                weight[j] = 1.0 if known[i, j] else 0.0
            r[j] = X[i, j]
            total += r[j] * r[j]
        left = total
        for a in range(n_atoms):
            square = 0.0
            for j in range(n_features):
                square += weight[j] * atoms[a, j] * atoms[a, j]
            norm[a] = np.sqrt(square)
            outside[a] = square
            blocked[a] = square == 0.0
        while size < width and left > bound and left > 0.0 and tried < 10 * width + n_atoms:
            tried += 1
            best = 0.0
            for a in range(n_atoms):
                score[a] = 0.0
                if not blocked[a]:
                    dot = 0.0
                    for j in range(n_features):
                        dot += atoms[a, j] * r[j]
                    if positive and dot < 0.0:
                        dot = 0.0
                    if least_squares:
                        score[a] = abs(dot) / np.sqrt(outside[a])
                    elif normalize:
                        score[a] = abs(dot) / norm[a]
                    else:
                        score[a] = abs(dot)
                    # below this it is rounding: the signal is coded
                    if abs(dot) > 4.0 * tie * norm[a] * np.sqrt(total):
                        best = max(best, score[a])
            if best == 0.0:
                break
            chosen = 0
            while score[chosen] < best * (1.0 - tie):
                chosen += 1
            pivot = _add_direction(atoms[chosen], weight, q, R, size)
            blocked[chosen] = True
            if pivot <= dependent * norm[chosen]:
                continue
            support[size] = chosen
            y[size] = 0.0
            for j in range(n_features):
                y[size] += q[size, j] * r[j]
            old[size] = 0.0
            size += 1
            n_iter[i] += 1
            changed = False
            _back_substitute(R, y, size, z)
            while positive:
                step, first = 1.0, -1
                for t in range(size):
                    if z[t] <= 0.0:
                        part = old[t] / (old[t] - z[t]) if old[t] > 0.0 else 0.0
                        if part <= step:
                            step, first = part, t
                if first < 0:
                    break
                changed = True
                kept = 0
                for t in range(size):
                    value = old[t] + step * (z[t] - old[t])
                    if t != first and value > 0.0:
                        support[kept], old[kept] = support[t], value
                        kept += 1
                    else:
                        blocked[support[t]] = False
                size = kept
                for t in range(size):
                    _add_direction(atoms[support[t]], weight, q, R, t)
                    y[t] = 0.0
                    for j in range(n_features):
                        y[t] += q[t, j] * X[i, j]
                _back_substitute(R, y, size, z)
            old[:size] = z[:size]
            for j in range(n_features):
                r[j] = X[i, j]
            for t in range(size):
                for j in range(n_features):
                    r[j] -= y[t] * q[t, j]
            left = 0.0
            for j in range(n_features):
                left += r[j] * r[j]
            if least_squares:
                for a in range(n_atoms):
                    if changed:
                        outside[a] = norm[a] * norm[a]
                    for t in range(0 if changed else size - 1, size):
                        dot = 0.0
                        for j in range(n_features):
                            dot += atoms[a, j] * q[t, j]
                        outside[a] -= dot * dot
                    if outside[a] <= (dependent * norm[a]) ** 2:
                        blocked[a] = True
                        outside[a] = 0.0
        counts[i] = size
        for t in range(size):
            indices[i, t] = support[t]
            values[i, t] = old[t]


def pursue(
    coder: OMP | OLS, X: np.ndarray, dictionary: Dictionary, known: np.ndarray | None = None, n_jobs: int | None = None
) -> Coding:
    """First version: right, not yet fast."""
    atoms = dictionary.atoms
    n_signals, width = X.shape[0], min(coder.n_nonzero, *atoms.shape)
    indices = np.zeros((n_signals, width), dtype=np.int32)
    values = np.zeros((n_signals, width), dtype=X.dtype)
    counts, n_iter = np.zeros(n_signals, dtype=np.int64), np.zeros(n_signals, dtype=np.int64)
    squared, certificate = np.zeros(n_signals), np.zeros(n_signals)
    mask = np.zeros((n_signals, 0), dtype=bool) if known is None else known
    least_squares = isinstance(coder, OLS)
    normalize = True if isinstance(coder, OLS) else coder.normalize

    def work(start, stop):
        block = slice(start, stop)
        _pursue_signals(
            X[block], mask[block], known is not None, atoms, coder.n_nonzero, float(coder.max_squared_residual),
            coder.positive, normalize, least_squares, _DEPENDENT[atoms.dtype], 8.0 * np.finfo(X.dtype).eps,
            indices[block], values[block], counts[block], n_iter[block],
        )

    map_blocks(n_signals, n_jobs, work)
    codes = from_padded(indices, values, counts, atoms.shape[0])
    residual = np.asarray(X, dtype=np.float64) - reconstruct(codes, atoms, n_jobs=n_jobs)
    if known is not None:
        residual[~known] = 0.0
    squared = np.einsum("ij,ij->i", residual, residual)
    lengths = np.sqrt(np.einsum("ij,ij->i", X, X, dtype=np.float64))
    for i in range(n_signals):
        chosen = atoms[codes.indices[codes.indptr[i] : codes.indptr[i + 1]]].astype(np.float64)
        if chosen.size and lengths[i] > 0.0:
            sizes = np.linalg.norm(chosen if known is None else chosen * known[i], axis=1)
            certificate[i] = np.max(np.abs(chosen @ residual[i]) / (sizes * lengths[i]))
    return Coding(codes, squared, certificate, n_iter)
