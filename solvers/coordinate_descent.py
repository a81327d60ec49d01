"""Coordinate descent on a quadratic model, by its Gram matrix or by its columns, for any separable penalty."""

from .columns import column_axpy, column_dot
from .kernel import kernel
from .penalties.functions import prox

# A column of norm zero gets a step so long that its penalty alone decides.
_TINY = 1e-150


@kernel
def gram_epochs(gram, scale, coef, slope, penalty, features, n_epochs):
    """Cyclic coordinate descent on a quadratic model given by the Gram matrix of its unit columns.

    A coordinate that stays put costs O(1), one that moves a pass over its row of the Gram matrix.

    Parameters
    ----------
    gram : ndarray of shape (>= m, >= m), C order
        The symmetric Gram matrix of columns divided by their norms, in its first m rows and columns.
    scale : ndarray of shape (m,)
        The norms of the columns; zero for a zero column.
    coef : ndarray of shape (m,)
        The coefficients of the original columns, updated in place.
    slope : ndarray of shape (m,)
        Minus the model's gradient with respect to the coefficients of the unit columns, updated in place.
    penalty : NamedTuple
        The penalty's record.
    features : ndarray of shape (m,), int64
        The penalty's index of each coordinate.
    n_epochs : int
        The number of passes; fewer are made if a pass moves nothing.

    Returns
    -------
    int
        The number of coordinates that moved in the last pass.
    """
    m = features.size
    moved = 0
    for _ in range(n_epochs):
        moved = 0
        for k in range(m):
            norm = max(scale[k], _TINY)
            old = coef[k]
            new = prox(penalty, old + slope[k] / norm, 1.0 / (norm * norm), features[k])
            if new != old:
                moved += 1
                coef[k] = new
                change = (new - old) * scale[k]
                row = gram[k]  # of a C-ordered matrix: contiguous, so the loop below runs in vector registers
                for i in range(m):
                    slope[i] -= change * row[i]
        if moved == 0:
            break
    return moved


@kernel
def column_epochs(columns, scale, coef, residual, penalty, features, active, n_epochs):
    """Cyclic coordinate descent on a quadratic model given by its unit columns, with the residual kept current.

    Parameters
    ----------
    columns : ndarray or CenteredColumns of shape (n, m)
        The columns of the working set, divided by their norms.
    scale : ndarray of shape (m,)
        The norms of the columns; zero for a zero column.
    coef : ndarray of shape (m,)
        The coefficients of the original columns, updated in place.
    residual : ndarray of shape (n,)
        The residual of the model, updated in place.
    penalty : NamedTuple
        The penalty's record.
    features : ndarray of shape (m,), int64
        The penalty's index of each column.
    active : ndarray of int64
        The columns to visit, in this order.
    n_epochs : int
        The number of passes.
    """
    for _ in range(n_epochs):
        for k in active:
            norm = max(scale[k], _TINY)
            old = coef[k]
            point = old + column_dot(columns, k, residual) / norm
            new = prox(penalty, point, 1.0 / (norm * norm), features[k])
            if new != old:
                coef[k] = new
                column_axpy(columns, k, (old - new) * scale[k], residual)
