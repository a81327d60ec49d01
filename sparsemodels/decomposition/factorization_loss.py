"""What a factorization does differently for each family of losses: squared error, beta-divergences, robust losses."""

from typing import Any

import numpy as np

from sparsemodels.solvers.alternating_factorization import Factorization, alternate, certify, improve
from sparsemodels.solvers.observed_matrix import ObservedMatrix, shape, values
from sparsemodels.solvers.row_update import squared_error

_BETAS = {"frobenius": 2.0, "kullback-leibler": 1.0, "itakura-saito": 0.0}


def loss_of(estimator: Any) -> "SquaredError | BetaDivergence | RobustLoss":
    """The loss that an estimator's parameters name; errors name the parameters that do not go together."""
    loss, solver = estimator.loss, estimator.solver
    if isinstance(loss, str) and loss not in _BETAS:
        if solver not in ("auto", "hals"):
            raise ValueError(f"solver={solver!r} does not minimise loss={loss!r}; use 'hals' or 'auto'.")
        return RobustLoss(loss, estimator.robust_axis, estimator.extrapolate)
    beta = float(_BETAS.get(loss, loss) if isinstance(loss, str) else loss)
    if beta == 2.0 and solver in ("auto", "hals", "bpp"):
        return SquaredError("hals" if solver == "auto" else solver, estimator.extrapolate)
    if solver in ("hals", "bpp"):
        raise ValueError(f"solver={solver!r} minimises squared error only; use 'mu' or 'cd' for loss={loss!r}.")
    for name in ("graph_W", "graph_H", "simplex"):
        if getattr(estimator, name) is not None:
            raise ValueError(f"{name} needs squared error with solver 'hals' or 'bpp', got solver={solver!r}.")
    return BetaDivergence(beta, "cd" if solver == "auto" else solver)


class SquaredError:
    """Half the squared error over the known entries."""

    name = "squared error"

    def __init__(self, solver: str, extrapolate: bool):
        self.solver, self.extrapolate = solver, extrapolate

    def check(self, matrix: ObservedMatrix) -> None:
        """Every value >= 0 is allowed."""

    def value(self, matrix: ObservedMatrix, W: np.ndarray, Ht: np.ndarray) -> float:
        """The loss of a pair of factors."""
        return 0.5 * squared_error(matrix, W, Ht)

    def solve(self, matrix, W, Ht, penalty_W, penalty_H, **options: Any) -> Factorization:
        """Find both factors."""
        return alternate(
            matrix, W, Ht, penalty_W, penalty_H, solver=self.solver, extrapolate=self.extrapolate, **options
        )

    def finish(self, matrix, solution: Factorization, penalty_W, penalty_H, *, n_jobs: int | None) -> Factorization:
        """Solve the codes exactly for the found components."""
        W = solution.W.copy()
        improve(penalty_W, matrix, W, solution.Ht, max_sweeps=1, exact=True, n_jobs=n_jobs)
        objective, kkt = certify(matrix, W, solution.Ht, penalty_W, penalty_H, n_jobs=n_jobs)
        return solution._replace(W=W, objective=objective, kkt=kkt)

    def codes(self, matrix, Ht: np.ndarray, penalty_W, *, tol: float, max_iter: int, n_jobs: int | None) -> np.ndarray:
        """The exact codes of new rows."""
        W = np.zeros((shape(matrix)[0], Ht.shape[1]), dtype=values(matrix).dtype)
        improve(penalty_W, matrix, W, Ht, max_sweeps=1, exact=True, n_jobs=n_jobs)
        return W


class BetaDivergence:
    """A beta-divergence over the known entries."""

    name = "beta-divergence"

    def __init__(self, beta: float, solver: str):
        self.beta, self.solver = beta, solver

    def check(self, matrix: ObservedMatrix) -> None:
        """Refuse zeros where the divergence of a zero is infinite."""
        from sparsemodels.solvers.observed_matrix import SparseMatrix

        if self.beta <= 0.0 and (isinstance(matrix, SparseMatrix) or not _positive(matrix)):
            raise ValueError(
                f"The beta-divergence with beta={self.beta:g} is infinite at zeros, and X contains zeros; "
                "use beta > 0 or mark them as missing."
            )


class RobustLoss:
    """A loss that counts large residuals less, over the known entries."""

    name = "robust loss"

    def __init__(self, kind: str, axis: str, extrapolate: bool):
        self.kind, self.axis, self.extrapolate = kind, axis, extrapolate


def _positive(matrix: ObservedMatrix) -> bool:
    return bool(values(matrix).min() > 0.0)
