"""A line that says that code is being compiled, where somebody waits for it: once for a process."""

from __future__ import annotations

import sys
from typing import Any

from numba.core import event
from typing_extensions import override

from wfr_pde.numerics.progress import is_seen

PACKAGE = "wfr_pde."


class Announcer(event.Listener):
    """Says so when the first function of this package is compiled; those in the cache are not."""

    def __init__(self) -> None:
        self.has_spoken = False

    @override
    def on_start(self, event: Any) -> None:
        function = getattr(event.data.get("dispatcher"), "py_func", None)
        if self.has_spoken or not str(getattr(function, "__module__", "")).startswith(PACKAGE) or not is_seen():
            return
        self.has_spoken = True
        print(
            "wfr_pde: compiling loops, which takes some seconds; they are kept for the next time",
            file=sys.stderr,
            flush=True,
        )

    @override
    def on_end(self, event: Any) -> None:
        """Nothing is to be said."""


ANNOUNCER = Announcer()
event.register("numba:compile", ANNOUNCER)
