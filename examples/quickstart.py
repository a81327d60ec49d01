"""Quickstart: a scikit-learn pipeline on real data for each family, with a certificate for every answer.

Run ``python examples/quickstart.py``; it prints a table and saves ``quickstart.png`` in the current folder (or the file
named as its only argument).
"""

import sys
import time

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from scipy.signal import savgol_filter
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, cross_val_predict, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sparsemodels.datasets import load_diabetes_quadratic, load_fermentation
from sparsemodels.inspection import CoefficientPathDisplay
from sparsemodels.linear_model import (
    AdaptiveLassoCV,
    ElasticNetCV,
    LassoCV,
    OrthogonalMatchingPursuit,
    OrthogonalMatchingPursuitCV,
)

WIDTHS = (7, 15, 31, 63)  # points: each filter twice as wide as the one before; none is preferred beforehand


def derivatives(spectra):
    """First derivatives of spectra smoothed by filters of all widths: without the slowly varying background."""
    return np.hstack([savgol_filter(spectra, width, polyorder=2, deriv=1) for width in WIDTHS])


def certificate(model):
    """Name and value of what the fitted model proves about itself."""
    if hasattr(model, "relative_gap_"):
        return f"relative duality gap {max(model.relative_gap_, 0.0):.0e}"
    return f"optimality of the refits {model.kkt_:.0e}"


def report(name, data, model, n_samples, score, seconds):
    print(
        f"{name:<42} {data:<13} {n_samples:>4} x {model.coef_.size:<5} {score:>6.2f} "
        f"{np.count_nonzero(model.coef_):>8}   {certificate(model):<30} {seconds:>6.2f}"
    )


print("R2 on samples that neither the fit nor its choices have seen; seconds of one fit with its choices.\n")
print(f"{'model':<42} {'data':<13} {'n x p':>11}  {'R2':>6} {'nonzeros':>8}   {'certificate':<30} {'seconds':>7}")

# Weighted lasso: 21 spectra, 4188 derivatives. The penalty weight of each is its noise, from the differences of
# successive spectra of a fermentation; no laboratory value is needed for that.

spectra = load_fermentation()
noise = np.median(np.abs(np.diff(derivatives(spectra.online), axis=0)), axis=0)
weights = np.where(noise > 1e-6 * np.median(noise), noise, np.inf)  # infinite: nothing is ever recorded there
folds = KFold(5, shuffle=True, random_state=0)
calibration = make_pipeline(
    FunctionTransformer(derivatives),
    LassoCV(penalty_weights=weights, cv=folds, selection="1se"),
)
start = time.perf_counter()
calibration.fit(spectra.data, spectra.target)
seconds = time.perf_counter() - start
lasso = calibration[-1]

# Nested cross-validation: each sample is predicted by a pipeline that chose its penalty level without it.
left_out = cross_val_predict(calibration, spectra.data, spectra.target, cv=folds)
score = r2_score(spectra.target, left_out)
report("weighted LassoCV, 1-SE rule", "spectra", lasso, spectra.target.size, score, seconds)

# The other sparse linear models and greedy pursuit: ten measurements of 442 patients, their squares and products.

diabetes = load_diabetes_quadratic()
train_X, test_X, train_y, test_y = train_test_split(diabetes.data, diabetes.target, test_size=0.25, random_state=0)
models = {
    "LassoCV, 1-SE rule": LassoCV(selection="1se"),
    "ElasticNetCV": ElasticNetCV(l1_ratio=[0.5, 0.9, 1.0]),
    "AdaptiveLassoCV": AdaptiveLassoCV(),
    "OrthogonalMatchingPursuitCV": OrthogonalMatchingPursuitCV(max_iter=20),
}
for name, model in models.items():
    start = time.perf_counter()
    pipeline = make_pipeline(StandardScaler(), model).fit(train_X, train_y)
    seconds = time.perf_counter() - start
    report(name, "diabetes", model, train_y.size, pipeline.score(test_X, test_y), seconds)

# Greedy pursuit when every tenth target is wrong by a factor of ten: the absolute loss hardly notices.

spoiled = np.where(np.arange(train_y.size) % 10 == 0, 10 * train_y, train_y)
for loss in ("squared", "absolute"):
    start = time.perf_counter()
    model = OrthogonalMatchingPursuit(n_nonzero_coefs=3, loss=loss)
    pipeline = make_pipeline(StandardScaler(), model).fit(train_X, spoiled)
    seconds = time.perf_counter() - start
    name = f"OrthogonalMatchingPursuit, {loss} loss"
    report(name, "... spoiled", model, train_y.size, pipeline.score(test_X, test_y), seconds)

# What the calibration is for is harder: the fermentation itself, of which only the noise was known.

laboratory = spectra.reference[:, 1]
nearest = np.abs(spectra.online_hours[:, None] - spectra.reference[:, 0]).argmin(axis=0)
predicted = calibration.predict(spectra.online)[nearest]
print(
    f"\nThe same calibration during a fermentation, {laboratory.size} laboratory values never used: correlation "
    f"{np.corrcoef(predicted, laboratory)[0, 1]:.2f},\n"
    f"but off by {np.mean(predicted - laboratory):+.0f} g/L on average "
    f"(R2 {r2_score(laboratory, predicted):.2f}): its spectra have another background."
)

# The picture

features = [f"{wavenumber:.0f} cm-1, {width} points" for width in WIDTHS for wavenumber in spectra.wavenumbers]
chosen = np.flatnonzero(lasso.coef_)
plt.rcParams.update({"font.size": 10})
fig, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.4), layout="constrained", width_ratios=[1.35, 1])
shown = lasso.alphas_ >= lasso.alpha_ / 3
CoefficientPathDisplay.from_path(
    lasso.alphas_[shown],
    lasso.coef_path_[:, shown] * derivatives(spectra.data).std(axis=0)[:, None],
    alpha_max=lasso.alpha_max_,
    chosen_alpha=lasso.alpha_,
    chosen_label="chosen by the one-standard-error rule",
    feature_names=features,
    n_labels=4,
    ax=left,
)
left.set_ylabel("effect of one standard deviation (g/L)")
left.set_title(f"{chosen.size} of {lasso.coef_.size} features of a spectrum chosen from 21 samples")
limits = (min(left_out.min(), 0) - 2, max(left_out.max(), spectra.target.max()) + 2)
right.plot(limits, limits, color="0.6", linewidth=1)
right.plot(spectra.target, left_out, "o", color="#0072B2")
right.set(xlim=limits, ylim=limits, aspect="equal")
right.set_xlabel("glucose, laboratory (g/L)")
right.set_ylabel("predicted, sample left out (g/L)")
gap = max(lasso.relative_gap_, 0.0)
right.set_title(f"R² = {score:.2f} in nested cross-validation\n(optimal to a relative duality gap of {gap:.0e})")
target = sys.argv[1] if len(sys.argv) > 1 else "quickstart.png"
fig.savefig(target, dpi=110)
print(f"\nA duality gap bounds how much better any other coefficients could be. Picture: {target}")
