r"""Which entries of a Kronecker-structured prior are worth their place: the evidence with each one left out.

The evidence alone keeps an entry that explains noise about one time in two: it never asks what naming one entry among
p costs. Here every entry of every mode, a whole slice of coefficients, is left out on its own, with the exact evidence
that remains: one small decomposition each, as the other modes keep theirs. Entries whose loss is below a threshold go,
the lightest half of them at a time. A threshold of :math:`\log p` nats is what it takes to name one of p.
"""

import math

import numpy as np

from .kronecker_point import KroneckerPoint, restricted
from .kronecker_posterior import conjugate_transpose, squared_size
from .kronecker_variances import coupled
from .mode_products import mode_products, namespace, outer_product, placed

__all__ = ["removal_costs", "without_the_lightest"]


def removal_costs(point: KroneckerPoint) -> list[np.ndarray]:
    """The cost, minus twice the log evidence without its constant, with each parameter set to zero alone.

    Parameters
    ----------
    point : KroneckerPoint
        The prior.

    Returns
    -------
    list of ndarray of shape (k_i,)
        The costs, of one measurement in the mean.
    """
    xp, data = namespace(point.data.tensor), point.data
    variances = coupled(point.couplings, point.parameters)
    adjoints, spectra, costs = [], [], []
    for factor, variance in zip(data.factors, variances, strict=True):
        basis, values, _ = xp.linalg.svd(factor * xp.sqrt(variance), full_matrices=False)
        adjoints.append(conjugate_transpose(basis))
        spectra.append(values * values)
    outside = data.n_values - math.prod(values.shape[0] for values in spectra)
    constant = outside * math.log(point.noise) + data.outside / point.noise
    for mode, (factor, matrix, theta) in enumerate(zip(data.factors, point.couplings, point.parameters, strict=True)):
        others = [None if other == mode else adjoint for other, adjoint in enumerate(adjoints)]
        rotated = xp.moveaxis(mode_products(data.tensor, others), 1 + mode, 0)
        rotated = xp.reshape(rotated, (factor.shape[0], data.tensor.shape[0], -1))
        beside = [values for other, values in enumerate(spectra) if other != mode]
        signal = xp.reshape(outer_product(beside), (-1,)) if beside else xp.ones_like(theta[:1])
        found = np.empty(theta.shape[0])
        for k in range(theta.shape[0]):
            left = theta * placed((np.arange(theta.shape[0]) != k).astype(np.float64), theta)
            basis, values, _ = xp.linalg.svd(
                factor * xp.sqrt(left if matrix is None else matrix @ left), full_matrices=False
            )
            spread = point.noise + (values * values)[:, None] * signal
            alone = conjugate_transpose(basis) @ xp.reshape(rotated, (rotated.shape[0], -1))
            energy = xp.sum(xp.reshape(squared_size(alone), rotated.shape), axis=1)
            found[k] = float(xp.sum(xp.log(spread) + energy / spread)) + constant
        costs.append(found)
    return costs


def without_the_lightest(point: KroneckerPoint, cost: float, nats: float, threshold: float) -> KroneckerPoint:
    """A point without some of the entries that are not worth a threshold.

    Parameters
    ----------
    point : KroneckerPoint
        The prior.
    cost : float
        The cost as it is.
    nats : float
        What one unit of cost is in nats.
    threshold : float
        The nats that an entry must be worth.

    Returns
    -------
    KroneckerPoint
        The same object where every entry is. Of those that are not, the lighter half is gone, at least one, and
        every mode keeps its heaviest entry.
    """
    losses = [nats * (left_out - cost) for left_out in removal_costs(point)]
    heaviest = [int(np.argmax(loss)) for loss in losses]
    light = sorted(
        (loss, mode, k)
        for mode, of_mode in enumerate(losses)
        for k, loss in enumerate(of_mode)
        if loss < threshold and k != heaviest[mode]
    )
    if not light:
        return point
    kept = [np.ones(loss.size, dtype=bool) for loss in losses]
    for _, mode, k in light[: max(1, len(light) // 2)]:
        kept[mode][k] = False
    return restricted(point, [np.ones(len(atoms), dtype=bool) for atoms in point.atoms], kept)
