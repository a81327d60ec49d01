"""Sparse Bayesian regression: closed forms, units, certificates computed again from the fitted attributes alone."""

import warnings

import numpy as np
import pytest
import scipy.fft
import scipy.sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.bayes import SparseBayesRegressor

SOLVERS = ("fast", "mackay", "mm", "reweighted_l1", "cofem")


@parametrize_with_checks(
    [
        SparseBayesRegressor(),
        SparseBayesRegressor(solver="mackay", threshold=1.0),
        SparseBayesRegressor(allow_complex=False, coupling=0.5, noise_variance=1.0),
    ]
)
def test_sklearn_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        warnings.filterwarnings("ignore", message="the noise variance")
        check(estimator)


def planted(seed=0, n=60, p=100, k=6, noise=0.1):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    coef = np.zeros(p)
    coef[rng.choice(p, k, replace=False)] = rng.choice([-1.0, 1.0], k) * rng.uniform(1.0, 2.0, k)
    return X, X @ coef + noise * rng.standard_normal(n) + 3.0, coef


def statistics(model, X, y, weights=None):
    """z, q and log evidence of the fitted model from dense formulas in the units of the data."""
    weights = np.ones(len(y)) if weights is None else weights
    total = weights.sum()
    # Integrating out the intercept is projecting on what is orthogonal to the weights' roots.
    root = np.sqrt(weights)
    projection = np.eye(len(y)) - np.outer(root, root) / total
    X, y = projection @ (root[:, None] * X), projection @ (root * y)
    C = model.noise_variance_ * np.eye(len(y)) + (X * model.prior_variances_) @ X.conj().T
    z = np.einsum("ij,ij->j", X.conj(), np.linalg.solve(C, X)).real
    q = X.conj().T @ np.linalg.solve(C, y)
    log_determinant = np.linalg.slogdet(C)[1] + (total - 1.0 - len(y)) * np.log(model.noise_variance_)
    half, circle = (1.0, np.pi) if np.iscomplexobj(q) else (0.5, 2.0 * np.pi)
    evidence = -half * ((total - 1.0) * np.log(circle) + log_determinant + np.vdot(y, np.linalg.solve(C, y)).real)
    return z, q, evidence


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("is_complex", [False, True])
def test_orthonormal_closed_form(solver, is_complex):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((40, 12)) + (1j * rng.standard_normal((40, 12)) if is_complex else 0.0)
    X = np.linalg.qr(X)[0]
    y = X @ (2.0 * rng.standard_normal(12)) + 0.7 * rng.standard_normal(40)
    y = y + (0.7j * rng.standard_normal(40) if is_complex else 0.0)
    options = {"n_probes": 400} if solver == "cofem" else {}
    model = SparseBayesRegressor(
        solver=solver, noise_variance=0.5, threshold=1.0, fit_intercept=False, tol=1e-9, max_iter=20_000,
        allow_complex=is_complex, random_state=0, **options,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ConvergenceWarning)  # 1e-9 is more than some are made for
        model.fit(X, y)
    correlation = X.conj().T @ y
    expected = np.maximum(np.abs(correlation) ** 2 - 0.5, 0.0)
    np.testing.assert_allclose(model.prior_variances_, expected, atol=1e-5)
    np.testing.assert_allclose(model.coef_, expected / (expected + 0.5) * correlation, atol=1e-5)


@pytest.mark.parametrize("solver", ["fast", "mackay", "reweighted_l1"])
@pytest.mark.parametrize("threshold", [1.0, "auto"])
def test_certificate_and_evidence_from_outside(solver, threshold):
    X, y, _ = planted(noise=0.3)
    model = SparseBayesRegressor(solver=solver, threshold=threshold, noise_variance=0.09).fit(X, y)
    z, q, evidence = statistics(model, X, y)
    ratio, active = q**2 / z, model.active_
    inactive = np.setdiff1d(np.arange(X.shape[1]), active)
    violation = max(np.abs(ratio[active] - 1.0).max(), (ratio[inactive] / model.threshold_ - 1.0).max(), 0.0)
    if model.threshold_ > 1.0:
        alone = ratio[active] / (1.0 - model.prior_variances_[active] * z[active])
        violation = max(violation, (1.0 - alone / model.threshold_).max())
    assert model.kkt_ == pytest.approx(violation, abs=1e-8)
    assert model.kkt_ <= 1e-4
    assert model.log_evidence_ == pytest.approx(evidence, rel=1e-10)
    np.testing.assert_allclose(model.coef_, model.prior_variances_ * q, atol=1e-8)


