r"""What a separable penalty can do: the generic functions that solvers call, one coordinate at a time.

A penalty is a record :math:`p(w) = \sum_j p_j(w_j)`; each function takes the record first and the coordinate's index
last. A solver checks up front, by :func:`~sparsemodels.solvers.generic.require`, that the record's class registered
what it needs; a penalty that is not convex simply registers no conjugate and is certified by its KKT residual.
"""

from ..generic import generic


@generic
def value(penalty, coef, j):
    """The penalty :math:`p_j(w)` of one coordinate; inf outside its domain."""
    raise TypeError(f"{type(penalty).__name__} registers no value")


@generic
def prox(penalty, point, step, j):
    r"""The proximal operator :math:`\arg\min_u (u - v)^2 / (2 t) + p_j(u)` at `point` v with `step` t > 0."""
    raise TypeError(f"{type(penalty).__name__} registers no prox")


@generic
def subdifferential_distance(penalty, coef, slope, j):
    r"""The distance of `slope` to the subdifferential :math:`\partial p_j(w)`: zero where the coordinate is optimal."""
    raise TypeError(f"{type(penalty).__name__} registers no subdifferential_distance")


@generic
def conjugate(penalty, slope, j):
    r"""The convex conjugate :math:`p_j^*(v) = \sup_u v u - p_j(u)`, where it is finite."""
    raise TypeError(f"{type(penalty).__name__} registers no conjugate")


@generic
def conjugate_maximizer(penalty, slope, j):
    r"""A point `u` that attains the conjugate :math:`\sup_u v u - p_j(u)`; +-inf where the supremum is at infinity."""
    raise TypeError(f"{type(penalty).__name__} registers no conjugate_maximizer")


@generic
def conjugate_domain(penalty, j):
    """The interval (lower, upper) of slopes with a finite conjugate: what a dual point must respect."""
    raise TypeError(f"{type(penalty).__name__} registers no conjugate_domain")


@generic
def smooth_piece(penalty, coef, j):
    """The piece of :math:`p_j` around a coefficient: (lower, upper, slope, curvature).

    On the open interval (lower, upper) the penalty is quadratic, with derivative `slope` at `coef` and second
    derivative `curvature`. At a kink or a bound lower == upper == coef: there the coordinate stays fixed while a
    Newton step solves for the others.
    """
    raise TypeError(f"{type(penalty).__name__} registers no smooth_piece")


@generic
def critical_alpha(penalty, slope, j):
    """The smallest level `alpha` at which a zero coefficient is optimal against `slope`; 0 if it is at any level."""
    raise TypeError(f"{type(penalty).__name__} registers no critical_alpha")


@generic
def with_alpha(penalty, alpha):
    """The same penalty at another level `alpha`; plain Python only."""
    raise TypeError(f"{type(penalty).__name__} registers no with_alpha")


SEPARABLE = {
    "value": value,
    "prox": prox,
    "subdifferential_distance": subdifferential_distance,
    "smooth_piece": smooth_piece,
}
CONJUGATE = {"conjugate": conjugate, "conjugate_domain": conjugate_domain}
PATH = {"critical_alpha": critical_alpha, "with_alpha": with_alpha}
