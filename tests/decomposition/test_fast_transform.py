import pickle
import warnings

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.decomposition import FastTransform, SparseCoder
from sparsemodels.solvers.butterfly import butterfly_radices, butterfly_supports, digit_reversal
from sparsemodels.solvers.factor_schedules import hadamard_schedule, multilayer_schedule
from sparsemodels.solvers.sparse_factor_projections import LargestEntries, LargestPerColumn, LargestPerRow

RNG = np.random.default_rng(0)
SMOOTH = np.exp(-0.5 * ((np.linspace(0, 6, 12)[:, None] - np.linspace(0, 6, 40)) / 0.7) ** 2)

CHECKED = [
    FastTransform(),
    FastTransform(method="hierarchical"),
    FastTransform(method="palm", side="left"),
    FastTransform(constraints=[LargestPerRow(2), LargestPerRow(2)], max_iter=20),
]


@parametrize_with_checks(CHECKED)
def test_sklearn_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        check(estimator)


def random_butterfly(n, seed):
    rng = np.random.default_rng(seed)
    product = np.eye(n)
    for support in butterfly_supports(butterfly_radices(n, n)):
        product = product @ np.where(support.toarray(), rng.standard_normal((n, n)), 0.0)
    return product


def product(model):
    dense = model.lambda_ * np.linalg.multi_dot(
        [np.eye(model.factors_[0].shape[0]), *(f.toarray() for f in model.factors_)]
    )
    if model.permutation_ is None:
        return dense
    in_order = np.empty_like(dense)
    in_order[:, model.permutation_] = dense
    return in_order


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("constraints", ["butterfly", "hadamard"])
@pytest.mark.parametrize("n", [16, 32, 64])
def test_a_hadamard_matrix_with_the_default_tolerance(n, constraints, side):
    H = scipy.linalg.hadamard(n)
    model = FastTransform(constraints=constraints, side=side).fit(H)
    assert model.reconstruction_err_ <= 1e-10
    assert model.n_nonzeros_ == 2 * n * np.log2(n)
    assert model.rcg_ == pytest.approx(n / (2 * np.log2(n)))
    assert len(model.factors_) == np.log2(n)
    assert model.status_ == "converged"
    X = RNG.standard_normal((70, n))
    assert np.allclose(model.transform(X), X @ H.T, atol=1e-9)
    assert np.allclose(model.inverse_transform(model.transform(X)), X)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [8, 24, 256])
def test_a_butterfly_and_its_certificates(n, dtype):
    A = random_butterfly(n, n).astype(dtype)
    model = FastTransform().fit(A)
    rounding = 1e-13 if dtype is np.float64 else 1e-5
    assert model.reconstruction_err_ <= rounding
    assert model.lower_bound_ <= rounding
    assert model.spectral_error_ <= rounding * np.linalg.norm(A)
    assert model.transform(A).dtype == model.components_.dtype == dtype
    assert all(factor.dtype == dtype for factor in model.factors_)
    assert np.allclose(product(model), A, atol=10 * rounding * np.abs(A).max())


def test_the_certificates_are_what_they_say():
    A = random_butterfly(16, 1)
    A = A / np.linalg.norm(A) + 0.02 * RNG.standard_normal(A.shape) / 16.0
    models = [FastTransform().fit(A), FastTransform(method="hierarchical", max_iter=2000, tol=1e-6).fit(A)]
    bound = models[0].lower_bound_
    assert 0.01 < bound < 0.02
    for model in models:
        error = A - product(model)
        assert np.linalg.norm(error) == pytest.approx(model.reconstruction_err_ * np.linalg.norm(A), rel=1e-9)
        assert np.linalg.norm(error, 2) == pytest.approx(model.spectral_error_, rel=1e-9)
        assert 0.5 * np.linalg.norm(error) ** 2 == pytest.approx(model.objective_history_[-1], rel=1e-9)
        assert model.lower_bound_ == bound <= model.reconstruction_err_
        assert np.allclose(model.components_, product(model))
        worst = np.linalg.svd(error)[2][0]
        apart = np.linalg.norm(model.transform(worst[None]) - worst @ A.T)
        assert apart == pytest.approx(model.spectral_error_, rel=1e-9)
    assert np.isnan(models[0].kkt_)
    assert models[1].kkt_ <= 1e-6


