"""SparseBayesClassifier: its probabilities, what it keeps of its arguments, scikit-learn's contract."""

import pickle

import numpy as np
import pytest
import scipy.sparse
import scipy.special
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.bayes import SparseBayesClassifier


@parametrize_with_checks([SparseBayesClassifier(), SparseBayesClassifier(multi_class="ovr", threshold=1.0)])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True)
    return StandardScaler().fit_transform(X), np.array(["barbera", "barolo", "grignolino"])[y]


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def test_two_classes(cancer):
    X, y = cancer
    model = SparseBayesClassifier().fit(X, y)
    assert model.threshold_ == pytest.approx(2.0 * np.log(30))
    assert model.status_ == "converged"
    assert model.kkt_ <= 1e-4
    assert model.score(X, y) > 0.96
    assert len(model.active_) <= 8
    np.testing.assert_array_equal(np.flatnonzero(model.coef_[0]), model.active_)
    np.testing.assert_array_equal(np.flatnonzero(model.prior_variances_), model.active_)
    mean, std = model.linear_predictor(X, return_std=True)
    np.testing.assert_allclose(mean, X @ model.coef_[0] + model.intercept_[0], rtol=1e-10)
    np.testing.assert_allclose(model.linear_predictor(X), mean)
    # The posterior from its definition: coefficients and intercept at the mode.
    p = scipy.special.expit(mean)
    design = np.hstack([X[:, model.active_], np.ones((len(X), 1))])
    precision = np.append(1.0 / model.prior_variances_[model.active_], 0.0)
    covariance = np.linalg.inv((design.T * (p * (1 - p))) @ design + np.diag(precision))
    np.testing.assert_allclose(model.covariance_, covariance[:-1, :-1], rtol=1e-6)
    np.testing.assert_allclose(std**2, np.einsum("ij,jk,ik->i", design, covariance, design), rtol=1e-6)
    moderated = scipy.special.expit(mean / np.sqrt(1.0 + np.pi / 8.0 * std**2))
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], moderated, rtol=1e-9)
    np.testing.assert_allclose(scipy.special.expit(model.decision_function(X)), moderated, rtol=1e-9)
    np.testing.assert_array_equal(model.predict(X), (mean > 0).astype(int))


