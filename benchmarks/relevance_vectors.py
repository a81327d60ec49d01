"""Relevance vector regression: the time to predict nearly as well as a Gaussian process with the same kernel."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from lasso import remembered
from sparse_bayes_problems import evidence_per_sample

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

TITLE = "Relevance vector regression"
MEANING = (
    "Samples of sin(r) / r in the plane with noise; a Gaussian kernel of one width for all, no constant. Quality is "
    "the error of predictions against the function without noise, root mean square over 4000 points, relative to that "
    "of a Gaussian process with the same kernel whose noise and amplitude maximise its evidence; the target is 1.1. "
    "All learn the noise. Beside it the number of relevance vectors and the logarithm of the evidence per sample, by "
    "one formula from the prior variances and the noise variance that each reports."
)
TARGET, TIGHT = 1.1, None
TIME_MISSED = True
_WIDTH = 0.3  # gamma: exp(-gamma |x - x'|^2)
_TEST_POINTS = 4000


class Case(NamedTuple):
    """The size of a problem."""

    n_samples: int
    noise: float = 0.1
    seed: int = 0


class Problem(NamedTuple):
    """Samples, and points with the function without noise."""

    X: np.ndarray
    y: np.ndarray
    points: np.ndarray
    truth: np.ndarray


class Solution(NamedTuple):
    """Relevance vectors by index, their coefficients and prior variances, and the noise variance."""

    relevance: np.ndarray
    coef: np.ndarray
    prior_variances: np.ndarray
    noise_variance: float


CASES = {"300-points": Case(300), "1000-points": Case(1000), "2000-points": Case(2000)}
BIG: frozenset[str] = frozenset()


def tiny(case: Case) -> Case:
    """A small case of the same kind."""
    return case._replace(n_samples=100)


def build(case: Case) -> Problem:
    """Uniform points in a square, sin(r) / r of their distance to its centre, and Gaussian noise."""
    rng = np.random.default_rng(case.seed)
    X = rng.uniform(-6.0, 6.0, (case.n_samples + _TEST_POINTS, 2))
    function = np.sinc(np.linalg.norm(X, axis=1) / np.pi)
    y = function[: case.n_samples] + case.noise * rng.standard_normal(case.n_samples)
    return Problem(X[: case.n_samples], y, X[case.n_samples :], function[case.n_samples :])


def kernel(X: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The Gaussian kernel between two sets of points."""
    squares = np.sum(X**2, axis=1)[:, None] + np.sum(other**2, axis=1) - 2.0 * X @ other.T
    return np.exp(-_WIDTH * np.maximum(squares, 0.0))


def _error(problem: Problem, centres: np.ndarray, coef: np.ndarray) -> float:
    return float(np.sqrt(np.mean((kernel(problem.points, centres) @ coef - problem.truth) ** 2)))


@remembered
def _gaussian_process(problem: Problem) -> float:
    """The error of the Gaussian process; given noise over amplitude, the best amplitude has a closed form."""
    values, vectors = np.linalg.eigh(kernel(problem.X, problem.X))
    rotated, evidences = vectors.T @ problem.y, {}
    for ratio in np.geomspace(1e-4, 1e2, 61):
        spread = np.maximum(values, 0.0) + ratio
        amplitude = np.mean(rotated**2 / spread)
        evidences[ratio] = -np.log(amplitude) - np.mean(np.log(spread))
    best = max(evidences, key=evidences.__getitem__)
    return _error(problem, problem.X, vectors @ (rotated / (np.maximum(values, 0.0) + best)))


def quality(problem: Problem, solution: Solution) -> float:
    """The error relative to that of the Gaussian process."""
    return _error(problem, problem.X[solution.relevance], solution.coef) / _gaussian_process(problem)


def beside(problem: Problem, solution: Solution) -> dict[str, float]:
    """The size of the model, and its evidence."""
    columns = kernel(problem.X, problem.X[solution.relevance])
    return {
        "Relevance vectors": len(solution.relevance),
        "Log evidence per sample": evidence_per_sample(
            columns, problem.y, solution.prior_variances, solution.noise_variance
        ),
    }


def efforts(peer: str, case: Case, target: float) -> tuple[float, ...]:
    """Tolerances; the most actions of fastrvm."""
    return {"fastrvm": (10_000,), "sparsemodels": (1e-2, 1e-4)}.get(peer, (1e-2, 1e-3, 1e-4))


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    """The alternatives that were found to matter."""
    return {"fastrvm": [{"prioritize_addition": False}, {"prioritize_addition": True}]}.get(peer, [{}])


def sparsemodels() -> Callable:
    from sparsemodels.bayes import RVMRegressor

    def fit(problem, effort):
        model = RVMRegressor(gamma=_WIDTH, bias=False, tol=effort).fit(problem.X, problem.y)
        return Solution(model.relevance_, model.dual_coef_, model.prior_variances_, model.noise_variance_)

    return fit


def fastrvm() -> Callable:
    from fastrvm import RVR

    def fit(problem, effort, prioritize_addition):
        model = RVR(
            gamma=_WIDTH, max_iter=effort, prioritize_addition=prioritize_addition,
            prioritize_deletion=not prioritize_addition,
        ).fit(problem.X, problem.y)  # fmt: skip
        columns = kernel(problem.X, problem.X[model.relevance_])
        # Its precisions are those for columns of norm one, divided instead of multiplied by the squared norms:
        # with this correction the evidence is the one that it reports itself.
        variances = 1.0 / (model.alpha_.ravel() * np.sum(columns**2, axis=0) ** 2)
        return Solution(model.relevance_, model.dual_coef_.ravel(), variances, 1.0 / model.beta_)

    return fit


def sklearn_rvm() -> Callable:
    from sklearn_rvm import EMRVR

    def fit(problem, effort):
        model = EMRVR(gamma=_WIDTH, bias_used=False, tol=effort)
        model.fit(problem.X, problem.y)
        # Its kernels are divided by a number, and so its coefficients belong to these.
        variances = 1.0 / (model.alpha_ * model._scale**2)
        return Solution(model.relevance_, model.mu_ / model._scale, variances, 1.0 / model.beta_)

    return fit


def ard_regression() -> Callable:
    from sklearn.linear_model import ARDRegression

    def fit(problem, effort):
        model = ARDRegression(fit_intercept=False, tol=effort, copy_X=False)
        model.fit(kernel(problem.X, problem.X), problem.y)
        kept = np.flatnonzero(model.lambda_ < model.threshold_lambda)
        return Solution(kept, model.coef_[kept], 1.0 / model.lambda_[kept], 1.0 / float(model.alpha_))

    return fit


PEERS = {
    "sparsemodels": sparsemodels,
    "fastrvm": fastrvm,
    "sklearn-rvm": sklearn_rvm,
    "ARDRegression": ard_regression,
}
