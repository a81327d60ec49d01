"""L1 and elastic-net logistic regression at a single alpha, without intercept, to a relative duality gap."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import planted_regression
from lasso import half_decades, remembered
from scipy import sparse

__all__ = ["BIG", "CASES", "PEERS", "TARGET", "TIGHT", "build", "efforts", "quality", "settings", "tiny"]

TITLE = "Logistic regression, one alpha"
TARGET, TIGHT = 1e-6, 1e-12


class Case(NamedTuple):
    """What a problem is made of; ``per_row`` makes it CSC with columns as frequent as words of a language."""

    n_samples: int
    n_features: int
    n_nonzero: int
    l1_ratio: float = 1.0
    per_row: int | None = None
    alpha_ratio: float = 0.05  # alpha / alpha_max
    seed: int = 0


class Problem(NamedTuple):
    """min over w of mean log(1 + exp(-y Xw)) + alpha (l1_ratio |w|_1 + (1 - l1_ratio) ||w||^2 / 2)."""

    X: Any  # float64, F-ordered ndarray or CSC with 32-bit indices
    y: np.ndarray  # -1 and 1
    alpha: float
    l1_ratio: float


CASES = {
    "dense-1000x5000": Case(1000, 5000, 100),
    "dense-1000x5000-elastic-net": Case(1000, 5000, 100, l1_ratio=0.5),
    "dense-1000x5000-end": Case(1000, 5000, 100, alpha_ratio=0.01),
    "words-20000x40000": Case(20000, 40000, 300, per_row=75, alpha_ratio=0.02),
    "words-20000x40000-elastic-net": Case(20000, 40000, 300, l1_ratio=0.5, per_row=75, alpha_ratio=0.02),
    "words-20000x40000-end": Case(20000, 40000, 300, per_row=75, alpha_ratio=0.005),
}
BIG: frozenset[str] = frozenset()


def build(case: Case) -> Problem:
    """The problem of a case: the same arrays for the same case in every process."""
    rng = np.random.default_rng(case.seed)
    if case.per_row is None:
        X = planted_regression._dense(planted_regression.Case(*case[:3], correlation=0.7), rng)
        support = rng.choice(case.n_features, case.n_nonzero, replace=False)
    else:
        X = _words(case, rng)
        support = rng.choice(min(10 * case.n_nonzero, case.n_features), case.n_nonzero, replace=False)  # not too rare
    signal = X[:, support] @ rng.standard_normal(case.n_nonzero)
    signal += 0.5 * signal.std() * rng.standard_normal(case.n_samples)
    y = np.where(signal > np.median(signal), 1.0, -1.0)
    alpha_max = np.max(np.abs(X.T @ y)) / (2 * case.n_samples * case.l1_ratio)
    return Problem(X, y, float(case.alpha_ratio * alpha_max), case.l1_ratio)


def tiny(case: Case) -> Case:
    """A case of the same dtype and layout that is solved at once: to compile on, and for ``--quick``."""
    per_row = None if case.per_row is None else 10
    return case._replace(n_samples=80, n_features=120, n_nonzero=10, per_row=per_row, alpha_ratio=0.1)


def _words(case: Case, rng: np.random.Generator) -> sparse.csc_matrix:
    """Weighted word counts of documents, each of norm one; the frequencies of words follow Zipf's law."""
    assert case.per_row is not None
    frequency = 1.0 / (np.arange(case.n_features) + 20.0)
    words = rng.choice(case.n_features, case.n_samples * case.per_row, p=frequency / frequency.sum())
    documents = np.repeat(np.arange(case.n_samples, dtype=np.int32), case.per_row)
    counts = sparse.csr_matrix((np.ones(words.size), (documents, words)), (case.n_samples, case.n_features))
    rarity = np.log(case.n_samples / (1.0 + np.bincount(counts.indices, minlength=case.n_features))) + 1.0
    X = counts @ sparse.diags(rarity)
    norms = np.sqrt(np.asarray(X.multiply(X).sum(axis=1)).ravel())
    return sparse.csc_matrix(sparse.diags(1.0 / norms) @ X)


def quality(problem: Problem, coef: Any) -> float:
    """(primal - dual) / (objective at zero), recomputed in NumPy from the coefficients alone."""
    X, y, alpha, l1_ratio = problem
    coef = np.asarray(coef, dtype=np.float64).ravel()
    margin = y * (X @ coef)
    threshold, ridge = alpha * l1_ratio, alpha * (1.0 - l1_ratio)
    primal = np.mean(np.logaddexp(0.0, -margin)) + threshold * np.abs(coef).sum() + 0.5 * ridge * (coef @ coef)
    # The dual point theta = c y q / n with q = 1 / (1 + exp(margin)): its loss is the entropy of c q.
    share = 1.0 / (1.0 + np.exp(margin))
    slope = np.abs(X.T @ (y * share)) / len(y)
    duals = []
    for c in {min(1.0, threshold / slope.max()) if slope.max() > 0.0 else 1.0} | ({1.0} if ridge > 0.0 else set()):
        q = np.clip(c * share, 1e-300, None)
        excess = np.maximum(c * slope - threshold, 0.0) if ridge > 0.0 else np.zeros(1)
        conjugate = 0.5 * (excess @ excess) / ridge if ridge > 0.0 else 0.0
        duals.append(-np.mean(q * np.log(q) + (1.0 - q) * np.log1p(-q)) - conjugate)
    return float((primal - max(duals)) / np.log(2.0))


