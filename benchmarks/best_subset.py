"""Best subsets of a given size: which subset is found, in what time, and in what time with a proof."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import planted_regression
from planted_regression import Case

__all__ = ["BIG", "CASES", "PEERS", "TARGET", "TIGHT", "build", "efforts", "quality", "settings", "tiny"]

TITLE = "Best subset of a given size"
MEANING = (
    "The quality is the share of the target that a subset leaves, less what the planted one leaves: below zero is "
    "better than planted, and every package is timed that is at least as good."
)
# At least as good as the planted subset. How much better is in the column of the quality.
TARGET, TIGHT = 0.0, None

# The number of planted features is the number of features that are asked for.
CASES = {
    "dense-500x2000-20-features": Case(500, 2000, 20),
    "dense-1000x10000-50-features": Case(1000, 10000, 50),
    "dense-20000x1000-50-features": Case(20000, 1000, 50),
    "correlated-300x500-15-features": Case(300, 500, 15, correlation=0.8),
}
BIG: frozenset[str] = frozenset()


class Problem(NamedTuple):
    """A design, targets, the size of the subset, and what the planted one leaves of the targets."""

    X: np.ndarray
    y: np.ndarray
    size: int
    planted: float


def build(case: Case) -> Problem:
    X, y, *_ = planted_regression.build(case)
    # The support is drawn again as the planted problem draws it: the design, then the support.
    rng = np.random.default_rng(case.seed)
    planted_regression._dense(case, rng)
    support = np.sort(rng.choice(case.n_features, case.n_nonzero, replace=False))
    return Problem(X, y, case.n_nonzero, left_over(X, y, support))


tiny = planted_regression.tiny


def left_over(X: np.ndarray, y: np.ndarray, support: np.ndarray) -> float:
    """The squared norm of what least squares on a support leaves, relative to that of the targets."""
    coef = np.linalg.lstsq(X[:, support], y, rcond=None)[0]
    return float(np.sum((y - X[:, support] @ coef) ** 2) / np.sum(y**2))


def quality(problem: Problem, coef: np.ndarray) -> float:
    """How much more of the targets the subset leaves than the planted one; infinite for too large a subset."""
    support = np.flatnonzero(coef)
    if support.size > problem.size:
        return float("inf")
    return left_over(problem.X, problem.y, support) - problem.planted


def efforts(peer: str, case: Case, target: float) -> tuple[float, ...]:
    """The methods end by themselves: there is nothing to turn."""
    return (0.0,)


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    # Two ways to shorten the exchanged part of abess' splicing.
    return [{"splicing_type": 0}, {"splicing_type": 1}] if peer == "abess" else [{}]


def sparsemodels(certify: bool = False) -> Callable:
    from sparsemodels.linear_model import BestSubsetRegressor

    def fit(problem, effort):
        model = BestSubsetRegressor(problem.size, fit_intercept=False, certify=certify)
        return model.fit(problem.X, problem.y).coef_

    return fit


def certified() -> Callable:
    return sparsemodels(certify=True)


def abess() -> Callable:
    from abess import LinearRegression

    def fit(problem, effort, splicing_type=0):
        model = LinearRegression(support_size=problem.size, fit_intercept=False, splicing_type=splicing_type, thread=1)
        return model.fit(problem.X, problem.y).coef_

    return fit


PEERS = {"sparsemodels": sparsemodels, "sparsemodels, with bound": certified, "abess": abess}
