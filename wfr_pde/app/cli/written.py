"""The files that a command writes: refused before anything is computed, where they cannot be written."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def netcdf_path(text: str) -> Path:
    """Return the file that `-o` names, a NetCDF one."""
    if Path(text).suffix != ".nc":
        raise ValueError(f"-o must name a NetCDF file that ends in .nc, got {text!r}")
    return Path(text)


def page_path(option: str, text: str) -> Path:
    """Return the HTML page that an option names."""
    if not text.endswith((".html", ".htm")):
        raise ValueError(f"{option} must name a page that ends in .html, got {text!r}")
    return Path(text)


def figure_path(option: str, text: str) -> Path:
    """Return the picture that an option names, of a kind that matplotlib draws."""
    from matplotlib.backend_bases import FigureCanvasBase

    known = FigureCanvasBase.get_supported_filetypes()
    if Path(text).suffix.removeprefix(".").lower() not in known:
        raise ValueError(f"{option} must name a picture that ends in one of .{', .'.join(sorted(known))}, got {text!r}")
    return Path(text)


def made_sure_of(option: str, path: Path) -> Path:
    """Return the path of a file to write, after its folder has been made and written to.

    Raises
    ------
    ValueError
        If it is a folder, or nothing can be written there.
    """
    if path.is_dir():
        raise ValueError(f"{option} {path} is a directory; give the name of a file in it")
    make_folder(option, path, path.parent)
    return path


def make_folder(option: str, path: Path, folder: Path) -> None:
    """Make the folder that `path` is to be in, and write to it.

    Raises
    ------
    ValueError
        If that fails.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"any")
    except OSError as error:
        raise ValueError(
            f"{option} {path} cannot be written ({error.strerror}: {error.filename or folder}): "
            "give a place in a folder of your own"
        ) from None


def netcdf_to_write(text: str | None) -> Path | None:
    """Return the NetCDF file that `-o` names, made sure of; None where there is none."""
    return None if text is None else made_sure_of("-o", netcdf_path(text))


def figure_to_write(text: str | None) -> Path | None:
    """Return the picture that `--figure` names, made sure of; None where there is none."""
    return None if text is None else made_sure_of("--figure", figure_path("--figure", text))


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all."""
    from wfr_pde.storage import files

    files.write_atomically(path, figure.savefig)
