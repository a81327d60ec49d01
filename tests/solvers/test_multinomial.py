"""The multinomial loss, its quadratic model with the classes coupled, and one design for several responses."""

import numpy as np
import pytest
import scipy.sparse
from scipy.special import log_softmax, softmax, xlogy

from sparsemodels.solvers.columns import as_columns, column_dot, combine, correlate_some, shape
from sparsemodels.solvers.kernel import kernel
from sparsemodels.solvers.losses import (
    Multinomial,
    conjugate_scale,
    curvature,
    fenchel_young,
    loss_value,
    negative_gradient,
    reweighted,
)
from sparsemodels.solvers.multinomial import MultinomialComposite, MultinomialModel
from sparsemodels.solvers.path import alpha_max
from sparsemodels.solvers.penalties import L1, Box, ElasticNet, Repeated
from sparsemodels.solvers.responses import Responses

K = 4


def draw(seed=0, n=12, zeros=2):
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.2, 2.0, n)
    weights[:zeros] = 0.0
    loss = Multinomial(rng.integers(0, K, n).astype(float), weights / weights.sum(), K)
    return loss, 2.0 * rng.normal(size=K * n)


def table(vector):
    """One row a sample."""
    return vector.reshape(K, -1).T


@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradient(seed):
    loss, z = draw(seed)
    rows = np.arange(loss.y.size)
    expected = -loss.weights @ log_softmax(table(z), axis=1)[rows, loss.y.astype(int)]
    assert loss_value(loss, z) == pytest.approx(expected, rel=1e-13)
    labels = np.eye(K)[loss.y.astype(int)]
    p = softmax(table(z), axis=1)
    np.testing.assert_allclose(table(negative_gradient(loss, z)), loss.weights[:, None] * (labels - p), atol=1e-15)
    np.testing.assert_allclose(table(curvature(loss, z)), loss.weights[:, None] * p, rtol=1e-12)
    shift = np.tile(np.random.default_rng(seed).normal(size=12), K)  # the same for all classes of a row
    assert loss_value(loss, z + shift) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_fenchel_young(seed):
    """The conjugate is the negative entropy of the probabilities y - theta / s."""
    loss, z = draw(seed, zeros=0)
    s = loss.weights[:, None]
    q = np.random.default_rng(seed + 5).dirichlet(np.ones(K), 12)
    labels = np.eye(K)[loss.y.astype(int)]
    dual = (s * (labels - q)).T.ravel()
    expected = loss_value(loss, z) + np.sum(s * xlogy(q, q)) + dual @ z
    assert fenchel_young(loss, z, dual) == pytest.approx(expected, rel=1e-12)
    theta = negative_gradient(loss, z)
    assert fenchel_young(loss, z, theta) <= 1e-30
    near = theta * (1.0 - 2.0**-36)
    quadratic = 0.5 * np.sum((near - theta) ** 2 / curvature(loss, z))
    assert fenchel_young(loss, z, near) == pytest.approx(quadratic, rel=1e-4)
    assert conjugate_scale(loss, theta) == 1.0
    outside = (2.0 * s * (labels - 1.0 / K)).T.ravel()
    scale = conjugate_scale(loss, outside)
    assert scale == pytest.approx(0.5 * K / (K - 1), rel=1e-8)
    assert np.isfinite(fenchel_young(loss, z, scale * outside))
    assert fenchel_young(loss, z, outside) == np.inf


def test_rows_without_weight_and_extremes():
    loss, z = draw()
    dual = negative_gradient(loss, z)
    dual[0] = 1e-9
    assert fenchel_young(loss, z, dual) == np.inf
    for size in (40.0, 1e4):
        assert np.isfinite(loss_value(loss, size * z))
        assert np.isfinite(negative_gradient(loss, size * z)).all()
    counts = np.arange(12) % 3
    weighted = reweighted(loss, counts.astype(float))
    repeated = Multinomial(np.repeat(loss.y, counts), np.full(12, 1 / 12), K)
    z_repeated = np.repeat(table(z), counts, axis=0).T.ravel()
    assert loss_value(weighted, z) == pytest.approx(loss_value(repeated, z_repeated), rel=1e-13)


@kernel
def _everything(loss, z, dual):
    return (
        loss_value(loss, z),
        negative_gradient(loss, z),
        curvature(loss, z),
        fenchel_young(loss, z, dual),
        conjugate_scale(loss, dual),
    )


def test_compiled_code_computes_the_same_as_python():
    loss, z = draw(3)
    dual = 0.7 * negative_gradient(loss, z)
    python = (
        loss_value(loss, z),
        negative_gradient(loss, z),
        curvature(loss, z),
        fenchel_young(loss, z, dual),
        conjugate_scale(loss, dual),
    )
    for ours, theirs in zip(_everything(loss, z, dual), python, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13)


