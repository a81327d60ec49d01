r"""
===========================================
When is a nonnegative factorization unique?
===========================================

The components of a nonnegative factorization :math:`X \approx W H` are read as parts, topics or materials. That makes
sense only if another factorization of the same quality would show the same ones. The *sufficiently scattered
condition* guarantees it, and :func:`~sparsemodels.decomposition.sufficiently_scattered` decides it for a given factor,
with a certificate for either answer.
"""

# %%
# A picture for three components
# ------------------------------
# Scale the columns of H to unit sums: they are points of a triangle, whose corners stand for the three components. The
# *circular cone* of the condition is the inscribed circle. The columns are sufficiently scattered if their convex hull
# contains the circle and touches the large triangle wherever the circle does.

import matplotlib.pyplot as plt
import numpy as np
from scipy.spatial import ConvexHull

from sparsemodels.decomposition import NMF, sufficiently_scattered

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "0.55"
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(0.75)]])


def on_paper(points):
    """Points with unit sums, in columns, as points of the triangle."""
    return (points / points.sum(axis=0)).T @ CORNERS


def draw_triangle(ax):
    """The triangle and the circle in it."""
    ax.plot(*CORNERS[[0, 1, 2, 0]].T, color="black", linewidth=1.2)
    ax.add_patch(plt.Circle(CORNERS.mean(axis=0), np.sqrt(1 / 12), facecolor=ORANGE, alpha=0.3, edgecolor="none"))
    ax.add_patch(plt.Circle(CORNERS.mean(axis=0), np.sqrt(1 / 12), fill=False, edgecolor=ORANGE, linewidth=1.2))
    for k, (corner, shift) in enumerate(zip(CORNERS, [(-0.06, -0.05), (0.06, -0.05), (0.0, 0.04)], strict=True)):
        ax.text(*(corner + shift), f"$e_{k + 1}$", ha="center", va="center")
    ax.set_aspect("equal")
    ax.set_ylim(-0.08, 0.97)
    ax.set_axis_off()


def draw_hull(ax, H):
    """The columns and their convex hull."""
    points = on_paper(H)
    hull = points[ConvexHull(points).vertices]
    ax.fill(*hull.T, color=BLUE, alpha=0.15, linewidth=0)
    ax.plot(*np.vstack([hull, hull[:1]]).T, color=BLUE, linewidth=1.2)
    ax.plot(*points.T, "o", color=BLUE, markersize=4)


def draw_cut(ax, x):
    """The line on which a certificate vanishes, and the side without columns."""
    ends = [(i, j, x[j] / (x[j] - x[i])) for i, j in ((0, 1), (0, 2), (1, 2)) if x[i] * x[j] < 0]
    ends = np.array([share * CORNERS[i] + (1 - share) * CORNERS[j] for i, j, share in ends])
    ax.plot(*ends.T, "--", color="black", linewidth=1.2)


random = np.random.default_rng(3)


def two_nonzeros(n, low, high):
    """Columns on the edges of the triangle, the shares of the two ends between two numbers."""
    H = np.zeros((3, n))
    for j in range(n):
        ends = random.permutation(3)[:2]
        share = random.uniform(low, high)
        H[ends, j] = share, 1.0 - share
    return H


wide = two_nonzeros(18, 0.0, 1.0)
narrow = two_nonzeros(18, 0.4, 0.6)
inside = 0.75 * two_nonzeros(18, 0.0, 1.0) + 0.25 / 3.0

fig, axes = plt.subplots(1, 3, figsize=(10, 3.7), layout="constrained")
for ax, H, name in zip(axes, (wide, narrow, inside), ("spread out", "bunched", "no zeros"), strict=True):
    draw_triangle(ax)
    draw_hull(ax, H)
    result = sufficiently_scattered(H)
    if result.ssc1:
        text = "scattered: the hull\ncontains the circle"
    else:
        draw_cut(ax, result.certificate)
        text = (
            f"not scattered: beyond the dashed line\nthere is circle, but no column ($\\|x\\|^2 = {result.value:.2f}$)"
        )
    ax.set_title(f"{name}\n{text}", fontsize=10)
plt.show()

# %%
# The certificate of failure is a vector x that is nonnegative on all columns, :math:`H^\top x \ge 0`, yet negative
# somewhere on the circle, which is the same as :math:`\|x\| > 1` for entries that sum to one. The dashed line is where
# :math:`x` vanishes.
#
# What it means for a factorization
# ---------------------------------
# Take :math:`X = W H` exactly, with the codes W scattered, and factorize it from different starts. Each result is a
# triangle around the columns of H: its corners are the components that were found, seen from the true ones.

W = two_nonzeros(40, 0.0, 1.0).T

fig, axes = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
for ax, H, name in zip(axes, (wide, inside), ("scattered columns", "columns that are not scattered"), strict=True):
    X = W @ H
    draw_triangle(ax)
    draw_hull(ax, H)
    worst = 0.0
    for seed in range(6):
        model = NMF(3, init="random", random_state=seed, tol=1e-7, max_iter=20_000).fit(X)
        corners = on_paper(np.maximum(H @ np.linalg.pinv(model.components_), 0.0))
        corners = corners[ConvexHull(corners).vertices]
        ax.plot(*np.vstack([corners, corners[:1]]).T, color=GREEN, linewidth=1.3, alpha=0.8)
        worst = max(worst, model.reconstruction_err_ / np.linalg.norm(X))
    ax.set_title(f"{name}: six factorizations,\nrelative error at most {worst:.0e}", fontsize=10)
plt.show()

# %%
# Left, all six are the truth. Right, each of them fits the data exactly, and no two agree: no further data analysis
# can tell which is right. More columns near the corners can, or a penalty that prefers small triangles.
#
# How many zeros does it take?
# ----------------------------
# Without zeros nothing is scattered. With random columns that have few nonzeros it soon becomes likely: each line is
# the share of 20 random matrices, with twelve columns for each component, for which the check says yes. The more
# components there are, the more nonzeros may stand in each column.


def share_scattered(r, n_nonzero, n_trials=20):
    """How often random columns with so many nonzeros are sufficiently scattered."""
    yes = 0
    for _ in range(n_trials):
        H = np.zeros((r, 12 * r))
        for j in range(H.shape[1]):
            H[random.choice(r, n_nonzero, replace=False), j] = random.uniform(size=n_nonzero)
        result = sufficiently_scattered(H)
        yes += bool(result.ssc1 and result.ssc2)
    return yes / n_trials


fig, ax = plt.subplots(figsize=(7.5, 3.8), layout="constrained")
for r, colour in zip((3, 4, 5, 6, 7), plt.cm.viridis(np.linspace(0.0, 0.85, 5)), strict=True):
    counts = np.arange(1, r + 1)
    ax.plot(counts, [share_scattered(r, count) for count in counts], "o-", color=colour, label=f"{r} components")
ax.set_xlabel("nonzeros of each column")
ax.set_ylabel("share sufficiently scattered")
ax.set_ylim(-0.03, 1.05)
ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
for side in ("top", "right"):
    ax.spines[side].set_visible(False)
plt.show()
