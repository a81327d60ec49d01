import array_api_strict
import numpy as np
import pytest

from sparsemodels.solvers.array_api_autoencoder import array_center, array_model, array_scale, start_array_training
from sparsemodels.solvers.array_api_certificate import array_thresholds, certify_array, encode_array
from sparsemodels.solvers.autoencoder_certificate import (
    calibrated_thresholds,
    encode_samples,
    refitted_errors,
    squared_errors,
    stationarity,
    unexplained,
)
from sparsemodels.solvers.autoencoder_training import (
    TrainingRule,
    center_of,
    in_units_of_data,
    scale_of,
    start_training,
    train,
)
from sparsemodels.solvers.dense_codes import dense_gradient, like, select_dense, to_host
from sparsemodels.solvers.k_sparse_activations import (
    AbsTopKActivation,
    BatchTopKActivation,
    FeatureChoiceActivation,
    ThresholdActivation,
    TopAFAActivation,
    TopKActivation,
    select,
)
from sparsemodels.solvers.k_sparse_autoencoder_gradients import (
    LargestFirst,
    Prefixes,
    WholeCode,
    batch_gradient,
    parameter_gradients,
)
from sparsemodels.solvers.sparse_adam import Momentum
from sparsemodels.solvers.sparse_codes import from_matrix, to_dense

RNG = np.random.default_rng(0)
N, D, L, K = 120, 8, 12, 3
ATOMS = RNG.normal(size=(L, D))
ATOMS /= np.linalg.norm(ATOMS, axis=1, keepdims=True)
X = (RNG.normal(size=(N, L)) * (RNG.random((N, L)) < 0.2)) @ ATOMS + 0.02 * RNG.normal(size=(N, D)) + 1.0

ACTIVATIONS = {
    "topk": TopKActivation(K),
    "abstopk": AbsTopKActivation(K),
    "batchtopk": BatchTopKActivation(K),
    "feature_choice": FeatureChoiceActivation(K),
    "topafa": TopAFAActivation(L, 0.05),
}
NESTINGS = {
    "whole": WholeCode(),
    "largest": LargestFirst(np.array([1, 2, K])),
    "prefixes": Prefixes(np.array([3, 7, L])),
}
RULES = {
    **{name: TrainingRule(activation) for name, activation in ACTIVATIONS.items()},
    "hierarchical": TrainingRule(TopKActivation(K), LargestFirst(np.arange(1, K + 1))),
    "matryoshka": TrainingRule(BatchTopKActivation(K), Prefixes(np.array([4, L]))),
    # Two entries: with one, tied weights begin at a stationary point of c, from which Adam magnifies rounding errors.
    "revival": TrainingRule(TopKActivation(2), auxk_alpha=0.5, dead_after=20),
    "signed revival": TrainingRule(AbsTopKActivation(2), auxk_alpha=0.5, dead_after=20),
    "momentum": TrainingRule(AbsTopKActivation(K), optimizer=Momentum(0.9)),
    "no bias": TrainingRule(AbsTopKActivation(K), learn_bias=False),
}
LIBRARIES = ["array_api_strict", "torch", "cupy"]


@pytest.fixture(params=LIBRARIES)
def as_array(request):
    """A function that moves an array of NumPy to a library."""
    if request.param == "array_api_strict":
        return array_api_strict.asarray
    library = pytest.importorskip(request.param)
    if request.param == "cupy" and not library.cuda.is_available():
        pytest.skip("CuPy has no device here")
    return library.asarray


def preactivations(seed=1):
    values = np.random.default_rng(seed).normal(size=(N, L))
    return np.round(values, 1)  # with ties


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_selection_is_the_same_to_the_last_tie(name, as_array):
    values, norms = preactivations(), np.abs(np.random.default_rng(2).normal(size=N)) * (np.arange(N) % 10 > 0)
    expected = to_dense(select(ACTIVATIONS[name], values, norms))
    moved = as_array(values)
    found = select_dense(ACTIVATIONS[name], moved, as_array(norms))
    assert type(found) is type(moved)
    np.testing.assert_array_equal(to_host(found), expected)


