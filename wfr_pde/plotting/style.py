"""The style sheet of the figures: widths, colours, labels."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib
import xarray as xr
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

from wfr_pde.numerics.arguments import instance, knows_its_arguments, positive

COLUMN_WIDTH = 3.4  # inches: one of two columns
PAGE_WIDTH = 7.0  # both

# Colours of Okabe and Ito (2008), for every kind of colour vision, from dark to light in grey; as that alone does
# not tell neighbours apart in print, dashes go with them.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
COLOURS = ("#000000", BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 0.7)), (0, (7, 2)))
MARKERS = ("o", "s", "^", "v", "D", "P", "X")
GREY = "0.45"

STYLE: dict[str, Any] = {
    "axes.grid": True,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.prop_cycle": cycler(color=COLOURS, linestyle=DASHES),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "figure.dpi": 150,
    "figure.facecolor": "white",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same picture on every machine
    "font.size": 8,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.5,
    "mathtext.fontset": "dejavusans",
    "pdf.fonttype": 42,
    "xtick.labelsize": 7.5,
    "xtick.major.width": 0.6,
    "ytick.labelsize": 7.5,
    "ytick.major.width": 0.6,
}

NOTEBOOK_DPI = 150
LARGEST = 500  # inches
SYMBOLS = {"alpha": "α", "beta": "β", "lambda": "λ", "mu": "μ", "pi": "π"}


def style() -> AbstractContextManager[None]:
    """The style sheet, for a ``with`` block: paper widths, colours safe for every kind of colour vision."""
    parameters: Any = STYLE
    return matplotlib.rc_context(parameters)


class NotebookFigure(Figure):
    """A figure that notebooks show by themselves, also without ``%matplotlib inline``."""

    def _repr_png_(self) -> bytes:
        """The picture, which notebooks show."""
        stream = io.BytesIO()
        self.savefig(stream, format="png", dpi=NOTEBOOK_DPI)
        return stream.getvalue()


@knows_its_arguments
def new_figure(width: float = COLUMN_WIDTH, height: float | None = None) -> Figure:
    """An empty figure of a size in inches, laid out so that nothing overlaps; the height is 0.72 widths by default."""
    width = positive("width", width, "in inches")
    height = None if height is None else positive("height", height, "in inches")
    if max(width, height or 0) > LARGEST:
        raise ValueError(f"width and height must be at most {LARGEST} inches, got width={width} and height={height}")
    return NotebookFigure(figsize=(width, 0.72 * width if height is None else height), layout="constrained")


@knows_its_arguments
def label(variable: xr.DataArray) -> str:
    """Axis label of a variable: its `long_name`, or name, and its `units` unless they are "1"."""
    instance("variable", variable, xr.DataArray, "such as ds['kl']")
    words = str(variable.attrs.get("long_name", variable.name or ""))
    words = re.sub(rf"\b({'|'.join(SYMBOLS)})\b", lambda found: SYMBOLS[found[0]], words)
    units = str(variable.attrs.get("units", "1"))
    return words if units in ("1", "") else f"{words} ({units})"


def density_label(axes: Sequence[xr.DataArray]) -> str:
    """Axis label of a density over some coordinates, in their units."""
    units = [unit for unit in (str(axis.attrs.get("units", "1")) for axis in axes) if unit not in ("1", "")]
    return f"density (per {', '.join(units)})" if units else "density"


def axes_or_new(ax: Axes | None) -> Axes:
    """The axes that were given, or those of a new figure."""
    return new_figure().subplots() if ax is None else instance("ax", ax, Axes, "of matplotlib")


def figure_of(ax: Axes) -> Figure:
    """The figure that axes belong to."""
    return ax.figure.figure  # through a sub-figure, if it is in one


def colour_map(dark: str) -> LinearSegmentedColormap:
    """White to a colour, then somewhat darker: even steps in grey too."""
    red, green, blue = to_rgb(dark)
    return LinearSegmentedColormap.from_list(
        "shades", [(1, 1, 1), (red, green, blue), (0.55 * red, 0.55 * green, 0.55 * blue)]
    )
