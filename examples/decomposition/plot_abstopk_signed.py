r"""
==================================
Features that come with both signs
==================================

A feature of the data may be there in more than one way: a gene up or down, a stock that rises or falls, a word that is
affirmed or denied. Sparse autoencoders keep positive activations only, so that such a feature has to be learned twice,
once for each sign. Keeping the largest *magnitudes* instead, with their signs, learns it once.
"""

# %%
# Planted features
# ----------------
# 8000 samples of 32 numbers, each the sum of 3 out of 48 directions, half of them with a negative coefficient. Both
# autoencoders use 3 features for a sample. They differ in ``activation`` alone: ``"topk"`` keeps the 3 largest
# positive pre-activations, ``"abstopk"`` the 3 largest magnitudes (Zhu, Khalili and Zhu, 2025).

import matplotlib.pyplot as plt
import numpy as np

from sparsemodels.decomposition import KSparseAutoencoder

rng = np.random.default_rng(0)
n_samples, n_dimensions, n_planted, k = 8000, 32, 48, 3
planted = rng.standard_normal((n_planted, n_dimensions))
planted /= np.linalg.norm(planted, axis=1, keepdims=True)
places = np.argsort(rng.random((n_samples, n_planted)), axis=1)[:, :k]
coefficients = np.zeros((n_samples, n_planted))
np.put_along_axis(
    coefficients, places, (0.5 + np.abs(rng.standard_normal(places.shape))) * rng.choice([-1, 1], places.shape), axis=1
)
X = (coefficients @ planted).astype(np.float32)


def fitted(activation, n_components):
    return KSparseAutoencoder(
        n_components,
        n_nonzero_coefs=k,
        activation=activation,
        learning_rate=0.02,
        max_iter=50,
        random_state=0,
    ).fit(X)


sizes = (48, 64, 96)
models = {(activation, size): fitted(activation, size) for activation in ("abstopk", "topk") for size in sizes}

# %%
# Twice as many features for the same error
# -----------------------------------------
# ``fvu_`` is the share of the variance that codes leave unexplained. With as many features as were planted, only the
# signed codes have room for all; the others need two for each. A direction counts as found if a learned one has a
# cosine above 0.95 with it, of either sign.

found = {key: np.abs(model.components_ @ planted.T).max(axis=0) > 0.95 for key, model in models.items()}
fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.7), layout="constrained")
for activation, colour in (("abstopk", "C0"), ("topk", "C1")):
    axes[0].plot(sizes, [models[activation, size].fvu_ for size in sizes], "o-", color=colour, label=activation)
    axes[1].plot(sizes, [found[activation, size].sum() for size in sizes], "o-", color=colour, label=activation)
axes[0].set(ylim=(0, None), ylabel="variance unexplained", title="Error of the codes")
axes[1].axhline(n_planted, color="0.6", lw=1, ls=":")
axes[1].set(ylim=(0, 52), ylabel=f"planted directions found, of {n_planted}", title="Directions found")
for ax in axes:
    ax.set(xlabel="features of the autoencoder", xticks=sizes)
    ax.legend(frameon=False)
plt.show()

for key in (("abstopk", 48), ("topk", 48), ("topk", 96)):
    print(f"{key[0]:>7} with {key[1]}: {models[key].fvu_:.3f} unexplained, {found[key].sum()} directions found")

# %%
# One feature, or two of opposite sign
# ------------------------------------
# Cosines of learned and planted directions, the learned ones sorted by the planted one that each is nearest to.
# ``"abstopk"`` has one for each, of a sign that does not matter, as the code has the other half of it. ``"topk"`` has
# two for each, opposite to each other (one red and one blue in each column).

fig, axes = plt.subplots(1, 2, figsize=(8.5, 6.4), layout="constrained", width_ratios=(1, 1))
for ax, key in zip(axes, (("abstopk", 48), ("topk", 96)), strict=True):
    cosines = models[key].components_ @ planted.T
    nearest = np.abs(cosines).argmax(axis=1)
    image = ax.imshow(cosines[np.argsort(nearest, kind="stable")], cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    ax.set(xlabel="planted direction", ylabel="learned direction", title=f"{key[0]}, {key[1]} features")
fig.colorbar(image, ax=axes, label="cosine", shrink=0.6)
plt.show()
