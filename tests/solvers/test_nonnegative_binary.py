"""Half-steps against SciPy and brute force, the certificate of the alternation recomputed from outside."""

import itertools
import time

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse

from sparsemodels.solvers import offset_rows
from sparsemodels.solvers.binary_restarts import binary_minimizer, factorize
from sparsemodels.solvers.nonnegative_binary import BinaryPenalty, alternate_exactly, half_squared_error
from sparsemodels.solvers.observed_matrix import observe, transposed
from sparsemodels.solvers.offset_rows import Side, improve_codes, improve_offsets, improve_rows

M, N, R = 9, 12, 3
ALL_CODES = np.array(list(itertools.product((0, 1), repeat=R)))
RECORDS = ("dense", "sparse", "most", "some", "weighted")


def problem(record, seed=0):
    """A matrix, the weights of its entries (0: unknown) and the record of both; the first row and column are cold."""
    random = np.random.default_rng(seed)
    X = random.integers(0, 6, (M, N)).astype(float)
    weights = np.ones((M, N))
    if record in ("most", "some", "weighted"):
        weights[random.random((M, N)) < (0.3 if record == "most" else 0.6)] = 0.0
        weights[0], weights[:, 0] = 0.0, 0.0
    if record == "weighted":
        weights *= random.integers(1, 4, (M, N))
    if record == "sparse":
        X[random.random((M, N)) < 0.6] = 0.0
        return X, weights, observe(scipy.sparse.csr_array(X))
    return X, weights, observe(X, weights=weights)


def whole_model(rows, columns, mean):
    fit = rows.factor @ columns.factor.T.astype(float)
    return fit + mean + rows.offset[:, None] + columns.offset if rows.offset.size else fit


def loss(X, weights, rows, columns, mean):
    return 0.5 * np.sum(weights * (X - whole_model(rows, columns, mean)) ** 2)


def sides(baseline, seed=1):
    random = np.random.default_rng(seed)
    rows = Side(random.random((M, R)), random.standard_normal(M) if baseline else np.empty(0))
    columns = Side(
        random.integers(0, 2, (N, R)).astype(np.uint8), random.standard_normal(N) if baseline else np.empty(0)
    )
    return rows, columns, 2.5 if baseline else 0.0


def best_row(x, weights, columns, mean, ridge, shrinkage):
    """One row by SciPy: bounded least squares in (w, a), the penalties as further rows."""
    root = np.sqrt(weights)
    if not columns.offset.size:
        design = np.vstack([root[:, None] * columns.factor, np.sqrt(ridge) * np.eye(R)])
        return scipy.optimize.nnls(design, np.append(root * x, np.zeros(R)))[0], 0.0
    design = np.column_stack([root[:, None] * columns.factor, root])
    design = np.vstack([design, np.diag(np.sqrt([ridge] * R + [shrinkage]))])
    target = np.append(root * (x - mean - columns.offset), np.zeros(R + 1))
    found = scipy.optimize.lsq_linear(design, target, ([0.0] * R + [-np.inf], np.inf), tol=1e-14).x
    return found[:R], found[R]


def best_code(x, weights, rows, mean, shrinkage, price):
    """One column by brute force: every code with its best offset."""
    best = np.inf, None, None
    for code in ALL_CODES:
        rest = x - rows.factor @ code - mean
        offset = 0.0
        if rows.offset.size:
            rest = rest - rows.offset
            offset = weights @ rest / (weights.sum() + shrinkage)
        value = 0.5 * weights @ (rest - offset) ** 2 + 0.5 * shrinkage * offset**2 + price @ code
        if value < best[0] - 1e-12:
            best = value, code, offset
    return best


@pytest.mark.parametrize("baseline", [False, True])
@pytest.mark.parametrize("record", RECORDS)
def test_rows_equal_bounded_least_squares(record, baseline):
    X, weights, matrix = problem(record)
    rows, columns, mean = sides(baseline)
    ridge, shrinkage = 0.3, 2.0 if baseline else 0.0
    step = improve_rows(matrix, rows, columns, mean, ridge=ridge, shrinkage=shrinkage)
    assert step.kkt_squared > 0.1
    for i in range(M):
        w, a = best_row(X[i], weights[i], columns, mean, ridge, shrinkage)
        np.testing.assert_allclose(rows.factor[i], w, atol=1e-8)
        if baseline:
            np.testing.assert_allclose(rows.offset[i], a, atol=1e-8)
    again = improve_rows(matrix, rows, columns, mean, ridge=ridge, shrinkage=shrinkage, update=False)
    assert again.kkt_squared < 1e-24
    if baseline:
        error = np.sum(weights * (X - whole_model(rows, columns, mean)))
        np.testing.assert_allclose(again.residual_sum, error, atol=1e-9)


