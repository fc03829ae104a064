"""Where numbers come from: the commit of the source and the versions of libraries."""

from __future__ import annotations

import functools
import json
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from wfr_pde import _version
from wfr_pde._version import __version__
from wfr_pde.storage import schema_version, source_hash
from wfr_pde.storage.source_hash import code_attrs

NEEDED = (  # the packages that this one cannot do without
    *("numpy", "scipy", "xarray", "h5netcdf", "h5py", "matplotlib", "mpmath", "numba", "sympy", "filelock", "tqdm"),
    *("threadpoolctl", "shtab", "typing-extensions", "jinja2", "markupsafe"),
)
CONSTRAINTS = "constraints.txt"  # beside results: the versions that made them
RESULTS = (":(top,exclude)results", ":(top,exclude)gallery", ":(top,exclude)benchmarks/history.csv")  # which runs write


@functools.cache
def commit() -> str:
    """Return the commit of the source tree that the package runs from; empty if it is installed from elsewhere.

    It ends in -dirty if a file has been changed since; results and the gallery, which runs write, do not count.
    """
    import subprocess  # here, as it is slow to import

    here = str(Path(_version.__file__).parent)

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", "-C", here, *words], capture_output=True, check=False, text=True)

    try:
        if git("ls-files", "--error-unmatch", "_version.py").returncode != 0:
            return ""
        head = git("describe", "--always", "--abbrev=40").stdout.strip()
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", *RESULTS).stdout
    except OSError:
        return ""
    return f"{head}-dirty" if changed.strip() else head


@functools.cache
def versions() -> Mapping[str, str]:
    """Return the versions of what the numbers depend on; they are read once, as looking them up is slow."""
    from importlib.metadata import version  # here, as it is slow to import

    packages = ("numpy", "scipy", "xarray", "h5netcdf")
    found = {name: version(name) for name in packages}
    return MappingProxyType({"wfr_pde": __version__, "python": platform.python_version(), **found})


def dataset_attrs(code: Mapping[str, str] | None = None) -> dict[str, str | int]:
    """Return the attributes that say which schema, versions, commit and code (default: the present) made a Dataset."""
    return {
        schema_version.NAME: schema_version.SCHEMA_VERSION,
        "versions": json.dumps(dict(versions())),
        "commit": commit(),
        **(code_attrs() if code is None else code),
    }


def schema_and_code(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema and the hashes of the code that attributes of a Dataset name, in plain types for JSON."""
    found = {name: attrs[name] for name in (schema_version.NAME, source_hash.NAME, source_hash.OTHERS) if name in attrs}
    return {name: int(value) if name == schema_version.NAME else value for name, value in found.items()}


@functools.cache
def packages() -> Mapping[str, str]:
    """Return the versions of all packages that this one needs, and that these need, by their names in lower case."""
    from importlib import metadata

    found: dict[str, str] = {}
    todo = list(NEEDED)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # needed on other systems only
        found[name] = distribution.version
        todo += [_normal_name(one) for one in distribution.requires or () if not re.search(r"\bextra\s*==", one)]
    return MappingProxyType(dict(sorted(found.items())))


def constraints() -> str:
    """Write these versions as `pip install -c` reads them, with Python and the system as a comment."""
    system = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    lines = [f"# {system}; pip install -c {CONSTRAINTS} -e . installs these versions"]
    return "\n".join(lines + [f"{name}=={version}" for name, version in packages().items()]) + "\n"


def constraints_in(path: Path) -> dict[str, str]:
    """Read the versions in such a file, by name; none where there is no file."""
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def _normal_name(requirement: str) -> str:
    """Return the name of a package in a requirement, as indexes write it."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", found.group()).lower() if found else ""
