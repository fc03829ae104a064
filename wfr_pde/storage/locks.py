"""A lock on a directory, so that one process writes it at a time."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

# errors of a file system that has no locks, or that can only be read: as a run that is finished
WITHOUT_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.EROFS, errno.EACCES}


@contextlib.contextmanager
def locked(directory: str | Path, wait: bool = False) -> Iterator[None]:
    """Keep other processes from writing a directory, which is made if it is not there.

    The lock (of the operating system, on the file `.lock`) ends with the process, however that ends. Directories on
    file systems without locks are written without one.

    Raises
    ------
    BlockingIOError
        If another process holds it, and `wait` is false.
    """
    from filelock import FileLock, Timeout  # here, as it is slow to import

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / ".lock"
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(blocking=wait)
    except Timeout:
        raise BlockingIOError(
            f"{directory} is being written by another process: wait until it is done, or stop it"
        ) from None
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
    try:
        if lock.is_locked:
            for leftover in directory.glob(".*.tmp*"):  # of a process that was killed while it wrote
                leftover.unlink()
        yield
    finally:
        with contextlib.suppress(PermissionError):  # Windows removes no file that is open
            path.unlink(missing_ok=True)  # while it is held: those who wait for it make another
        lock.release()
