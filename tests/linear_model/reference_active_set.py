"""An independent solver of tiny weighted LASSO and elastic-net problems: enumeration-free active set in long double.

It shares no code with the package: plain projected coordinate descent in extended precision on the Gram matrix, run
until nothing moves any more. Slow and simple.
"""

import numpy as np

LONG = np.longdouble


def objective(X, y, weights, alpha, l1_ratio, penalty_weights, coef, intercept):
    """The documented objective, in extended precision; inf times zero is zero."""
    s = weights.astype(LONG) / weights.sum(dtype=LONG)
    coef = coef.astype(LONG)
    residual = y.astype(LONG) - X.astype(LONG) @ coef - LONG(intercept)
    nonzero = coef != 0
    w, level = coef[nonzero], penalty_weights[nonzero].astype(LONG)
    if np.isinf(level).any():
        return LONG(np.inf)
    ridge = LONG(0.5) * (1 - LONG(l1_ratio)) * np.sum(level * w * w)
    return LONG(0.5) * np.sum(s * residual**2) + LONG(alpha) * (LONG(l1_ratio) * np.sum(level * abs(w)) + ridge)


def solve(X, y, weights, alpha, l1_ratio, penalty_weights, lower, upper, fit_intercept, n_epochs=20_000, start=None):
    """Coordinate descent on the Gram matrix in extended precision, from zero or a given start."""
    X, y = X.astype(LONG), y.astype(LONG)
    s = weights.astype(LONG) / weights.sum(dtype=LONG)
    x_mean = s @ X if fit_intercept else np.zeros(X.shape[1], dtype=LONG)
    y_mean = s @ y if fit_intercept else LONG(0)
    Xc, yc = X - x_mean, y - y_mean
    gram, target = Xc.T @ (s[:, None] * Xc), Xc.T @ (s * yc)
    coef = np.zeros(X.shape[1], dtype=LONG) if start is None else start.astype(LONG)
    slope = target - gram @ coef
    for _ in range(n_epochs):
        biggest = LONG(0)
        for j in range(coef.size):
            if gram[j, j] <= 0 or np.isinf(penalty_weights[j]):
                continue
            level = LONG(alpha) * LONG(penalty_weights[j])
            point = slope[j] + gram[j, j] * coef[j]
            new = np.sign(point) * max(abs(point) - level * LONG(l1_ratio), LONG(0))
            new = new / (gram[j, j] + level * (1 - LONG(l1_ratio)))
            new = min(max(new, LONG(lower[j])), LONG(upper[j]))
            change = new - coef[j]
            if change != 0:
                slope -= change * gram[j]
                coef[j] = new
                biggest = max(biggest, abs(change) * np.sqrt(gram[j, j]))
        if biggest <= LONG(1e-18) * np.sqrt(np.sum(s * yc * yc)):
            break
    return coef, y_mean - x_mean @ coef
