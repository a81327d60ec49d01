"""Group lasso, sparse group lasso and their concave relatives: closed forms, oracles, invariances, errors."""

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sparsemodels.linear_model import (
    GroupLasso,
    GroupLassoClassifier,
    GroupLassoClassifierCV,
    GroupLassoCV,
    Lasso,
    group_lasso_path,
)

TIGHT = 1e-13  # relative gap; coefficients then agree to about its square root times the condition number
GROUPS = np.array([2, 0, 1, 0, 1, 2, 2, 0, 3, 3, 4, 4, 5, 5, 5, 5, 6, 6, 7, 8])  # interleaved at first
SIZES = np.bincount(GROUPS)


def make_data(seed=0, n=60):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, GROUPS.size)) + 0.5 * rng.standard_normal((n, 1))
    coef = np.where(np.isin(GROUPS, [0, 3, 5]), rng.standard_normal(GROUPS.size), 0.0)
    return X, X @ coef + 2.0 + 0.5 * rng.standard_normal(n)


@pytest.fixture(scope="module")
def data():
    return make_data()


@pytest.fixture(scope="module")
def labels(data):
    X, y = data
    return X, (y + np.random.default_rng(9).standard_normal(60) > np.median(y)).astype(int)


def soft(v, t):
    return np.sign(v) * np.maximum(np.abs(v) - t, 0.0)


def gradient_distance(model, X, slope, weights, group_weights):
    """The largest distance of a group's slopes to its subdifferential, from the formula alone."""
    alpha, rho, largest = model.alpha, model.l1_ratio, 0.0
    coef = model.coef_.ravel()
    for g, weight in enumerate(group_weights):
        w, v = coef[g == GROUPS], slope[g == GROUPS]
        t, tau = alpha * rho * weights[g == GROUPS], alpha * (1 - rho) * weight
        if not w.any():
            largest = max(largest, np.linalg.norm(soft(v, t)) - tau)
            continue
        v = v - tau * w / np.linalg.norm(w)
        largest = max(largest, np.linalg.norm(np.where(w != 0, v - t * np.sign(w), soft(v, t))))
    return largest


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("special", [False, True])
def test_agrees_with_cvxpy(data, fit_intercept, l1_ratio, special):
    """The objective agrees with an interior-point solver to 1e-7 of the objective of the empty model."""
    X, y = data
    rng = np.random.default_rng(2)
    omega = np.sqrt(SIZES)
    nu, s = np.ones(GROUPS.size), np.ones(60)
    if special:
        omega = rng.uniform(0.5, 2.0, SIZES.size)
        omega[[1, 3]] = 0.0
        nu = rng.choice([0.0, 0.5, 1.0, 2.0], size=GROUPS.size)
        s = rng.integers(0, 3, size=60).astype(float)
    model = GroupLasso(
        GROUPS, 0.15, l1_ratio=l1_ratio, group_weights=omega, penalty_weights=nu, fit_intercept=fit_intercept, tol=1e-10
    ).fit(X, y, sample_weight=s)
    w, b = cp.Variable(GROUPS.size), cp.Variable()
    residual = y - X @ w - (b if fit_intercept else 0)
    objective = cp.sum(cp.multiply(s / s.sum(), cp.square(residual))) / 2
    objective += 0.15 * l1_ratio * nu @ cp.abs(w)
    for g in range(SIZES.size):
        objective += 0.15 * (1 - l1_ratio) * omega[g] * cp.norm(w[np.flatnonzero(g == GROUPS)])
    best = cp.Problem(cp.Minimize(objective)).solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11)
    scale = 0.5 * (s / s.sum()) @ y**2
    assert model.relative_gap_ <= 1e-10
    assert abs(model.objective_ - best) <= 1e-7 * scale
    w.value, b.value = model.coef_, model.intercept_
    np.testing.assert_allclose(objective.value, model.objective_, rtol=1e-12)


