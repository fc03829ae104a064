"""The parser of a command line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from typing_extensions import override


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
