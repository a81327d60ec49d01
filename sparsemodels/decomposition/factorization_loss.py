"""What a factorization does differently for each family of losses: squared error, beta-divergences, robust losses."""

from typing import Any

import numpy as np

from sparsemodels.solvers.alternating_factorization import Factorization, alternate
from sparsemodels.solvers.beta_divergence import check_domain
from sparsemodels.solvers.beta_factorization import factorize_beta, improve_rows
from sparsemodels.solvers.factor_penalty import RowPenalty
from sparsemodels.solvers.fixed_component_codes import divergence_codes, least_squares_codes, robust_codes
from sparsemodels.solvers.half_quadratic_losses import LOSSES
from sparsemodels.solvers.observed_matrix import ObservedMatrix
from sparsemodels.solvers.robust_factorization import Reweighted, factorize_robust
from sparsemodels.solvers.row_update import squared_error

_BETAS = {"frobenius": 2.0, "kullback-leibler": 1.0, "itakura-saito": 0.0}


def loss_of(estimator: Any, *, fitted: bool = False) -> "SquaredError | BetaDivergence | RobustLoss":
    """The loss that an estimator's parameters name; errors name the parameters that do not go together.

    With `fitted`, a robust loss has the width and the weights that were found.
    """
    loss, solver = estimator.loss, estimator.solver
    if isinstance(loss, str) and loss not in _BETAS:
        if solver not in ("auto", "hals"):
            raise ValueError(f"solver={solver!r} does not minimise loss={loss!r}; use 'hals' or 'auto'.")
        return RobustLoss(estimator, fitted)
    beta = float(_BETAS.get(loss, loss) if isinstance(loss, str) else loss)
    if beta == 2.0 and solver in ("auto", "hals", "bpp"):
        return SquaredError("hals" if solver == "auto" else solver, estimator.extrapolate)
    if solver in ("hals", "bpp"):
        raise ValueError(f"solver={solver!r} minimises squared error only; use 'mu' or 'cd' for loss={loss!r}.")
    for name in ("graph_W", "graph_H", "simplex"):
        if getattr(estimator, name) is not None:
            raise ValueError(f"{name} needs squared error with solver 'hals' or 'bpp', got solver={solver!r}.")
    return BetaDivergence(beta, "cd" if solver == "auto" else solver, estimator.extrapolate)


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
        """Find both factors, the codes exactly for the components."""
        return alternate(
            matrix, W, Ht, penalty_W, penalty_H, solver=self.solver, extrapolate=self.extrapolate, exact_codes=True,
            **options,
        )  # fmt: skip

    def codes(self, matrix, Ht: np.ndarray, penalty_W, *, max_iter: int, n_jobs: int | None) -> np.ndarray:
        """The exact codes of rows."""
        return least_squares_codes(matrix, Ht, penalty_W, n_jobs=n_jobs)

    def attributes(self) -> dict[str, Any]:
        """Fitted attributes that only this family has."""
        return {}


class BetaDivergence:
    """A beta-divergence over the known entries."""

    name = "beta-divergence"

    def __init__(self, beta: float, solver: str, extrapolate: bool):
        self.beta, self.solver, self.extrapolate = beta, solver, extrapolate

    def check(self, matrix: ObservedMatrix) -> None:
        """Refuse zeros where the divergence of a zero is infinite."""
        check_domain(matrix, self.beta)

    def value(self, matrix: ObservedMatrix, W: np.ndarray, Ht: np.ndarray) -> float:
        """The loss of a pair of factors."""
        return improve_rows(matrix, W, Ht, self.beta, repeats=0).loss

    def solve(self, matrix, W, Ht, penalty_W, penalty_H, **options: Any) -> Factorization:
        """Find both factors."""
        return factorize_beta(
            matrix, W, Ht, self.beta, penalty_W, penalty_H, solver=self.solver, extrapolate=self.extrapolate, **options
        )

    def codes(self, matrix, Ht: np.ndarray, penalty_W, *, max_iter: int, n_jobs: int | None) -> np.ndarray:
        """The codes of rows, to precision."""
        return divergence_codes(matrix, Ht, self.beta, penalty_W, max_iter=max_iter, n_jobs=n_jobs)

    def attributes(self) -> dict[str, Any]:
        """Fitted attributes that only this family has."""
        return {}


class RobustLoss:
    """A loss that counts large residuals less, over the known entries."""

    name = "robust loss"

    def __init__(self, estimator: Any, fitted: bool):
        self.kind, self.axis, self.extrapolate = estimator.loss, estimator.robust_axis, estimator.extrapolate
        self.weights: Any = estimator.robust_weights_ if fitted else None
        self.sigma: Any = estimator.robust_scale_ if fitted else estimator.robust_scale

    def check(self, matrix: ObservedMatrix) -> None:
        """Every value >= 0 is allowed."""

    def value(self, matrix: ObservedMatrix, W: np.ndarray, Ht: np.ndarray) -> float:
        """The loss of a pair of factors, of the width that was fitted."""
        problem = Reweighted(matrix, self.axis, RowPenalty(), RowPenalty())
        return problem.value(LOSSES[self.kind](self.sigma), problem.squares(W, Ht), W, Ht)

    def solve(self, matrix, W, Ht, penalty_W, penalty_H, **options: Any) -> Factorization:
        """Find both factors and the weights; an automatic width is that of the first call from then on."""
        found = factorize_robust(
            matrix, W, Ht, self.kind, self.axis, self.sigma, penalty_W, penalty_H,
            extrapolate=self.extrapolate, **options,
        )  # fmt: skip
        self.weights, self.sigma = found.weights, found.sigma
        return found.factorization

    def codes(self, matrix, Ht: np.ndarray, penalty_W, *, max_iter: int, n_jobs: int | None) -> np.ndarray:
        """The codes of rows, to precision."""
        return robust_codes(
            matrix, Ht, self.kind, self.axis, self.sigma, self.weights, penalty_W, max_iter=max_iter, n_jobs=n_jobs
        )

    def attributes(self) -> dict[str, Any]:
        """Fitted attributes that only this family has."""
        return {"robust_weights_": self.weights, "robust_scale_": self.sigma}