@pytest.mark.parametrize("l1_ratio", [0.0, 0.4])
def test_logistic_agrees_with_cvxpy(labels, l1_ratio):
    X, y = labels
    model = GroupLassoClassifier(GROUPS, 0.02, l1_ratio=l1_ratio, tol=1e-10).fit(X, y)
    w, b = cp.Variable(GROUPS.size), cp.Variable()
    objective = cp.sum(cp.logistic(-cp.multiply(2 * y - 1, X @ w + b))) / 60 + 0.02 * l1_ratio * cp.norm1(w)
    for g, size in enumerate(SIZES):
        objective += 0.02 * (1 - l1_ratio) * np.sqrt(size) * cp.norm(w[np.flatnonzero(g == GROUPS)])
    best = cp.Problem(cp.Minimize(objective)).solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11)
    assert abs(model.objective_ - best) <= 1e-7
    w.value, b.value = model.coef_[0], model.intercept_[0]
    np.testing.assert_allclose(objective.value, model.objective_, rtol=1e-12)


@pytest.mark.parametrize("penalty", ["lasso", "mcp", "scad"])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.3])
def test_orthonormal_design_closed_form(penalty, l1_ratio):
    """On a design with Gram n I each group's solution is the prox at its correlations."""
    rng = np.random.default_rng(1)
    q, _ = np.linalg.qr(rng.standard_normal((40, GROUPS.size)))
    X, y = np.sqrt(40) * q, 3.0 * rng.standard_normal(40)
    alpha, gamma = 0.25, 3.5
    model = GroupLasso(
        GROUPS, alpha, l1_ratio=l1_ratio, penalty=penalty, gamma=gamma, fit_intercept=False, tol=TIGHT
    ).fit(X, y)
    expected = soft(X.T @ y / 40, alpha * l1_ratio)
    for g, size in enumerate(SIZES):
        part = expected[g == GROUPS]
        r, t = np.linalg.norm(part), alpha * (1 - l1_ratio) * np.sqrt(size)
        new = soft(r, t)
        if penalty == "mcp":
            new = r if r > gamma * t else new / (1 - 1 / gamma)
        if penalty == "scad" and r > 2 * t:
            new = r if r > gamma * t else ((gamma - 1) * r - gamma * t) / (gamma - 2)
        expected[g == GROUPS] = part * (new / r if r > 0 else 0.0)
    np.testing.assert_allclose(model.coef_, expected, atol=1e-13)
    assert 0 < model.active_groups_.size < SIZES.size


def planted(l1_ratio, seed=3, n=30):
    """A problem with fewer rows than features whose solution is known: slopes are set on a grid of residuals."""
    rng = np.random.default_rng(seed)
    alpha, weights = 0.3, np.sqrt(SIZES)
    coef = np.zeros(GROUPS.size)
    active = np.isin(GROUPS, [0, 5, 7])
    coef[active] = rng.standard_normal(active.sum())
    coef[np.flatnonzero(active)[1:3]] *= float(l1_ratio == 0.0)  # zeros within an active group
    slope = rng.uniform(-1, 1, GROUPS.size) * alpha * l1_ratio
    slope[coef != 0] = alpha * l1_ratio * np.sign(coef[coef != 0])
    for g, weight in enumerate(weights):
        w = coef[g == GROUPS]
        u = rng.standard_normal(w.size) * 0.5 / np.sqrt(w.size) if not w.any() else w / np.linalg.norm(w)
        # The zero coefficient of an active group has no part in u, those of an idle one lie inside of the ball.
        extra = alpha * (1 - l1_ratio) * weight * (u if w.any() else np.sign(slope[g == GROUPS]) * np.abs(u))
        slope[g == GROUPS] += extra
        if not w.any():
            excess = np.linalg.norm(soft(slope[g == GROUPS], alpha * l1_ratio))
            assert excess <= alpha * (1 - l1_ratio) * weight
    X = rng.standard_normal((n, GROUPS.size))
    theta = rng.standard_normal(n)
    X += np.outer(theta / (theta @ theta), n * slope - X.T @ theta)  # now X'theta = n slope
    return X, X @ coef + theta, coef, alpha


