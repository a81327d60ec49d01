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
    solve_subproblem,
    substitute_back,
    substitute_forward,
)
from .sparse_codes import SparseCodes
from .working_set_coding import code_on_working_sets

_FAST = {"contract", "nsz"}
_SWEEPS = 6  # before the signs are tried, if they do not settle sooner
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
def _move(sub, n, size, longest):
    """Go along ``step``, at most to the first coefficient that reaches zero; whether one did."""
    code, correlations = sub.code, sub.correlations
    length, leaves = longest, -1
    for s in range(size):
        value, step = code[sub.active[s]], sub.step[s]
        if value * step < 0.0 and abs(value) <= length * abs(step):
            length, leaves = abs(value) / abs(step), s
    for s in range(size):
        j = sub.active[s]
        change = -code[j] if s == leaves else length * sub.step[s]
        code[j] = 0.0 if s == leaves else code[j] + change
        first = j * n
        for b in range(n):
            correlations[b] -= change * sub.gram[first + b]
    return leaves >= 0


@kernel
def _reduce(sub, n, size, j):
    """Let one of dependent atoms go: along the combination of them that is zero the l1 norm can only fall.

    The factor holds `size` atoms, and below them the row of atom j, which is a combination of theirs.
    """
    code, row = sub.code, size * n
    for s in range(size):
        sub.forward[s] = sub.factor[row + s]
    substitute_back(sub, n, size)
    rise = math.copysign(1.0, code[j])
    for s in range(size):
        sub.step[s] = -sub.step[s]
        rise += math.copysign(sub.step[s], sub.step[s] * code[sub.active[s]])
    sub.active[size], sub.step[size] = j, 1.0
    falls = False
    for s in range(size + 1):
        if rise > 0.0:
            sub.step[s] = -sub.step[s]
        falls |= sub.step[s] * code[sub.active[s]] < 0.0
    if not falls:  # the norm stays as it is: either way will do
        for s in range(size + 1):
            sub.step[s] = -sub.step[s]
    return _move(sub, n, size + 1, np.inf)


@kernel
def _newton(sub, n, alpha):
    """A step towards the solution with the present signs; whether it got there.

    It stops where a coefficient would change its sign, or has made one of a set of dependent atoms zero.
    """
    code = sub.code
    size = 0
    for j in range(n):
        if code[j] != 0.0:
            if not append_active(sub, n, size, j, _PIVOT):
                return not _reduce(sub, n, size, j)
            substitute_forward(sub, n, size, size, sub.correlations[j] - math.copysign(alpha, code[j]))
            size += 1
    substitute_back(sub, n, size)
    return not _move(sub, n, size, 1.0)


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
def _gap_bound(sub, n, alpha, positive, energy):
    r"""A bound of the duality gap on a working set: :math:`\|r\|^2` of a code better than none is at most that of x.

    With :math:`x^\top r = \|r\|^2 + z^\top D^\top r` and the dual point scaled by s, the gap is
    :math:`\tfrac12 (1 - s)^2 \|r\|^2 + \alpha \|z\|_1 - s\, z^\top D^\top r`.
    """
    l1, fit = 0.0, 0.0
    for j in range(n):
        l1 += abs(sub.code[j])
        fit += sub.code[j] * sub.correlations[j]
    top = _violation(sub, n, positive)
    scale = alpha / top if top > alpha else 1.0
    return (1.0 - scale) * (1.0 - scale) * energy + alpha * l1 - scale * fit


@kernel
def descend(entries, signal, sub, n, alpha, positive, energy, gap, budget):
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
    energy : float
        Half the squared norm of the signal.
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
    sub.exact[0] = False
    limit = alpha * (1.0 + _EXACT)
    while sweeps < budget:
        for _ in range(_SWEEPS):
            changed = _sweep(entries, signal, sub, n, alpha, positive)
            sweeps += 1
            if not changed or sweeps == budget:
                break
        while not _newton(sub, n, alpha):  # every step that falls short takes an atom away
            pass
        if _violation(sub, n, positive) <= limit:
            sub.exact[0] = True
            break
        if _gap_bound(sub, n, alpha, positive, energy) <= gap:
            break
    return sweeps


@solve_subproblem.register(LassoCD)
def _(coder, entries, signal, sub, n, energy, gap, budget):
    return descend(entries, signal, sub, n, coder.alpha, coder.positive, energy, gap, budget)


def code_by_descent(
    coder: LassoCD,
    X: np.ndarray,
    dictionary: Dictionary,
    known: np.ndarray | None = None,
    start: SparseCodes | None = None,
    n_jobs: int | None = None,
) -> Coding:
    """Code signals by the lasso, with coordinate descent on working sets.

    Parameters
    ----------
    coder : LassoCD
        Penalty, tolerance and the most sweeps of a signal.
    X : ndarray of shape (n_signals, n_features), C order
        The signals, in the precision of the dictionary; zero where unknown.
    dictionary : Dictionary
        The atoms, of any norm.
    known : ndarray of shape (n_signals, n_features), bool, optional
        Which entries count; all by default.
    start : SparseCodes, optional
        Codes to begin at. One that is worse than no atom at all is passed over, so that a start never leads to a
        larger objective than its own.
    n_jobs : int, optional
        Threads over blocks of signals; the answer does not depend on them.

    Returns
    -------
    Coding
        Codes, squared residuals, duality gaps and sweeps.

    Raises
    ------
    ValueError
        If `alpha` is not positive and finite.

    Examples
    --------
    Over orthonormal atoms the lasso is the soft threshold.

    >>> import numpy as np
    >>> from sparsemodels.solvers.coders import LassoCD, dictionary
    >>> from sparsemodels.solvers.lasso_coding import code_by_descent
    >>> from sparsemodels.solvers.sparse_codes import to_dense
    >>> coding = code_by_descent(LassoCD(1.0), np.array([[3.0, 0.5, -4.0]]), dictionary(np.eye(3)))
    >>> to_dense(coding.codes), coding.certificate
    (array([[ 2.,  0., -3.]]), array([0.]))
    """
    return code_on_working_sets(coder, coder.tol, X, dictionary, known, start, n_jobs)
