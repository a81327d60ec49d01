"""Batch pursuits against scikit-learn, brute force and themselves under changes that must not matter."""

import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.linalg
from scipy.optimize import nnls
from sklearn.linear_model import orthogonal_mp, orthogonal_mp_gram

from sparsemodels.solvers.batch_pursuit import pursue
from sparsemodels.solvers.coders import OLS, OMP, dictionary
from sparsemodels.solvers.sparse_codes import squared_residuals, to_dense

# Rounding of a refit of up to 16 atoms, in units of the signals, which are of order one.
TOLERANCE = {np.float64: 1e-10, np.float32: 2e-4}
WAYS = pytest.mark.parametrize("with_gram", [True, False], ids=["gram", "residuals"])
RULES = pytest.mark.parametrize("rule", [OMP, OLS])
PRECISIONS = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def problem(n_atoms=40, n_features=16, n_signals=30, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    atoms = rng.standard_normal((n_atoms, n_features))
    atoms /= np.linalg.norm(atoms, axis=1)[:, None]
    return atoms.astype(dtype), rng.standard_normal((n_signals, n_features)).astype(dtype)


def support(coding, i):
    return coding.codes.indices[coding.codes.indptr[i] : coding.codes.indptr[i + 1]].tolist()


def refit(atoms, x):
    return np.linalg.lstsq(atoms.T, x, rcond=None)[0]


def check_proofs(coding, X, atoms, known=None):
    """Residuals and certificates, recomputed from the codes in float64."""
    codes, atoms = to_dense(coding.codes).astype(np.float64), atoms.astype(np.float64)
    known = np.ones(X.shape, dtype=bool) if known is None else known
    residual = np.where(known, X - codes @ atoms, 0.0)
    length = np.linalg.norm(X.astype(np.float64), axis=1)
    np.testing.assert_allclose(coding.squared_residual, np.sum(residual**2, axis=1), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(
        coding.squared_residual, squared_residuals(coding.codes, X, atoms, known), rtol=1e-4, atol=1e-6
    )
    for i in range(X.shape[0]):
        chosen = support(coding, i)
        if chosen:
            norms = np.linalg.norm(atoms[chosen] * known[i], axis=1)
            violation = np.max(np.abs(atoms[chosen] @ residual[i]) / norms) / length[i]
            assert coding.certificate[i] == pytest.approx(violation, rel=1e-3, abs=1e-14)
        else:
            assert coding.certificate[i] == 0.0
    assert np.all(coding.certificate <= 100 * np.finfo(X.dtype).eps)


@WAYS
@PRECISIONS
def test_omp_is_that_of_scikit_learn(with_gram, dtype):
    atoms, X = problem(dtype=dtype)
    coding = pursue(OMP(5), X, dictionary(atoms, with_gram=with_gram))
    expected = orthogonal_mp_gram(atoms.astype(float) @ atoms.T, atoms.astype(float) @ X.T, n_nonzero_coefs=5).T
    np.testing.assert_allclose(to_dense(coding.codes), expected, atol=TOLERANCE[dtype])
    assert coding.codes.values.dtype == dtype
    assert np.all(coding.n_iter == 5)
    check_proofs(coding, X, atoms)


@WAYS
@RULES
@PRECISIONS
def test_the_norms_of_the_atoms_only_rescale_the_codes(with_gram, rule, dtype):
    atoms, X = problem(dtype=dtype)
    norms = np.random.default_rng(1).uniform(0.1, 9.0, len(atoms)).astype(dtype)
    unit = pursue(rule(6), X, dictionary(atoms, with_gram=with_gram))
    other = pursue(rule(6), X, dictionary(atoms * norms[:, None], with_gram=with_gram))
    np.testing.assert_allclose(to_dense(other.codes) * norms, to_dense(unit.codes), atol=TOLERANCE[dtype])
    check_proofs(other, X, atoms * norms[:, None])


@WAYS
def test_raw_scores_are_those_of_scikit_learn_on_atoms_of_any_norm(with_gram):
    atoms, X = problem()
    atoms *= np.random.default_rng(1).uniform(0.3, 3.0, len(atoms))[:, None]
    coding = pursue(OMP(5, normalize=False), X, dictionary(atoms, with_gram=with_gram))
    np.testing.assert_allclose(to_dense(coding.codes), orthogonal_mp(atoms.T, X.T, n_nonzero_coefs=5).T, atol=1e-10)
    assert not np.array_equal(to_dense(coding.codes) != 0, to_dense(pursue(OMP(5), X, dictionary(atoms)).codes) != 0)


@WAYS
@PRECISIONS
def test_ols_takes_the_atom_whose_refit_leaves_least(with_gram, dtype):
    atoms, X = problem(dtype=dtype)
    coding = pursue(OLS(4), X, dictionary(atoms, with_gram=with_gram))
    for i, x in enumerate(X.astype(np.float64)):
        chosen: list[int] = []
        for _ in range(4):
            left = {
                a: np.sum((x - refit(atoms[[*chosen, a]], x) @ atoms[[*chosen, a]]) ** 2)
                for a in range(len(atoms))
                if a not in chosen
            }
            chosen.append(min(left, key=left.__getitem__))
        assert support(coding, i) == sorted(chosen)
        expected = refit(atoms[sorted(chosen)], x)
        np.testing.assert_allclose(to_dense(coding.codes)[i, sorted(chosen)], expected, atol=TOLERANCE[dtype])
    check_proofs(coding, X, atoms)


@WAYS
@RULES
def test_incoherent_dictionaries_recover_every_sparse_signal(with_gram, rule):
    # Spikes and sines of length 64 have coherence 1/8: all signals of fewer than (1 + 8) / 2 atoms (Tropp, 2004).
    atoms = np.vstack([np.eye(64), scipy.linalg.hadamard(64) / 8.0])
    rng = np.random.default_rng(0)
    codes = np.zeros((200, 128))
    for row in codes:
        row[rng.choice(128, 4, replace=False)] = rng.choice([-1, 1], 4) * rng.uniform(0.1, 10.0, 4)
    coding = pursue(rule(10), codes @ atoms, dictionary(atoms, with_gram=with_gram))
    np.testing.assert_allclose(to_dense(coding.codes), codes, atol=1e-12)
    assert np.all(coding.n_iter == 4)


@WAYS
@RULES
@PRECISIONS
def test_the_residual_bound_holds_with_the_fewest_greedy_atoms(with_gram, rule, dtype):
    atoms, X = problem(dtype=dtype)
    by_size = [pursue(rule(k), X, dictionary(atoms)).squared_residual for k in range(1, 17)]
    bounds = [4.0, 1e-2, 1e-6] if dtype == np.float32 else [4.0, 1e-2, 1e-9, 1e-20]
    for bound in bounds:
        coding = pursue(rule(16, max_squared_residual=bound), X, dictionary(atoms, with_gram=with_gram))
        codes = to_dense(coding.codes).astype(np.float64)
        assert np.all(np.sum((X - codes @ atoms.astype(np.float64)) ** 2, axis=1) <= bound)
        lengths = np.sum(X.astype(np.float64) ** 2, axis=1)
        for i in range(len(X)):
            expected = 0 if lengths[i] <= bound else next((k for k in range(1, 16) if by_size[k - 1][i] <= bound), 16)
            assert coding.n_iter[i] == expected
        check_proofs(coding, X, atoms)


@WAYS
@RULES
@pytest.mark.parametrize("positive", [False, True])
def test_duplicates_zero_atoms_zero_signals_and_more_atoms_than_rank(with_gram, rule, positive):
    atoms, X = problem(4, 8)
    atoms = np.vstack([np.zeros(8), atoms[:3], atoms[:3], 2.0 * atoms[3], np.zeros(8), atoms[3]])
    X = X @ np.abs(np.random.default_rng(2).standard_normal((8, 4))) @ atoms[[1, 2, 3, 7]]
    X[3] = 0.0
    coding = pursue(rule(20, positive=positive), X, dictionary(atoms, with_gram=with_gram))
    assert np.all(np.isfinite(coding.codes.values))
    assert np.all(coding.n_iter[3] == 0)
    assert coding.squared_residual[3] == coding.certificate[3] == 0.0
    # the first of equal atoms is chosen, and none twice
    assert set(coding.codes.indices) <= {1, 2, 3, 7}
    if not positive:
        assert np.all(np.delete(coding.n_iter, 3) == 4)
        np.testing.assert_allclose(coding.squared_residual, 0.0, atol=1e-20)
    check_proofs(coding, X, atoms)


@WAYS
@RULES
def test_nearly_dependent_atoms_keep_the_refit_optimal_in_single_precision(with_gram, rule):
    rng = np.random.default_rng(0)
    base = rng.standard_normal((12, 32))
    atoms = np.vstack([base, base + 0.02 * rng.standard_normal((12, 32))]).astype(np.float32)
    X = (rng.standard_normal((40, 24)) @ atoms).astype(np.float32)
    coding = pursue(rule(24), X, dictionary(atoms, with_gram=with_gram))
    check_proofs(coding, X, atoms)
    assert np.min(coding.n_iter) >= 20


@pytest.mark.parametrize(
    "coder",
    [OMP(4), OLS(4), OMP(4, normalize=False), OMP(4, positive=True), OLS(4, positive=True), OMP(6, 2.0), OLS(6, 2.0)],
    ids=str,
)
@pytest.mark.parametrize("n_atoms", [10, 40], ids=["groups", "alone"])
def test_masks_restrict_the_problem(coder, n_atoms):
    atoms, X = problem(n_atoms)
    rng = np.random.default_rng(3)
    known = rng.random(X.shape) < 0.7
    known[0] = True
    known[1] = False
    known[10:] = known[10]  # with 10 atoms, a group that gets its own Gram matrix
    X = np.where(known, X, 0.0)
    coding = pursue(coder, X, dictionary(atoms), known)
    for i in range(len(X)):
        restricted = np.ascontiguousarray(atoms[:, known[i]])
        alone = pursue(coder, np.ascontiguousarray(X[i : i + 1, known[i]]), dictionary(restricted))
        np.testing.assert_allclose(to_dense(coding.codes)[i], to_dense(alone.codes)[0], atol=1e-10)
        assert coding.n_iter[i] == alone.n_iter[0]
    check_proofs(coding, X, atoms, known)


@RULES
def test_what_the_atoms_are_at_unknown_entries_does_not_matter(rule):
    atoms, X = problem()
    known = np.random.default_rng(3).random(X.shape) < 0.7
    known[:, 5] = False
    X = np.where(known, X, 0.0)
    changed = atoms.copy()
    changed[:, 5] *= -7.0
    first, second = (pursue(rule(5), X, dictionary(D), known) for D in (atoms, changed))
    np.testing.assert_allclose(to_dense(first.codes), to_dense(second.codes), atol=1e-12)


def nonnegative_pursuit(atoms, x, n_atoms, rule):
    """Take the best atom with a positive correlation, refit by NNLS on the support, as often as asked."""
    chosen: list[int] = []
    codes = np.zeros(len(atoms))
    while len(chosen) < n_atoms:
        residual = x - codes @ atoms
        scores = np.maximum(atoms @ residual, 0.0)
        if rule is OLS and chosen:
            basis = scipy.linalg.orth(atoms[chosen].T)
            outside = np.sum((atoms - atoms @ basis @ basis.T) ** 2, axis=1)
            scores = np.divide(scores, np.sqrt(outside), out=np.zeros_like(scores), where=outside > 1e-12)
        if scores.max() < 1e-12:
            break
        chosen.append(int(np.argmax(scores)))
        codes = np.zeros(len(atoms))
        codes[chosen] = nnls(atoms[chosen].T, x)[0]
        chosen = [a for a in chosen if codes[a] > 0.0]
    return codes


@WAYS
@RULES
@PRECISIONS
def test_positive_pursuit_refits_by_nonnegative_least_squares(with_gram, rule, dtype):
    atoms, X = problem(60, 12, 60, dtype)
    atoms = np.abs(atoms) - dtype(0.1)  # correlated: atoms leave again
    atoms /= np.linalg.norm(atoms, axis=1)[:, None]
    X = np.abs(X)
    coding = pursue(rule(5, positive=True), X, dictionary(atoms, with_gram=with_gram))
    expected = np.array([nonnegative_pursuit(atoms.astype(float), x.astype(float), 5, rule) for x in X])
    np.testing.assert_allclose(to_dense(coding.codes), expected, atol=TOLERANCE[dtype])
    assert np.all(coding.codes.values > 0.0)
    assert np.any(coding.n_iter > np.diff(coding.codes.indptr))  # some left
    check_proofs(coding, X, atoms)


@WAYS
@RULES
def test_positive_pursuit_of_all_atoms_is_nonnegative_least_squares(with_gram, rule):
    atoms, X = problem(10, 16)
    coding = pursue(rule(10, positive=True), X, dictionary(atoms, with_gram=with_gram))
    np.testing.assert_allclose(to_dense(coding.codes), [nnls(atoms.T, x)[0] for x in X], atol=1e-10)


@RULES
@pytest.mark.parametrize("way", ["gram", "residuals", "masks", "positive"])
def test_threads_change_no_bit(rule, way):
    atoms, X = problem(48, 16, 1100)
    coder = rule(6, positive=way == "positive")
    known = np.random.default_rng(3).random(X.shape) < 0.8 if way == "masks" else None
    X = X if known is None else np.where(known, X, 0.0)
    one, two = (pursue(coder, X, dictionary(atoms, with_gram=way != "residuals"), known, n_jobs) for n_jobs in (1, 2))
    for first, second in zip(one.codes[:3] + one[1:], two.codes[:3] + two[1:], strict=True):
        assert first.tobytes() == second.tobytes()


@WAYS
@RULES
def test_orders_and_units_do_not_matter(with_gram, rule):
    atoms, X = problem()
    rng = np.random.default_rng(5)
    codes = to_dense(pursue(rule(5), X, dictionary(atoms, with_gram=with_gram)).codes)
    of_atoms, of_signals = rng.permutation(len(atoms)), rng.permutation(len(X))
    permuted = pursue(rule(5), np.ascontiguousarray(X[of_signals]), dictionary(atoms[of_atoms], with_gram=with_gram))
    np.testing.assert_allclose(to_dense(permuted.codes), codes[of_signals][:, of_atoms], atol=1e-12)
    for factor in (1e-100, 1e100):
        scaled = pursue(rule(5), factor * X, dictionary(atoms, with_gram=with_gram))
        np.testing.assert_allclose(to_dense(scaled.codes) / factor, codes, atol=1e-12)


@RULES
def test_single_precision_codes_signals_of_any_size(rule):
    atoms, X = problem(dtype=np.float32)
    codes = to_dense(pursue(rule(5), X, dictionary(atoms)).codes)
    for factor in (np.float32(2.0**-90), np.float32(2.0**90)):
        scaled = pursue(rule(5), factor * X, dictionary(atoms))
        np.testing.assert_array_equal(to_dense(scaled.codes) / factor, codes)
        assert np.max(scaled.certificate) < 1e-5


def test_nothing_to_code():
    atoms, X = problem()
    for signals, coder in ((X[:0], OMP(3)), (X, OMP(0))):
        coding = pursue(coder, signals, dictionary(atoms))
        assert coding.codes.indices.size == 0
        assert coding.codes.indptr.size == len(signals) + 1
        np.testing.assert_allclose(coding.squared_residual, np.sum(signals**2, axis=1))


def test_the_same_without_a_compiler():
    script = """
import numpy as np
from sparsemodels.solvers.batch_pursuit import pursue
from sparsemodels.solvers.coders import OLS, OMP, dictionary
from sparsemodels.solvers.sparse_codes import to_dense
rng = np.random.default_rng(0)
atoms, X = rng.standard_normal((12, 6)), rng.standard_normal((4, 6))
known = rng.random(X.shape) < 0.8
X = np.where(known, X, 0.0)
for coder in (OMP(3), OLS(3, positive=True)):
    for mask in (None, known):
        print(*to_dense(pursue(coder, X, dictionary(atoms), mask).codes).ravel().round(9) + 0.0)
"""
    outputs = []
    for disable in ("0", "1"):
        environment = os.environ | {"NUMBA_DISABLE_JIT": disable}
        run = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        outputs.append(np.array(run.stdout.split(), dtype=float))
    np.testing.assert_allclose(outputs[0], outputs[1], atol=2e-9)
    assert outputs[0].size == 4 * 4 * 12
