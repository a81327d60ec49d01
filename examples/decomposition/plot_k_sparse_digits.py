r"""
=======================================
How sparse should a feature vector be?
=======================================

A classifier is often better on learned features than on pixels, and the features can be learned without labels. A
k-sparse autoencoder describes every image by few of many features. With one feature for an image it can only say which
prototype the image is most like; with all of them it is little more than a change of basis. Somewhere between lies
the best number.
"""

# %%
# Features without labels, a linear classifier on top
# ----------------------------------------------------
# Half of the 1797 digits of scikit-learn are for learning, half for testing, three times over. The autoencoder
# has 256 features for images of 64 pixels, and its encoder directions are its atoms (``tied=True``), as in the paper
# that proposed it (Makhzani and Frey, 2014). A logistic regression reads the codes.
#
# A code may use more features after training than in it: ``test_k_factor`` multiplies k, and needs no new fit.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from sparsemodels.decomposition import KSparseAutoencoder

images, digits = load_digits(return_X_y=True)
images = (images / 16.0).astype(np.float32)
n_features, sizes = 256, (1, 2, 4, 8, 16, 64)


def test_error(of_train, of_test, y_train, y_test):
    """The share of test images, in per cent, that a logistic regression gets wrong."""
    unit = of_train.std()
    classifier = LogisticRegression(max_iter=250).fit(of_train / unit, y_train)
    return 100.0 * (1.0 - classifier.score(of_test / unit, y_test))


errors, doubled, pixels, principal, models = np.zeros((3, len(sizes))), np.zeros((3, len(sizes))), [], [], {}
for seed in range(3):
    train, test, *labels = train_test_split(images, digits, test_size=0.5, stratify=digits, random_state=seed)
    pixels.append(test_error(train, test, *labels))
    pca = PCA(32).fit(train)
    principal.append(test_error(pca.transform(train), pca.transform(test), *labels))
    for i, k in enumerate(sizes):
        model = KSparseAutoencoder(
            n_features,
            n_nonzero_coefs=k,
            tied=True,
            learning_rate=0.01,
            batch_size=100,
            max_iter=25,
            random_state=seed,
        ).fit(train)
        errors[seed, i] = test_error(model.transform(train), model.transform(test), *labels)
        model.set_params(test_k_factor=2.0)
        doubled[seed, i] = test_error(model.transform(train), model.transform(test), *labels)
        models[k] = model

# %%
# The best k lies in the middle
# -----------------------------
# Few features lose what tells a 3 from an 8. Many are able to reconstruct any image (``fvu_``, the share of the
# variance that codes leave unexplained, falls with every k), but say less about the digit than some eight. Twice as
# many features after training as in it help where k is small: the training forces each feature to mean something, and
# the second-best ones are then worth hearing.

fig, ax = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
ax.axhline(np.mean(pixels), color="0.55", lw=1.2, ls=":")
ax.axhline(np.mean(principal), color="0.35", lw=1.2, ls="--")
for values, colour, label in ((errors, "C0", "k features"), (doubled, "C1", "trained with k, used with 2 k")):
    ax.fill_between(sizes, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, lw=0)
    ax.plot(sizes, values.mean(axis=0), "o-", color=colour, label=label)
ax.text(64, np.mean(pixels) - 0.07, "the 64 pixels", ha="right", va="top", fontsize=9, color="0.4")
ax.text(64, np.mean(principal) + 0.05, "32 principal components", ha="right", va="bottom", fontsize=9, color="0.25")
ax.set_xscale("log", base=2)
ax.set_xticks(sizes, [str(k) for k in sizes])
ax.set(xlabel="features of a code in training, k", ylabel="test error (%)", ylim=(0, 8))
ax.set_title("Logistic regression on k-sparse codes of digits (mean and range of three splits)", fontsize=10)
ax.legend(frameon=False)
plt.show()

best = sizes[int(np.argmin(errors.mean(axis=0)))]
print(f"test error: pixels {np.mean(pixels):.1f} %, principal components {np.mean(principal):.1f} %,", end=" ")
print(f"k = {best}: {errors.mean(axis=0).min():.1f} %, used with twice as many {doubled.mean(axis=0).min():.1f} %")
for k in (1, 8, 64):
    print(f"k = {k}: unexplained variance {models[k].set_params(test_k_factor=1.0).fvu_:.3f}")

# %%
# What the features are
# ---------------------
# With k = 1, prototypes: the mean image plus one feature, as strong as it usually is, is a whole digit, and the model
# is a kind of clustering. With k = 8, the features are changes that images have in common: here more ink (red), there
# less (blue). With k = 64, patterns of single pixels, from which anything can be put together.

fig, axes = plt.subplots(1, 3, figsize=(10, 4.8), layout="constrained")
for ax, k in zip(axes, (1, 8, 64), strict=True):
    model = models[k].set_params(test_k_factor=1.0)
    codes = model.transform(images)
    most_used = np.argsort(-np.count_nonzero(codes, axis=0))[:40]
    sheet = np.full((8 * 9 - 1, 5 * 9 - 1), np.nan)
    for place, j in enumerate(most_used):
        row, column = 9 * (place // 5), 9 * (place % 5)
        picture = model.components_[j] / np.abs(model.components_[j]).max()
        if k == 1:
            picture = model.bias_ + np.median(codes[codes[:, j] > 0.0, j]) * model.components_[j]
        sheet[row : row + 8, column : column + 8] = picture.reshape(8, 8)
    colours = plt.get_cmap("gray_r" if k == 1 else "RdBu_r").with_extremes(bad="#cfd8dc")
    ax.imshow(sheet, cmap=colours, vmin=0 if k == 1 else -1, vmax=1)
    ax.set_title("k = 1: mean plus feature" if k == 1 else f"k = {k}: features", fontsize=11)
    ax.set_axis_off()
plt.show()
