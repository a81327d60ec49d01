"""Butterflies against fast transforms that are known, and against an independent alternating least squares."""

from functools import reduce

import numpy as np
import pytest
import scipy.fft
import scipy.linalg

from sparsemodels.solvers.butterfly import (
    butterfly_lower_bound,
    butterfly_nonzeros,
    butterfly_radices,
    butterfly_supports,
    digit_reversal,
    factorize_butterfly,
)

MIXED = [((2, 2),) * 3, ((2, 3), (5, 2), (3, 4)), ((4, 4), (2, 2)), ((3, 3), (2, 2), (2, 2)), ((1, 3), (4, 1))]


def product(factors):
    return reduce(lambda left, right: left @ right, factors).toarray()


def relative_error(A, factors):
    return np.linalg.norm(product(factors) - A) / np.linalg.norm(A)


def random_butterfly(radices, seed, is_complex=False):
    rng = np.random.default_rng(seed)
    factors = [support.astype(np.complex128 if is_complex else np.float64) for support in butterfly_supports(radices)]
    for factor in factors:
        factor.data = rng.standard_normal(factor.nnz) + (1j * rng.standard_normal(factor.nnz) if is_complex else 0.0)
    return product(factors)


@pytest.mark.parametrize("radices", MIXED)
def test_the_supports_are_kronecker_products(radices):
    for level, ((p, q), support) in enumerate(zip(radices, butterfly_supports(radices), strict=True)):
        before = np.prod([q for _, q in radices[:level]], dtype=int)
        after = np.prod([p for p, _ in radices[level + 1 :]], dtype=int)
        expected = np.kron(np.kron(np.eye(before), np.ones((p, q))), np.eye(after))
        assert np.array_equal(support.toarray(), expected.astype(bool))
    assert butterfly_nonzeros(radices) == sum(support.nnz for support in butterfly_supports(radices))


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("n", [8, 16, 32, 64, 128, 256])
def test_fast_transforms_are_found_exactly(n, balanced):
    radices = butterfly_radices(n, n)
    order = digit_reversal(radices)
    assert sorted(order) == list(range(n))
    fourier = np.fft.fft(np.eye(n))
    matrices = [
        scipy.linalg.hadamard(n),
        fourier[:, order],
        random_butterfly(radices, n),
        random_butterfly(radices, n, is_complex=True),
    ]
    for A in matrices:
        factors = factorize_butterfly(A, radices, balanced=balanced)
        assert relative_error(A, factors) <= 1e-13
        assert sum(factor.nnz for factor in factors) == 2 * n * np.log2(n)
        assert butterfly_lower_bound(A, radices) <= 1e-13 * np.linalg.norm(A)
    # The order matters: without it the Fourier matrix is no butterfly, and the bound proves it.
    assert butterfly_lower_bound(fourier, radices) > 0.1 * np.linalg.norm(fourier)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("radices", MIXED)
def test_any_radices_and_shapes(radices, balanced):
    A = random_butterfly(radices, 1)
    factors = factorize_butterfly(A, radices, balanced=balanced)
    assert relative_error(A, factors) <= 1e-13
    for factor, support in zip(factors, butterfly_supports(radices), strict=True):
        assert np.array_equal(factor.indices, support.indices)
        assert np.array_equal(factor.indptr, support.indptr)


@pytest.mark.parametrize("n", [6, 12, 60, 63])
def test_the_fourier_matrix_of_a_composite_order_in_mixed_radices(n):
    radices = butterfly_radices(n, n)
    A = np.fft.fft(np.eye(n))[:, digit_reversal(radices)]
    assert relative_error(A, factorize_butterfly(A, radices)) <= 1e-13


