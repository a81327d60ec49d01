"""Predictions of sparse models taken apart into the contributions of the training samples."""

import copy
import functools
import warnings
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_array, check_is_fitted

from sparsemodels.solvers.losses import negative_gradient
from sparsemodels.solvers.penalties import Box, smooth_piece, with_alpha
from sparsemodels.solvers.penalties.group import GroupNorm
from sparsemodels.solvers.penalties.repeated import Repeated
from sparsemodels.solvers.penalties.vector_functions import structure

__all__ = ["RepresenterValues", "nuclear_representer_values", "representer_values"]

_DOUBTFUL = 1e-2


class RepresenterValues(NamedTuple):
    """What each training sample contributes to each prediction, and how well the contributions add up.

    Attributes
    ----------
    values : ndarray of shape (n_samples, n_train) or (n_classes, n_samples, n_train)
        The contribution of each training sample to the linear predictor of each sample; of each class if there are more
        than two.
    offset : ndarray of shape (n_samples,) or (n_classes, n_samples)
        What is not explained by training samples: the intercept, and the features that are not penalised.
    identity_residual : float
        The certificate: the largest difference between a linear predictor and ``values.sum(axis=-1) + offset``,
        relative to the largest part that is to be explained. It vanishes for an exact solution.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sparsemodels.inspection import representer_values
    >>> from sparsemodels.linear_model import Lasso
    >>> X, y = load_diabetes(return_X_y=True)
    >>> explanation = representer_values(Lasso(alpha=0.1, tol=1e-12).fit(X, y), X, y, X[:3])
    >>> explanation.values.shape
    (3, 442)
    """

    values: np.ndarray
    offset: np.ndarray
    identity_residual: float


