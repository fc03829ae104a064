"""The command `wfr-pde reproduce`: a committed result made again, and its numbers compared with the stored ones."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfr_pde.app.cli.output import duration_text, print_json, text_table
from wfr_pde.app.cli.parser import folder
from wfr_pde.app.cli.written import make_folder
from wfr_pde.app.exit_codes import CHECK_FAILED, DONE

if TYPE_CHECKING:
    from wfr_pde.app.experiments.experiment import Experiment
    from wfr_pde.app.experiments.reproduction import Comparison, Reproduction

NAME = "reproduce"
SUMMARY = "make a committed result again, and compare its numbers"
GALLERY = "gallery"
EXAMPLES = """\
The experiment runs with the knobs of the stored result. Its scalar variables, and all numbers of its figure, must
differ by at most 1e-6 of the stored number plus a small absolute part (1e-10; for a figure 1e-10 of the largest number
of the line; for a number with a claim a thousandth of the claim's tolerance), or what the experiment states in its
TOLERANCES. Of each panel the two numbers that agree worst are shown. The exit code is 1 if any are too far apart.
Samplers with seeds give the same numbers with the same versions only: `pip install -c gallery/constraints.txt -e .`

examples:
  wfr-pde reproduce splitting_order             in a temporary folder
  wfr-pde reproduce galaxies --out again        kept in again/; when stopped, the same command goes on
  wfr-pde reproduce gallery/galaxies/e2ebf21c5a87"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("names", nargs="+", metavar="NAME", help="experiments, paths of their files, or folders of results")
    add(
        "--gallery",
        type=folder,
        default=GALLERY,
        metavar="DIR",
        help="where the committed results are (default: %(default)s)",
    )
    add(
        "--out",
        type=folder,
        metavar="DIR",
        help="root of the new results (default: a temporary folder, which is removed)",
    )


def run(args: argparse.Namespace) -> int:
    """Make the results again and print how they compare."""
    from wfr_pde.app.experiments.reproduction import reproduce

    planned = [each for name in args.names for each in _stored(name, Path(args.gallery))]
    code, contents = DONE, []
    with _root(args.out) as out:
        for experiment, directory in planned:
            if not args.json:
                print(_announced(experiment, directory), flush=True)
            # what an experiment prints must not mix with the table or with JSON
            with contextlib.redirect_stdout(sys.stderr):
                found = reproduce(experiment, directory, out)
            contents.append(_content(found, directory))
            code = code if found.agrees else CHECK_FAILED
            if not args.json:
                print(_text(found))
    if args.json:
        print_json(contents)
    return code


@contextlib.contextmanager
def _root(out: str | None) -> Iterator[Path]:
    """Give the root of the new results."""
    if out is not None:
        make_folder("--out", Path(out), Path(out))
        yield Path(out)
        return
    with tempfile.TemporaryDirectory(prefix="wfr-pde-") as temporary:
        yield Path(temporary)


def _stored(name: str, gallery: Path) -> list[tuple[Experiment, Path]]:
    """Find the stored results that are named, each with its experiment.

    Raises
    ------
    ValueError
        If there are none.
    """
    from wfr_pde.app.experiments.loading import load_experiment
    from wfr_pde.app.experiments.reproduction import read_result

    if (Path(name) / "run.json").exists():
        words = shlex.split(read_result(name)["command"])
        return [(load_experiment(words[2]), Path(name))]
    if not gallery.is_dir():
        raise ValueError(
            f"there is no folder {str(gallery)!r} here, where the committed results are: they are part of the "
            "repository, not of the installed package; go to the root of a clone, or give --gallery DIR"
        )
    experiment = load_experiment(name)
    directories = sorted(path.parent for path in gallery.glob(f"{experiment.name}/*/run.json"))
    if not directories:
        raise ValueError(
            f"no result of {experiment.name} is stored in {str(gallery)!r}; those are: "
            f"{', '.join(sorted({path.parts[-3] for path in gallery.glob('*/*/run.json')})) or 'none'}"
        )
    return [(experiment, directory) for directory in directories]


def _announced(experiment: Experiment, directory: Path) -> str:
    """Say what is about to run, and how long it took."""
    from wfr_pde.app.experiments.reproduction import read_result

    took = duration_text(float(read_result(directory)["wall_time"]))
    return f"{experiment.name}: {directory} again, which took {took}"


def _text(found: Reproduction) -> str:
    """Write the comparisons as a table, then what is to be said of code and versions."""
    rows: list[tuple[str, ...]] = [("number", "stored", "again", "difference", "tolerance", "agrees")]
    rows += [_row(comparison) for comparison in found.comparisons]
    compared = [comparison for comparison in found.comparisons if comparison.tolerance is not None or comparison.fault]
    wrong = [comparison.name for comparison in compared if not comparison.agrees]
    count = sum(comparison.count for comparison in compared)
    verdict = "the only number agrees" if count == 1 else f"all {count} numbers agree"
    verdict = verdict if not wrong else f"these do not agree: {', '.join(wrong)}"
    return "\n".join([text_table(rows), *_notes(found), verdict, ""])


def _row(comparison: Comparison) -> tuple[str, ...]:
    """Write a comparison as a row of the table."""
    several = "first" if comparison.tolerance is None else "worst"
    name = comparison.name if comparison.count == 1 else f"{comparison.name} ({several} of {comparison.count})"
    pair = f"{comparison.stored:.10g}", f"{comparison.again:.10g}"
    if comparison.fault:
        return name, *pair, "", "", f"NO: {comparison.fault}"
    if comparison.tolerance is None:
        return name, *pair, f"{comparison.difference:.1e}", "none", "not compared"
    how = "yes" if comparison.agrees else "NO"
    return name, *pair, f"{comparison.difference:.1e}", f"{comparison.tolerance:.1e}", how


def _notes(found: Reproduction) -> list[str]:
    """Say what else is not as it was."""
    lines = []
    if found.stored["source"] != found.result.experiment.source:
        lines.append("the experiment has been changed since the result was stored")
    if _package_changed(found):
        lines.append("the package has been changed since the result was stored")
    if unused := found.unused_tolerances:
        lines.append(f"TOLERANCES of {found.result.experiment.path.name} fits nothing by {', '.join(unused)}")
    if found.other_versions:
        others = (f"{name} {there} (here {here})" for name, (there, here) in found.other_versions.items())
        lines.append(f"the result was stored with other versions: {', '.join(others)}")
    return lines


def _package_changed(found: Reproduction) -> bool:
    """Tell whether other code of the package made the stored result; of one without a hash that is not known."""
    from wfr_pde.storage.source_hash import NAME as HASH

    return found.stored.get(HASH, found.result.data.attrs[HASH]) != found.result.data.attrs[HASH]


def _content(found: Reproduction, directory: Path) -> dict[str, Any]:
    """Return what came out in plain types, for JSON."""
    return {
        "experiment": found.result.experiment.name,
        "directory": str(directory),
        "agrees": found.agrees,
        "comparisons": [comparison.content() for comparison in found.comparisons],
        "other_versions": {name: list(pair) for name, pair in found.other_versions.items()},
        "notes": _notes(found),
    }
