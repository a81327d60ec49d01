"""Work on many rows that do not depend on each other: fixed blocks of them, shared out to threads."""

from collections.abc import Callable
from typing import Any

from joblib import Parallel, delayed, effective_n_jobs


def map_blocks(n_rows: int, n_jobs: int | None, work: Callable[[int, int], Any], block: int = 1024) -> list[Any]:
    """Call `work(start, stop)` for fixed blocks of rows; the results in order, whatever the workers.

    Parameters
    ----------
    n_rows : int
        The number of rows.
    n_jobs : int, optional
        Threads, as in joblib.
    work : callable
        Called with the first row of a block and the row behind its last one. It must release the interpreter's lock
        (compiled kernels and matrix products do) to gain from threads, and write to nothing but its own rows.
    block : int, default=1024
        Rows of one block: independent of `n_jobs`, so that no answer depends on the number of workers.

    Returns
    -------
    list
        What the calls returned.
    """
    starts = range(0, n_rows, block)
    if effective_n_jobs(n_jobs) == 1 or len(starts) <= 1:
        return [work(start, min(start + block, n_rows)) for start in starts]
    tasks = (delayed(work)(start, min(start + block, n_rows)) for start in starts)
    return Parallel(n_jobs=n_jobs, backend="threading")(tasks)
