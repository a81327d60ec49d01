from functools import reduce

import array_api_strict
import numpy as np
import pytest
from scipy.optimize import minimize, nnls

from sparsemodels.solvers import kronecker_evidence
from sparsemodels.solvers.dense_codes import to_host
from sparsemodels.solvers.kronecker_evidence import gathered, maximize_evidence
from sparsemodels.solvers.kronecker_point import KroneckerPoint
from sparsemodels.solvers.kronecker_posterior import KroneckerData, kronecker_posterior
from sparsemodels.solvers.kronecker_selection import removal_costs
from sparsemodels.solvers.kronecker_variances import alternating_variances, coupling_matrix, rank_one_variances
from sparsemodels.solvers.mode_products import mode_products, outer_product

METHODS = ["svd", "mackay", "mm", "am"]


def dense(tensor, factors, variances, noise):
    """The log evidence, and z and q of all columns, by the Kronecker product and an inverse."""
    X, prior = reduce(np.kron, factors), reduce(np.kron, variances)
    Y = tensor.reshape(len(tensor), -1).T
    C = X @ np.diag(prior) @ X.conj().T + noise * np.eye(len(X))
    inverse = np.linalg.inv(C)
    cost = len(tensor) * np.linalg.slogdet(C)[1] + np.sum((Y.conj() * (inverse @ Y)).real)
    constant = Y.size * np.log(np.pi if np.iscomplexobj(Y) else 2.0 * np.pi)
    evidence = -(constant + cost) * (1.0 if np.iscomplexobj(Y) else 0.5)
    return evidence, np.einsum("ij,ik,kj->j", X.conj(), inverse, X).real, (X.conj().T @ inverse @ Y).T


def planted(of_complex=False, n_measurements=1, seed=0, noise=0.05):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.normal(size=shape) + (1j * rng.normal(size=shape) if of_complex else 0.0)

    factors = [draw(5, 7), draw(6, 8), draw(4, 3)]
    x = np.zeros((n_measurements, 7, 8, 3), dtype=factors[0].dtype)
    x[np.ix_(range(n_measurements), [1, 4], [2, 5], [0])] = draw(n_measurements, 2, 2, 1)
    return mode_products(x, factors) + noise * draw(n_measurements, 5, 6, 4), factors


def violations(tensor, factors, variances, noise):
    """The ratios of all entries of all modes, and of the noise, by dense formulas."""
    _, z, q = dense(tensor, factors, variances, noise)
    shape = tuple(factor.shape[1] for factor in factors)
    square, z = np.mean(np.abs(q) ** 2, axis=0).reshape(shape), z.reshape(shape)
    ratios = []
    for mode in range(len(variances)):
        others = outer_product([np.ones_like(v) if i == mode else v for i, v in enumerate(variances)])
        away = tuple(i for i in range(len(shape)) if i != mode)
        ratios.append((others * square).sum(away) / (others * z).sum(away))
    return ratios


