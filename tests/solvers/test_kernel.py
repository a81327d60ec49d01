"""Each defect of Numba's disk cache that `kernel` cures, reproduced in new processes on a small package.

The cures stand on private names of Numba (`FunctionCache`, `_cache_file`, `_source_stamp`): these tests tell
when they move.
"""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numba
import numpy as np
import pytest

from sparsemodels.solvers.kernel import kernel

ROOT = Path(__file__).parents[2]

SHRINK = """
from typing import NamedTuple
from .generic import generic

class Absolute(NamedTuple):
    alpha: float

@generic
def shrink(penalty, value):
    raise TypeError

@shrink.register(Absolute)
def _(penalty, value):
    return value - penalty.alpha
"""

EPOCH = """
from .kernel import kernel
from .shrink import shrink

@kernel
def epoch(penalty, values):
    total = 0.0
    for i in range(values.size):
        total += shrink(penalty, values[i])
    return total
"""

CALL = """
import numpy as np
from sparsemodels.solvers.epoch import epoch
from sparsemodels.solvers.shrink import Absolute
print(epoch(Absolute(1.0), np.full(3, 10.0)), sum(epoch.stats.cache_hits.values()))
"""

# What a user writes, in a module of their own or in a script.
FOREIGN_RECORD = """
from typing import NamedTuple
from sparsemodels.solvers.shrink import shrink

class Scaled(NamedTuple):
    factor: float

@shrink.register(Scaled)
def _(penalty, value):
    return penalty.factor * value
"""

FOREIGN_CALL = """
import numpy as np
from sparsemodels.solvers.epoch import epoch
print(epoch(Scaled(2.0), np.full(3, 10.0)), sum(epoch.stats.cache_hits.values()))
"""


