import numpy as np
import pytest

from sparsemodels.solvers.atom_exchange import exchange_atoms
from sparsemodels.solvers.atom_replacement import (
    coherence,
    duplicates,
    merged,
    separated,
    welch_bound,
    worst_represented,
)
from sparsemodels.solvers.coders import OMP, LassoCD, dictionary
from sparsemodels.solvers.dictionary_objective import Signals, encode_no_worse, rows_from
from sparsemodels.solvers.k_svd import k_svd_sweep, users_of_atoms
from sparsemodels.solvers.online_dictionary import absorb, no_sums, replace_codes, sums_of
from sparsemodels.solvers.optimal_directions import optimal_directions
from sparsemodels.solvers.sparse_codes import from_matrix, to_dense
from sparsemodels.solvers.unit_atoms import atom_stationarity, improve_atoms, normalized

M, L, D = 70, 40, 8


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((M, L)) * (rng.random((M, L)) < 0.15)
    Z[:, 5] = 0.0  # an atom without users
    return rng.standard_normal((M, D)), Z, normalized(rng.standard_normal((L, D)))


def objective(X, Z, atoms, alpha=0.0):
    return 0.5 * np.sum((X - Z @ atoms) ** 2) + alpha * np.abs(Z).sum()


def copied(Z):
    codes = from_matrix(Z)
    return codes._replace(values=codes.values.copy())


@pytest.mark.parametrize("positive", [False, True])
def test_sweep_is_the_best_unit_atom_one_after_the_other(problem, positive):
    X, Z, atoms = problem
    atoms = normalized(np.abs(atoms)) if positive else atoms
    expected = atoms.copy()
    for a in np.flatnonzero(Z.any(axis=0)):
        others = X - Z @ expected + np.outer(Z[:, a], expected[a])
        target = Z[:, a] @ others
        target = np.maximum(target, 0.0) if positive and target.max() > 0.0 else target
        if positive and target.max() <= 0.0:
            target = np.eye(D)[np.argmax(target)]
        expected[a] = target / np.linalg.norm(target)
    result = atoms.copy()
    moved = improve_atoms(Z.T @ Z, Z.T @ X, result, positive=positive)
    np.testing.assert_allclose(result, expected, atol=1e-12)
    curvatures = np.sum(Z**2, axis=0)
    np.testing.assert_allclose(moved, np.sqrt(curvatures @ np.sum((result - atoms) ** 2, axis=1)), rtol=1e-12)
    assert objective(X, Z, result) < objective(X, Z, atoms)


def test_best_nonnegative_unit_atom_against_a_general_solver():
    X, Z = np.array([[-1.0, -3.0, -2.0]]), np.ones((1, 1))  # nothing positive to follow: a unit vector is best
    atoms = np.array([[0.6, 0.8, 0.0]])
    improve_atoms(Z.T @ Z, Z.T @ X, atoms, positive=True)
    angles = np.linspace(0.0, np.pi / 2, 91)
    sphere = np.array([[np.sin(t) * np.cos(p), np.sin(t) * np.sin(p), np.cos(t)] for t in angles for p in angles])
    assert objective(X, Z, atoms) <= min(objective(X, Z, d[None]) for d in sphere) + 1e-12


def test_stationarity_is_zero_only_at_a_stationary_point(problem):
    X, Z, atoms = problem
    gram, products = Z.T @ Z, Z.T @ X
    before = atom_stationarity(gram.diagonal(), products - gram @ atoms, atoms)
    improve_atoms(gram, products, atoms, n_sweeps=20_000)
    after = atom_stationarity(gram.diagonal(), products - gram @ atoms, atoms)
    assert before > 1.0
    assert after < 1e-6
    # The gradient along the sphere vanishes with it.
    gradient = gram @ atoms - products
    tangent = gradient - np.sum(gradient * atoms, axis=1, keepdims=True) * atoms
    assert np.abs(tangent).max() < 1e-5


def test_normalized_takes_extreme_norms_and_zeros():
    atoms = normalized(np.array([[3e-300, 4e-300], [3e200, -4e200], [0.0, 0.0]]))
    np.testing.assert_allclose(atoms, [[0.6, 0.8], [0.6, -0.8], [1.0, 0.0]])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("alpha", "positive", "positive_atoms"), [(0.0, False, False), (0.2, False, False),
                                                                   (0.2, True, False), (0.0, True, True)])  # fmt: skip
