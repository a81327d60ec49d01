"""Cross-validation over entries: no influence of what is held out, errors that are what they say, planted ranks."""

import numpy as np
import pytest
import scipy.sparse
import sklearn
from scipy.special import kl_div
from sklearn.base import clone
from sklearn.decomposition import NMF as SklearnNMF
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.decomposition import NBMF, NMF, NMFCV, entry_split
from sparsemodels.decomposition.entry_split import splitter
from sparsemodels.decomposition.rank_selector import rank_candidate

RANK = 3
FAST = NMF(max_iter=2000, tol=1e-3)


def planted(rank=RANK, shape=(40, 30), noise=0.2, seed=0):
    random = np.random.default_rng(seed)
    X = random.exponential(size=(shape[0], rank)) @ random.exponential(size=(rank, shape[1]))
    return np.maximum(X + noise * random.standard_normal(X.shape), 0.0)


def some_entries(X, density, seed=1):
    return np.random.default_rng(seed).random(X.shape) < density


class Record:
    """A scoring function that keeps what it is shown."""

    def __init__(self):
        self.calls = []

    def __call__(self, x, prediction):
        self.calls.append((x.copy(), prediction.copy()))
        return (x - prediction) ** 2


@parametrize_with_checks(
    [
        NMFCV(ranks=[1, 2]),
        # Seeded: some checks leave the draws to chance, and one start in a thousand needs more than max_iter.
        NMFCV(NMF(loss="kullback-leibler"), ranks=[1, 2], rule="1se", n_replicates=2, n_jobs=2, random_state=0),
    ]
)
def test_sklearn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("rule", ["min", "1se"])
@pytest.mark.parametrize("ranks", ["auto", range(1, 7)])
def test_planted_rank(rule, ranks):
    model = NMFCV(FAST, ranks=ranks, rule=rule, random_state=0).fit(planted())
    assert model.best_rank_ == model.n_components_ == RANK
    assert model.components_.shape == (RANK, 30)
    assert model.status_ == "converged"


@pytest.mark.parametrize("seed", range(4))
def test_planted_rank_with_half_of_the_entries_unknown(seed):
    X = planted(shape=(60, 50), seed=seed)
    X[~some_entries(X, 0.5, seed)] = np.nan
    several = clone(FAST).set_params(n_init=3)  # one start in a few dozen ends in a poor minimum of the planted rank
    assert NMFCV(several, ranks=range(1, 6), rule="1se", random_state=seed).fit(X).best_rank_ == RANK


@pytest.mark.parametrize("fill", [1e300, np.inf, np.nan, -5.0, 0.0])
@pytest.mark.parametrize("density", [1.0, 0.3])
def test_held_out_entries_have_no_influence(fill, density):
    X = planted()
    known = some_entries(X, density)
    split = splitter(X, known, None, implicit=False)(0.2, 17, 4)
    assert split.rows.size > 20
    np.testing.assert_array_equal(split.values, X[split.rows, split.columns])
    factors = []
    for values in (split.values, fill):
        filled = X.copy()
        filled[split.rows, split.columns] = values
        model = rank_candidate(FAST, RANK, split.seed)
        factors.append((model.fit_transform(filled, **split.fit_params), model.components_, model.kkt_))
    for one, other in zip(*factors):
        np.testing.assert_array_equal(one, other)


def test_predictions_do_not_depend_on_what_is_held_out():
    # Through the front door: all values differ, so that those held out can be found again by their values.
    X = planted()
    X += 1e-9 * np.arange(X.size).reshape(X.shape)
    options = {"ranks": [2, 4], "n_replicates": 1, "random_state": 3}
    first, second = Record(), Record()
    NMFCV(FAST, scoring=first, **options).fit(X)
    held = np.isin(X, first.calls[0][0])
    assert 0 < held.sum() == first.calls[0][0].size
    changed = np.where(held, 100.0 * X[::-1], X)
    NMFCV(FAST, scoring=second, **options).fit(changed)
    for (x, prediction), (other_x, other_prediction) in zip(first.calls, second.calls):
        assert (x != other_x).all()
        np.testing.assert_array_equal(prediction, other_prediction)


def test_number_of_threads_and_repetition_change_nothing():
    X = planted()
    X[~some_entries(X, 0.7)] = np.nan
    options = {"ranks": "auto", "random_state": 5}
    one = NMFCV(FAST, n_jobs=1, **options).fit(X)
    for other in (NMFCV(FAST, n_jobs=2, **options).fit(X), NMFCV(FAST, **options).fit(X)):
        np.testing.assert_array_equal(one.ranks_, other.ranks_)
        np.testing.assert_array_equal(one.error_path_, other.error_path_)
        np.testing.assert_array_equal(one.components_, other.components_)
    draws = [NMFCV(FAST, ranks=[2], random_state=seed).fit(X).error_path_ for seed in (5, 6)]
    assert (draws[0] != draws[1]).all()


