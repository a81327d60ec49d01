"""Group LASSO with groups of ten features at a single alpha and along a path, to a relative duality gap."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from lasso import half_decades, remembered
from planted_regression import Case as DesignCase
from planted_regression import build as build_design
from scipy import sparse

TITLE = "Group LASSO, groups of ten"
TARGET, TIGHT = 1e-6, 1e-12
GROUP = 10


class Case(NamedTuple):
    """The design of a LASSO benchmark whose features come in groups; every ``n_active`` groups carry the signal."""

    n_samples: int
    n_features: int
    n_active: int
    correlation: float = 0.7
    alpha_ratio: float = 0.05
    n_alphas: int = 1
    seed: int = 0


class Problem(NamedTuple):
    """min over w of ||y - X w||^2 / (2 n_samples) + alpha sum_g sqrt(10) ||w_g||, for every alpha."""

    X: np.ndarray  # float64, F-ordered
    y: np.ndarray
    alphas: np.ndarray  # decreasing

    @property
    def alpha(self) -> float:
        """The only alpha of a problem that is no path."""
        (alpha,) = self.alphas
        return float(alpha)

    @property
    def weight(self) -> float:
        """The weight of every group."""
        return float(np.sqrt(GROUP))


CASES = {
    "dense-1000x5000": Case(1000, 5000, 10),
    "dense-1000x5000-end": Case(1000, 5000, 10, alpha_ratio=0.01),
    "dense-1000x5000-path": Case(1000, 5000, 10, alpha_ratio=0.01, n_alphas=100),
    "dense-2000x20000": Case(2000, 20000, 20),
    "tall-20000x500": Case(20000, 500, 10, alpha_ratio=0.01),
}
BIG: frozenset[str] = frozenset()


def build(case: Case) -> Problem:
    """The problem of a case: the same arrays for the same case in every process."""
    rng = np.random.default_rng(case.seed + 1)
    X = build_design(DesignCase(case.n_samples, case.n_features, 1, correlation=case.correlation, seed=case.seed)).X
    active = rng.choice(case.n_features // GROUP, case.n_active, replace=False)
    support = np.sort((GROUP * active[:, None] + np.arange(GROUP)).ravel())
    signal = X[:, support] @ rng.standard_normal(support.size)
    noise = rng.standard_normal(case.n_samples)
    y = signal + 0.5 * noise * np.linalg.norm(signal) / np.linalg.norm(noise)
    largest = np.linalg.norm((X.T @ y).reshape(-1, GROUP), axis=1).max() / (case.n_samples * np.sqrt(GROUP))
    alphas = largest * np.geomspace(1.0, case.alpha_ratio, case.n_alphas + (case.n_alphas == 1))
    return Problem(X, y, alphas[-1:] if case.n_alphas == 1 else alphas)


def tiny(case: Case) -> Case:
    """A case of the same dtype and layout that is solved at once."""
    n_features = 60 if case.n_samples > case.n_features else 120
    return case._replace(
        n_samples=80, n_features=n_features, n_active=2, alpha_ratio=0.1, n_alphas=min(case.n_alphas, 5)
    )


def quality(problem: Problem, coefs: Any) -> float:
    """Largest (primal - dual) / (objective at zero) over the alphas, recomputed from the coefficients alone."""
    X, y, alphas = problem
    coefs = coefs.toarray() if sparse.issparse(coefs) else np.asarray(coefs)
    coefs, gaps = coefs.reshape(X.shape[1], -1), []
    if coefs.shape[1] != len(alphas):
        raise ValueError(f"coefs has {coefs.shape[1]} columns, it must have one for each of {len(alphas)} alphas.")
    for k, alpha in enumerate(alphas):
        support = np.flatnonzero(coefs[:, k])
        residual = y - X[:, support] @ coefs[support, k]
        penalty = len(y) * alpha * problem.weight
        score = np.linalg.norm((X.T @ residual).reshape(-1, GROUP), axis=1).max()
        squared = residual @ residual
        largest = penalty / score if score > 0.0 else np.inf
        dual_point = np.clip(residual @ y / squared, -largest, largest) * residual if squared > 0.0 else residual
        primal = 0.5 * squared + penalty * np.linalg.norm(coefs[:, k].reshape(-1, GROUP), axis=1).sum()
        gaps.append((primal - y @ dual_point + 0.5 * dual_point @ dual_point) / (0.5 * y @ y))
    return float(np.max(gaps))  # a NaN stays one


def efforts(peer: str, case: Case, target: float) -> tuple[float, ...]:
    """Tolerances in the peer's own meaning, from loose to strict."""
    tight = target < TARGET
    if peer == "skglm":  # an optimality residual, here relative to the smallest alpha
        return (1e-9, 1e-10, 1e-11, 1e-12, 1e-13) if tight else half_decades(1e-2, 1e-8)
    if peer == "adelie":  # a squared change, relative to the objective at zero
        return (1e-22, 1e-24, 1e-26) if tight else half_decades(1e-9, 1e-18)
    if peer == "group-lasso":  # a relative change of the coefficients
        return (1e-12, 1e-14) if tight else half_decades(1e-3, 1e-9)
    return tuple(target * share for share in (1.0, 0.5, 0.2, 0.1, 0.03, 0.01))  # a duality gap


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    """The alternatives that were found to matter; the fastest of them on a case is timed."""
    steps = (1, 10) if case.n_alphas == 1 else (1,)
    return {
        "celer": [{"p0": 10}, {"p0": 100}, {"p0": 10, "prune": False}],
        "skglm": [{"p0": 10}, {"p0": 100}],
        "adelie": [{"steps": count, "screen_rule": rule} for count in steps for rule in ("pivot", "strong")],
    }.get(peer, [{}])


