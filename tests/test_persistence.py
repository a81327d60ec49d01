"""A model read back from a file answers bit by bit what the written one did, with skops and with pickle."""

import inspect
import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.utils import get_tags

import sparsemodels

FAMILIES = ("bayes", "completion", "cross_decomposition", "decomposition", "linear_model", "signal", "structure")
ESTIMATORS = {
    name: value
    for family in FAMILIES
    for name in getattr(getattr(sparsemodels, family), "__all__", ())
    if inspect.isclass(value := getattr(getattr(sparsemodels, family), name)) and issubclass(value, BaseEstimator)
}


@pytest.fixture(scope="module")
def design():
    return np.random.default_rng(0).standard_normal((60, 8))


def suited(estimator, X):
    """The design in the form that an estimator takes: nonnegative, or as slices of a tensor."""
    tags = get_tags(estimator).input_tags
    X = np.abs(X) if tags.positive_only else X
    return X[:56].reshape(7, 8, 8) if tags.three_d_array else X


def fit(estimator, X):
    y = X[:, :3] @ [3.0, -2.0, 1.0] + 0.1 * np.cos(np.arange(60.0))
    tags = get_tags(estimator)
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=0)
    if is_classifier(estimator):
        y = (y > 0.0).astype(int)
    elif tags.target_tags.positive_only:
        y = np.exp(0.3 * y)
    elif tags.target_tags.two_d_labels:
        y = np.column_stack([y, X[:, 0]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # defaults need not suit these data
        return estimator.fit(suited(estimator, X), y)


def answer(estimator, X):
    """What a fitted estimator says about samples; of one that says nothing, its first fitted array."""
    for method in ("transform", "predict") if get_tags(estimator).transformer_tags else ("predict",):
        if hasattr(estimator, method):
            return getattr(estimator, method)(suited(estimator, X))
    return next(
        value for name, value in vars(estimator).items() if name.endswith("_") and isinstance(value, np.ndarray)
    )


@pytest.fixture(params=ESTIMATORS, scope="module")
def fitted(request, design):
    return fit(ESTIMATORS[request.param](), design)


def test_trusted_types_are_the_public_estimators():
    expected = sorted(f"{cls.__module__}.{cls.__qualname__}" for cls in ESTIMATORS.values())
    assert sparsemodels.trusted_types() == expected


def test_skops(fitted, design):
    io = pytest.importorskip("skops.io")
    data = io.dumps(fitted)
    assert set(io.get_untrusted_types(data=data)) <= set(sparsemodels.trusted_types())
    loaded = io.loads(data, trusted=sparsemodels.trusted_types())
    np.testing.assert_array_equal(answer(loaded, design), answer(fitted, design))
    assert loaded.get_params() == fitted.get_params()
    # A loaded model is a whole one: it can be fitted again, to the same answer.
    np.testing.assert_array_equal(answer(fit(clone(loaded), design), design), answer(fitted, design))


def test_skops_refuses_without_trust(fitted):
    io = pytest.importorskip("skops.io")
    with pytest.raises(TypeError, match=r"[Uu]ntrusted"):
        io.loads(io.dumps(fitted))


def test_pickle(fitted, design):
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(answer(loaded, design), answer(fitted, design))
    assert vars(loaded).keys() >= vars(fitted).keys()


def test_pickle_carries_the_version(fitted):
    assert fitted.__getstate__()["_sparsemodels_version"] == sparsemodels.__version__


def test_fitted_state_is_plain_data(fitted):
    # What skops and every later version can read: no records, no dispatchers, no functions.
    plain = (np.ndarray, np.generic, int, float, str, bool, type(None), list, dict, tuple, BaseEstimator)
    for name, value in vars(fitted).items():
        if name.endswith("_") and not name.startswith("_"):
            assert isinstance(value, plain), f"{name}: {type(value).__name__}"
            assert not hasattr(value, "_fields"), f"{name} is a record"
