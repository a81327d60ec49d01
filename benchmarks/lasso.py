"""LASSO at a single alpha, without intercept, to a relative duality gap."""

from collections.abc import Callable
from typing import Any

import numpy as np
from duality_gap import relative_duality_gap as quality
from planted_regression import Case, Problem, build, tiny
from scipy import sparse

__all__ = ["BIG", "CASES", "PEERS", "TARGET", "TIGHT", "build", "efforts", "quality", "settings", "tiny"]

TITLE = "LASSO, one alpha"
TARGET, TIGHT = 1e-6, 1e-12

CASES = {
    "dense-1000x5000": Case(1000, 5000, 100, correlation=0.7),
    "dense-1000x5000-end": Case(1000, 5000, 100, correlation=0.7, alpha_ratio=0.01),
    "dense-2000x10000": Case(2000, 10000, 200, correlation=0.7),
    "dense-5000x20000": Case(5000, 20000, 500, correlation=0.7),
    "tall-20000x500": Case(20000, 500, 100, correlation=0.7, alpha_ratio=0.01),
    "csc-20000x50000": Case(20000, 50000, 200, density=1e-3),
    "csc-20000x50000-end": Case(20000, 50000, 200, density=1e-3, alpha_ratio=0.01),
    "csc-50000x200000": Case(50000, 200000, 500, density=5e-4),
}
BIG = frozenset({"dense-5000x20000", "csc-50000x200000"})


def efforts(peer: str, case: Case, target: float) -> tuple[float, ...]:
    """Tolerances in the peer's own meaning, from loose to strict, from where the target comes into reach."""
    tight = target < TARGET
    if peer == "spams":  # LARS is exact
        return (0.0,)
    if peer == "skglm":  # an optimality residual, here relative to the (smallest) alpha
        return (1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14) if tight else half_decades(1e-2, 1e-9)
    if peer in ("adelie", "glmnet"):  # a squared change, relative to the objective at zero
        return (1e-22, 1e-24, 1e-26) if tight else half_decades(1e-13 if case.density is None else 1e-8, 1e-20)
    # A duality gap, relative to the objective at zero (ours) or to twice that (scikit-learn, celer).
    return tuple(target * share for share in (1.0, 0.5, 0.2, 0.1, 0.03, 0.01))


def half_decades(loosest: float, strictest: float) -> tuple[float, ...]:
    """Two tolerances a power of ten."""
    count = round(2 * np.log10(loosest / strictest)) + 1
    return tuple(float(value) for value in np.geomspace(loosest, strictest, count))


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    """The alternatives that were found to matter; the fastest of them on a case is timed."""
    tall = case.n_samples > case.n_features and case.density is None
    return {
        "scikit-learn": [{"selection": "cyclic"}, {"selection": "random"}] + [{"precompute": True}] * tall,
        "celer": [{"p0": 10}, {"p0": 100}, {"p0": 500}, {"p0": 100, "prune": False}],
        "skglm": [{"p0": 10}, {"p0": 100}, {"p0": 500}, {"ws_strategy": "fixpoint"}],
        "adelie": [{"steps": steps, "screen_rule": rule} for steps in (1, 10) for rule in ("pivot", "strong")],
        "glmnet": [{"steps": 1}, {"steps": 10}] + [{"steps": 1, "covariance": True}] * tall,
    }.get(peer, [{}])


def remembered(convert: Callable[[Problem], Any]) -> Callable[[Problem], Any]:
    """A peer's native form of a problem, made at its first fit: conversion is not timed."""
    last: dict[str, Any] = {}

    def recall(problem: Problem) -> Any:
        if last.get("problem") is not problem:
            last.update(problem=problem, form=convert(problem))
        return last["form"]

    return recall


@remembered
def alpha_max(problem: Problem) -> float:
    """The smallest alpha at which every coefficient is zero."""
    scores = np.abs(problem.X.T @ problem.y) / len(problem.y)
    return float(np.max(scores if problem.weights is None else scores / problem.weights))


def approach(problem: Problem, steps: int) -> np.ndarray:
    """Decreasing alphas down to the problem's: some solvers reach one alpha faster along a short path."""
    return problem.alphas if steps == 1 else np.geomspace(alpha_max(problem), problem.alpha, steps)


def sparsemodels() -> Callable:
    from sparsemodels.linear_model import Lasso

    def fit(problem, effort):
        model = Lasso(alpha=problem.alpha, fit_intercept=False, tol=effort, penalty_weights=problem.weights)
        return model.fit(problem.X, problem.y).coef_

    return fit


@remembered
def rescaled(problem: Problem) -> tuple[Any, np.ndarray | float]:
    """Weights w_j are columns divided by w_j: (X / weights, weights)."""
    X, _, _, weights = problem
    if weights is None:
        return X, 1.0
    columns = X @ sparse.diags(1.0 / weights) if sparse.issparse(X) else X / weights
    return (columns.tocsc() if sparse.issparse(X) else np.asfortranarray(columns)), weights


def scikit_learn() -> Callable:
    from sklearn.linear_model import Lasso

    def fit(problem, effort, **setting):
        X, weights = rescaled(problem)
        model = Lasso(
            alpha=problem.alpha,
            fit_intercept=False,
            tol=effort,
            copy_X=False,
            max_iter=100_000,
            random_state=0,
            **setting,
        )
        return model.fit(X, problem.y).coef_ / weights

    return fit


