"""Fixed points of the evidence: closed forms, an independent EM, invariances, certificates from outside."""

import time

import numpy as np
import pytest
import scipy.sparse
from scipy.sparse.linalg import aslinearoperator

import sparsemodels.solvers.active_evidence as active_evidence
from sparsemodels.solvers.evidence import Noise
from sparsemodels.solvers.evidence_fixed_point import component_fixed_point, evidence_fixed_point
from sparsemodels.solvers.standardized_design import columns, standardize
from sparsemodels.solvers.variance_components import Groups, Independent, Neighbors, variance_shares

RULES = pytest.mark.parametrize("rule", ["mackay", "mm", "em"])
KINDS = pytest.mark.parametrize("is_complex", [False, True])


def fixed(variance, n):
    return Noise(variance, False, 0.0, 0.0, 0.0, float(n))


def learned(n, start=0.1):
    return Noise(start, True, 1e-6, 0.0, 0.0, float(n))


def problem(n, p, k, seed=0, noise=0.1, outputs=1, is_complex=False):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if is_complex else 0.0)

    X, coef = draw(n, p), np.zeros((p, outputs), dtype=complex if is_complex else float)
    coef[rng.choice(p, k, replace=False)] = draw(k, outputs) + 1.0
    Y = X @ coef
    Y = Y + np.sqrt(noise * np.mean(np.abs(Y) ** 2)) * draw(n, outputs) / (np.sqrt(2.0) if is_complex else 1.0)
    scale = np.sqrt(np.mean(np.abs(Y) ** 2))
    return X, Y / scale


def orthonormal(is_complex, outputs=1):
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if is_complex else 0.0)

    Q = np.linalg.qr(draw(40, 20))[0]
    # Clearly relevant or clearly not: EM needs 1e4 iterations for a variance of a hundredth of the noise.
    size = np.where(np.arange(20) < 10, rng.uniform(1.5, 5.0, 20), rng.uniform(0.0, 0.9, 20))
    coef = draw(20, outputs)
    outside = draw(40, outputs)
    coef *= (size / np.sqrt(np.mean(np.abs(coef) ** 2, axis=1)))[:, None]
    return Q, Q @ coef + outside - Q @ (Q.conj().T @ outside)


def spread(posterior, p):
    answer = np.zeros(p)
    answer[posterior.active] = posterior.variances
    return answer


@RULES
@KINDS
@pytest.mark.parametrize("outputs", [1, 3])
def test_closed_form_on_orthonormal_designs(rule, outputs, is_complex):
    Q, Y = orthonormal(is_complex, outputs)
    tol, accuracy = (1e-5, 1e-4) if rule == "em" else (1e-10, 1e-8)
    posterior = evidence_fixed_point(standardize(Q, center=False), Y, fixed(1.0, 40), rule=rule, tol=tol, max_iter=3000)
    c = Q.conj().T @ Y
    gamma = np.maximum(np.mean(np.abs(c) ** 2, axis=1) - 1.0, 0.0)
    assert posterior.status == "converged"
    assert posterior.kkt <= tol
    assert np.array_equal(posterior.active, np.flatnonzero(gamma))
    assert 3 < len(posterior.active) < 20
    assert np.allclose(spread(posterior, 20), gamma, rtol=0.0, atol=accuracy * gamma.max())
    expected = (gamma / (gamma + 1.0))[:, None] * c
    assert np.allclose(posterior.mean, expected[posterior.active], rtol=0.0, atol=10.0 * accuracy * np.abs(c).max())


@RULES
@KINDS
def test_closed_form_of_groups(rule, is_complex):
    Q, Y = orthonormal(is_complex)
    labels = np.repeat(np.arange(7), [1, 5, 2, 3, 4, 2, 3])
    tol, accuracy = (1e-5, 1e-4) if rule == "em" else (1e-10, 1e-8)
    answer = component_fixed_point(
        standardize(Q, center=False), Y, fixed(1.0, 40), rule=rule, prior=Groups(labels), tol=tol, max_iter=3000
    )
    power = np.bincount(labels, np.abs(Q.conj().T @ Y)[:, 0] ** 2) / np.bincount(labels)
    gamma = np.maximum(power - 1.0, 0.0)
    assert answer.posterior.status == "converged"
    assert np.array_equal(answer.components, np.flatnonzero(gamma))
    assert 0 < len(answer.components) < 7
    assert np.allclose(answer.component_variances, gamma[gamma > 0.0], rtol=accuracy)
    assert np.allclose(spread(answer.posterior, 20), gamma[labels], rtol=accuracy, atol=accuracy)


