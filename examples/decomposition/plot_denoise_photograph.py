r"""
===================================================
Removing noise from a photograph with its own atoms
===================================================

A patch of a photograph is a combination of few atoms of a good dictionary; noise is not. So whatever few atoms can
say about a patch is picture, and the rest is noise. Which dictionary is good? The cosines of JPEG serve every picture
a little. One that is learned from the noisy picture itself serves this one better (Elad and Aharon, 2006).
"""

# %%
# A noisy photograph
# ------------------
# Noise with a standard deviation of 25 grey levels of 255 is added to a part of a photograph, and all its overlapping
# patches of 8 x 8 pixels are taken as signals. Their means are put aside: brightness needs no dictionary.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image
from sklearn.feature_extraction.image import extract_patches_2d, reconstruct_from_patches_2d

from sparsemodels.decomposition import DictionaryLearning, SparseCoder

photograph = load_sample_image("china.jpg")[130:290, 85:245].mean(axis=2) / 255.0
rng = np.random.default_rng(0)
sigma, side = 25.0 / 255.0, 8
noisy = photograph + sigma * rng.standard_normal(photograph.shape)

patches = extract_patches_2d(noisy, (side, side)).reshape(-1, side * side)
means = patches.mean(axis=1, keepdims=True)
signals = patches - means
print(f"{signals.shape[0]} patches of {signals.shape[1]} pixels")

# %%
# Two dictionaries
# ----------------
# Noise alone leaves a residual of about :math:`\sigma \sqrt{64}`. A pursuit that stops slightly above that,
# ``max_residual=1.15 * sigma * 8``, takes for every patch as many atoms as its picture needs, and no more.
#
# The first dictionary has 255 products of cosines. The second begins there and is learned by K-SVD from 8000 of the
# noisy patches: no clean picture is used anywhere.

max_residual = 1.15 * sigma * side
cosines = np.cos(np.pi * np.outer(np.arange(16), np.arange(side) + 0.5) / 16.0)
cosines[1:] -= cosines[1:].mean(axis=1, keepdims=True)
cosines = np.kron(cosines, cosines)[1:]
cosines /= np.linalg.norm(cosines, axis=1, keepdims=True)

fixed = SparseCoder(cosines, max_residual=max_residual).fit(signals)
some = signals[rng.permutation(signals.shape[0])[:8000]]
options = {"max_residual": max_residual, "n_trials": 0, "tol": 0.05, "random_state": 0}
learned = DictionaryLearning(cosines.shape[0], solver="ksvd", init=cosines, **options).fit(some)
print(f"K-SVD: {learned.n_iter_} iterations, {learned.status_}, kkt {learned.kkt_:.1e}")

# %%
# The patches of the codes are put back where they came from, and every pixel is the mean of the up to 64 patches that
# have it. The peak signal-to-noise ratio (PSNR) says how far a picture is from the clean one; 3 dB more are half the
# squared error.


def denoise(model):
    """The mean of all reconstructed patches, and the number of atoms of each."""
    codes = model.transform(signals)
    clean = (model.inverse_transform(codes) + means).reshape(-1, side, side)
    return reconstruct_from_patches_2d(clean, photograph.shape), (codes != 0.0).sum(axis=1)


def psnr(picture):
    """Peak signal-to-noise ratio in decibels; the peak is 1."""
    return -10.0 * np.log10(np.mean((picture - photograph) ** 2))


by_cosines, n_cosines = denoise(fixed)
by_atoms, n_atoms = denoise(learned)
print(f"atoms of a patch: {n_cosines.mean():.2f} cosines, or {n_atoms.mean():.2f} learned ones")

pictures = {
    "photograph": photograph,
    f"noisy: {psnr(noisy):.1f} dB": noisy,
    f"cosines: {psnr(by_cosines):.1f} dB": by_cosines,
    f"learned atoms: {psnr(by_atoms):.1f} dB": by_atoms,
}
top, left, size = 94, 90, 56  # of the detail
fig, axes = plt.subplots(2, 4, figsize=(11, 5.8), layout="constrained")
for (title, picture), (whole, detail) in zip(pictures.items(), axes.T, strict=True):
    whole.imshow(picture, cmap="gray", vmin=0.0, vmax=1.0)
    whole.set_title(title, fontsize=11)
    whole.add_patch(plt.Rectangle((left, top), size, size, fill=False, edgecolor="#f39c12"))
    detail.imshow(picture[top : top + size, left : left + size], cmap="gray", vmin=0.0, vmax=1.0)
    for ax in (whole, detail):
        ax.set_axis_off()
plt.show()

# %%
# What was learned
# ----------------
# The hundred learned atoms that are used most, beside the hundred cosines used most: edges of roofs and rows of
# tiles, in the directions and widths that this picture has.


def sheet(atoms, usage):
    """The hundred most used atoms as one image, each scaled to its largest entry."""
    image = np.full((10 * (side + 1) - 1, 10 * (side + 1) - 1), np.nan)
    for t, a in enumerate(np.argsort(-usage, kind="stable")[:100]):
        row, column = (side + 1) * (t // 10), (side + 1) * (t % 10)
        image[row : row + side, column : column + side] = atoms[a].reshape(side, side) / np.abs(atoms[a]).max()
    return image


grey = plt.get_cmap("gray").with_extremes(bad="#34495e")
fig, axes = plt.subplots(1, 2, figsize=(9, 4.8), layout="constrained")
for ax, title, model in zip(axes, ("cosines", "learned atoms"), (fixed, learned), strict=True):
    usage = (model.transform(signals) != 0.0).sum(axis=0)
    ax.imshow(sheet(model.components_, usage), cmap=grey, vmin=-1.0, vmax=1.0)
    ax.set_title(title)
    ax.set_axis_off()
plt.show()
