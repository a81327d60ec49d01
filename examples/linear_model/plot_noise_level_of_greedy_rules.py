r"""
Which penalty level? Six greedy rules against noise and against gross errors
============================================================================

Orthogonal matching pursuit selects one feature at a time and has to know when to stop. A penalty tells it:
the pursuit ends when no feature lowers loss plus penalty any more. Three losses and two penalties make six
rules, and they differ in a question that matters in practice: **does the right level** :math:`\lambda` **of
the penalty depend on how noisy the data are?** If it does, it must be found anew for every data set. If it
does not, one value serves them all.

========================  ==========================================  ================================
rule                      objective                                   best level for noise :math:`\eta`
========================  ==========================================  ================================
squared loss, l0          :math:`\|r\|_2^2 + \lambda \|x\|_0`         :math:`\lambda \propto \eta^2`
squared loss, l1          :math:`\|r\|_2^2 + \lambda \|x\|_1`         :math:`\lambda \propto \eta`
square-root loss, l0      :math:`\|r\|_2 + \lambda \|x\|_0`           :math:`\lambda \propto \eta`
square-root loss, l1      :math:`\|r\|_2 + \lambda \|x\|_1`           the same for every :math:`\eta`
absolute loss, l0         :math:`\|r\|_1 + \lambda \|x\|_0`           :math:`\lambda \propto \eta`
absolute loss, l1         :math:`\|r\|_1 + \lambda \|x\|_1`           the same for every :math:`\eta`
========================  ==========================================  ================================

The last column is a matter of units: multiply the targets by ten, and the penalty must grow as the loss does
to leave the choice as it was. Here we *see* it, and then see what the absolute loss is for. The rules and the
experiment are those of Mohammad-Taheri and Brugiapaglia, `The greedy side of the LASSO
<https://arxiv.org/abs/2303.00844>`_.
"""

import matplotlib.pyplot as plt
import numpy as np

from sparsemodels.linear_model import OrthogonalMatchingPursuit

N_SAMPLES, N_FEATURES, N_STEPS = 64, 128, 18
NOISE = 10.0 ** np.arange(-4, 0)
#: The levels to try for each rule, the same for every noise.
LEVELS = {
    ("squared", "l0"): 10.0 ** np.arange(-9.5, 0.1, 0.5),
    ("squared", "l1"): 10.0 ** np.arange(-5.5, 1.1, 0.5),
    ("sqrt", "l0"): 10.0 ** np.arange(-6.5, 0.1, 0.5),
    ("sqrt", "l1"): 10.0 ** np.arange(-2.0, 0.3, 0.25),
    ("absolute", "l0"): 10.0 ** np.arange(-6.0, 1.1, 0.5),
    ("absolute", "l1"): 10.0 ** np.arange(-2.0, 1.6, 0.5),
}

# %%
# The data
# --------
#
# Features of norm one with Gaussian entries, and a signal that fades: sixteen coefficients, each about half
# of the one before. However small the noise is, some coefficients drown in it, and the pursuit should stop
# there: fitting on would fit noise. The noise has norm :math:`\eta`; the first coefficient is one.


