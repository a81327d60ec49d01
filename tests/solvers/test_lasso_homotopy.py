"""Paths of lasso codes: piecewise linear, optimal at every breakpoint and between."""

import numpy as np
import pytest
from sklearn.linear_model import lars_path_gram

from sparsemodels.solvers.coders import LassoLARS, dictionary
from sparsemodels.solvers.lasso_homotopy import code_by_lars, lars_path
from sparsemodels.solvers.sparse_codes import to_dense


def problem(seed, n_features=15, n_atoms=30):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(n_features), rng.standard_normal((n_atoms, n_features))


def assert_solves(x, atoms, z, alpha, positive, slack=1e-10):
    products = atoms @ (x - z @ atoms)
    assert (products if positive else np.abs(products)).max() <= alpha + slack
    np.testing.assert_allclose(products[z != 0.0], alpha * np.sign(z[z != 0.0]), atol=slack)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_every_code_of_the_path_is_optimal(seed, positive):
    x, atoms = problem(seed)
    path = lars_path(x, dictionary(atoms), 0.1, positive=positive)
    assert path.alphas[-1] == 0.1
    products = atoms @ x
    assert path.alphas[0] == pytest.approx(products.max() if positive else np.abs(products).max(), rel=1e-15)
    assert not path.codes[0].any()
    assert (np.diff(path.alphas) < 0.0).all()
    for k in range(path.alphas.size):
        # An atom that has just left stands at zero, one that has just joined still does.
        assert_solves(x, atoms, np.where(np.abs(path.codes[k]) < 1e-13, 0.0, path.codes[k]), path.alphas[k], positive)
    for k in range(path.alphas.size - 1):
        middle, alpha = path.codes[k : k + 2].mean(axis=0), path.alphas[k : k + 2].mean()
        assert_solves(x, atoms, np.where(np.abs(middle) < 1e-13, 0.0, middle), alpha, positive)


def test_each_breakpoint_changes_one_atom_and_some_leave():
    drops = 0
    for seed in range(6):
        x, atoms = problem(seed)
        supports = lars_path(x, dictionary(atoms), 1e-3).codes != 0.0
        changes = np.diff(supports.astype(int), axis=0)
        # Joined at one breakpoint, nonzero at the next.
        assert (np.abs(changes).sum(axis=1) <= 2).all()
        drops += int((changes < 0).sum())
    assert drops > 0


def test_path_of_scikit_learn():
    x, atoms = problem(7, n_atoms=12)
    alphas, _, coefs = lars_path_gram(atoms @ x, atoms @ atoms.T, n_samples=1, method="lasso", alpha_min=0.01)
    path = lars_path(x, dictionary(atoms), 0.01)
    np.testing.assert_allclose(path.alphas, alphas, rtol=1e-9)
    np.testing.assert_allclose(path.codes, coefs.T, atol=1e-9)


def test_the_end_at_zero_is_least_squares():
    x, atoms = problem(8, n_atoms=10)
    path = lars_path(x, dictionary(atoms))
    assert path.alphas[-1] == 0.0
    np.testing.assert_allclose(path.codes[-1], np.linalg.lstsq(atoms.T, x, rcond=None)[0], atol=1e-12)
    x, atoms = problem(9)
    path = lars_path(x, dictionary(atoms))
    assert path.alphas[-1] == 0.0
    np.testing.assert_allclose(path.codes[-1] @ atoms, x, atol=1e-10)  # more atoms than features


def test_coder_meets_the_path():
    x, atoms = problem(10)
    path = lars_path(x, dictionary(atoms), 0.5)
    for k in (2, 5, path.alphas.size - 1):
        code = to_dense(code_by_lars(LassoLARS(float(path.alphas[k])), x[None], dictionary(atoms)).codes)[0]
        np.testing.assert_allclose(code, path.codes[k], atol=1e-10)


def test_short_paths():
    x, atoms = problem(11)
    top = np.abs(atoms @ x).max()
    above = lars_path(x, dictionary(atoms), 2.0 * top)
    assert above.alphas.size == 1
    assert not above.codes.any()
    empty = lars_path(np.zeros(15), dictionary(atoms))
    assert empty.alphas.tolist() == [0.0]
    assert not empty.codes.any()
    cut = lars_path(x, dictionary(atoms), 1e-3, max_iter=4)
    assert cut.alphas.size == 5
    assert cut.alphas[-1] > 1e-3
    assert_solves(x, atoms, cut.codes[-1], cut.alphas[-1], False)
    with pytest.raises(ValueError, match="alpha_min must be a finite number >= 0"):
        lars_path(x, dictionary(atoms), -1.0)


def test_a_duplicated_atom_stays_out():
    x, atoms = problem(12)
    once, twice = (lars_path(x, dictionary(D), 0.5) for D in (atoms, np.vstack([atoms, atoms])))
    np.testing.assert_allclose(twice.codes[-1] @ np.vstack([atoms, atoms]), once.codes[-1] @ atoms, atol=1e-10)
    assert twice.alphas[-1] == 0.5
