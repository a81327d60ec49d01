r"""
==================================================
Weighted lasso: let the noise decide what to use
==================================================

A spectrometer watches a fermentation. It measures 1047 wavenumbers at a time; a laboratory measured the
glucose in only 21 calibration samples. Which wavenumbers should a model use? The lasso picks few, but it
needs to know that they are not equally good: at both ends of the spectrum, and where water absorbs, the
instrument sees mostly noise.

The penalty weights tell it. If :math:`\sigma_j` is the standard deviation of the noise at wavenumber `j`, the
noise of a prediction :math:`x^\top w` has a standard deviation of at most :math:`\sum_j \sigma_j |w_j|`,
however the noise is correlated. That is a weighted L1 norm: with :math:`\omega_j = \sigma_j` the lasso

.. math:: \min_{w, b} \frac{1}{2n} \sum_i (y_i - x_i^\top w - b)^2 + \alpha \sum_j \sigma_j |w_j|

trades the error on the calibration samples against the noise it will let through.
"""

# %%
# The data
# --------
# The first derivative (Savitzky-Golay, over 21 points) removes the slowly varying background. The noise is
# measured without a single laboratory value: from the differences of successive spectra, five minutes apart,
# while the fermentation runs.

import matplotlib.pyplot as plt
import numpy as np
from scipy.signal import savgol_filter
from sklearn.model_selection import KFold

from sparsemodels.datasets import load_fermentation
from sparsemodels.inspection import CoefficientPathDisplay, CrossValidationDisplay
from sparsemodels.linear_model import LassoCV

spectra = load_fermentation()
wavenumbers, glucose = spectra.wavenumbers, spectra.target
calibration = savgol_filter(spectra.data, window_length=21, polyorder=2, deriv=1)
online = savgol_filter(spectra.online, window_length=21, polyorder=2, deriv=1)

# The median resists the spikes of single spectra, which a standard deviation would not.
steps = np.abs(np.diff(online, axis=0))
noise = np.median(steps, axis=0) / (0.6745 * np.sqrt(2))
signal = calibration.std(axis=0)

# %%
# Where nothing is ever recorded (the last few wavenumbers) the weight is infinite: the feature is excluded.

penalty_weights = np.where((noise > 1e-9) & (signal > 1e-9), noise / np.median(noise), np.inf)

fig, (top, bottom) = plt.subplots(2, 1, figsize=(8, 5.2), sharex=True, layout="constrained")
levels = (glucose - glucose.min()) / np.ptp(glucose)
for level, spectrum in zip(levels, calibration, strict=True):
    top.plot(wavenumbers, 1000 * spectrum, color=plt.cm.viridis(0.95 - 0.95 * level), linewidth=0.8)
top.set_ylim(-6, 6)
top.set_ylabel("derivative\n(1/1000 per point)")
top.set_title("Calibration spectra, from little (yellow) to much glucose (purple)")
usable = np.isfinite(penalty_weights)
ratio = noise[usable] / signal[usable]
bottom.semilogy(wavenumbers[usable], ratio, color="black", linewidth=1)
bottom.axhline(1, color="0.5", linewidth=1, linestyle="--")
bottom.fill_between(wavenumbers[usable], 1, ratio, where=ratio > 1, color="#D55E00", alpha=0.4, linewidth=0)
bottom.set_ylabel("noise / signal")
bottom.set_xlabel("wavenumber (per centimetre)")
bottom.set_title(f"Noise exceeds the differences between samples at {np.mean(ratio > 1):.0%} of the wavenumbers")
plt.show()

# %%
# Path and cross-validation
# -------------------------
# Seven folds, drawn once and shared by all penalty levels. The choice is the *one-standard-error rule*: the
# sparsest model whose error cannot be told from the smallest one.

folds = KFold(7, shuffle=True, random_state=0)
weighted = LassoCV(penalty_weights=penalty_weights, cv=folds, selection="1se").fit(calibration, glucose)
chosen = np.flatnonzero(weighted.coef_)
print(f"{chosen.size} of {wavenumbers.size} wavenumbers, per centimetre: {wavenumbers[chosen].astype(int).tolist()}")
print(f"The objective is within {weighted.dual_gap_:.1e} of the smallest possible (duality gap).")

fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
CoefficientPathDisplay.from_path(
    weighted.alphas_,
    weighted.coef_path_ * signal[:, None],
    alpha_max=weighted.alpha_max_,
    chosen_alpha=weighted.alpha_,
    chosen_label="one standard error",
    feature_names=spectra.feature_names,
    ax=left,
)
left.set_title("One wavenumber after the other enters")
left.set_ylabel("effect of one standard deviation (g/L)")
CrossValidationDisplay.from_estimator(weighted, ax=right)
right.set_yscale("log")
right.set_ylabel("squared error of prediction (g²/L²)")
right.set_title(f"{chosen.size} wavenumbers are within one standard error of the best")
plt.show()

# %%
# What the weights are worth
# --------------------------
# The same with equal weights, on the derivatives as they are and on standardised ones (weights equal to the
# standard deviations of the features are the same thing as standardising, without touching the data). The
# last column is the noise of the predicted glucose during the fermentation.

candidates = {
    "none": np.where(np.isfinite(penalty_weights), 1.0, np.inf),
    "standard deviation": np.where(np.isfinite(penalty_weights), signal, np.inf),
    "noise": penalty_weights,
}
print(f"{'penalty weights':>20}  {'error (g/L)':>11}  {'wavenumbers':>11}  {'noise (g/L)':>11}")
models = {}
for name, weights in candidates.items():
    model = models[name] = LassoCV(penalty_weights=weights, cv=folds, selection="1se").fit(calibration, glucose)
    error = np.sqrt(model.mse_path_.mean(axis=1)[model.alphas_ == model.alpha_][0])
    steps = np.abs(np.diff(model.predict(online)))
    wobble = np.median(steps) / (0.6745 * np.sqrt(2))
    print(f"{name:>20}  {error:>11.1f}  {np.count_nonzero(model.coef_):>11}  {wobble:>11.2f}")

# %%
# Without weights the noisy end of the spectrum wins: large numbers need small coefficients, and the penalty
# does not know that they carry nothing. The best model is the mean. Standardising repairs most of it; knowing
# the noise, the lasso needs fewer wavenumbers and lets less noise through. (The order is the same for filters
# over 15, 25 and 31 points.)  On line ------- During the fermentation the background of the instrument is
# another one, which shifts all predictions of a linear model by a constant. The laboratory values between
# half an hour, when the instrument has settled, and four hours correct it; all later ones are a test.

hours, reference = spectra.reference[:, 0], spectra.reference[:, 1]
nearest = np.abs(spectra.online_hours[:, None] - hours).argmin(axis=0)
correct, test = (hours > 0.5) & (hours < 4), hours >= 4

fig, ax = plt.subplots(figsize=(8, 4.4), layout="constrained")
for name, colour in [("none", "#D55E00"), ("noise", "#0072B2")]:
    prediction = models[name].predict(online)
    # A running median of five spectra, 25 minutes.
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(prediction, 2, mode="edge"), 5)
    prediction = np.median(windows, axis=1)
    prediction += (reference - prediction[nearest])[correct].mean()
    error = np.sqrt(np.mean((reference - prediction[nearest])[test] ** 2))
    ax.plot(
        spectra.online_hours,
        prediction,
        color=colour,
        linewidth=1.2,
        label=f"weights: {name}, {np.count_nonzero(models[name].coef_)} wavenumbers, error {error:.0f} g/L",
    )
ax.plot(
    hours[correct], reference[correct], "o", mfc="white", mec="black", label="laboratory, used to correct the shift"
)
ax.plot(hours[test], reference[test], "o", color="black", label="laboratory, test")
ax.set_ylim(-12, 62)
ax.set_xlabel("hours of fermentation")
ax.set_ylabel("glucose (g/L)")
ax.set_title("Weighted by the noise, 21 samples suffice to follow the fermentation")
ax.legend(loc="upper right", frameon=False, fontsize="small")
plt.show()
