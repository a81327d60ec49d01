"""Learning from hidden features: the updates against plain linear algebra, and what hiding gains."""

import time

import numpy as np
import pytest
from sklearn.linear_model import orthogonal_mp

from sparsemodels.solvers.coders import OMP, LassoCD
from sparsemodels.solvers.masked_dictionary import (
    codes_from_visible,
    feature_folds,
    learn_masked,
    masked_loss,
    random_mixtures,
)
from sparsemodels.solvers.sparse_codes import to_dense
from sparsemodels.solvers.unit_atoms import normalized


def planted(seed, n_signals=600, n_features=40, n_true=50, n_nonzero=2, n_atoms=100, noise=None, dtype=np.float64):
    """The generator of the paper: signals, atoms to start at (noisy points of their own) and true atoms."""
    random = np.random.RandomState(seed)
    truth = normalized(random.standard_normal((n_true, n_features)))
    codes = np.zeros((n_signals + n_atoms, n_true))
    for code in codes:
        code[random.choice(n_true, n_nonzero, replace=False)] = random.standard_normal(n_nonzero)
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    noise = 1.0 / np.sqrt(n_features) if noise is None else noise
    points = codes @ truth + noise * random.standard_normal((n_signals + n_atoms, n_features))
    return points[:n_signals].astype(dtype), normalized(points[n_signals:]).astype(dtype), truth


def recovery_error(truth, atoms):
    """The mean over true atoms of the smallest cosine distance to a learned atom, whatever its sign."""
    return float(np.mean(1.0 - np.abs(truth @ normalized(atoms).T).max(axis=1)))


def raw_omp(X, atoms, n_nonzero):
    """The codes of scikit-learn, whose pursuit compares raw inner products."""
    return orthogonal_mp(atoms.T, X.T, n_nonzero_coefs=n_nonzero).T.reshape(X.shape[0], -1)


def test_folds_share_out_the_features():
    folds = feature_folds(23, 0.2, np.random.RandomState(0))
    assert len(folds) == 5
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(23))
    assert max(map(len, folds)) - min(map(len, folds)) == 1
    assert all(np.all(np.diff(fold) > 0) for fold in folds)
    assert len(feature_folds(23, 0.0, np.random.RandomState(0))) == 1
    assert len(feature_folds(3, 0.1, np.random.RandomState(0))) == 3


def test_codes_do_not_depend_on_hidden_features():
    X, atoms, _ = planted(0, n_signals=50)
    hidden = np.array([0, 3, 17, 39])
    codes = to_dense(codes_from_visible(OMP(3, normalize=False), X, atoms, hidden))
    changed_X, changed_atoms = X.copy(), atoms.copy()
    changed_X[:, hidden] = 1e6
    changed_atoms[:, hidden] = -1e6
    again = to_dense(codes_from_visible(OMP(3, normalize=False), changed_X, changed_atoms, hidden))
    np.testing.assert_array_equal(again, codes)
    visible = np.setdiff1d(np.arange(40), hidden)
    np.testing.assert_allclose(codes, raw_omp(X[:, visible], atoms[:, visible], 3), atol=1e-10)


def test_raw_and_normalized_scores_differ():
    X, atoms, _ = planted(0, n_signals=200)
    hidden = np.arange(12)
    raw = to_dense(codes_from_visible(OMP(2, normalize=False), X, atoms, hidden))
    scaled = to_dense(codes_from_visible(OMP(2), X, atoms, hidden))
    parts = atoms[:, 12:] / np.linalg.norm(atoms[:, 12:], axis=1, keepdims=True)
    np.testing.assert_array_equal(scaled != 0.0, raw_omp(X[:, 12:], parts, 2) != 0.0)
    assert np.any((raw != 0.0) != (scaled != 0.0))


def test_gradient_by_differences():
    X, atoms, _ = planted(1, n_signals=80)
    hidden = np.array([2, 5, 30])
    codes = codes_from_visible(OMP(3, normalize=False), X, atoms, hidden)
    loss, gradient = masked_loss(X, atoms, codes, hidden)
    assert loss == pytest.approx(0.5 * np.sum((X - to_dense(codes) @ atoms)[:, hidden] ** 2), rel=1e-12)
    step = 1e-3
    for a, column in [(0, 0), (7, 1), (50, 2), (99, 0)]:
        shifted = [atoms.copy(), atoms.copy()]
        shifted[0][a, hidden[column]] += step
        shifted[1][a, hidden[column]] -= step
        up, down = (masked_loss(X, moved, codes, hidden)[0] for moved in shifted)
        # the loss is quadratic: central differences have no error but rounding
        assert gradient[a, column] == pytest.approx((up - down) / (2.0 * step), rel=1e-7, abs=1e-9)
    visible = np.setdiff1d(np.arange(40), hidden)
    moved = atoms.copy()
    moved[:, visible] += 1.0
    assert masked_loss(X, moved, codes, hidden)[0] == loss


