"""The oracle: minimise the regularised loss over one coefficient by a grid, its kinks, and a polish."""

from decimal import Decimal, getcontext

import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import minimize_scalar

from sparsemodels.solvers.columns import as_columns
from sparsemodels.solvers.greedy_rules import RULES
from sparsemodels.solvers.greedy_scores import one_coordinate_gains

N_ROWS = 7
LOSSES = {
    "squared": lambda r, s: s @ r**2,
    "sqrt": lambda r, s: np.sqrt(s @ r**2),
    "absolute": lambda r, s: s @ np.abs(r),
}
PENALTIES = {"l0": lambda u, level: level * (u != 0.0), "l1": lambda u, level: level * np.abs(u)}


def gain_by_brute_force(loss, penalty, column, residual, value, level, weights):
    removed = residual + value * column

    def objective(u):
        return LOSSES[loss](removed - u * column, weights) + PENALTIES[penalty](u, level)

    nonzero = column != 0.0
    kinks = removed[nonzero] / column[nonzero]
    reach = np.abs(kinks).max() + abs(value) + 1.0
    grid = np.linspace(-reach, reach, 401)
    best = grid[np.argmin([objective(u) for u in grid])]
    width = grid[1] - grid[0]
    polished = minimize_scalar(
        objective, bounds=(best - width, best + width), method="bounded", options={"xatol": 1e-12}
    ).x
    candidates = np.concatenate([kinks, [0.0, value, polished]])
    return objective(value) - min(objective(u) for u in candidates)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("orthogonal", [False, True])
@pytest.mark.parametrize("at_zero", [False, True])
@pytest.mark.parametrize(("loss", "penalty"), RULES)
def test_gains_equal_brute_force(loss, penalty, at_zero, orthogonal, sparse):
    rng = np.random.default_rng(0)
    positive = 0
    for _ in range(40):
        column = rng.standard_normal(N_ROWS) * 10.0 ** rng.uniform(-1, 1)
        column[rng.random(N_ROWS) < 0.3] = 0.0
        if np.count_nonzero(column) < 2:
            continue
        weights = rng.choice([1.0, 2.0, 0.5], N_ROWS)
        residual = rng.standard_normal(N_ROWS)
        residual[rng.random(N_ROWS) < 0.2] = 0.0
        if orthogonal:
            residual -= column * (weights * column @ residual) / (weights * column @ column)
        norm = np.sqrt(weights @ column**2)
        value = 0.0 if at_zero else rng.standard_normal() / norm
        level = 10.0 ** rng.uniform(-2, 1) * (norm if penalty == "l1" else 1.0)
        X = column[:, None]
        found = one_coordinate_gains(
            as_columns(scipy.sparse.csc_array(X)) if sparse else X,
            residual,
            np.array([value]),
            RULES[loss, penalty](np.array([level])),
            weights,
        )[0]
        expected = gain_by_brute_force(loss, penalty, column, residual, value, level, weights)
        assert abs(found - expected) < 1e-9
        positive += expected > 1e-6
    # The cases are not all trivial, except where no step from zero can pay.
    assert positive > 5 or (at_zero and orthogonal)


@pytest.mark.parametrize("inside", [False, True])
def test_closed_forms_of_unit_columns(inside):
    rng = np.random.default_rng(1)
    column = rng.standard_normal(9)
    column /= np.linalg.norm(column)
    for _ in range(50):
        residual = rng.standard_normal(9)
        x = 0.0
        if inside:
            residual -= column * (column @ residual)
            x = rng.standard_normal()
        rho, R, level = abs(column @ residual), np.linalg.norm(residual), 10.0 ** rng.uniform(-2, 0.5)
        a = abs(x)
        if not inside:
            expected = {
                ("squared", "l0"): max(rho**2 - level, 0),
                ("squared", "l1"): max(rho - level / 2, 0) ** 2,
                ("sqrt", "l0"): max(R - np.sqrt(R**2 - rho**2) - level, 0),
                ("sqrt", "l1"): R - level * rho - np.sqrt((1 - level**2) * (R**2 - rho**2))
                if level < 1 and rho > level * R
                else 0.0,
            }
        else:
            beyond = level < 1 and a >= level * R / np.sqrt(1 - min(level, 0.999) ** 2)
            expected = {
                ("squared", "l0"): max(level - x**2, 0),
                ("squared", "l1"): level**2 / 4 if a >= level / 2 else a * (level - a),
                ("sqrt", "l0"): max(level - (np.sqrt(R**2 + x**2) - R), 0),
                ("sqrt", "l1"): R * (1 - np.sqrt(1 - level**2)) if beyond else R + level * a - np.sqrt(R**2 + x**2),
            }
        for rule, value in expected.items():
            record = RULES[rule](np.array([level]))
            found = one_coordinate_gains(column[:, None], residual, np.array([x]), record)[0]
            assert abs(found - value) < 1e-12