def test_posterior_from_outside():
    X, y, _ = planted(noise=0.3)
    model = SparseBayesRegressor().fit(X, y)
    chosen = X[:, model.active_]
    centred = chosen - chosen.mean(axis=0)
    precision = centred.T @ centred / model.noise_variance_ + np.diag(1.0 / model.prior_variances_[model.active_])
    np.testing.assert_allclose(model.covariance_, np.linalg.inv(precision), rtol=1e-8, atol=1e-12)
    mean, std = model.predict(X[:7], return_std=True)
    _, cov = model.predict(X[:7], return_cov=True)
    rows = chosen[:7] - chosen.mean(axis=0)
    expected = rows @ np.linalg.inv(precision) @ rows.T + model.noise_variance_ / len(y)
    np.testing.assert_allclose(cov, expected + model.noise_variance_ * np.eye(7), rtol=1e-8)
    np.testing.assert_allclose(std, np.sqrt(np.diag(cov)), rtol=1e-10)
    np.testing.assert_allclose(mean, X[:7] @ model.coef_ + model.intercept_)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("solver", SOLVERS)
def test_units_decide_nothing(solver, known):
    X, y, _ = planted()
    reference = None
    for a, b in ((1.0, 1.0), (1e-6, 1e6), (1e6, 1e-6), (1e6, 1e6)):
        options = {"noise_variance": 0.01 * b**2} if known else {}
        model = SparseBayesRegressor(solver=solver, random_state=0, **options).fit(a * X, b * y)
        if reference is None:
            reference = model
            assert len(model.active_) >= 5
        np.testing.assert_array_equal(model.active_, reference.active_)
        np.testing.assert_allclose(model.coef_, reference.coef_ * b / a, rtol=1e-6)
        assert model.noise_variance_ == pytest.approx(reference.noise_variance_ * b**2, rel=1e-6)
        shift = (len(y) - 1) * np.log(b)
        assert model.log_evidence_ + shift == pytest.approx(reference.log_evidence_, abs=1e-4)


@pytest.mark.parametrize("solver", SOLVERS)
def test_single_columns_may_have_any_units(solver):
    X, y, _ = planted()
    units = 10.0 ** np.random.default_rng(1).uniform(-4, 4, X.shape[1])
    model = SparseBayesRegressor(solver=solver, random_state=0).fit(X, y)
    scaled = SparseBayesRegressor(solver=solver, random_state=0).fit(X * units, y)
    np.testing.assert_array_equal(scaled.active_, model.active_)
    np.testing.assert_allclose(scaled.coef_ * units, model.coef_, rtol=1e-6, atol=1e-9)


def test_finds_the_planted_support_and_the_noise():
    found = []
    for seed in range(10):
        X, y, coef = planted(seed)
        model = SparseBayesRegressor().fit(X, y)
        found.append(np.array_equal(model.active_, np.flatnonzero(coef)))
        assert model.kkt_ <= 1e-4
    assert sum(found) >= 8  # "auto" keeps a column of noise in every few fits
    assert 0.005 < model.noise_variance_ < 0.02


@pytest.mark.parametrize("solver", ["fast", "mackay"])
def test_weights_are_repetitions(solver):
    X, y, _ = planted(n=40, p=15, k=4, noise=0.5)
    weights = np.random.default_rng(0).integers(0, 4, len(y))
    model = SparseBayesRegressor(solver=solver, tol=1e-8).fit(X, y, sample_weight=weights)
    repeated = SparseBayesRegressor(solver=solver, tol=1e-8).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    np.testing.assert_allclose(model.coef_, repeated.coef_, atol=1e-7)
    assert model.noise_variance_ == pytest.approx(repeated.noise_variance_, rel=1e-6)
    assert model.log_evidence_ == pytest.approx(repeated.log_evidence_, rel=1e-9)
    std, repeated_std = (m.predict(X, return_std=True)[1] for m in (model, repeated))
    np.testing.assert_allclose(std, repeated_std, rtol=1e-6)


