"""The Laplace evidence of linear classifiers: its slopes, its stationary points, its certificate, its invariances."""

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import scipy.sparse
import scipy.special

from sparsemodels.solvers.class_likelihood import (
    ClassTargets,
    class_contrasts,
    curvatures,
    log_likelihood,
    probabilities,
    slopes,
)
from sparsemodels.solvers.class_posterior import class_posterior, evidence_slopes, score_covariances
from sparsemodels.solvers.laplace_evidence import laplace_evidence
from sparsemodels.solvers.moderated_probabilities import moderated_log_probabilities


def problem(n_samples=120, n_features=8, n_classes=2, seed=0, strength=1.5, n_relevant=2):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_features))
    coef = np.zeros((n_features, n_classes))
    coef[:n_relevant] = strength * rng.standard_normal((n_relevant, n_classes))
    codes = np.argmax(X @ coef + rng.gumbel(size=(n_samples, n_classes)), axis=1)
    return X, codes


def dense_log_evidence(X, codes, weights, n_classes, active, variances):
    """The log evidence from its definition, in the scores of all classes: a general optimizer, a dense Hessian.

    Each class has its own coefficients; the mean over classes is pinned by the prior, and cancels.
    """
    a, n = len(active), len(X)
    contrasts = class_contrasts(n_classes)
    m = contrasts.shape[1]
    design = np.hstack([np.ones((n, 1)), X[:, active]])
    precision = np.repeat(np.concatenate([[0.0], 1.0 / np.asarray(variances)]), m)

    def objective(theta):
        logits = design @ theta.reshape(a + 1, m) @ contrasts.T
        p = scipy.special.softmax(logits, axis=1)
        value = weights @ (logits[np.arange(n), codes] - scipy.special.logsumexp(logits, axis=1))
        gradient = design.T @ (weights[:, None] * ((np.eye(n_classes)[codes] - p) @ contrasts))
        return 0.5 * precision @ theta**2 - value, precision * theta - gradient.ravel()

    theta = scipy.optimize.minimize(objective, np.zeros((a + 1) * m), jac=True, method="BFGS", tol=1e-10).x
    p = scipy.special.softmax(design @ theta.reshape(a + 1, m) @ contrasts.T, axis=1)
    hessian = np.zeros((len(theta), len(theta)))
    for x, q, s in zip(design, p, weights):
        hessian += s * np.kron(np.outer(x, x), contrasts.T @ (np.diag(q) - np.outer(q, q)) @ contrasts)
    whole = np.linalg.slogdet(hessian + np.diag(precision))[1] - np.linalg.slogdet(hessian[:m, :m])[1]
    return -objective(theta)[0] - 0.5 * (whole + m * np.sum(np.log(variances))), theta.reshape(a + 1, m)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_derivatives_of_the_likelihood(n_classes):
    rng = np.random.default_rng(0)
    targets = ClassTargets(rng.integers(0, n_classes, 5), rng.uniform(0.5, 2.0, 5), class_contrasts(n_classes))
    m = n_classes - 1
    f, d = rng.standard_normal((5, m)), rng.standard_normal((5, m))
    p = probabilities(targets, f)
    h = 1e-5

    def along(function):
        return (function(f + h * d) - function(f - h * d)) / (2 * h)

    np.testing.assert_allclose(np.sum(slopes(targets, p) * d), along(lambda f: log_likelihood(targets, f)), rtol=1e-8)
    change = along(lambda f: slopes(targets, probabilities(targets, f)))
    np.testing.assert_allclose(-np.einsum("kli,il->ik", curvatures(targets, p), d), change, atol=1e-9)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_log_evidence_and_mode(n_classes):
    X, codes = problem(60, 4, n_classes, seed=1)
    weights = np.random.default_rng(2).uniform(0.5, 2.0, 60)
    targets = ClassTargets(codes, weights, class_contrasts(n_classes))
    variances = np.array([3.0, 0.2, 0.01])
    found = class_posterior(targets, np.hstack([np.ones((60, 1)), X[:, :3] * np.sqrt(variances)]), 1)
    expected, theta = dense_log_evidence(X, codes, weights, n_classes, [0, 1, 2], variances)
    np.testing.assert_allclose(found.log_evidence, expected, atol=1e-8)
    np.testing.assert_allclose(found.mode[1:] * np.sqrt(variances)[:, None], theta[1:], atol=1e-6)
    assert found.decrement < 1e-7


