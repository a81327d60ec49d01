import pickle
import time
import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.decomposition import DictionaryLearning, SparseCoder

# Where a fit must converge the test says so by its status.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SOLVERS = ["online", "ksvd", "mod", "bcd"]
CHECKED = [
    DictionaryLearning(max_iter=10),
    DictionaryLearning(4, solver="ksvd", coder="ols", max_iter=10),
    DictionaryLearning(4, solver="mod", coder="lasso_cd", alpha=0.1, max_iter=10),
    DictionaryLearning(4, solver="bcd", coder="lasso_lars", alpha=0.1, positive=True, max_iter=10),
    DictionaryLearning(4, coder="topk", positive_components=True, output="csr", max_iter=10),
    DictionaryLearning(4, masked_fraction=0.2, max_iter=5),
]


def planted(seed, n_samples=2000, n_features=20, n_atoms=40, n_nonzero=3, noise=0.01):
    rng = np.random.default_rng(seed)
    atoms = rng.standard_normal((n_atoms, n_features))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    codes = np.zeros((n_samples, n_atoms))
    for code in codes:
        code[rng.choice(n_atoms, n_nonzero, replace=False)] = rng.standard_normal(n_nonzero)
    return codes @ atoms + noise * rng.standard_normal((n_samples, n_features)), atoms


X = planted(0, 200, 10, 15, 2)[0]
KNOWN = np.random.default_rng(1).random(X.shape) < 0.8
SHORT = {"n_nonzero_coefs": 2, "max_iter": 15, "random_state": 0}


def recovered(model, atoms):
    return np.mean(np.abs(atoms @ model.components_.T).max(axis=1) > 0.99)


@parametrize_with_checks(CHECKED)
def test_sklearn_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        check(estimator)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("solver", SOLVERS)
def test_planted_dictionary_is_recovered(solver, seed):
    signals, atoms = planted(seed)
    model = DictionaryLearning(40, solver=solver, n_nonzero_coefs=3, random_state=seed).fit(signals)
    assert recovered(model, atoms) >= 0.9