def test_sparse_float32_and_read_only():
    X, y, _ = planted()
    X[np.abs(X) < 1.0] = 0.0
    reference = SparseBayesRegressor().fit(X, y)
    for make in (scipy.sparse.csr_array, scipy.sparse.csc_matrix):
        model = SparseBayesRegressor().fit(make(X), y)
        np.testing.assert_array_equal(model.active_, reference.active_)
        np.testing.assert_allclose(model.coef_, reference.coef_, atol=1e-8)
        np.testing.assert_allclose(model.predict(make(X)), reference.predict(X), atol=1e-7)
    single = SparseBayesRegressor().fit(X.astype(np.float32), y.astype(np.float32))
    assert single.coef_.dtype == np.float32
    np.testing.assert_array_equal(single.active_, reference.active_)
    np.testing.assert_allclose(single.coef_, reference.coef_, atol=1e-4)
    X.flags.writeable = y.flags.writeable = False
    np.testing.assert_array_equal(SparseBayesRegressor().fit(X, y).coef_, reference.coef_)


def test_several_outputs_share_their_support():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 80))
    coef = np.zeros((80, 3))
    coef[:5] = rng.standard_normal((5, 3))
    Y = X @ coef + 0.1 * rng.standard_normal((40, 3)) + [1.0, 2.0, 3.0]
    for solver in ("fast", "mackay", "reweighted_l1"):
        model = SparseBayesRegressor(solver=solver).fit(X, Y)
        np.testing.assert_array_equal(model.active_, np.arange(5))
        assert model.coef_.shape == (3, 80)
        np.testing.assert_allclose(model.intercept_, [1.0, 2.0, 3.0], atol=0.2)
        mean, std = model.predict(X, return_std=True)
        assert mean.shape == std.shape == (40, 3)


def test_complex_data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 60)) + 1j * rng.standard_normal((40, 60))
    coef = np.zeros(60, dtype=complex)
    coef[[3, 10, 40]] = [1.0 + 1.0j, -2.0j, 1.5]
    y = X @ coef + 0.05 * (rng.standard_normal(40) + 1j * rng.standard_normal(40)) + (1.0 - 2.0j)
    with pytest.raises(ValueError, match="Complex data not supported with allow_complex=False"):
        SparseBayesRegressor().fit(X, y)
    for design in (X, scipy.sparse.csc_array(X)):
        model = SparseBayesRegressor(allow_complex=True).fit(design, y)
        np.testing.assert_array_equal(model.active_, [3, 10, 40])
        np.testing.assert_allclose(model.coef_, coef, atol=0.05)
        assert model.intercept_ == pytest.approx(1.0 - 2.0j, abs=0.05)
        assert model.kkt_ <= 1e-4
    assert model.log_evidence_ == pytest.approx(statistics(model, X, y)[2], rel=1e-9)
    # Multiplying by a phase turns the answer and nothing else.
    turned = SparseBayesRegressor(allow_complex=True).fit(X, y * np.exp(0.7j))
    np.testing.assert_allclose(turned.coef_, model.coef_ * np.exp(0.7j), atol=1e-8)
    mean, std = model.predict(X, return_std=True)
    assert np.iscomplexobj(mean)
    assert std.dtype == np.float64


def test_linear_operator_is_its_matrix():
    X, y, _ = planted()
    model = SparseBayesRegressor(solver="cofem", random_state=0).fit(X, y)
    operator = SparseBayesRegressor(random_state=0).fit(aslinearoperator(X), y)
    np.testing.assert_array_equal(operator.active_, model.active_)
    np.testing.assert_allclose(operator.coef_, model.coef_, rtol=1e-2, atol=1e-3)
    mean, std = operator.predict(aslinearoperator(X), return_std=True)
    np.testing.assert_allclose(mean, X @ operator.coef_ + operator.intercept_)
    np.testing.assert_allclose(std, operator.predict(X, return_std=True)[1])
    with pytest.raises(ValueError, match="solver must be 'cofem' or 'auto'"):
        SparseBayesRegressor(solver="fast").fit(aslinearoperator(X), y)


