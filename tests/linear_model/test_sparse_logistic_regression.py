"""Sparse logistic regression against CVXPY, certificates from outside, degenerate input, scikit-learn's checks."""

import warnings

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse
from scipy.special import expit, log_softmax, softmax, xlogy
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.linear_model import SparseLogisticRegression, SparseLogisticRegressionCV, sparse_logistic_path

RNG = np.random.default_rng(0)
N, P = 60, 30
X = RNG.standard_normal((N, P)) + 0.3 * RNG.standard_normal((N, 1))
SIGNAL = X[:, :4] @ [2.0, -1.5, 1.0, 0.5] + RNG.logistic(size=N)
BINARY = np.where(SIGNAL > 0.3, "yes", "no")
CLASSES = np.array(["a", "b", "c"])[np.digitize(SIGNAL + 0.5 * X[:, 5], [-1.0, 1.0])]
WEIGHTS = RNG.integers(0, 4, N).astype(float)
OMEGA = RNG.uniform(0.5, 2.0, P)


def penalty_terms(w, alpha, l1_ratio, omega):
    """CVXPY's elastic net of coefficients with one row a class."""
    weights = np.broadcast_to(omega, w.shape)
    return alpha * (
        l1_ratio * cp.sum(cp.multiply(weights, cp.abs(w)))
        + 0.5 * (1.0 - l1_ratio) * cp.sum(cp.multiply(weights, cp.square(w)))
    )


def cvxpy_binary(y, s, alpha, l1_ratio, omega, intercept, bounds=None):
    w, b = cp.Variable((1, P)), cp.Variable()
    z = X @ w[0] + (b if intercept else 0.0)
    loss = cp.sum(cp.multiply(s / s.sum(), cp.logistic(z) - cp.multiply(y, z)))
    constraints = [] if bounds is None else [w >= bounds[0], w <= bounds[1]]
    problem = cp.Problem(cp.Minimize(loss + penalty_terms(w, alpha, l1_ratio, omega)), constraints)
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    return problem.value, w.value[0]


def cvxpy_multinomial(codes, s, alpha, l1_ratio, omega):
    w, b = cp.Variable((3, P)), cp.Variable(3)
    z = X @ w.T + np.ones((N, 1)) @ cp.reshape(b, (1, 3), order="C")
    picked = cp.sum(cp.multiply(np.eye(3)[codes], z), axis=1)
    loss = cp.sum(cp.multiply(s / s.sum(), cp.log_sum_exp(z, axis=1) - picked))
    problem = cp.Problem(cp.Minimize(loss + penalty_terms(w, alpha, l1_ratio, omega)))
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return problem.value, w.value


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.4])
def test_binary_agrees_with_cvxpy(l1_ratio, intercept):
    y = (BINARY == "yes").astype(float)
    best, coef = cvxpy_binary(y, WEIGHTS, 0.03, l1_ratio, OMEGA, intercept)
    model = SparseLogisticRegression(
        0.03, l1_ratio=l1_ratio, penalty_weights=OMEGA, fit_intercept=intercept, tol=1e-10
    ).fit(X, BINARY, sample_weight=WEIGHTS)
    assert model.objective_ == pytest.approx(best, abs=1e-8)
    # The objective is strongly convex on the support: coefficients to the root of what the objective agrees to.
    np.testing.assert_allclose(model.coef_[0], coef, atol=1e-5)
    assert model.objective_ - model.dual_gap_ <= best + 1e-9


def test_bounds_agree_with_cvxpy():
    y = (BINARY == "yes").astype(float)
    best, coef = cvxpy_binary(y, np.ones(N), 0.02, 1.0, np.ones(P), True, (-0.2, 0.4))
    model = SparseLogisticRegression(0.02, bounds=(-0.2, 0.4), tol=1e-10).fit(X, BINARY)
    assert model.objective_ == pytest.approx(best, abs=1e-8)
    np.testing.assert_allclose(model.coef_[0], coef, atol=1e-5)
    assert (np.abs(model.coef_[0] - 0.4) < 1e-12).any()
    positive = SparseLogisticRegression(0.02, positive=True, tol=1e-10).fit(X, CLASSES)
    assert (positive.coef_ >= 0.0).all()
    assert positive.relative_gap_ <= 1e-10


