"""Lower bounds for best subsets: which of the provers applies, and what it costs only once for several sizes."""

from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from .cardinality_relaxation import FREE, OUT, fix
from .columns import shape
from .composite import Composite
from .gram_row_cache import GramRowCache
from .losses.functions import fenchel_young
from .penalties import L1
from .perspective_bound import DataRelaxation, perspective_bound
from .subset_branch_and_bound import GramRelaxation, branch_and_bound
from .subset_exchange import SquaredSearch

#: The most columns of a Gram matrix for branch and bound.
MOST_COLUMNS = 1000
#: What a node on the data counts in nodes on a Gram matrix.
DATA_NODE = 10
#: Relative to the loss without features: what of a bound may be rounding.
ROUNDING = 1e-12
_CHUNK = 64


class Verdict(NamedTuple):
    """What is proven about a subset.

    Attributes
    ----------
    features : ndarray of int64
        The subset, or a better one that the proof met.
    lower_bound : float
        A lower bound of the objective of all subsets of the size.
    n_nodes : int
        The nodes of the branch and bound.
    status : {"optimal", "max_nodes", "time_limit", "unproven"}
        "unproven" where there was nothing to branch on.
    """

    features: np.ndarray
    lower_bound: float
    n_nodes: int
    status: str


class SubsetCertificate:
    """The proofs for one problem.

    - A squared loss of up to ``MOST_COLUMNS`` columns: branch and bound on the whole Gram matrix, with the ridge and
      the smallest eigenvalue as what the perspective relaxation lives on.
    - A curved loss of so many, with a ridge: branch and bound with the relaxation on the data themselves, with a
      ``DATA_NODE``-th of the nodes, which take longer.
    - More columns, with a ridge: the relaxation on the data. For a squared loss it may decide so many of them that
      branch and bound can take the rest.
    - Else the objective with all columns, where they are fewer than the rows, or zero.

    Parameters
    ----------
    X : ndarray or SparseColumns of shape (n_rows, n_columns)
        The design.
    loss : NamedTuple
        The loss' record.
    fit_intercept : bool
        Whether an intercept is fitted.
    ridge : float
        The ridge, >= 0.
    state : SquaredSearch or CurvedSearch
        The search, for what it already computed.
    """

    def __init__(self, X: Any, loss: Any, fit_intercept: bool, ridge: float, state: Any):
        self.X, self.loss, self.fit_intercept, self.ridge, self.state = X, loss, fit_intercept, ridge, state
        self.null_objective = state.null_objective
        self.rounding = ROUNDING * self.null_objective
        self.quadratic = isinstance(state, SquaredSearch)
        self._problem: Composite | None = None
        self._gram: tuple[np.ndarray, np.ndarray] | None = None
        self._columns = np.empty(0, dtype=np.int64)  # that it belongs to
        self._unrestricted: float | None = None

    def prove(self, size: int, features: np.ndarray, tol: float, max_nodes: int, deadline: float) -> Verdict:
        """Bound all subsets of a size from below, given a good one; `tol` is absolute."""
        self.state.reset(features)
        objective = self.state.solution()[2]
        if size == 0:
            return Verdict(features, objective, 0, "optimal")
        lower = max(self.unrestricted() - self.rounding, 0.0)
        if objective - lower <= tol:
            return Verdict(features, min(lower, objective), 0, "optimal")
        verdict = Verdict(features, lower, 0, "unproven")
        if self.quadratic:
            usable = np.flatnonzero(np.isfinite(self.state.floors))
            if usable.size <= MOST_COLUMNS:
                verdict = self._branch(size, features, usable, tol, max_nodes, deadline)
                return verdict._replace(lower_bound=max(verdict.lower_bound, lower))
        if self.ridge > 0.0:
            verdict = self._relax(size, features, objective, tol, max_nodes, deadline)
        return verdict._replace(lower_bound=max(verdict.lower_bound, lower))

    def unrestricted(self) -> float:
        """A lower bound of the objective with all columns."""
        if self._unrestricted is None:
            self._unrestricted = self._all_columns()
        return self._unrestricted

    def _all_columns(self) -> float:
        n_rows, n_columns = shape(self.X)
        if n_columns > MOST_COLUMNS or (self.ridge == 0.0 and n_columns >= n_rows):
            return 0.0
        if self.quadratic:
            usable = np.flatnonzero(np.isfinite(self.state.floors))
            if usable.size == 0:
                return self.null_objective
            gram, correlation = self._full_gram(usable)
            try:
                factor = scipy.linalg.cho_factor(gram + self.ridge * np.eye(usable.size), lower=True)
            except scipy.linalg.LinAlgError:
                return 0.0
            diagonal = np.diag(factor[0]) / np.sqrt(np.diag(gram) + self.ridge)
            if diagonal.min() < 1e-5:  # too close to dependent for the solve to prove anything
                return 0.0
            return self.null_objective - 0.5 * float(correlation @ scipy.linalg.cho_solve(factor, correlation))
        if self.ridge > 0.0 or type(self.loss) not in fenchel_young.registry:
            return 0.0  # the relaxation proves more
        solution = self.problem.solve(L1(0.0, np.zeros(n_columns)), tol=1e-9, max_iter=100)
        return solution.objective - solution.dual_gap

    @property
    def problem(self) -> Composite:
        """The composite problem of the relaxation on the data."""
        if self._problem is None:
            self._problem = Composite(self.X, self.loss, fit_intercept=self.fit_intercept)
        return self._problem

    def _full_gram(self, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self._gram is None or not np.array_equal(self._columns, usable):
            # Rows of a cache of their own, so that its products are taken in large blocks and nothing is kept.
            gram = np.empty((usable.size, usable.size))
            for start in range(0, usable.size, _CHUNK):
                part = usable[start : start + _CHUNK]
                rows = GramRowCache(self.X, self.loss.weights, self.state.mean).rows(part)
                gram[start : start + _CHUNK] = rows[:, usable]
            self._gram, self._columns = (0.5 * (gram + gram.T), self.state.correlation[usable]), usable
        return self._gram

    def _branch(self, size, features, usable, tol, max_nodes, deadline) -> Verdict:
        """Branch and bound on the Gram matrix of some columns, which hold the subset."""
        gram, correlation = self._full_gram(usable)
        proof = branch_and_bound(
            GramRelaxation(gram, correlation, self.ridge, size),
            size,
            features=np.searchsorted(usable, np.sort(features)),
            tol=max(tol, 2.0 * self.rounding),
            max_nodes=max_nodes,
            deadline=deadline,
        )
        if not np.isfinite(proof.lower_bound):
            return Verdict(features, 0.0, 0, "unproven")
        lower = self.null_objective + proof.lower_bound - self.rounding
        return Verdict(usable[proof.features], lower, proof.n_nodes, proof.status)

    def _relax(self, size, features, objective, tol, max_nodes, deadline) -> Verdict:
        """The relaxation on the data, and what it allows."""
        coef = np.zeros(self.problem.n_features)
        coef[features] = self.state.solution()[0]
        if not self.quadratic and self.problem.n_features <= MOST_COLUMNS:
            relaxation = DataRelaxation(self.problem, self.ridge, self.state, deadline)
            proof = branch_and_bound(
                relaxation, size, features=features, tol=tol, coef=coef, deadline=deadline,
                max_nodes=max(max_nodes // DATA_NODE, 1),
            )  # fmt: skip
            return Verdict(proof.features, proof.lower_bound - self.rounding, proof.n_nodes, proof.status)
        self.problem.restart(coef)
        bound = perspective_bound(self.problem, self.ridge, size, cutoff=objective - tol, tol=tol, deadline=deadline)
        lower = bound.lower_bound - self.rounding
        verdict = Verdict(features, lower, 1, "optimal" if objective - lower <= tol else "unproven")
        if verdict.status == "optimal" or not self.quadratic:
            return verdict
        status = np.where(np.isfinite(self.state.floors), FREE, OUT).astype(np.int8)
        columns = np.flatnonzero(status == FREE)
        ridges, work = np.full(status.size, self.ridge), np.empty(status.size)
        fix(bound.lower_bound, ridges, status, columns, min(size, columns.size), bound.slope, objective, work)
        remaining = np.flatnonzero(status != OUT)
        if remaining.size > MOST_COLUMNS or not np.isin(features, remaining).all():
            return verdict
        # Subsets with a column that was decided otherwise are no better than the present one.
        verdict = self._branch(size, features, remaining, tol, max_nodes, deadline)
        return verdict._replace(lower_bound=max(lower, min(verdict.lower_bound, objective)))
