r"""
====================================
The bias of the LASSO, and its cures
====================================

The LASSO selects by shrinking, and it cannot do one without the other: whatever stays in the model is drawn towards
zero by about `alpha`. With an `alpha` that keeps the noise out, large coefficients come out too small; with one that
is small enough for them, noise comes in.

Four cures, all with the same two steps in mind, first find the features and then leave them alone:

- **refit**: least squares on the features that the LASSO selected (the relaxed LASSO at its end);
- **adaptive LASSO**: a second LASSO that shrinks less what was large in the first;
- **MCP** and **SCAD**: penalties that are constant for large coefficients, so that they are not shrunk at all, at the
  price of an objective that is not convex.
"""

# %%
# What each penalty does to one coefficient
# -----------------------------------------
# With orthogonal features every coefficient is a function of its least-squares value alone.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LinearRegression

from sparsemodels.datasets import make_sparse_regression
from sparsemodels.linear_model import (
    AdaptiveLassoCV,
    Lasso,
    LassoCV,
    MCPRegressor,
    MCPRegressorCV,
    SCADRegressor,
    SCADRegressorCV,
)

colors = {
    "LASSO": "#D55E00",
    "refit": "#E69F00",
    "adaptive LASSO": "#CC79A7",
    "MCP": "#0072B2",
    "SCAD": "#009E73",
}
least_squares = np.linspace(0.0, 5.0, 201)
identity, scale = np.eye(201), np.sqrt(201)  # orthogonal columns of unit variance, each for one value
models = {
    "LASSO": Lasso(1.0, fit_intercept=False),
    "MCP": MCPRegressor(1.0, fit_intercept=False),
    "SCAD": SCADRegressor(1.0, fit_intercept=False),
}
curves = {name: model.fit(scale * identity, scale * least_squares).coef_ for name, model in models.items()}

fig, ax = plt.subplots(figsize=(5.6, 4.6), layout="constrained")
ax.plot(least_squares, least_squares, color="black", linewidth=1, linestyle=":", label="no shrinkage")
for name, curve in curves.items():
    ax.plot(least_squares, curve, color=colors[name], linewidth=2, label=name)
ax.set_xlabel("least-squares coefficient, in units of alpha")
ax.set_ylabel("coefficient")
ax.set_title("The LASSO never stops shrinking")
ax.legend(frameon=False)
ax.grid(alpha=0.3)
plt.show()

# %%
# A small study
# -------------
# Eight data sets of 120 samples and 300 correlated features, ten of which matter. Every method chooses its level by
# five-fold cross-validation; the refit takes the support of the LASSO.


def refit(model, X, y):
    """Least squares on the support of a fitted model."""
    coef = np.zeros_like(model.coef_)
    support = np.flatnonzero(model.coef_)
    coef[support] = LinearRegression().fit(X[:, support], y).coef_
    return coef


estimators = {
    "LASSO": LassoCV(alphas=25, eps=0.02),
    "adaptive LASSO": AdaptiveLassoCV(alphas=25, eps=0.02),
    "MCP": MCPRegressorCV(alphas=25, eps=0.02),
    "SCAD": SCADRegressorCV(alphas=25, eps=0.02),
}
errors = {name: [] for name in colors}
spurious = {name: [] for name in colors}
ratios = {name: [] for name in colors}
convex = []
for seed in range(8):
    data = make_sparse_regression(120, 300, 10, correlation=0.5, snr=4.0, random_state=seed)
    truth = data.coef
    found = {name: estimator.fit(data.X, data.y) for name, estimator in estimators.items()}
    coefs = {name: model.coef_ for name, model in found.items()}
    coefs["refit"] = refit(found["LASSO"], data.X, data.y)
    convex += [found[name].locally_convex_ for name in ("MCP", "SCAD")]
    large = np.abs(truth) > 0.5 * np.abs(truth).max()
    for name, coef in coefs.items():
        errors[name].append(np.linalg.norm(coef - truth) / np.linalg.norm(truth))
        spurious[name].append(np.count_nonzero(coef[truth == 0.0]))
        ratios[name].append(np.mean(coef[large] / truth[large]))
for name in colors:
    print(
        f"{name:>15}: error {np.median(errors[name]):.3f}, spurious features {np.median(spurious[name]):.0f}, "
        f"large coefficients {100 * np.median(ratios[name]):.0f} % of the truth"
    )
print(f"strict local minima among the MCP and SCAD fits: {sum(convex)} of {len(convex)}")

fig, axes = plt.subplots(1, 3, figsize=(10.5, 4.0), layout="constrained")
panels = (
    ("large coefficients / truth", ratios),
    ("spurious features", spurious),
    ("error of the coefficients (relative)", errors),
)
for ax, (title, values) in zip(axes, panels, strict=True):
    boxes = ax.boxplot([values[name] for name in colors], widths=0.6, patch_artist=True, showfliers=False)
    for box, color in zip(boxes["boxes"], colors.values(), strict=True):
        box.set(facecolor=color, alpha=0.75)
    for line in boxes["medians"]:
        line.set_color("black")
    ax.set_xticks(range(1, 6), ["LASSO", "refit", "adaptive\nLASSO", "MCP", "SCAD"], fontsize=8)
    ax.set_title(title)
    ax.grid(axis="y", alpha=0.3)
axes[0].axhline(1.0, color="black", linewidth=1, linestyle=":")
fig.suptitle("Less shrinkage, and therefore fewer features needed to make up for it")
plt.show()

# %%
# Cross-validation makes the LASSO choose a small level, because a large one costs too much bias, and dozens of features
# that do not matter slip in. The refit frees the coefficients, but keeps all of these features and fits them to the
# noise. The other three need no small level: SCAD leaves out half of them, the adaptive LASSO and MCP nearly all.
#
# The price: MCP and SCAD have many stationary points, and no bound tells how far the best one is. What is certain is
# what they report: ``kkt_``, how well the conditions of a stationary point hold, and ``locally_convex_``, whether it is
# a strict local minimum.