@pytest.mark.parametrize("l1_ratio", [0.0, 0.4])
@pytest.mark.parametrize("seed", range(3))
def test_planted_solution(l1_ratio, seed):
    X, y, coef, alpha = planted(l1_ratio, seed)
    model = GroupLasso(GROUPS, alpha, l1_ratio=l1_ratio, fit_intercept=False, tol=TIGHT).fit(X, y)
    residual = y - X @ coef
    objective = 0.5 * residual @ residual / y.size + alpha * l1_ratio * np.abs(coef).sum()
    objective += sum(
        alpha * (1 - l1_ratio) * np.sqrt(d) * np.linalg.norm(coef[g == GROUPS]) for g, d in enumerate(SIZES)
    )
    np.testing.assert_allclose(model.objective_, objective, rtol=1e-11)
    np.testing.assert_allclose(model.coef_, coef, atol=1e-5)
    assert model.objective_ - model.dual_gap_ <= objective * (1 + 1e-12)


@pytest.mark.parametrize("penalty", ["lasso", "mcp", "scad"])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.3])
def test_optimality_conditions_from_outside(data, penalty, l1_ratio):
    """The slopes of the smooth loss against the subdifferential; with the norm's own slope where it is concave."""
    X, y = data
    model = GroupLasso(GROUPS, 0.2, l1_ratio=l1_ratio, penalty=penalty, gamma=3.0, tol=1e-10).fit(X, y)
    assert model.status_ == "converged"
    slope = X.T @ (y - model.predict(X)) / 60
    weights = np.sqrt(SIZES)
    if penalty != "lasso":  # the tangent at the solution is a weighted group lasso with the same conditions
        r, level = model.group_norms_, 0.2 * (1 - l1_ratio) * weights
        tangent = level - r / 3.0 if penalty == "mcp" else np.minimum(level, (3.0 * level - r) / 2.0)
        weights = weights * np.maximum(tangent, 0.0) / level
        assert model.dual_gap_ == np.inf
    assert gradient_distance(model, X, slope, np.ones(GROUPS.size), weights) <= 1e-9
    assert model.kkt_ <= 1e-9


def test_endless_concavity_is_the_lasso(data):
    X, y = data
    lasso = GroupLasso(GROUPS, 0.2, tol=1e-12).fit(X, y)
    for penalty in ("mcp", "scad"):
        model = GroupLasso(GROUPS, 0.2, penalty=penalty, gamma=1e12, tol=1e-10).fit(X, y)
        np.testing.assert_allclose(model.coef_, lasso.coef_, atol=1e-7)


def test_concave_penalties_do_not_shrink_large_groups():
    X, y = make_data(4, 400)
    kept = np.where(np.isin(range(9), [0, 3, 5]), 0.0, np.inf)
    truth = GroupLasso(GROUPS, 1.0, tol=TIGHT, group_weights=kept).fit(X, y)
    for penalty in ("mcp", "scad"):
        model = GroupLasso(GROUPS, 0.1, penalty=penalty, gamma=2.1, tol=1e-10).fit(X, y)
        np.testing.assert_allclose(model.coef_, truth.coef_, atol=1e-5)
        assert np.linalg.norm(GroupLasso(GROUPS, 0.1).fit(X, y).coef_ - truth.coef_) > 0.1


