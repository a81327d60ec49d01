r"""Actions on single columns that raise the evidence most: to add one, to re-estimate its variance, to delete it.

All three change one prior variance by :math:`\Delta`, hence :math:`C` by :math:`\Delta\, x_j x_j^H`, and the evidence
of L outputs by

.. math:: \tfrac{L}{2} \left( \frac{\Delta\, \overline{|q_j|^2}}{1 + \Delta z_j} - \log(1 + \Delta z_j) \right)

(twice that for complex data). With everything else held, the best variance is :math:`(\bar q^2 - \bar s) / \bar s^2` if
the relevance of the column measured without itself, :math:`\bar r = \bar q^2 / \bar s`, is above one, and zero
otherwise; here :math:`\bar s = z / (1 - \gamma z)` and :math:`\bar q^2 = \overline{|q|^2} / (1 - \gamma z)^2`.

References
----------
M. E. Tipping and A. C. Faul, "Fast marginal likelihood maximisation for sparse Bayesian models", AISTATS 2003.
"""

import numpy as np

from .kernel import kernel

EXHAUSTED, REFRESH = 0, 1
_TINY = 1e-300
_SINGULAR = 1e-13  # share of a column's variance that is left to itself, below which rounding has taken over


@kernel(fastmath={"contract", "reassoc", "nsz", "arcp"})
def take_actions(
    gram_rows,
    z,
    q,
    active,
    place,
    variances,
    covariance_rows,
    n_active,
    noise_variance,
    threshold,
    tol,
    nearness,
    least_gain,
    max_actions,
    alignment,
):
    r"""Take the action that raises the evidence most, again and again, on the columns of a working set.

    Columns that fail the test to be kept are deleted before anything else. All arrays but the first are changed.

    Parameters
    ----------
    gram_rows : ndarray of shape (n_columns, n_columns)
        The transpose of the Gram matrix of the columns.
    z : ndarray of shape (n_columns,)
        Quadratic forms of the columns under the inverse covariance of the targets.
    q : ndarray of shape (n_columns, n_outputs)
        Inner products of columns and targets under it.
    active : ndarray of int of shape (n_columns,)
        The active columns, `n_active` of them.
    place : ndarray of int of shape (n_columns,)
        Where each column stands in `active`; -1 where it does not.
    variances : ndarray of shape (n_columns,)
        Prior variances in the order of `active`.
    covariance_rows : ndarray of shape (n_columns, n_columns)
        The transpose of the posterior covariance, in the order of `active`.
    n_active : int
        The number of active columns.
    noise_variance : float
        The variance of the noise.
    threshold : float
        The relevance, at least one, that a column needs without itself.
    tol : float
        A column is added if its relevance exceeds the threshold by more than this share.
    nearness : float
        A column is re-estimated if its relevance differs from one by more than this.
    least_gain : float
        Stop at the first action that gains less than this, in units of half the number of outputs.
    max_actions : int
        The most actions.
    alignment : float
        A column is not added if its inner product with an active one is larger than this in magnitude.

    Returns
    -------
    n_active : int
        The number of active columns.
    n_actions : int
        Actions taken.
    reason : int
        `EXHAUSTED` if no action is left; `REFRESH` if the arrays are to be computed anew.
    """
    # Arrays in C order are the same type for every shape: those in Fortran order are not, and are compiled twice.
    gram, covariance = gram_rows.T, covariance_rows.T
    n_columns, n_outputs = q.shape
    column = np.empty_like(gram[:, 0])
    weight = np.empty_like(gram[:, 0])
    barred = np.zeros(n_columns, dtype=np.bool_)
    for taken in range(max_actions):
        # The best action: a forced deletion, or the largest gain.
        chosen, best_gain, step, worst, forced = -1, least_gain, 0.0, threshold, False
        for k in range(n_active):
            j = active[k]
            power = 0.0
            for m in range(n_outputs):
                power += q[j, m].real ** 2 + q[j, m].imag ** 2
            power /= n_outputs
            gamma = variances[k]
            left = 1.0 - gamma * z[j]
            if not left > _SINGULAR:
                return n_active, taken, REFRESH
            alone = power / max(z[j] * left, _TINY)
            if alone <= worst:
                chosen, worst, step, forced = j, alone, -gamma, True
            elif not forced:
                change = (power - z[j] * left) / (z[j] * z[j]) - gamma
                if abs(power / z[j] - 1.0) > nearness:
                    ratio = change * z[j]
                    gain = change * power / (1.0 + ratio) - np.log1p(ratio)
                    if gain > best_gain:
                        chosen, best_gain, step = j, gain, change
        if not forced:
            while True:
                candidate, relevance = -1, threshold * (1.0 + tol)
                for j in range(n_columns):
                    if place[j] < 0 and not barred[j] and z[j] > 0.0:
                        power = 0.0
                        for m in range(n_outputs):
                            power += q[j, m].real ** 2 + q[j, m].imag ** 2
                        if power > relevance * n_outputs * z[j]:
                            candidate, relevance = j, power / n_outputs / z[j]
                if candidate < 0 or alignment >= 1.0:
                    break
                for k in range(n_active):
                    if abs(gram[candidate, active[k]]) > alignment:
                        barred[candidate] = True
                if not barred[candidate]:
                    break
            if candidate >= 0:
                gain = relevance - 1.0 - np.log(relevance)
                if gain > best_gain:
                    chosen, best_gain = candidate, gain
                    step = (relevance - 1.0) / z[candidate]
        if chosen < 0:
            return n_active, taken, EXHAUSTED
        j, k = chosen, place[chosen]
        # The column of X^H C^-1 X, from the posterior covariance.
        if k < 0:
            for a in range(n_active):
                total = 0.0 * column[0]
                for b in range(n_active):
                    total += np.conj(covariance[b, a]) * gram[active[b], j]
                weight[a] = total / noise_variance
            for i in range(n_columns):
                column[i] = gram[i, j]
        else:
            for a in range(n_active):
                weight[a] = -covariance[a, k]
            for i in range(n_columns):
                column[i] = 0.0
        a = 0
        while a + 4 <= n_active:
            c0, c1, c2, c3 = active[a], active[a + 1], active[a + 2], active[a + 3]
            w0, w1, w2, w3 = weight[a], weight[a + 1], weight[a + 2], weight[a + 3]
            for i in range(n_columns):
                column[i] -= gram[i, c0] * w0 + gram[i, c1] * w1 + gram[i, c2] * w2 + gram[i, c3] * w3
            a += 4
        while a < n_active:
            c0, w0 = active[a], weight[a]
            for i in range(n_columns):
                column[i] -= gram[i, c0] * w0
            a += 1
        scale = 1.0 / noise_variance if k < 0 else 1.0 / (noise_variance * variances[k])
        kappa = step / (1.0 + step * z[j])
        for m in range(n_outputs):
            factor = kappa * scale * q[j, m]
            for i in range(n_columns):
                q[i, m] -= factor * column[i]
        factor_z = kappa * scale * scale
        for i in range(n_columns):
            z[i] -= factor_z * (column[i].real ** 2 + column[i].imag ** 2)
        # The posterior covariance.
        if k < 0:
            variance = kappa
            for a in range(n_active):
                for b in range(n_active):
                    covariance[b, a] += variance * weight[b] * np.conj(weight[a])
            for a in range(n_active):
                covariance[a, n_active] = -variance * weight[a]
                covariance[n_active, a] = np.conj(covariance[a, n_active])
            covariance[n_active, n_active] = variance
            active[n_active], place[j], variances[n_active] = j, n_active, step
            n_active += 1
        else:
            updated = variances[k] + step
            pivot = covariance[k, k].real
            if updated > 0.0:
                pivot -= variances[k] * updated / step
            for a in range(n_active):
                factor = np.conj(weight[a]) / pivot
                for b in range(n_active):
                    covariance[b, a] -= weight[b] * factor
            variances[k] = updated
            if not updated > 0.0:
                n_active -= 1
                last = active[n_active]
                active[k], place[last], place[j] = last, k, -1
                variances[k] = variances[n_active]
                for a in range(n_active):
                    covariance[a, k] = covariance[a, n_active]
                covariance[k, k] = covariance[n_active, n_active]
                for a in range(n_active):
                    if a != k:
                        covariance[k, a] = np.conj(covariance[a, k])
                barred[:] = False
    return n_active, max_actions, REFRESH
