"""Lasso and ElasticNet: closed forms, oracles, invariances, and what happens when something is wrong."""

import time

import cvxpy as cp
import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sparsemodels.datasets import make_planted_lasso
from sparsemodels.linear_model import AdaptiveLasso, ElasticNet, Lasso, elastic_net_path, lasso_path

TIGHT = 1e-13  # relative gap; coefficients then agree to about its square root times the condition number


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 25)) + 0.5 * rng.standard_normal((60, 1))
    coef = np.zeros(25)
    coef[:5] = [3.0, -2.0, 1.0, 1.5, -1.0]
    return X, X @ coef + 2.0 + 0.5 * rng.standard_normal(60)


def soft(v, t):
    return np.sign(v) * np.maximum(np.abs(v) - t, 0.0)


def test_orthonormal_design_closed_form():
    """On a design with Gram n I the solution is the soft-thresholded correlation."""
    rng = np.random.default_rng(1)
    q, _ = np.linalg.qr(rng.standard_normal((40, 10)))
    X, y = np.sqrt(40) * q, rng.standard_normal(40)
    correlation = X.T @ y / 40
    weights = rng.uniform(0.2, 2.0, 10)
    alpha, rho = 0.1, 0.7
    model = ElasticNet(alpha, l1_ratio=rho, penalty_weights=weights, fit_intercept=False, tol=TIGHT).fit(X, y)
    expected = soft(correlation, alpha * rho * weights) / (1 + alpha * (1 - rho) * weights)
    np.testing.assert_allclose(model.coef_, expected, atol=1e-14)
    boxed = Lasso(alpha, bounds=(-0.05, 0.1), fit_intercept=False, tol=TIGHT).fit(X, y)
    np.testing.assert_allclose(boxed.coef_, np.clip(soft(correlation, alpha), -0.05, 0.1), atol=1e-14)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("box", [None, "positive", "bounds"])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.6])
def test_agrees_with_cvxpy(data, fit_intercept, box, l1_ratio):
    """The objective agrees with an interior-point solver to 1e-7 of the objective of the empty model."""
    X, y = data
    rng = np.random.default_rng(2)
    omega = rng.choice([0.0, 0.5, 1.0, 2.0], size=25)
    s = rng.integers(0, 3, size=60).astype(float)
    parameters = {"positive": {"positive": True}, "bounds": {"bounds": (-0.5, 1.0)}, None: {}}[box]
    model = ElasticNet(
        0.2, l1_ratio=l1_ratio, penalty_weights=omega, fit_intercept=fit_intercept, tol=1e-10, **parameters
    ).fit(X, y, sample_weight=s)
    w, b = cp.Variable(25), cp.Variable()
    residual = y - X @ w - (b if fit_intercept else 0)
    objective = cp.sum(cp.multiply(s / s.sum(), cp.square(residual))) / 2
    objective += 0.2 * (l1_ratio * omega @ cp.abs(w) + (1 - l1_ratio) / 2 * omega @ cp.square(w))
    constraints = {"positive": [w >= 0], "bounds": [w >= -0.5, w <= 1.0], None: []}[box]
    best = cp.Problem(cp.Minimize(objective), constraints).solve(
        solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11
    )
    scale = 0.5 * (s / s.sum()) @ y**2
    assert abs(model.objective_ - best) <= 1e-7 * scale
    w.value, b.value = model.coef_, model.intercept_
    np.testing.assert_allclose(objective.value, model.objective_, rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bounds": "positive"},
        {"bounds": "box"},
        {"l1_ratio": 0.5, "sample_weight": True},
        {"penalty_weights": "random", "n_unpenalized": 3, "n_excluded": 4},
        {"density": 0.3, "sample_weight": True, "n_unpenalized": 2},
        {"fit_intercept": False, "correlation": 0.8},
    ],
)
def test_planted_solution(seed, options):
    """Problems whose solution is known exactly, with more features than rows."""
    problem = make_planted_lasso(40, 60, random_state=seed, **options)
    model = ElasticNet(
        problem.alpha,
        l1_ratio=problem.l1_ratio,
        penalty_weights=problem.penalty_weights,
        bounds=problem.bounds,
        fit_intercept=options.get("fit_intercept", True),
        tol=TIGHT,
    ).fit(problem.X, problem.y, sample_weight=problem.sample_weight)
    np.testing.assert_allclose(model.coef_, problem.coef, atol=1e-6)
    np.testing.assert_allclose(model.intercept_, problem.intercept, atol=1e-5)
    np.testing.assert_allclose(model.objective_, problem.objective, rtol=1e-10)
    assert model.objective_ - model.dual_gap_ <= problem.objective * (1 + 1e-12)


