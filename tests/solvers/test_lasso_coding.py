"""Lasso codes by coordinate descent: optimality, certificates from outside, invariances, unknown entries."""

import cvxpy
import numpy as np
import pytest
from sklearn.linear_model import Lasso

from sparsemodels.solvers.coders import LassoCD, LassoLARS, dictionary
from sparsemodels.solvers.lasso_coding import code_by_descent
from sparsemodels.solvers.lasso_homotopy import code_by_lars
from sparsemodels.solvers.sparse_codes import from_matrix, to_dense
from sparsemodels.solvers.sparse_coding import encode

TIGHT = 1e-13  # a gap of this times the energy leaves codes of well-conditioned atoms right to some 1e-7


def problem(seed, n_signals=12, n_features=20, n_atoms=50, unit=True, dtype=np.float64):
    rng = np.random.default_rng(seed)
    atoms = rng.standard_normal((n_atoms, n_features))
    atoms /= np.linalg.norm(atoms, axis=1)[:, None] if unit else 1.0
    X = rng.standard_normal((n_signals, n_features))
    X /= np.linalg.norm(X, axis=1)[:, None]
    return X.astype(dtype), atoms.astype(dtype)


def gaps_from_outside(X, Z, atoms, alpha, positive=False, known=None):
    """The objective minus the dual objective at the scaled residual, straight from their definitions."""
    X, Z, atoms = (np.asarray(A, dtype=np.longdouble) for A in (X, Z, atoms))
    R = X - Z @ atoms
    if known is not None:
        R = np.where(known, R, 0.0)
    products = R @ atoms.T
    top = (products if positive else np.abs(products)).max(axis=1)
    theta = R * np.minimum(1.0, alpha / np.maximum(top, 1e-300))[:, None]
    primal = 0.5 * (R**2).sum(1) + alpha * np.abs(Z).sum(1)
    dual = 0.5 * (X**2).sum(1) - 0.5 * ((X - theta) ** 2).sum(1)
    return np.asarray(primal - dual, dtype=np.float64)


def objectives(X, Z, atoms, alpha, known=None):
    R = X - Z @ atoms
    if known is not None:
        R = np.where(known, R, 0.0)
    return 0.5 * (R**2).sum(1) + alpha * np.abs(Z).sum(1)


def assert_optimal(X, Z, atoms, alpha, positive=False, known=None, slack=1e-7):
    """Correlations of active atoms are at the bound, with their sign; no other is above it."""
    R = X - Z @ atoms if known is None else np.where(known, X - Z @ atoms, 0.0)
    products = R @ atoms.T
    assert (products if positive else np.abs(products)).max() <= alpha + slack
    np.testing.assert_allclose(products[Z != 0.0], alpha * np.sign(Z[Z != 0.0]), atol=slack)


@pytest.fixture(params=["descent", "homotopy"])
def coder(request):
    def make(alpha, positive=False, tol=TIGHT, max_iter=100_000):
        return LassoCD(alpha, positive, tol, max_iter) if request.param == "descent" else LassoLARS(alpha, positive)

    return make


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("with_gram", [True, False])
@pytest.mark.parametrize("alpha", [0.3, 0.05, 0.003])
def test_optimality_and_certificate(coder, alpha, with_gram, positive):
    X, atoms = problem(0, unit=False)
    atoms[3] = 0.0
    alpha *= 4.0  # the norms of the atoms
    coding = encode(coder(alpha, positive), X, dictionary(atoms, with_gram=with_gram))
    Z = to_dense(coding.codes)
    assert_optimal(X, Z, atoms, alpha, positive)
    assert not positive or Z.min() >= 0.0
    assert not Z[:, 3].any()
    np.testing.assert_allclose(coding.certificate, gaps_from_outside(X, Z, atoms, alpha, positive), atol=1e-14)
    np.testing.assert_allclose(coding.squared_residual, ((X - Z @ atoms) ** 2).sum(1), rtol=1e-12, atol=1e-28)
    assert (coding.certificate <= 1e-12 * 0.5).all()


@pytest.mark.parametrize("tol", [1e-2, 1e-4, 1e-8])
def test_stops_at_the_tolerance_with_a_truthful_gap(tol):
    X, atoms = problem(1, n_signals=100)
    X *= np.geomspace(1e-3, 1e3, 100)[:, None]
    energy = 0.5 * (X**2).sum(1)
    coding = code_by_descent(LassoCD(0.02, tol=tol), X, dictionary(atoms))
    outside = gaps_from_outside(X, to_dense(coding.codes), atoms, 0.02)
    assert (outside <= tol * energy).all()
    np.testing.assert_allclose(coding.certificate / energy, outside / energy, atol=1e-14)


