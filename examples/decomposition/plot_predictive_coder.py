r"""
===============================
Sparse codes at a single glance
===============================

Sparse coding finds, for every signal anew, the few atoms that explain it. Predictive sparse decomposition learns,
together with the dictionary, an encoder that guesses the answer with one matrix product. How good are the guesses, and
what do they save?
"""

# %%
# A dictionary for a photograph, and an encoder
# ---------------------------------------------
# 3000 patches of 8 x 8 pixels, each without its mean, teach both. In every iteration the codes are solved to a
# duality gap of at most 1e-4 of their problem (``dual_gap_``), and the objective never rises.

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image
from sklearn.feature_extraction.image import extract_patches_2d

from sparsemodels.decomposition import PredictiveSparseCoder

picture = load_sample_image("china.jpg").mean(axis=2).astype(np.float32)
picture = picture[: picture.shape[0] // 8 * 8] / picture.std()
patches = extract_patches_2d(picture, (8, 8), max_patches=3000, random_state=0).reshape(-1, 64)
unit = (patches - patches.mean(axis=1, keepdims=True)).std()
patches = (patches - patches.mean(axis=1, keepdims=True)) / unit

coder = PredictiveSparseCoder(96, alpha=0.5, tol=5e-3, random_state=0).fit(patches)
print(f"{coder.status_} after {coder.n_iter_} iterations, largest relative duality gap {coder.dual_gap_:.0e}")
print(f"correlation of guesses and exact codes: {coder.correlation_:.3f}")

# %%
# The guesses follow the exact codes
# ----------------------------------
# All other patches of the photograph, next to each other, were not in the training. The encoder's tanh never says
# exactly zero: where the exact code is zero, the guess is small.

rows, columns = picture.shape[0] // 8, picture.shape[1] // 8
tiles = picture.reshape(rows, 8, columns, 8).swapaxes(1, 2).reshape(-1, 64)
means = tiles.mean(axis=1, keepdims=True)
tiles = (tiles - means) / unit


def seconds(function, repeats):
    """The shortest of some runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function(tiles)
        times.append(time.perf_counter() - start)
    return min(times)


guessed, exact = coder.transform(tiles), coder.encode_exact(tiles)
spent = {"guessed": seconds(coder.transform, 5), "exact": seconds(coder.encode_exact, 2)}
agreement = np.corrcoef(guessed.ravel(), exact.ravel())[0, 1]

fig, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained", width_ratios=(1, 1.05))
order = np.argsort(-np.abs(exact).sum(axis=0))
sheet = np.full((8 * 9 - 1, 12 * 9 - 1), np.nan)
for place, atom in enumerate(coder.components_[order]):
    row, column = 9 * (place // 12), 9 * (place % 12)
    sheet[row : row + 8, column : column + 8] = (atom / np.abs(atom).max()).reshape(8, 8)
axes[0].imshow(sheet, cmap=plt.get_cmap("gray").with_extremes(bad="white"), vmin=-1, vmax=1)
axes[0].set_title("The dictionary, most used atoms first", fontsize=10)
axes[0].set_axis_off()
limit = np.quantile(np.abs(exact), 0.9995)
image = axes[1].hexbin(
    exact.ravel(), guessed.ravel(), gridsize=60, bins="log", cmap="viridis", extent=(-limit, limit, -limit, limit)
)
axes[1].plot([-limit, limit], [-limit, limit], color="white", lw=0.8, ls="--")
axes[1].set(xlabel="exact code", ylabel="guessed code", xlim=(-limit, limit), ylim=(-limit, limit))
axes[1].set_title(f"New patches: correlation {agreement:.3f}", fontsize=10)
fig.colorbar(image, ax=axes[1], label="entries")
plt.show()

# %%
# What a guess costs, and what it loses
# -------------------------------------
# Codes that need no optimisation are some hundred times faster, and reconstruct the picture as well: the exact ones
# pay for their sparsity with a shrinkage that the encoder, which is never zero, can do without.


def photograph(codes):
    """The picture that codes stand for."""
    whole = unit * (codes @ coder.components_) + means
    return whole.reshape(rows, columns, 8, 8).swapaxes(1, 2).reshape(picture.shape)


window = (slice(96, 264), slice(120, 360))
fig, axes = plt.subplots(1, 3, figsize=(10, 2.9), layout="constrained")
axes[0].imshow(picture[window], cmap="gray")
axes[0].set_title("photograph", fontsize=10)
for ax, name, codes in ((axes[1], "exact", exact), (axes[2], "guessed", guessed)):
    restored = photograph(codes)
    loss = np.sum((restored - picture) ** 2) / np.sum((picture - picture.mean()) ** 2)
    ax.imshow(restored[window], cmap="gray", vmin=picture[window].min(), vmax=picture[window].max())
    ax.set_title(f"{name} codes: {1e6 * spent[name] / len(tiles):.1f} µs a patch, {loss:.1%} lost", fontsize=10)
for ax in axes:
    ax.set_axis_off()
plt.show()
print(f"{len(tiles)} patches: exact {spent['exact']:.3f} s, guessed {spent['guessed']:.4f} s,", end=" ")
print(
    f"{spent['exact'] / spent['guessed']:.0f} times faster; {np.mean(exact != 0.0):.0%} of the exact codes are nonzero"
)
