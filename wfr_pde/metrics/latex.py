r"""Tables as LaTeX in the style of booktabs: text is escaped, numbers are in math mode."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from wfr_pde.metrics.numerals import Cell

GREEK = {
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "ε": "varepsilon",
    "ϵ": "epsilon",
    "ζ": "zeta",
    "η": "eta",
    "θ": "theta",
    "ϑ": "vartheta",
    "ι": "iota",
    "κ": "kappa",
    "λ": "lambda",
    "μ": "mu",
    "µ": "mu",
    "ν": "nu",
    "ξ": "xi",
    "π": "pi",
    "ρ": "rho",
    "σ": "sigma",
    "ς": "varsigma",
    "τ": "tau",
    "υ": "upsilon",
    "φ": "varphi",
    "ϕ": "phi",
    "χ": "chi",
    "ψ": "psi",
    "ω": "omega",
    "Γ": "Gamma",
    "Δ": "Delta",
    "Θ": "Theta",
    "Λ": "Lambda",
    "Ξ": "Xi",
    "Π": "Pi",
    "Σ": "Sigma",
    "Υ": "Upsilon",
    "Φ": "Phi",
    "Ψ": "Psi",
    "Ω": "Omega",
}
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
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "−": "$-$",
    "∞": r"$\infty$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "≠": r"$\neq$",
    "∼": r"$\sim$",
    "∝": r"$\propto$",
    "∂": r"$\partial$",
    "∇": r"$\nabla$",
    "∫": r"$\int$",
    "∑": r"$\sum$",
    "√": r"$\surd$",
    "‖": r"$\Vert$",
    "∈": r"$\in$",
    "→": r"$\to$",
    "←": r"$\leftarrow$",
    "↔": r"$\leftrightarrow$",
    "–": "--",
    "\u2014": "---",
    "\u2011": "-",
    "\u2009": r"\,",
    "\u202f": r"\,",
    "⁻": "$^-$",
    **{mark: f"$^{power}$" for power, mark in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    **{mark: f"$_{index}$" for index, mark in enumerate("₀₁₂₃₄₅₆₇₈₉")},
    **{letter: rf"$\{name}$" for letter, name in GREEK.items()},
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧο", "ABEZHIKMNOPTXo", strict=True)),  # as LaTeX has no commands for these letters
}
LIGATURES = re.compile("(?<=[-'`,<>!?])(?=[-'`,<>])")  # marks that LaTeX would join: -- to a dash, ?` to another mark


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
    """Escape text for LaTeX, so that it is printed as it is; marks that nobody sees are left out.

    What is neither Latin nor Greek nor in `ESCAPED` stays, for engines and fonts that have it.
    """
    seen = "".join(
        letter
        for letter in unicodedata.normalize("NFC", words)
        if letter.isspace() or unicodedata.category(letter)[0] != "C"
    )
    parts = LIGATURES.split(" ".join(seen.split()))
    return "{}".join("".join(ESCAPED.get(letter, letter) for letter in part) for part in parts)


def refuse_broken(name: str, latex: str) -> None:
    r"""Refuse LaTeX that would not end where it stands: with braces left open, or a % that hides what comes after it.

    Raises
    ------
    ValueError
    """
    bare = re.sub(r"\\\\|\\[{}%]", "", latex)  # without marks that are escaped
    depth = 0
    for mark in re.findall("[{}]", bare):
        depth += 1 if mark == "{" else -1
        if depth < 0:
            break
    if depth:
        raise ValueError(rf"{name} is LaTeX, in which every brace has its partner, got {latex!r}: write \{{ and \}}")
    if "%" in bare:
        raise ValueError(rf"{name} is LaTeX, in which % hides the rest of a line, got {latex!r}: write \%")
    if bare.endswith("\\"):
        raise ValueError(f"{name} is LaTeX, and must not end with a backslash, got {latex!r}")
    if "\n\n" in latex.replace(" ", ""):
        raise ValueError(f"{name} must be one paragraph of LaTeX, without empty lines, got {latex!r}")


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
