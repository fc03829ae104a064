r"""Tables as LaTeX in the style of booktabs: text is escaped, numbers are in math mode."""

from __future__ import annotations

import re
from collections.abc import Sequence

from wfr_pde.metrics.numerals import Cell

# characters that LaTeX reads as commands, and how they are printed
ESCAPED = {
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": "{[}",  # else an argument of the \\ before it
    "*": "{*}",  # else the star of the \\ before it
    "²": "$^2$",
    "³": "$^3$",
    "⁴": "$^4$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "−": "$-$",
    "∞": r"$\infty$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "√": r"$\surd$",
    "–": "--",
    "\u2014": "---",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "λ": r"$\lambda$",
    "μ": r"$\mu$",
    "π": r"$\pi$",
    "σ": r"$\sigma$",
}


def tabular(rows: Sequence[Sequence[Cell]], caption: str | None, label: str | None) -> str:
    """Return rows, the first of them the head, as a tabular; in a table where there is a caption or a label."""
    columns = "".join("l" if all(isinstance(row[k], str) for row in rows) else "r" for k in range(len(rows[0])))
    head, *body = (" & ".join(map(_cell, row)) + r" \\" for row in rows)
    rules = [r"\toprule", head, r"\midrule", *body, r"\bottomrule"]
    lines = [rf"\begin{{tabular}}{{{columns}}}", *rules, r"\end{tabular}"]
    if caption is not None or label is not None:
        above = ([] if caption is None else [rf"\caption{{{caption}}}"]) + (
            [] if label is None else [rf"\label{{{label}}}"]
        )
        lines = [r"\begin{table}", r"\centering", *above, *lines, r"\end{table}"]
    return "\n".join(lines) + "\n"


def escaped(words: str) -> str:
    """Escape text for LaTeX, so that it is printed as it is."""
    return "".join(ESCAPED.get(letter, letter) for letter in " ".join(words.split()))


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return escaped(cell)
    if not cell:
        return "--"
    numbers = ", ".join(map(_number, cell))
    return f"$[{numbers}]$" if len(cell) > 1 else f"${numbers}$"


def _number(numeral: str) -> str:
    """Write a numeral, or a value ± half a width, in math mode."""
    numeral = re.sub(r"e([+-]\d+)", lambda found: rf" \times 10^{{{int(found[1])}}}", numeral)
    return numeral.replace("inf", r"\infty").replace("nan", r"\mathrm{nan}").replace("±", r"\pm")
