r"""A Newton step of a row under a beta-divergence: a quadratic model, coordinate descent on it, a safeguarded length.

With the other factor K fixed, row f of a factor minimises
:math:`\sum_j w_j d_\beta(x_j \mid f \cdot k_j) + \lambda \sum_a f_a + \frac{\rho}{2} \|f\|^2` over
:math:`0 \le f \le u`. Its quadratic model has the gradient and the Hessian matrix of the objective (where the
divergence is not convex, of its convex part),

.. math:: G = \sum_j w_j c(x_j, f \cdot k_j)\, k_j k_j^\top + \rho I,

and a model of r variables is cheap to minimise by cyclic coordinate descent, which reaches bounds and leaves them.
The full step is taken if the objective falls along all of it, which for a convex divergence the slope at its end
tells without a logarithm; otherwise it is halved until the objective is smaller.

References
----------
C.-J. Hsieh and I. S. Dhillon, "Fast coordinate descent methods with variable selection for non-negative matrix
factorization", KDD 2011 (Newton steps for single entries). L. T. K. Hien and N. Gillis, "Algorithms for nonnegative
matrix factorization with the Kullback-Leibler divergence", Journal of Scientific Computing 87, 2021.
"""

import numpy as np

from .beta_divergence import divergence_change
from .kernel import kernel

LANES = 8  # of a vector of float64
_HALVINGS = 40


@kernel
def padded(r):
    """The next multiple of a vector's length."""
    return (r + LANES - 1) // LANES * LANES


@kernel(fastmath={"contract", "nsz"})
def descend_model(hessian, gradient, f, inverse, upper, max_sweeps, delta):
    """Minimise the quadratic model of a row by coordinate descent, in place.

    Parameters
    ----------
    hessian : ndarray of shape (padded(r), padded(r)), float64
        The symmetric Hessian matrix, ridge included; zeros beyond r.
    gradient : ndarray of shape (padded(r),), float64
        The gradient at `f`; kept current.
    f : ndarray of shape (r,), float64
        The row.
    inverse : ndarray of shape (r,), float64
        Scratch.
    upper : float
        Upper bound of its entries.
    max_sweeps : int
        The most sweeps.
    delta : float
        Stop once a sweep brings less than `delta` squared of the first one's decrease.
    """
    r = f.size
    for a in range(r):
        c = hessian[a, a]
        # Where the model is linear the entry goes to its bound or stays.
        inverse[a] = 1.0 / c if c > 0.0 else (np.inf if gradient[a] > 0.0 else 0.0)
    first = 0.0
    for sweep in range(max_sweeps):
        decrease = 0.0
        for a in range(r):
            g = gradient[a]
            if g == 0.0:
                continue
            move = min(max(f[a] - g * inverse[a], 0.0), upper) - f[a]
            if move != 0.0:
                f[a] += move
                row = hessian[a]
                decrease -= move * (g + 0.5 * row[a] * move)
                for start in range(0, row.size, LANES):  # loops of a known length become single instructions
                    for lane in range(LANES):
                        gradient[start + lane] += move * row[start + lane]
        if sweep == 0:
            first = decrease
        if decrease <= delta * delta * first:
            break


@kernel(fastmath={"contract", "nsz"})
def own_steps_squared(gradient, curvatures, f, upper, beta):
    """The squared natural residual of a row: what each entry's own Newton step promises, twice.

    Under squared error it is the curvature times the squared step. Otherwise the curvature changes along the step and
    can vanish where the gradient does not (a row without any count), and it is the gradient times the step: the same
    number, unless the step ends at a bound.
    """
    total = 0.0
    for a in range(f.size):
        c, g = curvatures[a], gradient[a]
        if c > 0.0:
            move = min(max(f[a] - g / c, 0.0), upper) - f[a]
        else:
            move = -f[a] if g > 0.0 else 0.0
        if beta == 2.0:
            total += c * move * move
        elif move != 0.0:
            total -= g * move
    return total


@kernel(fastmath={"contract", "reassoc", "nsz", "arcp"})
def slope_at(x, weights, y, dy, step, beta, shared, floor):
    """The slope of the listed divergences along `dy` after a part `step` of it."""
    n = y.size
    weighted = weights.size > 0
    total = 0.0
    if beta == 1.0:
        if weighted:
            for j in range(n):
                total += weights[j] * dy[j] * (1.0 - x[j] / max(y[j] + step * dy[j], floor))
        elif shared:
            for j in range(n):
                total -= dy[j] * x[j] / max(y[j] + step * dy[j], floor)
        else:
            for j in range(n):
                total += dy[j] * (1.0 - x[j] / max(y[j] + step * dy[j], floor))
        return total
    for j in range(n):
        new = max(y[j] + step * dy[j], floor)
        if beta == 0.0:
            slope = (new - x[j]) / (new * new)
        elif beta == 2.0:
            slope = -x[j] if shared else new - x[j]
        else:
            slope = (new - x[j]) * new ** (beta - 2.0)
        total += dy[j] * slope * (weights[j] if weighted else 1.0)
    return total


@kernel
def step_length(x, weights, y, dy, linear, quadratic, beta, shared, floor, scratch, bits):
    r"""The largest of 1, 1/2, 1/4, ... by which the objective of a row falls.

    The derivative of a convex function grows, so that the function falls by at least as much as the sum of its
    slopes at the ends of two halves of the step is negative: no logarithm is needed to see most steps through.

    Parameters
    ----------
    x : ndarray of shape (n_entries,)
        Data.
    weights : ndarray of shape (n_entries,) or (0,)
        Weights of the entries.
    y, dy : ndarray of shape (n_entries,)
        Approximation (at least `floor`) and its change over the full step.
    linear, quadratic : float
        The other terms of the objective along the step t: ``linear * t + quadratic * t**2 / 2``.
    beta : float
        Which divergence.
    shared : bool
        Whether the part of the divergence that does not depend on the data is in the other terms.
    floor : float
        The smallest approximation.
    scratch, bits : ndarray
        As in :func:`~sparsemodels.solvers.beta_divergence.divergence_sum`, `scratch` with a fourth row.

    Returns
    -------
    float
        The length; 0 if the objective does not fall.
    """
    step = 1.0
    for _ in range(_HALVINGS):
        if 1.0 <= beta <= 2.0:
            end = slope_at(x, weights, y, dy, step, beta, shared, floor) + linear + step * quadratic
            if end <= 0.0:
                return step
            half = 0.5 * step
            if end + slope_at(x, weights, y, dy, half, beta, shared, floor) + linear + half * quadratic <= 0.0:
                return step
        new = scratch[3]
        for j in range(y.size):
            new[j] = max(np.float64(y[j]) + step * np.float64(dy[j]), floor)
        change, magnitude = divergence_change(x, weights, y, new, beta, shared, scratch, bits)
        rest = step * (linear + 0.5 * step * quadratic)
        if change + rest <= 1e-14 * (magnitude + abs(rest)):
            return step
        step *= 0.5
    return 0.0
