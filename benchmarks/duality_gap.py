"""The certificate of a LASSO solution, recomputed in NumPy from its coefficients alone."""

from typing import Any

import numpy as np
from planted_regression import Problem
from scipy import sparse


def relative_duality_gap(problem: Problem, coefs: Any, block: int = 10) -> float:
    """Largest (primal - dual) / (objective at zero) over the alphas of a problem.

    Parameters
    ----------
    problem : Problem
        Design, target, alphas (n_alphas,) and penalty weights, which must be positive.
    coefs : ndarray or sparse matrix of shape (n_features,) or (n_features, n_alphas)
        One column an alpha, in the order of ``problem.alphas``.
    block : int, default=10
        Alphas worked on at a time, to bound the memory at ``n_features * block`` numbers.

    Returns
    -------
    float
        The gap at the residual scaled to the best dual feasible point; not a number if a coefficient is not.

    Notes
    -----
    With the residual r = y - X w and a dual point u = s r, the dual objective is
    (||y||^2 - ||y - u||^2) / (2 n), and u is feasible where |X_j' u| <= n alpha weights_j for every j.
    The best s is r'y / ||r||^2, clipped to what is feasible.
    """
    X, y, alphas, weights = problem
    weights = np.ones(X.shape[1]) if weights is None else weights
    coefs = sparse.csc_matrix(coefs.reshape(X.shape[1], -1) if isinstance(coefs, np.ndarray) else coefs)
    if coefs.shape != (X.shape[1], len(alphas)):
        raise ValueError(f"coefs has shape {coefs.shape}, it must be {(X.shape[1], len(alphas))}.")
    gaps = []
    for start in range(0, len(alphas), block):
        part = coefs[:, start : start + block]
        l1_norms = weights @ abs(part)
        # For dense X only the rows of the block's support enter the product.
        support = np.unique(part.indices)
        residuals = y[:, None] - X[:, support] @ part[support].toarray()
        scores = np.max(np.abs(X.T @ residuals) / weights[:, None], axis=0)
        for k, alpha in enumerate(alphas[start : start + block]):
            gaps.append(_gap(y, residuals[:, k], len(y) * alpha, l1_norms[k], scores[k]))
    return float(np.max(gaps))  # a NaN stays one


def _gap(y: np.ndarray, residual: np.ndarray, penalty: float, l1_norm: float, score: float) -> float:
    squared = residual @ residual
    if squared == 0.0:
        dual_point = residual
    else:
        largest = penalty / score if score > 0.0 else np.inf
        dual_point = np.clip(residual @ y / squared, -largest, largest) * residual
    # primal - dual = r'r/2 + penalty |w| - y'u + u'u/2, all over n, which cancels against the scale below
    gap = 0.5 * squared + penalty * l1_norm - y @ dual_point + 0.5 * (dual_point @ dual_point)
    return gap / (0.5 * (y @ y))
