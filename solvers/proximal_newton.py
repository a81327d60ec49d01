"""Proximal Newton steps on a working set, for losses that are not quadratic."""

from typing import Any

import numpy as np

from .certificate import model_gap, stationarity
from .columns import combine, correlate_some
from .losses.functions import curvature, fenchel_young
from .penalties.vector_functions import dual_scale, equation_coordinates, has_conjugate, kkt_distances, penalty_value

_STEPS = 10  # within one pass
_REDUCTION = 0.1  # of the gap on the working set, by one pass: solving it further is lost where the set grows
_DECREASE = 0.01  # of what the model promised, by a step that is taken
_SHORTEST = 1e-10
_FAR = 0.5  # relative change of the curvature that makes a new model
_SLOW = 0.3  # reduction of the gap by a step that makes one, too
_NEAR = 1.1  # a slope times this beyond its threshold: the feature is worth keeping in a new model
_ROUNDING = 1e-12
_MAX_EPOCHS = 1000


def newton_pass(problem: Any, penalty: Any, target: float) -> None:
    r"""Proximal Newton steps on the working set of a composite problem, until the gap there is small enough.

    A step minimises a quadratic model of the loss plus the penalty to a part of its gap, and goes there as far as the
    objective falls. The slopes that it starts from are exact, so the model's curvature need not be: a model whose
    Gram matrix costs much is kept as long as its steps reduce the gap well.

    Parameters
    ----------
    problem : Composite
        The problem; its current point moves.
    penalty : NamedTuple
        The penalty's record.
    target : float
        The gap on the working set that is small enough; a tenth of the gap at the start is, too.

    References
    ----------
    J. Lee, Y. Sun and M. Saunders, "Proximal Newton-type methods for minimizing composite functions", SIAM Journal
    on Optimization 24(3), 2014.
    """
    convex = has_conjugate(penalty)
    goal, before = -np.inf, np.inf
    for step in range(_STEPS):
        model = problem.model(penalty)
        features, root = model.features, model.root_weights
        residual = np.divide(problem.theta, root, out=np.zeros_like(root), where=root > 0.0)
        old, slope = problem.coef[features], problem.slope[features]
        quadratic = (model_gap if convex else stationarity)(
            penalty, old, slope, model.scale, features, residual @ residual
        )
        gap = working_gap(problem, penalty, old, slope, model.scale, features) if convex else quadratic
        if step == 0:
            goal = max(target, (_REDUCTION if convex else _REDUCTION**3) * gap)
        if gap <= goal:
            break
        weights = curvature(problem.loss, problem.predictor)
        change = np.abs(weights - root * root).sum() / weights.sum()
        stale = change > _ROUNDING
        if stale and (not model.lasting or gap > _SLOW * before or change > _FAR):
            problem.renew(penalty, worth_keeping(penalty, old, slope, features))
            before = np.inf
            continue
        before = gap
        new = old.copy()
        model.solve(penalty, new, slope.copy(), residual, goal * min(1.0, quadratic / gap), _MAX_EPOCHS)
        if not line_search(problem, penalty, features, old, new, slope):
            before = 0.0  # not without a new model
            if not stale:
                break


def working_gap(
    problem: Any, penalty: Any, coef: np.ndarray, slope: np.ndarray, scale: np.ndarray, features: np.ndarray
) -> float:
    """The duality gap on the working set, up to slopes that must vanish, which are charged with what a step gains.

    That of the quadratic model would not do: where the loss is nearly linear, as for the outliers of a robust one, a
    dual point that is only just infeasible costs far more than its square.
    """
    bound = np.where(equation_coordinates(penalty, features) > 0, 0.0, slope)
    c = dual_scale(penalty, bound, features)
    rest = model_gap(penalty, coef, slope, scale, features, 0.0)
    return rest + fenchel_young(problem.loss, problem.predictor, c * problem.theta)


def worth_keeping(penalty: Any, coef: np.ndarray, slope: np.ndarray, features: np.ndarray) -> np.ndarray:
    """The features of a working set in or close to the support."""
    distances = np.empty(features.size)
    kkt_distances(penalty, np.zeros(features.size), _NEAR * slope, features, distances)
    return features[(coef != 0.0) | (distances > 0.0)]


def line_search(
    problem: Any, penalty: Any, features: np.ndarray, old: np.ndarray, new: np.ndarray, slope: np.ndarray
) -> bool:
    """Move from `old` towards `new` as far as the objective falls enough; whether it did.

    The predictor, the intercept, the loss' gradient and the slopes of the working set follow.
    """
    moved = np.flatnonzero(new != old)
    if moved.size == 0:
        return False
    direction = new - old
    image = combine(problem.X, features[moved], direction[moved])
    theta, linear, intercept = problem.theta, problem.linear, problem.intercept
    value = problem.objective(penalty)
    promise = penalty_value(penalty, new, features) - penalty_value(penalty, old, features) - slope @ direction
    rounding = 1e-15 * abs(value)
    step = 1.0
    while True:
        problem.coef[features] = new if step == 1.0 else old + step * direction
        problem.balance(linear + step * image)
        if problem.objective(penalty) <= value + _DECREASE * step * min(promise, 0.0) + rounding:
            break
        step *= 0.5
        problem.intercept = intercept
        if step < _SHORTEST:
            problem.coef[features] = old
            problem.balance(linear)
            return False
    problem.moved(features, theta)
    correlate_some(problem.X, features, problem.theta, problem.slope)
    return True
