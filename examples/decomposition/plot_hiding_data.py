r"""
=================================
Finding true atoms by hiding data
=================================

How many atoms were the signals made of? Nobody knows, so one takes more than enough. When signals are noisy, that has
a price: the dictionary with the smallest reconstruction error is not the one that made the signals. Chidambaram, Wu,
Cheng and Ge (2023) found a remedy: hide a part of the features, code each signal from the rest, and count only the
error in what was hidden.
"""

# %%
# Signals of known make
# ---------------------
# Each of 500 signals is a combination of 3 out of 50 random atoms, plus as much noise as signal. We learn dictionaries
# with the true number of atoms and with up to five times as many, and ask of each how far the true atoms are from the
# nearest learned one: one minus the cosine, whatever the sign, averaged over the true atoms.

import matplotlib.pyplot as plt
import numpy as np

from sparsemodels.decomposition import DictionaryLearning, SparseCoder

n_signals, n_features, n_true, n_nonzero = 500, 50, 50, 3


def planted(seed):
    """Noisy signals, and the atoms that they are made of."""
    rng = np.random.default_rng(seed)
    atoms = rng.standard_normal((n_true, n_features))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    codes = np.zeros((n_signals, n_true))
    for code in codes:
        code[rng.choice(n_true, n_nonzero, replace=False)] = rng.standard_normal(n_nonzero)
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    noise = rng.standard_normal((n_signals, n_features)) / np.sqrt(n_features)
    return codes @ atoms + noise, atoms


def distances(truth, learned):
    """The cosine distance from every true atom to the nearest learned one."""
    return 1.0 - np.abs(truth @ learned.T).max(axis=1)


def squared_error(X, model):
    """The squared error of the reconstructions, relative to the signals."""
    return np.sum((X - model.inverse_transform(model.transform(X))) ** 2) / np.sum(X**2)


# %%
# Two ways to learn
# -----------------
# By default :class:`~sparsemodels.decomposition.DictionaryLearning` minimises the reconstruction error. With
# ``masked_fraction=0.2`` it hides a fifth of the features at a time, and the codes that predict them have not seen
# them.

numbers = [50, 100, 175, 250]
methods = {"reconstruction error": 0.0, "error in hidden features": 0.2}
seeds = range(3)
missed = {name: np.empty((len(seeds), len(numbers))) for name in methods}
errors = {name: np.empty((len(seeds), len(numbers))) for name in methods}
true_error = []
for s in seeds:
    X, truth = planted(s)
    known_atoms = SparseCoder(truth, n_nonzero_coefs=n_nonzero).fit(X)
    true_error.append(squared_error(X, known_atoms))
    for name, fraction in methods.items():
        for j, n_atoms in enumerate(numbers):
            model = DictionaryLearning(
                n_atoms, n_nonzero_coefs=n_nonzero, masked_fraction=fraction, solver="ksvd", tol=1e-2, random_state=s
            ).fit(X)
            missed[name][s, j] = distances(truth, model.components_).mean()
            errors[name][s, j] = squared_error(X, model)

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for (name, values), colour in zip(missed.items(), ("#c0392b", "#2471a3"), strict=True):
    for ax, points in ((left, values), (right, errors[name])):
        ax.plot(numbers, points.T, ".", color=colour, alpha=0.4)
        ax.plot(numbers, points.mean(axis=0), color=colour, linewidth=2, label=f"learned by the {name}")
right.axhline(np.mean(true_error), color="black", linestyle="--", linewidth=1)
right.annotate("error of the true atoms", (250, np.mean(true_error)), (0, 4), textcoords="offset points", ha="right")
left.set(title="What one wants to know", ylabel="distance of a true atom to the nearest learned one")
right.set(title="What one sees", ylabel="squared reconstruction error / energy")
for ax in (left, right):
    ax.set(xlabel="atoms in the dictionary (50 are true)", xticks=numbers, ylim=(0, None))
right.set_ylim(0, 1.2 * np.mean(true_error))
left.legend(loc="lower right")
plt.show()

# %%
# On the right, more atoms always look better: the reconstruction error falls far below that of the atoms which made
# the signals. What is gained there is noise, and on the left one sees what it costs. Noise in hidden features cannot
# be guessed from the visible ones, so that the second dictionary has no use for atoms that fit it.

# %%
# When to stop
# ------------
# Hidden features still teach: what an atom has taken over from a signal helps to code that signal in the next pass.
# So the fit keeps a tenth of the signals aside, never learns from them, and returns the atoms that predict their
# hidden features best. ``objective_history_`` is their error; here for a dictionary with five times too many atoms.

print(f"passes: {model.n_iter_}, {model.status_}")
print(f"error in hidden features of new signals: {model.objective_history_[1]:.2f} -> {model.objective_:.2f}")
