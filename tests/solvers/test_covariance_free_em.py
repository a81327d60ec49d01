"""Sparse Bayesian regression by products alone: estimates with known moments, exact ends, certificates from outside."""

import numpy as np
import pytest
import scipy.fft
import scipy.sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from sparsemodels.solvers import covariance_free_em as module
from sparsemodels.solvers.conjugate_gradients import conjugate_gradients
from sparsemodels.solvers.covariance_free_em import (
    Probes,
    covariance_free_em,
    draw_probes,
    sampled_posterior,
    shares_from_moments,
    with_measured_norms,
)
from sparsemodels.solvers.evidence import Noise
from sparsemodels.solvers.quadratic_forms import quadratic_forms
from sparsemodels.solvers.standardized_design import columns, cross, standardize
from sparsemodels.solvers.working_set_evidence import ascend_evidence


def known(variance, n):
    return Noise(variance, False, 0.0, 0.0, 0.0, float(n))


def draw(n, p, k, *, n_outputs=1, is_complex=False, noise=0.05, seed=0):
    rng = np.random.default_rng(seed)
    X, W = rng.standard_normal((n, p)), np.zeros((p, n_outputs))
    if is_complex:
        X, W = X + 1j * rng.standard_normal((n, p)), W.astype(complex)
    W[rng.choice(p, k, replace=False)] = rng.standard_normal((k, n_outputs)) + (1j if is_complex else 0.0)
    error = rng.standard_normal((n, n_outputs)) + (1j * rng.standard_normal((n, n_outputs)) if is_complex else 0.0)
    return X, X @ W + noise * np.sqrt(n) * error, W


def violation(X, Y, posterior, threshold=1.0):
    """The optimality conditions by dense formulas in the columns as they are: the norms cancel."""
    C = posterior.noise_variance * np.eye(len(X), dtype=X.dtype)
    C += (X[:, posterior.active] * posterior.variances) @ X[:, posterior.active].conj().T
    white = np.linalg.solve(C, X)
    z = np.einsum("ij,ij->j", X.conj(), white).real
    ratio = np.mean(np.abs(white.conj().T @ Y) ** 2, axis=1) / z
    inactive = np.setdiff1d(np.arange(X.shape[1]), posterior.active)
    mean = posterior.variances[:, None] * (white.conj().T @ Y)[posterior.active]
    np.testing.assert_allclose(posterior.mean, mean, rtol=1e-6, atol=1e-9 * np.abs(mean).max())
    excess = np.max(ratio[inactive], initial=0.0) / threshold - 1.0
    return max(np.max(np.abs(ratio[posterior.active] - 1.0), initial=0.0), excess, 0.0)


@pytest.mark.parametrize("is_complex", [False, True])
def test_conjugate_gradients_solve_every_right_hand_side_to_its_tolerance(is_complex):
    rng = np.random.default_rng(0)
    half = rng.standard_normal((30, 30)) + (1j * rng.standard_normal((30, 30)) if is_complex else 0.0)
    A = half @ half.conj().T + np.diag(np.geomspace(1.0, 1e4, 30))
    B = rng.standard_normal((30, 4)) + np.zeros((30, 4), dtype=A.dtype)
    B[:, 3] = 0.0
    diagonal, tol = np.diag(A).real, np.array([1e-2, 1e-6, 1e-10, 1e-10])
    solution = conjugate_gradients(lambda V: A @ V, B, np.zeros_like(B), diagonal=diagonal, tol=tol)
    residual = np.sqrt(np.sum(np.abs(B - A @ solution.X) ** 2 / diagonal[:, None], axis=0))
    size = np.sqrt(np.sum(np.abs(B) ** 2 / diagonal[:, None], axis=0))
    assert np.all(residual <= 1.01 * tol * size)
    assert not solution.X[:, 3].any()
    again = conjugate_gradients(lambda V: A @ V, B, solution.X, diagonal=diagonal, tol=1.01 * tol)
    assert again.n_products == 4  # the residuals at the start, nothing else
    np.testing.assert_array_equal(again.X, solution.X)


