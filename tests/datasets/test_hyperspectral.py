"""Hyperspectral scenes: the mixtures are what they are said to be, and so is the noise."""

import numpy as np
import pytest

from sparsemodels.datasets import make_hyperspectral_scene


@pytest.mark.parametrize("abundance", ["gaussian_field", "potts"])
def test_pixels_are_mixtures_of_the_endmembers(abundance):
    scene = make_hyperspectral_scene((17, 23), 4, 30, abundance=abundance, snr=np.inf, random_state=0)
    np.testing.assert_allclose(scene.X, scene.abundances @ scene.endmembers, rtol=1e-13)
    np.testing.assert_allclose(scene.abundances.sum(axis=1), 1.0, rtol=1e-13)
    assert scene.abundances.min() >= 0.0
    assert scene.X.shape == (17 * 23, 30)
    assert scene.wavelengths.shape == (30,)
    assert scene.corrupted_bands.size == 0
    np.testing.assert_allclose(scene.endmembers.max(axis=1), 1.0)
    assert scene.endmembers.min() >= 0.05
    assert np.linalg.matrix_rank(scene.endmembers) == 4


@pytest.mark.parametrize("abundance", ["gaussian_field", "potts"])
def test_neighbours_resemble_each_other(abundance):
    scene = make_hyperspectral_scene((48, 48), 4, 10, abundance=abundance, random_state=1)
    maps = scene.abundances.T.reshape(4, 48, 48)
    beside = np.mean((maps[:, 1:] - maps[:, :-1]) ** 2)
    far = np.mean((maps[:, 24:] - maps[:, :24]) ** 2)
    assert beside < 0.2 * far
    assert maps.max() > 0.95
    assert np.all(scene.abundances.mean(axis=0) > 0.02)


def test_regions_are_pure_within():
    scene = make_hyperspectral_scene((64, 64), 4, 10, abundance="potts", smoothness=2.0, random_state=0)
    assert np.mean(scene.abundances.max(axis=1) > 0.95) > 0.4


def test_no_pixel_is_purer_than_asked():
    scene = make_hyperspectral_scene((32, 32), 4, 10, purity=0.7, random_state=0)
    assert scene.abundances.max() == pytest.approx(0.7, rel=1e-12)
    np.testing.assert_allclose(scene.abundances.sum(axis=1), 1.0, rtol=1e-12)
    # Mixtures that obey already are left alone.
    free = make_hyperspectral_scene((32, 32), 4, 10, random_state=0).abundances
    already = free.max(axis=1) <= 0.7
    np.testing.assert_allclose(scene.abundances[already], free[already], atol=1e-12)


def test_noise_has_the_stated_level():
    clean = make_hyperspectral_scene((64, 64), 3, 40, snr=np.inf, random_state=2)
    options = {"snr": 20.0, "corrupted_fraction": 0.25, "corrupted_snr": -3.0, "clip": False}
    noisy = make_hyperspectral_scene((64, 64), 3, 40, **options, random_state=2)
    np.testing.assert_array_equal(noisy.endmembers, clean.endmembers)
    noise, energy = noisy.X - noisy.abundances @ noisy.endmembers, np.mean(clean.X**2)
    assert noisy.corrupted_bands.size == 10
    corrupted = np.isin(np.arange(40), noisy.corrupted_bands)
    # 4096 pixels: the standard deviation of a band's mean square is 2 % of it; five of them.
    np.testing.assert_allclose(noise.std(axis=0), noisy.noise_levels, rtol=0.06)
    np.testing.assert_allclose(noisy.noise_levels[~corrupted] ** 2, energy / 100, rtol=1e-10)
    np.testing.assert_allclose(noisy.noise_levels[corrupted] ** 2, energy * (10**0.3 + 0.01), rtol=1e-10)
    assert make_hyperspectral_scene((64, 64), 3, 40, **{**options, "clip": True}, random_state=2).X.min() == 0.0


def test_same_seed_same_scene():
    for abundance in ("gaussian_field", "potts"):
        one, two, other = (
            make_hyperspectral_scene((12, 9), 3, 8, abundance=abundance, random_state=s) for s in (5, 5, 6)
        )
        np.testing.assert_array_equal(one.X, two.X)
        assert np.any(one.X != other.X)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"image_shape": (4,)}, r"image_shape=\(4,\) must be the lines and columns"),
        ({"image_shape": (4, 0)}, r"image_shape=\(4, 0\) must be"),
        ({"n_endmembers": 1}, "n_endmembers=1 must be an integer, at least 2"),
        ({"n_bands": 0}, "n_bands=0 must be an integer, at least 1"),
        ({"abundance": "ising"}, "abundance='ising' is unknown; choose 'gaussian_field' or 'potts'"),
        ({"smoothness": -1.0}, "smoothness=-1.0 must be finite and not negative"),
        ({"purity": 0.2}, r"purity=0.2 must be in \(1 / 5, 1\]"),
        ({"background": 1.0}, r"background=1.0 must be in \[0, 1\)"),
        ({"snr": -np.inf}, "snr=-inf must be a number of decibels"),
        ({"corrupted_fraction": 1.0}, r"corrupted_fraction=1.0 must be in \[0, 1\)"),
    ],
)
def test_bad_parameters_are_named(bad, message):
    with pytest.raises(ValueError, match=message):
        make_hyperspectral_scene(**bad)
