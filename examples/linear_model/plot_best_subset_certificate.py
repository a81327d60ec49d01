r"""
==============================================
Is there a better model with as few features?
==============================================

Someone hands you a model with eight features, found by forward selection, and asks: is there a better one
with eight? There are 186 billion subsets of eight out of a hundred features: nobody looks at all of them. Best subset
selection answers in two numbers: the objective of the best model it found, and a **lower bound**, which no model
of that size can be below. Where the two meet, the question is settled.
"""

import matplotlib.pyplot as plt
import numpy as np

from sparsemodels.linear_model import OrthogonalMatchingPursuit, best_subset_path

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"

# %%
# The data
# --------
#
# A hundred features in chains of correlated neighbours, and a target made of eight of them: four pairs of
# neighbours with opposite signs. Each alone says little about the target, which is what greedy selection
# trips over.

N_SAMPLES, N_FEATURES = 300, 100


def correlated_pairs(seed):
    """Features with correlated neighbours, and a target of four pairs with opposite signs."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N_SAMPLES, N_FEATURES))
    for j in range(1, N_FEATURES):
        X[:, j] = 0.9 * X[:, j - 1] + np.sqrt(1.0 - 0.9**2) * X[:, j]
    coef = np.zeros(N_FEATURES)
    for first, size in zip((10, 33, 57, 81), (1.0, 0.9, 0.8, 0.7), strict=True):
        coef[[first, first + 1]] = size, -size
    return np.asfortranarray(X), X @ coef + 0.35 * rng.standard_normal(N_SAMPLES), np.flatnonzero(coef)


X, y, truth = correlated_pairs(seed=2)

# %%
# One path, two curves
# --------------------
#
# ``max_nodes=1`` is the relaxation alone: one convex problem for each number of features. With more nodes,
# branch and bound goes on from there. The search is the same.

SIZES = np.arange(1, 14)
relaxed = best_subset_path(X, y, sizes=SIZES, max_nodes=1)
path = best_subset_path(X, y, sizes=SIZES, max_nodes=4000)

# %%
# For comparison, orthogonal matching pursuit. Its loss is a sum where ours is half a mean.

greedy = OrthogonalMatchingPursuit(int(SIZES[-1])).fit(X, y).loss_path_[1:] / (2 * N_SAMPLES)

for size, support, objective, bound, status in zip(
    path.sizes, path.supports, path.objectives, path.lower_bounds, path.statuses, strict=True
):
    gap = (objective - bound) / path.null_objective
    hits = np.isin(support, truth).sum()
    print(f"{size:3d} features, {hits} true ones: {status:9s} gap {gap:.1%}")


# %%
# Objective and bound
# -------------------
#
# Left, everything relative to the loss without features. No model lies in the shaded region: it is *proven*
# empty. The relaxation alone (dashed) leaves a doubt; branch and bound removes it wherever the dots are filled.
# The pursuit's models lie far above the curve: with eight features there is a model that leaves less than half
# of what the greedy one leaves, and it is the best there is.
#
# Right, what remains of the doubt. Beyond the eight features that matter, the ninth and tenth are chosen to fit
# noise, nearly equally well by many subsets: there a proof takes ever more nodes.


def plot_path(path, relaxed, greedy):
    """The objectives between their bounds, and the gaps."""
    null = path.null_objective
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
    left.fill_between(path.sizes, 0.0, path.lower_bounds / null, color=BLUE, alpha=0.15, lw=0)
    left.plot(path.sizes, relaxed.lower_bounds / null, "--", color=BLUE, lw=1.4, label="bound of the relaxation")
    left.plot(SIZES, greedy / null, "s-", color=ORANGE, ms=5, lw=1.4, label="orthogonal matching pursuit")
    left.plot(path.sizes, path.objectives / null, "-", color=BLUE, lw=1.8)
    proven = np.array(path.statuses) == "optimal"
    for mask, face, label in ((proven, BLUE, "best subset, proven"), (~proven, "white", "best subset, not proven")):
        if mask.any():
            left.plot(path.sizes[mask], path.objectives[mask] / null, "o", color=BLUE, mfc=face, ms=7, label=label)
    left.text(1.3, 0.06, "no model of this size\nlies here", color=BLUE, fontsize=10)
    left.set(xlabel="features in the model", ylabel="loss / loss without features", ylim=(0.0, 1.0))
    left.set_title("Loss and its lower bound", fontsize=11)
    left.legend(frameon=False, fontsize=9, loc="upper right")

    floor = 1e-7
    for result, style, label in ((relaxed, "v--", "the relaxation alone"), (path, "o-", "with branch and bound")):
        gap = (result.objectives - result.lower_bounds) / null
        right.semilogy(result.sizes, np.maximum(gap, floor), style, color=BLUE, ms=6, lw=1.4, label=label)
    right.axhline(1e-6, color="0.5", lw=1, ls=":")
    right.text(SIZES[0], 1.4e-6, "below tol: proven", color="0.4", fontsize=9)
    right.set(xlabel="features in the model", ylabel="gap: (objective - bound) / loss without features")
    right.set_ylim(0.5 * floor, 1.0)
    right.set_title("How far from proven", fontsize=11)
    right.legend(frameon=False, fontsize=9, loc="center left")
    for axis in (left, right):
        axis.set_xticks(SIZES[1::2])
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    return figure


plot_path(path, relaxed, greedy)
plt.show()

# %%
# To take home: ``status_ == "optimal"`` ends the discussion about better models of that size. Where it says
# something else, ``gap_`` says how much a better model could gain at most, and ``max_nodes`` buys certainty.