def test_softmax(wine):
    X, y = wine
    model = SparseBayesClassifier().fit(X, y)
    a = len(model.active_)
    assert model.coef_.shape == (3, 13)
    assert model.prior_variances_.shape == (13,)
    assert 0 < a < 13
    np.testing.assert_allclose(model.coef_.sum(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(model.intercept_.sum(), 0.0, atol=1e-12)
    # The covariance of the coefficients of all classes: that of a dense posterior whose null directions are pinned.
    scores = X @ model.coef_.T + model.intercept_
    np.testing.assert_allclose(model.linear_predictor(X), scores, atol=1e-12)
    p = scipy.special.softmax(scores, axis=1)
    design = np.hstack([np.ones((len(X), 1)), X[:, model.active_]])
    hessian = sum(np.kron(np.diag(q) - np.outer(q, q), np.outer(x, x)) for x, q in zip(design, p))
    centring = np.eye(3) - 1.0 / 3.0
    precision = np.append(0.0, 1.0 / model.prior_variances_[model.active_])
    covariance = np.linalg.pinv(hessian + np.kron(centring, np.diag(precision)), rcond=1e-12)
    blocks = covariance.reshape(3, a + 1, 3, a + 1)
    np.testing.assert_allclose(model.covariance_, blocks[:, 1:, :, 1:], atol=1e-6 * np.abs(blocks).max())
    _, std = model.linear_predictor(X, return_std=True)
    variances = np.einsum("ij,kjkl,il->ik", design, blocks, design)
    np.testing.assert_allclose(std**2, variances, rtol=1e-5)
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    np.testing.assert_array_equal(model.predict(X), model.classes_[proba.argmax(axis=1)])
    np.testing.assert_allclose(model.decision_function(X), np.log(proba))
    # Moderation goes towards indifference, the more so the less is known.
    assert proba.max() < p.max()


def test_one_class_against_the_rest_is_a_binary_problem_each(wine):
    X, y = wine
    model = SparseBayesClassifier(multi_class="ovr").fit(X, y)
    own = np.empty((len(X), 3))
    for k, name in enumerate(model.classes_):
        one = SparseBayesClassifier().fit(X, y == name)
        np.testing.assert_allclose(model.coef_[k], one.coef_[0])
        np.testing.assert_allclose(model.prior_variances_[k], one.prior_variances_)
        np.testing.assert_allclose(model.covariance_[k], one.covariance_)
        own[:, k] = one.predict_proba(X)[:, 1]
    np.testing.assert_allclose(model.predict_proba(X), own / own.sum(axis=1, keepdims=True), rtol=1e-9)
    assert model.log_evidence_.shape == (3,)


def test_threshold_adapts_to_the_number_of_classes():
    """A feature of noise has the same chance to come in, whatever the number of classes."""
    rng = np.random.default_rng(0)
    n_found = {2: 0, 5: 0}
    for n_classes in n_found:
        for _ in range(15):
            X, y = rng.standard_normal((200, 40)), rng.integers(0, n_classes, 200)
            n_found[n_classes] += len(SparseBayesClassifier().fit(X, y).active_)
    # The expected number of either is 15 * 40 * P(chi2_1 > 2 log 40) = 4.
    assert all(number <= 12 for number in n_found.values())


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_sparse_and_single_precision_input(cancer, fit_intercept):
    X, y = cancer
    X = np.where(np.abs(X) > 0.5, X, 0.0)[:150]
    dense = SparseBayesClassifier(fit_intercept=fit_intercept).fit(X, y[:150])
    sparse = SparseBayesClassifier(fit_intercept=fit_intercept).fit(scipy.sparse.csr_array(X), y[:150])
    np.testing.assert_allclose(sparse.coef_, dense.coef_, rtol=1e-6)
    np.testing.assert_allclose(sparse.predict_proba(scipy.sparse.csr_array(X)), dense.predict_proba(X), rtol=1e-6)
    single = SparseBayesClassifier(fit_intercept=fit_intercept).fit(X.astype(np.float32), y[:150])
    assert single.coef_.dtype == single.predict_proba(X.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(single.coef_, dense.coef_, rtol=1e-4)
    assert fit_intercept or dense.intercept_[0] == 0.0


def test_weights_are_repeated_rows_and_classes_without_weight_are_none(wine):
    X, y = wine
    times = np.random.default_rng(0).integers(0, 3, len(X))
    weighted = SparseBayesClassifier().fit(X, y, sample_weight=times)
    repeated = SparseBayesClassifier().fit(np.repeat(X, times, axis=0), np.repeat(y, times))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-5)
    two = SparseBayesClassifier(class_weight={"barolo": 0.0}).fit(X, y)
    np.testing.assert_array_equal(two.classes_, ["barbera", "grignolino"])
    balanced = SparseBayesClassifier(class_weight="balanced").fit(X, y)
    counts = {name: len(y) / (3.0 * np.sum(y == name)) for name in np.unique(y)}
    np.testing.assert_allclose(balanced.coef_, SparseBayesClassifier(class_weight=counts).fit(X, y).coef_, rtol=1e-6)


def test_errors_name_what_is_wrong(wine):
    X, y = wine
    with pytest.raises(ValueError, match="at least two classes with positive weight, got the one class"):
        SparseBayesClassifier().fit(X, y, sample_weight=(y == "barolo").astype(float))
    with pytest.raises(ValueError, match="class_weight must hold finite weights >= 0, got -1"):
        SparseBayesClassifier(class_weight={"barolo": -1}).fit(X, y)
    with pytest.raises(ValueError, match="threshold"):
        SparseBayesClassifier(threshold=0.5).fit(X, y)


def test_ends_early_with_a_model_and_starts_warm(cancer):
    X, y = cancer
    X, y = X[:200], y[:200]
    with pytest.warns(ConvergenceWarning, match="violation of the conditions of the evidence .* increase max_iter"):
        early = SparseBayesClassifier(max_iter=1).fit(X, y)
    assert early.status_ == "max_iter"
    assert early.kkt_ > 1e-4
    assert early.score(X, y) > 0.9
    with pytest.warns(ConvergenceWarning, match="time_limit"):
        SparseBayesClassifier(time_limit=1e-9).fit(X, y)
    model = SparseBayesClassifier(warm_start=True).fit(X, y)
    coef = model.coef_.copy()
    assert model.n_iter_ > 0
    model.fit(X, y)
    assert model.n_iter_ == 0
    np.testing.assert_allclose(model.coef_, coef, rtol=1e-6)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), model.predict_proba(X))


def test_callbacks_see_every_iteration_and_can_stop(wine):
    pytest.importorskip("sklearn.callback")
    X, y = wine

    class Stop:
        max_estimator_depth = 0

        def setup(self, *args, **kwargs):
            self.n_tasks = 0

        def teardown(self, *args, **kwargs):
            pass

        def on_fit_task_begin(self, *args, **kwargs):
            pass

        def on_fit_task_end(self, *args, **kwargs):
            self.n_tasks += 1
            return True

    stop = Stop()
    model = SparseBayesClassifier(multi_class="ovr").set_callbacks(stop)
    with pytest.warns(ConvergenceWarning, match="a callback stopped the fit"):
        model.fit(X, y)
    assert model.status_ == "stopped"
    assert stop.n_tasks >= 1
    assert model.coef_.shape == (3, 13)
