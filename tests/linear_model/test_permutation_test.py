"""PermutationTest: its statistics by hand, and p-values that are uniform under the null."""

import numpy as np
import pytest
import scipy.sparse
import scipy.stats
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold

from sparsemodels.linear_model import Lasso, PermutationTest

N, P = 40, 60


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, P))
    return X, X[:, :3] @ [1.0, -1.0, 1.0] + rng.standard_normal(N)


def orders(n_permutations):
    rng = np.random.RandomState(0)
    return [np.arange(N)] + [rng.permutation(N) for _ in range(n_permutations)]


def all_statistics(model):
    return np.append(model.statistic_, model.null_distribution_)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_alpha_max_is_the_largest_correlation(data, fit_intercept):
    X, y = data
    omega = np.random.default_rng(1).uniform(0.5, 2.0, P)
    model = PermutationTest(
        n_permutations=20, fit_intercept=fit_intercept, l1_ratio=0.5, penalty_weights=omega, random_state=0
    ).fit(X, y)
    expected = []
    for order in orders(20):
        residual = y[order] - (y.mean() if fit_intercept else 0.0)
        expected.append((np.abs(X.T @ residual) / N / (0.5 * omega)).max())
    np.testing.assert_allclose(all_statistics(model), expected, rtol=1e-12)
    assert model.p_value_ == (1 + np.sum(np.array(expected[1:]) >= expected[0])) / 21
    assert model.relative_gap_ == 0.0


def test_in_sample_is_the_explained_share_of_separate_fits(data):
    X, y = data
    model = PermutationTest(statistic="in_sample", alpha=0.2, n_permutations=5, tol=1e-10, random_state=0).fit(X, y)
    expected = [Lasso(0.2, tol=1e-10).fit(X, y[order]).score(X, y[order]) for order in orders(5)]
    np.testing.assert_allclose(all_statistics(model), expected, atol=1e-5)
    own = PermutationTest(statistic="in_sample", n_permutations=5, tol=1e-10, random_state=0).fit(X, y)
    centred = y - y.mean()
    half = 0.5 * np.abs(X.T @ centred).max() / N
    assert own.statistic_ == pytest.approx(Lasso(half, tol=1e-10).fit(X, y).score(X, y), abs=1e-5)


def test_held_out_is_the_explained_share_on_the_folds(data):
    X, y = data
    folds = KFold(3, shuffle=True, random_state=1)
    model = PermutationTest(statistic="held_out", alpha=0.2, cv=folds, n_permutations=4, tol=1e-10, random_state=0).fit(
        X, y
    )
    expected = []
    for order in orders(4):
        z, left, whole = y[order], 0.0, 0.0
        for train, test in folds.split(X):
            fit = Lasso(0.2, tol=1e-10).fit(X[train], z[train])
            left += np.mean((z[test] - fit.predict(X[test])) ** 2)
            whole += np.mean((z[test] - z[train].mean()) ** 2)
        expected.append(1.0 - left / whole)
    np.testing.assert_allclose(all_statistics(model), expected, atol=1e-5)


@pytest.mark.parametrize("statistic", ["alpha_max", "in_sample", "held_out"])
def test_a_strong_signal_has_the_smallest_p_value(data, statistic):
    model = PermutationTest(statistic=statistic, n_permutations=39, random_state=0).fit(*data)
    assert model.p_value_ == 1 / 40
    assert model.null_distribution_.shape == (39,)
    assert (model.null_distribution_ < model.statistic_).all()


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_p_values_are_uniform_under_the_null(loss):
    """200 data sets of noise; seeds are fixed, and 0.01 is generous to a correct test."""
    rng, values = np.random.default_rng(2), []
    for seed in range(200):
        X, y = rng.standard_normal((20, 15)), rng.standard_normal(20)
        y = y if loss == "squared" else y > np.median(y)
        values.append(PermutationTest(loss, n_permutations=39, random_state=seed).fit(X, y).p_value_)
    # Uniform on 1/40, ..., 1: minus a uniform part of a step, uniform on (0, 1).
    smooth = np.array(values) - rng.random(200) / 40
    assert scipy.stats.kstest(smooth, "uniform").pvalue > 0.01
    assert min(values) >= 1 / 40


def test_fits_keep_their_level_under_the_null():
    rng, values = np.random.default_rng(3), []
    for seed in range(60):
        X, y = rng.standard_normal((20, 15)), rng.standard_normal(20)
        test = PermutationTest(statistic="in_sample", n_permutations=19, tol=1e-3, random_state=seed)
        values.append(test.fit(X, y).p_value_)
    smooth = np.array(values) - rng.random(60) / 20
    assert scipy.stats.kstest(smooth, "uniform").pvalue > 0.01


def test_equal_targets_tie():
    """All orders of a constant target are the same data: nothing can be more extreme."""
    X = np.random.default_rng(4).standard_normal((20, 15))
    for statistic in ("alpha_max", "in_sample", "held_out"):
        assert PermutationTest(statistic=statistic, n_permutations=9).fit(X, np.ones(20)).p_value_ == 1.0


def test_reproducible_scale_free_and_sparse(data):
    X, y = data
    model = PermutationTest(statistic="in_sample", n_permutations=9, tol=1e-8, random_state=0).fit(X, y)
    np.testing.assert_array_equal(clone(model).fit(X, y).null_distribution_, model.null_distribution_)
    np.testing.assert_allclose(clone(model).fit(X, 1e3 * y).null_distribution_, model.null_distribution_, rtol=1e-6)
    sparse = clone(model).fit(scipy.sparse.csc_array(X), y)
    np.testing.assert_allclose(all_statistics(sparse), all_statistics(model), atol=1e-6)


def test_not_converged_warns(data):
    with pytest.warns(ConvergenceWarning, match="duality gap .* increase max_iter or tol"):
        model = PermutationTest(statistic="in_sample", n_permutations=3, alpha=1e-3, tol=1e-12, max_iter=1).fit(*data)
    assert model.status_ == "max_iter"
    assert model.relative_gap_ > 1e-12


def test_logistic_takes_two_classes_of_any_name(data):
    X, _ = data
    labels = np.where(X[:, 0] > 0, "sick", "well")
    model = PermutationTest("logistic", statistic="held_out", cv=4, n_permutations=19, random_state=0).fit(X, labels)
    assert model.p_value_ == 1 / 20
    with pytest.raises(ValueError, match="more samples of each class than a fold holds out, got 8 and 10"):
        model.fit(X, np.arange(N) < 8)
    with pytest.raises(ValueError, match="y must hold two classes"):
        model.fit(X, np.zeros(N))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"penalty_weights": 0.0}, "penalty_weights must be positive, got 0"),
        ({"l1_ratio": 0.0}, "l1_ratio must be > 0 unless alpha is given, got 0"),
        ({"n_permutations": 0}, "'n_permutations'"),
        ({"statistic": "f"}, "'statistic'"),
        ({"alpha": -1.0}, "'alpha'"),
    ],
)
def test_bad_parameters_name_themselves(data, parameters, message):
    with pytest.raises(ValueError, match=message):
        PermutationTest(**parameters).fit(*data)
