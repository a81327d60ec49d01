import numpy as np
import pytest
import scipy.optimize
import scipy.sparse

from sparsemodels.solvers.class_labels import (
    ClassLabels,
    entropy,
    fit_logistic,
    log_loss,
    loss_at_zero,
    probabilities,
    pull,
)
from sparsemodels.solvers.leading_subspace import Products, Spectrum, eigenstructure, leading, subspace_basis
from sparsemodels.solvers.low_rank_projected_gradient import (
    gradient_step,
    low_rank_projected_gradient,
    step_residual,
)
from sparsemodels.solvers.supervised_block_descent import block_descent
from sparsemodels.solvers.supervised_dictionary import SupervisedProblem
from sparsemodels.solvers.supervised_factors import principal_factors

RNG = np.random.default_rng(0)
MODELS = ("filter", "feature")
SHAPES = {"tall": (40, 7), "wide": (12, 30)}


def labels(n, n_classes, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.r_[np.arange(n_classes), rng.integers(n_classes, size=n - n_classes)]
    targets = codes[:, None] == (np.arange(n_classes) if n_classes > 2 else 1)
    return ClassLabels(targets.astype(float), rng.uniform(0.5, 2.0, n))


def problem(
    model="filter",
    shape="tall",
    n_classes=2,
    *,
    xi=0.3,
    alpha=0.05,
    n_covariates=2,
    sparse=False,
    positive=False,
    **options,
):
    n, p = SHAPES.get(shape, shape)
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, p)) * np.linspace(3.0, 0.5, p)
    if positive:  # constraints of sign on data without signs need not have a best point
        X = rng.gamma(1.0, 1.0, (n, 3)) @ rng.gamma(1.0, 1.0, (3, p)) + 0.1 * rng.random((n, p))
    if sparse:
        X[rng.random(X.shape) < 0.6] = 0.0
        X = scipy.sparse.csr_array(X)
    return SupervisedProblem(
        X,
        labels(n, n_classes),
        rng.standard_normal((n, n_covariates)),
        model=model,
        reconstruction_weight=xi,
        alpha=alpha,
        fit_intercept=True,
        **options,
    )


@pytest.mark.parametrize("n_classes", [2, 4])
def test_logistic_fit_against_scipy(n_classes):
    lab, F = labels(50, n_classes), RNG.standard_normal((50, 3))
    offset = RNG.standard_normal((50, lab.targets.shape[1]))
    root = RNG.standard_normal((3, 3))
    ridge = root @ root.T
    fit = fit_logistic(lab, F, ridge, offset=offset, start=np.zeros((3, offset.shape[1])))

    def value(b):
        b = b.reshape(fit.coef.shape)
        return log_loss(lab, offset + F @ b) + 0.5 * np.trace(b.T @ ridge @ b)

    reference = scipy.optimize.minimize(value, np.zeros(fit.coef.size), method="BFGS", options={"gtol": 1e-7})
    np.testing.assert_allclose(fit.coef.ravel(), reference.x, atol=1e-5)
    np.testing.assert_allclose(fit.value, value(fit.coef), rtol=1e-14)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_loss_is_that_of_the_probabilities_and_entropy_its_conjugate(n_classes):
    lab = labels(20, n_classes)
    logits = RNG.standard_normal(lab.targets.shape)
    chance = probabilities(logits)
    own = np.where(lab.targets > 0.0, chance, 1.0 - chance)[:, 0] if n_classes == 2 else (chance * lab.targets).sum(1)
    np.testing.assert_allclose(log_loss(lab, logits), -lab.weights @ np.log(own), rtol=1e-13)
    # Fenchel's equality at the gradient: loss + conjugate = inner product.
    np.testing.assert_allclose(entropy(lab, chance), log_loss(lab, logits) + np.sum(pull(lab, logits) * logits))
    big = log_loss(lab, 1e4 * logits)
    assert np.isfinite(big)
    assert big > 0.0


@pytest.mark.parametrize("shape", [(9, 30), (30, 9), (250, 260)])
@pytest.mark.parametrize("columns", [1, 3])
def test_leading_subspace_three_ways(shape, columns):
    Y, V = RNG.standard_normal(shape), RNG.standard_normal((shape[0], columns))
    reference, vectors = np.linalg.eigh(Y @ Y.T + V @ V.T)
    U = vectors[:, -4:]
    ways = {
        "eigenvectors": eigenstructure(Y),
        "sparse": eigenstructure(scipy.sparse.csr_array(Y)),
        "products": eigenstructure(Y, moderate=1),
    }
    assert isinstance(ways["eigenvectors"], Spectrum)
    assert isinstance(ways["products"], Products)
    for K in ways.values():
        found = leading(K, V, 4)
        basis = subspace_basis(K, found)
        np.testing.assert_allclose(basis.T @ basis, np.eye(4), atol=1e-11)
        np.testing.assert_allclose(found.total, reference[-4:].sum(), rtol=1e-11)
        np.testing.assert_allclose(basis @ basis.T, U @ U.T, atol=1e-7)
        np.testing.assert_allclose(found.projected, U @ (U.T @ V), atol=1e-6)
        np.testing.assert_allclose(found.captured, np.sum((Y.T @ U) ** 2), rtol=1e-7)


