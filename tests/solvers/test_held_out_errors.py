"""The measure of held-out entries belongs to the loss: closed forms, scale, and what zeros count."""

import numpy as np
import pytest
from scipy.special import kl_div

from sparsemodels.solvers.held_out_errors import held_out_errors

X = np.array([0.3, 1.0, 4.0, 0.0])
Y = np.array([0.5, 2.0, 1.0, 0.7])


def test_the_measure_follows_the_loss():
    np.testing.assert_allclose(held_out_errors("frobenius", X, Y), (X - Y) ** 2, rtol=1e-14)
    np.testing.assert_allclose(held_out_errors(2.0, X, Y), (X - Y) ** 2, rtol=1e-14)
    np.testing.assert_allclose(held_out_errors("kullback-leibler", X, Y), kl_div(X, Y), rtol=1e-13)
    np.testing.assert_allclose(held_out_errors(3.0, X, Y), (X**3 + 2 * Y**3 - 3 * X * Y**2) / 6, rtol=1e-13)
    ratio = X[:3] / Y[:3]
    np.testing.assert_allclose(held_out_errors("itakura-saito", X[:3], Y[:3]), ratio - np.log(ratio) - 1.0, rtol=1e-13)
    for loss in ("correntropy", "huber", "l21", "cauchy"):
        np.testing.assert_array_equal(held_out_errors(loss, X, Y), np.abs(X - Y))


@pytest.mark.parametrize("loss", [-1.0, "itakura-saito", 0.5, "kullback-leibler", 1.5, "frobenius", 3.0, "huber"])
def test_smallest_where_the_prediction_is_exact(loss):
    y = np.linspace(0.5, 4.0, 351)
    errors = held_out_errors(loss, np.full(y.size, 1.7), y)
    assert y[errors.argmin()] == pytest.approx(1.7)
    assert errors.min() == pytest.approx(0.0, abs=1e-14)


@pytest.mark.parametrize("loss", ["kullback-leibler", "itakura-saito", 0.5, -0.5])
def test_a_prediction_of_zero_is_very_bad_but_finite(loss):
    errors = held_out_errors(loss, np.array([1.0, 1.0]), np.array([0.0, 1e-3]))
    assert np.isfinite(errors).all()
    assert errors[0] > errors[1]


def test_scale_of_kullback_leibler():
    for scale in (1e-150, 1e150):
        np.testing.assert_allclose(
            held_out_errors("kullback-leibler", scale * X, scale * Y), scale * kl_div(X, Y), rtol=1e-12
        )


def test_unknown_loss():
    with pytest.raises(ValueError, match="loss='hinge'"):
        held_out_errors("hinge", X, Y)
