r"""Sparse Bayesian learning behind a Kronecker product: variances of every mode that maximise the evidence.

.. math:: \min_{\gamma_1, \dots, \gamma_d \ge 0, \; \sigma^2} \; \log|C| + y^H C^{-1} y, \qquad
    C = \sigma^2 I + \bigotimes_i H_i\, \mathrm{diag}(\gamma_i)\, H_i^H

Steps are those of :mod:`.kronecker_variances`, statistics those of :mod:`.kronecker_posterior`; columns have norm one
inside, so that scaling one changes nothing but its coefficients. Entries that fall below a share of the largest of
their mode are dropped on the way. A heuristic (``"svd"``, and ``"am"`` with a coupling) goes fast to a good
neighbourhood, where it would go on to a point that is not stationary; the fixed-point rule then goes to one that is.

**Certificate.** The derivative of the cost in :math:`\log \gamma_{i,k}` is :math:`\sum v (z - |q|^2)` over the slice k
of mode i. The residual is the largest :math:`|\sum v |q|^2 / \sum v z - 1|` of all entries that are not zero, and of
the noise, :math:`|\|C^{-1} y\|^2 / \mathrm{tr}\, C^{-1} - 1|`, where it is learned. The cost is not convex: a residual
of zero says that the point is stationary, not that it is the best one. Entries that were dropped have the ratio
reported beside it: above one, the evidence would rise if they came back.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .dense_codes import to_host
from .kronecker_point import (
    KroneckerPoint,
    KroneckerView,
    change_of,
    expectation_step,
    gradient_step,
    look,
    pruned,
    residual,
    restricted,
)
from .kronecker_posterior import KroneckerData, compressed, kronecker_statistics, log_evidence, squared_size
from .kronecker_selection import without_the_lightest
from .kronecker_variances import coupled, coupling_matrix, slice_ratios, unit_modes
from .mode_products import is_complex, namespace, on_host, placed

__all__ = ["KroneckerEvidence", "maximize_evidence"]

_START_NOISE = 0.1  # of the mean square of a measurement
_NEAR = 0.1  # relative change of the variances from which on a heuristic hands over
_TELLING = 0.3  # residual of stationarity from which on the worth of entries is plain enough to drop some
_VANISHED = 1e-8  # a signal of this share of the noise that still shrinks is none
_ROUNDING = 1e-10  # relative: a rise of the cost that may be one of rounding
_NOTHING = 1e-30  # of a ratio: the columns have nothing in common with the measurements


class KroneckerEvidence(NamedTuple):
    """Variances of all modes and the noise, with their certificate.

    Attributes
    ----------
    variances : list of arrays of shape (n_i,)
        Prior variances, of norm one in every mode but the last.
    noise_variance : float
        The variance of the noise.
    log_evidence : float
        The log evidence of all measurements, in nats.
    log_evidences : ndarray
        That before every iteration.
    kkt : float
        The largest violation of stationarity among the entries that are not zero and the noise.
    dropped_ratio : float
        The largest ratio of an entry that is zero; 0 where there is none. At most one at a stationary point in the
        strict sense.
    n_iter : int
        Iterations, one decomposition of all factors each.
    status : str
        ``"converged"`` (`kkt` <= `tol`), ``"settled"`` (a heuristic that ended as it was asked to), ``"max_iter"``,
        ``"time_limit"``, ``"stopped"`` by `on_iteration`, or ``"interrupted"``.
    noise_at_floor : bool
        Whether the noise would be smaller but for its floor.
    """

    variances: list[Any]
    noise_variance: float
    log_evidence: float
    log_evidences: np.ndarray
    kkt: float
    dropped_ratio: float
    n_iter: int
    status: str
    noise_at_floor: bool


def maximize_evidence(
    tensor: Any,
    factors: Sequence[Any],
    *,
    method: str = "svd",
    polish: bool = True,
    couplings: Sequence[float] | None = None,
    noise_variance: float | None = None,
    noise_floor: float = 1e-6,
    prune_tol: float = 1e-6,
    threshold: float = 0.0,
    max_iter: int = 500,
    tol: float = 1e-4,
    weights: np.ndarray | None = None,
    deadline: float = np.inf,
    on_iteration: Callable[[int, float], bool] | None = None,
) -> KroneckerEvidence:
    """Learn the variances of a Kronecker-structured prior.

    Parameters
    ----------
    tensor : array of shape (n_measurements, m_1, ..., m_d)
        Measurements, real or complex, in double precision.
    factors : sequence of d arrays of shape (m_i, n_i)
        The factors, of the library and type of `tensor`, none of them all zero.
    method : {"svd", "am", "mm", "mackay"}, default="svd"
        Rank-one steps; expectation maximisation; majorisation; the fixed-point rule, guarded by majorisation.
    polish : bool, default=True
        Whether heuristic steps are followed by the fixed-point rule.
    couplings : sequence of d floats, optional
        For each mode the share of its variance that an atom gives to each neighbour.
    noise_variance : float, optional
        The variance of the noise, > 0. It is learned by default.
    noise_floor : float, default=1e-6
        The least that is learned, relative to the mean square of the measurements.
    prune_tol : float, default=1e-6
        Entries are dropped at this share of the largest of their mode.
    threshold : float, default=0.0
        The nats of log evidence that an entry must be worth to stay.
    max_iter : int, default=500
        The most iterations.
    tol : float, default=1e-4
        Stop once the residual of stationarity is at most this.
    weights : ndarray of shape (n_measurements,), optional
        How often each measurement counts.
    deadline : float, default=inf
        When to stop, in seconds of ``time.monotonic()``.
    on_iteration : callable, optional
        Called with the number of iterations and the log evidence; stops the fit by returning True.

    Returns
    -------
    KroneckerEvidence
        The variances and their certificate.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.kronecker_evidence import maximize_evidence
    >>> from sparsemodels.solvers.mode_products import mode_products
    >>> rng = np.random.default_rng(0)
    >>> factors = [rng.standard_normal((6, 8)), rng.standard_normal((7, 9))]
    >>> x = np.zeros((1, 8, 9))
    >>> x[0, 2, 5], x[0, 4, 5] = 1.0, -2.0
    >>> y = mode_products(x, factors) + 0.01 * rng.standard_normal((1, 6, 7))
    >>> found = maximize_evidence(y, factors)
    >>> found.status, [np.flatnonzero(variance > 0.0).tolist() for variance in found.variances]
    ('converged', [[2, 4], [5]])
    """
    xp = namespace(tensor)
    norms = [xp.sqrt(xp.sum(squared_size(factor), axis=0)) for factor in factors]
    scaled = [f / xp.where(norm > 0.0, norm, xp.ones_like(norm)) for f, norm in zip(factors, norms, strict=True)]
    couplings = [0.0] * len(norms) if couplings is None else couplings
    pairs = zip(couplings, norms, strict=True)
    matrices = [None if share == 0.0 else placed(coupling_matrix(norm.shape[0], share), norm) for share, norm in pairs]
    n_values = math.prod(tensor.shape[1:])
    count = float(tensor.shape[0]) if weights is None else float(np.sum(weights))
    of_complex = is_complex(tensor)
    root = compressed(KroneckerData(gathered(tensor, weights), scaled, 0.0, n_values))
    energy = float(xp.sum(squared_size(root.tensor))) + root.outside
    floor = noise_floor * energy / n_values if noise_variance is None else None
    noise = _START_NOISE * energy / n_values if noise_variance is None else float(noise_variance)
    parameters = [xp.ones_like(norm) for norm in norms]
    parameters[-1] = parameters[-1] * (energy / math.prod(norm.shape[0] for norm in norms))
    names = [np.arange(norm.shape[0]) for norm in norms]
    point = KroneckerPoint(root, matrices, unit_modes(matrices, parameters), noise, names, names)
    point = restricted(point, [on_host(norm > 0.0) for norm in norms], [np.ones(len(k), dtype=bool) for k in names])
    if energy == 0.0:
        costs, n_iter, status = [-math.inf if noise == 0.0 else n_values * math.log(noise)], 0, "converged"
        cost, kkt, ratio = costs[0], 0.0, 0.0
    else:
        costs = []

        def report(n_iter: int, cost: float) -> bool:
            costs.append(cost)
            if on_iteration is None:
                return False
            return bool(on_iteration(n_iter, log_evidence(cost, n_values, count, of_complex)))

        point = pruned(point, 0.0, parameters_too=False)
        nats = count if of_complex else 0.5 * count  # of a unit of cost
        rule = _Rule(method, polish, floor, energy / n_values, prune_tol, threshold, nats, max_iter, tol, deadline)
        point, n_iter, status = _climb(point, rule, report)
        cost, kkt, ratio = certify(root, matrices, point, floor)
        if status in ("max_iter", "settled") and kkt <= tol:
            status = "converged"
    return KroneckerEvidence(
        _spread_out(point, norms),
        point.noise,
        log_evidence(cost, n_values, count, of_complex),
        np.array([log_evidence(value, n_values, count, of_complex) for value in costs]),
        kkt,
        ratio,
        n_iter,
        status,
        floor is not None and 0.0 < point.noise <= floor,
    )


class _Rule(NamedTuple):
    """How to climb."""

    method: str
    polish: bool
    floor: float | None
    level: float
    prune_tol: float
    threshold: float
    nats: float
    max_iter: int
    tol: float
    deadline: float


def _climb(point: KroneckerPoint, rule: _Rule, report: Callable[[int, float], bool]) -> tuple[KroneckerPoint, int, str]:
    """Steps until a point is stationary, or the rule ends them: the point, their number and the reason."""
    method, floor = rule.method, rule.floor
    heuristic = method == "svd" or (method == "am" and any(matrix is not None for matrix in point.couplings))
    before: tuple[KroneckerPoint, KroneckerView] | None = None
    n_iter = 0
    try:
        while n_iter < rule.max_iter:
            view = look(point)
            n_iter += 1
            if before is not None and view.found.cost > _slightly_above(before[1].found.cost, point.data.n_values):
                # The leap went too far: from where it began, a step that cannot.
                point, before = _unit(gradient_step(*before, floor, leap=False)), None
                continue
            stop = report(n_iter, view.found.cost)
            noise_is_free = floor is not None and (point.noise > floor or view.noise_ratio > 1.0)
            violation = np.inf if heuristic else residual(view, noise_is_free)
            if violation <= max(rule.tol, _TELLING) and rule.threshold > 0.0:
                lighter = without_the_lightest(point, view.found.cost, rule.nats, rule.threshold)
                if lighter is not point:
                    point, before = _unit(lighter), None
                    continue
            if violation <= rule.tol:
                return point, n_iter, "converged"
            if view.common <= _NOTHING or (view.found.largest <= _VANISHED * point.noise and view.common < 1.0):
                silent = [*point.parameters[:-1], 0.0 * point.parameters[-1]]
                noise = point.noise if floor is None else rule.level
                return point._replace(parameters=silent, noise=noise), n_iter, "converged"
            if heuristic or method == "am":
                new, before = expectation_step(point, view, floor, rank_one=method == "svd"), None
            else:
                new, before = gradient_step(point, view, floor, leap=method != "mm"), (point, view)
            new = _unit(new)
            if heuristic and change_of(point, new) <= (_NEAR if rule.polish else rule.tol):
                if not rule.polish:
                    return new, n_iter, "settled"
                heuristic, method = False, "mackay"
            point = pruned(new, rule.prune_tol, parameters_too=not heuristic)
            if point is not new:  # less may be explained with fewer atoms
                before = None
            if stop:
                return point, n_iter, "stopped"
            if time.monotonic() > rule.deadline:
                return point, n_iter, "time_limit"
    except KeyboardInterrupt:
        return point, n_iter, "interrupted"
    return point, n_iter, "max_iter"


def _slightly_above(cost: float, n_values: int) -> float:
    return cost + _ROUNDING * (abs(cost) + n_values)


def _unit(point: KroneckerPoint) -> KroneckerPoint:
    return point._replace(parameters=unit_modes(point.couplings, point.parameters))


def gathered(tensor: Any, weights: np.ndarray | None) -> Any:
    """Measurements times the square roots of their shares, in no more rows than one has values.

    Parameters
    ----------
    tensor : array of shape (n_measurements, m_1, ..., m_d)
        Measurements.
    weights : ndarray of shape (n_measurements,), optional
        How often each counts.

    Returns
    -------
    array of shape (min(n_measurements, m_1 * ... * m_d), m_1, ..., m_d)
        A tensor with the same weighted mean of the products of all pairs of values.
    """
    xp, n_measurements = namespace(tensor), tensor.shape[0]
    rows = xp.reshape(tensor, (n_measurements, -1))
    if weights is None:
        rows = rows / math.sqrt(n_measurements)
    else:
        rows = rows * xp.astype(placed(np.sqrt(weights / np.sum(weights)), rows), rows.dtype)[:, None]
    if n_measurements > rows.shape[1]:
        rows = xp.linalg.qr(rows, mode="reduced")[1]
    return xp.reshape(rows, (-1, *tensor.shape[1:]))


def certify(
    root: KroneckerData, couplings: Sequence[Any], point: KroneckerPoint, floor: float | None
) -> tuple[float, float, float]:
    """The cost and the residual of stationarity at a point, computed from the whole problem.

    Parameters
    ----------
    root : KroneckerData
        The measurements and all columns.
    couplings : sequence of arrays of shape (n_i, n_i), or None
        The couplings of all atoms.
    point : KroneckerPoint
        A prior over some of the atoms.
    floor : float or None
        The least variance of the noise, or None where it is known.

    Returns
    -------
    cost : float
        Minus twice the log evidence without its constant.
    kkt : float
        The largest violation among parameters that are not zero, and the noise.
    dropped_ratio : float
        The largest ratio of a parameter that is zero, or 0 where there is none.
    """
    variances, acting = [], []
    for factor, matrix, values, atoms, names in zip(
        root.factors, couplings, coupled(point.couplings, point.parameters), point.atoms, point.names, strict=True
    ):
        xp = namespace(values)
        variance = np.zeros(factor.shape[1])
        variance[atoms] = on_host(values)
        variances.append(placed(variance, values))
        if matrix is not None:
            # A parameter acts on the atoms left, one that was dropped would act on all of its neighbours.
            host, gone = to_host(matrix), np.ones(factor.shape[1], dtype=bool)
            gone[atoms] = False
            host[np.ix_(gone, names)] = 0.0
            matrix = placed(host, values)
        acting.append(matrix)
    found = kronecker_statistics(root, variances, point.noise)
    square = xp.sum(squared_size(found.q), axis=0)
    kkt = dropped = 0.0
    for ratio, names, theta in zip(
        slice_ratios(acting, variances, square, found.z), point.names, point.parameters, strict=True
    ):
        ratio, active = on_host(ratio), names[on_host(theta) > 0.0]
        kkt = max(kkt, float(np.max(np.abs(ratio[active] - 1.0), initial=0.0)))
        dropped = max(dropped, float(np.max(np.delete(ratio, active), initial=0.0)))
    noise_ratio = found.noise_square / found.noise_trace
    if floor is not None and (point.noise > floor or noise_ratio > 1.0):
        kkt = max(kkt, abs(noise_ratio - 1.0))
    return found.cost, kkt, dropped


def _spread_out(point: KroneckerPoint, norms: Sequence[Any]) -> list[Any]:
    """The variances of all atoms, of columns as they were given."""
    whole = []
    for values, atoms, norm in zip(coupled(point.couplings, point.parameters), point.atoms, norms, strict=True):
        size, variance = on_host(norm), np.zeros(norm.shape[0])
        variance[atoms] = on_host(values) / size[atoms] ** 2
        whole.append(placed(variance, norm))
    return unit_modes([None] * len(whole), whole)
