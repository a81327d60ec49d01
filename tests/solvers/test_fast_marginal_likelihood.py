import time

import numpy as np
import pytest
import scipy.sparse

from sparsemodels.solvers.evidence import (
    EvidenceTerms,
    Noise,
    dual_terms,
    evidence_violation,
    full_terms,
    log_evidence,
)
from sparsemodels.solvers.evidence_actions import EXHAUSTED, take_actions
from sparsemodels.solvers.fast_marginal_likelihood import fast_marginal_likelihood
from sparsemodels.solvers.standardized_design import columns, standardize

REAL, COMPLEX = np.float64, np.complex128


def gaussian(rng, shape, dtype):
    draw = rng.standard_normal(shape)
    return draw + 1j * rng.standard_normal(shape) if dtype is COMPLEX else draw


def known(variance, n):
    return Noise(variance, False, 0.0, 0.0, 0.0, float(n))


def learned(n, floor=1e-6, prior=(0.0, 0.0)):
    return Noise(0.01, True, floor, *prior, float(n))


def dense_evidence(X, Y, gamma, noise_variance):
    """The log evidence by the covariance of the targets itself."""
    n, n_outputs = Y.shape
    C = noise_variance * np.eye(n) + (X * gamma) @ X.conj().T
    quadratic = np.vdot(Y, np.linalg.solve(C, Y)).real
    half, circle = (1.0, np.pi) if np.iscomplexobj(X) else (0.5, 2.0 * np.pi)
    return -half * (n_outputs * (n * np.log(circle) + np.linalg.slogdet(C)[1]) + quadratic)


def planted(seed, n=60, p=120, k=6, noise=0.1, rho=0.0, n_outputs=1, dtype=REAL):
    rng = np.random.default_rng(seed)
    X = gaussian(rng, (n, p), dtype)
    for j in range(1, p):
        X[:, j] = rho * X[:, j - 1] + np.sqrt(1.0 - rho * rho) * X[:, j]
    coef = np.zeros((p, n_outputs), dtype=dtype)
    support = np.sort(rng.choice(p, k, replace=False))
    coef[support] = gaussian(rng, (k, n_outputs), dtype)
    coef[support] += np.sign(coef[support].real)
    return X, X @ coef + noise * gaussian(rng, (n, n_outputs), dtype), support


def fitted(X, Y, noise, **options):
    design = standardize(X, center=False)
    return design, fast_marginal_likelihood(design, Y, noise, **options)


@pytest.mark.parametrize("dtype", [REAL, COMPLEX])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_orthonormal_design_has_the_closed_form(dtype, n_outputs):
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(gaussian(rng, (40, 20), dtype))[0]
    Y = 2.0 * gaussian(rng, (40, n_outputs), dtype)
    _, posterior = fitted(Q, Y, known(1.5, 40))
    expected = np.maximum(np.mean(np.abs(Q.conj().T @ Y) ** 2, axis=1) - 1.5, 0.0)
    gamma = np.zeros(20)
    gamma[posterior.active] = posterior.variances
    np.testing.assert_allclose(gamma, expected, atol=1e-8)
    mean = (expected / (expected + 1.5))[:, None] * (Q.conj().T @ Y)
    np.testing.assert_allclose(posterior.mean, mean[posterior.active], atol=1e-8)


