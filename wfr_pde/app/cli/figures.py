"""The command `wfr-pde figures`: figures drawn again from stored data."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfr_pde.app.cli.output import print_json, text_table
from wfr_pde.app.cli.parser import folder
from wfr_pde.app.exit_codes import DONE
from wfr_pde.app.experiments.experiment import OUT

if TYPE_CHECKING:
    from wfr_pde.app.experiments.experiment import Experiment

NAME = "figures"
SUMMARY = "draw figures again from stored data"
EXAMPLES = """\
Nothing is computed: the figure of every run that is stored is drawn from its data.nc, and its checks are made again.
Data that an older version of the experiment has stored are drawn, too, if they can be; that is then said.

examples:
  wfr-pde figures                     all that is stored in results/
  wfr-pde figures galaxies            all runs of one experiment
  wfr-pde figures my/experiment.py --out elsewhere"""


@dataclass(frozen=True)
class Drawn:
    """Outcome for the figure of a run: its error is empty, and its code `DONE`, where it was drawn."""

    name: str
    directory: Path
    note: str = ""
    error: str = ""
    code: int = DONE

    def content(self) -> dict[str, Any]:
        """Return name, directory, note and error in plain types, for JSON."""
        return {"name": self.name, "directory": str(self.directory), "note": self.note, "error": self.error}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="experiments, or paths of their files (default: all that are stored)")
    add("--out", type=folder, default=OUT, metavar="DIR", help="root of the results (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Draw the figures, and print which they are."""
    drawn = _draw(args)
    if args.json:
        print_json([each.content() for each in drawn])
    else:
        print(text_table(_rows(drawn)) if drawn else f"nothing is stored in {args.out}")
    return max((each.code for each in drawn), default=DONE)


def _draw(args: argparse.Namespace) -> list[Drawn]:
    """Draw the figures that are asked for; one that fails does not keep the others from being drawn."""
    from wfr_pde.app.experiments.loading import load_experiment

    root = Path(args.out)
    if args.out != OUT and not root.is_dir():
        raise ValueError(f"there is no folder --out {args.out}: say where results are")
    if not args.names:
        return [_drawn(directory, None) for directory in _stored(root, "*")]
    drawn = []
    for name in args.names:
        experiment = load_experiment(name)
        directories = _stored(root, experiment.name)
        if not directories:
            raise ValueError(f"nothing of {name} is stored in --out {root}: `wfr-pde run {name}` computes it")
        drawn += [_drawn(directory, experiment) for directory in directories]
    return drawn


def _stored(root: Path, name: str) -> list[Path]:
    """List the directories of runs that hold data."""
    return sorted(path.parent for path in root.glob(f"{name}/*/data.nc"))


def _drawn(directory: Path, experiment: Experiment | None) -> Drawn:
    """Draw one figure."""
    from wfr_pde.app.experiments.jobs import failure
    from wfr_pde.app.experiments.runner import redraw
    from wfr_pde.storage.source_hash import by_other_code

    name = directory.parent.name
    try:
        experiment = _experiment(directory) if experiment is None else experiment
        result = redraw(experiment, directory)
    except Exception as error:
        return Drawn(name, directory, "", **failure(error))
    is_same = result.data.attrs["source"] == experiment.source
    notes = [] if is_same else ["data of an older version of the experiment; `wfr-pde run` computes them again"]
    if result.other_hashes:
        notes.append(by_other_code(result.other_hashes))
    if not result.passed:
        notes.insert(0, "FAIL " + ", ".join(check.name for check in result.checks if not check.passed))
    return Drawn(name, directory, "; ".join(notes))


def _experiment(directory: Path) -> Experiment:
    """Load the experiment that stored the data, found as it was named then."""
    from wfr_pde.app.experiments.loading import load_experiment
    from wfr_pde.storage import files

    command = shlex.split(str(files.read_attrs(directory / "data.nc").get("command", "")))
    return load_experiment(command[2] if len(command) > 2 else directory.parent.name)


def _rows(drawn: list[Drawn]) -> list[tuple[str, ...]]:
    """Write what was drawn as rows of a table."""
    return [
        (each.name, str(each.directory / "figure.png"), f"failed: {each.error}" if each.error else each.note)
        for each in drawn
    ]
