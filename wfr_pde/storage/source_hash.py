"""The hash of the code that numbers depend on: stored with every result, and compared with that of the present code."""

from __future__ import annotations

import functools
import hashlib
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from wfr_pde import _version

SUFFIXES = (".py", ".cu", ".csv")  # sources, and the data that the package publishes
NOT_HASHED = "app"  # the room above the library: it stores numbers, and makes none
SHORT = 12  # digits of a hash in a message
NAME = "source_hash"  # attribute of a Dataset, and entry of run.json
OTHERS = "other_source_hashes"  # the same: hashes of other code whose results were accepted, separated by spaces
UNKNOWN = "unknown"  # in place of a hash, of what was stored without one


@functools.cache
def source_hash() -> str:
    """Hash the sources that the numbers depend on: those of the package, without the room `app`.

    The hash is that of their text, whatever the line endings, and of their paths in the package, so that a wheel has
    the same as the source tree. It is computed once: what is edited later is not what this process has imported.
    """
    return hash_of_sources(Path(_version.__file__).parent)


def hash_of_sources(package: Path) -> str:
    """Hash the sources of a package in a folder."""
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
    """Return the source hashes in attributes, or in a run.json, that are not that of the present code, sorted.

    What was stored without a hash counts as "unknown".
    """
    found = {str(stored.get(NAME) or UNKNOWN), *str(stored.get(OTHERS) or "").split()}
    return tuple(sorted(found - {source_hash()}))


def code_attrs(others: Iterable[str] = ()) -> dict[str, str]:
    """Return attributes that say which code made a result: the present one, and `others` that were accepted."""
    found = sorted(set(others) - {source_hash()})
    return {NAME: source_hash(), **({OTHERS: " ".join(found)} if found else {})}


def code_attrs_of_resumed(stored: Mapping[str, Any], what: str, accept: bool) -> dict[str, str]:
    """Return the attributes of a run that is taken up again, by what its run.json says.

    A run that is done is taken, with a warning if other code computed it.

    Raises
    ------
    ValueError
        If other code began the run, and is not accepted.
    """
    last = str(stored.get(NAME) or UNKNOWN)
    if stored["status"] != "done" and not accept:
        remedy = "delete the directory, or give accept_other_code=True, which is written into the attributes"
        refuse_other_code([last], f"the run in {what} was begun", remedy)
    elif stored["status"] == "done" and last != source_hash():
        warnings.warn(
            f"{what} was computed by other code {compared([last])} and is read as it is: delete it to compute it anew",
            stacklevel=5,  # the caller of solve
        )
    return code_attrs(other_hashes(stored))


def compared(others: Iterable[str]) -> str:
    """Name other source hashes and the present one, in words."""
    return f"(source hash {', '.join(one[:SHORT] for one in others)}; now {source_hash()[:SHORT]})"


def by_other_code(others: Iterable[str]) -> str:
    """Say in words that data were computed by other code."""
    return f"computed by other code than the present {compared(others)}"


def refuse_other_code(stored: Iterable[str], what: str, remedy: str) -> None:
    """Raise a ValueError if there are other source hashes among those that are stored.

    Parameters
    ----------
    stored : iterable of str
        Source hashes.
    what : str
        What they are of, with a verb: "the run in ... was begun".
    remedy : str
        What can be done.
    """
    others = sorted(set(stored) - {source_hash()})
    if others:
        raise ValueError(f"{what} by other code {compared(others)}, and the two would be mixed: {remedy}")
