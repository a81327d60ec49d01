r"""
=====================================
A few samples that speak for the rest
=====================================

Support vector machines keep every sample that is near the margin, and say nothing of how sure they are. A relevance
vector machine asks a different question, which kernels does the evidence want, and keeps a handful. It has neither a C
nor an epsilon to tune, and its predictions come with error bars. How good are they, and where should nobody trust them?
"""

# %%
# Regression
# ----------
# 150 noisy samples of a sinc, with a gap. The width of the kernel is the one of most evidence: no folds, no grid of
# penalties, one fit a width. The same width serves support vector regression.

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.svm import SVC, SVR

from sparsemodels.bayes import RVMClassifier, RVMRegressor

rng = np.random.default_rng(0)
X = rng.uniform(-10.0, 10.0, (190, 1))
X = np.sort(X[(X[:, 0] < 3.5) | (X[:, 0] > 7.0)][:150], axis=0)
noise = 0.1
y = np.sinc(X[:, 0] / np.pi) + noise * rng.standard_normal(len(X))
line = np.linspace(-16.0, 16.0, 801)[:, None]
truth = np.sinc(line[:, 0] / np.pi)


def timed_fit(model, X, y):
    """The fitted model, and the milliseconds of the better of two fits."""
    spent = []
    for _ in range(2):
        start = time.perf_counter()
        model.fit(X, y)
        spent.append(1e3 * (time.perf_counter() - start))
    return model, min(spent)


widths = np.geomspace(0.02, 2.0, 11)
candidates = [RVMRegressor(gamma=gamma).fit(X, y) for gamma in widths]
evidence = np.array([model.log_evidence_ for model in candidates])
gamma = widths[np.argmax(evidence)]
inside = np.abs(line[:, 0]) <= 10.0
errors = [np.sqrt(np.mean((model.predict(line) - truth)[inside] ** 2)) for model in candidates]

rvm, rvm_time = timed_fit(RVMRegressor(gamma=gamma), X, y)
svr, svr_time = timed_fit(SVR(gamma=gamma, C=1.0, epsilon=0.1), X, y)
start = ConstantKernel(1.0) * RBF(2.0) + WhiteKernel(0.1)
gp, gp_time = timed_fit(GaussianProcessRegressor(start, normalize_y=True), X, y)
print(f"gamma={gamma:.2f} has the most evidence; noise learned {rvm.noise_variance_**0.5:.3f}, true {noise}")
print(f"certificate: kkt {rvm.kkt_:.0e} after {rvm.n_iter_} actions")

# %%
# The dark band is how unsure the model is of the function, the light one adds the noise that it learned. Circles are
# the samples that each model keeps.


def draw(ax, mean, std, noise_variance, kept, title):
    """One model beside the data."""
    if std is not None:
        whole, function = 2.0 * std, 2.0 * np.sqrt(np.maximum(std**2 - noise_variance, 0.0))
        ax.fill_between(line[:, 0], mean - whole, mean + whole, color="C0", alpha=0.15, lw=0)
        ax.fill_between(line[:, 0], mean - function, mean + function, color="C0", alpha=0.4, lw=0)
    ax.plot(line, truth, color="0.4", lw=1.0, ls="--")
    ax.plot(line, mean, color="C0", lw=1.5)
    ax.plot(X, y, ".", color="0.25", ms=3)
    ax.plot(X[kept], y[kept], "o", mfc="none", mec="C3", ms=9, mew=1.4)
    ax.set_title(title, fontsize=10)
    ax.set(xlim=(-16, 16), ylim=(-0.75, 1.4))


fig, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained", sharey=True)
mean, std = rvm.predict(line, return_std=True)
title = f"relevance vector machine: {len(rvm.relevance_)} vectors, {rvm_time:.0f} ms"
draw(axes[0], mean, std, rvm.noise_variance_, rvm.relevance_, title)
title = f"support vector regression: {len(svr.support_)} vectors, {svr_time:.0f} ms"
draw(axes[1], svr.predict(line), None, 0.0, svr.support_, title)
mean, std = gp.predict(line, return_std=True)
title = f"Gaussian process: all {len(X)} samples, {gp_time:.0f} ms"
draw(axes[2], mean, std, gp.kernel_.k2.noise_level * y.var(), np.arange(0), title)
for ax in axes:
    for edge in (-10.0, 3.5, 7.0, 10.0):
        ax.axvline(edge, color="0.85", lw=0.8, zorder=0)
