"""The minimum of a polynomial of degree four on a half-line, in closed form."""

import math

from .kernel import kernel


@kernel
def minimise_quartic(c1, c2, c3, c4, low):
    r"""Minimise :math:`c_1 d + c_2 d^2 + c_3 d^3 + c_4 d^4` over :math:`d \ge` `low`.

    The minimum is at the bound or at a root of the derivative, a cubic: by Cardano's formula, in its trigonometric form
    where there are three real roots, each improved by two steps of Newton's method.

    Parameters
    ----------
    c1, c2, c3, c4 : float
        The coefficients; the polynomial must be bounded below on the half-line.
    low : float
        The lower bound, at most zero.

    Returns
    -------
    float
        The minimiser; zero where nothing is lower.
    """
    best, value = 0.0, 0.0
    if low < 0.0:
        at_bound = low * (c1 + low * (c2 + low * (c3 + low * c4)))
        if at_bound < value:
            best, value = low, at_bound
    a, b = 4.0 * c4, 3.0 * c3
    roots = (math.nan, math.nan, math.nan)
    # Relative to a step of the size of Newton's from zero, is there a cubic term at all?
    size = abs(c1 / (2.0 * c2)) if c2 > 0.0 else 1.0
    if c2 > 0.0 and abs(b) * size * size + abs(a) * size * size * size <= 1e-14 * abs(c1):
        roots = (-c1 / (2.0 * c2), math.nan, math.nan)
    elif a > 0.0:
        shift = b / (3.0 * a)
        p = 2.0 * c2 / a - 3.0 * shift * shift
        q = 2.0 * shift**3 - shift * 2.0 * c2 / a + c1 / a
        discriminant = (0.5 * q) ** 2 + (p / 3.0) ** 3
        if discriminant > 0.0:
            root = math.sqrt(discriminant)
            larger = -0.5 * q - root if q > 0.0 else -0.5 * q + root  # no cancellation
            u = math.copysign(abs(larger) ** (1.0 / 3.0), larger)
            roots = (u - p / (3.0 * u) - shift if u != 0.0 else -shift, math.nan, math.nan)
        elif p < 0.0:
            radius = 2.0 * math.sqrt(-p / 3.0)
            cosine = 3.0 * q / (p * radius)
            angle = math.acos(min(1.0, max(-1.0, cosine))) / 3.0
            third = 2.0 * math.pi / 3.0
            roots = (
                radius * math.cos(angle) - shift,
                radius * math.cos(angle - third) - shift,
                radius * math.cos(angle + third) - shift,
            )
        else:
            roots = (-shift, math.nan, math.nan)
    elif c2 > 0.0:
        roots = (-c1 / (2.0 * c2), math.nan, math.nan)
    for start in roots:
        d = start
        if math.isnan(d):
            continue
        for _ in range(2):
            slope = c1 + d * (2.0 * c2 + d * (b + d * a))
            bend = 2.0 * c2 + d * (2.0 * b + d * 3.0 * a)
            if bend > 0.0:
                d -= slope / bend
        d = max(d, low)
        reached = d * (c1 + d * (c2 + d * (c3 + d * c4)))
        if reached < value:
            best, value = d, reached
    return best
