"""A model read back from a file predicts bit by bit what the written one did, with skops and with pickle."""

import inspect
import pickle

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone

import sparsemodels
from sparsemodels import linear_model

ESTIMATORS = {
    name: value
    for name in getattr(linear_model, "__all__", ())
    if inspect.isclass(value := getattr(linear_model, name)) and issubclass(value, BaseEstimator)
}


@pytest.fixture(scope="module")
def problem():
    random = np.random.default_rng(0)
    X = random.standard_normal((60, 8))
    return X, X[:, :3] @ [3.0, -2.0, 1.0] + 0.1 * random.standard_normal(60)


@pytest.fixture(params=ESTIMATORS)
def fitted(request, problem):
    return clone(ESTIMATORS[request.param]()).fit(*problem)


def test_trusted_types_are_the_public_estimators():
    expected = sorted(f"{cls.__module__}.{cls.__qualname__}" for cls in ESTIMATORS.values())
    assert sparsemodels.trusted_types() == expected


def test_skops(fitted, problem):
    io = pytest.importorskip("skops.io")
    data = io.dumps(fitted)
    assert set(io.get_untrusted_types(data=data)) <= set(sparsemodels.trusted_types())
    loaded = io.loads(data, trusted=sparsemodels.trusted_types())
    np.testing.assert_array_equal(loaded.predict(problem[0]), fitted.predict(problem[0]))
    assert loaded.get_params() == fitted.get_params()
    # A loaded model is a whole one: it can be fitted again, to the same answer.
    np.testing.assert_array_equal(clone(loaded).fit(*problem).coef_, fitted.coef_)


def test_skops_refuses_without_trust(fitted):
    io = pytest.importorskip("skops.io")
    with pytest.raises(TypeError, match=r"[Uu]ntrusted"):
        io.loads(io.dumps(fitted))


def test_pickle(fitted, problem):
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(loaded.predict(problem[0]), fitted.predict(problem[0]))
    assert vars(loaded).keys() >= vars(fitted).keys()


def test_pickle_carries_the_version(fitted):
    assert fitted.__getstate__()["_sparsemodels_version"] == sparsemodels.__version__


def test_fitted_state_is_plain_data(fitted):
    # What skops and every later version can read: no records, no dispatchers, no functions.
    plain = (np.ndarray, np.generic, int, float, str, bool, type(None), list, dict, tuple)
    for name, value in vars(fitted).items():
        if name.endswith("_") and not name.startswith("_"):
            assert isinstance(value, plain), f"{name}: {type(value).__name__}"
            assert not hasattr(value, "_fields"), f"{name} is a record"
