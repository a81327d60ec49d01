"""Contributions of training samples add up to the predictions, and mean what the formula says."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import Lasso as ScikitLasso

from sparsemodels.inspection import nuclear_representer_values, representer_values
from sparsemodels.inspection.representer_values import penalty_slope
from sparsemodels.linear_model import (
    AdaptiveLasso,
    AdaptiveLassoCV,
    BestSubsetRegressor,
    ElasticNet,
    ElasticNetCV,
    GroupLasso,
    GroupLassoClassifier,
    Lasso,
    LassoCV,
    MCPRegressor,
    SlopeRegressor,
    SparseLogisticRegression,
    SparseLogisticRegressionCV,
    SparsePoissonRegressor,
)
from sparsemodels.solvers.penalties import L1, MCP, SCAD, group_norm
from sparsemodels.solvers.penalties import ElasticNet as ElasticNetPenalty
from sparsemodels.solvers.penalties.vector_functions import penalty_value

random = np.random.default_rng(0)
N, P = 40, 60
X = random.standard_normal((N, P)) + 0.5
Y = X[:, :5] @ np.array([2.0, -1.0, 1.5, 0.5, -2.0]) + 3.0 + 0.3 * random.standard_normal(N)
NEW = random.standard_normal((7, P))
WEIGHTS = np.where(np.arange(P) % 3 == 0, 0.5, 2.0)
WEIGHTS[7] = np.inf
TOL = 1e-14  # of the gap, which is quadratic in the error of the coefficients: 1e-7 of those
ACCURACY = 1e-6


def assert_explained(model, explanation, new=NEW):
    prediction = np.squeeze(new @ np.atleast_2d(model.coef_).T + model.intercept_).T
    total = explanation.values.sum(axis=-1) + explanation.offset
    scale = np.abs(prediction.T - model.intercept_).max()
    np.testing.assert_allclose(total, prediction, atol=ACCURACY * scale, rtol=0)
    assert explanation.identity_residual <= ACCURACY


MODELS = {
    "lasso": Lasso(alpha=0.1, tol=TOL),
    "no intercept": Lasso(alpha=0.1, tol=TOL, fit_intercept=False),
    "weights": Lasso(alpha=0.1, tol=TOL, penalty_weights=WEIGHTS),
    "positive": Lasso(alpha=0.1, tol=TOL, positive=True),
    "bounds": Lasso(alpha=0.1, tol=TOL, bounds=(-0.7, 0.9)),
    "elastic net": ElasticNet(alpha=0.2, l1_ratio=0.4, tol=TOL, penalty_weights=WEIGHTS),
    "ridge": ElasticNet(alpha=0.2, l1_ratio=0.0, tol=TOL),
    "adaptive": AdaptiveLasso(alpha=0.05, tol=TOL),
    "lasso cv": LassoCV(alphas=5, tol=TOL),
    "elastic net cv": ElasticNetCV(alphas=4, l1_ratio=[0.3, 0.9], tol=TOL),
}


@pytest.mark.parametrize("name", MODELS)
def test_values_and_intercept_add_up_to_the_prediction(name):
    model = MODELS[name].fit(X, Y)
    assert np.any(model.coef_)
    explanation = representer_values(model, X, Y, NEW)
    np.testing.assert_array_equal(explanation.offset, model.intercept_)
    assert_explained(model, explanation)


def test_formula_of_the_lasso():
    # Written out for one prediction, with nothing of the implementation.
    model = Lasso(alpha=0.1, tol=TOL, penalty_weights=WEIGHTS).fit(X, Y)
    dual = (Y - model.predict(X)) / N
    finite = np.where(np.isinf(WEIGHTS), 1.0, WEIGHTS)
    features = np.sqrt(np.abs(model.coef_) / finite) * X
    image = np.sqrt(np.abs(model.coef_) / finite) * NEW[0]
    expected = dual / 0.1 * (features @ image)
    values = representer_values(model, X, Y, NEW[:1]).values[0]
    np.testing.assert_allclose(values, expected, atol=1e-12 * np.abs(expected).max())


GROUPS = np.repeat(np.arange(P // 4), 4)


@pytest.mark.parametrize(
    "parameters",
    [
        {"alpha": 0.2},
        {"alpha": 0.2, "l1_ratio": 0.4},
        {"alpha": 0.3, "l1_ratio": 0.4, "group_weights": None, "penalty_weights": WEIGHTS},
        {"alpha": 0.2, "penalty": "mcp"},
    ],
    ids=["group", "sparse group", "weights", "mcp"],
)
def test_groups(parameters):
    model = GroupLasso(GROUPS, tol=1e-12, **parameters).fit(X, Y)
    assert np.any(model.coef_)
    explanation = representer_values(model, X, Y, NEW)
    assert_explained(model, explanation)
    if "penalty" not in parameters:
        np.testing.assert_array_equal(explanation.offset, model.intercept_)


def test_formula_of_the_group_lasso():
    model = GroupLasso(GROUPS, alpha=0.2, group_weights=None, tol=TOL).fit(X, Y)
    dual = (Y - model.predict(X)) / N
    norms = np.repeat(np.linalg.norm(model.coef_.reshape(-1, 4), axis=1), 4)
    expected = dual / 0.2 * ((X * norms) @ NEW[0])
    values = representer_values(model, X, Y, NEW[:1]).values[0]
    np.testing.assert_allclose(values, expected, atol=1e-12 * np.abs(expected).max())


LABELS = (Y > np.median(Y)).astype(int)
CLASSES = np.digitize(Y, np.quantile(Y, [0.3, 0.7]))
COUNTS = random.poisson(np.exp(0.3 * X[:, 0]))
CURVED = {
    "logistic": (SparseLogisticRegression(alpha=0.05, tol=1e-12), LABELS),
    "class weights": (SparseLogisticRegression(alpha=0.05, l1_ratio=0.5, class_weight={1: 3}, tol=1e-13), LABELS),
    "logistic cv": (SparseLogisticRegressionCV(alphas=3, cv=2, tol=1e-12), LABELS),
    "multinomial": (SparseLogisticRegression(alpha=0.05, tol=1e-12), CLASSES),
    "multinomial with bounds": (SparseLogisticRegression(alpha=0.05, tol=1e-12, bounds=(-0.2, 0.3)), CLASSES),
    "group logistic": (GroupLassoClassifier(groups=4, alpha=0.05, tol=1e-12), LABELS),
    "poisson": (SparsePoissonRegressor(alpha=0.1, tol=1e-12), COUNTS),
}


@pytest.mark.parametrize("name", CURVED)
def test_curved_losses(name):
    model, target = CURVED[name]
    model.fit(X, target)
    assert np.any(model.coef_)
    explanation = representer_values(model, X, target, NEW)
    count = 3 if "multinomial" in name else 1
    assert explanation.values.shape == ((count, 7, N) if count > 1 else (7, N))
    np.testing.assert_allclose(explanation.offset.T, np.broadcast_to(model.intercept_, explanation.offset.T.shape))
    assert_explained(model, explanation)


def test_formula_of_the_logistic_loss():
    # The published one: residuals of the labels, the square root of the coefficients on either side.
    model = SparseLogisticRegression(alpha=0.05, tol=1e-13).fit(X, LABELS)
    residual = (LABELS - model.predict_proba(X)[:, 1]) / (N * 0.05)
    root = np.sqrt(np.abs(model.coef_[0]))
    expected = residual * ((root * NEW) @ (root * X).T)
    values = representer_values(model, X, LABELS, NEW).values
    np.testing.assert_allclose(values, expected, atol=1e-9 * np.abs(expected).max())


def test_flat_parts_of_a_concave_penalty_go_to_the_offset():
    model = MCPRegressor(alpha=0.1, tol=1e-12).fit(X, Y)
    explanation = representer_values(model, X, Y, NEW)
    flat = np.abs(model.coef_) > 0.1 * model.gamma
    assert flat.any()
    np.testing.assert_allclose(explanation.offset, model.intercept_ + NEW[:, flat] @ model.coef_[flat])
    assert_explained(model, explanation)


PENALTIES = {
    "l1": L1(0.3, WEIGHTS),
    "elastic net": ElasticNetPenalty(0.3, 0.4, WEIGHTS),
    "group": group_norm(L1(0.3, np.ones(P // 4)), GROUPS),
    "sparse group": group_norm(L1(0.3, np.ones(P // 4)), GROUPS, l1_ratio=0.6),
    "group mcp": group_norm(MCP(0.3, 3.0, np.ones(P // 4)), GROUPS),
    "mcp": MCP(0.3, 3.0, np.ones(P)),
    "scad": SCAD(0.3, 3.7, np.ones(P)),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_slopes_are_the_derivatives_of_the_penalty(name):
    penalty, everything = PENALTIES[name], np.arange(P)
    coef = np.where(np.arange(P) % 3 == 1, 0.0, random.standard_normal(P))
    coef[7] = 0.0
    slope = penalty_slope(penalty, coef)
    for j in np.flatnonzero(coef):
        step = np.zeros(P)
        step[j] = 1e-6
        rise = penalty_value(penalty, coef + step, everything) - penalty_value(penalty, coef - step, everything)
        np.testing.assert_allclose(slope[j], rise / 2e-6, atol=1e-8)


def test_an_inaccurate_fit_is_seen_in_the_residual():
    model = Lasso(alpha=0.1, tol=TOL).fit(X, Y)
    exact = representer_values(model, X, Y, NEW).identity_residual
    model.coef_ = model.coef_ * (1.0 + 0.1 * random.random(P))
    with pytest.warns(ConvergenceWarning, match="smaller tol"):
        assert representer_values(model, X, Y, NEW).identity_residual > 1e3 * exact


def test_other_training_data_are_noticed():
    model = Lasso(alpha=0.1, tol=TOL).fit(X, Y)
    with pytest.warns(ConvergenceWarning, match="exactly these training data"):
        representer_values(model, X, Y[::-1], NEW)


def test_unpenalised_features_go_to_the_offset():
    weights = np.ones(P)
    weights[:2] = 0.0
    model = Lasso(alpha=0.1, tol=TOL, penalty_weights=weights).fit(X, Y)
    explanation = representer_values(model, X, Y, NEW)
    np.testing.assert_allclose(explanation.offset, model.intercept_ + NEW[:, :2] @ model.coef_[:2])
    assert_explained(model, explanation)


def test_sample_weights_count_as_repeated_rows():
    weights = random.integers(0, 3, N)
    rows = np.repeat(np.arange(N), weights)
    weighted = Lasso(alpha=0.1, tol=TOL).fit(X, Y, sample_weight=weights)
    repeated = Lasso(alpha=0.1, tol=TOL).fit(X[rows], Y[rows])
    one = representer_values(weighted, X, Y, NEW, sample_weight=weights).values
    many = representer_values(repeated, X[rows], Y[rows], NEW).values
    sums = np.zeros((7, N))
    np.add.at(sums.T, rows, many.T)
    np.testing.assert_allclose(one, sums, atol=ACCURACY * np.abs(one).max())
    assert_explained(weighted, representer_values(weighted, X, Y, NEW, sample_weight=weights))


def test_sparse_input_and_untouched_estimator():
    sparse = np.where(np.abs(X) > 1.0, X, 0.0)
    dense_model = Lasso(alpha=0.05, tol=TOL).fit(sparse, Y)
    model = Lasso(alpha=0.05, tol=TOL).fit(sp.csc_array(sparse), Y)
    before = {key: np.copy(value) for key, value in vars(model).items()}
    found = representer_values(model, sp.csr_array(sparse), Y, sp.csr_array(NEW))
    expected = representer_values(dense_model, sparse, Y, NEW)
    np.testing.assert_allclose(found.values, expected.values, atol=ACCURACY * np.abs(expected.values).max())
    assert vars(model).keys() == before.keys()
    for key, value in vars(model).items():
        np.testing.assert_array_equal(value, before[key])


def test_empty_model_explains_nothing():
    model = Lasso(alpha=1e3).fit(X, Y)
    explanation = representer_values(model, X, Y, NEW)
    assert not explanation.values.any()
    assert explanation.identity_residual == 0.0


def test_errors_name_what_is_wrong():
    model = Lasso(alpha=0.1).fit(X, Y)
    with pytest.raises(NotFittedError):
        representer_values(Lasso(), X, Y, NEW)
    with pytest.raises(TypeError, match="penalised linear model"):
        representer_values(ScikitLasso(alpha=0.1).fit(X, Y), X, Y, NEW)
    with pytest.raises(ValueError, match="X must have 60 features"):
        representer_values(model, X, Y, NEW[:, :5])
    with pytest.raises(TypeError, match="the penalty Slope has no derivative on the support"):
        representer_values(SlopeRegressor(alpha=0.1).fit(X, Y), X, Y, NEW)
    with pytest.raises(TypeError, match="BestSubsetRegressor has no penalty"):
        representer_values(BestSubsetRegressor(3).fit(X, Y), X, Y, NEW)
    with pytest.raises(TypeError, match="AdaptiveLassoCV does not keep its last weights"):
        representer_values(AdaptiveLassoCV(alphas=3, cv=2).fit(X, Y), X, Y, NEW)


def soft_impute(values, observed, alpha, n_iter=3000):
    """Mazumder, Hastie and Tibshirani's iteration for half the sum of squares plus alpha times the nuclear norm."""
    matrix = np.zeros_like(values)
    for _ in range(n_iter):
        U, s, Vt = np.linalg.svd(np.where(observed, values, matrix), full_matrices=False)
        s = np.maximum(s - alpha, 0.0)
        matrix = (U * s) @ Vt
    kept = s > 0.0
    return U[:, kept], s[kept], Vt[kept].T, matrix


