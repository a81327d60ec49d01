r"""Total-variation denoising, :math:`\arg\min_x \frac12 \|x - y\|^2 + \lambda \sum_i |x_{i+1} - x_i|`, exactly."""

import numpy as np

from .kernel import kernel


@kernel
def total_variation_prox(point, level):
    r"""The prox of the total variation in linear time, by dynamic programming over the samples.

    Going from left to right, :math:`g_i(x)` is the derivative of the best cost of samples 1..i given :math:`x_i = x`:
    a continuous, increasing, piecewise linear function that is cut to :math:`[-\lambda, \lambda]` from one sample to
    the next, :math:`g_i(x) = \mathrm{clip}(g_{i-1}(x), -\lambda, \lambda) + x - y_i`. Where it is cut is all that
    the way back needs.

    Parameters
    ----------
    point : ndarray of shape (n,)
        The sequence y.
    level : float
        The level :math:`\lambda \ge 0`.

    Returns
    -------
    ndarray of shape (n,)
        The denoised sequence; equal neighbours are equal bit for bit.

    References
    ----------
    N. A. Johnson, "A dynamic programming algorithm for the fused Lasso and L0-segmentation", Journal of Computational
    and Graphical Statistics 22(2), 2013.
    """
    n = point.size
    result = point.astype(np.float64)
    if n < 2 or level == 0.0:
        return result
    # Knots (position, change of slope) in the middle of a buffer that either end can grow in.
    knots, jumps = np.empty(2 * n), np.empty(2 * n)
    left, right = n, n  # knots[left:right] are in use
    cut_below, cut_above = np.empty(n - 1), np.empty(n - 1)
    # g(x) = slope_left x + offset_left before the first knot, slope_right x + offset_right after the last one.
    slope_left, offset_left, slope_right, offset_right = 1.0, -result[0], 1.0, -result[0]
    for i in range(n - 1):
        while left < right and slope_left * knots[left] + offset_left <= -level:
            slope_left += jumps[left]
            offset_left -= jumps[left] * knots[left]
            left += 1
        below = (-level - offset_left) / slope_left
        while left < right and slope_right * knots[right - 1] + offset_right >= level:
            right -= 1
            slope_right -= jumps[right]
            offset_right += jumps[right] * knots[right]
        above = (level - offset_right) / slope_right
        cut_below[i], cut_above[i] = below, above
        left -= 1
        knots[left], jumps[left] = below, slope_left
        knots[right], jumps[right] = above, -slope_right
        right += 1
        slope_left, offset_left = 1.0, -level - result[i + 1]
        slope_right, offset_right = 1.0, level - result[i + 1]
    while left < right and slope_left * knots[left] + offset_left <= 0.0:
        slope_left += jumps[left]
        offset_left -= jumps[left] * knots[left]
        left += 1
    result[n - 1] = -offset_left / slope_left
    for i in range(n - 2, -1, -1):
        result[i] = min(max(result[i + 1], cut_below[i]), cut_above[i])
    return result