@pytest.mark.parametrize("density", [0.8, 0.3])
def test_three_ways_to_say_unknown(density):
    X = planted()
    known = some_entries(X, density)
    options = {"ranks": [2, 3], "random_state": 0}
    with_nan = NMFCV(FAST, **options).fit(np.where(known, X, np.nan))
    with_mask = NMFCV(FAST, **options).fit(np.where(known, X, 1e300), mask=known)
    stored = scipy.sparse.coo_array((X[known], np.nonzero(known)), shape=X.shape)
    implicit = NMFCV(NMF(max_iter=2000, tol=1e-3, missing="implicit"), **options).fit(stored.tocsr())
    assert with_nan.error_path_.shape == (2, 3)
    for other in (with_mask, implicit):
        np.testing.assert_allclose(other.error_path_, with_nan.error_path_, rtol=1e-8)
        np.testing.assert_allclose(other.components_, with_nan.components_, rtol=1e-8, atol=1e-12)


def test_zeros_of_a_sparse_matrix(monkeypatch):
    X = np.where(some_entries(planted(), 0.4), planted(), 0.0)
    sparse = scipy.sparse.csr_array(X)
    options = {"ranks": [1, 2], "random_state": 0}
    dense, held_zeros = Record(), Record()
    NMFCV(FAST, scoring=dense, **options).fit(X)
    NMFCV(FAST, scoring=held_zeros, **options).fit(sparse)
    for (x, prediction), (same_x, same_prediction) in zip(dense.calls, held_zeros.calls):
        assert (x == 0.0).any()
        np.testing.assert_array_equal(x, same_x)
        np.testing.assert_array_equal(prediction, same_prediction)
    masked, implicit = Record(), Record()
    model = NMFCV(FAST, scoring=masked, mask_zeros=True, **options).fit(sparse)
    NMFCV(NMF(max_iter=2000, tol=1e-3, missing="implicit"), scoring=implicit, **options).fit(sparse)
    assert model.best_estimator_.missing == "implicit"
    for (x, prediction), (same_x, same_prediction) in zip(masked.calls, implicit.calls):
        assert (x > 0.0).all()
        np.testing.assert_array_equal(x, same_x)
        np.testing.assert_array_equal(prediction, same_prediction)
    monkeypatch.setattr(entry_split, "_DENSE_BYTES", X.nbytes - 1)
    with pytest.raises(MemoryError, match="mask_zeros=True"):
        NMFCV(FAST, **options).fit(sparse)
    NMFCV(FAST, mask_zeros=True, **options).fit(sparse)  # needs no dense matrix


def test_errors_standard_errors_and_results():
    record = Record()
    model = NMFCV(FAST, ranks=range(1, 6), n_replicates=4, scoring=record, random_state=1).fit(planted())
    errors = np.array([np.mean((x - prediction) ** 2) for x, prediction in record.calls]).reshape(5, 4)
    np.testing.assert_allclose(model.error_path_, errors, rtol=1e-14)
    np.testing.assert_allclose(model.mean_error_, errors.mean(axis=1), rtol=1e-14)
    standard_error = errors.std(axis=1, ddof=1) / 2.0
    np.testing.assert_allclose(model.standard_error_, standard_error, rtol=1e-12)
    best = errors.mean(axis=1).argmin()
    assert model.rank_min_ == best + 1
    within = errors.mean(axis=1) <= errors.mean(axis=1)[best] + standard_error[best]
    assert model.rank_1se_ == np.flatnonzero(within)[0] + 1
    # All ranks see the same entries held out.
    for replicate in range(4):
        for rank in range(1, 5):
            np.testing.assert_array_equal(record.calls[4 * rank + replicate][0], record.calls[replicate][0])
    results = model.cv_results_
    np.testing.assert_array_equal(results["param_n_components"], range(1, 6))
    np.testing.assert_allclose(results["mean_test_score"], -model.mean_error_)
    np.testing.assert_allclose(results["split2_test_score"], -model.error_path_[:, 2])
    np.testing.assert_allclose(results["std_test_score"], model.error_path_.std(axis=1))
    assert results["rank_test_score"][best] == 1
    assert sorted(results["rank_test_score"]) == [1, 2, 3, 4, 5]
    assert 0.0 < model.max_kkt_ < 0.1