def test_share_maximises_the_likelihood_of_its_moments():
    rng = np.random.default_rng(0)
    for true in (1e-4, 0.1, 0.5, 0.97):
        t = true + np.sqrt(true * (1.0 - true)) * rng.standard_normal((1, 20))
        first, second = t.mean(axis=1), (t**2).mean(axis=1)
        share = shares_from_moments(first, second)[0]

        def cost(d, first=first[0], second=second[0]):
            variance = d * (1.0 - d)
            return np.log(variance) + (second - 2.0 * first * d + d * d) / variance

        others = np.concatenate([share * np.array([0.5, 0.99, 1.01]), 1.0 - (1.0 - share) * np.array([0.5, 1.01])])
        assert np.all(cost(others[(others > 0) & (others < 1)]) >= cost(share))
        # The law of many samples: both the share and what is left of one are known to sqrt(2 / K) of their size.
        assert abs(share - true) <= 4.0 * np.sqrt(2.0 / 20) * min(true, 1.0 - true)


@pytest.mark.parametrize("is_complex", [False, True])
def test_identity_probes_give_the_exact_posterior(is_complex):
    n, p = 12, 20
    X, Y, _ = draw(n, p, 3, n_outputs=2, is_complex=is_complex)
    design = standardize(X, center=False)
    active, s2 = np.arange(1, p), 0.3
    variances = np.geomspace(1e-3, 10.0, p - 1)
    identity = np.sqrt(n + p) * np.eye(n + p)
    probes = Probes(identity[:n], identity[n:])
    start = np.zeros((p - 1, 2 + n + p), dtype=X.dtype)
    found = sampled_posterior(
        design,
        cross(design, Y)[active],
        active,
        variances,
        s2,
        probes,
        cross(design, probes.rows)[active],
        start,
        1e-12,
    )
    chosen = columns(design, active)
    C = s2 * np.eye(n) + (chosen * variances) @ chosen.conj().T
    exact = variances * np.einsum("ij,ij->j", chosen.conj(), np.linalg.solve(C, chosen)).real
    np.testing.assert_allclose(found.determined, exact, rtol=1e-8)
    mean = np.sqrt(variances)[:, None] * found.solutions[:, :2]
    np.testing.assert_allclose(mean, variances[:, None] * (chosen.conj().T @ np.linalg.solve(C, Y)), atol=1e-9)


@pytest.mark.parametrize("is_complex", [False, True])
def test_closed_form_on_orthonormal_designs(is_complex):
    X, Y, _ = draw(40, 20, 5, n_outputs=2, is_complex=is_complex)
    X = np.linalg.qr(X)[0]
    posterior = covariance_free_em(standardize(aslinearoperator(X), center=False), Y, known(0.3, 40), tol=1e-9)
    power = np.mean(np.abs(X.conj().T @ Y) ** 2, axis=1)
    np.testing.assert_array_equal(posterior.active, np.flatnonzero(power > 0.3))
    np.testing.assert_allclose(posterior.variances, power[power > 0.3] - 0.3, rtol=1e-7)
    assert posterior.status == "converged"


@pytest.mark.parametrize("form", ["dense", "sparse", "operator", "complex"])
def test_every_form_of_design_reaches_a_certified_maximum(form):
    X, Y, _ = draw(60, 150, 6, n_outputs=1 if form != "complex" else 2, is_complex=form == "complex")
    X[np.abs(X) < 0.8] = 0.0
    X *= np.geomspace(0.01, 100.0, 150)
    given = {"sparse": scipy.sparse.csc_array(X), "operator": aslinearoperator(X)}.get(form, X)
    noise = known(0.05**2 * 60, 60)
    posterior = covariance_free_em(standardize(given, center=False), Y, noise, random_state=3)
    assert posterior.status == "converged"
    norms = np.linalg.norm(X, axis=0)
    if form != "operator":  # in units of the columns
        posterior = posterior._replace(variances=posterior.variances / norms[posterior.active] ** 2)
        posterior = posterior._replace(mean=posterior.mean / norms[posterior.active][:, None])
    assert violation(X, Y, posterior) <= 1e-4
    assert posterior.kkt <= 1e-4


