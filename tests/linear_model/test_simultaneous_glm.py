"""SimultaneousGLM against separate fits, CVXPY, and its own invariances."""

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning

from sparsemodels.linear_model import ElasticNet, Lasso, SimultaneousGLM

N, P, COUNT = 60, 90, 6
TIGHT = 1e-12


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, P)) + 0.5 * rng.standard_normal((N, 1))
    y = X[:, :4] @ [2.0, -1.0, 1.0, 1.5] + rng.standard_normal(N) + 3.0
    counts = rng.multinomial(N, np.full(N, 1 / N), size=COUNT).T
    targets = np.column_stack([rng.permutation(y) for _ in range(COUNT)])
    return X, y, counts, targets


def test_bootstraps_are_separate_fits(data):
    X, y, counts, _ = data
    model = SimultaneousGLM(alpha=0.1, tol=TIGHT).fit(X, y[:, None], sample_weight=counts)
    assert model.coef_.shape == (COUNT, P)
    assert model.predict(X).shape == (N, COUNT)
    for k in range(COUNT):
        alone = Lasso(0.1, tol=TIGHT).fit(X, y, sample_weight=counts[:, k])
        np.testing.assert_allclose(model.coef_[k], alone.coef_, atol=1e-6)
        np.testing.assert_allclose(model.intercept_[k], alone.intercept_, atol=1e-6)
        np.testing.assert_allclose(model.alpha_max_[k], alone.alpha_max_, rtol=1e-12)
        np.testing.assert_allclose(model.predict(X)[:, k], alone.predict(X), atol=1e-5)


def test_permutations_with_levels_of_their_own_are_separate_fits(data):
    X, _, _, targets = data
    alphas, omega = np.linspace(0.05, 0.4, COUNT), np.random.default_rng(1).choice([0.0, 1.0, 2.0, np.inf], P)
    parameters = {"l1_ratio": 0.8, "penalty_weights": omega, "positive": True, "fit_intercept": False, "tol": TIGHT}
    model = SimultaneousGLM(alpha=alphas, **parameters).fit(X, targets)
    for k, alpha in enumerate(alphas):
        alone = ElasticNet(alpha, **parameters).fit(X, targets[:, k])
        np.testing.assert_allclose(model.coef_[k], alone.coef_, atol=1e-6)
        np.testing.assert_allclose(model.objective_[k], alone.objective_, rtol=1e-11)
    assert (model.intercept_ == 0.0).all()
    assert (model.coef_[:, np.isinf(omega)] == 0.0).all()


def test_logistic_agrees_with_cvxpy(data):
    """The objective agrees with an interior-point solver to 1e-7."""
    X, y, counts, _ = data
    labels = (y > np.median(y)).astype(float)
    model = SimultaneousGLM("logistic", alpha=0.03, tol=1e-10).fit(X, labels[:, None], sample_weight=counts[:, :2])
    for k in range(2):
        s = counts[:, k] / counts[:, k].sum()
        w, b = cp.Variable(P), cp.Variable()
        z = X @ w + b
        objective = s @ (cp.logistic(z) - cp.multiply(labels, z)) + 0.03 * cp.norm1(w)
        value = cp.Problem(cp.Minimize(objective)).solve(solver="CLARABEL")
        assert model.objective_[k] == pytest.approx(value, abs=1e-7)
        assert model.objective_[k] - model.dual_gap_[k] <= value + 1e-8
    probabilities = model.predict(X)
    assert ((probabilities > 0.0) & (probabilities < 1.0)).all()
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-(X @ model.coef_.T + model.intercept_))), rtol=1e-12)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_integer_weights_are_repeated_rows(data, loss):
    X, y, counts, _ = data
    target = y if loss == "squared" else (y > np.median(y)).astype(float)
    weighted = SimultaneousGLM(loss, alpha=0.05, tol=TIGHT).fit(X, target[:, None], sample_weight=counts[:, :1])
    rows = np.repeat(np.arange(N), counts[:, 0])
    repeated = SimultaneousGLM(loss, alpha=0.05, tol=TIGHT).fit(X[rows], target[rows])
    np.testing.assert_allclose(weighted.coef_[0], repeated.coef_, atol=1e-6)
    np.testing.assert_allclose(weighted.dual_gap_[0], repeated.dual_gap_, atol=2 * TIGHT)


def test_the_company_changes_no_bit(data):
    X, _, _, targets = data
    together = SimultaneousGLM(alpha=0.1).fit(X, targets)
    pairs = SimultaneousGLM(alpha=0.1).fit(X, targets[:, [4, 1, 4]])
    np.testing.assert_array_equal(pairs.coef_, together.coef_[[4, 1, 4]])
    np.testing.assert_array_equal(pairs.intercept_, together.intercept_[[4, 1, 4]])
    alone = SimultaneousGLM(alpha=0.1).fit(X, targets[:, 2])
    np.testing.assert_array_equal(alone.coef_, together.coef_[2])
    assert alone.dual_gap_ == together.dual_gap_[2]


