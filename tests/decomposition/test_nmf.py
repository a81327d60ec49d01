import pickle
import time
import warnings

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
import sklearn
import sklearn.decomposition
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.decomposition import NMF

RNG = np.random.default_rng(0)
M, N, R = 60, 40, 3
X = RNG.gamma(0.8, 1.0, (M, R)) @ RNG.gamma(0.8, 1.0, (R, N)) + 0.3 * RNG.random((M, N))
MASKS = {"all": np.ones((M, N), dtype=bool), "most": RNG.random((M, N)) < 0.8, "some": RNG.random((M, N)) < 0.35}
RING = scipy.sparse.csr_array(np.roll(np.eye(M), 1, axis=1) + np.roll(np.eye(M), -1, axis=1))

# Where a fit must converge the test says so by its status.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

VARIANTS = {
    "hals": {},
    "bpp": {"solver": "bpp"},
    "mu": {"solver": "mu"},
    "newton": {"solver": "cd"},
    "kl": {"loss": "kullback-leibler"},
    "kl mu": {"loss": "kullback-leibler", "solver": "mu"},
    "beta": {"loss": 1.5},
    "elastic net": {"alpha_W": 0.01, "l1_ratio": 0.5},
    "bounded": {"upper_bound": 2.5},
    "simplex codes": {"simplex": "codes"},
    "simplex components": {"simplex": "components"},
    "graph": {"graph_W": RING, "alpha_W": 0.01},
    "correntropy": {"loss": "correntropy"},
    "huber": {"loss": "huber", "robust_axis": "features"},
    "l21": {"loss": "l21", "robust_axis": "samples"},
}


def implicit(known, values=X):
    i, j = np.nonzero(known)
    return scipy.sparse.csr_array((values[i, j], (i, j)), shape=values.shape)


CHECKED = [
    NMF(max_iter=2000),
    NMF(2, solver="bpp", max_iter=2000),
    NMF(2, solver="mu", max_iter=5000),
    NMF(2, loss="kullback-leibler", max_iter=2000),
    NMF(2, loss="huber", max_iter=2000),
    NMF(2, simplex="codes", max_iter=2000),
    NMF(2, init="random", missing="implicit", max_iter=2000),
]


@parametrize_with_checks(CHECKED)
def test_sklearn_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* rows and .* columns of X have no known entry", UserWarning)
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        check(estimator)


@pytest.mark.parametrize("share", MASKS)
@pytest.mark.parametrize("name", VARIANTS)
def test_every_solver_is_stationary_to_1e6(name, share):
    model = NMF(R, **VARIANTS[name], tol=1e-8, max_iter=20_000, random_state=0)
    codes = model.fit_transform(X, mask=MASKS[share])
    # Multiplicative updates and reweighting may need more than these iterations for the last two digits.
    assert model.kkt_ <= (1e-6 if name in ("mu", "kl mu", "correntropy", "l21", "huber") else 1e-8)
    assert codes.min() >= 0.0
    assert model.components_.min() >= 0.0
    assert np.all(np.diff(model.objective_history_) <= 1e-9 * abs(model.objective_))


@pytest.mark.parametrize("share", MASKS)
def test_certificate_and_error_from_outside(share):
    known = MASKS[share]
    model = NMF(R, tol=1e-3, random_state=0)
    W = model.fit_transform(X, mask=known)
    residual = np.where(known, W @ model.components_ - X, 0.0)
    total = 0.0
    for F, K, gradient, seen in (
        (W, model.components_.T, residual @ model.components_.T, known),
        (model.components_.T, W, residual.T @ W, known.T),
    ):
        curvature = seen @ K**2
        best = np.maximum(F - gradient / curvature, 0.0)
        total += np.sum(curvature * (F - best) ** 2)
    np.testing.assert_allclose(model.kkt_, np.sqrt(total) / np.linalg.norm(X[known]), rtol=1e-6)
    np.testing.assert_allclose(model.reconstruction_err_, np.linalg.norm(residual), rtol=1e-9)
    np.testing.assert_allclose(model.objective_, 0.5 * np.sum(residual**2), rtol=1e-9)


