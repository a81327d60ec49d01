"""The estimators of best subsets: scikit-learn's contract, and what the data must and must not change."""

import itertools
import math
import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.linear_model import (
    BestSubsetClassifier,
    BestSubsetClassifierCV,
    BestSubsetRegressor,
    BestSubsetRegressorCV,
    best_subset_path,
)


@parametrize_with_checks(
    [
        BestSubsetRegressor(),
        BestSubsetRegressor(1, alpha_l2=0.1, fit_intercept=False),
        BestSubsetRegressorCV(),
        BestSubsetRegressorCV(selection="bic"),
        BestSubsetClassifier(),
        BestSubsetClassifier(alpha_l2=0.1),
        BestSubsetClassifierCV(sizes=1),
        BestSubsetClassifierCV(sizes=1, selection="ebic"),
    ]
)
def test_sklearn_checks(estimator, check):
    check(estimator)


def planted(n_samples=80, n_features=25, seed=0, noise=0.5, classes=False):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_features))
    X[:, 1:] += 0.6 * X[:, :-1]
    coef = np.zeros(n_features)
    coef[[3, 8, 9, 20]] = [2.0, -1.5, 1.5, 1.0]
    y = X @ coef + 3.0 + noise * rng.standard_normal(n_samples)
    return X, np.where(y > 3.0, "yes", "no") if classes else y


REGRESSION, CLASSES = planted(), planted(classes=True)


def test_planted_support_is_found_and_proven():
    X, y = REGRESSION
    model = BestSubsetRegressor(4).fit(X, y)
    np.testing.assert_array_equal(model.support_, [3, 8, 9, 20])
    assert model.status_ == "optimal"
    assert model.n_nonzero_coefs_ == 4
    assert 0.0 <= model.gap_ <= 1e-6
    reference = LinearRegression().fit(X[:, model.support_], y)
    np.testing.assert_allclose(model.coef_[model.support_], reference.coef_, rtol=1e-10)
    np.testing.assert_allclose(model.predict(X), reference.predict(X[:, model.support_]), rtol=1e-10)
    np.testing.assert_allclose(model.objective_, 0.5 * np.mean((y - model.predict(X)) ** 2), rtol=1e-12)
    null = 0.5 * np.var(y)
    np.testing.assert_allclose(model.gap_, (model.objective_ - model.lower_bound_) / null, rtol=1e-9)


def test_classifier_equals_logistic_regression_on_its_support():
    X, y = CLASSES
    model = BestSubsetClassifier(4, alpha_l2=0.01).fit(X, y)
    np.testing.assert_array_equal(model.support_, [3, 8, 9, 20])
    np.testing.assert_array_equal(model.classes_, ["no", "yes"])
    assert model.status_ == "optimal"
    assert model.coef_.shape == (1, 25)
    # scikit-learn sums the losses where we take their mean.
    reference = LogisticRegression(C=1.0 / (0.01 * len(y)), tol=1e-10, max_iter=10_000).fit(X[:, model.support_], y)
    np.testing.assert_allclose(model.coef_[:, model.support_], reference.coef_, rtol=1e-4)
    np.testing.assert_allclose(model.predict_proba(X), reference.predict_proba(X[:, model.support_]), atol=1e-4)
    np.testing.assert_array_equal(model.predict(X), model.classes_[(model.decision_function(X) > 0).astype(int)])
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)
    log_loss = -np.log(model.predict_proba(X)[np.arange(len(y)), (y == "yes").astype(int)]).mean()
    np.testing.assert_allclose(model.objective_, log_loss + 0.005 * np.sum(model.coef_**2), rtol=1e-12)