def test_the_loss_scores_itself():
    X = np.random.default_rng(0).poisson(5.0 * planted(noise=0.0)).astype(float)
    record = Record()
    options = {"ranks": [3], "random_state": 0}
    NMFCV(NMF(loss="kullback-leibler"), scoring=record, **options).fit(X)
    model = NMFCV(NMF(loss="kullback-leibler"), **options).fit(X)
    expected = [kl_div(x, prediction).mean() for x, prediction in record.calls]
    np.testing.assert_allclose(model.error_path_[0], expected, rtol=1e-10)


def test_weights():
    X = planted()
    random = np.random.default_rng(3)
    zero_one = some_entries(X, 0.6)
    options = {"ranks": [2, 3], "random_state": 0}
    masked = NMFCV(FAST, **options).fit(X, mask=zero_one)
    weighted = NMFCV(FAST, **options).fit(X, weights=zero_one.astype(float))
    np.testing.assert_array_equal(masked.error_path_, weighted.error_path_)
    # Weights count in the fits and in the error: each entry's, in the order of rows.
    weights = random.uniform(0.5, 2.0, size=X.shape)
    record = Record()
    model = NMFCV(FAST, ranks=[2], n_replicates=2, scoring=record, random_state=0).fit(X, weights=weights)
    for k, (x, prediction) in enumerate(record.calls):
        position = [np.flatnonzero(X.ravel() == value)[0] for value in x]
        expected = np.average((x - prediction) ** 2, weights=weights.ravel()[position])
        assert model.error_path_[0, k] == pytest.approx(expected, rel=1e-13)
    scaled = NMFCV(FAST, ranks=[2], n_replicates=2, random_state=0).fit(X, weights=4.0 * weights)
    np.testing.assert_allclose(scaled.error_path_, model.error_path_, rtol=1e-6)
    X += 1e-3  # no zeros: what is stored is what is known
    stored = scipy.sparse.csr_array(np.where(zero_one, X, 0.0))
    stored_weights = scipy.sparse.csr_array(np.where(zero_one, weights, 0.0))
    implicit = NMFCV(NMF(max_iter=2000, tol=1e-3, missing="implicit"), **options).fit(stored, weights=stored_weights)
    dense = NMFCV(FAST, **options).fit(X, weights=np.where(zero_one, weights, 0.0))
    np.testing.assert_allclose(implicit.error_path_, dense.error_path_, rtol=1e-8)


def test_patience():
    X = planted()
    options = {"n_replicates": 2, "random_state": 0}
    every = NMFCV(FAST, ranks=range(1, 9), patience=None, **options).fit(X)
    some = NMFCV(FAST, ranks=range(1, 9), patience=2, **options).fit(X)
    np.testing.assert_array_equal(every.ranks_, range(1, 9))
    waited, best, count = 0, np.inf, 0
    for error in every.mean_error_:
        count += 1
        waited, best = (0, error) if error < best else (waited + 1, best)
        if waited == 2:
            break
    np.testing.assert_array_equal(some.ranks_, range(1, count + 1))
    np.testing.assert_array_equal(some.error_path_, every.error_path_[:count])


def test_the_factorization_speaks():
    X = planted().astype(np.float32)
    model = NMFCV(FAST, ranks=[2, 3], random_state=0)
    codes = model.fit_transform(X)
    assert codes.dtype == model.components_.dtype == np.float32
    best = model.best_estimator_
    np.testing.assert_array_equal(codes, best.transform(X))
    np.testing.assert_array_equal(model.inverse_transform(codes), best.inverse_transform(codes))
    assert model.score(X) == best.score(X)
    assert list(model.get_feature_names_out()) == [f"nmfcv{k}" for k in range(model.best_rank_)]
    alone = NMF(model.best_rank_, max_iter=2000, tol=1e-3, random_state=best.random_state).fit(X)
    np.testing.assert_array_equal(alone.components_, model.components_)


def test_a_mask_in_fit_transform():
    X, known = planted(), some_entries(planted(), 0.7)
    options = {"ranks": [3], "random_state": 0}
    codes = NMFCV(FAST, **options).fit_transform(np.where(known, X, 1e300), mask=known)
    np.testing.assert_allclose(codes, NMFCV(FAST, **options).fit_transform(np.where(known, X, np.nan)), rtol=1e-10)


def test_metadata_is_routed_through():
    X, known = planted(), some_entries(planted(), 0.7)
    hidden = np.where(known, X, 1e300)
    options = {"ranks": [2, 3], "random_state": 0}
    direct = NMFCV(FAST, **options).fit(hidden, mask=known)
    with sklearn.config_context(enable_metadata_routing=True):
        search = NMFCV(FAST, **options).set_fit_request(mask=True)
        pipeline = make_pipeline(search).fit(hidden, mask=known)
    np.testing.assert_array_equal(pipeline[-1].error_path_, direct.error_path_)