def stationarity(model, X, known=None, positive=False):
    """The certificate by its definition, one atom at a time."""
    known = np.ones(X.shape, dtype=bool) if known is None else known
    codes, atoms = model.codes_.toarray().astype(float), model.components_.astype(float)
    residual = np.where(known, X - codes @ atoms, 0.0)
    total = 0.0
    for a in np.flatnonzero(codes.any(axis=0)):
        curvature = codes[:, a] @ codes[:, a]
        best = codes[:, a] @ residual + curvature * atoms[a]
        best = np.maximum(best, 0.0) if positive else best
        total += curvature * np.sum((best / np.linalg.norm(best) - atoms[a]) ** 2)
    return np.sqrt(total) / np.linalg.norm(X[known])


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("coder", ["omp", "lasso_cd"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_certificate_objective_and_error_from_outside(solver, coder, masked):
    known = KNOWN if masked else np.ones(X.shape, dtype=bool)
    model = DictionaryLearning(12, solver=solver, coder=coder, alpha=0.1, **SHORT).fit(X, mask=known)
    np.testing.assert_allclose(np.linalg.norm(model.components_, axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(model.kkt_, stationarity(model, X, known), rtol=1e-6, atol=1e-10)
    codes = model.codes_.toarray()
    error = np.sum(np.where(known, X - codes @ model.components_, 0.0) ** 2)
    penalty = 0.1 * np.abs(codes).sum() if coder == "lasso_cd" else 0.0
    np.testing.assert_allclose(model.reconstruction_err_, np.sqrt(error), rtol=1e-9)
    np.testing.assert_allclose(model.objective_, 0.5 * error + penalty, rtol=1e-9)
    np.testing.assert_allclose(model.objective_history_[-1], model.objective_, rtol=1e-9)
    if coder == "lasso_cd":
        assert 0.0 <= model.coding_gap_ <= 1e-4  # the tolerance of the coder
    else:
        assert np.isnan(model.coding_gap_)
        assert np.diff(model.codes_.indptr).max() <= 2
    if solver != "online":
        assert np.all(np.diff(model.objective_history_) <= 1e-9 * model.objective_history_[0])


@pytest.mark.parametrize("solver", SOLVERS)
def test_fits_converge(solver):
    model = DictionaryLearning(12, solver=solver, n_nonzero_coefs=2, n_trials=0, max_iter=500, random_state=0).fit(X)
    assert model.status_ == "converged"
    assert model.kkt_ <= 1e-3


@pytest.mark.parametrize("solver", ["ksvd", "mod", "bcd"])
def test_lasso_fits_reach_a_stationary_pair(solver):
    model = DictionaryLearning(6, solver=solver, coder="lasso_lars", alpha=0.2, tol=1e-4, max_iter=3000, random_state=0,
                               n_trials=0).fit(X)  # fmt: skip
    assert model.status_ == "converged"
    assert model.coding_gap_ <= 1e-10
    # No unit atoms near these have a lower objective with their own best codes.
    rng = np.random.default_rng(0)
    for size in (1e-2, 1e-1):
        nearby = model.components_ + size * rng.standard_normal(model.components_.shape)
        nearby /= np.linalg.norm(nearby, axis=1, keepdims=True)
        codes = SparseCoder(nearby, algorithm="lasso_lars", alpha=0.2, output="dense").fit_transform(X)
        assert 0.5 * np.sum((X - codes @ nearby) ** 2) + 0.2 * np.abs(codes).sum() > model.objective_ * (1.0 - 1e-6)


def test_exact_rank_one_is_monotone_and_recovers():
    signals, atoms = planted(3, 1500, 12, 18, 2)
    model = DictionaryLearning(18, solver="ksvd", exact_rank_one=True, n_nonzero_coefs=2, random_state=0).fit(signals)
    assert recovered(model, atoms) >= 0.9
    assert np.all(np.diff(model.objective_history_) <= 1e-9 * model.objective_history_[0])


@pytest.mark.parametrize("solver", SOLVERS)
def test_scaling_the_signals_scales_the_codes(solver):
    model = DictionaryLearning(12, solver=solver, **SHORT).fit(X)
    scaled = clone(model).fit(1024.0 * X)
    np.testing.assert_allclose(scaled.components_, model.components_, atol=1e-8)
    np.testing.assert_allclose(scaled.codes_.toarray(), 1024.0 * model.codes_.toarray(), atol=1e-5)
    np.testing.assert_allclose(scaled.kkt_, model.kkt_, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("solver", ["ksvd", "mod", "bcd"])
def test_permuting_features_permutes_atoms(solver):
    order = np.random.default_rng(0).permutation(X.shape[1])
    # Replacements depend on the signs of singular vectors, and trials amplify rounding.
    model = DictionaryLearning(12, solver=solver, replace_unused=None, n_trials=0, **SHORT).fit(X)
    permuted = clone(model).fit(np.ascontiguousarray(X[:, order]))
    np.testing.assert_allclose(permuted.components_, model.components_[:, order], atol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_ways_to_be_missing_agree(solver):
    reference = DictionaryLearning(8, solver=solver, **SHORT).fit(X, mask=KNOWN)
    codes = reference.transform(X, mask=KNOWN)
    assert not np.allclose(reference.components_, clone(reference).fit(X).components_)
    for filler in (np.nan, 1e300, -np.inf):
        data = np.where(KNOWN, X, filler)
        arguments = {} if np.isnan(filler) else {"mask": KNOWN}
        model = clone(reference).fit(data, **arguments)
        np.testing.assert_array_equal(model.components_, reference.components_)
        np.testing.assert_array_equal(model.transform(data, **arguments), codes)


def test_a_feature_without_known_entries_is_ignored():
    known = np.ones(X.shape, dtype=bool)
    known[:, 4] = False
    rest = np.delete(np.arange(X.shape[1]), 4)
    start = np.random.default_rng(0).standard_normal((8, X.shape[1]))
    start[:, 4] = 0.0
    model = DictionaryLearning(8, solver="bcd", init=start, **SHORT).fit(X, mask=known)
    without = DictionaryLearning(8, solver="bcd", init=start[:, rest], **SHORT).fit(np.ascontiguousarray(X[:, rest]))
    np.testing.assert_allclose(model.components_[:, rest], without.components_, atol=1e-7)
    np.testing.assert_allclose(model.components_[:, 4], 0.0, atol=1e-12)


def test_missing_entries_are_predicted():
    signals, _ = planted(0, 1500, 16, 16, 2)
    known = np.random.default_rng(0).random(signals.shape) < 0.8
    model = DictionaryLearning(16, solver="mod", n_nonzero_coefs=2, random_state=0).fit(signals, mask=known)
    filled = model.inverse_transform(model.transform(signals, mask=known))
    hidden = ~known
    assert np.sum((filled - signals)[hidden] ** 2) < 0.2 * np.sum(signals[hidden] ** 2)


@pytest.mark.parametrize("coder", ["omp", "lasso_cd"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_threads_do_not_change_the_answer(solver, coder):
    signals = planted(1, 1500, 8, 12, 2)[0]
    settings = {"solver": solver, "coder": coder, "alpha": 0.1, **SHORT, "max_iter": 4, "batch_size": 1100}
    one, two = (DictionaryLearning(10, n_jobs=n_jobs, **settings).fit(signals) for n_jobs in (1, 2))
    np.testing.assert_array_equal(one.components_, two.components_)
    np.testing.assert_array_equal(one.codes_.toarray(), two.codes_.toarray())


@pytest.mark.parametrize("solver", SOLVERS)
def test_single_precision_is_kept(solver):
    model = DictionaryLearning(12, solver=solver, **SHORT).fit(X.astype(np.float32))
    assert model.components_.dtype == model.transform(X.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(model.components_, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(model.kkt_, stationarity(model, X.astype(np.float32)), rtol=1e-2, atol=1e-5)


def test_one_pass_is_a_sequence_of_partial_fits_of_the_same_batches():
    start = np.random.default_rng(0).standard_normal((12, X.shape[1]))
    settings = {"init": start, "n_nonzero_coefs": 2, "replace_unused": None}
    whole = DictionaryLearning(12, shuffle=False, batch_size=64, max_iter=1, **settings).fit(X)
    parts = DictionaryLearning(12, **settings)
    for begin in range(0, X.shape[0], 64):
        parts.partial_fit(X[begin : begin + 64])
    np.testing.assert_allclose(parts.components_, whole.components_, atol=1e-12)
    assert parts.n_steps_ == 4


@pytest.mark.parametrize("masked", [False, True])
def test_partial_fit_on_unequal_batches_sums_what_it_says(masked):
    known = KNOWN if masked else np.ones(X.shape, dtype=bool)
    model = DictionaryLearning(6, n_nonzero_coefs=2, random_state=0, replace_unused=None)
    ends, start, codes, filled = [37, 38, 120, 200], 0, [], []
    for end in ends:
        part, seen = X[start:end], known[start:end]
        if start == 0:  # to know the atoms that code the first batch
            model.init = np.random.default_rng(0).standard_normal((6, X.shape[1]))
            model.init /= np.linalg.norm(model.init, axis=1, keepdims=True)
        atoms = model.components_ if start else model.init
        code = SparseCoder(atoms, n_nonzero_coefs=2, output="dense").fit(part).transform(part, mask=seen)
        codes.append(code)
        filled.append(np.where(seen, part, code @ atoms))
        model.partial_fit(part, mask=seen)
        start = end
    Z, F = np.concatenate(codes), np.concatenate(filled)
    weights = (np.arange(1, 201) / 200) ** 5.0
    np.testing.assert_allclose(model._sums[0], (Z.T * weights) @ Z, atol=1e-10)
    np.testing.assert_allclose(model._sums[1], (Z.T * weights) @ F, atol=1e-10)


def test_partial_fit_learns_and_a_new_fit_forgets():
    signals, _ = planted(2, 3000, 12, 12, 2)
    model = DictionaryLearning(12, n_nonzero_coefs=2, random_state=0)
    for begin in range(0, 3000, 100):
        model.partial_fit(signals[begin : begin + 100])
    first = model.score(signals)
    assert first > -0.2 * np.mean(signals**2)
    model.fit(signals)
    assert not hasattr(model, "n_steps_")
    model.partial_fit(signals[:5])
    assert model.n_steps_ == 1


def test_unused_atoms_find_work():
    signals = np.where(np.arange(10) == 9, 0.0, X)
    start = np.random.default_rng(0).standard_normal((12, 10))
    start[6:] = np.eye(10)[9]  # no signal needs it
    idle = DictionaryLearning(12, solver="bcd", init=start, replace_unused=None, n_trials=0, **SHORT).fit(signals)
    assert np.count_nonzero(idle.codes_.toarray().any(axis=0)) < 12
    for rule in ("worst", "random"):
        model = clone(idle).set_params(replace_unused=rule).fit(signals)
        assert model.codes_.toarray().any(axis=0).all()
        assert model.objective_ < idle.objective_
        assert model.coherence_ < 0.99


@pytest.mark.parametrize("solver", SOLVERS)
def test_coherence_is_capped(solver):
    free = DictionaryLearning(15, solver=solver, **SHORT).fit(X)
    model = clone(free).set_params(coherence_max=0.45).fit(X)
    products = np.abs(model.components_ @ model.components_.T) - np.eye(15)
    np.testing.assert_allclose(products.max(), model.coherence_, rtol=1e-9)
    assert model.coherence_ <= 0.45 < free.coherence_
    with pytest.raises(ValueError, match=r"coherence_max=0\.05 cannot be met: 15 atoms of 10 features"):
        clone(free).set_params(coherence_max=0.05).fit(X)


@pytest.mark.parametrize("solver", SOLVERS)
def test_signs_are_kept(solver):
    signals = np.abs(X)
    model = DictionaryLearning(6, solver=solver, coder="lasso_cd", alpha=0.05, positive=True, positive_components=True,
                               max_iter=30, random_state=0).fit(signals)  # fmt: skip
    assert model.components_.min() >= 0.0
    assert model.codes_.data.min() >= 0.0
    np.testing.assert_allclose(np.linalg.norm(model.components_, axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(model.kkt_, stationarity(model, signals, positive=True), rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("coder", ["omp", "ols", "lasso_cd", "lasso_lars", "iht", "cosamp", "topk", "abstopk"])
def test_every_coder_codes_alike_in_fit_and_transform(coder):
    model = DictionaryLearning(8, solver="bcd", coder=coder, alpha=0.1, **SHORT)
    codes = model.fit_transform(X)
    same = SparseCoder(model.components_, algorithm=coder, n_nonzero_coefs=2, alpha=0.1, tol=1e-4, output="dense")
    if coder not in ("iht", "cosamp"):  # their own tolerances differ
        np.testing.assert_allclose(codes, same.fit_transform(X), atol=2e-2)
    np.testing.assert_array_equal(model.transform(X), codes)
    np.testing.assert_allclose(model.inverse_transform(scipy.sparse.csr_array(codes)), codes @ model.components_)
    np.testing.assert_allclose(model.score(X), -np.mean((X - codes @ model.components_) ** 2), rtol=1e-9)
    assert model.objective_ < model.objective_history_[0]


def test_residual_bound_is_met():
    model = DictionaryLearning(15, max_residual=0.2, max_iter=5, random_state=0).fit(X)
    assert np.linalg.norm(X - model.inverse_transform(model.transform(X)), axis=1).max() <= 0.2 + 1e-9


def test_metric_is_learning_in_its_coordinates():
    rng = np.random.default_rng(0)
    factor = np.tril(rng.standard_normal((10, 10))) + 3.0 * np.eye(10)
    metric = factor @ factor.T
    start = rng.standard_normal((12, 10))
    L = np.linalg.cholesky(metric)
    model = DictionaryLearning(12, solver="ksvd", init=start, metric=metric, **SHORT).fit(X)
    plain = DictionaryLearning(12, solver="ksvd", init=start @ L, **SHORT).fit(X @ L)
    np.testing.assert_allclose(model.components_ @ L, plain.components_, atol=1e-6)
    np.testing.assert_allclose(model.transform(X), plain.transform(X @ L), atol=1e-5)
    np.testing.assert_allclose(np.einsum("ij,jk,ik->i", model.components_, metric, model.components_), 1.0, rtol=1e-9)
    np.testing.assert_allclose(model.score(X), plain.score(X @ L), rtol=1e-6)
    error = X - model.codes_ @ model.components_
    np.testing.assert_allclose(model.reconstruction_err_**2, np.sum((error @ metric) * error), rtol=1e-6)


def test_masked_learning_is_wired():
    signals, _ = planted(0, 400, 20, 20, 2, noise=0.1)
    model = DictionaryLearning(30, masked_fraction=0.1, n_nonzero_coefs=2, max_iter=10, random_state=0).fit(signals)
    assert model.objective_ == model.objective_history_.min() < model.objective_history_[0]
    np.testing.assert_allclose(np.linalg.norm(model.components_, axis=1), 1.0, rtol=1e-12)
    assert not hasattr(model, "partial_fit")
    with pytest.raises(ValueError, match="masked_fraction needs X without missing entries"):
        model.fit(np.where(signals > 1.0, np.nan, signals))


def test_more_atoms_than_signals_zero_signals_and_zero_data():
    few = DictionaryLearning(12, solver="ksvd", n_nonzero_coefs=2, random_state=0).fit(X[:5])
    assert few.reconstruction_err_ < 1e-6 * np.linalg.norm(X[:5])
    mixed = DictionaryLearning(5, **SHORT).fit(np.concatenate([X[:50], np.zeros((5, 10))]))
    assert not mixed.transform(np.zeros((1, 10))).any()
    for solver in SOLVERS:
        nothing = DictionaryLearning(3, solver=solver, random_state=0).fit(np.zeros((6, 4)))
        assert nothing.status_ == "converged"
        assert nothing.kkt_ == nothing.objective_ == 0.0
        np.testing.assert_allclose(np.linalg.norm(nothing.components_, axis=1), 1.0, rtol=1e-12)


def test_a_penalty_above_all_correlations_gives_zero_codes():
    model = DictionaryLearning(5, coder="lasso_cd", alpha=100.0, max_iter=20, random_state=0).fit(X)
    assert model.codes_.nnz == 0
    np.testing.assert_allclose(model.objective_, 0.5 * np.sum(X**2), rtol=1e-12)
    assert model.kkt_ == 0.0


@pytest.mark.parametrize("solver", ["online", "ksvd"])
def test_time_limit_keeps_the_dictionary(solver):
    signals = planted(0)[0]
    begin = time.monotonic()
    with pytest.warns(ConvergenceWarning, match="the time_limit was reached"):
        model = DictionaryLearning(40, solver=solver, n_nonzero_coefs=3, tol=0.0, max_iter=100_000, time_limit=0.5,
                                   random_state=0).fit(signals)  # fmt: skip
    assert time.monotonic() - begin < 30.0
    assert model.status_ == "time_limit"
    np.testing.assert_allclose(model.kkt_, stationarity(model, signals), rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("solver", ["online", "mod"])
def test_interruption_keeps_the_dictionary(solver, monkeypatch):
    import sparsemodels.solvers.alternating_dictionary as driver

    calls = []

    def interrupting(*arguments, **options):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    name = "pass_over" if solver == "online" else "improved"
    original = getattr(driver, name)
    monkeypatch.setattr(driver, name, interrupting)
    model = DictionaryLearning(12, solver=solver, **SHORT)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert model.status_ == "interrupted"
    assert model.n_iter_ == 3
    np.testing.assert_allclose(model.kkt_, stationarity(model, X), rtol=1e-6, atol=1e-10)


def test_warning_names_certificate_tolerance_and_remedy():
    with pytest.warns(ConvergenceWarning, match=r"KKT residual .* > 1\.000e-09; increase max_iter or tol"):
        DictionaryLearning(12, tol=1e-9, max_iter=2, random_state=0).fit(X)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"init": np.ones((3, 10))}, r"init must have the shape of components_, \(5, 10\), got \(3, 10\)"),
        ({"metric": np.eye(3)}, r"metric must have one row and one column a feature, \(10, 10\), got \(3, 3\)"),
        ({"coder": "topk", "max_residual": 0.1}, "max_residual=0.1 needs the coder 'omp' or 'ols', got 'topk'"),
        ({"metric": np.eye(10), "positive_components": True}, "metric cannot be combined with positive_components"),
        ({"coherence_max": 0.5, "masked_fraction": 0.1}, "coherence_max cannot be combined"),
    ],
)
def test_contradictions_are_errors(settings, message):
    with pytest.raises(ValueError, match=message):
        DictionaryLearning(5, **settings).fit(X)
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        DictionaryLearning(5).fit(scipy.sparse.csr_array(X))


def test_nothing_of_the_caller_is_changed():
    data, start = X.copy(), np.random.default_rng(0).standard_normal((12, 10))
    data.flags.writeable = start.flags.writeable = False
    for solver in SOLVERS:
        DictionaryLearning(12, solver=solver, init=start, **SHORT).fit(data, mask=KNOWN)


def test_pickle_names_and_frames():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(10)])
    model = DictionaryLearning(4, **SHORT).set_output(transform="pandas").fit(frame)
    assert list(model.transform(frame).columns) == [f"dictionarylearning{a}" for a in range(4)]
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.transform(frame).to_numpy(), model.transform(frame).to_numpy())


@pytest.mark.parametrize("solver", ["online", "ksvd"])
def test_a_callback_stops_the_fit_and_the_best_atoms_are_kept(monkeypatch, solver):
    class Context:
        ends = 0

        def subcontext(self, **_):
            return self

        def call_on_fit_task_begin(self, **_):
            pass

        def call_on_fit_task_end(self, **_):
            self.ends += 1
            return self.ends >= 3

    X = np.random.default_rng(0).standard_normal((60, 8))
    monkeypatch.setattr(DictionaryLearning, "_init_callback_context", lambda self, **_: Context())
    model = DictionaryLearning(12, solver=solver, n_nonzero_coefs=2, tol=1e-9, random_state=0)
    with pytest.warns(ConvergenceWarning, match="a callback stopped the fit"):
        model.fit(X)
    assert (model.status_, model.n_iter_) == ("stopped", 3)
    error = np.linalg.norm(X - model.codes_ @ model.components_)
    assert model.reconstruction_err_ == pytest.approx(error, rel=1e-10)
