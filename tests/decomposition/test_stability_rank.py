"""Stability of perturbed fits: planted ranks of matrices and tensors, unbiased noise, what the choice rests on."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import silhouette_samples
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsemodels.decomposition import NBMF, NMF, NonnegativeRESCAL, StabilityRankSelector
from sparsemodels.decomposition.perturbation import perturbed, resampled

RANK = 3
FAST = NMF(max_iter=2000, tol=1e-3)


def planted(rank=RANK, shape=(40, 30), noise=0.05, seed=0):
    """Components with different supports: a factorization that is nearly unique."""
    random = np.random.default_rng(seed)
    H = random.exponential(size=(rank, shape[1])) * (random.random((rank, shape[1])) < 0.5)
    W = random.exponential(size=(shape[0], rank)) * (random.random((shape[0], rank)) < 0.7)
    return W @ H + noise * random.random(shape)


@parametrize_with_checks(
    [
        StabilityRankSelector(ranks=[1, 2], n_perturbations=3, threshold=-1.0),
        StabilityRankSelector(FAST, ranks=[2], noise="bootstrap", n_perturbations=2, threshold=-1.0, n_jobs=2),
    ]
)
def test_sklearn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("noise", ["uniform", "bootstrap"])
def test_planted_rank(noise):
    X = planted()
    model = StabilityRankSelector(FAST, ranks=range(2, 6), n_perturbations=6, noise=noise, random_state=0).fit(X)
    assert model.best_rank_ == model.n_components_ == RANK
    assert model.silhouettes_[RANK - 2] > 0.9
    assert model.silhouettes_[RANK - 1] < 0.5
    # The error has its knee there.
    errors = model.errors_
    assert errors[0] - errors[1] > 5.0 * (errors[1] - errors[2])


def test_planted_rank_of_counts():
    X = np.random.default_rng(1).poisson(30.0 * planted(noise=0.1)).astype(float)
    estimator = NMF(loss="kullback-leibler", solver="mu", max_iter=2000, tol=1e-3)
    model = StabilityRankSelector(estimator, ranks=range(2, 5), n_perturbations=5, noise="poisson", random_state=0).fit(
        X
    )
    assert model.best_rank_ == RANK
    codes, H = model.transform(X), model.components_
    error = np.linalg.norm(X - codes @ H) / np.linalg.norm(X)
    assert model.errors_[1] == pytest.approx(error, rel=1e-3)


def tensor(rank=3, n_entities=24, n_slices=4, noise=0.02, seed=0):
    random = np.random.default_rng(seed)
    A = random.exponential(size=(n_entities, rank)) * (random.random((n_entities, rank)) < 0.5)
    R = random.exponential(size=(n_slices, rank, rank))
    return A @ R @ A.T + noise * random.random((n_slices, n_entities, n_entities))


@pytest.mark.parametrize("sparse", [False, True])
def test_planted_rank_of_a_relational_tensor(sparse):
    X = tensor()
    data = [scipy.sparse.csr_array(part) for part in X] if sparse else X
    model = StabilityRankSelector(
        NonnegativeRESCAL(tol=1e-3, max_iter=1000), ranks=range(2, 5), n_perturbations=5, random_state=0
    ).fit(data)
    assert model.best_rank_ == 3
    assert model.silhouettes_[1] > 0.9 > 0.5 > model.silhouettes_[2]
    assert model.best_estimator_.entity_factors_.shape == (24, 3)
    best = model.best_estimator_
    error = np.linalg.norm(X - best.inverse_transform(best.relations_)) / np.linalg.norm(X)
    assert model.errors_[1] == pytest.approx(error, rel=1e-6)
    assert not hasattr(model, "components_")


def test_unknown_entries_of_a_tensor():
    X = tensor()
    X[:, np.arange(24), np.arange(24)] = np.nan
    options = {"ranks": [3], "n_perturbations": 3, "random_state": 0}
    estimator = NonnegativeRESCAL(tol=1e-3, max_iter=1000)
    for noise in ("uniform", "poisson", "bootstrap"):
        model = StabilityRankSelector(estimator, noise=noise, threshold=-1.0, **options).fit(X)
        assert np.isfinite(model.silhouettes_).all()
        assert np.isfinite(model.errors_).all()


def test_silhouettes_from_outside():
    # The same ensemble again: the estimator keeps its components, scikit-learn computes the silhouettes.
    kept = []

    class Keeping(NMF):
        def fit(self, X, y=None):
            super().fit(X)
            kept.append(self.components_)
            return self

    X = planted()
    model = StabilityRankSelector(Keeping(max_iter=2000, tol=1e-3), ranks=[3], n_perturbations=4, random_state=0).fit(X)
    factors = np.stack(kept[:4])
    vectors = factors / np.linalg.norm(factors, axis=2, keepdims=True)
    # With a stable ensemble, the cluster of a component is that of the nearest component of the best model.
    centres = model.components_ / np.linalg.norm(model.components_, axis=1, keepdims=True)
    labels = (vectors @ centres.T).argmax(axis=2).ravel()
    assert (np.bincount(labels) == 4).all()
    flat = vectors.reshape(12, -1)
    angles = np.arccos(np.clip(flat @ flat.T, -1.0, 1.0))
    np.fill_diagonal(angles, 0.0)
    samples = silhouette_samples(angles, labels, metric="precomputed")
    means = [samples[labels == cluster].mean() for cluster in range(3)]
    np.testing.assert_allclose(model.component_silhouettes_, means, rtol=1e-8)
    assert model.silhouettes_[0] == pytest.approx(min(means), rel=1e-8)
    assert model.mean_silhouettes_[0] == pytest.approx(np.mean(means), rel=1e-8)


def test_errors_and_the_best_estimator():
    X = planted()
    model = StabilityRankSelector(FAST, ranks=[2, 3], n_perturbations=3, random_state=0).fit(X)
    codes = model.transform(X)
    error = np.linalg.norm(X - model.inverse_transform(codes)) / np.linalg.norm(X)
    assert model.errors_[1] == pytest.approx(error, rel=1e-4)
    assert model.best_estimator_.status_ == "converged"
    alone = NMF(3, max_iter=2000, tol=1e-3, random_state=0).fit(X)
    assert model.errors_[1] <= 1.01 * alone.reconstruction_err_ / np.linalg.norm(X)
    np.testing.assert_array_equal(codes, model.best_estimator_.transform(X))


def test_number_of_threads_and_repetition_change_nothing():
    X = planted()
    X[0, 0] = np.nan
    options = {"ranks": [2, 3], "n_perturbations": 4, "random_state": 5}
    one = StabilityRankSelector(FAST, n_jobs=1, **options).fit(X)
    for other in (StabilityRankSelector(FAST, n_jobs=2, **options), StabilityRankSelector(FAST, **options)):
        other.fit(X)
        np.testing.assert_array_equal(one.silhouettes_, other.silhouettes_)
        np.testing.assert_array_equal(one.errors_, other.errors_)
        np.testing.assert_array_equal(one.components_, other.components_)


def test_dense_equals_sparse_and_masks_equal_nan():
    X = np.where(np.random.default_rng(0).random((40, 30)) < 0.7, planted(), 0.0)
    options = {"ranks": [2, 3], "n_perturbations": 3, "noise": "bootstrap", "threshold": -1.0, "random_state": 0}
    dense = StabilityRankSelector(FAST, **options).fit(X)
    sparse = StabilityRankSelector(FAST, **options).fit(scipy.sparse.csc_array(X))
    np.testing.assert_allclose(dense.silhouettes_, sparse.silhouettes_, atol=0.02)  # another summation order
    np.testing.assert_allclose(dense.errors_, sparse.errors_, rtol=1e-3)
    known = np.random.default_rng(1).random(X.shape) < 0.8
    for noise in ("uniform", "poisson", "bootstrap"):
        options["noise"] = noise
        fits = [
            StabilityRankSelector(FAST, **options).fit(np.where(known, X, np.nan)),
            *(StabilityRankSelector(FAST, **options).fit(np.where(known, X, fill), mask=known) for fill in (1e300, -5)),
        ]
        np.testing.assert_array_equal(fits[1].silhouettes_, fits[2].silhouettes_)
        assert np.isfinite(fits[0].silhouettes_).all()
    np.testing.assert_array_equal(fits[0].components_, fits[1].components_)  # rows drawn, nothing else


def test_binary_factorization():
    random = np.random.default_rng(0)
    X = random.exponential(size=(30, 2)) @ (random.random((2, 20)) < 0.5) + 0.02 * random.random((30, 20))
    model = StabilityRankSelector(NBMF(n_init=2), ranks=[2], n_perturbations=3, random_state=0).fit(X)
    assert model.silhouettes_[0] == pytest.approx(1.0)


@pytest.mark.parametrize("noise", ["uniform", "poisson"])
def test_noise_is_unbiased(noise):
    X = np.array([[0.0, 1.0, 50.0], [3.0, 0.2, 7.0]])
    draws = np.stack([perturbed(X, None, noise, 0.3, seed) for seed in range(4000)])
    variance = X if noise == "poisson" else (0.3 * X) ** 2 / 3.0
    # Five standard errors of the mean; the zero stays zero.
    assert (np.abs(draws.mean(axis=0) - X) <= 5.0 * np.sqrt(variance / 4000)).all()
    np.testing.assert_allclose(draws.var(axis=0), variance, rtol=0.15)
    if noise == "uniform":
        assert (np.abs(draws / np.where(X > 0.0, X, 1.0) - 1.0)[:, X > 0.0] <= 0.3).all()
        # Entry by entry: no two share their factor.
        assert np.unique(draws[0][X > 0.0] / X[X > 0.0]).size == 5


def test_perturbations_leave_the_data_alone():
    X = planted()
    X[0, :3] = np.nan
    copy = X.copy()
    known = ~np.isnan(X)
    known[1] = False
    other = perturbed(X, known, "uniform", 0.1, 0)
    np.testing.assert_array_equal(X, copy)
    np.testing.assert_array_equal(np.isnan(other), np.isnan(X))
    np.testing.assert_array_equal(other[1], X[1])
    sparse = scipy.sparse.random_array((20, 10), density=0.3, rng=np.random.default_rng(0), format="csr")
    noisy = perturbed(sparse.astype(np.float32), None, "uniform", 0.1, 0)
    assert noisy.dtype == np.float32
    np.testing.assert_array_equal(noisy.indices, sparse.indices)
    assert (noisy.data != sparse.data).any()


def test_bootstrap_draws_rows_with_their_metadata():
    X = np.arange(12.0).reshape(6, 2)
    drawn, metadata = resampled(X, {"mask": X > 3.0, "weights": scipy.sparse.csr_array(X)}, 0)
    np.testing.assert_array_equal(metadata["mask"], drawn > 3.0)
    np.testing.assert_array_equal(metadata["weights"].toarray(), drawn)
    assert set(drawn[:, 0]) < set(X[:, 0])  # with replacement: some row is missing


def test_default_ranks():
    model = StabilityRankSelector(FAST, n_perturbations=2, threshold=-1.0, random_state=0).fit(planted()[:, :4])
    np.testing.assert_array_equal(model.ranks_, [1, 2, 3, 4])
    assert model.silhouettes_[0] == 1.0
    assert model.best_rank_ == 4


def test_no_stable_rank():
    X = np.random.default_rng(0).random((20, 15))
    selector = StabilityRankSelector(FAST, ranks=[8, 9], n_perturbations=3, threshold=1.0, random_state=0)
    with pytest.warns(UserWarning, match="no rank is stable"):
        selector.fit(X)
    assert selector.best_rank_ == selector.ranks_[selector.silhouettes_.argmax()]


def test_out_of_time():
    with pytest.warns(ConvergenceWarning, match="has not tried all ranks"):
        model = StabilityRankSelector(FAST, ranks=[2, 3], n_perturbations=2, time_limit=1e-9, random_state=0).fit(
            planted()
        )
    assert model.status_ == "time_limit"
    assert model.best_rank_ == 2
    assert model.components_.shape == (2, 30)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ranks": [0]}, "ranks must be a non-empty list of integers >= 1"),
        ({"n_perturbations": 1}, "n_perturbations"),
        ({"epsilon": 1.0}, "epsilon"),
        ({"estimator": object}, "estimator must be a factorization"),
    ],
)
def test_bad_parameters(options, message):
    with pytest.raises(ValueError, match=message):
        StabilityRankSelector(**{"ranks": [2], **options}).fit(planted())
