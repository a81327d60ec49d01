r"""
======================================================
What accelerates a gradient method without convexity?
======================================================

MCP and SCAD are an L1 norm plus a smooth concave part, so one gradient, one soft threshold and one extrapolation make
a method that needs nothing but matrix products. How strongly to extrapolate is one number, the damping
:math:`\alpha_k`:

- :math:`\alpha_k = 1`: no extrapolation at all, the *proximal gradient*;
- :math:`\alpha_k = 2 / (k + 1)`: the choice of *Ghadimi and Lan*, who proved that it converges without convexity;
- the largest that their conditions allow, the *optimal damping* of Yang, Asgharian and Bhatnagar. It obeys
  :math:`(1 - \alpha_{k+1}) / \alpha_{k+1}^2 = 1 / \alpha_k^2`, which makes it the reciprocal of FISTA's :math:`t_k`;
- the same with a *restart* whenever the momentum carries the iterate uphill.

We count the iterations that each takes, on the simulated design of their paper at a smaller size: five blocks of ten
coefficients of very different sizes, between columns whose correlation falls off as :math:`\tau^{|j - k|}`.
"""

# %%
# The design
# ----------

import matplotlib.pyplot as plt
import numpy as np

from sparsemodels.solvers.accelerated_gradient import accelerated_gradient, next_damping
from sparsemodels.solvers.losses import Squared
from sparsemodels.solvers.penalties import MCP, SCAD


def simulate(correlation, seed, n_samples=200, gap=80):
    """Standardised columns and a centred target: five blocks of ten nonzeros, `gap` zeros apart."""
    rng = np.random.default_rng(seed)
    blocks = [(0.5, 1.0), (5.0, 2.0), (10.0, 3.0), (20.0, 4.0), (50.0, 5.0)]
    coef = np.zeros(5 * 10 + 4 * gap)
    for k, (mean, deviation) in enumerate(blocks):
        coef[k * (10 + gap) :][:10] = rng.normal(mean, deviation, 10)
    X = rng.standard_normal((n_samples, coef.size))
    for j in range(1, coef.size):
        X[:, j] = correlation * X[:, j - 1] + np.sqrt(1.0 - correlation**2) * X[:, j]
    signal = X @ coef
    y = signal + rng.standard_normal(n_samples) * signal.std() / np.sqrt(5.0)
    return (X - X.mean(0)) / X.std(0), y - y.mean()


variants = {
    "proximal gradient": ("none", False),
    "Ghadimi–Lan": ("ghadimi_lan", False),
    "optimal damping": ("optimal", False),
    "optimal damping, restart": ("optimal", True),
}
colors = dict(zip(variants, ["#999999", "#E69F00", "#56B4E9", "#0072B2"], strict=True))
penalties = {"SCAD": lambda alpha, ones: SCAD(alpha, 3.7, ones), "MCP": lambda alpha, ones: MCP(alpha, 3.0, ones)}


def problem(correlation, seed, make):
    """The loss and the penalty at three tenths of the level that empties the model."""
    X, y = simulate(correlation, seed)
    alpha = 0.3 * np.abs(X.T @ y).max() / y.size
    return X, Squared(y, np.full(y.size, 1.0 / y.size)), make(alpha, np.ones(X.shape[1]))


# %%
# Iterations to the same accuracy
# -------------------------------
# All stop where the largest entry of the proximal gradient is a ten-thousandth of the largest slope at zero.

correlations, seeds = (0.1, 0.5, 0.9), range(5)
counts = {
    (name, tau): {
        variant: [
            accelerated_gradient(*problem(tau, seed, make), tol=1e-4, damping=damping, restart=restart).n_iter
            for seed in seeds
        ]
        for variant, (damping, restart) in variants.items()
    }
    for name, make in penalties.items()
    for tau in correlations
}
for (name, tau), row in counts.items():
    medians = ", ".join(f"{variant} {np.median(found):.0f}" for variant, found in row.items())
    print(f"{name}, correlation {tau}: {medians}")

# %%
# What an iteration brings
# ------------------------
# One problem in detail: the largest entry of the proximal gradient after each number of iterations.


def residuals(data, damping, restart, largest=1000):
    """The proximal gradient, relative to the largest slope at zero, after 1, 2, 4, ... iterations."""
    numbers, values = [], []
    for n in np.unique(np.geomspace(1, largest, 40).astype(int)):
        found = accelerated_gradient(*data, tol=1e-9, damping=damping, restart=restart, max_iter=int(n))
        numbers.append(found.n_iter)
        values.append(found.residual / found.scale)
        if found.converged:
            break
    return numbers, values


fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.4), layout="constrained")
positions = np.arange(len(counts))
for k, variant in enumerate(variants):
    heights = [np.median(row[variant]) for row in counts.values()]
    left.bar(positions + 0.2 * (k - 1.5), heights, 0.2, color=colors[variant], label=variant)
    for x, row in zip(positions, counts.values(), strict=True):
        left.plot(np.full(len(seeds), x + 0.2 * (k - 1.5)), row[variant], ".", color="black", markersize=2.5)
left.set_yscale("log")
left.set_xticks(positions, [f"{name}\n$\\tau$ = {tau}" for name, tau in counts])
left.set_ylabel("iterations (median and five designs)")
left.set_title("To an accuracy of $10^{-4}$")
left.grid(axis="y", alpha=0.3)
data = problem(0.9, 0, penalties["SCAD"])
for variant, (damping, restart) in variants.items():
    numbers, values = residuals(data, damping, restart)
    right.loglog(numbers, values, color=colors[variant], linewidth=1.8)
right.set_xlabel("iterations")
right.set_ylabel("largest entry of the proximal gradient")
right.set_title(r"SCAD, $\tau$ = 0.9")
right.grid(alpha=0.3)
fig.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
fig.suptitle("The extrapolation accelerates, its exact damping hardly matters, the restart does")
plt.show()

# %%
# The two dampings take about the same number of iterations, and their sequences show why:

dampings = [1.0]
for _ in range(4):
    dampings.append(next_damping(dampings[-1]))
print("optimal    ", np.round(dampings, 3))
print("2 / (k + 1)", np.round([2.0 / (k + 1) for k in range(1, 6)], 3))

# %%
# So what counts is to extrapolate at all, the more the stronger the columns are correlated, and to stop it in time.
# On a CPU, coordinate descent on a working set is faster than any of them, and it is what ``solver="auto"`` takes in
# :class:`~sparsemodels.linear_model.MCPRegressor` and :class:`~sparsemodels.linear_model.SCADRegressor`. The gradient
# method is written against the array API: give it arrays of CuPy or torch, and it runs where they are.
