r"""Nonnegative/binary matrix factorization from many starts, with any solver of its binary problems."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .binary_quadratic import minimize_binary_quadratic
from .nonnegative_binary import BinaryPenalty, Minimize, NonnegativeBinary, alternate_exactly
from .observed_matrix import ObservedMatrix, shape

_FLIPPED = 0.1  # share of the bits that a perturbation flips


def binary_minimizer(
    solver: str | Callable = "auto",
    *,
    max_nodes: int = 2_000_000,
    random: Any = None,
    deadline: float = np.inf,
    n_jobs: int | None = None,
) -> Minimize:
    """The function that solves the binary problems of a factorization.

    Parameters
    ----------
    solver : str or callable, default="auto"
        As in :func:`~sparsemodels.solvers.binary_quadratic.minimize_binary_quadratic`.
    max_nodes : int, default=2_000_000
        The nodes that one problem may take.
    random : numpy.random.RandomState, optional
        Seeds every call anew; always the seed 0 by default.
    deadline : float, default=inf
        The time of ``time.monotonic()`` after which problems keep the code they have, unproved.
    n_jobs : int, optional
        Threads; the answer does not depend on them.

    Returns
    -------
    callable
        ``minimize(Q, c, start)``, which returns codes and whether each is proved optimal.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.binary_restarts import binary_minimizer
    >>> minimize = binary_minimizer()
    >>> minimize(np.eye(2)[None], np.array([[1.0, 0.2]]), np.zeros((1, 2), np.uint8))
    (array([[1, 0]], dtype=uint8), array([ True]))
    """

    def minimize(Q: np.ndarray, c: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        solution = minimize_binary_quadratic(
            Q[0] if len(Q) == 1 else Q, c, start,
            solver=solver, max_nodes=max_nodes, n_jobs=n_jobs, deadline=deadline,
            random_state=0 if random is None else int(random.randint(2**31 - 1)),
        )  # fmt: skip
        return solution.codes, solution.proven

    return minimize


def factorize(
    matrix: ObservedMatrix,
    n_components: int,
    penalty: BinaryPenalty,
    minimize: Minimize,
    *,
    n_init: int = 1,
    n_perturbations: int = 0,
    random: Any = None,
    deadline: float = np.inf,
    **options: Any,
) -> NonnegativeBinary:
    """The best factorization over random starts, and then over perturbations of the best so far.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        What is known of the matrix; its rows get the nonnegative factor.
    n_components : int
        The number of bits.
    penalty : BinaryPenalty
        Ridge, baseline and prior.
    minimize : callable
        From :func:`binary_minimizer`.
    n_init : int, default=1
        Starts from codes whose bits are set with probability one half.
    n_perturbations : int, default=0
        Further starts: the best codes so far, each bit of them flipped with probability 0.1.
    random : numpy.random.RandomState, optional
        The source of the starts; a new one seeded with 0 by default.
    deadline : float, default=inf
        When to stop, in seconds of ``time.monotonic()``.
    **options
        Passed to :func:`~sparsemodels.solvers.nonnegative_binary.alternate_exactly`.

    Returns
    -------
    NonnegativeBinary
        The best of all, with its own certificate; its `status` is that of the last where that ended the search.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.binary_restarts import binary_minimizer, factorize
    >>> from sparsemodels.solvers.nonnegative_binary import BinaryPenalty
    >>> from sparsemodels.solvers.observed_matrix import observe
    >>> X = np.array([[1.0, 0.0, 1.0], [2.0, 3.0, 5.0], [0.0, 4.0, 4.0]])
    >>> solution = factorize(observe(X), 2, BinaryPenalty(), binary_minimizer(), n_init=3)
    >>> sorted(solution.codes.T.tolist()), solution.n_inexact
    ([[0, 1, 1], [1, 0, 1]], 0)
    """
    random = np.random.RandomState(0) if random is None else random
    n_columns = shape(matrix)[1]
    best: NonnegativeBinary | None = None
    for start in range(n_init + n_perturbations):
        uniform = random.uniform(size=(n_columns, n_components))
        codes = (uniform < 0.5).astype(np.uint8)
        if start >= n_init and best is not None:
            codes = best.codes ^ (uniform < _FLIPPED)
        found = alternate_exactly(matrix, codes, penalty, minimize, deadline=deadline, **options)
        if best is None or found.objective < best.objective:
            best = found
        if found.status in ("time_limit", "stopped", "interrupted"):
            best = best._replace(status=found.status)
            break
    assert best is not None  # there is at least one start
    return best
