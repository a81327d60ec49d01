"""The evidence of sparse Bayesian regression: the time to within a hundredth of a nat a sample of the best known."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import sparse_bayes
from lasso import remembered
from sparse_bayes_problems import (
    CASES as RECOVERY,
)
from sparse_bayes_problems import (
    Case,
    Problem,
    Solution,
    build,
    each,
    error_over_oracle,
    evidence_per_sample,
    tiny,
)

__all__ = [
    "BIG",
    "CASES",
    "PEERS",
    "TARGET",
    "TIGHT",
    "TIME_MISSED",
    "beside",
    "build",
    "efforts",
    "quality",
    "settings",
    "tiny",
]

TITLE = "Sparse Bayesian regression: the evidence"
MEANING = (
    "Quality is how much of the logarithm of the evidence per sample is missing to that of ours at its tightest "
    "tolerance, the mean of three draws, all of which a timed fit solves: below zero is better than that. All packages "
    "have the same columns, the true noise variance and no threshold, and their evidence is computed by one formula "
    "from the prior variances that they report. The target is a hundredth of a nat a sample; who misses it is timed at "
    "its best. The evidence has local maxima: which one is reached is part of the comparison. Beside it the error of "
    "the coefficients over that of least squares on the true support: without a threshold the highest evidence is not "
    "the best recovery."
)
TARGET, TIGHT = 1e-2, 1e-3
TIME_MISSED = True
BIG: frozenset[str] = frozenset()


CASES = {name: case._replace(n_instances=3) for name, case in RECOVERY.items()}


def value(problem: Problem, solutions: list[Solution]) -> float:
    """The logarithm of the evidence per sample at the true noise variance, the mean over draws."""
    pairs = zip(problem.instances, solutions, strict=True)
    return float(np.mean([evidence_per_sample(i.X, i.y, s.prior_variances, i.noise_variance) for i, s in pairs]))


@remembered
def _best(problem: Problem) -> float:
    return value(problem, sparsemodels("fast")(problem, 1e-6))


def quality(problem: Problem, solutions: list[Solution]) -> float:
    """Nats a sample below the best known."""
    return _best(problem) - value(problem, solutions)


def beside(problem: Problem, solutions: list[Solution]) -> dict[str, float]:
    """How good the coefficients are."""
    pairs = zip(problem.instances, solutions, strict=True)
    return {"Error over oracle": float(np.median([error_over_oracle(i, s.coef) for i, s in pairs]))}


def efforts(peer: str, case: Case, target: float) -> tuple[float, ...]:
    """Tolerances, or numbers of iterations."""
    if peer == "fastrvm":
        return (100_000,)
    if peer == "dense EM":
        return tuple(round(25 * 2.0 ** (k / 2)) for k in range(12))
    return (1e-3, 1e-5) if peer == "ARDRegression" else (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    """All know the noise."""
    return {
        "fastrvm": [{"noise": "true"}, {"noise": "true", "prioritize_addition": True}],
        "ARDRegression": [{"noise": "true"}],
    }.get(peer, [{}])


def sparsemodels(solver: str = "fast") -> Callable:
    from sparsemodels.bayes import SparseBayesRegressor

    def fit(instance, effort):
        model = SparseBayesRegressor(
            solver=solver, noise_variance=instance.noise_variance, threshold=1.0, fit_intercept=False, tol=effort,
            max_iter=100_000,
        )  # fmt: skip
        model.fit(instance.X, instance.y)
        return Solution(model.coef_, model.prior_variances_, model.noise_variance_)

    return each(fit)


PEERS = {
    "sparsemodels": sparsemodels,
    "sparsemodels, mackay": partial(sparsemodels, "mackay"),
    **{name: sparse_bayes.PEERS[name] for name in ("fastrvm", "ARDRegression", "dense EM")},
}
