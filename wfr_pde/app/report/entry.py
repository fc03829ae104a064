"""An experiment as the page shows it: its runs, and what follows from them together."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wfr_pde.app.report.runs import DONE, FAILED, PASSED, UNFINISHED, UNREADABLE, Run
from wfr_pde.app.report.words import Block, knob
from wfr_pde.numerics.counted import counted

# status of runs, the worst first: an experiment has that of its worst run
WORST_FIRST = (FAILED, UNREADABLE, UNFINISHED, PASSED, DONE)


@dataclass(frozen=True, eq=False)
class Entry:
    """Experiment on the page, with what follows from its runs together.

    Attributes
    ----------
    name : str
        Name of the experiment.
    runs : tuple of Run
        The newest first.
    claim : str
        Empty if it is not stored.
    more : tuple of Block
        What its file says below the claim.
    """

    name: str
    runs: tuple[Run, ...]
    claim: str
    more: tuple[Block, ...]

    @property
    def anchor(self) -> str:
        """Anchor that links to it lead to."""
        return "experiment-" + re.sub(r"[^\w-]", "-", self.name)

    @property
    def alt(self) -> str:
        """Description of its pictures in words."""
        return self.claim or f"Results of {self.name}"

    @property
    def status(self) -> str:
        """Worst status of its runs."""
        return min((run.status for run in self.runs), key=WORST_FIRST.index)

    @property
    def words(self) -> str:
        """Number of checks that pass, in words; empty if there are none, or runs without an end."""
        checks = [check for run in self.runs for check in run.checks]
        if not checks or self.status not in (PASSED, FAILED):
            return ""
        return f"{sum(check.passed for check in checks)} of {counted(len(checks), 'check')} pass"

    @property
    def differing(self) -> tuple[str, ...]:
        """Names of the knobs that are not the same in all runs."""
        names = dict.fromkeys(name for run in self.runs for name in run.knobs)
        return tuple(name for name in names if len({knob(run.knobs.get(name)) for run in self.runs}) > 1)

    def label(self, run: Run) -> str:
        """Say what tells a run from the others: the knobs that differ."""
        words = ", ".join(f"{name} = {knob(run.knobs[name])}" for name in self.differing if name in run.knobs)
        return words or run.directory.name
