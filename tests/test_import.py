"""An import compiles nothing and loads no extra; at the top, it loads neither Numba nor scikit-learn."""

import subprocess
import sys

import pytest

import sparsemodels

EXTRAS = [
    "matplotlib",
    "cvxpy",
    "xgboost",
    "dask",
    "distributed",
    "cupy",
    "torch",
    "skops",
    "pandas",
    "polars",
    "rich",
]


def python(code):
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_top_level_import_loads_nothing_heavy():
    heavy = ["numpy", "scipy", "numba", "sklearn", "joblib", *EXTRAS]
    assert python(f"import sys, sparsemodels; print([name for name in {heavy} if name in sys.modules])") == "[]"


def test_estimators_load_no_extra():
    # scikit-learn loads some extras itself where they are installed (pandas): only what we add counts.
    code = f"""
import sys, numba, sklearn.linear_model, sklearn.model_selection, scipy.stats
before = {{name for name in {EXTRAS} if name in sys.modules}}
import sparsemodels
for room in sparsemodels._SUBMODULES:
    module = getattr(sparsemodels, room)
    for name in getattr(module, "__all__", ()):
        getattr(module, name)
print(sorted({{name for name in {EXTRAS} if name in sys.modules}} - before))
"""
    assert python(code) == "[]"


def test_import_compiles_nothing():
    code = """
import importlib, pkgutil, sys, sparsemodels, sparsemodels.solvers
from numba.core.dispatcher import Dispatcher
for package in (sparsemodels, sparsemodels.solvers):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
modules = {name: module for name, module in sys.modules.items() if name.startswith("sparsemodels")}
kernels = {f"{name}.{key}": value for name, module in modules.items()
           for key, value in vars(module).items() if isinstance(value, Dispatcher)}
assert len(kernels) > 3 or __import__("numba").config.DISABLE_JIT, kernels
print([name for name, kernel in kernels.items() if kernel.signatures])
"""
    assert python(code) == "[]"


def test_every_public_name_exists():
    for name in sparsemodels.__all__:
        getattr(sparsemodels, name)
    assert set(dir(sparsemodels)) == set(sparsemodels.__all__)
    for room in (sparsemodels.linear_model, sparsemodels.datasets, sparsemodels.inspection):
        missing = [name for name in getattr(room, "__all__", ()) if not hasattr(room, name)]
        assert missing == []


def test_unknown_name():
    with pytest.raises(AttributeError, match="module 'sparsemodels' has no attribute 'nothing'"):
        sparsemodels.nothing  # noqa: B018
