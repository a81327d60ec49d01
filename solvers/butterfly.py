r"""Exact butterfly factorization: the factors of a fast transform from singular value decompositions of small blocks.

With radices :math:`(p_l, q_l)`, l = 1, ..., J, a butterfly is a product :math:`S_1 S_2 \cdots S_J` of sparse factors

.. math:: \mathrm{supp}(S_l) \subseteq I_{q_1 \cdots q_{l-1}} \otimes 1_{p_l \times q_l} \otimes I_{p_{l+1} \cdots p_J},

an :math:`(\prod p_l) \times (\prod q_l)` matrix. All radices (2, 2) give the supports of the fast Fourier and Hadamard
transforms, n log2 n pairs.

Cut the product between two factors. A row :math:`i = (i_1, i_2)` and a column :math:`j = (j_1, j_2)`, each split into
the digits before and after the cut, meet in one term only,

.. math:: a_{ij} = l_{i_1 j_1}^{(i_2)} \; r_{i_2 j_2}^{(j_1)},

so that for fixed :math:`(j_1, i_2)` the block over :math:`(i_1, j_2)` has rank one, and all these blocks are disjoint:
the best pair of factors comes from the first singular pair of each block, exactly and without iterating. Each of the
two is again a butterfly with fewer factors.

**Certificate.** Every butterfly is a product of two at every cut. What its best pair leaves, the singular values of the
blocks from the second on, no butterfly can remove: the largest of these remainders is a lower bound of the error of
every butterfly.

References
----------
Q.-T. Le, L. Zheng, E. Riccietti and R. Gribonval, "Fast learning of fast transforms, with guarantees", IEEE
International Conference on Acoustics, Speech and Signal Processing, 2022. L. Zheng, E. Riccietti and R. Gribonval,
"Efficient identification of butterfly sparse matrix factorizations", SIAM Journal on Mathematics of Data Science 5,
2023.
"""

import math
from collections.abc import Sequence

import numpy as np
import scipy.sparse

Radices = Sequence[tuple[int, int]]

_BLOCK_WORK = 2**26  # multiplications of the decompositions at one cut beyond which its lower bound is left out


def prime_factors(number: int) -> list[int]:
    """The prime factors of a number, increasing; none for one."""
    factors, divisor = [], 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return [*factors, number] if number > 1 else factors


def _merged(primes: list[int], count: int) -> list[int]:
    """So many numbers with the same product, as equal as merging the smallest makes them; ones where there are few."""
    merged = sorted(primes)
    while len(merged) > count:
        merged = sorted([merged[0] * merged[1], *merged[2:]])
    return merged + [1] * (count - len(merged))


def butterfly_nonzeros(radices: Radices) -> int:
    """The nonzeros that the supports of a butterfly hold together."""
    total = 0
    for level, (p, q) in enumerate(radices):
        before = math.prod(q for _, q in radices[:level])
        total += before * p * q * math.prod(p for p, _ in radices[level + 1 :])
    return total


def butterfly_radices(n_rows: int, n_columns: int, n_factors: int | None = None) -> tuple[tuple[int, int], ...]:
    """The sizes of the blocks of a butterfly of given shape.

    Parameters
    ----------
    n_rows, n_columns : int
        The shape of the matrix.
    n_factors : int, optional
        How many factors; by default, as many as make the number of nonzeros smallest, and of equals the most.

    Returns
    -------
    tuple of tuple of two int
        Rows and columns of the blocks of each factor.

    Raises
    ------
    ValueError
        If a dimension has too few prime factors for `n_factors`.

    Examples
    --------
    >>> from sparsemodels.solvers.butterfly import butterfly_radices
    >>> butterfly_radices(16, 16)
    ((2, 2), (2, 2), (2, 2), (2, 2))
    >>> butterfly_radices(12, 12)
    ((2, 2), (2, 2), (3, 3))
    """
    rows, columns = prime_factors(n_rows), prime_factors(n_columns)
    most = max(1, min(len(rows), len(columns)))

    def with_factors(count: int) -> tuple[tuple[int, int], ...]:
        return tuple(zip(_merged(rows, count), _merged(columns, count), strict=True))

    if n_factors is None:
        # Blocks of 2 x 2 and of 4 x 4 hold equally many: the last of equals, with the most factors.
        return min((with_factors(count) for count in range(most, 0, -1)), key=butterfly_nonzeros)
    if not 1 <= n_factors <= most:
        raise ValueError(
            f"a butterfly of {n_rows} x {n_columns} has between 1 and {most} factors, the number of prime factors of "
            f"the dimensions; got n_factors={n_factors}"
        )
    return with_factors(n_factors)