@pytest.mark.parametrize("share", ["most", "some"])
@pytest.mark.parametrize("name", ["hals", "bpp", "mu", "kl", "correntropy", "elastic net"])
def test_three_ways_to_be_missing_agree(name, share):
    known = MASKS[share]
    parameters = {**VARIANTS[name], "max_iter": 20, "random_state": 0}
    reference = NMF(R, **parameters)
    codes = reference.fit_transform(X, mask=known)
    others = [
        (np.where(known, X, np.nan), {}, "auto"),
        (implicit(known), {}, "implicit"),
        (X, {"weights": known.astype(float)}, "auto"),
        *((np.where(known, X, filler), {"mask": known}, "auto") for filler in (1e300, np.nan, -5.0, np.inf)),
    ]
    for data, arguments, missing in others:
        model = NMF(R, missing=missing, **parameters)
        np.testing.assert_array_equal(model.fit_transform(data, **arguments), codes)
        np.testing.assert_array_equal(model.components_, reference.components_)


def test_mask_of_ones_is_no_mask():
    one, other = NMF(R, random_state=0), NMF(R, random_state=0)
    np.testing.assert_array_equal(one.fit_transform(X), other.fit_transform(X, mask=MASKS["all"]))


@pytest.mark.parametrize("name", ["hals", "bpp", "mu", "kl", "huber"])
@pytest.mark.parametrize("share", MASKS)
def test_threads_change_no_bit(name, share):
    tall, known = np.vstack([X] * 30), np.vstack([MASKS[share]] * 30)
    results = []
    for n_jobs in (1, 2):
        model = NMF(R, **VARIANTS[name], max_iter=5, random_state=0, n_jobs=n_jobs)
        results.append((model.fit_transform(tall, mask=known), model.components_))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("share", ["all", "some"])
