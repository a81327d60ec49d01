import joblib
import numpy as np
import pytest
import scipy.sparse
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.linear_model import OrthogonalMatchingPursuit as Reference
from sklearn.model_selection import GroupKFold, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.linear_model import OrthogonalMatchingPursuit, OrthogonalMatchingPursuitCV


@parametrize_with_checks(
    [
        OrthogonalMatchingPursuit(),
        OrthogonalMatchingPursuit(loss="sqrt", penalty="l1", alpha=0.01),
        OrthogonalMatchingPursuit(loss="absolute"),
        OrthogonalMatchingPursuitCV(),
    ]
)
def test_sklearn_checks(estimator, check):
    check(estimator)


def planted(n_samples=60, n_features=40, seed=0, noise=0.3):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_features))
    coef = np.zeros(n_features)
    coef[rng.choice(n_features, 4, replace=False)] = [3.0, -2.0, 1.5, -1.0]
    return X, X @ coef + 4.0 + noise * rng.standard_normal(n_samples), coef


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("limit", [None, 1, 7])
def test_equals_scikit_learn_on_columns_of_norm_one(limit, fit_intercept):
    X, y, _ = planted()
    X -= fit_intercept * X.mean(axis=0)
    X /= np.linalg.norm(X, axis=0)
    ours = OrthogonalMatchingPursuit(limit, fit_intercept=fit_intercept).fit(X, y)
    theirs = Reference(n_nonzero_coefs=limit, fit_intercept=fit_intercept, precompute=False).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-10)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-10)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-10)
    assert ours.n_nonzero_coefs_ == theirs.n_nonzero_coefs_
    assert ours.n_iter_ == theirs.n_iter_


def test_tolerance_equals_scikit_learn():
    X, y, _ = planted()
    X -= X.mean(axis=0)
    X /= np.linalg.norm(X, axis=0)
    tol = 0.1 * np.sum((y - y.mean()) ** 2)
    ours, theirs = OrthogonalMatchingPursuit(tol=tol).fit(X, y), Reference(tol=tol, precompute=False).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-10)
    assert ours.status_ == "tol"
    assert ours.loss_path_[-1] <= tol < ours.loss_path_[-2]
    assert OrthogonalMatchingPursuit(1, tol=tol).fit(X, y).status_ == "n_nonzero_coefs"


@pytest.mark.parametrize("penalty", ["l0", "l1"])
@pytest.mark.parametrize("loss", ["squared", "sqrt", "absolute"])
def test_attributes_and_certificates(loss, penalty):
    X, y, coef = planted()
    s = np.random.default_rng(1).uniform(0.5, 2.0, y.size)
    alpha = {"squared": 2.0, "sqrt": 0.3, "absolute": 5.0 if penalty == "l0" else 0.5}[loss]
    model = OrthogonalMatchingPursuit(12, loss=loss, penalty=penalty, alpha=alpha).fit(X, y, sample_weight=s)
    assert set(np.flatnonzero(coef)) <= set(model.support_)
    np.testing.assert_array_equal(np.sort(model.support_), np.flatnonzero(model.coef_))
    r = y - model.predict(X)
    value = {"squared": s @ r**2, "sqrt": np.sqrt(s @ r**2), "absolute": s @ np.abs(r)}[loss]
    center = s @ X / s.sum() if loss != "absolute" else 0.0
    norms = np.sqrt(s @ (X - center) ** 2)
    extra = alpha * (model.n_iter_ if penalty == "l0" else norms @ np.abs(model.coef_))
    np.testing.assert_allclose(model.objective_, value + extra, rtol=1e-10)
    assert model.objective_ == model.objective_path_[-1]
    assert len(model.objective_path_) == model.n_iter_ + 1
    assert model.kkt_ < 1e-9
    if model.status_ == "no_gain":
        assert model.max_gain_ == 0.0


