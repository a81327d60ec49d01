"""`show_versions` names everything a bug report needs, installed or not."""

import importlib.metadata
import tomllib
from pathlib import Path

import numpy as np
import pytest

import sparsemodels
from sparsemodels import _show_versions

ROOT = Path(__file__).parents[1]


@pytest.fixture
def lines(capsys):
    assert sparsemodels.show_versions() is None
    return [line.strip() for line in capsys.readouterr().out.splitlines()]


def test_versions_are_those_in_use(lines):
    assert f"sparsemodels: {sparsemodels.__version__}" in lines
    assert f"numpy: {np.__version__}" in lines
    assert f"scikit-learn: {importlib.metadata.version('scikit-learn')}" in lines


def test_every_dependency_is_named(lines):
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    for requirement in dependencies:
        name = requirement.split(">=")[0]
        assert any(line.startswith(f"{name}: ") for line in lines), name


def test_missing_package_is_reported(capsys, monkeypatch):
    monkeypatch.setattr(_show_versions, "_EXTRAS", ("a-package-nobody-has",))
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/somewhere")
    sparsemodels.show_versions()
    out = capsys.readouterr().out
    assert "  a-package-nobody-has: not installed\n" in out
    assert "  NUMBA_CACHE_DIR: /somewhere\n" in out
