"""Hyperspectral scenes whose materials, and where they lie, are known."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import scipy.ndimage
from sklearn.utils import Bunch, check_random_state

from .sparse_regression import _check_real, _check_whole

_POTTS_COUPLING = 1.6  # well above the transition, log(1 + sqrt(n_states)): regions, not salt and pepper
_POTTS_SWEEPS = 40


def make_hyperspectral_scene(
    image_shape: Sequence[int] = (64, 64),
    n_endmembers: int = 5,
    n_bands: int = 150,
    *,
    abundance: str = "gaussian_field",
    smoothness: float = 5.0,
    contrast: float = 4.0,
    purity: float = 1.0,
    background: float = 0.05,
    snr: float = 30.0,
    corrupted_fraction: float = 0.0,
    corrupted_snr: float = -5.0,
    clip: bool = True,
    random_state: Any = None,
) -> Bunch:
    r"""Draw an image in which every pixel's spectrum is a mixture of a few materials.

    .. math:: x_i = \sum_a w_{ia} h_a + \varepsilon_i, \qquad w_{ia} \ge 0, \; \sum_a w_{ia} = 1,

    where the abundances w of neighbouring pixels resemble each other. The spectra h of the materials, the
    endmembers, are smooth: a few Gaussian bumps of random place, width and height. In some bands the noise can be much
    stronger than elsewhere, as where water vapour swallows the light.

    Parameters
    ----------
    image_shape : tuple of two int, default=(64, 64)
        Lines and columns of the image.
    n_endmembers : int, default=5
        The number of materials, at least 2.
    n_bands : int, default=150
        The number of spectral bands.
    abundance : {"gaussian_field", "potts"}, default="gaussian_field"
        How abundances vary in space: the softmax of smooth Gaussian random fields, mixed nearly everywhere; or the
        regions of a Potts model, pure within and mixed along their borders.
    smoothness : float, default=5.0
        The standard deviation, in pixels, of the Gaussian filter that smooths the random fields; of the blur
        of the borders a quarter of that.
    contrast : float, default=4.0
        The factor of the random fields, of unit variance, in the softmax: the larger, the purer the pixels.
    purity : float, default=1.0
        The largest abundance that a pixel may have, in (1 / n_endmembers, 1]; below one no pixel shows a material
        alone.
    background : float, default=0.05
        What every spectrum has at least, as a share of its maximum one, in [0, 1). The larger, the less the data say
        about the endmembers: a factorization can then move all of them apart without leaving the nonnegative.
    snr : float, default=30.0
        Signal-to-noise ratio in decibels, 10 times the decimal logarithm of the mean square of the noiseless
        spectra over the variance of the noise; ``numpy.inf`` for no noise.
    corrupted_fraction : float, default=0.0
        The share of bands with additional noise, in [0, 1); rounded to a whole number of bands.
    corrupted_snr : float, default=-5.0
        The signal-to-noise ratio of each of those, in decibels of the signal of the whole image.
    clip : bool, default=True
        Whether negative values become zero, as a nonnegative factorization needs.
    random_state : int, RandomState instance or None, default=None
        The source of randomness; an int for the same scene every time.

    Returns
    -------
    Bunch
        The scene and what was planted:

        X : ndarray of shape (n_pixels, n_bands)
            The spectra, one pixel a row, the image line by line.
        endmembers : ndarray of shape (n_endmembers, n_bands)
            The spectra of the materials.
        abundances : ndarray of shape (n_pixels, n_endmembers)
            The mixtures; the rows sum to one.
        image_shape : tuple of two int
            As given.
        wavelengths : ndarray of shape (n_bands,)
            The centres of the bands in micrometres, from 0.4 to 2.5.
        corrupted_bands : ndarray
            The sorted indices of the bands with additional noise.
        noise_levels : ndarray of shape (n_bands,)
            The standard deviation of the noise in each band.

    Raises
    ------
    ValueError
        If a parameter is outside its range.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsemodels.datasets import make_hyperspectral_scene
    >>> scene = make_hyperspectral_scene((20, 30), 3, 50, snr=np.inf, random_state=0)
    >>> scene.X.shape, bool(np.allclose(scene.X, scene.abundances @ scene.endmembers))
    ((600, 50), True)
    """
    shape = tuple(image_shape) if isinstance(image_shape, Sequence) else ()
    if len(shape) != 2 or not all(isinstance(side, Integral) and side >= 1 for side in shape):
        raise ValueError(f"image_shape={image_shape!r} must be the lines and columns of the image, two integers >= 1.")
    _check_whole("n_endmembers", n_endmembers, 2)
    _check_whole("n_bands", n_bands, 1)
    if abundance not in ("gaussian_field", "potts"):
        raise ValueError(f"abundance={abundance!r} is unknown; choose 'gaussian_field' or 'potts'.")
    _check_real("smoothness", smoothness, 0, np.inf, "must be finite and not negative", open_high=True)
    _check_real("contrast", contrast, 0, np.inf, "must be finite and not negative", open_high=True)
    _check_real("purity", purity, 1 / n_endmembers, 1, f"must be in (1 / {n_endmembers}, 1]", open_low=True)
    _check_real("background", background, 0, 1, "must be in [0, 1)", open_high=True)
    _check_real("snr", snr, -np.inf, np.inf, "must be a number of decibels", open_low=True)
    _check_real("corrupted_fraction", corrupted_fraction, 0, 1, "must be in [0, 1)", open_high=True)
    _check_real("corrupted_snr", corrupted_snr, -np.inf, np.inf, "must be a number of decibels", open_low=True)
    rng = check_random_state(random_state)

    wavelengths = np.linspace(0.4, 2.5, n_bands)
    endmembers = _draw_spectra(n_endmembers, np.linspace(0.0, 1.0, n_bands), background, rng)
    if abundance == "potts":
        maps = _draw_regions(shape, n_endmembers, smoothness / 4.0, rng)
    else:
        fields = [_draw_field(shape, smoothness, rng) for _ in range(n_endmembers)]
        maps = np.exp(contrast * (np.array(fields) - np.max(fields, axis=0)))
    abundances = maps.reshape(n_endmembers, -1).T
    abundances = abundances / abundances.sum(axis=1, keepdims=True)
    if purity < 1.0:
        mean = 1.0 / n_endmembers
        spread = abundances.max(axis=1, keepdims=True) - mean
        abundances = mean + (abundances - mean) * np.minimum(1.0, (purity - mean) / np.maximum(spread, 1e-300))

    X = abundances @ endmembers
    energy = float(np.mean(X**2))
    noise_levels = np.full(n_bands, np.sqrt(energy * 10.0 ** (-snr / 10.0)))
    corrupted = np.sort(rng.choice(n_bands, round(corrupted_fraction * n_bands), replace=False))
    noise_levels[corrupted] = np.hypot(noise_levels[corrupted], np.sqrt(energy * 10.0 ** (-corrupted_snr / 10.0)))
    X += noise_levels * rng.standard_normal(X.shape)
    if clip:
        np.maximum(X, 0.0, out=X)
    return Bunch(
        X=X,
        endmembers=endmembers,
        abundances=abundances,
        image_shape=shape,
        wavelengths=wavelengths,
        corrupted_bands=corrupted,
        noise_levels=noise_levels,
    )


def _draw_spectra(n_spectra: int, position: np.ndarray, background: float, rng: np.random.RandomState) -> np.ndarray:
    """Smooth spectra with maximum one: a few Gaussian bumps on a faint background."""
    spectra = []
    for _ in range(n_spectra):
        spectrum = np.zeros(position.size)
        for _ in range(rng.randint(2, 5)):
            centre, width, height = rng.uniform(0.0, 1.0), rng.uniform(0.03, 0.1), rng.uniform(0.3, 1.0)
            spectrum += height * np.exp(-0.5 * ((position - centre) / width) ** 2)
        spectra.append(background + (1.0 - background) * spectrum / spectrum.max())
    return np.array(spectra)


def _draw_field(shape: tuple[int, ...], smoothness: float, rng: np.random.RandomState) -> np.ndarray:
    """A Gaussian random field, centred and of unit variance over the image."""
    field = scipy.ndimage.gaussian_filter(rng.standard_normal(shape), smoothness, mode="wrap")
    field = field - field.mean()
    return field / max(field.std(), 1e-300)


def _draw_regions(shape: tuple[int, ...], n_states: int, blur: float, rng: np.random.RandomState) -> np.ndarray:
    """The regions of a Potts model after some sweeps of Gibbs sampling from large blocks, with blurred borders."""
    coarse = rng.randint(n_states, size=tuple(-(-side // 8) for side in shape))
    labels = np.kron(coarse, np.ones((8, 8), dtype=coarse.dtype))[: shape[0], : shape[1]]
    colour = np.add.outer(np.arange(shape[0]), np.arange(shape[1])) % 2
    states = np.arange(n_states)[:, None, None]
    for _ in range(_POTTS_SWEEPS):
        for parity in (0, 1):  # pixels of one colour are no neighbours of each other: all at once
            same = np.pad((labels == states).astype(float), ((0, 0), (1, 1), (1, 1)))
            agreeing = same[:, :-2, 1:-1] + same[:, 2:, 1:-1] + same[:, 1:-1, :-2] + same[:, 1:-1, 2:]
            # The largest of log-probabilities with Gumbel noise is a draw from them.
            drawn = np.argmax(_POTTS_COUPLING * agreeing + rng.gumbel(size=agreeing.shape), axis=0)
            labels = np.where(colour == parity, drawn, labels)
    regions = (labels == states).astype(float)
    return scipy.ndimage.gaussian_filter(regions, (0.0, blur, blur), mode="nearest")
