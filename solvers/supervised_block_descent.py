r"""Supervised dictionary learning by descent over blocks: atoms, codes and classifier in turn.

One of the two factors meets the labels: the atoms D in the filter model, the codes H in the feature model. The other
one is a least-squares problem in every row and the classifier a ridge regression; both are solved exactly. The factor F
that meets the labels takes steps of majorization: with u the curvature bound of the log loss its Hessian is at most

.. math:: M = 2 \xi D D^T + (u + \nu) \beta \beta^T \quad\text{or}\quad
    M = 2 \xi H^T S H + (u \|S^{1/2} X\|^2 + \nu) \beta \beta^T

on every row of codes, or on every column of atoms, and the minimum of that model, over free or nonnegative entries, is
a least-squares problem with one Gram matrix for all. No step size is chosen, and the objective cannot rise. Before its
step that factor is extrapolated as in FISTA, from the start anew whenever the objective would rise.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .class_labels import fit_logistic, largest_curvature, loss_at_zero, pull
from .supervised_dictionary import SupervisedProblem
from .supervised_factors import Factors, least_squares_rows

_VALUE_ONLY = 1e-10  # precision of the classifier that is enough for the value
_PATIENCE = 5  # iterations between two measurements of the certificate
_ROUNDING = 1e-13  # relative: rises of the objective by no more than this are rounding


class FactorSolution(NamedTuple):
    """Factors with their certificate.

    Attributes
    ----------
    factors : Factors
        Atoms of norm one, codes and classifier.
    objective : float
        The objective.
    objective_history : ndarray of shape (n_iter + 1,)
        The objective at the start and after every iteration; never rises.
    kkt : float
        The norm of the majorization step of the factor that meets the labels, in its metric, relative to the square
        root of twice the loss at zero; the other blocks are at their minimum.
    n_iter : int
        Iterations.
    status : str
        ``"converged"`` (`kkt` <= `tol`), ``"max_iter"``, ``"stalled"``, ``"time_limit"``, ``"stopped"`` or
        ``"interrupted"``.
    """

    factors: Factors
    objective: float
    objective_history: np.ndarray
    kkt: float
    n_iter: int
    status: str


class _Blocks:
    """The three blocks of one problem and their steps."""

    def __init__(
        self,
        problem: SupervisedProblem,
        components: np.ndarray,
        codes: np.ndarray | None,
        positive_components: bool,
        positive_codes: bool,
    ):
        self.problem, self.D = problem, components
        self.positive_components, self.positive_codes = positive_components, positive_codes
        self.energy = problem.trace / (2.0 * problem.reconstruction_weight)
        n_offsets, c, r = problem.offsets.shape[1], problem.n_columns, components.shape[0]
        self.beta, self.offset_coef = np.zeros((r, c)), np.zeros((n_offsets, c))
        if codes is None:
            products = problem.X @ components.T
            codes = least_squares_rows(components @ components.T, products, products, positive=positive_codes)
        self.H = codes
        self.weights = problem.labels.weights[:, None]
        self.classify()

    def balance(self) -> None:
        """Scale every atom to norm one, its codes and coefficients against it."""
        norms = np.linalg.norm(self.D, axis=1)
        used = norms > 0.0
        self.D[used] /= norms[used, None]
        self.H[:, used] *= norms[used]
        if self.problem.model == "filter":
            self.beta[used] *= norms[used, None]
        else:
            self.beta[used] /= norms[used, None]

    def features(self) -> tuple[np.ndarray, np.ndarray]:
        """What the classifier sees, and the metric of its ridge."""
        if self.problem.model == "filter":
            return self.problem.X @ self.D.T, self.D @ self.D.T
        return self.H, self.H.T @ (self.weights * self.H)

    def classify(self) -> None:
        """Minimise over the classifier."""
        problem, (features, metric) = self.problem, self.features()
        r, q = metric.shape[0], problem.offsets.shape[1]
        ridge = np.zeros((r + q, r + q))
        ridge[:r, :r], ridge[r:, r:] = problem.alpha * metric, problem.offset_ridge
        fit = fit_logistic(
            problem.labels,
            np.hstack([features, problem.offsets]),
            ridge,
            offset=np.zeros((features.shape[0], problem.n_columns)),
            start=np.vstack([self.beta, self.offset_coef]),
            precision=_VALUE_ONLY,
        )
        self.beta, self.offset_coef, self.logits = fit.coef[:r], fit.coef[r:], fit.logits
        self.objective = fit.value + self.problem.reconstruction_weight * self.error()

    def error(self) -> float:
        """The weighted squared error of the reconstruction."""
        X, D, H = self.problem.X, self.D, self.H
        if isinstance(X, np.ndarray):
            return float(np.sum(self.weights * (X - H @ D) ** 2))
        cross = np.sum((X @ D.T) * (self.weights * H))
        return max(float(self.energy - 2.0 * cross + np.sum((H.T @ (self.weights * H)) * (D @ D.T))), 0.0)

    def reconstruct(self) -> None:
        """Minimise over the factor that does not meet the labels."""
        if self.problem.model == "filter":
            gram, products, start = self.D @ self.D.T, self.problem.X @ self.D.T, self.H
            self.H = least_squares_rows(gram, products, start, positive=self.positive_codes)
        else:
            weighted = self.weights * self.H
            gram, products = self.H.T @ weighted, self.problem.X.T @ weighted
            self.D = np.ascontiguousarray(
                least_squares_rows(gram, products, self.D.T, positive=self.positive_components).T
            )

    def model_step(self) -> tuple[np.ndarray, float]:
        """The minimum of the majorizer of the factor that meets the labels, and its squared distance."""
        problem, beta = self.problem, self.beta
        curvature, double = largest_curvature(problem.labels), 2.0 * problem.reconstruction_weight
        weights: Any = 1.0
        if problem.model == "filter":
            weighted = self.weights * self.H
            gram = double * (self.H.T @ weighted)
            metric = gram + problem.lipschitz * (beta @ beta.T)
            residual = problem.alpha * (self.D.T @ beta) - problem.X.T @ pull(problem.labels, self.logits)
            slope = self.D.T @ gram - double * (problem.X.T @ weighted) + residual @ beta.T
            old, positive = self.D.T, self.positive_components
        else:
            gram = double * (self.D @ self.D.T)
            metric = gram + (curvature + problem.alpha) * (beta @ beta.T)
            residual = problem.alpha * (self.H @ beta) - pull(problem.labels, self.logits) / self.weights
            slope = self.H @ gram - double * (problem.X @ self.D.T) + residual @ beta.T
            old, positive, weights = self.H, self.positive_codes, self.weights
        if positive:
            new = least_squares_rows(metric, old @ metric - slope, old, positive=True)
        else:
            new = old - least_squares_rows(metric, slope, old, positive=False)
        move = new - old
        return new, float(np.sum(weights * (move @ metric) * move))

    def labelled(self) -> np.ndarray:
        """The factor that meets the labels, as rows of `n_components` numbers."""
        return self.D.T.copy() if self.problem.model == "filter" else self.H.copy()

    def feasible(self, rows: np.ndarray) -> np.ndarray:
        """Rows with negative entries cut off where they must not be."""
        positive = self.positive_components if self.problem.model == "filter" else self.positive_codes
        return np.maximum(rows, 0.0) if positive else rows

    def move(self, new: np.ndarray) -> None:
        """Take the step and follow it with the logits."""
        offsets = self.problem.offsets @ self.offset_coef
        if self.problem.model == "filter":
            self.D = np.ascontiguousarray(new.T)
            self.logits = self.problem.X @ (self.D.T @ self.beta) + offsets
        else:
            self.H = new
            self.logits = new @ self.beta + offsets

    def state(self) -> tuple:
        return self.D.copy(), self.H.copy(), self.beta, self.offset_coef, self.logits, self.objective

    def restore(self, state: tuple) -> None:
        self.D, self.H, self.beta, self.offset_coef, self.logits, self.objective = state


def block_descent(
    problem: SupervisedProblem,
    components: np.ndarray,
    *,
    codes: np.ndarray | None = None,
    positive_components: bool = False,
    positive_codes: bool = False,
    tol: float = 1e-4,
    max_iter: int = 1000,
    deadline: float = np.inf,
    on_iteration: Callable[[int, float], bool] | None = None,
) -> FactorSolution:
    """Minimise the objective over the factors, block by block.

    Parameters
    ----------
    problem : SupervisedProblem
        The problem.
    components : ndarray of shape (n_components, n_features)
        The atoms to start from; >= 0 where they must be. Changed.
    codes : ndarray of shape (n_samples, n_components), optional
        The codes to start from; >= 0 where they must be. By default those of least squares.
    positive_components, positive_codes : bool, default=False
        Whether atoms, or codes, must be >= 0.
    tol : float, default=1e-4
        Stop once the certificate `kkt` is at most this.
    max_iter : int, default=1000
        The most iterations.
    deadline : float, default=inf
        The value of ``time.monotonic()`` from which on no iteration begins.
    on_iteration : callable, optional
        Called with the number of iterations and the objective; a true return value stops.

    Returns
    -------
    FactorSolution
        The factors with their certificate.
    """
    blocks = _Blocks(problem, components, codes, positive_components, positive_codes)
    scale = 2.0 * loss_at_zero(problem.labels)
    history, n_iter, status, kkt = [blocks.objective], 0, "max_iter", np.inf
    state = blocks.state()
    previous, age, wait = blocks.labelled(), 1.0, 0
    try:
        while True:
            if wait == 0:
                squared = blocks.model_step()[1]
                kkt = float(np.sqrt(squared / scale))
                if kkt <= tol:
                    status = "converged"
                    break
                wait = _PATIENCE
            if n_iter == max_iter:
                break
            if time.monotonic() > deadline:
                status = "time_limit"
                break
            next_age = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * age * age))
            push, current = (age - 1.0) / next_age, blocks.labelled()
            if push > 0.0:
                blocks.move(blocks.feasible(current + push * (current - previous)))
            blocks.move(blocks.model_step()[0])
            blocks.reconstruct()
            blocks.classify()
            if blocks.objective > history[-1] and push > 0.0:
                blocks.restore(state)
                previous, age = blocks.labelled(), 1.0  # the same iteration again, without the push
                continue
            n_iter += 1
            wait -= 1
            if blocks.objective > history[-1] * (1.0 + _ROUNDING):
                blocks.restore(state)
                status = "stalled"
                break
            blocks.objective = min(blocks.objective, history[-1])
            history.append(blocks.objective)
            previous, age, state = current, next_age, blocks.state()
            if on_iteration is not None and on_iteration(n_iter, blocks.objective):
                status = "stopped"
                break
    except KeyboardInterrupt:
        status = "interrupted"
        blocks.restore(state)
    if status != "converged":
        kkt = float(np.sqrt(blocks.model_step()[1] / scale))
        if kkt <= tol and status in ("max_iter", "stalled"):
            status = "converged"
    blocks.balance()
    factors = Factors(blocks.D, blocks.H, blocks.beta, blocks.offset_coef)
    return FactorSolution(factors, blocks.objective, np.array(history), kkt, n_iter, status)
