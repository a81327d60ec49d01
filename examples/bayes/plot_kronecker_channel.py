r"""
==========================================
A channel through a wall of small mirrors
==========================================

A base station reaches a user by way of an intelligent surface, a wall of reflecting elements whose phases can be set.
How strongly each direction at the station, at the surface and at the user is coupled to each other one is a tensor
with thousands of unknowns, and only a few hundred pilots can be sent. What saves the day is that the tensor is nearly
empty, and empty in a particular way: it has few directions *in each of its modes*.
"""

# %%
# Three modes, one Kronecker product
# ----------------------------------
# 18 directions in each mode make 5832 unknowns. The station sends 6 pilots through 16 antennas, for each of 8 settings
# of a surface with 64 elements, and the user listens with 6 antennas: 288 complex numbers, one for twenty unknowns. In
# vectorised form :math:`y = (H_1 \otimes H_2 \otimes H_3)\, x + e`. The paths arrive in clusters, three neighbouring
# directions in each mode.

import warnings
from functools import reduce

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sparsemodels.bayes import KroneckerSparseBayes
from sparsemodels.solvers.mode_products import mode_products

N_DIRECTIONS = 18


def steering(n_antennas):
    """The phases at a line of antennas, one column a direction."""
    sines = np.linspace(-1.0, 1.0, N_DIRECTIONS, endpoint=False)
    return np.exp(1j * np.pi * np.outer(np.arange(n_antennas), sines)) / np.sqrt(n_antennas)


def gaussian(rng, *shape):
    """Complex numbers with a mean square of one."""
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)) / np.sqrt(2.0)


def channel(seed, snr_db):
    """Factors, clustered coefficients and noisy measurements."""
    rng = np.random.default_rng(seed)
    settings = np.exp(2j * np.pi * rng.random((8, 64))) / np.sqrt(64)
    pilots = np.exp(2j * np.pi * rng.random((6, 16))) / np.sqrt(16)
    factors = [settings @ steering(64), pilots @ steering(16), steering(6)]
    modes = np.zeros((3, N_DIRECTIONS), dtype=complex)
    for mode in modes:
        first = rng.integers(N_DIRECTIONS - 3)
        mode[first : first + 3] = gaussian(rng, 3)
    x = reduce(np.multiply.outer, modes)
    signal = mode_products(x, factors)
    noise = np.mean(np.abs(signal) ** 2) / 10 ** (snr_db / 10)
    return factors, x, signal + np.sqrt(noise) * gaussian(rng, *signal.shape)


def error(found, x):
    """The squared error relative to the squared norm."""
    return np.sum(np.abs(found - x) ** 2) / np.sum(np.abs(x) ** 2)


# %%
# The usual way looks for single entries among the 5832. Orthogonal matching pursuit is told here how many there are,
# 27; least squares is even told which. Sparse Bayesian learning is told nothing, the level of the noise included: it
# gives each direction of each mode a variance, and takes those that make the data most likely. With ``coupling`` a
# direction lends a share of its variance to its two neighbours.


def columns(factors, support):
    """The columns of the Kronecker product behind some entries of x."""
    chosen = [H[:, k] for H, k in zip(factors, np.unravel_index(support, [H.shape[1] for H in factors]))]
    return reduce(lambda left, right: (left[:, None] * right).reshape(-1, len(support)), chosen)


def least_squares(factors, Y, support, shape):
    """The coefficients on a given support."""
    x = np.zeros(shape, dtype=complex)
    x.ravel()[support] = np.linalg.lstsq(columns(factors, support), Y.ravel(), rcond=None)[0]
    return x


def matching_pursuit(factors, Y, n_nonzeros, shape):
    """One entry after the other, the one that fits best what is left, and all refitted."""
    norms = reduce(np.multiply.outer, [np.linalg.norm(H, axis=0) for H in factors])
    support, x = [], np.zeros(shape, dtype=complex)
    for _ in range(n_nonzeros):
        residual = Y - mode_products(x, factors)
        support.append(int(np.argmax(np.abs(mode_products(residual, [H.conj().T for H in factors])) / norms)))
        x = least_squares(factors, Y, np.array(support), shape)
    return x


METHODS = {
    "matching pursuit, number known": lambda H, Y, x: matching_pursuit(H, Y, 27, x.shape),
    "Kronecker": lambda H, Y, x: KroneckerSparseBayes(H, max_iter=1000).fit(Y).coef_tensor_,
    "Kronecker, coupled": lambda H, Y, x: KroneckerSparseBayes(H, coupling=0.8, max_iter=1000).fit(Y).coef_tensor_,
    "least squares, support known": lambda H, Y, x: least_squares(H, Y, np.flatnonzero(x), x.shape),
}

# %%
# One channel
# -----------
# At 20 dB, seen from the station and the user: the strength of each pair of directions, summed over those of the
# surface. Through so few antennas neighbouring directions look alike. Pursuit takes one for the other, entry by entry;
# a prior by modes takes whole slices, but may still miss one between two others. Coupled, it knows that a gap within a
# cluster is unlikely.