def test_one_pass_is_a_ridge_regression_per_fold():
    X, atoms, _ = planted(2, n_signals=200)
    found = learn_masked(
        X, atoms, OMP(2, normalize=False), 0.25, shrinkage=3.0, validation_fraction=0.0, max_iter=1,
        random_state=np.random.RandomState(5),
    )  # fmt: skip
    folds = feature_folds(40, 0.25, np.random.RandomState(5))  # without validation signals nothing else is drawn
    expected, squared = np.empty_like(atoms), 0.0
    for hidden in folds:
        visible = np.setdiff1d(np.arange(40), hidden)
        Z = raw_omp(X[:, visible], atoms[:, visible], 2)
        errors = X[:, hidden] - Z @ atoms[:, hidden]
        squared += np.sum(errors**2)
        # least squares with rows for the ridge, not normal equations
        ridge = np.sqrt(3.0 * 40 * np.mean(errors**2)) * np.eye(100)
        targets = np.vstack([X[:, hidden], np.zeros((100, hidden.size))])
        expected[:, hidden] = np.linalg.lstsq(np.vstack([Z, ridge]), targets, rcond=None)[0]
    unused = ~expected.any(axis=1)
    expected[unused] = atoms[unused]
    assert found.objective_history[0] == pytest.approx(squared / np.sum(X**2), rel=1e-10)
    assert found.objective == found.objective_history[1] < found.objective_history[0]
    np.testing.assert_allclose(found.atoms, normalized(expected), atol=1e-7)


def test_validation_signals_are_not_learned_from():
    X, atoms, _ = planted(3, n_signals=100)
    chosen = np.random.RandomState(5).permutation(100)[80:]  # the first draw: the last fifth validates
    options = {"validation_fraction": 0.2, "max_iter": 2, "patience": 10, "masked_fraction": 0.25}
    coder = OMP(2, normalize=False)
    first = learn_masked(X, atoms, coder, random_state=np.random.RandomState(5), **options)
    changed = X.copy()
    changed[chosen] += 1.0
    second = learn_masked(changed, atoms, coder, random_state=np.random.RandomState(5), **options)
    np.testing.assert_array_equal(first.training_history, second.training_history)
    assert np.all(first.objective_history != second.objective_history)


def test_hiding_helps_when_atoms_are_too_many():
    gains = []
    for seed in range(3):
        X, atoms, truth = planted(seed, n_atoms=150)
        plain, masked = (
            learn_masked(X, atoms, OMP(2, normalize=False), fraction, random_state=np.random.RandomState(seed))
            for fraction in (0.0, 0.1)
        )
        gains.append(recovery_error(truth, plain.atoms) - recovery_error(truth, masked.atoms))
        assert masked.objective == masked.objective_history.min()
        np.testing.assert_allclose(np.linalg.norm(masked.atoms, axis=1), 1.0, rtol=1e-12)
    assert min(gains) > 0.0
    assert np.mean(gains) > 0.02


def test_without_noise_the_ridge_vanishes():
    X, _, truth = planted(0, n_signals=1000, noise=0.0)
    random = np.random.RandomState(1)
    start = normalized(truth + 0.02 * random.standard_normal(truth.shape))
    found = learn_masked(X, start, OMP(2, normalize=False), 0.25, max_iter=40, tol=0.0, random_state=random)
    assert recovery_error(truth, found.atoms) < 0.1 * recovery_error(truth, start)


def test_other_coders():
    X, atoms, _ = planted(0, n_signals=200)
    found = learn_masked(X, atoms, LassoCD(0.3), 0.25, max_iter=3, random_state=np.random.RandomState(0))
    assert found.objective < found.objective_history[0]


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_scale_of_the_signals_does_not_matter(scale):
    X, atoms, _ = planted(0, n_signals=200)
    plain = learn_masked(X, atoms, OMP(2), 0.25, max_iter=3, random_state=np.random.RandomState(0))
    scaled = learn_masked(scale * X, 7.0 * atoms, OMP(2), 0.25, max_iter=3, random_state=np.random.RandomState(0))
    np.testing.assert_allclose(scaled.atoms, plain.atoms, atol=1e-8)
    np.testing.assert_allclose(scaled.objective_history, plain.objective_history, rtol=1e-8)
    assert scaled.kkt == pytest.approx(plain.kkt, rel=1e-6)


def test_threads_change_no_bit():
    X, atoms, _ = planted(0, n_signals=2500, n_atoms=60)
    one, two = (
        learn_masked(X, atoms, OMP(2), 0.5, max_iter=2, random_state=np.random.RandomState(0), n_jobs=n_jobs)
        for n_jobs in (1, 2)
    )
    np.testing.assert_array_equal(one.atoms, two.atoms)


def test_single_precision_stays():
    X, atoms, _ = planted(0, n_signals=200, dtype=np.float32)
    before = X.copy(), atoms.copy()
    found = learn_masked(X, atoms, OMP(2), 0.25, max_iter=3, random_state=np.random.RandomState(0))
    assert found.atoms.dtype == np.float32
    assert found.objective < found.objective_history[0]
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(atoms, before[1])


