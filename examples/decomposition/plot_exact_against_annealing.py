r"""
===================================================
Binary codes: proven best, and faster than sampling
===================================================

In a nonnegative/binary factorization every sample is a *sum of a subset* of parts: its code is a vector of zeros and
ones. Which subset fits best is a binary quadratic problem,

.. math:: \min_{h \in \{0, 1\}^r} \; \tfrac12 \|v - W h\|^2 ,

with :math:`2^r` candidates, and such problems are what quantum and digital annealers are built for. But the matrix
:math:`W^T W` is positive semidefinite, and that is enough to find the best code *with a proof* in a fraction of a
millisecond: :func:`~sparsemodels.solvers.binary_quadratic.minimize_binary_quadratic` moves the diagonal of the matrix
to where the convex relaxation is tightest, and what remains is a search with few nodes.
"""

# %%
# Twenty problems of each rank
# ----------------------------
# Uniform parts, which all resemble each other (their correlation is 3/4), and noisy data with twice as many observed
# entries as bits. The annealer is D-Wave's if `dwave-samplers` is installed, else the one of this package; its samples
# start from random codes, as an Ising machine does.

import time

import matplotlib.pyplot as plt
import numpy as np

from sparsemodels.solvers.binary_quadratic import minimize_binary_quadratic
from sparsemodels.solvers.qubo_sampler import DimodAdapter
from sparsemodels.solvers.simulated_annealing import SimulatedAnnealing

try:
    from dwave.samplers import SimulatedAnnealingSampler
except ImportError:
    annealer = "simulated annealing (this package)"

    def annealing(n_reads, n_sweeps):
        return SimulatedAnnealing(n_reads, n_sweeps)

else:
    annealer = "simulated annealing (dwave-samplers)"

    def annealing(n_reads, n_sweeps):
        return DimodAdapter(SimulatedAnnealingSampler(), seed="seed", num_reads=n_reads, num_sweeps=n_sweeps)


n_problems = 20


def problems(rank, seed=0):
    """Matrices, vectors and half the squared norms of the data."""
    rng = np.random.default_rng(seed)
    W = rng.random((n_problems, 2 * rank, rank))
    V = rank / 4 + rng.standard_normal((n_problems, 2 * rank))
    return np.einsum("pia,pib->pab", W, W), np.einsum("pia,pi->pa", W, V), 0.5 * np.sum(V**2, axis=1)


def solve(G, c, solver):
    """The solution, and the seconds for one problem: the shorter of two runs, after one that compiles."""
    start = np.zeros(c.shape)
    minimize_binary_quadratic(G[:1], c[:1], start[:1], solver=solver)
    seconds = []
    for _ in range(2):
        begin = time.perf_counter()
        solution = minimize_binary_quadratic(G, c, start, solver=solver)
        seconds.append((time.perf_counter() - begin) / n_problems)
    return solution, min(seconds)


print(f"annealer: {annealer}")
ranks, efforts = (12, 20, 32, 48), ((3, 30), (10, 100), (30, 300), (30, 1000))
exact_seconds, annealing_seconds, excess, solved = {}, {}, {}, {}
for rank in ranks:
    G, c, constant = problems(rank)
    exact, exact_seconds[rank] = solve(G, c, "auto")
    annealing_seconds[rank], excess[rank] = [], []
    for effort in efforts:
        sampled, seconds = solve(G, c, annealing(*effort))
        annealing_seconds[rank].append(seconds)
        gap = (sampled.objectives - exact.objectives) / (constant + exact.objectives)
        excess[rank].append(gap.mean())
    solved[rank] = np.count_nonzero(gap < 1e-9)
    print(
        f"rank {rank}: {exact.proven.sum()} of {n_problems} proven best, {1e3 * exact_seconds[rank]:.2f} ms each; "
        f"annealing finds {solved[rank]} of them in {1e3 * annealing_seconds[rank][-1]:.0f} ms each"
    )

# %%
# Left: how much larger the squared error of the sampled codes is than necessary, as the annealer is given more and
# longer samples. Marked on the lower edge is where the exact solver *ends*, its excess being zero. Right: how many of
# the best codes the largest effort finds.

COLOURS = ("#56B4E9", "#009E73", "#D55E00", "#CC79A7")
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=(3, 2), layout="constrained")
for rank, colour in zip(ranks, COLOURS, strict=True):
    percent = 100 * np.maximum(excess[rank], 0.0)
    left.plot(1e3 * np.array(annealing_seconds[rank]), percent, "o-", color=colour, label=f"rank {rank}")
    left.plot(1e3 * exact_seconds[rank], 0.0, "v", color=colour, markersize=11, clip_on=False, zorder=3)
left.set_xscale("log")
left.set_yscale("symlog", linthresh=0.1, linscale=0.5)
left.set_yticks([0, 0.1, 1, 10, 100], ["0", "0.1", "1", "10", "100"])
left.set_ylim(0, 100)
left.set_xlabel("time for one problem (ms)")
left.set_ylabel("excess of the squared error (%)")
left.set_title("Triangles: exact, with a proof. Lines: annealing")
left.legend(frameon=False, loc="upper right", ncols=2)
positions = np.arange(len(ranks))
right.bar(positions - 0.2, n_problems, width=0.4, color="#0072B2", label="exact, with a proof")
right.bar(positions + 0.2, [solved[rank] for rank in ranks], width=0.4, color="0.6", label="annealing, largest effort")
right.set_xticks(positions, ranks)
right.set_ylim(0, 1.35 * n_problems)
right.set_yticks(range(0, n_problems + 1, 5))
right.set_xlabel("rank (number of bits)")
right.set_ylabel(f"best codes found, of {n_problems}")
right.legend(frameon=False, loc="upper right")
plt.show()

# %%
# The better the annealer gets, the slower it is, and it never knows whether it is there. This does not say that
# sampling is useless: for problems of hundreds of bits, or with couplings of both signs at random, no proof ends in
# time. The codes of a factorization are just not such problems.
