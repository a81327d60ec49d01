"""Coordinate descent: monotone, at rest exactly at KKT points, and the same by Gram matrix and by columns."""

import numpy as np
import pytest
import scipy.sparse

from sparsemodels.solvers.columns import as_columns
from sparsemodels.solvers.coordinate_descent import column_epochs, gram_epochs
from sparsemodels.solvers.penalties import L1, Box, ElasticNet, subdifferential_distance, value
from sparsemodels.solvers.unit_columns import gather_normalized, gather_sparse

N, P = 30, 9
FEATURES = np.array([8, 0, 3, 5, 1], dtype=np.int64)  # the working set, in the order in which features joined
M = FEATURES.size


class Problem:
    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.X = rng.standard_normal((N, P)) * 10.0 ** rng.uniform(-1, 1, P) * (rng.random((N, P)) < 0.5)
        self.X[:, 5] = 0.0
        self.y = rng.standard_normal(N) + 3.0
        self.weights = rng.exponential(size=N)
        self.weights /= self.weights.sum()
        self.root = np.sqrt(self.weights)
        self.target = self.root * (self.y - self.weights @ self.y)
        self.columns, self.scale = np.empty((N, M), order="F"), np.empty(M)
        gather_normalized(np.asfortranarray(self.X), FEATURES, self.root, True, self.columns, self.scale)
        penalty_weights = np.array([1.0, 1.0, 0.5, 2.0, 1.0, 1.0, 0.0, 1.0, 0.0])
        alpha = 0.2 * np.abs(self.scale * (self.columns.T @ self.target)).max()
        self.penalties = {
            "l1": L1(alpha, penalty_weights),
            "box of elastic net": Box(
                ElasticNet(alpha, 0.5, penalty_weights), np.full(P, -0.05), np.where(np.arange(P) == 0, 0.0, np.inf)
            ),
        }

    def objective(self, penalty, coef):
        residual = self.target - self.columns @ (self.scale * coef)
        return 0.5 * residual @ residual + sum(value(penalty, w, j) for w, j in zip(coef, FEATURES, strict=True))

    def by_gram(self, penalty, coef, n_epochs):
        gram = np.full((M + 3, M + 3), np.nan)
        gram[:M, :M] = self.columns.T @ self.columns
        slope = self.columns.T @ (self.target - self.columns @ (self.scale * coef))
        moved = gram_epochs(gram, self.scale, coef, slope, penalty, FEATURES, n_epochs)
        return moved, slope

    def by_columns(self, penalty, coef, n_epochs):
        residual = self.target - self.columns @ (self.scale * coef)
        column_epochs(self.columns, self.scale, coef, residual, penalty, FEATURES, np.arange(M), n_epochs)
        return residual

    def by_sparse_columns(self, penalty, coef, n_epochs):
        columns, scale = gather_sparse(as_columns(scipy.sparse.csc_array(self.X)), FEATURES, self.root, True)
        residual = self.target - self.columns @ (self.scale * coef)
        column_epochs(columns, scale, coef, residual, penalty, FEATURES, np.arange(M), n_epochs)
        return residual + columns.shift[0] * self.root


each = pytest.mark.parametrize("name", ["l1", "box of elastic net"])


@each
def test_every_epoch_descends(name):
    problem = Problem()
    penalty = problem.penalties[name]
    for advance in (problem.by_gram, problem.by_columns, problem.by_sparse_columns):
        coef = np.array([0.0, -0.02, 1.0, 0.5, 0.3]) if name == "l1" else np.array([0.0, -0.02, 1.0, 0.0, 0.3])
        values = [problem.objective(penalty, coef)]
        for _ in range(20):
            advance(penalty, coef, 1)
            values.append(problem.objective(penalty, coef))
        assert np.all(np.diff(values) <= 1e-15 * values[0])
        assert values[1] < values[0]
        assert coef[3] == 0.0  # the penalised zero column


@each
def test_gram_columns_and_sparse_columns_give_the_same_iterates(name):
    problem = Problem()
    penalty = problem.penalties[name]
    start = np.array([0.0, -0.02, 1.0, 0.0, 0.3])
    for n_epochs in (1, 2, 7):
        coefs = [start.copy() for _ in range(3)]
        _, slope = problem.by_gram(penalty, coefs[0], n_epochs)
        residual = problem.by_columns(penalty, coefs[1], n_epochs)
        sparse = problem.by_sparse_columns(penalty, coefs[2], n_epochs)
        np.testing.assert_allclose(coefs[1], coefs[0], atol=1e-13)
        np.testing.assert_allclose(coefs[2], coefs[0], atol=1e-13)
        # And what they keep current is current.
        exact = problem.target - problem.columns @ (problem.scale * coefs[0])
        np.testing.assert_allclose(residual, exact, atol=1e-13)
        np.testing.assert_allclose(sparse, exact, atol=1e-13)
        np.testing.assert_allclose(slope, problem.columns.T @ exact, atol=1e-13)


@each
def test_rests_where_the_optimality_conditions_hold(name):
    problem = Problem()
    penalty = problem.penalties[name]
    coef = np.zeros(M)
    problem.by_gram(penalty, coef, 5000)
    slope = problem.scale * (problem.columns.T @ (problem.target - problem.columns @ (problem.scale * coef)))
    distances = [subdifferential_distance(penalty, w, v, j) for w, v, j in zip(coef, slope, FEATURES, strict=True)]
    assert max(distances) <= 1e-14
    assert 0 < np.count_nonzero(coef) < M
    before = coef.copy()
    problem.by_columns(penalty, coef, 1)
    np.testing.assert_allclose(coef, before, atol=1e-13)


def test_a_pass_that_moves_nothing_is_the_last():
    problem = Problem()
    coef = np.zeros(M)
    # The level at which every penalised coefficient of the working set is zero; feature 8 has no weight, so it is at
    # its optimum first.
    penalty = L1(1e3, np.where(np.arange(P) == 8, 0.0, 1.0))
    moved, _ = problem.by_gram(penalty, coef, 1)
    assert moved == 1
    assert np.flatnonzero(coef).tolist() == [0]
    moved, _ = problem.by_gram(penalty, coef, 10**9)
    assert moved == 0


def test_only_active_columns_are_visited():
    problem = Problem()
    coef, residual = np.full(M, 0.25), problem.target.copy()
    active = np.array([4, 1])
    column_epochs(problem.columns, problem.scale, coef, residual, problem.penalties["l1"], FEATURES, active, 3)
    np.testing.assert_array_equal(coef[[0, 2, 3]], 0.25)
    assert np.all(coef[active] != 0.25)