@pytest.mark.parametrize("estimator", [Lasso(0.1), ElasticNet(0.1), AdaptiveLasso(0.1)])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_integer_weights_are_repeated_rows(data, estimator, fit_intercept):
    X, y = data
    s = np.random.default_rng(3).integers(0, 4, size=60)
    estimator = clone(estimator).set_params(fit_intercept=fit_intercept, tol=TIGHT)
    weighted = clone(estimator).fit(X, y, sample_weight=s)
    repeated = clone(estimator).fit(np.repeat(X, s, axis=0), np.repeat(y, s))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-10)
    np.testing.assert_allclose(weighted.intercept_, repeated.intercept_, atol=1e-10)
    np.testing.assert_allclose(weighted.alpha_max_, repeated.alpha_max_, rtol=1e-12)
    # A common factor of the weights changes nothing.
    scaled = clone(estimator).fit(X, y, sample_weight=1e-5 * s)
    np.testing.assert_allclose(weighted.coef_, scaled.coef_, atol=1e-10)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
@pytest.mark.parametrize("container", [scipy.sparse.csc_matrix, scipy.sparse.csr_array, scipy.sparse.coo_array])
def test_sparse_is_dense(data, fit_intercept, index_dtype, container):
    X, y = data
    X = np.where(np.abs(X) > 0.8, X, 0.0) + 0.0
    sparse = container(X)
    for name in ("indices", "indptr"):
        if hasattr(sparse, name):
            setattr(sparse, name, getattr(sparse, name).astype(index_dtype))
    dense = Lasso(0.05, fit_intercept=fit_intercept, tol=TIGHT).fit(X, y)
    model = Lasso(0.05, fit_intercept=fit_intercept, tol=TIGHT).fit(sparse, y)
    np.testing.assert_allclose(model.coef_, dense.coef_, atol=1e-9)
    np.testing.assert_allclose(model.predict(sparse), dense.predict(X), atol=1e-9)


def test_memory_layouts_agree_and_nothing_is_modified(data, tmp_path):
    X, y = data
    reference = Lasso(0.1, tol=TIGHT).fit(X, y).coef_
    mapped = np.memmap(tmp_path / "X", dtype=float, mode="w+", shape=X.shape, order="F")
    mapped[:] = X
    mapped.flush()
    readonly = np.memmap(tmp_path / "X", dtype=float, mode="r", shape=X.shape, order="F")
    strided = np.zeros((120, 50))[::2, ::2]
    strided[:] = X
    for version in (np.asfortranarray(X), np.ascontiguousarray(X), readonly, strided):
        before, target = np.array(version), y.copy()
        np.testing.assert_allclose(Lasso(0.1, tol=TIGHT).fit(version, target).coef_, reference, atol=1e-11)
        np.testing.assert_array_equal(version, before)
        np.testing.assert_array_equal(target, y)


def test_float32_is_kept_and_certified(data):
    X, y = data
    model = Lasso(0.1).fit(X.astype(np.float32), y.astype(np.float32))
    assert model.coef_.dtype == np.float32
    assert model.predict(X.astype(np.float32)).dtype == np.float32
    assert model.relative_gap_ <= 1e-6
    np.testing.assert_allclose(model.coef_, Lasso(0.1).fit(X, y).coef_, atol=1e-3)