def test_groups_are_relevant_together():
    rng = np.random.default_rng(0)
    labels = np.repeat([f"g{i}" for i in range(15)], 4)
    X = rng.standard_normal((40, 60))
    coef = np.zeros(60)
    coef[8:12], coef[40:44] = [1.0, 1.1, 0.9, 1.2], [-1.0, -0.8, -1.1, -1.0]
    y = X @ coef + 0.1 * rng.standard_normal(40)
    for correlation in ("none", "ar1", 0.9, 0.9 * np.ones((4, 4)) + 0.1 * np.eye(4)):
        model = SparseBayesRegressor(groups=labels, intra_correlation=correlation).fit(X, y)
        np.testing.assert_array_equal(model.active_, [8, 9, 10, 11, 40, 41, 42, 43])
        assert model.kkt_ <= 1e-4
    # Groups that are named otherwise are the same groups.
    assert SparseBayesRegressor(groups=labels, intra_correlation="ar1").fit(X, y).intra_correlation_ > 0.5
    numbered = SparseBayesRegressor(groups=np.repeat(np.arange(15)[::-1], 4)).fit(X, y)
    np.testing.assert_allclose(numbered.coef_, SparseBayesRegressor(groups=labels).fit(X, y).coef_, atol=1e-8)


def test_coupling_helps_clusters():
    errors = {None: [], 1.0: []}
    for seed in range(8):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((40, 100))
        coef = np.zeros(100)
        for start in rng.choice(np.arange(0, 90, 10), 3, replace=False):
            coef[start : start + 6] = rng.standard_normal(6)
        y = X @ coef + 0.05 * rng.standard_normal(40)
        for coupling, all_errors in errors.items():
            model = SparseBayesRegressor(coupling=coupling, noise_variance=0.0025, threshold=1.0, solver="mackay")
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", category=ConvergenceWarning)
                all_errors.append(np.sum((model.fit(X, y).coef_ - coef) ** 2) / np.sum(coef**2))
    assert np.median(errors[1.0]) < 0.5 * np.median(errors[None])


@pytest.mark.parametrize("solver", SOLVERS)
def test_degenerate_data(solver):
    fit = lambda X, y, **options: SparseBayesRegressor(solver=solver, random_state=0, **options).fit(X, y)  # noqa: E731
    X, y, _ = planted(n=20, p=5, k=2)
    constant = fit(X, np.full(20, 7.0))
    assert not constant.coef_.any()
    assert constant.intercept_ == 7.0
    assert constant.noise_variance_ == constant.kkt_ == 0.0
    assert constant.predict(X[:2], return_std=True)[1].tolist() == [0.0, 0.0]
    assert not fit(X, np.full(20, 7.0), noise_variance=1.0).coef_.any()
    assert not fit(np.ones((20, 5)), y).coef_.any()
    assert fit(X[:1], y[:1]).intercept_ == y[0]
    one = fit(X[:, :1], 2.0 * X[:, 0] + 0.1 * np.cos(np.arange(20.0)))
    assert one.coef_[0] == pytest.approx(2.0, abs=0.1)
    # A copy of a column, and a constant one, change no prediction.
    more = fit(np.column_stack([X, X[:, 0], np.ones(20)]), y, threshold=4.0)
    np.testing.assert_allclose(more.predict(np.column_stack([X, X[:, 0], np.ones(20)])),
                               fit(X, y, threshold=4.0).predict(X), atol=1e-4)  # fmt: skip


