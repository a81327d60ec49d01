r"""Greedy block coordinate descent for :math:`\min \tfrac12 w^T H w - q^T w + \sum_j p_j(w_j)`."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from .active_set_identification import Identification, identification
from .block_rules import CYCLIC, DIAGONAL, LIPSCHITZ, QUADRATIC, RANDOM, RULES
from .block_steps import MESSAGE_PASSING, UPDATES, block_steps, forest_steps
from .block_updates import Blocks, block_work, submatrix
from .forests import forest_partition
from .generic import require
from .kernel import kernel
from .penalties.functions import SEPARABLE, smooth_piece
from .penalties.l1 import L1
from .penalties.vector_functions import kkt_distances, structure
from .quadratic_problem import QuadraticProblem


class BlockSolution(NamedTuple):
    r"""A solution by block coordinate descent and how good it is.

    Attributes
    ----------
    coef : ndarray of shape (p,)
        The coefficients w.
    objective : float
        :math:`\frac12 w^T H w - q^T w + \sum_j p_j(w_j)`, plus half of `squared_norm`.
    dual_gap : float
        An upper bound of how far the objective is above its minimum; inf where none could be computed.
    kkt : float
        The largest distance of a slope :math:`q - H w` to the subdifferential of its penalty.
    n_iter : int
        The number of block updates.
    converged : bool
        Whether the certificate reached the tolerance.
    status : {"converged", "max_iter", "stalled", "time_limit", "interrupted", "stopped"}
        Why the solver returned; "stalled" if no block gains anything beyond rounding.
    history : ndarray of shape (`n_iter` + 1,)
        The objective at the start and after every update.
    identification : Identification
        When the kinks of the solution were found, and when they had to be.
    """

    coef: np.ndarray
    objective: float
    dual_gap: float
    kkt: float
    n_iter: int
    converged: bool
    status: str
    history: np.ndarray
    identification: Identification


@kernel
def _whole_line(penalty, coef, curvatures):
    """Whether every coordinate's penalty is quadratic on the whole line, and its curvature."""
    for j in range(coef.size):
        lower, upper, _, curvatures[j] = smooth_piece(penalty, coef[j], j)
        if lower > -np.inf or upper < np.inf:
            return False
    return True


