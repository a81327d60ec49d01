"""What paths, cross-validation and estimators ask of a problem that has a solver of its own."""

from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from .composite import Solution


class PathProblem:
    """Base of the problems that stand where a :class:`~sparsemodels.solvers.composite.Composite` could stand.

    A subclass holds the current point and solves from there; it has the attributes `X`, `loss`, `fit_intercept`,
    `n_samples`, `n_features`, `features`, `coef`, `slope` and `null_objective` with the meanings they have there.
    """

    stale = False  # slopes are never left to others: see Composite.passes

    def restart(self, coef: np.ndarray | None = None) -> None:
        """Move the current point, to zero by default."""
        raise NotImplementedError

    def refresh_all(self) -> None:
        """Bring the slopes of all features up to date."""
        raise NotImplementedError

    def solve(
        self,
        penalty: Any,
        *,
        tol: float = 1e-6,
        max_iter: int = 1000,
        deadline: float = np.inf,
        candidates: np.ndarray | None = None,
        on_pass: Callable[[int, float], Any] | None = None,
    ) -> Solution:
        """Solve for one penalty from the current point."""
        raise NotImplementedError

    def passes(self, penalty: Any, **options: Any) -> Generator[None, None, Solution]:
        """A coroutine that never pauses: :meth:`solve`.

        Parameters
        ----------
        penalty : NamedTuple
            The penalty's record.
        **options
            The other parameters of :meth:`solve`.

        Returns
        -------
        Solution
            The solution.

        Yields
        ------
        None
            Never.
        """
        yield from ()
        return self.solve(penalty, **options)

    def refine_alpha_max(self, penalty: Any, largest: float) -> float:
        """The smallest level with an empty model, from one with an empty model that the slopes tell; the same here."""
        return largest
