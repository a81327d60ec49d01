r"""
===============================================
Explaining a prediction by the training samples
===============================================

A sparse model says which features it uses. It can also say which *training samples* a prediction rests on: at the
optimum of an L1-penalised model the linear predictor of a new sample is a sum over the training samples,

.. math:: f(x) - b = \sum_i \theta_i \, k(x_i, x), \qquad k(x_i, x) = \sum_j \frac{|w_j|}{\alpha} \, x_{ij} \, x_j,

where :math:`\theta_i` is how much the model still disagrees with sample `i`, and k compares samples on the selected
features only. :func:`~sparsemodels.inspection.representer_values` returns the summands. This example takes one
prediction apart, and then asks whether the samples that are named matter: do predictions change if one removes
these samples and trains again?
"""

# %%
# A model to explain
# ------------------
# 500 samples of 2000 features, ten of which decide the class, by a logistic model. The tolerance is small because the
# decomposition holds at the optimum; its own certificate says how well.

import matplotlib.pyplot as plt
import numpy as np

from sparsemodels.inspection import representer_values
from sparsemodels.linear_model import SparseLogisticRegression

random = np.random.default_rng(0)
n, p, n_tests = 500, 2000, 12
coefs = np.zeros(p)
coefs[:10] = random.choice([-1.0, 1.0], 10)
X = np.asfortranarray(random.standard_normal((n + n_tests, p)))
y = (random.random(n + n_tests) < 1 / (1 + np.exp(-X @ coefs))).astype(int)
X_train, y_train, X_test = X[:n], y[:n], X[n:]

alpha = 0.07
model = SparseLogisticRegression(alpha=alpha, fit_intercept=False, tol=1e-10).fit(X_train, y_train)
support = np.flatnonzero(model.coef_)
explanation = representer_values(model, X_train, y_train, X_test)
print(f"{support.size} features selected, {np.count_nonzero(support < 10)} of the ten true ones")
print(f"the contributions miss the predictions by {explanation.identity_residual:.0e} of their size, at most")

# %%
# One prediction
# --------------
# Every training sample has a weight, the residual of its probability, and a similarity to the new sample. Their
# product is its contribution: a sample of class 1 that looks alike speaks for class 1, and so does one of class 0 that
# looks the opposite.

test = int(np.argmax(model.decision_function(X_test)))
values = explanation.values[test]
probability = model.predict_proba(X_train)[:, 1]
weight = y_train - probability
similarity = values / weight * n  # the loss is a mean

reach = 1.08 * np.abs(similarity).max()
fig, ax = plt.subplots(figsize=(7.2, 4.6), layout="constrained")
grid = np.linspace(-reach, reach, 400)
for size in (0.25, 0.5, 1.0):
    contribution = size * np.abs(values).max() * n
    with np.errstate(divide="ignore"):
        line = contribution / grid
    line[np.abs(line) > 1] = np.nan
    ax.plot(grid, line, color="0.75", linewidth=0.8)
    ax.plot(grid, -line, color="0.75", linewidth=0.8, linestyle="--")
for label, colour in ((1, "#0072B2"), (0, "#D55E00")):
    members = y_train == label
    ax.scatter(
        similarity[members], weight[members], s=4 + 600 * np.abs(values[members]), color=colour, alpha=0.7,
        linewidths=0, label=f"class {label}",
    )  # fmt: skip
ax.axhline(0, color="0.5", linewidth=0.8)
ax.axvline(0, color="0.5", linewidth=0.8)
ax.set_xlim(-reach, reach)
ax.set_ylim(-1, 1)
ax.set_xlabel("similarity to the new sample, on the selected features")
ax.set_ylabel("class minus predicted probability")
ax.set_title(
    f"Log odds {model.decision_function(X_test)[test]:.2f}: "
    f"{values[values > 0].sum():+.2f} by samples for class 1, {values[values < 0].sum():+.2f} by those against"
)
ax.legend(frameon=False, loc="lower left", title="training samples")
plt.show()

# %%
# On a grey line all contributions are equal, for class 1 on a solid one, against it on a dashed one. The area of a
# point is the size of its contribution.
#
# Do they matter?
# ---------------
# The test of the paper: remove the samples with the largest positive contributions, train again, and look how far the
# prediction falls; remove those with the largest negative ones and it should rise. Beside the contributions stand
# the *influence function* (the derivative of the prediction by the weight of a sample, which inverts the Hessian on the
# support), the contributions that an L2 penalty would have (the same weights with inner products over all features) and
# random samples. The levels of the penalty follow the number of samples, so that the sum of the losses keeps its place.

weights_of_loss = weight / n
curvature = probability * (1 - probability) / n
hessian = (X_train[:, support].T * curvature) @ X_train[:, support] + 1e-6 * np.eye(support.size)
rankings = {
    "influence function": X_test[:, support] @ np.linalg.solve(hessian, X_train[:, support].T) * weights_of_loss,
    "sparse contributions": explanation.values,
    "L2 contributions": X_test @ X_train.T * weights_of_loss,
    "random": random.standard_normal((n_tests, n)),
}
removed = np.array([5, 15, 25])


def change(test, samples):
    """How the prediction changes when the samples are removed."""
    keep = np.ones(n)
    keep[samples] = 0
    again = SparseLogisticRegression(alpha=alpha * n / keep.sum(), fit_intercept=False)
    again.fit(X_train, y_train, sample_weight=keep)
    return (again.decision_function(X_test[test : test + 1]) - model.decision_function(X_test[test : test + 1]))[0]


styles = {
    "influence function": ("0.35", "s--"),
    "sparse contributions": ("#0072B2", "o-"),
    "L2 contributions": ("#D55E00", "^-"),
    "random": ("0.65", "x:"),
}
fig, ax = plt.subplots(figsize=(7.2, 4.6), layout="constrained")
for name, scores in rankings.items():
    order = np.argsort(scores, axis=1)
    for sign, chosen in ((1, order), (-1, order[:, ::-1])):
        mean = [np.mean([change(test, chosen[test, :k]) for test in range(n_tests)]) for k in removed]
        colour, style = styles[name]
        label = name if sign > 0 else None
        ax.plot(np.append(0, removed), np.append(0, mean), style, color=colour, markersize=5, label=label)
ax.axhline(0, color="0.8", linewidth=0.8, zorder=0)
ax.set_xlabel("training samples removed")
ax.set_ylabel("mean change of the log odds")
ax.set_title("Removing what speaks against class 1 (up) and for it (down)")
ax.legend(frameon=False, loc="upper left")
plt.show()

# %%
# The contributions find the samples that matter nearly as well as the influence function, without a Hessian to invert.
# What an L2 penalty would name is hardly better than chance here: in 2000 features every sample is about as far from
# every other.