@pytest.mark.parametrize("n_classes", [2, 3])
def test_slopes_are_those_of_the_gaussian_model_at_the_mode(n_classes):
    X, codes = problem(25, 3, n_classes, seed=1)
    m, variances = n_classes - 1, np.array([3.0, 0.2, 0.01])
    targets = ClassTargets(codes, np.ones(25), class_contrasts(n_classes))
    found = class_posterior(targets, X * np.sqrt(variances), 0)
    W = scipy.linalg.block_diag(*np.moveaxis(found.curvatures, 2, 0))
    working = (found.D @ found.mode).ravel() + np.linalg.solve(W, found.slopes.ravel())

    def gaussian(logs):
        covariance = np.linalg.inv(W) + np.kron((X * np.exp(logs)) @ X.T, np.eye(m))
        return -0.5 * np.linalg.slogdet(covariance)[1] - 0.5 * working @ np.linalg.solve(covariance, working)

    logs, h = np.log(variances), 1e-3
    slopes_found = evidence_slopes(found)
    unit = h * np.eye(3)
    gradient = np.array([gaussian(logs + e) - gaussian(logs - e) for e in unit]) / (2 * h)
    np.testing.assert_allclose(slopes_found.gradient, gradient, atol=1e-6)
    mixed = [
        [
            gaussian(logs + e + d) - gaussian(logs + e - d) - gaussian(logs - e + d) + gaussian(logs - e - d)
            for e in unit
        ]
        for d in unit
    ]
    np.testing.assert_allclose(-slopes_found.bend, np.array(mixed) / (4 * h * h), atol=1e-5)


def independent_relevance(X, codes, n_classes, active, variances, features):
    """Relevances from dense matrices, at the mode of a general optimizer."""
    n, m = len(X), n_classes - 1
    _, theta = dense_log_evidence(X, codes, np.ones(n), n_classes, active, variances)
    contrasts = class_contrasts(n_classes)
    design = np.hstack([np.ones((n, 1)), X[:, active]])
    p = scipy.special.softmax(design @ theta @ contrasts.T, axis=1)
    W = np.array([contrasts.T @ (np.diag(q) - np.outer(q, q)) @ contrasts for q in p])
    D = np.einsum("ij,kl->ikjl", design, np.eye(m)).reshape(n, m, -1)
    precision = np.diag(np.repeat(np.concatenate([[0.0], 1.0 / np.asarray(variances)]), m))
    covariance = np.linalg.inv(np.einsum("ika,ikl,ilb->ab", D, W, D, optimize=True) + precision)
    slope = (np.eye(n_classes)[codes] - p) @ contrasts
    ratios = []
    for j in features:
        side = np.einsum("i,ikl,ila->ka", X[:, j], W, D, optimize=True)
        z = np.trace(np.einsum("i,ikl->kl", X[:, j] ** 2, W) - side @ covariance @ side.T)
        ratios.append(np.sum((X[:, j] @ slope) ** 2) / z)
    return np.array(ratios)


