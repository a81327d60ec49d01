"""Newton steps where the penalty makes the Hessian indefinite, and the smallest curvature at a point."""

import numpy as np
import pytest
import scipy.sparse

from sparsemodels.solvers.columns import as_columns
from sparsemodels.solvers.composite import Composite
from sparsemodels.solvers.local_convexity import smallest_curvature
from sparsemodels.solvers.losses import Squared
from sparsemodels.solvers.newton import FULL, newton_descent, newton_step
from sparsemodels.solvers.penalties import L0, L1, MCP, SCAD, Box, smooth_piece, subdifferential_distance, value

M = 10
PENALTIES = {
    "mcp": lambda alpha, steep: MCP(alpha, 1.0 / steep, np.ones(M)),
    "scad": lambda alpha, steep: SCAD(alpha, 1.0 + max(1.0 / steep, 1.01), np.ones(M)),
    "positive mcp": lambda alpha, steep: Box(MCP(alpha, 1.0 / steep, np.ones(M)), np.zeros(M), np.full(M, np.inf)),
    "l0": lambda alpha, steep: L0(alpha, 0.1, np.ones(M)),
}
each = pytest.mark.parametrize("make", PENALTIES.values(), ids=PENALTIES)


class Model:
    """A least-squares problem as the Gram matrix of unit columns, their norms and slopes."""

    def __init__(self, seed, dtype=np.float64, n=30):
        rng = np.random.default_rng(seed)
        self.X = rng.standard_normal((n, M)) / np.sqrt(n) + 0.7 * rng.standard_normal((n, 1)) / np.sqrt(n)
        self.y = self.X @ rng.standard_normal(M) + 0.3 * rng.standard_normal(n)
        self.scale = np.linalg.norm(self.X, axis=0)
        unit = self.X / self.scale
        self.gram = np.ascontiguousarray((unit.T @ unit).astype(dtype))
        self.coef = rng.standard_normal(M) * (rng.random(M) < 0.7)
        self.slope = self.exact_slope()

    def exact_slope(self):
        return self.X.T @ (self.y - self.X @ self.coef) / self.scale

    def objective(self, penalty):
        return 0.5 * np.sum((self.y - self.X @ self.coef) ** 2) + sum(
            value(penalty, w, j) for j, w in enumerate(self.coef)
        )

    def hessian(self, penalty):
        """On the coordinates that can move, in units of the coefficients."""
        pieces = [smooth_piece(penalty, w, j) for j, w in enumerate(self.coef)]
        free = [j for j in range(M) if pieces[j][0] < self.coef[j] < pieces[j][1]]
        return self.X[:, free].T @ self.X[:, free] + np.diag([pieces[j][3] for j in free]), free


@each
@pytest.mark.parametrize("step", [newton_step, newton_descent])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_never_uphill_even_where_the_hessian_is_indefinite(make, step, dtype):
    indefinite = 0
    for seed in range(40):
        model = Model(seed, dtype)
        penalty = make(0.3, 0.9)
        if isinstance(penalty, Box):
            model.coef = np.abs(model.coef)
            model.slope = model.exact_slope()
        before, start = model.objective(penalty), model.coef.copy()
        hessian, free = model.hessian(penalty)
        smallest = np.linalg.eigvalsh(hessian)[0] if free else 1.0
        outcome = step(model.gram, model.scale, model.coef, model.slope, penalty, np.arange(M))
        rounding = 1e-13 if dtype == np.float64 else 1e-5
        assert model.objective(penalty) <= before + rounding * (1.0 + abs(before))
        np.testing.assert_allclose(model.slope, model.exact_slope(), atol=10 * rounding)
        assert not np.any(model.coef[start == 0.0])
        if smallest < -1e-3:
            indefinite += 1
            # There is a way down that no Newton equation knows: it is taken, to the edge of a piece.
            assert outcome
            assert model.objective(penalty) < before
            if step is newton_step:
                assert outcome != FULL
    assert indefinite > 10 or isinstance(make(0.3, 0.9), L0)


