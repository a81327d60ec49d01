"""The minimum over one group of features, all others fixed: the step of block coordinate descent."""

from typing import Any

import numpy as np

from .kernel import kernel
from .penalties.functions import prox, smooth_piece, subdifferential_distance
from .penalties.l1 import level

LARGE = 256  # features: a group so large is descended on by gradient steps, not by its eigenvectors
_INNER = 10  # gradient steps on a group at each visit: its own Gram block costs less than all rows of its columns


class Spectra:
    """The diagonal blocks of a growing Gram matrix, one a group, and their eigenvectors: made when a group first moves.

    A group of more than 256 features has no block, only a bound of its largest eigenvalue.
    """

    def __init__(self) -> None:
        self.starts = np.zeros(1, dtype=np.int64)
        self.offsets = np.zeros(1, dtype=np.int64)
        self.blocks = np.empty(0)
        self.vectors = np.empty(0)
        self.values = np.empty(0)
        self.ready = np.zeros(0, dtype=np.bool_)

    def extend(self, penalty: Any, features: np.ndarray) -> None:
        """Make room for the groups that joined the working set."""
        m = int(self.starts[-1])
        if m == features.size:
            return
        starts = m + _run_starts(penalty.group_of[features[m:]])
        sizes = np.diff(starts)
        room = np.where(sizes <= LARGE, sizes**2, 0)
        self.starts = np.concatenate([self.starts, starts[1:]])
        self.offsets = np.concatenate([self.offsets, self.offsets[-1] + np.cumsum(room)])
        self.blocks = np.concatenate([self.blocks, np.empty(int(room.sum()))])
        self.vectors = np.concatenate([self.vectors, np.empty(int(room.sum()))])
        self.values = np.concatenate([self.values, np.zeros(int(sizes.sum()))])
        self.ready = np.concatenate([self.ready, np.zeros(sizes.size, dtype=np.bool_)])

    @property
    def largest(self) -> int:
        """The size of the largest group."""
        return int(np.diff(self.starts).max(initial=1))


def _run_starts(labels: np.ndarray) -> np.ndarray:
    """Where the runs of equal labels start, and where the last one ends."""
    return np.concatenate([[0], np.flatnonzero(np.diff(labels)) + 1, [labels.size]])


@kernel
def eigenbasis(block, size, vectors, values):
    """The eigenvectors of a block, in rows, and its eigenvalues."""
    found, basis = np.linalg.eigh(block.copy().reshape(size, size))
    for i in range(size):
        values[i] = max(found[i], 0.0)
        for k in range(size):
            vectors[i * size + k] = basis[k, i]


@kernel
def secular_root(rotated, values, radius, start):
    r"""The length r of the minimum of :math:`\frac12 w^T H w - b^T w + \tau \|w\|` for :math:`\|b\| > \tau > 0`.

    The minimum is :math:`w = (H + (\tau / r) I)^{-1} b`, so that :math:`h(r) = \sum_i b_i^2 / (\lambda_i r + \tau)^2`
    is one there, in the eigenbasis of H. The function :math:`h^{-1/2}` is concave and nearly linear (linear where all
    eigenvalues agree): Newton's method converges monotonically from the left, in a few steps.

    Parameters
    ----------
    rotated : ndarray of shape (d,)
        The vector b in the eigenbasis.
    values : ndarray of shape (d,)
        The eigenvalues, >= 0.
    radius : float
        The level tau.
    start : float
        A guess of the length, >= 0.

    Returns
    -------
    float
        The length r.
    """
    r = start
    for _ in range(60):
        total, slope = 0.0, 0.0
        for i in range(values.size):
            divisor = 1.0 / (values[i] * r + radius)
            term = rotated[i] * rotated[i] * divisor * divisor
            total += term
            slope += term * values[i] * divisor
        if slope == 0.0:
            break
        # (1 - h^(-1/2)) / (h^(-1/2))', with the numerator free of cancellation.
        root = np.sqrt(total)
        new = max(r + (total - 1.0) * total / (slope * (1.0 + root)), 0.0)
        if abs(new - r) <= 1e-15 * new:
            return new
        r = new
    return r


