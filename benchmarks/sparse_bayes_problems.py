"""Sparse regression problems for Bayesian models, and what a fitted model is worth: its error and its evidence."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.linalg import cholesky, solve_triangular


class Case(NamedTuple):
    """What a problem is made of."""

    n_samples: int
    n_features: int
    n_nonzero: int
    correlation: float = 0.0  # of neighbouring columns, AR(1)
    decibels: float = 25.0  # power of X w over that of the noise
    n_instances: int = 9


class Instance(NamedTuple):
    """y = X w + noise, with columns of norm one."""

    X: np.ndarray  # F-ordered
    y: np.ndarray
    coef: np.ndarray
    noise_variance: float


class Problem(NamedTuple):
    """Several draws, since which small coefficients are found is luck in a single one."""

    instances: tuple[Instance, ...]


class Solution(NamedTuple):
    """A fitted model of an instance: prior variances are None for methods that have none."""

    coef: np.ndarray
    prior_variances: np.ndarray | None
    noise_variance: float | None


CASES = {
    "500x2000-80": Case(500, 2000, 80),
    "500x2000-80-correlated": Case(500, 2000, 80, correlation=0.8),
    "5000x500-50": Case(5000, 500, 50),
}


def tiny(case: Case) -> Case:
    """A small case of the same kind."""
    shape = (120, 30) if case.n_samples > case.n_features else (60, 120)
    return case._replace(n_samples=shape[0], n_features=shape[1], n_nonzero=6, n_instances=2)


def build(case: Case) -> Problem:
    """The instances of the seeds 0, 1, ..."""
    return Problem(tuple(_instance(case, seed) for seed in range(case.n_instances)))


def each(fit: Callable[..., Solution]) -> Callable[..., list[Solution]]:
    """Solve all instances, one after the other."""

    def fit_all(problem, effort, **setting):
        return [fit(instance, effort, **setting) for instance in problem.instances]

    return fit_all


def _instance(case: Case, seed: int) -> Instance:
    """Gaussian columns, Gaussian coefficients on a random support, Gaussian noise."""
    rng = np.random.default_rng(seed)
    X = np.asfortranarray(rng.standard_normal((case.n_samples, case.n_features)))
    for j in range(1, case.n_features) if case.correlation else ():
        X[:, j] = case.correlation * X[:, j - 1] + np.sqrt(1.0 - case.correlation**2) * X[:, j]
    X /= np.linalg.norm(X, axis=0)
    coef = np.zeros(case.n_features)
    coef[rng.choice(case.n_features, case.n_nonzero, replace=False)] = rng.standard_normal(case.n_nonzero)
    signal = X @ coef
    variance = float(np.mean(signal**2) / 10.0 ** (case.decibels / 10.0))
    return Instance(X, signal + np.sqrt(variance) * rng.standard_normal(case.n_samples), coef, variance)


def error_over_oracle(instance: Instance, coef: np.ndarray) -> float:
    """Squared error of the coefficients over that of least squares on the true support."""
    support = np.flatnonzero(instance.coef)
    oracle = np.linalg.lstsq(instance.X[:, support], instance.y, rcond=None)[0]
    return float(np.sum((coef - instance.coef) ** 2) / np.sum((oracle - instance.coef[support]) ** 2))


def evidence_per_sample(X: np.ndarray, y: np.ndarray, variances: np.ndarray, noise_variance: float) -> float:
    """The log density of N(0, s I + X diag(v) X') at y over the number of samples, by a Cholesky factor of it."""
    active = np.flatnonzero(variances)
    half = X[:, active] * np.sqrt(variances[active])
    covariance = half @ half.T
    covariance[np.diag_indices_from(covariance)] += noise_variance
    factor = cholesky(covariance, lower=True, overwrite_a=True)
    white = solve_triangular(factor, y, lower=True)
    return float(-0.5 * (np.log(2.0 * np.pi) + (2.0 * np.log(np.diag(factor)).sum() + white @ white) / len(y)))


def dense_em(X: np.ndarray, y: np.ndarray, noise_variance: float, n_iter: int) -> Solution:
    """Expectation maximisation over all columns at a known noise variance, as one writes it down in NumPy.

    By the smaller of the two Cholesky factors: of the covariance of y, or of the posterior precision.
    """
    n_samples, n_features = X.shape
    # To begin with the prior explains all of y: columns are of norm one.
    variances = np.full(n_features, float(y @ y) / n_features)
    gram, correlations = (X.T @ X, X.T @ y) if n_samples > n_features else (None, None)
    for _ in range(n_iter):
        if gram is None:
            covariance = (X * variances) @ X.T
            covariance[np.diag_indices_from(covariance)] += noise_variance
            factor = cholesky(covariance, lower=True, overwrite_a=True)
            white = solve_triangular(factor, X, lower=True)
            spread = variances - variances**2 * np.einsum("ij,ij->j", white, white)
            mean = variances * (white.T @ solve_triangular(factor, y, lower=True))
        else:
            root = np.sqrt(variances)
            precision = root[:, None] * gram * root / noise_variance
            precision[np.diag_indices_from(precision)] += 1.0
            inverse = solve_triangular(cholesky(precision, lower=True, overwrite_a=True), np.diag(root), lower=True)
            spread = np.einsum("ij,ij->j", inverse, inverse)
            mean = inverse.T @ (inverse @ correlations) / noise_variance
        variances = mean**2 + spread
    return Solution(mean, variances, noise_variance)