@pytest.mark.parametrize("dtype", [REAL, COMPLEX])
def test_every_action_gains_what_dense_formulas_say_and_leaves_an_exact_state(dtype):
    rng = np.random.default_rng(1)
    n, p, noise_variance, n_outputs = 15, 12, 0.3, 2
    X = gaussian(rng, (n, p), dtype)
    X /= np.linalg.norm(X, axis=0)
    X[:, 1:] = X[:, 1:] + 0.6 * X[:, :-1]
    Y = gaussian(rng, (n, n_outputs), dtype)
    gram = np.asfortranarray(X.conj().T @ X)
    correlations = X.conj().T @ Y
    z = np.einsum("ij,ij->j", X, X.conj()).real / noise_variance
    q = correlations / noise_variance
    active, place, variances = np.arange(p), np.full(p, -1), np.zeros(p)
    covariance = np.zeros((p, p), dtype=dtype, order="F")
    n_active, before, kinds = 0, dense_evidence(X, Y, np.zeros(p), noise_variance), set()
    for action in range(200):
        # A threshold that rises forces deletions.
        threshold = 1.0 if action < 25 else 2.0
        gamma = np.zeros(p)
        gamma[active[:n_active]] = variances[:n_active]
        grown = n_active
        n_active, taken, reason = take_actions(
            gram.T,
            z,
            q,
            active,
            place,
            variances,
            covariance.T,
            n_active,
            noise_variance,
            threshold,
            1e-6,
            1e-6,
            0.0,
            1,
            2.0,
        )
        if reason == EXHAUSTED and action >= 25:
            break
        inside = active[:n_active]
        changed = np.zeros(p)
        changed[inside] = variances[:n_active]
        terms = dual_terms(X, Y, changed, noise_variance)
        np.testing.assert_allclose(z, terms.z, rtol=1e-8)
        np.testing.assert_allclose(q, terms.q, rtol=1e-8, atol=1e-10)
        dense = np.linalg.inv(gram[np.ix_(inside, inside)] / noise_variance + np.diag(1.0 / changed[inside]))
        np.testing.assert_allclose(covariance[:n_active, :n_active], dense, rtol=1e-8, atol=1e-12)
        after = dense_evidence(X, Y, changed, noise_variance)
        if n_active >= grown:
            assert after >= before - 1e-10
            if taken and threshold == 1.0:  # no other single column could have gained more
                moved = np.flatnonzero(changed != gamma)
                assert len(moved) == 1
                gains = [best_gain(X, Y, gamma, j, noise_variance) for j in range(p)]
                np.testing.assert_allclose(after - before, max(gains), rtol=1e-6, atol=1e-9)
        kinds.add(np.sign(n_active - grown) if taken else None)
        before = after
    assert kinds >= {-1, 0, 1}


def best_gain(X, Y, gamma, j, noise_variance):
    """What the best variance of one column gains, all others as they are, by dense formulas."""
    before = dense_evidence(X, Y, gamma, noise_variance)
    without = gamma.copy()
    without[j] = 0.0
    terms = dual_terms(X, Y, without, noise_variance)
    power = np.mean(np.abs(terms.q[j]) ** 2)
    without[j] = max((power - terms.z[j]) / terms.z[j] ** 2, 0.0)
    return dense_evidence(X, Y, without, noise_variance) - before


@pytest.mark.parametrize("threshold", [1.0, 9.0])
@pytest.mark.parametrize(("rho", "n_outputs", "dtype"), [(0.0, 1, REAL), (0.8, 1, REAL), (0.5, 3, COMPLEX)])
def test_the_certificate_holds_when_computed_from_outside(threshold, rho, n_outputs, dtype):
    X, Y, _ = planted(2, rho=rho, n_outputs=n_outputs, dtype=dtype)
    design, posterior = fitted(X, Y, known(0.02, 60), threshold=threshold, tol=1e-8)
    assert posterior.status == "converged"
    gamma = np.zeros(120)
    gamma[posterior.active] = posterior.variances
    dense = columns(design, np.arange(120))
    terms = dual_terms(dense, Y, gamma, 0.02)
    assert evidence_violation(terms, posterior.active, posterior.variances, threshold) <= 2e-8
    np.testing.assert_allclose(posterior.log_evidence, dense_evidence(dense, Y, gamma, 0.02), rtol=1e-10)
    np.testing.assert_allclose(posterior.log_evidences[-1], posterior.log_evidence, rtol=1e-9)


def full_set_greedy(X, Y, noise_variance, threshold):
    """The same actions on all columns, every number from dense formulas."""
    gamma = np.zeros(X.shape[1])
    for _ in range(2000):
        terms = dual_terms(X, Y, gamma, noise_variance)
        power = np.mean(np.abs(terms.q) ** 2, axis=1)
        left = 1.0 - gamma * terms.z
        wanted = np.where(power > threshold * terms.z * left, (power - terms.z * left) / terms.z**2, 0.0)
        change = wanted - gamma
        gain = change * power / (1.0 + change * terms.z) - np.log1p(change * terms.z)
        gain[(gamma > 0.0) & (wanted == 0.0)] = np.inf
        gain[change == 0.0] = 0.0
        if gain.max() < 1e-9:
            break
        gamma[np.argmax(gain)] = wanted[np.argmax(gain)]
    return gamma