def test_subspace_of_a_matrix_that_is_no_record_is_refused():
    with pytest.raises(TypeError, match="ndarray"):
        leading(np.eye(3), np.ones((3, 1)), 1)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("model", MODELS)
def test_gradient_by_finite_differences(model, n_classes):
    P = problem(model, n_classes=n_classes)
    A = 0.3 * RNG.standard_normal((P.n_dimensions, P.n_columns))
    point = P.classified(A, P.image(A))
    gradient = P.gradient(A, point.logits)
    for _ in range(5):  # of the function that is minimised over covariates and intercept
        move = RNG.standard_normal(A.shape)
        values = [P.classified(A + h * move, P.image(A + h * move)).value for h in (1e-4, -1e-4)]
        np.testing.assert_allclose((values[0] - values[1]) / 2e-4, np.sum(gradient * move), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_lipschitz_constant_bounds_every_curvature(model):
    P = problem(model, n_classes=3, n_covariates=0)
    for _ in range(20):
        A, other = (RNG.standard_normal((P.n_dimensions, P.n_columns)) for _ in range(2))
        change = [P.gradient(M, P.classified(M, P.image(M)).logits) for M in (A, other)]
        assert np.linalg.norm(change[0] - change[1]) <= P.lipschitz * np.linalg.norm(A - other) * (1 + 1e-12)


def lifted_step(P, A, B, rank):
    """The textbook step: a gradient step of both blocks in their metrics, then a truncated SVD of both together."""
    L, root = P.lipschitz, P.root
    X = np.asarray(P.X.todense()) if scipy.sparse.issparse(P.X) else P.X
    point = P.classified(A, P.image(A))
    double = 2.0 * P.reconstruction_weight
    half_A = A - P.gradient(A, point.logits) / L
    # In the metric 2 xi S of the reconstruction its gradient is B - X: the step ends on X from any B.
    half_B = B - (B - (root * X if P.model == "feature" else (root * X).T))
    stacked = np.hstack([np.sqrt(L) * half_A, np.sqrt(double) * half_B])
    U, sizes, Vt = np.linalg.svd(stacked, full_matrices=False)
    low = (U[:, :rank] * sizes[:rank]) @ Vt[:rank]
    return low[:, : P.n_columns] / np.sqrt(L), low[:, P.n_columns :] / np.sqrt(double)


@pytest.mark.parametrize("moderate", [None, 1])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("model", MODELS)
def test_step_is_the_truncated_svd_of_the_lifted_matrix(model, shape, n_classes, moderate):
    P = problem(model, shape, n_classes, moderate=moderate)
    A = RNG.standard_normal((P.n_dimensions, P.n_columns))
    B = RNG.standard_normal(P.factor.shape)
    point = P.classified(A, P.image(A))
    new, subspace = gradient_step(P, A, P.gradient(A, point.logits), P.lipschitz, 3)
    reference_A, reference_B = lifted_step(P, A, B, 3)
    np.testing.assert_allclose(new, reference_A, atol=1e-8)
    U = subspace_basis(P.K, subspace)
    double = np.sqrt(2.0 * P.reconstruction_weight)
    np.testing.assert_allclose(U @ (U.T @ P.factor) / double, reference_B, atol=1e-7)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("model", MODELS)
def test_descent_is_monotone_and_its_certificates_hold_from_outside(model, shape, n_classes):
    P = problem(model, shape, n_classes)
    solution = low_rank_projected_gradient(P, 3, P.without_rank().A, tol=1e-7, max_iter=5000)
    assert solution.status == "converged"
    assert np.all(np.diff(solution.objective_history) <= 0.0)
    A, U = solution.point.A, solution.basis
    np.testing.assert_allclose(U @ (U.T @ A), A, atol=1e-10)
    double = np.sqrt(2.0 * P.reconstruction_weight)
    B = U @ (U.T @ P.factor) / double
    # The objective from its definition.
    q = 2
    ridge = 0.5 * P.alpha * (np.sum(A**2) + np.sum(solution.point.offset_coef[:q] ** 2))
    logits = P.image(A) + P.offsets @ solution.point.offset_coef
    error = np.sum((B - P.factor / double) ** 2)
    expected = log_loss(P.labels, logits) + ridge + P.reconstruction_weight * error
    np.testing.assert_allclose(solution.objective, expected, rtol=1e-11)
    # The residual from the textbook step.
    new_A, new_B = lifted_step(P, A, B, 3)
    squared = P.lipschitz * np.sum((new_A - A) ** 2) + double**2 * np.sum((new_B - B) ** 2)
    np.testing.assert_allclose(solution.kkt, np.sqrt(squared / (2.0 * loss_at_zero(P.labels))), rtol=1e-3, atol=1e-10)
    # Factors reproduce both parts.
    factors = principal_factors(P, solution.point, U)
    seen = P.X @ factors.components.T if model == "filter" else factors.codes
    np.testing.assert_allclose(seen @ factors.code_coef, P.image(A), atol=1e-9)
    reconstruction = factors.codes @ factors.components
    np.testing.assert_allclose(P.root * reconstruction, B if model == "feature" else B.T, atol=1e-9)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("model", MODELS)
def test_bound_is_below_every_dictionary(model, n_classes):
    P = problem(model, n_classes=n_classes)
    rng = np.random.default_rng(3)
    double = P.labels.targets.shape[1]
    bounds, objectives = [], []
    for trial in range(30):
        # Probabilities that keep the sums of the labels: the best intercept for some logits.
        size = 0.05 * 1.4**trial * rng.standard_normal((P.n_dimensions, double))
        point = P.classified(size, P.image(size))
        bounds.append(P.dual_bound(probabilities(point.logits), 2))
        U = np.linalg.qr(rng.standard_normal((P.n_dimensions, 2)))[0]
        A = U @ (U.T @ size)
        objectives.append(P.classified(A, P.image(A)).value + 0.5 * (P.trace - np.sum((U.T @ P.factor) ** 2)))
    solution = low_rank_projected_gradient(P, 2, P.without_rank().A, tol=1e-6)
    best = P.lower_bound([solution.point, P.without_rank()], 2)
    assert max(bounds) <= min(*objectives, solution.objective)
    assert best <= solution.objective * (1.0 + 1e-12)
    separate = P.without_rank().value + 0.5 * np.linalg.eigvalsh(P.factor @ P.factor.T)[:-2].sum()
    assert best >= separate * (1.0 - 1e-10)  # never worse than the sum of the two separate minima


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("model", MODELS)
def test_enough_atoms_decouple_the_parts_and_close_the_gap(model, shape, n_classes):
    P = problem(model, shape, n_classes, alpha=0.5)
    rank = min(SHAPES[shape][0], SHAPES[shape][1] + (P.n_columns if model == "feature" else 0))
    free = P.without_rank()
    solution = low_rank_projected_gradient(P, rank, np.zeros_like(free.A), tol=1e-8, max_iter=5000)
    assert solution.objective - free.value <= 1e-8 * free.value  # the reconstruction is perfect
    np.testing.assert_allclose(solution.point.A, free.A, atol=1e-4)
    bound = P.lower_bound([solution.point, free], rank)
    assert abs(solution.objective - bound) <= 1e-7 * solution.objective


def test_best_atom_of_the_plane_by_brute_force():
    n = 60
    rng = np.random.default_rng(4)
    X = rng.standard_normal((n, 2)) @ np.array([[2.0, 0.3], [0.0, 1.0]])
    lab = ClassLabels((X[:, 1:] + 0.3 * rng.standard_normal((n, 1)) > 0.0).astype(float), np.ones(n))
    for xi in (0.05, 0.2, 1.0):
        P = SupervisedProblem(
            X, lab, np.empty((n, 0)), model="filter", reconstruction_weight=xi, alpha=0.1, fit_intercept=True
        )
        starts = [P.without_rank().A, *rng.standard_normal((5, 2, 1))]
        found = [low_rank_projected_gradient(P, 1, start, tol=1e-8, max_iter=5000) for start in starts]
        best = min(found, key=lambda solution: solution.objective)

        def along(angle, P=P, xi=xi):
            u = np.array([[np.cos(angle)], [np.sin(angle)]])
            design, ridge = np.hstack([X @ u, np.ones((n, 1))]), np.diag([0.1, 0.0])
            fit = fit_logistic(lab, design, ridge, offset=np.zeros((n, 1)), start=np.zeros((2, 1)))
            return fit.value + xi * np.sum((X - X @ u @ u.T) ** 2)

        grid = np.linspace(0.0, np.pi, 150)
        start = grid[np.argmin([along(angle) for angle in grid])]
        exact = scipy.optimize.minimize_scalar(along, bounds=(start - 0.03, start + 0.03), method="bounded")
        np.testing.assert_allclose(best.objective, exact.fun, rtol=1e-6)
        assert P.lower_bound([best.point, P.without_rank()], 1) <= exact.fun


@pytest.mark.parametrize("model", MODELS)
def test_sparse_data_and_products_give_the_same(model):
    sparse = problem(model, "tall", sparse=True)
    dense = SupervisedProblem(
        sparse.X.toarray(),
        sparse.labels,
        sparse.offsets[:, :2],
        model=model,
        reconstruction_weight=0.3,
        alpha=0.05,
        fit_intercept=True,
    )
    products = problem(model, "tall", sparse=True, moderate=1)
    assert isinstance(products.K, Products)
    start = dense.without_rank().A
    found = [low_rank_projected_gradient(P, 2, start, tol=1e-6) for P in (dense, sparse, products)]
    bounds = [P.lower_bound([s.point, P.without_rank()], 2) for P, s in zip((dense, sparse, products), found)]
    for other, bound in zip(found[1:], bounds[1:]):
        np.testing.assert_allclose(other.objective, found[0].objective, rtol=1e-8)
        np.testing.assert_allclose(bound, bounds[0], rtol=1e-6)


@pytest.mark.parametrize("sign", ["free", "codes", "components", "both"])
@pytest.mark.parametrize("model", MODELS)
def test_blocks_descend_to_a_stationary_point(model, sign):
    P = problem(model, n_classes=3, alpha=0.5, positive=sign != "free")
    positive = {"positive_codes": sign in ("codes", "both"), "positive_components": sign in ("components", "both")}
    start = np.abs(np.random.default_rng(5).standard_normal((3, P.X.shape[1])))
    solution = block_descent(P, start, tol=1e-6, max_iter=20_000, **positive)
    assert solution.status == "converged"
    assert np.all(np.diff(solution.objective_history) <= 0.0)
    D, H, beta, offsets = solution.factors

    def objective(D, H):
        seen = P.X @ D.T if model == "filter" else H
        A = D.T @ beta if model == "filter" else P.root * (H @ beta)
        ridge = 0.5 * P.alpha * (np.sum(A**2) + np.sum(offsets[:2] ** 2))
        loss = log_loss(P.labels, seen @ beta + P.offsets @ offsets)
        return loss + ridge + P.reconstruction_weight * np.sum((P.root * (P.X - H @ D)) ** 2)

    np.testing.assert_allclose(objective(D, H), solution.objective, rtol=1e-10)
    for factor, constrained, with_factor in (
        (D, positive["positive_components"], lambda F: objective(F.reshape(D.shape), H)),
        (H, positive["positive_codes"], lambda F: objective(D, F.reshape(H.shape))),
    ):
        if constrained:
            assert factor.min() >= 0.0
        slope = scipy.optimize.approx_fprime(factor.ravel(), with_factor, 1e-6).reshape(factor.shape)
        if constrained:
            assert slope.min() >= -2e-3
            slope = np.where(factor > 1e-6, slope, 0.0)
        assert np.abs(slope).max() <= 2e-3  # of an objective of tens
    with_offsets = fit_logistic(
        P.labels,
        P.offsets,
        P.offset_ridge,
        offset=(P.X @ D.T if model == "filter" else H) @ beta,
        start=np.zeros_like(offsets),
    )
    np.testing.assert_allclose(P.offsets @ with_offsets.coef, P.offsets @ offsets, atol=1e-4)


@pytest.mark.parametrize("model", MODELS)
def test_both_methods_agree_where_the_gap_is_closed(model):
    P = problem(model, xi=3.0 if model == "feature" else 0.02, alpha=1.0)
    lifted = low_rank_projected_gradient(P, 2, P.without_rank().A, tol=1e-7, max_iter=5000)
    blocks = block_descent(P, RNG.standard_normal((2, P.X.shape[1])), tol=1e-7, max_iter=20_000)
    np.testing.assert_allclose(blocks.objective, lifted.objective, rtol=1e-6)
    assert step_residual(P, lifted.point, lifted.basis, 2) <= 1e-7


def test_stops_on_request_and_out_of_time():
    P = problem()
    start = np.zeros_like(P.without_rank().A)
    early = low_rank_projected_gradient(P, 2, start, on_iteration=lambda n_iter, _: n_iter == 2)
    assert (early.status, early.n_iter) == ("stopped", 2)
    late = low_rank_projected_gradient(P, 2, start, deadline=-np.inf)
    assert (late.status, late.n_iter) == ("time_limit", 0)
    assert np.isfinite(late.kkt)

    def interrupt(n_iter, _):
        raise KeyboardInterrupt

    for solve in (
        lambda: low_rank_projected_gradient(P, 2, start, on_iteration=interrupt),
        lambda: block_descent(P, np.ones((2, P.X.shape[1])), on_iteration=interrupt),
    ):
        solution = solve()
        assert solution.status == "interrupted"
        assert solution.objective == solution.objective_history[-1]
