r"""
========================================
Which items to show next: EASE and alpha
========================================

From *what users took* (films seen, songs played, things bought) to what they may want next, without any ratings. Three
ways to answer:

- **popularity**: the same best-sellers for everyone;
- **cosine neighbours**: items that the same users took, one pair at a time;
- **EASE**: each item regressed on *all other items at once*, in closed form. Two items that go together only because
  both are popular, or because both go with a third one, no longer count as evidence for each other.
"""

# %%
# Users with planted tastes
# -------------------------
# 4000 users, 600 items in 20 genres and, within these, in series of three. Every user likes a few genres and takes
# popular series more often than others; who takes one part of a series mostly takes the other parts. Some users take a
# hundred items, most of them ten, and one in four items is taken out of curiosity, from anywhere.

import matplotlib.pyplot as plt
import numpy as np
import scipy.sparse

from sparsemodels.completion import EASE

random = np.random.default_rng(0)
n_users, n_items, n_genres = 4000, 600, 20
n_series = n_items // 3  # items 3 s, 3 s + 1 and 3 s + 2 are the parts of series s
genre = random.integers(n_genres, size=n_series)
popularity = 1.0 / (1.0 + random.permutation(n_series)) ** 0.8
rows, columns = [], []
for user in range(n_users):
    size = int(np.clip(np.exp(random.normal(2.0, 0.8)), 3, 60))
    liked = np.isin(genre, random.choice(n_genres, 3, replace=False))
    appeal = popularity * np.where(random.random() < 0.9, np.where(liked, 1.0, 0.05), 1.0)
    series = random.choice(n_series, size, replace=False, p=appeal / appeal.sum())
    items = (3 * series[:, np.newaxis] + np.arange(3))[random.random((size, 3)) < 0.6]
    curious = 3 * random.choice(n_series, 1 + size // 2, p=popularity / popularity.sum()) + random.integers(3)
    items = np.unique(np.concatenate([items, curious]))
    rows += [user] * items.size
    columns += items.tolist()
taken = scipy.sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(n_users, n_items))
print(f"{taken.nnz} items taken, {taken.nnz / taken.shape[0]:.1f} a user, density {taken.nnz / n_users / n_items:.3f}")

# %%
# The test: users never seen before
# ---------------------------------
# A quarter of the users is held out. Of each, 80 % of the items are shown to the model; the share of the rest among the
# first 20 recommendations is the recall.

train, test = taken[:3000], taken[3000:]
shown = random.random(test.nnz) < 0.8
positions = np.repeat(np.arange(test.shape[0]), np.diff(test.indptr))
history = scipy.sparse.csr_array((np.ones(shown.sum()), (positions[shown], test.indices[shown])), shape=test.shape)
hidden = scipy.sparse.csr_array((np.ones((~shown).sum()), (positions[~shown], test.indices[~shown])), shape=test.shape)


def recall(recommended, size):
    """Mean over the users of the share of hidden items among their first recommendations."""
    users = np.flatnonzero(np.diff(hidden.indptr))
    wanted = [set(hidden[[u]].indices.tolist()) for u in users]
    found = [len(items & set(recommended[u, :size].tolist())) for u, items in zip(users, wanted, strict=True)]
    return np.mean([hits / min(size, len(items)) for hits, items in zip(found, wanted, strict=True)])


def ranked(scores):
    """The 50 best unseen items of every user from dense scores."""
    scores = np.where(history.toarray() > 0.0, -np.inf, scores)
    return np.argsort(-scores, axis=1, kind="stable")[:, :50]


counts = train.sum(axis=0)
together = (train.T @ train).toarray()
cosine = together / np.sqrt(np.maximum(np.outer(counts, counts), 1.0))
np.fill_diagonal(cosine, 0.0)


def neighbours(size):
    """Cosine similarities to the nearest items of each item alone."""
    kept = cosine >= np.sort(cosine, axis=0)[-size]
    return cosine * kept


answers = {
    "popularity": ranked(np.tile(counts, (test.shape[0], 1))),
    "cosine neighbours": max(
        (ranked(history @ neighbours(size)) for size in (2, 5, 10, 20, 50, 100, 600)), key=lambda best: recall(best, 20)
    ),
}
alphas = np.geomspace(1.0, 1e4, 17)
models = [EASE(alpha=alpha).fit(train) for alpha in alphas]
recalls = [recall(model.recommend(history, 20), 20) for model in models]
best = models[int(np.argmax(recalls))]
answers["EASE"] = best.recommend(history, 50)
for name, items in answers.items():
    print(f"{name:>18}: recall@20 = {recall(items, 20):.3f}")
print(f"relative gradient of the best EASE model: {best.kkt_:.1e}")

# %%
# The cosine neighbours were even allowed to choose the size of their neighbourhood on the test users, and still EASE
# finds more, for every length of the list.

colors = {"popularity": "#999999", "cosine neighbours": "#E69F00", "EASE": "#0072B2"}
sizes = np.array([1, 2, 5, 10, 20, 30, 50])
fig, (left, right) = plt.subplots(1, 2, figsize=(10.0, 4.2), layout="constrained")
for name, items in answers.items():
    left.plot(sizes, [recall(items, size) for size in sizes], "o-", color=colors[name], linewidth=2, label=name)
left.set_xlabel("length of the list")
left.set_ylabel("recall on new users")
left.set_title("EASE finds more of what was hidden")
left.legend(frameon=False)
left.grid(alpha=0.3)

explained = [model.score(test) for model in models]
right.semilogx(alphas, recalls, "o-", color=colors["EASE"], linewidth=2, label="EASE")
for name in ("cosine neighbours", "popularity"):
    level = recall(answers[name], 20)
    right.axhline(level, color=colors[name], linewidth=2, linestyle="--", label=name)
chosen = alphas[int(np.argmax(explained))]
right.axvline(chosen, color="black", linewidth=1, linestyle=":", label="largest score")
right.set_xlabel("alpha")
right.set_ylabel("recall@20 on new users")
right.set_title("alpha: the best recall is where the score is largest")
right.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 0.08))
right.grid(alpha=0.3)
plt.show()

# %%
# ``alpha`` need not be tuned on recommendations. As no item takes part in its own score, :meth:`EASE.score
# <sparsemodels.completion.EASE.score>`, the share of new users' rows that the model explains, is an honest measure of
# prediction, and its best level (dotted) is close to the best recall: :class:`~sklearn.model_selection.GridSearchCV`
# works out of the box.
#
# New users come with every day's data: ``partial_fit`` adds their rows to the Gram matrix, and the weights are those of
# one fit to all of them.