def test_the_bound_of_the_spectral_norm_of_a_large_matrix():
    # Beyond the order up to which singular values are computed: a Schatten norm.
    A = np.kron(scipy.linalg.hadamard(8), np.eye(80)) + 1e-3 * RNG.standard_normal((640, 640))
    model = FastTransform(2).fit(A)
    largest = np.linalg.norm(A - model.components_, 2)
    assert largest <= model.spectral_error_ <= 640 ** (1 / 32) * largest


def test_a_matrix_whose_columns_are_in_another_order():
    n = 32
    order = digit_reversal(butterfly_radices(n, n))
    hidden = random_butterfly(n, 3)
    scrambled = np.empty_like(hidden)
    scrambled[:, order] = hidden
    by_name, given = (FastTransform(permutation=p).fit(scrambled) for p in ("bit_reversal", order))
    plain = FastTransform().fit(scrambled)
    assert np.array_equal(by_name.permutation_, order)
    assert max(by_name.reconstruction_err_, given.reconstruction_err_) <= 1e-13
    assert plain.reconstruction_err_ >= plain.lower_bound_ > 0.2
    X = RNG.standard_normal((3, n))
    assert np.allclose(given.transform(X), X @ scrambled.T)
    assert np.allclose(product(given), scrambled)
    assert np.allclose(given.components_, scrambled)
    # Walsh functions sorted by their sign changes: a Hadamard matrix with its columns in another order.
    H = scipy.linalg.hadamard(n)
    walsh = H[np.argsort(np.count_nonzero(np.diff(H, axis=1), axis=1))]
    columns = [int(np.flatnonzero((walsh == column[:, None]).all(axis=0))[0]) for column in H.T]
    assert FastTransform(permutation=columns).fit(walsh).reconstruction_err_ <= 1e-13
    assert FastTransform().fit(walsh).lower_bound_ > 0.2


@pytest.mark.parametrize("shape", [(12, 40), (40, 12)])
def test_a_smooth_operator_trades_nonzeros_for_error(shape):
    A = SMOOTH.reshape(12, 40) if shape == (12, 40) else SMOOTH.T
    side = "right" if shape[1] > shape[0] else "left"
    errors, gains = [], []
    for outer, inner in ((2, 2), (3, 3)):
        schedule = multilayer_schedule(shape, 3, outer_nonzeros=outer, inner_nonzeros=inner)
        model = FastTransform(constraints=schedule, side=side, max_iter=300, tol=1e-2).fit(A)
        errors.append(model.reconstruction_err_)
        gains.append(model.rcg_)
        assert model.lower_bound_ == 0.0
        assert model.n_nonzeros_ <= 2 * inner * 12 + outer * 40
    assert errors[1] < 0.8 * errors[0]
    assert gains[1] < gains[0]
    # As many numbers in a truncated singular value decomposition leave more.
    values = np.linalg.svd(A, compute_uv=False)
    rank = int(A.size / gains[-1] / sum(shape))
    assert errors[-1] < np.linalg.norm(values[rank:]) / np.linalg.norm(values)


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (7, 7), (1, 9), (9, 1)])
def test_inverse_transform_is_least_squares(shape):
    A = RNG.standard_normal(shape)
    model = FastTransform().fit(A)
    Z = RNG.standard_normal((4, shape[0]))
    assert np.allclose(model.inverse_transform(Z), Z @ np.linalg.pinv(model.components_).T)
    assert model.get_feature_names_out().tolist() == [f"fasttransform{k}" for k in range(shape[0])]
    with pytest.raises(ValueError, match=f"X must have {shape[0]} columns"):
        model.inverse_transform(np.zeros((2, shape[0] + 1)))


def test_a_tight_frame_is_inverted_by_its_adjoint():
    rows = np.linalg.qr(RNG.standard_normal((9, 9)))[0][:6] * 3.0
    model = FastTransform(1).fit(rows)
    assert model._squared_norm == pytest.approx(9.0)
    Z = RNG.standard_normal((4, 6))
    assert np.allclose(model.inverse_transform(Z), Z @ np.linalg.pinv(rows).T)


