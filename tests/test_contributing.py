"""The three recipes of CONTRIBUTING.md, followed to the letter on a copy of the sources."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
RECIPES = {
    title: BLOCK.findall(body)
    for title, body in re.findall(r"^## (How to add [^\n]+)\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S)
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    copy = tmp_path_factory.mktemp("recipes") / "checkout"
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("sparsemodels", "solvers"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    for name in ("pyproject.toml", "tests/conftest.py"):
        (copy / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    return copy


def test_the_three_recipes_are_there():
    assert list(RECIPES) == ["How to add a penalty", "How to add a solver", "How to add an estimator"]
    for blocks in RECIPES.values():
        assert [language for language, _ in blocks] == ["python", "python", "sh"]


@pytest.mark.slow
@pytest.mark.parametrize("title", RECIPES)
def test_recipe(title, checkout):
    # One recipe builds on the one before: the penalty is there when the solver's test needs it.
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), environment.get("PATH", "")))
    for language, text in RECIPES[title]:
        if language == "python":
            file = checkout / text.splitlines()[0].removeprefix("# ")
            assert file.suffix == ".py"
            assert not file.exists(), f"{file.name} exists: the recipe would overwrite it"
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        else:
            run = subprocess.run(text, shell=True, cwd=checkout, env=environment, capture_output=True, text=True)
            assert run.returncode == 0, run.stdout + run.stderr
            assert re.search(r"\d+ passed", run.stdout), run.stdout
