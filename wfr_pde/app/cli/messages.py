"""Messages of a command: what the package logs goes to stderr while it runs, results to stdout."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator

PACKAGE = "wfr_pde"  # the logger above all loggers of the package


@contextlib.contextmanager
def messages_on_stderr() -> Iterator[None]:
    """Write what the package logs to stderr, one line each, from the level INFO on."""
    logger, handler = logging.getLogger(PACKAGE), logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("wfr-pde: %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