@pytest.mark.parametrize("baseline", [False, True])
@pytest.mark.parametrize("record", RECORDS)
def test_codes_equal_brute_force(record, baseline):
    X, weights, matrix = problem(record)
    rows, columns, mean = sides(baseline)
    shrinkage, price = 2.0 if baseline else 0.0, np.array([0.4, -0.2, 0.1])
    options = {"price": price, "shrinkage": shrinkage, "energy": np.sum(weights * X**2)}
    step = improve_codes(transposed(matrix), columns, rows, mean, minimize=binary_minimizer(), **options)
    total = 0.0
    for j in range(N):
        value, code, offset = best_code(X[:, j], weights[:, j], rows, mean, shrinkage, price)
        total += value
        np.testing.assert_array_equal(columns.factor[j], code)
        if baseline:
            np.testing.assert_allclose(columns.offset[j], offset, atol=1e-12)
    np.testing.assert_allclose(step.loss, total, rtol=1e-12)
    assert step.n_inexact == 0
    again = improve_codes(transposed(matrix), columns, rows, mean, minimize=binary_minimizer(), **options)
    assert again.n_changed == 0


def test_offsets_alone_are_closed_form():
    X, weights, matrix = problem("weighted")
    rows, columns, mean = sides(True)
    value = improve_offsets(transposed(matrix), columns, rows, mean, shrinkage=2.0)
    rest = X - rows.factor @ columns.factor.T - mean - rows.offset[:, None]
    offset = np.sum(weights * rest, axis=0) / (weights.sum(axis=0) + 2.0)
    np.testing.assert_allclose(columns.offset, offset, atol=1e-12)
    direct = loss(X, weights, rows, columns, mean) + np.sum(columns.offset**2) - 0.5 * np.sum(weights * X**2)
    np.testing.assert_allclose(value, direct, rtol=1e-12)


def test_worse_answers_are_not_taken():
    _, _, matrix = problem("dense")
    rows, columns, _ = sides(False)
    improve_codes(
        transposed(matrix), columns, rows, 0.0,
        price=np.zeros(R), shrinkage=0.0, energy=1.0, minimize=binary_minimizer(),
    )  # fmt: skip
    before = columns.factor.copy()

    def worst(Q, c, start):
        values = np.array([[0.5 * h @ Q[0] @ h - target @ h for h in ALL_CODES] for target in c])
        return ALL_CODES[values.argmax(axis=1)].astype(np.uint8), np.zeros(len(c), dtype=bool)

    step = improve_codes(
        transposed(matrix), columns, rows, 0.0, price=np.zeros(R), shrinkage=0.0, energy=1.0, minimize=worst
    )
    np.testing.assert_array_equal(columns.factor, before)
    assert (step.n_changed, step.n_inexact) == (0, N)


def penalties(solution, penalty, known):
    """The part of the objective that is not the loss, from its definition."""
    value = 0.5 * penalty.ridge * np.sum(solution.W**2)
    if penalty.shrinkage is not None:
        value += 0.5 * penalty.shrinkage * (np.sum(solution.row_offset**2) + np.sum(solution.column_offset**2))
    if penalty.prior_strength:
        ones, n = solution.codes[known].sum(axis=0), known.sum()
        p = (ones + 1) / (n + 2)
        np.testing.assert_allclose(solution.shares, p)
        value -= penalty.prior_strength * np.sum((ones + 1) * np.log(p) + (n - ones + 1) * np.log(1 - p))
    return value


@pytest.mark.parametrize(
    "penalty",
    [
        BinaryPenalty(),
        BinaryPenalty(0.5),
        BinaryPenalty(0.5, 2.0),
        BinaryPenalty(0.2, 1.0, 0.3),
        BinaryPenalty(prior_strength=0.5),
    ],
)
@pytest.mark.parametrize("record", ["dense", "sparse", "most", "weighted"])
def test_block_optimality_recomputed(record, penalty):
    X, weights, matrix = problem(record, seed=3)
    codes = np.random.default_rng(5).integers(0, 2, (N, R))
    solution = alternate_exactly(matrix, codes, penalty, binary_minimizer(), tol=1e-9)
    assert solution.status == "converged"
    assert (solution.n_changed, solution.n_inexact) == (0, 0)
    assert solution.kkt <= 1e-9
    scale = 0.5 * np.sum(weights * X**2)
    assert np.all(np.diff(solution.objective_history) <= 1e-13 * scale)
    rows, columns = Side(solution.W, solution.row_offset), Side(solution.codes, solution.column_offset)
    value = loss(X, weights, rows, columns, solution.mean)
    np.testing.assert_allclose(half_squared_error(matrix, rows, columns, solution.mean), value, atol=1e-12 * scale)
    known = weights.any(axis=0)
    value += penalties(solution, penalty, known)
    np.testing.assert_allclose(solution.objective, value, rtol=1e-10)
    np.testing.assert_allclose(solution.objective_history[-1], value, rtol=1e-10)
    shrinkage = penalty.shrinkage or 0.0
    price = penalty.prior_strength * np.log((1 - solution.shares) / solution.shares)
    for i in range(M):  # no row can be improved
        w, a = best_row(X[i], weights[i], columns, solution.mean, penalty.ridge, shrinkage)
        other = Side(solution.W.copy(), solution.row_offset.copy())
        other.factor[i] = w
        if a:
            other.offset[i] = a
        changed = loss(X, weights, other, columns, solution.mean) - loss(X, weights, rows, columns, solution.mean)
        changed += 0.5 * penalty.ridge * (np.sum(other.factor**2) - np.sum(rows.factor**2))
        changed += 0.5 * shrinkage * (np.sum(other.offset**2) - np.sum(rows.offset**2))
        assert changed >= -1e-9 * scale
    for j in np.flatnonzero(known):  # no code can be improved, its offset moving along
        best, _, _ = best_code(X[:, j], weights[:, j], rows, solution.mean, shrinkage, price)
        rest = X[:, j] - whole_model(rows, columns, solution.mean)[:, j]
        offset = solution.column_offset[j] if shrinkage else 0.0
        mine = 0.5 * weights[:, j] @ rest**2 + 0.5 * shrinkage * offset**2 + price @ solution.codes[j]
        assert mine <= best + 1e-9 * scale
    assert not solution.codes[~known].any()


