r"""
Unmixing a hyperspectral image with noisy bands
===============================================

A hyperspectral camera records a whole spectrum in every pixel. Where a pixel covers several materials, its spectrum is
a mixture of theirs. Unmixing asks for both at once: which *spectra* (the endmembers) are mixed, and how much of
each is in every pixel (the *abundances*, which are nonnegative and add up to one). That is a nonnegative matrix
factorization of the pixels-by-bands matrix, :math:`X \approx W H`, with the rows of W on the simplex.

Two things spoil it in practice. The image is noisy, although neighbouring pixels resemble each other; and some bands
are useless, for instance where water vapour in the air swallows the light. Nobody tells the factorization which. In
this example a fifth of the bands carries more than three times as much noise as signal. We compare

* plain :class:`~sparsemodels.decomposition.NMF` with abundances on the simplex;
* structured NMF in the spirit of Zhu et al. (`SS-NMF <https://arxiv.org/abs/1403.4682>`_): a graph joins similar
  neighbours, and a small ridge holds the endmembers back from moving apart;
* the same with the correntropy loss of Wang et al. (`CENMF <https://arxiv.org/abs/1305.7311>`_), which finds out by
  itself how far to trust each band.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import linear_sum_assignment

from sparsemodels.datasets import make_hyperspectral_scene
from sparsemodels.decomposition import NMF, pixel_graph

# %%
# A scene with a known truth
# --------------------------
#
# Four materials, 40 x 40 pixels, 80 bands. One spectrum shows how bad the corrupted bands are.

SHAPE, N_ENDMEMBERS = (40, 40), 4


def make_scene(corrupted_fraction):
    """The scene with a share of its bands corrupted."""
    return make_hyperspectral_scene(
        SHAPE, N_ENDMEMBERS, 80, snr=12, corrupted_fraction=corrupted_fraction, corrupted_snr=-5, random_state=1
    )


scene = make_scene(0.2)
corrupted = np.isin(np.arange(80), scene.corrupted_bands)

# %%
# Three factorizations
# --------------------
#
# They differ in a parameter or two. ``kkt_`` certifies that each is a stationary point of its own problem: what differs
# between them is the model, not the effort.


def unmix(scene):
    """The fitted models by name, each with its abundances."""
    graph = pixel_graph(scene.X, scene.image_shape)
    common = {"simplex": "codes", "init": "spa", "max_iter": 1000}
    structured = {"alpha_W": 0.0, "alpha_H": 0.006, "graph_W": graph, "graph_strength": 0.3}
    models = {
        "NMF": NMF(N_ENDMEMBERS, **common),
        "structured": NMF(N_ENDMEMBERS, **common, **structured),
        "structured, correntropy": NMF(
            N_ENDMEMBERS, **common, **structured, loss="correntropy", robust_axis="features"
        ),
    }
    return {name: (model, model.fit_transform(scene.X)) for name, model in models.items()}


def evaluate(scene, model, abundances):
    """Order of the components, mean spectral angle over the sound bands, and abundance error."""
    sound = np.setdiff1d(np.arange(80), scene.corrupted_bands)
    truth, found = scene.endmembers[:, sound], model.components_[:, sound]
    cosines = truth @ found.T / np.outer(np.linalg.norm(truth, axis=1), np.linalg.norm(found, axis=1))
    angles = np.arccos(np.clip(cosines, -1, 1))
    row, order = linear_sum_assignment(angles)
    return order, angles[row, order].mean(), np.sqrt(np.mean((abundances[:, order] - scene.abundances) ** 2))


fits = unmix(scene)
for name, (model, abundances) in fits.items():
    _, angle, error = evaluate(scene, model, abundances)
    print(f"{name:24s} spectral angle {angle:.3f} rad, abundance RMSE {error:.3f}, KKT residual {model.kkt_:.0e}")

# %%
# Abundance maps: with plain least squares the loud bands take over a component or leak into all of them.


def plot_maps(scene, fits):
    """One row of maps for the truth and for each model."""
    rows = {"truth": scene.abundances}
    for name, (model, abundances) in fits.items():
        order, _, error = evaluate(scene, model, abundances)
        rows[name.replace(", ", ",\n") + f"\nRMSE {error:.3f}"] = abundances[:, order]
    figure, axes = plt.subplots(len(rows), N_ENDMEMBERS, figsize=(7.4, 7.6), layout="constrained")
    for line, (name, maps) in zip(axes, rows.items()):
        for axis, values in zip(line, maps.T):
            image = axis.imshow(values.reshape(SHAPE), vmin=0, vmax=1, cmap="viridis")
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, fontsize=10)
    for number, axis in enumerate(axes[0], start=1):
        axis.set_title(f"material {number}", fontsize=10)
    figure.colorbar(image, ax=axes, shrink=0.5, label="abundance")
    return figure


plot_maps(scene, fits)

# %%
# The spectra and the trust in every band
# ---------------------------------------
#
# The correntropy loss gives each band the weight :math:`\exp(-\|r_j\|^2 / 2\sigma^2)`, which falls with the norm of its
# residual. At the solution, ``robust_weights_`` is near one for sound bands and practically zero for the corrupted
# ones, marked in grey. Plain NMF, with nothing to hold them, moves its spectra apart, down to zero and beyond the
# truth.


def plot_spectra(scene, fits):
    """Spectra of the plain and of the robust fit, and the weights of the bands."""
    figure, axes = plt.subplots(3, 1, figsize=(8.2, 7.6), sharex=True, height_ratios=[2, 2, 1], layout="constrained")
    step = scene.wavelengths[1] - scene.wavelengths[0]
    names = ["NMF", "structured, correntropy"]
    for axis, name in zip(axes, names):
        model, abundances = fits[name]
        order, angle, _ = evaluate(scene, model, abundances)
        for number, component in enumerate(order):
            axis.plot(scene.wavelengths, scene.endmembers[number], color="0.25", lw=3, alpha=0.35)
            found = np.where(corrupted, np.nan, model.components_[component])
            axis.plot(scene.wavelengths, found, color=f"C{number}", lw=1.4)
        axis.set(ylabel="reflectance", title=f"{name}: mean spectral angle {angle:.3f} rad", ylim=(0, 1.5))
    axes[0].plot([], [], color="0.25", lw=3, alpha=0.35, label="truth")
    axes[0].plot([], [], color="C0", label="estimate, sound bands")
    axes[0].legend(frameon=False, fontsize=9, loc="upper left", ncols=2)
    weights = fits["structured, correntropy"][0].robust_weights_
    axes[2].bar(scene.wavelengths, weights, width=0.8 * step, color=np.where(corrupted, "#D55E00", "#0072B2"))
    axes[2].set(xlabel="wavelength (micrometres)", ylabel="weight of the band", ylim=(0, 1.05))
    for axis in axes:
        for band in scene.corrupted_bands:
            axis.axvspan(*(scene.wavelengths[band] + step * np.array([-0.5, 0.5])), color="0.9", zorder=0, lw=0)
        axis.spines[["top", "right"]].set_visible(False)
    return figure


plot_spectra(scene, fits)
robust = fits["structured, correntropy"][0]
print(f"largest weight of a corrupted band: {robust.robust_weights_[corrupted].max():.1e}")
print(f"smallest weight of a sound band:    {robust.robust_weights_[~corrupted].min():.2f}")

# %%
# How many bands may be bad?
# --------------------------
#
# The errors of least squares grow with the share of corrupted bands. Those of the correntropy loss do not, as long as
# the sound bands are the majority, by whose residuals its width is chosen.

fractions = [0.0, 0.1, 0.2, 0.3, 0.4]
scenes = [make_scene(fraction) for fraction in fractions]
errors = [{name: evaluate(one, *fit)[1:] for name, fit in unmix(one).items()} for one in scenes]


def plot_errors(fractions, errors):
    """Spectral angle and abundance error against the share of corrupted bands."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for number, (axis, label) in enumerate(zip(axes, ("mean spectral angle (rad)", "abundance RMSE"))):
        for name, style, color in zip(errors[0], ("^:", "s--", "o-"), ("#009E73", "#D55E00", "#0072B2")):
            axis.plot(fractions, [error[name][number] for error in errors], style, color=color, label=name)
        axis.set(xlabel="share of corrupted bands", ylabel=label, ylim=(0, None))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=9)
    return figure


plot_errors(fractions, errors)
plt.show()
