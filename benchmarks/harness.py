"""The same problem, to the same certified quality, by all peers, in one run.

A task is a module with

- ``CASES``: name -> record of the problem's parameters; ``BIG``: the names that run only when asked for;
- ``build(case)``: the seeded problem; ``tiny(case)``: a case of the same dtype and layout, to compile on;
- ``PEERS``: name -> function that *imports* the peer and returns ``fit(problem, effort, **setting)``;
- ``efforts(peer, case, target)``: increasing; ``settings(peer, case)``: alternatives, the fastest is timed;
- ``quality(problem, solution)``: the certificate recomputed from the solution alone, lower is better;
- ``TARGET``: the quality all must reach; ``TIGHT``: a second, much better one, or None;
- optionally ``beside(problem, solution)``: other measures of the solution by name, for columns of their own;
- optionally ``TIME_MISSED = True``: who misses the target is timed as well, at the best quality that it has.

NumPy is not imported here: the threads are pinned first, and every measurement runs in a child process that
inherits them.
"""

import contextlib
import functools
import importlib
import multiprocessing
import os
import pathlib
import re
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

OURS = "sparsemodels"
THREADS = 1
_THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_SHORT = 2.0  # seconds; shorter fits are repeated when settings are compared
_LONG = 30.0  # seconds; who misses the target in more than that is timed by its probe only


def in_child(function: Callable, *arguments: Any, cache: str | None = None, limit: float | None = None) -> Any:
    """What ``function(*arguments)`` returns in a new process, or a sentence that says why it did not.

    ``cache`` is the child's NUMBA_CACHE_DIR; after ``limit`` seconds the child is ended.
    """
    environment = dict.fromkeys(_THREAD_VARIABLES, str(THREADS)) | ({"NUMBA_CACHE_DIR": cache} if cache else {})
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_answer, args=(sender, function, arguments))
    with _environment(environment):
        child.start()
    sender.close()
    try:
        if receiver.poll(limit):
            answer = receiver.recv()
        else:
            child.kill()
            answer = f"gave up after {limit:.0f} s"
    except EOFError:
        child.join()
        answer = f"crashed: exit code {child.exitcode}"
    child.join()
    return answer


def probe(task_name: str, case: Any, peer: str) -> dict[str, Any]:
    """Own process: the fastest setting, its cheapest effort that reaches the target, its peak memory."""
    task = importlib.import_module(task_name)
    fit = task.PEERS[peer]()  # an ImportError is reported as a missing peer
    efforts, settings = list(task.efforts(peer, case, task.TARGET)), task.settings(peer, case)
    small, problem = task.build(task.tiny(case)), task.build(case)
    _trial(task, fit, small, efforts[0], settings[0], task.TARGET)  # compiles
    # Once, before all fits: the form of the data that a peer keeps from its first fit on is memory it needs.
    before, best, trials = _resident_mb(), None, []
    for setting in settings:
        for effort in efforts:
            trial = _trial(task, fit, problem, effort, setting, task.TARGET, before)
            trials.append(trial)
            if trial["reached"] and trial["seconds"] < _SHORT:
                again = _trial(task, fit, problem, effort, setting, task.TARGET, before)
                trial["seconds"] = min(trial["seconds"], again["seconds"])
            # A setting that is already slower at a looser tolerance cannot win.
            slower = best is not None and trial["seconds"] > 2 * best["seconds"]
            if trial["reached"] or "failure" in trial or slower:
                break
        if trial["reached"]:
            # The next setting will need about the same effort: start it two below.
            efforts = efforts[max(0, efforts.index(effort) - 2) :]
            best = trial if best is None or trial["seconds"] < best["seconds"] else best
    return {**(best or min(trials, key=lambda trial: trial["quality"])), "trials": trials}


def probe_tight(task_name: str, case: Any, peer: str, setting: dict[str, Any]) -> dict[str, Any]:
    """Own process: the cheapest effort that reaches the second, tight target with a given setting."""
    task = importlib.import_module(task_name)
    fit, problem, efforts = task.PEERS[peer](), task.build(case), task.efforts(peer, case, task.TIGHT)
    _trial(task, fit, task.build(task.tiny(case)), efforts[0], setting, task.TIGHT)  # compiles
    for effort in efforts:
        trial = _trial(task, fit, problem, effort, setting, task.TIGHT)
        if trial["reached"]:
            break
    return trial