def test_power_step_against_its_formula(problem, alpha, positive, positive_atoms, dtype):
    X, Z, atoms = problem
    Z = np.abs(Z) if positive else Z
    atoms = normalized(np.abs(atoms)) if positive_atoms else atoms
    X, Z, atoms = X.astype(dtype), Z.astype(dtype), atoms.astype(dtype)
    expected_Z, expected = Z.astype(float), atoms.astype(float)
    for a in np.flatnonzero(Z.any(axis=0)):
        users = np.flatnonzero(Z[:, a])
        E = X[users] - expected_Z[users] @ expected + np.outer(expected_Z[users, a], expected[a])
        target = E.T @ expected_Z[users, a]
        if positive_atoms:
            target = np.maximum(target, 0.0) if target.max() > 0.0 else np.eye(D)[np.argmax(target)]
        if target.any():
            expected[a] = target / np.linalg.norm(target)
        fit = E @ expected[a]
        fit = np.sign(fit) * np.maximum(np.abs(fit) - alpha, 0.0)
        expected_Z[users, a] = np.maximum(fit, 0.0) if positive else fit
    codes, result = copied(Z), atoms.copy()
    residual = X - Z @ atoms
    k_svd_sweep(codes, residual, result, alpha=alpha, positive=positive, positive_atoms=positive_atoms)
    atol = 1e-10 if dtype == np.float64 else 2e-4
    np.testing.assert_allclose(result, expected, atol=atol)
    np.testing.assert_allclose(to_dense(codes), expected_Z, atol=atol)
    np.testing.assert_allclose(residual, X - to_dense(codes) @ result, atol=atol)
    assert objective(X, to_dense(codes), result, alpha) < objective(X, Z, atoms, alpha)
    assert result.dtype == dtype


def test_exact_pair_is_the_limit_of_power_steps_and_the_singular_pair(problem):
    X, Z, atoms = problem
    Z = Z[:, :1] + (np.arange(M)[:, None] < 20)  # one atom, so that the pair is that of the signals of its users
    users = np.flatnonzero(Z[:, 0])
    _, s, vt = np.linalg.svd(X[users], full_matrices=False)
    exact, steps = copied(Z), copied(Z)
    one, many = atoms[:1].copy(), atoms[:1].copy()
    k_svd_sweep(exact, X - Z @ one, one, exact=True)
    k_svd_sweep(steps, X - Z @ many, many, n_power_steps=3000)
    np.testing.assert_allclose(np.abs(one @ vt[0]), 1.0, rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(exact.values), s[0], rtol=1e-12)
    np.testing.assert_allclose(np.abs(many @ one.T), 1.0, rtol=1e-6)
    assert one[0] @ atoms[0] >= 0.0


