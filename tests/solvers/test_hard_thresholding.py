"""Thresholding coders: closed forms on orthonormal atoms, recovery under incoherence, invariances, masks."""

import itertools

import numpy as np
import pytest
import scipy.linalg

from sparsemodels.solvers.coders import IHT, CoSaMP, TopK, dictionary
from sparsemodels.solvers.sparse_codes import to_dense
from sparsemodels.solvers.sparse_coding import encode

CODERS = [IHT(3, tol=1e-12, max_iter=5000), CoSaMP(3, tol=1e-12), TopK(3, signed=True)]
NAMES = ["iht", "cosamp", "topk"]


def orthonormal(n, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]


@pytest.mark.parametrize("coder", CODERS, ids=NAMES)
def test_orthonormal_atoms_keep_the_largest_coefficients(coder):
    D, X = orthonormal(12), np.random.default_rng(1).standard_normal((30, 12))
    Z = X @ D.T
    expected = np.where(np.abs(Z) >= np.sort(np.abs(Z), axis=1)[:, [-3]], Z, 0.0)
    coding = encode(coder, X, dictionary(D))
    np.testing.assert_allclose(to_dense(coding.codes), expected, atol=1e-11)
    np.testing.assert_allclose(coding.squared_residual, ((X - expected @ D) ** 2).sum(1), rtol=1e-10)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("coder", CODERS[:2], ids=NAMES[:2])
def test_recovers_sparse_codes_of_incoherent_atoms(coder, positive):
    # Identity and Hadamard: coherence 1/8, so that codes of up to 4 atoms are the only ones of their size.
    D = np.vstack([np.eye(64), scipy.linalg.hadamard(64) / 8.0])
    rng = np.random.default_rng(2)
    Z = np.zeros((40, 128))
    for row in Z:
        row[rng.choice(128, 3, replace=False)] = rng.uniform(1.0, 2.0, 3) * (1 if positive else rng.choice([-1, 1], 3))
    coding = encode(coder._replace(positive=positive), Z @ D, dictionary(D))
    np.testing.assert_allclose(to_dense(coding.codes), Z, atol=1e-8)
    assert coding.certificate.max() < 1e-8


@pytest.mark.parametrize("coder", CODERS, ids=NAMES)
@pytest.mark.parametrize("positive", [False, True])
def test_norms_of_atoms_only_scale_their_coefficients(coder, positive):
    rng = np.random.default_rng(3)
    D, X = rng.standard_normal((30, 15)), rng.standard_normal((25, 15))
    scale = rng.uniform(0.2, 5.0, 30)
    coder = coder._replace(signed=not positive) if isinstance(coder, TopK) else coder._replace(positive=positive)
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    plain, scaled = encode(coder, X, dictionary(D)), encode(coder, X, dictionary(D * scale[:, None]))
    np.testing.assert_allclose(to_dense(scaled.codes) * scale, to_dense(plain.codes), atol=1e-8)
    if positive:
        assert plain.codes.values.min() > 0.0
    for c in (1e-6, 1e6):  # the units of the signals
        np.testing.assert_allclose(
            to_dense(encode(coder, c * X, dictionary(D)).codes), c * to_dense(plain.codes), rtol=1e-8
        )


@pytest.mark.parametrize("coder", CODERS, ids=NAMES)
def test_unknown_entries_never_count(coder):
    rng = np.random.default_rng(4)
    D, X = rng.standard_normal((20, 14)), rng.standard_normal((12, 14))
    known = rng.random(X.shape) < 0.7
    known[0] = False
    coding = encode(coder, np.where(known, X, 0.0), dictionary(D), known=known)
    for i, row in enumerate(known[1:], start=1):
        alone = encode(coder, np.ascontiguousarray(X[[i]][:, row]), dictionary(D[:, row]))
        np.testing.assert_allclose(to_dense(coding.codes)[i], to_dense(alone.codes)[0], atol=1e-8)
        np.testing.assert_allclose(coding.squared_residual[i], alone.squared_residual[0], rtol=1e-8)
    assert not to_dense(coding.codes)[0].any()


@pytest.mark.parametrize("coder", CODERS, ids=NAMES)
def test_with_and_without_gram_threads_and_single_precision(coder):
    rng = np.random.default_rng(5)
    D, X = rng.standard_normal((40, 16)), rng.standard_normal((1100, 16))
    one = encode(coder, X, dictionary(D))
    two = encode(coder, X, dictionary(D), n_jobs=2)
    np.testing.assert_array_equal(one.codes.values, two.codes.values)
    np.testing.assert_array_equal(one.codes.indices, two.codes.indices)
    without = encode(coder, X, dictionary(D, with_gram=False))
    assert np.mean(np.isclose(without.squared_residual, one.squared_residual, rtol=1e-6)) > 0.99
    single = encode(coder, X.astype(np.float32), dictionary(D.astype(np.float32)))
    assert single.codes.values.dtype == np.float32
    assert np.mean(np.isclose(single.squared_residual, one.squared_residual, rtol=1e-3)) > 0.97


@pytest.mark.parametrize("coder", CODERS, ids=NAMES)
def test_degenerate_signals_and_dictionaries(coder):
    rng = np.random.default_rng(6)
    D = rng.standard_normal((9, 6))
    D[4] = D[1]
    D[7] = 0.0
    X = rng.standard_normal((8, 6))
    X[2] = 0.0
    coder = coder._replace(n_nonzero=9)
    coding = encode(coder, X, dictionary(D))
    Z = to_dense(coding.codes)
    assert np.isfinite(Z).all()
    assert not Z[2].any()
    assert not Z[:, 7].any()
    assert coding.squared_residual[2] == 0.0
    if not isinstance(coder, TopK):
        np.testing.assert_allclose(coding.squared_residual, 0.0, atol=1e-6)  # the atoms span the space


@pytest.mark.parametrize("positive", [False, True])
def test_compressive_pursuit_refits_what_it_keeps(positive):
    rng = np.random.default_rng(7)
    D, X = rng.standard_normal((25, 18)), rng.standard_normal((20, 18))
    coding = encode(CoSaMP(4, positive=positive), X, dictionary(D))
    Z = to_dense(coding.codes)
    for x, z, square in zip(X, Z, coding.squared_residual):
        S = np.flatnonzero(z)
        best = np.linalg.lstsq(D[S].T, x, rcond=None)[0]
        np.testing.assert_allclose(z[S], best, atol=1e-10)
        np.testing.assert_allclose(square, ((x - z @ D) ** 2).sum(), rtol=1e-10)
    assert (Z >= 0).all() or not positive


def test_iterative_thresholding_ends_where_its_support_is_refitted():
    rng = np.random.default_rng(8)
    D, X = rng.standard_normal((12, 10)), rng.standard_normal((10, 10))
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    Z = to_dense(encode(IHT(2, tol=1e-13, max_iter=100_000), X, dictionary(D)).codes)
    for x, z in zip(X, Z):
        S = np.flatnonzero(z)
        best = np.linalg.lstsq(D[S].T, x, rcond=None)[0]
        np.testing.assert_allclose(z[S], best, atol=1e-9)
        pairs = [np.linalg.lstsq(D[list(P)].T, x, rcond=None)[1] for P in itertools.combinations(range(12), 2)]
        left = ((x - z @ D) ** 2).sum()
        assert min(map(np.sum, pairs)) <= left * (1 + 1e-12)
        assert left < x @ x