def celer() -> Callable:
    from celer import Lasso

    def fit(problem, effort, **setting):
        options = {"tol": effort, "max_iter": 1000, "max_epochs": 100_000, **setting}
        model = Lasso(alpha=problem.alpha, fit_intercept=False, weights=problem.weights, **options)
        return model.fit(problem.X, problem.y).coef_

    return fit


def skglm() -> Callable:
    from skglm import Lasso, WeightedLasso

    def fit(problem, effort, **setting):
        options = {"tol": effort * problem.alpha, "max_iter": 1000, "max_epochs": 100_000, **setting}
        weighted = {} if problem.weights is None else {"weights": problem.weights}
        model = (WeightedLasso if weighted else Lasso)(alpha=problem.alpha, fit_intercept=False, **options, **weighted)
        return model.fit(problem.X, problem.y).coef_

    return fit


def adelie_path() -> Callable:
    """``fit(problem, alphas, tol, screen_rule)`` by adelie's naive method: its betas, one row an alpha."""
    import adelie

    @remembered
    def native(problem: Problem) -> tuple[Any, Any]:
        kind = adelie.matrix.sparse if sparse.issparse(problem.X) else adelie.matrix.dense
        return kind(problem.X, method="naive", n_threads=1), adelie.glm.gaussian(problem.y)

    def fit(problem, alphas, effort, screen_rule="pivot"):
        X, loss = native(problem)
        state = adelie.grpnet(
            X,
            loss,
            alpha=1.0,
            penalty=problem.weights,
            lmda_path=alphas,
            intercept=False,
            early_exit=False,
            tol=effort,
            max_iters=10_000_000,
            n_threads=1,
            progress_bar=False,
            screen_rule=screen_rule,
        )
        if len(state.lmdas) != len(alphas):
            raise RuntimeError(f"stopped after {len(state.lmdas)} of {len(alphas)} alphas")
        return state.betas

    return fit


def adelie() -> Callable:
    path = adelie_path()

    def fit(problem, effort, steps=1, **setting):
        return path(problem, approach(problem, steps), effort, **setting)[-1].T

    return fit


def glmnet_path() -> Callable:
    """``fit(problem, alphas, tol, covariance)`` by glmnet's Fortran: CSC of shape (n_features, n_alphas).

    Its routines are called directly: the estimator of the wheel takes CSC through CSR and back at every fit.
    """
    from glmnet import _glmnet

    @remembered
    def one_based(problem: Problem) -> tuple[np.ndarray, ...]:
        X = problem.X
        return (X.data, X.indptr + 1, X.indices + 1) if sparse.issparse(X) else ()

    def fit(problem, alphas, effort, covariance=False):
        n_samples, n_features = problem.X.shape
        penalties = np.ones(n_features) if problem.weights is None else problem.weights
        sample_weight, bounds = np.ones(n_samples), np.empty((2, n_features), order="F")
        bounds[0], bounds[1] = -np.inf, np.inf
        # Penalty factors are rescaled to a mean of one. Targets and dense designs are overwritten.
        path, y = alphas * np.mean(penalties), problem.y.copy()
        options = {"isd": 0, "intr": 0, "maxit": 100_000_000}
        if sparse.issparse(problem.X):
            design = (n_samples, n_features, *one_based(problem))
            sizes: tuple[int, ...] = (n_features, n_features)  # nonzeros of one solution, of all
            routine = _glmnet.spelnet
        else:
            design, sizes, routine = (problem.X.copy(order="F"),), (n_features,), _glmnet.elnet
        data = (*design, y, sample_weight, 0, penalties, bounds)
        found = routine(1 if covariance else 2, 1.0, *data, *sizes, 1.0, path, effort, **options)
        count, _, values, active, lengths, *_, status = found
        if status != 0 or count != len(alphas):
            raise RuntimeError(f"status {status} after {count} of {len(alphas)} alphas")
        longest = lengths.max()
        indices, indptr = np.tile(active[:longest] - 1, count), longest * np.arange(count + 1)
        return sparse.csc_matrix((values[:longest].ravel(order="F"), indices, indptr), (n_features, count))

    return fit


def glmnet() -> Callable:
    path = glmnet_path()

    def fit(problem, effort, steps=1, **setting):
        return path(problem, approach(problem, steps), effort, **setting)[:, [-1]]

    return fit


def spams() -> Callable:
    """LARS homotopy, which holds the Gram matrix of the dictionary's active columns; dense designs only."""
    import spams

    @remembered
    def native(problem: Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray | float]:
        if sparse.issparse(problem.X):
            raise TypeError("spams.lasso takes dense designs only")
        return np.asfortranarray(problem.y[:, None]), *rescaled(problem)

    def fit(problem, effort):
        target, X, weights = native(problem)
        penalty = len(problem.y) * problem.alpha
        return spams.lasso(target, X, lambda1=penalty, mode=spams.PENALTY, numThreads=1).toarray()[:, 0] / weights

    return fit


PEERS = {
    "sparsemodels": sparsemodels,
    "scikit-learn": scikit_learn,
    "celer": celer,
    "skglm": skglm,
    "adelie": adelie,
    "glmnet": glmnet,
    "spams": spams,
}
