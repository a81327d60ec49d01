"""The search for good subsets of given sizes: forward, swaps, and excursions to larger and smaller ones."""

import time
from typing import Any

import numpy as np

from .curved_exchange import CurvedSearch
from .losses.functions import is_quadratic
from .subset_exchange import SquaredSearch


class SubsetSearch:
    """The best subset found so far for each of several sizes.

    The answer for a size alone is the same search as among others: each size starts from its part of one forward
    selection. Neighbouring sizes then only add further starts, so that more sizes never give a worse answer.

    Parameters
    ----------
    X : ndarray or SparseColumns of shape (n_rows, n_columns)
        The design.
    loss : NamedTuple
        The loss' record.
    sizes : sequence of int
        The sizes, increasing.
    fit_intercept : bool
        Whether an intercept is fitted.
    ridge : float
        The ridge, >= 0.
    max_swaps : int
        The largest number of swaps of one descent.
    deadline : float
        The time of :func:`time.monotonic` after which to stop.

    Attributes
    ----------
    state : SquaredSearch or CurvedSearch
        The present subset.
    found : dict of int to (float, ndarray)
        Objective and subset by size.
    settled : dict of int to bool
        Whether the descents of a size ended where no swap gains.
    """

    def __init__(
        self, X: Any, loss: Any, sizes: Any, fit_intercept: bool, ridge: float, max_swaps: int, deadline: float
    ):
        self.sizes, self.max_swaps, self.deadline = [int(size) for size in sizes], max_swaps, deadline
        self.quadratic = is_quadratic(loss)
        largest = self.sizes[-1]
        kind: Any = SquaredSearch if self.quadratic else CurvedSearch
        self.state = kind(X, loss, fit_intercept, ridge, largest + self._reach(largest))
        self.null_objective = self.state.null_objective
        self.found: dict[int, tuple[float, np.ndarray]] = {}
        self.settled: dict[int, bool] = {}

    def _reach(self, size: int) -> int:
        """How many columns an excursion adds or removes at most; refits of a curved loss are dear."""
        return max(size // 2, 2) if self.quadratic else min(max(size // 2, 2), 4)

    def run(self) -> None:
        """Search for all sizes."""
        state = self.state
        chain = self._chain()
        for size in self.sizes:
            state.reset(chain[:size])
            self._descend(size)
            self._excursions(size)
            if self._late():
                break
        self._neighbours()

    def _late(self) -> bool:
        return time.monotonic() > self.deadline

    def _chain(self) -> np.ndarray:
        """One forward selection up to the largest size; at the deadline, up to where it came."""
        state, largest = self.state, self.sizes[-1]
        while state.size < largest:
            before = state.size
            state.forward(before + 1)
            if state.size == before:
                break
            if self._late():
                break
        chain = state.features.copy()
        for size in self.sizes:  # whatever happens now, there is an answer for every size
            self.found[size], self.settled[size] = (np.inf, chain[:size]), False
        return chain

    def _descend(self, size: int) -> bool:
        """Swap until none gains; whether this is the best subset of its size so far."""
        settled = self.state.exchange(self.max_swaps, self.deadline)
        if self.state.objective < self.found[size][0] - 2.0 * self.state.negligible:
            self.found[size] = self.state.objective, self.state.features.copy()
            self.settled[size] = settled
            return True
        return False

    def _excursions(self, size: int) -> None:
        """Leave the local minimum by ever more columns at once, and come back by another way."""
        state, length = self.state, 2
        saved = state.save()  # the best of this size, as a descent has just left it
        while length <= self._reach(size):
            better = False
            for way in ("larger", "smaller"):
                if self._late():
                    return
                if way == "larger":
                    state.forward(size + length)
                    state.backward(size)
                else:
                    state.backward(max(size - length, 0))
                    state.forward(size)
                if self._descend(size):
                    better, saved = True, state.save()
                else:
                    state.restore(saved)
            length = 2 if better else 2 * length

    def _neighbours(self) -> None:
        """Start each size from its neighbours' subsets, up and down, until nothing gets better."""
        state = self.state
        changed = set(self.sizes)
        while changed and not self._late():
            started, changed = changed, set()
            pairs = list(zip(self.sizes[:-1], self.sizes[1:], strict=True))
            for source, size in pairs + [(b, a) for a, b in reversed(pairs)]:
                if source not in started | changed or self._late():
                    continue
                state.reset(self.found[source][1])
                state.forward(size)
                state.backward(size)
                if self._descend(size):
                    changed.add(size)