def butterfly_supports(radices: Radices) -> list[scipy.sparse.csr_array]:
    """Where the factors of a butterfly may have nonzeros.

    Parameters
    ----------
    radices : sequence of tuple of two int
        Rows and columns of the blocks of each factor.

    Returns
    -------
    list of csr_array of bool
        The supports, from the left factor to the right one.

    Examples
    --------
    >>> from sparsemodels.solvers.butterfly import butterfly_supports
    >>> butterfly_supports([(2, 2), (2, 2)])[0].toarray().astype(int)
    array([[1, 0, 1, 0],
           [0, 1, 0, 1],
           [1, 0, 1, 0],
           [0, 1, 0, 1]])
    """
    supports = []
    for level, (p, q) in enumerate(radices):
        before = math.prod(q for _, q in radices[:level])
        after = math.prod(p for p, _ in radices[level + 1 :])
        supports.append(_matrix(np.ones((before, after, p, q), dtype=bool)))
    return supports


def digit_reversal(radices: Radices) -> np.ndarray:
    """The order in which the fast Fourier transform takes its input: indices with their digits reversed.

    Parameters
    ----------
    radices : sequence of tuple of two int
        The blocks of a square butterfly, (r, r) each.

    Returns
    -------
    ndarray of int of shape (n,)
        ``F[:, order]`` is a butterfly of these radices, F the matrix of the discrete Fourier transform.

    Raises
    ------
    ValueError
        If a block is not square.

    Examples
    --------
    >>> from sparsemodels.solvers.butterfly import digit_reversal
    >>> digit_reversal([(2, 2), (2, 2), (2, 2)])
    array([0, 4, 2, 6, 1, 5, 3, 7])
    """
    if any(p != q for p, q in radices):
        raise ValueError("the digits of rows and columns differ: a reversal needs a square matrix")
    digits = [q for _, q in radices]
    return np.arange(math.prod(digits)).reshape(digits[::-1]).transpose().ravel()


def _matrix(core: np.ndarray) -> scipy.sparse.csr_array:
    """The factor whose dense blocks stand in a tensor (before, after, p, q)."""
    before, after, p, q = core.shape
    a, d, _, c = np.ogrid[:before, :after, :p, :q]
    # In the order of rows (a, b, d), the columns (a, c, d) of a row increasing with c.
    data = np.ascontiguousarray(core.transpose(0, 2, 1, 3)).ravel()
    indices = np.broadcast_to((a * q + c) * after + d, core.shape).transpose(0, 2, 1, 3).astype(np.int32).ravel()
    indptr = np.arange(0, data.size + 1, q, dtype=np.int32)
    return scipy.sparse.csr_array((data, indices, indptr), shape=(before * p * after, before * q * after))