@pytest.mark.parametrize("threshold", [1.0, 2.0 * np.log(300)])
def test_working_sets_reach_the_evidence_of_the_plain_algorithm(threshold):
    behind = []
    for seed in range(4):
        X, Y, _ = planted(seed, n=50, p=300, k=8, rho=0.5)
        design, posterior = fitted(X, Y, known(0.01, 50), threshold=threshold)
        dense = columns(design, np.arange(300))
        gamma = full_set_greedy(dense, Y, 0.01, threshold)
        price = 0.5 * (threshold - 1.0 - np.log(threshold))
        plain = dense_evidence(dense, Y, gamma, 0.01) - price * np.count_nonzero(gamma)
        behind.append(plain - (posterior.log_evidence - price * len(posterior.active)))
    # Both are local maxima of the same objective, mostly the same one. Acting on a working set as long as anything in
    # it gains, whatever the other columns would, ends up to 188 behind.
    assert np.median(behind) <= 1e-3
    assert max(behind) <= 1.0


@pytest.mark.parametrize("noise", ["known", "learned"])
def test_a_threshold_recovers_the_support(noise):
    exact = 0
    for seed in range(5):
        X, Y, support = planted(seed, n=80, p=200)
        scale = np.sqrt(np.mean(Y**2))
        model = known((0.1 / scale) ** 2, 80) if noise == "known" else learned(80)
        _, posterior = fitted(X, Y / scale, model, threshold=2.0 * np.log(200))
        assert np.isin(support, posterior.active).all()
        np.testing.assert_allclose(posterior.noise_variance, (0.1 / scale) ** 2, rtol=0.5)
        exact += len(posterior.active) == len(support)
    # One of 194 null columns passes 2 log(200) with a probability of a fifth: chi2.sf(10.6, 1) = 0.0011.
    assert exact >= 3


@pytest.mark.parametrize("dtype", [REAL, COMPLEX])
@pytest.mark.parametrize("prior", [(0.0, 0.0), (2.0, 0.05)])
def test_learned_noise_is_a_stationary_point_of_evidence_and_prior(dtype, prior):
    X, Y, _ = planted(3, n=60, p=40, n_outputs=2, dtype=dtype)
    Y = Y / np.sqrt(np.mean(np.abs(Y) ** 2))
    model = learned(60, prior=prior)
    design, posterior = fitted(X, Y, model, tol=1e-7)
    assert posterior.status == "converged"
    gamma = np.zeros(40)
    gamma[posterior.active] = posterior.variances
    dense = columns(design, np.arange(40))

    def value(log_variance):
        variance = np.exp(log_variance)
        weight = (prior[0] + 1.0) * log_variance + prior[1] / variance if prior[1] else 0.0
        return dense_evidence(dense, Y, gamma, variance) - weight

    here, step = np.log(posterior.noise_variance), 1e-4
    slope = (value(here + step) - value(here - step)) / (2.0 * step)
    assert abs(slope) <= 1e-5 * 60
    assert value(here) > max(value(here - 0.1), value(here + 0.1))


def test_noise_stays_away_from_zero_with_more_columns_than_rows():
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((50, 200)), rng.standard_normal((50, 1))
        _, posterior = fitted(X, y, learned(50), threshold=2.0 * np.log(200))
        assert posterior.status == "converged"
        assert len(posterior.active) <= 2
        assert posterior.noise_variance > 0.3
    _, collapsed = fitted(X, y, learned(50, floor=0.05), max_iter=3000)
    assert collapsed.noise_variance >= 0.05


def test_scales_of_the_design_decide_nothing():
    X, Y, _ = planted(5)
    _, reference = fitted(X, Y, known(0.02, 60), threshold=4.0)
    scales = 10.0 ** np.random.default_rng(0).uniform(-6.0, 6.0, X.shape[1])
    for scaled in (1e-6 * X, 1e6 * X, X * scales):
        _, posterior = fitted(scaled, Y, known(0.02, 60), threshold=4.0)
        np.testing.assert_array_equal(posterior.active, reference.active)
        np.testing.assert_allclose(posterior.mean, reference.mean, rtol=1e-6)
    for scale in (1e-6, 1e6):
        _, posterior = fitted(X, scale * Y, known(0.02 * scale**2, 60), threshold=4.0)
        np.testing.assert_array_equal(posterior.active, reference.active)
        np.testing.assert_allclose(posterior.mean, scale * reference.mean, rtol=1e-6)


