import array_api_strict
import numpy as np
import pytest
import sklearn

from sparsemodels.decomposition import KSparseAutoencoder
from sparsemodels.solvers.dense_codes import to_host

RNG = np.random.default_rng(0)
N, D, L, K = 150, 8, 12, 3
ATOMS = RNG.normal(size=(L, D))
ATOMS /= np.linalg.norm(ATOMS, axis=1, keepdims=True)
X = (RNG.normal(size=(N, L)) * (RNG.random((N, L)) < 0.2)) @ ATOMS + 0.02 * RNG.normal(size=(N, D)) + 1.0
OPTIONS = {"n_nonzero_coefs": K, "learning_rate": 0.01, "batch_size": 40, "max_iter": 5, "random_state": 0}
VARIANTS = {
    "topk": {},
    "abstopk": {"activation": "abstopk", "tied": True},
    "batchtopk": {"activation": "batchtopk", "test_k_factor": 1.5},
    "feature_choice": {"activation": "feature_choice"},
    "topafa": {"activation": "topafa", "n_nonzero_coefs": None},
    "hierarchical": {"hierarchical": True, "k_schedule": (6, 0.5), "test_k_factor": 2.0},
    "matryoshka": {"groups": [0.25, 0.5], "center": "geometric_median"},
    "sgd": {"optimizer": "sgd", "center": None},
}
ARRAYS = ["components_", "encoder_", "encoder_bias_", "bias_", "mean_", "loss_history_"]
NUMBERS = ["fvu_", "kkt_", "coding_excess_", "mean_l0_", "n_dead_", "scale_", "n_iter_", "status_", "n_steps_"]


@pytest.fixture(params=["array_api_strict", "torch", "cupy"])
def as_array(request):
    """A function that moves an array of NumPy to a library, with scikit-learn's dispatch on."""
    library = array_api_strict if request.param == "array_api_strict" else pytest.importorskip(request.param)
    if request.param == "cupy" and not library.cuda.is_available():
        pytest.skip("CuPy has no device here")
    with sklearn.config_context(array_api_dispatch=True):
        yield library.asarray


@pytest.mark.parametrize("name", VARIANTS)
def test_other_arrays_give_the_model_of_numpy(name, as_array):
    options = {**OPTIONS, **VARIANTS[name]}
    reference = KSparseAutoencoder(L, **options)
    codes = reference.fit_transform(X)
    moved = as_array(X)
    model = KSparseAutoencoder(L, **options)
    found = model.fit_transform(moved)
    kept = type(moved)
    # The two trainers differ by rounding only; that of twenty steps stays far below 1e-7.
    np.testing.assert_allclose(to_host(found), codes, atol=1e-7)
    for attribute in [*ARRAYS, *(["threshold_"] if hasattr(reference, "threshold_") else [])]:
        mine, theirs = getattr(model, attribute), getattr(reference, attribute)
        assert isinstance(mine, kept)
        np.testing.assert_allclose(to_host(mine), theirs, atol=1e-7, err_msg=attribute)
    for attribute in NUMBERS:
        mine, theirs = getattr(model, attribute), getattr(reference, attribute)
        assert mine == theirs or mine == pytest.approx(theirs, rel=1e-5, abs=1e-9), attribute
    assert isinstance(found, kept)
    np.testing.assert_array_equal(to_host(model.transform(moved)), to_host(found))
    back = model.inverse_transform(found)
    assert isinstance(back, kept)
    np.testing.assert_allclose(to_host(back), reference.inverse_transform(codes), atol=1e-6)
    assert model.score(moved) == pytest.approx(-model.fvu_, rel=1e-9)


def test_single_precision_is_kept(as_array):
    moved = as_array(X.astype(np.float32))
    model = KSparseAutoencoder(L, **OPTIONS).fit(moved)
    for values in (model.components_, model.encoder_bias_, model.transform(moved), model.bias_):
        assert to_host(values).dtype == np.float32
    assert to_host(model.inverse_transform(model.transform(moved))).dtype == np.float32


def test_callers_array_is_not_changed(as_array):
    moved = as_array(X)
    KSparseAutoencoder(L, **OPTIONS).fit(moved)
    np.testing.assert_array_equal(to_host(moved), X)


def test_libraries_are_not_mixed(as_array):
    moved = as_array(X)
    on_device, on_host = KSparseAutoencoder(L, **OPTIONS).fit(moved), KSparseAutoencoder(L, **OPTIONS).fit(X)
    for method in ("transform", "score"):
        for model, data in ((on_device, X), (on_host, moved)):
            with pytest.raises(ValueError, match=rf"KSparseAutoencoder.{method}\(\) must use the same namespace"):
                getattr(model, method)(data)
    with pytest.raises(ValueError, match="same namespace"):
        on_device.inverse_transform(np.zeros((2, L)))
    with pytest.raises(ValueError, match="same namespace"):
        on_device.partial_fit(X)
    with pytest.raises(TypeError, match="partial_fit"):
        on_host.partial_fit(moved)


def test_sparse_codes_need_numpy(as_array):
    with pytest.raises(ValueError, match="output='csr' needs NumPy arrays"):
        KSparseAutoencoder(L, output="csr", **OPTIONS).fit(as_array(X))


def test_a_new_fit_may_change_the_library(as_array):
    model = KSparseAutoencoder(L, **OPTIONS).fit(as_array(X))
    np.testing.assert_array_equal(model.fit(X).components_, KSparseAutoencoder(L, **OPTIONS).fit(X).components_)


def test_limits_and_callbacks_end_a_fit_on_a_device(as_array):
    model = KSparseAutoencoder(L, **{**OPTIONS, "max_iter": 10_000}, time_limit=0.2)
    with pytest.warns(sklearn.exceptions.ConvergenceWarning, match="time_limit"):
        model.fit(as_array(X))
    assert model.status_ == "time_limit"
    assert np.isfinite(model.fvu_)


def test_everything_stays_on_its_device():
    device = array_api_strict.Device("device1")
    moved = array_api_strict.asarray(X, device=device)
    with sklearn.config_context(array_api_dispatch=True):
        model = KSparseAutoencoder(L, activation="batchtopk", **OPTIONS).fit(moved)
        codes = model.transform(moved)
        back = model.inverse_transform(codes)
    arrays = [getattr(model, name) for name in [*ARRAYS, "threshold_"]]
    assert {array.device for array in [*arrays, codes, back]} == {device}
    reference = KSparseAutoencoder(L, activation="batchtopk", **OPTIONS).fit(X)
    np.testing.assert_allclose(to_host(model.components_), reference.components_, atol=1e-7)
