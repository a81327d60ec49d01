"""Anderson extrapolation on linear iterations, whose limits are known."""

import numpy as np
import pytest

from sparsemodels.solvers.anderson import Anderson


@pytest.mark.parametrize("size", [1, 2, 4])
def test_linear_iteration_is_solved_exactly_once_the_memory_holds_its_dimension(size):
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.standard_normal((size, size)))
    matrix = q @ np.diag(np.linspace(0.3, 0.9, size)) @ q.T
    limit = rng.standard_normal(size)
    anderson, x = Anderson(size, memory=size + 1), np.zeros(size)
    for _ in range(size + 1):
        assert anderson.push(x) is None
        x = limit + matrix @ (x - limit)
    extrapolated = anderson.push(x)
    # The ridge of 1e-12 on the squared differences is what keeps it from being exact, the more the more there are.
    assert np.linalg.norm(extrapolated - limit) <= 1e-4 * np.linalg.norm(limit)
    assert np.linalg.norm(x - limit) > 1e-2 * np.linalg.norm(limit)


def test_not_worse_than_the_last_difference():
    # The combined difference is the smallest of all combinations, so that of the last iterate alone is no smaller.
    rng = np.random.default_rng(1)
    for _ in range(50):
        size = int(rng.integers(1, 12))
        half = rng.standard_normal((size, size))
        matrix = half @ half.T
        matrix *= rng.uniform(0.5, 0.999) / np.linalg.norm(matrix, 2)
        offset, x, anderson = rng.standard_normal(size), np.zeros(size), Anderson(size)
        for _ in range(5):
            assert anderson.push(x) is None
            x = matrix @ x + offset
        extrapolated = anderson.push(x)
        residual = np.linalg.norm(matrix @ extrapolated + offset - extrapolated)
        assert residual <= (1.0 + 1e-6) * np.linalg.norm(matrix @ x + offset - x)


def test_starts_anew_and_keeps_the_input():
    anderson = Anderson(1, memory=2)
    x = np.array([8.0])
    for _ in range(3):
        before, sequence = x.copy(), []
        for _ in range(3):
            sequence.append(anderson.push(x))
            np.testing.assert_array_equal(x, before)
            x = 0.5 * x + 1.0
            before = x.copy()
        assert sequence[0] is sequence[1] is None
        assert sequence[2] == pytest.approx(2.0, abs=1e-5)


@pytest.mark.parametrize("scale", [1e-300, 1e-162, 1.0, 1e300])
def test_any_scale(scale):
    anderson, x = Anderson(2, memory=3), np.array([8.0, -4.0])
    for _ in range(4):
        extrapolated = anderson.push(scale * x)
        x = np.array([0.5, 0.25]) * x + 1.0
    np.testing.assert_allclose(extrapolated / scale, [2.0, 4.0 / 3.0], atol=1e-4)


def test_a_sequence_that_stands_still_has_nothing_to_extrapolate():
    anderson = Anderson(3, memory=2)
    assert [anderson.push(np.ones(3)) for _ in range(3)] == [None, None, None]
    assert [Anderson(0, memory=1).push(np.empty(0)) for _ in range(2)] == [None, None]
