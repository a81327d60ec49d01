"""Nonnegative RESCAL: gradients, planted models, what is unknown, monotone descent, and what goes wrong."""

import inspect
import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import linear_sum_assignment, nnls
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils import estimator_checks, get_tags

from sparsemodels.decomposition import NonnegativeRESCAL
from sparsemodels.solvers.nonnegative_rescal import gradients, kkt_residual, nonnegative_rescal
from sparsemodels.solvers.quartic import minimise_quartic
from sparsemodels.solvers.relational_slices import relational_slices
from sparsemodels.solvers.rescal_coordinate_descent import linked_factor, sweep_entities

ROUNDING = 1e-13  # relative, of sums of some thousand products


def planted(n_slices=4, n_entities=20, k=3, noise=0.0, seed=0):
    """Sparse factors, their tensor and noise."""
    random = np.random.default_rng(seed)
    A = random.random((n_entities, k)) * (random.random((n_entities, k)) < 0.5)
    A[:k] = np.eye(k)  # pure entities: identifiable
    R = random.random((n_slices, k, k)) * (random.random((n_slices, k, k)) < 0.6)
    X = A @ R @ A.T
    return X + noise * X.mean() * random.random(X.shape), A, R


def half_squared_error(X, A, R):
    residual = np.where(np.isnan(X), 0.0, X - A @ R @ A.T)
    return 0.5 * (residual**2).sum()


def with_unknown(X, kind, seed=1):
    """Nothing, the diagonal, a tenth or most of the entries unknown."""
    X = X.copy()
    random = np.random.default_rng(seed)
    if kind == "diagonal":
        X[:, range(X.shape[1]), range(X.shape[1])] = np.nan
    elif kind != "none":
        X[random.random(X.shape) < {"tenth": 0.1, "most": 0.6}[kind]] = np.nan
    return X


def fit(X, k=3, **options):
    return NonnegativeRESCAL(k, **{"tol": 1e-6, "max_iter": 2000, "random_state": 0} | options).fit(X)


def order_of(A, reference):
    """The column of A that is most like each column of the reference."""
    cosine = (A / np.linalg.norm(A, axis=0)).T @ (reference / np.linalg.norm(reference, axis=0))
    rows, columns = linear_sum_assignment(-cosine)
    return rows[np.argsort(columns)]


@pytest.mark.parametrize("unknown", ["none", "diagonal", "tenth", "most"])
def test_gradients_and_objective(unknown):
    """Central differences of the objective as written; the objective that the solver reports."""
    X, _, _ = planted(3, 7, 2, noise=0.3)
    X = with_unknown(X, unknown)
    random = np.random.default_rng(2)
    A, R = random.random((7, 2)), random.random((3, 2, 2))
    data = relational_slices(X)
    gradient_A, curvature_A, gradient_R, curvature_R = gradients(data, A, R)
    for value, gradient in ((A, gradient_A), (R, gradient_R)):
        for index in np.ndindex(value.shape):
            old, h, sides = value[index], 1e-5, []
            for sign in (1, -1):
                value[index] = old + sign * h
                sides.append(half_squared_error(X, A, R))
            value[index] = old
            difference = (sides[0] - sides[1]) / (2 * h)
            assert abs(gradient[index] - difference) <= 1e-6 * (1.0 + abs(difference))  # rounding / h + h^2
    solution = nonnegative_rescal(data, A, R, max_iter=3, tol=0.0)
    expected = half_squared_error(X, solution.A, solution.R)
    np.testing.assert_allclose(solution.objective, expected, rtol=1e-10)
    np.testing.assert_allclose(data.squared_norm, np.nansum(X**2), rtol=ROUNDING)
    # The curvatures by brute force: second derivatives with the other copy of A held fixed.
    known = ~np.isnan(X)
    right, left = A @ R.transpose(0, 2, 1), A @ R  # rows R_t a_j and R_t^T a_j
    brute = np.einsum("tij,tja->ia", known, right**2) + np.einsum("tji,tja->ia", known, left**2)
    np.testing.assert_allclose(curvature_A, brute, rtol=1e-10)
    np.testing.assert_allclose(curvature_R, np.einsum("tij,ia,jb->tab", known, A**2, A**2), rtol=1e-10)


