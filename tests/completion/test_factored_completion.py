"""ALSCompletion and SoftImpute as estimators: three ways to miss, recovery, new rows, predictions, failures."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sparsemodels.completion import ALSCompletion, SoftImpute


def planted(shape=(60, 40), rank=2, share=0.5, noise=0.0, biases=False, seed=0):
    random = np.random.default_rng(seed)
    truth = random.standard_normal((shape[0], rank)) @ random.standard_normal((rank, shape[1]))
    if biases:
        truth += 3.0 + random.standard_normal((shape[0], 1)) + random.standard_normal(shape[1])
    return truth, truth + noise * random.standard_normal(shape), random.random(shape) < share


MODELS = [
    ALSCompletion(rank=2, alpha=0.1, tol=1e-6, max_iter=500, random_state=0),
    ALSCompletion(rank=2, alpha=0.1, biases=False, tol=1e-6, max_iter=500, random_state=0),
    ALSCompletion(rank=2, alpha=0.02, alpha_per_entry=True, tol=1e-6, max_iter=500, random_state=0),
    ALSCompletion(rank=2, alpha=0.1, solver="cg", tol=1e-6, max_iter=500, random_state=0),
    SoftImpute(alpha=0.5, tol=1e-7),
]
models = pytest.mark.parametrize("model", MODELS, ids=lambda model: repr(model)[:60])


def predictions(model):
    return model.inverse_transform(model.codes_)


@models
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_three_ways_of_missing_are_one(model, share):
    _, X, known = planted(share=share, noise=0.1)
    with_nan = np.where(known, X, np.nan)
    listed = scipy.sparse.csr_array((X[known], np.nonzero(known)), shape=X.shape)
    reference = clone(model).fit(with_nan)
    for fill in (1e300, -5.0, 7.0):
        masked = clone(model).fit(np.where(known, X, fill), mask=known)
        np.testing.assert_array_equal(masked.components_, reference.components_)
        np.testing.assert_array_equal(masked.codes_, reference.codes_)
    sparse = clone(model).fit(listed)
    np.testing.assert_allclose(predictions(sparse), predictions(reference), atol=1e-8)
    weighted = clone(model).fit(with_nan, weights=np.ones(X.shape))
    np.testing.assert_array_equal(weighted.components_, reference.components_)


@models
def test_integer_weights_are_repeated_rows(model):
    """In the loss; the penalty is then on the codes of each copy, so only the objective of the data is compared."""
    _, X, known = planted(noise=0.1)
    weights = np.where(known, 2.0, 0.0)
    plain = clone(model).fit(np.where(known, X, np.nan))
    heavy = clone(model).fit(X, weights=weights)
    doubled = clone(model)
    if not getattr(model, "alpha_per_entry", False):
        doubled.set_params(alpha=2.0 * model.alpha)  # twice the loss and twice the penalty: the same problem
    doubled.fit(X, weights=weights)
    np.testing.assert_allclose(predictions(doubled), predictions(plain), atol=1e-3)
    if not getattr(model, "alpha_per_entry", False):
        assert np.abs(predictions(heavy) - predictions(plain)).max() > 1e-3


def test_exact_recovery():
    truth, X, known = planted((200, 150), rank=5, share=0.4)
    model = ALSCompletion(rank=5, alpha=1e-6, biases=False, tol=1e-8, max_iter=2000, random_state=0)
    found = predictions(model.fit(np.where(known, X, np.nan)))
    assert np.linalg.norm((found - truth)[~known]) < 1e-4 * np.linalg.norm(truth[~known])


def test_biases_are_recovered():
    truth, X, known = planted((200, 150), rank=2, share=0.4, biases=True)
    model = ALSCompletion(rank=2, alpha=1e-4, tol=1e-7, max_iter=2000, random_state=0).fit(np.where(known, X, np.nan))
    assert np.linalg.norm((predictions(model) - truth)[~known]) < 1e-3 * np.linalg.norm(truth[~known])
    assert model.codes_.shape == (200, 3)
    assert model.column_bias_.shape == (150,)
    assert model.get_feature_names_out().size == 3


def test_the_two_completions_meet_where_the_rank_allows():
    """The ridge on two factors is the nuclear norm: with enough rank, both solve the same convex problem."""
    _, X, known = planted(noise=0.1)
    X = np.where(known, X, np.nan)
    soft = SoftImpute(alpha=2.0, tol=1e-10, max_iter=3000).fit(X)
    factored = ALSCompletion(rank=soft.rank_ + 2, alpha=2.0, biases=False, tol=1e-8, max_iter=3000, random_state=0).fit(
        X
    )
    np.testing.assert_allclose(predictions(factored), predictions(soft), atol=1e-4)
    assert factored.objective_ == pytest.approx(soft.objective_, rel=1e-7)


@models
def test_objective_falls_and_certificates_hold(model):
    _, X, known = planted(noise=0.3)
    model = clone(model).fit(np.where(known, X, np.nan))
    history = model.objective_history_
    assert np.diff(history).max(initial=-1.0) <= 1e-9 * history[0]
    assert history[-1] == model.objective_
    assert model.status_ == "converged"
    if isinstance(model, SoftImpute):
        assert model.relative_gap_ <= model.tol
        assert model.rank_ == np.linalg.matrix_rank(predictions(model), tol=1e-6)
        norm = np.linalg.norm(np.where(known, X, 0.0), 2)
        assert model.alpha_max_ == pytest.approx(norm, rel=1e-9)
    else:
        assert model.kkt_ <= model.tol


@models
def test_new_rows(model):
    truth, X, known = planted(noise=0.05)
    X = np.where(known, X, np.nan)
    model = clone(model).fit(X)
    np.testing.assert_allclose(model.transform(X), model.codes_, atol=2e-2)
    one_by_one = np.vstack([model.transform(X[[i]]) for i in range(10)])
    np.testing.assert_array_equal(one_by_one, model.transform(X[:10]))
    # The code of a row minimises its own ridge problem.
    row, code = X[0], model.transform(X[[0]])[0]
    seen = ~np.isnan(row)
    ridge = model.alpha * (seen.sum() if getattr(model, "alpha_per_entry", False) else 1.0)

    def value(code):
        return ((row - model.inverse_transform(code[None])[0])[seen] ** 2).sum() + ridge * code @ code

    for a in range(code.size):
        for step in (-1e-3, 1e-3):
            moved = code.copy()
            moved[a] += step
            assert value(code) < value(moved)
    filled = model.complete(X)
    np.testing.assert_array_equal(filled[known], X[known])
    np.testing.assert_allclose(filled[~known], model.inverse_transform(model.transform(X))[~known], atol=1e-12)
    assert np.abs(filled - truth)[~known].mean() < 0.5 * np.abs(truth[~known]).mean()


@models
def test_pairs_and_recommendations(model):
    _, X, known = planted(noise=0.1)
    X = np.where(known, X, np.nan)
    model = clone(model).fit(X)
    fitted = predictions(model)
    pairs = np.argwhere(~known)
    np.testing.assert_allclose(model.predict_pairs(pairs), fitted[~known], atol=1e-12)
    scores = np.where(known, -np.inf, model.inverse_transform(model.transform(X)))
    np.testing.assert_array_equal(model.recommend(X, 3), np.argsort(-scores, axis=1, kind="stable")[:, :3])
    with pytest.raises(ValueError, match="rows below 60 and columns below 40"):
        model.predict_pairs([[0, 40]])
    with pytest.raises(ValueError, match="integer array of shape"):
        model.predict_pairs([[0.5, 1.0]])
    with pytest.raises(ValueError, match="n_items must be an integer from 1 to n_features = 40"):
        model.recommend(X, 41)


@models
def test_single_precision_and_threads(model):
    _, X, known = planted(noise=0.1)
    X = np.where(known, X, np.nan)
    model = clone(model).set_params(tol=1e-4)
    double = clone(model).fit(X)
    single = clone(model).fit(X.astype(np.float32))
    assert single.components_.dtype == single.codes_.dtype == single.complete(X.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(predictions(single), predictions(double), atol=1e-2)
    threads = clone(model).set_params(n_jobs=3).fit(X)
    np.testing.assert_array_equal(threads.components_, double.components_)
    np.testing.assert_array_equal(threads.codes_, double.codes_)


@models
def test_rows_and_columns_without_entries(model):
    _, X, known = planted(noise=0.1)
    known[4], known[:, 6] = False, False
    model = clone(model).fit(np.where(known, X, np.nan))
    assert np.isfinite(predictions(model)).all()
    np.testing.assert_allclose(model.codes_[4], 0.0, atol=1e-12)
    np.testing.assert_allclose(model.components_[:, 6], 0.0, atol=1e-12)


@pytest.mark.parametrize("model", [ALSCompletion(random_state=0), SoftImpute()])
def test_early_ends_keep_a_model_with_its_certificate(model):
    _, X, known = planted((100, 80), rank=5, noise=0.5)
    X = np.where(known, X, np.nan)
    for parameters, word in (({"max_iter": 2}, "max_iter"), ({"time_limit": 1e-9}, "time_limit")):
        short = clone(model).set_params(tol=1e-12, **parameters)
        with pytest.warns(ConvergenceWarning, match=f"did not reach its tolerance.*{word}"):
            short.fit(X)
        assert short.status_ == word
        assert np.isfinite(predictions(short)).all()
        assert np.isfinite(short.relative_gap_ if isinstance(model, SoftImpute) else short.kkt_)


def test_warm_start_along_a_path():
    _, X, known = planted((120, 110), rank=3, noise=0.5)
    X = np.where(known, X, np.nan)
    warm = SoftImpute(alpha=8.0, warm_start=True).fit(X)
    assert warm.fit(X).n_iter_ == 1  # the same level again: one step, and the certificate
    cold = SoftImpute(alpha=7.8).fit(X)
    assert warm.set_params(alpha=7.8).fit(X).n_iter_ < cold.n_iter_
    assert warm.objective_ == pytest.approx(cold.objective_, rel=1e-3)


def test_zero_solution():
    _, X, known = planted((120, 110))
    model = SoftImpute(alpha=1e6).fit(np.where(known, X, np.nan))
    assert model.rank_ == 0
    assert model.components_.shape == (0, 110)
    assert model.dual_gap_ <= 1e-9 * model.objective_
    assert model.transform(X).shape == (120, 0)
    np.testing.assert_array_equal(model.predict_pairs([[0, 1]]), [0.0])
    assert (predictions(model) == 0.0).all()


@models
def test_score_is_minus_the_mean_squared_error(model):
    _, X, known = planted(noise=0.1)
    X = np.where(known, X, np.nan)
    model = clone(model).fit(X)
    error = (X - model.inverse_transform(model.transform(X)))[known]
    assert model.score(X) == pytest.approx(-np.mean(error**2), rel=1e-9)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ALSCompletion(rank=0), "'rank' parameter"),
        (ALSCompletion(alpha=-1.0), "'alpha' parameter"),
        (ALSCompletion(solver="sgd"), "'solver' parameter"),
        (SoftImpute(alpha=0.0), "'alpha' parameter"),
        (SoftImpute(rank_max=0), "'rank_max' parameter"),
    ],
)
def test_bad_parameters(model, message):
    with pytest.raises(ValueError, match=message):
        model.fit(np.ones((4, 3)))


@pytest.mark.parametrize("model", [ALSCompletion(), SoftImpute()])
def test_bad_input(model):
    X = np.ones((4, 3))
    with pytest.raises(ValueError, match="mask must have the shape of X"):
        model.fit(X, mask=np.ones((3, 4), dtype=bool))
    with pytest.raises(ValueError, match="no known entry"):
        model.fit(X, mask=np.zeros((4, 3), dtype=bool))
    with pytest.raises(ValueError, match="weights must be >= 0"):
        model.fit(X, weights=-X)