def test_the_haar_matrix_is_a_butterfly_up_to_the_order_of_its_rows():
    def haar(n):
        if n == 1:
            return np.ones((1, 1))
        return np.vstack([np.kron(haar(n // 2), [1.0, 1.0]), np.kron(np.eye(n // 2), [1.0, -1.0])])

    n = 32
    # Position 2^k (2 t + 1) takes the wavelet number t of the scale k, the finest first.
    scale = [(i & -i).bit_length() - 1 for i in range(n)]
    order = [0] + [n // 2 ** (scale[i] + 1) + (i >> (scale[i] + 1)) for i in range(1, n)]
    assert sorted(order) == list(range(n))
    A = haar(n)[order]
    assert relative_error(A, factorize_butterfly(A, butterfly_radices(n, n))) <= 1e-13


def test_the_cosine_transform_is_the_real_part_of_a_butterfly_and_none_itself():
    n = 16
    radices = butterfly_radices(n, n)
    cosine = scipy.fft.dct(np.eye(n), axis=0, type=2) / 2.0
    # Makhoul: even samples forwards, odd ones backwards, then a Fourier transform and a rotation of each output.
    order = np.concatenate([np.arange(0, n, 2), np.arange(1, n, 2)[::-1]])
    rotated = np.exp(-0.5j * np.pi * np.arange(n) / n)[:, None] * np.fft.fft(np.eye(n))
    assert np.allclose(rotated.real, cosine[:, order])
    digits = digit_reversal(radices)
    assert relative_error(rotated[:, digits], factorize_butterfly(rotated[:, digits], radices)) <= 1e-13
    # In these orders of its columns the real matrix itself is far from every butterfly.
    for columns in (np.arange(n), order, order[digits], digits):
        assert butterfly_lower_bound(cosine[:, columns], radices) > 0.1 * np.linalg.norm(cosine)


def alternating_least_squares(A, supports, seed, n_iter=200):
    """Slow and independent: each factor in turn by a dense least squares on its support."""
    rng = np.random.default_rng(seed)
    factors = [np.where(support, rng.standard_normal(support.shape), 0.0) for support in supports]
    for _ in range(n_iter):
        for j, support in enumerate(supports):
            left = reduce(np.matmul, factors[:j], np.eye(A.shape[0]))
            right = reduce(np.matmul, factors[j + 1 :], np.eye(A.shape[1]))
            design = np.kron(left, right.T)[:, support.ravel()]
            factors[j][support] = np.linalg.lstsq(design, A.ravel(), rcond=None)[0]
    return np.linalg.norm(A - reduce(np.matmul, factors))


@pytest.mark.parametrize("balanced", [False, True])
def test_noise_between_the_lower_bound_and_alternating_least_squares(balanced):
    radices = ((2, 2),) * 3
    rng = np.random.default_rng(5)
    A = random_butterfly(radices, 5)
    A += 0.05 * np.linalg.norm(A) / 8.0 * rng.standard_normal(A.shape)
    error = np.linalg.norm(A - product(factorize_butterfly(A, radices, balanced=balanced)))
    supports = [support.toarray() for support in butterfly_supports(radices)]
    reached = min(alternating_least_squares(A, supports, seed, 60) for seed in range(4))
    bound = butterfly_lower_bound(A, radices)
    assert bound <= min(reached, error)
    assert error <= 1.2 * reached
    assert bound >= 0.8 * reached


def test_two_factors_are_the_best_and_meet_the_bound():
    radices = ((4, 4), (4, 4))
    A = np.random.default_rng(6).standard_normal((16, 16))
    error = np.linalg.norm(A - product(factorize_butterfly(A, radices)))
    assert error == pytest.approx(butterfly_lower_bound(A, radices), rel=1e-12)
    # By the definition: the first singular pair of each of the 16 disjoint blocks.
    left, right = (support.toarray() for support in butterfly_supports(radices))
    rest = sum(
        np.sum(np.linalg.svd(A[np.ix_(left[:, k], right[k])], compute_uv=False)[1:] ** 2) for k in range(left.shape[1])
    )
    assert error == pytest.approx(np.sqrt(rest), rel=1e-12)


@pytest.mark.parametrize("scale", [1e-150, 1e-30, 1e150])
def test_scaling_zeros_and_single_precision(scale):
    radices = ((2, 2),) * 4
    A = random_butterfly(radices, 7)
    assert relative_error(A, factorize_butterfly(A, radices)) <= 1e-13
    scaled = factorize_butterfly(A * scale, radices)
    assert np.linalg.norm((product(scaled) / scale - A) / np.linalg.norm(A)) <= 1e-13
    assert not np.any(product(factorize_butterfly(0.0 * A, radices)))
    single = factorize_butterfly(A.astype(np.float32), radices)
    assert relative_error(A.astype(np.float32), single) <= 1e-6
    A[:4] = 0.0  # blocks without an entry
    assert np.isfinite(product(factorize_butterfly(A, radices))).all()


def test_radices():
    assert butterfly_radices(64, 64, 3) == ((4, 4), (4, 4), (4, 4))
    assert butterfly_radices(7, 7) == ((7, 7),)
    assert butterfly_radices(1, 5) == ((1, 5),)
    assert all(
        np.prod([p for p, _ in butterfly_radices(m, n)]) == m and np.prod([q for _, q in butterfly_radices(m, n)]) == n
        for m in range(1, 30)
        for n in range(1, 30)
    )
    with pytest.raises(ValueError, match=r"has between 1 and 6 factors.*got n_factors=7"):
        butterfly_radices(64, 64, 7)
    with pytest.raises(ValueError, match="the radices multiply to the shape"):
        factorize_butterfly(np.eye(3), ((2, 2),))
    with pytest.raises(ValueError, match="a reversal needs a square matrix"):
        digit_reversal(((2, 3),))
