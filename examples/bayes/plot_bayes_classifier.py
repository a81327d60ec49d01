r"""
==============================================
How sure is a classifier, far from all it saw?
==============================================

A logistic regression gives every sample a probability, and the farther a sample is from the boundary the nearer that is
to zero or one: also where there never was any data. :class:`~sparsemodels.bayes.SparseBayesClassifier` knows how
uncertain its coefficients are and averages over them. It also decides by itself which features matter.
"""

# %%
# Probabilities far from the data
# -------------------------------
# Thirty samples of two classes that overlap. Both panels show the same coefficients: on the left the probability at the
# most probable ones, on the right the average over the posterior. The lines of equal probability on the left are
# parallel: at the far end of the boundary the model claims to know it as well as in the middle. On the right they fan
# out, as it should be: where the boundary runs out there, thirty samples do not tell.

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import expit
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.preprocessing import StandardScaler

from sparsemodels.bayes import SparseBayesClassifier

rng = np.random.default_rng(2)
y = np.repeat([0, 1], 15)
X = rng.standard_normal((30, 2)) + np.where(y, 0.9, -0.9)[:, None]
model = SparseBayesClassifier(threshold=1.0).fit(X, y)

side = np.linspace(-12.0, 12.0, 121)
grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
score, std = model.linear_predictor(grid, return_std=True)
panels = {"at the mode": expit(score), "averaged over the posterior": model.predict_proba(grid)[:, 1]}

fig, axes = plt.subplots(1, 2, figsize=(9, 4.2), sharey=True, layout="constrained")
levels = [0.0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 1.0]
for ax, (name, p) in zip(axes, panels.items()):
    filled = ax.contourf(side, side, p.reshape(121, 121), levels, cmap="RdBu_r", vmin=0.0, vmax=1.0)
    ax.contour(side, side, p.reshape(121, 121), levels[1:-1], colors="k", linewidths=0.5)
    for label, color in ((0, "tab:blue"), (1, "tab:red")):
        ax.scatter(*X[y == label].T, s=18, color=color, edgecolor="w", linewidth=0.6)
    ax.set(title=f"Probability of red, {name}", xlabel="first feature", aspect="equal")
axes[0].set_ylabel("second feature")
fig.colorbar(filled, ax=axes, ticks=levels[1:-1], label="probability")
plt.show()

# %%
# Which features matter
# ---------------------
# The 30 features of the breast cancer data are strongly correlated. Training sets of a fifth of the samples, the others
# to test. L1 logistic regression needs cross-validation for its level, and then keeps many features; the evidence needs
# one fit. Beside them, the L1 model of at most as many features as the evidence keeps.

data = load_breast_cancer()
X, y = data.data, data.target
levels = np.geomspace(0.01, 10.0, 12)


def cross_validated(Z, t):
    options = {"l1_ratios": (1.0,), "solver": "liblinear", "scoring": "neg_log_loss", "use_legacy_attributes": False}
    return LogisticRegressionCV(Cs=levels, **options).fit(Z, t)


def of_size(Z, t, size):
    path = [LogisticRegression(C=C, l1_ratio=1.0, solver="liblinear").fit(Z, t) for C in levels]
    return [model for model in path if np.count_nonzero(model.coef_) <= size][-1]


results, chosen = {}, {}
for test, train in RepeatedStratifiedKFold(n_splits=5, n_repeats=2, random_state=0).split(X, y):
    scaler = StandardScaler().fit(X[train])
    Z, new = scaler.transform(X[train]), scaler.transform(X[test])
    evidence = SparseBayesClassifier(threshold=1.0).fit(Z, y[train])
    strict = SparseBayesClassifier().fit(Z, y[train])
    lasso, small = cross_validated(Z, y[train]), of_size(Z, y[train], len(evidence.active_))
    for name, model, p in (
        ("L1, cross-validated", lasso, lasso.predict_proba(new)[:, 1]),
        ("L1, as many features", small, small.predict_proba(new)[:, 1]),
        ("evidence, threshold=1", evidence, evidence.predict_proba(new)[:, 1]),
        ("the same at the mode", evidence, expit(evidence.linear_predictor(new))),
        ('evidence, threshold="auto"', strict, strict.predict_proba(new)[:, 1]),
    ):
        used = model.coef_[0] != 0.0
        results.setdefault(name, []).append((used.sum(), accuracy_score(y[test], p > 0.5), log_loss(y[test], p)))
        chosen.setdefault(name, []).append(used)

print(f"{'':28}features  accuracy  log loss")
for name, values in results.items():
    n_used, accuracy, loss = np.mean(values, axis=0)
    print(f"{name:28}{n_used:8.1f}{accuracy:10.3f}{loss:10.3f}")

# %%
# With five features the evidence comes close to the ten of cross-validated L1; L1 with as few has a log loss nearly
# twice as large, since the penalty that keeps features out also shrinks the coefficients of the others. Averaging over
# the posterior is worth as much as the choice of features: at the mode the log loss is a third larger. With the
# threshold, two or three features do almost as well.
#
# Which ones? Of features that say much the same, such as the sizes of the cells, each training set keeps a few, and not
# always the same. A model with fewer features is a statement about what suffices, not about what is irrelevant.

share = {name: np.mean(used, axis=0) for name, used in chosen.items()}
order = np.argsort(-sum(share.values()))[:14]
fig, ax = plt.subplots(figsize=(7.5, 5.0), layout="constrained")
styles = {"L1, cross-validated": "o", "evidence, threshold=1": "s", 'evidence, threshold="auto"': "D"}
for name, marker in styles.items():
    ax.plot(share[name][order], np.arange(len(order)), marker, label=name, alpha=0.8)
ax.set(yticks=np.arange(len(order)), yticklabels=data.feature_names[order], xlabel="share of training sets")
ax.set_title("How often a feature is kept")
ax.invert_yaxis()
ax.grid(alpha=0.3)
fig.legend(loc="outside lower center", ncols=3)
plt.show()