def test_a_dictionary_and_a_pipeline():
    atoms = random_butterfly(16, 4)
    model = FastTransform().fit(atoms)
    X = RNG.standard_normal((5, 16))
    codes = RNG.standard_normal((5, 16))
    assert np.allclose(model.transform(X), X @ atoms.T)
    fast, plain = (SparseCoder(dictionary, n_nonzero_coefs=2).fit(X).transform(X) for dictionary in (model, atoms))
    assert scipy.sparse.issparse(fast) == scipy.sparse.issparse(plain)
    assert abs(fast - plain).max() <= 1e-9
    operator = model.as_linear_operator()
    assert np.allclose(operator.transposed_rows(codes), codes @ atoms)
    pipe = make_pipeline(clone(model).set_output(transform="pandas")).fit(atoms)
    assert list(pipe.transform(X).columns) == [f"fasttransform{k}" for k in range(16)]


@pytest.mark.parametrize("constraints", ["butterfly", hadamard_schedule(16), [LargestEntries(64), LargestPerColumn(4)]])
def test_clone_pickle_and_threads(constraints):
    H = scipy.linalg.hadamard(16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = clone(FastTransform(constraints=constraints, max_iter=50)).fit(H)
    restored = pickle.loads(pickle.dumps(model))
    X = RNG.standard_normal((3000, 16))
    expected = model.transform(X)
    assert np.array_equal(restored.transform(X), expected)
    for factor, original in zip(restored.factors_, model.factors_, strict=True):
        assert np.array_equal(factor.toarray(), original.toarray())
    assert np.array_equal(model.set_params(n_jobs=2).transform(X), expected)
    assert np.allclose(expected, X @ model.components_.T)


def test_zeros_and_prime_orders():
    model = FastTransform().fit(np.zeros((8, 8)))
    assert model.reconstruction_err_ == model.spectral_error_ == model.lower_bound_ == 0.0
    assert not np.any(model.transform(np.ones((1, 8))))
    for constraints in ("hadamard", [LargestEntries(3)] * 2):
        model = FastTransform(constraints=constraints).fit(np.zeros((8, 8)))
        assert model.reconstruction_err_ == 0.0
        assert model.status_ == "converged"
    model = FastTransform().fit(RNG.standard_normal((13, 13)))
    assert (len(model.factors_), model.rcg_) == (1, 1.0)


def test_an_early_end_is_told():
    H = scipy.linalg.hadamard(16) + 0.1 * RNG.standard_normal((16, 16))
    with pytest.warns(ConvergenceWarning, match=r"residual of stationarity .* > 1.000e-09; increase max_iter or tol"):
        model = FastTransform(constraints="hadamard", max_iter=2, tol=1e-9).fit(H)
    assert model.status_ == "max_iter"
    with pytest.warns(ConvergenceWarning, match="time_limit was reached"):
        model = FastTransform(constraints="hadamard", time_limit=1e-9).fit(H)
    assert model.status_ == "time_limit"
    assert model.reconstruction_err_ < 1.0
    assert len(model.factors_) == 2


def test_bad_parameters():
    A = RNG.standard_normal((12, 12))
    cases = [
        ({"n_factors": 4}, A, "a butterfly of 12 x 12 has between 1 and 3 factors.*got n_factors=4"),
        ({"constraints": "hadamard"}, A, "needs a square matrix of order 2, 4, 8, ..., got order 12"),
        ({"constraints": "hadamard"}, A[:8], r"needs a square matrix, got X of shape \(8, 12\)"),
        ({"constraints": "hadamard", "method": "butterfly"}, A, "method='butterfly' needs constraints='butterfly'"),
        ({"constraints": [LargestEntries(3)], "n_factors": 2}, A, "'auto' or the number 1 of constraints, got 2"),
        ({"constraints": [LargestEntries(3)] * 3, "method": "hierarchical"}, A, "residual_constraints must hold 1"),
        ({"constraints": []}, A, "constraints must hold a record for every factor"),
        ({"permutation": "bit_reversal"}, A[:6], r"needs a square matrix, got X of shape \(6, 12\)"),
        ({"permutation": [0, 0, 1]}, A[:, :3], "permutation must hold every column from 0 to 2 once"),
        ({"tol": -1.0}, A, "The 'tol' parameter"),
    ]
    for parameters, matrix, message in cases:
        with pytest.raises(ValueError, match=message):
            FastTransform(**parameters).fit(matrix)