@each
def test_descent_ends_at_a_stationary_point_of_the_support_or_at_an_edge(make):
    """Called again and again it ends where no direction on the support descends."""
    for seed in range(20):
        model = Model(seed)
        penalty = make(0.2, 0.5)
        if isinstance(penalty, Box):
            model.coef = np.abs(model.coef)
            model.slope = model.exact_slope()
        for _ in range(50):
            if not newton_descent(model.gram, model.scale, model.coef, model.slope, penalty, np.arange(M)):
                break
        slope = model.exact_slope() * model.scale
        hessian, free = model.hessian(penalty)
        for j in free:
            assert subdifferential_distance(penalty, model.coef[j], slope[j], j) <= 1e-9
        if free:
            assert np.linalg.eigvalsh(hessian)[0] >= -1e-9


def test_an_edge_between_pieces_holds_nobody():
    """A coefficient exactly where MCP becomes flat leaves to either side, whichever descends."""
    penalty = MCP(0.5, 2.0, np.ones(1))
    for target in (0.7, 0.9, 1.0, 1.1, 3.0):  # the least-squares value; the edge is at one
        coef, gram, scale = np.array([1.0]), np.ones((1, 1)), np.ones(1)
        slope = target - coef
        for _ in range(3):
            newton_descent(gram, scale, coef, slope, penalty, np.arange(1))
        expected = target if target >= 1.0 else (target - 0.5) / (1.0 - 0.5)
        assert coef[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_smallest_curvature_is_that_of_the_hessian(sparse, fit_intercept):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, M)) * (rng.random((40, M)) < 0.6) + (0.0 if sparse else 1.0)
    s = rng.uniform(0.5, 1.5, 40)
    s /= s.sum()
    weights = np.ones(M)
    weights[4] = 0.0  # may move, though its coefficient is zero
    coef = np.array([0.5, -0.4, 9.0, 0.0, 0.0, 1.2, 0.0, -7.0, 0.0, 0.3])
    for penalty in (MCP(0.5, 2.5, weights), SCAD(0.25, 3.7, weights), L1(0.5, weights)):
        free = np.flatnonzero((coef != 0.0) | (weights == 0.0))
        centred = X - (s @ X if fit_intercept else 0.0)
        hessian = centred[:, free].T @ (s[:, None] * centred[:, free])
        norms = np.sqrt(np.diag(hessian))
        hessian += np.diag([smooth_piece(penalty, coef[j], j)[3] for j in free])
        expected = np.linalg.eigvalsh(hessian / np.outer(norms, norms))[0]
        design = as_columns(scipy.sparse.csc_array(X)) if sparse else X
        found = smallest_curvature(design, s, penalty, coef, fit_intercept=fit_intercept)
        assert found == pytest.approx(expected, abs=1e-12)
    nothing = MCP(0.5, 2.5, np.ones(M))
    assert smallest_curvature(X, s, nothing, np.zeros(M), fit_intercept=fit_intercept) == np.inf
    double = np.column_stack([X[:, 0], -2.0 * X[:, 0]])
    dependent = smallest_curvature(double, s, L1(0.5, np.ones(2)), np.ones(2), fit_intercept=fit_intercept)
    assert dependent == 0.0  # flat, up to rounding, is no minimum


@pytest.mark.parametrize("penalty", [MCP(0.1, 3.0, np.ones(60)), SCAD(0.1, 3.7, np.ones(60))], ids=["mcp", "scad"])
def test_locally_convex_points_are_polished_to_rounding(penalty):
    """The tolerance is loose; where Newton's equations have a minimum, the residual is rounding all the same."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((200, 60))
    y = X[:, :5] @ [1.0, -2.0, 3.0, 0.5, 0.4] + 0.3 * rng.standard_normal(200)
    s = np.full(200, 1 / 200)
    for design in (X, as_columns(scipy.sparse.csc_array(X))):
        solution = Composite(design, Squared(y, s), fit_intercept=True).solve(penalty, tol=1e-3)
        assert smallest_curvature(X, s, penalty, solution.coef, fit_intercept=True) > 0.0
        assert solution.kkt <= 1e-10
