"""Ranking against a full sort."""

import numpy as np
import pytest
import scipy.sparse

from sparsemodels.solvers import top_items as module
from sparsemodels.solvers.top_items import top_items


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("with_seen", [False, True])
def test_order_ties_and_exclusion(seed, with_seen, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_BYTES", 400)  # several blocks
    random = np.random.default_rng(seed)
    n_rows, n_columns = random.integers(1, 9), random.integers(1, 30)
    n_items = int(random.integers(1, n_columns + 1))
    scores = random.integers(0, 6, (n_rows, n_columns)).astype(np.float32 if seed % 2 else np.float64)
    known = random.random(scores.shape) < 0.4
    seen = scipy.sparse.csr_array(known.astype(float)) if with_seen else None
    items, values = top_items(lambda rows: scores[rows], n_rows, n_columns, n_items, exclude=seen)
    for i in range(n_rows):
        candidates = [j for j in range(n_columns) if not (with_seen and known[i, j])]
        expected = sorted(candidates, key=lambda j: (-scores[i, j], j))[:n_items]
        missing = n_items - len(expected)
        assert items[i].tolist() == expected + [-1] * missing
        np.testing.assert_array_equal(values[i], [*scores[i, expected], *[-np.inf] * missing])


def test_scores_that_are_not_numbers_are_never_recommended():
    scores = np.array([[np.nan, 1.0, -np.inf, 2.0]])
    items, _ = top_items(lambda rows: scores[rows], 1, 4, 4)
    assert items.tolist() == [[3, 1, -1, -1]]
