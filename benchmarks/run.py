"""Run benchmarks: ``python benchmarks/run.py [task ...] [--case NAME] [--rounds 9] [--quick]``.

Writes ``<task>.json`` (all rounds, efforts, qualities, versions) and ``<task>.rst`` (the table for the docs)
and prints, last, one line a case: ours / best peer. A case run alone replaces its own lines and leaves
the others.
"""

import argparse
import importlib
import json
from pathlib import Path
from typing import Any

import first_fit
import harness
import report

TASKS = (
    "batch_omp",
    "best_subset",
    "binary_quadratic",
    "ease",
    "evidence",
    "fast_transform",
    "grouped_lasso",
    "k_sparse_autoencoder",
    "kronecker_bayes",
    "lasso",
    "lasso_coding",
    "lasso_path",
    "logistic",
    "masked_nmf",
    "weighted_lasso",
    "nmf",
    "nmf_kl",
    "nonconvex",
    "nonnegative_binary",
    "online_dictionary",
    "orthogonal_matching_pursuit",
    "quantile_lasso",
    "relevance_vectors",
    "simultaneous",
    "slope",
    "sparse_bayes",
)


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    verdicts = []
    for name in options.tasks or (*TASKS, "first_fit"):
        verdicts += _first_fit(options) if name == "first_fit" else _task(name, options)
    print()
    print("\n".join(verdicts))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The same problem to the same certified quality by all peers.")
    parser.add_argument("tasks", nargs="*", metavar="task", help=f"of {', '.join(TASKS)}, first_fit; default all")
    parser.add_argument("--case", action="append", help="only this case (repeatable); big ones run only by name")
    parser.add_argument("--peer", action="append", help="only this package (repeatable)")
    parser.add_argument("--rounds", type=int, default=9, help="timed rounds after one that warms up (default 9)")
    parser.add_argument("--tight", choices=("all", "ours", "none"), default="all", help="who tries the tight target")
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds that a peer's probe may take")
    parser.add_argument("--quick", action="store_true", help="tiny problems, one round: to see that all of it works")
    parser.add_argument("--output", type=Path, help="folder of the results (default: results beside this file)")
    parser.add_argument("--list", action="store_true", help="list the cases and stop")
    options = parser.parse_args(arguments)
    tasks = options.tasks or (*TASKS, "first_fit")
    if unknown := set(tasks) - {*TASKS, "first_fit"}:
        parser.error(f"unknown task {sorted(unknown)}; there are {', '.join(TASKS)}, first_fit")
    cases = {task: list((first_fit if task == "first_fit" else importlib.import_module(task)).CASES) for task in tasks}
    if options.list:
        parser.exit(message="".join(f"{task}: {', '.join(names)}\n" for task, names in cases.items()))
    for case in options.case or ():
        if not any(case in names for names in cases.values()):
            parser.error(f"unknown case {case!r}; --list shows them")
    if options.output is None:
        here = Path(__file__).parent / "results"
        options.output = here / "quick" if options.quick else here
    return options


def _task(name: str, options: argparse.Namespace) -> list[str]:
    task = importlib.import_module(name)
    chosen = [case for case in task.CASES if case in (options.case or set(task.CASES) - task.BIG)]
    peers = [peer for peer in task.PEERS if peer in (options.peer or task.PEERS)]
    results, verdicts = _saved(options.output / f"{name}.json"), []
    for case_name in chosen:
        case = task.tiny(task.CASES[case_name]) if options.quick else task.CASES[case_name]
        header = report.now()
        print(f"{task.TITLE}: {case_name} (load average {header['load_average']})", flush=True)
        result = harness.run_case(
            name, case, peers, 1 if options.quick else options.rounds, options.tight, options.limit, _log
        )
        results[case_name] = {"case": case._asdict(), "machine": report.machine(), **header, **result}
        print(report.as_text(report.case_rows(result)))
        verdicts.append(f"{name}, {report.case_verdict(case_name, result)}")
        print(verdicts[-1], flush=True)
        # After every case: a run that is ended early keeps what it has.
        ordered = {key: results[key] for key in task.CASES if key in results}
        _save(options.output, name, ordered)
        (options.output / f"{name}.rst").write_text(_rst(task, ordered))
    return verdicts


def _rst(task: Any, results: dict[str, Any]) -> str:
    target = f"Every package is timed at the quality {task.TARGET:.0e}" + (
        f"; the last column says who reaches {task.TIGHT:.0e}.\n" if task.TIGHT else ".\n"
    )
    if hasattr(task, "MEANING"):  # of a quality that is no relative duality gap
        target = f"{task.MEANING}\n"
    blocks, machine = [f"{task.TITLE}\n{'-' * len(task.TITLE)}\n", target], None
    for name, result in results.items():
        if result["machine"] != machine:
            machine = result["machine"]
            blocks.append(f"{report.describe(machine)}\n")
        blocks.append(f"**{name}** ({result['date']}, load average {result['load_average']})\n")
        blocks.append(report.as_rst(report.case_rows(result)))
        blocks.append(f"{report.case_verdict(name, result)}.\n")
    return "\n".join(blocks)


def _first_fit(options: argparse.Namespace) -> list[str]:
    chosen = [case for case in first_fit.CASES if case in (options.case or first_fit.CASES)]
    if not chosen:
        return []
    header = {"machine": report.machine(), **report.now()}
    print(f"{first_fit.TITLE} (load average {header['load_average']})", flush=True)
    table = first_fit.run(chosen[:1] if options.quick else chosen, options.peer, _log)
    rows = first_fit.rows(table)
    print(report.as_text(rows))
    _save(options.output, "first_fit", {**header, "seconds": table})
    machine = f"{report.describe(header['machine'])} {header['date']}, load average {header['load_average']}.\n"
    note = "Import beyond NumPy's and SciPy's; first fits are what they take beyond a warm fit.\n"
    title = f"{first_fit.TITLE}\n{'-' * len(first_fit.TITLE)}\n"
    (options.output / "first_fit.rst").write_text("\n".join([title, machine, note, report.as_rst(rows)]))
    return [
        f"first_fit, {name}: {first_fit.beyond_warm(peers[harness.OURS], 'cold')} s cold, "
        f"{first_fit.beyond_warm(peers[harness.OURS], 'warm')} s warm"
        for name, peers in table.items()
        if harness.OURS in peers
    ]


def _saved(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text()) if file.exists() else {}


def _save(folder: Path, name: str, content: dict[str, Any]) -> None:
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def _log(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