@pytest.mark.parametrize("sparse", [False, True])
def test_one_design_for_several_responses(sparse):
    """As the block-diagonal matrix, formed."""
    rng = np.random.default_rng(0)
    X = np.where(rng.random((7, 3)) < 0.6, rng.normal(size=(7, 3)), 0.0)
    design = Responses(as_columns(scipy.sparse.csc_array(X)) if sparse else X, K)
    full = np.kron(np.eye(K), X)
    assert shape(design) == full.shape
    vector, coef = rng.normal(size=7 * K), rng.normal(size=3 * K)
    chosen = np.array([0, 4, 11])
    np.testing.assert_allclose(combine(design, chosen, coef[chosen]), full[:, chosen] @ coef[chosen], atol=1e-14)
    out = np.zeros(3 * K)
    correlate_some(design, chosen, vector, out)
    np.testing.assert_allclose(out[chosen], full[:, chosen].T @ vector, atol=1e-14)
    assert column_dot(design, 5, vector) == pytest.approx(full[:, 5] @ vector, rel=1e-13)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("intercept", [False, True])
def test_the_model_is_the_hessian(intercept, sparse):
    """The Gram matrix of a working set against the Hessian, formed; the intercepts eliminated, a Schur complement."""
    loss, z = draw(1)
    rng = np.random.default_rng(2)
    n, p = 12, 5
    X = np.where(rng.random((n, p)) < 0.7, rng.normal(size=(n, p)), 0.0)
    X[:, 4] = 2.0
    design = as_columns(scipy.sparse.csc_array(X)) if sparse else X
    model = MultinomialModel(Responses(design, K), curvature(loss, z), loss.weights, intercept)
    model.grow(np.array([3, 0, 7]))
    model.grow(np.array([19, 12, 10, 4]))
    probabilities = softmax(table(z), axis=1)
    full = np.kron(np.eye(K), np.column_stack([X, np.ones(n)]) if intercept else X)
    bend = np.zeros((K * n, K * n))
    for i in range(n):
        block = np.ix_(np.arange(K) * n + i, np.arange(K) * n + i)
        bend[block] = loss.weights[i] * (np.diag(probabilities[i]) - np.outer(probabilities[i], probabilities[i]))
    hessian = full.T @ bend @ full
    width = p + intercept
    places = model.features // p * width + model.features % p
    expected = hessian[np.ix_(places, places)]
    if intercept:
        b = np.arange(K) * width + p
        side = hessian[np.ix_(b, places)]
        expected = expected - side.T @ np.linalg.pinv(hessian[np.ix_(b, b)], hermitian=True) @ side
    m = model.features.size
    np.testing.assert_allclose(model._gram[:m, :m] * np.outer(model.scale, model.scale), expected, atol=1e-14)
    if intercept:
        assert (model.scale[model.features % p == 4] == 0.0).all()  # a constant column has nothing left


@pytest.mark.parametrize("kind", ["l1", "elastic net", "box"])
def test_dense_and_sparse_agree(kind):
    rng = np.random.default_rng(4)
    n, p = 80, 20
    X = np.where(rng.random((n, p)) < 0.5, rng.normal(size=(n, p)), 0.0)
    y = (X[:, :K] + rng.gumbel(size=(n, K))).argmax(axis=1).astype(float)
    penalty = ElasticNet(0.02, 0.5, np.ones(p)) if kind == "elastic net" else L1(0.01, np.linspace(0.0, 2.0, p))
    if kind == "box":
        penalty = Box(penalty, np.full(p, -0.1), np.full(p, 0.3))
    loss = Multinomial(y, np.full(n, 1.0 / n), K)
    solutions = [
        MultinomialComposite(design, loss, fit_intercept=True).solve(Repeated(penalty, p), tol=1e-11)
        for design in (X, as_columns(scipy.sparse.csc_array(X)))
    ]
    assert all(solution.converged for solution in solutions)
    # Of an even number of classes the coefficients need not be unique; the probabilities are.
    thetas = []
    for solution in solutions:
        z = solution.coef.reshape(K, p) @ X.T + solution.intercept[:, None]
        thetas.append(negative_gradient(loss, z.ravel()))
    np.testing.assert_allclose(thetas[0], thetas[1], atol=1e-6)
    assert solutions[0].objective == pytest.approx(solutions[1].objective, rel=1e-10)
    dual = solutions[0].dual.reshape(K, n)
    np.testing.assert_allclose(dual.sum(axis=0), 0.0, atol=1e-15)  # of a sample
    np.testing.assert_allclose(dual.sum(axis=1), 0.0, atol=1e-14)  # of a class: the intercepts' condition


def test_restart_and_alpha_max():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(50, 6))
    y = (X[:, :K] + rng.gumbel(size=(50, K))).argmax(axis=1).astype(float)
    problem = MultinomialComposite(X, Multinomial(y, np.full(50, 1 / 50), K), fit_intercept=True)
    penalty = Repeated(L1(1.0, np.array([0.0, 1.0, 1.0, 1.0, 2.0, np.inf])), 6)
    level = alpha_max(problem, penalty)
    empty = problem.solve(Repeated(penalty.penalty._replace(alpha=level), 6), tol=1e-9)
    assert (np.delete(empty.coef.reshape(K, 6), 0, axis=1) == 0.0).all()
    below = problem.solve(Repeated(penalty.penalty._replace(alpha=0.98 * level), 6), tol=1e-9)
    assert (np.delete(below.coef.reshape(K, 6), 0, axis=1) != 0.0).any()
    problem.restart()
    assert not problem.coef.any()
    assert problem.objective(penalty) == pytest.approx(problem.null_objective, rel=1e-12)
