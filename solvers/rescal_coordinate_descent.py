r"""Coordinate descent for nonnegative RESCAL: :math:`X_t \approx A R_t A^\top`, one exact step at a time.

With all relations of an entity side by side in a row of L (:mod:`~sparsemodels.solvers.relational_slices`) and
:math:`K = [A R_0^\top; A R_0; A R_1^\top; A R_1; \dots]`, the model is :math:`L \approx A K^\top`: a factorization
whose second factor follows from the first. Row i of A meets itself in the diagonal entries alone. So, for fixed other
rows, the objective is a quadratic of :math:`a_i` plus the squares of T quadratic forms, and along one coordinate a
polynomial of degree four, which is minimised exactly: no step sizes, and never uphill. For a fixed A the slices are
nonnegative least squares problems with the Hessian :math:`A^\top A \otimes A^\top A`, which is never formed.

A sweep over all entities costs as much as one product with the tensor. The derivation is our own.
"""

import numpy as np

from .kernel import kernel
from .quartic import minimise_quartic
from .relational_slices import link_product, link_value


def linked_factor(A: np.ndarray, R: np.ndarray) -> np.ndarray:
    r"""The second factor of L.

    Parameters
    ----------
    A : ndarray of shape (n_entities, n_components)
        The factors of the entities.
    R : ndarray of shape (n_slices, n_components, n_components)
        The relations.

    Returns
    -------
    ndarray of shape (2 * n_slices * n_entities, n_components)
        :math:`A R_t^\top` above :math:`A R_t`, slice after slice.
    """
    both = np.stack([R.transpose(0, 2, 1), R], axis=1)
    return np.ascontiguousarray((A @ both).reshape(-1, A.shape[1]))