def test_float32_end_to_end(name, share):
    model = NMF(R, **VARIANTS[name], random_state=0, max_iter=50)
    codes = model.fit_transform(X.astype(np.float32), mask=MASKS[share])
    wide = NMF(R, **VARIANTS[name], random_state=0, max_iter=50).fit(X, mask=MASKS[share])
    assert codes.dtype == model.components_.dtype == np.float32
    assert model.transform(X.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(model.objective_, wide.objective_, rtol=2e-2)


def test_weights_repeat_entries():
    weights = RNG.integers(0, 3, (M, N)).astype(float)
    twice = np.vstack([X, X])
    known = np.vstack([weights >= 1, weights >= 2])
    # An entry that stands in two rows with one code is an entry of weight two.
    start = (RNG.random((M, R)), RNG.random((R, N)))
    weighted = NMF(R, init=start, tol=1e-9, max_iter=5000)
    codes = weighted.fit_transform(X, weights=weights)
    H = weighted.components_
    doubled = np.vstack([codes, codes])
    loss = 0.5 * np.sum(np.where(known, twice - doubled @ H, 0.0) ** 2)
    np.testing.assert_allclose(weighted.objective_, loss, rtol=1e-10)
    exact = [scipy.optimize.nnls(np.sqrt(w)[:, None] * H.T, np.sqrt(w) * x)[0] for w, x in zip(weights, X, strict=True)]
    np.testing.assert_allclose(codes, exact, atol=1e-8)
    sparse = NMF(R, init=start, tol=1e-9, max_iter=5000, missing="implicit")
    stored = weights > 0
    given = scipy.sparse.csr_array((weights[stored], np.nonzero(stored)), shape=X.shape)
    np.testing.assert_array_equal(sparse.fit_transform(implicit(stored), weights=given), codes)


@pytest.mark.parametrize("share", MASKS)
def test_transform_is_exact(share):
    known = MASKS[share]
    model = NMF(R, random_state=0)
    codes = model.fit_transform(X, mask=known)
    H = model.components_
    exact = [scipy.optimize.nnls(H.T[seen], x[seen])[0] for seen, x in zip(known, X, strict=True)]
    np.testing.assert_allclose(model.transform(X, mask=known), exact, atol=1e-10)
    np.testing.assert_allclose(codes, exact, atol=1e-10)


@pytest.mark.parametrize("name", ["mu", "kl", "beta", "l21", "correntropy", "simplex codes", "simplex components"])
def test_transform_of_the_training_data_is_the_fit(name):
    model = NMF(R, **VARIANTS[name], tol=1e-9, max_iter=50_000, random_state=0)
    codes = model.fit_transform(X)
    np.testing.assert_allclose(model.transform(X), codes, atol=1e-5)


def test_transform_does_not_depend_on_the_batch():
    for name in VARIANTS:
        model = NMF(R, **VARIANTS[name], random_state=0).fit(X)
        together = model.transform(X)
        np.testing.assert_allclose(
            np.vstack([model.transform(X[i : i + 7]) for i in range(0, M, 7)]), together, atol=1e-6
        )


def test_objective_and_penalties_are_those_of_scikit_learn():
    parameters = {"alpha_W": 0.02, "alpha_H": 0.05, "l1_ratio": 0.3, "init": "nndsvda", "max_iter": 20_000}
    ours = NMF(R, **parameters, tol=1e-9, random_state=0).fit(X)
    theirs = sklearn.decomposition.NMF(R, **parameters, tol=1e-12, random_state=0)
    W = theirs.fit_transform(X)
    H = theirs.components_
    value = 0.5 * np.sum((X - W @ H) ** 2)
    value += 0.02 * N * (0.3 * W.sum() + 0.35 * np.sum(W**2)) + 0.05 * M * (0.3 * H.sum() + 0.35 * np.sum(H**2))
    np.testing.assert_allclose(ours.objective_, value, rtol=1e-6)
    np.testing.assert_allclose(np.sort(ours.components_.sum(axis=1)), np.sort(H.sum(axis=1)), rtol=1e-3)


def test_scaling_the_data():
    one = NMF(R, init="random", random_state=0, tol=1e-6).fit(X)
    other = NMF(R, init="random", random_state=0, tol=1e-6).fit(1e-7 * X)
    assert one.n_iter_ == other.n_iter_
    np.testing.assert_allclose(other.objective_, 1e-14 * one.objective_, rtol=1e-8)


def test_exact_recovery_of_a_masked_matrix():
    rng = np.random.default_rng(1)
    truth = rng.random((200, 5)) @ rng.random((5, 150))
    known = rng.random(truth.shape) < 0.4
    model = NMF(5, init="random", n_init=3, random_state=0, tol=1e-8, max_iter=5000)
    codes = model.fit_transform(np.where(known, truth, np.nan))
    error = (model.inverse_transform(codes) - truth)[~known]
    assert np.linalg.norm(error) < 1e-4 * np.linalg.norm(truth[~known])


def test_separable_data_are_recovered():
    rng = np.random.default_rng(2)
    weights = rng.dirichlet(np.ones(4), 100)
    weights[:4] = np.eye(4)
    parts = rng.random((4, 30))
    model = NMF(4, init="spa", tol=1e-9).fit(weights @ parts)
    unit = [row / np.linalg.norm(row) for row in model.components_]
    cosines = np.array(unit) @ (parts / np.linalg.norm(parts, axis=1, keepdims=True)).T
    assert cosines.max(axis=0).min() > 1.0 - 1e-8


def test_kullback_leibler_keeps_the_marginals():
    model = NMF(R, loss="kullback-leibler", tol=1e-9, max_iter=5000, random_state=0)
    fitted = model.inverse_transform(model.fit_transform(X))
    np.testing.assert_allclose(fitted.sum(axis=0), X.sum(axis=0), rtol=1e-6)
    np.testing.assert_allclose(fitted.sum(axis=1), X.sum(axis=1), rtol=1e-6)


def test_corrupted_features_lose_their_weight():
    spoiled = X.copy()
    spoiled[:, :5] = 30.0 * RNG.random((M, 5))
    model = NMF(R, loss="correntropy", robust_axis="features", max_iter=2000, random_state=0).fit(spoiled)
    assert model.robust_weights_[:5].max() < 0.05 < 0.3 < np.median(model.robust_weights_[5:])


def test_partial_fit_on_batches():
    model = NMF(R, init="random", random_state=0)
    rng = np.random.default_rng(3)
    for _ in range(40):
        order = rng.permutation(M)
        for batch in np.array_split(order, 4):
            model.partial_fit(X[batch])
    assert model.n_steps_ == 160
    full = NMF(R, n_init=5, random_state=0, tol=1e-6).fit(X)
    error = np.linalg.norm(X - model.transform(X) @ model.components_)
    assert error <= 1.06 * full.reconstruction_err_
    # The sums are sufficient: one batch is a half-step from its codes, whatever order its rows have.
    first, second = NMF(R, init="random", random_state=0), NMF(R, init="random", random_state=0)
    first.partial_fit(X)
    second.partial_fit(scipy.sparse.csr_array(X))
    np.testing.assert_allclose(first.components_, second.components_, rtol=1e-9)


def test_n_init_keeps_the_best():
    singles = [NMF(8, init="random", random_state=seed, tol=1e-6, max_iter=1000).fit(X).objective_ for seed in range(3)]
    many = NMF(8, init="random", n_init=8, random_state=0, tol=1e-6, max_iter=1000).fit(X).objective_
    one = NMF(8, init="random", random_state=0, tol=1e-6, max_iter=1000).fit(X).objective_
    assert many <= one
    assert many <= np.median(singles)


def test_score_is_minus_the_mean_loss():
    model = NMF(R, random_state=0).fit(X)
    known = MASKS["some"]
    residual = np.where(known, X - model.transform(X, mask=known) @ model.components_, 0.0)
    np.testing.assert_allclose(model.score(X, mask=known), -0.5 * np.sum(residual**2) / known.sum(), rtol=1e-9)


def test_empty_rows_and_columns():
    holes = np.where(MASKS["some"], X, np.nan)
    holes[4], holes[:, 7] = np.nan, np.nan
    model = NMF(R, random_state=0, max_iter=1000)
    with pytest.warns(UserWarning, match="1 rows and 1 columns of X have no known entry"):
        codes = model.fit_transform(holes)
    np.testing.assert_array_equal(codes[4], 0.0)
    np.testing.assert_array_equal(model.components_[:, 7], 0.0)


@pytest.mark.parametrize(
    ("parameters", "arguments", "message"),
    [
        ({}, {"mask": np.ones((M, N + 1), dtype=bool)}, "mask must have the shape of X"),
        ({}, {"mask": np.full((M, N), 0.5)}, "mask must hold booleans"),
        ({}, {"mask": np.zeros((M, N), dtype=bool)}, "X has no known entry"),
        ({}, {"weights": -np.ones((M, N))}, "weights must be >= 0"),
        ({}, {"weights": np.ones((M, 2))}, "weights must have the shape of X"),
        ({"init": "nndsvd", "n_components": 50}, {}, "init='nndsvd' needs n_components <= min"),
        ({"init": (np.ones((M, R)), np.ones((R, 2)))}, {}, "init's H must have the shape"),
        ({"init": (-np.ones((M, R)), np.ones((R, N)))}, {}, "Negative values in data passed to NMF"),
        ({"init": (np.ones((M, R)),)}, {}, "init must be a pair"),
        ({"loss": "huber", "solver": "bpp"}, {}, "solver='bpp' does not minimise loss='huber'"),
        ({"loss": 1.0, "solver": "hals"}, {}, "solver='hals' minimises squared error only"),
        ({"loss": 1.0, "simplex": "codes"}, {}, "simplex needs squared error"),
        ({"loss": "itakura-saito"}, {}, "infinite at zero"),
        ({"graph_W": np.eye(3)}, {}, "graph_W must have shape"),
        ({"graph_W": np.triu(np.ones((M, M)))}, {}, "graph_W must be symmetric"),
        ({"alpha_W": 0.1, "alpha_H": 0.0}, {}, "A penalty of W alone is evaded"),
        ({"alpha_W": 0.0, "alpha_H": 0.1}, {}, "A penalty of H alone is evaded"),
        ({"n_components": 0}, {}, "n_components"),
        ({"loss": 4.0}, {}, "loss"),
    ],
)
def test_bad_input_fails_with_one_sentence(parameters, arguments, message):
    data = X.copy()
    data[0, 0] = 0.0
    with pytest.raises(ValueError, match=message):
        NMF(**{"n_components": R, **parameters}).fit(data, **arguments)


def test_bad_data():
    negative = X.copy()
    negative[0, 0] = -1.0
    with pytest.raises(ValueError, match="Negative values in data passed to NMF"):
        NMF(R).fit(negative)
    NMF(R, random_state=0).fit(negative, mask=negative >= 0)
    with pytest.raises(ValueError, match="mask must be None for a sparse X"):
        NMF(R).fit(scipy.sparse.csr_array(X), mask=MASKS["some"])
    with pytest.raises(ValueError, match="set missing='implicit'"):
        NMF(R).fit(scipy.sparse.csr_array(X), weights=scipy.sparse.csr_array(X))
    assert not hasattr(NMF(R, loss=1.0), "partial_fit")
    with pytest.raises(ValueError, match="partial_fit needs X without missing entries"):
        NMF(R).partial_fit(np.where(MASKS["some"], X, np.nan))
    with pytest.raises(ValueError, match="must have 3 columns"):
        NMF(R).fit(X).inverse_transform(np.ones((2, 2)))


def test_a_component_that_a_penalty_killed_early_comes_back():
    rng = np.random.default_rng(1)
    x, centres = np.arange(60), rng.uniform(0, 60, size=(5, 3, 1))
    parts = np.exp(-0.5 * ((x - centres) / rng.uniform(1.5, 4.0, size=centres.shape)) ** 2).sum(axis=1)
    codes = rng.exponential(size=(90, 5)) * (rng.random((90, 5)) < 0.6)
    data = np.maximum(codes @ parts + 0.3 * rng.standard_normal((90, 60)), 0.0)
    spectral = NMF(5, alpha_W=1e-3, tol=1e-3, max_iter=1000, random_state=0).fit(data)
    random = NMF(5, alpha_W=1e-3, init="random", tol=1e-3, max_iter=1000, random_state=0).fit(data)
    assert spectral.components_.any(axis=1).all()
    np.testing.assert_allclose(spectral.objective_, random.objective_, rtol=1e-3)


def test_robust_scale_is_found_once_or_given():
    found = NMF(R, loss="huber", n_init=3, random_state=0, max_iter=500).fit(X)
    given = NMF(R, loss="huber", robust_scale=found.robust_scale_, n_init=3, random_state=0, max_iter=500).fit(X)
    assert found.robust_scale_ == given.robust_scale_
    np.testing.assert_allclose(found.objective_, given.objective_, rtol=1e-3)
    absolute = NMF(R, loss="huber", robust_scale=1e-9, random_state=0, max_iter=50)
    error = np.abs(X - absolute.fit_transform(X) @ absolute.components_).sum()
    np.testing.assert_allclose(absolute.objective_, 1e-9 * error, rtol=1e-3)


def test_rank_above_the_shape():
    model = NMF(50, init="random", random_state=0, tol=1e-6, max_iter=3000).fit(X[:, :8])
    assert model.components_.shape == (50, 8)
    assert model.reconstruction_err_ < 1e-3 * np.linalg.norm(X[:, :8])


def test_warns_with_certificate_and_remedy():
    with pytest.warns(ConvergenceWarning, match=r"KKT residual .* > 1.000e-10; increase max_iter or tol"):
        model = NMF(R, tol=1e-10, max_iter=2).fit(X)
    assert model.status_ == "max_iter"
    begin = time.monotonic()
    with pytest.warns(ConvergenceWarning, match="time_limit"):
        NMF(R, tol=0.0, max_iter=10_000_000, time_limit=0.05).fit(X)
    assert time.monotonic() - begin < 10.0


def test_manners():
    model = NMF(R, random_state=0)
    assert list(model.fit(X).get_feature_names_out()) == ["nmf0", "nmf1", "nmf2"]
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.transform(X), model.transform(X))
    frame = clone(model).set_output(transform="pandas").fit_transform(X)
    assert list(frame.columns) == ["nmf0", "nmf1", "nmf2"]
    with sklearn.config_context(enable_metadata_routing=True):
        routed = make_pipeline(clone(model).set_fit_request(mask=True).set_transform_request(mask=True))
        routed.fit(X, mask=MASKS["some"])
    direct = clone(model).fit(X, mask=MASKS["some"])
    np.testing.assert_array_equal(routed[-1].components_, direct.components_)


def test_nothing_of_the_caller_is_modified():
    data, known, start = X.copy(), MASKS["some"].copy(), (RNG.random((M, R)), RNG.random((R, N)))
    copies = start[0].copy(), start[1].copy()
    NMF(R, init=start).fit(data, mask=known)
    np.testing.assert_array_equal(data, X)
    np.testing.assert_array_equal(known, MASKS["some"])
    np.testing.assert_array_equal(start[0], copies[0])
    np.testing.assert_array_equal(start[1], copies[1])
    unsorted = scipy.sparse.csr_array(X)
    unsorted.indices[:2] = unsorted.indices[1::-1]
    unsorted.data[:2] = unsorted.data[1::-1]
    unsorted.has_sorted_indices = False
    before = unsorted.indices.copy()
    NMF(R).fit(unsorted)
    np.testing.assert_array_equal(unsorted.indices, before)