def test_wide_supports_use_the_column_model():
    """A nearly pure ridge penalty keeps more features than twice the rows: the Gram matrix gives way to columns."""
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((20, 2000)), rng.standard_normal(20)
    model = ElasticNet(0.5, l1_ratio=0.001, tol=1e-10).fit(X, y)
    assert np.count_nonzero(model.coef_) > 1040
    s = model.coef_ != 0
    gradient = (X - X.mean(0)).T @ (y - model.predict(X)) / 20
    ridge, threshold = 0.5 * 0.999, 0.5 * 0.001
    np.testing.assert_allclose(gradient[s], threshold * np.sign(model.coef_[s]) + ridge * model.coef_[s], atol=1e-6)
    assert (np.abs(gradient[~s]) <= threshold + 1e-6).all()


def test_scaling_scales_the_answer_and_changes_nothing_else(data):
    """y -> c y with alpha -> c alpha; X -> c X with alpha -> c alpha; weights -> c weights with alpha -> alpha / c."""
    X, y = data
    model = Lasso(0.1, tol=1e-10).fit(X, y)
    for c in (1e-6, 1e6):
        scaled = Lasso(0.1 * c, tol=1e-10).fit(X, c * y)
        np.testing.assert_allclose(scaled.coef_, c * model.coef_, rtol=1e-6, atol=1e-9 * c)
        assert scaled.n_iter_ == model.n_iter_
        scaled = Lasso(0.1 * c, tol=1e-10).fit(c * X, y)
        np.testing.assert_allclose(scaled.coef_, model.coef_ / c, rtol=1e-6, atol=1e-9 / c)
        scaled = Lasso(0.1 / c, penalty_weights=c, tol=1e-10).fit(X, y)
        np.testing.assert_allclose(scaled.coef_, model.coef_, rtol=1e-6, atol=1e-9)
    adaptive = AdaptiveLasso(0.1, tol=1e-10).fit(X, y)
    np.testing.assert_allclose(AdaptiveLasso(1e3, tol=1e-10).fit(X, 1e4 * y).coef_, 1e4 * adaptive.coef_, rtol=1e-6)


def test_permutation_and_duplication(data):
    X, y = data
    model = Lasso(0.1, tol=TIGHT).fit(X, y)
    order = np.random.default_rng(5).permutation(25)
    np.testing.assert_allclose(Lasso(0.1, tol=TIGHT).fit(X[:, order], y).coef_, model.coef_[order], atol=1e-9)
    # A duplicated column may share its coefficient with its twin in any way; the fit is the same.
    double = Lasso(0.1, tol=TIGHT).fit(np.hstack([X, X]), y)
    np.testing.assert_allclose(double.coef_[:25] + double.coef_[25:], model.coef_, atol=1e-8)


def test_weighted_is_rescaled_columns(data):
    X, y = data
    omega = np.random.default_rng(6).uniform(0.3, 3.0, 25)
    weighted = Lasso(0.1, penalty_weights=omega, tol=TIGHT).fit(X, y)
    np.testing.assert_allclose(weighted.coef_ * omega, Lasso(0.1, tol=TIGHT).fit(X / omega, y).coef_, atol=1e-9)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("options", [{}, {"positive": True}, {"free": True}, {"bounds": (-1.0, 0.0)}])
def test_alpha_max_is_exact(data, fit_intercept, options):
    """At alpha_max every penalised coefficient is exactly zero; just below it one is not."""
    X, y = data
    options = dict(options)
    omega = np.linspace(0.5, 2.0, 25)
    if options.pop("free", False):
        omega[[0, 7]] = 0.0
        omega[3] = np.inf
    fit = {"penalty_weights": omega, "fit_intercept": fit_intercept, "tol": TIGHT, **options}
    largest = Lasso(1.0, **fit).fit(X, y).alpha_max_
    at = Lasso(largest, **fit).fit(X, y)
    assert (at.coef_[omega > 0] == 0.0).all()
    assert at.n_iter_ <= 2
    assert (Lasso(largest * (1 - 1e-6), **fit).fit(X, y).coef_[omega > 0] != 0.0).any()