def test_tiny_gains_keep_their_digits():
    # A correlation of 1e-7 beside a residual of 1: R - sqrt(R^2 - rho^2) has two digits left, 1 - cos no more.
    getcontext().prec = 50
    rho, kappa = 1e-7, 1e-8
    X, residual = np.array([[1.0], [0.0]]), np.array([rho, 1.0])
    R = (Decimal(rho) ** 2 + 1).sqrt()
    exact = {
        "l0": R - 1,
        "l1": R - Decimal(kappa) * Decimal(rho) - (1 - Decimal(kappa) ** 2).sqrt(),
    }
    for penalty, level in (("l0", 0.0), ("l1", kappa)):
        rule = RULES["sqrt", penalty](np.array([level]))
        found = one_coordinate_gains(X, residual, np.zeros(1), rule)[0]
        assert abs(found / float(exact[penalty]) - 1) < 1e-7  # the angles hold rho / R to 1e-16 of 1
    found = one_coordinate_gains(X, residual, np.zeros(1), RULES["sqrt", "l0"](np.zeros(1)))[0]
    assert abs(found / float(exact["l0"]) - 1) < 1e-14


def test_a_column_almost_parallel_to_the_residual():
    for angle in (0.0, 1e-9, 1e-6):
        X, residual = np.array([[3.0], [0.0]]), np.array([1.0, angle])
        R = np.hypot(1.0, angle)
        found = one_coordinate_gains(X, residual, np.zeros(1), RULES["sqrt", "l0"](np.array([0.25])))[0]
        assert abs(found - (R - angle - 0.25)) < 1e-15


def test_square_root_l1_gives_nothing_to_weakly_correlated_columns():
    # Defect of the reference: without the condition |rho| > kappa R the least correlated column scores highest.
    residual = np.array([1.0, 0.3, 0.0])
    rule = RULES["sqrt", "l1"](np.full(3, 0.5))
    gains = one_coordinate_gains(np.eye(3), residual, np.zeros(3), rule)
    assert gains[0] > 0.0
    assert gains[1] == 0.0
    assert gains[2] == 0.0


def test_columns_with_zeros_take_the_median_of_their_own_rows():
    # Defect of the reference: the median was taken at the wrong rows for columns with zeros.
    X = np.array([[0.0], [2.0], [0.0], [1.0], [1.0]])
    residual = np.array([100.0, 4.0, -100.0, 7.0, -1.0])
    gain = one_coordinate_gains(X, residual, np.zeros(1), RULES["absolute", "l0"](np.zeros(1)))[0]
    assert gain == (4 + 7 + 1) - (0 + 5 + 3)  # at u = 2


def test_absolute_l0_removal_is_measured_in_the_absolute_norm():
    # Defect of the reference: one branch used the Euclidean norm.
    X, residual = np.ones((4, 1)), np.array([1.0, -1.0, 2.0, -2.0])
    gain = one_coordinate_gains(X, residual, np.array([0.1]), RULES["absolute", "l0"](np.array([5.0])))[0]
    assert abs(gain - 5.0) < 1e-12  # removing costs nothing between the two middle residuals


def test_infinite_and_zero_penalties_and_zero_columns():
    X = np.column_stack([np.ones(5), np.arange(5.0), np.zeros(5)])
    residual = np.array([3.0, 1.0, 4.0, 1.0, 5.0])
    for rule in RULES.values():
        gains = one_coordinate_gains(X, residual, np.zeros(3), rule(np.array([np.inf, 0.0, 0.0])))
        assert gains[0] == 0.0
        assert gains[1] > 0.0
        assert gains[2] == 0.0
        gains = one_coordinate_gains(X, residual, np.array([1.0, 0.0, 0.0]), rule(np.full(3, np.inf)))
        assert gains[0] == np.inf
        assert gains[1] == 0.0


def test_inputs_are_left_alone():
    rng = np.random.default_rng(4)
    X, residual, coef = rng.standard_normal((6, 3)), rng.standard_normal(6), np.array([0.0, 1.0, 0.0])
    before = X.copy(), residual.copy(), coef.copy()
    for array in (X, residual, coef):
        array.flags.writeable = False
    for rule in RULES.values():
        one_coordinate_gains(X, residual, coef, rule(np.ones(3)))
    for now, then in zip((X, residual, coef), before):
        np.testing.assert_array_equal(now, then)


def test_an_unknown_rule_is_refused():
    with pytest.raises(TypeError, match="rule tuple cannot be solved"):
        one_coordinate_gains(np.eye(2), np.ones(2), np.zeros(2), ("no", "rule"))
