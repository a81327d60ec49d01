import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse
import sklearn
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.decomposition import SupervisedDictionaryLearning

MODELS = ("filter", "feature")
METHODS = ("lpgd", "bcd")

# Where a fit must converge the test says so by its status.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CHECKED = [
    SupervisedDictionaryLearning(),
    SupervisedDictionaryLearning(model="feature"),
    SupervisedDictionaryLearning(method="bcd", max_iter=100),
    SupervisedDictionaryLearning(method="bcd", model="feature", positive_codes=True, max_iter=50),
]


def two_subspaces(seed=0, n_samples=600):
    """Most variance in three nonnegative directions, the labels in three others, two covariates."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((60, 6)))[0]
    H1, H2 = 6.0 * np.abs(rng.standard_normal((n_samples, 3))), rng.standard_normal((n_samples, 3))
    Z = rng.standard_normal((n_samples, 2))
    X = H1 @ np.abs(basis[:, :3]).T + H2 @ basis[:, 3:].T + 0.1 * rng.standard_normal((n_samples, 60))
    logits = 3.0 * H2 @ [1.0, -1.0, 1.0] + Z @ [0.8, -0.5]
    return X, (rng.random(n_samples) < 1.0 / (1.0 + np.exp(-logits))).astype(int), Z


def classes(n_classes=3, n_samples=90, n_features=8, seed=0):
    rng = np.random.default_rng(seed)
    y = np.r_[np.arange(n_classes), rng.integers(n_classes, size=n_samples - n_classes)]
    centres = 1.5 * rng.standard_normal((n_classes, n_features))
    return centres[y] + rng.standard_normal((n_samples, n_features)), y, rng.standard_normal((n_samples, 2))


def objective(model, X, y, Z, weights=None):
    """The objective from the fitted attributes and the definition."""
    weights = np.ones(len(y)) if weights is None else weights
    seen = X @ model.components_.T if model.model == "filter" else model.codes_
    logits = seen @ model.code_coef_.T + Z @ model.covariate_coef_.T + model.intercept_
    if logits.shape[1] == 1:
        logits = np.hstack([np.zeros_like(logits), logits])
    codes = np.searchsorted(model.classes_, y)
    loss = weights @ (np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(y)), codes])
    error = weights @ np.sum((X - model.codes_ @ model.components_) ** 2, axis=1)
    if model.model == "filter":
        ridge = np.sum((model.code_coef_ @ model.components_) ** 2)
    else:
        ridge = weights @ np.sum((model.codes_ @ model.code_coef_.T) ** 2, axis=1)
    ridge += np.sum(model.covariate_coef_**2)
    return loss + model.reconstruction_weight * error + 0.5 * model.alpha * ridge


@parametrize_with_checks(CHECKED)
def test_sklearn_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        check(estimator)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_objective_and_bound_from_outside(name, method, n_classes):
    X, y, Z = classes(n_classes)
    weights = np.random.default_rng(1).uniform(0.5, 2.0, y.size)
    model = SupervisedDictionaryLearning(
        3, model=name, method=method, reconstruction_weight=0.1, alpha=0.5, tol=1e-5, max_iter=5000
    )
    model.fit(X, y, covariates=Z, sample_weight=weights)
    assert model.status_ == "converged"
    assert model.kkt_ <= 1e-5
    np.testing.assert_allclose(objective(model, X, y, Z, weights), model.objective_, rtol=1e-6)
    assert model.objective_history_.size == model.n_iter_ + 1
    assert np.all(np.diff(model.objective_history_) <= 0.0)
    assert model.lower_bound_ <= model.objective_ * (1.0 + 1e-12)
    assert model.gap_ == (model.objective_ - model.lower_bound_) / model.objective_
    np.testing.assert_allclose(model.components_ @ model.components_.T, np.eye(3), atol=1e-10)
    gram = model.codes_.T @ (weights[:, None] * model.codes_)
    assert np.abs(gram - np.diag(np.diag(gram))).max() <= 1e-7 * gram.max()  # principal axes
    assert np.all(np.diff(np.diag(gram)) <= 0.0)


@pytest.mark.parametrize("name", MODELS)
def test_the_two_methods_agree(name):
    X, y, Z = classes(3)
    options = {"model": name, "reconstruction_weight": 0.02, "alpha": 2.0, "tol": 1e-6, "max_iter": 20_000}
    lifted, blocks = (
        SupervisedDictionaryLearning(2, method=method, **options).fit(X, y, covariates=Z) for method in METHODS
    )
    # Not convex: one could end elsewhere. Here both end in the same point, to the square of the tolerance.
    np.testing.assert_allclose(blocks.objective_, lifted.objective_, rtol=1e-6)
    np.testing.assert_allclose(np.abs(blocks.components_), np.abs(lifted.components_), atol=1e-2)


def test_the_gap_closes_where_the_best_dictionary_is_proven():
    X, y, Z = two_subspaces(n_samples=300)
    weights = {"filter": 0.001, "feature": 1.0}
    for name in MODELS:
        model = SupervisedDictionaryLearning(
            3, model=name, reconstruction_weight=weights[name], alpha=1.0, tol=1e-6, max_iter=5000
        )
        assert model.fit(X, y, covariates=Z).gap_ <= 1e-4
        assert model.gap_ >= 0.0


@pytest.mark.parametrize("n_classes", [2, 3])
def test_enough_atoms_are_ridge_regression_and_a_perfect_reconstruction(n_classes):
    X, y, _ = classes(n_classes)
    model = SupervisedDictionaryLearning(8, alpha=0.5, tol=1e-7, max_iter=5000).fit(X, y)
    reference = LogisticRegression(C=2.0, tol=1e-10, max_iter=5000).fit(X, y)
    np.testing.assert_allclose(model.coef_, reference.coef_, atol=1e-5)
    intercept = reference.intercept_ - reference.intercept_.mean() * (n_classes > 2)  # up to a constant for all
    np.testing.assert_allclose(model.intercept_, intercept, atol=1e-5)
    np.testing.assert_allclose(model.inverse_transform(model.transform(X)), X, atol=1e-9)
    assert model.gap_ <= 1e-8
    more = SupervisedDictionaryLearning(20, alpha=0.5, tol=1e-7, max_iter=5000).fit(X, y)
    assert more.n_components_ == 8
    np.testing.assert_allclose(more.objective_, model.objective_, rtol=1e-9)


def test_signal_in_the_covariates_alone():
    X, _, Z = two_subspaces(1, 1200)
    rng = np.random.default_rng(2)
    y = (rng.random(1200) < 1.0 / (1.0 + np.exp(-2.0 * Z[:, 0]))).astype(int)
    train, test = np.arange(600), np.arange(600, 1200)
    alone = LogisticRegression(C=1.0).fit(Z[train], y[train])
    for name in MODELS:
        model = SupervisedDictionaryLearning(3, model=name, alpha=1.0).fit(X[train], y[train], covariates=Z[train])
        parts = X[test] @ model.components_.T @ model.code_coef_.T
        assert parts.std() <= 0.2 * (Z[test] @ model.covariate_coef_.T).std()
        accuracy = model.score(X[test], y[test], covariates=Z[test])
        assert abs(accuracy - alone.score(Z[test], y[test])) <= 0.02
        np.testing.assert_allclose(model.covariate_coef_, alone.coef_, atol=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_labels_outside_of_the_leading_subspace(seed):
    X, y, Z = two_subspaces(seed, 3400)
    train, test = slice(0, 400), slice(400, None)
    pca = PCA(3).fit(X[train])
    design = [np.hstack([pca.transform(X[part]), Z[part]]) for part in (train, test)]
    two_steps = LogisticRegression(C=100.0, max_iter=1000).fit(design[0], y[train]).score(design[1], y[test])
    for weight in (0.01, 0.1):
        model = SupervisedDictionaryLearning(3, reconstruction_weight=weight, alpha=1.0)
        model.fit(X[train], y[train], covariates=Z[train])
        assert model.status_ == "converged"
        assert model.score(X[test], y[test], covariates=Z[test]) >= two_steps + 0.25
        relative = np.sum((X - model.inverse_transform(model.transform(X))) ** 2) / np.sum(X**2)
        assert relative <= 0.06  # two of three atoms go on reconstructing
    # A large weight is a principal component analysis without centring.
    model = SupervisedDictionaryLearning(3, reconstruction_weight=1e4).fit(X[train], y[train], covariates=Z[train])
    axes = np.linalg.svd(X[train])[2][:3]
    np.testing.assert_allclose(np.abs(model.components_ @ axes.T), np.eye(3), atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_integer_weights_are_repeated_rows(name, method):
    X, y, Z = classes(3, 40)
    counts = np.random.default_rng(0).integers(0, 3, 40)
    rows = np.repeat(np.arange(40), counts)
    base = SupervisedDictionaryLearning(
        2, model=name, method=method, reconstruction_weight=0.3, alpha=1.0, tol=1e-6, max_iter=5000
    )
    weighted = clone(base).fit(X, y, covariates=Z, sample_weight=counts)
    repeated = clone(base).fit(X[rows], y[rows], covariates=Z[rows])
    np.testing.assert_allclose(weighted.objective_, repeated.objective_, rtol=1e-7)
    np.testing.assert_allclose(weighted.components_, repeated.components_, atol=2e-3)
    np.testing.assert_allclose(
        weighted.predict_proba(X, covariates=Z), repeated.predict_proba(X, covariates=Z), atol=3e-3
    )
    np.testing.assert_allclose(weighted.codes_[rows], repeated.codes_, atol=1e-2)
    assert weighted.codes_.shape == (40, 2)


@pytest.mark.parametrize("method", METHODS)
def test_scale_of_the_data_is_the_scale_of_the_weights(method):
    X, y, Z = classes(2)
    options = {"method": method, "tol": 1e-6, "max_iter": 5000}
    plain = SupervisedDictionaryLearning(2, reconstruction_weight=0.1, alpha=1.0, **options)
    plain.fit(X, y, covariates=Z)
    c = 8.0  # A shrinks by c: so does its ridge by c squared, and that of the covariates is scaled with them
    scaled = SupervisedDictionaryLearning(2, reconstruction_weight=0.1 / c**2, alpha=c**2, **options)
    scaled.fit(c * X, y, covariates=c * Z)
    np.testing.assert_allclose(scaled.objective_, plain.objective_, rtol=1e-9)
    np.testing.assert_allclose(scaled.components_, plain.components_, atol=1e-6)
    np.testing.assert_allclose(scaled.coef_ * c, plain.coef_, atol=1e-6)
    assert scaled.n_iter_ == plain.n_iter_


def test_permutations_of_samples_features_and_labels_change_nothing():
    X, y, Z = classes(3)
    model = SupervisedDictionaryLearning(2, reconstruction_weight=0.1, tol=1e-6, max_iter=5000)
    reference = clone(model).fit(X, y, covariates=Z)
    rng = np.random.default_rng(0)
    rows, columns = rng.permutation(len(y)), rng.permutation(X.shape[1])
    names = np.array(["b", "c", "a"])
    other = clone(model).fit(X[rows][:, columns], names[y[rows]], covariates=Z[rows])
    np.testing.assert_allclose(other.objective_, reference.objective_, rtol=1e-9)
    np.testing.assert_allclose(other.components_, reference.components_[:, columns], atol=1e-4)
    np.testing.assert_array_equal(other.predict(X[:, columns], covariates=Z), names[reference.predict(X, covariates=Z)])


def test_two_classes_are_a_softmax_of_two_columns():
    # With two columns of logits, +a/2 and -a/2, the ridge is half as large.
    from sparsemodels.solvers.class_labels import ClassLabels
    from sparsemodels.solvers.low_rank_projected_gradient import low_rank_projected_gradient
    from sparsemodels.solvers.supervised_dictionary import SupervisedProblem

    X, y, _ = classes(2)
    for name in MODELS:
        binary = SupervisedDictionaryLearning(2, model=name, reconstruction_weight=0.1, alpha=0.5, tol=1e-7)
        binary.set_params(max_iter=5000).fit(X, y)
        targets = (y[:, None] == np.arange(2)).astype(float)
        problem = SupervisedProblem(
            X,
            ClassLabels(targets, np.ones(y.size)),
            np.empty((y.size, 0)),
            model=name,
            reconstruction_weight=0.1,
            alpha=1.0,
            fit_intercept=True,
        )
        softmax = low_rank_projected_gradient(problem, 2, problem.without_rank().A, tol=1e-7, max_iter=5000)
        np.testing.assert_allclose(softmax.objective, binary.objective_, rtol=1e-8)
        A = softmax.point.A[:, 1] - softmax.point.A[:, 0]
        expected = binary.coef_[0] if name == "filter" else binary.codes_ @ binary.code_coef_[0]
        np.testing.assert_allclose(A, expected, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_dense_and_sparse_data_give_the_same(name, method):
    X, y, Z = classes(3)
    X = np.where(np.abs(X) < 1.0, 0.0, X)
    model = SupervisedDictionaryLearning(2, model=name, method=method, reconstruction_weight=0.1, alpha=1.0)
    dense = clone(model).fit(X, y, covariates=Z)
    for kind in (scipy.sparse.csr_matrix, scipy.sparse.csc_array):
        sparse = clone(model).fit(kind(X), y, covariates=Z)
        np.testing.assert_allclose(sparse.objective_, dense.objective_, rtol=1e-8)
        np.testing.assert_allclose(sparse.transform(kind(X)), dense.transform(X), atol=1e-6)
        np.testing.assert_array_equal(sparse.predict(kind(X), covariates=Z), dense.predict(X, covariates=Z))


@pytest.mark.parametrize("name", MODELS)
def test_signs_are_kept_and_bounded_from_below(name):
    rng = np.random.default_rng(0)
    H = rng.gamma(1.0, 1.0, (80, 3))
    X = H @ rng.gamma(1.0, 1.0, (3, 12)) + 0.1 * rng.random((80, 12))
    y = (H[:, 0] > H[:, 1]).astype(int)
    free = SupervisedDictionaryLearning(3, model=name, alpha=0.1).fit(X, y)
    model = SupervisedDictionaryLearning(
        3, model=name, method="bcd", positive_components=True, positive_codes=True, alpha=0.1, max_iter=500
    ).fit(X, y)
    assert min(model.components_.min(), model.codes_.min(), model.transform(X).min()) >= 0.0
    np.testing.assert_allclose(np.linalg.norm(model.components_, axis=1), 1.0)
    np.testing.assert_allclose(objective(model, X, y, np.empty((80, 0))), model.objective_, rtol=1e-9)
    assert model.objective_ >= model.lower_bound_
    assert model.objective_ >= free.objective_ * (1.0 - 1e-6)
    assert model.score(X, y) >= 0.8
    if name == "filter":  # codes of new samples are nonnegative least squares
        residual = (model.transform(X) @ model.components_ - X) @ model.components_.T
        assert residual.min() >= -1e-8
        assert np.abs(residual * model.transform(X)).max() <= 1e-7
    with pytest.raises(ValueError, match="positive_codes need method='bcd'"):
        SupervisedDictionaryLearning(positive_codes=True).fit(X, y)


def test_more_starts_are_never_worse():
    X, y, Z = two_subspaces(1, 400)
    base = SupervisedDictionaryLearning(3, reconstruction_weight=0.1, alpha=0.1, random_state=0)
    once, more = clone(base).fit(X, y, covariates=Z), clone(base).set_params(n_init=3).fit(X, y, covariates=Z)
    assert more.objective_ <= once.objective_
    again = clone(more).fit(X, y, covariates=Z)
    np.testing.assert_array_equal(again.components_, more.components_)


def test_predictions_belong_together():
    for n_classes in (2, 3):
        X, y, Z = classes(n_classes)
        for name in MODELS:
            model = SupervisedDictionaryLearning(2, model=name, reconstruction_weight=0.1).fit(X, y, covariates=Z)
            logits = model.decision_function(X, covariates=Z)
            chance = model.predict_proba(X, covariates=Z)
            np.testing.assert_allclose(chance.sum(axis=1), 1.0)
            np.testing.assert_allclose(np.log(chance), model.predict_log_proba(X, covariates=Z), atol=1e-12)
            np.testing.assert_array_equal(model.classes_[chance.argmax(axis=1)], model.predict(X, covariates=Z))
            if n_classes == 2:
                np.testing.assert_allclose(np.log(chance[:, 1] / chance[:, 0]), logits)
            if name == "filter":
                expected = X @ model.coef_.T + Z @ model.covariate_coef_.T + model.intercept_
                np.testing.assert_allclose(logits, expected.squeeze())
            assert model.score(X, y, covariates=Z) == np.mean(model.predict(X, covariates=Z) == y)
            assert list(model.get_feature_names_out()) == [
                "superviseddictionarylearning0",
                "superviseddictionarylearning1",
            ]


def test_covariates_by_metadata_routing_and_errors():
    X, y, Z = classes(2)
    model = SupervisedDictionaryLearning(2, reconstruction_weight=0.1).fit(X, y, covariates=Z)
    with pytest.raises(ValueError, match="covariates must have the 2 columns that fit saw, got none"):
        model.predict(X)
    with pytest.raises(ValueError, match="covariates must have one row a sample, 90 in all, got 3"):
        model.predict(X, covariates=Z[:3])
    with pytest.raises(ValueError, match="one a component, got 3"):
        model.inverse_transform(np.ones((1, 3)))
    with pytest.raises(ValueError, match="two classes with positive weight"):
        model.fit(X, y, sample_weight=(y == 0).astype(float))
    with sklearn.config_context(enable_metadata_routing=True):
        routed = make_pipeline(
            StandardScaler(),
            SupervisedDictionaryLearning(2)
            .set_fit_request(covariates=True, sample_weight=False)
            .set_predict_request(covariates=True)
            .set_score_request(covariates=True, sample_weight=True),
        )
        direct = SupervisedDictionaryLearning(2).fit(StandardScaler().fit_transform(X), y, covariates=Z)
        scaled = StandardScaler().fit_transform(X)
        np.testing.assert_array_equal(
            routed.fit(X, y, covariates=Z).predict(X, covariates=Z), direct.predict(scaled, covariates=Z)
        )
        assert cross_val_score(routed, X, y, params={"covariates": Z}, cv=3).mean() > 0.7


def test_single_precision_and_pickle():
    X, y, Z = classes(3)
    model = SupervisedDictionaryLearning(2, reconstruction_weight=0.1)
    double, single = clone(model).fit(X, y, covariates=Z), clone(model).fit(X.astype(np.float32), y, covariates=Z)
    for name in ("components_", "code_coef_", "coef_", "covariate_coef_", "intercept_", "codes_"):
        assert getattr(single, name).dtype == np.float32
        np.testing.assert_allclose(getattr(single, name), getattr(double, name), atol=1e-2)
    assert single.transform(X.astype(np.float32)).dtype == np.float32
    copy = pickle.loads(pickle.dumps(double))
    np.testing.assert_array_equal(copy.predict(X, covariates=Z), double.predict(X, covariates=Z))


def test_warnings_name_certificate_tolerance_and_remedy():
    X, y, Z = two_subspaces(0, 200)
    for options, remedy in (({"max_iter": 1}, "increase max_iter or tol"), ({"time_limit": 1e-9}, "time_limit")):
        model = SupervisedDictionaryLearning(3, reconstruction_weight=0.1, tol=1e-9, **options)
        with pytest.warns(ConvergenceWarning, match=rf"KKT residual .* > 1.000e-09; .*{remedy}"):
            model.fit(X, y, covariates=Z)
        np.testing.assert_allclose(objective(model, X, y, Z), model.objective_, rtol=1e-9)
        assert model.lower_bound_ <= model.objective_
    assert model.status_ == "time_limit"


def test_an_interrupted_fit_keeps_its_model(monkeypatch):
    X, y, Z = two_subspaces(0, 200)
    model = SupervisedDictionaryLearning(3, reconstruction_weight=0.1, tol=1e-9)
    original, calls = SupervisedDictionaryLearning._solve, []

    def interrupted(self, problem, start, rank, options):
        def raise_third(n_iter, value):
            calls.append(value)
            if n_iter == 3:
                raise KeyboardInterrupt
            return False

        return original(self, problem, start, rank, {**options, "on_iteration": raise_third})

    monkeypatch.setattr(SupervisedDictionaryLearning, "_solve", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, covariates=Z)
    assert model.status_ == "interrupted"
    assert model.objective_ == calls[-1]
    assert model.predict(X, covariates=Z).shape == (200,)