def test_two_algorithms_agree():
    X, atoms = problem(2, n_signals=60)
    for alpha in (0.4, 0.1, 0.01):
        by_descent = code_by_descent(LassoCD(alpha, tol=1e-14, max_iter=100_000), X, dictionary(atoms))
        by_lars = code_by_lars(LassoLARS(alpha), X, dictionary(atoms))
        np.testing.assert_allclose(to_dense(by_descent.codes), to_dense(by_lars.codes), atol=1e-8)


@pytest.mark.parametrize("positive", [False, True])
def test_scikit_learn(coder, positive):
    X, atoms = problem(3)
    model = Lasso(0.1 / X.shape[1], fit_intercept=False, positive=positive, tol=1e-14, max_iter=100_000)
    reference = np.array([model.fit(atoms.T, x).coef_ for x in X])
    Z = to_dense(encode(coder(0.1, positive), X, dictionary(atoms)).codes)
    np.testing.assert_allclose(Z, reference, atol=1e-6)


@pytest.mark.parametrize("positive", [False, True])
def test_cvxpy(coder, positive):
    X, atoms = problem(4, n_signals=3)
    Z = to_dense(encode(coder(0.15, positive), X, dictionary(atoms)).codes)
    for x, z in zip(X, Z, strict=True):
        variable = cvxpy.Variable(atoms.shape[0], nonneg=positive)
        objective = 0.5 * cvxpy.sum_squares(x - atoms.T @ variable) + 0.15 * cvxpy.norm1(variable)
        best = cvxpy.Problem(cvxpy.Minimize(objective)).solve(solver="CLARABEL")
        assert objectives(x[None], z[None], atoms, 0.15)[0] == pytest.approx(best, abs=1e-8)


def test_orthonormal_atoms_give_the_soft_threshold(coder):
    rng = np.random.default_rng(5)
    atoms = np.linalg.qr(rng.standard_normal((15, 15)))[0]
    X = rng.standard_normal((20, 15))
    products = X @ atoms.T
    expected = np.sign(products) * np.maximum(np.abs(products) - 0.6, 0.0)
    np.testing.assert_allclose(to_dense(encode(coder(0.6), X, dictionary(atoms)).codes), expected, atol=1e-13)


def test_penalty_above_the_largest_correlation_gives_zero(coder):
    X, atoms = problem(6)
    top = np.abs(X @ atoms.T).max()
    coding = encode(coder(top), X, dictionary(atoms))
    assert coding.codes.indices.size == 0
    np.testing.assert_array_equal(coding.certificate, 0.0)
    below = encode(coder(top * (1.0 - 1e-6)), X, dictionary(atoms))
    assert below.codes.indices.size == 1


def test_zero_signals_and_no_signals(coder):
    X, atoms = problem(7)
    X[4] = 0.0
    coding = encode(coder(0.1), X, dictionary(atoms))
    assert not to_dense(coding.codes)[4].any()
    assert coding.certificate[4] == coding.squared_residual[4] == 0.0
    nothing = encode(coder(0.1), X[:0], dictionary(atoms))
    assert to_dense(nothing.codes).shape == (0, 50)
    assert nothing.certificate.shape == nothing.n_iter.shape == (0,)


@pytest.mark.parametrize("alpha", [0.0, -1.0, np.nan, np.inf])
def test_penalty_out_of_range(coder, alpha):
    X, atoms = problem(8)
    with pytest.raises(ValueError, match="alpha must be a finite number > 0"):
        encode(coder(alpha), X, dictionary(atoms))


def test_scaling_and_permutation(coder):
    X, atoms = problem(9, unit=False)
    Z = to_dense(encode(coder(0.5), X, dictionary(atoms)).codes)
    scaled = to_dense(encode(coder(0.5e6), 1e6 * X, dictionary(atoms)).codes)
    np.testing.assert_allclose(scaled, 1e6 * Z, rtol=1e-7, atol=1e-2)
    order = np.random.default_rng(0).permutation(50)
    permuted = to_dense(encode(coder(0.5), X, dictionary(atoms[order])).codes)
    np.testing.assert_allclose(permuted, Z[:, order], atol=1e-8)


@pytest.mark.parametrize("with_gram", [True, False])
def test_duplicated_atoms(coder, with_gram):
    """The code is not unique, its reconstruction and objective are."""
    X, atoms = problem(10)
    twice = np.vstack([atoms, atoms, -atoms[:10]])
    Z = to_dense(encode(coder(0.05, tol=1e-11), X, dictionary(atoms, with_gram=with_gram)).codes)
    coding = encode(coder(0.05, tol=1e-11), X, dictionary(twice, with_gram=with_gram))
    doubled = to_dense(coding.codes)
    np.testing.assert_allclose(objectives(X, doubled, twice, 0.05), objectives(X, Z, atoms, 0.05), atol=1e-10)
    np.testing.assert_allclose(doubled @ twice, Z @ atoms, atol=1e-5)
    assert (coding.certificate <= 1e-11 * 0.5).all()


