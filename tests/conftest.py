"""Threads and compiler cache, set before NumPy and Numba are imported; the garbage collector."""

import gc
import hashlib
import os
from pathlib import Path

root = Path(__file__).parents[1]
sources = b"".join(file.read_bytes() for file in sorted(root.glob("solvers/**/*.py")))
os.environ.setdefault("NUMBA_CACHE_DIR", str(root / ".numba_cache" / hashlib.sha256(sources).hexdigest()[:12]))
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("SCIPY_ARRAY_API", "1")  # must be set before SciPy is imported
os.environ.setdefault("MPLBACKEND", "Agg")

# The compiler makes millions of objects that die young, in a process that holds half a million that do not: with the
# thresholds of Python the collector takes an eighth of the time of the tests.
gc.set_threshold(100_000, 20, 20)