def slow_em(X, Y, noise, labels, learn, n_iter=4000):
    """EM by the posterior covariance of all coefficients: nothing of the package."""
    n = len(X)
    gamma, sizes = np.ones(labels.max() + 1), np.bincount(labels)
    for _ in range(n_iter):
        v = gamma[labels]
        G = X.conj().T * v[:, None]
        K = np.linalg.solve(noise * np.eye(n) + X @ G, G.conj().T).conj().T
        mean, variance = K @ Y, v - np.einsum("ij,ji->i", K, X).real * v
        moments = np.mean(np.abs(mean) ** 2, axis=1) + variance
        if learn:
            residual = np.mean(np.sum(np.abs(Y - X @ mean) ** 2, axis=0))
            noise = (residual + noise * np.sum(1.0 - variance / np.maximum(v, 1e-300))) / n
        new = np.bincount(labels, moments) / sizes
        if np.max(np.abs(new - gamma)) < 1e-9 * gamma.max():
            break
        gamma = new
    return gamma, noise, mean


@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
@KINDS
def test_same_answer_as_an_independent_em(grouped, learn, is_complex):
    X, Y = problem(60, 12, 4, outputs=2, is_complex=is_complex)
    labels = np.repeat(np.arange(4), 3) if grouped else np.arange(12)
    design = standardize(X, center=False)
    gamma, noise, mean = slow_em(columns(design, np.arange(12)), Y, 0.1, labels, learn)
    prior = Groups(labels) if grouped else Independent()
    start = learned(60) if learn else fixed(0.1, 60)
    answer = component_fixed_point(design, Y, start, prior=prior, tol=1e-9)
    assert answer.posterior.status == "converged"
    lasting = answer.components
    # Where EM still moves, like 1 / t, its variances are small: the large ones and the fit have settled.
    large = answer.component_variances > 1.0
    assert large.sum() >= 2
    assert np.allclose(answer.component_variances[large], gamma[lasting][large], rtol=1e-2)
    assert np.delete(gamma, lasting).max(initial=0.0) < 1e-2 * gamma.max()
    assert np.isclose(answer.posterior.noise_variance, noise, rtol=1e-2)
    X = columns(design, np.arange(12))
    fit = X[:, answer.posterior.active] @ answer.posterior.mean
    assert np.linalg.norm(fit - X @ mean) < 2e-2 * np.linalg.norm(fit)


def violation_from_outside(design, Y, answer, prior, noise_variance, threshold):
    """The conditions of optimality by dense formulas, and the derivative of the evidence in the noise."""
    n, p = design.X.shape
    X, shares = columns(design, np.arange(p)), variance_shares(prior, p).toarray()
    gamma = np.zeros(shares.shape[1])
    gamma[answer.components] = answer.component_variances

    def relevances(gamma):
        C = noise_variance * np.eye(n) + (X * (shares @ gamma)) @ X.conj().T
        inverse = np.linalg.inv(C)
        z = np.einsum("ij,ij->j", X.conj(), inverse @ X).real
        q = X.conj().T @ inverse @ Y
        return (shares.T @ np.mean(np.abs(q) ** 2, axis=1)) / (shares.T @ z), inverse

    r, inverse = relevances(gamma)
    kkt = max(np.abs(r[gamma > 0.0] - 1.0).max(), (r[gamma == 0.0] / threshold - 1.0).max(initial=0.0))
    if threshold > 1.0:
        for i in answer.components:
            kkt = max(kkt, 1.0 - relevances(np.where(np.arange(len(gamma)) == i, 0.0, gamma))[0][i] / threshold)
    noise = np.trace(inverse).real - np.mean(np.sum(np.abs(inverse @ Y) ** 2, axis=0))
    return kkt, noise * noise_variance / n


