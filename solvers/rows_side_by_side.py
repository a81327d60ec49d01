r"""Nonnegative least squares of sixteen rows at once, one a vector lane, each with a Gram matrix of its own.

.. math:: \min_{0 \le f \le u} \; \tfrac12 f^\top (G + \rho I) f - (b + p - \lambda)^\top f

Coordinate descent on one row is a chain of dependent steps. Side by side, sixteen rows take each step together: the
numbers of all of them for one coordinate lie next to each other in memory, and the chain is as long for sixteen as for
one.
"""

from typing import NamedTuple

import numpy as np

from .block_principal_pivoting import solve_row
from .generic import generic
from .kernel import kernel

LANES = 16  # rows swept together


class Rows(NamedTuple):
    """Sixteen rows with their problems.

    Attributes
    ----------
    G : ndarray of shape (n_components, n_components, 16), float64
        Gram matrices.
    right : ndarray of shape (n_components, 16), float64
        Right-hand sides.
    pull : ndarray of shape (n_components, 16), float64
        Linear rewards.
    f : ndarray of shape (n_components, 16), float64
        The rows.
    gradient : ndarray of shape (n_components, 16), float64
        Their gradients.
    l1, ridge, upper : ndarray of shape (16,), float64
        Penalties and bounds.
    energy : ndarray of shape (16,), float64
        The weighted sums of squared values.
    step : ndarray of shape (16,), float64
        Scratch of the sweeps.
    Q : ndarray of shape (n_components, n_components), float64
        Scratch of the exact solution, as `row` and `work`.
    row : ndarray of shape (2, n_components), float64
        Scratch.
    work : ndarray of shape (n_components + 6, n_components), float64
        Scratch.
    """

    G: np.ndarray
    right: np.ndarray
    pull: np.ndarray
    f: np.ndarray
    gradient: np.ndarray
    l1: np.ndarray
    ridge: np.ndarray
    upper: np.ndarray
    energy: np.ndarray
    step: np.ndarray
    Q: np.ndarray
    row: np.ndarray
    work: np.ndarray


def new_rows(n_components: int) -> Rows:
    """Memory for sixteen rows, all of them idle."""
    r = n_components
    wide, narrow = np.zeros((4, r, LANES)), np.zeros((5, LANES))
    return Rows(
        G=np.zeros((r, r, LANES)),
        right=wide[0],
        pull=wide[1],
        f=wide[2],
        gradient=wide[3],
        l1=narrow[0],
        ridge=narrow[1],
        upper=narrow[2],
        energy=narrow[3],
        step=narrow[4],
        Q=np.zeros((r, r)),
        row=np.zeros((2, r)),
        work=np.zeros((r + 6, r)),
    )


@kernel
def put_row(rows, lane, gram, f, terms, i):
    """Put a row into a lane.

    Parameters
    ----------
    rows : Rows
        Where to.
    lane : int
        Which lane.
    gram : ndarray of shape (height, height), float64
        The extended Gram matrix of :func:`~sparsemodels.solvers.row_grams.entry_gram`.
    f : ndarray of shape (n_components,)
        The row.
    terms : RowTerms
        The terms of all rows.
    i : int
        Which of them are the row's.
    """
    r = f.size
    G, right, lane_pull, lane_f = (
        rows.G,
        rows.right,
        rows.pull,
        rows.f,
    )  # taken out of the record once, not in the loops
    pull = terms.pull
    for a in range(r):
        for b in range(a, r):
            value = gram[a, b]
            G[a, b, lane] = value
            G[b, a, lane] = value
        right[a, lane] = gram[a, r]
        lane_f[a, lane] = f[a]
        lane_pull[a, lane] = pull[i, a] if pull.shape[0] > 0 else 0.0
    rows.energy[lane] = gram[r, r]
    rows.l1[lane], rows.ridge[lane], rows.upper[lane] = terms.l1[i], terms.ridge[i], terms.upper[i]


@kernel
def put_nothing(rows, lane):
    """Leave a lane idle: a row at its minimum."""
    G, right, pull, f = rows.G, rows.right, rows.pull, rows.f
    r = f.shape[0]
    for a in range(r):
        for b in range(r):
            G[a, b, lane] = 0.0
        right[a, lane], pull[a, lane], f[a, lane] = 0.0, 0.0, 0.0
    rows.l1[lane], rows.ridge[lane], rows.upper[lane], rows.energy[lane] = 0.0, 1.0, np.inf, 0.0


@kernel(fastmath={"contract", "reassoc", "nsz"})
def _find_gradients(rows):
    G, f, g = rows.G, rows.f, rows.gradient
    right, pull, l1, ridge = rows.right, rows.pull, rows.l1, rows.ridge
    r, lanes = f.shape
    for a in range(r):
        for lane in range(lanes):
            g[a, lane] = l1[lane] - right[a, lane] - pull[a, lane] + ridge[lane] * f[a, lane]
    for a in range(r):
        f_a = f[a]
        for b in range(r):
            g_b, G_ab = g[b], G[a, b]
            for lane in range(lanes):
                g_b[lane] += G_ab[lane] * f_a[lane]


