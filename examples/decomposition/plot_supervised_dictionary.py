r"""
============================
Atoms that know the labels
============================

A few numbers are to stand for each sample, and a classifier is to work on them. The common way has two steps: principal
components first, then logistic regression. It fails where the directions of large variance are not those that carry the
labels. :class:`~sparsemodels.decomposition.SupervisedDictionaryLearning` looks for both at once, and says how far the
answer can be from the best one.
"""

# %%
# Two subspaces
# -------------
# The data have large, nonnegative codes in three directions and small ones in three others. The labels depend on the
# second three, and on two covariates that are no part of the data.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from sparsemodels.decomposition import SupervisedDictionaryLearning

rng = np.random.default_rng(0)
n_samples, n_features, n_train = 3400, 60, 400
basis = np.linalg.qr(rng.standard_normal((n_features, 6)))[0]
H1 = 6.0 * np.abs(rng.standard_normal((n_samples, 3)))
H2 = rng.standard_normal((n_samples, 3))
Z = rng.standard_normal((n_samples, 2))
X = H1 @ np.abs(basis[:, :3]).T + H2 @ basis[:, 3:].T + 0.1 * rng.standard_normal((n_samples, n_features))
logits = 3.0 * H2 @ [1.0, -1.0, 1.0] + Z @ [0.8, -0.5]
y = (rng.random(n_samples) < 1.0 / (1.0 + np.exp(-logits))).astype(int)
train, test = slice(0, n_train), slice(n_train, None)

pca = PCA(3).fit(X[train])
two_steps = LogisticRegression(C=1.0).fit(np.hstack([pca.transform(X[train]), Z[train]]), y[train])
model = SupervisedDictionaryLearning(3, reconstruction_weight=0.05, alpha=1.0)
model.fit(X[train], y[train], covariates=Z[train])
print(f"{model.status_} after {model.n_iter_} iterations, KKT residual {model.kkt_:.0e}")

# %%
# The same test samples in the coordinates of both. The third principal component separates nothing; the supervised
# dictionary has spent one of its three atoms on the labels.


def discriminative(codes, coef):
    """Codes along the direction of the coefficients, and along the largest variance at right angles to it."""
    first = coef / np.linalg.norm(coef)
    rest = codes - np.outer(codes @ first, first)
    second = np.linalg.svd(rest - rest.mean(axis=0), full_matrices=False)[2][0]
    return codes @ second, codes @ first


accuracies = {
    "PCA, then logistic regression": two_steps.score(np.hstack([pca.transform(X[test]), Z[test]]), y[test]),
    "supervised dictionary": model.score(X[test], y[test], covariates=Z[test]),
}
clouds = [
    discriminative(pca.transform(X[test]), two_steps.coef_[0, :3]),
    discriminative(model.transform(X[test]), model.code_coef_[0]),
]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.9), layout="constrained")
for ax, (name, accuracy), (x_axis, y_axis) in zip(axes, accuracies.items(), clouds, strict=True):
    for label, color in ((0, "#1f77b4"), (1, "#d95f02")):
        shown = np.flatnonzero(y[test] == label)[:350]
        ax.scatter(x_axis[shown], y_axis[shown], s=9, alpha=0.6, color=color, label=f"class {label}")
    ax.set_title(f"{name}\ntest accuracy {accuracy:.2f}", fontsize=10)
    ax.set_xlabel("code along the largest variance")
    ax.set_ylabel("code along the classifier")
axes[1].legend(loc="upper right")
plt.show()

# %%
# Four numbers for a digit
# ------------------------
# On images of digits the two subspaces overlap, and ``reconstruction_weight`` trades one for the other. A path of fits
# traces what can be had of both with four atoms: accuracy on new images against the share of their squares left
# unexplained. Principal components followed by logistic regression are where the path ends as the weight grows.

images, digits = load_digits(return_X_y=True)
order = rng.permutation(digits.size)
images, digits = images[order] / 16.0, digits[order]
train, test = slice(0, 900), slice(900, None)
mean = images[train].mean(axis=0)
images -= mean
energy = np.sum(images[test] ** 2)


def unexplained(transformer):
    """The share of the squares of new images that the codes miss, in percent."""
    return (
        100.0
        * np.sum((images[test] - transformer.inverse_transform(transformer.transform(images[test]))) ** 2)
        / energy
    )


pca = PCA(4).fit(images[train])
two_steps = LogisticRegression(max_iter=1000).fit(pca.transform(images[train]), digits[train])
everything = LogisticRegression(max_iter=1000).fit(images[train], digits[train])
weights = np.geomspace(1e-3, 30.0, 12)
fits = [
    SupervisedDictionaryLearning(4, reconstruction_weight=weight, alpha=1.0, tol=1e-3).fit(images[train], digits[train])
    for weight in weights
]
front = np.array([(unexplained(fit), fit.score(images[test], digits[test])) for fit in fits])

fig = plt.figure(figsize=(10, 4.0), layout="constrained")
left, right = fig.subfigures(1, 2, width_ratios=[1.1, 1.0])
ax = left.subplots()
ax.plot(*front.T, "o-", color="#d95f02", label="supervised dictionary, 4 atoms")
two_steps_score = two_steps.score(pca.transform(images[test]), digits[test])
ax.scatter(
    unexplained(pca), two_steps_score, marker="s", s=60, color="#1f77b4", zorder=3, label="PCA, then LR, 4 atoms"
)
full_score = everything.score(images[test], digits[test])
ax.axhline(full_score, color="0.5", linestyle=":", label="LR on all 64 pixels")
for k in (0, 4, 6, 8):
    ax.annotate(f"{weights[k]:.2g}", front[k], xytext=(8, -10), textcoords="offset points", fontsize=8, color="#d95f02")
ax.set_xlabel("squares of new images left unexplained [%]")
ax.set_ylabel("accuracy on new images")
ax.set_title("the numbers are reconstruction weights", fontsize=10)
ax.legend(loc="lower right", bbox_to_anchor=(1.0, 0.08), fontsize=8)
rows = {"PCA": pca.components_, f"{weights[6]:.2g}": fits[6].components_, f"{weights[0]:.2g}": fits[0].components_}
axes = right.subplots(3, 4)
for line, (name, atoms) in zip(axes, rows.items(), strict=True):
    for ax, atom in zip(line, atoms, strict=True):
        ax.imshow(atom.reshape(8, 8), cmap="RdBu_r", vmin=-0.4, vmax=0.4)
        ax.set_xticks([])
        ax.set_yticks([])
    line[0].set_ylabel(name)
right.suptitle("atoms: of PCA, and of two weights", fontsize=10)
plt.show()
print(f"accuracy of PCA and regression: {two_steps_score:.3f}; of four supervised atoms: {front[:, 1].max():.3f}")

# %%
# How good is the best?
# ---------------------
# The problem is not convex. ``kkt_`` says that a stationary point was found. ``lower_bound_`` says more: no four atoms
# whatsoever have a lower objective. Where ``gap_`` is near zero the fit is proven, where it is not, either the bound or
# the fit could be improved; ``n_init`` then tries more starts.

for fit in fits[::3]:
    print(
        f"weight {fit.reconstruction_weight:7.3f}: objective {fit.objective_:9.1f}, no four atoms below "
        f"{fit.lower_bound_:9.1f}: gap {fit.gap_:.1%}"
    )
