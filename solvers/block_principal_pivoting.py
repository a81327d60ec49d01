r"""Nonnegative least squares solved exactly, many rows with one Gram matrix: block principal pivoting.

A row's problem :math:`\min_{0 \le f \le u} \tfrac12 f^\top Q f - c^\top f` splits its coordinates into those at zero,
at the upper bound and free. With the free ones at their least-squares values, a coordinate that is infeasible, or whose
gradient has the wrong sign, is put into the wrong set; all of them are exchanged at once as long as their number
falls, and only the last one (Murty's rule, which cannot cycle) once it has failed to fall three times.

References
----------
J. Kim and H. Park, "Fast nonnegative matrix factorization: an active-set-like method and comparisons", SIAM Journal on
Scientific Computing 33, 2011. J. J. Judice and F. M. Pires, "A block principal pivoting algorithm for large-scale
strictly monotone linear complementarity problems", Computers and Operations Research 21, 1994.
"""

import numpy as np

from .kernel import kernel

_FULL_EXCHANGES = 3  # without progress, before exchanges of one coordinate


@kernel
def _solve_free(Q, target, free, n_free, factor, solution):
    """Solve the free coordinates by a Cholesky factorization; False where the matrix is singular to precision."""
    for s in range(n_free):
        i = free[s]
        for t in range(s + 1):
            value = Q[i, free[t]]
            for k in range(t):
                value -= factor[s, k] * factor[t, k]
            if s == t:
                if value <= 1e-13 * Q[i, i] or value <= 0.0:
                    return False
                factor[s, s] = np.sqrt(value)
            else:
                factor[s, t] = value / factor[t, t]
    for s in range(n_free):
        value = target[s]
        for k in range(s):
            value -= factor[s, k] * solution[k]
        solution[s] = value / factor[s, s]
    for s in range(n_free - 1, -1, -1):
        value = solution[s]
        for k in range(s + 1, n_free):
            value -= factor[k, s] * solution[k]
        solution[s] = value / factor[s, s]
    return True


@kernel
def _pivot(Q, c, upper, f, scale, state, free, target, factor, solution, trial, gradient):
    """One row; its support is the first guess. False where a free block is singular or the exchanges do not end."""
    r = c.size
    for a in range(r):
        state[a] = 0 if f[a] <= 0.0 else (2 if f[a] >= upper else 1)
        if Q[a, a] <= 0.0:
            state[a] = 0
    fewest, patience = r + 1, _FULL_EXCHANGES
    for _ in range(100 + 20 * r):
        n_free = 0
        for a in range(r):
            if state[a] == 1:
                free[n_free] = a
                n_free += 1
            trial[a] = upper if state[a] == 2 else 0.0
        for s in range(n_free):
            value = c[free[s]]
            for b in range(r):
                if state[b] == 2:
                    value -= Q[free[s], b] * upper
            target[s] = value
        if not _solve_free(Q, target, free, n_free, factor, solution):
            return False
        for s in range(n_free):
            trial[free[s]] = solution[s]
        wrong, last = 0, -1
        for a in range(r):
            value = -c[a]
            for b in range(r):
                value += Q[a, b] * trial[b]
            gradient[a] = value
            if Q[a, a] <= 0.0:
                continue
            slack = 1e-14 * scale / np.sqrt(Q[a, a])  # in the units of the entry
            if (
                (state[a] == 1 and (trial[a] < -slack or trial[a] > upper + slack))
                or (state[a] == 0 and value < -slack * Q[a, a])
                or (state[a] == 2 and value > slack * Q[a, a])
            ):
                wrong += 1
                last = a
        if wrong == 0:
            for a in range(r):
                if Q[a, a] > 0.0:
                    f[a] = min(max(trial[a], 0.0), upper)
            return True
        if wrong < fewest:
            fewest, patience, whole = wrong, _FULL_EXCHANGES, True
        else:
            patience -= 1
            whole = patience >= 0
        for a in range(r):
            if Q[a, a] <= 0.0 or (not whole and a != last):
                continue
            slack = 1e-14 * scale / np.sqrt(Q[a, a])
            if state[a] == 1:
                if trial[a] < -slack:
                    state[a] = 0
                elif trial[a] > upper + slack:
                    state[a] = 2
            elif (state[a] == 0 and gradient[a] < -slack * Q[a, a]) or (
                state[a] == 2 and gradient[a] > slack * Q[a, a]
            ):
                state[a] = 1
    return False


@kernel
def _descend(Q, c, upper, f, gradient, scale):
    """Coordinate descent to precision, for the rare row whose free block is singular."""
    r = c.size
    for _ in range(100_000):
        for a in range(r):  # anew in every sweep: no drift
            gradient[a] = -c[a]
            for b in range(r):
                gradient[a] += Q[a, b] * f[b]
        largest = 0.0
        for a in range(r):
            if Q[a, a] > 0.0:
                move = min(max(f[a] - gradient[a] / Q[a, a], 0.0), upper) - f[a]
                if move != 0.0:
                    f[a] += move
                    for b in range(r):
                        gradient[b] += Q[a, b] * move
                    largest = max(largest, np.sqrt(Q[a, a]) * abs(move))
        if largest <= 1e-14 * scale:
            return


@kernel
def solve_row(Q, c, upper, f, work):
    """Solve one row exactly, in place, from the support that it has.

    Parameters
    ----------
    Q : ndarray of shape (n_components, n_components), float64
        The quadratic term, symmetric and positive semidefinite.
    c : ndarray of shape (n_components,), float64
        The linear term.
    upper : float
        The upper bound of the entries.
    f : ndarray of shape (n_components,), float64
        The row, changed in place. A coordinate on which nothing depends keeps its value.
    work : ndarray of shape (n_components + 6, n_components), float64
        Scratch; its content means nothing.
    """
    r = c.size
    factor, free, state = work[:r], work[r], work[r + 1]
    target, solution, trial, gradient = work[r + 2], work[r + 3], work[r + 4], work[r + 5]
    scale = 0.0
    for a in range(r):
        if Q[a, a] <= 0.0 and c[a] < 0.0:
            f[a] = 0.0
        elif Q[a, a] > 0.0:
            scale = max(scale, abs(c[a]) / np.sqrt(Q[a, a]))
    free_index = free.view(np.int64)
    sets = state.view(np.int64)
    if not _pivot(Q, c, upper, f, scale, sets, free_index, target, factor, solution, trial, gradient):
        _descend(Q, c, upper, f, gradient, scale)


@kernel
def pivot_rows(G, B, F, l1, ridge, upper, pull):
    """Solve all rows that share a Gram matrix, in place; the arguments are those of ``sweep_rows``."""
    n_rows, r = F.shape
    Q = G.copy()
    c = np.empty(r)
    f = np.empty(r)
    work = np.empty((r + 6, r))
    for i in range(n_rows):
        for a in range(r):
            Q[a, a] = G[a, a] + ridge[i]
            c[a] = B[i, a] - l1[i]
            if pull.shape[0] > 0:
                c[a] += pull[i, a]
            f[a] = F[i, a]
        solve_row(Q, c, upper[i], f, work)
        for a in range(r):
            F[i, a] = f[a]
