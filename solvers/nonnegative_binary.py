r"""Nonnegative/binary matrix factorization: real nonnegative codes of the rows, binary codes of the columns.

.. math:: \min_{W \ge 0,\; H \in \{0,1\}^{r \times n}} \; \tfrac12 \sum_{ij} \omega_{ij} (x_{ij} - w_i \cdot h_j)^2
    + \tfrac\rho2 \|W\|^2 + \sum_{j} \lambda \cdot h_j

over the known entries, alternately: all rows of W exactly, by nonnegative least squares; all columns of H exactly, each
a binary quadratic problem in r bits. A code is replaced only by a better one, so that the objective never rises, and
since there are finitely many codes the alternation ends: with codes and rows of which none can be improved alone.

Two optional parts. A *baseline* :math:`\mu + a_i + b_j` with shrunken offsets is fitted along, each offset together
with its row or its code. A *prior* learns how often each bit is set: :math:`p_a` is a parameter, with the penalty
:math:`-\kappa \sum_j \log P(h_j)` of independent bits, smoothed by one pseudo-observation of each value.

A column of which nothing is known has the code zero and no influence.

References
----------
H. Terui, K. Inoue, Y. Hamakawa, K. Tatsumura and K. Kudo, "Collaborative filtering based on nonnegative/binary matrix
factorization", Frontiers in Big Data 8, 2025, arXiv:2410.10381 (masked, the codes found by an Ising machine).
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .anderson import Anderson
from .observed_matrix import MostEntries, ObservedMatrix, SomeEntries, power_sum, shape, total_weight, transposed
from .offset_rows import Side, improve_codes, improve_offsets, improve_rows
from .row_update import squared_error

_MAX_PASSES = 100  # over rows and offsets before the codes are looked at again

Minimize = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class BinaryPenalty(NamedTuple):
    """Regularisation of a nonnegative/binary factorization.

    Attributes
    ----------
    ridge : float
        Weight of half the squared norm of the nonnegative factor.
    shrinkage : float
        Weight of half the squared offsets, in known entries: an offset over n of them is multiplied by
        ``n / (n + shrinkage)``. None for a model without a baseline.
    prior_strength : float
        Weight of the negative log-probability of the bits; 0 for no prior.
    """

    ridge: float = 0.0
    shrinkage: float | None = None
    prior_strength: float = 0.0


class NonnegativeBinary(NamedTuple):
    """A nonnegative/binary factorization with its certificate.

    Attributes
    ----------
    W : ndarray of shape (n_rows, n_components)
        The nonnegative factor.
    codes : ndarray of shape (n_columns, n_components), uint8
        The binary factor, transposed.
    row_offset, column_offset : ndarray of shape (n_rows,), (n_columns,); or (0,)
        The offsets of the baseline.
    mean : float
        Its mean; 0 without a baseline.
    shares : ndarray of shape (n_components,)
        The probability of each bit; the smoothed share of columns where it is set.
    objective : float
        The objective.
    objective_history : ndarray of shape (n_iter,)
        The objective after every iteration; it never rises.
    kkt : float
        How far the continuous part is from optimal for the codes: the root of the sum of curvature times squared best
        step over its coordinates, relative to the norm of the known entries.
    n_changed : int
        Codes that the last iteration replaced.
    n_inexact : int
        Codes of which it is not proved that none is better, the nonnegative factor fixed.
    n_iter : int
        Iterations of the start that won.
    status : str
        ``"converged"`` (no code was replaced and `kkt` <= `tol`), ``"max_iter"``, ``"time_limit"``, ``"stopped"`` by
        `on_iteration`, or ``"interrupted"``.
    """

    W: np.ndarray
    codes: np.ndarray
    row_offset: np.ndarray
    column_offset: np.ndarray
    mean: float
    shares: np.ndarray
    objective: float
    objective_history: np.ndarray
    kkt: float
    n_changed: int
    n_inexact: int
    n_iter: int
    status: str


def known_in_rows(matrix: ObservedMatrix) -> np.ndarray:
    """Whether anything is known of each row."""
    if isinstance(matrix, SomeEntries):
        return np.diff(matrix.rows.indptr) > 0
    if isinstance(matrix, MostEntries):
        return np.diff(matrix.unknown_rows.indptr) < shape(matrix)[1]
    return np.ones(shape(matrix)[0], dtype=bool)


def bit_prices(shares: np.ndarray, known: np.ndarray, penalty: BinaryPenalty) -> np.ndarray:
    """What a set bit costs in each column, by the prior: nothing where nothing is known, so that the code stays.

    Parameters
    ----------
    shares : ndarray of shape (n_components,)
        The probability of each bit.
    known : ndarray of bool of shape (n_columns,)
        Whether anything is known of each column.
    penalty : BinaryPenalty
        The strength of the prior.

    Returns
    -------
    ndarray of shape (n_components,) or (n_columns, n_components)
        The prices.
    """
    price = penalty.prior_strength * (np.log1p(-shares) - np.log(shares)) if penalty.prior_strength else 0.0 * shares
    return price if known.all() or not penalty.prior_strength else known[:, None] * price


def _prior(codes: np.ndarray, known: np.ndarray, strength: float) -> tuple[np.ndarray, float]:
    """The best probabilities of the bits, and the negative log-probability of the codes under them."""
    n_known = np.count_nonzero(known)
    ones = codes[known].sum(axis=0, dtype=np.float64)
    shares = (ones + 1.0) / (n_known + 2.0)
    if strength == 0.0:
        return shares, 0.0
    return shares, -strength * float(np.sum((ones + 1.0) * np.log(shares) + (n_known - ones + 1.0) * np.log1p(-shares)))


def _ridges(rows: Side, columns: Side, penalty: BinaryPenalty, with_columns: bool = True) -> float:
    value = 0.5 * penalty.ridge * float(np.vdot(rows.factor, rows.factor))
    if penalty.shrinkage is not None:
        squares = np.vdot(rows.offset, rows.offset)
        if with_columns:
            squares += np.vdot(columns.offset, columns.offset)
        value += 0.5 * penalty.shrinkage * float(squares)
    return value


def half_squared_error(matrix: ObservedMatrix, rows: Side, columns: Side, mean: float) -> float:
    """Half the weighted squared error over the known entries, summed entry by entry.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        The matrix.
    rows, columns : Side
        The two sides of the model.
    mean : float
        The mean of the baseline.

    Returns
    -------
    float
        The loss.
    """
    F, K = rows.factor, columns.factor.astype(np.float64)
    if rows.offset.size:
        F = np.column_stack([F, rows.offset + mean, np.ones(len(F))])
        K = np.column_stack([K, np.ones(len(K)), columns.offset])
    return 0.5 * squared_error(matrix, np.ascontiguousarray(F), np.ascontiguousarray(K))


def alternate_exactly(
    matrix: ObservedMatrix,
    codes: np.ndarray,
    penalty: BinaryPenalty,
    minimize: Minimize,
    *,
    tol: float = 1e-6,
    max_iter: int = 100,
    deadline: float = np.inf,
    on_iteration: Callable[[int, float], bool] | None = None,
    n_jobs: int | None = None,
) -> NonnegativeBinary:
    """Alternate from given codes until no code and no row can be improved alone.

    Parameters
    ----------
    matrix : DenseMatrix, SparseMatrix, MostEntries or SomeEntries
        What is known of the matrix; its rows get the nonnegative factor.
    codes : ndarray of shape (n_columns, n_components)
        Where to start: zeros and ones; not changed.
    penalty : BinaryPenalty
        Ridge, baseline and prior.
    minimize : callable
        ``minimize(Q, c, start)`` for the binary problems, as in
        :func:`~sparsemodels.solvers.offset_rows.improve_codes`.
    tol : float, default=1e-6
        The largest `kkt` at convergence.
    max_iter : int, default=100
        The most iterations; each improves both factors.
    deadline : float, default=inf
        When to stop, in seconds of ``time.monotonic()``.
    on_iteration : callable, optional
        Called with the number of iterations and the objective; stops by returning True.
    n_jobs : int, optional
        Threads over blocks of rows or columns; the answer does not depend on them.

    Returns
    -------
    NonnegativeBinary
        The factorization and its certificate.
    """
    flipped = transposed(matrix)
    (n_rows, n_columns), r = shape(matrix), codes.shape[1]
    energy, weight = power_sum(matrix, 2.0), total_weight(matrix)
    scale = energy if energy > 0.0 else 1.0
    known = known_in_rows(flipped)
    baseline = penalty.shrinkage is not None
    shrinkage = penalty.shrinkage or 0.0
    rows = Side(np.zeros((n_rows, r)), np.zeros(n_rows if baseline else 0))
    columns = Side(np.array(codes, dtype=np.uint8, order="C"), np.zeros(n_columns if baseline else 0))
    columns.factor[~known] = 0
    mean, shares = 0.0, _prior(columns.factor, known, 0.0)[0]

    def improve_w(mean: float, update: bool = True) -> tuple[float, float]:
        """The relative residual at entry, and by how much the mean is off afterwards."""
        step = improve_rows(
            matrix, rows, columns, mean, ridge=penalty.ridge, shrinkage=shrinkage, update=update, n_jobs=n_jobs
        )
        shift = step.residual_sum / weight if baseline and weight > 0.0 else 0.0
        return float(np.sqrt((step.kkt_squared + weight * shift**2) / scale)), shift

    def improve_continuous_part(mean: float) -> float:
        """Everything but the codes: exactly without a baseline, else until the residual has fallen tenfold."""
        if not baseline:
            improve_w(mean)
            return mean
        # Rows and offsets compete for the same part of the data: alternating between them converges slowly, and
        # linearly, which is what Anderson's extrapolation is for.
        anderson, plain = Anderson(n_columns + 1), np.append(columns.offset, mean)
        target, best = 0.5 * tol, np.inf
        for k in range(_MAX_PASSES):
            kkt, shift = improve_w(mean)
            mean += shift
            value = improve_offsets(flipped, columns, rows, mean, shrinkage=shrinkage, n_jobs=n_jobs)
            value += _ridges(rows, columns, penalty, with_columns=False)
            if value > best:  # the extrapolated offsets were worse
                mean, columns.offset[:] = plain[-1], plain[:-1]
                best = np.inf
                continue
            if k == 0:
                target = max(target, 0.1 * kkt)
            if kkt <= target or time.monotonic() > deadline:
                break
            best, plain = value, np.append(columns.offset, mean)
            limit = anderson.push(plain)
            if limit is not None and k + 1 < _MAX_PASSES:
                mean, columns.offset[:] = limit[-1], limit[:-1]
        return mean

    history: list[float] = []
    n_iter, n_changed, n_inexact, status = 0, n_columns, n_columns, "max_iter"
    try:
        if baseline:
            mean = improve_w(mean, update=False)[1]
        while n_iter < max_iter:
            mean = improve_continuous_part(mean)
            price = bit_prices(shares, known, penalty)
            step = improve_codes(
                flipped, columns, rows, mean,
                price=price, shrinkage=shrinkage, energy=energy, minimize=minimize,
            )  # fmt: skip
            n_changed, n_inexact = step.n_changed, step.n_inexact
            paid = float(np.sum(price * columns.factor)) if penalty.prior_strength else 0.0
            shares, prior = _prior(columns.factor, known, penalty.prior_strength)
            n_iter += 1
            history.append(step.loss - paid + prior + _ridges(rows, columns, penalty, with_columns=False))
            late = time.monotonic() > deadline  # codes may then be unchanged because nobody looked at them
            if n_changed == 0 and not (late and n_inexact) and improve_w(mean, update=False)[0] <= tol:
                status = "converged"
                break
            if late:
                status = "time_limit"
                break
            if on_iteration is not None and on_iteration(n_iter, history[-1]):
                status = "stopped"
                break
    except KeyboardInterrupt:
        status = "interrupted"
    kkt = improve_w(mean, update=False)[0]
    objective = half_squared_error(matrix, rows, columns, mean) + _ridges(rows, columns, penalty)
    objective += _prior(columns.factor, known, penalty.prior_strength)[1]
    return NonnegativeBinary(
        rows.factor, columns.factor, rows.offset, columns.offset, mean, shares, objective, np.array(history), kkt,
        n_changed, n_inexact, n_iter, status,
    )  # fmt: skip