def test_singletons_are_the_lasso(data):
    X, y = data
    omega = np.random.default_rng(6).uniform(0.3, 3.0, GROUPS.size)
    for model in (
        GroupLasso(None, 0.1, group_weights=omega, tol=TIGHT),
        GroupLasso(GROUPS, 0.1, l1_ratio=1.0, penalty_weights=omega, tol=TIGHT),
        GroupLasso(None, 0.1, l1_ratio=0.4, group_weights=omega, penalty_weights=omega, tol=TIGHT),
    ):
        model.fit(X, y)
        lasso = Lasso(0.1, penalty_weights=omega, tol=TIGHT).fit(X, y)
        np.testing.assert_allclose(model.coef_, lasso.coef_, atol=1e-8)
        np.testing.assert_allclose(model.alpha_max_, lasso.alpha_max_, rtol=1e-12)


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_integer_weights_are_repeated_rows(data, labels, l1_ratio, fit_intercept):
    X, y = data
    s = np.random.default_rng(3).integers(0, 4, size=60)
    regressor = GroupLasso(GROUPS, 0.1, l1_ratio=l1_ratio, fit_intercept=fit_intercept, tol=TIGHT)
    classifier = GroupLassoClassifier(GROUPS, 0.02, l1_ratio=l1_ratio, fit_intercept=fit_intercept, tol=TIGHT)
    for estimator, target in ((regressor, y), (classifier, labels[1])):
        weighted = clone(estimator).fit(X, target, sample_weight=s)
        repeated = clone(estimator).fit(np.repeat(X, s, axis=0), np.repeat(target, s))
        np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-7)
        np.testing.assert_allclose(weighted.alpha_max_, repeated.alpha_max_, rtol=1e-9)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("container", [scipy.sparse.csc_matrix, scipy.sparse.csr_array])
def test_sparse_is_dense(data, labels, fit_intercept, container):
    X, y = data
    X = np.where(np.abs(X) > 0.8, X, 0.0) + 0.0
    for estimator, target in ((GroupLasso(GROUPS, 0.05), y), (GroupLassoClassifier(GROUPS, 0.02), labels[1])):
        estimator.set_params(fit_intercept=fit_intercept, tol=TIGHT, l1_ratio=0.2)
        dense = clone(estimator).fit(X, target)
        sparse = clone(estimator).fit(container(X), target)
        np.testing.assert_allclose(sparse.coef_, dense.coef_, atol=1e-7)


def test_scaling_scales_the_answer_and_changes_nothing_else(data):
    X, y = data
    model = GroupLasso(GROUPS, 0.1, l1_ratio=0.3, tol=1e-10).fit(X, y)
    for c in (1e-6, 1e6):
        scaled = GroupLasso(GROUPS, 0.1 * c, l1_ratio=0.3, tol=1e-10).fit(X, c * y)
        np.testing.assert_allclose(scaled.coef_, c * model.coef_, rtol=1e-5, atol=1e-8 * c)
        assert scaled.n_iter_ == model.n_iter_
        scaled = GroupLasso(GROUPS, 0.1 * c, l1_ratio=0.3, tol=1e-10).fit(c * X, y)
        np.testing.assert_allclose(scaled.coef_, model.coef_ / c, rtol=1e-5, atol=1e-8 / c)


