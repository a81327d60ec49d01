"""A prior on its way to more evidence: the atoms that are left, what the data say about them, and the next step."""

import math
from typing import Any, NamedTuple

import numpy as np

from .kronecker_posterior import KroneckerData, KroneckerStatistics, compressed, kronecker_statistics, squared_size
from .kronecker_variances import (
    alternating_variances,
    coupled,
    fixed_point_variances,
    majorized_variances,
    rank_one_variances,
    slice_ratios,
)
from .mode_products import namespace, on_host, outer_product, placed

__all__ = [
    "KroneckerPoint",
    "KroneckerView",
    "change_of",
    "expectation_step",
    "gradient_step",
    "look",
    "pruned",
    "residual",
    "restricted",
]


class KroneckerPoint(NamedTuple):
    """A prior over the atoms that are left.

    Attributes
    ----------
    data : KroneckerData
        The measurements and the columns left of the factors.
    couplings : list of arrays of shape (n_i, k_i), or None
        For each mode what turns parameters into variances; None where they are the same.
    parameters : list of arrays of shape (k_i,)
        The parameters left.
    noise : float
        The variance of the noise.
    atoms, names : list of ndarray of int
        The indices, in the whole problem, of the atoms and parameters left.
    """

    data: KroneckerData
    couplings: list[Any]
    parameters: list[Any]
    noise: float
    atoms: list[np.ndarray]
    names: list[np.ndarray]


class KroneckerView(NamedTuple):
    """What is seen of the evidence at a point.

    Attributes
    ----------
    found : KroneckerStatistics
        The statistics.
    square : array of shape (n_1, ..., n_d)
        The sum of the squared magnitude of q over measurements.
    ratios : list of arrays of shape (k_i,)
        The two sides of stationarity of every parameter, divided.
    common : float
        That of the scale of the whole prior.
    noise_ratio : float
        That of the noise.
    """

    found: KroneckerStatistics
    square: Any
    ratios: list[Any]
    common: float
    noise_ratio: float


def look(point: KroneckerPoint) -> KroneckerView:
    """The evidence and its derivatives at a point."""
    variances = coupled(point.couplings, point.parameters)
    found = kronecker_statistics(point.data, variances, point.noise)
    xp = namespace(found.z)
    square = xp.sum(squared_size(found.q), axis=0)
    prior = outer_product(variances)
    gain, cost = float(xp.sum(prior * square)), float(xp.sum(prior * found.z))
    ratios = slice_ratios(point.couplings, variances, square, found.z)
    common = gain / cost if cost > 0.0 else 1.0
    return KroneckerView(found, square, ratios, common, found.noise_square / found.noise_trace)


def residual(view: KroneckerView, noise_is_free: bool) -> float:
    """The largest violation of stationarity at a point."""
    worst = max(float(namespace(ratio).max(abs(ratio - 1.0))) for ratio in view.ratios)
    return max(worst, abs(view.noise_ratio - 1.0)) if noise_is_free else worst


def gradient_step(point: KroneckerPoint, view: KroneckerView, floor: float | None, *, leap: bool) -> KroneckerPoint:
    """A step by the ratios: to the minimum of the bounds, or past it, by the fixed-point rule.

    Parameters
    ----------
    point : KroneckerPoint
        Where to start.
    view : KroneckerView
        What is seen there.
    floor : float or None
        The least variance of the noise; None where it is known.
    leap : bool
        Whether to go past the minimum of the bounds.

    Returns
    -------
    KroneckerPoint
        The next point; without the leap, one of no less evidence.
    """
    if leap:
        parameters = fixed_point_variances(point.parameters, view.ratios, view.common)
    else:
        parameters = majorized_variances(point.couplings, point.parameters, view.square, view.found.z)
    noise = point.noise
    if floor is not None:
        noise = max(floor, noise * (view.noise_ratio if leap else math.sqrt(view.noise_ratio)))
    return point._replace(parameters=parameters, noise=noise)


