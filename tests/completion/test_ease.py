"""EASE: every column is a ridge regression on the others; batches, dropout, ranking."""

import numpy as np
import pytest
import scipy.sparse
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV

from sparsemodels.completion import EASE, ease
from sparsemodels.solvers.item_regression import ItemRegression


def taken(n_users=150, n_items=25, density=0.2, seed=0):
    return scipy.sparse.random_array(
        (n_users, n_items), density=density, format="csr", rng=seed, data_sampler=lambda size: np.ones(size)
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_each_column_is_a_ridge_regression_on_the_others(weighted):
    X = taken()
    dense = X.toarray()
    weights = np.random.default_rng(0).random(150) if weighted else None
    model = EASE(alpha=3.0).fit(X, sample_weight=weights)
    for j in range(25):
        others = np.arange(25) != j
        ridge = Ridge(3.0, fit_intercept=False).fit(dense[:, others], dense[:, j], sample_weight=weights)
        np.testing.assert_allclose(model.coef_[others, j], ridge.coef_, atol=1e-10)
    assert (np.diag(model.coef_) == 0.0).all()
    assert model.kkt_ < 1e-13
    np.testing.assert_allclose(EASE(alpha=3.0).fit(dense, sample_weight=weights).coef_, model.coef_, atol=1e-12)


def test_dropout_is_the_expectation_of_random_inputs():
    X, p = taken(60, 6, 0.5), 0.4
    dense, random = X.toarray(), np.random.default_rng(0)
    # Many noisy copies: inputs dropped and rescaled, targets kept; column j's ridge regression on the others.
    copies = 4000
    inputs = np.vstack([dense * (random.random(dense.shape) >= p) / (1 - p) for _ in range(copies)])
    model = EASE(alpha=2.0, dropout=p).fit(X)
    for j in range(6):
        others = np.arange(6) != j
        ridge = Ridge(2.0 * copies, fit_intercept=False).fit(inputs[:, others], np.tile(dense[:, j], copies))
        np.testing.assert_allclose(model.coef_[others, j], ridge.coef_, atol=0.005)  # 240 000 rows: error ~ 0.002


def test_batches_add_up_to_one_fit():
    X = taken()
    whole = EASE(alpha=5.0).fit(X)
    batches = EASE(alpha=5.0)
    batches.partial_fit(X[:50], solve=False).partial_fit(X[50:90], solve=False)
    assert not hasattr(batches, "coef_")
    batches.partial_fit(X[90:])
    np.testing.assert_allclose(batches.coef_, whole.coef_, atol=1e-13)
    assert batches.n_samples_seen_ == 150
    continued = EASE(alpha=5.0).fit(X[:90]).partial_fit(X[90:])
    np.testing.assert_allclose(continued.coef_, whole.coef_, atol=1e-13)
    anew = EASE(alpha=5.0, store_gram=False).fit(X[:90]).partial_fit(X[90:])
    assert anew.n_samples_seen_ == 60
    np.testing.assert_allclose(anew.coef_, EASE(alpha=5.0).fit(X[90:]).coef_, atol=1e-13)


def test_integer_weights_are_repeated_rows():
    X, weights = taken(), np.random.default_rng(0).integers(0, 4, 150)
    repeated = scipy.sparse.csr_array(np.repeat(X.toarray(), weights, axis=0))
    np.testing.assert_allclose(
        EASE(alpha=5.0).fit(X, sample_weight=weights).coef_, EASE(alpha=5.0).fit(repeated).coef_, atol=1e-13
    )


def test_permuting_items_permutes_the_weights():
    X, order = taken(), np.random.default_rng(0).permutation(25)
    plain, permuted = EASE(alpha=5.0).fit(X).coef_, EASE(alpha=5.0).fit(X[:, order]).coef_
    np.testing.assert_allclose(permuted, plain[np.ix_(order, order)], atol=1e-13)


def test_recommendations_follow_the_scores():
    X = taken()
    model = EASE(alpha=5.0).fit(X)
    scores = model.transform(X)
    np.testing.assert_allclose(scores, X.toarray() @ model.coef_, atol=1e-12)
    hidden = np.where(X.toarray() != 0.0, -np.inf, scores)
    np.testing.assert_array_equal(model.recommend(X, 5), np.argsort(-hidden, axis=1, kind="stable")[:, :5])
    np.testing.assert_array_equal(
        model.recommend(X, 25, exclude_seen=False), np.argsort(-scores, axis=1, kind="stable")
    )
    np.testing.assert_array_equal(model.recommend(X.toarray(), 5), model.recommend(X, 5))
    full = np.ones((1, 25))
    full[0, 7] = 0.0
    assert model.recommend(full, 2).tolist() == [[7, -1]]


def test_explained_share():
    X, new = taken(), taken(seed=1)
    model = EASE(alpha=5.0).fit(X)
    dense = new.toarray()
    expected = 1.0 - ((dense - dense @ model.coef_) ** 2).sum() / (dense**2).sum()
    assert model.score(new) == pytest.approx(expected, rel=1e-12)
    search = GridSearchCV(EASE(), {"alpha": [1.0, 50.0]}, cv=3).fit(X)
    assert set(search.best_params_) == {"alpha"}


@pytest.mark.parametrize("form", ["sparse", "dense"])
def test_single_precision(form):
    X = taken().astype(np.float32)
    X = X if form == "sparse" else X.toarray()
    model = EASE(alpha=5.0).fit(X)
    assert model.coef_.dtype == model.transform(X).dtype == np.float32
    np.testing.assert_allclose(model.coef_, EASE(alpha=5.0).fit(X.astype(float)).coef_, atol=1e-6)
    assert model.kkt_ < 1e-5


def test_precision_that_is_lost_is_told(monkeypatch):
    X = np.random.default_rng(0).standard_normal((200, 5))
    X[:, 1] = X[:, 0] + 1e-4 * X[:, 1]
    with pytest.raises(ValueError, match=r"alpha=1e-05 is too small for float32"):
        EASE(alpha=1e-5).fit(X.astype(np.float32))
    assert EASE(alpha=1e-5).fit(X).kkt_ < 1e-8
    monkeypatch.setattr(ease, "regress_items", lambda gram, ridge, overwrite: ItemRegression(gram, 1e-3))
    with pytest.warns(ConvergenceWarning, match="lost half the digits of float32: relative gradient 1.000e-03"):
        EASE().fit(X.astype(np.float32))
    with pytest.warns(ConvergenceWarning, match="float64"):
        EASE().fit(X)


def test_threads_give_the_same_bits():
    X = taken(400, 60)
    np.testing.assert_array_equal(EASE(n_jobs=1).fit(X).coef_, EASE(n_jobs=3).fit(X).coef_)


def test_arrays_of_another_library():
    strict = pytest.importorskip("array_api_strict")
    X = taken().toarray()
    weights = np.random.default_rng(0).random(150)
    with sklearn.config_context(array_api_dispatch=True):
        model = EASE(alpha=5.0, dropout=0.2).fit(strict.asarray(X[:100]), sample_weight=weights[:100])
        model.partial_fit(strict.asarray(X[100:]), sample_weight=weights[100:])
        score = model.score(strict.asarray(X))
        with pytest.raises(ValueError, match=r"EASE.transform\(\) must use the same namespace"):
            model.transform(X)
    expected = EASE(alpha=5.0, dropout=0.2).fit(X, sample_weight=weights)
    np.testing.assert_allclose(np.asarray(model.coef_), expected.coef_, atol=1e-12)
    assert score == pytest.approx(expected.score(X), rel=1e-10)
    assert model.kkt_ < 1e-13


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"alpha": 0.0}, "'alpha' parameter"), ({"dropout": 1.0}, "'dropout' parameter")],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        EASE(**parameters).fit(taken())


def test_bad_numbers_of_items():
    model = EASE().fit(taken())
    for wrong in (0, 26, 2.5, True):
        with pytest.raises(ValueError, match="n_items must be an integer from 1 to n_features = 25"):
            model.recommend(taken(), wrong)


def test_input_is_not_modified():
    X = taken()
    X.data[3] = 0.0
    before = X.copy()
    EASE().fit(X).recommend(X)
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(X, name), getattr(before, name))
