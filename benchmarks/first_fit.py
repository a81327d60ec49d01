"""What a user waits for in a new process: the import, and the first fit beyond a warm one.

Measured on tiny problems, where a warm fit takes milliseconds, with a cold and with a warm disk cache: the
cold one is an empty NUMBA_CACHE_DIR, the warm one is what the cold process left there.
"""

import importlib
from typing import Any

from harness import first_fits

TITLE = "First fit in a new process"

# Every combination that is compiled by itself: task, dtype and layout.
CASES = {
    "lasso-dense": ("lasso", "dense-1000x5000"),
    "lasso-csc": ("lasso", "csc-20000x50000"),
    "lasso-path-dense": ("lasso_path", "dense-1000x5000"),
    "lasso-path-csc": ("lasso_path", "csc-20000x50000"),
    "weighted-lasso-dense": ("weighted_lasso", "dense-1000x5000"),
    "orthogonal-matching-pursuit": ("orthogonal_matching_pursuit", "dense-1000x5000-50-atoms"),
}


def run(names: list[str], peers: list[str] | None = None, log=print) -> dict[str, Any]:
    """Seconds of name -> peer -> cold or warm cache; a sentence instead where a peer failed."""
    table: dict[str, Any] = {}
    for name in names:
        task_name, case = CASES[name]
        task = importlib.import_module(task_name)
        table[name] = {}
        for peer in task.PEERS:
            if peers is None or peer in peers:
                table[name][peer] = first_fits(task_name, task.CASES[case], peer)
                log(
                    f"  {name}, {peer}: {beyond_warm(table[name][peer], 'cold')} s cold, "
                    f"{beyond_warm(table[name][peer], 'warm')} s warm"
                )
    return table


def beyond_warm(fits: dict[str, Any], cache: str) -> str:
    """Seconds of the first fit minus those of a warm one."""
    seconds = fits[cache]
    return seconds if isinstance(seconds, str) else f"{seconds['first_s'] - seconds['warm_s']:.2f}"


def rows(table: dict[str, Any]) -> list[list[str]]:
    """The table for the report."""
    lines = [
        [
            "Problem",
            "Package",
            "Import (s)",
            "First fit, cold cache (s)",
            "First fit, warm cache (s)",
            "Warm fit (s)",
        ]
    ]
    for name, peers in table.items():
        for peer, fits in peers.items():
            warm = fits["warm"]
            known = isinstance(warm, dict)
            lines.append(
                [
                    name,
                    peer,
                    f"{warm['import_s']:.2f}" if known else "",
                    beyond_warm(fits, "cold"),
                    beyond_warm(fits, "warm") if known else "",
                    f"{warm['warm_s']:.4f}" if known else "",
                ]
            )
    return lines
