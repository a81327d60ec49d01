"""The machine a benchmark ran on; its tables for the docs and for the terminal."""

import datetime
import importlib.metadata
import os
import platform
import statistics
from pathlib import Path
from typing import Any

from harness import OURS, THREADS

_PACKAGES = {
    "sparsemodels": "sparsemodels",
    "scikit-learn": "scikit-learn",
    "celer": "celer",
    "skglm": "skglm",
    "adelie": "adelie",
    "glmnet": "python-glmnet",
    "spams": "spams-bin",
    "abess": "abess",
    "fastrvm": "fastrvm",
    "group-lasso": "group-lasso",
    "pycasso": "pycasso",
    "sklearn-rvm": "sklearn-rvm",
    "sortedl1": "sortedl1",
    "NumPy": "numpy",
    "SciPy": "scipy",
    "Numba": "numba",
}


def machine() -> dict[str, Any]:
    """Processor, cores, threads and versions: what must be equal for two rows to be compared."""
    versions = {"Python": platform.python_version()}
    for name, distribution in _PACKAGES.items():
        try:
            versions[name] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {"processor": _processor(), "cores": os.cpu_count(), "threads": THREADS, "versions": versions}


def now() -> dict[str, Any]:
    """Date (UTC) and load average (1 minute) of a run."""
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    return {"date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}", "load_average": load}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    vectors = [name for name in ("avx512f", "avx2") if any(line.startswith("flags") and name in line for line in lines)]
    return (names[0] if names else platform.machine()) + (f" ({vectors[0]})" if vectors else "")


def describe(machine: dict[str, Any]) -> str:
    """The machine in two sentences."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    threads = f"{machine['threads']} thread{'s' * (machine['threads'] != 1)} for all"
    return f"{machine['processor']}, {machine['cores']} cores, {threads}. {versions}."


def case_rows(result: dict[str, Any]) -> list[list[str]]:
    """One line a peer: median times, quality, what else was measured, first fits and memory, or why there are none."""
    beside = list(dict.fromkeys(name for row in result["rows"].values() for name in row.get("beside", {})))
    header = [
        "Package",
        "Wall (s)",
        "CPU (s)",
        "Quality",
        *beside,
        "First fit cold / warm (s)",
        "Peak (MB)",
        "Tight target",
    ]
    lines = [header]
    for peer, row in result["rows"].items():
        others = [_number(row.get("beside", {}).get(name)) for name in beside]
        missed = "" if row["reached"] else " (missed)"
        if "first_fit" not in row:
            reason = row.get("failure") or f"missed the target: {row['quality']:.1e}, in {row['seconds']:.3g} s"
            lines.append([peer, reason, "", "", *others, "", "", ""])
            continue
        wall, cpu = _medians(result, peer)
        fits = [_seconds(row["first_fit"][cache]) for cache in ("cold", "warm")]
        # Without a resettable high-water mark the peak is that of the whole process.
        peak = f"{row['peak_mb']:.0f}" if row["peak_resettable"] else f"<= {row['peak_mb']:.0f}"
        quality = f"{row['quality']:.1e}{missed}"
        lines.append([peer, wall, cpu, quality, *others, " / ".join(fits), peak, _tight(row.get("tight"))])
    for label in result["times"]:
        if label not in result["rows"]:  # ours at the tight target
            own = result["rows"][OURS]["tight"]
            others = [_number(own.get("beside", {}).get(name)) for name in beside]
            lines.append([label, *_medians(result, label), f"{own['quality']:.1e}", *others, "", "", ""])
    return lines


def _number(value: float | None) -> str:
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.4g}"


def case_verdict(name: str, result: dict[str, Any]) -> str:
    """The ratio that the benchmark is for, or why there is none."""
    if ratio := result["ratio"]:
        against = f"ours / best peer ({ratio['best_peer']})"
        missed = f" ({' and '.join(ratio['missed'])} missed the target)" if ratio.get("missed") else ""
        return f"{name}: {against} = {ratio['wall']:.2f} wall, {ratio['cpu']:.2f} CPU{missed}"
    if failure := result.get("timing_failure"):
        return f"{name}: no ratio, the timed process failed: {failure}"
    ours = result["rows"].get(OURS)
    if ours is None or not ours["reached"]:
        reason = "was not asked for" if ours is None else ours.get("failure") or "missed the target"
        return f"{name}: no ratio, {OURS} {reason}"
    return f"{name}: no ratio, no peer reached the target"


def _medians(result: dict[str, Any], label: str) -> list[str]:
    if label not in result["times"]:
        return ["not timed", ""]
    wall, cpu = (statistics.median(column) for column in zip(*result["times"][label], strict=True))
    # At one thread, wall beyond CPU time is somebody else's work.
    return [f"{wall:.3g}" + (" (disturbed)" if wall > 1.1 * cpu + 1e-3 else ""), f"{cpu:.3g}"]


def _seconds(fit: Any) -> str:
    return f"{fit['first_s'] - fit['warm_s']:.2f}" if isinstance(fit, dict) else str(fit)


def _tight(trial: Any) -> str:
    if trial is None:
        return ""
    if isinstance(trial, str) or "failure" in trial:
        return trial if isinstance(trial, str) else trial["failure"]
    verb = "reached" if trial["reached"] else "missed:"
    return f"{verb} {trial['quality']:.1e} in {trial['seconds']:.3g} s"


def as_text(rows: list[list[str]]) -> str:
    """Columns for the terminal; the long sentence of a peer that has no times may run over."""
    width = [max(len(row[k]) for row in rows if k != 1 or row[2]) for k in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, width, strict=True)).rstrip() for row in rows)


def as_rst(rows: list[list[str]]) -> str:
    """A list table."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        lines += [f"   {'*' if k == 0 else ' '} - {cell}".rstrip() for k, cell in enumerate(row)]
    return "\n".join(lines) + "\n"
