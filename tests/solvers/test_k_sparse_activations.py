import numpy as np
import pytest

from sparsemodels.solvers.k_sparse_activations import (
    BELOW,
    AbsTopKActivation,
    BatchTopKActivation,
    FeatureChoiceActivation,
    ThresholdActivation,
    TopAFAActivation,
    TopKActivation,
    batch_thresholds,
    column_counts,
    select,
    with_budget,
)
from sparsemodels.solvers.sparse_codes import to_dense

RNG = np.random.default_rng(0)
SHAPES = [(40, 130), (7, 5), (1, 20), (30, 1)]


def kept_first(keys, count):
    """Which of some keys are the largest positive ones; of equal keys the first."""
    order = np.argsort(-keys, kind="stable")[:count]
    kept = np.zeros(keys.size, dtype=bool)
    kept[order] = keys[order] > 0.0
    return kept


def by_rows(keys, counts):
    return np.array([kept_first(row, count) for row, count in zip(keys, counts, strict=True)])


def top_afa(A, norms, most):
    kept = np.zeros(A.shape, dtype=bool)
    for i, row in enumerate(A):
        order = np.argsort(-row, kind="stable")
        order = order[row[order] > 0.0][:most]
        if order.size:
            reached = np.sqrt(np.cumsum(row[order].astype(np.float64) ** 2))
            kept[i, order[: np.argmin(np.abs(reached - norms[i])) + 1]] = True
    return kept


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("k", [1, 3, 20])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_activation_against_sorting(shape, k, ties, dtype):
    A = RNG.standard_normal(shape).astype(dtype)
    A = np.round(A) if ties else A
    m, n = shape
    norms, thresholds = 0.1 + 3.0 * RNG.random(m), 0.1 + RNG.random(n)
    law = FeatureChoiceActivation(k)
    expected = [
        (TopKActivation(k), by_rows(A, [k] * m)),
        (AbsTopKActivation(k), by_rows(np.abs(A), [k] * m)),
        (BatchTopKActivation(k), kept_first(A.ravel(), k * m).reshape(shape)),
        (law, by_rows(A.T, column_counts(law, m, n)).T),
        (TopAFAActivation(k), top_afa(A, norms, k)),
    ]
    for activation, kept in expected:
        codes = select(activation, A, norms)
        np.testing.assert_array_equal(to_dense(codes), np.where(kept, A, 0.0), err_msg=type(activation).__name__)
        assert codes.values.dtype == dtype
    codes = select(ThresholdActivation(thresholds), A)
    np.testing.assert_array_equal(to_dense(codes), np.where(A >= thresholds.astype(dtype), A, 0.0))


def test_batch_selection_does_not_depend_on_where_large_entries_stand():
    # A sample of every 61st entry sees none of the large ones, or nothing else: the answer is exact all the same.
    for large in (slice(0, None, 61), slice(1, None, 61), slice(0, 300)):
        A = RNG.random((100, 61))
        A.ravel()[large] += 10.0
        kept = kept_first(A.ravel(), 200).reshape(A.shape)
        np.testing.assert_array_equal(to_dense(select(BatchTopKActivation(2), A)), np.where(kept, A, 0.0))


@pytest.mark.parametrize("activation", [TopKActivation(3), BatchTopKActivation(3), TopAFAActivation(3)])
def test_nothing_positive_gives_empty_codes(activation):
    for A in (np.zeros((4, 6)), -np.ones((4, 6))):
        assert select(activation, A, np.ones(4)).values.size == 0


def test_threads_change_nothing():
    A = RNG.standard_normal((3000, 300))
    norms = np.linalg.norm(A, axis=1)
    for activation in (
        TopKActivation(5), AbsTopKActivation(5), BatchTopKActivation(5), FeatureChoiceActivation(5),
        TopAFAActivation(300), ThresholdActivation(np.full(300, 2.0)),
    ):  # fmt: skip
        one, two = (select(activation, A, norms, n_jobs=n_jobs) for n_jobs in (1, 2))
        for mine, other in zip(one[:3], two[:3], strict=True):
            np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize(("n_samples", "n_latents", "k"), [(1000, 50, 3), (100, 2000, 30), (8, 10, 10)])
def test_column_counts_follow_the_law(n_samples, n_latents, k):
    activation = FeatureChoiceActivation(k)
    counts = column_counts(activation, n_samples, n_latents)
    assert np.all(np.diff(counts) <= 0)
    assert counts.min() >= 1
    assert counts.max() <= n_samples
    assert abs(counts.sum() - max(k * n_samples, n_latents)) <= 0.5 * n_latents
    free = (counts > 1) & (counts < n_samples)
    ratios = counts[free] * (np.flatnonzero(free) + 1 + activation.offset)
    if ratios.size:  # all in one proportion, up to the rounding of counts
        scale = np.median(ratios)
        rounding = 0.51 * (np.flatnonzero(free) + 1 + activation.offset)
        assert np.all(np.abs(ratios - scale) <= rounding + 0.51 * rounding.min() + 0.01 * scale)


def test_thresholds_of_a_batch_give_its_code_again():
    A = RNG.standard_normal((50, 30))
    for activation in (BatchTopKActivation(4), FeatureChoiceActivation(4)):
        codes = select(activation, A)
        thresholds = batch_thresholds(activation, codes)
        again = select(ThresholdActivation(np.where(np.isnan(thresholds), np.inf, thresholds)), A)
        np.testing.assert_array_equal(to_dense(again), to_dense(codes))
        smallest = np.where(to_dense(codes) > 0.0, A, np.inf).min(axis=0)
        smallest = np.full(30, smallest.min()) if isinstance(activation, BatchTopKActivation) else smallest
        np.testing.assert_allclose(thresholds, BELOW * smallest)


def test_budget_and_unknown_activation():
    assert with_budget(TopAFAActivation(3, 0.5), 7) == TopAFAActivation(7, 0.5)
    with pytest.raises(TypeError, match="not an activation: int"):
        select(3, np.ones((2, 2)))
