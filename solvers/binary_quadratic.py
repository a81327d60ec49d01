r"""Many small binary quadratic problems, each solved to a proof: the codes of a nonnegative/binary factorization.

.. math:: \min_{h \in \{0, 1\}^r} \; \tfrac12 h^T G h - c^T h

By default every problem goes through

1. persistency (:mod:`~sparsemodels.solvers.persistency`), which fixes bits that all optimal codes share;
2. for few free bits, the table of all codes (:mod:`~sparsemodels.solvers.subset_doubling`);
3. else the sphere decoder (:mod:`~sparsemodels.solvers.sphere_decoder`), first for a moment on the matrix as it is,
   which is enough where the data are close to a code, then on the diagonal of the semidefinite relaxation
   (:mod:`~sparsemodels.solvers.diagonal_relaxation`);
4. beyond the budget of nodes, tabu search from the best code found, without a proof.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from .binary_branch_and_bound import branch_and_bound_all
from .binary_objective import gram_values
from .simulated_annealing import anneal_all
from .sphere_decoder import decode_all
from .subset_doubling import enumerate_all
from .tabu_search import tabu_search_all

_METHODS = ("auto", "enumerate", "sphere", "branch_and_bound", "tabu", "simulated_annealing")
_FEW_BITS = 13  # up to here the table of all codes is faster than a search
_MOST_BITS = 30  # to enumerate
_ANNEALING = 10, 100  # reads, sweeps
_BLOCK = 64  # problems


class BinarySolution(NamedTuple):
    """The codes of many problems, with what is proven of them.

    Attributes
    ----------
    codes : ndarray of shape (n_problems, r), uint8
        The best codes known, never worse than the start.
    objectives : ndarray of shape (n_problems,)
        Their values, without the constant of the data.
    proven : ndarray of shape (n_problems,), bool
        Whether no code is better, up to the rounding of the values; for integer data without any doubt.
    n_nodes : ndarray of shape (n_problems,), int64
        The nodes of the search; 0 where no search was needed.
    """

    codes: np.ndarray
    objectives: np.ndarray
    proven: np.ndarray
    n_nodes: np.ndarray


Solver = Callable[..., Any]


def minimize_binary_quadratic(
    G: np.ndarray,
    c: np.ndarray,
    start: np.ndarray,
    *,
    solver: str | Solver = "auto",
    max_nodes: int = 2_000_000,
    n_rows: Any = None,
    random_state: Any = 0,
    n_jobs: int | None = 1,
    deadline: float = np.inf,
) -> BinarySolution:
    r"""Minimise :math:`\frac12 h^T G h - c^T h` over :math:`h \in \{0, 1\}^r` for many problems.

    Parameters
    ----------
    G : ndarray of shape (r, r) or (n_problems, r, r)
        One symmetric matrix for all problems, or one for each. Nothing is asked of its signs or of its eigenvalues.
    c : ndarray of shape (n_problems, r)
        The vectors.
    start : ndarray of shape (n_problems, r)
        Codes to start from; the answers are never worse.
    solver : str or callable, default="auto"
        What solves the problems:

        - "auto": the table of all codes for few free bits, else the sphere decoder; proves every answer within
          `max_nodes`;
        - "enumerate": the table of all codes, up to 30 free bits;
        - "sphere": the sphere decoder;
        - "branch_and_bound": depth-first search with the additive bound, an independent check for small problems;
        - "tabu", "simulated_annealing": heuristics;
        - a callable that takes ``(G, c, start, random_state=...)`` and returns codes, such as
          :class:`~sparsemodels.solvers.qubo_sampler.DimodAdapter` or
          :class:`~sparsemodels.solvers.simulated_annealing.SimulatedAnnealing`.
    max_nodes : int, default=2_000_000
        The most nodes of one search. Where it is reached, tabu search continues from the best code, without a proof.
    n_rows : int, ndarray of shape (n_problems,) or None, default=None
        How many observations are behind each matrix, where known. It never changes what is proven, only how fast.
    random_state : int, numpy.random.Generator or None, default=0
        Of the heuristics.
    n_jobs : int or None, default=1
        Threads; the answer is the same for every number. A callable is called once for all problems.
    deadline : float, default=inf
        The time of :func:`time.monotonic` after which the problems not begun keep their start.

    Returns
    -------
    BinarySolution
        The codes, their values and which of them are proven best.

    Raises
    ------
    ValueError
        If shapes or values do not fit.

    Notes
    -----
    Equally good codes: among few free bits the closest to the start in Hamming distance is returned, and of these the
    first lexicographically; beyond, the start if it is one of them.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.binary_quadratic import minimize_binary_quadratic
    >>> rng = np.random.default_rng(0)
    >>> W = rng.random((64, 32))
    >>> codes = rng.integers(0, 2, size=(5, 32))
    >>> solution = minimize_binary_quadratic(W.T @ W, codes @ W.T @ W, np.zeros((5, 32)))
    >>> np.array_equal(solution.codes, codes), solution.proven.all()
    (True, np.True_)
    """
    G, c, start = _checked(G, c, start)
    n_problems = len(c)
    rng = np.random.default_rng(random_state)
    if callable(solver):
        return _from_callable(solver, G, c, start, rng)
    if solver not in _METHODS:
        raise ValueError(f"solver must be one of {', '.join(_METHODS)} or a callable, got {solver!r}")
    if max_nodes < 1:
        raise ValueError(f"max_nodes must be at least 1, got {max_nodes}")
    rows = np.asarray(-1 if n_rows is None else n_rows)
    if rows.shape not in ((), (n_problems,)):
        raise ValueError(f"n_rows must be a number or have the shape {(n_problems,)}, got {rows.shape}")
    rows = np.array(np.broadcast_to(rows, n_problems), dtype=np.int64)
    seeds = rng.integers(1, 2**32, size=n_problems)
    gram = G if G.ndim == 3 else G[None]
    solution = BinarySolution(
        start.copy(), np.empty(n_problems), np.zeros(n_problems, dtype=bool), np.zeros(n_problems, dtype=np.int64)
    )
    codes, values, proven, n_nodes = solution
    gram_values(gram, c, codes, values)

    def stage(solve: Callable[[np.ndarray], None], todo: np.ndarray) -> None:
        _in_blocks(solve, todo, n_jobs, deadline)

    everything = np.arange(n_problems)
    if solver in ("auto", "enumerate"):
        few, left = _FEW_BITS if solver == "auto" else _MOST_BITS, np.zeros(n_problems, dtype=np.int64)
        stage(lambda todo: enumerate_all(gram, c, todo, few, codes, values, proven, left), everything)
        if solver == "enumerate" and left.any():
            raise ValueError(f"solver='enumerate' takes at most {few} free bits, got {left.max()}; use 'auto'")
        everything = np.flatnonzero(left)
    if solver in ("auto", "sphere"):
        stage(lambda todo: decode_all(gram, c, todo, rows, max_nodes, codes, values, proven, n_nodes), everything)
    if solver == "branch_and_bound":
        stage(lambda todo: branch_and_bound_all(gram, c, todo, max_nodes, codes, values, proven, n_nodes), everything)
    if solver == "simulated_annealing":
        stage(lambda todo: anneal_all(gram, c, todo, *_ANNEALING, seeds, codes, values, proven), everything)
    elif solver != "enumerate":
        unproven = everything[~proven[everything]]
        stage(lambda todo: tabu_search_all(gram, c, todo, seeds, codes, values, proven), unproven)
    return solution


def _in_blocks(solve: Callable[[np.ndarray], None], todo: np.ndarray, n_jobs: int | None, deadline: float) -> None:
    """Solve the problems of a list in threads, as long as there is time; every problem by itself."""
    n_jobs = effective_n_jobs(n_jobs)
    if todo.size == 0:
        return
    size = todo.size if n_jobs == 1 and deadline == np.inf else min(_BLOCK, -(-todo.size // (4 * n_jobs)))
    blocks = [todo[begin : begin + size] for begin in range(0, todo.size, size)]

    def in_time(block: np.ndarray) -> None:
        if time.monotonic() <= deadline:
            solve(block)

    if n_jobs == 1 or len(blocks) == 1:
        for block in blocks:
            in_time(block)
    else:
        Parallel(n_jobs=n_jobs, backend="threading")(delayed(in_time)(block) for block in blocks)


def _checked(G, c, start) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    c = np.ascontiguousarray(c, dtype=np.float64)
    if c.ndim != 2:
        raise ValueError(f"c must have the shape (n_problems, r), got {c.shape}")
    G = np.ascontiguousarray(G, dtype=np.float64)
    n_problems, r = c.shape
    if G.shape not in ((r, r), (n_problems, r, r)):
        raise ValueError(f"G must have the shape {(r, r)} or {(n_problems, r, r)}, got {G.shape}")
    start = np.asarray(start)
    if start.shape != c.shape:
        raise ValueError(f"start must have the shape {c.shape} of c, got {start.shape}")
    _check_binary(start, "start")
    if not np.isfinite(c).all():
        raise ValueError("c must be finite, got NaN or infinity")
    if not np.isfinite(G).all():
        raise ValueError("G must be finite, got NaN or infinity")
    transpose = np.swapaxes(G, -1, -2)
    if not np.array_equal(G, transpose) and np.abs(G - transpose).max() > 1e-6 * np.abs(G).max():
        raise ValueError(f"G must be symmetric, got a difference of {np.abs(G - transpose).max():.2g} to its transpose")
    return G, c, start.astype(np.uint8)


def _check_binary(codes: np.ndarray, name: str) -> None:
    if not np.logical_or(codes == 0, codes == 1).all():
        raise ValueError(f"{name} must be of zeros and ones, got other values")


def _from_callable(solver, G, c, start, rng) -> BinarySolution:
    found = np.asarray(solver(G, c, start.copy(), random_state=rng))
    if found.shape != start.shape:
        raise ValueError(f"the codes of the solver must have the shape {start.shape}, got {found.shape}")
    _check_binary(found, "the codes of the solver")
    found = found.astype(np.uint8)
    gram = G if G.ndim == 3 else G[None]
    values, before = np.empty(len(c)), np.empty(len(c))
    gram_values(gram, c, found, values)
    gram_values(gram, c, start, before)
    worse = ~(values < before)
    codes = np.where(worse[:, None], start, found)
    n_problems = len(c)
    return BinarySolution(
        codes, np.where(worse, before, values), np.zeros(n_problems, dtype=bool), np.zeros(n_problems, dtype=np.int64)
    )
