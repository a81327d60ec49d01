"""QuantileLasso and LADLasso against a linear program, their equivariances, degenerate data, the estimator contract."""

import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import linprog
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import QuantileRegressor
from sklearn.model_selection import KFold
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.linear_model import (
    LADLasso,
    LADLassoCV,
    QuantileLasso,
    QuantileLassoCV,
    lad_lasso_path,
    quantile_lasso_path,
)

RNG = np.random.default_rng(0)
N, P = 80, 30
X = RNG.standard_normal((N, P))
Y = X[:, :3] @ [2.0, -1.0, 0.7] + 4.0 + RNG.standard_t(1.5, N)
WEIGHTS = RNG.integers(0, 4, N).astype(float)
OMEGA = RNG.uniform(0.5, 2.0, P)


def pinball(residual, quantile):
    return np.maximum(quantile * residual, (quantile - 1.0) * residual)


def by_linear_program(quantile, alpha, intercept):
    s = WEIGHTS / WEIGHTS.sum()
    cost = np.concatenate([alpha * OMEGA, alpha * OMEGA, [0.0], s * quantile, s * (1.0 - quantile)])
    equality = np.hstack([X, -X, np.ones((N, 1)), np.eye(N), -np.eye(N)])
    bounds = [(0, None)] * (2 * P) + [(None, None) if intercept else (0, 0)] + [(0, None)] * (2 * N)
    return linprog(cost, A_eq=equality, b_eq=Y, bounds=bounds, method="highs").fun


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("alpha", [0.0, 0.02, 0.1])
def test_agrees_with_the_linear_program(alpha, quantile, intercept):
    model = QuantileLasso(alpha, quantile=quantile, fit_intercept=intercept, penalty_weights=OMEGA, tol=1e-12)
    model.fit(X, Y, sample_weight=WEIGHTS)
    value = by_linear_program(quantile, alpha, intercept)
    assert model.objective_ == pytest.approx(value, abs=1e-9)
    s = WEIGHTS / WEIGHTS.sum()
    residual = Y - X @ model.coef_ - model.intercept_
    assert s @ pinball(residual, quantile) + alpha * OMEGA @ np.abs(model.coef_) == pytest.approx(model.objective_)
    assert model.status_ == "converged"
    assert model.dual_gap_ <= 1e-12


def test_the_objective_is_scikit_learns():
    theirs = QuantileRegressor(quantile=0.3, alpha=0.05, solver="highs").fit(X, Y)
    ours = QuantileLasso(0.05, quantile=0.3, tol=1e-12).fit(X, Y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-9)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-9)


def test_a_solution_interpolates_as_many_rows_as_it_has_coefficients():
    model = LADLasso(0.1, tol=1e-12).fit(X, Y)
    residual = Y - model.predict(X)
    assert np.count_nonzero(np.abs(residual) < 1e-10) == np.count_nonzero(model.coef_) + 1


def test_lad_is_the_median_at_half_the_level():
    absolute = LADLasso(0.1, tol=1e-12).fit(X, Y)
    median = QuantileLasso(0.05, quantile=0.5, tol=1e-12).fit(X, Y)
    np.testing.assert_allclose(absolute.coef_, median.coef_, atol=1e-11)
    assert absolute.objective_ == pytest.approx(2.0 * median.objective_)
    assert absolute.alpha_max_ == pytest.approx(2.0 * median.alpha_max_)


def test_equivariance():
    """y -> c y + d keeps alpha; y -> -y exchanges the quantiles; x_j -> c x_j asks for c omega_j."""
    first = QuantileLasso(0.05, quantile=0.3, tol=1e-12).fit(X, Y)
    scaled = QuantileLasso(0.05, quantile=0.3, tol=1e-12).fit(X, 1e6 * Y + 3e6)
    np.testing.assert_allclose(scaled.coef_, 1e6 * first.coef_, rtol=1e-8, atol=1e-6)
    np.testing.assert_allclose(scaled.intercept_, 1e6 * first.intercept_ + 3e6, rtol=1e-8)
    mirrored = QuantileLasso(0.05, quantile=0.7, tol=1e-12).fit(X, -Y)
    np.testing.assert_allclose(mirrored.coef_, -first.coef_, atol=1e-10)
    units = 10.0 ** RNG.integers(-4, 5, P)
    converted = QuantileLasso(0.05, quantile=0.3, penalty_weights=units, tol=1e-12).fit(X * units, Y)
    np.testing.assert_allclose(converted.coef_ * units, first.coef_, atol=1e-9)
    order = RNG.permutation(P)
    permuted = QuantileLasso(0.05, quantile=0.3, tol=1e-12).fit(X[:, order], Y)
    np.testing.assert_allclose(permuted.coef_, first.coef_[order], atol=1e-10)


def test_gross_errors_move_nothing():
    first = LADLasso(0.1, tol=1e-12).fit(X, Y)
    residual = Y - first.predict(X)
    wrong = Y + np.where(residual > 0.1, 1e8, 0.0)  # farther out on the side where they are
    np.testing.assert_allclose(LADLasso(0.1, tol=1e-13).fit(X, wrong).coef_, first.coef_, atol=1e-6)


