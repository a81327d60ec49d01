"""Logistic, Poisson, Gamma and Huber losses against finite differences and conjugates found by brute force."""

import math

import numpy as np
import pytest
import scipy.optimize

from sparsemodels.solvers.kernel import kernel
from sparsemodels.solvers.losses import (
    Gamma,
    Huber,
    Logistic,
    Offset,
    Poisson,
    Squared,
    conjugate_scale,
    curvature,
    fenchel_young,
    is_quadratic,
    loss_value,
    negative_gradient,
    reweighted,
)

KINDS = ["logistic", "soft labels", "poisson", "gamma", "huber", "offset"]


def draw(kind, seed=0, n=9, zeros=2):
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.2, 2.0, n)
    weights[:zeros] = 0.0
    weights /= weights.sum()
    predictor = rng.normal(size=n)
    loss = {
        "logistic": lambda: Logistic(rng.integers(0, 2, n).astype(float), weights),
        "soft labels": lambda: Logistic(rng.uniform(0.0, 1.0, n), weights),
        "poisson": lambda: Poisson(rng.poisson(1.5, n).astype(float), weights),
        "gamma": lambda: Gamma(rng.gamma(2.0, 1.0, n) + 1e-3, weights),
        "huber": lambda: Huber(rng.normal(scale=3.0, size=n), weights, 1.35),
        "offset": lambda: Offset(Poisson(rng.poisson(1.5, n).astype(float), weights), rng.normal(size=n)),
    }[kind]()
    return loss, predictor


def row_loss(kind, y, z, delta=1.35):
    """The loss of one row, written from its definition."""
    if kind in ("logistic", "soft labels"):
        entropy = -sum(p * math.log(p) for p in (y, 1.0 - y) if p > 0.0)
        return np.logaddexp(0.0, z) - y * z - entropy
    if kind in ("poisson", "offset"):
        return math.exp(z) - y * z + (y * math.log(y) - y if y > 0.0 else 0.0)
    if kind == "gamma":
        return y * math.exp(-z) + z - 1.0 - math.log(y)
    return 0.5 * (y - z) ** 2 if abs(y - z) <= delta else delta * abs(y - z) - 0.5 * delta**2


def rows(kind, loss, predictor):
    inner, offset = (loss.loss, loss.offset) if kind == "offset" else (loss, np.zeros(predictor.size))
    return zip(inner.y, inner.weights, predictor + offset, offset, strict=True)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_value_gradient_and_curvature(kind, seed):
    loss, predictor = draw(kind, seed)
    expected = sum(s * row_loss(kind, y, z) for y, s, z, _ in rows(kind, loss, predictor))
    assert loss_value(loss, predictor) == pytest.approx(expected, rel=1e-12)
    direction = np.random.default_rng(seed + 10).normal(size=predictor.size)
    h = 1e-5
    ahead, behind = (loss_value(loss, predictor + step * direction) for step in (h, -h))
    # Central differences: an error of h^2 and rounding over h.
    assert -negative_gradient(loss, predictor) @ direction == pytest.approx((ahead - behind) / (2.0 * h), abs=1e-9)
    slopes = [negative_gradient(loss, predictor + step * direction) @ direction for step in (h, -h)]
    second = (slopes[1] - slopes[0]) / (2.0 * h)
    bend = curvature(loss, predictor)
    if kind == "huber":  # beyond delta the Hessian vanishes, and a positive number stands in for it
        inside = np.abs(loss.y - predictor) <= loss.delta
        assert inside.any()
        assert not inside.all()
        assert bend[inside] @ direction[inside] ** 2 == pytest.approx(second, abs=1e-9)
        np.testing.assert_array_equal(bend[inside], loss.weights[inside])
        assert (bend[~inside & (loss.weights > 0.0)] > 0.0).all()
    else:
        assert bend @ direction**2 == pytest.approx(second, abs=1e-8)
    assert not is_quadratic(loss)