def test_the_maximum_is_as_good_as_that_of_exact_em():
    X, Y, W = draw(50, 120, 5, seed=2)
    design, noise = standardize(X, center=False), known(0.05**2 * 50, 50)
    unit = columns(design, np.arange(120))
    variances = np.full(120, float(np.vdot(Y, Y)) / 120)
    for _ in range(3000):
        C = noise.variance * np.eye(50) + (unit * variances) @ unit.T
        white = np.linalg.solve(C, unit)
        z, q = np.einsum("ij,ij->j", unit, white), white.T @ Y[:, 0]
        variances = variances + variances**2 * (q**2 - z)
    C = noise.variance * np.eye(50) + (unit * variances) @ unit.T
    exact = -0.5 * (50 * np.log(2 * np.pi) + np.linalg.slogdet(C)[1] + Y[:, 0] @ np.linalg.solve(C, Y[:, 0]))
    posterior = covariance_free_em(design, Y, noise)
    assert posterior.log_evidence >= exact - 0.5  # nats: local maxima differ by a weak column or two
    assert set(np.flatnonzero(W[:, 0])) <= set(posterior.active)


def test_the_scale_of_an_operator_and_of_the_targets_decides_nothing():
    X, Y, _ = draw(40, 100, 4)
    reference = covariance_free_em(standardize(aslinearoperator(X), center=False), Y, known(0.1, 40))
    for a, b in ((1e6, 1.0), (1e-6, 1e6)):
        design = standardize(aslinearoperator(a * X), center=False)
        posterior = covariance_free_em(design, b * Y, known(0.1 * b**2, 40))
        np.testing.assert_array_equal(posterior.active, reference.active)
        np.testing.assert_allclose(posterior.mean, reference.mean * (b / a), rtol=1e-6)
        np.testing.assert_allclose(posterior.covariance, reference.covariance * (b / a) ** 2, rtol=1e-5, atol=1e-300)


def test_subsampled_cosine_transform():
    """1024 measurements of 4096 unknowns, 256 of them nonzero, noise of deviation 0.01: less than 4 % of error."""
    n, p, rng = 1024, 4096, np.random.default_rng(1)
    rows = np.sort(rng.choice(p, n, replace=False))

    def forward(V):
        return scipy.fft.idct(V, axis=0, norm="ortho")[rows]

    def adjoint(U):
        full = np.zeros((p, U.shape[1]))
        full[rows] = U
        return scipy.fft.dct(full, axis=0, norm="ortho")

    operator = LinearOperator(
        (n, p), matvec=lambda v: forward(v.reshape(p, 1))[:, 0], rmatvec=lambda u: adjoint(u.reshape(n, 1))[:, 0],
        matmat=forward, rmatmat=adjoint, dtype=float,
    )  # fmt: skip
    w = np.zeros(p)
    w[rng.choice(p, 256, replace=False)] = rng.standard_normal(256)
    y = operator.matvec(w) + 0.01 * rng.standard_normal(n)
    posterior = covariance_free_em(
        standardize(operator, center=False), y[:, None], known(1e-4, n), threshold=2.0 * np.log(p)
    )
    estimate = np.zeros(p)
    estimate[posterior.active] = posterior.mean[:, 0]
    assert np.linalg.norm(estimate - w) < 0.04 * np.linalg.norm(w)
    assert posterior.n_iter <= 50
    assert posterior.status == "converged"
    assert posterior.kkt <= 1e-4
    # The error bars hold: standardised errors on the support have variance one.
    deviation = np.sqrt(np.diag(posterior.covariance))
    standardized = (posterior.mean[:, 0] - w[posterior.active]) / deviation
    assert 0.8 < np.mean(standardized**2) < 1.25