@pytest.mark.parametrize("l1_ratio", [1.0, 0.4])
def test_multinomial_agrees_with_cvxpy(l1_ratio):
    codes = np.searchsorted(["a", "b", "c"], CLASSES)
    best, coef = cvxpy_multinomial(codes, WEIGHTS, 0.02, l1_ratio, OMEGA)
    model = SparseLogisticRegression(0.02, l1_ratio=l1_ratio, penalty_weights=OMEGA, tol=1e-10)
    model.fit(X, CLASSES, sample_weight=WEIGHTS)
    assert model.objective_ == pytest.approx(best, abs=1e-7)
    np.testing.assert_allclose(model.coef_, coef, atol=1e-4)
    assert model.objective_ - model.dual_gap_ <= best + 1e-8
    assert abs(model.intercept_.sum()) < 1e-12


def dual_gap(labels, probabilities, s, coef, slope_of, alpha, l1_ratio, omega):
    """The gap at the residuals, scaled to feasibility for L1: the dual's loss is the entropy of its probabilities."""
    theta = s[:, None] * (labels - probabilities)
    slope = slope_of(theta)
    threshold, ridge = alpha * l1_ratio * omega, alpha * (1.0 - l1_ratio) * omega
    c = min(1.0, (threshold / np.maximum(np.abs(slope), 1e-300)).min()) if l1_ratio == 1.0 else 1.0
    q = labels - c * theta / s[:, None]
    dual = -s @ xlogy(q, q).sum(axis=1)
    if l1_ratio < 1.0:
        dual -= np.sum(np.maximum(np.abs(slope) - threshold, 0.0) ** 2 / (2.0 * ridge))
    primal = -s @ xlogy(labels, probabilities).sum(axis=1)
    primal += np.sum(threshold * np.abs(coef) + 0.5 * ridge * coef**2)
    return primal, primal - dual


@pytest.mark.parametrize("l1_ratio", [1.0, 0.4])
@pytest.mark.parametrize("target", ["binary", "multinomial"])
def test_the_gap_from_outside(target, l1_ratio):
    """Objective and gap recomputed from coefficients and probabilities alone."""
    y = BINARY if target == "binary" else CLASSES
    s = np.random.default_rng(1).uniform(0.5, 2.0, N)
    s /= s.sum()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for passes in (3, 100):
            model = SparseLogisticRegression(
                0.01, l1_ratio=l1_ratio, penalty_weights=OMEGA, max_iter=passes, tol=1e-8
            ).fit(X, y, sample_weight=s)
            labels = (y[:, None] == model.classes_).astype(float)
            coef = np.vstack([np.zeros(P), model.coef_]) if target == "binary" else model.coef_
            primal, gap = dual_gap(
                labels, model.predict_proba(X), s, model.coef_,
                lambda t, k=len(coef): (t.T @ X)[1:] if k == 2 else t.T @ X, 0.01, l1_ratio, OMEGA,
            )  # fmt: skip
            assert primal == pytest.approx(model.objective_, rel=1e-12)
            # The reported gap may rest on a better, earlier dual point.
            assert model.dual_gap_ <= gap * (1.0 + 1e-6) + 1e-14
            assert (model.status_ == "converged") == (passes == 100)
    assert gap == pytest.approx(model.dual_gap_, rel=1e-3, abs=1e-13)
    assert model.relative_gap_ <= 1e-8


@pytest.mark.parametrize("target", ["binary", "multinomial"])
def test_unpenalised_features_have_a_certificate(target):
    """Columns whose slopes must vanish: the dual point is projected, and stays a distribution."""
    y = BINARY if target == "binary" else CLASSES
    omega = np.ones(P)
    omega[:3] = 0.0
    omega[7] = np.inf
    model = SparseLogisticRegression(0.05, penalty_weights=omega, tol=1e-10).fit(X, y)
    assert model.relative_gap_ <= 1e-10
    assert (model.coef_[:, 7] == 0.0).all()
    slope = X.T @ ((y[:, None] == model.classes_) - model.predict_proba(X)) / N
    np.testing.assert_allclose(slope[:3], 0.0, atol=1e-6)
    assert (np.abs(np.delete(slope, [0, 1, 2, 7], axis=0)) <= 0.05 + 1e-6).all()


