"""Alignment of runs against brute force over permutations; silhouettes against scikit-learn's."""

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import silhouette_samples

from sparsemodels.solvers.factor_alignment import align_factors, match, unit_rows
from sparsemodels.solvers.silhouettes import angular_silhouettes


@pytest.fixture
def random():
    return np.random.default_rng(0)


def total(similarities, order):
    return sum(similarities[a, b] for a, b in enumerate(order))


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6])
def test_matching_equals_brute_force(random, n):
    for _ in range(20):
        similarities = random.random((n, n))
        best = max(total(similarities, order) for order in permutations(range(n)))
        assert total(similarities, match(similarities)) == pytest.approx(best, rel=1e-14)


def test_greedy_matching_is_worse():
    # The largest entry first forces a zero: the reason for the Hungarian method.
    similarities = np.array([[0.9, 0.8], [0.8, 0.0]])
    np.testing.assert_array_equal(match(similarities), [1, 0])


def shuffled_runs(random, base, n_runs, noise):
    orders = np.stack([random.permutation(base.shape[0]) for _ in range(n_runs)])
    noisy = base * (1.0 + noise * random.standard_normal((n_runs, *base.shape)))
    lengths = random.uniform(0.1, 10.0, size=(n_runs, base.shape[0], 1))
    return np.take_along_axis(noisy * lengths, orders[:, :, np.newaxis], axis=1), orders


def test_recovers_the_order_of_shuffled_and_rescaled_runs(random):
    base = random.exponential(size=(6, 30))
    runs, orders = shuffled_runs(random, base, 9, 0.05)
    alignment = align_factors(runs)
    truth = np.take_along_axis(orders, alignment.orders, axis=1)  # which planted component stands in each place
    assert (truth == truth[0]).all()
    cosines = np.einsum("aj,aj->a", unit_rows(base)[truth[0]], alignment.centroids)
    assert cosines.min() > 0.998
    # Invariances: lengths of the vectors, to the bit when they are powers of two; the order within each run.
    np.testing.assert_array_equal(align_factors(4.0 * runs).centroids, alignment.centroids)
    reversed_runs = align_factors(runs[:, ::-1])
    assert reversed_runs.similarity == pytest.approx(alignment.similarity, rel=1e-14)


def test_a_fixed_point_and_no_order_of_a_single_run_is_better(random):
    runs = random.random((5, 4, 6))  # nothing to find: the hard case
    alignment = align_factors(runs)
    unit = unit_rows(runs)
    for p in range(5):
        cosines = alignment.centroids @ unit[p].T
        best = max(total(cosines, order) for order in permutations(range(4)))
        assert total(cosines, alignment.orders[p]) == pytest.approx(best, rel=1e-11)
    aligned = np.take_along_axis(unit, alignment.orders[:, :, np.newaxis], axis=1)
    np.testing.assert_allclose(unit_rows(aligned.sum(axis=0)), alignment.centroids, atol=1e-14)


def test_close_to_the_best_of_all_joint_orders(random):
    # Three runs of three components: all 36 joint orders. The iteration is local, so that it need not be the best;
    # on runs that have a common structure it is.
    base = random.exponential(size=(3, 12))
    runs, _ = shuffled_runs(random, base, 3, 0.2)
    unit = unit_rows(runs)
    best = max(
        np.linalg.norm(unit[0] + unit[1][list(one)] + unit[2][list(two)], axis=1).sum()
        for one in permutations(range(3))
        for two in permutations(range(3))
    )
    assert align_factors(runs).similarity == pytest.approx(best, rel=1e-13)


def test_zero_and_huge_vectors(random):
    runs = random.random((3, 2, 5))
    runs[1, 0] = 0.0
    runs[2] *= 1e200
    alignment = align_factors(runs)
    assert np.isfinite(alignment.centroids).all()
    np.testing.assert_allclose(np.linalg.norm(alignment.centroids, axis=1), 1.0, rtol=1e-14)


@pytest.mark.parametrize(("n_runs", "n_clusters"), [(2, 2), (5, 3), (20, 7)])
def test_silhouettes_equal_those_of_scikit_learn(random, n_runs, n_clusters):
    clusters = random.exponential(size=(n_clusters, 8)) + 0.5 * random.random((n_runs, n_clusters, 8))
    vectors = clusters.reshape(-1, 8)
    norms = np.linalg.norm(vectors, axis=1)
    angles = np.arccos(np.clip(vectors @ vectors.T / np.outer(norms, norms), -1.0, 1.0))
    np.fill_diagonal(angles, 0.0)
    labels = np.tile(np.arange(n_clusters), n_runs)
    expected = silhouette_samples(angles, labels, metric="precomputed").reshape(n_runs, n_clusters)
    np.testing.assert_allclose(angular_silhouettes(clusters), expected, atol=1e-10)


def test_silhouettes_at_their_limits(random):
    tight = np.tile(np.eye(3), (4, 1, 1)) * random.uniform(0.5, 2.0, size=(4, 3, 1))
    np.testing.assert_allclose(angular_silhouettes(tight), 1.0)
    # A vector of cluster 0 that lies in cluster 1: the angles are 0 to that one, 90 degrees to its own.
    wrong = tight.copy()
    wrong[0, 0] = [0.0, 1.0, 0.0]
    assert angular_silhouettes(wrong)[0, 0] == pytest.approx(-1.0)
    np.testing.assert_array_equal(angular_silhouettes(tight[:, :1]), np.ones((4, 1)))
    np.testing.assert_array_equal(angular_silhouettes(np.zeros((3, 2, 4))).shape, (3, 2))


def test_silhouettes_need_two_runs():
    with pytest.raises(ValueError, match="at least two runs, got 1"):
        angular_silhouettes(np.ones((1, 2, 3)))
