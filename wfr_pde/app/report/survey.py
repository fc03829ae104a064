"""Survey of a folder of results: runs, other files, and what is not looked into."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MARKS = ("run.json", "data.nc", "checkpoint.nc")  # a directory with one of these files is a run


@dataclass(frozen=True)
class LeftOut:
    """Path of something that is not looked into, with the reason."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Survey:
    """Contents of a folder of results, each list sorted.

    Attributes
    ----------
    root : Path
        The folder.
    runs : list of Path
        Directories of runs; what is inside of a run is part of it.
    others : list of Path
        Files that belong to no run.
    left_out : list of LeftOut
        Links that lead out of the folder, or to folders, which may go in circles; what cannot be read.
    """

    root: Path
    runs: list[Path]
    others: list[Path]
    left_out: list[LeftOut]


def survey(root: str | Path) -> Survey:
    """Look through a folder of results, at any depth."""
    root = Path(root)
    found = Survey(root, [], [], [])
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        entries, left_out = visible(directory, root)
        found.left_out.extend(left_out)
        for path in entries:
            if not path.is_dir():
                found.others.append(path)
            elif any((path / mark).exists() or (path / mark).is_symlink() for mark in MARKS):
                found.runs.append(path)
            else:
                waiting.append(path)
    found.runs.sort()
    found.others.sort()
    found.left_out.sort(key=lambda each: each.path)
    return found


def visible(directory: Path, root: Path) -> tuple[list[Path], list[LeftOut]]:
    """List the files and folders of a directory, sorted, without those that are being written, and what is left out."""
    entries: list[Path] = []
    left_out: list[LeftOut] = []
    try:
        listed = sorted(path for path in directory.iterdir() if not path.name.startswith("."))
    except OSError as error:
        return [], [LeftOut(directory, f"it cannot be read: {error.strerror}")]
    for path in listed:
        reason = why_not(path, root)
        if reason:
            left_out.append(LeftOut(path, reason))
        else:
            entries.append(path)
    return entries, left_out


def why_not(path: Path, root: Path) -> str:
    """Say why something in a folder of results is not looked into; empty if it is."""
    try:
        if path.is_symlink():
            target = path.resolve(strict=True)
            if not target.is_relative_to(root.resolve()):
                return "a link that leads out of the folder of results"
            if target.is_dir():
                return "a link to a folder"
        return "" if path.is_file() or path.is_dir() else "neither a file nor a folder"
    except FileNotFoundError:
        return "a link to nothing"
    except (OSError, RuntimeError):  # of which `resolve` raises one or the other, by the version of Python
        return "a link that leads to itself"
