"""The page: HTML of what `results.py` has read, in the frame of `page.html`."""

from __future__ import annotations

import base64
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files as package_files
from itertools import groupby
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from wfr_pde._version import __version__
from wfr_pde.app.experiments.experiment import OUT, Check
from wfr_pde.app.experiments.loading import FOLDER
from wfr_pde.app.report.film import Film
from wfr_pde.app.report.runs import (
    DONE,
    FAILED,
    PASSED,
    UNFINISHED,
    UNREADABLE,
    Run,
    Scalar,
    described,
    find_runs,
    other_files,
    read_run,
)
from wfr_pde.storage import files

EMBEDDED = 8  # runs of an experiment whose figures and densities are part of the page
LARGEST = 2 * 2**20  # bytes of a picture that is part of the page
TYPES = {".png": "png", ".svg": "svg+xml", ".jpg": "jpeg", ".jpeg": "jpeg", ".gif": "gif", ".webp": "webp"}
VERDICTS = {  # what is shown: a sign, for those who do not see colours, and words
    PASSED: ("✓", "all checks pass"),
    DONE: ("✓", "done, nothing to check"),
    FAILED: ("✗", "a check fails"),
    UNFINISHED: ("…", "unfinished"),
    UNREADABLE: ("!", "unreadable"),
}
WORST_FIRST = (FAILED, UNREADABLE, UNFINISHED, PASSED, DONE)