@pytest.mark.parametrize("loss", ["squared", "sqrt", "absolute"])
@pytest.mark.parametrize("Estimator", [OrthogonalMatchingPursuit, OrthogonalMatchingPursuitCV])
def test_storage_does_not_matter(Estimator, loss):
    X, y, _ = planted(n_features=20)
    X = np.where(np.abs(X) < 0.7, 0.0, np.round(X, 1)).astype(np.float32)
    expected = Estimator(loss=loss).fit(X.astype(np.float64), y)
    csr = scipy.sparse.csr_array(X)
    for design in (X, np.asfortranarray(X), csr, scipy.sparse.csc_matrix(X), scipy.sparse.coo_array(X)):
        model = Estimator(loss=loss).fit(design, y)
        np.testing.assert_array_equal(model.support_, expected.support_)
        assert model.coef_.dtype == np.float32
        np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-6)
        assert model.predict(design).dtype == np.float32
    wide = csr.tocsc().astype(np.float64)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    np.testing.assert_allclose(Estimator(loss=loss).fit(wide, y).coef_, expected.coef_, atol=1e-12)


def test_penalty_weights():
    X, y, coef = planted()
    true = np.flatnonzero(coef)
    weights = np.ones(40)
    weights[true[0]] = np.inf
    model = OrthogonalMatchingPursuit(10, alpha=0.5, penalty_weights=weights).fit(X, y)
    assert true[0] not in model.support_
    weights = np.ones(40)
    weights[7] = 0.0
    for penalty in ("l0", "l1"):
        model = OrthogonalMatchingPursuit(10, penalty=penalty, alpha=1e9, penalty_weights=weights.tolist()).fit(X, y)
        np.testing.assert_array_equal(model.support_, [7])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"penalty_weights": np.ones(3)}, r"penalty_weights must .*40 features, got shape \(3,\)"),
        ({"penalty_weights": np.full(40, -1.0)}, r"penalty_weights must lie in \[0, inf\], got -1.0"),
        ({"penalty_weights": np.full(40, np.nan)}, "penalty_weights must not contain NaN"),
        ({"n_nonzero_coefs": 41}, "n_nonzero_coefs must not exceed the number of features, 40, got 41"),
        ({"n_nonzero_coefs": 0}, "n_nonzero_coefs"),
        ({"loss": "quadratic"}, "loss"),
        ({"penalty": "l2"}, "penalty"),
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": np.nan}, "alpha"),
        ({"alpha": np.inf}, "alpha"),
        ({"tol": -1.0}, "tol"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    X, y, _ = planted()
    with pytest.raises(ValueError, match=message):
        OrthogonalMatchingPursuit(**parameters).fit(X, y)


@pytest.mark.parametrize("alphas", [[], [-1.0], [np.nan], [[1.0]]])
def test_bad_alphas_are_named(alphas):
    X, y, _ = planted()
    with pytest.raises(ValueError, match="alphas must be"):
        OrthogonalMatchingPursuitCV(alphas=alphas).fit(X, y)


def by_hand(X, y, s, folds, alphas, limit, **options):
    errors = np.empty((len(alphas), limit + 1, len(folds)))
    for a, alpha in enumerate(alphas):
        for f, (train, test) in enumerate(folds):
            for k in range(limit + 1):
                if k == 0:
                    center = np.average(y[train], weights=s[train])
                    if options["loss"] == "absolute":
                        order = train[np.argsort(y[train])]
                        center = y[order][np.argmax(np.cumsum(s[order]) >= s[order].sum() / 2)]
                    predicted = np.full(len(test), center)
                else:
                    model = OrthogonalMatchingPursuit(k, alpha=alpha, **options)
                    predicted = model.fit(X[train], y[train], sample_weight=s[train]).predict(X[test])
                r = np.abs(y[test] - predicted)
                errors[a, k, f] = np.average(r if options["loss"] == "absolute" else r**2, weights=s[test])
    return errors


@pytest.mark.parametrize("options", [{"loss": "squared", "penalty": "l1"}, {"loss": "sqrt"}, {"loss": "absolute"}])
def test_cross_validation_equals_fits_on_the_folds(options):
    X, y, _ = planted(n_features=15)
    s = np.random.default_rng(2).integers(1, 3, y.size).astype(float)
    folds = list(KFold(4, shuffle=True, random_state=0).split(X))
    alphas = [0.0, 1.0, 30.0]
    model = OrthogonalMatchingPursuitCV(alphas=alphas, cv=folds, max_iter=8, **options).fit(X, y, sample_weight=s)
    expected = by_hand(X, y, s, folds, alphas, 8, **options)
    np.testing.assert_allclose(model.error_path_, expected, rtol=1e-7)

    share = np.array([s[test].sum() for _, test in folds]) / s.sum()
    mean = expected @ share
    assert mean[alphas.index(model.alpha_), model.n_nonzero_coefs_] == pytest.approx(mean.min())
    refit = OrthogonalMatchingPursuit(model.n_nonzero_coefs_, alpha=model.alpha_, **options)
    np.testing.assert_array_equal(model.coef_, refit.fit(X, y, sample_weight=s).coef_)

    sparse = clone(model).set_params(selection="1se").fit(X, y, sample_weight=s)
    best = np.unravel_index(np.argmin(mean), mean.shape)
    error = np.sqrt(((expected[best] - mean[best]) ** 2 @ share) / 3)
    good = mean <= mean[best] + error
    assert good[alphas.index(sparse.alpha_), sparse.n_nonzero_coefs_]
    assert not good[:, : sparse.n_nonzero_coefs_].any()


def test_result_does_not_depend_on_n_jobs_and_survives_a_pickle(tmp_path):
    X, y, _ = planted()
    one = OrthogonalMatchingPursuitCV(alphas=[0.0, 1.0], n_jobs=1).fit(X, y)
    two = OrthogonalMatchingPursuitCV(alphas=[0.0, 1.0], n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(one.error_path_, two.error_path_)
    np.testing.assert_array_equal(one.coef_, two.coef_)
    joblib.dump(one, tmp_path / "model")
    np.testing.assert_array_equal(joblib.load(tmp_path / "model").predict(X), one.predict(X))


def test_folds_without_weight():
    X, y, _ = planted(n_features=10)
    folds = list(KFold(3).split(X))
    s = np.ones(60)
    s[folds[0][1]] = 0.0
    model = OrthogonalMatchingPursuitCV(cv=folds).fit(X, y, sample_weight=s)
    assert np.all(np.isnan(model.error_path_[:, :, 0]))
    assert np.all(np.isfinite(model.error_path_[:, :, 1:]))
    s = np.zeros(60)
    s[folds[0][1]] = 1.0
    with pytest.raises(ValueError, match="sample_weight is zero on the whole training part"):
        OrthogonalMatchingPursuitCV(cv=folds).fit(X, y, sample_weight=s)


def test_groups_reach_the_splitter_by_metadata_routing():
    X, y, _ = planted(n_features=10)
    groups = np.arange(60) % 6
    with pytest.raises(ValueError, match="enable_metadata_routing"):
        OrthogonalMatchingPursuitCV(cv=GroupKFold(3)).fit(X, y, groups=groups)
    with sklearn.config_context(enable_metadata_routing=True):
        model = OrthogonalMatchingPursuitCV(cv=GroupKFold(3)).fit(X, y, groups=groups)
    folds = list(GroupKFold(3).split(X, y, groups))
    expected = OrthogonalMatchingPursuitCV(cv=folds).fit(X, y)
    np.testing.assert_array_equal(model.error_path_, expected.error_path_)


def test_real_data_in_a_pipeline():
    data = load_diabetes(as_frame=True, scaled=False)
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), OrthogonalMatchingPursuitCV())
    model = pipeline.fit(data.data, data.target)[-1]
    assert list(model.feature_names_in_[model.support_[:3]]) == ["bmi", "s5", "bp"]
    assert pipeline.score(data.data, data.target) > 0.45
