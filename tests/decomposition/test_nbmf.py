"""NBMF: unknown entries, orientations, samplers, predictions and the certificate of the estimator."""

import itertools
import pickle
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning

from sparsemodels.decomposition import NBMF

RANDOM = np.random.default_rng(0)
CODES = RANDOM.integers(0, 2, (3, 25))
CODES[:, :3] = np.eye(3)
X = RANDOM.integers(1, 9, (18, 3)) @ CODES + RANDOM.integers(0, 2, (18, 25)).astype(float)
MASK = RANDOM.random(X.shape) < 0.7
MASK[0, :3] = MASK[:3, 0] = True


def same(first, second):
    for name in ("codes_", "components_", "objective_history_", "row_offset_", "column_offset_", "kkt_"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize("share", [0.7, 0.3])
@pytest.mark.parametrize("parameters", [{}, {"binary": "codes", "fit_baseline": True, "prior": "mean"}])
def test_unknown_entries_have_no_influence(share, parameters):
    known = np.random.default_rng(1).random(X.shape) < share
    options = {"n_components": 3, "alpha": 0.05, "random_state": 0, **parameters}
    reference = NBMF(**options).fit(np.where(known, X, np.nan))
    for fill in (1e300, np.nan, -5.0, np.inf):
        same(reference, NBMF(**options).fit(np.where(known, X, fill), mask=known))
    same(reference, NBMF(**options).fit(X, weights=known.astype(float)))
    listed = np.nonzero(known)
    sparse = scipy.sparse.csr_array((X[listed], listed), shape=X.shape)
    same(reference, NBMF(**options, missing="implicit").fit(sparse))


def test_full_mask_dense_and_sparse_agree():
    options = {"n_components": 3, "random_state": 0}
    reference = NBMF(**options).fit(X)
    same(reference, NBMF(**options).fit(X, mask=np.ones(X.shape, dtype=bool)))
    same(reference, NBMF(**options).fit(X, weights=np.ones(X.shape)))
    Z = X * (X > 4.0)
    dense, sparse = (NBMF(**options).fit(form) for form in (Z, scipy.sparse.csr_array(Z)))
    np.testing.assert_array_equal(dense.components_, sparse.components_)
    np.testing.assert_allclose(dense.codes_, sparse.codes_, atol=1e-10)
    assert dense.rating_range_ == sparse.rating_range_ == (0.0, X.max())


def test_weights_count_entries():
    weights = np.random.default_rng(0).integers(1, 4, X.shape[0]).astype(float)
    each = np.repeat(weights[:, None], X.shape[1], axis=1)
    by_weight = NBMF(3, random_state=0).fit(X, weights=each)
    by_repetition = NBMF(3, random_state=0).fit(np.repeat(X, weights.astype(int), axis=0))
    np.testing.assert_array_equal(by_weight.components_, by_repetition.components_)
    np.testing.assert_allclose(by_weight.objective_, by_repetition.objective_, rtol=1e-10)


def test_scaling_the_data_scales_the_real_factor():
    options = {"n_components": 3, "alpha": 0.1, "random_state": 0, "prior": "mean", "fit_baseline": True}
    plain, scaled = NBMF(**options).fit(X, mask=MASK), NBMF(**options).fit(8.0 * X, mask=MASK)
    np.testing.assert_array_equal(plain.components_, scaled.components_)
    np.testing.assert_array_equal(8.0 * plain.codes_, scaled.codes_)  # a power of two: exactly
    assert plain.n_iter_ == scaled.n_iter_
    np.testing.assert_array_equal(plain.kkt_, scaled.kkt_)


@pytest.mark.parametrize("fit_baseline", [False, True])
def test_the_other_orientation_is_the_transpose(fit_baseline):
    options = {"n_components": 3, "alpha": 0.1, "random_state": 0, "fit_baseline": fit_baseline}
    components = NBMF(**options).fit(X, mask=MASK)
    codes = NBMF(**options, binary="codes").fit(np.ascontiguousarray(X.T), mask=MASK.T)
    np.testing.assert_array_equal(components.codes_, codes.components_.T)
    np.testing.assert_array_equal(components.components_, codes.codes_.T)
    np.testing.assert_array_equal(components.row_offset_, codes.column_offset_)
    assert components.objective_ == codes.objective_
    pairs = np.array([[0, 1], [5, 7]])
    np.testing.assert_allclose(components.predict_pairs(pairs), codes.predict_pairs(pairs[:, ::-1]))


def test_transform_solves_every_row():
    model = NBMF(3, alpha=0.1, random_state=0).fit(X, mask=MASK)
    ridge = 0.1 * MASK.sum() / X.shape[0]
    new = np.random.default_rng(3).integers(0, 9, (4, X.shape[1])).astype(float)
    known = np.random.default_rng(4).random(new.shape) < 0.5
    known[3] = False
    codes = model.transform(new, mask=known)
    for i in range(4):
        design = np.vstack([model.components_[:, known[i]].T, np.sqrt(ridge) * np.eye(3)])
        expected, _ = scipy.optimize.nnls(design, np.append(new[i, known[i]], np.zeros(3)))
        np.testing.assert_allclose(codes[i], expected, atol=1e-10)
    np.testing.assert_array_equal(codes[3], 0.0)
    np.testing.assert_allclose(model.transform(X, mask=MASK), model.codes_, atol=1e-10)
    np.testing.assert_allclose(model.fit_transform(X, mask=MASK), model.codes_, atol=1e-10)


@pytest.mark.parametrize("solver", ["auto", "tabu"])
def test_transform_finds_the_best_codes(solver):
    model = NBMF(3, binary="codes", solver=solver, random_state=0).fit(X.T)
    new = np.random.default_rng(3).integers(0, 9, (6, X.shape[0])).astype(float)
    codes = model.transform(new)
    for x, code in zip(new, codes, strict=True):
        errors = [np.sum((x - h @ model.components_) ** 2) for h in itertools.product((0.0, 1.0), repeat=3)]
        np.testing.assert_allclose(np.sum((x - code @ model.components_) ** 2), min(errors), rtol=1e-12)
    np.testing.assert_array_equal(model.transform(X.T), model.codes_)


@pytest.mark.parametrize("fit_baseline", [False, True])
def test_certificate_from_outside(fit_baseline):
    model = NBMF(3, alpha=0.2, fit_baseline=fit_baseline, tol=1e-8, random_state=0).fit(X, mask=MASK)
    assert model.is_block_optimal_
    assert (model.status_, model.n_inexact_, model.n_changed_) == ("converged", 0, 0)
    fit = model.codes_ @ model.components_ + model.mean_ + model.row_offset_[:, None] + model.column_offset_
    residual = MASK * (X - fit)
    ridge = 0.2 * MASK.sum() / X.shape[0]
    gradient = ridge * model.codes_ - residual @ model.components_.T
    curvature = ridge + MASK @ (model.components_.T**2)
    step = model.codes_ - np.maximum(model.codes_ - gradient / curvature, 0.0)
    squared = np.sum(curvature * step**2)
    if fit_baseline:
        for axis, offset in ((1, model.row_offset_), (0, model.column_offset_)):
            slope = 5.0 * offset - residual.sum(axis=axis)
            assert np.abs(slope).max() < 1e-6
        assert abs(residual.sum()) < 1e-5
    assert np.sqrt(squared / np.sum(X[MASK] ** 2)) <= 1e-8
    np.testing.assert_allclose(model.reconstruction_err_, np.linalg.norm(residual), rtol=1e-10)
    offsets = np.sum(model.row_offset_**2) + np.sum(model.column_offset_**2)
    objective = 0.5 * np.sum(residual**2) + 0.5 * ridge * np.sum(model.codes_**2) + 2.5 * offsets
    np.testing.assert_allclose(model.objective_, objective, rtol=1e-10)
    assert np.all(np.diff(model.objective_history_) <= 1e-12 * np.sum(X**2))
    assert len(model.objective_history_) == model.n_iter_
    if not fit_baseline:
        error = X - model.transform(X, mask=MASK) @ model.components_
        np.testing.assert_allclose(model.score(X, mask=MASK), -0.5 * np.mean(error[MASK] ** 2), rtol=1e-10)


def test_baseline_takes_entries_of_any_sign():
    centred = X - X.mean()
    with pytest.raises(ValueError, match="Negative values in data passed to NBMF"):
        NBMF().fit(centred)
    first = NBMF(3, fit_baseline=True, random_state=0, tol=1e-8).fit(X)
    second = NBMF(3, fit_baseline=True, random_state=0, tol=1e-8).fit(centred)
    np.testing.assert_array_equal(first.components_, second.components_)
    np.testing.assert_allclose(first.mean_ - second.mean_, X.mean(), rtol=1e-6)
    np.testing.assert_allclose(first.score(X), second.score(centred), rtol=1e-6)
    fitted = first.inverse_transform(first.transform(X)) + first.row_offset_[:, None]
    np.testing.assert_allclose(
        fitted[2:4, 3],
        first.codes_[2:4] @ first.components_[:, 3] + first.mean_ + first.row_offset_[2:4] + first.column_offset_[3],
        rtol=1e-3,
    )


@pytest.mark.parametrize("parameters", [{}, {"fit_baseline": True}, {"binary": "codes"}])
def test_predictions(parameters):
    known = MASK.copy()
    known[4], known[:, 7] = False, False
    model = NBMF(3, random_state=0, alpha=0.1, **parameters).fit(X, mask=known)
    assert model.rating_range_ == (X[known].min(), X[known].max())
    W, H = model.codes_.copy(), model.components_.copy()
    a, b = model.row_offset_.copy(), model.column_offset_.copy()
    rows, columns = known.any(axis=1), known.any(axis=0)
    assert not W[4].any()
    assert not H[:, 7].any()
    W[4], H[:, 7] = W[rows].mean(axis=0), H[:, columns].mean(axis=1)
    a[4], b[7] = a[rows].mean(), b[columns].mean()
    expected = np.clip(W @ H + model.mean_ + a[:, None] + b, *model.rating_range_)
    pairs = np.array(list(itertools.product(range(X.shape[0]), range(X.shape[1]))))
    np.testing.assert_allclose(model.predict_pairs(pairs).reshape(X.shape), expected, rtol=1e-10)
    assert model.predict_pairs(np.empty((0, 2), dtype=int)).shape == (0,)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [([[0, 25]], "columns below 25"), ([[-1, 0]], "rows below 18"), ([[0.5, 1.0]], "integer array"), ([1, 2], "shape")],
)
def test_bad_pairs_are_named(pairs, message):
    with pytest.raises(ValueError, match=message):
        NBMF(random_state=0).fit(X).predict_pairs(pairs)


