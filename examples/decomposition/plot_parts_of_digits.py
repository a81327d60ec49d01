r"""
===================
The parts of digits
===================

What do 1500 handwritten digits consist of? Principal components, cluster centres and nonnegative factors all describe
each image by sixteen numbers, and only one of them in a way that one would call parts: a nonnegative combination can
only add ink, so that components become strokes.
"""

# %%
# Three ways to describe an image by sixteen components
# -----------------------------------------------------
# The images have 8 x 8 pixels. :class:`~sparsemodels.decomposition.NMF` reports with its components how far they are
# from stationary: ``kkt_`` is the best step that any single entry could still make, added up over all entries and
# relative to the size of the data. A light penalty on both factors keeps single codes from growing large.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from sparsemodels.decomposition import NMF

images = load_digits().data / 16.0
train, test = images[:1500], images[1500:]
n_components = 16

nmf = NMF(n_components, alpha_W=3e-3, tol=1e-6, max_iter=3000, random_state=0).fit(train)
pca = PCA(n_components).fit(train)
kmeans = KMeans(n_components, n_init=5, random_state=0).fit(train)
print(f"NMF: {nmf.status_} after {nmf.n_iter_} iterations, relative KKT residual {nmf.kkt_:.0e}")


def tile(components):
    """Sixteen small images as one, each scaled to its largest entry, with lines of NaN between them."""
    sheet = np.full((4 * 9 - 1, 4 * 9 - 1), np.nan)
    for k, component in enumerate(components):
        row, column = 9 * (k // 4), 9 * (k % 4)
        sheet[row : row + 8, column : column + 8] = (component / np.abs(component).max()).reshape(8, 8)
    return sheet


ink = nmf.components_.sum(axis=1)  # of each part
parts = nmf.components_[np.argsort(-nmf.transform(train).sum(axis=0) * ink)]  # the most used ink first
columns = {
    "PCA": (pca.components_, "ink to add (red) or take away (blue)", "RdBu_r"),
    "k-means": (kmeans.cluster_centers_, "whole digits", "gray_r"),
    "NMF": (parts, f"strokes (KKT residual {nmf.kkt_:.0e})", "gray_r"),
}
fig, axes = plt.subplots(1, 3, figsize=(10, 3.9), layout="constrained")
for ax, (name, (components, caption, colours)) in zip(axes, columns.items(), strict=True):
    colours = plt.get_cmap(colours).with_extremes(bad="#cfd8dc")
    ax.imshow(tile(components), cmap=colours, vmin=-1 if name == "PCA" else 0, vmax=1)
    ax.set_title(f"{name}: {caption}", fontsize=10)
    ax.set_axis_off()
plt.show()

# %%
# One digit, taken apart
# ----------------------
# The codes of a new image say how much of each part it holds. The six parts with the most ink:

codes = nmf.transform(test)
chosen = [int(np.flatnonzero(load_digits().target[1500:] == digit)[1]) for digit in (0, 4, 9)]
fig, axes = plt.subplots(3, 8, figsize=(10, 4.2), layout="constrained")
for row, index in zip(axes, chosen, strict=True):
    largest = np.argsort(-codes[index] * ink)[:6]
    pictures = [test[index], nmf.inverse_transform(codes[index : index + 1])[0]]
    pictures += [codes[index, k] * nmf.components_[k] for k in largest]
    for ax, picture in zip(row, pictures, strict=True):
        ax.imshow(picture.reshape(8, 8), cmap="gray_r", vmin=0.0, vmax=1.0)
        ax.set_xticks([])
        ax.set_yticks([])
axes[0, 0].set_title("a new image", fontsize=10)
axes[0, 1].set_title("sum of its parts", fontsize=10)
for rank, ax in enumerate(axes[0, 2:]):
    ax.set_title("its largest part" if rank == 0 else f"+ part {rank + 1}", fontsize=10)
plt.show()
print(f"codes that are exactly zero: {np.mean(codes == 0.0):.0%}; entries of the parts: {np.mean(parts == 0.0):.0%}")

# %%
# What is the rest of this image?
# -------------------------------
# A pixel that was not seen is not a pixel without ink. Given a ``mask``, the codes are fitted to the visible pixels
# only, and the parts say what the hidden ones must be. Here a quarter of all pixels is hidden.

mask = np.random.default_rng(0).random(test.shape) > 0.25
completed = np.clip(nmf.inverse_transform(nmf.transform(test, mask=mask)), 0.0, 1.0)
zeroed = nmf.inverse_transform(nmf.transform(np.where(mask, test, 0.0)))
distances = ((test[:, np.newaxis] - kmeans.cluster_centers_) ** 2 * mask[:, np.newaxis]).sum(axis=2)
nearest = kmeans.cluster_centers_[distances.argmin(axis=1)]
mean = np.broadcast_to(train.mean(axis=0), test.shape)


def hidden_error(guess):
    """Root mean squared error over the hidden pixels."""
    return np.sqrt(np.mean((guess - test)[~mask] ** 2))


guesses = {
    "the mean image": mean,
    "NMF, hidden as zero": zeroed,
    "nearest of 16 centres": nearest,
    "NMF, masked": completed,
}
for name, guess in guesses.items():
    print(f"{name:24s} error over hidden pixels {hidden_error(guess):.3f}")

shown = [int(np.flatnonzero(load_digits().target[1500:] == digit)[0]) for digit in (0, 2, 3, 4, 6, 7, 8, 9)]
rows = {"seen": np.where(mask, test, np.nan), "completed": np.where(mask, test, completed), "truth": test}
fig, axes = plt.subplots(3, 8, figsize=(10, 4.1), layout="constrained")
grey = plt.get_cmap("gray_r").with_extremes(bad="#cfd8dc")
for line, (name, pictures) in zip(axes, rows.items(), strict=True):
    for ax, index in zip(line, shown, strict=True):
        ax.imshow(pictures[index].reshape(8, 8), cmap=grey, vmin=0.0, vmax=1.0)
        ax.set_xticks([])
        ax.set_yticks([])
    line[0].set_ylabel(name)
plt.show()

# %%
# Filling hidden pixels with zeros before the fit makes the guess worse than the mean image; leaving them out makes it
# better than the nearest of as many cluster centres, because parts can be combined.