@pytest.mark.parametrize("threshold", [1.0, 6.0])
@pytest.mark.parametrize(
    "prior",
    [Independent(), Groups(np.arange(40) // 3), Neighbors(0.5)],
    ids=["independent", "groups", "neighbors"],
)
@pytest.mark.parametrize("n", [25, 70])
@KINDS
def test_certificate_from_outside(n, prior, threshold, is_complex):
    X, Y = problem(n, 40, 4, outputs=2, is_complex=is_complex)
    design = standardize(X, center=False)
    answer = component_fixed_point(design, Y, learned(n), prior=prior, threshold=threshold, tol=1e-6)
    posterior = answer.posterior
    kkt, slope = violation_from_outside(design, Y, answer, prior, posterior.noise_variance, threshold)
    assert posterior.status == "converged"
    assert len(answer.components)
    assert abs(kkt - posterior.kkt) < 1e-7
    assert kkt < 1.1e-6
    assert abs(slope) < 1e-6 or (posterior.noise_variance == 1e-6 and slope > 0.0)


@RULES
@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("shape", [(50, 30), (30, 80)])
def test_evidence_never_falls(shape, learn, rule):
    X, Y = problem(*shape, 5)
    noise = learned(shape[0]) if learn else fixed(0.1, shape[0])
    posterior = evidence_fixed_point(standardize(X, center=False), Y, noise, rule=rule, max_iter=200, tol=0.0)
    history = posterior.log_evidences
    # What rounding leaves of the quadratic form: eps times the power over the noise
    rounding = 1e-10 * np.abs(history).max() + 1e-14 * shape[0] / posterior.noise_variance
    assert np.diff(history).min() >= -rounding
    assert posterior.n_iter + 1 == len(history)
    assert history[-1] > history[0] + 10.0


def test_slow_rules_reach_the_same_maximum():
    X, Y = problem(60, 15, 4)
    design = standardize(X, center=False)
    answers = [
        evidence_fixed_point(design, Y, fixed(0.1, 60), rule=rule, tol=1e-6, max_iter=20_000)
        for rule in ("mackay", "mm", "em")
    ]
    for other in answers[1:]:
        assert other.status == "converged"
        assert abs(other.log_evidence - answers[0].log_evidence) < 1e-8
        assert np.array_equal(other.active, answers[0].active)


def test_both_factorizations_lead_to_the_same_answer(monkeypatch):
    X, Y = problem(50, 50, 6)
    design, answers = standardize(X), []
    for switch in (0.0, 100.0):
        monkeypatch.setattr(active_evidence, "_SWITCH", switch)
        answers.append(evidence_fixed_point(design, Y - Y.mean(), fixed(0.1, 49), rule="mackay", max_iter=9, tol=0.0))
    assert np.allclose(answers[0].log_evidences, answers[1].log_evidences, rtol=1e-9)
    dual, primal = spread(answers[0], 50), spread(answers[1], 50)
    lasting = dual > 1e-3
    assert np.allclose(dual[lasting], primal[lasting], rtol=1e-9)


def predictions(design, posterior):
    return columns(design, posterior.active) @ posterior.mean


@pytest.mark.parametrize("threshold", [1.0, 8.0])
def test_permutation_of_columns_and_rows(threshold):
    X, Y = problem(60, 30, 5)
    rng = np.random.default_rng(1)
    rows, order = rng.permutation(60), rng.permutation(30)
    one = evidence_fixed_point(standardize(X), Y, learned(59), threshold=threshold, tol=1e-9)
    other = evidence_fixed_point(standardize(X[rows][:, order]), Y[rows], learned(59), threshold=threshold, tol=1e-9)
    assert np.array_equal(np.sort(order[other.active]), one.active)
    assert np.allclose(spread(other, 30)[np.argsort(order)], spread(one, 30), rtol=1e-7)
    assert abs(one.log_evidence - other.log_evidence) < 1e-8


def test_duplicated_columns_change_no_prediction():
    X, Y = problem(60, 20, 5)
    both = np.hstack([X, X[:, :7]])
    one = evidence_fixed_point(standardize(X), Y, learned(59), tol=1e-9)
    other = evidence_fixed_point(standardize(both), Y, learned(59), tol=1e-9)
    assert one.status == other.status == "converged"
    assert abs(one.log_evidence - other.log_evidence) < 1e-8
    assert np.allclose(predictions(standardize(X), one), predictions(standardize(both), other), rtol=0.0, atol=1e-8)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_scaling(scale):
    X, Y = problem(40, 60, 5)
    sizes = 10.0 ** np.random.default_rng(0).uniform(-5.0, 5.0, 60)
    one = evidence_fixed_point(standardize(X), Y, learned(39))
    other = evidence_fixed_point(
        standardize(X * sizes), scale * Y, learned(39)._replace(variance=0.1 * scale**2, floor=1e-6 * scale**2)
    )
    assert np.array_equal(one.active, other.active)
    assert np.allclose(other.mean, scale * one.mean, rtol=1e-4, atol=1e-6 * scale)
    assert np.isclose(other.noise_variance, scale**2 * one.noise_variance, rtol=1e-4)


def test_forms_of_the_design():
    X, Y = problem(30, 45, 4)
    X = np.where(np.abs(X) > 0.5, X, 0.0)
    expected = evidence_fixed_point(standardize(X), Y, fixed(0.1, 29), tol=1e-7)
    for given in (np.asfortranarray(X), scipy.sparse.csc_array(X), X.astype(np.float32)):
        answer = evidence_fixed_point(standardize(given), Y, fixed(0.1, 29), tol=1e-7)
        assert np.array_equal(answer.active, expected.active)
        assert np.allclose(answer.mean, expected.mean, rtol=0.0, atol=1e-5)
    # An operator with columns of norm one is the same model.
    unit = columns(standardize(X, center=False), np.arange(45))
    dense = evidence_fixed_point(standardize(unit, center=False), Y, fixed(0.1, 30))
    operator = evidence_fixed_point(standardize(aslinearoperator(unit), center=False), Y, fixed(0.1, 30))
    assert np.allclose(operator.mean, dense.mean, rtol=0.0, atol=1e-9)
    assert np.array_equal(operator.active, dense.active)


@RULES
def test_components_that_left_come_back(rule):
    """A start without the columns that matter, and pruning that takes nearly all of them."""
    X, Y = problem(60, 30, 5)
    design = standardize(X, center=False)
    best = evidence_fixed_point(design, Y, fixed(0.1, 60), tol=1e-6, max_iter=20_000)
    wrong = np.setdiff1d(np.arange(30), best.active)[:4]
    for options in ({"start": (wrong, np.full(4, 0.1))}, {"prune_tol": 0.3}):
        tol = 1e-3 if rule == "em" else 1e-6
        answer = evidence_fixed_point(design, Y, fixed(0.1, 60), rule=rule, tol=tol, max_iter=20_000, **options)
        assert answer.status == "converged"
        assert answer.kkt <= tol
        assert abs(answer.log_evidence - best.log_evidence) < 0.5  # another local maximum at the worst


def test_start_from_an_earlier_answer_is_a_fixed_point():
    X, Y = problem(60, 30, 5)
    design = standardize(X, center=False)
    first = evidence_fixed_point(design, Y, learned(60), tol=1e-6)
    noise = learned(60, first.noise_variance)
    again = evidence_fixed_point(design, Y, noise, tol=1e-5, start=(first.active, first.variances))
    assert again.n_iter == 0
    assert again.status == "converged"
    assert np.array_equal(first.active, again.active)
    assert first.n_iter < 40


def test_threshold_selects_and_does_not_hurt_equal_columns():
    X, Y = problem(80, 200, 6, noise=0.02)
    X[:, 199] = X[:, np.argmax(np.abs(X.T @ Y))]
    posterior = evidence_fixed_point(standardize(X), Y - Y.mean(), learned(79), threshold=2.0 * np.log(200), tol=1e-6)
    plain = evidence_fixed_point(standardize(X), Y - Y.mean(), learned(79))
    assert posterior.status == "converged"
    assert 4 <= len(posterior.active) <= 7 < 30 < len(plain.active)
    assert 0.01 < posterior.noise_variance < 0.05


@pytest.mark.parametrize("prior", [Independent(), Groups(np.array([0])), Neighbors(0.5)])
def test_one_column_and_one_row(prior):
    one = evidence_fixed_point(
        standardize(np.array([[2.0], [0.0]]), center=False),
        np.array([[3.0], [1.0]]),
        fixed(1.0, 2),
        prior=prior,
        tol=1e-10,
    )
    assert np.allclose(one.variances, 8.0)
    assert np.allclose(one.mean, 3.0 * 8.0 / 9.0)
    row = evidence_fixed_point(
        standardize(np.array([[2.0]]), center=False), np.array([[3.0]]), fixed(1.0, 1), prior=prior, tol=1e-10
    )
    assert np.allclose(row.variances, 8.0)
    flat = evidence_fixed_point(standardize(np.array([[2.0]])), np.array([[0.0]]), fixed(1.0, 0.0), prior=prior)
    assert len(flat.active) == 0
    assert flat.kkt == 0.0
    assert flat.status == "converged"


@RULES
def test_nothing_to_explain(rule):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 8))
    X[:, 3] = 2.0
    zero = evidence_fixed_point(standardize(X), np.zeros((30, 1)), fixed(1.0, 29), rule=rule)
    assert len(zero.active) == 0
    assert zero.status == "converged"
    assert zero.kkt == 0.0
    Y = rng.standard_normal((30, 1))
    Y -= X @ np.linalg.lstsq(X, Y, rcond=None)[0]  # orthogonal to all columns
    empty = evidence_fixed_point(standardize(X), Y - Y.mean(), learned(29), rule=rule, max_iter=2000)
    assert len(empty.active) == 0
    assert np.isclose(empty.noise_variance, np.sum((Y - Y.mean()) ** 2) / 29, rtol=1e-3)
    some = evidence_fixed_point(standardize(X), X[:, :1] - X[:, :1].mean(), fixed(0.5, 29), rule=rule, max_iter=5000)
    assert 3 not in some.active
    assert 0 in some.active


