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

COLUMN_WIDTH = 3.4  # inches: one of two columns of a page, as journals have them
PAGE_WIDTH = 7.0  # inches: both columns

# Colours of Okabe and Ito (2008), for every kind of colour vision, from dark to light in grey; as that alone does
# not tell neighbours apart in print, dashes go with them.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
# colours of curves, in order: black first, as most figures have one curve
COLOURS = ("#000000", BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
# dashes of curves, in order, as many as colours
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 0.7)), (0, (7, 2)))
MARKERS = ("o", "s", "^", "v", "D", "P", "X")  # marks of points, in order, as many as colours
GREY = "0.45"  # grey of what is drawn for comparison: floors, whiskers, lines of whole orders

# settings of matplotlib: sizes in points that can be read at the width of a column
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

NOTEBOOK_DPI = 150  # pixels per inch of figures in notebooks: 510 across a column
LARGEST = 500  # largest width or height in inches: larger ones are mistakes in the unit, and fill the memory
# names of Greek letters in labels, and the letters
SYMBOLS = {"alpha": "α", "beta": "β", "lambda": "λ", "mu": "μ", "pi": "π"}


def style() -> AbstractContextManager[None]:
    """Return the style sheet, for a ``with`` block: paper widths, colours safe for every kind of colour vision.

    Returns
    -------
    context manager

    Examples
    --------
    >>> import matplotlib
    >>> import wfr_pde as wfr
    >>> with wfr.plotting.style():
    ...     matplotlib.rcParams["font.size"]
    8.0
    """
    parameters: Any = STYLE
    return matplotlib.rc_context(parameters)


class NotebookFigure(Figure):
    """Figure that notebooks show by themselves, also without ``%matplotlib inline``."""

    def _repr_png_(self) -> bytes:
        """Return the picture as PNG, which notebooks show."""
        stream = io.BytesIO()
        self.savefig(stream, format="png", dpi=NOTEBOOK_DPI)
        return stream.getvalue()


@knows_its_arguments
def new_figure(width: float = COLUMN_WIDTH, height: float | None = None) -> Figure:
    """Make an empty figure of a size in inches, laid out so that nothing overlaps.

    Parameters
    ----------
    width : float
        A column of a page by default.
    height : float, optional
        0.72 widths by default.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a length is not positive or above 500 inches.

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> wfr.plotting.new_figure(wfr.plotting.PAGE_WIDTH, 2.5).get_size_inches().tolist()
    [7.0, 2.5]
    """
    width = positive("width", width, "in inches")
    height = None if height is None else positive("height", height, "in inches")
    if max(width, height or 0) > LARGEST:
        raise ValueError(f"width and height must be at most {LARGEST} inches, got width={width} and height={height}")
    return NotebookFigure(figsize=(width, 0.72 * width if height is None else height), layout="constrained")


@knows_its_arguments
def label(variable: xr.DataArray) -> str:
    """Return the axis label of a variable: its `long_name`, or name, and its `units` unless they are "1".

    Parameters
    ----------
    variable : DataArray
        Names of Greek letters in its `long_name` are written as letters.

    Returns
    -------
    str

    Raises
    ------
    TypeError
        If it is no DataArray.

    Examples
    --------
    >>> import xarray as xr
    >>> import wfr_pde as wfr
    >>> wfr.plotting.label(xr.DataArray([0.0], dims="t", attrs={"long_name": "KL(mu|pi)", "units": "nats"}))
    'KL(μ|π) (nats)'
    """
    instance("variable", variable, xr.DataArray, "such as ds['kl']")
    words = str(variable.attrs.get("long_name", variable.name or ""))
    words = re.sub(rf"\b({'|'.join(SYMBOLS)})\b", lambda found: SYMBOLS[found[0]], words)
    units = str(variable.attrs.get("units", "1"))
    return words if units in ("1", "") else f"{words} ({units})"


def density_label(axes: Sequence[xr.DataArray]) -> str:
    """Return the axis label of a density over some coordinates, in their units."""
    units = [unit for unit in (str(axis.attrs.get("units", "1")) for axis in axes) if unit not in ("1", "")]
    return f"density (per {', '.join(units)})" if units else "density"


def axes_or_new(ax: Axes | None) -> Axes:
    """Return the axes that were given, or those of a new figure."""
    return new_figure().subplots() if ax is None else instance("ax", ax, Axes, "of matplotlib")


def figure_of(ax: Axes) -> Figure:
    """Return the figure that axes belong to."""
    return ax.figure.figure  # through a sub-figure, if it is in one


def colour_map(dark: str) -> LinearSegmentedColormap:
    """Make a colour map from white to a colour, then somewhat darker: even steps in grey too."""
    red, green, blue = to_rgb(dark)
    return LinearSegmentedColormap.from_list(
        "shades", [(1, 1, 1), (red, green, blue), (0.55 * red, 0.55 * green, 0.55 * blue)]
    )
