r"""
========================================
What two views have in common, and where
========================================

The same hundred patients were measured by two instruments, 500 features each. One hidden quantity shows in ten
features of either instrument; all others are noise. Canonical correlation analysis looks for projections of the two
views that agree, but with more features than samples *any* two views agree perfectly on the training samples, and
every feature gets a weight.

:class:`~sparsemodels.cross_decomposition.SparseCCA` gives weights to few features of the first view, and describes the
second by few *samples*: the score of the second view is a sum of kernels between samples, with nonnegative
coefficients, one of which, the seed's, is fixed to one. That makes the problem convex, so that each answer has a
duality gap.
"""

# %%
# Two views of one hidden variable
# --------------------------------
# All features have the same units: they are not scaled, and those that carry the hidden quantity vary more.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cross_decomposition import CCA, PLSCanonical

from sparsemodels.cross_decomposition import SparseCCA

n_train, n_test, n_features, n_shared = 100, 1000, 500, 10


def two_views(random, strength):
    """Training and test samples of two views that share one latent variable."""
    n = n_train + n_test
    latent = strength * random.standard_normal((n, 1))
    views = [random.standard_normal((n, n_features)) for _ in range(2)]
    for view in views:
        view[:, :n_shared] += latent
    return [view[:n_train] for view in views], [view[n_train:] for view in views]


train, test = two_views(np.random.default_rng(0), strength=2.0)
model = SparseCCA(sparsity=2.0, scale=False).fit(*train)
selected = np.flatnonzero(model.x_weights_)
print(f"selected features: {selected}")
print(f"samples with a coefficient: {np.flatnonzero(model.dual_coefs_)}, the seed is {model.seeds_[0]}")
print(f"relative duality gap: {model.relative_gap_[0]:.0e}")

# %%
# Beside it, classical CCA and canonical partial least squares. Their weights are dense; the larger ones of the latter
# are on the right features, but nothing says where to stop.

others = {"CCA": CCA(1, scale=False), "PLS": PLSCanonical(1, scale=False)}
for other in others.values():
    other.fit(*train)

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
fig, axes = plt.subplots(1, 3, figsize=(10, 3.4), sharey=True, layout="constrained")
weights = {"CCA": others["CCA"].x_weights_, "PLS": others["PLS"].x_weights_, "sparse CCA": model.x_weights_}
for ax, (name, weight), colour in zip(axes, weights.items(), (ORANGE, GREEN, BLUE), strict=True):
    weight = weight[:, 0] / np.abs(weight).max()
    weight *= np.sign(weight[:n_shared].sum())
    ax.axvspan(-0.5, n_shared - 0.5, color="0.88", zorder=0)
    used = np.flatnonzero(weight)
    ax.vlines(used, 0, weight[used], color=colour, linewidth=0.8)
    ax.plot(used, weight[used], ".", color=colour, markersize=3)
    ax.set_xlim(-2, 100)
    ax.set_xlabel("feature (the first 100 of 500)")
    ax.set_title(f"{name}: {used.size} weights")
axes[0].set_ylabel("weight, relative to the largest")
plt.show()

# %%
# What holds on new samples
# -------------------------
# The stronger the hidden variable, the easier. For each strength, three data sets: do the scores of new samples agree,
# and is the support right? For the support of partial least squares take the ten largest weights, a number that it has
# to be told.


def f1(support):
    """Harmonic mean of precision and recall of a set of features."""
    support = np.asarray(support)
    return 2 * np.count_nonzero(support < n_shared) / (support.size + n_shared)


strengths = [1.0, 1.5, 2.0, 3.0]
names = ("sparse CCA", "PLS")
agreement = {name: np.zeros((len(strengths), 3)) for name in names}
quality = {name: np.zeros((len(strengths), 3)) for name in names}
for row, strength in enumerate(strengths):
    for repetition in range(3):
        train, test = two_views(np.random.default_rng(repetition), strength)
        for name in names:
            if name == "sparse CCA":
                fitted = SparseCCA(sparsity=2.0, scale=False, tol=1e-4).fit(*train)
                support = np.flatnonzero(fitted.x_weights_)
            else:
                fitted = PLSCanonical(1, scale=False).fit(*train)
                support = np.argsort(-np.abs(fitted.x_weights_[:, 0]))[:n_shared]
            first, second = fitted.transform(*test)
            agreement[name][row, repetition] = np.corrcoef(first[:, 0], second[:, 0])[0, 1]
            quality[name][row, repetition] = f1(support)

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for name, colour, marker in zip(names, (BLUE, GREEN), "os", strict=True):
    left.plot(strengths, agreement[name].mean(axis=1), marker + "-", color=colour, label=name)
    label = name if name == "sparse CCA" else f"{name}, told the number"
    style = "-" if name == "sparse CCA" else "--"
    right.plot(strengths, quality[name].mean(axis=1), marker + style, color=colour, label=label)
for ax in (left, right):
    ax.set_ylim(0, 1.03)
    ax.set_xlabel("standard deviation of the hidden variable (noise: 1)")
    ax.legend(frameon=False, loc="lower right")
left.set_ylabel("correlation of the scores")
left.set_title("New samples")
right.set_ylabel("F1 score of the support")
right.set_title("Features found")
plt.show()

# %%
# Once the hidden variable is strong enough, a handful of features predict the other view about as well as all 500
# together, and they are the right ones. Where it is weak, averaging over many features is the better strategy, and
# partial least squares the method of choice: sparsity pays when few features carry the signal *and* can be told from
# the noise.
