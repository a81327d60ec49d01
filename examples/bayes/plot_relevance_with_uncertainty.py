r"""
===================================================
Which features are relevant, and how sure is that?
===================================================

Ten measurements of 442 diabetes patients, their squares and their products: 64 features, most of which say nothing new
about the progression of the disease. Sparse Bayesian learning sets most coefficients to exactly zero and gives the
others error bars, without a penalty to tune. To see whether it can tell relevance from chance, we add a hundred columns
of pure noise, which it should find irrelevant.
"""

# %%
# Coefficients with error bars
# ----------------------------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import ARDRegression

from sparsemodels.bayes import SparseBayesRegressor
from sparsemodels.datasets import load_diabetes_quadratic

data = load_diabetes_quadratic()
rng = np.random.default_rng(0)
n_real, n_noise = data.data.shape[1], 100
X = np.hstack([data.data, rng.standard_normal((len(data.target), n_noise))])
y = data.target
names = np.array([*data.feature_names, *(f"noise {j}" for j in range(n_noise))])

model = SparseBayesRegressor().fit(X, y)
everything = SparseBayesRegressor(threshold=1.0, max_iter=10_000).fit(X, y)
for title, fitted in (("auto", model), ("1", everything)):
    is_noise = fitted.active_ >= n_real
    print(
        f"threshold={title}: {np.sum(~is_noise)} features and {is_noise.sum()} noise columns kept, "
        f"log evidence {fitted.log_evidence_:.1f}, violation of the optimality conditions {fitted.kkt_:.0e}"
    )

# %%
# Why evidence needs a threshold: a column that has nothing to do with y still improves the evidence if its correlation
# with what the others leave is larger than its standard deviation. That happens by chance, to one column in three. The
# default, ``threshold="auto"``, asks for as much as the best of all columns reaches by chance.
#
# How stable is the selection?
# ----------------------------
# The same fit on forty samples of the patients, drawn with replacement. A drawn patient may come twice, which is an
# integer weight.

n_draws = 40
kept = {"auto": np.zeros(len(names)), "1": np.zeros(len(names))}
for _ in range(n_draws):
    weights = rng.multinomial(len(y), np.full(len(y), 1.0 / len(y))).astype(float)
    kept["auto"][SparseBayesRegressor(tol=1e-2).fit(X, y, weights).active_] += 1.0 / n_draws
    loose = SparseBayesRegressor(threshold=1.0, max_iter=10_000, tol=1e-1)
    kept["1"][loose.fit(X, y, weights).active_] += 1.0 / n_draws

# %%
# Units do not matter
# -------------------
# The progression in thousandths of its unit, or in thousands: the same features are active and the coefficients follow.
# In scikit-learn's ``ARDRegression`` the rules that prune and stop have units, and the answer depends on them.

scales = 10.0 ** np.arange(-4, 5)
counts = {"SparseBayesRegressor": [], "ARDRegression": []}
for scale in scales:
    counts["SparseBayesRegressor"].append(SparseBayesRegressor().fit(X, scale * y).active_.size)
    counts["ARDRegression"].append(np.count_nonzero(ARDRegression().fit(X, scale * y).coef_))
print({name: np.array(count).tolist() for name, count in counts.items()})

# %%
# The figure
# ----------

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "0.6"
fig, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 4.6), layout="constrained")
order = model.active_[np.argsort(np.abs(model.coef_[model.active_]))]
std = np.zeros(len(names))
std[model.active_] = np.sqrt(np.diag(model.covariance_))
left.errorbar(model.coef_[order], np.arange(order.size), xerr=2 * std[order], fmt="o", color=BLUE, capsize=3)
left.set_yticks(np.arange(order.size), names[order])
left.axvline(0.0, color="black", linewidth=0.8)
left.set(xlabel="effect of one standard deviation", title=f"{order.size} of {len(names)} are not zero (2 std)")

best = np.argsort(kept["auto"][:n_real])[-10:]
for title, color, marker, label in (("1", ORANGE, "s", "threshold=1"), ("auto", BLUE, "o", 'threshold="auto"')):
    noise = kept[title][n_real:]
    shares = np.concatenate([[noise.mean(), noise.max()], kept[title][best]])
    middle.plot(shares, [0, 1, *range(3, 13)], marker, color=color, label=label)
middle.set_yticks([0, 1, *range(3, 13)], ["noise, mean", "noise, worst of 100", *names[best]])
middle.axhspan(-0.6, 1.6, color="0.92", zorder=0)
middle.set(xlabel="share of draws in which it is kept", xlim=(-0.03, 1.03), title="Who comes back in other samples")
middle.grid(axis="x", alpha=0.3)
middle.legend(frameon=False, fontsize=8, loc="upper left")

right.semilogx(scales, counts["ARDRegression"], "s-", color=GREY, label="scikit-learn ARDRegression")
right.semilogx(scales, counts["SparseBayesRegressor"], "o-", color=BLUE, label="SparseBayesRegressor")
right.set(xlabel="y is multiplied by", ylabel="coefficients that are not zero", title="The same data in other units")
right.legend(frameon=False, fontsize=9)
for ax in (left, middle, right):
    ax.spines[["top", "right"]].set_visible(False)
plt.show()

noise_rates = {title: rate[n_real:].mean() for title, rate in kept.items()}
print(f"A noise column is kept in {noise_rates['1']:.0%} of the draws at one, in {noise_rates['auto']:.1%} at auto.")

# %%
# Seven features carry what the data say for certain, body mass index and one serum value in every draw, and none of the
# hundred noise columns is among them. With the evidence alone every third noise column is kept in the fit, and more in
# the draws: a patient drawn twice counts as two, so that chance looks more certain than it is.
#
# The error bars hold given the features that are kept and their prior variances. That others may be missing, such as
# those that come back in half of the draws, is not in them: look at both panels.