def test_degenerate_targets(data):
    X, _ = data
    for y in (np.zeros(60), np.full(60, 3.7)):
        model = Lasso(0.1).fit(X, y)
        assert (model.coef_ == 0.0).all()
        assert model.intercept_ == pytest.approx(y[0])
        assert model.dual_gap_ <= 1e-28
    single = Lasso(0.1).fit(X[:1], np.array([2.0]))
    assert single.intercept_ == 2.0


def test_unpenalised_is_least_squares(data):
    X, y = data
    design = np.column_stack([X, np.ones(60)])
    expected = np.linalg.lstsq(design, y)[0]
    for model in (Lasso(0.0), Lasso(5.0, penalty_weights=0.0), ElasticNet(0.0)):
        model.fit(X, y)
        np.testing.assert_allclose(model.coef_, expected[:-1], atol=1e-7)
        assert model.relative_gap_ <= 1e-6
    wide = Lasso(0.0, tol=1e-8).fit(X[:10], y[:10])  # more features than rows: some solution, with the minimal loss
    assert wide.objective_ <= 1e-8 * 0.5 * y[:10].var()


def test_warm_start_continues(data):
    X, y = data
    model = Lasso(0.1, warm_start=True).fit(X, y)
    first = model.coef_.copy()
    model.fit(X, y)
    assert model.n_iter_ == 1
    np.testing.assert_array_equal(model.coef_, first)


def test_not_converged_warns_with_certificate_and_remedy(data):
    X, y = data
    with pytest.warns(ConvergenceWarning, match=r"duality gap .* > .*increase max_iter or tol"):
        model = Lasso(1e-3, max_iter=1).fit(X, y)
    assert model.status_ == "max_iter"
    assert model.dual_gap_ > 0


def test_time_limit_keeps_a_certified_model():
    rng = np.random.default_rng(7)
    X = rng.standard_normal((300, 3000))
    y = X[:, :50].sum(1) + rng.standard_normal(300)
    with pytest.warns(ConvergenceWarning, match="time_limit"):
        model = Lasso(1e-3, time_limit=1e-9, tol=1e-12).fit(X, y)
    best = Lasso(1e-3, tol=1e-8).fit(X, y)
    assert model.objective_ - model.dual_gap_ <= best.objective_


def test_interruption_keeps_a_certified_model(data, monkeypatch):
    """Ctrl-C in the second pass: the error reaches the user, the model of the first pass stays."""
    from sparsemodels.solvers.composite import Composite

    X, y = data
    original, calls = Composite._descend, []

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr("sparsemodels.solvers.gram_model.GramModel.first", 3)
    monkeypatch.setattr(Composite, "_descend", interrupted)
    model = Lasso(1e-3, tol=1e-12)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    monkeypatch.setattr(Composite, "_descend", original)
    assert model.status_ == "interrupted"
    best = Lasso(1e-3, tol=1e-12).fit(X, y)
    assert model.objective_ - model.dual_gap_ <= best.objective_ <= model.objective_


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"alpha": -1.0}, "'alpha'"),
        ({"alpha": np.nan}, "'alpha'"),
        ({"tol": -1e-3}, "'tol'"),
        ({"max_iter": 0}, "'max_iter'"),
        ({"time_limit": 0.0}, "'time_limit'"),
        ({"penalty_weights": -1.0}, "'penalty_weights'"),
        (
            {"penalty_weights": [1.0, -2.0] + [1.0] * 23},
            r"penalty_weights must lie in \[0, inf\], got -2.0 at feature 1",
        ),
        ({"penalty_weights": [1.0, np.nan] + [1.0] * 23}, "penalty_weights must not contain NaN"),
        ({"penalty_weights": [1.0, 2.0]}, r"penalty_weights .* 25 features, got shape \(2,\)"),
        ({"bounds": (1.0, 2.0)}, "bounds must enclose zero, got"),
        ({"bounds": (0.0, 1.0, 2.0)}, "bounds must be a pair"),
        ({"bounds": ([0.0, 0.0], 1.0)}, r"bounds\[0\] .* 25 features"),
        ({"positive": "yes"}, "'positive'"),
    ],
)
def test_bad_parameters_name_themselves(data, parameters, message):
    X, y = data
    with pytest.raises(ValueError, match=message):
        Lasso(**parameters).fit(X, y)