class Tree:
    """A checkout with the real `kernel` and `generic`, and one kernel whose `shrink` lies in another file."""

    def __init__(self, folder):
        self.root, self.cache = folder / "checkout", folder / "cache"
        for name in ("sparsemodels/__init__.py", "sparsemodels/_checkout.py", "sparsemodels/_version.py"):
            self.copy(name)
        for name in ("solvers/__init__.py", "solvers/kernel.py", "solvers/generic.py"):
            self.copy(name)
        (self.root / "solvers/shrink.py").write_text(SHRINK)
        (self.root / "solvers/epoch.py").write_text(EPOCH)

    def copy(self, name):
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, self.root / name)

    def python(self, *arguments, path=(), **environment):
        """What a new process prints; the test fails with its traceback where it does."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("NUMBA_") and name != "SPARSEMODELS_NUMBA_CACHE"
        }
        search = os.pathsep.join(map(str, (self.root, *path)))
        settings = {"PYTHONPATH": search, "PYTHONDONTWRITEBYTECODE": "1", "NUMBA_CACHE_DIR": str(self.cache)}
        settings |= environment
        run = subprocess.run(
            [sys.executable, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=self.root.parent,
            env=inherited | {name: value for name, value in settings.items() if value is not None},
        )
        assert run.returncode == 0, run.stderr
        return run.stdout.strip()

    def cached(self):
        """Names of the machine-code files in the cache."""
        return sorted(file.name for file in self.cache.rglob("*.nbc"))


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def test_next_process_reads_the_cache(tree):
    assert tree.python("-c", CALL) == "27.0 0"
    assert tree.python("-c", CALL) == "27.0 1"
    assert len(tree.cached()) == 1


def test_change_in_another_file_voids_the_cache(tree):
    # numba#1833: Numba itself looks only at epoch.py, which did not change.
    assert tree.python("-c", CALL) == "27.0 0"
    (tree.root / "solvers/shrink.py").write_text(SHRINK.replace("value - penalty", "value + penalty"))
    assert tree.python("-c", CALL) == "33.0 0"
    assert tree.python("-c", CALL) == "33.0 1"


def test_record_class_that_an_upgrade_renamed(tree):
    # Numba unpickles the whole index, old signatures with their classes included, before it compares stamps.
    assert tree.python("-c", CALL) == "27.0 0"
    (tree.root / "solvers/shrink.py").write_text(SHRINK.replace("Absolute", "Renamed"))
    assert tree.python("-c", CALL.replace("Absolute", "Renamed")) == "27.0 0"
    assert tree.python("-c", CALL.replace("Absolute", "Renamed")) == "27.0 1"


def test_read_only_install_without_a_writable_home(tree):
    # A file where Numba wants a directory refuses root, too, unlike permissions.
    (tree.root / "solvers/__pycache__").write_text("")
    nowhere = tree.root / "solvers/__pycache__/below_a_file"
    plain = """
    import numba, numpy as np
    from sparsemodels.solvers import shrink
    try:
        numba.njit(cache=True)(shrink.generic)
        print("the place is writable after all")
    except RuntimeError as error:
        assert "cannot cache function" in str(error), error
    """
    settings = {"NUMBA_CACHE_DIR": None, "XDG_CACHE_HOME": str(nowhere), "HOME": str(nowhere)}
    settings |= {"LOCALAPPDATA": str(nowhere)}
    assert tree.python("-c", textwrap.dedent(plain) + CALL, **settings) == "27.0 0"
    assert tree.python("-c", CALL, **settings) == "27.0 0"


def test_foreign_record_stays_out_of_the_cache(tree, tmp_path):
    assert tree.python("-c", CALL) == "27.0 0"
    ours = tree.cached()
    user = tmp_path / "user"
    user.mkdir()
    (user / "my_penalty.py").write_text(FOREIGN_RECORD)
    call = "from my_penalty import Scaled\n" + FOREIGN_CALL
    assert tree.python("-c", call, path=[user]) == "60.0 0"
    assert tree.cached() == ours
    # A process that cannot import the user's module still reads the cache ...
    assert tree.python("-c", CALL) == "27.0 1"
    # ... and an edit of the user's function is seen.
    (user / "my_penalty.py").write_text(FOREIGN_RECORD.replace("penalty.factor *", "penalty.factor +"))
    assert tree.python("-c", call, path=[user]) == "36.0 0"


def test_foreign_record_inside_a_tuple_stays_out_of_the_cache(tree, tmp_path):
    (tree.root / "solvers/epoch.py").write_text(EPOCH.replace("shrink(penalty,", "shrink(penalty[0],"))
    script = tmp_path / "script.py"
    script.write_text(FOREIGN_RECORD + FOREIGN_CALL.replace("Scaled(2.0)", "(Scaled(2.0), 1)"))
    assert tree.python(script) == "60.0 0"
    assert tree.cached() == []


def test_records_of_a_script_do_not_grow_the_cache(tree, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(FOREIGN_RECORD + FOREIGN_CALL + CALL)
    assert tree.python(script).split() == ["60.0", "0", "27.0", "0"]
    ours = tree.cached()
    assert len(ours) == 1
    for _ in range(2):
        assert tree.python(script).split() == ["60.0", "0", "27.0", "1"]
        assert tree.cached() == ours


def test_without_the_compiler(tree):
    call = CALL.replace("print(", "assert type(epoch).__name__ == 'function'; print(").replace(
        ", sum(epoch.stats.cache_hits.values())", ""
    )
    assert tree.python("-c", call, NUMBA_DISABLE_JIT="1") == "27.0"
    assert tree.cached() == []


def test_cache_can_be_switched_off(tree):
    assert tree.python("-c", CALL, SPARSEMODELS_NUMBA_CACHE="0") == "27.0 0"
    assert tree.cached() == []


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="asks for options of the compiler")
def test_options():
    @kernel(cache=False, fastmath={"contract"})
    def halve(x):
        return x / 2

    assert halve.targetoptions["nogil"]
    assert halve.targetoptions["fastmath"] == {"contract"}
    assert halve.targetoptions["error_model"] == "numpy"


def test_division_by_zero_is_infinite():
    # error_model="numpy": Python's own would raise, and would keep loops from being vectorised.
    if numba.config.DISABLE_JIT:
        pytest.skip("Python itself raises")

    @kernel(cache=False)
    def inverse(x):
        return 1.0 / x

    assert inverse(0.0) == np.inf
