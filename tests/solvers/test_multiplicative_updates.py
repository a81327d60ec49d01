"""Multiplicative updates: scikit-learn's iterates, monotone with every penalty, stationary points kept."""

import numpy as np
import pytest
from sklearn.decomposition import non_negative_factorization

from sparsemodels.solvers.beta_factorization import factorize_beta, improve_rows
from sparsemodels.solvers.factor_penalty import RowPenalty, penalty_value
from sparsemodels.solvers.multiplicative_updates import lift_zeros, monotone_exponent
from sparsemodels.solvers.observed_matrix import observe, transposed

BETAS = [-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0]


def draw(m=14, n=11, r=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.poisson(4.0 * rng.random((m, r)) @ rng.random((r, n))) + 0.1
    return X, rng.random((m, r)) + 0.1, rng.random((n, r)) + 0.1


@pytest.mark.filterwarnings("ignore:Maximum number of iterations")
@pytest.mark.parametrize("beta", [0.0, 1.0, 1.5, 2.0, 3.0])
def test_steps_of_scikit_learn(beta):
    """From the same start the same iterates; it updates W first, here H comes first: the transposed problem."""
    X, W, Ht = draw()
    their_W, their_H, _ = non_negative_factorization(
        X, W.copy(), Ht.T.copy(), n_components=3, init="custom", solver="mu", beta_loss=beta, max_iter=9, tol=0.0
    )
    ours = factorize_beta(transposed(observe(X)), Ht, W, beta, solver="mu", extrapolate=False, max_iter=9, tol=0.0)
    np.testing.assert_allclose(ours.Ht, their_W, rtol=1e-10)
    np.testing.assert_allclose(ours.W.T, their_H, rtol=1e-10)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize(
    "penalty", [RowPenalty(), RowPenalty(l1=0.5), RowPenalty(l2=30.0), RowPenalty(l1=0.1, l2=0.1, upper_bound=0.7)]
)
def test_monotone(beta, penalty):
    """No single update raises the objective, not even with a ridge that dominates it."""
    X, F, K = draw(seed=1)
    F = np.minimum(F * 10.0 ** np.random.default_rng(0).uniform(-2, 1, F.shape), penalty.upper_bound)
    matrix = observe(X)
    values = [improve_rows(matrix, F, K, beta, penalty, repeats=0).loss + penalty_value(penalty, F)]
    for _ in range(30):
        loss = improve_rows(matrix, F, K, beta, penalty, solver="mu").loss
        values.append(loss + penalty_value(penalty, F))
    assert (np.diff(values) <= 1e-12 * np.abs(values[:-1])).all()
    assert values[-1] < values[0]


def test_repeats_are_updates():
    X, F, K = draw()
    once, twice = F.copy(), F.copy()
    for _ in range(4):
        improve_rows(observe(X), once, K, 1.0, solver="mu")
    improve_rows(observe(X), twice, K, 1.0, solver="mu", repeats=4)
    np.testing.assert_allclose(once, twice, rtol=1e-13)


def test_exponents():
    """Those of Fevotte and Idier without ridge."""
    for beta in BETAS:
        expected = 1.0 / (2.0 - beta) if beta < 1.0 else 1.0 / (beta - 1.0) if beta > 2.0 else 1.0
        assert monotone_exponent(beta) == pytest.approx(expected)
    assert monotone_exponent(2.0, 1.0) == 1.0
    assert monotone_exponent(0.0, 1.0) == pytest.approx(1.0 / 3.0)


def test_zeros_are_lifted():
    F = np.array([[0.0, 2.0], [4.0, 0.0]])
    np.testing.assert_array_equal(lift_zeros(F.copy()), [[1.5e-3, 2.0], [4.0, 1.5e-3]])
    np.testing.assert_array_equal(lift_zeros(np.zeros((2, 2))), np.ones((2, 2)))
