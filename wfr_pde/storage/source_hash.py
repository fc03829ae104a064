"""The hash of the code that numbers depend on: stored with every result, and compared with that of the present code."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from wfr_pde import _version

SUFFIXES = (".py", ".cu", ".csv")  # sources, and the data that the package publishes
NOT_HASHED = "app"  # the room above the library: it stores numbers, and makes none
SHORT = 12  # digits of a hash in a message
NAME, OTHERS = "source_hash", "other_source_hashes"  # attributes of a Dataset, and entries of run.json
UNKNOWN = "not known"  # in place of a hash, of what was stored without one


@functools.cache
def source_hash() -> str:
    """Hash of the sources that the numbers depend on: those of the package, without the room `app`.

    It is that of their text, whatever the line endings, and of their paths in the package, so that a wheel has the same
    as the source tree. It is read once: what is edited later is not what this process has imported.
    """
    return hash_of_sources(Path(_version.__file__).parent)


def hash_of_sources(package: Path) -> str:
    """The same for a package in a folder."""
    found = {
        path.relative_to(package).as_posix(): path
        for path in package.rglob("*")
        if path.suffix in SUFFIXES and not path.name.startswith(".")
    }
    digest = hashlib.sha256()
    for name in sorted(found):
        if not name.startswith(f"{NOT_HASHED}/"):
            text = found[name].read_text(encoding="utf-8")  # universal newlines: \r\n is read as \n
            digest.update(f"{name} {len(text)}\n{text}\n".encode())
    return digest.hexdigest()


def other_hashes(stored: Mapping[str, Any]) -> tuple[str, ...]:
    """The source hashes in attributes, or in what run.json says, that are not that of the present code, sorted.

    Of what was stored without a hash it is "not known".
    """
    found = {str(stored.get(NAME) or UNKNOWN), *json.loads(stored.get(OTHERS) or "[]")}
    return tuple(sorted(found - {source_hash()}))


def accepted(others: Iterable[str]) -> dict[str, str]:
    """Attributes that say which code made a result: the present one, and others whose results were accepted."""
    found = sorted(set(others) - {source_hash()})
    return {NAME: source_hash(), **({OTHERS: json.dumps(found)} if found else {})}


def compared(others: Iterable[str]) -> str:
    """Words that name other source hashes and the present one."""
    return f"(source hash {', '.join(one[:SHORT] for one in others)}; now {source_hash()[:SHORT]})"


def refuse_other_code(stored: Iterable[str], what: str, remedy: str) -> None:
    """Raise a ValueError if there are other source hashes among those that are stored.

    Parameters
    ----------
    stored : iterable of str
        Source hashes.
    what : str
        What they are of.
    remedy : str
        What can be done.
    """
    others = sorted(set(stored) - {source_hash()})
    if others:
        raise ValueError(f"{what} was begun by other code {compared(others)}, and the two would be mixed: {remedy}")
