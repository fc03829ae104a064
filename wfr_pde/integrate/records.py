"""What a run records, by name: functions of state and energy, or an error that says what to give in place of them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from wfr_pde.energies import Energy
from wfr_pde.integrate import diagnostics
from wfr_pde.integrate.described import Record
from wfr_pde.integrate.schema import is_reserved
from wfr_pde.numerics.arguments import shown

# what `record` takes, for messages
TAKEN = "functions f(state, energy), such as [wfr.diagnostics.kl, wfr.KL(target)], or a mapping name -> function"


def known_records() -> dict[str, Record]:
    """Return the records of `diagnostics` by their names, but for those that a call makes, such as `mode_masses`."""
    found = {name: getattr(diagnostics, name) for name in diagnostics.__all__}
    return {name: one for name, one in found.items() if list(inspect.signature(one).parameters) == ["state", "energy"]}


def named_records(record: Any) -> dict[str, Record | Energy]:
    """Return the argument `record` of `solve` as a mapping of names.

    Raises
    ------
    TypeError, ValueError
    """
    if callable(record) or isinstance(record, Energy):
        record = [record]
    if isinstance(record, str):
        raise TypeError(f"record takes {TAKEN}, got the text {shown(record)}: give {_meant(record)}")
    if not isinstance(record, Iterable):
        remedy = ": leave it out, or give ()" if record is None else ""
        raise TypeError(f"record takes {TAKEN}, got {shown(record)}{remedy}")
    named = dict(record) if isinstance(record, Mapping) else {}
    for entry in () if isinstance(record, Mapping) else record:
        _check_entry("record", entry)
        name = entry.name if isinstance(entry, Energy) else getattr(entry, "__name__", "<lambda>")
        if name == "<lambda>":
            raise ValueError(
                f'the record {shown(entry)} has no name: give a mapping {{name: function}}, as record={{"mine": f}}'
            )
        if name in named:
            raise ValueError(f"two records are named {name!r}: give a mapping {{name: function}}")
        named[name] = entry
    for name, entry in named.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"a record needs a name of letters, digits and _, got {shown(name)}")
        _check_entry(f"record[{name!r}]", entry)
        if is_reserved(name):
            raise ValueError(f"a record cannot be named {name!r}, which the Dataset uses itself")
    return named


def _check_entry(where: str, entry: Any) -> None:
    """Refuse what is neither a function nor an Energy, with what was probably meant."""
    if isinstance(entry, str):
        raise TypeError(f"{where} takes functions, not names, and got the text {shown(entry)}: give {_meant(entry)}")
    if isinstance(entry, type):
        raise TypeError(f"{where}: {entry.__name__} is a class: give an object, {entry.__name__}(...)")
    if not callable(entry) and not isinstance(entry, Energy):
        raise TypeError(f"{where} takes {TAKEN}, but {shown(entry)} is neither a function nor an Energy")


def _meant(name: str) -> str:
    """Name the records that a text may stand for."""
    import difflib

    made = "mode_masses(centres) and region_mass(region)"
    known = sorted(known_records())
    near = difflib.get_close_matches(name.strip().lower(), known, 1)
    return f"wfr.diagnostics.{near[0]}" if near else f"one of wfr.diagnostics: {', '.join(known)}, {made}"