axes[0].annotate(
    "no samples, no kernels:\nunduly sure", (13.2, 0.24), (3.0, 1.0), fontsize=8, arrowprops={"arrowstyle": "->"}
)
axes[2].annotate("no samples:\nunsure", (13.2, 0.5), (6.5, 1.05), fontsize=8, arrowprops={"arrowstyle": "->"})
plt.show()

# %%
# Between samples the two error bars agree. Where there are none they do not: local kernels are zero there, and with
# them all that a relevance vector machine knows of its ignorance. Its band shrinks to the noise where a Gaussian
# process goes back to its prior. **Trust these error bars among the samples, not beyond them.**
#
# The evidence, computed from the training samples alone, has its maximum where the error against the truth is small:

fig, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
ax.semilogx(widths, evidence, "o-", color="C0")
ax.set(xlabel="gamma", ylabel="log evidence of the samples")
ax.yaxis.label.set_color("C0")
other = ax.twinx()
other.semilogx(widths, errors, "s--", color="C1")
other.set_ylabel("error of the function")
other.yaxis.label.set_color("C1")
ax.axvline(gamma, color="0.7", lw=0.8, zorder=0)
ax.set_title("The width of the kernel, chosen without folds", fontsize=10)
plt.show()

# %%
# Classification
# --------------
# Two classes, each a mixture of two Gaussians, that overlap so much that the best possible rule errs in some 8 %
# (after B. D. Ripley). Lines are probabilities of one tenth, a half and nine tenths; those of the support vector
# machine are its decision and its margin, for it has no probabilities.


def mixture(n_samples, rng):
    """Samples and classes."""
    centers = np.array([[-0.7, 0.3], [0.3, 0.3], [-0.3, 0.7], [0.4, 0.7]])
    part = rng.integers(0, 4, n_samples)
    return centers[part] + np.sqrt(0.03) * rng.standard_normal((n_samples, 2)), (part >= 2).astype(int)


X, y = mixture(250, rng)
X_test, y_test = mixture(10_000, rng)
widths = np.array([0.5, 1.0, 2.0, 4.0, 8.0])
evidence = [RVMClassifier(gamma=gamma).fit(X, y).log_evidence_ for gamma in widths]
gamma = widths[np.argmax(evidence)]
rvm, rvm_time = timed_fit(RVMClassifier(gamma=gamma), X, y)
svc, svc_time = timed_fit(SVC(gamma=gamma, C=1.0), X, y)

grid = np.stack(np.meshgrid(np.linspace(-1.4, 1.1, 120), np.linspace(-0.4, 1.3, 100)), axis=-1)
points = grid.reshape(-1, 2)
probability = rvm.predict_proba(points)[:, 1].reshape(grid.shape[:2])
decision = svc.decision_function(points).reshape(grid.shape[:2])

fig, axes = plt.subplots(1, 2, figsize=(10, 3.9), layout="constrained", sharey=True)
image = axes[0].contourf(grid[..., 0], grid[..., 1], probability, np.linspace(0, 1, 11), cmap="RdBu_r", alpha=0.7)
axes[0].contour(grid[..., 0], grid[..., 1], probability, [0.1, 0.5, 0.9], colors="k", linewidths=(0.7, 1.6, 0.7))
fig.colorbar(image, ax=axes[0], label="probability of the red class")
axes[1].contour(grid[..., 0], grid[..., 1], decision, [-1, 0, 1], colors="k", linewidths=(0.7, 1.6, 0.7))
for ax, model, kept, spent, name in (
    (axes[0], rvm, rvm.relevance_, rvm_time, "relevance"),
    (axes[1], svc, svc.support_, svc_time, "support"),
):
    ax.scatter(*X.T, c=y, cmap="RdBu_r", s=12, edgecolors="0.3", linewidths=0.3, vmin=-0.2, vmax=1.2)
    ax.plot(*X[kept].T, "o", mfc="none", mec="k", ms=9, mew=1.4)
    error = 1.0 - model.score(X_test, y_test)
    ax.set_title(f"{len(kept)} {name} vectors, {error:.1%} of new samples wrong, {spent:.0f} ms", fontsize=10)
    ax.set(xlim=(-1.4, 1.1), ylim=(-0.4, 1.3))
plt.show()