def sparsemodels() -> Callable:
    from sparsemodels.linear_model import GroupLasso, group_lasso_path

    def fit(problem, effort):
        options = {"groups": GROUP, "fit_intercept": False, "tol": effort}
        if len(problem.alphas) > 1:
            return group_lasso_path(problem.X, problem.y, alphas=problem.alphas, **options).coefs
        return GroupLasso(alpha=problem.alpha, **options).fit(problem.X, problem.y).coef_

    return fit


def adelie() -> Callable:
    import adelie

    @remembered
    def native(problem: Problem) -> tuple[Any, Any]:
        return adelie.matrix.dense(problem.X, method="naive", n_threads=1), adelie.glm.gaussian(problem.y)

    def fit(problem, effort, steps=1, screen_rule="pivot"):
        X, loss = native(problem)
        n_features = problem.X.shape[1]
        alphas = problem.alphas
        if steps > 1:
            scores = np.linalg.norm((problem.X.T @ problem.y).reshape(-1, GROUP), axis=1)
            alphas = np.geomspace(scores.max() / (len(problem.y) * problem.weight), problem.alpha, steps)
        state = adelie.grpnet(
            X,
            loss,
            groups=np.arange(0, n_features, GROUP),
            alpha=1.0,
            penalty=np.full(n_features // GROUP, problem.weight),
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
        return state.betas.toarray()[-len(problem.alphas) :].T

    return fit


def one_by_one(solve: Callable) -> Callable:
    """A fit of every alpha in turn, each from the solution before, by ``solve(problem, alpha, effort, start, ...)``."""

    def fit(problem, effort, **setting):
        coefs, start = np.zeros((problem.X.shape[1], len(problem.alphas))), None
        for k, alpha in enumerate(problem.alphas):
            coefs[:, k] = start = solve(problem, alpha, effort, start, **setting)
        return coefs

    return fit


def celer() -> Callable:
    from celer import GroupLasso

    def solve(problem, alpha, effort, start, **setting):
        weights = np.full(problem.X.shape[1] // GROUP, problem.weight)
        options = {"tol": effort, "max_iter": 1000, "max_epochs": 100_000, "fit_intercept": False, **setting}
        model = GroupLasso(groups=GROUP, alpha=alpha, weights=weights, warm_start=True, **options)
        if start is not None:
            model.coef_ = start.copy()
        return model.fit(problem.X, problem.y).coef_

    return one_by_one(solve)


def skglm() -> Callable:
    from skglm import GroupLasso

    def solve(problem, alpha, effort, start, **setting):
        weights = np.full(problem.X.shape[1] // GROUP, problem.weight)
        options = {"tol": effort * problem.alphas[-1], "max_iter": 1000, "max_epochs": 100_000, **setting}
        model = GroupLasso(
            groups=GROUP, alpha=alpha, weights=weights, fit_intercept=False, warm_start=True, ws_strategy="subdiff",
            **options,
        )  # fmt: skip
        if start is not None:
            model.coef_, model.intercept_ = start.copy(), 0.0
        return model.fit(problem.X, problem.y).coef_

    return one_by_one(solve)


def group_lasso() -> Callable:
    from group_lasso import GroupLasso

    def solve(problem, alpha, effort, start):
        groups = np.arange(problem.X.shape[1]) // GROUP
        model = GroupLasso(  # its group_reg counts twice against the loss / (2 n)
            groups=groups, group_reg=alpha / 2, l1_reg=0.0, fit_intercept=False, scale_reg="group_size", tol=effort,
            n_iter=100_000, warm_start=True, supress_warning=True, random_state=0,
        )  # fmt: skip
        if start is not None:
            model.coef_, model.intercept_ = start[:, None].copy(), np.zeros(1)
        return model.fit(problem.X, problem.y[:, None]).coef_.ravel()

    return one_by_one(solve)


PEERS = {
    "sparsemodels": sparsemodels,
    "celer": celer,
    "skglm": skglm,
    "adelie": adelie,
    "group-lasso": group_lasso,
}
