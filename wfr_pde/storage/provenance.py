"""Where numbers come from: the commit of the source and the versions of libraries."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from wfr_pde import _version
from wfr_pde._version import __version__

RESULTS = (":(top,exclude)results", ":(top,exclude)gallery")  # which runs write


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
