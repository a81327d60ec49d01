"""Coordinate descent with the residual kept: the same steps as with a Gram matrix for every row."""

import numpy as np
import pytest

from sparsemodels.solvers import observed_rows
from sparsemodels.solvers.observed_matrix import SomeEntries, observe
from sparsemodels.solvers.row_update import RowTerms, no_terms, update_rows


def problem(weighted=False, n_rows=23, n_columns=40, n_components=5):
    rng = np.random.default_rng(0)
    X = rng.random((n_rows, n_columns))
    weights = (rng.random(X.shape) < 0.4).astype(float)
    weights[4] = 0.0
    weights[:, 7] = 0.0
    if weighted:
        weights *= rng.integers(1, 4, X.shape)
    F, K = (np.maximum(rng.standard_normal((size, n_components)), 0.0) for size in X.shape)
    matrix = observe(X, weights=weights)
    assert isinstance(matrix, SomeEntries)
    terms = RowTerms(
        0.3 * rng.random(n_rows), rng.random(n_rows), 0.3 + rng.random(n_rows), 0.2 * rng.standard_normal(F.shape)
    )
    return matrix, F, K, terms


def both(monkeypatch, matrix, F, K, terms, **options):
    """The update with Gram matrices and the one with residuals."""
    answers = []
    for many in (F.shape[1] + 1, F.shape[1]):
        monkeypatch.setattr(observed_rows, "_MANY_COMPONENTS", many)
        changed = F.copy()
        answers.append((changed, update_rows(matrix, changed, K, terms, **options)))
    return answers


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("penalised", [False, True])
@pytest.mark.parametrize("sweeps", [1, 4])
def test_the_same_steps_as_with_gram_matrices(monkeypatch, weighted, penalised, sweeps):
    matrix, F, K, terms = problem(weighted)
    terms = terms if penalised else no_terms(*F.shape)
    (one, first), (two, second) = both(monkeypatch, matrix, F, K, terms, max_sweeps=sweeps, delta=0.0)
    assert not np.array_equal(one, F)
    np.testing.assert_allclose(two, one, rtol=1e-9, atol=1e-11)
    assert second.loss == pytest.approx(first.loss, rel=1e-10)
    assert second.kkt_squared == pytest.approx(first.kkt_squared, rel=1e-10)
    assert second.n_sweeps == first.n_sweeps == sweeps


def test_many_sweeps_end_at_the_exact_rows(monkeypatch):
    matrix, F, K, terms = problem()
    exact = F.copy()
    update_rows(matrix, exact, K, terms, max_sweeps=1, exact=True)
    _, (rows, _) = both(monkeypatch, matrix, F, K, terms, max_sweeps=2000, delta=0.0)
    np.testing.assert_allclose(rows, exact, atol=1e-9)


def test_many_components_take_this_route():
    """Chosen by the number of components alone; bitwise the same for every number of threads."""
    matrix, F, K, terms = problem(n_rows=1100, n_components=50)
    answers = []
    for n_jobs in (1, 2):
        rows = F.copy()
        update = update_rows(matrix, rows, K, terms, max_sweeps=2, n_jobs=n_jobs)
        answers.append((rows, update))
    assert np.array_equal(answers[0][0], answers[1][0])
    assert answers[0][1] == answers[1][1]
    assert answers[0][1].loss < update_rows(matrix, F, K, terms, max_sweeps=0).loss