def _blocks(core: np.ndarray, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    """The blocks of rank one at a cut, (before, after, columns ahead, rows behind) of them as the last two axes."""
    return core.reshape(*core.shape[:2], *rows, *columns).transpose(0, 1, 4, 3, 2, 5)


def _rank_one(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best approximations u v of many small matrices, both factors of the same norm."""
    flip = blocks.shape[-2] > blocks.shape[-1]
    if flip:
        blocks = blocks.swapaxes(-1, -2)
    # The longer side enters by products only. They lose half the digits of the small singular values, of which none
    # is needed; the blocks are scaled so that no square leaves the range of numbers.
    size = np.abs(blocks).max(axis=(-2, -1), keepdims=True)
    scaled = blocks / np.where(size > 0.0, size, 1.0)
    gram = scaled @ scaled.conj().swapaxes(-1, -2)
    u = np.linalg.eigh(gram)[1][..., -1]
    v = (u.conj()[..., None, :] @ blocks)[..., 0, :]
    norm = np.sqrt(np.linalg.norm(v, axis=-1, keepdims=True))
    u, v = u * norm, v / np.where(norm > 0.0, norm, 1.0)
    return (v, u) if flip else (u, v)


def factorize_butterfly(A: np.ndarray, radices: Radices, *, balanced: bool = False) -> list[scipy.sparse.csr_array]:
    """Write a matrix as a butterfly: exactly if it is one, else nearly as well as possible.

    Parameters
    ----------
    A : ndarray of shape (n_rows, n_columns)
        Real or complex.
    radices : sequence of tuple of two int
        Rows and columns of the blocks of each factor; their products are the shape of `A`.
    balanced : bool, default=False
        Whether to cut in the middle. By default one factor after the other is cut off at the left, which takes
        O(n_rows n_columns) operations for radices of bounded size; cutting in the middle decomposes blocks of
        sqrt(n) x sqrt(n).

    Returns
    -------
    list of csr_array
        The factors, left to right; complex where `A` is, float64 otherwise. Their supports are those of
        :func:`butterfly_supports`.

    Raises
    ------
    ValueError
        If the radices do not multiply to the shape of `A`.

    Examples
    --------
    >>> import numpy as np, scipy.linalg
    >>> from sparsemodels.solvers.butterfly import butterfly_radices, factorize_butterfly
    >>> H = scipy.linalg.hadamard(8)
    >>> factors = factorize_butterfly(H, butterfly_radices(8, 8))
    >>> [factor.nnz for factor in factors], bool(np.allclose((factors[0] @ factors[1] @ factors[2]).toarray(), H))
    ([16, 16, 16], True)
    """
    A = _numbers(A, radices)

    def split(core: np.ndarray, radices: Radices) -> list[np.ndarray]:
        if len(radices) == 1:
            return [core]
        cut = len(radices) // 2 if balanced else 1
        (p1, q1), (p2, q2) = _shape(radices[:cut]), _shape(radices[cut:])
        before, after = core.shape[:2]
        u, v = _rank_one(_blocks(core, (p1, p2), (q1, q2)))
        left = u.transpose(0, 3, 1, 4, 2).reshape(before, p2 * after, p1, q1)
        right = v.transpose(0, 2, 1, 3, 4).reshape(before * q1, after, p2, q2)
        return split(left, radices[:cut]) + split(right, radices[cut:])

    return [_matrix(core) for core in split(A[None, None], radices)]


def butterfly_lower_bound(A: np.ndarray, radices: Radices) -> float:
    """A lower bound of the error of every butterfly that approximates a matrix.

    Parameters
    ----------
    A : ndarray of shape (n_rows, n_columns)
        Real or complex.
    radices : sequence of tuple of two int
        The blocks of the butterflies.

    Returns
    -------
    float
        No product of factors with these supports is nearer to `A` in the Frobenius norm: the largest error that the
        best pair of factors leaves at a cut. Cuts in the middle of very large matrices are left out.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.solvers.butterfly import butterfly_lower_bound
    >>> round(butterfly_lower_bound(np.diag([1.0, 2.0, 3.0, 4.0]), [(2, 2), (2, 2)]), 12)
    0.0
    """
    A = _numbers(A, radices)
    bound = 0.0
    for cut in range(1, len(radices)):
        (p1, q1), (p2, q2) = _shape(radices[:cut]), _shape(radices[cut:])
        if A.size * min(p1, q2) > _BLOCK_WORK:
            continue
        blocks = _blocks(A[None, None], (p1, p2), (q1, q2))
        bound = max(bound, float(np.linalg.norm(np.linalg.svd(blocks, compute_uv=False)[..., 1:])))
    return bound


def _shape(radices: Radices) -> tuple[int, int]:
    return math.prod(p for p, _ in radices), math.prod(q for _, q in radices)


def _numbers(A: np.ndarray, radices: Radices) -> np.ndarray:
    A = np.asarray(A)
    if A.shape != _shape(radices):
        raise ValueError(f"the radices multiply to the shape {_shape(radices)}, the matrix has {A.shape}")
    return A.astype(np.complex128 if np.iscomplexobj(A) else np.float64, copy=False)
