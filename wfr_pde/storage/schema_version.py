"""The version of the names and meanings in stored Datasets: written into each of them, and looked at on loading."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

from wfr_pde._version import __version__
from wfr_pde.errors import SchemaError

SCHEMA_VERSION = 1  # raised when a name, dimension, unit or meaning that is stored changes; not when one is added
NAME = "schema_version"  # attribute of a Dataset, and entry of run.json; what has none is of version 1


def check_schema(stored: Mapping[Any, Any], what: str) -> None:
    """Refuse what a later version of the package stored in a schema that this one does not know.

    Parameters
    ----------
    stored : mapping
        Attributes of a Dataset, or what run.json says.
    what : str
        What they are of, for the error: "the file out.nc".

    Raises
    ------
    SchemaError
        If the schema is newer. An attribute of that name that is no whole number is not ours, and is not looked at.
    """
    found = stored.get(NAME, 1)
    if isinstance(found, numbers.Integral) and int(found) > SCHEMA_VERSION:
        by = f"wfr_pde {__version__}"
        raise SchemaError(
            f"{what} has {NAME} {int(found)}, but {by} knows only those up to {SCHEMA_VERSION}: a later version of "
            "wfr_pde wrote it; read it with that one (pip install --upgrade wfr-pde)"
        )