@pytest.mark.parametrize("kind", KINDS)
def test_a_perfect_fit_has_loss_zero(kind):
    loss, _ = draw(kind)
    y = loss.loss.y if kind == "offset" else loss.y
    with np.errstate(divide="ignore", invalid="ignore"):
        perfect = {
            "logistic": 60.0 * (2.0 * y - 1.0),
            "soft labels": np.log(y) - np.log1p(-y),
            "poisson": np.maximum(np.log(y), -60.0),
            "gamma": np.log(y),
            "huber": y,
            "offset": np.maximum(np.log(y), -60.0) - (loss.offset if kind == "offset" else 0.0),
        }[kind]
    assert 0.0 <= loss_value(loss, perfect) < 1e-25
    np.testing.assert_allclose(negative_gradient(loss, perfect), 0.0, atol=1e-15)


def feasible_dual(kind, loss, seed=0):
    """A dual point inside of the domain of the conjugate."""
    rng = np.random.default_rng(seed + 5)
    inner = loss.loss if kind == "offset" else loss
    share = rng.uniform(0.1, 0.9, inner.y.size)
    if kind in ("logistic", "soft labels"):
        return inner.weights * (inner.y - share)
    if kind in ("poisson", "offset"):
        return inner.weights * (inner.y - 3.0 * share)
    if kind == "gamma":
        return inner.weights * (3.0 * share - 1.0)
    return inner.weights * inner.delta * (2.0 * share - 1.0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_fenchel_young_is_loss_plus_conjugate_minus_product(kind, seed):
    """The conjugate by one-dimensional maximisation, row by row."""
    loss, predictor = draw(kind, seed)
    dual = feasible_dual(kind, loss, seed)
    conjugate = 0.0
    for (y, s, _, offset), theta in zip(rows(kind, loss, predictor), dual, strict=True):
        if s > 0.0:

            def lagrangian(z, y=y, s=s, theta=theta, offset=offset):
                return theta * z / s + row_loss(kind, y, z + offset)

            best = scipy.optimize.minimize_scalar(lagrangian, bounds=(-30.0, 30.0), options={"xatol": 1e-9})
            conjugate -= s * best.fun
    expected = loss_value(loss, predictor) + conjugate + dual @ predictor
    assert expected > 0.0
    assert fenchel_young(loss, predictor, dual) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_fenchel_young_is_accurate_near_zero(kind):
    """Next to the gradient it is a quadratic form in the difference, far below the rounding of the separate terms."""
    loss, predictor = draw(kind, zeros=0)
    theta = negative_gradient(loss, predictor)
    assert fenchel_young(loss, predictor, theta) <= 1e-30
    if kind == "huber":  # beyond delta it is linear
        inside = np.abs(loss.y - predictor) < loss.delta
        theta = np.where(inside, theta, np.sign(theta) * loss.delta * loss.weights)
    change = np.where(np.abs(theta) > 0.0, 2.0**-36 * np.abs(theta), 0.0)
    near = theta - np.sign(theta) * change
    if kind == "huber":
        near = np.where(inside, near, theta)
        change = np.where(inside, change, 0.0)
    expected = 0.5 * np.sum(change**2 / curvature(loss, predictor))
    assert fenchel_young(loss, predictor, near) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_feasible_multiple(kind):
    loss, predictor = draw(kind, zeros=0)
    inner = loss.loss if kind == "offset" else loss
    assert conjugate_scale(loss, negative_gradient(loss, predictor)) == 1.0  # a gradient is always feasible
    outside = {
        "logistic": inner.weights * (2.0 * inner.y - 1.0) * 2.0,
        "soft labels": inner.weights * 2.0,
        "poisson": inner.weights * inner.y * 2.0,
        "gamma": -2.0 * inner.weights,
        "huber": 2.0 * inner.weights * getattr(inner, "delta", 0.0),
        "offset": inner.weights * inner.y * 2.0,
    }[kind]
    assert fenchel_young(loss, predictor, outside) == np.inf
    scale = conjugate_scale(loss, outside)
    if kind == "soft labels":
        assert scale == pytest.approx(inner.y.min() / 2.0, rel=1e-8)
    else:
        assert scale == pytest.approx(0.5, rel=1e-8)
    assert np.isfinite(fenchel_young(loss, predictor, scale * outside))
    assert fenchel_young(loss, predictor, (scale + 1e-6) * outside) == np.inf


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_without_weight_has_no_dual_variable(kind):
    loss, predictor = draw(kind)
    dual = negative_gradient(loss, predictor)
    assert dual[0] == 0.0
    dual[0] = 1e-9
    assert fenchel_young(loss, predictor, dual) == np.inf


@pytest.mark.parametrize("kind", KINDS)
def test_integer_weights_are_repeated_rows(kind):
    loss, predictor = draw(kind)
    counts = np.array([1, 3, 0, 2, 1, 4, 0, 1, 2])
    weighted = reweighted(loss, counts.astype(float))
    uniform = np.full(counts.sum(), 1.0 / counts.sum())
    if kind == "offset":
        inner = loss.loss._replace(y=np.repeat(loss.loss.y, counts), weights=uniform)
        repeated = Offset(inner, np.repeat(loss.offset, counts))
    else:
        repeated = loss._replace(y=np.repeat(loss.y, counts), weights=uniform)
    z = np.repeat(predictor, counts)
    assert loss_value(weighted, predictor) == pytest.approx(loss_value(repeated, z), rel=1e-13)
    row = np.repeat(np.arange(9), counts)
    gathered = np.bincount(row, weights=negative_gradient(repeated, z), minlength=9)
    np.testing.assert_allclose(negative_gradient(weighted, predictor), gathered, rtol=1e-12)


@pytest.mark.parametrize("kind", ["logistic", "poisson", "gamma", "huber"])
@pytest.mark.parametrize("size", [40.0, 1e4])
def test_extreme_predictors_stay_finite(kind, size):
    loss, _ = draw(kind, zeros=0)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for predictor in (np.full(9, size), np.full(9, -size)):
            assert np.isfinite(loss_value(loss, predictor))
            assert np.isfinite(negative_gradient(loss, predictor)).all()
            bend = curvature(loss, predictor)
            assert np.isfinite(bend).all()
            # A gradient with no curvature to go with it would make an endless Newton step.
            assert (np.abs(negative_gradient(loss, predictor)) <= 1e5 * (1.0 + size) * bend).all()


def test_the_offset_of_a_quadratic_loss_is_a_shift_of_its_target():
    rng = np.random.default_rng(0)
    y, z, offset, theta = rng.normal(size=(4, 6))
    s = np.full(6, 1 / 6)
    shifted, loss = Squared(y - offset, s), Offset(Squared(y, s), offset)
    assert is_quadratic(loss)
    assert conjugate_scale(loss, theta) == 1.0
    assert loss_value(loss, z) == pytest.approx(loss_value(shifted, z), rel=1e-14)
    assert fenchel_young(loss, z, theta) == pytest.approx(fenchel_young(shifted, z, theta), rel=1e-14)


@kernel
def _everything(loss, predictor, dual):
    return (
        loss_value(loss, predictor),
        negative_gradient(loss, predictor),
        curvature(loss, predictor),
        fenchel_young(loss, predictor, dual),
        conjugate_scale(loss, dual),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_compiled_code_computes_the_same_as_python(kind):
    loss, predictor = draw(kind)
    dual = feasible_dual(kind, loss)
    compiled = _everything(loss, predictor, dual)
    python = (
        loss_value(loss, predictor),
        negative_gradient(loss, predictor),
        curvature(loss, predictor),
        fenchel_young(loss, predictor, dual),
        conjugate_scale(loss, dual),
    )
    for ours, theirs in zip(compiled, python, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13)