def test_optimal_directions_are_least_squares_and_change_no_product(problem):
    X, Z, atoms = problem
    used = Z.any(axis=0)
    Z = Z * (np.arange(L) < 20)
    new, norms = optimal_directions(Z.T @ Z, Z.T @ X, atoms)
    used = Z.any(axis=0)
    solved = np.linalg.lstsq(Z[:, used], X, rcond=None)[0]
    np.testing.assert_allclose((Z * norms) @ new, Z[:, used] @ solved, atol=1e-8)
    np.testing.assert_allclose(np.linalg.norm(new, axis=1), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(new[~used], atoms[~used])


def test_optimal_directions_of_collinear_codes():
    Z = np.array([[1.0, 1.0], [2.0, 2.0]])
    X = np.array([[1.0, 0.0], [2.0, 0.0]])
    new, norms = optimal_directions(Z.T @ Z, Z.T @ X, np.eye(2))
    np.testing.assert_allclose((Z * norms) @ new, X, atol=1e-5)


def test_sums_do_not_depend_on_batches(problem):
    X, Z, _ = problem
    weights = (np.arange(1, M + 1) / M) ** 5.0
    expected = (Z.T * weights) @ Z, (Z.T * weights) @ X
    for ends in ([M], [1, 2, 40, M], list(range(1, M + 1))):
        sums, start = no_sums(L, D), 0
        for end in ends:
            sums = absorb(sums, from_matrix(Z[start:end]), X[start:end])
            start = end
        np.testing.assert_allclose(sums.gram, expected[0], atol=1e-12)
        np.testing.assert_allclose(sums.products, expected[1], atol=1e-12)
        assert sums.n_seen == M


def test_replaced_codes_leave_no_trace(problem):
    X, Z, _ = problem
    sums = sums_of(from_matrix(Z), X)
    new = np.roll(Z[:30], 1, axis=1)
    replace_codes(sums, from_matrix(Z[:30]), X[:30], from_matrix(new), 2.0 * X[:30])
    Z[:30], X[:30] = new, 2.0 * X[:30]
    np.testing.assert_allclose(sums.gram, Z.T @ Z, atol=1e-12)
    np.testing.assert_allclose(sums.products, Z.T @ X, atol=1e-12)


@pytest.mark.parametrize("coder", [OMP(3), LassoCD(0.3)])
def test_codes_never_become_worse(problem, coder):
    X, _, atoms = problem
    best = encode_no_worse(coder, Signals(X), dictionary(atoms), None)
    mixed = np.where(np.arange(M)[:, None] % 2, to_dense(best.codes), 0.0)
    again = encode_no_worse(coder, Signals(X), dictionary(atoms), from_matrix(mixed))
    np.testing.assert_allclose(again.squared_residual, best.squared_residual, rtol=1e-3)
    if isinstance(coder, OMP):  # codes that no pursuit finds: all signals exactly, by too many atoms
        exact = np.linalg.lstsq(atoms.T, X.T, rcond=None)[0].T
        kept = encode_no_worse(coder, Signals(X), dictionary(atoms), from_matrix(exact))
        np.testing.assert_allclose(to_dense(kept.codes), exact)
        assert kept.squared_residual.max() < 1e-20


def test_rows_from_two_codes(problem):
    _, Z, _ = problem
    choice = np.arange(M) % 3 == 0
    other = np.roll(Z, 3, axis=0)
    np.testing.assert_array_equal(
        to_dense(rows_from(choice, from_matrix(Z), from_matrix(other))), np.where(choice[:, None], other, Z)
    )


def test_users_of_atoms(problem):
    _, Z, _ = problem
    codes = from_matrix(Z)
    pointers, signals, slots = users_of_atoms(codes)
    for a in range(L):
        part = slice(pointers[a], pointers[a + 1])
        np.testing.assert_array_equal(signals[part], np.flatnonzero(Z[:, a]))
        np.testing.assert_array_equal(codes.values[slots[part]], Z[signals[part], a])


def test_duplicates_are_merged_without_loss(problem):
    _, Z, atoms = problem
    atoms[7], atoms[3] = -atoms[2], atoms[30]
    pairs = duplicates(atoms, np.arange(L), 0.999)
    assert sorted(pairs) == [(7, 2), (30, 3)]
    codes = to_dense(merged(from_matrix(Z), atoms, pairs))
    np.testing.assert_allclose(codes @ atoms, Z @ atoms, atol=1e-12)
    assert not codes[:, [2, 3]].any()


def test_worst_represented_signals_differ_in_direction():
    X = np.array([[3.0, 0.0], [-6.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
    np.testing.assert_array_equal(worst_represented(X, np.array([9.0, 36.0, 0.0, 0.0, 1.5]), 3), [1, 4])


@pytest.mark.parametrize("limit", [0.3, 0.6, 0.9])
def test_separated_atoms_keep_norm_and_distance(limit):
    rng = np.random.default_rng(0)
    atoms = normalized(rng.standard_normal((24, 16)))
    atoms[1], atoms[3] = atoms[0], -atoms[2]
    result = separated(atoms, limit)
    assert coherence(result) <= limit
    np.testing.assert_allclose(np.linalg.norm(result, axis=1), 1.0, rtol=1e-12)
    assert separated(result, limit) is result


def test_two_atoms_turn_by_the_same_smallest_angle():
    atoms = normalized(np.array([[1.0, 0.1, 0.0], [1.0, -0.1, 0.0]]))
    result = separated(atoms, 0.5)
    np.testing.assert_allclose(result[0] @ result[1], 0.5, rtol=1e-9)
    np.testing.assert_allclose(normalized((result[0] + result[1])[None]), [[1.0, 0.0, 0.0]], atol=1e-12)


def test_welch_bound_is_met_by_known_frames():
    mercedes = np.array([[np.cos(t), np.sin(t)] for t in (0.0, 2 * np.pi / 3, 4 * np.pi / 3)])
    np.testing.assert_allclose(coherence(mercedes), welch_bound(3, 2), rtol=1e-12)
    assert welch_bound(3, 3) == 0.0
    assert coherence(np.eye(1)) == 0.0


@pytest.mark.parametrize(("alpha", "positive"), [(0.0, False), (0.1, False), (0.1, True)])
def test_weak_atom_splits_one_that_does_the_work_of_two(alpha, positive):
    rng = np.random.default_rng(1)
    first, second = normalized(np.array([[1.0, 0.3, 0.0, 0.0], [0.3, 1.0, 0.0, 0.0]]))
    X = np.concatenate([np.outer(rng.uniform(1, 2, 30), first), np.outer(rng.uniform(1, 2, 30), second)])
    X = np.concatenate([X, 0.01 * np.eye(4)[3:]])
    atoms = np.ascontiguousarray([normalized((first + second)[None])[0], np.eye(4)[3]])
    sizes = np.maximum(X @ atoms.T - alpha, 0.0)
    Z = np.where(np.eye(2, dtype=bool)[np.repeat([0, 0, 1], [30, 30, 1])], sizes, 0.0)
    before = objective(X, Z, atoms, alpha)
    codes, n_exchanged = exchange_atoms(from_matrix(Z), X, atoms, alpha=alpha, positive=positive)
    assert n_exchanged == 1
    assert objective(X, to_dense(codes), atoms, alpha) < before
    found = np.abs(atoms @ np.array([first, second]).T)
    np.testing.assert_allclose(np.sort(found.max(axis=0)), 1.0, atol=1e-8)
    # Nothing more to gain: nothing changes.
    again, n_exchanged = exchange_atoms(codes, X, atoms, alpha=alpha, positive=positive)
    assert n_exchanged == 0
    np.testing.assert_array_equal(to_dense(again), to_dense(codes))
