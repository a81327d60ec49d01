r"""
=====================================================
How few measurements are enough? A phase transition
=====================================================

A signal of *p* numbers, *k* of which are not zero, is measured *n* times, and *n* is smaller than *p*. Whether it can
be recovered depends on two ratios: how few measurements there are, :math:`n / p`, and how many unknowns each has to pay
for, :math:`k / n`. For every method there is a curve in this plane: below it nearly every signal is recovered, above it
nearly none. The higher the curve, the fewer measurements are needed.

Three methods, each told something:

- **orthogonal matching pursuit** is told the number *k* of nonzero coefficients;
- for the **LASSO** we choose, *knowing the signal*, the best point of its path, with or without a least-squares refit
  of the coefficients that it selects;
- **sparse Bayesian learning** is told how large the noise is, and nothing of the signal.
"""

# %%
# One signal, three methods
# -------------------------
# Gaussian measurements with a little noise (40 dB). A signal is recovered if the error of its coefficients is at most
# 5 % of their norm. The nonzero coefficients are either Gaussian, some large and some small, or all of the same size.

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

from sparsemodels.bayes import SparseBayesRegressor
from sparsemodels.linear_model import OrthogonalMatchingPursuit, lasso_path

N_FEATURES, N_TRIALS = 100, 5
UNDERSAMPLING = np.array([0.15, 0.25, 0.4, 0.55, 0.7, 0.85])  # n / p
SPARSITY = np.arange(0.1, 0.85, 0.1)  # k / n


def measured_signal(n_samples, n_nonzero, kind, seed):
    """Measurements, targets, and the coefficients to be found."""
    rng = np.random.default_rng([seed, n_samples, n_nonzero])
    X = rng.standard_normal((n_samples, N_FEATURES)) / np.sqrt(n_samples)
    coef = np.zeros(N_FEATURES)
    values = rng.standard_normal(n_nonzero)
    coef[rng.permutation(N_FEATURES)[:n_nonzero]] = values if kind == "Gaussian" else np.sign(values)
    signal = X @ coef
    noise = 0.01 * np.linalg.norm(signal) / np.sqrt(n_samples) * rng.standard_normal(n_samples)
    return np.asfortranarray(X), signal + noise, coef


def sparse_bayes(X, y, coef):
    """The posterior mean, noise at 40 dB; with ``threshold=1`` the evidence alone decides what is zero."""
    model = SparseBayesRegressor(
        noise_variance=1e-4 * np.mean(y**2), threshold=1.0, fit_intercept=False, tol=1e-2, max_iter=10_000
    )
    return [model.fit(X, y).coef_]


def pursuit(X, y, coef):
    """Told the number of nonzero coefficients."""
    return [OrthogonalMatchingPursuit(np.count_nonzero(coef), fit_intercept=False).fit(X, y).coef_]


def best_lasso(X, y, coef):
    """All points of the path, as they are and refitted: the caller takes the best one."""
    answers = list(lasso_path(X, y, alphas=20, eps=1e-3, fit_intercept=False, tol=1e-4).coefs.T)
    for point in answers[:]:
        support = np.flatnonzero(point)
        if support.size <= len(y):
            answers.append(np.zeros_like(coef))
            answers[-1][support] = np.linalg.lstsq(X[:, support], y)[0]
    return answers


METHODS = {"sparse Bayesian learning": sparse_bayes, "LASSO, best point": best_lasso, "matching pursuit": pursuit}
COLORS = {"sparse Bayesian learning": "#0072B2", "LASSO, best point": "#D55E00", "matching pursuit": "#009E73"}


def success_rates(method, kind):
    """The share of signals that are recovered, an array of shape (k / n, n / p)."""
    rates = np.zeros((SPARSITY.size, UNDERSAMPLING.size))
    for j, n_samples in enumerate(np.rint(UNDERSAMPLING * N_FEATURES).astype(int)):
        for i, n_nonzero in enumerate(np.maximum(np.rint(SPARSITY * n_samples).astype(int), 1)):
            for seed in range(N_TRIALS):
                X, y, coef = measured_signal(n_samples, n_nonzero, kind, seed)
                error = min(np.linalg.norm(answer - coef) for answer in method(X, y, coef))
                rates[i, j] += (error <= 0.05 * np.linalg.norm(coef)) / N_TRIALS
            if i and not rates[i - 1 : i + 1, j].any():
                break  # twice in a row not a single one: with more coefficients it does not get easier
    return rates


