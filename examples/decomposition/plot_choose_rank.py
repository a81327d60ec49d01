r"""
=============================
How many components are there
=============================

Tumours, each the work of a few mutational processes; or samples of air, each a blend of what a few sources emit: a
matrix factorization finds the parts, once it is told how many. The fit to the data cannot tell, because it improves
with every further component. Two things can.

*Prediction.* Hide a tenth of the entries, scattered over the matrix, and predict them. Components that are real help;
those that fit noise hurt. Rows cannot be hidden for this purpose: their codes would be computed from what is to be
predicted.

*Stability.* Shake the data a little and factorize again. Components that are real come back; those that are shaped by
noise come back different.
"""

# %%
# Five sources in ninety samples
# ------------------------------
# Every source has a spectrum over sixty channels; every sample is a blend of some of them, over a faint
# background, counted.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone

from sparsemodels.decomposition import NMF, NMFCV, NonnegativeRESCAL, StabilityRankSelector
from sparsemodels.inspection import RankSelectionDisplay

rng = np.random.default_rng(2)
n_samples, n_channels, n_sources = 90, 60, 5
channels = np.arange(n_channels)
centres = rng.uniform(0, n_channels, size=(n_sources, 3, 1))
widths = rng.uniform(1.5, 4.0, size=centres.shape)
spectra = np.exp(-0.5 * ((channels - centres) / widths) ** 2).sum(axis=1)
blends = rng.exponential(size=(n_samples, n_sources)) * (rng.random((n_samples, n_sources)) < 0.6)
data = rng.poisson(20.0 * blends @ spectra + 4.0).astype(float)

# %%
# The fit alone is no guide
# -------------------------

factorization = NMF(tol=1e-3, max_iter=1000, random_state=0)
for rank in (4, 5, 6, 9):
    model = clone(factorization).set_params(n_components=rank).fit(data)
    print(f"rank {rank}: relative error {model.reconstruction_err_ / np.linalg.norm(data):.3f}")

# %%
# Hidden entries, and shaken data
# -------------------------------

search = NMFCV(factorization, ranks=range(1, 11), n_replicates=5, rule="1se", patience=None, random_state=0).fit(data)
stability = StabilityRankSelector(factorization, ranks=range(2, 11), n_perturbations=10, random_state=0).fit(data)
print(f"Smallest error of hidden entries at rank {search.rank_min_}, within one standard error {search.rank_1se_}.")
print(f"Largest stable rank: {stability.best_rank_}, its components: {stability.component_silhouettes_.round(2)}")

# %%
# The same question for a relational tensor
# -----------------------------------------
# Who trades with whom, in six goods: thirty countries in four communities. A nonnegative RESCAL model explains every
# good by one matrix of communities and a small table of what they send each other. The selector drives it as well.

rng = np.random.default_rng(0)
membership = rng.exponential(size=(30, 4)) * (rng.random((30, 4)) < 0.5)
tables = rng.exponential(size=(6, 4, 4))
trade = membership @ tables @ membership.T + 0.3 * rng.random((6, 30, 30))
communities = StabilityRankSelector(
    NonnegativeRESCAL(tol=1e-3), ranks=range(2, 8), n_perturbations=8, random_state=0
).fit(trade)
print(f"Largest stable number of communities: {communities.best_rank_}")

# %%
# The figure
# ----------

fig, (left, middle, right) = plt.subplots(1, 3, figsize=(13.5, 4.2), layout="constrained")
RankSelectionDisplay.from_estimator(search, ax=left)
left.set_title("Spectra: hidden entries")
RankSelectionDisplay.from_estimator(stability, ax=middle)
middle.set_title("Spectra: stability")
RankSelectionDisplay.from_estimator(communities, ax=right)
right.set_title("Trade: stability")
plt.show()

# %%
# Both find the five sources, by different signs. The error of hidden entries falls up to five and rises from there:
# further components fit noise, and run wild where few entries are known. The silhouette of the worst cluster stays near
# one up to five and drops as soon as a sixth component has to be invented.
#
# They need not agree. Prediction asks how many components *help*, stability how many can be *named*. If two true
# components are nearly alike, or the factorization is not unique, prediction still counts both, and stability warns
# that they are not to be told apart.
