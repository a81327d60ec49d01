r"""Simulated annealing for binary quadratic problems.

Sweeps of one-bit flips, each accepted with the probability :math:`\min(1, e^{-\beta \Delta})`, while the inverse
temperature :math:`\beta` rises geometrically from where the largest flips are accepted half the time to where the
smallest are accepted once in a hundred sweeps. Kept as the yardstick: it proves nothing.

References
----------
S. Kirkpatrick, C. D. Gelatt and M. P. Vecchi, "Optimization by simulated annealing", Science 220, 1983.
"""

from typing import Any

import numpy as np

from .binary_objective import gram_values, quadratic_value
from .kernel import kernel
from .persistency import fix_persistent_bits, free_bits, take_if_better
from .tabu_search import flip, flip_gains, next_random


@kernel
def anneal(couplings, linear, n_bits, n_reads, n_sweeps, seed, code, best, change, trial):
    """Anneal several times from random codes; the code is replaced only by a better one.

    Parameters
    ----------
    couplings : ndarray of shape (>= n_bits, >= n_bits)
        The couplings, symmetric; the diagonal is not read.
    linear : ndarray of shape (>= n_bits,)
        The linear terms.
    n_bits : int
        The number of bits, at least 1.
    n_reads, n_sweeps : int
        How many times, and how many sweeps each.
    seed : int
        Of the random numbers, from 1 to 2**32 - 1.
    code : ndarray of shape (>= n_bits,), uint8
        The best code known, improved in place.
    best : float
        Its value.
    change : ndarray of shape (>= n_bits,)
        Work array.
    trial : ndarray of shape (>= n_bits,), uint8
        Work array.

    Returns
    -------
    float
        The value of the code.
    """
    # The fields and couplings of the spins 2 h - 1, twice: what a flip changes is between the smallest of them and
    # the sum of all at a spin.
    largest, smallest = 0.0, np.inf
    for a in range(n_bits):
        field, total = linear[a], 0.0
        for b in range(n_bits):
            if b != a and couplings[a, b] != 0.0:
                field += 0.5 * couplings[a, b]
                total += 0.5 * abs(couplings[a, b])
                smallest = min(smallest, 0.5 * abs(couplings[a, b]))
        if field != 0.0:
            smallest = min(smallest, abs(field))
        largest = max(largest, total + abs(field))
    if largest == 0.0:
        return best
    hot = np.log(2.0) / largest
    ratio = (np.log(100.0) / smallest / hot) ** (1.0 / max(n_sweeps - 1, 1))
    for _ in range(n_reads):
        for a in range(n_bits):
            seed = next_random(seed)
            trial[a] = (seed >> 16) & 1
        flip_gains(couplings, linear, n_bits, trial, change)
        beta = hot
        for _ in range(n_sweeps):
            for a in range(n_bits):
                seed = next_random(seed)
                # The exponent is cut where no 32-bit number could accept.
                if change[a] <= 0.0 or (beta * change[a] < 23.0 and seed < 4294967296.0 * np.exp(-beta * change[a])):
                    flip(couplings, n_bits, trial, change, a)
            beta *= ratio
        found = quadratic_value(couplings, linear, n_bits, trial)
        if found < best:
            best = found
            for a in range(n_bits):
                code[a] = trial[a]
    return best


@kernel
def anneal_all(gram, target, todo, n_reads, n_sweeps, seeds, codes, values, proven):
    """Anneal every problem.

    Parameters
    ----------
    gram : ndarray of shape (1, r, r) or (n_problems, r, r)
        The matrices.
    target : ndarray of shape (n_problems, r)
        The vectors.
    todo : ndarray of int64
        The problems.
    n_reads, n_sweeps : int
        How many times, and how many sweeps each.
    seeds : ndarray of shape (n_problems,), int64
        Of the random numbers, from 1 to 2**32 - 1.
    codes : ndarray of shape (n_problems, r), uint8
        The best codes known, improved in place.
    values : ndarray of shape (n_problems,)
        Their values, improved in place.
    proven : ndarray of shape (n_problems,), bool
        Set where persistency fixes every bit.
    """
    r = codes.shape[1]
    free, trial = free_bits(r), np.empty(r, dtype=np.uint8)
    for p in todo:
        matrix = gram[p if gram.shape[0] > 1 else 0]
        n_bits = fix_persistent_bits(matrix, target[p], codes[p], free)
        proven[p] = n_bits == 0
        if n_bits > 0:
            best = quadratic_value(free.couplings, free.linear, n_bits, free.code)
            anneal(free.couplings, free.linear, n_bits, n_reads, n_sweeps, seeds[p], free.code, best, free.terms, trial)
        values[p] = take_if_better(matrix, target[p], free, False, codes[p], values[p])


class SimulatedAnnealing:
    """Simulated annealing as a solver of :func:`~sparsemodels.solvers.binary_quadratic.minimize_binary_quadratic`.

    Parameters
    ----------
    n_reads : int, default=10
        How many times each problem is annealed.
    n_sweeps : int, default=100
        How many sweeps over the bits each time.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.binary_quadratic import minimize_binary_quadratic
    >>> from sparsemodels.solvers.simulated_annealing import SimulatedAnnealing
    >>> annealing = SimulatedAnnealing(n_reads=5, n_sweeps=50)
    >>> minimize_binary_quadratic(np.eye(3), [[2.0, 1.0, 0.1]], [[0, 0, 0]], solver=annealing).codes
    array([[1, 1, 0]], dtype=uint8)
    """

    def __init__(self, n_reads: int = 10, n_sweeps: int = 100):
        if n_reads < 1 or n_sweeps < 1:
            raise ValueError(f"n_reads and n_sweeps must be at least 1, got {n_reads} and {n_sweeps}")
        self.n_reads, self.n_sweeps = n_reads, n_sweeps

    def __call__(self, G: np.ndarray, c: np.ndarray, start: np.ndarray, *, random_state: Any = None) -> np.ndarray:
        """Anneal every problem.

        Parameters
        ----------
        G : ndarray of shape (r, r) or (n_problems, r, r)
            The matrices.
        c : ndarray of shape (n_problems, r)
            The vectors.
        start : ndarray of shape (n_problems, r)
            Codes that are returned where annealing finds none better.
        random_state : int, numpy.random.Generator or None, default=None
            Of the random numbers.

        Returns
        -------
        ndarray of shape (n_problems, r), uint8
            The codes.
        """
        gram, codes = G if G.ndim == 3 else G[None], np.array(start, dtype=np.uint8)
        values, proven = np.empty(len(c)), np.zeros(len(c), dtype=bool)
        gram_values(gram, c, codes, values)
        seeds = np.random.default_rng(random_state).integers(1, 2**32, size=len(c))
        anneal_all(gram, c, np.arange(len(c)), self.n_reads, self.n_sweeps, seeds, codes, values, proven)
        return codes