def test_permutation_rotation_and_duplication(data):
    X, y = data
    rng = np.random.default_rng(5)
    model = GroupLasso(GROUPS, 0.1, tol=TIGHT).fit(X, y)
    order = rng.permutation(GROUPS.size)
    permuted = GroupLasso(GROUPS[order], 0.1, tol=TIGHT).fit(X[:, order], y)
    np.testing.assert_allclose(permuted.coef_, model.coef_[order], atol=1e-8)
    relabelled = GroupLasso(8 - GROUPS, 0.1, tol=TIGHT).fit(X, y)
    np.testing.assert_allclose(relabelled.coef_, model.coef_, atol=1e-8)
    # Without an L1 part the penalty does not see a rotation within a group.
    members = np.flatnonzero(GROUPS == 5)
    q, _ = np.linalg.qr(rng.standard_normal((4, 4)))
    turned = X.copy()
    turned[:, members] = X[:, members] @ q
    rotated = GroupLasso(GROUPS, 0.1, tol=TIGHT).fit(turned, y)
    np.testing.assert_allclose(q @ rotated.coef_[members], model.coef_[members], atol=1e-7)
    # A column that stands k times in its group shares its coefficient evenly, at 1 / sqrt(k) of the penalty.
    double = GroupLasso(np.append(GROUPS, GROUPS), 0.1 * np.sqrt(2), group_weights=np.sqrt(SIZES), tol=TIGHT)
    double.fit(np.hstack([X, X]), y)
    np.testing.assert_allclose(double.coef_[:20], double.coef_[20:], atol=1e-7)
    np.testing.assert_allclose(2 * double.coef_[:20], model.coef_, atol=1e-7)
    # A whole group that stands twice may share in any way; the fit is the same.
    twins = GroupLasso(np.append(GROUPS, GROUPS + 9), 0.1, tol=TIGHT).fit(np.hstack([X, X]), y)
    np.testing.assert_allclose(twins.coef_[:20] + twins.coef_[20:], model.coef_, atol=1e-6)


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
def test_zero_and_infinite_group_weights(data, l1_ratio):
    X, y = data
    omega = np.sqrt(SIZES)
    omega[0], omega[5] = 0.0, np.inf
    model = GroupLasso(GROUPS, 0.1, l1_ratio=l1_ratio, group_weights=omega, tol=1e-10).fit(X, y)
    assert (model.coef_[GROUPS == 5] == 0.0).all()
    slope = X.T @ (y - model.predict(X)) / 60
    assert np.abs(soft(slope[GROUPS == 0], 0.1 * l1_ratio)).max() <= 1e-7
    at = clone(model).set_params(alpha=model.alpha_max_).fit(X, y)
    idle = ~np.isin(GROUPS, [0] if l1_ratio == 0.0 else [])
    assert (at.coef_[idle] == 0.0).all()
    just_below = clone(model).set_params(alpha=model.alpha_max_ * (1 - 1e-3)).fit(X, y)
    assert (just_below.coef_[idle] != 0.0).any()
    warm = clone(model).set_params(warm_start=True, group_weights=np.sqrt(SIZES)).fit(X, y)
    assert (warm.coef_[GROUPS == 5] != 0.0).any()
    warm.set_params(group_weights=omega).fit(X, y)
    np.testing.assert_allclose(warm.coef_, model.coef_, atol=1e-4)


def test_excluded_features_and_level_zero(data):
    X, y = data
    nu = np.ones(GROUPS.size)
    nu[3] = np.inf
    model = GroupLasso(GROUPS, 0.1, penalty_weights=nu, tol=1e-10).fit(X, y)
    assert model.coef_[3] == 0.0
    keep = np.arange(GROUPS.size) != 3
    without = GroupLasso(GROUPS[keep], 0.1, group_weights=np.sqrt(SIZES), tol=1e-10).fit(X[:, keep], y)
    np.testing.assert_allclose(model.coef_[keep], without.coef_, atol=1e-5)
    least_squares = np.linalg.lstsq(np.column_stack([X, np.ones(60)]), y)[0]
    for l1_ratio in (0.0, 0.5):
        np.testing.assert_allclose(
            GroupLasso(GROUPS, 0.0, l1_ratio=l1_ratio).fit(X, y).coef_, least_squares[:-1], atol=1e-7
        )


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
def test_rank_deficient_and_constant_columns(l1_ratio):
    X, y = make_data(7, 12)  # fewer rows than features
    X = X.copy()
    X[:, 3], X[:, 12], X[:, 13] = 1.0, X[:, 14], 0.0
    model = GroupLasso(GROUPS, 0.01, l1_ratio=l1_ratio, tol=1e-10).fit(X, y)
    assert model.status_ == "converged"
    slope = X.T @ (y - model.predict(X)) / 12
    assert gradient_distance(model, X, slope, np.ones(GROUPS.size), np.sqrt(SIZES)) <= 1e-5
    assert model.coef_[3] == model.coef_[13] == 0.0