@dataclass(frozen=True)
class Report:
    """What a page shows.

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
    """

    path: Path
    experiments: int
    verdicts: dict[str, int]
    checks: int
    passed: int
    by_other_code: int


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

    Raises
    ------
    ValueError
        If there are no results.
    """
    root, path = Path(results), Path(out)
    if not root.is_dir():
        raise ValueError(f"there is no folder {str(results)!r}: run an experiment first, or say where results are")
    runs = [read_run(directory) for directory in find_runs(root)]
    if not runs:
        raise ValueError(f"the folder {str(results)!r} holds no runs: `wfr-pde run NAME` makes one")
    runs.sort(key=lambda run: (run.experiment, -_modified(run)))
    by_name = {name: tuple(of) for name, of in groupby(runs, key=lambda run: run.experiment)}
    checks = [check for run in runs for check in run.checks]
    verdicts = dict(Counter(run.status for run in runs))
    passed = sum(check.passed for check in checks)
    report = Report(path, len(by_name), verdicts, len(checks), passed, sum(bool(run.by_other_code) for run in runs))
    text = _page(report, by_name, other_files(root), Path(experiments))
    files.write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return report


def _modified(run: Run) -> float:
    return max((path.stat().st_mtime for path in run.files), default=0.0)


def _page(report: Report, by_name: dict[str, tuple[Run, ...]], others: Sequence[Path], folder: Path) -> str:
    """The whole page."""
    here = report.path.parent
    entries = [(name, runs, *described(name, runs, folder)) for name, runs in by_name.items()]
    return Template(_part("page.html")).substitute(
        style=_part("style.css"),
        script=_part("script.js"),
        version=escape(__version__),
        summary=_summary(report),
        index="\n".join(_index_entry(name, runs, claim) for name, runs, claim, _ in entries),
        experiments="\n".join(_experiment(*entry, here) for entry in entries),
        others=_others(others, here),
    )


def _part(name: str) -> str:
    return package_files("wfr_pde.app.report").joinpath(name).read_text(encoding="utf-8")


def _summary(report: Report) -> str:
    """Numbers at the top of the page."""
    n_runs = sum(report.verdicts.values())
    entries = [
        ("", f"<b>{report.experiments}</b> {_plural('experiment', report.experiments)}"),
        ("", f"<b>{n_runs}</b> {_plural('run', n_runs)}"),
        (
            "passed" if report.passed == report.checks else "failed",
            f"<b>{report.passed}</b> of <b>{report.checks}</b> checks pass",
        ),
    ]
    for status in (FAILED, UNFINISHED, UNREADABLE):
        if number := report.verdicts.get(status, 0):
            words = {FAILED: "failed", UNFINISHED: "unfinished", UNREADABLE: "unreadable"}[status]
            entries.append((status, f"<b>{number}</b> {_plural('run', number)} {words}"))
    return "".join(f'<li class="{kind}">{text}</li>' for kind, text in entries)


def _plural(noun: str, number: int) -> str:
    return noun if number == 1 else f"{noun}s"


def _worst(runs: Iterable[Run]) -> str:
    return min((run.status for run in runs), key=WORST_FIRST.index)


def _anchor(name: str) -> str:
    return "experiment-" + re.sub(r"[^\w-]", "-", name)


def _badge(status: str, words: str = "") -> str:
    sign, said = VERDICTS[status]
    text = f'<span aria-hidden="true">{sign}</span> <span class="said">{escape(words or said)}</span>'
    return f'<span class="badge {status}">{text}</span>'


def _mark(run: Run) -> str:
    """A small mark of a run whose data other code of the package computed."""
    if not run.by_other_code:
        return ""
    return f' <span class="mark" title="{escape(run.by_other_code)}">other code</span>'


def _index_entry(name: str, runs: tuple[Run, ...], claim: str) -> str:
    status = _worst(runs)
    sign, said = VERDICTS[status]
    return (
        f'<li data-of="{_anchor(name)}"><a href="#{_anchor(name)}">'
        f'<span class="sign {status}" role="img" aria-label="{escape(said)}">{sign}</span>'
        f'<span class="name">{escape(name)}</span><span class="claim">{escape(claim)}</span></a></li>'
    )


def _experiment(name: str, runs: tuple[Run, ...], claim: str, more: str, here: Path) -> str:
    """An experiment: its claim, and its runs, the newest first."""
    differing = _differing_knobs(runs)
    n_passed = sum(check.passed for run in runs for check in run.checks)
    n_checks = sum(len(run.checks) for run in runs)
    words = f"{n_passed} of {n_checks} checks pass" if n_checks and _worst(runs) in (PASSED, FAILED) else ""
    parts = [
        f'<article class="experiment" id="{_anchor(name)}" aria-labelledby="{_anchor(name)}-name">',
        f'<header><div class="title"><h2 id="{_anchor(name)}-name">{escape(name)}</h2>',
        _badge(_worst(runs), words) + (_mark(runs[0]) if len(runs) == 1 else "") + "</div>",
        f'<p class="claim">{escape(claim or "What it claims is not stored.")}</p>',
        f'<details class="more"><summary>About this experiment</summary>{_prose(more)}</details>' if more else "",
        "</header>",
    ]
    alt = claim or f"Results of {name}"
    for k, run in enumerate(runs):
        body = _run(run, alt, here, differing, embedded=k < EMBEDDED)
        if len(runs) == 1:
            parts.append(body)
        else:
            label = _knobs_text(run, differing) or run.directory.name
            opened = " open" if k == 0 else ""
            parts.append(
                f'<details class="run"{opened}><summary>{_badge(run.status)} <span class="of">{escape(label)}</span>'
                f"{_mark(run)}</summary>{body}</details>"
            )
    return "\n".join([*filter(None, parts), "</article>"])


def _differing_knobs(runs: Sequence[Run]) -> tuple[str, ...]:
    """Names of the knobs that are not the same in all runs."""
    names = dict.fromkeys(name for run in runs for name in run.knobs)
    return tuple(name for name in names if len({_knob(run.knobs.get(name)) for run in runs}) > 1)


def _knob(value: Any) -> str:
    return ", ".join(map(_knob, value)) if isinstance(value, list | tuple) else str(value)


def _knobs_text(run: Run, names: Iterable[str]) -> str:
    return ", ".join(f"{name} = {_knob(run.knobs[name])}" for name in names if name in run.knobs)


def _prose(text: str) -> str:
    """The text of a docstring: paragraphs, lists, and what is indented as it stands."""
    parts = []
    for block in re.split(r"\n\s*\n", text):
        lines = block.splitlines()
        if all(line.startswith("    ") for line in lines):
            parts.append(f"<pre>{escape(block)}</pre>")
            continue
        items = re.split(r"^- ", block, flags=re.MULTILINE)
        words, *points = (_inline(" ".join(item.split())) for item in items)
        parts.append(f"<p>{words}</p>" if words else "")
        parts.append("<ul>" + "".join(f"<li>{point}</li>" for point in points) + "</ul>" if points else "")
    return "".join(parts)


def _inline(text: str) -> str:
    """A line of prose, with what stands between backticks as code."""
    return re.sub(r"(`+)([^`]+)\1", r"<code>\2</code>", escape(text))


def _run(run: Run, alt: str, here: Path, differing: tuple[str, ...], embedded: bool) -> str:
    """A run: what is to be seen first comes first."""
    shown = [path for path in run.pictures if embedded and path.stat().st_size <= LARGEST]
    films = run.films if embedded else ()
    notes = list(run.notes)
    if len(films) < len(run.films):
        notes.append("The densities over time are shown for the newest runs only.")
    if names := ", ".join(path.name for path in run.pictures if path not in shown):
        notes.append(f"To keep this page small, {names} is not part of it: see the files below.")
    parts = [
        "".join(f'<p class="note">{escape(note)}</p>' for note in notes),
        "".join(_figure(path, alt, here) for path in shown),
        "".join(_film(film, alt) for film in films),
        _checks_table(run.checks),
        _scalars_table(run.scalars),
        '<div class="pair">' + _knobs_table(run, differing) + _provenance_table(run) + "</div>",
        _command(run.command),
        _files(run, here),
    ]
    return '<div class="body">' + "\n".join(filter(None, parts)) + "</div>"


def _figure(path: Path, alt: str, here: Path) -> str:
    """A picture inside the page, in a button that enlarges it."""
    data = base64.b64encode(path.read_bytes()).decode()
    kind = TYPES[path.suffix.lower()]
    return (
        '<figure class="picture"><button type="button" class="zoom" aria-haspopup="dialog">'
        f'<img alt="{escape(f"Figure: {alt}")}" src="data:image/{kind};base64,{data}">'
        '<span class="hint" aria-hidden="true">enlarge</span></button>'
        f'<noscript><a href="{_link(path, here)}">{escape(path.name)}</a></noscript></figure>'
    )


def _film(film: Film, alt: str) -> str:
    """Densities with a slider over time; the script draws them."""
    data = json.dumps(film.content, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")
    return (
        f"<section><h3>{escape(film.title)} over time</h3>"
        f'<figure class="film" data-alt="{escape(f"{film.title}: {alt}")}">'
        '<canvas role="img"></canvas><div class="controls"><button type="button" class="play">Play</button>'
        f'<input type="range" min="0" max="{len(film.frames) - 1}" value="0" step="1" '
        f'aria-label="Time of {escape(film.name)}"><output>{escape(film.frames[0])}</output></div>'
        f'<div class="options"></div><figcaption>{escape(film.caption)}</figcaption><p class="note" hidden></p>'
        f'<script type="application/json">{data}</script></figure></section>'
    )


def _checks_table(checks: Sequence[Check]) -> str:
    rows = []
    for check in checks:
        status = PASSED if check.passed else FAILED
        width, share = _used(check)
        expected, tolerance = _number(check.expected, check.tolerance), _number(check.tolerance)
        rows.append(
            f'<tr class="{status}"><th scope="row">{_breakable(check.name)}</th>'
            f'<td class="number">{_number(check.value, check.tolerance)}</td>'
            f'<td class="number">{expected} <span class="pm">± {tolerance}</span></td>'
            f'<td class="used"><span class="bar"><i style="width:{width:.0f}%"></i></span>{share}</td>'
            f"<td>{_badge(status, 'pass' if check.passed else 'fail')}</td></tr>"
        )
    head = (
        '<th scope="col">check</th><th scope="col" class="number">value</th>'
        '<th scope="col" class="number">expected</th><th scope="col" class="used">of the tolerance</th>'
        '<th scope="col">verdict</th>'
    )
    return _section("Checks", f'<table class="checks"><thead><tr>{head}</tr></thead>{_body(rows)}</table>', rows)


def _used(check: Check) -> tuple[float, str]:
    """How much of the tolerance a deviation takes: per cent of the bar's width, and words."""
    deviation = abs(check.value - check.expected)
    if deviation == 0:
        return 0.0, "exact"
    used = deviation / check.tolerance if check.tolerance > 0 else math.inf
    if not used < 100:
        return 100.0, "–"  # NaN too
    return min(100 * used, 100.0), "< 1 %" if used < 0.01 else f"{100 * used:.{0 if used >= 0.1 else 1}f} %"


