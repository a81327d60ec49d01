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
from sklearn.model_selection import KFold, train_test_split
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


def derivative(spectra):
    """The first derivative of smoothed spectra: removes the slowly varying background."""
    return savgol_filter(spectra, window_length=21, polyorder=2, deriv=1)


def certificate(model):
    """Name and value of what the fitted model proves about itself."""
    if hasattr(model, "relative_gap_"):
        return f"relative duality gap {max(model.relative_gap_, 0.0):.0e}"
    return f"optimality of the refits {model.kkt_:.0e}"


def report(name, data, pipeline, X, score, seconds):
    model = pipeline[-1]
    print(
        f"{name:<42} {data:<13} {X.shape[0]:>4} x {X.shape[1]:<5} {score:>6.2f} "
        f"{np.count_nonzero(model.coef_):>8}   {certificate(model):<30} {seconds:>6.2f}"
    )


print(f"{'model':<42} {'data':<13} {'n x p':>11}  {'R2':>6} {'nonzeros':>8}   {'certificate':<30} {'seconds':>7}")

# Weighted lasso: 21 spectra of 1047 wavenumbers; the noise of the instrument is the penalty weight.
# ------------------------

spectra = load_fermentation()
noise = np.median(np.abs(np.diff(derivative(spectra.online), axis=0)), axis=0)
signal = derivative(spectra.data).std(axis=0)
weights = np.where((noise > 1e-9) & (signal > 1e-9), noise / np.median(noise), np.inf)

start = time.perf_counter()
calibration = make_pipeline(
    FunctionTransformer(derivative),
    LassoCV(penalty_weights=weights, cv=KFold(7, shuffle=True, random_state=0), selection="1se"),
).fit(spectra.data, spectra.target)
seconds = time.perf_counter() - start

# The test is a fermentation, with another background: the laboratory's values between 0.5 and 4 hours correct
# the shift.
hours, glucose = spectra.reference[:, 0], spectra.reference[:, 1]
predicted = calibration.predict(spectra.online)
predicted = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(predicted, 2, mode="edge"), 5), axis=1)
nearest = np.abs(spectra.online_hours[:, None] - hours).argmin(axis=0)
correct, test = (hours > 0.5) & (hours < 4), hours >= 4
predicted += (glucose - predicted[nearest])[correct].mean()
score = r2_score(glucose[test], predicted[nearest][test])
report("weighted LassoCV, 1-SE rule", "fermentation", calibration, spectra.data, score, seconds)

# The other sparse linear models and greedy pursuit: ten measurements of 442 patients, their squares and
# products. ----------

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
    report(name, "diabetes", pipeline, train_X, pipeline.score(test_X, test_y), seconds)

# Greedy pursuit when every tenth target is wrong by a factor of ten: the absolute loss hardly notices.

spoiled = np.where(np.arange(train_y.size) % 10 == 0, 10 * train_y, train_y)
for loss in ("squared", "absolute"):
    start = time.perf_counter()
    model = OrthogonalMatchingPursuit(n_nonzero_coefs=3, loss=loss)
    pipeline = make_pipeline(StandardScaler(), model).fit(train_X, spoiled)
    seconds = time.perf_counter() - start
    name = f"OrthogonalMatchingPursuit, {loss} loss"
    report(name, "... spoiled", pipeline, train_X, pipeline.score(test_X, test_y), seconds)

# The picture
# ---------------------------------------------------------------------------------------------------------------

lasso = calibration[-1]
chosen = np.flatnonzero(lasso.coef_)
plt.rcParams.update({"font.size": 10})
fig, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.4), layout="constrained")
CoefficientPathDisplay.from_path(
    lasso.alphas_,
    lasso.coef_path_ * signal[:, None],
    alpha_max=lasso.alpha_max_,
    chosen_alpha=lasso.alpha_,
    chosen_label="chosen by the one-standard-error rule",
    feature_names=spectra.feature_names,
    ax=left,
)
left.set_ylabel("effect of one standard deviation (g/L)")
left.set_title(f"{chosen.size} of {lasso.coef_.size} wavenumbers chosen from 21 samples")
right.plot(spectra.online_hours, predicted, color="#0072B2", linewidth=1.4, label="weighted lasso on the spectrum")
right.plot(hours[correct], glucose[correct], "o", mfc="white", mec="black", label="laboratory, corrects the shift")
right.plot(hours[test], glucose[test], "o", color="black", label="laboratory, test")
right.set_ylim(-4, 62)
right.set_xlabel("hours of fermentation")
right.set_ylabel("glucose (g/L)")
gap = max(lasso.relative_gap_, 0.0)
right.set_title(
    f"... follow a fermentation: R² = {score:.2f} on the test\n(optimal to a relative duality gap of {gap:.0e})"
)
right.legend(frameon=False)
target = sys.argv[1] if len(sys.argv) > 1 else "quickstart.png"
fig.savefig(target, dpi=110)
print(f"\nA duality gap bounds how much better any other coefficients could be. Picture: {target}")