def test_weights_are_repeated_rows_and_sparse_is_dense():
    weighted = LADLasso(0.1, tol=1e-12).fit(X, Y, sample_weight=WEIGHTS)
    rows = np.repeat(np.arange(N), WEIGHTS.astype(int))
    repeated = LADLasso(0.1, tol=1e-12).fit(X[rows], Y[rows])
    assert weighted.objective_ == pytest.approx(repeated.objective_, rel=1e-11)
    thin = np.where(np.abs(X) > 1.0, X, 0.0)
    dense = LADLasso(0.05, tol=1e-12).fit(thin, Y)
    for kind in (scipy.sparse.csc_array, scipy.sparse.csr_array):
        np.testing.assert_allclose(LADLasso(0.05, tol=1e-12).fit(kind(thin), Y).coef_, dense.coef_, atol=1e-10)


def test_special_features():
    omega = np.ones(P)
    omega[5], omega[0] = 0.0, np.inf
    model = QuantileLasso(10.0, penalty_weights=omega).fit(X, Y)
    assert np.flatnonzero(model.coef_).tolist() == [5]
    bounded = LADLasso(0.05, bounds=(-0.5, 0.9)).fit(X, Y)
    assert bounded.coef_[0] == 0.9
    assert bounded.coef_[1] == -0.5
    assert (LADLasso(0.05, positive=True).fit(X, Y).coef_ >= 0.0).all()


@pytest.mark.parametrize("design", [X, np.sign(X)])
@pytest.mark.parametrize("target", [Y, np.round(Y)])
def test_alpha_max(design, target):
    """Also where tied data leave the dual vector of the empty model free."""
    largest = LADLasso(1.0).fit(design, target).alpha_max_
    assert not LADLasso(largest, tol=1e-13).fit(design, target).coef_.any()
    below = LADLasso(0.999 * largest, tol=1e-13).fit(design, target)
    empty = LADLasso(10.0 * largest).fit(design, target)
    assert below.coef_.any()
    assert below.objective_ < empty.objective_


def test_degenerate_data():
    constant = LADLasso(0.1).fit(X, np.full(N, 3.0))
    assert constant.intercept_ == 3.0
    assert not constant.coef_.any()
    assert constant.alpha_max_ == 0.0
    assert not LADLasso(0.1).fit(X, np.zeros(N)).coef_.any()
    one = LADLasso(0.1).fit(X[:1], Y[:1])
    np.testing.assert_allclose(one.predict(X[:1]), Y[:1])
    exact = LADLasso(0.0, tol=1e-10).fit(X[:20], Y[:20])  # more features than samples
    assert exact.objective_ <= 1e-10
    assert exact.status_ == "converged"
    doubled = np.hstack([X, X, np.zeros((N, 2))])
    twice = LADLasso(0.1, tol=1e-12).fit(np.vstack([doubled, doubled]), np.concatenate([Y, Y]))
    assert twice.objective_ == pytest.approx(LADLasso(0.1, tol=1e-12).fit(X, Y).objective_, rel=1e-11)


def test_paths_are_single_fits():
    path = quantile_lasso_path(X, Y, alphas=12, quantile=0.3, tol=1e-12, sample_weight=WEIGHTS)
    assert path.converged
    for k, alpha in enumerate(path.alphas):
        single = QuantileLasso(alpha, quantile=0.3, tol=1e-12).fit(X, Y, sample_weight=WEIGHTS)
        assert path.objectives[k] == pytest.approx(single.objective_, rel=1e-10)
        np.testing.assert_allclose(path.coefs[:, k], single.coef_, atol=1e-8)
    assert lad_lasso_path(X, Y, alphas=[0.2, 0.1]).alphas.tolist() == [0.2, 0.1]


def test_cross_validation_by_hand():
    folds = list(KFold(3).split(X))
    model = QuantileLassoCV(quantile=0.3, alphas=[0.1, 0.05], cv=folds, tol=1e-12).fit(X, Y)
    for k, alpha in enumerate(model.alphas_):
        for f, (train, test) in enumerate(folds):
            single = QuantileLasso(alpha, quantile=0.3, tol=1e-12).fit(X[train], Y[train])
            loss = pinball(Y[test] - single.predict(X[test]), 0.3).mean()
            assert model.loss_path_[k, f] == pytest.approx(loss, rel=1e-8)
    assert model.alpha_ == model.alphas_[model.loss_path_.mean(axis=1).argmin()]


def test_warm_start_ends_where_it_began():
    model = LADLasso(0.1, tol=1e-12, warm_start=True).fit(X, Y)
    before, visited = model.coef_.copy(), model.n_iter_
    model.fit(X, Y)
    np.testing.assert_allclose(model.coef_, before, atol=1e-12)
    assert model.n_iter_ == 1 < visited


def test_out_of_steps_keeps_a_certified_model():
    best = LADLasso(0.02, tol=1e-12).fit(X, Y).objective_
    with pytest.warns(ConvergenceWarning, match="LADLasso did not reach its tolerance"):
        model = LADLasso(0.02, max_iter=3).fit(X, Y)
    assert model.status_ == "max_iter"
    assert model.objective_ - model.dual_gap_ <= best + 1e-12 <= model.objective_ + 2e-12


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"quantile": 1.0}, "quantile"), ({"alpha": -1.0}, "alpha"), ({"penalty_weights": -1.0}, "penalty_weights")],
)
def test_bad_input(parameters, message):
    with pytest.raises(ValueError, match=message):
        QuantileLasso(**parameters).fit(X, Y)


@parametrize_with_checks(
    [
        QuantileLasso(),
        QuantileLasso(quantile=0.3, positive=True, fit_intercept=False),
        LADLasso(),
        LADLassoCV(alphas=5, cv=3),
        QuantileLassoCV(alphas=5, cv=3),
    ]
)
def test_estimator_contract(estimator, check):
    check(estimator)
