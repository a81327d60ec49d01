"""Runs of one factorization brought into a common order of their components."""

from typing import NamedTuple

import numpy as np
import scipy.optimize

_GAIN = 1e-12  # of the total similarity: smaller gains are rounding, and would let the iteration cycle


class Alignment(NamedTuple):
    """Runs in a common order.

    Attributes
    ----------
    orders : ndarray of int of shape (n_runs, n_components)
        ``orders[p, a]`` is the component of run p that belongs to cluster a.
    centroids : ndarray of shape (n_components, n_features)
        The mean direction of each cluster, of unit length; zero where all of a cluster's vectors are.
    similarity : float
        The sum of the cosines between all vectors and their centroids.
    n_iter : int
        Rounds of matching until no order changed.
    """

    orders: np.ndarray
    centroids: np.ndarray
    similarity: float
    n_iter: int


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Vectors scaled to unit Euclidean length, in float64; zero vectors stay zero.

    Parameters
    ----------
    vectors : ndarray of shape (..., n_features)
        The vectors along the last axis.

    Returns
    -------
    ndarray of shape (..., n_features), float64
        The unit vectors.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    scale = np.abs(vectors).max(axis=-1, keepdims=True, initial=0.0)  # first: squares of large vectors overflow
    vectors = vectors / np.where(scale > 0.0, scale, 1.0)
    norms = np.sqrt(np.einsum("...j,...j->...", vectors, vectors))[..., np.newaxis]
    return vectors / np.where(norms > 0.0, norms, 1.0)


def match(similarities: np.ndarray) -> np.ndarray:
    """The one-to-one assignment of columns to rows with the largest total similarity (Hungarian method).

    Parameters
    ----------
    similarities : ndarray of shape (n, n)
        How well column b suits row a.

    Returns
    -------
    ndarray of int of shape (n,)
        The column of each row.
    """
    return scipy.optimize.linear_sum_assignment(similarities, maximize=True)[1]


def align_factors(runs: np.ndarray, *, max_iter: int = 100) -> Alignment:
    """Order the components of each run so that like stands with like.

    Spherical clustering in which every cluster takes exactly one component of every run: the centroids are the mean
    directions, each run is matched to them optimally, and so on to a fixed point. Neither step lowers the total
    cosine, so that the iteration ends. It starts at the run that resembles all others most.

    Parameters
    ----------
    runs : ndarray of shape (n_runs, n_components, n_features)
        The components of each run; their lengths do not matter.
    max_iter : int, default=100
        The largest number of rounds.

    Returns
    -------
    Alignment
        The orders, the centroids and the total cosine.

    References
    ----------
    B. S. Alexandrov et al., "Signatures of mutational processes in human cancer", Nature 500, 2013, for the idea; the
    matching there is greedy.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.factor_alignment import align_factors
    >>> run = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    >>> align_factors(np.stack([run, 2.0 * run[::-1]])).orders
    array([[0, 1],
           [1, 0]])
    """
    unit = unit_rows(runs)
    n_runs, n_components, _ = unit.shape
    centroids = unit[_most_typical(unit)]
    orders = np.tile(np.arange(n_components), (n_runs, 1))
    own = np.arange(n_components)
    for n_iter in range(1, max_iter + 1):
        changed = n_iter == 1
        for p in range(n_runs):
            cosines = centroids @ unit[p].T
            order = match(cosines)
            gain = cosines[own, order].sum() - cosines[own, orders[p]].sum()
            if gain > _GAIN * n_components:
                orders[p] = order
                changed = True
        centroids = unit_rows(np.take_along_axis(unit, orders[:, :, np.newaxis], axis=1).sum(axis=0))
        if not changed:
            break
    aligned = np.take_along_axis(unit, orders[:, :, np.newaxis], axis=1)
    return Alignment(orders, centroids, float(np.einsum("paj,aj->", aligned, centroids)), n_iter)


def _most_typical(unit: np.ndarray) -> int:
    """The run with the largest total similarity to all others under optimal matching; the first of several."""
    n_runs = unit.shape[0]
    totals = np.zeros(n_runs)
    for p in range(n_runs):
        for q in range(p):
            cosines = unit[p] @ unit[q].T
            total = cosines[np.arange(cosines.shape[0]), match(cosines)].sum()
            totals[p] += total
            totals[q] += total
    return int(totals.argmax())
