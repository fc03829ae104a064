"""Times of the short benchmarks, added to benchmarks/history.csv with commit and machine.

    python benchmarks/history.py [NAME ...] [--full] [--history PATH]

Runs accuracy, step, truth and samplers (or those that are named), each in a process of its own and in its quick form
unless --full is given, by one thread, and adds a row for each of their cases: date, commit, machine, its processors and
the load when it began, benchmark, case, seconds, and the error that was reached where the benchmark has one. Then it
prints them beside the last times that the same machine had. Times mean something on a machine that does nothing else;
a tree with changes that are not committed is refused.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from step import show

from wfr_pde.app.experiments.executors import processors
from wfr_pde.storage import provenance

HERE = Path(__file__).parent
COLUMNS = ("date", "commit", "machine", "processors", "load", "benchmark", "case", "seconds", "error")
SAME = ("machine", "processors", "benchmark", "case")  # columns of times that can be compared
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
Case = tuple[str, float, float | str]  # name, seconds, error


def of_accuracy(content: Any) -> Iterator[Case]:
    for row in content["rows"]:
        name = f"{row['case']}, {row['grid']}, order {row['order']}, {row['steps']} steps"
        yield name, row["seconds"], row["error_l1"]


def of_step(content: Any) -> Iterator[Case]:
    for row in content:
        yield f"{row['transport']}, {row['shape']}", 1e-3 * row["step_ms"], ""


def of_truth(content: Any) -> Iterator[Case]:
    for row in content["rows"]:
        yield f"{row['problem']}, rtol {row['rtol']:g}", row["wall"], row["bound"]


def of_samplers(content: Any) -> Iterator[Case]:
    for row in content["rows"]:
        yield f"{row['sampler']}, n = {row['n']}", 1e-3 * row["milliseconds"], ""


BENCHMARKS: dict[str, Callable[[Any], Iterator[Case]]] = {
    "accuracy": of_accuracy,
    "step": of_step,
    "truth": of_truth,
    "samplers": of_samplers,
}


def machine() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def measured(name: str, quick: bool) -> list[Case]:
    """The cases of a benchmark, from a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.json"
        command = [sys.executable, str(HERE / f"{name}.py"), *(["--quick"] if quick else []), "--out", str(path)]
        subprocess.run(command, check=True, stdout=sys.stderr, env=os.environ | ONE_THREAD)
        return list(BENCHMARKS[name](json.loads(path.read_text())))


def read(path: Path) -> list[dict[str, str]]:
    """The rows that there are."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def append(path: Path, rows: list[dict[str, str]]) -> None:
    """Add rows to the file, with the names of the columns where it is new."""
    is_new = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerows(rows)


def beside_the_last(rows: list[dict[str, str]], before: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Rows of a table: seconds, and those of the last row of the same case on the same machine."""
    last = {tuple(row[name] for name in SAME): row for row in before}
    table = []
    for row in rows:
        found = last.get(tuple(row[name] for name in SAME))
        seconds = float(row["seconds"])
        table.append(
            {
                "benchmark": row["benchmark"],
                "case": row["case"],
                "seconds": seconds,
                "before": float(found["seconds"]) if found else "-",
                "ratio": seconds / float(found["seconds"]) if found else "-",
                "commit before": found["commit"][:8] if found else "-",
            }
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--full", action="store_true", help="not in the quick form: some minutes")
    parser.add_argument("--history", type=Path, default=HERE / "history.csv", metavar="PATH")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in BENCHMARKS:
            parser.error(f"there is no history of {name!r}: give some of {', '.join(BENCHMARKS)}")
    commit = provenance.commit()
    if not commit or commit.endswith("-dirty"):
        parser.error("times belong to a commit: run this in a clone, and commit what has been changed first")
    common = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "commit": commit,
        "machine": machine(),
        "processors": str(processors()),
        "load": f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "",
    }
    before, rows = read(arguments.history), []
    for name in arguments.names or BENCHMARKS:
        benchmark = name if arguments.full else f"{name} --quick"
        for case, seconds, error in measured(name, not arguments.full):
            numbers = {"seconds": f"{seconds:.4g}", "error": error if error == "" else f"{error:.3g}"}
            rows.append({**common, "benchmark": benchmark, "case": case, **numbers})
    append(arguments.history, rows)
    show(beside_the_last(rows, before))
    print(f"{len(rows)} rows added to {arguments.history}")


if __name__ == "__main__":
    main()
