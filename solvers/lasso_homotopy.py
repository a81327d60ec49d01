r"""Lasso codes by least angle regression: the whole path of solutions from the empty code down to `alpha`.

.. math:: \min_z \; \tfrac12 \|x - z D\|^2 + \lambda \|z\|_1

is solved by a code that is piecewise linear in :math:`\lambda`. Between two breakpoints the atoms with nonzero
coefficients, their signs s and their Gram matrix G are fixed, and :math:`z` moves by :math:`G^{-1} s` for a unit of
:math:`\lambda`. At a breakpoint an atom whose correlation with the residual has grown to :math:`\lambda` joins, or one
whose coefficient has reached zero leaves.

References
----------
M. Osborne, B. Presnell and B. Turlach, "A new approach to variable selection in least squares problems", IMA Journal
of Numerical Analysis 20, 2000. B. Efron, T. Hastie, I. Johnstone and R. Tibshirani, "Least angle regression", Annals
of Statistics 32, 2004.
"""

from typing import NamedTuple

import numpy as np

from .coders import Coding, Dictionary, LassoLARS
from .kernel import kernel
from .lasso_coding import descend
from .lasso_subproblem import (
    GramEntries,
    append_active,
    fill_row,
    refresh_correlations,
    solve_subproblem,
    subproblem,
    substitute_back,
    substitute_forward,
)
from .working_set_coding import code_on_working_sets

_FAST = {"contract", "nsz"}
_PIVOT = 1e-13  # below this squared relative pivot an atom depends on the active ones
_PARALLEL = 1e-10  # correlations that move this much like the bound never meet it
_END = 1e-14  # of the first bound
_EXACT = 1e-10  # relative violation of the optimality conditions that an exact solution may show
_GAP = {8: 1e-15, 4: 1e-5}  # relative duality gap below which a code is exact, by the bytes of a number


@kernel(fastmath=_FAST)
def _slope(sub, n, size):
    """How the correlations of a working set fall when the active coefficients move along ``step``."""
    slope = sub.slope
    for b in range(n):
        slope[b] = 0.0
    for s in range(size):
        first, value = sub.active[s] * n, sub.step[s]
        for b in range(n):
            slope[b] += value * sub.gram[first + b]


@kernel(fastmath=_FAST)
def _next_entry(sub, n, level, length, positive, left):
    """The first atom whose correlation meets the bound within a length: the length, the atom or -1, its sign."""
    atom, sign = -1, 1
    for j in range(n):
        if sub.sides[j] == 0:
            closing = 1.0 - sub.slope[j]
            if closing > _PARALLEL and left != j + 1:
                reach = max((level - sub.correlations[j]) / closing, 0.0)
                if reach < length:
                    length, atom, sign = reach, j, 1
            closing = 1.0 + sub.slope[j]
            if not positive and closing > _PARALLEL and left != -j - 1:
                reach = max((level + sub.correlations[j]) / closing, 0.0)
                if reach < length:
                    length, atom, sign = reach, j, -1
    return length, atom, sign


@kernel
def _factorize(sub, n, size):
    """The factor of the active atoms anew; false if they are dependent."""
    for s in range(size):
        j = sub.active[s]
        if not append_active(sub, n, s, j, _PIVOT):
            return False
        substitute_forward(sub, n, size, s, np.float64(sub.sides[j]))
    return True


