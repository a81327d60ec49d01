"""SparseCoder: every coder against what defines it, certificates from outside, scikit-learn's contract."""

import pickle
import warnings

import numpy as np
import pytest
import scipy.fft
import scipy.linalg
import scipy.sparse
from sklearn.decomposition import sparse_encode
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.decomposition import SparseCoder
from sparsemodels.decomposition.coding_parameters import ALGORITHMS


@parametrize_with_checks([SparseCoder(algorithm=name, alpha=0.1) for name in ALGORITHMS])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def problem(seed=0, n_atoms=40, n_features=20, n_signals=30):
    rng = np.random.default_rng(seed)
    D = rng.standard_normal((n_atoms, n_features))
    return D / np.linalg.norm(D, axis=1, keepdims=True), rng.standard_normal((n_signals, n_features))


def test_matching_pursuit_finds_the_codes_of_scikit_learn():
    D, X = problem()
    ours = SparseCoder(D, n_nonzero_coefs=4).fit(X).transform(X)
    np.testing.assert_allclose(ours, sparse_encode(X, D, algorithm="omp", n_nonzero_coefs=4), atol=1e-10)


@pytest.mark.parametrize("algorithm", ["lasso_cd", "lasso_lars"])
@pytest.mark.parametrize("positive", [False, True])
def test_lasso_codes_solve_the_lasso(algorithm, positive):
    D, X = problem(1)
    coder = SparseCoder(D, algorithm=algorithm, alpha=0.2, positive=positive, tol=1e-12).fit(X)
    codes = coder.transform(X)
    peer = Lasso(alpha=0.2 / 20, fit_intercept=False, tol=1e-14, max_iter=100_000, positive=positive)
    np.testing.assert_allclose(codes, np.array([peer.fit(D.T, x).coef_ for x in X]), atol=1e-6)
    certificate = coder.certify(X, codes)
    # The gap from its definition, in the primal and the dual.
    for x, z, gap in zip(X, codes, certificate.dual_gap):
        r = x - z @ D
        slopes = D @ r if positive else np.abs(D @ r)
        theta = r * min(1.0, 0.2 / slopes.max())
        primal = 0.5 * r @ r + 0.2 * np.abs(z).sum()
        dual = x @ theta - 0.5 * theta @ theta
        np.testing.assert_allclose(gap, max(primal - dual, 0.0), atol=1e-12)
        assert gap <= 1e-11 * 0.5 * x @ x
    assert certificate.kkt is None


@pytest.mark.parametrize("algorithm", ["omp", "ols", "cosamp"])
def test_certificate_of_a_refit_and_of_bad_codes(algorithm):
    D, X = problem(2)
    coder = SparseCoder(D, algorithm=algorithm, n_nonzero_coefs=3).fit(X)
    codes = coder.transform(X)
    certificate = coder.certify(X, codes)
    np.testing.assert_allclose(certificate.residual_norm, np.linalg.norm(X - codes @ D, axis=1), rtol=1e-12)
    assert certificate.kkt.max() < 1e-12
    codes[:, np.argmax(np.abs(codes[0]))] += 0.3
    worse = coder.certify(X, codes)
    r = X[0] - codes[0] @ D
    expected = np.abs(D[codes[0] != 0.0] @ r).max() / np.linalg.norm(X[0])
    np.testing.assert_allclose(worse.kkt[0], expected, rtol=1e-10)
    assert worse.kkt[0] > 0.01


def test_exact_codes_of_few_atoms_are_proven_sparsest():
    D = np.vstack([np.eye(64), scipy.linalg.hadamard(64) / 8.0])  # coherence 1/8: proofs up to four atoms
    rng = np.random.default_rng(3)
    Z = np.zeros((20, 128))
    for row in Z:
        row[rng.choice(128, 4, replace=False)] = rng.choice([-1.0, 1.0], 4) * rng.uniform(0.5, 2.0, 4)
    coder = SparseCoder(D, max_residual=1e-9).fit(Z @ D)
    assert coder.coherence_ == pytest.approx(0.125, abs=1e-15)
    codes = coder.transform(Z @ D)
    np.testing.assert_allclose(codes, Z, atol=1e-9)
    assert coder.certify(Z @ D, codes).sparsest.all()
    # A dense code of the same signal proves nothing, nor does an inexact one.
    dense = np.linalg.lstsq(D.T, (Z @ D).T, rcond=None)[0].T
    assert not coder.certify(Z @ D, dense).sparsest.any()
    assert not coder.certify(Z @ D + 0.01, codes).sparsest.any()