def test_sparse_is_dense_and_float32_is_kept(data):
    X, _, _, targets = data
    X = X * (np.random.default_rng(2).random(X.shape) < 0.3)
    dense = SimultaneousGLM(alpha=0.1, tol=TIGHT).fit(X, targets)
    sparse = SimultaneousGLM(alpha=0.1, tol=TIGHT).fit(scipy.sparse.csc_array(X), targets)
    np.testing.assert_allclose(sparse.coef_, dense.coef_, atol=1e-6)
    single = SimultaneousGLM(alpha=0.1).fit(X.astype(np.float32), targets)
    assert single.coef_.dtype == np.float32
    assert (single.relative_gap_ <= 1e-6).all()
    np.testing.assert_allclose(single.coef_, dense.coef_, atol=1e-3)


def test_nothing_of_the_callers_is_modified(data):
    X, y, counts, _ = data
    copies = X.copy(), y.copy(), counts.copy()
    SimultaneousGLM(alpha=0.1).fit(X, y[:, None], sample_weight=counts)
    for now, before in zip((X, y, counts), copies):
        np.testing.assert_array_equal(now, before)


def test_shapes_follow_the_target(data):
    X, y, _, _ = data
    vector, column = SimultaneousGLM(alpha=0.1).fit(X, y), SimultaneousGLM(alpha=0.1).fit(X, y[:, None])
    assert vector.coef_.shape == (P,)
    assert vector.predict(X).shape == (N,)
    assert isinstance(vector.dual_gap_, float)
    assert isinstance(vector.status_, str)
    assert column.coef_.shape == (1, P)
    assert column.predict(X).shape == (N, 1)
    np.testing.assert_array_equal(column.coef_[0], vector.coef_)
    assert column.score(X, y[:, None]) == pytest.approx(vector.score(X, y))


def test_warm_start_continues(data):
    X, _, _, targets = data
    model = SimultaneousGLM(alpha=0.1, warm_start=True, bounds=(-1.0, 1.0)).fit(X, targets)
    first = model.coef_.copy()
    model.fit(X, targets)
    assert (model.n_iter_ == 1).all()
    np.testing.assert_array_equal(model.coef_, first)
    model.fit(X, targets[:, :2])  # another number of problems starts anew
    np.testing.assert_array_equal(model.coef_, first[:2])


def test_not_converged_warns_with_certificate_and_remedy(data):
    X, _, _, targets = data
    with pytest.warns(ConvergenceWarning, match=r"on \d of 6 problems, .* duality gap .* increase max_iter or tol"):
        model = SimultaneousGLM(alpha=1e-3, max_iter=1).fit(X, targets)
    assert (model.status_ == "max_iter").all()
    best = SimultaneousGLM(alpha=1e-3, tol=1e-10).fit(X, targets)
    assert (model.objective_ - model.dual_gap_ <= best.objective_).all()
    with pytest.warns(ConvergenceWarning, match="time_limit"):
        model = SimultaneousGLM(alpha=1e-3, time_limit=1e-9, tol=1e-14).fit(X, targets)
    assert set(model.status_) == {"time_limit"}


def test_interruption_keeps_certified_models(data, monkeypatch):
    from sparsemodels.solvers.composite import Composite

    X, _, _, targets = data
    original, calls = Composite._descend, []

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(Composite, "_descend", interrupted)
    model = SimultaneousGLM(alpha=1e-3, tol=TIGHT)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, targets)
    assert set(model.status_) == {"interrupted"}
    assert model.coef_.shape == (COUNT, P)
    assert np.isfinite(model.dual_gap_[:2]).all()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"alpha": [0.1, 0.2]},
            r"one entry for each of the 6 problems, got shape \(2,\)",
        ),
        ({"alpha": [-0.1] * 6}, "alpha must be finite and >= 0"),
        ({"loss": "hinge"}, "'loss'"),
        ({"l1_ratio": 2.0}, "'l1_ratio'"),
        ({"loss": "logistic"}, r"y must lie in \[0, 1\] with loss='logistic', got"),
    ],
)
def test_bad_parameters_name_themselves(data, parameters, message):
    X, _, _, targets = data
    with pytest.raises(ValueError, match=message):
        SimultaneousGLM(**parameters).fit(X, targets)


def test_bad_weights_name_themselves(data):
    X, y, counts, targets = data
    empty = counts.copy()
    empty[:, 3] = 0
    for target, weights, message in (
        (y, counts, r"sample_weight must be a vector where y is one"),
        (targets[:, :2], counts, "equally many columns or one, got 2 and 6"),
        (targets, counts[:-1], r"sample_weight must have shape \(60,\) or \(60, n_problems\), got \(59, 6\)"),
        (targets, empty, "sample_weight, column 3: .* at least one non-zero"),
        (targets, -counts, "sample_weight, column 0: Negative values"),
    ):
        with pytest.raises(ValueError, match=message):
            SimultaneousGLM().fit(X, target, sample_weight=weights)