@pytest.mark.parametrize("k", [1, L - 1, L, 5 * L])
def test_selection_of_nearly_everything(k, as_array):
    for activation in (TopKActivation(k), AbsTopKActivation(k), BatchTopKActivation(k), FeatureChoiceActivation(k)):
        expected = to_dense(select(activation, preactivations()))
        np.testing.assert_array_equal(to_host(select_dense(activation, as_array(preactivations()))), expected)
    zero = np.zeros((3, 4))
    np.testing.assert_array_equal(to_host(select_dense(TopKActivation(k), as_array(zero))), zero)


def test_threshold_activation(as_array):
    thresholds = np.where(np.arange(L) % 5 == 0, np.inf, 0.3)
    expected = to_dense(select(ThresholdActivation(thresholds), preactivations()))
    found = select_dense(ThresholdActivation(as_array(thresholds)), as_array(preactivations()))
    np.testing.assert_array_equal(to_host(found), expected)


@pytest.mark.parametrize("nesting", NESTINGS)
@pytest.mark.parametrize("norm_weight", [0.0, 0.3])
def test_gradient_is_that_of_the_support(nesting, norm_weight, as_array):
    codes = to_dense(select(AbsTopKActivation(K), np.random.default_rng(3).normal(size=(N, L))))
    norms = np.linalg.norm(X, axis=1)
    sparse = from_matrix(codes)
    reference = batch_gradient(X, sparse, ATOMS, NESTINGS[nesting], norm_weight=norm_weight, norms=norms)
    full = parameter_gradients(reference.entries, X, ATOMS, reference.bias_gradient)
    found = dense_gradient(
        as_array(X),
        as_array(codes),
        as_array(ATOMS),
        NESTINGS[nesting],
        norm_weight=norm_weight,
        norms=as_array(norms),
    )
    np.testing.assert_allclose(found.loss, reference.loss, rtol=1e-12)
    np.testing.assert_allclose(to_host(found.decoder), full.decoder, atol=1e-12)
    np.testing.assert_allclose(to_host(found.slopes).T @ X, full.encoder, atol=1e-12)
    np.testing.assert_allclose(to_host(found.bias), reference.bias_gradient, atol=1e-12)
    np.testing.assert_allclose(to_host(found.residual), codes @ ATOMS - X, atol=1e-12)


@pytest.mark.parametrize("center", ["mean", "geometric_median", None])
def test_centre_and_scale(center, as_array):
    expected = center_of(X, center)
    found = array_center(as_array(X), center)
    np.testing.assert_allclose(to_host(found), expected, atol=1e-12)
    np.testing.assert_allclose(array_scale(as_array(X), found), scale_of(X, expected), rtol=1e-12)
    assert array_scale(as_array(np.zeros((3, 2))), as_array(np.zeros(2))) == 1.0


def trained(data, rule, tied=False, dtype=np.float64, schedule=None, foreign=None, center="mean"):
    options = {"learning_rate": 0.01, "batch_size": 30, "max_iter": 6, "k_schedule": schedule}
    random_state = np.random.RandomState(0)
    if foreign is None:
        middle = center_of(data, center)
        state = start_training(L, middle, scale_of(data, middle), dtype, random_state, tied=tied)
        history = train(data, state, rule, random_state=random_state, **options)
        return state, in_units_of_data(state), history
    data = foreign(data)
    middle = array_center(data, center)
    state = start_array_training(data, L, middle, array_scale(data, middle), random_state, tied=tied)
    history = train(data, state, rule, random_state=random_state, **options)
    return state, array_model(state), history


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", RULES)
def test_training_gives_the_same_model(name, tied, as_array):
    _, expected, reference = trained(X, RULES[name], tied)
    _, found, history = trained(X, RULES[name], tied, foreign=as_array)
    # Rounding alone differs, and 24 steps spread it by little.
    np.testing.assert_allclose(history.loss_history, reference.loss_history, rtol=1e-9)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(to_host(mine), theirs, atol=1e-8)
    assert (found.encoder is found.decoder) == tied


