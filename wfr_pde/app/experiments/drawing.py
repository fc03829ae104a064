"""The figure of an experiment as it is stored: with letters of its panels, a mark of quick runs, and a caption."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfr_pde.app.experiments import figure_data
from wfr_pde.storage import files

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from wfr_pde.app.experiments.experiment import Experiment

QUICK = "quick run: small sizes, not the numbers of the full one"  # what is written below the figure of a quick run
STRIP = 0.17  # inches below a figure for these words: one line of the smallest font


def drawn_figure(experiment: Experiment, data: xr.Dataset) -> Figure:
    """Draw the figure of an experiment, and put letters on its panels.

    Raises
    ------
    TypeError
        If its `figure` returns something else.
    """
    from matplotlib.figure import Figure

    from wfr_pde.plotting.panels import panel_letters

    figure = experiment.figure(data)
    if not isinstance(figure, Figure):
        raise TypeError(f"figure of {experiment.name} must return a matplotlib Figure, got {type(figure).__name__}")
    return panel_letters(figure)


def caption_of(experiment: Experiment, figure: Figure, is_quick: bool) -> str:
    """Write the caption of a figure: what the experiment claims, its panels, and whether it is a quick run."""
    from wfr_pde.plotting.panels import panels_of, title_of

    titles = [" ".join(title_of(ax)[1].split()) for ax in panels_of(figure)]
    lettered = [title for title in titles if re.match(r"\([a-z]\) \S", title)]
    sentences = [
        experiment.description.strip().rstrip("."),
        "; ".join(lettered),
        QUICK.capitalize() if is_quick else "",
    ]
    return " ".join(f"{sentence}." for sentence in sentences if sentence)


def store_figure(experiment: Experiment, data: xr.Dataset, directory: Path, is_quick: bool) -> str:
    """Store the figure as png and pdf, and what was drawn as csv; return its caption, which the files hold too."""
    figure = drawn_figure(experiment, data)
    caption = caption_of(experiment, figure, is_quick)
    look = _marked(figure) if is_quick else {}
    files.write_atomically(
        directory / "figure.png",
        lambda path: figure.savefig(path, dpi=200, metadata={"Description": caption}, **look),
    )
    # without a date the same data make the same bytes
    files.write_atomically(
        directory / "figure.pdf",
        lambda path: figure.savefig(path, metadata={"CreationDate": None, "Subject": caption}, **look),
    )
    files.write_atomically(directory / "figure.csv", lambda path: figure_data.write_csv(figure, path))
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close(figure)  # one made by pyplot would stay in memory
    return caption


def _marked(figure: Figure) -> dict[str, Any]:
    """Write below a figure that it is one of a quick run; return how to save it with the strip that this takes."""
    from matplotlib.transforms import Bbox

    from wfr_pde.plotting import VERMILION

    width, height = figure.get_size_inches()
    mark = figure.text(0.5, -0.5 * STRIP / height, QUICK, ha="center", va="center", fontsize=7, color=VERMILION)
    mark.set_in_layout(False)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # all has its place now
    for legend in figure.legends:  # else they would go down to the end of the strip
        legend.set_bbox_to_anchor((0, 0, 1, 1), transform=figure.transFigure)
    return {"bbox_inches": Bbox([[0, -STRIP], [width, height]])}