def test_norms_of_operators(monkeypatch):
    X = np.random.default_rng(0).standard_normal((30, 50)) * np.geomspace(0.1, 10.0, 50)
    X[:, 7] = 0.0
    norms = np.linalg.norm(X, axis=0)
    for matrix in (X, X.T.copy()):
        measured = with_measured_norms(standardize(aslinearoperator(matrix), center=False)).norms
        expected = np.linalg.norm(matrix, axis=0)
        np.testing.assert_allclose(measured, np.where(expected > 0.0, expected, np.inf), rtol=1e-12)
    monkeypatch.setattr(module, "_MEASURED", 10)
    estimated = with_measured_norms(standardize(aslinearoperator(X), center=False)).norms
    assert np.isinf(estimated[7])
    positive = norms > 0.0
    assert np.all(np.abs(estimated[positive] / norms[positive] - 1.0) < 0.5)
    equal = with_measured_norms(standardize(aslinearoperator(X[:, positive] / norms[positive]), center=False)).norms
    assert np.ptp(equal) == 0.0


def test_many_columns_end_with_an_estimate(monkeypatch):
    X, Y, W = draw(80, 40, 30, noise=0.02, seed=1)
    design, noise = standardize(X, center=False), known(0.02**2 * 80, 80)
    exact = covariance_free_em(design, Y, noise)
    monkeypatch.setattr(module, "_EXACT", 5)
    posterior = covariance_free_em(design, Y, noise, n_probes=400, tol=1e-6)
    assert posterior.status == "stalled"
    assert posterior.covariance.shape == posterior.active.shape
    assert np.isnan(posterior.log_evidence)
    rows = X[:3][:, posterior.active]
    expected = np.einsum("ij,jk,ik->i", rows, np.diag(posterior.covariance), rows)
    np.testing.assert_allclose(quadratic_forms(rows, posterior.covariance), expected, rtol=1e-12)
    shared, here, there = np.intersect1d(posterior.active, exact.active, return_indices=True)
    assert set(np.flatnonzero(np.abs(W[:, 0]) > 0.3)) <= set(shared)
    ratio = posterior.covariance[here] / np.diag(exact.covariance)[there]
    assert abs(np.median(ratio) - 1.0) < 4.0 * np.sqrt(2.0 / 400)


def test_threshold_and_learned_noise_recover_the_support():
    X, Y, W = draw(150, 600, 10, noise=0.02, seed=3)
    Y = Y / np.sqrt(np.mean(Y**2))
    noise = Noise(0.1, True, 1e-6, 0.0, 0.0, 150.0)
    posterior = covariance_free_em(standardize(X, center=False), Y, noise, threshold=2.0 * np.log(600))
    strong = np.flatnonzero(np.abs(W[:, 0]) > 0.2)
    assert set(strong) <= set(posterior.active) <= set(np.flatnonzero(W[:, 0]))
    residual = Y - X[:, posterior.active] @ np.linalg.lstsq(X[:, posterior.active], Y, rcond=None)[0]
    left = np.sum(residual**2) / (150 - len(posterior.active))
    np.testing.assert_allclose(posterior.noise_variance, left, rtol=0.02)
    assert posterior.kkt <= 1e-4


def test_the_ascent_climbs_from_anywhere_and_noise_is_stationary():
    X, Y, _ = draw(100, 30, 5, seed=4)
    design = standardize(X, center=False)
    noise = Noise(float(np.mean(Y**2)), True, 1e-9, 2.0, 0.5, 100.0)
    values = []
    for start in ([], [3], list(range(30))):
        history = []
        end = ascend_evidence(
            design, Y, np.array(start, dtype=int), np.full(len(start), 1e-3), noise, log_evidences=history
        )
        assert end.status == "converged"
        values.append(history[-1])
        s2, d = end.noise.variance, columns(design, end.active)
        C = s2 * np.eye(100) + (d * end.variances) @ d.T
        slope = np.trace(np.linalg.inv(C)) - np.sum(np.linalg.solve(C, Y) ** 2) + 2.0 * (3.0 / s2 - 0.5 / s2**2)
        assert abs(slope) * s2 <= 1e-3 * 100
    np.testing.assert_allclose(values, values[0], atol=0.5)