def planted_problem(noise, seed, n_corrupted=0):
    """Features, true coefficients and targets; some targets may carry gross errors."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N_SAMPLES, N_FEATURES))
    X /= np.linalg.norm(X, axis=0)
    coef = np.zeros(N_FEATURES)
    coef[rng.choice(N_FEATURES, 16, replace=False)] = rng.choice([-1.0, 1.0], 16) * 0.55 ** np.arange(16)
    error = rng.standard_normal(N_SAMPLES)
    y = X @ coef + noise * error / np.linalg.norm(error)
    y[rng.permutation(N_SAMPLES)[:n_corrupted]] += rng.choice([-1.0, 1.0], n_corrupted)
    return np.asfortranarray(X), coef, y


def recovery_error(rule, level, problem):
    """The relative error of the coefficients that one rule finds."""
    X, coef, y = problem
    loss, penalty = rule
    model = OrthogonalMatchingPursuit(N_STEPS, loss=loss, penalty=penalty, alpha=level, fit_intercept=False)
    return np.linalg.norm(model.fit(X, y).coef_ - coef) / np.linalg.norm(coef)


def noise_experiment(n_trials):
    """The median error of every rule, as {rule: array of shape (noise, level)}."""
    errors = {rule: np.empty((n_trials, NOISE.size, levels.size)) for rule, levels in LEVELS.items()}
    for seed in range(n_trials):
        for i, noise in enumerate(NOISE):
            problem = planted_problem(noise, seed)
            for rule, levels in LEVELS.items():
                errors[rule][seed, i] = [recovery_error(rule, level, problem) for level in levels]
    return {rule: np.median(error, axis=0) for rule, error in errors.items()}


def best_levels(errors):
    """The level of least median error for each noise, as {rule: array of shape (noise,)}."""
    return {rule: LEVELS[rule][np.argmin(error, axis=1)] for rule, error in errors.items()}


def fault_experiment(levels, n_trials, n_corrupted, noise=1e-3):
    """The median error of every rule at its level, as {rule: array of shape (number of wrong targets,)}."""
    problems = [[planted_problem(noise, seed, number) for number in n_corrupted] for seed in range(n_trials)]
    return {
        rule: np.median([[recovery_error(rule, level, p) for p in trial] for trial in problems], axis=0)
        for rule, level in levels.items()
    }


# %%
# The error against the level
# ---------------------------
#
# Each panel is one rule, each curve one noise. Errors are divided by the noise, so that all curves lie at the
# same height and only their shift to the side is left. A dot marks the best level. For the squared loss with
# l0 the dots march to the right by *two* decades for each decade of noise; for the square-root and the
# absolute loss with l1 they stay.

NAMES = {"squared": "squared loss", "sqrt": "square-root loss", "absolute": "absolute loss"}
COLORS = {"squared": "#0072B2", "sqrt": "#D55E00", "absolute": "#009E73"}  # Okabe and Ito: safe for all eyes


def plot_errors(errors):
    """One panel a rule: error over noise against the level."""
    shades = plt.get_cmap("viridis")(np.linspace(0.0, 0.85, NOISE.size))
    figure, axes = plt.subplots(2, 3, figsize=(10, 5.6), sharex=True, sharey=True, layout="constrained")
    for axis, (rule, error) in zip(axes.T.flat, errors.items()):
        for noise, curve, shade in zip(NOISE, error, shades):
            exponent = round(np.log10(noise))
            label = rf"$\eta = 10^{{{exponent}}}$"
            axis.loglog(LEVELS[rule], curve / noise, color=shade, lw=1.6, label=label)
            best = np.argmin(curve)
            axis.plot(LEVELS[rule][best], curve[best] / noise, "o", color=shade, ms=7, mec="white", zorder=3)
        axis.set_title(f"{NAMES[rule[0]]}, {rule[1]}", color=COLORS[rule[0]], fontsize=11)
        axis.set_ylim(0.3, 30)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_xticks(10.0 ** np.arange(-9, 1, 3))
        axis.minorticks_off()
    for axis in axes[1]:
        axis.set_xlabel(r"level $\lambda$ of the penalty")
    for axis in axes[:, 0]:
        axis.set_ylabel("relative error / noise")
    axes[1, 2].legend(frameon=False, fontsize=10, loc="upper left")
    return figure


errors = noise_experiment(n_trials=5)
best = best_levels(errors)
plot_errors(errors)

# %%
# Noise-blind, and blind to gross errors
# --------------------------------------
#
# Left, the dots of above against the noise. The slopes are the exponents of the table: two, one, or none.
#
# Right, another kind of trouble. Some targets are *wrong*, by as much as the largest coefficient: a broken
# sensor, a slipped decimal point. A least-squares refit spreads such an error over all coefficients, and one
# wrong target of sixty-four costs all accuracy. The absolute loss passes through as many targets as there are
# coefficients and looks at the others' signs only: with ten targets wrong its error has about doubled.

N_CORRUPTED = np.array([0, 1, 2, 4, 6, 8, 10])
faults = fault_experiment({rule: levels[1] for rule, levels in best.items()}, 5, N_CORRUPTED)


def plot_conclusions(best, faults, n_corrupted):
    """Best level against noise; error against the number of wrong targets."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
    for rule, levels in best.items():
        loss, penalty = rule
        style = {"color": COLORS[loss], "ls": "-" if penalty == "l0" else "--", "lw": 1.8}
        style |= {"marker": "o", "ms": 6} if penalty == "l0" else {"marker": "s", "ms": 6, "mfc": "white"}
        slope = np.polyfit(np.log10(NOISE), np.log10(levels), 1)[0]
        left.loglog(NOISE, levels, **style, label=f"{NAMES[loss]}, {penalty}: slope {slope + 0.0:.1f}")
        right.semilogy(n_corrupted, faults[rule], **style)
    left.set(xlabel=r"noise $\eta$", ylabel=r"best level $\lambda$")
    left.set_title("The best level against the noise", fontsize=11)
    right.set(xlabel=f"wrong targets (of {N_SAMPLES})", ylabel="relative error of the coefficients")
    right.text(2.2, 0.16, "squared and square-root loss", color="0.25", fontsize=10)
    right.text(2.2, 1.4e-3, "absolute loss", color=COLORS["absolute"], fontsize=10)
    right.set_title(r"Gross errors, at noise $\eta = 10^{-3}$", fontsize=11)
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False, fontsize=8.5)
    return figure


plot_conclusions(best, faults, N_CORRUPTED)
plt.show()

# %%
# What to take home: if the noise is unknown, ``loss="sqrt", penalty="l1"`` needs one level for all. If some
# targets may be wrong, ``loss="absolute"``. If neither is a worry, the squared loss is fastest, and
# :class:`~sparsemodels.linear_model.OrthogonalMatchingPursuitCV` finds its level.
