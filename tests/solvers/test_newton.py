"""Newton steps against closed forms on the support; what they may never do, on random problems."""

import numpy as np
import pytest

from sparsemodels.solvers.newton import CUT, FULL, STILL, newton_descent, newton_step
from sparsemodels.solvers.penalties import L1, MCP, Box, ElasticNet, value


class Model:
    """A least-squares problem in the form that the solver sees: a Gram matrix of unit columns, their norms, slopes."""

    def __init__(self, X, y, coef, dtype=np.float64):
        self.X, self.y, self.coef = X, y, coef.copy()
        self.scale = np.linalg.norm(X, axis=0)
        self.unit = X / np.where(self.scale > 0.0, self.scale, 1.0)
        m = X.shape[1]
        self.gram = np.full((m + 2, m + 2), np.nan, dtype=dtype)  # room for columns to come must not be read
        self.gram[:m, :m] = self.unit.T @ self.unit
        self.slope = self.exact_slope()

    def exact_slope(self):
        return self.unit.T @ (self.y - self.X @ self.coef)

    def objective(self, penalty):
        residual = self.y - self.X @ self.coef
        return 0.5 * residual @ residual + sum(value(penalty, w, j) for j, w in enumerate(self.coef))

    def apply(self, step, penalty):
        return step(self.gram, self.scale, self.coef, self.slope, penalty, np.arange(self.coef.size))


def draw(seed, n=20, m=8):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, m)) * 10.0 ** rng.uniform(-2, 2, m)
    return rng, X, rng.standard_normal(n)


@pytest.mark.parametrize(("dtype", "precision"), [(np.float64, 1e-11), (np.float32, 1e-4)])
@pytest.mark.parametrize("l1_ratio", [None, 0.6, 0.0])
def test_one_step_is_the_closed_form_on_the_support(l1_ratio, dtype, precision):
    rng, X, _ = draw(0)
    weights = rng.uniform(0.5, 2.0, 8)
    weights[7] = 0.0
    alpha, ratio = 0.1, 1.0 if l1_ratio is None else l1_ratio
    penalty = L1(alpha, weights) if l1_ratio is None else ElasticNet(alpha, l1_ratio, weights)
    target = rng.choice([-1.0, 1.0], 8) * rng.uniform(0.5, 1.5, 8) / np.linalg.norm(X, axis=0)
    target[[2, 5]] = 0.0
    if ratio == 0.0:
        target[[2, 5]] = 0.1  # a ridge has no kink at zero
    support = np.flatnonzero(target)
    # The target of the equations X_S'(y - X_S w) = alpha s (ratio sign(w) + (1 - ratio) w).
    right = alpha * weights * (ratio * np.sign(target) + (1.0 - ratio) * target)
    A = X[:, support]
    y = A @ target[support] + A @ np.linalg.solve(A.T @ A, right[support])
    model = Model(X, y, target * rng.uniform(0.3, 3.0, 8), dtype)
    assert model.apply(newton_step, penalty) == FULL
    unit = model.scale
    np.testing.assert_allclose(model.coef * unit, target * unit, atol=precision * np.abs(target * unit).max())
    np.testing.assert_array_equal(model.coef == 0.0, target == 0.0)
    # A second one, from slopes computed anew, refines the first: single precision costs no accuracy.
    model.slope = model.exact_slope()
    model.apply(newton_step, penalty)
    np.testing.assert_allclose(
        model.coef * unit, target * unit, atol=precision**2 + 1e-13 * np.abs(target * unit).max()
    )


def penalties(rng, m):
    weights = rng.choice([0.0, 0.5, 1.0, 3.0], m)
    alpha = 10.0 ** rng.uniform(-3, 1)
    lower, upper = -rng.choice([0.0, 0.1, 0.7, np.inf], m), rng.choice([0.0, 0.1, 0.3, np.inf], m)
    plain = (L1(alpha, weights), ElasticNet(alpha, rng.choice([0.0, 0.5, 1.0]), weights))
    return (*plain, *(Box(penalty, lower, upper) for penalty in plain))


@pytest.mark.parametrize("step", [newton_step, newton_descent])
@pytest.mark.parametrize("kind", ["independent", "more columns than rows", "duplicates", "zero column"])
@pytest.mark.parametrize("which", range(4))
def test_never_increases_the_objective_nor_leaves_the_domain(which, kind, step):
    moved = 0
    for seed in range(30):
        rng, X, y = draw(seed, n=6 if kind == "more columns than rows" else 20)
        if kind == "duplicates":
            X[:, 3], X[:, 6] = -2.0 * X[:, 1], X[:, 0] + X[:, 1]
        elif kind == "zero column":
            X[:, rng.integers(8)] = 0.0
        penalty = penalties(rng, 8)[which]
        start = rng.standard_normal(8) * (rng.random(8) < 0.7)
        if isinstance(penalty, Box):
            start = np.clip(start, penalty.lower, penalty.upper)
        model = Model(X, y, start)
        before = model.objective(penalty)
        outcome = model.apply(step, penalty)
        after = model.objective(penalty)  # inf outside of the box, be it by one unit in the last place
        assert after <= before + 1e-13 * (1.0 + abs(before))
        # The slopes followed.
        size = np.abs(model.exact_slope()).max() + np.abs(model.unit.T @ y).max() + 1.0
        np.testing.assert_allclose(model.slope, model.exact_slope(), atol=1e-10 * size)
        # Zeros stay: a step never enters new coordinates, but where there is no kink at zero.
        kinks = np.array([value(penalty, 1e-9, j) > 1e-15 and value(penalty, -1e-9, j) > 1e-15 for j in range(8)])
        assert not np.any(model.coef[(start == 0.0) & kinks])
        if outcome in (STILL, False):
            np.testing.assert_array_equal(model.coef, start)
        else:
            moved += 1
            if step is newton_step and outcome == CUT and kind == "independent":
                stops = [model.coef == 0.0]
                if isinstance(penalty, Box):
                    # Exactly on the bound, whatever the units of the column.
                    stops += [model.coef == penalty.lower, model.coef == penalty.upper]
                assert np.any(np.any(stops, axis=0) & (model.coef != start))
    assert moved > 10