@kernel
def sweep_entities(links, A, R, K, S, n_row_sweeps):
    r"""Coordinate descent over all entities, one row of A after the other, every coordinate minimised exactly.

    Parameters
    ----------
    links : DenseLinks or SparseLinks
        The record of L.
    A : ndarray of shape (n_entities, n_components)
        The factors, changed in place.
    R : ndarray of shape (n_slices, n_components, n_components)
        The relations.
    K : ndarray of shape (2 * n_slices * n_entities, n_components)
        :func:`linked_factor`, kept current.
    S : ndarray of shape (n_components, n_components)
        :math:`K^\top K`, kept current.
    n_row_sweeps : int
        Sweeps over the coordinates of each row.

    Returns
    -------
    float
        The sum over all coordinates of curvature times squared step in the first sweep of each row: near
        convergence, the squared KKT residual.
    """
    n_entities, k = A.shape
    n_slices = R.shape[0]
    b = np.zeros(k)
    Q = np.zeros((k, k))
    row = np.zeros(k)
    values = np.zeros(n_slices)  # the diagonal entries
    forms = np.zeros(n_slices)  # a_i^T R_t a_i
    known = np.zeros(n_slices, dtype=np.bool_)
    moved = 0.0
    for i in range(n_entities):
        link_product(links, i, K, b)
        Q[:] = S
        start, stop = links.unknown_start[i], links.unknown_start[i + 1]
        known[:] = True
        if 2 * (stop - start) <= K.shape[0]:
            for entry in range(start, stop):
                _add_outer(Q, K[links.unknown[entry]], -1.0)
        else:  # a small rest of a large sum: add up the rest itself
            Q[:] = 0.0
            entry = start
            for c in range(K.shape[0]):
                if entry < stop and links.unknown[entry] == c:
                    entry += 1
                else:
                    _add_outer(Q, K[c], 1.0)
        for entry in range(start, stop):
            c = links.unknown[entry]
            if c % n_entities == i:
                known[c // (2 * n_entities)] = False
        # Take the diagonal entries out: they are no linear function of the row.
        for t in range(n_slices):
            values[t] = 0.0
            if known[t]:
                values[t] = link_value(links, i, 2 * t * n_entities + i)
                for side in range(2):
                    c = (2 * t + side) * n_entities + i
                    _add_outer(Q, K[c], -1.0)
                    for a in range(k):
                        b[a] -= values[t] * K[c, a]
        row[:] = A[i]
        for t in range(n_slices):
            forms[t] = 0.0
            for a in range(k):
                for c in range(k):
                    forms[t] += row[a] * R[t, a, c] * row[c]
        for sweep in range(n_row_sweeps):
            change = 0.0
            for a in range(k):
                # The objective as a function of the change d of the coordinate: c1 d + c2 d^2 + c3 d^3 + c4 d^4.
                c1, c2, c3, c4 = -b[a], 0.5 * max(Q[a, a], 0.0), 0.0, 0.0
                for c in range(k):
                    c1 += Q[a, c] * row[c]
                curvature = max(Q[a, a], 0.0)
                for t in range(n_slices):
                    if known[t]:
                        slope = 0.0
                        for c in range(k):
                            slope += (R[t, a, c] + R[t, c, a]) * row[c]
                        bend, error = R[t, a, a], forms[t] - values[t]
                        c1 += error * slope
                        c2 += 0.5 * slope * slope + error * bend
                        c3 += slope * bend
                        c4 += 0.5 * bend * bend
                        curvature += slope * slope
                d = minimise_quartic(c1, c2, c3, c4, -row[a])
                if d != 0.0:
                    for t in range(n_slices):
                        slope = 0.0
                        for c in range(k):
                            slope += (R[t, a, c] + R[t, c, a]) * row[c]
                        forms[t] += d * slope + d * d * R[t, a, a]
                    row[a] = max(row[a] + d, 0.0)
                    change += curvature * d * d
            if sweep == 0:
                moved += change
        for t in range(n_slices):
            for side in range(2):
                c = (2 * t + side) * n_entities + i
                _add_outer(S, K[c], -1.0)
                for a in range(k):
                    total = 0.0
                    for other in range(k):
                        total += (R[t, a, other] if side == 0 else R[t, other, a]) * row[other]
                    K[c, a] = total
                _add_outer(S, K[c], 1.0)
        A[i] = row
    return moved


@kernel
def _add_outer(Q, v, sign):
    for a in range(v.size):
        for c in range(v.size):
            Q[a, c] += sign * v[a] * v[c]


@kernel
def sweep_relations(G, gradient, R, symmetric):
    r"""One sweep of coordinate descent over the relations of all slices, in place.

    Lowers :math:`\tfrac12 \langle G R_t G, R_t \rangle - \langle M_t, R_t \rangle` over :math:`R_t \ge 0`, with
    :math:`M_t = A^\top X_t A`.

    Parameters
    ----------
    G : ndarray of shape (n_components, n_components)
        :math:`A^\top A`.
    gradient : ndarray of shape (n_slices, n_components, n_components)
        :math:`G R_t G - M_t`, kept current.
    R : ndarray of shape (n_slices, n_components, n_components)
        The relations, changed in place.
    symmetric : bool
        Whether entries (a, c) and (c, a) move together.

    Returns
    -------
    float
        The sum over all coordinates of curvature times squared step.
    """
    n_slices, k, _ = R.shape
    moved = 0.0
    for t in range(n_slices):
        for a in range(k):
            for c in range(a if symmetric else 0, k):
                curvature, slope = G[a, a] * G[c, c], gradient[t, a, c]
                if symmetric and c != a:
                    curvature, slope = 2.0 * (curvature + G[a, c] ** 2), slope + gradient[t, c, a]
                if curvature <= 0.0:
                    continue
                old = R[t, a, c]
                new = max(old - slope / curvature, 0.0)
                d = new - old
                if d == 0.0:
                    continue
                moved += curvature * d * d
                R[t, a, c] = new
                for p in range(k):
                    for q in range(k):
                        gradient[t, p, q] += d * G[p, a] * G[c, q]
                if symmetric and c != a:
                    R[t, c, a] = new
                    for p in range(k):
                        for q in range(k):
                            gradient[t, p, q] += d * G[p, c] * G[a, q]
    return moved
