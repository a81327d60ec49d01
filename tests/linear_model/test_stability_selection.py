"""StabilitySelection against separate fits on the same halves, and its bound against the formula."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sparsemodels.linear_model import StabilitySelection, lasso_path
from sparsemodels.solvers.penalties import L1

N, P = 80, 120


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, P))
    return X, X[:, :3] @ [2.0, -2.0, 1.5] + rng.standard_normal(N)


@pytest.fixture(scope="module")
def fitted(data):
    return StabilitySelection(alphas=8, eps=0.2, n_resamples=20, random_state=0).fit(*data)


def test_probabilities_are_counts_over_separate_paths(data, fitted):
    """The same halves, drawn again, and a path fitted to the rows of each."""
    X, y = data
    rng, selected, sizes = np.random.RandomState(0), np.zeros((P, 8)), []
    for _ in range(10):
        order = rng.permutation(N)
        for rows in (order[: N // 2], order[N // 2 :]):
            coefs = lasso_path(X[rows], y[rows], alphas=fitted.alphas_, tol=1e-8).coefs
            selected += coefs != 0.0
            sizes.append(np.count_nonzero(coefs.any(axis=1)))
    # A coefficient may enter within the tolerance of a level: one of 20 counts.
    np.testing.assert_allclose(fitted.selection_probabilities_, selected / 20, atol=0.051)
    assert np.abs(fitted.selection_probabilities_ - selected / 20).mean() < 1e-3
    np.testing.assert_allclose(fitted.n_selected_, sizes, atol=1)


def test_scores_support_and_bound(data, fitted):
    X, _ = data
    probabilities = fitted.selection_probabilities_
    assert ((probabilities >= 0.0) & (probabilities <= 1.0)).all()
    np.testing.assert_array_equal(fitted.scores_, probabilities.max(axis=1))
    np.testing.assert_array_equal(fitted.get_support(), fitted.scores_ >= 0.6)
    assert fitted.get_support(indices=True).tolist() == [0, 1, 2]
    np.testing.assert_array_equal(fitted.transform(X), X[:, :3])
    q = fitted.n_selected_.mean()
    assert fitted.error_bound_ == pytest.approx(q**2 / (0.2 * P))
    assert fitted.error_bound(0.9) == pytest.approx(q**2 / (0.8 * P))
    # Every feature selected at some level of a subsample counts once: the mean over subsamples is q.
    assert probabilities.max(axis=1).sum() <= q + 1e-12
    assert (fitted.dual_gap_path_ <= 1e-4 * 0.5 * np.var(data[1]) * 3).all()
    assert fitted.status_ == "converged"
    with pytest.raises(ValueError, match=r"threshold must lie in \(0.5, 1\], got 0.5"):
        fitted.error_bound(0.5)


def test_complementary_pairs_are_disjoint_halves():
    model = StabilitySelection(n_resamples=7)
    subsamples = model._subsamples([np.arange(21)], np.random.RandomState(0))
    assert len(subsamples) == 8
    for first, second in zip(subsamples[::2], subsamples[1::2]):
        assert first.size == second.size == 10
        assert np.intersect1d(first, second).size == 0
    strata = [np.arange(12), np.arange(12, 21)]
    for rows in model._subsamples(strata, np.random.RandomState(0)):
        assert np.sum(rows < 12) == 6
        assert np.sum(rows >= 12) == 4
    single = StabilitySelection(n_resamples=7, complementary_pairs=False, sample_fraction=0.8)
    assert [rows.size for rows in single._subsamples([np.arange(21)], np.random.RandomState(0))] == [16] * 7


def test_noise_selects_within_the_bound():
    """On pure noise with exchangeable features every stable feature is wrong; their mean number obeys the bound."""
    rng, wrong, bounds = np.random.default_rng(1), [], []
    for seed in range(15):
        X, y = rng.standard_normal((40, 60)), rng.standard_normal(40)
        model = StabilitySelection(alphas=4, eps=0.6, n_resamples=20, random_state=seed).fit(X, y)
        wrong.append(np.count_nonzero(model.get_support()))
        bounds.append(model.error_bound_)
    assert np.mean(wrong) <= np.mean(bounds)


def test_reproducible_and_scale_free(data, fitted):
    X, y = data
    again = clone(fitted).fit(X, y)
    np.testing.assert_array_equal(again.selection_probabilities_, fitted.selection_probabilities_)
    scaled = clone(fitted).fit(X, 1024.0 * y)
    np.testing.assert_array_equal(scaled.selection_probabilities_, fitted.selection_probabilities_)
    other = clone(fitted).set_params(random_state=1).fit(X, y)
    assert (other.selection_probabilities_ != fitted.selection_probabilities_).any()


def test_sparse_is_dense(data):
    X, y = data
    X = X * (np.random.default_rng(2).random(X.shape) < 0.4)
    model = StabilitySelection(alphas=5, n_resamples=10, tol=1e-8, random_state=0)
    dense = clone(model).fit(X, y).selection_probabilities_
    sparse = clone(model).fit(scipy.sparse.csc_array(X), y).selection_probabilities_
    np.testing.assert_allclose(sparse, dense, atol=0.101)
    assert np.abs(sparse - dense).mean() < 1e-3


def test_logistic_takes_two_classes_of_any_name(data):
    X, y = data
    labels = np.where(y > 0, "sick", "well")
    model = StabilitySelection("logistic", alphas=6, eps=0.5, n_resamples=20, random_state=0).fit(X, labels)
    assert set(model.get_support(indices=True)) <= {0, 1, 2}
    assert model.scores_[:2].min() >= 0.6
    with pytest.raises(ValueError, match="y must hold two classes with loss='logistic', got 3"):
        model.fit(X, np.arange(N) % 3)
    with pytest.raises(ValueError, match="at least two samples of each class"):
        model.fit(X, np.arange(N) == 0)


def test_penalty_weights_keep_and_exclude(data):
    X, y = data
    omega = np.ones(P)
    omega[[0, 50]] = np.inf, 0.0
    model = StabilitySelection(alphas=4, n_resamples=6, penalty_weights=omega, random_state=0).fit(X, y)
    assert model.scores_[0] == 0.0
    assert model.scores_[50] == 1.0
    penalised = model.selection_probabilities_[omega == 1.0]
    assert penalised.max(axis=1).sum() <= model.n_selected_.mean() + 1e-12
    assert model.error_bound_ == pytest.approx(model.n_selected_.mean() ** 2 / (0.2 * (P - 2)))


def test_weakness_weakens(data):
    """With a weakness of one half each feature's penalty is doubled on about half of the subsamples."""
    X, y = data
    penalty = L1(1.0, np.where(np.arange(1000) == 7, np.inf, 1.0))
    weights = StabilitySelection(weakness=0.5)._weakened(penalty, 0).weights
    assert set(weights) == {1.0, 2.0, np.inf}
    assert abs(np.mean(weights == 2.0) - 0.5) < 0.08  # five standard deviations
    # Not far below the level at which the first feature enters, a doubled penalty keeps it out.
    model = StabilitySelection(alphas=[1.2], n_resamples=40, random_state=0)
    usual, weak = clone(model).fit(X, y), clone(model).set_params(weakness=0.5).fit(X, y)
    assert usual.scores_[0] == 1.0
    assert weak.scores_[0] < 0.95


def test_time_limit_uses_the_levels_reached(data):
    X, y = data
    model = StabilitySelection(alphas=20, n_resamples=6, time_limit=1e-9, tol=1e-12, random_state=0)
    with pytest.warns(ConvergenceWarning, match="time_limit"):
        model.fit(X, y)
    assert model.status_ == "time_limit"
    assert model.selection_probabilities_.shape == (P, model.alphas_.size)
    assert model.alphas_.size < 20


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"threshold": 0.5}, "'threshold'"),
        ({"threshold": 0.4}, "'threshold'"),
        ({"weakness": 0.0}, "'weakness'"),
        ({"sample_fraction": 0.7}, "sample_fraction must be at most 0.5 with complementary_pairs=True, got 0.7"),
        ({"n_resamples": 0}, "'n_resamples'"),
        ({"alphas": []}, "alphas must be"),
        ({"l1_ratio": 0.0}, "l1_ratio must be > 0"),
    ],
)
def test_bad_parameters_name_themselves(data, parameters, message):
    with pytest.raises(ValueError, match=message):
        StabilitySelection(**parameters).fit(*data)
