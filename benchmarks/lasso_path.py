"""LASSO path of 100 alphas, geometric from alpha_max to alpha_max / 100, all to the same relative gap."""

from collections.abc import Callable
from typing import Any

from duality_gap import relative_duality_gap as quality
from lasso import TARGET, TIGHT, adelie_path, efforts, glmnet_path
from planted_regression import Case, build, tiny

__all__ = ["BIG", "CASES", "PEERS", "TARGET", "TIGHT", "build", "efforts", "quality", "settings", "tiny"]

TITLE = "LASSO path of 100 alphas"
_PATH = {"n_alphas": 100, "alpha_ratio": 0.01}
CASES = {
    "dense-1000x5000": Case(1000, 5000, 100, correlation=0.7, **_PATH),
    "dense-2000x10000": Case(2000, 10000, 200, correlation=0.7, **_PATH),
    "dense-5000x20000": Case(5000, 20000, 500, correlation=0.7, **_PATH),
    "tall-20000x500": Case(20000, 500, 100, correlation=0.7, **_PATH),
    "csc-20000x50000": Case(20000, 50000, 200, density=1e-3, **_PATH),
    "csc-50000x200000": Case(50000, 200000, 500, density=5e-4, **_PATH),
}
BIG = frozenset({"dense-2000x10000", "dense-5000x20000", "csc-50000x200000"})


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    """The alternatives that were found to matter; the fastest of them on a case is timed."""
    tall = case.n_samples > case.n_features and case.density is None
    return {
        "scikit-learn": [{"precompute": False}] + [{"precompute": True}] * tall,
        "celer": [{"prune": True}, {"prune": False}],
        "glmnet": [{"covariance": False}] + [{"covariance": True}] * tall,
        "adelie": [{"screen_rule": "pivot"}, {"screen_rule": "strong"}],
    }.get(peer, [{}])


def sparsemodels() -> Callable:
    from sparsemodels.linear_model import lasso_path

    def fit(problem, effort):
        return lasso_path(problem.X, problem.y, alphas=problem.alphas, tol=effort, fit_intercept=False).coefs

    return fit


def scikit_learn() -> Callable:
    from sklearn.linear_model import lasso_path

    def fit(problem, effort, **setting):
        options = {"tol": effort, "copy_X": False, "max_iter": 100_000, **setting}
        return lasso_path(problem.X, problem.y, alphas=problem.alphas, **options)[1]

    return fit


def celer() -> Callable:
    from celer import celer_path

    def fit(problem, effort, **setting):
        options = {"tol": effort, "max_iter": 1000, "max_epochs": 100_000, **setting}
        return celer_path(problem.X, problem.y, "lasso", alphas=problem.alphas, **options)[1]

    return fit


def skglm() -> Callable:
    from skglm import Lasso

    def fit(problem, effort):
        model = Lasso(fit_intercept=False, tol=effort * problem.alphas[-1], max_iter=1000, max_epochs=100_000)
        return model.path(problem.X, problem.y, problem.alphas)[1]

    return fit


def adelie() -> Callable:
    path = adelie_path()

    def fit(problem, effort, **setting):
        return path(problem, problem.alphas, effort, **setting).T.tocsc()

    return fit


def glmnet() -> Callable:
    path = glmnet_path()

    def fit(problem, effort, **setting):
        return path(problem, problem.alphas, effort, **setting)

    return fit


# spams is no peer here: its LARS gives one alpha, or the breakpoints between which a user has to interpolate.
PEERS = {
    "sparsemodels": sparsemodels,
    "scikit-learn": scikit_learn,
    "celer": celer,
    "skglm": skglm,
    "adelie": adelie,
    "glmnet": glmnet,
}
