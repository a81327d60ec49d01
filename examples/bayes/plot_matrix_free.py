r"""
=================================================
An image from a third of its data, and how surely
=================================================

A scanner measures an image through a transform, and each measurement costs time. If the image is sparse in wavelets, a
third of the measurements may do. The design, transform after wavelets, is never a matrix here: two functions, one that
applies it and one that applies its adjoint, are all that the solver asks for. What comes back is not only an image but
a posterior, so that every pixel has an error bar. Do the error bars know where the image is wrong?
"""

# %%
# A design made of two functions
# ------------------------------
# Haar wavelets turn 4096 coefficients into 64 x 64 pixels, a cosine transform turns those into frequencies, of which a
# third are measured: all of the lowest, the others at random. Both transforms are orthonormal, so the adjoint runs them
# backwards.

import time

import matplotlib.pyplot as plt
import numpy as np
import scipy.fft
from scipy.sparse.linalg import LinearOperator

from sparsemodels.bayes import SparseBayesRegressor

SIDE = 64
rng = np.random.default_rng(0)


def image_of(wavelets):
    """Images of shape (64, 64, k) from their Haar coefficients, of the same shape."""
    image = wavelets.copy()
    size = 1
    while size < SIDE:
        quarter = image[: 2 * size, : 2 * size].copy()
        for axis in (0, 1):
            low, high = np.split(quarter, 2, axis=axis)
            quarter = np.stack([low + high, low - high], axis=axis + 1) / np.sqrt(2.0)
            quarter = quarter.reshape(image[: 2 * size, : 2 * size].shape)
        image[: 2 * size, : 2 * size] = quarter
        size *= 2
    return image


def wavelets_of(image):
    """The inverse of the above, which is also its adjoint."""
    wavelets = image.copy()
    size = SIDE
    while size > 1:
        quarter = wavelets[:size, :size]
        for axis in (1, 0):
            even, odd = (quarter[:, ::2], quarter[:, 1::2]) if axis == 1 else (quarter[::2], quarter[1::2])
            quarter = np.concatenate([even + odd, even - odd], axis=axis) / np.sqrt(2.0)
        wavelets[:size, :size] = quarter
        size //= 2
    return wavelets


frequency = np.hypot(*np.indices((SIDE, SIDE)))
measured = np.flatnonzero((frequency < 14.0) | (rng.random((SIDE, SIDE)) < 0.3))


def forward(wavelets):
    images = image_of(wavelets.reshape(SIDE, SIDE, -1))
    return scipy.fft.dctn(images, axes=(0, 1), norm="ortho").reshape(SIDE**2, -1)[measured]


def adjoint(measurements):
    spectra = np.zeros((SIDE**2, measurements.shape[1]))
    spectra[measured] = measurements
    images = scipy.fft.idctn(spectra.reshape(SIDE, SIDE, -1), axes=(0, 1), norm="ortho")
    return wavelets_of(images).reshape(SIDE**2, -1)


design = LinearOperator(
    (len(measured), SIDE**2),
    matvec=lambda v: forward(v.reshape(-1, 1))[:, 0],
    rmatvec=lambda u: adjoint(u.reshape(-1, 1))[:, 0],
    matmat=forward,
    rmatmat=adjoint,
    dtype=np.float64,
)

# %%
# The image: blocks, a disc and a thin line
# -----------------------------------------

row, column = np.indices((SIDE, SIDE))
truth = np.zeros((SIDE, SIDE))
truth[8:56, 12:52] = 0.4
truth[(row - 24) ** 2 + (column - 24) ** 2 < 81] = 1.0
truth[32:48, 36:48] = 0.8
truth[12:16, 36:48] = 0.0
truth[44, 16:30] = 1.0
y = design.matvec(wavelets_of(truth[:, :, None]).ravel()) + 0.02 * rng.standard_normal(len(measured))
print(f"{len(measured)} measurements of {SIDE**2} unknowns; {np.count_nonzero(wavelets_of(truth[:, :, None]))} nonzero")

# %%
# One fit
# -------
# No level of a penalty is to be chosen: the evidence sets a variance for every wavelet, and the noise is learned. The
# threshold of relevance keeps wavelets out that explain nothing but noise.

start = time.perf_counter()
model = SparseBayesRegressor(solver="cofem", threshold="auto", fit_intercept=False, random_state=0).fit(design, y)
print(f"{time.perf_counter() - start:.1f} s, {len(model.active_)} wavelets, certificate {model.kkt_:.0e}")
print(f"noise learned {model.noise_variance_**0.5:.3f}, true 0.02")
image = image_of(model.coef_.reshape(SIDE, SIDE, 1))[:, :, 0]
zero_filled = image_of(adjoint(y[:, None]).reshape(SIDE, SIDE, 1))[:, :, 0]

# %%
# Error bars of pixels
# --------------------
# The posterior covariance of the active wavelets, carried to the pixels.

units = np.zeros((SIDE**2, len(model.active_)))
units[model.active_, np.arange(len(model.active_))] = 1.0
atoms = image_of(units.reshape(SIDE, SIDE, -1)).reshape(SIDE**2, -1)
deviation = np.sqrt(np.einsum("ij,ij->i", atoms @ model.covariance_, atoms)).reshape(SIDE, SIDE)
error = np.abs(image - truth)


def rms(difference):
    return np.sqrt(np.mean(difference**2))


print(f"error {rms(image - truth):.3f}, of the least-squares image of least norm {rms(zero_filled - truth):.3f}")
print(f"pixels within two deviations: {np.mean(error <= 2.0 * deviation):.2f}")

fig, axes = plt.subplots(1, 5, figsize=(13, 3.1), layout="constrained")
panels = [
    (truth, "the image", "gray", 1.0),
    (zero_filled, f"least norm: rms error {rms(zero_filled - truth):.3f}", "gray", 1.0),
    (image, f"posterior mean: {rms(image - truth):.3f}", "gray", 1.0),
    (error, "its error", "magma", 0.05),
    (deviation, "its posterior deviation", "magma", 0.05),
]
for axis, (picture, title, colours, largest) in zip(axes, panels, strict=True):
    drawn = axis.imshow(picture, cmap=colours, vmin=0.0, vmax=largest)
    axis.set_title(title, fontsize=10)
    axis.set(xticks=[], yticks=[])
fig.colorbar(drawn, ax=axes[3:], shrink=0.75)
plt.show()

# %%
# The deviation is large where fine wavelets meet edges, and that is where the error is: most pixels lie within two
# deviations. It is the deviation given the wavelets that were selected; what it cannot know of is a faint wavelet that
# was left out.