H, x, Y = channel(1, 20)
fig, axes = plt.subplots(1, 4, figsize=(10, 2.9), layout="constrained")
shown = {"the channel": x} | {name: METHODS[name](H, Y, x) for name in list(METHODS)[:3]}
for ax, (name, tensor) in zip(axes, shown.items()):
    strength = np.sqrt(np.sum(np.abs(tensor) ** 2, axis=0))
    ax.imshow(strength, cmap="magma_r", vmin=0.0, vmax=np.sqrt(np.sum(np.abs(x) ** 2, axis=0)).max())
    ax.set_title(name.split(", number")[0] + ("" if tensor is x else f"\nerror {error(tensor, x):.3f}"), fontsize=10)
    ax.set(xticks=[], yticks=[], xlabel="directions at the user")
axes[0].set_ylabel("directions at the station")
plt.show()

# %%
# Many channels, and the experiment of the paper
# ----------------------------------------------
# Left, medians of the error over the draws. Pursuit never finds the channel. The coupled prior, which is told nothing,
# comes near to what least squares does with the true support, and where there is most noise it does better: it shrinks.
#
# Middle and right, the experiment of He and Joseph, without clusters: real Gaussian factors, 15 unknowns a mode,
# 8 x 12 x 15 measurements, three nonzeros a mode. The evidence alone (``evidence_threshold=0``) keeps entries that are
# nothing but noise; asked that each be worth the logarithm of their number in evidence, most of these go, and the
# error with them where there is most of it. Expectation maximisation is far from there after 60 steps.

levels, n_draws = (4, 8, 12, 16, 20), 7
lost = {name: np.empty((len(levels), n_draws)) for name in METHODS}
for i, snr_db in enumerate(levels):
    for draw in range(n_draws):
        H, x, Y = channel(draw, snr_db)
        for name, method in METHODS.items():
            lost[name][i, draw] = error(method(H, Y, x), x)


def published_setting(seed, snr_db):
    """Gaussian factors and an outer product of sparse vectors."""
    rng = np.random.default_rng(seed)
    factors = [rng.normal(size=(m, 15)) for m in (8, 12, 15)]
    modes = np.zeros((3, 15))
    for mode in modes:
        mode[rng.choice(15, 3, replace=False)] = rng.normal(size=3)
    x = reduce(np.multiply.outer, modes)
    signal = mode_products(x, factors)
    noise = np.mean(signal**2) / 10 ** (snr_db / 10)
    return factors, x, signal + np.sqrt(noise) * rng.normal(size=signal.shape)


def recovered(found, x):
    """The share of the entries in either support that are in both."""
    here, there = (np.abs(tensor) > 1e-3 * np.abs(tensor).max() for tensor in (found, x))
    return np.sum(here & there) / np.sum(here | there)


EM = {"method": "am", "prune_tol": 1e-2, "evidence_threshold": 0.0, "max_iter": 60}
SETTINGS = {
    "60 steps of EM": EM,
    "evidence alone": {"evidence_threshold": 0.0, "prune_tol": 1e-3},
    "with a threshold": {},
}
few = (5, 15, 25)
scores = {name: np.empty((len(few), 7, 2)) for name in SETTINGS}
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)  # of expectation maximisation, as the text says
    for i, snr_db in enumerate(few):
        for draw in range(7):
            H, x, Y = published_setting(draw, snr_db)
            for name, setting in SETTINGS.items():
                found = KroneckerSparseBayes(H, **setting).fit(Y).coef_tensor_
                scores[name][i, draw] = error(found, x), recovered(found, x)

fig, axes = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained", width_ratios=(1.3, 1, 1))
for (name, values), style in zip(lost.items(), ("o-", "s-", "D-", "k--"), strict=True):
    axes[0].semilogy(levels, np.median(values, axis=1), style, label=name, ms=5)
axes[0].set(xlabel="signal to noise, dB", ylabel="median error, relative", title="Clustered channels", xticks=levels)
axes[0].legend(fontsize=7, loc="lower left")
for (name, values), style in zip(scores.items(), ("^-", "s-", "D-"), strict=True):
    medians = np.median(values, axis=1)
    axes[1].semilogy(few, medians[:, 0], style, label=name, ms=5)
    axes[2].plot(few, medians[:, 1], style, label=name, ms=5)
axes[1].set(xlabel="signal to noise, dB", ylabel="median error, relative", title="The published experiment", xticks=few)
axes[2].set(xlabel="signal to noise, dB", ylabel="support recovered", title="The same", xticks=few, ylim=(0.0, 1.05))
axes[2].legend(fontsize=8, loc="center right")
plt.show()
for name, values in lost.items():
    print(f"{name:32s}", "  ".join(f"{np.median(row):.4f}" for row in values))