@kernel(fastmath={"contract", "reassoc", "nsz"})
def _violation(rows):
    """The squared KKT residual: the sum of the squares of all entries' own best steps times their curvatures."""
    G, f, g, ridge, upper = rows.G, rows.f, rows.gradient, rows.ridge, rows.upper
    total = 0.0
    r, lanes = f.shape
    for a in range(r):
        for lane in range(lanes):
            curvature = G[a, a, lane] + ridge[lane]
            if curvature > 0.0:
                move = min(max(f[a, lane] - g[a, lane] / curvature, 0.0), upper[lane]) - f[a, lane]
                total += curvature * move * move
    return total


@kernel(fastmath={"contract", "reassoc", "nsz"})
def _sweep(rows, max_sweeps, delta):
    G, f, g, ridge, upper, step = rows.G, rows.f, rows.gradient, rows.ridge, rows.upper, rows.step
    r, lanes = f.shape  # lanes as a variable: a loop over a constant 16 is unrolled before it could be vectorised
    first_decrease = 0.0
    for sweep in range(max_sweeps):
        decrease = 0.0
        for a in range(r):
            f_a, g_a, diagonal = f[a], g[a], G[a, a]
            changed = 0.0
            for lane in range(lanes):
                curvature = diagonal[lane] + ridge[lane]
                old = f_a[lane]
                new = min(max(old - g_a[lane] / max(curvature, 1e-300), 0.0), upper[lane])
                # Where nothing depends on the entry, it stays; where only the l1 penalty does, it goes to zero.
                move = new - old if curvature > 0.0 or g_a[lane] > 0.0 else 0.0
                step[lane] = move
                f_a[lane] = old + move
                changed += curvature * move * move
            if changed > 0.0:
                decrease += changed
                for b in range(r):
                    g_b, G_ab = g[b], G[a, b]
                    for lane in range(lanes):
                        g_b[lane] += G_ab[lane] * step[lane]
                for lane in range(lanes):
                    g_a[lane] += ridge[lane] * step[lane]
        if sweep == 0:
            first_decrease = decrease
        if decrease <= delta * delta * first_decrease:
            return sweep + 1
    return max_sweeps


@kernel
def _solve(rows, lane):
    """Solve one lane's row exactly."""
    Q, c, f = rows.Q, rows.row[0], rows.row[1]
    G, right, pull, lane_f = rows.G, rows.right, rows.pull, rows.f
    ridge, l1 = rows.ridge[lane], rows.l1[lane]
    r = c.size
    for a in range(r):
        for b in range(r):
            Q[a, b] = G[a, b, lane]
        Q[a, a] += ridge
        c[a] = right[a, lane] + pull[a, lane] - l1
        f[a] = lane_f[a, lane]
    solve_row(Q, c, rows.upper[lane], f, rows.work)
    for a in range(r):
        lane_f[a, lane] = f[a]


class Sweeps(NamedTuple):
    """Improve rows by coordinate descent.

    Attributes
    ----------
    max_sweeps : int
        The most sweeps.
    delta : float
        Stop once a sweep lowers the objective by less than `delta` squared of what the first one did.
    """

    max_sweeps: int
    delta: float


class Pivots(NamedTuple):
    """Solve rows exactly by block principal pivoting.

    Attributes
    ----------
    rounds : int
        How many times each row is solved; one is enough.
    """

    rounds: int = 1


@generic
def improve_lanes(method, rows, width):
    """Improve the rows in the first `width` lanes, their gradients too; returns how many sweeps that took.

    The method is the first argument, a :class:`Sweeps` or a :class:`Pivots`: code that needs only one of them is
    compiled with only that.
    """
    raise TypeError(f"not a method for rows: {type(method).__name__}")


@improve_lanes.register(Sweeps)
def _(method, rows, width):
    return _sweep(rows, method.max_sweeps, method.delta)


@improve_lanes.register(Pivots)
def _(method, rows, width):
    for lane in range(width):
        _solve(rows, lane)
    _find_gradients(rows)
    return 1


@kernel
def improve_rows(method, rows, width, totals):
    """Improve the rows in all lanes in place.

    Parameters
    ----------
    method : Sweeps or Pivots
        How.
    rows : Rows
        The rows; those from lane `width` on are made idle.
    width : int
        How many lanes hold a row.
    totals : ndarray of shape (3,), float64
        Adds the squared KKT residual at entry to the second number and keeps the most sweeps in the third.
    """
    for lane in range(width, LANES):
        put_nothing(rows, lane)
    _find_gradients(rows)
    totals[1] += _violation(rows)
    totals[2] = max(totals[2], improve_lanes(method, rows, width))


@kernel
def take_row(rows, lane, f):
    """Take a row out of a lane.

    Parameters
    ----------
    rows : Rows
        Where from.
    lane : int
        Which lane.
    f : ndarray of shape (n_components,)
        The row, written.

    Returns
    -------
    float
        Its squared error, as a difference: loses digits where it is small against the row's energy.
    """
    lane_f, gradient, right, pull = rows.f, rows.gradient, rows.right, rows.pull
    l1, ridge, total = rows.l1[lane], rows.ridge[lane], rows.energy[lane]
    for a in range(f.size):
        value = lane_f[a, lane]
        plain = gradient[a, lane] - l1 - ridge * value + pull[a, lane]
        total += value * (plain - right[a, lane])
        f[a] = value
    return total
