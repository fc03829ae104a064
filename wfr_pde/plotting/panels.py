"""Panels of a figure: which they are, and their letters."""

from __future__ import annotations

import string
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from wfr_pde.numerics.arguments import instance, knows_its_arguments

COLOUR_BAR = "<colorbar>"  # label that matplotlib gives to axes of colour bars
SAME_ROW = 0.05  # of the height of a figure, within which panels of a row end: labels move them a little
LOCATIONS: tuple[Literal["center", "left", "right"], ...] = ("center", "left", "right")  # of titles


def panels_of(figure: Figure) -> list[Axes]:
    """Return the axes that are seen, row by row from the top, without colour bars, insets, and second scales."""
    seen: list[Axes] = []
    children = {inset for ax in figure.axes for inset in ax.child_axes}
    for ax in figure.axes:
        is_second = any(ax in one.get_shared_x_axes().get_siblings(one) and same_place(ax, one) for one in seen)
        if ax.get_visible() and ax.axison and ax.get_label() != COLOUR_BAR and ax not in children and not is_second:
            seen.append(ax)
    rows: list[float] = []  # heights at which panels end
    for ax in seen:
        if not any(abs(ax.bbox.y1 - top) < SAME_ROW * figure.bbox.height for top in rows):
            rows.append(ax.bbox.y1)
    row_of = {ax: min(rows, key=lambda top, ax=ax: abs(ax.bbox.y1 - top)) for ax in seen}  # type: ignore[misc]
    return sorted(seen, key=lambda ax: (-row_of[ax], ax.bbox.x0))


def same_place(one: Axes, other: Axes) -> bool:
    """Tell whether two axes are cells of one layout at the same place, as those of `twinx` are."""
    specs = one.get_subplotspec(), other.get_subplotspec()
    return specs[0] is not None and specs[0] == specs[1] and one.figure is other.figure


@knows_its_arguments
def panel_letters(figure: Figure) -> Figure:
    """Put (a), (b), ... before the titles of the panels of a figure, row by row.

    A figure of one panel stays as it is. A panel without a title gets its letter at the left, where a title would be,
    in the weight of the first title that there is.

    Parameters
    ----------
    figure : matplotlib Figure
        It is changed in place.

    Returns
    -------
    matplotlib.figure.Figure
        The same.

    Raises
    ------
    TypeError
        If it is none.

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> figure = wfr.plotting.new_figure()
    >>> left, right = figure.subplots(1, 2)
    >>> text = left.set_title("before"), right.set_title("after")
    >>> figure = wfr.plotting.panel_letters(figure)
    >>> left.get_title(), right.get_title()
    ('(a) before', '(b) after')
    """
    panels = panels_of(instance("figure", figure, Figure, "of matplotlib"))
    if not 1 < len(panels) <= len(string.ascii_lowercase):
        return figure
    titled = [(ax, where) for ax in panels for where, words in [title_of(ax)] if words]
    weight = _title_text(*titled[0]).get_fontweight() if titled else None
    for letter, ax in zip(string.ascii_lowercase, panels, strict=False):
        where, words = title_of(ax)
        if weight is not None and not words:
            _title_text(ax, where).set_fontweight(weight)
        if not words.startswith(f"({letter})"):
            _title_text(ax, where).set_text(f"({letter}) {words}".strip())
    return figure


def title_of(ax: Axes) -> tuple[Any, str]:
    """Return the place of the title of a panel, and its words; the left place where there is none."""
    return next(((where, ax.get_title(where)) for where in LOCATIONS if ax.get_title(where)), ("left", ""))


def _title_text(ax: Axes, where: Any) -> Text:
    """Return the artist of a title."""
    return {"center": ax.title, "left": ax._left_title, "right": ax._right_title}[where]  # type: ignore[attr-defined]
