"""What the loaders return, and that the shipped data are what their description says."""

import subprocess
import sys
from importlib import resources

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes

import sparsemodels.datasets
from sparsemodels.datasets import load_diabetes_quadratic, load_fermentation

LOADERS = [load_fermentation, load_diabetes_quadratic]


@pytest.mark.parametrize("load", LOADERS)
def test_arrays_frames_and_names_agree(load):
    bunch, framed = load(), load(as_frame=True)
    n_samples, n_features = bunch.data.shape
    assert bunch.data.dtype == bunch.target.dtype == np.float64
    assert np.isfinite(bunch.data).all()
    assert bunch.target.shape == (n_samples,)
    assert len(bunch.feature_names) == len(set(bunch.feature_names)) == n_features
    assert bunch.frame is None
    assert isinstance(framed.data, pd.DataFrame)
    np.testing.assert_array_equal(framed.data.to_numpy(), bunch.data)
    assert list(framed.data.columns) == bunch.feature_names
    assert isinstance(framed.target, pd.Series)
    assert list(framed.frame.columns) == bunch.feature_names + bunch.target_names
    X, y = load(return_X_y=True)
    np.testing.assert_array_equal(X, bunch.data)
    np.testing.assert_array_equal(y, bunch.target)
    X, y = load(return_X_y=True, as_frame=True)
    assert isinstance(X, pd.DataFrame)
    assert isinstance(y, pd.Series)
    assert "licence" in bunch.DESCR


@pytest.mark.parametrize("load", LOADERS)
def test_a_changed_copy_does_not_change_the_next(load):
    load().data[:] = 0
    assert load().data.any()


def test_fermentation_is_what_it_says():
    bunch = load_fermentation()
    assert bunch.data.shape == (21, 1047)
    assert bunch.online.shape == (407, 1047)
    assert bunch.reference.shape == (34, len(bunch.reference_names))
    assert np.all(np.diff(bunch.wavenumbers) > 0)
    assert (bunch.wavenumbers[0], bunch.wavenumbers[-1]) == (428, 1833)
    np.testing.assert_allclose(np.diff(bunch.online_hours), 5 / 60)
    assert 0 <= bunch.target.min() < bunch.target.max() < 40
    # Yeast turns glucose into ethanol: one falls while the other rises.
    column = dict(zip(bunch.reference_names, bunch.reference.T, strict=True))
    assert np.all(np.diff(column["hours"]) > 0)
    assert column["hours"][-1] < bunch.online_hours[-1] + 0.1
    assert np.corrcoef(column["glucose"], column["ethanol"])[0, 1] < -0.9
    # The C-O bonds of glucose absorb near 1080 per centimetre and not at 960: more glucose, less light.
    band = [bunch.data[:, np.abs(bunch.wavenumbers - centre) <= 4].mean(axis=1) for centre in (1080, 960)]
    assert np.corrcoef(band[0] - band[1], bunch.target)[0, 1] < -0.8


def test_fermentation_frames_carry_hours():
    bunch = load_fermentation(as_frame=True)
    assert bunch.online.index.name == "hours"
    assert list(bunch.reference.columns) == bunch.reference_names


def test_diabetes_columns_are_the_named_products():
    bunch = load_diabetes_quadratic()
    assert bunch.data.shape == (442, 64)
    raw = load_diabetes(scaled=False).data
    z = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    for name, column in zip(bunch.feature_names, bunch.data.T, strict=True):
        first, _, second = name.replace("^2", "*" + name.split("^")[0]).partition("*")
        product = z[:, bunch.feature_names.index(first)]
        if second:
            product = product * z[:, bunch.feature_names.index(second)]
        np.testing.assert_allclose(column, (product - product.mean()) / product.std(), atol=1e-12)
    assert "sex^2" not in bunch.feature_names


def test_shipped_files_are_small_described_and_without_pickles():
    folder = resources.files("sparsemodels.datasets") / "data"
    files = [file for file in folder.iterdir() if file.is_file()]
    assert sum(len(file.read_bytes()) for file in files) < 1_500_000
    notes = (folder / "README.md").read_text()
    for file in files:
        if file.name != "README.md":
            assert file.name in notes
    assert "Permission is hereby granted" in notes
    with np.load(folder / "fermentation.npz", allow_pickle=False) as stored:
        assert all(stored[name].dtype.kind != "O" for name in stored)


def test_missing_pandas_is_named():
    code = (
        "import sys; sys.modules['pandas'] = None\n"
        "from sparsemodels.datasets import load_fermentation\n"
        "try:\n    load_fermentation(as_frame=True)\n"
        "except ImportError as error:\n    print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "load_fermentation with as_frame=True needs pandas" in run.stdout


def test_all_names_are_public():
    for name in sparsemodels.datasets.__all__:
        assert callable(getattr(sparsemodels.datasets, name))
