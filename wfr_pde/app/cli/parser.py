"""The parser of a command line."""

from __future__ import annotations

import argparse
import contextlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from typing_extensions import override

SEVERAL_IN_ONE = ("NAMES", "JSON")  # metavar of options whose value is a list or a mapping
MOST_DIGITS = 18  # of a whole number


class Parser(argparse.ArgumentParser):
    """A parser whose errors are ValueErrors, reported as all others.

    Attributes
    ----------
    arguments : list of argparse.Action
        What `add_argument` was called for, the help among them.
    """

    def __init__(self, **options: Any) -> None:
        self.arguments: list[argparse.Action] = []
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    @override
    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        """Add an argument as argparse does, and list it."""
        action = super().add_argument(*names, **options)
        self.arguments.append(action)
        return action

    @override
    def error(self, message: str) -> NoReturn:
        """Raise a ValueError with the message that argparse would print."""
        raise ValueError(f"{message} (see {self.prog} --help)")


def finite(text: str) -> float:
    """Read a finite number.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is none; the parser adds the name of the option.
    """
    with contextlib.suppress(ValueError):
        if math.isfinite(float(text)):
            return float(text)
    raise argparse.ArgumentTypeError(f"must be a finite number, got {text!r}")


def whole(text: str) -> int:
    """Read a whole number.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is none, or has more digits than any use for it; the parser adds the name of the option.
    """
    with contextlib.suppress(ValueError):
        if len(text) <= MOST_DIGITS:
            return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number of at most {MOST_DIGITS} digits, got {text!r}")


def folder(text: str) -> str:
    """Read the name of a folder.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is empty, as a variable of the shell may be; the parser adds the name of the option.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError(f"must name a folder, such as . for this one, got {text!r}")
    return text


def expand_home(words: Sequence[str]) -> list[str]:
    """Write out `~` where the shell does not, in `--out=~/results`."""
    founds = [re.match(r"(-o|--[\w-]+=|)~(?=/|$)", word) for word in words]
    return [
        f"{found[1]}{Path.home()}{word[found.end() :]}" if found else word
        for word, found in zip(words, founds, strict=True)
    ]


def refuse_repeated(words: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """Refuse lists of names, and JSON, that are given twice: only the last would count, where both may be meant.

    Raises
    ------
    ValueError
    """
    given: set[str] = set()
    for word in words[: words.index("--")] if "--" in words else words:
        name = word.partition("=")[0]
        action = parser._option_string_actions.get(name)
        if action is None or action.metavar not in SEVERAL_IN_ONE:
            continue
        if name in given:
            raise ValueError(f"{name} is given twice: give it once, with all in it (see {parser.prog} --help)")
        given.add(name)


def join_values(words: Sequence[str]) -> list[str]:
    """Write `--lower -4,-4` as `--lower=-4,-4`: argparse takes a value with a leading minus for an option."""
    joined: list[str] = []
    for word in words:
        is_value = re.match(r"-[^-]", word) and word != "-h" and not word.startswith("-o")
        if is_value and joined and re.fullmatch(r"--[\w-]+", joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined
