r"""Least squares in a metric: coordinates in which a weighted norm is the Euclidean one.

A metric is a positive semidefinite matrix M of shape (n_features, n_features) that says what an error costs,

.. math:: \|x\|_M^2 = x^T M x , \qquad \|X - Z D\|_M^2 = \sum_i \|x_i - D^T z_i\|_M^2 .

With a Cholesky factor, :math:`M = L L^T`, this is :math:`\|X L - Z (D L)\|_F^2`: whoever codes or learns in the
metric does so without it on X L, with the atoms D L, and takes atoms back by one triangular solve. Norms of atoms,
and with them "norm one", are those of the metric.

A layer that computes W a from inputs a with the Gram matrix M is compressed in this way: its rows of weights are the
signals, and the error is that of its outputs on the calibration inputs (CoSpaDi). Only the Gram matrix of these
inputs is needed.

References
----------
D. Makhov, D. Shopkhoev, M. Zhussip, A. Ali and S. Lefkimmiatis, "CoSpaDi: compressing large language models via
calibration-guided sparse dictionary learning", arXiv 2509.22075, 2025.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg

_NEGATIVE = 1e-6  # share of the largest eigenvalue, below zero, that is still taken for rounding


class MetricCoordinates(NamedTuple):
    """The coordinates of a metric.

    Attributes
    ----------
    factor : ndarray of shape (n_features, n_features)
        The lower triangular matrix L with positive diagonal.
    ridge : float
        What was added to the diagonal of the metric before it was factorised; 0.0 where it was not needed.
    """

    factor: np.ndarray
    ridge: float


def metric_coordinates(metric: np.ndarray, dtype: type | np.dtype = np.float64) -> MetricCoordinates:
    r"""The coordinates in which a metric is Euclidean.

    Parameters
    ----------
    metric : ndarray of shape (n_features, n_features)
        A symmetric positive semidefinite matrix, for instance a Gram matrix of calibration data.
    dtype : numpy.dtype, default=float64
        The precision of the signals. A metric whose condition is too large for it gets a ridge, relative to the
        mean of its diagonal: :math:`10^{-10}` for float64, :math:`10^{-5}` for float32.

    Returns
    -------
    MetricCoordinates
        The coordinates.

    Raises
    ------
    ValueError
        If the metric is not a square, finite, symmetric, positive semidefinite matrix other than zero.

    Examples
    --------
    The error in the second feature costs four times that in the first.

    >>> import numpy as np
    >>> from sparsemodels.solvers.metric_coordinates import from_coordinates, metric_coordinates, to_coordinates
    >>> coordinates = metric_coordinates(np.diag([1.0, 4.0]))
    >>> signals = to_coordinates(coordinates, np.array([[3.0, 2.0]]))
    >>> signals
    array([[3., 4.]])
    >>> from_coordinates(coordinates, signals / 5.0)
    array([[0.6, 0.4]])
    """
    metric = np.asarray(metric, dtype=np.float64)
    if metric.ndim != 2 or metric.shape[0] != metric.shape[1]:
        raise ValueError(f"metric must be a square matrix, got one of shape {metric.shape}.")
    if not np.isfinite(metric).all():
        raise ValueError("metric must be finite, got NaN or infinity in it.")
    largest = float(np.abs(metric).max(initial=0.0))
    asymmetry = float(np.abs(metric - metric.T).max(initial=0.0))
    if asymmetry > 1e-6 * largest:
        raise ValueError(f"metric must be symmetric, got entries that differ by {asymmetry:.3g} from the transpose.")
    size = metric.shape[0]
    mean = float(np.trace(metric)) / max(size, 1)
    if mean <= 0.0:
        raise ValueError(f"metric must be positive semidefinite and not zero, got a trace of {mean * size:.3g}.")
    relative = 1e-5 if np.dtype(dtype) == np.float32 else 1e-10
    scaled = (metric + metric.T) * (0.5 / mean)  # no power of the scale leaves the range of numbers
    ridge = 0.0
    try:
        factor = scipy.linalg.cholesky(scaled, lower=True)
    except scipy.linalg.LinAlgError:
        factor = np.zeros_like(scaled)
    if np.square(np.diagonal(factor)).min() < relative:
        lowest = float(scipy.linalg.eigvalsh(scaled, subset_by_index=[0, 0])[0])
        if lowest < -_NEGATIVE * size:
            raise ValueError(f"metric must be positive semidefinite, got an eigenvalue of {lowest * mean:.3g}.")
        ridge = relative if lowest > -0.5 * relative else relative - lowest
        factor = scipy.linalg.cholesky(scaled + ridge * np.eye(size), lower=True)
    return MetricCoordinates(np.ascontiguousarray(factor * np.sqrt(mean), dtype=dtype), ridge * mean)


def to_coordinates(coordinates: MetricCoordinates, X: np.ndarray) -> np.ndarray:
    """Signals or atoms in the coordinates of a metric, X L.

    Parameters
    ----------
    coordinates : MetricCoordinates
        The coordinates.
    X : ndarray of shape (n_rows, n_features)
        The rows.

    Returns
    -------
    ndarray of shape (n_rows, n_features), C order
        Rows whose Euclidean inner products are those of the metric, in the precision of X.
    """
    return np.ascontiguousarray(X @ coordinates.factor.astype(X.dtype, copy=False))


def from_coordinates(coordinates: MetricCoordinates, atoms: np.ndarray) -> np.ndarray:
    """Atoms or signals that were found in the coordinates of a metric, among the features again.

    Parameters
    ----------
    coordinates : MetricCoordinates
        The coordinates.
    atoms : ndarray of shape (n_rows, n_features)
        Rows in the coordinates.

    Returns
    -------
    ndarray of shape (n_rows, n_features), C order
        The rows D with D L = `atoms`, in the same precision.
    """
    factor = coordinates.factor.astype(np.float64)
    rows = scipy.linalg.solve_triangular(factor, atoms.T.astype(np.float64), lower=True, trans="T").T
    return np.ascontiguousarray(rows, dtype=atoms.dtype)