def test_planted_solution():
    """Soft labels chosen such that given coefficients satisfy the optimality conditions exactly."""
    from sparsemodels.solvers.composite import Composite
    from sparsemodels.solvers.losses import Logistic
    from sparsemodels.solvers.penalties import L1

    rng = np.random.default_rng(3)
    n, p = 400, 12
    A = rng.standard_normal((n, p))
    w = np.zeros(p)
    w[:3] = [0.3, -0.5, 0.2]
    slope = 0.005 * np.where(w != 0.0, np.sign(w), rng.uniform(-0.9, 0.9, p))
    design = np.column_stack([A, np.ones(n)])
    theta = design @ np.linalg.solve(design.T @ design, np.append(slope, 0.0))  # least norm with these slopes, sum 0
    labels = expit(A @ w + 0.2) + n * theta
    assert (labels > 0.0).all()
    assert (labels < 1.0).all()
    problem = Composite(A, Logistic(labels, np.full(n, 1.0 / n)), fit_intercept=True)
    solution = problem.solve(L1(0.005, np.ones(p)), tol=1e-13)
    np.testing.assert_allclose(solution.coef, w, atol=1e-8)
    assert solution.intercept == pytest.approx(0.2, abs=1e-8)


@pytest.mark.parametrize("target", ["binary", "multinomial"])
def test_alpha_max_is_where_the_model_becomes_empty(target):
    y = BINARY if target == "binary" else CLASSES
    model = SparseLogisticRegression(1.0).fit(X, y)
    labels = (y[:, None] == model.classes_).astype(float)
    expected = np.abs(X.T @ (labels - labels.mean(axis=0))).max() / N
    assert model.alpha_max_ == pytest.approx(expected, rel=1e-12)
    empty = SparseLogisticRegression(model.alpha_max_).fit(X, y)
    assert (empty.coef_ == 0.0).all()
    assert empty.n_iter_ == 1
    np.testing.assert_allclose(empty.predict_proba(X[:1])[0], labels.mean(axis=0), rtol=1e-12)
    assert (SparseLogisticRegression(0.99 * model.alpha_max_).fit(X, y).coef_ != 0.0).any()


@pytest.mark.parametrize("target", ["binary", "multinomial"])
def test_weights_are_repeated_rows_and_sparse_is_dense(target):
    y = BINARY if target == "binary" else CLASSES
    options = {"alpha": 0.02, "tol": 1e-11}
    weighted = SparseLogisticRegression(**options).fit(X, y, sample_weight=WEIGHTS)
    counts = WEIGHTS.astype(int)
    repeated = SparseLogisticRegression(**options).fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-6)
    thinned = np.where(np.abs(X) > 0.8, X, 0.0)
    dense = SparseLogisticRegression(**options).fit(thinned, y)
    for kind in (scipy.sparse.csc_array, scipy.sparse.csr_matrix):
        sparse = SparseLogisticRegression(**options).fit(kind(thinned), y)
        np.testing.assert_allclose(sparse.coef_, dense.coef_, atol=1e-6)
        np.testing.assert_allclose(sparse.predict_proba(kind(thinned)), dense.predict_proba(thinned), atol=1e-6)
    c_order = SparseLogisticRegression(**options).fit(np.ascontiguousarray(X), y)
    f_order = SparseLogisticRegression(**options).fit(np.asfortranarray(X), y)
    np.testing.assert_allclose(c_order.coef_, f_order.coef_, atol=1e-7)
    single = SparseLogisticRegression(**options | {"tol": 1e-5}).fit(X.astype(np.float32), y)
    assert single.coef_.dtype == single.predict_proba(X.astype(np.float32)).dtype == np.float32


def test_class_weights():
    counts = np.where(BINARY == "yes", 3.0, 1.0)
    by_class = SparseLogisticRegression(0.02, class_weight={"yes": 3.0}, tol=1e-10).fit(X, BINARY)
    by_row = SparseLogisticRegression(0.02, tol=1e-10).fit(X, BINARY, sample_weight=counts)
    np.testing.assert_allclose(by_class.coef_, by_row.coef_, atol=1e-8)
    # Balanced: the intercept alone gives equal probabilities, with sample weights, too.
    empty = SparseLogisticRegression(10.0, class_weight="balanced").fit(X, CLASSES, sample_weight=WEIGHTS)
    np.testing.assert_allclose(empty.predict_proba(X[:1]), 1.0 / 3.0, rtol=1e-10)


