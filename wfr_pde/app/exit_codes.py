"""Exit codes of the command line, and which of them an error or a number of runs leads to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wfr_pde.errors import BackendError, NumericalError

if TYPE_CHECKING:
    from wfr_pde.app.experiments.jobs import Outcome

# exit codes, as the help and the documents list them; 130 is that of shells for Ctrl-C
DONE, CHECK_FAILED, BAD_INPUT, MISSING, NUMERICAL_FAILURE, INTERRUPTED = 0, 1, 2, 3, 4, 130
# errors that wrong input leads to: they are printed without a traceback
BAD_INPUTS = (ValueError, TypeError, MemoryError, OSError)


def exit_code(error: BaseException) -> int | None:
    """Return the exit code that an error leads to; None for an error of the program itself."""
    if isinstance(error, BackendError | ImportError):
        return MISSING
    if isinstance(error, NumericalError):
        return NUMERICAL_FAILURE
    return BAD_INPUT if isinstance(error, BAD_INPUTS) else None


def exit_code_of_runs(outcomes: Sequence[Outcome]) -> int:
    """Return the code of the first run that failed; if there is none, whether all checks passed."""
    failed = [outcome.code for outcome in outcomes if outcome.error]
    if failed:
        return failed[0]
    return DONE if all(outcome.status == "pass" for outcome in outcomes) else CHECK_FAILED