def expectation_step(
    point: KroneckerPoint, view: KroneckerView, floor: float | None, *, rank_one: bool
) -> KroneckerPoint:
    """A step by the posterior second moments: expectation maximisation, or the tensor of rank one next to them.

    Parameters
    ----------
    point : KroneckerPoint
        Where to start.
    view : KroneckerView
        What is seen there.
    floor : float or None
        The least variance of the noise; None where it is known.
    rank_one : bool
        Whether to take the tensor of rank one.

    Returns
    -------
    KroneckerPoint
        The next point; by expectation maximisation without couplings, one of no less evidence.
    """
    prior = outer_product(coupled(point.couplings, point.parameters))
    xp = namespace(prior)
    shrinkage = 1.0 - prior * view.found.z
    moments = prior * prior * view.square + prior * xp.where(shrinkage > 0.0, shrinkage, xp.zeros_like(prior))
    if rank_one:
        parameters = rank_one_variances(point.couplings, moments)
    else:
        parameters = alternating_variances(point.couplings, point.parameters, moments)
    noise, n_values = point.noise, point.data.n_values
    if floor is not None:
        # The mean square of what is left, and its uncertainty.
        spread = noise * (n_values - noise * view.found.noise_trace)
        noise = max(floor, (noise * noise * view.found.noise_square + spread) / n_values)
    return point._replace(parameters=parameters, noise=noise)


def change_of(old: KroneckerPoint, new: KroneckerPoint) -> float:
    """The largest change of a variance, relative to the largest of its mode."""
    pairs = zip(coupled(old.couplings, old.parameters), coupled(new.couplings, new.parameters), strict=True)
    xp = namespace(new.parameters[0])
    return max(float(xp.max(xp.abs(after - before)) / xp.max(after)) for before, after in pairs)


def pruned(point: KroneckerPoint, share: float, *, parameters_too: bool) -> KroneckerPoint:
    """A point without the atoms whose variance is at most a share of the largest of their mode.

    Parameters
    ----------
    point : KroneckerPoint
        The point.
    share : float
        The share, in [0, 1).
    parameters_too : bool
        Whether coupled parameters are dropped by their own size, or only with all atoms that they act on.

    Returns
    -------
    KroneckerPoint
        The same object where nothing is dropped.
    """
    xp, kept, left = namespace(point.data.tensor), [], []
    for matrix, theta, variances in zip(
        point.couplings, point.parameters, coupled(point.couplings, point.parameters), strict=True
    ):
        mask = on_host(variances > share * xp.max(variances))
        kept.append(mask)
        if matrix is None:
            left.append(mask)
        elif parameters_too:
            left.append(on_host(theta > share * xp.max(theta)))
        else:
            left.append(np.ones(theta.shape[0], dtype=bool))
    return restricted(point, kept, left)


def restricted(point: KroneckerPoint, kept: list[np.ndarray], left: list[np.ndarray]) -> KroneckerPoint:
    """A point with some of its atoms and parameters.

    Parameters
    ----------
    point : KroneckerPoint
        The point.
    kept : list of ndarray of bool of shape (n_i,)
        Which atoms may stay. One on which no parameter acts any more goes too.
    left : list of ndarray of bool of shape (k_i,)
        Which parameters may stay. One that acts on no atom any more goes too.

    Returns
    -------
    KroneckerPoint
        The same object where all stay.
    """
    if all(mask.all() for mask in (*kept, *left)):
        return point
    xp = namespace(point.data.tensor)
    factors, couplings = list(point.data.factors), list(point.couplings)
    parameters, atoms, names = list(point.parameters), list(point.atoms), list(point.names)
    for mode, matrix in enumerate(couplings):
        rows, columns = kept[mode], left[mode]
        if matrix is None:
            rows = columns = rows & columns
        else:
            acts = on_host(matrix) > 0.0
            columns = columns & np.any(acts[rows], axis=0)
            rows = rows & np.any(acts[:, columns], axis=1)
        if rows.all() and columns.all():
            continue
        reference = parameters[mode]
        of_rows, of_columns = (placed(np.flatnonzero(mask), reference) for mask in (rows, columns))
        factors[mode] = xp.take(factors[mode], of_rows, axis=1)
        parameters[mode] = xp.take(reference, of_columns, axis=0)
        if matrix is not None:
            couplings[mode] = xp.take(xp.take(matrix, of_rows, axis=0), of_columns, axis=1)
        atoms[mode], names[mode] = atoms[mode][rows], names[mode][columns]
    data = compressed(point.data._replace(factors=factors))
    return KroneckerPoint(data, couplings, parameters, point.noise, atoms, names)