def test_bad_data_names_itself(data):
    X, y = data
    for broken in (np.nan, np.inf):
        wrong = X.copy()
        wrong[3, 4] = broken
        with pytest.raises(ValueError, match="X contains"):
            Lasso().fit(wrong, y)
        with pytest.raises(ValueError, match="y contains"):
            Lasso().fit(X, np.where(np.arange(60) == 2, broken, y))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        Lasso().fit(X, y[:-1])
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        Lasso().fit(X, y, sample_weight=-np.ones(60))
    with pytest.raises(ValueError, match="at least one non-zero"):
        Lasso().fit(X, y, sample_weight=np.zeros(60))
    with pytest.raises(ValueError, match="minimum of 1 is required"):
        Lasso().fit(X[:0], y[:0])


@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
def test_path_is_single_fits(data, l1_ratio):
    X, y = data
    omega = np.array([0.0, np.inf] + [1.0] * 23)
    path = elastic_net_path(X, y, l1_ratio=l1_ratio, alphas=12, penalty_weights=omega, tol=1e-12)
    assert path.converged
    assert (np.diff(path.alphas) < 0).all()
    for k, alpha in enumerate(path.alphas):
        single = ElasticNet(alpha, l1_ratio=l1_ratio, penalty_weights=omega, tol=1e-12).fit(X, y)
        np.testing.assert_allclose(path.coefs[:, k], single.coef_, atol=1e-6)
        np.testing.assert_allclose(path.intercepts[k], single.intercept_, atol=1e-6)
        assert path.dual_gaps[k] <= 1e-12 * path.null_objective
    assert (path.coefs[omega == 1.0, 0] == 0.0).all()


def test_path_takes_levels_in_any_order_and_refuses_bad_ones(data):
    X, y = data
    np.testing.assert_array_equal(lasso_path(X, y, alphas=[0.1, 1.0, 0.0]).alphas, [1.0, 0.1, 0.0])
    for alphas, message in (([-1.0], "alphas must be finite and >= 0"), ([], "non-empty"), (0, "count >= 1")):
        with pytest.raises(ValueError, match=message):
            lasso_path(X, y, alphas=alphas)
    with pytest.raises(ValueError, match="l1_ratio must be > 0"):
        elastic_net_path(X, y, l1_ratio=0.0)
    with pytest.raises(ValueError, match="eps must lie in"):
        lasso_path(X, y, eps=1.0)


def test_adaptive_is_a_weighted_lasso(data):
    X, y = data
    model = AdaptiveLasso(0.2, gamma=1.5, n_reweights=2, tol=1e-10).fit(X, y)
    again = Lasso(0.2, penalty_weights=model.penalty_weights_, tol=1e-10).fit(X, y)
    np.testing.assert_allclose(model.coef_, again.coef_, atol=1e-7)
    assert set(np.flatnonzero(model.coef_)) <= set(np.flatnonzero(Lasso(0.2).fit(X, y).coef_))
    np.testing.assert_array_equal(AdaptiveLasso(0.2, n_reweights=0).fit(X, y).coef_, Lasso(0.2).fit(X, y).coef_)


def test_callbacks_see_passes_and_can_stop(data):
    callback_module = pytest.importorskip("sklearn.callback")
    assert callback_module is not None
    seen = []

    class Counter:
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
            seen.append(time.perf_counter())
            return True

    X, y = data
    model = Lasso(1e-3, tol=1e-12).set_callbacks(Counter())
    with pytest.warns(ConvergenceWarning, match="a callback stopped the fit"):
        model.fit(X, y)
    assert seen
    assert model.status_ == "stopped"