def test_the_merit_never_falls():
    X, Y, _ = draw(60, 200, 10, seed=5)
    design, history = standardize(X, center=False), []
    ascend_evidence(design, Y, np.empty(0, dtype=int), np.empty(0), known(0.1, 60), log_evidences=history)
    assert np.all(np.diff(history) >= -1e-10 * np.abs(history[-1]))


def test_copies_of_columns_share_their_variance():
    X, Y, _ = draw(40, 60, 4, seed=6)
    noise = known(0.1, 40)
    single = covariance_free_em(standardize(X, center=False), Y, noise)
    double = covariance_free_em(standardize(np.concatenate([X, X], axis=1), center=False), Y, noise)
    total = np.zeros(60)
    np.add.at(total, double.active % 60, double.mean[:, 0])
    expected = np.zeros(60)
    expected[single.active] = single.mean[:, 0]
    np.testing.assert_allclose(total, expected, atol=1e-3 * np.abs(expected).max())
    np.testing.assert_allclose(double.log_evidence, single.log_evidence, atol=1e-6)


@pytest.mark.parametrize(("n", "p"), [(1, 4), (5, 1), (1, 1)])
def test_smallest_problems(n, p):
    X, Y, _ = draw(n, p, 1)
    posterior = covariance_free_em(standardize(X, center=False), Y, known(0.01, n))
    assert posterior.status == "converged"
    assert posterior.kkt <= 1e-4


def test_nothing_to_explain():
    X, Y, _ = draw(10, 20, 2)
    for design, targets in ((standardize(X, center=False), 0.0 * Y), (standardize(0.0 * X, center=False), Y)):
        posterior = covariance_free_em(design, targets, known(0.1, 10))
        assert not len(posterior.active)
        assert posterior.kkt == 0.0
        assert np.isfinite(posterior.log_evidence)


def test_stops_return_a_valid_posterior_and_seeds_decide():
    X, Y, _ = draw(40, 100, 4)
    X.setflags(write=False)
    Y.setflags(write=False)
    design, noise = standardize(X, center=False), known(0.1, 40)
    full = covariance_free_em(design, Y, noise, random_state=np.random.default_rng(0))
    again = covariance_free_em(design, Y, noise, random_state=0)
    np.testing.assert_array_equal(full.variances, again.variances)
    assert full.n_iter > 4

    def interrupt(n_iter, value):
        raise KeyboardInterrupt

    for options, status in (
        ({"on_iteration": lambda n_iter, value: n_iter == 3}, "stopped"),
        ({"on_iteration": interrupt}, "interrupted"),
        ({"max_iter": 3}, "max_iter"),
        ({"max_iter": full.n_iter - 1}, "max_iter"),
        ({"deadline": 0.0}, "time_limit"),
    ):
        posterior = covariance_free_em(design, Y, noise, **options)
        assert posterior.status == status
        assert posterior.n_iter < full.n_iter
        np.testing.assert_allclose(violation(X / np.linalg.norm(X, axis=0), Y, posterior), posterior.kkt, rtol=1e-6)
    warm = covariance_free_em(design, Y, noise, start=(full.active, full.variances))
    assert warm.n_iter <= 2
    np.testing.assert_allclose(warm.variances, full.variances, rtol=1e-3)


def test_probes_have_magnitude_one():
    probes = draw_probes((5, 7), 3, 0, True)
    np.testing.assert_allclose(np.abs(probes.columns), np.ones((7, 3)), rtol=1e-15)
    assert set(np.unique(draw_probes((5, 7), 30, 0, False).rows)) == {-1.0, 1.0}