rates = {kind: {name: success_rates(m, kind) for name, m in METHODS.items()} for kind in ("Gaussian", "equal")}


# %%
# The planes
# ----------
# For the LASSO the curve is known: with infinitely many unknowns and no noise, Gaussian measurements have a sharp
# transition, at the same place for all values of the nonzero coefficients (Donoho and Tanner). It is dotted below; a
# hundred unknowns and a little noise blur it.


def lasso_limit(undersampling):
    """The transition of the LASSO in the limit, by the formula of Donoho, Maleki and Montanari (2009)."""
    z = np.linspace(1e-3, 5.0, 2000)
    tail = (1 + z**2) * norm.cdf(-z) - z * norm.pdf(z)
    return np.array([np.max((1 - 2 * tail / delta) / (1 + z**2 - 2 * tail)) for delta in undersampling])


fine = np.linspace(0.1, 0.95, 100)
edges_x = np.concatenate([[0.1], (UNDERSAMPLING[1:] + UNDERSAMPLING[:-1]) / 2, [0.925]])
edges_y = np.append(SPARSITY - 0.05, SPARSITY[-1] + 0.05)

fig, axes = plt.subplots(2, 4, figsize=(12, 6.2), sharex=True, sharey=True, layout="constrained")
for (kind, by_method), row in zip(rates.items(), axes, strict=True):
    for ax, (name, rate) in zip(row, by_method.items(), strict=False):
        image = ax.pcolormesh(edges_x, edges_y, rate, cmap="Greys_r", vmin=0, vmax=1)
        ax.set_title(name, color=COLORS[name], fontsize=11)
        # The sum over k / n estimates where one half is crossed with less noise than a contour.
        row[3].plot(UNDERSAMPLING, 0.05 + 0.1 * rate.sum(axis=0), color=COLORS[name], linewidth=2.2, label=name)
    for ax in (row[1], row[3]):
        ax.plot(fine, lasso_limit(fine), color="#D55E00", linestyle=":", linewidth=1.6)
    row[3].set_title("half of the signals recovered", fontsize=11)
    row[3].grid(alpha=0.3)
    row[0].set_ylabel(f"{'Gaussian' if kind == 'Gaussian' else 'equally large'} coefficients\n\nnonzeros $k / n$")
for ax in axes[1]:
    ax.set_xlabel("measurements $n / p$")
axes[0, 3].plot([], [], color="#D55E00", linestyle=":", label="LASSO in the limit")
axes[0, 3].legend(frameon=False, fontsize=8, loc="upper left")
fig.colorbar(image, ax=axes, label="share of signals recovered", shrink=0.6)
fig.suptitle("Above the curve a method fails: higher is better")
plt.show()

for kind, by_method in rates.items():
    shares = ", ".join(f"{name} {rate.mean():.2f}" for name, rate in by_method.items())
    print(f"{kind} coefficients, share of the plane that is recovered: {shares}")

# %%
# Where the coefficients differ in size, sparse Bayesian learning is at least about as good as the better of the other
# two, within what five signals a cell can tell: it finds the large ones first, and the small ones are then in plain
# sight. Matching pursuit, told how many there are, lives from the same effect. Where all are equally large there is
# nothing to begin with: pursuit fails early, and the LASSO, whose objective is convex, is ahead of both.
# The evidence has local maxima, and equally large coefficients are where they hurt.
#
# The noise level was given, and ``threshold=1``: where nearly every measurement is needed, one coefficient alone is
# rarely evident before the others are found, and the stricter default would stop early. It is made for the opposite
# case, many samples of much noise, where the question is which coefficients are zero.
