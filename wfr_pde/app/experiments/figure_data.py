"""Numbers that a figure shows, as a table: those of its lines, points, areas, bars, images and contours.

One row per point, with the columns

- `panel`: number of the axes, from 1;
- `kind`: line, points, segments, area, bar, steps, image or contour; and title, x axis and y axis, whose text is in
  `label`;
- `artist`: number of the line (or else) within its panel; `label`: its label in the legend; `part`: number of the
  polygon or segment within it;
- `x`, `y`: where the point is; empty where the figure does not say so in units of the axis, as for the ends of a
  line across all of it;
- `value`: what the colour stands for, or the level of a contour (where it is filled, the middle of two).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("panel", "kind", "artist", "label", "part", "x", "y", "value")  # columns of the table
Piece = tuple[Any, Any, Any]  # x, y, value: arrays of one length, value may be None


def write_csv(figure: Figure, path: str | Path) -> None:
    """Write the table as csv."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows(figure))


def rows(figure: Figure) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of the table, in the order of `COLUMNS`."""
    panels = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    for panel, ax in enumerate(panels, 1):
        for kind, text in (("title", ax.get_title()), ("x axis", ax.get_xlabel()), ("y axis", ax.get_ylabel())):
            if text:
                yield (panel, kind, "", text, "", "", "", "")
        shown = [artist for artist in ax.get_children() if artist.get_visible() and artist is not ax.patch]
        known = [(artist, *found) for artist in shown if (found := _pieces(artist, ax)) is not None]
        for number, (artist, kind, pieces) in enumerate(known, 1):
            label = str(artist.get_label())
            label = "" if label.startswith("_") else label
            for part, piece in enumerate(pieces, 1):
                for x, y, value in zip(*_columns(artist, ax, piece), strict=True):
                    yield (panel, kind, number, label, part, x, y, value)


def _pieces(artist: Artist, ax: Axes) -> tuple[str, list[Piece]] | None:
    """Return the kind of an artist and its parts; None for one that shows no numbers."""
    from matplotlib import collections, contour, image, lines, patches

    match artist:
        case lines.Line2D():
            return "line", [(*artist.get_data(orig=False), None)]
        case contour.ContourSet():
            return "contour", _contours(artist)
        case collections.QuadMesh():
            return "image", [_mesh(artist)]
        case collections.LineCollection():
            return "segments", [(*np.transpose(ends), None) for ends in artist.get_segments() if len(ends)]
        case collections.PathCollection():
            offsets = np.ma.filled(artist.get_offsets(), np.nan)
            return "points", [(offsets[:, 0], offsets[:, 1], artist.get_array())]
        case collections.PolyCollection():
            return "area", [(*np.asarray(path.vertices).T, None) for path in artist.get_paths()]
        case image.AxesImage():
            return None if (found := _image(artist)) is None else ("image", [found])
        case patches.StepPatch():
            values, edges, _ = artist.get_data()
            return "steps", [(edges, np.append(values, np.nan), None)]
        case patches.Rectangle():
            x, y = artist.get_xy()
            return "bar", [((x, x + artist.get_width()), (y, y + artist.get_height()), None)]
    return None


def _contours(artist: Any) -> list[Piece]:
    """Return the polygons of every level; of filled contours with the middle of two levels."""
    return [
        (*polygon.T, np.full(len(polygon), level))
        for level, path in zip(artist.layers, artist.get_paths(), strict=True)
        for polygon in path.to_polygons(closed_only=False)
    ]


def _mesh(artist: Any) -> Piece:
    """Return the centres of the cells of a mesh, or its nodes where these carry the colours."""
    points = np.asarray(artist.get_coordinates())
    values = np.ma.filled(artist.get_array().astype(float), np.nan)
    if values.size != points[..., 0].size:
        points = (points[1:, 1:] + points[1:, :-1] + points[:-1, 1:] + points[:-1, :-1]) / 4
    return points[..., 0].ravel(), points[..., 1].ravel(), values.ravel()


def _image(artist: Any) -> Piece | None:
    """Return centres and values of the pixels; None for one that is given as colours."""
    values = np.ma.filled(artist.get_array().astype(float), np.nan)
    if values.ndim != 2:
        return None
    left, right, bottom, top = artist.get_extent()
    if artist.origin == "upper":
        bottom, top = top, bottom
    (n, m) = values.shape
    x = left + (np.arange(m) + 0.5) * (right - left) / m
    y = bottom + (np.arange(n) + 0.5) * (top - bottom) / n
    return (*(part.ravel() for part in np.meshgrid(x, y)), values.ravel())


def _columns(artist: Any, ax: Axes, piece: Piece) -> tuple[list[str], list[str], list[str]]:
    """Write x, y and value as text; empty where they are not in units of the axes."""
    from matplotlib.collections import PathCollection

    transform = artist.get_offset_transform() if isinstance(artist, PathCollection) else artist.get_transform()
    in_units = transform.contains_branch_seperately(ax.transData)
    x, y = (
        [_text(number) if known else "" for number in np.ma.filled(np.ma.asarray(numbers, float), np.nan)]
        for numbers, known in zip(piece[:2], in_units, strict=True)
    )
    value = [""] * len(x) if piece[2] is None else [_text(number) for number in np.ma.filled(piece[2], np.nan)]
    return x, y, value


def _text(number: float) -> str:
    return "" if np.isnan(number) else f"{number:.10g}"