def _trial(task, fit, problem, effort, setting, target, before=0.0) -> dict[str, Any]:
    trial = {"effort": effort, "setting": setting, "quality": float("inf"), "reached": False, "seconds": 0.0}
    resettable, start = _reset_peak(), time.perf_counter()
    try:
        solution = fit(problem, effort, **setting)
    except Exception as error:
        return trial | {"failure": plain(error)}
    trial["seconds"] = time.perf_counter() - start
    trial |= {"peak_mb": _peak_mb() - before, "peak_resettable": resettable}
    quality = float(task.quality(problem, solution))
    quality = quality if quality == quality else float("inf")
    if hasattr(task, "beside"):
        trial["beside"] = task.beside(problem, solution)
    return trial | {"quality": quality, "reached": quality <= target}


def first_fit(task_name: str, case: Any, peer: str) -> dict[str, float]:
    """Own process: seconds of the import beyond NumPy's and SciPy's, of the first fit, and of a warm one."""
    task = importlib.import_module(task_name)
    problem = task.build(case)
    start = time.perf_counter()
    fit = task.PEERS[peer]()
    imported = time.perf_counter()
    effort, setting = task.efforts(peer, case, task.TARGET)[0], task.settings(peer, case)[0]
    fit(problem, effort, **setting)
    first, warm = time.perf_counter() - imported, []
    for _ in range(5):
        again = time.perf_counter()
        fit(problem, effort, **setting)
        warm.append(time.perf_counter() - again)
    return {"import_s": imported - start, "first_s": first, "warm_s": statistics.median(warm)}


def first_fits(task_name: str, case: Any, peer: str) -> dict[str, Any]:
    """First fit in a new process with an empty disk cache, then in another with the cache that it left."""
    return _first_fits(task_name, importlib.import_module(task_name).tiny(case), peer)