@kernel
def _exact_update(coef, slope, scale, first, vectors, values, radius, work):
    """The minimum over a group, all others fixed, written to the first row of `work`; for a norm without L1 part."""
    size = values.size
    new, rotated, old = work[0], work[1], work[2]
    norm, start = 0.0, 0.0
    for i in range(size):
        tilted, turned = 0.0, 0.0
        for k in range(size):
            tilted += vectors[i * size + k] * slope[first + k] * scale[first + k]
            turned += vectors[i * size + k] * coef[first + k]
        rotated[i], old[i] = tilted + values[i] * turned, turned
        norm += rotated[i] * rotated[i]
        start += turned * turned
    new[:size] = 0.0
    if norm <= radius * radius:
        return
    distance = secular_root(rotated[:size], values, radius, np.sqrt(start)) if radius > 0.0 else 0.0
    largest = values[size - 1]
    for i in range(size):
        if radius > 0.0:
            component = rotated[i] * distance / (values[i] * distance + radius)
        else:
            # A direction that the columns do not span keeps its component.
            component = rotated[i] / values[i] if values[i] > 1e-6 * largest else old[i]
        for k in range(size):
            new[k] += vectors[i * size + k] * component
    for k in range(size):
        if scale[first + k] == 0.0:  # a constant column: beyond the rounding of the basis, nothing asks for it
            new[k] = 0.0 if radius > 0.0 else coef[first + k]


@kernel
def _gradient_update(block, scale, coef, slope, penalty, features, first, last, lipschitz, work):
    """A few proximal gradient steps on a group, all others fixed; the result is written to the first row of `work`."""
    size = last - first
    new, local, change = work[0], work[1], work[2]
    for i in range(size):
        new[i] = coef[first + i]
        local[i] = slope[first + i] * scale[first + i]
    g = penalty.group_of[features[first]]
    step = 1.0 / lipschitz
    moved_first = 0.0
    for inner in range(_INNER if size <= LARGE else 1):
        norm = 0.0
        for i in range(size):
            change[i] = prox(penalty.l1, new[i] + step * local[i], step, features[first + i])
            norm += change[i] * change[i]
        norm = np.sqrt(norm)
        factor = prox(penalty.norm, norm, step, g) / norm if norm > 0.0 else 0.0
        moved = 0.0
        for i in range(size):
            change[i] = factor * change[i] - new[i]
            moved += change[i] * change[i]
            new[i] += change[i]
        if inner == 0:
            moved_first = moved
        if moved <= 1e-6 * moved_first or size > LARGE:
            break
        for k in range(size):
            if change[k] != 0.0:
                for i in range(size):
                    local[i] -= block[k * size + i] * change[k]


@kernel
def stays_zero(penalty, coef, slope, scale, features, first, last):
    """Whether a group is zero and a minimum there, up to its own step."""
    excess = 0.0
    for k in range(first, last):
        if coef[k] != 0.0:
            return False
        excess += max(abs(slope[k] * scale[k]) - level(penalty.l1, features[k]), 0.0) ** 2
    return subdifferential_distance(penalty.norm, 0.0, np.sqrt(excess), penalty.group_of[features[first]]) == 0.0


@kernel
def update_group(coef, slope, scale, penalty, features, first, last, block, vectors, values, linear, work):
    """Minimise over a group, or descend; the change of its unit coefficients goes to the second row of `work`.

    A group without L1 part is minimised exactly (by its eigenvectors and one equation in its length) where its norm is
    penalised linearly; all others take a few proximal gradient steps.

    Returns
    -------
    bool
        Whether the group moved.
    """
    size = last - first
    largest = values[size - 1]
    if largest == 0.0:
        return False
    pure = linear and size <= LARGE
    for k in range(first, last):
        pure = pure and level(penalty.l1, features[k]) == 0.0
    if pure:
        _, _, radius, _ = smooth_piece(penalty.norm, 1.0, penalty.group_of[features[first]])
        _exact_update(coef, slope, scale, first, vectors, values, radius, work)
    else:
        _gradient_update(block, scale, coef, slope, penalty, features, first, last, largest, work)
    moved = False
    for k in range(size):
        difference = work[0, k] - coef[first + k]
        moved = moved or difference != 0.0
        coef[first + k] = work[0, k]
        work[1, k] = difference * scale[first + k]
    return moved