def test_wide_problem_in_single_precision_blocks():
    """Above a million entries models are held in float32; certificates are not."""
    rng = np.random.default_rng(8)
    X = rng.standard_normal((250, 4200))
    y = X[:, :20] @ rng.standard_normal(20) + rng.standard_normal(250)
    for l1_ratio in (0.0, 0.5):
        model = GroupLasso(7, 0.05, l1_ratio=l1_ratio, tol=1e-9).fit(X, y)
        assert model.status_ == "converged"
        residual = y - y.mean() - (X - X.mean(0)) @ model.coef_
        slope = (X - X.mean(0)).T @ residual / 250
        worst = 0.0
        for g in range(600):
            w, v = model.coef_[7 * g : 7 * g + 7], slope[7 * g : 7 * g + 7]
            t, tau = 0.05 * l1_ratio, 0.05 * (1 - l1_ratio) * np.sqrt(7)
            if w.any():
                v = v - tau * w / np.linalg.norm(w)
                worst = max(worst, np.linalg.norm(np.where(w != 0, v - t * np.sign(w), soft(v, t))))
            else:
                worst = max(worst, np.linalg.norm(soft(v, t)) - tau)
        assert worst <= 1e-4 * 0.05


@pytest.mark.parametrize(
    ("groups", "same"),
    [
        (["b", "a", "a", "b"], [[1, 2], [0, 3]]),
        (2, [0, 0, 1, 1]),
        (np.array([5, 5, 1, 1]), [[2, 3], [0, 1]]),
        ([np.array([0]), (1, 2, 3)], [0, 1, 1, 1]),
    ],
)
def test_ways_to_give_groups(data, groups, same):
    X, y = data
    first, second = GroupLasso(groups, 0.1).fit(X[:, :4], y), GroupLasso(same, 0.1).fit(X[:, :4], y)
    np.testing.assert_array_equal(first.coef_, second.coef_)
    np.testing.assert_array_equal(first.groups_, second.groups_)
    np.testing.assert_allclose(first.group_norms_, [np.linalg.norm(first.coef_[first.groups_ == g]) for g in (0, 1)])


def test_active_groups_are_named(data):
    X, y = data
    names = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight"])
    model = GroupLasso(names[GROUPS], 0.4).fit(X, y)
    assert set(model.active_groups_) == set(names[np.unique(GROUPS[model.coef_ != 0])])
    assert 0 < model.active_groups_.size < 9


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"groups": 3}, "groups must be a size that divides the 20 features, got 3"),
        ({"groups": [0, 1]}, r"groups must have one label for each of the 20 features .* shape \(2,\)"),
        ({"groups": np.full(20, np.nan)}, "groups must not contain NaN, got NaN at feature 0"),
        ({"groups": [list(range(19)), [18, 19]]}, "groups must be disjoint, got feature 18 twice"),
        ({"groups": [[0, 0], list(range(1, 20))]}, "groups must be disjoint, got feature 0 twice"),
        ({"groups": [list(range(19))]}, "groups must cover every feature, got none for feature 19"),
        ({"groups": [list(range(21))]}, "groups must hold features from 0 to 19, got 20 in group 0"),
        ({"groups": [list(range(20)), []]}, "groups must hold non-empty lists of integers"),
        ({"groups": [[0.5], list(range(20))]}, "groups must hold non-empty lists of integers"),
        ({"groups": 0}, "'groups'"),
        ({"groups": 2, "group_weights": "root"}, "'group_weights'"),
        ({"groups": 2, "group_weights": [1.0, 2.0]}, r"group_weights .* 10 groups, got shape \(2,\)"),
        (
            {"groups": 2, "group_weights": [1.0] * 9 + [-1.0]},
            r"group_weights must lie in \[0, inf\], got -1.0 for group 9",
        ),
        ({"groups": 2, "group_weights": [np.nan] * 10}, r"group_weights must lie in \[0, inf\], got nan for group 0"),
        ({"penalty_weights": -1.0}, "'penalty_weights'"),
        ({"l1_ratio": 1.5}, "'l1_ratio'"),
        ({"penalty": "l2"}, "'penalty'"),
        ({"gamma": 0.0}, "'gamma'"),
        ({"penalty": "scad", "gamma": 2.0}, "gamma must be > 2 for penalty='scad', got 2.0"),
    ],
)
def test_bad_parameters_name_themselves(data, parameters, message):
    X, y = data
    with pytest.raises(ValueError, match=message):
        GroupLasso(**parameters).fit(X, y)