def test_schedule_is_followed(as_array):
    rule = RULES["hierarchical"]
    _, expected, _ = trained(X, rule, schedule=(9, 0.8))
    _, found, _ = trained(X, rule, schedule=(9, 0.8), foreign=as_array)
    np.testing.assert_allclose(to_host(found.decoder), expected.decoder, atol=1e-8)
    _, without, _ = trained(X, rule, foreign=as_array)
    assert np.abs(to_host(without.decoder) - expected.decoder).max() > 1e-3


def test_single_precision_stays(as_array):
    data = X.astype(np.float32)
    _, expected, reference = trained(data, RULES["abstopk"], dtype=np.float32)
    _, found, history = trained(data, RULES["abstopk"], foreign=as_array)
    assert {to_host(part).dtype for part in found} == {np.dtype(np.float32)}
    np.testing.assert_allclose(history.loss_history, reference.loss_history, rtol=1e-3)
    np.testing.assert_allclose(to_host(found.decoder), expected.decoder, atol=5e-3)


@pytest.mark.parametrize("name", ["batchtopk", "feature_choice"])
def test_thresholds(name, as_array):
    state, expected, _ = trained(X, RULES[name])
    mine, found, _ = trained(X, RULES[name], foreign=as_array)
    np.testing.assert_allclose(to_host(mine.thresholds), state.thresholds, atol=1e-8)
    activation = ACTIVATIONS[name]
    wanted = calibrated_thresholds(X, expected, activation, 25, np.random.RandomState(3))
    got = array_thresholds(as_array(X), found, activation, 25, np.random.RandomState(3))
    np.testing.assert_allclose(to_host(got), wanted, atol=1e-8)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", ["topk", "abstopk", "topafa", "hierarchical", "no bias"])
def test_certificate(name, tied, as_array):
    rule = RULES[name]
    _, model, _ = trained(X, rule, tied)
    mean, scale = X.mean(axis=0), scale_of(X, center_of(X, "mean"))
    codes = encode_samples(X, model, rule.activation)
    errors = squared_errors(X, codes, model)
    proof = stationarity(X, codes, model, scale, rule.activation, rule.nesting, learn_bias=rule.learn_bias)
    variance = np.square(X - mean).sum()
    moved = type(model)(*(as_array(part) for part in model))
    if tied:
        moved = moved._replace(encoder=moved.decoder)
    found = certify_array(as_array(X), moved, as_array(mean), scale, rule, rule.activation, rule.activation, tied=tied)
    np.testing.assert_array_equal(to_host(encode_array(as_array(X), moved, rule.activation)) != 0, to_dense(codes) != 0)
    np.testing.assert_allclose(found.unexplained, unexplained(errors.sum(), variance), rtol=1e-10)
    np.testing.assert_allclose(found.gradient_norm, proof.gradient_norm, rtol=1e-9)
    gain = errors.sum() - refitted_errors(X, codes, model)[1].sum()
    np.testing.assert_allclose(found.coding_excess, max(gain, 0.0) / variance, atol=1e-10)
    assert found.mean_l0 == codes.indices.size / N
    assert found.n_dead == L - np.unique(codes.indices).size


def test_arrays_move_and_come_back(as_array):
    reference = as_array(np.zeros((1, 1)))
    for values in (RNG.normal(size=(2, 3)), np.arange(3), np.array([True, False])):
        moved = like(values, reference)
        assert type(moved) is type(reference)
        back = to_host(moved)
        np.testing.assert_array_equal(back, values)
        assert back.dtype == values.dtype
