"""What a bug report needs to know about an installation."""

import importlib.metadata
import os
import platform
import sys

_REQUIRED = ("numpy", "scipy", "scikit-learn", "numba", "llvmlite", "joblib", "threadpoolctl", "array-api-compat")
_EXTRAS = (
    "matplotlib",
    "cvxpy",
    "xgboost",
    "xgboost-cpu",
    "dask",
    "cupy-cuda12x",
    "skops",
    "pandas",
    "polars",
    "rich",
)
_VARIABLES = (
    "NUMBA_CACHE_DIR",
    "NUMBA_DISABLE_JIT",
    "SPARSEMODELS_NUMBA_CACHE",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "SCIPY_ARRAY_API",
)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _threadpools() -> list[str]:
    import numpy  # noqa: F401  (loads the BLAS library that is to be reported)
    from threadpoolctl import threadpool_info

    return [f"{pool['internal_api']} {pool['version']}, {pool['num_threads']} threads" for pool in threadpool_info()]


def show_versions() -> None:
    """Print the versions of Python, of this package and of what it stands on: paste it into a bug report.

    Packages are looked up without being imported, except NumPy, whose linear algebra library is named with
    its number of threads. Extras that are not installed are listed as such.

    See Also
    --------
    sklearn.show_versions : The same for scikit-learn.

    Examples
    --------
    >>> import sparsemodels
    >>> sparsemodels.show_versions()  # doctest: +ELLIPSIS
    System
      python: 3...
    """
    from . import __version__

    sections = {
        "System": {
            "python": sys.version.replace("\n", " "),
            "machine": platform.platform(),
            "processors": str(os.cpu_count()),
        },
        "Packages": {"sparsemodels": __version__, **{name: _version(name) for name in _REQUIRED}},
        "Extras": {name: _version(name) for name in _EXTRAS},
        "Linear algebra": {str(k): pool for k, pool in enumerate(_threadpools())},
        "Environment": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }
    for section, entries in sections.items():
        print(section)
        for name, value in entries.items():
            print(f"  {name}: {value}")
