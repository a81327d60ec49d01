"""Cross-validation by fold weights against fits on the rows that are left, and the choice of a level by hand."""

import numpy as np
import pytest
import scipy.sparse

from sparsemodels.solvers.columns import as_columns
from sparsemodels.solvers.composite import Composite
from sparsemodels.solvers.cross_validation import choose_level, cross_validate
from sparsemodels.solvers.losses import Squared
from sparsemodels.solvers.path import solve_path
from sparsemodels.solvers.penalties import L1

N, P = 45, 12
ALPHAS = np.array([0.5, 0.2, 0.05])


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = np.asfortranarray(rng.standard_normal((N, P)) * (rng.random((N, P)) < 0.7))
    y = X[:, :3] @ [2.0, -1.0, 1.0] + rng.standard_normal(N) + 2.0
    weights = rng.integers(0, 4, N).astype(float)
    rows = rng.permutation(N)
    folds = [(np.setdiff1d(rows, part), part) for part in np.array_split(rows, 4)]
    return X, y, weights, folds


def run(X, y, weights, folds, n_jobs=1):
    def fit_path(loss):
        problem = Composite(X, loss, fit_intercept=True)
        return solve_path(problem, L1(1.0, np.ones(P)), ALPHAS, tol=1e-12)

    loss = Squared(y, weights / weights.sum())
    return cross_validate(X, loss, weights, folds, ALPHAS.size, fit_path, n_jobs=n_jobs)


def refit(X, y, alpha):
    loss = Squared(y, np.full(len(y), 1.0 / len(y)))
    return Composite(np.asfortranarray(X), loss, fit_intercept=True).solve(L1(alpha, np.ones(P)), tol=1e-13)


@pytest.mark.parametrize("sparse", [False, True])
def test_fold_weights_are_removed_rows_and_integer_weights_repeated_ones(data, sparse):
    X, y, weights, folds = data
    result = run(as_columns(scipy.sparse.csc_array(X)) if sparse else X, y, weights, folds)
    assert result.losses.shape == result.dual_gaps.shape == (3, 4)
    assert result.statuses == ["converged"] * 4
    counts = weights.astype(int)
    for f, (train, test) in enumerate(folds):
        for k, alpha in enumerate(ALPHAS):
            repeated = np.repeat(train, counts[train])
            fit = refit(X[repeated], y[repeated], alpha)
            errors = y[test] - X[test] @ fit.coef - fit.intercept
            expected = 0.5 * np.average(errors**2, weights=weights[test])
            # Gaps of 1e-12 leave the coefficients a square root of that.
            assert result.losses[k, f] == pytest.approx(expected, rel=1e-5)


def test_the_number_of_threads_changes_nothing(data):
    one, two = run(*data, n_jobs=1), run(*data, n_jobs=2)
    np.testing.assert_array_equal(one.losses, two.losses)
    np.testing.assert_array_equal(one.dual_gaps, two.dual_gaps)
    assert one.statuses == two.statuses


def test_a_fold_without_weight_fails_with_its_name(data):
    X, y, weights, folds = data
    weights = weights.copy()
    weights[folds[2][1]] = 0.0
    with pytest.raises(ValueError, match="sample_weight is zero on all held-out rows of fold 2"):
        run(X, y, weights, folds)
    weights = np.where(np.isin(np.arange(N), folds[1][1]), 1.0, 0.0)
    with pytest.raises(ValueError, match="sample_weight is zero on all held-out rows of fold 0"):
        run(X, y, weights, folds)
    with pytest.raises(ValueError, match="sample_weight is zero on all training rows of fold 0"):
        run(X, y, weights, folds[1:2])


def test_levels_that_a_fold_did_not_reach_are_missing(data):
    X, y, weights, folds = data

    def fit_path(loss):
        problem = Composite(X, loss, fit_intercept=True)
        return solve_path(problem, L1(1.0, np.ones(P)), ALPHAS, on_alpha=lambda k, _: k == 1)

    loss = Squared(y, weights / weights.sum())
    result = cross_validate(X, loss, weights, folds, ALPHAS.size, fit_path)
    assert result.statuses == ["stopped"] * 4
    np.testing.assert_array_equal(np.isnan(result.losses), [[False] * 4] * 2 + [[True] * 4])
    assert choose_level(result.losses)[0] in (0, 1)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        # Means 5, 2, 1.5, 1.6; the error of the best is half of |2 - 1|.
        ([[5.0, 5.0], [2.0, 2.0], [2.0, 1.0], [1.5, 1.7]], (2, 1)),
        # No spread at the best level: only it is within one error, and of two equal ones the first.
        ([[3.0, 3.0], [1.0, 1.0], [1.0, 1.0]], (1, 1)),
        # One fold has no error at all.
        ([[3.0], [1.0], [2.0]], (1, 1)),
        # The standard error of 4 folds: the sample deviation, over 2. Mean 1 + sqrt(8/3) / 2 = 1.816.
        ([[1.82] * 4, [1.81] * 4, [1.0 - 2**0.5, 1.0 - 2**0.5, 1.0 + 2**0.5, 1.0 + 2**0.5]], (2, 1)),
        # Levels not reached by every fold are not chosen.
        ([[3.0, 3.0], [2.0, 2.0], [np.nan, 0.0]], (1, 1)),
    ],
)
def test_choice_of_level_by_hand(losses, expected):
    assert choose_level(np.array(losses)) == expected
