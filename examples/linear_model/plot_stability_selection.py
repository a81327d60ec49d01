r"""
=========================================
Stability selection: which genes are real
=========================================

Expression levels of a thousand genes in 120 tissue samples, and a trait that truly depends on eight of them. Genes
work in pathways: those of one pathway rise and fall together. A lasso whose penalty is chosen by cross-validation
predicts well and selects dozens of genes; ask it again with other samples, and it names others.

Stability selection asks it a hundred times, on random halves of the samples, and keeps what most halves agree on. It
comes with a bound: if a half selects *q* of the *p* genes, at most :math:`q^2 / ((2 \pi - 1) p)` of the genes that
more than a share :math:`\pi` of the halves select are wrong, on average. All hundred regularisation paths are solved
side by side, over the same matrix.
"""

# %%
# A thousand genes in blocks
# --------------------------
# Fifty pathways of twenty genes. Half of what a gene does is what its pathway does: correlations of one half within a
# pathway, zero between pathways. Eight genes of eight pathways matter.

import matplotlib.pyplot as plt
import numpy as np

from sparsemodels.linear_model import LassoCV, PermutationTest, StabilitySelection

rng = np.random.default_rng(0)
n_samples, n_pathways, per_pathway = 120, 50, 20
pathways = np.repeat(rng.standard_normal((n_samples, n_pathways)), per_pathway, axis=1)
expression = np.sqrt(0.5) * (pathways + rng.standard_normal(pathways.shape))
n_genes = expression.shape[1]

true = np.arange(8) * per_pathway
effects = np.array([1.6, -1.5, 1.4, -1.3, 1.2, -1.1, 1.0, -0.9])
trait = expression[:, true] @ effects + rng.standard_normal(n_samples)

# %%
# Is there anything at all?
# -------------------------
# The permutation test compares the smallest penalty that leaves the model empty with that of the same trait in random
# order: a thousand problems, of which none needs to be fitted.

test = PermutationTest(n_permutations=999, random_state=0).fit(expression, trait)
print(f"p-value {test.p_value_:.3f}")

# %%
# What the lasso selects
# ----------------------

lasso = LassoCV().fit(expression, trait)
chosen = np.flatnonzero(lasso.coef_)
print(f"LassoCV selects {chosen.size} genes, {np.isin(chosen, true).sum()} of the {true.size} true ones among them.")

# %%
# What the halves agree on
# ------------------------
# The path stops at a third of the largest penalty, where a half selects a dozen genes. How high must
# the threshold be for at most one wrong gene to be expected? The bound answers.

stability = StabilitySelection(alphas=20, eps=0.35, random_state=0).fit(expression, trait)
thresholds = np.linspace(0.51, 1.0, 50)
threshold = next(t for t in thresholds if stability.error_bound(t) <= 1.0)
stable = np.flatnonzero(stability.scores_ >= threshold)
print(
    f"A half selects {stability.n_selected_.mean():.1f} genes on average. At {threshold:.2f}, {stable.size} genes are "
    f"stable, {np.isin(stable, true).sum()} of them true; "
    f"at most {stability.error_bound(threshold):.2f} are wrong on average."
)
print(
    f"Largest relative duality gap of the {stability.dual_gap_path_.size} fits: "
    f"{stability.dual_gap_path_.max() / (0.5 * trait.var()):.0e}"
)

# %%
# The figure
# ----------

fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained", width_ratios=[3, 2])
relative = stability.alphas_ / stability.alpha_max_
wrong = np.setdiff1d(np.arange(n_genes), true)
left.plot(relative, stability.selection_probabilities_[wrong].T, color="0.75", linewidth=0.7)
left.plot(relative, stability.selection_probabilities_[true].T, color="tab:red", linewidth=1.8)
left.axhline(threshold, color="black", linestyle="--", linewidth=1)
left.text(0.88, threshold - 0.045, f"at most one wrong gene above {threshold:.2f}", fontsize=9)
left.plot([], [], color="tab:red", label="the true genes")
left.plot([], [], color="0.75", label=f"the other {wrong.size}")
left.set(
    xlim=(1, relative[-1]),
    ylim=(0, 1.02),
    xlabel=r"penalty $\alpha / \alpha_{\max}$",
    ylabel="share of halves that select the gene",
    title="Stability paths",
)
left.legend(frameon=False, loc="upper left")

right.hist(test.null_distribution_, bins=30, color="0.75", label="random order")
right.axvline(test.statistic_, color="tab:red", linewidth=1.8, label="as observed")
right.set(
    xlabel=r"smallest penalty of an empty model, $\alpha_{\max}$",
    ylabel="permutations",
    title=f"Permutation test: p = {test.p_value_:.3f}",
)
right.legend(frameon=False)
plt.show()

# %%
# Five of the eight true genes leave the crowd, and no other gene follows them over the line. What lies below it is not
# refuted: the weakest effects are lost in the noise of sixty samples, or shared with other genes of the pathway. That
# is the price of a list that can be trusted.
#
# When not to use it: for prediction (the lasso of the cross-validation predicts better), and where nearly identical
# features share the votes, so that none of them reaches the threshold; group them first.
