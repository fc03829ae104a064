"""A small picture of a density as SVG, for notebooks; without a library for figures."""

from __future__ import annotations

import html
import itertools
from typing import TYPE_CHECKING

import numpy as np

from wfr_pde.numerics.typing import Array

if TYPE_CHECKING:
    from wfr_pde.space.density import Density

WIDTH, HEIGHT = 240, 140  # pixels
POINTS = 120  # of a curve
BLOCKS = 40  # along an axis of the plane
SHADES = 8  # of a block, from empty to full: more look the same at this size
COLOUR = "#0072B2"


def page_of(density: Density) -> str:
    """Return the picture of a density above its repr as HTML: a curve, or the plane of the first two coordinates."""
    shown = density if density.ndim < 3 else density.marginal((0, 1))
    values = np.exp(shown.grid.reductions.whole(shown.log_values))
    drawn = _curve(values) if shown.ndim == 1 else _shades(values)
    names = " and ".join(shown.grid.names)
    return (
        f'<div><svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="density over {html.escape(names)}">{drawn}</svg><br>'
        f"<code>{html.escape(repr(density))}</code></div>"
    )


def _thinned(n: int, most: int) -> Array:
    """Return the numbers of at most `most` cells out of `n`, evenly spaced."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(int)


def _curve(values: Array) -> str:
    """Draw the density as a filled curve."""
    cells = _thinned(len(values), POINTS)
    x = WIDTH * (cells + 0.5) / len(values)
    y = HEIGHT - 0.95 * HEIGHT * values[cells] / values.max()
    places = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    area = f"{x[0]:.1f},{HEIGHT} {places} {x[-1]:.1f},{HEIGHT}"
    return (
        f'<polygon points="{area}" fill="{COLOUR}" fill-opacity="0.25"/>'
        f'<polyline points="{places}" fill="none" stroke="{COLOUR}" stroke-width="1.5"/>'
    )


def _shades(values: Array) -> str:
    """Draw the density in the plane by shades, the first coordinate to the right, the second upwards."""
    coarse = values[np.ix_(*(_thinned(n, BLOCKS) for n in values.shape))].T[::-1]
    shade = np.ceil(SHADES * coarse / coarse.max() - 0.5).astype(int)
    rows, columns = shade.shape
    high, wide = HEIGHT / rows, WIDTH / columns
    rectangles = []
    for i, row in enumerate(shade):
        ends = np.flatnonzero(np.diff(row, prepend=-1, append=-1))  # cells of one shade are one rectangle
        for begin, end in itertools.pairwise(ends):
            if row[begin] > 0:
                rectangles.append(
                    f'<rect x="{begin * wide:.1f}" y="{i * high:.1f}" width="{(end - begin) * wide:.1f}" '
                    f'height="{high:.1f}" fill-opacity="{row[begin] / SHADES:.2f}"/>'
                )
    return f'<g fill="{COLOUR}">{"".join(rectangles)}</g>'