def test_ties_of_integer_data(coder):
    rng = np.random.default_rng(11)
    atoms = rng.integers(-1, 2, (60, 8)).astype(np.float64)
    X = rng.integers(-3, 4, (40, 8)).astype(np.float64)
    coding = encode(coder(1.0, tol=1e-11), X, dictionary(atoms))
    outside = gaps_from_outside(X, to_dense(coding.codes), atoms, 1.0)
    assert (outside <= 1e-10 * 0.5 * (X**2).sum(1)).all()


def test_a_warm_start_is_never_worse():
    X, atoms = problem(12, n_signals=80)
    cold = code_by_descent(LassoCD(0.05, tol=1e-6), X, dictionary(atoms))
    again = code_by_descent(LassoCD(0.05, tol=1e-6), X, dictionary(atoms), start=cold.codes)
    assert not again.n_iter.any()
    np.testing.assert_array_equal(to_dense(again.codes), to_dense(cold.codes))
    moved = atoms + 0.01 * np.random.default_rng(1).standard_normal(atoms.shape)
    for with_gram in (True, False):
        warm = code_by_descent(LassoCD(0.05), X, dictionary(moved, with_gram=with_gram), start=cold.codes)
        fresh = code_by_descent(LassoCD(0.05), X, dictionary(moved, with_gram=with_gram))
        before = objectives(X, to_dense(cold.codes), moved, 0.05)
        assert (objectives(X, to_dense(warm.codes), moved, 0.05) <= before + 1e-14).all()
        assert warm.n_iter.sum() < fresh.n_iter.sum()
        assert (warm.certificate <= 1e-4 * 0.5).all()


@pytest.mark.parametrize("with_gram", [True, False])
@pytest.mark.parametrize("positive", [False, True])
def test_useless_starts(with_gram, positive):
    """Dense, huge and of the wrong sign: the answer is the same."""
    X, atoms = problem(13)
    record = dictionary(atoms, with_gram=with_gram)
    expected = to_dense(code_by_descent(LassoCD(0.1, positive, TIGHT), X, record).codes)
    rng = np.random.default_rng(0)
    for start in (rng.standard_normal((12, 50)) * 1e3, -expected, 0.01 * rng.standard_normal((12, 50))):
        coding = code_by_descent(LassoCD(0.1, positive, TIGHT, 100_000), X, record, start=from_matrix(start))
        np.testing.assert_allclose(to_dense(coding.codes), expected, atol=1e-6)
        assert (coding.certificate <= TIGHT).all()


@pytest.mark.parametrize("with_gram", [True, False])
@pytest.mark.parametrize("n_patterns", [2, 40])
def test_unknown_entries_are_those_of_the_restricted_problem(coder, n_patterns, with_gram):
    """Two patterns are shared by enough signals for Gram matrices of their own, forty are not."""
    X, atoms = problem(14, n_signals=60, n_atoms=30)
    rng = np.random.default_rng(0)
    patterns = rng.random((n_patterns, 20)) < 0.7
    patterns[0], patterns[1] = True, False
    known = patterns[rng.integers(0, n_patterns, 60)]
    X = np.where(known, X, 0.0)
    coding = encode(coder(0.05), X, dictionary(atoms, with_gram=with_gram), known=known)
    Z = to_dense(coding.codes)
    for i in range(60):
        if not known[i].any():
            assert not Z[i].any()
            continue
        restricted = dictionary(np.ascontiguousarray(atoms[:, known[i]]))
        alone = encode(coder(0.05), np.ascontiguousarray(X[i : i + 1, known[i]]), restricted)
        np.testing.assert_allclose(Z[i], to_dense(alone.codes)[0], atol=1e-7)
        np.testing.assert_allclose(coding.squared_residual[i], alone.squared_residual[0], atol=1e-10)
    np.testing.assert_allclose(coding.certificate, gaps_from_outside(X, Z, atoms, 0.05, known=known), atol=1e-14)
    assert (coding.certificate <= 1e-11).all()


def test_masked_warm_start():
    X, atoms = problem(15, n_signals=60, n_atoms=30)
    known = np.random.default_rng(0).random(X.shape) < 0.8
    known[:30] = known[0]
    X = np.where(known, X, 0.0)
    cold = code_by_descent(LassoCD(0.05), X, dictionary(atoms), known)
    warm = code_by_descent(LassoCD(0.05), X, dictionary(atoms), known, cold.codes)
    assert not warm.n_iter.any()
    np.testing.assert_array_equal(to_dense(warm.codes), to_dense(cold.codes))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("with_gram", [True, False])