@pytest.mark.parametrize("of_complex", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_certificate_from_outside(method, of_complex):
    tensor, factors = planted(of_complex, n_measurements=2)
    options = {"method": method, "prune_tol": 1e-2 if method == "am" else 1e-6, "max_iter": 5000}
    found = maximize_evidence(tensor, factors, **options)
    assert found.status == "converged"
    assert found.kkt <= 1e-4
    evidence, _, _ = dense(tensor, factors, found.variances, found.noise_variance)
    assert found.log_evidence == pytest.approx(evidence, rel=1e-10)
    ratios = violations(tensor, factors, found.variances, found.noise_variance)
    active = [variance > 0.0 for variance in found.variances]
    kkt = max(np.abs(ratio[mask] - 1.0).max() for ratio, mask in zip(ratios, active))
    dropped = max(ratio[~mask].max(initial=0.0) for ratio, mask in zip(ratios, active))
    X, prior = np.kron(np.kron(*factors[:2]), factors[2]), outer_product(found.variances).ravel()
    inverse = np.linalg.inv(X @ np.diag(prior) @ X.conj().T + found.noise_variance * np.eye(len(X)))
    of_noise = np.mean(np.sum(np.abs(tensor.reshape(2, -1) @ inverse.T) ** 2, axis=1)) / np.trace(inverse).real
    # The residual is a difference of numbers of order one, each exact to about 1e-10.
    assert found.kkt == pytest.approx(max(kkt, abs(of_noise - 1.0)), abs=1e-8)
    assert found.dropped_ratio == pytest.approx(dropped, rel=1e-8)
    for variance in found.variances[:-1]:
        assert np.linalg.norm(variance) == pytest.approx(1.0, rel=1e-12)


def test_residual_is_the_gradient():
    tensor, factors = planted()
    rng = np.random.default_rng(3)
    variances, noise = [rng.random(f.shape[1]) for f in factors], 0.2
    ratios = violations(tensor, factors, variances, noise)
    z = dense(tensor, factors, variances, noise)[1]
    prior = outer_product(variances)
    for mode in range(3):
        away = tuple(i for i in range(3) if i != mode)
        cost = (prior * z.reshape(prior.shape)).sum(away)
        for k in (0, 2):
            at = []
            for step in (1e-5, -1e-5):
                moved = [v.copy() for v in variances]
                moved[mode][k] *= np.exp(step)
                at.append(-2.0 * kronecker_posterior(tensor, factors, moved, noise).log_evidence)
            assert (at[0] - at[1]) / 2e-5 == pytest.approx(cost[k] * (1.0 - ratios[mode][k]), rel=1e-5)


@pytest.mark.parametrize("noise_variance", [None, 0.0025])
@pytest.mark.parametrize(
    ("method", "couplings"), [("am", None), ("mm", None), ("mm", [0.5, 0.0, 1.0]), ("mackay", None)]
)
def test_evidence_never_falls(method, couplings, noise_variance):
    tensor, factors = planted()
    found = maximize_evidence(
        tensor, factors, method=method, couplings=couplings, noise_variance=noise_variance, prune_tol=1e-100,
        tol=0.0, max_iter=200,
    )  # fmt: skip
    assert found.n_iter == 200
    # What `mackay` took back is not in the history.
    assert found.log_evidences.size == 200 or method == "mackay"
    assert np.all(np.diff(found.log_evidences) >= -1e-9 * (np.abs(found.log_evidences[1:]) + tensor.size))


@pytest.mark.parametrize("of_complex", [False, True])
def test_methods_agree_on_the_stationary_point(of_complex):
    tensor, factors = planted(of_complex)
    solutions = [maximize_evidence(tensor, factors, method=m, tol=1e-7, prune_tol=1e-3, max_iter=5000) for m in METHODS]
    for found in solutions[1:]:
        assert found.log_evidence == pytest.approx(solutions[0].log_evidence, abs=1e-5)
        for mine, theirs in zip(found.variances, solutions[0].variances):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4)


