import numpy as np
import pytest

from sparsemodels.solvers.weighted_median import weighted_median


def by_sorting(values, weights):
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) >= 0.5 * weights.sum()
    return values[order][np.argmax(reached)]


@pytest.mark.parametrize("ties", [False, True])
def test_equals_sorting_and_minimises(ties):
    rng = np.random.default_rng(0)
    for _ in range(500):
        size = int(rng.integers(1, 30))
        # Integers: sums of weights are exact, also where exactly half of the weight is reached.
        values = rng.integers(-4, 5, size).astype(float) if ties else rng.standard_normal(size)
        weights = rng.integers(0, 4, size).astype(float)
        if not weights.any():
            weights[0] = 1.0
        found = weighted_median(values.copy(), weights.copy(), size)
        assert found == by_sorting(values, weights)
        costs = np.abs(values[:, None] - values) @ weights
        assert np.abs(values - found) @ weights <= costs.min() + 1e-12


def test_sorted_input_infinite_values_and_the_size():
    values = np.arange(1001.0)
    assert weighted_median(values.copy(), np.ones(1001), 1001) == 500.0
    assert weighted_median(values[::-1].copy(), np.ones(1001), 1001) == 500.0
    assert weighted_median(np.array([np.inf, 2.0, -np.inf]), np.ones(3), 3) == 2.0
    assert weighted_median(np.array([5.0, 7.0, 0.0, 0.0]), np.array([1.0, 2.0, 9.0, 9.0]), 2) == 7.0


def test_pairs_stay_together():
    rng = np.random.default_rng(1)
    values, weights = rng.standard_normal(50), rng.random(50)
    moved, moved_weights = values.copy(), weights.copy()
    weighted_median(moved, moved_weights, 50)
    assert sorted(zip(moved, moved_weights)) == sorted(zip(values, weights))