@pytest.mark.parametrize(
    ("estimator", "data"),
    [
        (BestSubsetRegressor(3), REGRESSION),
        (BestSubsetRegressor(3, fit_intercept=False, alpha_l2=0.1), REGRESSION),
        (BestSubsetClassifier(2, alpha_l2=0.05), CLASSES),
    ],
)
def test_integer_weights_are_repeated_rows(estimator, data):
    X, y = data
    weights = np.random.default_rng(1).integers(0, 4, len(y))
    weighted = clone(estimator).fit(X, y, sample_weight=weights)
    repeated = clone(estimator).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    np.testing.assert_array_equal(weighted.support_, repeated.support_)
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-8)
    np.testing.assert_allclose(weighted.objective_, repeated.objective_, rtol=1e-10)
    np.testing.assert_allclose(weighted.lower_bound_, repeated.lower_bound_, rtol=1e-5)
    scaled = clone(estimator).fit(X, y, sample_weight=17.0 * weights)
    np.testing.assert_allclose(scaled.objective_, weighted.objective_, rtol=1e-10)


@pytest.mark.parametrize(
    ("estimator", "data"),
    [(BestSubsetRegressor(3), REGRESSION), (BestSubsetClassifier(2, alpha_l2=0.05, max_nodes=10), CLASSES)],
)
def test_storage_does_not_matter(estimator, data):
    X, y = data
    X = np.where(np.abs(X) < 0.7, 0.0, np.round(X, 1)).astype(np.float32)
    expected = clone(estimator).fit(X.astype(np.float64), y)
    for design in (X, np.asfortranarray(X), scipy.sparse.csr_array(X), scipy.sparse.csc_matrix(X)):
        model = clone(estimator).fit(design, y)
        np.testing.assert_array_equal(model.support_, expected.support_)
        assert model.coef_.dtype == np.float32
        np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-5)
        if data is CLASSES:
            np.testing.assert_array_equal(model.predict(design), expected.predict(X))
        else:
            np.testing.assert_allclose(model.predict(design), expected.predict(X), rtol=1e-4, atol=1e-4)


def test_path_is_the_fits_of_its_sizes():
    X, y = REGRESSION
    path = best_subset_path(X, y, sizes=5)
    np.testing.assert_array_equal(path.sizes, np.arange(6))
    assert path.statuses == ["optimal"] * 6
    for k in range(1, 6):
        model = BestSubsetRegressor(k).fit(X, y)
        np.testing.assert_array_equal(path.supports[k], model.support_)
        np.testing.assert_allclose(path.coefs[:, k], model.coef_, rtol=1e-10)
        np.testing.assert_allclose(path.intercepts[k], model.intercept_, rtol=1e-10)
    np.testing.assert_allclose(path.objectives[0], 0.5 * np.var(y))
    default = best_subset_path(X, y, certify=False)
    np.testing.assert_array_equal(default.sizes, np.arange(6))
    labels = best_subset_path(*CLASSES, sizes=[2], loss="logistic", alpha_l2=0.05)
    single = BestSubsetClassifier(2, alpha_l2=0.05).fit(*CLASSES)
    np.testing.assert_allclose(labels.coefs.T, single.coef_, rtol=1e-10)


def test_two_sizes_at_once_are_no_worse_than_one():
    # The answer of other packages for two features depends on whether one feature was asked for, too.
    for seed in range(5):
        X, y = planted(40, 60, seed, noise=3.0)
        both = best_subset_path(X, y, sizes=[1, 2], certify=False)
        alone = best_subset_path(X, y, sizes=[2], certify=False)
        assert both.objectives[1] <= alone.objectives[0] * (1.0 + 1e-12)


