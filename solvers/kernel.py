"""The one decorator for compiled functions: the only place that spells ``njit``."""

import functools
import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache

_PACKAGE = "sparsemodels."


@functools.cache
def _digest() -> str:
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


class _Cache(FunctionCache):
    """Numba's disk cache, void when any solver source changes; users' own records stay out of it."""

    def __init__(self, function):
        super().__init__(function)
        # Numba looks only at the file of the outermost function: a changed `prox` in another file would be
        # served stale (numba#1833). The digest of all sources makes the index void instead.
        self._cache_file._source_stamp = (self._cache_file._source_stamp, _digest())
        # Numba unpickles an index before it looks at the stamp: after an upgrade that moved or dropped a record
        # class, the old index cannot be read. It is void anyway.
        read_index = self._cache_file._load_index

        def load_index():
            try:
                return read_index()
            except (AttributeError, ImportError, pickle.UnpicklingError, EOFError):
                return {}

        self._cache_file._load_index = load_index

    def load_overload(self, sig, target_context):
        return super().load_overload(sig, target_context) if _ours(sig) else None

    def save_overload(self, sig, data):
        if _ours(sig):
            super().save_overload(sig, data)


def _ours(numba_type) -> bool:
    """Whether a signature holds only records of this package, so that every process can import them."""
    cls = getattr(numba_type, "instance_class", None)
    parts = numba_type if isinstance(numba_type, tuple) else getattr(numba_type, "types", ())
    return (cls is None or cls.__module__.startswith(_PACKAGE)) and all(map(_ours, parts))


def kernel(function: Any = None, **options: Any) -> Any:
    """Compile a function with the options and the disk cache that every kernel of the package has.

    Parameters
    ----------
    function : callable
        A function of arrays, scalars and records (``typing.NamedTuple``).
    **options
        Options of :func:`numba.njit` to add or replace. ``cache=False`` keeps one kernel out of the disk cache; the
        environment variable ``SPARSEMODELS_NUMBA_CACHE=0`` all of them.

    Returns
    -------
    callable
        The compiled dispatcher, or the plain function under ``NUMBA_DISABLE_JIT=1``.

    Examples
    --------
    >>> from sparsemodels.solvers.kernel import kernel
    >>> @kernel(cache=False)
    ... def twice(x):
    ...     return 2 * x
    >>> twice(21)
    42
    """
    if function is None:
        return functools.partial(kernel, **options)
    cache = options.pop("cache", os.environ.get("SPARSEMODELS_NUMBA_CACHE", "1") != "0")
    # No kernel is called through a C function pointer; that wrapper would be a seventh of the time to compile.
    defaults = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
    dispatcher = numba.njit(**{**defaults, **options})(function)
    if cache and hasattr(dispatcher, "_cache"):  # a plain function under NUMBA_DISABLE_JIT=1
        try:
            dispatcher._cache = _Cache(function)
        except RuntimeError as error:  # a read-only install and no writable home
            if "cannot cache function" not in str(error):
                raise
    return dispatcher