@pytest.mark.parametrize("unknown", ["none", "diagonal", "tenth", "most"])
def test_each_coordinate_step_is_the_exact_minimum(unknown):
    """One sweep over the coordinates of one entity lowers the objective as a fine search along each would."""
    X, _, _ = planted(2, 5, 2, noise=0.5)
    X = with_unknown(X, unknown)
    random = np.random.default_rng(3)
    A, R = random.random((5, 2)), random.random((2, 2, 2))
    expected = A.copy()
    for i in range(5):
        for a in range(2):
            grid = np.linspace(0.0, 3.0, 3001)
            errors = []
            for value in grid:
                expected[i, a] = value
                errors.append(half_squared_error(X, expected, R))
            expected[i, a] = grid[np.argmin(errors)]
    K = linked_factor(A, R)
    sweep_entities(relational_slices(X).links, A, R, K, K.T @ K, 1)
    np.testing.assert_allclose(A, expected, atol=5e-3)  # each grid step is 1e-3, and later ones see earlier ones
    np.testing.assert_allclose(K, linked_factor(A, R), rtol=1e-12)


def test_quartic_minimum():
    """Against a grid, over all shapes: three roots, one, no cubic term, a parabola, a minimum at the bound."""
    random = np.random.default_rng(0)
    for case in range(600):
        c1, c2, c3, c4 = random.standard_normal(4) * 10.0 ** random.integers(-3, 3, 4)
        c4 = abs(c4)
        if case % 3 == 0:
            c3, c4, c2 = 0.0, 0.0, abs(c2)
        low = -3.0 * random.random()

        def value(d, c1=c1, c2=c2, c3=c3, c4=c4):
            return d * (c1 + d * (c2 + d * (c3 + d * c4)))

        grid = np.concatenate([np.linspace(low, 10.0, 10_001), np.geomspace(10.0, 1e7, 5_001)])
        best = minimise_quartic(c1, c2, c3, c4, low)
        assert best >= low
        assert value(best) <= value(grid).min() * (1 - 1e-9)
    assert minimise_quartic(0.0, 0.0, 0.0, 0.0, -1.0) == 0.0
    assert minimise_quartic(1.0, 1.0, 0.0, 0.0, 0.0) == 0.0


@pytest.mark.parametrize("unknown", ["none", "diagonal", "tenth"])
def test_recovers_a_planted_asymmetric_model(unknown):
    """Without noise, the factors themselves, up to the order of the communities and their scale."""
    X, A, R = planted(5, 30, 3)
    model = fit(with_unknown(X, unknown), tol=1e-9)
    assert model.status_ == "converged"
    order = order_of(model.entity_factors_, A)
    sums = A.sum(axis=0)
    np.testing.assert_allclose(model.entity_factors_[:, order], A / sums, atol=1e-6)
    np.testing.assert_allclose(
        model.relations_[:, order][:, :, order], R * np.outer(sums, sums), atol=1e-5 * sums.max() ** 2
    )
    assert not np.allclose(R, R.transpose(0, 2, 1), atol=0.1)
    np.testing.assert_allclose(model.inverse_transform(model.relations_), A @ R @ A.T, atol=1e-6)


def test_permutations_between_communities():
    """The example of the specification: communities that send along a permutation."""
    random = np.random.default_rng(0)
    A = np.kron(np.eye(4), random.uniform(0.5, 1.0, (6, 1)))
    permutations = np.stack([np.eye(4)[random.permutation(4)] for _ in range(3)])
    model = fit(A @ permutations @ A.T, k=4, tol=1e-9, n_init=3)
    order = order_of(model.entity_factors_, A)
    np.testing.assert_allclose(model.entity_factors_[:, order], A / A.sum(axis=0), atol=1e-6)
    relations = model.relations_[:, order][:, :, order]
    np.testing.assert_allclose(relations / relations.max(), permutations, atol=1e-6)


