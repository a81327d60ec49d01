"""Let a source checkout find ``sparsemodels.solvers`` in ``<root>/solvers``; a no-op in a wheel."""

import importlib.util
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_INIT = _HERE.parent / "solvers" / "__init__.py"


class _SolversFinder:
    @staticmethod
    def find_spec(fullname, path=None, target=None):
        if fullname != "sparsemodels.solvers":
            return None
        return importlib.util.spec_from_file_location(fullname, _INIT, submodule_search_locations=[str(_INIT.parent)])


if not (_HERE / "solvers").is_dir() and _INIT.is_file():
    # First in line: before the finder of another checkout that is installed in editable mode.
    sys.meta_path.insert(0, _SolversFinder)  # type: ignore[arg-type]