class Sampler:
    """A sampler of the dimod kind: random bits, or always the worst ones."""

    def __init__(self, worst=False):
        self.worst, self.random = worst, np.random.default_rng(0)

    def sample_qubo(self, Q):
        names = sorted({a for pair in Q for a in pair})
        codes = list(itertools.product((0, 1), repeat=len(names)))
        energies = [sum(q * h[a] * h[b] for (a, b), q in Q.items()) for h in codes]
        best = np.argmax(energies) if self.worst else self.random.integers(len(codes))
        return SimpleNamespace(first=SimpleNamespace(sample=dict(zip(names, codes[best], strict=True))))


def test_any_sampler_descends_and_proves_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = NBMF(3, solver=Sampler(), random_state=0, n_init=1, n_perturbations=0, max_iter=5).fit(X)
    assert model.n_inexact_ == X.shape[1]
    assert not model.is_block_optimal_
    assert np.all(np.diff(model.objective_history_) <= 1e-12 * np.sum(X**2))
    assert model.objective_history_[-1] < model.objective_history_[0]


def test_worst_sampler_changes_no_code():
    model = NBMF(3, solver=Sampler(worst=True), random_state=0, n_init=1, n_perturbations=0).fit(X)
    assert model.status_ == "converged"  # nothing better was offered
    assert model.n_iter_ == 1


