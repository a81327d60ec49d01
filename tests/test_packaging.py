"""The two rooms are one package: in a checkout, a wheel, a wheel from the sdist and an editable install."""

import doctest
import importlib
import pkgutil
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import sparsemodels
import sparsemodels.solvers

ROOT = Path(__file__).parents[1]
PACKAGES = (sparsemodels, sparsemodels.solvers)  # in a wheel, walking the first finds the second, too
MODULES = sorted(
    {package.__name__ for package in PACKAGES}
    | {
        module.name
        for package in PACKAGES
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    }
)
pytestmark = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").is_file(), reason="runs in a checkout or an unpacked sdist"
)


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_subpackage_is_listed():
    found = {
        ".".join((name, *file.parent.relative_to(ROOT / folder).parts))
        for folder, name in (("sparsemodels", "sparsemodels"), ("solvers", "sparsemodels.solvers"))
        for file in (ROOT / folder).rglob("__init__.py")
    }
    assert set(project()["tool"]["setuptools"]["packages"]) == found


def test_every_folder_with_code_is_a_package():
    # A folder without __init__.py would be found in the checkout and missing from the wheel.
    folders = {file.parent for room in ("sparsemodels", "solvers") for file in (ROOT / room).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_no_top_level_solvers():
    run = subprocess.run([sys.executable, "-c", "import solvers"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode
    assert "import it by that name" in run.stderr
    assert "sparsemodels.solvers" in run.stderr


@pytest.mark.parametrize("name", MODULES)
def test_doctest(name):
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS).failed == 0


# What a user has lying beside a notebook, and what must come from the install all the same.
IN_A_USERS_FOLDER = """
import importlib, pkgutil, sys
from pathlib import Path
import sparsemodels, sparsemodels.solvers, sparsemodels.linear_model
import solvers
assert solvers.MINE, solvers
packages = (sparsemodels, sparsemodels.solvers)
names = {module.name for package in packages
         for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")}
names = sorted(names | {package.__name__ for package in packages})
places = {Path(importlib.import_module(name).__file__).resolve() for name in names}
home = Path(sys.argv[1]).resolve()
assert all(place.is_relative_to(home) for place in places), (home, places)
assert (Path(sparsemodels.__file__).parent / "py.typed").is_file()
from sparsemodels.solvers.kernel import kernel
assert kernel(lambda x: x + 1)(1) == 2
if "Lasso" in getattr(sparsemodels.linear_model, "__all__", ()):
    model = sparsemodels.linear_model.Lasso(alpha=0.1).fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0])
    assert 0 < model.coef_[0] < 1, model.coef_
print(" ".join(names))
"""


def run(*command, cwd):
    result = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.strip()


def build(kind, source, out):
    """Build a wheel, an sdist or an editable wheel as pip would, with this environment's build backend."""
    code = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(out)!r}))"
    return out / run(sys.executable, "-W", "ignore", "-c", code, cwd=source).splitlines()[-1]


class Environment:
    """A fresh environment that sees our dependencies, but not this checkout and no other install of it."""

    def __init__(self, folder):
        venv.create(folder, with_pip=True)
        paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
        self.python = Path(paths["scripts"]) / ("python.exe" if sys.platform == "win32" else "python")
        self.site = Path(paths["purelib"])
        # A folder that a .pth file adds has its own .pth files ignored: editable installs there stay asleep.
        places = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        (self.site / "dependencies.pth").write_text("\n".join(sorted(places)))

    def install(self, *arguments):
        run(self.python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", *arguments, cwd=self.site)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the sources: a build leaves its traces there, and stale traces here cannot enter it."""
    copy = tmp_path_factory.mktemp("source") / "checkout"
    copy.mkdir()
    for name in ("pyproject.toml", "MANIFEST.in", "LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, copy / name)
    ignored = shutil.ignore_patterns("__pycache__", "_build", "auto_examples", "generated")
    for folder in ("sparsemodels", "solvers", "tests", "examples", "docs", "benchmarks"):
        if (ROOT / folder).is_dir():
            shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    return copy


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    pytest.importorskip("setuptools", minversion="77")
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def users_folder(tmp_path):
    (tmp_path / "solvers.py").write_text("MINE = True\n")
    (tmp_path / "sparsemodels.txt").write_text("notes of a user\n")
    return tmp_path


def content(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}


@pytest.mark.slow
def test_wheel_in_a_fresh_environment(wheel, users_folder, tmp_path_factory):
    files = content(wheel)
    assert {name.split("/")[0] for name in files} == {"sparsemodels"}
    assert files["sparsemodels/solvers/kernel.py"] == (ROOT / "solvers/kernel.py").read_bytes()
    environment = Environment(tmp_path_factory.mktemp("wheel_env"))
    environment.install(wheel)
    names = run(environment.python, "-c", IN_A_USERS_FOLDER, environment.site, cwd=users_folder)
    assert names.split() == MODULES


@pytest.mark.slow
def test_wheel_from_the_sdist(source, wheel, tmp_path):
    sdist = build("sdist", source, tmp_path)
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    unpacked = tmp_path / "unpacked" / sdist.name.removesuffix(".tar.gz")
    for name in ("tests/conftest.py", "tests/test_packaging.py", "LICENSE", "README.md"):
        assert (unpacked / name).is_file(), name
    again = build("wheel", unpacked, tmp_path)
    assert content(again) == content(wheel)


@pytest.mark.slow
def test_editable_install(source, users_folder, tmp_path_factory):
    pytest.importorskip("setuptools", minversion="77")
    checkout = tmp_path_factory.mktemp("editable") / "checkout"
    shutil.copytree(source, checkout)
    environment = Environment(tmp_path_factory.mktemp("editable_env"))
    # What `pip install -e` does, with the build backend of this environment.
    environment.install(build("editable", checkout, tmp_path_factory.mktemp("editable_wheel")))
    names = run(environment.python, "-c", IN_A_USERS_FOLDER, checkout, cwd=users_folder)
    assert names.split() == MODULES
    # A new file is seen without another install, from anywhere.
    (checkout / "solvers/written_later.py").write_text("ANSWER = 42\n")
    code = "from sparsemodels.solvers import written_later; print(written_later.ANSWER)"
    assert run(environment.python, "-c", code, cwd=users_folder) == "42"
