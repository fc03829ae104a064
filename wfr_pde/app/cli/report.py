"""The command `wfr-pde report`: one HTML page of all results."""

from __future__ import annotations

import argparse
from typing import Any

from wfr_pde.app.cli.output import print_json
from wfr_pde.app.cli.parser import folder
from wfr_pde.app.cli.written import made_sure_of, page_path
from wfr_pde.app.exit_codes import DONE
from wfr_pde.app.experiments.experiment import OUT
from wfr_pde.numerics.counted import counted

NAME = "report"
SUMMARY = "one self-contained HTML page of all results"
EXAMPLES = """\
The page shows, for every run below DIR, what the experiment claims, its checks, figures, densities over time, numbers,
knobs, provenance and the command that redoes it, with a search over all. It needs no server and no network; its links
to data are relative, so that page and results can be moved together. A run that is not finished, or cannot be read, is
listed as such.

examples:
  wfr-pde report
  wfr-pde report --results results -o results/index.html
  wfr-pde report --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("--results", type=folder, default=OUT, metavar="DIR", help="where the results are (default: %(default)s)")
    add("-o", "--out", default="report.html", metavar="FILE.html", help="the page to write (default: %(default)s)")
    words = "where the experiments are, for the whole text of their docstrings (default: those of `wfr-pde list`)"
    add("--experiments", type=folder, metavar="DIR", help=words)


def run(args: argparse.Namespace) -> int:
    """Write the page, and print what it shows.

    Raises
    ------
    ValueError
        If there are no results, or the page cannot be written.
    """
    made_sure_of("-o", page_path("-o", args.out))
    content = write_page(args.results, args.out, args.experiments)
    if args.json:
        print_json(content)
    else:
        print(summary(content))
    return DONE


def write_page(results: str, page: str, experiments: str | None) -> dict[str, Any]:
    """Write the page of the results, and say in plain types what it shows."""
    from wfr_pde.app.report import write_report

    report = write_report(results, page, experiments)
    return {
        "path": str(report.path),
        "bytes": report.path.stat().st_size,
        "experiments": report.experiments,
        "runs": sum(report.verdicts.values()),
        **report.verdicts,
        "checks": report.checks,
        "checks_passed": report.passed,
        "by_other_code": report.by_other_code,
        "left_out": report.left_out,
        "quick": report.quick,
    }


def summary(content: dict[str, Any]) -> str:
    """Describe the page on one line."""
    troubles = [f"{content[name]} {name}" for name in ("failed", "unfinished", "unreadable") if name in content]
    runs = counted(content["runs"], "run") + (f" ({', '.join(troubles)})" if troubles else "")
    number = content["by_other_code"]
    left_out = content["left_out"]
    runs += f", {content['quick']} of them quick versions" if content["quick"] else ""
    links = (
        f"\nnot looked into: {counted(left_out, 'link or file', 'links or files')}, which the page names"
        if left_out
        else ""
    )
    note = f"\nby other code than the present: {counted(number, 'run')}, marked on the page" if number else ""
    checks = f"{content['checks_passed']} of {counted(content['checks'], 'check')} pass"
    size = f"{content['bytes'] / 2**20:.1f} MiB"
    return f"{content['path']}: {counted(content['experiments'], 'experiment')}, {runs}, {checks}, {size}{note}{links}"