def test_error_constraint_holds_with_the_fewest_atoms_of_the_greedy_order():
    D, X = problem(4)
    coder = SparseCoder(D, max_residual=1.5).fit(X)
    codes = coder.transform(X)
    residual = np.linalg.norm(X - codes @ D, axis=1)
    assert (residual <= 1.5 * (1 + 1e-12)).all()
    counts = np.count_nonzero(codes, axis=1)
    assert len(set(counts)) > 3
    for x, count in zip(X, counts):
        if count:
            fewer = (
                SparseCoder(D, n_nonzero_coefs=count - 1).fit(X).transform(x[None]) if count > 1 else np.zeros((1, 40))
            )
            assert np.linalg.norm(x - fewer @ D) > 1.5


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_missing_entries_by_nan_and_by_mask(algorithm):
    D, X = problem(5)
    known = np.random.default_rng(5).random(X.shape) < 0.8
    coder = SparseCoder(D, algorithm=algorithm, n_nonzero_coefs=3, alpha=0.2).fit(X)
    with_nan = np.where(known, X, np.nan)
    spoiled = np.where(known, X, 1e30)
    codes = coder.transform(with_nan)
    np.testing.assert_array_equal(codes, coder.transform(spoiled, mask=known))
    alone = SparseCoder(D[:, known[0]], algorithm=algorithm, n_nonzero_coefs=3, alpha=0.2).fit(X[:, known[0]])
    np.testing.assert_allclose(codes[0], alone.transform(X[[0]][:, known[0]])[0], atol=2e-3)
    certificate = coder.certify(with_nan, codes)
    expected = np.linalg.norm(np.where(known, X - codes @ D, 0.0), axis=1)
    np.testing.assert_allclose(certificate.residual_norm, expected, rtol=1e-10)
    with pytest.raises(ValueError, match="mask must have the shape of X"):
        coder.transform(X, mask=known[:, :3])
    with pytest.raises(ValueError, match="infinity or NaN at a known position"):
        coder.transform(with_nan, mask=np.ones_like(known))


def test_form_of_the_output():
    D, X = problem(6)
    dense = SparseCoder(D, n_nonzero_coefs=2).fit(X)
    sparse = SparseCoder(D, n_nonzero_coefs=2, output="csr").fit(X)
    codes = sparse.transform(X)
    assert isinstance(codes, scipy.sparse.csr_array)
    assert codes.has_canonical_format
    np.testing.assert_array_equal(codes.toarray(), dense.transform(X))
    np.testing.assert_allclose(sparse.inverse_transform(codes), dense.transform(X) @ D, atol=1e-13)
    many = np.tile(X, (5000, 1))
    assert scipy.sparse.issparse(dense.transform(many))
    frame = dense.set_output(transform="pandas").transform(X)
    assert list(frame.columns[:2]) == ["sparsecoder0", "sparsecoder1"]


def test_cosine_transform_is_the_default_dictionary():
    X = np.random.default_rng(7).standard_normal((5, 16))
    coder = SparseCoder(n_nonzero_coefs=16).fit(X)
    np.testing.assert_allclose(coder.transform(X), scipy.fft.dct(X, norm="ortho"), atol=1e-12)
    assert coder.coherence_ < 1e-15


def test_dictionary_of_a_fitted_estimator_and_pipelines():
    D, X = problem(8)
    lender = SparseCoder(D).fit(X)
    coder = SparseCoder(lender, n_nonzero_coefs=3)
    pipe = make_pipeline(coder)
    np.testing.assert_array_equal(pipe.fit_transform(X), SparseCoder(D, n_nonzero_coefs=3).fit_transform(X))


def test_threads_precision_pickle_and_untouched_input():
    D, X = problem(9, n_signals=1100)
    X.flags.writeable = D.flags.writeable = False
    one = SparseCoder(D, n_nonzero_coefs=3, n_jobs=1, output="csr").fit(X)
    two = SparseCoder(D, n_nonzero_coefs=3, n_jobs=2, output="csr").fit(X)
    codes = one.transform(X)
    np.testing.assert_array_equal(codes.data, two.transform(X).data)
    again = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(codes.data, again.transform(X).data)
    assert len(pickle.dumps(one)) < 2 * D.nbytes + 5000  # without the Gram matrix
    single = one.transform(X.astype(np.float32))
    assert single.dtype == np.float32
    assert np.mean((single != 0).toarray() == (codes != 0).toarray()) > 0.999
    assert one.score(X) == pytest.approx(-np.mean((X - codes @ D) ** 2), rel=1e-12)


def test_errors_name_the_parameter():
    D, X = problem(10)
    for parameters, message in [
        ({"dictionary": D[:, :5]}, "dictionary must have one column a feature, 20, got an array of shape"),
        ({"dictionary": D, "algorithm": "iht", "max_residual": 1.0}, "max_residual=1.0 needs the coder 'omp' or 'ols'"),
        ({"dictionary": D, "algorithm": "abstopk", "positive": True}, "positive=True contradicts the coder 'abstopk'"),
        ({"dictionary": np.full_like(D, np.nan)}, "dictionary contains NaN"),
    ]:
        with pytest.raises(ValueError, match=message):
            SparseCoder(**parameters).fit(X)
    coder = SparseCoder(D).fit(X)
    with pytest.raises(ValueError, match="X must have 40 columns"):
        coder.inverse_transform(X)
    with pytest.raises(ValueError, match="codes must have 40 columns"):
        coder.certify(X, X)
    with pytest.raises(ValueError, match="codes must have 30 rows"):
        coder.certify(X, np.zeros((3, 40)))


def test_too_few_sweeps_warn_with_the_certificate():
    D, X = problem(11)
    coder = SparseCoder(D, algorithm="iht", n_nonzero_coefs=5, transform_max_iter=1).fit(X)
    with pytest.warns(ConvergenceWarning, match=r"relative change .* increase transform_max_iter or tol"):
        coder.transform(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        coder.set_params(transform_max_iter=100_000).transform(X)