@pytest.mark.parametrize("X", [np.zeros((30, 8)), np.vstack([np.zeros((29, 8)), np.ones((1, 8))])])
def test_signals_of_zeros(X):
    start = normalized(np.random.RandomState(0).standard_normal((12, 8)))
    found = learn_masked(X, start, OMP(2), 0.25, max_iter=3, random_state=np.random.RandomState(0))
    np.testing.assert_allclose(np.linalg.norm(found.atoms, axis=1), 1.0, rtol=1e-12)
    assert np.isfinite(found.objective)


def test_how_a_fit_ends():
    X, atoms, _ = planted(0, n_signals=100)

    def interrupt(n_iter, objective):
        if n_iter == 2:
            raise KeyboardInterrupt

    def fit(**options):
        return learn_masked(X, atoms, OMP(2), 0.25, random_state=np.random.RandomState(0), **options)

    cut = fit(max_iter=3, patience=50)
    assert (cut.status, cut.n_iter, cut.objective_history.size) == ("max_iter", 3, 4)
    stopped = fit(on_iteration=lambda n_iter, objective: n_iter == 2)
    assert (stopped.status, stopped.n_iter) == ("stopped", 2)
    interrupted = fit(on_iteration=interrupt)
    assert (interrupted.status, interrupted.n_iter) == ("interrupted", 2)
    np.testing.assert_array_equal(interrupted.atoms, stopped.atoms)
    late = fit(deadline=time.monotonic() - 1.0)
    assert (late.status, late.n_iter) == ("time_limit", 0)
    np.testing.assert_allclose(late.atoms, atoms, rtol=1e-12)
    waited = fit(patience=2, max_iter=200)
    assert waited.status == "converged"
    assert waited.objective_history[-1] >= waited.objective


def test_random_mixtures_vary_as_the_signals_do():
    scales = np.array([1.0, 2.0, 0.0, 5.0])
    X = (np.random.RandomState(0).standard_normal((300, 4)) * scales).astype(np.float32)
    atoms = random_mixtures(X, 4000, np.random.RandomState(1))
    assert atoms.shape == (4000, 4)
    assert atoms.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(atoms, axis=1), 1.0, rtol=1e-6)
    # directions of a Gaussian with the second moments of the signals: so are those of fresh draws from it
    fresh = np.random.default_rng(2).multivariate_normal(np.zeros(4), X.T @ X / 300, size=4000, method="svd")
    fresh /= np.linalg.norm(fresh, axis=1, keepdims=True)
    np.testing.assert_allclose(atoms.T @ atoms / 4000, fresh.T @ fresh / 4000, atol=0.02)  # sampling error 0.005


def paper_loop(X, atoms, n_nonzero, masked_fraction, random, n_epochs=500, batch=200, rate=1e-3):
    """The optimiser of the paper: Adam on the masked loss of minibatches, atoms brought to norm one after each."""
    atoms = atoms.copy()
    first, second, step = np.zeros_like(atoms), np.zeros_like(atoms), 0
    n_features = X.shape[1]
    for _ in range(n_epochs):
        for start in range(0, X.shape[0], batch):
            part = X[start : start + batch]
            hidden = np.arange(n_features)
            if masked_fraction:
                hidden = np.sort(random.permutation(n_features)[: round(masked_fraction * n_features)])
            codes = codes_from_visible(OMP(n_nonzero, normalize=False), part, atoms, hidden)
            gradient = np.zeros_like(atoms)
            gradient[:, hidden] = masked_loss(part, atoms, codes, hidden)[1] * (2.0 / part.shape[0])
            step += 1
            first += 0.1 * (gradient - first)
            second += 0.001 * (gradient**2 - second)
            atoms -= rate * (first / (1.0 - 0.9**step)) / (np.sqrt(second / (1.0 - 0.999**step)) + 1e-8)
            atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    return atoms


def overrealised(seed):
    """Twice as many atoms as true ones, and signals as noisy as they are long: the setting of the paper's Figure 1."""
    return planted(seed, 1000, 100, 200, 5, 400, dtype=np.float32)


def ours(X, atoms, fraction, seed):
    random_state = np.random.RandomState(seed)
    return learn_masked(X, atoms, OMP(5, normalize=False), fraction, max_iter=30, random_state=random_state).atoms


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_masking_beats_the_plain_objective_for_every_seed(seed):
    X, atoms, truth = overrealised(seed)
    masked, plain = (recovery_error(truth, ours(X, atoms, fraction, seed)) for fraction in (0.1, 0.0))
    assert masked < plain
    assert masked < 0.376 - 0.02  # the paper's figure after 500 epochs


@pytest.mark.slow
def test_the_figures_of_the_paper():
    """The paper's loop, Adam on the loss of hidden features (Chidambaram et al., 2023, Figure 1: .449 and .376)."""
    X, atoms, truth = overrealised(0)
    plain, masked = (
        recovery_error(truth, paper_loop(X, atoms, 5, fraction, np.random.RandomState(0))) for fraction in (0.0, 0.1)
    )
    assert plain == pytest.approx(0.43, abs=0.02)
    assert masked == pytest.approx(0.38, abs=0.02)
    assert recovery_error(truth, ours(X, atoms, 0.1, 0)) < masked - 0.04