@pytest.mark.parametrize("penalty", ["lasso", "mcp"])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
def test_path_is_single_fits(data, penalty, l1_ratio):
    X, y = data
    path = group_lasso_path(X, y, groups=GROUPS, l1_ratio=l1_ratio, penalty=penalty, alphas=10, eps=0.05, tol=1e-10)
    assert path.converged
    assert not path.coefs[:, 0].any()
    start = GroupLasso(GROUPS, l1_ratio=l1_ratio, penalty=penalty, tol=1e-10, warm_start=True)
    for k, alpha in enumerate(path.alphas):  # from the level before, as on the path
        single = start.set_params(alpha=alpha).fit(X, y)
        np.testing.assert_allclose(path.coefs[:, k], single.coef_, atol=1e-4)
        np.testing.assert_allclose(path.objectives[k], single.objective_, rtol=1e-9)


def test_cross_validation_chooses_the_smallest_error(data):
    X, y = data
    folds = [(np.arange(60)[np.arange(60) % 3 != k], np.arange(60)[np.arange(60) % 3 == k]) for k in range(3)]
    model = GroupLassoCV(GROUPS, l1_ratio=[0.0, 0.5], alphas=8, eps=0.01, cv=folds, tol=1e-10).fit(X, y)
    errors = np.empty((8, 3))
    for k, alpha in enumerate(model.alphas_):
        for f, (train, test) in enumerate(folds):
            single = GroupLasso(GROUPS, alpha, l1_ratio=model.l1_ratio_, tol=1e-10).fit(X[train], y[train])
            errors[k, f] = np.mean((y[test] - single.predict(X[test])) ** 2)
    np.testing.assert_allclose(model.mse_path_, errors, rtol=1e-4)
    assert model.alpha_ == model.alphas_[errors.mean(1).argmin()]
    best = GroupLasso(GROUPS, model.alpha_, l1_ratio=model.l1_ratio_, tol=1e-10).fit(X, y)
    np.testing.assert_allclose(model.coef_, best.coef_, atol=1e-4)
    with pytest.raises(ValueError, match=r"l1_ratio must lie in \[0, 1\]"):
        GroupLassoCV(GROUPS, l1_ratio=[0.5, 1.5]).fit(X, y)


def test_classifier_cross_validation(labels):
    X, y = labels
    model = GroupLassoClassifierCV(GROUPS, alphas=6, eps=0.05, cv=3).fit(X, y)
    assert model.loss_path_.shape == (6, 3)
    single = GroupLassoClassifier(GROUPS, model.alpha_).fit(X, y)
    np.testing.assert_allclose(model.coef_, single.coef_, atol=2e-3)
    assert model.predict_proba(X).shape == (60, 2)


def test_not_converged_warns_with_certificate_and_remedy(data):
    X, y = data
    with pytest.warns(ConvergenceWarning, match=r"duality gap .* > .*increase max_iter or tol"):
        model = GroupLasso(GROUPS, 1e-3, max_iter=1).fit(X, y)
    best = GroupLasso(GROUPS, 1e-3, tol=1e-10).fit(X, y)
    assert model.objective_ - model.dual_gap_ <= best.objective_ <= model.objective_
    with pytest.warns(ConvergenceWarning, match=r"KKT residual"):
        GroupLasso(GROUPS, 1e-3, max_iter=1, penalty="mcp").fit(X, y)