@pytest.mark.parametrize("solver", ["hals", "mu"])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("unknown", ["none", "diagonal", "most"])
def test_descends_and_certifies(solver, symmetric, unknown):
    """Never uphill; the certificate and the error recomputed from outside; the steps it speaks of gain nothing."""
    X, _, _ = planted(noise=0.5)
    X = with_unknown(X, unknown)
    max_iter = 2000 if solver == "hals" else 60
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # multiplicative updates do not get there
        model = fit(X, solver=solver, symmetric_relation=symmetric, max_iter=max_iter)
    history = model.objective_history_
    assert (np.diff(history) <= 0.0).all()
    assert history.size == model.n_iter_ + 1
    A, R = model.entity_factors_, model.relations_
    assert A.min() >= 0.0
    assert R.min() >= 0.0
    np.testing.assert_allclose(A.sum(axis=0), 1.0, rtol=1e-12)
    expected = half_squared_error(X, A, R)
    np.testing.assert_allclose(model.objective_, expected, rtol=1e-8)
    np.testing.assert_allclose(model.reconstruction_err_, np.sqrt(2 * expected), rtol=1e-8)
    np.testing.assert_allclose(
        kkt_residual(relational_slices(X), A, R, symmetric=symmetric), model.kkt_, rtol=1e-6, atol=1e-12
    )
    if symmetric:
        np.testing.assert_allclose(R, R.transpose(0, 2, 1), rtol=1e-12)
    if solver == "hals":
        assert model.status_ == "converged"
        assert model.kkt_ <= 1e-6
        for value in (A, R):  # no single coordinate can be moved to any effect
            for index in list(np.ndindex(value.shape))[:: value.size // 20]:
                old = value[index]
                for factor in (0.99, 1.01):
                    value[index] = old * factor
                    if symmetric and value is R:
                        value[index[0], index[2], index[1]] = value[index]
                    assert half_squared_error(X, A, R) >= expected * (1 - 1e-9)
                value[index] = old
                if symmetric and value is R:
                    value[index[0], index[2], index[1]] = old


def test_solvers_agree():
    """Multiplicative updates creep towards what coordinate descent reaches."""
    X, _, _ = planted(3, 12, 2, noise=0.5)
    exact = fit(X, k=2)
    slow = fit(X, k=2, solver="mu", max_iter=5000, tol=1e-5)
    np.testing.assert_allclose(slow.objective_, exact.objective_, rtol=1e-5)
    with pytest.warns(ConvergenceWarning, match="relative KKT residual .* increase max_iter or tol"):
        fit(X, k=2, solver="mu", max_iter=exact.n_iter_)


@pytest.mark.parametrize("unknown", ["none", "diagonal", "most"])
def test_unknown_values_do_not_matter_and_sparse_is_dense(unknown):
    """A list of sparse slices, with NaN stored where unknown, is the same tensor."""
    X, _, _ = planted()
    X = with_unknown(X, unknown)
    dense = fit(X)
    sparse = fit([scipy.sparse.csr_array(part) for part in X])
    assert abs(dense.n_iter_ - sparse.n_iter_) <= 3  # the same steps up to the order of sums
    np.testing.assert_allclose(sparse.objective_, dense.objective_, atol=1e-9 * np.nansum(X**2))
    np.testing.assert_allclose(sparse.transform([scipy.sparse.coo_matrix(X[0])]), sparse.transform(X[:1]), atol=1e-9)


@pytest.mark.parametrize("solver", ["hals", "mu"])
def test_scale_and_order(solver):
    """The unit of the data scales the relations alone; renaming the entities renames their rows."""
    X, A, _ = planted(noise=0.3)
    options = {"solver": solver, "max_iter": 40, "tol": 0.0, "init": np.random.default_rng(0).random(A.shape)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = fit(X, **options)
        scaled = fit(2.0**20 * X, **options)
        shuffle = np.random.default_rng(1).permutation(X.shape[1])
        repeated = fit(np.concatenate([X, X]), **options)
    np.testing.assert_allclose(scaled.entity_factors_, model.entity_factors_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(scaled.relations_, 2.0**20 * model.relations_, rtol=1e-9, atol=1e-3)
    np.testing.assert_allclose(scaled.kkt_, model.kkt_, rtol=1e-6)
    np.testing.assert_allclose(repeated.entity_factors_, model.entity_factors_, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(repeated.objective_, 2 * model.objective_, rtol=1e-9)
    if solver == "hals":  # visits in another order, to the same end
        backwards = fit(X.transpose(0, 2, 1), tol=1e-8)
        np.testing.assert_allclose(backwards.objective_, fit(X, tol=1e-8).objective_, rtol=1e-8)
    else:
        options["init"] = options["init"][shuffle]
        with pytest.warns(ConvergenceWarning):
            renamed = fit(X[:, shuffle][:, :, shuffle], **options)
        np.testing.assert_allclose(renamed.entity_factors_, model.entity_factors_[shuffle], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("unknown", ["none", "diagonal", "tenth"])
def test_transform_is_nonnegative_least_squares(symmetric, unknown):
    """Against SciPy, with the Kronecker product that the solver avoids."""
    X, _, _ = planted(noise=0.5)
    model = fit(X, symmetric_relation=symmetric)
    new = with_unknown(planted(2, noise=1.0, seed=5)[0], unknown)
    relations = model.transform(new)
    A, k = model.entity_factors_, 3
    design = np.kron(A, A)
    if symmetric:  # one column for each pair
        pairs = [(a, b) for a in range(k) for b in range(a, k)]
        design = np.stack([design[:, a * k + b] + (a != b) * design[:, b * k + a] for a, b in pairs], axis=1)
    for t in range(2):
        known = ~np.isnan(new[t].ravel())
        expected, _ = nnls(design[known], new[t].ravel()[known])
        found = relations[t].ravel() if not symmetric else np.array([relations[t][pair] for pair in pairs])
        np.testing.assert_allclose(found, expected, atol=1e-6 * expected.max())


def test_restarts_keep_the_best():
    X, _, _ = planted(noise=0.5)
    objectives = [fit(X, k=5, init="random", random_state=seed).objective_ for seed in range(3)]
    many = fit(X, k=5, n_init=4)
    assert many.objective_ <= fit(X, k=5).objective_
    assert many.objective_ <= 1.05 * min(objectives)
    again = fit(X, k=5, n_init=4)
    np.testing.assert_array_equal(many.entity_factors_, again.entity_factors_)


def test_degenerate_tensors():
    """Zeros, a single entity, entities that relate to nothing, a slice of which nothing is known."""
    zeros = fit(np.zeros((2, 4, 4)), k=2)
    assert (zeros.kkt_, zeros.objective_, zeros.status_) == (0.0, 0.0, "converged")
    single = fit(np.full((3, 1, 1), 2.0), k=1)
    np.testing.assert_allclose(single.relations_.ravel(), 2.0, rtol=1e-6)
    X, _, _ = planted()
    X = np.pad(X, ((0, 0), (0, 2), (0, 2)))
    X[1] = np.nan
    model = fit(X)
    assert (model.entity_factors_[-2:] <= 1e-6).all()
    assert np.isfinite(model.relations_).all()
    assert model.status_ == "converged"


def test_precision_and_the_caller():
    X, _, _ = planted(noise=0.1)
    X = X.astype(np.float32)
    X.setflags(write=False)
    before = X.copy()
    model = fit(X)
    assert model.entity_factors_.dtype == model.relations_.dtype == model.transform(X).dtype == np.float32
    np.testing.assert_array_equal(X, before)
    parts = [scipy.sparse.csr_array(part) for part in X]
    assert fit(parts).entity_factors_.dtype == np.float32
    np.testing.assert_array_equal(parts[0].toarray(), before[0])


def test_scikit_learn_manners():
    """scikit-learn generates no checks for estimators of three-dimensional arrays; these need no data or ours."""
    estimator = NonnegativeRESCAL()
    tags = get_tags(estimator).input_tags
    assert (tags.two_d_array, tags.three_d_array, tags.positive_only, tags.allow_nan) == (False, True, True, True)
    for check in (
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_valid_tag_types,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
        estimator_checks.check_mixin_order,
    ):
        check("NonnegativeRESCAL", clone(estimator))
    X, _, _ = planted()
    with pytest.raises(NotFittedError):
        estimator.transform(X)
    fitted = clone(estimator).set_params(n_components=3, random_state=0)
    assert fitted.fit(X) is fitted
    assert fitted.n_features_in_ == 20
    copy = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copy.transform(X), fitted.transform(X))
    np.testing.assert_allclose(fitted.fit_transform(X), fitted.relations_, atol=1e-3 * fitted.relations_.max())
    for name in inspect.signature(NonnegativeRESCAL).parameters:
        with pytest.raises(ValueError, match=f"The '{name}' parameter of NonnegativeRESCAL must be"):
            clone(estimator).set_params(**{name: "nonsense"}).fit(X)


@pytest.mark.parametrize(
    ("X", "options", "message"),
    [
        (np.ones((4, 4)), {}, r"X must have the shape \(n_slices, n_entities, n_entities\), got \(4, 4\)"),
        (np.ones((2, 4, 3)), {}, r"X must have the shape \(n_slices, n_entities, n_entities\), got \(2, 4, 3\)"),
        (-np.ones((2, 4, 4)), {}, "X must be >= 0, got -1.0"),
        (np.full((2, 4, 4), np.nan), {}, "X must have an entry that is known"),
        (np.full((2, 4, 4), np.inf), {}, "infinity"),
        (np.ones((2, 4, 4)), {"n_components": 5}, "n_components must be at most the number of entities, 4, got 5"),
        (np.ones((2, 4, 4)), {"init": np.ones((3, 2))}, r"init must be a nonnegative array of shape \(4, 2\)"),
        (scipy.sparse.eye_array(4, format="csr"), {}, r"pass \[X\] for a single slice"),
        ([scipy.sparse.eye_array(4), scipy.sparse.eye_array(3)], {}, "square slices of one shape"),
        ([-scipy.sparse.eye_array(4)], {}, "X must be >= 0, got -1.0"),
    ],
)
def test_bad_input(X, options, message):
    with pytest.raises(ValueError, match=message):
        NonnegativeRESCAL(**options).fit(X)


def test_other_entities_cannot_be_transformed():
    model = fit(planted()[0])
    with pytest.raises(ValueError, match="X must relate 20 entities, as in the fit, got 5"):
        model.transform(np.ones((1, 5, 5)))
    with pytest.raises(ValueError, match=r"X must have the shape \(n_slices, 3, 3\), got \(3, 3\)"):
        model.inverse_transform(np.eye(3))


def test_out_of_time_and_interrupted(monkeypatch):
    """The best model so far, with its certificate."""
    X, _, _ = planted(noise=0.5)
    with pytest.warns(ConvergenceWarning, match="time_limit was reached"):
        model = fit(X, time_limit=1e-9, tol=0.0)
    assert (model.status_, model.n_iter_) == ("time_limit", 1)
    with pytest.warns(ConvergenceWarning, match=r"tol=0.000e\+00; the tolerance is below|increase max_iter"):
        fit(X, tol=0.0, max_iter=5)
    estimator = NonnegativeRESCAL(3, tol=0.0, random_state=0)

    class Context:
        calls = 0

        def subcontext(self, **_):
            return self

        def call_on_fit_task_begin(self, **_):
            pass

        def call_on_fit_task_end(self, **_):
            Context.calls += 1
            if Context.calls == 3:
                raise KeyboardInterrupt
            return False

    monkeypatch.setattr(NonnegativeRESCAL, "_init_callback_context", lambda self, **_: Context())
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X)
    assert (estimator.status_, estimator.n_iter_) == ("interrupted", 3)
    np.testing.assert_allclose(
        estimator.objective_, half_squared_error(X, estimator.entity_factors_, estimator.relations_), rtol=1e-8
    )
