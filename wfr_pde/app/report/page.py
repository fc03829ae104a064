"""Page of the report: what `runs.py` has read, placed by the templates, which escape every text that they are given."""

from __future__ import annotations

import base64
import os
from collections import Counter
from dataclasses import dataclass
from importlib.resources import files as package_files
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from wfr_pde._version import __version__
from wfr_pde.app.experiments.experiment import OUT
from wfr_pde.app.experiments.loading import FOLDER
from wfr_pde.app.report.entry import Entry
from wfr_pde.app.report.runs import (
    DONE,
    FAILED,
    PASSED,
    UNFINISHED,
    UNREADABLE,
    Run,
    described,
    read_run,
)
from wfr_pde.app.report.survey import Survey, survey
from wfr_pde.app.report.words import breakable, code_spans, knob, number, plural, prose, size, used
from wfr_pde.storage import files

PACKAGE = "wfr_pde.app.report"  # package that holds the templates
# most runs of an experiment whose figures and densities are part of the page: a sweep of hundreds would not open
EMBEDDED = 8
LARGEST = 2 * 2**20  # most bytes of a picture that is part of the page; of a larger one there is a link
# kinds of pictures that a browser shows, by ending
TYPES = {".png": "png", ".svg": "svg+xml", ".jpg": "jpeg", ".jpeg": "jpeg", ".gif": "gif", ".webp": "webp"}
VERDICTS = {  # what is shown: a sign, for those who do not see colours, and words
    PASSED: ("✓", "all checks pass"),
    DONE: ("✓", "done, nothing to check"),
    FAILED: ("✗", "a check fails"),
    UNFINISHED: ("…", "unfinished"),
    UNREADABLE: ("!", "unreadable"),
}


@dataclass(frozen=True)
class Report:
    """Summary of a page: what it shows.

    Attributes
    ----------
    path : Path
        The page.
    experiments : int
        Number of experiments.
    verdicts : dict of str to int
        Number of runs by status: "passed", "done", "failed", "unfinished", "unreadable".
    checks, passed : int
        Number of checks, and of those that pass.
    by_other_code : int
        Number of runs whose data other code of the package computed.
    left_out : int
        Number of links and other things that were not looked into.
    quick : int
        Number of runs with quick knobs.

    Examples
    --------
    >>> from pathlib import Path
    >>> from wfr_pde.app.report import Report
    >>> report = Report(Path("report.html"), 1, {"passed": 2}, checks=3, passed=3, by_other_code=0, left_out=0, quick=0)
    >>> sum(report.verdicts.values())
    2
    """

    path: Path
    experiments: int
    verdicts: dict[str, int]
    checks: int
    passed: int
    by_other_code: int
    left_out: int
    quick: int


def write_report(
    results: str | Path = OUT, out: str | Path = "report.html", experiments: str | Path = FOLDER
) -> Report:
    """Write one HTML page of all results.

    Parameters
    ----------
    results : path
        Folder of the results.
    out : path
        The page. Its links to data are relative, so that the two can be moved together.
    experiments : path
        Folder of the experiments, where the page takes the text below the first line of their docstrings from; it
        need not be there.

    Returns
    -------
    Report
        What the page shows.

    Raises
    ------
    ValueError
        If there are no results.

    Examples
    --------
    A run with one check, which it passed:

    >>> import json
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import xarray as xr
    >>> from wfr_pde.app.report import write_report
    >>> check = {"value": 1.0, "expected": 1.0, "tolerance": 0.1, "passed": True}
    >>> with TemporaryDirectory() as folder:
    ...     run = Path(folder, "results", "decay", "1")
    ...     run.mkdir(parents=True)
    ...     written = (run / "run.json").write_text(json.dumps({"status": "done", "checks": {"rate": check}}))
    ...     written = xr.Dataset({"rate": 1.0}).to_netcdf(run / "data.nc", engine="h5netcdf")
    ...     report = write_report(Path(folder, "results"), Path(folder, "report.html"))
    >>> report.verdicts, report.checks
    ({'passed': 1}, 1)
    """
    root, path = Path(results), Path(out)
    if not root.is_dir():
        raise ValueError(f"there is no folder {str(results)!r}: run an experiment first, or say where results are")
    found = survey(root)
    runs = [read_run(directory, root) for directory in found.runs]
    if not runs:
        raise ValueError(f"the folder {str(results)!r} holds no runs: `wfr-pde run NAME` makes one")
    runs.sort(key=lambda run: (run.experiment, -_modified(run)))
    by_name = {name: tuple(of) for name, of in groupby(runs, key=lambda run: run.experiment)}
    checks = [check for run in runs for check in run.checks]
    verdicts = dict(Counter(run.status for run in runs))
    passed = sum(check.passed for check in checks)
    by_other = sum(bool(run.by_other_code) for run in runs)
    quick = sum(run.is_quick for run in runs)
    report = Report(path, len(by_name), verdicts, len(checks), passed, by_other, len(found.left_out), quick)
    text = _page(report, by_name, found, Path(experiments))
    files.write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return report


def _modified(run: Run) -> float:
    return max((path.stat().st_mtime for path in run.files), default=0.0)


def _page(report: Report, by_name: dict[str, tuple[Run, ...]], found: Survey, folder: Path) -> str:
    """Return the HTML of the whole page."""
    entries = []
    for name, runs in by_name.items():
        claim, more = described(name, runs, folder)
        entries.append(Entry(name, runs, claim, prose(more)))
    template = _environment(report.path.parent).get_template("page.html")
    return template.render(
        report=report,
        entries=entries,
        others=found.others,
        left_out=found.left_out,
        style=Markup(_part("style.css")),
        script=Markup(_part("script.js")),
        version=__version__,
    )


def _part(name: str) -> str:
    return package_files(PACKAGE).joinpath(name).read_text(encoding="utf-8")


def _environment(here: Path) -> Environment:
    """Make the templates of a page in the folder `here`, with the filters that they use."""
    environment = Environment(
        loader=PackageLoader(PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # compact, in the order given; the filter `tojson` writes < > & ' in a way that cannot end a script
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False}
    environment.globals.update(verdicts=VERDICTS, most_embedded=EMBEDDED)
    environment.filters.update(
        breakable=breakable,
        code_spans=code_spans,
        data_uri=_data_uri,
        knob=knob,
        link=lambda path: quote(_relative(path.resolve(), here.resolve())),
        number=number,
        plural=plural,
        relative=lambda path: _relative(path, here),
        shown_pictures=_shown_pictures,
        size=lambda path: size(path.stat().st_size),
        used=used,
    )
    return environment


def _relative(path: Path, here: Path) -> str:
    """Return the way from a folder to a file."""
    return Path(os.path.relpath(path, here)).as_posix()


def _shown_pictures(run: Run) -> list[Path]:
    """Return the pictures of a run that are small enough for the page."""
    return [path for path in run.pictures if path.stat().st_size <= LARGEST]


def _data_uri(path: Path) -> str:
    """Write a picture as an address that holds it."""
    return f"data:image/{TYPES[path.suffix.lower()]};base64,{base64.b64encode(path.read_bytes()).decode()}"
