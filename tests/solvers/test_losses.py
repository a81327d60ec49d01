"""The squared loss against finite differences and an independently written conjugate."""

import numpy as np
import pytest

from sparsemodels.solvers.kernel import kernel
from sparsemodels.solvers.losses import (
    Squared,
    curvature,
    fenchel_young,
    is_quadratic,
    loss_value,
    negative_gradient,
    reweighted,
)


def draw(seed, n=7, zeros=2):
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.2, 2.0, n)
    weights[:zeros] = 0.0
    return Squared(rng.normal(scale=3.0, size=n), weights / weights.sum()), rng.normal(size=n), rng.normal(size=n)


def squared_conjugate(loss, slope):
    """sup_z slope'z - f(z), row by row: with z = y + slope/s, slope y + slope^2 / (2 s)."""
    total = 0.0
    for y, s, v in zip(loss.y, loss.weights, slope, strict=True):
        if s > 0.0:
            total += v * y + v * v / (2.0 * s)
        elif v != 0.0:
            return np.inf
    return total


@pytest.mark.parametrize("seed", range(3))
def test_value_and_derivatives(seed):
    loss, predictor, direction = draw(seed)
    half = sum(s * (y - z) ** 2 / 2.0 for y, s, z in zip(loss.y, loss.weights, predictor, strict=True))
    assert loss_value(loss, predictor) == pytest.approx(half, rel=1e-14)
    # Central differences are exact for a quadratic, whatever the step, up to rounding.
    ahead, behind = (loss_value(loss, predictor + h * direction) for h in (0.5, -0.5))
    assert -negative_gradient(loss, predictor) @ direction == pytest.approx(ahead - behind, rel=1e-12)
    second = (ahead - 2.0 * loss_value(loss, predictor) + behind) / 0.25
    assert curvature(loss, predictor) @ direction**2 == pytest.approx(second, rel=1e-12)
    assert is_quadratic(loss)


@pytest.mark.parametrize("seed", range(3))
def test_fenchel_young_is_loss_plus_conjugate_minus_product(seed):
    loss, predictor, dual = draw(seed)
    dual[loss.weights == 0.0] = 0.0
    gap = fenchel_young(loss, predictor, dual)
    expected = loss_value(loss, predictor) + squared_conjugate(loss, -dual) + dual @ predictor
    assert gap == pytest.approx(expected, rel=1e-12)
    assert gap > 0.0
    # Equality at the negative gradient, exactly; and next to it, far below the rounding of the separate terms.
    theta = negative_gradient(loss, predictor)
    assert fenchel_young(loss, predictor, theta) == 0.0
    near = fenchel_young(loss, predictor, theta * (1.0 + 2.0**-40))
    positive = loss.weights > 0.0
    assert near == pytest.approx(2.0**-81 * np.sum(theta[positive] ** 2 / loss.weights[positive]), rel=1e-3)


def test_a_row_without_weight_has_no_dual_variable():
    loss, predictor, _ = draw(0)
    dual = negative_gradient(loss, predictor)
    assert dual[0] == 0.0
    dual[0] = 1e-9
    assert fenchel_young(loss, predictor, dual) == squared_conjugate(loss, -dual) == np.inf


def test_integer_weights_are_repeated_rows():
    rng = np.random.default_rng(1)
    y, z, counts = rng.normal(size=6), rng.normal(size=6), np.array([1, 3, 0, 2, 1, 4])
    weighted = reweighted(Squared(y, np.full(6, 1 / 6)), counts.astype(float))
    repeated = Squared(np.repeat(y, counts), np.full(11, 1 / 11))
    assert weighted.weights.sum() == pytest.approx(1.0, rel=1e-15)
    assert loss_value(weighted, z) == pytest.approx(loss_value(repeated, np.repeat(z, counts)), rel=1e-14)


def test_reweighted_is_free_of_units_and_keeps_the_original():
    loss, _, direction = draw(2)
    before, weights = loss.weights.copy(), np.abs(direction)
    one = reweighted(loss, weights)
    np.testing.assert_allclose(reweighted(loss, 7.0 * weights).weights, one.weights, rtol=1e-15)
    np.testing.assert_array_equal(loss.weights, before)
    assert one.y is loss.y


@kernel
def _everything(loss, predictor, dual):
    return (
        loss_value(loss, predictor),
        negative_gradient(loss, predictor),
        curvature(loss, predictor),
        fenchel_young(loss, predictor, dual),
        is_quadratic(loss),
    )


def test_compiled_code_computes_the_same_as_python():
    loss, predictor, dual = draw(3, zeros=0)
    compiled = _everything(loss, predictor, dual)
    python = (
        loss_value(loss, predictor),
        negative_gradient(loss, predictor),
        curvature(loss, predictor),
        fenchel_young(loss, predictor, dual),
        is_quadratic(loss),
    )
    for ours, theirs in zip(compiled, python, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)  # sums in another order
