"""One separable penalty for the coefficients of each of several responses, which lie one response after the other."""

from typing import Any, NamedTuple

from .functions import (
    conjugate,
    conjugate_domain,
    conjugate_maximizer,
    critical_alpha,
    prox,
    smooth_piece,
    subdifferential_distance,
    value,
    with_alpha,
)


class Repeated(NamedTuple):
    """A separable penalty on every one of several vectors of coefficients.

    Attributes
    ----------
    penalty : NamedTuple
        The record of the penalty on one vector.
    n_features : int
        The length of a vector; coordinate `j` is feature ``j % n_features``.
    """

    penalty: Any
    n_features: int


@value.register(Repeated)
def _(penalty, coef, j):
    return value(penalty.penalty, coef, j % penalty.n_features)


@prox.register(Repeated)
def _(penalty, point, step, j):
    return prox(penalty.penalty, point, step, j % penalty.n_features)


@subdifferential_distance.register(Repeated)
def _(penalty, coef, slope, j):
    return subdifferential_distance(penalty.penalty, coef, slope, j % penalty.n_features)


@conjugate.register(Repeated)
def _(penalty, slope, j):
    return conjugate(penalty.penalty, slope, j % penalty.n_features)


@conjugate_maximizer.register(Repeated)
def _(penalty, slope, j):
    return conjugate_maximizer(penalty.penalty, slope, j % penalty.n_features)


@conjugate_domain.register(Repeated)
def _(penalty, j):
    return conjugate_domain(penalty.penalty, j % penalty.n_features)


@smooth_piece.register(Repeated)
def _(penalty, coef, j):
    return smooth_piece(penalty.penalty, coef, j % penalty.n_features)


@critical_alpha.register(Repeated)
def _(penalty, slope, j):
    return critical_alpha(penalty.penalty, slope, j % penalty.n_features)


@with_alpha.register(Repeated)
def _(penalty, alpha):
    return penalty._replace(penalty=with_alpha(penalty.penalty, alpha))