@kernel
def follow(entries, signal, sub, n, alpha, positive, budget, levels, codes):
    r"""Follow the path of solutions on a working set from the empty code down to `alpha`.

    Parameters
    ----------
    entries : GramEntries or AtomProducts
        Where rows of the Gram matrix come from.
    signal : int
        The signal, for its known entries.
    sub : Subproblem
        The problem; its code is written.
    n : int
        The size of the working set.
    alpha : float
        Where to stop.
    positive : bool
        Whether coefficients must be >= 0.
    budget : int
        The most steps.
    levels : ndarray of shape (n_breakpoints,), float64
        Overwritten by the values of :math:`\lambda` at the breakpoints; empty for none.
    codes : ndarray of shape (n_breakpoints * n,), float64
        Overwritten by the codes there, one behind the other.

    Returns
    -------
    n_steps : int
        Atoms that joined or left.
    level : float
        The last :math:`\lambda` for which the code is a solution.
    """
    code, correlations, sides = sub.code, sub.correlations, sub.sides
    level, entering = 0.0, -1
    for j in range(n):
        code[j] = 0.0
        correlations[j] = sub.products[j]
        sides[j] = 0
        value = correlations[j] if positive else abs(correlations[j])
        if value > level:
            level, entering = value, j
    size, steps, left = 0, 0, 0
    sign = 1 if entering < 0 or correlations[entering] > 0.0 else -1
    if levels.size > 0:
        levels[0] = level
        codes[:n] = code[:n]
    end = alpha + _END * level
    while level > alpha and steps < budget:
        if entering >= 0:
            if sub.present[entering] == 0:
                fill_row(entries, signal, sub, n, entering)
            if append_active(sub, n, size, entering, _PIVOT):
                sides[entering] = sign
                substitute_forward(sub, n, size + 1, size, np.float64(sign))
                size += 1
            else:
                sides[entering] = 2
        if size == 0:
            break
        steps += 1
        substitute_back(sub, n, size)
        _slope(sub, n, size)
        length, entering, sign = _next_entry(sub, n, level, level - alpha, positive, left)
        leaving = -1
        for s in range(size):
            j = sub.active[s]
            if sub.step[s] * sides[j] < 0.0:
                reach = max(-code[j] / sub.step[s], 0.0)
                if reach < length:
                    length, leaving, entering = reach, s, -1
        for s in range(size):
            code[sub.active[s]] += length * sub.step[s]
        for b in range(n):
            correlations[b] -= length * sub.slope[b]
        level -= length
        if level <= end:  # what little is left is rounding, at the end of a path to zero all of it
            level, entering, leaving = alpha, -1, -1
        left = 0
        if leaving >= 0:
            j = sub.active[leaving]
            left = (j + 1) * sides[j]
            code[j] = 0.0
            sides[j] = 0
            size -= 1
            for s in range(leaving, size):
                sub.active[s] = sub.active[s + 1]
            if not _factorize(sub, n, size):
                break
            for b in range(n):  # what depended on the atoms before may not any more
                if sides[b] == 2:
                    sides[b] = 0
        if steps < levels.size:
            levels[steps] = level
            codes[steps * n : (steps + 1) * n] = code[:n]
    if size > 0 and level == alpha:  # the last code anew from its signs: the errors of the steps do not add up
        for s in range(size):
            j = sub.active[s]
            substitute_forward(sub, n, size, s, sub.products[j] - alpha * sides[j])
        substitute_back(sub, n, size)
        for s in range(size):
            j = sub.active[s]
            code[j] = sub.step[s] if sub.step[s] * sides[j] > 0.0 else 0.0
        refresh_correlations(sub, n)
    return steps, level


@solve_subproblem.register(LassoLARS)
def _(coder, entries, signal, sub, n, energy, gap, budget):
    nothing = sub.step[:0]
    steps, level = follow(entries, signal, sub, n, coder.alpha, coder.positive, budget, nothing, nothing)
    top = 0.0
    for j in range(n):
        top = max(top, sub.correlations[j] if coder.positive else abs(sub.correlations[j]))
    sub.exact[0] = level <= coder.alpha and top <= coder.alpha * (1.0 + _EXACT)
    if not sub.exact[0] and steps < budget:  # ties or dependent atoms: descend from the point where the path ended
        steps += descend(entries, signal, sub, n, coder.alpha, coder.positive, energy, gap, budget - steps)
    return steps