def test_collapse_of_the_noise_is_said():
    X, y, _ = planted(n=30, p=200)
    with pytest.warns(UserWarning, match="the noise variance that SparseBayesRegressor learned fell to its floor"):
        SparseBayesRegressor(solver="mackay", threshold=1.0, noise_floor=1e-3).fit(X, y)
    prior = SparseBayesRegressor(threshold=1.0, noise_prior=(15.0, 0.15)).fit(X, y)
    assert prior.noise_variance_ > 1e-3


def test_warm_start_ends_where_it_begins():
    X, y = load_diabetes(return_X_y=True)
    model = SparseBayesRegressor(warm_start=True).fit(X, y)
    coef, first = model.coef_.copy(), model.n_iter_
    model.fit(X, y)
    np.testing.assert_allclose(model.coef_, coef, rtol=1e-3)
    assert model.n_iter_ <= first


def test_stopped_fits_keep_their_best_model():
    X, y, _ = planted()
    with pytest.warns(ConvergenceWarning, match=r"kkt .*increase max_iter or tol"):
        model = SparseBayesRegressor(solver="mackay", threshold=1.0, noise_variance=0.01, max_iter=2).fit(X, y)
    assert model.status_ == "max_iter"
    _, q, _ = statistics(model, X, y)
    np.testing.assert_allclose(model.coef_, model.prior_variances_ * q, atol=1e-8)
    with pytest.warns(ConvergenceWarning, match="time_limit"):
        SparseBayesRegressor(solver="mm", threshold=1.0, noise_variance=0.01, time_limit=1e-9).fit(X, y)


def test_does_not_touch_the_units_of_ard():
    # What the guide says of scikit-learn's estimator, and what ours does instead.
    X, y = load_diabetes(return_X_y=True)
    model = clone(SparseBayesRegressor()).fit(X, 1e-3 * y)
    assert len(model.active_) == len(SparseBayesRegressor().fit(X, y).active_) > 3


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"noise_prior": (1.0,)}, "noise_prior must be a pair"),
        ({"noise_prior": (-1.0, 1.0)}, "noise_prior must be a pair"),
        ({"groups": [0, 1]}, "groups must have one label a feature"),
        ({"intra_correlation": "ar1"}, "intra_correlation='ar1' needs groups"),
        ({"coupling": 0.5, "solver": "fast"}, "solver must be 'auto', 'mackay', 'mm' or 'em' with coupling"),
        ({"coupling": 0.5, "groups": [0, 0, 1, 1]}, "coupling must be None where groups are given"),
        ({"threshold": 0.5}, "The 'threshold' parameter"),
        ({"noise_variance": 0.0}, "The 'noise_variance' parameter"),
    ],
)
def test_errors_name_the_parameter(parameters, message):
    X, y, _ = planted(n=20, p=4, k=2)
    with pytest.raises(ValueError, match=message):
        SparseBayesRegressor(**parameters).fit(X, y)


def test_twenty_thousand_columns_that_are_never_formed():
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(20_000, 1000, replace=False))

    def product(coef):
        return scipy.fft.dct(coef, axis=0, norm="ortho")[rows]

    def adjoint(values):
        image = np.zeros((20_000, *values.shape[1:]))
        image[rows] = values
        return scipy.fft.idct(image, axis=0, norm="ortho")

    X = LinearOperator((1000, 20_000), matvec=product, rmatvec=adjoint, matmat=product, rmatmat=adjoint, dtype=float)
    coef = np.zeros(20_000)
    support = np.sort(rng.choice(20_000, 30, replace=False))
    coef[support] = rng.choice([-1.0, 1.0], 30) * rng.uniform(1.0, 2.0, 30)
    y = product(coef) + 0.005 * rng.standard_normal(1000)
    model = SparseBayesRegressor(fit_intercept=False, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.active_, support)
    assert model.kkt_ <= 1e-4
    assert model.noise_variance_ == pytest.approx(0.005**2, rel=0.2)
    # Least squares on the true support is as good as it gets.
    unit = np.zeros((20_000, 30))
    unit[support, np.arange(30)] = 1.0
    oracle = np.linalg.lstsq(product(unit), y, rcond=None)[0]
    assert np.sum((model.coef_ - coef) ** 2) <= 1.1 * np.sum((oracle - coef[support]) ** 2)
