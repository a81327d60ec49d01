r"""
=======================================================
Ratings: binary genres, real tastes, nothing else known
=======================================================

Four hundred people rated three hundred films, each a few of them: 92 % of the matrix is unknown. What would they say
about the others? Nonnegative matrix factorization gives every person and every film a few nonnegative numbers. A film
that was rated three times cannot fill many numbers.

:class:`~sparsemodels.decomposition.NBMF` gives a film *bits*: it belongs to a genre or it does not. Only people, who
have more ratings each than films have, get real numbers. To find the best bits of a film is a binary quadratic problem,
the kind that Ising machines and simulated annealing are built for. With a handful of bits it is solved exactly, with a
proof, in microseconds.
"""

# %%
# What is known
# -------------
# Planted are four genres, tastes for them, and offsets: people who rate, and films that are rated, higher or lower
# throughout. Popular films get most of the ratings; ten films get none before the test. If MovieLens 100K has been
# fetched before (:func:`~sparsemodels.datasets.fetch_movielens_100k`), its real ratings are used instead.

import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
import scipy.sparse

from sparsemodels.datasets import fetch_movielens_100k, make_ratings
from sparsemodels.decomposition import NBMF, NMF

try:
    movielens = fetch_movielens_100k(download_if_missing=False)
    order = np.random.default_rng(0).permutation(len(movielens.ratings))
    train, test = order[:80_000], order[80_000:]
    pairs, ratings = movielens.pairs, movielens.ratings
    data = scipy.sparse.csr_array((ratings[train], tuple(pairs[train].T)), shape=movielens.data.shape)
    test_pairs, test_ratings, source = pairs[test], ratings[test], "MovieLens 100K"
except OSError:
    problem = make_ratings(
        400, 300, 4, density=0.08, offset_scale=0.4, noise_level=0.6, n_cold_items=10, random_state=0
    )
    data, test_pairs, test_ratings = problem.data, problem.test_pairs, problem.test_ratings
    source = "generated ratings"
print(f"{source}: {data.shape[0]} people, {data.shape[1]} films, {data.nnz} training ratings")


def rmse(predictions):
    """Root mean squared error of test predictions, on the rating scale."""
    return float(np.sqrt(np.mean((np.clip(predictions, 1, 5) - test_ratings) ** 2)))


# %%
# Four factorizations
# -------------------
# All of them skip what is unknown: ``missing="implicit"`` says that an entry that is not stored is not a zero. The
# ridge is the same for all. A film without ratings gets the mean code of the others.


def predictions_of_nmf(rank):
    model = NMF(rank, alpha_W=0.05, missing="implicit", max_iter=300, tol=1e-3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # films without ratings get a code below
        codes = model.fit_transform(data)
    components = model.components_.copy()
    rated = np.diff(data.tocsc().indptr) > 0
    components[:, ~rated] = components[:, rated].mean(axis=1, keepdims=True)
    return np.einsum("ia,ai->i", codes[test_pairs[:, 0]], components[:, test_pairs[:, 1]])


def fit_nbmf(rank, **parameters):
    """The best of a random start and two perturbations."""
    model = NBMF(rank, alpha=0.05, missing="implicit", n_init=1, n_perturbations=2, tol=1e-3, random_state=0)
    return model.set_params(**parameters).fit(data)


VARIANTS = {
    "NBMF, exact": {},
    "NBMF, simulated annealing": {"solver": "simulated_annealing"},
    "NBMF with baseline": {"fit_baseline": True},
}
ranks = [2, 4, 6, 8]
errors = {"NMF": [rmse(predictions_of_nmf(rank)) for rank in ranks]}
for name, parameters in VARIANTS.items():
    errors[name] = [rmse(fit_nbmf(rank, **parameters).predict_pairs(test_pairs)) for rank in ranks]

COLOURS = dict(zip(errors, ("#E69F00", "#0072B2", "#56B4E9", "#009E73"), strict=True))
fig, ax = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
for name, line in errors.items():
    dashed = "annealing" in name
    ax.plot(ranks, line, "s--" if dashed else "o-", color=COLOURS[name], markersize=5, label=name)
mean_error = rmse(np.full(len(test_ratings), data.data.mean()))
ax.axhline(mean_error, color="0.5", linewidth=1)
ax.annotate("the mean rating for everyone", (ranks[-1], mean_error), (0, -4), textcoords="offset points",
            ha="right", va="top", color="0.4")  # fmt: skip
ax.set_xlabel("rank: genres")
ax.set_ylabel("RMSE of test ratings")
ax.set_title(f"Unseen ratings ({source})")
ax.set_xticks(ranks)
ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
plt.show()

# %%
# NMF is at its best with the planted four genres. With more, it gives every film more numbers than it has ratings, and
# its error grows. Bits alone are too poor: that a film is liked in general is nothing that zeros and ones can say. With
# a baseline for that, bits predict as well, and go on doing so where NMF fits noise. For codes of rarely rated films
# there is ``prior="mean"``.
#
# Exact or annealed?
# ------------------
# Both use the same outer loop, from the same start, and no answer that is worse than the code at hand is taken. With
# exact answers the alternation ends at codes of which none can be improved alone; every code has a proof. The annealer
# usually finds good codes as well, but takes far longer, and cannot know: its few proofs are of codes that simple
# bounds fix before it is asked.

contest = [2, 4, 8]
results = {solver: [] for solver in ("auto", "simulated_annealing")}
for solver, line in results.items():
    for rank in contest:
        model = NBMF(rank, alpha=0.05, solver=solver, missing="implicit", n_init=1, n_perturbations=0, tol=1e-3,
                     max_iter=200, random_state=0)  # fmt: skip
        start = time.perf_counter()
        model.fit(data)
        line.append((time.perf_counter() - start, data.shape[1] - model.n_inexact_, model.objective_))

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
names = {"auto": ("exact", "#0072B2", -0.2), "simulated_annealing": ("annealed", "#56B4E9", 0.2)}
for solver, (name, colour, shift) in names.items():
    seconds, proved, _ = zip(*results[solver], strict=True)
    places = np.arange(len(contest)) + shift
    left.bar(places, seconds, 0.4, color=colour, label=name)
    right.bar(places, 100 * np.array(proved) / data.shape[1], 0.4, color=colour, label=name)
for ax in (left, right):
    ax.set_xticks(np.arange(len(contest)), contest)
    ax.set_xlabel("rank")
left.set_yscale("log")
left.set_ylabel("seconds of a fit")
right.set_ylabel("codes with a proof, in percent")
left.legend(frameon=False)
plt.show()