def efforts(peer: str, case: Case, target: float) -> tuple[float, ...]:
    """Tolerances in the peer's own meaning, from loose to strict, from where the target comes into reach."""
    tight = target < TARGET
    if peer in ("skglm", "scikit-learn"):  # an optimality residual, here relative to alpha; a relative change
        return (1e-9, 1e-10, 1e-11, 1e-12) if tight else half_decades(1e-1, 1e-9)
    if peer == "adelie":  # a squared change, relative to the objective at zero
        return (1e-20, 1e-22, 1e-24) if tight else half_decades(1e-7, 1e-18)
    # A duality gap, relative to the objective at zero.
    return tuple(target * share for share in (1.0, 0.5, 0.2, 0.1, 0.03, 0.01))


def settings(peer: str, case: Case) -> list[dict[str, Any]]:
    """The alternatives that were found to matter; the fastest of them on a case is timed."""
    return {
        "celer": [{"p0": 10}, {"p0": 100}, {"p0": 500}],
        "skglm": [{"p0": 10}, {"p0": 100}, {"p0": 500}],
        "adelie": [{"steps": steps, "screen_rule": rule} for steps in (1, 10) for rule in ("pivot", "strong")],
        "scikit-learn": [{"solver": "liblinear"}] * (case.l1_ratio == 1.0) + [{"solver": "saga"}],
    }.get(peer, [{}])


def sparsemodels() -> Callable:
    from sparsemodels.linear_model import SparseLogisticRegression

    def fit(problem, effort):
        model = SparseLogisticRegression(
            alpha=problem.alpha, l1_ratio=problem.l1_ratio, fit_intercept=False, tol=effort
        )
        return model.fit(problem.X, problem.y).coef_

    return fit


def scikit_learn() -> Callable:
    from sklearn.linear_model import LogisticRegression

    def fit(problem, effort, solver):
        model = LogisticRegression(
            C=1.0 / (len(problem.y) * problem.alpha),
            l1_ratio=problem.l1_ratio,
            solver=solver,
            fit_intercept=False,
            tol=effort,
            max_iter=100_000,
            random_state=0,
        )
        return model.fit(problem.X, problem.y).coef_

    return fit


def celer() -> Callable:
    from celer import LogisticRegression

    def fit(problem, effort, **setting):
        if problem.l1_ratio != 1.0:
            raise ValueError("celer's logistic regression has no elastic net")
        penalty = 1.0 / (len(problem.y) * problem.alpha)
        model = LogisticRegression(C=penalty, tol=effort, max_iter=1000, max_epochs=100_000, **setting)
        return model.fit(problem.X, problem.y).coef_

    return fit


def skglm() -> Callable:
    from skglm import GeneralizedLinearEstimator
    from skglm.datafits import Logistic
    from skglm.penalties import L1, L1_plus_L2
    from skglm.solvers import ProxNewton

    def fit(problem, effort, **setting):
        ridge = problem.l1_ratio != 1.0
        penalty = L1_plus_L2(problem.alpha, problem.l1_ratio) if ridge else L1(problem.alpha)
        tol = effort * problem.alpha * problem.l1_ratio
        solver = ProxNewton(tol=tol, max_iter=1000, fit_intercept=False, **setting)
        return GeneralizedLinearEstimator(Logistic(), penalty, solver).fit(problem.X, problem.y).coef_

    return fit


def adelie() -> Callable:
    import adelie

    @remembered
    def native(problem: Problem) -> tuple[Any, Any, float]:
        kind = adelie.matrix.sparse if sparse.issparse(problem.X) else adelie.matrix.dense
        largest = np.max(np.abs(problem.X.T @ problem.y)) / (2 * len(problem.y) * problem.l1_ratio)
        loss = adelie.glm.binomial((problem.y + 1.0) / 2.0)
        return kind(problem.X, method="naive", n_threads=1), loss, float(largest)

    def fit(problem, effort, steps=1, screen_rule="pivot"):
        X, loss, largest = native(problem)
        state = adelie.grpnet(
            X,
            loss,
            alpha=problem.l1_ratio,
            lmda_path=np.array([problem.alpha]) if steps == 1 else np.geomspace(largest, problem.alpha, steps),
            intercept=False,
            early_exit=False,
            tol=effort,
            irls_tol=effort,
            max_iters=10_000_000,
            irls_max_iters=100_000,
            n_threads=1,
            progress_bar=False,
            screen_rule=screen_rule,
        )
        if len(state.lmdas) != steps:
            raise RuntimeError(f"stopped after {len(state.lmdas)} of {steps} alphas")
        return state.betas[-1].toarray()

    return fit


PEERS = {
    "sparsemodels": sparsemodels,
    "scikit-learn": scikit_learn,
    "celer": celer,
    "skglm": skglm,
    "adelie": adelie,
}
