r"""
==================================
A fast transform found in a matrix
==================================

The fast Fourier and Hadamard transforms are fast because their matrices, full of nonzeros, are products of a few
matrices that are nearly empty. Given only the full matrix, can a computer find such a product? And if the matrix is
no famous transform, but a smooth operator from physics, is there a product that comes near?
"""

# %%
# The factors of a Hadamard matrix
# --------------------------------
# All the program gets is a matrix of +1 and -1 and the wish for five factors with two nonzeros in each row.
# :class:`~sparsemodels.decomposition.FastTransform` takes off one sparse factor at a time and improves all that were
# found together; the same alternating steps from a flat start, all five factors at once, get stuck.

import time

import matplotlib.pyplot as plt
import numpy as np
import scipy.linalg

from sparsemodels.decomposition import FastTransform
from sparsemodels.solvers.factor_schedules import hadamard_schedule, multilayer_schedule

hadamard = scipy.linalg.hadamard(32)
fast = FastTransform(constraints="hadamard", tol=1e-8).fit(hadamard)
flat = FastTransform(constraints=list(hadamard_schedule(32).constraints), method="palm", tol=1e-2).fit(hadamard)
print(f"one factor at a time: relative error {fast.reconstruction_err_:.0e}, {fast.n_nonzeros_} nonzeros")
print(f"all factors at once:  relative error {flat.reconstruction_err_:.2f}")

fig, axes = plt.subplots(1, 6, figsize=(11, 2.3), layout="constrained")
axes[0].imshow(hadamard, cmap="RdBu_r", vmin=-1.5, vmax=1.5)
axes[0].set_title(f"given: {hadamard.size} nonzeros", fontsize=9)
for number, (ax, factor) in enumerate(zip(axes[1:], fast.factors_, strict=True), 1):
    ax.imshow(factor.toarray(), cmap="RdBu_r", vmin=-0.9, vmax=0.9)
    ax.set_title(f"$S_{number}$: {factor.nnz} nonzeros", fontsize=9)
for ax in axes:
    ax.set(xticks=[], yticks=[])
fig.suptitle(
    f"A Hadamard matrix as a product of five sparse factors, relative error {fast.reconstruction_err_:.0e}", fontsize=11
)
plt.show()

# %%
# What it saves
# -------------
# If the pattern of a butterfly is supposed, the factors come without iterations, from singular value decompositions of
# small blocks, in time proportional to the entries of the matrix. The transform of n numbers then takes
# :math:`4 n \log_2 n` operations in place of :math:`2 n^2`. A matrix product runs near the speed limit of the processor
# and sparse factors do not, but for a thousand numbers the difference is plain all the same.

batch = np.random.default_rng(0).standard_normal((256, 2048))


def seconds(function):
    """The fastest of a few calls."""
    times = []
    for _ in range(7):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


orders, dense_times, fast_times = [128, 256, 512, 1024, 2048], [], []
for n in orders:
    matrix = scipy.linalg.hadamard(n).astype(np.float64)
    model = FastTransform().fit(matrix)
    signals = np.ascontiguousarray(batch[:, :n])
    model.transform(signals)  # loads the compiled code
    dense_times.append(seconds(lambda: signals @ matrix.T))  # noqa: B023
    fast_times.append(seconds(lambda: model.transform(signals)))  # noqa: B023
print(
    f"n = 2048: found with error {model.reconstruction_err_:.0e}, {dense_times[-1] / fast_times[-1]:.0f} times faster"
)

# %%
# A smooth operator
# -----------------
# Magnetic sensors around a head measure currents in the brain: the *lead field* is the matrix that maps the sources to
# the sensors. It is smooth, and nothing about its structure is known. Three factors, the outer one with a few nonzeros
# a source, approximate it; the more nonzeros, the nearer. A truncated singular value decomposition, the usual way to
# make a matrix cheap, keeps much less of it for the same number of operations.


def on_half_sphere(count, radius):
    """Points spread evenly over the upper half of a sphere."""
    height = 1.0 - (np.arange(count) + 0.5) / count
    angle = np.pi * (1.0 + np.sqrt(5.0)) * np.arange(count)
    flat = np.sqrt(1.0 - height**2)
    return radius * np.stack([flat * np.cos(angle), flat * np.sin(angle), height], axis=1)


sensors, sources = on_half_sphere(96, 1.15), on_half_sphere(1024, 0.8)
direction = np.cross(sources, [0.3, 0.5, 0.8])  # currents along the surface of the brain
direction /= np.linalg.norm(direction, axis=1, keepdims=True)
away = sensors[:, None] - sources
lead_field = np.einsum("ijk,ik->ij", np.cross(direction, away), sensors) / np.linalg.norm(away, axis=2) ** 3

gains, errors = [], []
for outer, inner in ((3, 3), (5, 5), (10, 10), (20, 20)):
    schedule = multilayer_schedule(lead_field.shape, 3, outer_nonzeros=outer, inner_nonzeros=inner)
    model = FastTransform(constraints=schedule, max_iter=60, tol=2e-2).fit(lead_field)
    gains.append(model.rcg_)
    errors.append(model.reconstruction_err_)
values = np.linalg.svd(lead_field, compute_uv=False)
ranks = np.array([2, 3, 5, 8, 12, 20])
svd_gains = lead_field.size / (ranks * sum(lead_field.shape))
svd_errors = [np.linalg.norm(values[rank:]) / np.linalg.norm(values) for rank in ranks]

fig, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
left.loglog(orders, 1e6 / 256 * np.array(dense_times), "o-", color="#90a4ae", label="matrix product")
left.loglog(orders, 1e6 / 256 * np.array(fast_times), "o-", color="#c62828", label="sparse factors")
left.set(xlabel="order n of the Hadamard matrix", ylabel="microseconds a transform", title="Time of a transform")
left.set_xticks(orders, [str(n) for n in orders])
left.minorticks_off()
left.legend()
right.plot(svd_gains, 100 * np.array(svd_errors), "o-", color="#90a4ae", label="truncated SVD")
right.plot(gains, 100 * np.array(errors), "o-", color="#c62828", label="three sparse factors")
right.set(
    xscale="log",
    xlabel="times fewer nonzeros than the matrix has entries",
    ylabel="relative error (%)",
    title="A lead field of 96 sensors and 1024 sources",
    ylim=(0, None),
)
right.set_xticks([4, 8, 16, 32], ["4", "8", "16", "32"])
right.minorticks_off()
right.legend()
plt.show()

# %%
# ``reconstruction_err_`` and ``spectral_error_`` say how far the factors are from the matrix, and for butterflies
# ``lower_bound_`` how near any factors with the same pattern could come: here zero is reached. In the order of their
# sign changes, as Walsh functions are often sorted, the rows of the same matrix hide the pattern, and the bound proves
# that no butterfly comes near.

order = np.argsort(np.count_nonzero(np.diff(hadamard, axis=1), axis=1))
walsh = FastTransform().fit(hadamard[order])
print(f"Walsh functions: relative error {walsh.reconstruction_err_:.2f}, no butterfly below {walsh.lower_bound_:.2f}")