@pytest.mark.parametrize("selection", ["min", "1se"])
def test_cross_validation_equals_paths_on_the_folds(selection):
    X, y = REGRESSION
    weights = np.random.default_rng(2).uniform(0.5, 2.0, len(y))
    folds = list(KFold(4, shuffle=True, random_state=0).split(X))
    model = BestSubsetRegressorCV(sizes=7, cv=folds, selection=selection, n_jobs=2)
    model.fit(X, y, sample_weight=weights)
    expected = np.empty((8, 4))
    for f, (train, test) in enumerate(folds):
        path = best_subset_path(X[train], y[train], sizes=7, sample_weight=weights[train], certify=False)
        errors = (y[test, None] - X[test] @ path.coefs - path.intercepts) ** 2
        expected[:, f] = np.average(errors, axis=0, weights=weights[test])
    np.testing.assert_allclose(model.mse_path_, expected, rtol=1e-9)
    mean = expected.mean(axis=1)
    np.testing.assert_allclose(model.criterion_path_, mean, rtol=1e-9)
    best = int(np.argmin(mean))
    limit = mean[best] + (expected[best].std(ddof=1) / 2.0 if selection == "1se" else 0.0)
    assert model.n_nonzero_coefs_ == np.flatnonzero(mean <= limit)[0]
    single = BestSubsetRegressor(model.n_nonzero_coefs_).fit(X, y, sample_weight=weights)
    np.testing.assert_array_equal(model.support_, single.support_)
    np.testing.assert_allclose(model.coef_, single.coef_, rtol=1e-9)
    np.testing.assert_allclose(model.coef_path_[:, model.n_nonzero_coefs_], single.coef_, rtol=1e-9)
    assert model.status_ == "optimal"


def test_cross_validation_of_the_classifier():
    X, y = CLASSES
    folds = list(StratifiedKFold(3).split(X, y))
    model = BestSubsetClassifierCV(sizes=[1, 2, 4], cv=3, alpha_l2=0.02, certify=False).fit(X, y)
    expected = np.empty((3, 3))
    for f, (train, test) in enumerate(folds):
        for k, size in enumerate((1, 2, 4)):
            single = BestSubsetClassifier(size, alpha_l2=0.02, certify=False).fit(X[train], y[train])
            probability = single.predict_proba(X[test])[np.arange(test.size), (y[test] == "yes").astype(int)]
            expected[k, f] = -np.log(probability).mean()
    np.testing.assert_allclose(model.loss_path_, expected, rtol=1e-6)
    assert model.n_nonzero_coefs_ == [1, 2, 4][int(np.argmin(expected.mean(axis=1)))]


