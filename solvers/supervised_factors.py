r"""The factors of supervised dictionary learning: codes, atoms and the classifier on them.

From the column space that the lifted problem ends in the factors follow up to a change of basis of the codes. The one
taken here is that of principal axes: atoms are orthonormal, codes are uncorrelated about zero, in the order of what
they reconstruct, and the largest entry of an atom is positive.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from .block_principal_pivoting import pivot_rows
from .supervised_dictionary import Classified, SupervisedProblem

_NOTHING = 1e-10  # relative size of a reconstruction, below which an atom explains labels alone


class Factors(NamedTuple):
    """A dictionary and a classifier.

    Attributes
    ----------
    components : ndarray of shape (n_components, n_features)
        The atoms.
    codes : ndarray of shape (n_samples, n_components)
        The codes of the training data.
    code_coef : ndarray of shape (n_components, n_columns)
        The classifier's coefficients: of the codes in the feature model, of the products of samples with atoms in the
        filter model.
    offset_coef : ndarray of shape (n_offsets, n_columns)
        Its coefficients of covariates and intercept.
    """

    components: np.ndarray
    codes: np.ndarray
    code_coef: np.ndarray
    offset_coef: np.ndarray


def signed(factors: Factors) -> Factors:
    """The same factors with the largest entry of every atom positive."""
    columns = np.abs(factors.components).argmax(axis=1)
    sign = np.where(factors.components[np.arange(columns.size), columns] < 0.0, -1.0, 1.0)
    return factors._replace(
        components=factors.components * sign[:, None],
        codes=factors.codes * sign,
        code_coef=factors.code_coef * sign[:, None],
    )


def principal_factors(problem: SupervisedProblem, point: Classified, basis: np.ndarray) -> Factors:
    """The factors in principal axes.

    Parameters
    ----------
    problem : SupervisedProblem
        The lifted problem.
    point : Classified
        The matrix A and the offsets.
    basis : ndarray of shape (n_dimensions, rank)
        Orthonormal vectors that span the column space of the solution.

    Returns
    -------
    Factors
        The factors.
    """
    if problem.model == "filter":
        _, _, rotation = scipy.linalg.svd(problem.factor.T @ basis, full_matrices=False)
        components = np.ascontiguousarray((basis @ rotation.T).T)
        return signed(Factors(components, problem.X @ components.T, components @ point.A, point.offset_coef))
    weight = np.sqrt(2.0 * problem.reconstruction_weight)
    rotation, sizes, axes = scipy.linalg.svd((problem.factor.T @ basis).T / weight, full_matrices=False)
    rank = basis.shape[1]
    components = np.zeros((rank, problem.X.shape[1]))
    scales = np.ones(rank)
    if rotation.shape[1] < rank:  # more atoms than features
        rotation = np.hstack([rotation, scipy.linalg.null_space(rotation.T)])
    kept = np.flatnonzero(sizes > _NOTHING * max(sizes.max(initial=0.0), 1e-300))
    components[kept], scales[kept] = axes[kept], sizes[kept]
    codes = (basis @ rotation) * scales / problem.root
    return signed(Factors(components, codes, (rotation.T @ (basis.T @ point.A)) / scales[:, None], point.offset_coef))


def least_squares_rows(gram: np.ndarray, products: np.ndarray, start: np.ndarray, *, positive: bool) -> np.ndarray:
    r"""Minimise :math:`\tfrac12 f G f^T - b f^T` for every row b of the products, exactly, over all or nonnegative f.

    Parameters
    ----------
    gram : ndarray of shape (n_components, n_components)
        The matrix G, symmetric and positive semidefinite.
    products : ndarray of shape (n_rows, n_components)
        The rows b.
    start : ndarray of shape (n_rows, n_components)
        Guesses, whose supports nonnegative rows start from.
    positive : bool
        Whether rows must be >= 0.

    Returns
    -------
    ndarray of shape (n_rows, n_components)
        The minima; of several the one of least norm, where the rows are free.
    """
    if not positive:
        values, vectors = scipy.linalg.eigh(gram)
        inverse = np.divide(1.0, values, out=np.zeros_like(values), where=values > 1e-13 * max(values[-1], 1e-300))
        return ((products @ vectors) * inverse) @ vectors.T
    rows = np.array(np.maximum(start, 0.0), dtype=np.float64, order="C")
    nothing = np.zeros(rows.shape[0])
    limit = np.full(rows.shape[0], np.inf)
    products = np.ascontiguousarray(products)
    pivot_rows(np.ascontiguousarray(gram), products, rows, nothing, nothing, limit, np.empty((0, rows.shape[1])))
    return rows


def codes_without_labels(X: Any, components: np.ndarray, *, positive: bool) -> np.ndarray:
    r"""The codes that reconstruct samples best, :math:`\min_h \|x - h D\|^2`: what is known of them without labels.

    Parameters
    ----------
    X : ndarray or sparse array of shape (n_samples, n_features)
        Samples.
    components : ndarray of shape (n_components, n_features)
        The atoms D.
    positive : bool
        Whether codes must be >= 0.

    Returns
    -------
    ndarray of shape (n_samples, n_components)
        The codes.
    """
    products = X @ components.T
    return least_squares_rows(components @ components.T, products, products, positive=positive)