def test_planted_factors_are_found_exactly():
    random = np.random.default_rng(0)
    W, H = random.integers(1, 9, (20, R)).astype(float), random.integers(0, 2, (R, 25))
    H[:, :R] = np.eye(R)
    X = W @ H
    solution = factorize(observe(X), R, BinaryPenalty(), binary_minimizer(), n_init=5)
    assert solution.objective < 1e-20 * np.sum(X**2)
    order = [int(np.flatnonzero((solution.codes == row).all(axis=0))[0]) for row in H[:, :, None]]
    np.testing.assert_allclose(solution.W[:, order], W, rtol=1e-10)


def test_what_is_unknown_has_no_influence():
    X, weights, _ = problem("some", seed=4)
    wide, more = np.hstack([X, np.full((M, 2), 1e300)]), np.hstack([weights, np.zeros((M, 2))])
    codes = np.random.default_rng(0).integers(0, 2, (N + 2, R))
    penalty = BinaryPenalty(0.1, 2.0, 0.1)
    first = alternate_exactly(observe(X, weights=weights), codes[:N], penalty, binary_minimizer())
    second = alternate_exactly(observe(wide, weights=more), codes, penalty, binary_minimizer())
    np.testing.assert_array_equal(first.W, second.W)
    np.testing.assert_array_equal(first.codes, second.codes[:N])
    np.testing.assert_array_equal(first.shares, second.shares)
    assert not second.codes[N:].any()
    assert not second.column_offset[N:].any()


@pytest.mark.parametrize("record", ["dense", "some"])
def test_blocks_and_threads_change_nothing(record, monkeypatch):
    monkeypatch.setattr(offset_rows, "_BLOCK_BYTES", 1)  # blocks of 16 rows
    random = np.random.default_rng(2)
    X = random.random((50, 70))
    weights = np.ones(X.shape) if record == "dense" else 1.0 * (random.random(X.shape) < 0.4)
    answers = [
        factorize(
            observe(X, weights=weights), 4, BinaryPenalty(0.1, 3.0), binary_minimizer(n_jobs=n_jobs), n_jobs=n_jobs
        )
        for n_jobs in (1, 2)
    ]
    np.testing.assert_array_equal(answers[0].W, answers[1].W)
    np.testing.assert_array_equal(answers[0].codes, answers[1].codes)
    np.testing.assert_array_equal(answers[0].objective_history, answers[1].objective_history)


def test_more_starts_and_perturbations_are_never_worse():
    X = np.random.default_rng(7).random((30, 40))
    objectives = [
        factorize(observe(X), 4, BinaryPenalty(), binary_minimizer(), n_init=n, n_perturbations=k).objective
        for n, k in ((1, 0), (1, 4), (5, 0))
    ]
    assert objectives[1] < objectives[0]
    assert objectives[2] <= objectives[0]


def test_how_a_search_ends():
    X, weights, matrix = problem("dense")
    codes = np.zeros((N, R))
    options = {"penalty": BinaryPenalty(0.1), "minimize": binary_minimizer()}
    assert alternate_exactly(matrix, codes + 1, max_iter=1, **options).status == "max_iter"
    late = alternate_exactly(matrix, codes + 1, deadline=time.monotonic() - 1.0, **options)
    assert (late.status, late.n_iter) == ("time_limit", 1)
    seen = []
    stopped = factorize(
        matrix, R, n_init=9, on_iteration=lambda n, objective: seen.append(objective) or True, **options
    )
    assert (stopped.status, len(seen)) == ("stopped", 1)
    np.testing.assert_allclose(stopped.objective_history, seen)

    def interrupt(Q, c, start):
        raise KeyboardInterrupt

    halted = factorize(matrix, R, BinaryPenalty(0.1), interrupt, n_init=9)
    assert halted.status == "interrupted"
    rows, columns = Side(halted.W, halted.row_offset), Side(halted.codes, halted.column_offset)
    np.testing.assert_allclose(
        halted.objective, loss(X, weights, rows, columns, 0.0) + 0.05 * np.sum(halted.W**2), rtol=1e-10
    )
    assert halted.n_inexact == N