def test_matrix_completion():
    m, n = 14, 11
    truth = random.standard_normal((m, 2)) @ random.standard_normal((2, n))
    observed = random.random((m, n)) < 0.7
    U, s, V, matrix = soft_impute(truth, observed, 0.8)
    rows, columns = np.nonzero(observed)
    residual = (truth - matrix)[rows, columns]
    every = np.argwhere(np.ones((m, n), dtype=bool))
    explanation = nuclear_representer_values(U, s, V, rows, columns, residual, every, alpha=0.8)
    np.testing.assert_allclose(explanation.values.sum(axis=1), matrix.ravel(), atol=1e-10)
    assert explanation.identity_residual < 1e-10
    # Entries in another row and another column say nothing.
    stranger = (rows != every[:, :1]) & (columns != every[:, 1:])
    assert not explanation.values[stranger].any()


def test_matrix_completion_errors():
    U, s, V = np.eye(3), np.ones(3), np.eye(3)
    good = {"rows": [0, 1], "columns": [1, 2], "dual": [0.5, 0.5], "X": [[0, 0]]}
    for name, value, message in [
        ("rows", [0, 3], r"rows must lie in \[0, 2\]"),
        ("columns", [0.5, 1.0], "columns must be a vector of integers"),
        ("dual", [1.0], "must have one length"),
        ("X", [0, 0], "X must have two columns"),
    ]:
        with pytest.raises(ValueError, match=message):
            nuclear_representer_values(U, s, V, **{**good, name: value})
    with pytest.raises(ValueError, match="alpha must be > 0"):
        nuclear_representer_values(U, s, V, **good, alpha=0.0)
    with pytest.raises(ValueError, match="must have one rank"):
        nuclear_representer_values(U, s[:2], V, **good)