def _partition(
    blocks: Any, block_size: int, problem: QuadraticProblem, update: int, seed: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Where blocks start, and their members."""
    p = problem.p
    if isinstance(blocks, str):
        if blocks == "variable":
            return np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int64)
        if blocks == "forests":
            if not problem.sparse:
                raise ValueError('blocks="forests" needs a sparse hessian, got a dense one.')
            parts = forest_partition(problem.H)
            return np.cumsum([0] + [part.size for part in parts]), np.concatenate(parts)
        if blocks == "order":
            members = np.arange(p)
        elif blocks == "lipschitz":  # coordinates alike in curvature share a block, so that the bounds are tight
            members = np.argsort(-problem.diagonal, kind="stable")
        elif blocks == "random":
            members = seed.permutation(p)
        else:
            raise ValueError(
                'blocks must be "variable", "order", "lipschitz", "random", "forests" or a list of index arrays, '
                f"got {blocks!r}."
            )
        return np.append(np.arange(0, p, block_size), p), members
    parts = [np.asarray(part, dtype=np.int64) for part in blocks]
    members = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
    if any(part.size == 0 for part in parts) or not np.array_equal(np.sort(members), np.arange(p)):
        raise ValueError(f"blocks must be non-empty and hold each of the {p} coordinates once, got {blocks!r}.")
    return np.cumsum([0] + [part.size for part in parts]), members


def _prepare(problem: QuadraticProblem, starts: np.ndarray, members: np.ndarray, small: bool) -> Blocks:
    """Submatrices, factors and largest eigenvalues of fixed blocks, or none where blocks are forests."""
    n_blocks = starts.size - 1
    size = int(np.diff(starts).max(initial=0)) if small else 0
    matrices, factors = np.zeros((2, n_blocks, size, size))
    regular, lipschitz = np.zeros(n_blocks, dtype=bool), np.zeros(n_blocks)
    place = np.full(problem.p, -1, dtype=np.int64)
    for b in range(n_blocks if small else 0):
        block = members[starts[b] : starts[b + 1]]
        submatrix(problem.H, block, place, matrices[b])
        corner = matrices[b, : block.size, : block.size]
        values = scipy.linalg.eigvalsh(corner)
        lipschitz[b] = max(values[-1], 0.0)
        if values[0] > 1e-10 * values[-1]:
            factors[b, : block.size, : block.size] = scipy.linalg.cholesky(corner, lower=True)
            regular[b] = True
    return Blocks(starts, members, matrices, factors, regular, lipschitz)


def _bounds(problem: QuadraticProblem, rule: int, blocks: Blocks, block_size: int, lipschitz: float) -> np.ndarray:
    """The diagonal bound of the Hessian by which a rule ranks coordinates."""
    fixed = blocks.matrices.size > 0
    order = np.argsort(blocks.members)
    if rule == LIPSCHITZ:
        # The largest eigenvalue of every block that a coordinate could be in lies below its Gershgorin disc's end.
        return np.repeat(blocks.lipschitz, np.diff(blocks.starts))[order] if fixed else problem.row_sums
    if rule == DIAGONAL:
        if fixed:
            sums = [np.abs(matrix).sum(axis=0)[:size] for matrix, size in zip(blocks.matrices, np.diff(blocks.starts))]
            return np.concatenate(sums)[order]
        # x'Hx <= (sum of |x_i| sqrt(H_ii))^2 <= size * sum of H_ii x_i^2
        return block_size * problem.diagonal
    return np.full(problem.p, lipschitz)


def block_coordinate_descent(
    hessian: Any,
    linear: np.ndarray,
    penalty: Any = None,
    *,
    rule: str = "gauss_southwell_diagonal",
    update: str = "matrix",
    blocks: str | Sequence[np.ndarray] = "variable",
    block_size: int = 5,
    coef: np.ndarray | None = None,
    squared_norm: float | None = None,
    strong_convexity: float | None = None,
    tol: float = 1e-6,
    max_iter: int = 10_000,
    deadline: float = np.inf,
    random_state: int | np.random.Generator | None = None,
    on_check: Callable[[int, float], Any] | None = None,
) -> BlockSolution:
    r"""Minimise a convex quadratic plus a separable penalty by block coordinate descent, with greedy rules.

    .. math:: \min_w \; \tfrac12 w^T H w - q^T w + \sum_j p_j(w_j)

    A LASSO of n samples has :math:`H = X^T X / n` and :math:`q = X^T y / n`. The method is for problems whose Hessian
    is at hand, up to some five thousand coordinates dense, or very sparse: the slope :math:`q - H w` of all
    coordinates is kept current, at the cost of one row of H for each coordinate that moves, and a greedy rule then
    sees all coordinates at no further cost.

    Parameters
    ----------
    hessian : ndarray or sparse matrix of shape (p, p)
        H, symmetric and positive semidefinite.
    linear : ndarray of shape (p,)
        The vector q.
    penalty : NamedTuple, optional
        The record of a separable penalty (:mod:`sparsemodels.solvers.penalties`); none by default.
    rule : str, default="gauss_southwell_diagonal"
        Which block moves next:

        - "cyclic" or "random";
        - "gauss_southwell": the largest squared gradient;
        - "gauss_southwell_lipschitz": divided by the block's largest eigenvalue;
        - "gauss_southwell_diagonal": by a diagonal that bounds H, Gershgorin's row sums of absolute values;
        - "gauss_southwell_quadratic": by the block of H itself. Of variable blocks the best is hard to find, and ten
          steps of iterative hard thresholding look for a good one.

        With a penalty, the gain of the corresponding proximal step takes the place of the squared gradient.
    update : {"gradient", "diagonal", "matrix", "message_passing"}, default="matrix"
        How it moves:

        - "gradient": a proximal step with one over the block's largest eigenvalue (of a variable block: a bound);
        - "diagonal": with one over the row sums of absolute values within the block;
        - "matrix": to the exact minimum over the block, by Newton steps on the coordinates off their kinks;
        - "message_passing": the same for blocks on which the pattern of a sparse H is a forest, in time linear in
          their size. For penalties without kinks.
    blocks : {"variable", "order", "lipschitz", "random", "forests"} or list of ndarray, default="variable"
        "variable" makes a new block for each update, of the coordinates that rank first; the others are partitions:
        neighbours, coordinates of similar curvature, random ones, or forests. A list of index arrays is a partition
        of one's own.
    block_size : int, default=5
        The number of coordinates in a block; with "message_passing" the largest number, and p is sensible.
    coef : ndarray of shape (p,), optional
        Where to start; zero by default.
    squared_norm : float, optional
        The constant :math:`\|y\|^2` (for a LASSO divided by n, like H and q), which makes the quadratic the half
        squared norm of a residual. Needed for a duality gap where H is singular.
    strong_convexity : float, optional
        A lower bound of the smallest eigenvalue of H. By default it is computed up to p = 2000, and beyond bounded by
        Gershgorin's discs.
    tol : float, default=1e-6
        The duality gap to reach, relative to the objective's decrease from zero coefficients to the solution (with
        `squared_norm`: relative to half of it). Where there is no gap, the KKT residual to reach, relative to the
        largest slope at zero coefficients.
    max_iter : int, default=10000
        The largest number of block updates.
    deadline : float, default=inf
        The time of :func:`time.monotonic` after which to return what there is.
    random_state : int or numpy.random.Generator, optional
        For the random rule and random partitions.
    on_check : callable, optional
        Called with the number of updates and the gap at every certificate; a true result stops.

    Returns
    -------
    BlockSolution
        The solution with its certificate, its history and the identification of its kinks.

    Raises
    ------
    ValueError
        For a rule, update, partition, shape or size that is not allowed, each by name.
    TypeError
        If the penalty's record does not register what is needed.

    Notes
    -----
    Memory beside H: some ten vectors of length p, and ``2 * p * block_size`` numbers for fixed blocks.

    References
    ----------
    J. Nutini, I. Laradji and M. Schmidt, "Let's make block coordinate descent converge faster: faster greedy rules,
    message-passing, active-set complexity, and superlinear convergence", JMLR 23(131), 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from sparsemodels.solvers.block_coordinate_descent import block_coordinate_descent
    >>> from sparsemodels.solvers.penalties import L1
    >>> X, y = load_diabetes(return_X_y=True)
    >>> X, y = X - X.mean(axis=0), y - y.mean()
    >>> n, p = X.shape
    >>> solution = block_coordinate_descent(X.T @ X / n, X.T @ y / n, L1(0.5, np.ones(p)), squared_norm=y @ y / n)
    >>> solution.converged
    True
    """
    for name, given, allowed in (("rule", rule, RULES), ("update", update, UPDATES)):
        if given not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {given!r}.")
    if not 1 <= block_size:
        raise ValueError(f"block_size must be at least 1, got {block_size!r}.")
    if not 0 <= max_iter:
        raise ValueError(f"max_iter must be at least 0, got {max_iter!r}.")
    q = np.array(linear, dtype=np.float64)
    penalty = L1(0.0, np.ones(q.size)) if penalty is None else penalty
    if structure(penalty) != "separable":
        raise TypeError(f"the penalty must be separable, got {type(penalty).__name__}, which couples coordinates.")
    require(penalty, SEPARABLE, "the penalty")
    problem = QuadraticProblem(hessian, q, penalty, None if squared_norm is None else float(squared_norm))
    p = problem.p
    start = np.zeros(p) if coef is None else np.array(coef, dtype=np.float64)
    if start.shape != (p,) or not np.isfinite(start).all():
        raise ValueError(f"coef must be {p} finite numbers, got an array of shape {start.shape}.")
    random = np.random.default_rng(random_state)
    code, step_code, block_size = RULES[rule], UPDATES[update], min(int(block_size), max(p, 1))
    by_messages = step_code == MESSAGE_PASSING
    curvatures = np.zeros(p)
    if by_messages:
        if not problem.sparse:
            raise ValueError('update="message_passing" needs a sparse hessian, got a dense one.')
        if not _whole_line(penalty, start, curvatures):
            raise ValueError(
                'update="message_passing" needs a penalty without kinks and bounds, '
                f"got {type(penalty).__name__} with some."
            )
        if code == QUADRATIC:
            raise ValueError('rule="gauss_southwell_quadratic" does not go with update="message_passing".')
    starts, members = _partition(blocks, block_size, problem, step_code, random)
    variable = starts.size == 1
    if by_messages and variable and code == CYCLIC:
        raise ValueError('rule="cyclic" with update="message_passing" needs a partition, got blocks="variable".')
    if not by_messages and isinstance(blocks, str) and blocks == "forests":
        raise ValueError(f'blocks="forests" goes with update="message_passing" only, got update={update!r}.')
    starts, members = starts.astype(np.int64), members.astype(np.int64)
    fixed = _prepare(problem, starts, members, small=not by_messages)
    lipschitz, mu = problem.spectrum(strong_convexity)
    bounds = _bounds(problem, code, fixed, block_size, lipschitz)

    # A zero column of H: no step has a length, but the penalty's minimum is at zero.
    position = np.where(problem.diagonal > 0.0, start, 0.0)
    slope = problem.slope(position)
    largest_size = block_size if variable else int(np.diff(starts).max(initial=1))
    work = block_work(1 if by_messages else largest_size)
    old, place = np.empty(largest_size), np.full(p, -1, dtype=np.int64)
    memory = np.empty((5 if by_messages else 3, p))
    places = np.full((6 if by_messages else 1, p), -1, dtype=np.int64)
    places[0] = -2
    permutation, chosen = np.arange(p), np.empty(block_size, dtype=np.int64)
    drawn = 1 if not variable else (p if by_messages else block_size)
    batch = 1 if by_messages else max(1, p // max(largest_size, 1))  # a certificate costs about one pass
    history = np.empty(max_iter + 1)
    history[0] = problem.objective(position, slope)
    kkt_scale = float(np.abs(q).max(initial=0.0))
    distances = np.empty(p)
    n_iter, switched_at, status, stalled = 0, 0, "max_iter", False
    try:
        while True:
            merit, target, gap, kkt, value = _merit(problem, position, slope, distances, mu, tol, kkt_scale)
            exact = False
            if merit <= target or stalled or n_iter >= max_iter:  # the last word is spoken on an exact slope
                slope[:] = problem.slope(position)
                merit, target, gap, kkt, value = _merit(problem, position, slope, distances, mu, tol, kkt_scale)
                exact = True
            stop = on_check is not None and on_check(n_iter, gap)
            if exact and merit <= target:
                status = "converged"
            elif stop:
                status = "stopped"
            elif stalled:
                status = "stalled"
            elif n_iter >= max_iter:
                status = "max_iter"
            elif time.monotonic() > deadline:
                status = "time_limit"
            else:
                size = min(batch, max_iter - n_iter)
                draws = random.random((size, drawn)) if code == RANDOM else np.empty((0, 1))
                part = history[n_iter : n_iter + size + 1]
                if by_messages:
                    done = forest_steps(
                        problem.H, penalty, position, slope, code, fixed, bounds, problem.diagonal + curvatures, draws,
                        permutation, n_iter, block_size, memory, places, part,
                    )  # fmt: skip
                    switch = 0
                else:
                    done, switch = block_steps(
                        problem.H, penalty, position, slope, code, step_code, fixed, bounds, problem.diagonal,
                        draws, permutation, n_iter, chosen, old, place, memory, work, part,
                    )  # fmt: skip
                if switch:
                    switched_at = n_iter + switch
                n_iter += done
                stalled = done < size
                continue
            break
    except KeyboardInterrupt:
        status = "interrupted"
        slope = problem.slope(position)
        merit, target, gap, kkt, value = _merit(problem, position, slope, distances, mu, tol, kkt_scale)
    report = identification(
        penalty, position, slope, float(np.linalg.norm(start - position)), lipschitz, mu, switched_at
    )
    return BlockSolution(
        position, value, gap, kkt, n_iter, status == "converged", status, history[: n_iter + 1].copy(), report
    )


def _merit(
    problem: QuadraticProblem,
    coef: np.ndarray,
    slope: np.ndarray,
    distances: np.ndarray,
    mu: float,
    tol: float,
    scale: float,
) -> tuple[float, float, float, float, float]:
    """What is to fall below what: (merit, target, gap, kkt, objective)."""
    kkt = float(kkt_distances(problem.penalty, coef, slope, problem.features, distances))
    value = float(problem.objective(coef, slope))
    gap = problem.gap(coef, slope, mu)
    if np.isfinite(gap):
        half = 0.5 * (problem.squared_norm or 0.0)
        return gap, tol * (half if half > 0.0 else max(-value, 0.0)), gap, kkt, value
    return kkt, tol * scale, gap, kkt, value
