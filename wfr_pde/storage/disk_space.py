"""Space on disks: how much is free, what a full disk is told as, and a warning before a run that would fill it."""

from __future__ import annotations

import contextlib
import errno
import shutil
import warnings
from pathlib import Path

from wfr_pde.errors import DiskSpaceWarning

NO_SPACE = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)  # errors that say that a disk, a file or a quota is full


def free_bytes(path: str | Path) -> int | None:
    """Return the bytes that are free where a file or folder is, or will be; None if the system does not tell."""
    place = Path(path).absolute()
    for folder in (place, *place.parents):
        if folder.exists():
            with contextlib.suppress(OSError):
                return shutil.disk_usage(folder).free
            return None
    return None


def size_text(size: int) -> str:
    """Write a number of bytes in KiB, MiB or GiB."""
    if size >= 2**30:
        return f"{size / 2**30:.3g} GiB"
    return f"{size / 2**20:.3g} MiB" if size >= 2**20 else f"{size / 2**10:.3g} KiB"


def warn_of_space(path: str | Path, needed: int, enough: int = 0) -> None:
    """Warn if more bytes will be written than are free there, unless `enough` of them are not free either."""
    free = free_bytes(path)
    if free is not None and enough <= free < needed:
        warnings.warn(
            f"{path} needs about {size_text(needed)}, but {size_text(free)} are free on its disk: make space, write to "
            "another disk, or store fewer times; if the disk fills up, the run stops, and goes on when there is space",
            DiskSpaceWarning,
            stacklevel=3,
        )


def note_of_space(path: Path, size: int | None, number: int | None) -> str:
    """Return what is to be said of a file that there was no space for: bytes needed and free, and the remedy."""
    parts = [] if size is None else [f"needed: about {size_text(size)}"]
    free = free_bytes(path.parent)
    if number == errno.EFBIG and (limit := _limit_of_files()) is not None:
        parts.append(f"a file may have {size_text(limit)} at most, see ulimit -f")
    elif free is not None:
        parts.append(f"free: {size_text(free)}")
    return f"({'; '.join([*parts, 'nothing half-written is left: make space, or write to another disk'])})"


def _limit_of_files() -> int | None:
    """Return the largest size of a file that the system lets this process write; None if there is no limit."""
    try:
        import resource
    except ImportError:  # on Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if limit == resource.RLIM_INFINITY else limit
