"""One design for several responses: a block-diagonal matrix that is never formed."""

from typing import Any, NamedTuple

from .columns import column_axpy, column_dot, shape


class Responses(NamedTuple):
    """The block-diagonal matrix of as many copies of a design as there are responses.

    Vectors of predictors and of coefficients lie one response after the other.

    Attributes
    ----------
    design : ndarray or SparseColumns of shape (n, p)
        The design.
    n_responses : int
        The number of responses.
    """

    design: Any
    n_responses: int


@shape.register(Responses)
def _(X):
    n, p = shape(X.design)
    return n * X.n_responses, p * X.n_responses


@column_dot.register(Responses)
def _(X, j, vector):
    n, p = shape(X.design)
    start = (j // p) * n
    return column_dot(X.design, j % p, vector[start : start + n])


@column_axpy.register(Responses)
def _(X, j, scale, vector):
    n, p = shape(X.design)
    start = (j // p) * n
    column_axpy(X.design, j % p, scale, vector[start : start + n])
