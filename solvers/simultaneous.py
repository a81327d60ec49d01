"""Many composite problems over one design, solved side by side: their gradients come from one matrix product."""

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np

from .column_moments import column_moments
from .columns import SparseColumns, shape
from .composite import Composite
from .gram_rows import products
from .row_products import row_products

#: How many problems are under way at once. A product with more columns is no faster, and memory grows with it.
WIDTH = 64


class Design:
    """A design that many problems share, and what they need to know of its columns.

    Parameters
    ----------
    X : ndarray or SparseColumns of shape (n_samples, n_features)
        The design, as :func:`~sparsemodels.solvers.columns.as_columns` returns it; read in place.
    fit_intercept : bool
        Whether the problems have intercepts.

    Attributes
    ----------
    norms : ndarray of shape (n_features,)
        The norms of the columns (about their means, with intercepts), rounded up.
    """

    def __init__(self, X: Any, *, fit_intercept: bool):
        self.X, self.fit_intercept = X, fit_intercept
        self.n_samples, self.n_features = shape(X)
        ones = np.ones(self.n_samples)
        _, squares, _ = column_moments(X, ones, ones, centred=fit_intercept)
        self.norms = np.sqrt(squares) * (1.0 + 1e-9)

    def products(self, block: np.ndarray, out: np.ndarray) -> None:
        """The inner products of several vectors with all columns; each number the same bits in any company.

        Parameters
        ----------
        block : ndarray of shape (n_block, n_samples), float64, C order
            The vectors, one a row.
        out : ndarray of shape (n_block, n_features), float64
            Where to write.
        """
        X = self.X
        by_rows = not isinstance(X, SparseColumns) and abs(X.strides[0]) > abs(X.strides[1])
        (row_products if by_rows else products)(X, block, out)

    def problem(self, loss: Any, coef: np.ndarray | None = None) -> "Companion":
        """A problem over the design.

        Parameters
        ----------
        loss : NamedTuple
            The loss' record.
        coef : ndarray of shape (n_features,), optional
            Where to start; zero by default.

        Returns
        -------
        Companion
            The problem, for :func:`run_together`.
        """
        return Companion(self, loss, coef)


class Companion(Composite):
    """A composite problem that leaves its slopes to a product with those of other problems.

    Few of them, where only few may matter, it computes itself. Which way is taken depends on the problem alone, and
    either way gives the same bits in any company: so does the solution.

    Parameters
    ----------
    design : Design
        The design.
    loss : NamedTuple
        The loss' record.
    coef : ndarray of shape (n_features,), optional
        Where to start; zero by default.
    """

    _worthwhile = 0.15  # a slope of its own costs that much more than one out of a product

    def __init__(self, design: Design, loss: Any, coef: np.ndarray | None = None):
        super().__init__(design.X, loss, fit_intercept=design.fit_intercept, coef=coef)
        self._norms = design.norms

    def refresh_all(self) -> None:
        """Ask for the slopes of all features."""
        self.stale = True

    def receive(self, slope: np.ndarray) -> None:
        """Take the slopes of all features.

        Parameters
        ----------
        slope : ndarray of shape (n_features,)
            The inner products of the columns with `theta`; copied.
        """
        self.slope[:] = slope
        self.largest_slope = max(self.largest_slope, float(np.abs(slope).max(initial=0.0)))
        self._computed_at[:] = self._travelled
        self.stale = False


def run_together(
    design: Design, starts: Sequence[Callable[[], tuple[Companion, Generator[None, None, Any]]]], *, width: int = WIDTH
) -> list[Any]:
    r"""Run coroutines of many problems over one design in rounds: one product for all stale slopes, then one pass each.

    The gradients of P problems are :math:`X^\top [\theta_1 \dots \theta_P]`: the design is read once for all of them,
    and every number read meets many others. A problem that is solved leaves at once and the next one takes its place,
    so that the product stays as wide as there are problems.

    Parameters
    ----------
    design : Design
        The design.
    starts : sequence of callables
        Each makes a problem and its coroutine, when there is room for it; the coroutine returns a
        :class:`~sparsemodels.solvers.composite.Solution` or a :class:`~sparsemodels.solvers.path.Path`.
    width : int, default=64
        The largest number of problems under way.

    Returns
    -------
    list
        What the coroutines returned, in their order. After an interruption, each that was under way ends with its
        best point and the status "interrupted", and for those not begun there is None.
    """
    waiting = enumerate(starts)
    results: list[Any] = [None] * len(starts)
    pool: list[tuple[int, Companion, Generator]] = []
    width = min(width, len(starts))
    thetas, slopes = np.empty((width, design.n_samples)), np.empty((width, design.n_features))
    interrupted = False
    while True:
        try:
            while not interrupted and len(pool) < width and (following := next(waiting, None)) is not None:
                pool.append((following[0], *following[1]()))
            stale = [problem for _, problem, _ in pool if problem.stale]
            for row, problem in zip(thetas, stale):
                row[:] = problem.theta
            if stale:
                design.products(thetas[: len(stale)], slopes[: len(stale)])
            for row, problem in zip(slopes, stale):
                problem.receive(row)
        except KeyboardInterrupt:
            interrupted = True
        remaining = []
        for index, problem, passes in pool:
            try:
                passes.throw(KeyboardInterrupt) if interrupted else next(passes)
                remaining.append((index, problem, passes))
            except StopIteration as end:
                results[index] = end.value
                # The one that was at work has caught it; the others are to know.
                interrupted |= end.value.status == "interrupted"
            except KeyboardInterrupt:  # before the first certificate: there is nothing to keep
                interrupted = True
        pool = remaining
        if not pool and (interrupted or not any(result is None for result in results)):
            return results