def test_permutation_and_scale():
    order = np.random.default_rng(5).permutation(P)
    for y in (BINARY, CLASSES):
        model = SparseLogisticRegression(0.02, penalty_weights=OMEGA, tol=1e-11).fit(X, y)
        other = SparseLogisticRegression(0.02, penalty_weights=OMEGA[order], tol=1e-11).fit(X[:, order], y)
        np.testing.assert_allclose(other.coef_, model.coef_[:, order], atol=1e-6)
        scaled = SparseLogisticRegression(0.06, penalty_weights=OMEGA, tol=1e-11).fit(3.0 * X + 5.0, y)
        np.testing.assert_allclose(3.0 * scaled.coef_, model.coef_, atol=1e-6)


@pytest.mark.parametrize("target", ["binary", "multinomial"])
def test_path_and_cross_validation(target):
    y = BINARY if target == "binary" else CLASSES
    path = sparse_logistic_path(X, y, alphas=8, eps=0.02, tol=1e-9)
    assert path.converged
    for k in (0, 3, 7):
        single = SparseLogisticRegression(path.alphas[k], tol=1e-9).fit(X, y)
        np.testing.assert_allclose(path.coefs[:, k], single.coef_.ravel(), atol=1e-4)
        assert path.objectives[k] == pytest.approx(single.objective_, abs=1e-8)
    folds = StratifiedKFold(3)
    model = SparseLogisticRegressionCV(alphas=8, eps=0.02, cv=folds, tol=1e-9).fit(X, y)
    for fold, (train, test) in enumerate(folds.split(X, y)):
        single = SparseLogisticRegression(model.alphas_[4], tol=1e-9).fit(X[train], y[train])
        labels = y[test][:, None] == single.classes_
        log_loss = -single.predict_log_proba(X[test])[labels].mean()
        assert model.loss_path_[4, fold] == pytest.approx(log_loss, abs=1e-5)
    assert model.alpha_ == model.alphas_[model.loss_path_.mean(axis=1).argmin()]
    shape = (P, 8) if target == "binary" else (3, P, 8)
    assert model.coef_path_.shape == shape
    assert model.predict_proba(X).shape == (N, model.classes_.size)
    ratios = SparseLogisticRegressionCV(l1_ratio=[0.5, 1.0], alphas=5, eps=0.05, cv=3).fit(X, y)
    assert ratios.l1_ratio_ in (0.5, 1.0)


def test_warm_start():
    for y in (BINARY, CLASSES):
        cold = SparseLogisticRegression(0.02, tol=1e-8).fit(X, y)
        warm = SparseLogisticRegression(0.02, tol=1e-8, warm_start=True).fit(X, y)
        assert warm.n_iter_ == cold.n_iter_ > 2
        warm.fit(X, y)
        assert warm.n_iter_ <= 2
        np.testing.assert_allclose(warm.coef_, cold.coef_, atol=1e-5)
        warm.set_params(positive=True).fit(X, y)  # from the feasible part of the last coefficients
        assert (warm.coef_ >= 0.0).all()


def test_separable_classes():
    """Without a minimum the infimum is zero: the loss falls below the tolerance and the certificate says so."""
    A = np.linspace(-1.0, 1.0, 20)[:, None]
    y = (A[:, 0] > 0.0).astype(int)
    free = SparseLogisticRegression(0.0, tol=1e-6).fit(A, y)
    assert free.objective_ <= 1e-6
    assert free.relative_gap_ <= 1e-6
    for alpha in (1e-2, 1e-5):
        model = SparseLogisticRegression(alpha, tol=1e-8).fit(A, y)
        assert model.relative_gap_ <= 1e-8
        assert model.score(A, y) == 1.0
    three = np.digitize(A[:, 0], [-0.3, 0.3])
    model = SparseLogisticRegression(1e-4, tol=1e-8).fit(A, three)
    assert model.relative_gap_ <= 1e-8


