"""Every parameter, method and fitted attribute that a user meets is documented."""

import inspect
import re
import warnings

import numpy as np
import pytest
from sklearn.base import BaseEstimator, is_classifier
from sklearn.utils import get_tags

import sparsemodels

ROOMS = (
    "linear_model",
    "bayes",
    "datasets",
    "inspection",
    "cross_decomposition",
    "signal",
    "structure",
    "decomposition",
    "completion",
)
PUBLIC = {name: getattr(sparsemodels, name) for name in sparsemodels._FUNCTIONS} | {
    f"{room}.{name}": getattr(getattr(sparsemodels, room), name)
    for room in ROOMS
    for name in getattr(getattr(sparsemodels, room), "__all__", ())
}
METHODS = {
    f"{owner}.{name}": method
    for owner, cls in PUBLIC.items()
    if inspect.isclass(cls)
    for name, method in inspect.getmembers(cls, callable)
    if not name.startswith("_") and (getattr(method, "__module__", None) or "").startswith("sparsemodels")
}
CALLABLES = {name: value for name, value in (PUBLIC | METHODS).items() if callable(value)}
ESTIMATORS = {
    name: value for name, value in PUBLIC.items() if inspect.isclass(value) and issubclass(value, BaseEstimator)
}


def documented(text):
    """Names of a numpydoc section: ``name : type``, ``first, second : type`` or ``**kwargs``."""
    lines = re.findall(r"^(\S[^:\n]*?)\s:\s|^(\*\*\w+)$", inspect.cleandoc(text), re.M)
    return {name.strip().lstrip("*") for line in lines for name in "".join(line).split(",")}


@pytest.mark.parametrize("name", CALLABLES)
def test_every_parameter_is_documented(name):
    value = CALLABLES[name]
    text = inspect.getdoc(value) or ""
    assert text, f"{name} has no docstring"
    parameters = set(inspect.signature(value).parameters) - {"self"}
    assert parameters - documented(text) == set()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_fitted_attribute_is_documented(name):
    random = np.random.default_rng(0)
    X, y = random.standard_normal((30, 4)), random.standard_normal(30)
    estimator = ESTIMATORS[name]()
    if is_classifier(estimator):
        y = (y > 0.0).astype(int)
    elif get_tags(estimator).target_tags.positive_only:
        y = np.exp(y)
    if get_tags(estimator).input_tags.positive_only:
        X = np.abs(X)
    if get_tags(estimator).input_tags.three_d_array:
        X = X[:28].reshape(7, 4, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = vars(estimator.fit(X, y))
    attributes = {key for key in fitted if key.endswith("_") and not key.startswith("_")}
    attributes -= {"n_features_in_", "feature_names_in_"}  # scikit-learn's own, set by its validation
    text = inspect.getdoc(ESTIMATORS[name])
    assert attributes - documented(text) == set()


@pytest.mark.parametrize("name", [name for name, value in PUBLIC.items() if callable(value)])
def test_every_public_object_has_an_example(name):
    assert ">>> " in inspect.getdoc(PUBLIC[name]), f"{name} shows no example"