def representer_values(
    estimator: Any, X_train: Any, y_train: Any, X: Any, *, sample_weight: Any = None
) -> RepresenterValues:
    r"""Take predictions apart into contributions of the training samples.

    At the solution of :math:`\min_{w, b} f(X w + b) + p(w)` the slopes :math:`X_j^T \theta`, with
    :math:`\theta = -\nabla f`, equal the derivatives of the penalty on the support. So :math:`w_j = \kappa_j X_j^T
    \theta` with :math:`\kappa_j = w_j / \partial_j p(w)`, and the linear predictor of a sample x is

    .. math:: x^T w + b = b + \sum_i \underbrace{\theta_i \sum_j \kappa_j x_{ij} x_j}_{\text{value of sample } i}:

    a weight of the training sample, times its inner product with x on the support alone. For the lasso
    :math:`\kappa_j = |w_j| / (\alpha \omega_j)`, for the elastic net :math:`|w_j| / (\alpha \omega_j (\rho + (1 - \rho)
    |w_j|))`, and for the group lasso :math:`\|w_g\| / (\alpha \omega_g)`.

    Parameters
    ----------
    estimator : estimator of :mod:`sparsemodels.linear_model`
        A fitted linear model with a differentiable loss and a penalty on single features or on groups.
    X_train : {array-like, sparse matrix} of shape (n_train, n_features)
        The samples it was fitted to.
    y_train : array-like of shape (n_train,)
        Their targets.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        The samples whose predictions are to be explained.
    sample_weight : array-like of shape (n_train,), optional
        The weights it was fitted with.

    Returns
    -------
    RepresenterValues
        ``values`` of shape (n_samples, n_train) and ``offset``, which add up to the linear predictor, and
        ``identity_residual``, how well they do. A classifier of more than two classes has values for each class.

    Raises
    ------
    TypeError
        If the estimator is no linear model of this package, or its loss has no gradient, or its penalty no derivative
        on the support.
    ValueError
        If the data do not fit the estimator.

    Warns
    -----
    ConvergenceWarning
        If ``identity_residual`` exceeds 0.01: the fit is not accurate, or these are not the data it was fitted to.

    See Also
    --------
    nuclear_representer_values : The same for matrices of low rank.

    Notes
    -----
    The identity is a statement about the optimum: fit with a small `tol`, such as 1e-10. A coefficient at one of its
    bounds has the slope that the data give it, not the penalty's. Features without a penalty, and those on the flat
    part of MCP or SCAD, have no slope and go to `offset`, as the intercept does.

    References
    ----------
    C.-P. Tsai, J. Zhang, E. Chien, H.-F. Yu, C.-J. Hsieh and P. Ravikumar, "Representer point selection for
    explaining regularized high-dimensional models", ICML 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from sparsemodels.inspection import representer_values
    >>> from sparsemodels.linear_model import Lasso
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = Lasso(alpha=0.1, tol=1e-12).fit(X, y)
    >>> explanation = representer_values(model, X, y, X[:3])
    >>> bool(np.allclose(explanation.values.sum(axis=1) + explanation.offset, model.predict(X[:3])))
    True
    >>> explanation.identity_residual < 1e-6
    True
    """
    check_is_fitted(estimator)
    name = type(estimator).__name__
    if not all(hasattr(estimator, hook) for hook in ("coef_", "_penalty", "_problem", "_level")):
        raise TypeError(f"estimator must be a penalised linear model of sparsemodels.linear_model, got {name}.")
    model = copy.copy(estimator)  # validation sets attributes
    for parameter in ("alpha", "l1_ratio", "penalty_weights"):  # what cross-validation or reweighting arrived at
        if hasattr(estimator, f"{parameter}_"):
            setattr(model, parameter, getattr(estimator, f"{parameter}_"))
    if hasattr(estimator, "n_reweights") and not hasattr(estimator, "penalty_weights_"):
        raise TypeError(f"{name} does not keep its last weights: fit AdaptiveLasso at alpha=alpha_ and explain that.")
    X_train, y_train, weights = model._validate(X_train, y_train, sample_weight)
    problem = model._problem(X_train, y_train, weights)
    try:
        penalty = with_alpha(model._penalty(X_train.shape[1]), model._level(problem))
    except NotImplementedError:
        raise TypeError(f"{name} has no penalty whose derivatives could explain its coefficients.") from None
    if type(problem.loss) not in negative_gradient.registry:
        raise TypeError(f"the loss of {name} has no gradient: its dual solution cannot be read from the predictions.")
    X = check_array(X, accept_sparse=("csr", "csc"), dtype=np.float64, input_name="X")
    if X.shape[1] != X_train.shape[1]:
        raise ValueError(f"X must have {X_train.shape[1]} features, as in the fit, got {X.shape[1]}.")

    coefs = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))  # one row a class, or the only one
    intercepts = np.broadcast_to(np.asarray(estimator.intercept_, dtype=np.float64), (len(coefs),))
    slopes = penalty_slope(penalty, coefs.ravel()).reshape(coefs.shape)
    support = np.flatnonzero(coefs.any(axis=0))
    columns, rows, coefs, slopes = _dense(X_train, support), _dense(X, support), coefs[:, support], slopes[:, support]
    predictor = columns @ coefs.T + intercepts
    duals = np.asarray(negative_gradient(problem.loss, predictor.T.ravel()), dtype=np.float64).reshape(len(coefs), -1)
    lower, upper = (bound[support] for bound in _bounds(penalty, X_train.shape[1]))
    at_bound = (coefs == lower) | (coefs == upper)  # the slope is that of the penalty and of the bound
    slopes = np.where(at_bound, duals @ columns, slopes)
    explained = slopes * coefs > 0.0
    scales = np.divide(coefs, slopes, out=np.zeros(coefs.shape), where=explained)
    values = np.array([((rows * scale) @ columns.T) * dual for scale, dual in zip(scales, duals, strict=True)])
    offset = (rows @ np.where(explained, 0.0, coefs).T + intercepts).T
    residual = _identity_residual(values, (rows @ np.where(explained, coefs, 0.0).T).T)
    if len(coefs) == 1:
        values, offset = values[0], offset[0]
    if residual > _DOUBTFUL:
        warnings.warn(
            f"The values miss the predictions of {name} by {residual:.1e} of their size: fit with a smaller tol, on "
            "exactly these training data and weights.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return RepresenterValues(values, offset, residual)


@functools.singledispatch
def penalty_slope(penalty: Any, coef: np.ndarray) -> np.ndarray:
    """The derivative of a penalty at every nonzero coefficient; zero elsewhere.

    Parameters
    ----------
    penalty : NamedTuple
        The record of the penalty.
    coef : ndarray of shape (n_features,)
        The coefficients.

    Returns
    -------
    ndarray of shape (n_features,)
        The derivatives.
    """
    if structure(penalty) != "separable":
        raise TypeError(f"the penalty {type(penalty).__name__} has no derivative on the support to explain it by.")
    slope = np.zeros(coef.size)
    for j in np.flatnonzero(coef):
        slope[j] = smooth_piece(penalty, coef[j], j)[2]
    return slope


@penalty_slope.register(GroupNorm)
def _(penalty: GroupNorm, coef: np.ndarray) -> np.ndarray:
    slope = penalty_slope(penalty.l1, coef)
    for group in np.unique(penalty.group_of[coef != 0.0]):
        members = penalty.members[penalty.starts[group] : penalty.starts[group + 1]]
        norm = np.linalg.norm(coef[members])
        slope[members] += smooth_piece(penalty.norm, norm, group)[2] * coef[members] / norm
    return slope


def nuclear_representer_values(
    left: Any, singular_values: Any, right: Any, rows: Any, columns: Any, dual: Any, X: Any, *, alpha: float = 1.0
) -> RepresenterValues:
    r"""Take predictions of a matrix-completion model apart into contributions of the observed entries.

    At the solution of :math:`\min_M \sum_i \ell_i(M_{r_i c_i}) + \alpha \|M\|_*`, with the nuclear norm and the thin
    singular value decomposition :math:`M = U S V^T`, the matrix :math:`G = -\nabla L / \alpha` satisfies :math:`G V =
    U` and :math:`U^T G = V^T`. So :math:`M = \frac12 (U S U^T G + G V S V^T)`, and an entry is

    .. math:: M_{rc} = \sum_i \frac{\theta_i}{2 \alpha} \left( [c_i = c]\, (U S U^T)_{r r_i}
        + [r_i = r]\, (V S V^T)_{c c_i} \right), \qquad \theta_i = -\ell_i'(M_{r_i c_i}):

    the observed entries of the same column count by the similarity of their rows, those of the same row by the
    similarity of their columns, and no others.

    Parameters
    ----------
    left : array-like of shape (n_rows, rank)
        The left singular vectors U.
    singular_values : array-like of shape (rank,)
        The singular values.
    right : array-like of shape (n_columns, rank)
        The right singular vectors V, as columns.
    rows, columns : array-like of shape (n_observed,), int
        Where the observed entries are.
    dual : array-like of shape (n_observed,)
        The negative derivatives :math:`\theta` of the loss there; for half the sum of squares the residuals.
    X : array-like of shape (n_samples, 2), int
        The row and the column of each prediction to explain.
    alpha : float, default=1.0
        The level of the nuclear norm, > 0.

    Returns
    -------
    RepresenterValues
        ``values`` of shape (n_samples, n_observed), whose sums over the observed entries are the predictions; a zero
        ``offset``; ``identity_residual``.

    Raises
    ------
    ValueError
        If the shapes do not fit together, an index is out of range, or `alpha` is not positive.

    References
    ----------
    C.-P. Tsai, J. Zhang, E. Chien, H.-F. Yu, C.-J. Hsieh and P. Ravikumar, "Representer point selection for
    explaining regularized high-dimensional models", ICML 2023.

    Examples
    --------
    A matrix observed throughout, where the solution is the soft-thresholded singular value decomposition:

    >>> import numpy as np
    >>> from sparsemodels.inspection import nuclear_representer_values
    >>> Y = np.random.default_rng(0).standard_normal((5, 4))
    >>> U, s, Vt = np.linalg.svd(Y, full_matrices=False)
    >>> s = np.maximum(s - 1.0, 0.0)
    >>> rows, columns = np.divmod(np.arange(Y.size), 4)
    >>> residual = Y.ravel() - (U * s @ Vt).ravel()
    >>> explanation = nuclear_representer_values(U, s, Vt.T, rows, columns, residual, [[2, 3]])
    >>> bool(np.isclose(explanation.values.sum(), (U * s @ Vt)[2, 3]))
    True
    """
    U, V = check_array(left, input_name="left"), check_array(right, input_name="right")
    s = check_array(singular_values, ensure_2d=False, input_name="singular_values")
    if s.ndim != 1 or not U.shape[1] == V.shape[1] == s.size:
        raise ValueError(
            f"left, singular_values and right must have one rank, got the shapes {U.shape}, {s.shape} and {V.shape}."
        )
    if not alpha > 0.0:
        raise ValueError(f"alpha must be > 0, got {alpha!r}.")
    theta = check_array(dual, ensure_2d=False, dtype=np.float64, input_name="dual")
    r, c = _indices("rows", rows, U.shape[0]), _indices("columns", columns, V.shape[0])
    if not r.shape == c.shape == theta.shape:
        raise ValueError(
            f"rows, columns and dual must have one length, got the shapes {r.shape}, {c.shape} and {theta.shape}."
        )
    pairs = np.asarray(X)
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ValueError(f"X must have two columns, row and column of each prediction, got shape {pairs.shape}.")
    row, column = _indices("X[:, 0]", pairs[:, 0], U.shape[0]), _indices("X[:, 1]", pairs[:, 1], V.shape[0])
    alike_rows = np.where(c == column[:, np.newaxis], (U[row] * s) @ U[r].T, 0.0)
    alike_columns = np.where(r == row[:, np.newaxis], (V[column] * s) @ V[c].T, 0.0)
    values = (alike_rows + alike_columns) * (theta / (2.0 * alpha))
    predictions = np.einsum("ij,ij->i", U[row] * s, V[column])
    return RepresenterValues(values, np.zeros(row.size), _identity_residual(values, predictions))


def _indices(name: str, values: Any, size: int) -> np.ndarray:
    indices = np.asarray(values)
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        raise ValueError(f"{name} must be a vector of integers, got shape {indices.shape} of {indices.dtype}.")
    if indices.size and (indices.min() < 0 or indices.max() >= size):
        raise ValueError(f"{name} must lie in [0, {size - 1}], got values from {indices.min()} to {indices.max()}.")
    return indices


def _dense(X: Any, features: np.ndarray) -> np.ndarray:
    """Some columns of a design as a dense array in double precision."""
    columns = X[:, features]
    return np.asarray(columns.toarray() if scipy.sparse.issparse(columns) else columns, dtype=np.float64)


def _bounds(penalty: Any, n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """The bounds of the features; NaN where the penalty has none."""
    record = penalty.penalty if isinstance(penalty, Repeated) else penalty
    if isinstance(record, Box):
        return record.lower, record.upper
    return np.full(n_features, np.nan), np.full(n_features, np.nan)


def _identity_residual(values: np.ndarray, predictions: np.ndarray) -> float:
    error = np.abs(values.sum(axis=-1) - predictions).max(initial=0.0)
    size = np.abs(predictions).max(initial=0.0)
    return float(error / size) if error > 0.0 and size > 0.0 else float(error)
