"""What commands print: tables, JSON, sizes, durations and the notes of errors."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

MAX_ROWS = 11  # most rows of the table of a solution: it fits on a screen


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Align rows of text in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def solution_table(ds: xr.Dataset, names: list[str]) -> str:
    """Show some of the save times with their records, but for records that are too large for a line."""
    rows = np.unique(np.linspace(0, ds.sizes["t"] - 1, MAX_ROWS).round().astype(int))
    shown = [name for name in names if ds[name][0].size <= 4]
    table = [("t", *shown)]
    for i in rows:
        table.append((f"{float(ds['t'][i]):.6g}", *(_entry(ds[name][i].values) for name in shown)))
    return text_table(table)


def _entry(values: np.ndarray) -> str:
    """Write a record at one time on one line."""
    if values.size == 1:
        return f"{float(values.item()):.6g}"
    return np.array2string(values, precision=5, suppress_small=True, separator=", ").replace("\n", "")


def print_json(content: Any) -> None:
    """Print strict JSON: numbers that are not finite become null."""
    print(json.dumps(_strict(content), indent=2))


def _strict(content: Any) -> Any:
    """Convert to plain types of Python, with None for numbers that are not finite."""
    if isinstance(content, dict):
        return {key: _strict(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_strict(value) for value in content]
    if isinstance(content, float | np.floating):
        return float(content) if math.isfinite(content) else None
    return int(content) if isinstance(content, np.integer) else content


def bytes_text(number: int) -> str:
    """Write a number of bytes in MiB or GiB."""
    return f"{number / 2**30:.3g} GiB" if number >= 2**30 else f"{number / 2**20:.3g} MiB"


def duration_text(seconds: float) -> str:
    """Write a duration in seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 99.5 else f"{seconds:.0f} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def notes(error: BaseException) -> str:
    """Join the notes that were added to an exception."""
    return " ".join(getattr(error, "__notes__", []))
