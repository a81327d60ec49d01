"""The graph of an image's pixels against its definition, pixel by pixel."""

import numpy as np
import pytest

from sparsemodels.decomposition import pixel_graph


def by_definition(X, shape, window, bandwidth):
    n = shape[0] * shape[1]
    S, half, squares = np.zeros((n, n)), window // 2, []
    for i in range(n):
        for j in range(n):
            (a, b), (c, d) = divmod(i, shape[1]), divmod(j, shape[1])
            if i != j and max(abs(a - c), abs(b - d)) <= half:
                squares.append(np.sum((X[i] - X[j]) ** 2))
                S[i, j] = squares[-1] + 1.0
    sigma = np.mean(squares) if bandwidth is None else bandwidth
    S[S > 0] = np.exp(-(S[S > 0] - 1.0) / sigma)
    return S


@pytest.mark.parametrize("window", [3, 5, 9])
@pytest.mark.parametrize("bandwidth", [None, 0.7])
@pytest.mark.parametrize("shape", [(5, 4), (1, 6), (6, 1), (2, 2)])
def test_affinities_are_those_of_the_definition(shape, window, bandwidth):
    X = np.random.default_rng(0).random((shape[0] * shape[1], 3))
    graph = pixel_graph(X, shape, window=window, bandwidth=bandwidth)
    np.testing.assert_allclose(graph.toarray(), by_definition(X, shape, window, bandwidth), rtol=1e-10)
    np.testing.assert_array_equal(graph.toarray(), graph.toarray().T)


def test_without_spectra_and_without_contrast_all_neighbours_are_alike():
    flat = pixel_graph(np.ones((12, 2)), (3, 4)).toarray()
    np.testing.assert_array_equal(flat, pixel_graph(None, (3, 4)).toarray())
    assert flat.sum(axis=1).tolist() == [3, 5, 5, 3, 5, 8, 8, 5, 3, 5, 5, 3]
    assert pixel_graph(None, (1, 1)).nnz == 0


def test_units_do_not_matter():
    X = np.random.default_rng(1).random((30, 4))
    plain = pixel_graph(X, (5, 6)).toarray()
    np.testing.assert_allclose(pixel_graph(1e6 * X, (5, 6)).toarray(), plain, rtol=1e-10)
    np.testing.assert_allclose(pixel_graph(X.astype(np.float32), (5, 6)).toarray(), plain, rtol=1e-4)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"image_shape": (3, 3)}, r"image_shape=\(3, 3\) has 9 pixels, X has 12 rows"),
        ({"image_shape": 12}, "image_shape=12 must be the lines and columns"),
        ({"window": 4}, "window=4 must be an odd integer, at least 3"),
        ({"bandwidth": 0.0}, "bandwidth=0.0 must be a positive number or None"),
    ],
)
def test_bad_parameters_are_named(bad, message):
    with pytest.raises(ValueError, match=message):
        pixel_graph(np.ones((12, 2)), **{"image_shape": (3, 4), **bad})