def test_orthonormal_factors_of_one_mode_have_the_closed_form():
    rng = np.random.default_rng(11)  # no entry so near to zero that its share converges slowly
    Q = np.linalg.qr(rng.normal(size=(40, 20)))[0]
    Y = rng.normal(size=(3, 40))
    found = maximize_evidence(Y, [Q], noise_variance=0.7, tol=1e-10, prune_tol=1e-12, max_iter=2000)
    assert found.status == "converged"
    expected = np.maximum(0.0, np.mean((Y @ Q) ** 2, axis=0) - 0.7)
    np.testing.assert_allclose(found.variances[0], expected, atol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_scales_change_no_choice(method):
    tensor, factors = planted()
    options = {"method": method, "max_iter": 40, "threshold": 3.0}
    found = maximize_evidence(tensor, factors, **options)
    for a, b in ((1e-6, 1e6), (1e6, 1e-6), (1e3, 1.0)):
        other = maximize_evidence(b * tensor, [a * factors[0], *factors[1:]], **options)
        assert (other.n_iter, other.status) == (found.n_iter, found.status)
        assert other.noise_variance == pytest.approx(b**2 * found.noise_variance, rel=1e-8)
        assert other.log_evidence == pytest.approx(found.log_evidence - tensor.size * np.log(b), rel=1e-9)
        for mine, theirs, scale in zip(other.variances, found.variances, (1.0, 1.0, (b / a) ** 2)):
            np.testing.assert_allclose(mine, scale * theirs, rtol=1e-6)


def test_units_of_single_columns_and_their_order_change_no_choice():
    tensor, factors = planted()
    units, order = np.array([1e3, 1.0, 1e-3, 5.0, 0.1, 1.0, 2.0]), np.random.default_rng(5).permutation(8)
    found = maximize_evidence(tensor, factors, threshold=3.0)
    other = maximize_evidence(tensor, [factors[0] * units, factors[1][:, order], factors[2]], threshold=3.0)
    mean = kronecker_posterior(tensor, factors, found.variances, found.noise_variance).mean
    moved = kronecker_posterior(
        tensor, [factors[0] * units, factors[1][:, order], factors[2]], other.variances, other.noise_variance
    ).mean
    np.testing.assert_allclose(moved * units[:, None, None], mean[:, :, order], rtol=1e-6, atol=1e-9)


def test_no_coupling_is_no_coupling():
    tensor, factors = planted()
    found, other = (maximize_evidence(tensor, factors, couplings=c) for c in (None, [0.0, 0.0, 0.0]))
    assert found.log_evidence == other.log_evidence
    tiny = maximize_evidence(tensor, factors, couplings=[1e-9] * 3, method="mm")
    plain = maximize_evidence(tensor, factors, method="mm")
    assert tiny.log_evidence == pytest.approx(plain.log_evidence, abs=1e-3)


@pytest.mark.parametrize("method", ["svd", "mm"])
def test_coupled_variances_are_stationary_in_their_cone(method):
    tensor, factors = planted()
    norms = [np.linalg.norm(factor, axis=0) for factor in factors]
    found = maximize_evidence(tensor, factors, couplings=[0.6, 0.3, 0.0], method=method, max_iter=2000)
    assert found.status == "converged"
    variance = found.variances[0] * norms[0] ** 2
    active = variance > 0.0
    matrix = coupling_matrix(7, 0.6)[active]
    parameters, distance = nnls(matrix, variance[active])
    assert distance <= 1e-8 * np.linalg.norm(variance)
    for k in np.flatnonzero(parameters > 1e-6 * parameters.max()):
        at = []
        for step in (1e-3, -1e-3):
            moved = parameters.copy()
            moved[k] *= np.exp(step)
            changed = np.zeros(7)
            changed[active] = matrix @ moved
            variances = [changed / norms[0] ** 2, *found.variances[1:]]
            at.append(kronecker_posterior(tensor, factors, variances, found.noise_variance).log_evidence)
        assert abs(at[0] - at[1]) / 2e-3 <= 1e-3  # nats


@pytest.mark.parametrize("couplings", [None, [0.5, 0.5, 0.0]])
def test_removal_is_the_exact_evidence_without_an_entry(couplings):
    tensor, factors = planted(of_complex=True)
    rng = np.random.default_rng(6)
    parameters = [rng.random(f.shape[1]) for f in factors]
    matrices = [None if not couplings or c == 0 else coupling_matrix(f.shape[1], c) for f, c in
                zip(factors, couplings or [0.0] * 3)]  # fmt: skip
    names = [np.arange(p.size) for p in parameters]
    wide = [factors[0], factors[1], factors[2][:3]]
    data = tensor[:, :, :, :3]
    point = KroneckerPoint(KroneckerData(data, wide, 0.0, data.size), matrices, parameters, 0.3, names, names)
    for mode, costs in enumerate(removal_costs(point)):
        for k, cost in enumerate(costs):
            left = [p.copy() for p in parameters]
            left[mode][k] = 0.0
            variances = [p if m is None else m @ p for p, m in zip(left, matrices)]
            value = kronecker_posterior(data, wide, variances, 0.3).log_evidence
            assert -value - data.size * np.log(np.pi) == pytest.approx(cost, rel=1e-9)


def test_threshold_keeps_what_is_worth_it():
    kept = []
    for seed in range(5):
        tensor, factors = planted(seed=seed, noise=0.3)
        found = maximize_evidence(tensor, factors, threshold=np.log(18))
        assert found.kkt <= 1e-4
        kept.append(sum(np.count_nonzero(v) for v in found.variances))
        for mode, variance in enumerate(found.variances):
            for k in np.flatnonzero(variance):
                if np.count_nonzero(variance) > 1:
                    less = [v.copy() for v in found.variances]
                    less[mode][k] = 0.0
                    without = kronecker_posterior(tensor, factors, less, found.noise_variance).log_evidence
                    assert found.log_evidence - without >= np.log(18)
    plain = [planted(seed=seed, noise=0.3) for seed in range(5)]
    everything = [sum(np.count_nonzero(v) for v in maximize_evidence(*p).variances) for p in plain]
    assert np.median(kept) == 5  # two, two and one are planted
    assert np.median(everything) > 5


def test_alternating_step_solves_its_convex_problem():
    rng = np.random.default_rng(7)
    moments = rng.random((3, 4, 2)) + 0.1
    found = outer_product(alternating_variances([None] * 3, [np.ones(3), np.ones(4), np.ones(2)], moments, tol=1e-12))

    def objective(logarithms):
        v = outer_product([np.exp(part) for part in np.split(logarithms, [3, 7])])
        return np.sum(np.log(v) + moments / v)

    best = minimize(objective, np.zeros(9), tol=1e-12).fun
    assert np.sum(np.log(found) + moments / found) == pytest.approx(best, abs=1e-8)


def test_rank_one_step_finds_what_has_rank_one():
    rng = np.random.default_rng(8)
    moments = outer_product([rng.random(3), rng.random(4), rng.random(2)])
    np.testing.assert_allclose(outer_product(rank_one_variances([None] * 3, moments)), moments, rtol=1e-12)
    matrix = rng.random((5, 6)) + 0.5
    first, second = rank_one_variances([None] * 2, matrix)
    u, s, vt = np.linalg.svd(matrix)
    np.testing.assert_allclose(np.outer(first, second), s[0] * np.outer(u[:, 0], vt[0]), rtol=1e-6)


def test_weights_repeat_and_many_measurements_are_gathered():
    tensor, factors = planted(n_measurements=3)
    weights = np.array([2.0, 0.0, 1.0])
    found = maximize_evidence(tensor, factors, weights=weights)
    other = maximize_evidence(tensor[[0, 0, 2]], factors)
    assert found.log_evidence == pytest.approx(other.log_evidence, rel=1e-9)
    rows = np.random.default_rng(9).normal(size=(50, 3, 4))
    few, mean = gathered(rows, None).reshape(-1, 12), rows.reshape(50, 12).T @ rows.reshape(50, 12) / 50
    assert len(few) == 12
    np.testing.assert_allclose(few.T @ few, mean, atol=1e-12)


def test_silence_and_noise_alone():
    _, factors = planted()
    rng = np.random.default_rng(10)
    silent = maximize_evidence(np.zeros((1, 5, 6, 4)), factors)
    assert (silent.noise_variance, silent.kkt, silent.status) == (0.0, 0.0, "converged")
    assert all(np.isfinite(v).all() for v in silent.variances)
    assert not silent.variances[-1].any()
    alone = maximize_evidence(1e-3 * rng.normal(size=(1, 5, 6, 4)), factors, noise_variance=1.0)
    assert alone.status == "converged"
    assert not alone.variances[-1].any()
    assert alone.dropped_ratio <= 1.0
    assert alone.log_evidence == pytest.approx(-60 * np.log(2 * np.pi), rel=1e-5)


def test_columns_of_zeros_get_nothing():
    tensor, factors = planted()
    for couplings in (None, [0.9, 0.0, 0.5]):
        wide = [np.insert(factors[0], 3, 0.0, axis=1), *factors[1:]]
        found = maximize_evidence(tensor, wide, couplings=couplings)
        assert found.status == "converged"
        assert found.variances[0][3] == 0.0
    plain = maximize_evidence(tensor, factors)
    found = maximize_evidence(tensor, wide)
    np.testing.assert_allclose(np.delete(found.variances[0], 3), plain.variances[0], rtol=1e-6, atol=1e-12)


def test_heuristic_alone_settles_and_says_what_it_is():
    tensor, factors = planted()
    alone, polished = (maximize_evidence(tensor, factors, polish=p) for p in (False, True))
    assert alone.status == "settled"
    assert alone.kkt > 1e-4 >= polished.kkt
    assert polished.log_evidence >= alone.log_evidence - 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_other_arrays_give_the_answer_of_numpy(method):
    tensor, factors = planted(of_complex=True)
    options = {"method": method, "max_iter": 30, "threshold": 2.0, "couplings": [0.5, 0.0, 0.0]}
    expected = maximize_evidence(tensor, factors, **options)
    device = array_api_strict.Device("device1")
    tensor = array_api_strict.asarray(tensor, device=device)
    factors = [array_api_strict.asarray(factor, device=device) for factor in factors]
    found = maximize_evidence(tensor, factors, **options)
    assert found.log_evidence == pytest.approx(expected.log_evidence, rel=1e-9)
    for mine, theirs in zip(found.variances, expected.variances):
        assert mine.device == device
        np.testing.assert_allclose(to_host(mine), theirs, rtol=1e-6)


def test_limits_and_interruption_keep_the_model(monkeypatch):
    tensor, factors = planted()
    assert maximize_evidence(tensor, factors, tol=0.0, max_iter=3).status == "max_iter"
    assert maximize_evidence(tensor, factors, tol=0.0, deadline=0.0).status == "time_limit"
    stopped = maximize_evidence(tensor, factors, tol=0.0, on_iteration=lambda n_iter, _: n_iter == 4)
    assert (stopped.status, stopped.n_iter) == ("stopped", 4)
    calls, look = [], kronecker_evidence.look

    def interrupted(point):
        calls.append(point)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return look(point)

    monkeypatch.setattr(kronecker_evidence, "look", interrupted)
    found = maximize_evidence(tensor, factors)
    assert (found.status, found.n_iter) == ("interrupted", 3)
    evidence, _, _ = dense(tensor, factors, found.variances, found.noise_variance)
    assert found.log_evidence == pytest.approx(evidence, rel=1e-9)