def test_awkward_designs():
    """Constant, duplicated and huge columns, more classes than some folds hold, one feature."""
    wide = np.column_stack([X, np.ones(N), X[:, 0], 1e6 * X[:, 1], np.zeros(N)])
    for y in (BINARY, CLASSES):
        model = SparseLogisticRegression(0.02, tol=1e-9).fit(wide, y)
        assert model.relative_gap_ <= 1e-9
        assert (model.coef_[:, [P, P + 3]] == 0.0).all()
        one = SparseLogisticRegression(0.01, tol=1e-10).fit(X[:, :1], y)
        assert one.relative_gap_ <= 1e-10
        ridge = SparseLogisticRegression(0.05, l1_ratio=0.0, tol=1e-10).fit(X, y)
        slope = ((y[:, None] == ridge.classes_) - ridge.predict_proba(X)).T @ X / N
        np.testing.assert_allclose(slope[-len(ridge.coef_) :], 0.05 * ridge.coef_, atol=1e-6)
        assert ridge.alpha_max_ == np.inf
    rare = CLASSES.copy()
    rare[0] = "rare"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the folds: the rare class has too few members
        model = SparseLogisticRegressionCV(alphas=4, eps=0.1, cv=3).fit(X, rare)
    assert np.isfinite(model.loss_path_).all()
    assert model.predict_proba(X).shape == (N, 4)


def test_probabilities_and_decisions():
    model = SparseLogisticRegression(0.02).fit(X, CLASSES)
    z = X @ model.coef_.T + model.intercept_
    np.testing.assert_allclose(model.decision_function(X), z, rtol=1e-12)
    np.testing.assert_allclose(model.predict_proba(X), softmax(z, axis=1), rtol=1e-12)
    extreme = log_softmax(1e3 * (X @ model.coef_.T) + model.intercept_, axis=1)
    np.testing.assert_allclose(model.predict_log_proba(1e3 * X), extreme, rtol=1e-9)
    np.testing.assert_array_equal(model.predict(X), model.classes_[z.argmax(axis=1)])
    binary = SparseLogisticRegression(0.02).fit(X, BINARY)
    z = X @ binary.coef_[0] + binary.intercept_[0]
    np.testing.assert_allclose(binary.decision_function(X), z, rtol=1e-12)
    np.testing.assert_allclose(binary.predict_proba(X)[:, 1], expit(z), rtol=1e-12)
    np.testing.assert_array_equal(binary.predict(X), np.where(z > 0.0, "yes", "no"))


def test_what_fails_says_why():
    for arguments, fit, message in [
        ({}, (X, np.zeros(N)), "y must hold at least two classes"),
        ({}, (X, BINARY, BINARY == "yes"), "got the one class 'yes'"),
        ({"class_weight": {"no": 0.0}}, (X, BINARY), "class_weight must leave weight on two classes"),
        ({"class_weight": {"no": -1.0}}, (X, BINARY), "class_weight must hold finite weights >= 0, got -1.0"),
        ({"penalty_weights": [1.0]}, (X, BINARY), "penalty_weights must be a number or have one entry"),
        ({}, (X, SIGNAL), "Unknown label type"),
    ]:
        with pytest.raises(ValueError, match=message):
            SparseLogisticRegression(**arguments).fit(*fit)
    with pytest.raises(ValueError, match=r"l1_ratio must lie in \(0, 1\]"):
        SparseLogisticRegressionCV(l1_ratio=[0.0, 1.0]).fit(X, BINARY)
    with pytest.warns(ConvergenceWarning, match=r"duality gap .* > .*; increase max_iter or tol"):
        SparseLogisticRegression(0.001, max_iter=2).fit(X, BINARY)
    with pytest.warns(ConvergenceWarning, match=r"duality gap .* > .*; increase max_iter or tol"):
        SparseLogisticRegression(0.001, max_iter=2).fit(X, CLASSES)


@parametrize_with_checks(
    [
        SparseLogisticRegression(0.01),
        SparseLogisticRegression(0.1, l1_ratio=0.3, class_weight="balanced", bounds=(-10.0, 10.0)),
        SparseLogisticRegressionCV(alphas=5, eps=0.01, cv=3),
    ]
)
def test_sklearn_checks(estimator, check):
    check(estimator)
