"""A matrix as a product of sparse factors, taken off one at a time.

PALM4MSA on many factors ends in a poor stationary point from most starts. The hierarchical scheme solves problems with
two factors only: what is left of the matrix is written as a denser remainder times one sparse factor. After each of
these, all factors found so far are improved together.

References
----------
L. Le Magoarou and R. Gribonval, "Flexible multilayer sparse approximations of matrices and applications", IEEE Journal
of Selected Topics in Signal Processing 10, 2016.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .palm4msa import (
    EARLY,
    Clock,
    Matrix,
    SparseProduct,
    descend,
    factor_shapes,
    first_factors,
    in_units,
    prepared,
    product_for_zeros,
)
from .sparse_factor_projections import check_constraints


def hierarchical_palm4msa(
    A: np.ndarray,
    constraints: Sequence[Any],
    residual_constraints: Sequence[Any],
    *,
    side: str = "right",
    tol: float = 1e-4,
    max_iter: int = 100,
    deadline: float = np.inf,
    on_iteration: Callable[[int, float], bool] | None = None,
) -> SparseProduct:
    """Approximate a matrix by a product of sparse factors, taken off one at a time.

    Parameters
    ----------
    A : ndarray of shape (n_rows, n_columns)
        Real or complex.
    constraints : sequence of constraint records
        One for each of J factors, left to right.
    residual_constraints : sequence of constraint records
        What is left of the matrix after each of the first J - 2 factors was taken off, in that order; the last one
        that is left is itself a factor.
    side : {"right", "left"}, default="right"
        From which side the factors are taken off: ``"right"`` for matrices with more columns than rows.
    tol : float, default=1e-4
        Stop every level once its residual of stationarity is at most this.
    max_iter : int, default=100
        The most iterations of each level: of taking a factor off, and of improving all factors together.
    deadline : float, default=inf
        When to stop, in seconds of ``time.monotonic()``.
    on_iteration : callable, optional
        Called with the number of iterations so far and the objective of the level (of `A` scaled); stops the fit by
        returning True.

    Returns
    -------
    SparseProduct
        The factors after the last level, and its certificate. A fit that ends early has fewer factors, the last one
        of which is what was left to be factorized.

    Raises
    ------
    TypeError
        If a constraint registers no projection.
    ValueError
        If the numbers or shapes of the constraints do not fit.

    Examples
    --------
    >>> import numpy as np, scipy.linalg
    >>> from sparsemodels.solvers.hierarchical_factorization import hierarchical_palm4msa
    >>> from sparsemodels.solvers.sparse_factor_projections import LargestPerRowOrColumn
    >>> H = scipy.linalg.hadamard(8)
    >>> each = LargestPerRowOrColumn(2)
    >>> solution = hierarchical_palm4msa(H, [each] * 3, [LargestPerRowOrColumn(4)])
    >>> [int(np.count_nonzero(factor)) for factor in solution.factors], bool(solution.objective < 1e-20)
    ([16, 16, 16], True)
    """
    A, unit = prepared(A)
    shapes = factor_shapes(A.shape, constraints)
    n_factors = len(constraints)
    if len(residual_constraints) != max(n_factors - 2, 0):
        raise ValueError(
            f"residual_constraints must hold {max(n_factors - 2, 0)} records for {n_factors} factors, "
            f"got {len(residual_constraints)}"
        )
    if side not in ("right", "left"):
        raise ValueError(f"side must be 'right' or 'left', got {side!r}")
    if unit == 0.0:
        return product_for_zeros(constraints, shapes, A.dtype)
    right = side == "right"
    clock = Clock(deadline, on_iteration)
    if n_factors == 1:
        start = first_factors(shapes, A.dtype, right, constraints)
        return in_units(descend(A, constraints, start, 1.0, right, tol, max_iter, clock), unit)
    outermost = constraints[0] if right else constraints[-1]
    residuals = [*residual_constraints, outermost]
    peeled: list[Matrix] = []  # the factors found, in the order of the product
    rest = A
    history: list[float] = []
    solution: Any = None
    for level in range(1, n_factors):
        # What is left is updated first, from zero: the first step is the projection of the matrix itself.
        j = n_factors - level if right else level - 1
        inner = shapes[j][0] if right else shapes[j][1]
        rest_shape = (rest.shape[0], inner) if right else (inner, rest.shape[1])
        pair = [residuals[level - 1], constraints[j]]
        pair_shapes = [rest_shape, shapes[j]]
        if not right:
            pair, pair_shapes = pair[::-1], pair_shapes[::-1]
        check_constraints(pair, pair_shapes)
        start = first_factors(pair_shapes, A.dtype, right, pair)
        split = descend(rest, pair, start, 1.0, right, tol, max_iter, clock, True)
        if solution is not None and split.status in EARLY:
            solution = solution._replace(status=split.status)
            break
        found = [*split.factors, *peeled] if right else [*peeled, *split.factors]
        rules = [residuals[level - 1], *constraints[j:]] if right else [*constraints[: j + 1], residuals[level - 1]]
        if solution is None:  # with two factors there is nothing more to improve together
            solution = split
        else:
            start_scale = solution.scale * split.scale
            solution = descend(A, rules, found, start_scale, right, tol, max_iter, clock)
        history.extend(solution.objective_history)
        factors = list(solution.factors)
        rest, peeled = (factors[0], factors[1:]) if right else (factors[-1], factors[:-1])
        if solution.status in EARLY:
            break
    return in_units(solution._replace(objective_history=np.array(history), n_iter=clock.n_iter), unit)