def _breakable(name: str) -> str:
    """A name that may go on in the next line after an underscore."""
    return escape(name).replace("_", "_<wbr>")


def _section(title: str, content: str, rows: Sequence[str]) -> str:
    return f'<section><h3>{title}</h3><div class="scroll">{content}</div></section>' if rows else ""


def _body(rows: Iterable[str]) -> str:
    return f"<tbody>{''.join(rows)}</tbody>"


def _number(value: float, tolerance: float = 0.0) -> str:
    """A number in as many digits as its tolerance asks for, six at least."""
    digits = 6
    if tolerance > 0 and value != 0 and math.isfinite(value):
        digits = min(max(6, math.ceil(math.log10(abs(value) / tolerance)) + 2), 16)
    text = f"{value:.{digits}g}"
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}".replace("-", "−") if e else text.replace("-", "−")


def _scalars_table(scalars: Sequence[Scalar]) -> str:
    rows = [
        f'<tr><th scope="row">{_breakable(scalar.name)}</th><td class="words">{escape(scalar.words)}</td>'
        f'<td class="number">{_number(scalar.value)}</td>'
        f"<td>{escape('' if scalar.units == '1' else scalar.units)}</td></tr>"
        for scalar in scalars
    ]
    head = (
        '<th scope="col">name</th><th scope="col" class="words"></th><th scope="col" class="number">value</th>'
        '<th scope="col">units</th>'
    )
    table = f'<table class="scalars"><thead><tr>{head}</tr></thead>{_body(rows)}</table>'
    summary = f"Scalar results ({len(rows)})"
    return (
        f'<details class="fold"><summary>{summary}</summary><div class="scroll">{table}</div></details>' if rows else ""
    )


