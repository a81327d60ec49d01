r"""Lasso codes of many signals by coordinate descent: descent finds the signs, a Cholesky factor the values.

.. math:: \min_z \; \tfrac12 \|x - z D\|^2 + \alpha \|z\|_1

On a working set, sweeps of coordinate descent go on until one changes no sign. On those signs the lasso is a linear
system: a Newton step solves it, or goes as far as the first coefficient that would change its sign, which leaves.
Both lower the objective, so that they can alternate until the optimality conditions hold on the working set.

References
----------
J. Friedman, T. Hastie and R. Tibshirani, "Regularization paths for generalized linear models via coordinate descent",
Journal of Statistical Software 33, 2010. H. Lee, A. Battle, R. Raina and A. Y. Ng, "Efficient sparse coding
algorithms", NIPS 2006 (the step to the first change of a sign).
"""

import math

import numpy as np

from .coders import Coding, Dictionary, LassoCD
from .kernel import kernel
from .lasso_subproblem import (
    append_active,
    fill_row,
    refresh_correlations,
    solve_subproblem,
    substitute_back,
    substitute_forward,
)
from .sparse_codes import SparseCodes
from .working_set_coding import code_on_working_sets

_FAST = {"contract", "nsz"}
_SWEEPS = 4  # before the signs are tried, if they do not settle sooner
_PIVOT = 1e-13  # below this squared relative pivot atoms are dependent to the rounding of a Gram matrix
_EXACT = 1e-10  # relative violation of the optimality conditions that an exact solution may show


@kernel(fastmath=_FAST)
def _sweep(entries, signal, sub, n, alpha, positive):
    """One sweep of coordinate descent; whether it changed a sign."""
    code, correlations, gram = sub.code, sub.correlations, sub.gram
    changed = False
    for j in range(n):
        square = sub.squares[j]
        if square <= 0.0:
            continue
        old = code[j]
        raw = correlations[j] + old * square
        new = 0.0
        if raw > alpha:
            new = (raw - alpha) / square
        elif raw < -alpha and not positive:
            new = (raw + alpha) / square
        change = new - old
        if change != 0.0:
            if sub.present[j] == 0:
                fill_row(entries, signal, sub, n, j)
            code[j] = new
            first = j * n
            for b in range(n):
                correlations[b] -= change * gram[first + b]
            changed |= new * old <= 0.0
    return changed


@kernel(fastmath=_FAST)
def _newton(sub, n, alpha):
    """A step towards the solution with the present signs: 1 if it got there, 0 if it stopped short, -1 if singular."""
    code, correlations = sub.code, sub.correlations
    size = 0
    for j in range(n):
        if code[j] != 0.0:
            if not append_active(sub, n, size, j, _PIVOT):
                return -1
            substitute_forward(sub, n, size, size, correlations[j] - math.copysign(alpha, code[j]))
            size += 1
    substitute_back(sub, n, size)
    length, leaves = 1.0, -1
    for s in range(size):
        value, step = code[sub.active[s]], sub.step[s]
        if value * (value + step) <= 0.0 and -value <= length * step * (1.0 if value < 0.0 else -1.0) * 1e308:
            pass
        if value * (value + step) <= 0.0 and abs(value) <= length * abs(step):
            length, leaves = abs(value) / abs(step), s
    for s in range(size):
        j = sub.active[s]
        change = -code[j] if s == leaves else length * sub.step[s]
        code[j] = 0.0 if s == leaves else code[j] + change
        first = j * n
        for b in range(n):
            correlations[b] -= change * sub.gram[first + b]
    return 1 if leaves < 0 else 0


@kernel(fastmath=_FAST)
def _violation(sub, n, positive):
    """The largest correlation."""
    top = 0.0
    for j in range(n):
        value = sub.correlations[j] if positive else abs(sub.correlations[j])
        if value > top:
            top = value
    return top


@kernel(fastmath=_FAST)
def small_gap(sub, n, alpha, positive):
    r"""The duality gap on a working set, up to the constant that only the signal has.

    With :math:`x^\top r = \|r\|^2 + z^\top D^\top r` and the dual point scaled by s, the gap is
    :math:`\tfrac12 (1 - s)^2 \|r\|^2 + \alpha \|z\|_1 - s\, z^\top D^\top r`; this is its second part and s.
    """
    l1, fit = 0.0, 0.0
    for j in range(n):
        l1 += abs(sub.code[j])
        fit += sub.code[j] * sub.correlations[j]
    top = _violation(sub, n, positive)
    scale = alpha / top if top > alpha else 1.0
    return alpha * l1 - scale * fit, scale


@kernel
def descend(entries, signal, sub, n, alpha, positive, gap, budget):
    """Solve a lasso on a working set by coordinate descent and Newton steps on the signs it finds.

    Parameters
    ----------
    entries : GramEntries or AtomProducts
        Where rows of the Gram matrix come from.
    signal : int
        The signal, for its known entries.
    sub : Subproblem
        The problem, with the code to begin at.
    n : int
        The size of the working set.
    alpha : float
        Weight of the penalty.
    positive : bool
        Whether coefficients must be >= 0.
    gap : float
        Duality gap to reach where the atoms are dependent and no exact solution is found.
    budget : int
        The most sweeps.

    Returns
    -------
    int
        Sweeps done.
    """
    sweeps = 0
    limit = alpha * (1.0 + _EXACT)
    while sweeps < budget:
        for _ in range(_SWEEPS):
            changed = _sweep(entries, signal, sub, n, alpha, positive)
            sweeps += 1
            if not changed or sweeps == budget:
                break
        outcome = 0
        while outcome == 0:  # every step short of its aim takes an atom away
            outcome = _newton(sub, n, alpha)
        if outcome == 1:
            if _violation(sub, n, positive) <= limit:
                break
        else:
            rest, scale = small_gap(sub, n, alpha, positive)
            squared = sub.residual[0]
            if rest <= gap and (1.0 - scale) * (1.0 - scale) * squared <= gap:
                break
    return sweeps