@functools.cache  # cases of one dtype and layout share their tiny problem
def _first_fits(task_name: str, case: Any, peer: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as cache:
        return {name: in_child(first_fit, task_name, case, peer, cache=cache) for name in ("cold", "warm")}


def timed(task_name: str, case: Any, contestants: dict[str, tuple], rounds: int) -> dict[str, list]:
    """Own process: (wall, CPU) seconds a round of label -> (peer, effort, setting), in alternating order."""
    task = importlib.import_module(task_name)
    problem = task.build(case)
    fits = {label: task.PEERS[peer]() for label, (peer, _, _) in contestants.items()}
    times: dict[str, list] = {label: [] for label in fits}
    for k in range(rounds + 1):  # round 0 warms up
        for label in (list(fits), list(fits)[::-1])[k % 2]:
            _, effort, setting = contestants[label]
            wall, cpu = time.perf_counter(), time.process_time()
            fits[label](problem, effort, **setting)
            if k:
                times[label].append((time.perf_counter() - wall, time.process_time() - cpu))
    return times


def ratio(times: dict[str, list]) -> dict[str, Any] | None:
    """Ours / best peer (the smallest median wall time): medians of the paired ratios of wall and CPU time."""
    peers = {label: statistics.median(wall for wall, _ in rounds) for label, rounds in times.items()}
    if peers.pop(OURS, None) is None or not (peers := {k: v for k, v in peers.items() if not k.startswith(OURS)}):
        return None
    best = min(peers, key=peers.__getitem__)
    wall, cpu = (
        statistics.median(ours[i] / other[i] for ours, other in zip(times[OURS], times[best], strict=True))
        for i in (0, 1)
    )
    return {"best_peer": best, "wall": wall, "cpu": cpu}


def run_case(
    task_name: str,
    case: Any,
    peers: list[str],
    rounds: int = 9,
    tight: str = "all",
    limit: float = 3600.0,
    log: Callable = print,
) -> dict[str, Any]:
    """Probes, first fits and timed rounds of a case; ``tight``: all, ours or none try the tight target."""
    task = importlib.import_module(task_name)
    rows: dict[str, Any] = {}
    for peer in peers:
        row = in_child(probe, task_name, case, peer, limit=limit)
        rows[peer] = row if isinstance(row, dict) else {"reached": False, "failure": row}
        if rows[peer]["reached"] or _timed_all_the_same(task, rows[peer]):
            row["first_fit"] = first_fits(task_name, case, peer)
        if rows[peer]["reached"]:
            if task.TIGHT is not None and (tight == "all" or (tight == "ours" and peer == OURS)):
                # Near the last digits some never stop: a generous multiple of what the first target took.
                patience = min(limit, 60.0 + 30.0 * row["seconds"])
                row["tight"] = in_child(probe_tight, task_name, case, peer, row["setting"], limit=patience)
        log(f"  {peer}: {outcome(rows[peer])}")
    contestants = {peer: (peer, row["effort"], row["setting"]) for peer, row in rows.items() if "first_fit" in row}
    own = rows.get(OURS, {}).get("tight")
    if isinstance(own, dict) and own["reached"]:
        contestants[f"{OURS}, {task.TIGHT:.0e}"] = (OURS, own["effort"], own["setting"])
    times = in_child(timed, task_name, case, contestants, rounds) if contestants else {}
    if isinstance(times, str):
        return {"rows": rows, "times": {}, "timing_failure": times, "ratio": None}
    return {"rows": rows, "times": times, "ratio": _fair_ratio(rows, times)}


def _timed_all_the_same(task: Any, row: dict[str, Any]) -> bool:
    """Whether a peer that missed the target is timed."""
    return getattr(task, "TIME_MISSED", False) and "failure" not in row and row["seconds"] <= _LONG


def _fair_ratio(rows: dict[str, Any], times: dict[str, list]) -> dict[str, Any] | None:
    """Against the fastest peer that reached the target; if there is none, against the one that came nearest."""
    ours = {label for label in times if label.startswith(OURS)}
    others = sorted(set(times) - ours, key=lambda peer: rows[peer]["quality"])
    kept = ours | ({peer for peer in others if rows[peer]["reached"]} or set(others[:1]))
    answer = ratio({label: rounds for label, rounds in times.items() if label in kept})
    return answer and {**answer, "missed": [p for p in (OURS, answer["best_peer"]) if not rows[p]["reached"]]}


def outcome(row: dict[str, Any]) -> str:
    """What became of a peer, in one line."""
    if "failure" in row:
        return row["failure"]
    setting = ", ".join(f"{name}={value}" for name, value in row["setting"].items()) or "defaults"
    verb = "reached" if row["reached"] else "MISSED the target,"
    return f"{verb} {row['quality']:.1e} at effort {row['effort']:.1e} ({setting}) in {row['seconds']:.3g} s"


def _answer(sender, function, arguments) -> None:
    warnings.simplefilter("ignore")  # a peer that has not converged is judged by its quality
    try:
        answer = function(*arguments)
    except Exception as error:
        answer = plain(error)
    sender.send(answer)


def plain(error: BaseException) -> str:
    """One line without the paths of this machine."""
    if isinstance(error, ModuleNotFoundError):
        return f"missing: {error.name} is not installed"
    text = re.sub(r"\s*\(?(/[\w.+-]+){2,}\)?", "", str(error)).strip().split("\n")[0]
    return f"{'missing: ' if isinstance(error, ImportError) else ''}{type(error).__name__}: {text}"


@contextlib.contextmanager
def _environment(variables: dict[str, str]):
    saved = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in saved.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _reset_peak() -> bool:
    """Reset the high-water mark; False where the system forbids it, and the peak is that of the process."""
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _status(field: str) -> float | None:
    try:
        text = pathlib.Path("/proc/self/status").read_text()
    except OSError:
        return None
    return int(text.split(field + ":")[1].split()[0]) / 1024 if field + ":" in text else None


def _peak_mb() -> float:
    unit = 1 << (20 if sys.platform == "darwin" else 10)
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _resident_mb() -> float:
    return _status("VmRSS") or _peak_mb()
