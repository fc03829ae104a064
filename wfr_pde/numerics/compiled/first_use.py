"""What compiling does not cost and says: budgets of time leave it out, and who waits reads a line, once a process."""

from __future__ import annotations

import logging
import time
from typing import Any

from numba.core import event
from typing_extensions import override

from wfr_pde.numerics.deadline import leave_out
from wfr_pde.numerics.progress import is_seen

PACKAGE = "wfr_pde."  # modules whose functions are announced
LOG = logging.getLogger(__name__)


class Announcer(event.Listener):
    """A listener that says so when the first function of this package is compiled; those in the cache are not."""

    def __init__(self) -> None:
        self.has_spoken = False
        self.depth, self.began = 0, 0.0  # functions that call others compile those on the way; one thread at a time

    @override
    def on_start(self, event: Any) -> None:
        if self.depth == 0:
            self.began = time.perf_counter()
        self.depth += 1
        function = getattr(event.data.get("dispatcher"), "py_func", None)
        if self.has_spoken or not str(getattr(function, "__module__", "")).startswith(PACKAGE) or not is_seen():
            return
        self.has_spoken = True
        # a warning, as that is what is seen where logging is not set up
        LOG.warning("wfr_pde compiles its loops, which takes some seconds; they are kept for the next time")

    @override
    def on_end(self, event: Any) -> None:
        """Take the seconds that compiling took off the clock of time budgets."""
        self.depth -= 1
        if self.depth == 0:
            leave_out(time.perf_counter() - self.began)


ANNOUNCER = Announcer()
event.register("numba:compile", ANNOUNCER)
