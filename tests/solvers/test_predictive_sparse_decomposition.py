import time

import numpy as np
import pytest

from sparsemodels.solvers.coders import LassoCD, dictionary
from sparsemodels.solvers.feedforward_encoders import (
    TanhEncoder,
    UnrolledEncoder,
    fit_encoder,
    predict,
    prediction_loss,
    tanh_encoder,
    unrolled_encoder,
    whitening,
)
from sparsemodels.solvers.predictive_sparse_decomposition import (
    correlation,
    decompose,
    exact_codes,
    improve_atoms,
)
from sparsemodels.solvers.sparse_codes import from_matrix, to_dense
from sparsemodels.solvers.sparse_coding import encode

RNG = np.random.default_rng(0)
M, D, L = 40, 6, 9


def unit_rows(shape, rng=RNG):
    atoms = rng.normal(size=shape)
    return atoms / np.linalg.norm(atoms, axis=1, keepdims=True)


ATOMS = unit_rows((L, D))
CODES = RNG.laplace(size=(M, L)) * (RNG.random((M, L)) < 0.3)
X = CODES @ ATOMS + 0.05 * RNG.normal(size=(M, D))
RECORD = from_matrix(CODES)
ENCODERS = {
    "tanh": TanhEncoder(RNG.normal(size=(D, L)), RNG.normal(size=L), RNG.normal(size=L)),
    "thresholded": unrolled_encoder(ATOMS, 0.2, 0),
    "unrolled": unrolled_encoder(ATOMS, 0.2, 3),
    "learned": UnrolledEncoder(
        0.5 * RNG.normal(size=(D, L)), 0.3 * RNG.normal(size=(L, L)), RNG.uniform(0.1, 0.4, L), 2
    ),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_gradients_against_finite_differences(name):
    encoder = ENCODERS[name]
    loss, gradients = prediction_loss(encoder, X, RECORD)
    np.testing.assert_allclose(loss, 0.5 * np.sum((CODES - predict(encoder, X)) ** 2), rtol=1e-12)
    for field, gradient in zip(encoder._fields, gradients, strict=False):
        array = getattr(encoder, field)
        numeric = np.zeros_like(array)
        for at in np.ndindex(array.shape):
            values = []
            for step in (1e-6, -1e-6):
                moved = array.copy()
                moved[at] += step
                values.append(prediction_loss(encoder._replace(**{field: moved}), X, RECORD)[0])
            numeric[at] = (values[0] - values[1]) / 2e-6
        # Central differences of a loss of this size keep about 1e-7 of it.
        np.testing.assert_allclose(gradient, numeric, atol=1e-6 * max(loss, 1.0))


def test_unrolled_encoder_begins_as_proximal_gradient_descent():
    alpha, n_layers = 0.2, 4
    encoder = unrolled_encoder(ATOMS, alpha, n_layers)
    step = 1.0 / np.linalg.norm(ATOMS, 2) ** 2
    Z = np.zeros((M, L))
    for _ in range(n_layers + 1):
        Z = Z - step * (Z @ ATOMS - X) @ ATOMS.T
        Z = np.sign(Z) * np.maximum(np.abs(Z) - step * alpha, 0.0)
    np.testing.assert_allclose(predict(encoder, X), Z, atol=1e-12)


@pytest.mark.parametrize("name", ENCODERS)
def test_training_lowers_the_loss_and_is_equivariant(name):
    encoder = ENCODERS[name]
    before, _ = prediction_loss(encoder, X, RECORD)
    trained, after = fit_encoder(encoder, X, RECORD, whitening(X), max_iter=15)
    assert after < before
    np.testing.assert_allclose(prediction_loss(trained, X, RECORD)[0], after, rtol=1e-9)
    if isinstance(trained, UnrolledEncoder):
        assert np.all(trained.thresholds >= 0.0)
        scaled = encoder._replace(thresholds=2.0 * encoder.thresholds)
    else:
        scaled = TanhEncoder(encoder.weights / 2.0, encoder.offsets, 2.0 * encoder.gains)
    twice, loss = fit_encoder(scaled, 2.0 * X, from_matrix(2.0 * CODES), whitening(2.0 * X), max_iter=15)
    np.testing.assert_allclose(loss, 4.0 * after, rtol=1e-6)
    np.testing.assert_allclose(predict(twice, 2.0 * X), 2.0 * predict(trained, X), atol=1e-5)


def test_a_code_that_the_encoder_can_say_is_learned():
    truth = TanhEncoder(0.3 * RNG.normal(size=(D, L)), 0.1 * RNG.normal(size=L), RNG.uniform(1.0, 2.0, L))
    signals = np.random.default_rng(1).normal(size=(300, D))
    codes = from_matrix(predict(truth, signals))
    start = TanhEncoder(0.3 * RNG.normal(size=(D, L)), np.zeros(L), np.ones(L))
    trained, loss = fit_encoder(start, signals, codes, whitening(signals), max_iter=2000)
    assert loss <= 1e-6 * prediction_loss(start, signals, codes)[0]
    np.testing.assert_allclose(predict(trained, signals), predict(truth, signals), atol=1e-2)


def test_whitening():
    mixed = np.random.default_rng(1).normal(size=(400, D)) @ RNG.normal(size=(D, D))
    white = whitening(mixed)
    coordinates = mixed @ white.map / white.scale
    # The ridge of 1e-4 of the largest variance is what it stays away from the identity by.
    spread = np.linalg.eigvalsh(mixed.T @ mixed)
    assert np.linalg.norm(coordinates.T @ coordinates / 400 - np.eye(D), 2) <= 1.01e-4 * spread[-1] / spread[0]
    np.testing.assert_allclose(white.map @ white.inverse, np.eye(D), atol=1e-9)
    assert whitening(np.zeros((3, 2))).scale == 1.0


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("weight", [0.3, 5.0])
def test_exact_codes_satisfy_the_optimality_conditions(name, weight):
    alpha = 0.1
    found = exact_codes(X, ATOMS, ENCODERS[name], alpha=alpha, prediction_weight=weight, tol=1e-12, max_iter=100_000)
    Z, F = to_dense(found.codes), predict(ENCODERS[name], X)
    slope = (Z @ ATOMS - X) @ ATOMS.T + weight * (Z - F)
    np.testing.assert_allclose(slope[Z != 0.0], -alpha * np.sign(Z[Z != 0.0]), atol=1e-4)
    assert np.all(np.abs(slope[Z == 0.0]) <= alpha + 1e-4)
    residual = X - Z @ ATOMS
    energies = 0.5 * np.sum(residual**2, 1) + alpha * np.abs(Z).sum(1) + 0.5 * weight * np.sum((Z - F) ** 2, 1)
    np.testing.assert_allclose(found.energies, energies, rtol=1e-8)
    assert found.converged
    zero = 0.5 * np.sum(X**2, 1) + 0.5 * weight * np.sum(F**2, 1)
    np.testing.assert_allclose(found.relative_gap, np.max(found.dual_gaps / zero), rtol=1e-9)


def test_gap_bounds_the_distance_from_the_optimum():
    options = {"alpha": 0.1, "prediction_weight": 0.5}
    rough = exact_codes(X, ATOMS, ENCODERS["tanh"], tol=1e-2, **options)
    exact = exact_codes(X, ATOMS, ENCODERS["tanh"], tol=1e-13, max_iter=100_000, **options)
    excess = rough.energies - exact.energies
    assert np.all(excess <= rough.dual_gaps + 1e-9)
    assert excess.max() > 1e-9  # the bound was put to a test


def test_weight_zero_is_the_lasso_and_a_large_one_the_prediction():
    encoder = ENCODERS["tanh"]
    lasso = to_dense(encode(LassoCD(0.1, tol=1e-10, max_iter=10_000), X, dictionary(ATOMS)).codes)
    none = exact_codes(X, ATOMS, encoder, alpha=0.1, prediction_weight=0.0, tol=1e-10, max_iter=10_000)
    np.testing.assert_array_equal(to_dense(none.codes), lasso)
    distances = []
    for weight in (1e3, 1e5):
        found = exact_codes(X, ATOMS, encoder, alpha=0.1, prediction_weight=weight, tol=1e-12, max_iter=10_000)
        distances.append(np.abs(to_dense(found.codes) - predict(encoder, X)).max())
    assert distances[1] <= 1e-3
    np.testing.assert_allclose(distances[0] / distances[1], 100.0, rtol=0.1)  # it falls as one over the weight


def test_start_and_threads_do_not_change_exact_codes():
    options = {"alpha": 0.1, "prediction_weight": 0.5, "tol": 1e-9, "max_iter": 10_000}
    many = np.vstack([X] * 30)
    cold = exact_codes(many, ATOMS, ENCODERS["tanh"], n_jobs=1, **options)
    other = exact_codes(many, ATOMS, ENCODERS["tanh"], n_jobs=2, **options)
    np.testing.assert_array_equal(to_dense(cold.codes), to_dense(other.codes))
    warm = exact_codes(many, ATOMS, ENCODERS["tanh"], start=cold.codes, **options)
    np.testing.assert_allclose(warm.energies, cold.energies, atol=1e-8 * cold.energies.max())


def test_atoms_improve_to_a_stationary_point():
    atoms = unit_rows((L, D), np.random.default_rng(3))
    error = np.linalg.norm(X - CODES @ atoms)
    for _ in range(400):
        improved = improve_atoms(RECORD, X, atoms)
        assert np.linalg.norm(X - CODES @ improved) <= error * (1.0 + 1e-12)
        error, atoms = np.linalg.norm(X - CODES @ improved), improved
    np.testing.assert_allclose(np.linalg.norm(atoms, axis=1), 1.0, rtol=1e-12)
    slope = CODES.T @ (CODES @ atoms - X)
    along = np.sum(slope * atoms, axis=1, keepdims=True) * atoms
    assert np.abs(slope - along).max() <= 1e-5 * np.abs(CODES.T @ X).max()  # stationary on the spheres


def test_unused_atom_stays_where_it_is():
    codes = CODES.copy()
    codes[:, 4] = 0.0
    np.testing.assert_array_equal(improve_atoms(from_matrix(codes), X, ATOMS)[4], ATOMS[4])


def test_correlation_is_that_of_numpy():
    guess = predict(ENCODERS["tanh"], X)
    expected = np.corrcoef(guess.ravel(), CODES.ravel())[0, 1]
    np.testing.assert_allclose(correlation(guess, RECORD), expected, rtol=1e-10)
    assert correlation(np.zeros((M, L)), RECORD) == 0.0


@pytest.mark.parametrize("form", ["tanh", "lista"])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_decomposition_never_rises_and_ends_with_its_own_codes(form, weight):
    start = unit_rows((L, D), np.random.default_rng(2))
    solution = decompose(X, start, alpha=0.1, prediction_weight=weight, form=form, max_iter=200)
    assert solution.status == "converged"
    assert np.all(np.diff(solution.objective_history) <= 0.0)
    assert solution.objective_history.size == solution.n_iter + 1
    again = exact_codes(X, solution.atoms, solution.encoder, alpha=0.1, prediction_weight=weight, tol=1e-4)
    np.testing.assert_allclose(again.energies.sum(), solution.objective_history[-1], rtol=1e-3)
    np.testing.assert_allclose(solution.exact.energies.sum(), solution.objective_history[-1], rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(solution.atoms, axis=1), 1.0, rtol=1e-9)


@pytest.mark.parametrize("form", ["tanh", "lista"])
def test_dead_atoms_come_alive(form):
    start = ATOMS.copy()
    start[:4] = start[4] + 1e-9  # four atoms that say the same as a fifth
    start /= np.linalg.norm(start, axis=1, keepdims=True)
    solution = decompose(X, start, alpha=0.1, prediction_weight=0.5, form=form, max_iter=20)
    assert np.all(np.abs(to_dense(solution.exact.codes)).max(axis=0) > 0.0)


def test_ends():
    options = {"alpha": 0.1, "prediction_weight": 1.0, "tol": 0.0}
    start = unit_rows((L, D), np.random.default_rng(2))
    stopped = decompose(X, start, on_iteration=lambda n, value: n == 2, **options)
    assert (stopped.status, stopped.n_iter) == ("stopped", 2)
    late = decompose(X, start, deadline=time.monotonic(), **options)
    assert (late.status, late.n_iter) == ("time_limit", 0)

    def interrupt(n, value):
        raise KeyboardInterrupt

    interrupted = decompose(X, start, on_iteration=interrupt, **options)
    assert (interrupted.status, interrupted.n_iter) == ("interrupted", 1)
    assert interrupted.objective_history[-1] < interrupted.objective_history[0]


def test_first_encoder_reaches_the_largest_code():
    encoder = tanh_encoder(ATOMS, RECORD, 1.0)
    np.testing.assert_allclose(encoder.gains, np.abs(CODES).max(axis=0))
