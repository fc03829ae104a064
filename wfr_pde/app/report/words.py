"""Words for numbers, names, sizes and prose on the page: filters of its templates.

They return plain text, which the templates escape, or `Markup` where they put elements around text that they have
escaped.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from wfr_pde.app.experiments.experiment import Check


@dataclass(frozen=True)
class Block:
    """Part of a docstring: a paragraph and the points of a list below it, or what is indented, as it stands."""

    words: str = ""
    points: tuple[str, ...] = ()
    verbatim: str = ""


def prose(text: str) -> tuple[Block, ...]:
    """Split a docstring into blocks, at empty lines."""
    blocks = []
    for block in re.split(r"\n\s*\n", text) if text else ():
        if all(line.startswith("    ") for line in block.splitlines()):
            blocks.append(Block(verbatim=block))
            continue
        items = re.split(r"^- ", block, flags=re.MULTILINE)
        words, *points = (" ".join(item.split()) for item in items)
        blocks.append(Block(words, tuple(points)))
    return tuple(blocks)


def code_spans(text: str) -> Markup:
    """Mark what stands between backticks in a line of prose as code."""
    return Markup(re.sub(r"(`+)([^`]+)\1", r"<code>\2</code>", str(escape(text))))


def breakable(name: str) -> Markup:
    """Let a name go on in the next line after an underscore."""
    return escape(name).replace("_", Markup("_<wbr>"))


def plural(noun: str, number: int) -> str:
    """Return the noun in singular or plural, by the number."""
    return noun if number == 1 else f"{noun}s"


def knob(value: Any) -> str:
    """Write the value of a knob, without the brackets of a list."""
    return ", ".join(map(knob, value)) if isinstance(value, list | tuple) else str(value)


def number(value: float, tolerance: float = 0.0) -> str:
    """Write a number in as many digits as its tolerance asks for, six at least."""
    digits = 6
    if tolerance > 0 and value != 0 and math.isfinite(value):
        digits = min(max(6, math.ceil(math.log10(abs(value) / tolerance)) + 2), 16)
    text = f"{value:.{digits}g}"
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}".replace("-", "−") if e else text.replace("-", "−")


def used(check: Check) -> tuple[float, str]:
    """Return how much of the tolerance a deviation takes: per cent of the bar's width, and words."""
    deviation = abs(check.value - check.expected)
    if deviation == 0:
        return 0.0, "exact"
    share = deviation / check.tolerance if check.tolerance > 0 else math.inf
    if not share < 100:
        return 100.0, "–"  # NaN too
    return min(100 * share, 100.0), "< 1 %" if share < 0.01 else f"{100 * share:.{0 if share >= 0.1 else 1}f} %"


def size(n_bytes: int) -> str:
    """Write the size of a file in B, KiB or MiB."""
    if n_bytes >= 2**20:
        return f"{n_bytes / 2**20:.1f} MiB"
    return f"{n_bytes / 2**10:.0f} KiB" if n_bytes >= 2**10 else f"{n_bytes} B"