def test_a_callable_that_is_exact_finds_the_same():
    def brute(G, c, start, *, random_state):
        codes = np.array(list(itertools.product((0, 1), repeat=c.shape[1])), dtype=np.uint8)
        G = np.broadcast_to(G, (len(c), *G.shape[-2:]))
        values = [[0.5 * h @ g @ h - t @ h for h in codes.astype(float)] for g, t in zip(G, c, strict=True)]
        return codes[np.argmin(values, axis=1)]

    exact, called = (
        NBMF(3, solver=solver, random_state=0, n_init=1, n_perturbations=0).fit(X, mask=MASK)
        for solver in ("auto", brute)
    )
    np.testing.assert_allclose(called.objective_, exact.objective_, rtol=1e-10)
    assert called.n_inexact_ == X.shape[1]


@pytest.mark.parametrize("solver", ["enumerate", "sphere", "branch_and_bound"])
def test_exact_solvers_agree(solver):
    reference = NBMF(4, random_state=0, n_init=1, n_perturbations=0).fit(X, mask=MASK)
    other = NBMF(4, solver=solver, random_state=0, n_init=1, n_perturbations=0).fit(X, mask=MASK)
    np.testing.assert_allclose(other.objective_, reference.objective_, rtol=1e-10)
    assert other.is_block_optimal_


