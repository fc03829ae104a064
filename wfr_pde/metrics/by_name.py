"""Metrics by their names: for the command line, and for errors that say what was meant."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from wfr_pde import metrics


def known_metrics() -> dict[str, tuple[str, Callable[..., Any]]]:
    """Return how metrics are written, and with default parameters, by their names and those of their classes."""
    known: dict[str, tuple[str, Callable[..., Any]]] = {}
    for key in metrics.__all__:
        found, written = getattr(metrics, key), key
        if isinstance(found, type):
            try:
                found, written = found(), f"{key}()"
            except TypeError:
                continue  # it needs parameters
        if callable(found) and hasattr(found, "name"):
            known |= {key: (written, found), str(found.name): (written, found)}
    return known


def meant_metric(name: str) -> str:
    """Return the metrics that a text may stand for, as they are written."""
    known = {key.lower(): written for key, (written, _) in known_metrics().items()}
    near = difflib.get_close_matches(name.strip().lower(), known, 1)
    if near:
        return f"wfr.metrics.{known[near[0]]}"
    return f"one of wfr.metrics: {', '.join(sorted(set(known.values()), key=str.lower))}"