def _knobs_table(run: Run, differing: tuple[str, ...]) -> str:
    rows = [
        f'<tr><th scope="row">{_breakable(name)}</th><td class="{"changed" if name in differing else ""}">'
        f"{escape(_knob(value))}</td></tr>"
        for name, value in run.knobs.items()
    ]
    return _section("Knobs", f"<table>{_body(rows)}</table>", rows)


def _provenance_table(run: Run) -> str:
    rows = [f'<tr><th scope="row">{escape(k)}</th><td>{escape(text)}</td></tr>' for k, text in run.provenance.items()]
    return _section("Provenance", f"<table>{_body(rows)}</table>", rows)


def _command(command: str) -> str:
    if not command:
        return ""
    words = " ".join(f"<span>{escape(word)}</span>" for word in command.split(" "))  # lines end between words
    return (
        f'<section><h3>Do it again</h3><div class="command"><code>{words}</code>'
        '<button type="button" class="copy">Copy</button></div></section>'
    )


def _files(run: Run, here: Path) -> str:
    rows = [_file(path, path.name, here) for path in sorted(run.files)]
    where = escape(run.directory.as_posix())
    return _section("Files", f'<p class="where">{where}</p><ul class="files">{"".join(rows)}</ul>', rows)


def _file(path: Path, name: str, here: Path) -> str:
    size = path.stat().st_size
    words = f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.0f} KiB" if size >= 2**10 else f"{size} B"
    return f'<li><a href="{_link(path, here)}">{escape(name)}</a> <span>{words}</span></li>'


def _link(path: Path, here: Path) -> str:
    """A relative link from the page to a file."""
    return escape(quote(Path(os.path.relpath(path.resolve(), here.resolve())).as_posix()))


def _others(paths: Sequence[Path], here: Path) -> str:
    """Files that belong to no run."""
    if not paths:
        return ""
    rows = "".join(_file(path, Path(os.path.relpath(path, here)).as_posix(), here) for path in paths)
    return (
        '<article class="experiment others" id="other-files"><h2>Other files</h2>'
        f'<ul class="files">{rows}</ul></article>'
    )