@pytest.mark.parametrize("Estimator", [BestSubsetRegressorCV, BestSubsetClassifierCV])
@pytest.mark.parametrize("selection", ["aic", "bic", "ebic"])
def test_information_criteria(selection, Estimator):
    X, y = REGRESSION if Estimator is BestSubsetRegressorCV else CLASSES
    model = Estimator(sizes=6, selection=selection, alpha_l2=0.02, certify=False).fit(X, y)
    n, p, sizes = *X.shape, np.arange(7)
    subsets = np.log([math.comb(p, int(k)) for k in sizes])
    price = {"aic": 2.0 * sizes, "bic": np.log(n) * sizes, "ebic": np.log(n) * sizes + 2.0 * subsets}[selection]
    loss = model.objective_path_ - 0.01 * np.sum(model.coef_path_**2, axis=0)
    deviance = n * np.log(2.0 * loss) if Estimator is BestSubsetRegressorCV else 2.0 * n * loss
    np.testing.assert_allclose(model.criterion_path_, deviance + price, rtol=1e-9)
    assert model.n_nonzero_coefs_ == int(np.argmin(model.criterion_path_))
    assert model.status_ == "not_certified"
    # Integer weights are repeated rows here, too.
    weights = np.random.default_rng(0).integers(1, 3, n)
    weighted = clone(model).fit(X, y, sample_weight=weights)
    repeated = clone(model).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    np.testing.assert_allclose(weighted.criterion_path_, repeated.criterion_path_, rtol=1e-8)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_nonzero_coefs": 26}, "n_nonzero_coefs must not exceed the number of features, 25, got 26"),
        ({"n_nonzero_coefs": -1}, "n_nonzero_coefs"),
        ({"alpha_l2": -1.0}, "alpha_l2"),
        ({"alpha_l2": np.nan}, "alpha_l2"),
        ({"max_swaps": -1}, "max_swaps"),
        ({"max_nodes": 0}, "max_nodes"),
        ({"tol": -1.0}, "tol"),
        ({"time_limit": 0.0}, "time_limit"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        BestSubsetRegressor(**parameters).fit(*REGRESSION)


@pytest.mark.parametrize("sizes", [26, -1, [], [1.5], [[1, 2]], ["few"], [3, 99]])
def test_bad_sizes_are_named(sizes):
    with pytest.raises(ValueError, match="sizes must"):
        BestSubsetRegressorCV(sizes=sizes).fit(*REGRESSION)


def test_bad_labels_are_named():
    X, y = REGRESSION
    with pytest.raises(ValueError, match="Unknown label type"):
        BestSubsetClassifier().fit(X, y)
    with pytest.raises(ValueError, match="Only binary classification is supported"):
        BestSubsetClassifier().fit(X, np.arange(80) % 3)
    with pytest.raises(ValueError, match="at least two classes with positive weight, got the one class 1"):
        BestSubsetClassifier().fit(X, np.ones(80, dtype=int))
    weights = (CLASSES[1] == "yes").astype(float)
    with pytest.raises(ValueError, match="at least two classes with positive weight, got the one class 'yes'"):
        BestSubsetClassifier().fit(*CLASSES, sample_weight=weights)
    with pytest.raises(ValueError, match="loss must be 'squared' or 'logistic', got 'hinge'"):
        best_subset_path(X, y, loss="hinge")


def test_class_weights_are_sample_weights():
    X, y = CLASSES
    model = BestSubsetClassifier(3, alpha_l2=0.05, class_weight={"yes": 3.0, "no": 1.0}).fit(X, y)
    weighted = BestSubsetClassifier(3, alpha_l2=0.05).fit(X, y, sample_weight=np.where(y == "yes", 3.0, 1.0))
    np.testing.assert_array_equal(model.coef_, weighted.coef_)
    assert model.lower_bound_ == weighted.lower_bound_


def test_what_is_cut_short_says_so():
    X, y = planted(40, 60, noise=3.0)
    with pytest.warns(ConvergenceWarning, match=r"proven to within .* tol is 1.000e-06; .*time_limit was reached"):
        model = BestSubsetRegressor(5, time_limit=1e-9).fit(X, y)
    assert model.status_ == "time_limit"
    assert model.objective_ < 0.5 * np.var(y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert BestSubsetRegressor(5).fit(X, y).status_ == "unproven"  # more features than samples, no ridge
        few = BestSubsetRegressor(5, alpha_l2=0.1, max_nodes=1).fit(X, y)
        many = BestSubsetRegressor(5, alpha_l2=0.1, max_nodes=300).fit(X, y)
    assert few.status_ == "max_nodes"
    assert 0.0 < few.lower_bound_ < many.lower_bound_ <= many.objective_ <= few.objective_


def test_no_features_at_all():
    X, y = REGRESSION
    model = BestSubsetRegressor(0).fit(X, y)
    assert model.status_ == "optimal"
    assert not model.coef_.any()
    assert model.intercept_ == pytest.approx(y.mean())


def test_diabetes():
    # Best subsets of all 1023, by brute force.
    X, y = load_diabetes(return_X_y=True)
    path = best_subset_path(X, y, sizes=10)
    assert path.statuses == ["optimal"] * 11
    target, design = y - y.mean(), X - X.mean(axis=0)
    for k in range(1, 11):
        best = min(
            np.sum((target - design[:, s] @ np.linalg.lstsq(design[:, s], target, rcond=None)[0]) ** 2)
            for s in map(list, itertools.combinations(range(10), k))
        )
        np.testing.assert_allclose(path.objectives[k], 0.5 * best / len(y), rtol=1e-10)