def test_zero_column_does_not_shift_the_pieces_of_the_others():
    # The zero column comes first and is unpenalised, so its piece is the whole line.
    _, X, y = draw(1, m=3)
    X[:, 0] = 0.0
    penalty = L1(0.2, np.array([0.0, 1.0, 2.0]))
    y = X @ np.array([0.0, 3.0, -2.0]) / np.array([1.0, *np.linalg.norm(X[:, 1:], axis=0)]).max() + 0.0 * y
    signs = np.array([1.0, -1.0])
    A = X[:, 1:]
    closed = np.linalg.solve(A.T @ A, A.T @ y - 0.2 * np.array([1.0, 2.0]) * signs)
    assert np.all(closed * signs > 0.0)
    model = Model(X, y, np.array([5.0, 0.5 * closed[0], 2.0 * closed[1]]))
    assert model.apply(newton_step, penalty) == FULL
    np.testing.assert_allclose(model.coef, [5.0, *closed], rtol=1e-10)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_dependent_columns_leave_the_support(dtype):
    for seed in range(20):
        rng, X, y = draw(seed)
        X[:, 4] = -3.0 * X[:, 1]
        X[:, 7] = X[:, 2] + X[:, 5]
        weights = rng.uniform(0.5, 2.0, 8) * np.linalg.norm(X, axis=0)
        penalty = L1(0.05 * np.abs(X.T @ y / weights).max(), weights)
        model = Model(X, y, rng.standard_normal(8) / np.linalg.norm(X, axis=0), dtype)
        before = model.objective(penalty)
        assert model.apply(newton_descent, penalty)
        support = np.flatnonzero(model.coef)
        assert np.linalg.matrix_rank(model.unit[:, support]) == support.size
        assert model.objective(penalty) < before


@pytest.mark.parametrize("angle", [1e-2, 1e-3, 1e-4])
def test_dependence_is_seen_through_columns_that_are_nearly_parallel(angle):
    """One column more than dimensions; its expansion in the others is long, and so far reach the roundings."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((5, 6))
        X[:, 1] = X[:, 0] + angle * rng.standard_normal(5)
        start, y = rng.standard_normal(6), rng.standard_normal(5)
        model = Model(X, y, start)
        assert model.apply(newton_step, MCP(0.0, 3.0, np.ones(6))) == FULL
        assert model.coef[5] == start[5]  # any solution will do: it is that of the others, this one stays
        length = np.abs(model.coef) @ model.scale
        assert np.abs(model.exact_slope()[:5]).max() <= 1e-13 * (1.0 + length)


def test_along_a_level_direction_the_dependent_coefficient_shrinks():
    """Where a column and its expansion cost the same, rounding does not choose: the order of samples is no matter."""
    for seed in range(10):
        rng, X, y = draw(seed, m=4)
        X = np.column_stack([X, X @ [0.5, 0.25, 0.125, 0.125]])
        start, penalty, outcomes = rng.uniform(1.0, 2.0, 5), L1(1e-3, np.array([2.0, 1.0, 1.0, 1.0, 1.5])), []
        for order in (np.arange(20), rng.permutation(20)):
            model = Model(X[order], y[order], start)
            for _ in range(3):
                model.apply(newton_descent, penalty)
            outcomes.append(model.coef)
        np.testing.assert_allclose(outcomes[0], outcomes[1], atol=1e-9 * np.abs(outcomes[0]).max())
        assert np.count_nonzero(outcomes[0]) <= 4


def test_descent_ends_at_the_minimum_over_its_support():
    for seed in range(20):
        rng, X, y = draw(seed)
        weights = np.linalg.norm(X, axis=0)
        penalty = L1(0.2 * np.abs(X.T @ y / weights).max(), weights)
        model = Model(X, y, rng.standard_normal(8) / weights)
        model.apply(newton_descent, penalty)
        support = model.coef != 0.0
        slope = model.exact_slope() * model.scale
        expected = penalty.alpha * weights * np.sign(model.coef)
        np.testing.assert_allclose(slope[support], expected[support], rtol=1e-9)


def test_nothing_to_move():
    _, X, y = draw(2)
    model = Model(X, y, np.zeros(8))
    assert model.apply(newton_step, L1(0.1, np.ones(8))) == STILL
    assert model.apply(newton_descent, L1(0.1, np.ones(8))) is False
    assert not model.coef.any()


def test_a_cut_step_lands_exactly_on_the_bound():
    # Bounds are in units of the coefficients, steps in units of unit columns: the round trip must not show.
    rng = np.random.default_rng(3)
    for _ in range(200):
        bound, x = rng.uniform(0.01, 1.0), rng.uniform(0.1, 10.0)
        penalty = Box(L1(0.0, np.ones(1)), np.array([-bound]), np.array([bound]))
        for sign in (1.0, -1.0):
            model = Model(np.array([[x]]), np.array([sign * 2.0 * x * bound]), np.array([0.5 * sign * bound]))
            assert model.apply(newton_step, penalty) == CUT
            assert model.coef[0] == sign * bound
