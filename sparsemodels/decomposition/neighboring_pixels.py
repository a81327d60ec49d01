"""Which pixels of an image resemble their neighbours: a graph for regularised factorizations."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.utils import check_array


def pixel_graph(
    X: Any = None,
    image_shape: Sequence[int] = (),
    *,
    window: int = 3,
    bandwidth: float | None = None,
) -> scipy.sparse.csr_array:
    r"""Join every pixel of an image with its neighbours, the more strongly the more their spectra agree.

    .. math:: S_{ij} = \exp(-\|x_i - x_j\|^2 / \sigma) \quad \text{for } j \ne i \text{ in the window around } i.

    As ``graph_W`` of :class:`~sparsemodels.decomposition.NMF` it draws the codes of similar neighbours together.

    Parameters
    ----------
    X : array-like of shape (n_pixels, n_bands), optional
        The spectra, one pixel a row, the image line by line. Without them every affinity is one.
    image_shape : tuple of two int
        Lines and columns of the image; their product is `n_pixels`.
    window : int, default=3
        The side of the square window around each pixel, odd, at least 3.
    bandwidth : float, optional
        The squared distance :math:`\sigma` at which the affinity has fallen to 1/e, positive. By default the mean
        over all pairs of neighbours, so that the graph does not change when the data are rescaled.

    Returns
    -------
    scipy.sparse.csr_array of shape (n_pixels, n_pixels)
        The affinities: symmetric, with a zero diagonal; float64.

    Raises
    ------
    ValueError
        If a parameter is out of its range or `X` and `image_shape` do not fit.

    References
    ----------
    F. Zhu, Y. Wang, S. Xiang, B. Fan and C. Pan, "Structured sparse method for hyperspectral unmixing", ISPRS Journal
    of Photogrammetry and Remote Sensing 88, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.decomposition import pixel_graph
    >>> image = np.array([[0.0, 0.0, 1.0]])
    >>> pixel_graph(image.reshape(-1, 1), image.shape, bandwidth=1.0).toarray().round(2)
    array([[0.  , 1.  , 0.  ],
           [1.  , 0.  , 0.37],
           [0.  , 0.37, 0.  ]])
    """
    shape = tuple(image_shape) if isinstance(image_shape, Sequence) else ()
    if len(shape) != 2 or not all(isinstance(side, Integral) and side >= 1 for side in shape):
        raise ValueError(f"image_shape={image_shape!r} must be the lines and columns of the image, two integers >= 1.")
    if not (isinstance(window, Integral) and window >= 3 and window % 2 == 1):
        raise ValueError(f"window={window!r} must be an odd integer, at least 3.")
    if bandwidth is not None and not (isinstance(bandwidth, Real) and 0.0 < bandwidth < np.inf):
        raise ValueError(f"bandwidth={bandwidth!r} must be a positive number or None.")
    height, width = (int(side) for side in shape)
    image = None
    if X is not None:
        X = check_array(X, dtype=[np.float64, np.float32])
        if X.shape[0] != height * width:
            raise ValueError(f"image_shape={shape} has {height * width} pixels, X has {X.shape[0]} rows.")
        image = X.reshape(height, width, -1)

    number = np.arange(height * width).reshape(height, width)
    first, second, square = [], [], []
    half = window // 2
    # Half of the window: the other half is its mirror image.
    for down in range(min(half, height - 1) + 1):
        for right in range(-min(half, width - 1), min(half, width - 1) + 1):
            if down == 0 and right <= 0:
                continue
            here = (slice(0, height - down), slice(max(-right, 0), width - max(right, 0)))
            there = (slice(down, height), slice(max(right, 0), width - max(-right, 0)))
            first.append(number[here].ravel())
            second.append(number[there].ravel())
            if image is not None:
                difference = image[here] - image[there]
                square.append(np.einsum("ijk,ijk->ij", difference, difference, dtype=np.float64).ravel())
    if not first:
        return scipy.sparse.csr_array((height * width, height * width))
    i, j = np.concatenate(first), np.concatenate(second)
    affinity = np.ones(i.size)
    if image is not None:
        squares = np.concatenate(square)
        sigma = float(squares.mean()) if bandwidth is None else float(bandwidth)
        if sigma > 0.0:
            affinity = np.exp(-squares / sigma)
    half_graph = scipy.sparse.csr_array((affinity, (i, j)), shape=(height * width, height * width))
    return (half_graph + half_graph.T).tocsr()