@pytest.mark.parametrize("alignment_tol", [0.0, 1e-3])
def test_duplicated_columns_change_neither_fit_nor_evidence(alignment_tol):
    X, Y, _ = planted(6, n=60, p=30)
    design, once = fitted(X, Y, known(0.02, 60), tol=1e-8)
    double, twice = fitted(np.hstack([X, X]), Y, known(0.02, 60), tol=1e-8, alignment_tol=alignment_tol)
    assert twice.status == "converged"
    np.testing.assert_allclose(twice.log_evidence, once.log_evidence, rtol=1e-8)
    expected = columns(design, once.active) @ once.mean
    np.testing.assert_allclose(columns(double, twice.active) @ twice.mean, expected, atol=1e-6 * np.abs(Y).max())
    if alignment_tol:
        assert len(np.unique(twice.active % 30)) == len(twice.active)


def test_sparse_single_precision_and_read_only_designs_give_the_same_answer():
    X, Y, _ = planted(7)
    X[np.abs(X) < 1.0] = 0.0
    X = X.astype(np.float32).astype(np.float64)
    _, reference = fitted(X, Y, known(0.02, 60), threshold=4.0)
    frozen = X.copy()
    frozen.setflags(write=False)
    for same in (scipy.sparse.csc_array(X), X.astype(np.float32), np.asfortranarray(X), frozen):
        _, posterior = fitted(same, Y, known(0.02, 60), threshold=4.0)
        np.testing.assert_array_equal(posterior.active, reference.active)
        np.testing.assert_allclose(posterior.mean, reference.mean, rtol=1e-6)


def test_degenerate_problems():
    for X, y in (
        (np.ones((1, 1)), np.ones((1, 1))),
        (np.ones((1, 3)), np.ones((1, 1))),
        (np.arange(5.0)[:, None], np.zeros((5, 1))),
        (np.zeros((5, 2)), np.arange(5.0)[:, None]),
    ):
        for model in (known(0.1, len(y)), learned(len(y))):
            _, posterior = fitted(X, y, model)
            assert posterior.status == "converged"
            assert np.isfinite(posterior.log_evidence)
            assert posterior.noise_variance >= 1e-6
    assert len(fitted(np.arange(5.0)[:, None], np.zeros((5, 1)), known(0.1, 5))[1].active) == 0


def test_start_deadline_callback_and_interrupt():
    X, Y, _ = planted(8, rho=0.8)
    design, reference = fitted(X, Y, known(0.02, 60))
    again = fast_marginal_likelihood(design, Y, known(0.02, 60), start=(reference.active, reference.variances))
    assert again.n_iter == 0
    np.testing.assert_array_equal(again.active, reference.active)
    seen = []
    stopped = fast_marginal_likelihood(
        design, Y, known(0.02, 60), on_iteration=lambda n_iter, value: seen.append(value) or len(seen) == 2
    )
    assert stopped.status == "stopped"
    assert seen[1] > seen[0]
    terms, _, _ = full_terms(design, Y, stopped.active, stopped.variances, 0.02)
    assert stopped.kkt == evidence_violation(terms, stopped.active, stopped.variances)
    late = fast_marginal_likelihood(design, Y, known(0.02, 60), deadline=time.monotonic() - 1.0)
    assert late.status == "time_limit"

    def interrupt(n_iter, value):
        if n_iter > 0:
            raise KeyboardInterrupt
        return False

    interrupted = fast_marginal_likelihood(design, Y, known(0.02, 60), on_iteration=interrupt)
    assert interrupted.status == "interrupted"
    assert len(interrupted.active) > 0
    few = fast_marginal_likelihood(design, Y, known(0.02, 60), max_iter=3)
    assert (few.n_iter, few.status) == (3, "max_iter")


def test_evidence_of_nothing_is_that_of_noise():
    y = np.random.default_rng(9).standard_normal((20, 1))
    terms = EvidenceTerms(np.zeros(1), np.zeros((1, 1)), 0.0, float(np.vdot(y, y)))
    _, posterior = fitted(np.zeros((20, 1)), y, known(1.0, 20))
    assert posterior.log_evidence == log_evidence(terms.log_determinant, terms.quadratic, 1.0, 20.0, 1, False)