def test_threads_change_nothing(coder, with_gram, masked):
    X, atoms = problem(16, n_signals=2100, n_features=10, n_atoms=14)
    known = np.random.default_rng(0).random(X.shape) < 0.7 if masked else None
    X = X if known is None else np.where(known, X, 0.0)
    one, two = (
        encode(coder(0.1), X, dictionary(atoms, with_gram=with_gram), known=known, n_jobs=jobs) for jobs in (1, 2)
    )
    for k in (1, 2, 3):
        np.testing.assert_array_equal(one[k], two[k])
    for k in (0, 1, 2):
        np.testing.assert_array_equal(one.codes[k], two.codes[k])


@pytest.mark.parametrize("with_gram", [True, False])
def test_single_precision(coder, with_gram):
    X, atoms = problem(17, n_signals=50, dtype=np.float32)
    coding = encode(coder(0.1, tol=1e-4), X, dictionary(atoms, with_gram=with_gram))
    assert coding.codes.values.dtype == np.float32
    assert coding.squared_residual.dtype == coding.certificate.dtype == np.float64
    outside = gaps_from_outside(X, to_dense(coding.codes), atoms, 0.1)
    assert (outside <= 1.01e-4 * 0.5).all()
    double = encode(coder(0.1, tol=1e-4), X.astype(np.float64), dictionary(atoms.astype(np.float64)))
    np.testing.assert_allclose(to_dense(coding.codes), to_dense(double.codes), atol=1e-2)


def test_a_gap_below_single_precision_is_measured_in_double():
    """The tolerance cannot be reached, and the certificate does not pretend that it was."""
    X, atoms = problem(18, n_signals=50, dtype=np.float32)
    coding = code_by_descent(LassoCD(0.01, tol=1e-9), X, dictionary(atoms))
    outside = gaps_from_outside(X, to_dense(coding.codes), atoms, 0.01)
    np.testing.assert_allclose(coding.certificate, outside, rtol=1e-6, atol=1e-14)
    assert outside.max() > 1e-9 * 0.5


def test_a_tiny_residual_keeps_its_certificate():
    """Signals in the span of the atoms under a small penalty: the residual is 1e-6 of the signal."""
    X, atoms = problem(19, n_atoms=20)
    coding = code_by_descent(LassoCD(1e-8, tol=1e-15, max_iter=100_000), X, dictionary(atoms))
    Z = to_dense(coding.codes)
    np.testing.assert_allclose(coding.squared_residual, ((X - Z @ atoms) ** 2).sum(1), rtol=1e-6)
    np.testing.assert_allclose(coding.certificate, gaps_from_outside(X, Z, atoms, 1e-8), atol=1e-13)


def test_limits_of_iterations():
    X, atoms = problem(20)
    coding = code_by_descent(LassoCD(0.01, tol=0.0, max_iter=2), X, dictionary(atoms))
    assert (coding.n_iter <= 2).all()
    outside = gaps_from_outside(X, to_dense(coding.codes), atoms, 0.01)
    np.testing.assert_allclose(coding.certificate, outside, atol=1e-14)
    short = code_by_lars(LassoLARS(0.01, max_iter=3), X, dictionary(atoms))
    outside = gaps_from_outside(X, to_dense(short.codes), atoms, 0.01)
    np.testing.assert_allclose(short.certificate, outside, atol=1e-14)
    assert (np.diff(short.codes.indptr) <= 3).all()


def test_working_sets_that_outgrow_their_room():
    """Small penalties over many features: codes with far more atoms than a first working set."""
    X, atoms = problem(21, n_signals=4, n_features=120, n_atoms=300)
    for with_gram in (True, False):
        coding = code_by_descent(LassoCD(1e-3, tol=1e-10, max_iter=100_000), X, dictionary(atoms, with_gram=with_gram))
        assert np.diff(coding.codes.indptr).min() > 80
        assert (gaps_from_outside(X, to_dense(coding.codes), atoms, 1e-3) <= 1e-10 * 0.5).all()


def test_arguments_are_left_alone(coder):
    X, atoms = problem(22)
    known = np.random.default_rng(0).random(X.shape) < 0.7
    X = np.where(known, X, 0.0)
    start = from_matrix(np.random.default_rng(1).standard_normal((12, 50)))
    arrays = (X, atoms, known, start.values, start.indices)
    copies = [array.copy() for array in arrays]
    encode(coder(0.1), X, dictionary(atoms), known=known, start=start)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
