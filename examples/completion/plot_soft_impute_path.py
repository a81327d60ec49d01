r"""
=============================================
How much to fill in: the path of SoftImpute
=============================================

A matrix of low rank, of which one entry in four was measured, with noise. How many components are there, and how far
should one trust them? :class:`~sparsemodels.completion.SoftImpute` turns one knob, the level ``alpha`` of the nuclear
norm: a large one gives few and small components, a small one follows the noise.
"""

# %%
# The data: rank five, one entry in four
# --------------------------------------

import matplotlib.pyplot as plt
import numpy as np

from sparsemodels.completion import SoftImpute

random = np.random.default_rng(0)
shape, rank = (300, 200), 5
truth = random.standard_normal((shape[0], rank)) @ random.standard_normal((rank, shape[1])) / np.sqrt(rank)
X = truth + 0.3 * random.standard_normal(shape)
role = random.choice(["known", "held out", "unknown"], shape, p=[0.23, 0.02, 0.75])
known, held_out = role == "known", role == "held out"

# %%
# One fit after the other, each from the last
# -------------------------------------------
# ``warm_start`` makes a path cheap. Every fit ends with a duality gap: no matrix whatever has an objective lower by
# more than that.

model = SoftImpute(alpha=1e9, warm_start=True, tol=1e-3).fit(X, mask=known)
alphas = model.alpha_max_ * np.geomspace(1.0, 0.06, 18)
ranks, errors, distances, gaps, sweeps = [], [], [], [], []
for alpha in alphas:
    model.set_params(alpha=alpha).fit(X, mask=known)
    Z = model.inverse_transform(model.codes_)
    ranks.append(model.rank_)
    errors.append(np.sqrt(np.mean((Z - X)[held_out] ** 2)))
    distances.append(np.linalg.norm(Z - truth) / np.linalg.norm(truth))
    gaps.append(model.relative_gap_)
    sweeps.append(model.n_iter_)
best = int(np.argmin(errors))
print(f"best level {alphas[best]:.2f}: rank {ranks[best]}, held-out error {errors[best]:.3f} (noise 0.3)")
print(f"largest relative duality gap of the path: {max(gaps):.1e}; iterations in all: {sum(sweeps)}")

colors = {"error": "#0072B2", "rank": "#D55E00", "truth": "#009E73"}
fig, (top, bottom) = plt.subplots(2, 1, figsize=(7.2, 6.4), sharex=True, layout="constrained")
top.semilogx(alphas, errors, "o-", color=colors["error"], linewidth=2, label="error on held-out entries")
top.semilogx(alphas, distances, "s-", color=colors["truth"], linewidth=2, label="distance to the truth (relative)")
top.axhline(0.3, color="black", linewidth=1, linestyle=":", label="noise level")
top.axvline(alphas[best], color="black", linewidth=1)
top.set_ylabel("error")
top.set_title("Two per cent of the entries, held out, find the level")
top.legend(frameon=False)
bottom.semilogx(alphas, ranks, "o-", color=colors["rank"], linewidth=2)
bottom.axhline(rank, color="black", linewidth=1, linestyle=":", label="true rank")
bottom.axvline(alphas[best], color="black", linewidth=1, label="smallest held-out error")
bottom.set_yscale("symlog", linthresh=10)
bottom.set_yticks([0, 5, 10, 20, 50], ["0", "5", "10", "20", "50"])
bottom.set_xticks([30, 20, 10, 5, 3, 2], ["30", "20", "10", "5", "3", "2"])
bottom.set_xticks([], minor=True)
bottom.set_xlabel("alpha (large: few components)")
bottom.set_ylabel("rank")
bottom.legend(frameon=False)
for ax in (top, bottom):
    ax.grid(alpha=0.3)
bottom.invert_xaxis()
plt.show()

# %%
# From left to right the components enter. The path stays at the true rank for most of its length, but there the true
# components are still shrunk too much. Where the error is smallest many small components of noise have slipped in: the
# price of less shrinkage of the true ones, the same trade as in the LASSO. The true rank shows as a plateau of the
# path, not at the level of the smallest error.
#
# Without the shrinkage
# ---------------------
# Once the rank is known, alternating least squares with a small ridge leaves the components as large as they are.

from sparsemodels.completion import ALSCompletion

alternating = ALSCompletion(rank=rank, alpha=2.0, biases=False, random_state=0).fit(X, mask=known)
Z = alternating.inverse_transform(alternating.codes_)
print(f"SoftImpute: distance to the truth {distances[best]:.3f}")
distance = np.linalg.norm(Z - truth) / np.linalg.norm(truth)
print(f"ALSCompletion, rank {rank}: {distance:.3f}, KKT residual {alternating.kkt_:.1e}")