@pytest.mark.parametrize(("n_classes", "threshold"), [(2, 1.0), (2, 4.0), (3, 1.0), (3, 2.5)])
def test_certificate_from_outside(n_classes, threshold):
    X, codes = problem(150, 8, n_classes, seed=3)
    found = laplace_evidence(X, codes, n_classes=n_classes, threshold=threshold)
    active, variances = found.active, found.variances
    assert found.status == "converged"
    assert found.kkt <= 1e-4
    assert found.decrement < 1e-6
    assert 2 <= len(active) < 8
    value, theta = dense_log_evidence(X, codes, np.ones(150), n_classes, active, variances)
    np.testing.assert_allclose(found.log_evidence, value, atol=1e-7)
    contrasts = np.ones((1, 1)) if n_classes == 2 else class_contrasts(n_classes)
    np.testing.assert_allclose(found.coef, contrasts @ theta[1:].T, atol=1e-5)
    np.testing.assert_allclose(found.intercept, contrasts @ theta[0], atol=1e-5)
    # The optimizer of the oracle finds modes to some 1e-5.
    np.testing.assert_allclose(independent_relevance(X, codes, n_classes, active, variances, active), 1.0, rtol=5e-4)
    outside = np.setdiff1d(np.arange(8), active)
    assert np.all(independent_relevance(X, codes, n_classes, active, variances, outside) <= threshold * (1 + 5e-4))
    for i in range(len(active)):
        rest = np.delete(active, i), np.delete(variances, i)
        assert independent_relevance(X, codes, n_classes, *rest, active[i : i + 1]) >= threshold * (1 - 5e-4)
    # The posterior covariance of the scores, with that of the intercepts.
    rows = np.hstack([np.ones((150, 1)), X[:, active] - found.centers])
    spread = score_covariances(rows, found.inverse_factor, n_classes - 1)
    assert np.all(np.linalg.eigvalsh(np.moveaxis(spread, 2, 0)) > 0.0)


def test_stationary_point_of_the_textbook_iteration():
    """MacKay's updates with a dense posterior, from all features: slow, and the same variances."""
    X, codes = problem(100, 5, 2, seed=4)
    found = laplace_evidence(X, codes, tol=1e-8)
    active, variances = np.arange(5), np.ones(5)
    for _ in range(400):
        design = np.hstack([np.ones((100, 1)), X[:, active]])
        w = np.zeros(len(active) + 1)
        precision = np.concatenate([[0.0], 1.0 / variances])
        for _ in range(30):
            p = scipy.special.expit(design @ w)
            hessian = (design.T * (p * (1 - p))) @ design + np.diag(precision)
            w = w + np.linalg.solve(hessian, design.T @ (codes - p) - precision * w)
        well = 1.0 - np.diag(np.linalg.inv(hessian))[1:] / variances
        variances = w[1:] ** 2 / well
        keep = variances > 1e-6
        active, variances = active[keep], variances[keep]
    np.testing.assert_array_equal(found.active, active)
    np.testing.assert_allclose(found.variances, variances, rtol=1e-6)
    np.testing.assert_allclose(found.coef[0], w[1:][keep], rtol=1e-6)


def test_threshold_keeps_the_signal_only():
    X, codes = problem(200, 300, 2, seed=5, strength=3.0, n_relevant=3)
    free = laplace_evidence(X, codes)
    strict = laplace_evidence(X, codes, threshold=2.0 * np.log(300))
    assert free.status == strict.status == "converged"
    assert {0, 1, 2} == set(strict.active) < set(free.active)
    assert free.log_evidence > strict.log_evidence > strict.log_evidences[0]


def test_invariances():
    X, codes = problem(100, 6, 3, seed=6)
    base = laplace_evidence(X, codes, n_classes=3)
    scale = 10.0 ** np.array([-6, -3, 0, 3, 6, 1])
    scaled = laplace_evidence(X * scale, codes, n_classes=3)
    np.testing.assert_array_equal(scaled.active, base.active)
    np.testing.assert_allclose(scaled.coef * scale[base.active], base.coef, rtol=1e-5)
    np.testing.assert_allclose(scaled.log_evidence, base.log_evidence, rtol=1e-10)
    # Names of classes, signs and order of features, offsets.
    turned = laplace_evidence(5.0 - X[:, ::-1], np.array([2, 0, 1])[codes], n_classes=3)
    np.testing.assert_array_equal(5 - turned.active[::-1], base.active)
    np.testing.assert_allclose(-turned.coef[[2, 0, 1]][:, ::-1], base.coef, atol=1e-5)
    # Repeated rows are weights; a column that is there twice is there once; constant columns are nothing.
    times = np.random.default_rng(7).integers(0, 3, 100)
    weighted = laplace_evidence(X, codes, times.astype(float), n_classes=3)
    repeated = laplace_evidence(np.repeat(X, times, axis=0), np.repeat(codes, times), n_classes=3)
    np.testing.assert_allclose(weighted.coef, repeated.coef, rtol=1e-5)
    np.testing.assert_allclose(weighted.log_evidence, repeated.log_evidence, rtol=1e-10)
    twice = laplace_evidence(np.hstack([X, X[:, :1], np.full((100, 1), 7.0)]), codes, n_classes=3)
    np.testing.assert_allclose(twice.log_evidence, base.log_evidence, rtol=1e-8)
    sparse = laplace_evidence(scipy.sparse.csc_array(X), codes, n_classes=3)
    np.testing.assert_allclose(sparse.coef, base.coef, rtol=1e-6)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_separable_data_have_finite_coefficients(fit_intercept):
    x = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])[:, None]
    found = laplace_evidence(x, (x[:, 0] > 0).astype(int), fit_intercept=fit_intercept)
    assert found.status == "converged"
    assert found.active.size == 1
    np.testing.assert_allclose(found.intercept, 0.0, atol=1e-8)
    assert 1.0 < found.coef[0, 0] < 10.0
    wide = laplace_evidence(np.random.default_rng(0).standard_normal((20, 200)), np.arange(20) % 2)
    assert wide.status == "converged"
    assert np.abs(wide.coef).max() < 100.0