def test_what_is_not_proved_is_said():
    data = np.random.default_rng(0).random((12, 8))
    with pytest.warns(ConvergenceWarning, match="not proved optimal"):
        model = NBMF(
            14, solver="branch_and_bound", max_nodes=1, n_init=1, n_perturbations=0, random_state=0, alpha=0.01
        ).fit(data)
    assert model.n_inexact_ > 0
    assert not model.is_block_optimal_


def test_one_iteration_is_not_enough():
    with pytest.warns(ConvergenceWarning, match="replaced .* codes.*increase max_iter"):
        model = NBMF(3, max_iter=1, n_init=1, n_perturbations=0, random_state=0).fit(X)
    assert (model.status_, model.n_iter_) == ("max_iter", 1)
    assert not model.is_block_optimal_


def test_time_limit_keeps_a_model():
    with pytest.warns(ConvergenceWarning, match="time_limit"):
        model = NBMF(3, time_limit=1e-9, random_state=0).fit(X)
    assert model.status_ == "time_limit"
    assert np.isfinite(model.objective_)


def test_interruption_keeps_a_model():
    calls = []

    def interrupted(G, c, start, *, random_state):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return 1 - start

    model = NBMF(3, solver=interrupted, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert model.status_ == "interrupted"
    assert model.codes_.shape == (18, 3)


@pytest.mark.parametrize("parameters", [{}, {"binary": "codes", "fit_baseline": True}])
def test_float32_stays(parameters):
    narrow, wide = (NBMF(3, random_state=0, **parameters).fit(X.astype(t), mask=MASK) for t in (np.float32, np.float64))
    for name in ("codes_", "components_", "row_offset_"):
        assert getattr(narrow, name).dtype == np.float32
        np.testing.assert_allclose(getattr(narrow, name), getattr(wide, name), rtol=1e-4, atol=1e-4)
    codes = narrow.transform(X.astype(np.float32))
    assert codes.dtype == np.float32
    assert narrow.inverse_transform(codes).dtype == np.float32
    assert narrow.predict_pairs([[0, 0]]).dtype == np.float32


def test_threads_change_nothing():
    fits = [
        NBMF(3, random_state=0, n_init=1, n_perturbations=1, fit_baseline=True, n_jobs=n).fit(X, mask=MASK)
        for n in (1, 2)
    ]
    same(*fits)


def test_survives_a_pickle():
    model = NBMF(3, random_state=0, binary="codes", prior="mean").fit(X)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(model.transform(X), again.transform(X))


def test_prior_decides_where_the_data_do_not():
    """A column with one entry that two codes explain equally well takes the more frequent one."""
    tastes = np.random.default_rng(0).integers(1, 9, (30, 2)).astype(float)
    tastes[0] = 3.0  # the first user likes both genres alike
    genres = np.zeros((2, 21))
    genres[0, :15], genres[1, 15:20] = 1.0, 1.0
    data = tastes @ genres
    known = np.ones(data.shape, dtype=bool)
    known[1:, 20] = False
    data[0, 20] = 3.0
    model = NBMF(2, prior="mean", prior_strength=0.01, random_state=0, n_init=5).fit(data, mask=known)
    np.testing.assert_array_equal(model.components_[:, 20], model.components_[:, 0])
    ones = model.components_.sum(axis=1)
    np.testing.assert_allclose(model.bit_probabilities_, (ones + 1) / 23)