def test_own_random_state_of_the_estimator_stays():
    model = NMFCV(NMF(random_state=7, max_iter=2000, tol=1e-3), ranks=[2], random_state=0).fit(planted())
    assert model.best_estimator_.random_state == 7


def test_binary_factorization():
    random = np.random.default_rng(0)
    X = random.exponential(size=(40, 2)) @ (random.random((2, 30)) < 0.5)
    X = np.maximum(X + 0.1 * random.standard_normal(X.shape), 0.0)
    record = Record()
    model = NMFCV(NBMF(n_init=6, fit_baseline=True), ranks=[1, 2], scoring=record, random_state=0).fit(X)
    assert model.error_path_[0].min() > 2.0 * model.error_path_[1].max()
    assert model.best_rank_ == 2
    assert set(np.unique(model.components_)) <= {0.0, 1.0}
    # The baseline takes part in the predictions: without it, those of the rank one would be far off.
    x, prediction = record.calls[0]
    assert np.mean((x - prediction) ** 2) < np.var(x)


def test_out_of_time():
    with pytest.warns(ConvergenceWarning, match="has not tried all ranks: the time_limit was reached"):
        model = NMFCV(FAST, ranks=range(1, 9), time_limit=1e-9, random_state=0).fit(planted())
    assert model.status_ == "time_limit"
    assert model.best_rank_ == 1
    np.testing.assert_array_equal(model.ranks_, [1])


class Interrupted(NMF):
    def fit_transform(self, X, y=None, *, mask=None, weights=None):
        if self.n_components == 4:
            raise KeyboardInterrupt
        return super().fit_transform(X, mask=mask, weights=weights)


def test_interruption_keeps_what_was_found():
    model = NMFCV(Interrupted(max_iter=2000, tol=1e-3), ranks=range(1, 9), patience=1, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(planted(rank=5))
    assert model.status_ == "interrupted"
    np.testing.assert_array_equal(model.ranks_, [1, 2, 3])
    assert model.best_rank_ == 3


def test_callbacks_can_stop():
    pytest.importorskip("sklearn.callback")
    seen = []

    class Stop:
        max_propagation_depth = None

        def setup(self, estimator=None, context=None):
            pass

        def teardown(self, estimator=None, context=None):
            pass

        def on_fit_begin(self, *args, **kwargs):
            pass

        def on_fit_end(self, *args, **kwargs):
            pass

        def on_fit_task_begin(self, *args, **kwargs):
            pass

        def on_fit_task_end(self, *args, **kwargs):
            seen.append(1)
            return len(seen) == 2

    model = NMFCV(FAST, ranks=range(1, 9), patience=1, random_state=0).set_callbacks(Stop())
    with pytest.warns(ConvergenceWarning, match="a callback stopped the search"):
        model.fit(planted(rank=5))
    assert model.status_ == "stopped"
    np.testing.assert_array_equal(model.ranks_, [1, 2])
    assert model.best_estimator_.n_components == 2


def test_warns_of_fits_that_did_not_converge():
    with pytest.warns(ConvergenceWarning) as caught:
        NMFCV(NMF(max_iter=1, tol=1e-10), ranks=[2], random_state=0).fit(planted())
    messages = [str(warning.message) for warning in caught]  # one of the fit to all entries, one of all others
    assert len(messages) == 2
    assert any("3 of 3 fits of the chosen rank to a part of the entries did not" in message for message in messages)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ranks": []}, "ranks must be a non-empty list of integers >= 1"),
        ({"ranks": [0, 1]}, "ranks must be a non-empty list of integers >= 1"),
        ({"ranks": [1.5]}, "ranks must be a non-empty list of integers >= 1"),
        ({"rule": "1se", "n_replicates": 1}, "n_replicates must be at least 2 with rule='1se'"),
        ({"estimator": SklearnNMF()}, "must take a mask of known entries in its fit, got NMF"),
        ({"estimator": object}, "estimator must be a factorization with the parameter n_components"),
        ({"test_fraction": 1.0}, "test_fraction"),
        ({"test_fraction": 1e-12}, "test_fraction=1e-12 holds out no entry of X"),
        ({"scoring": lambda x, prediction: 0.0}, "scoring must return one error for each"),
    ],
)
def test_bad_parameters(options, message):
    with pytest.raises(ValueError, match=message):
        NMFCV(**{"ranks": [2], **options}).fit(planted())


def test_infinite_known_entries():
    X = planted()
    X[3, 4] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        NMFCV(ranks=[2]).fit(X)