def code_by_lars(
    coder: LassoLARS,
    X: np.ndarray,
    dictionary: Dictionary,
    known: np.ndarray | None = None,
    n_jobs: int | None = None,
) -> Coding:
    """Code signals by the lasso, with least angle regression on working sets.

    The path is followed on the atoms that correlate most with a signal; if at its end others violate the optimality
    conditions, they join and the path is followed anew. The code at `alpha` is exact, as that of a path over all
    atoms. Where ties or dependent atoms stop a path, coordinate descent goes on from there.

    Parameters
    ----------
    coder : LassoLARS
        Penalty and the most steps of a signal.
    X : ndarray of shape (n_signals, n_features), C order
        The signals, in the precision of the dictionary; zero where unknown.
    dictionary : Dictionary
        The atoms, of any norm.
    known : ndarray of shape (n_signals, n_features), bool, optional
        Which entries count; all by default. Signals with the same known entries share a Gram matrix if they are at
        least half as many as the atoms; for others only the inner products between active atoms and the working set
        are computed, and one product with the dictionary a round.
    n_jobs : int, optional
        Threads over blocks of signals; the answer does not depend on them.

    Returns
    -------
    Coding
        Codes, squared residuals, duality gaps and steps.

    Raises
    ------
    ValueError
        If `alpha` is not positive and finite.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.coders import LassoLARS, dictionary
    >>> from sparsemodels.solvers.lasso_homotopy import code_by_lars
    >>> from sparsemodels.solvers.sparse_codes import to_dense
    >>> coding = code_by_lars(LassoLARS(1.0), np.array([[3.0, 0.5, -4.0]]), dictionary(np.eye(3)))
    >>> to_dense(coding.codes), coding.n_iter
    (array([[ 2.,  0., -3.]]), array([2]))
    """
    return code_on_working_sets(coder, _GAP[X.dtype.itemsize], X, dictionary, known, None, n_jobs)


class LassoPath(NamedTuple):
    """The lasso of one signal for all penalties down to the last.

    Attributes
    ----------
    alphas : ndarray of shape (n_breakpoints,), float64
        Decreasing: the largest correlation, where the code is zero, the penalties at which atoms join or leave, and
        the last one asked for, or the last one reached.
    codes : ndarray of shape (n_breakpoints, n_atoms), float64
        The solutions there; those between are on the line from one to the next.
    """

    alphas: np.ndarray
    codes: np.ndarray


def lars_path(
    x: np.ndarray,
    dictionary: Dictionary,
    alpha_min: float = 0.0,
    *,
    positive: bool = False,
    max_iter: int | None = None,
) -> LassoPath:
    r"""The whole path of lasso codes of one signal.

    Parameters
    ----------
    x : ndarray of shape (n_features,)
        The signal.
    dictionary : Dictionary
        The atoms.
    alpha_min : float, default=0.0
        Where the path ends. At zero it is a least squares code.
    positive : bool, default=False
        Whether coefficients must be >= 0.
    max_iter : int, optional
        The most steps; eight times the smaller of the numbers of atoms and features by default.

    Returns
    -------
    LassoPath
        Breakpoints and codes. If ``alphas[-1]`` is above `alpha_min`, the steps did not suffice, or dependent atoms
        stopped the path there.

    Raises
    ------
    ValueError
        If `alpha_min` is negative or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.coders import dictionary
    >>> from sparsemodels.solvers.lasso_homotopy import lars_path
    >>> lars_path(np.array([3.0, 0.0, -4.0]), dictionary(np.eye(3)), 1.0)
    LassoPath(alphas=array([4., 3., 1.]), codes=array([[ 0.,  0.,  0.],
           [ 0.,  0., -1.],
           [ 2.,  0., -3.]]))
    """
    if not 0.0 <= alpha_min < np.inf:
        raise ValueError(f"alpha_min must be a finite number >= 0, got {alpha_min}.")
    atoms = dictionary.atoms.astype(np.float64, copy=False)
    n = atoms.shape[0]
    steps = 8 * min(atoms.shape) if max_iter is None else int(max_iter)
    sub = subproblem(n)
    sub.atoms[:] = np.arange(n)
    sub.products[:] = atoms @ x
    gram = atoms @ atoms.T
    sub.squares[:] = np.diagonal(gram)
    sub.present[:] = 0
    alphas, codes = np.empty(steps + 1), np.empty((steps + 1, n))
    taken, level = follow(GramEntries(gram), 0, sub, n, float(alpha_min), positive, steps, alphas, codes.ravel())
    if taken and level == alpha_min:
        codes[taken] = sub.code
    return LassoPath(alphas[: taken + 1].copy(), codes[: taken + 1].copy())