def test_stopping_early_leaves_a_certified_answer():
    X, Y = problem(40, 60, 5)
    design, noise = standardize(X), learned(39)
    seen = []

    def watch(n_iter, objective):
        seen.append((n_iter, objective))
        return n_iter == 4

    def interrupt(n_iter, objective):
        if n_iter == 3:
            raise KeyboardInterrupt
        return False

    stopped = evidence_fixed_point(design, Y, noise, on_iteration=watch)
    assert stopped.status == "stopped"
    assert stopped.n_iter == 4 == len(seen)
    assert seen[-1][1] == stopped.log_evidences[-1]
    assert np.isclose(stopped.log_evidence, seen[-1][1], rtol=1e-9)
    interrupted = evidence_fixed_point(design, Y, noise, on_iteration=interrupt)
    assert interrupted.status == "interrupted"
    assert interrupted.n_iter == 3
    late = evidence_fixed_point(design, Y, noise, deadline=time.monotonic() - 1.0)
    assert late.status == "time_limit"
    assert late.n_iter == 1
    few = evidence_fixed_point(design, Y, noise, max_iter=2)
    assert few.status == "max_iter"
    assert few.n_iter == 2
    for answer in (stopped, interrupted, late, few):
        assert 1e-4 < answer.kkt < np.inf
        assert np.all(np.isfinite(answer.mean))


def test_nothing_of_the_caller_is_modified():
    X, Y = problem(30, 40, 4)
    start = (np.array([1, 2]), np.array([0.5, 0.5]))
    for array in (X, Y, *start):
        array.setflags(write=False)
    evidence_fixed_point(standardize(X), Y, learned(29), start=start)