def test_two_points_are_symmetric():
    x = np.array([[-1.0], [1.0]])
    found = laplace_evidence(x, np.array([0, 1]))
    np.testing.assert_allclose(found.intercept, 0.0, atol=1e-12)
    # By hand, with p the probability of either label: w = 2 gamma (1 - p), and a relevance of one.
    w = scipy.optimize.brentq(lambda w: 2.0 * (1.0 + w * scipy.special.expit(w)) - np.exp(w), 0.1, 5.0)
    np.testing.assert_allclose(found.coef, w, rtol=1e-6)
    np.testing.assert_allclose(found.variances, w / (2.0 * scipy.special.expit(-w)), rtol=1e-6)
    kernel = np.exp(-np.array([[0.0, 4.0], [4.0, 0.0]]) / 2.0)  # a relevance vector machine on two points
    machine = laplace_evidence(kernel, np.array([0, 1]))
    scores = kernel[:, machine.active] @ machine.coef[0] + machine.intercept[0]
    np.testing.assert_allclose(scores[0], -scores[1], atol=1e-8)


def test_stops_when_told_and_starts_where_told():
    X, codes = problem(150, 30, 2, seed=8)
    seen = []
    stopped = laplace_evidence(X, codes, on_iteration=lambda n, value: seen.append((n, value)) or True)
    assert stopped.status == "stopped"
    assert seen == [(1, stopped.log_evidence)]
    assert laplace_evidence(X, codes, deadline=-np.inf).status == "time_limit"
    assert laplace_evidence(X, codes, max_iter=1).status == "max_iter"

    def interrupt(n, value):
        raise KeyboardInterrupt

    halted = laplace_evidence(X, codes, on_iteration=interrupt)
    assert halted.status == "interrupted"
    np.testing.assert_allclose(halted.kkt, stopped.kkt)
    found = laplace_evidence(X, codes)
    again = laplace_evidence(X, codes, start=(found.active, found.variances))
    assert again.n_iter == 0
    assert again.status == "converged"
    np.testing.assert_allclose(again.coef, found.coef, rtol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_moderated_probabilities_against_the_integral(n_classes):
    rng = np.random.default_rng(9)
    errors, plugged = [], []
    for _ in range(40):
        mean = 2.0 * rng.standard_normal(n_classes)
        root = rng.uniform(0.2, 1.5) * rng.standard_normal((n_classes, n_classes))
        S = root @ root.T
        exact = scipy.special.softmax(mean + rng.standard_normal((20_000, n_classes)) @ root.T, axis=1).mean(axis=0)
        apart = np.diag(S)[:, None] + np.diag(S) - 2.0 * S
        found = np.exp(moderated_log_probabilities(mean[None], apart[None]))[0]
        np.testing.assert_allclose(found.sum(), 1.0)
        errors.append(np.abs(found - exact).max())
        plugged.append(np.abs(scipy.special.softmax(mean) - exact).max())
    # Two classes: MacKay's approximation is within 0.02. More: far better than no moderation, but no more than that.
    assert max(errors) < (0.02 if n_classes == 2 else 0.15)
    assert np.mean(errors) < 0.4 * np.mean(plugged)
