"""Laws in any dimension: chosen coordinates by their marginals, and radial factors by the density of the radius."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wfr_pde.integrate.product_trajectory import ProductTrajectory
from wfr_pde.numerics.arguments import finite_array, instance, knows_its_arguments, shown, whole
from wfr_pde.plotting.data import limits
from wfr_pde.plotting.densities import draw_contours, draw_curve
from wfr_pde.plotting.samplers import particles_at
from wfr_pde.plotting.style import (
    BLUE,
    COLOURS,
    COLUMN_WIDTH,
    PAGE_WIDTH,
    SKY,
    axes_or_new,
    figure_of,
    new_figure,
    style,
)
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Particles
from wfr_pde.space.product_law import ProductLaw
from wfr_pde.space.radial_law import RadialLaw

FINE = 400  # points of a curve
CELLS = 200  # per axis of the grid that Gaussian and radial factors are drawn on
WIDTHS = 4.5  # standard deviations of a Gaussian on either side of its mean
MOST_PANELS = 4  # coordinates that are shown by default
DOTS = 400  # particles drawn in a panel at most, the heaviest first among equally many
OUTLYING = 1e-3  # share of the particles that may be outside the axes at either end


@knows_its_arguments
def product_marginals(
    truth: xr.DataTree | ProductTrajectory,
    t: float | None = None,
    coordinates: Sequence[int] | None = None,
    runs: xr.Dataset | None = None,
) -> Figure:
    """Draw chosen coordinates of a law in any dimension: each on the diagonal, pairs below; and particles over them.

    Coordinates are those of y = Q'(x - shift), in which the blocks are independent; particles are turned to them.

    Parameters
    ----------
    truth : DataTree or ProductTrajectory
        As `ground_truth` returns it of a target that splits.
    t : float, optional
        A time of the run; the last by default.
    coordinates : sequence of int, optional
        Numbers of coordinates of y; by default the first of every factor that differs, then others, up to four.
    runs : Dataset, optional
        One run of particles, with a frame at that time.

    Returns
    -------
    matplotlib.figure.Figure
        A new one.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, as a time outside of the run.

    Examples
    --------
    Two coordinates of a Gaussian in ten dimensions, with the panel above the diagonal hidden:

    >>> import json
    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> import xarray as xr
    >>> rest = {"mean": (("t", "i"), np.zeros((2, 10))), "error_l1": ("t", np.zeros(2)),
    ...         "covariance": (("t", "i", "j"), np.tile(np.eye(10), (2, 1, 1)))}
    >>> tree = xr.DataTree.from_dict({"factor_0": xr.Dataset(rest, {"t": [0.0, 1.0]})})
    >>> tree.attrs["factors"] = json.dumps([{"node": "factor_0", "kind": "gaussian", "ndim": 10}])
    >>> figure = wfr.plotting.product_marginals(tree, coordinates=[0, 7])
    >>> [axes.get_visible() for axes in figure.axes]
    [True, False, True, True]
    """
    path = _path(truth)
    time = float(path.times[-1]) if t is None else t
    law = path.at(time)
    numbers = _first_coordinates(law) if coordinates is None else _numbers(coordinates, law.ndim)
    now = None if runs is None else particles_at(runs, time)[0]
    if now is not None and now.ndim != law.ndim:
        raise ValueError(f"the particles are {now.ndim}-dimensional, but the truth is {law.ndim}-dimensional")
    points = None if now is None else law.inner(now.positions)
    many = len(numbers) > 2
    with style():
        figure = new_figure(*((PAGE_WIDTH, 0.85 * PAGE_WIDTH) if many else (COLUMN_WIDTH, 0.9 * COLUMN_WIDTH)))
        layout: Any = figure.get_layout_engine()
        layout.set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
        panels: Any = figure.subplots(len(numbers), len(numbers), sharex="col", squeeze=False)
        ranges = [_range(law, k, points) for k in numbers]
        for i, j in np.ndindex(panels.shape):
            ax = panels[i, j]
            if j > i:
                ax.set_visible(False)
            elif i == j:
                _diagonal(ax, _frame(law, [numbers[i]]), points, now, numbers[i])
            else:
                _pair(ax, law, (numbers[j], numbers[i]), points, now)
                ax.set_ylim(*ranges[i])
            if j <= i:
                ax.set_xlim(*ranges[j])
                ax.set(
                    xlabel=_name(numbers[j]) if i == len(numbers) - 1 else "",
                    ylabel=_name(numbers[i]) if j == 0 < i else "",
                )
                ax.tick_params(labelbottom=i == len(numbers) - 1, labelleft=j == 0 < i)
        panels[0, 0].set_title(f"t = {time:.3g}", loc="left", fontweight="normal")
        figure.align_ylabels(panels[1:, 0])
        if now is not None:
            figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="upper right")
    return figure


@knows_its_arguments
def radial_profile(
    truth: xr.DataTree | ProductTrajectory,
    t: Sequence[float] | float | None = None,
    factor: int | None = None,
    runs: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw the density of the distance r from the centre of a radial factor, at some times.

    Parameters
    ----------
    truth : DataTree or ProductTrajectory
        As `ground_truth` returns it.
    t : float or sequence of float, optional
        Times of the run; by default the first, one in the middle and the last.
    factor : int, optional
        Number of the factor; by default the first that is radial.
    runs : Dataset, optional
        One run of particles: its distances at the last of the times are drawn as bars.
    ax : matplotlib Axes, optional
        Where to draw; by default in a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        That of `ax`, or a new one.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or no factor is radial.

    Examples
    --------
    A Gaussian in R^5 that widens, three curves:

    >>> import json
    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> import xarray as xr
    >>> target, start = wfr.Radial("x**2/2", 5), wfr.Radial("x**2", 5)
    >>> line = wfr.ground_truth(target.radius, start.radius, [0, 0.1, 0.2], rtol=1e-3, box=([0], [9]))
    >>> tree = xr.DataTree.from_dict({"factor_0": line})
    >>> tree.attrs["factors"] = json.dumps([{"node": "factor_0", "kind": "radial", "ndim": 5}])
    >>> figure = wfr.plotting.radial_profile(tree)
    >>> len(figure.axes[0].lines)
    3
    """
    path = _path(truth)
    times = _three(path.times).tolist() if t is None else finite_array("t", t).ravel().tolist()
    if not times:
        raise ValueError(f"t must be one time or several, got {shown(t)}")
    laws = [path.at(time) for time in times]
    radial = [k for k, one in enumerate(laws[0].factors) if isinstance(one, RadialLaw)]
    number = radial[0] if factor is None and radial else factor
    number = whole("factor", number, 0, "the number of a radial factor") if radial else None
    if number not in radial:
        raise ValueError(f"factor must be the number of a radial factor, which are {radial}, got {factor}")
    block = laws[0].blocks[number]
    with style():
        ax = axes_or_new(ax)
        if runs is not None:
            now = particles_at(runs, times[-1])[0]
            radii = np.linalg.norm(laws[-1].inner(now.positions)[:, block], axis=1)
            _bars(ax, radii, now.weights)
        ends = []
        for colour, time, law in zip(COLOURS, times, laws, strict=False):
            density = law.factors[number].density  # type: ignore[union-attr]
            frame = _as_frame(density, ["r"])
            low, high = limits([frame], "r")
            r = np.linspace(max(low, float(density.grid.axes[0].edges[0])), high, FINE)
            ax.plot(r, np.exp(density.log_prob(r[:, None])), color=colour, label=f"t = {time:.3g}", linewidth=1)
            ends.append(frame)
        lows, highs = (np.array([limits([frame], "r") for frame in ends])[:, k] for k in (0, 1))
        ax.set(xlim=(max(0.0, float(lows.min())), float(highs.max())), xlabel="r", ylabel="density of r")
        ax.set_ylim(bottom=0)
        ax.set_title(f"radius in {block.stop - block.start} dimensions", loc="left", fontweight="normal")
        ax.grid(False)
        ax.legend()
    return figure_of(ax)


def _path(truth: Any) -> ProductTrajectory:
    """Return the trajectory of a tree."""
    instance("truth", truth, (xr.DataTree, ProductTrajectory), "as ground_truth returns it of a target that splits")
    return truth if isinstance(truth, ProductTrajectory) else ProductTrajectory(truth)


def _numbers(coordinates: Any, ndim: int) -> list[int]:
    """Return the numbers of the coordinates that are to be shown, each once."""
    given = finite_array("coordinates", coordinates)
    if given.ndim > 1 or given.size == 0 or len(np.unique(given)) < given.size:
        raise ValueError(
            f"coordinates must be different numbers of coordinates, such as [0, 1], got {shown(coordinates)}"
        )
    meaning = f"the number of a coordinate, of which there are {ndim}"
    return [whole("coordinates", k, 0, meaning, most=ndim - 1) for k in np.atleast_1d(given).tolist()]


def _three(times: np.ndarray) -> np.ndarray:
    """Return the first time, one in the middle, and the last."""
    return times[sorted({0, len(times) // 2, len(times) - 1})]


def _first_coordinates(law: ProductLaw) -> list[int]:
    """Return the first coordinates of the factors that differ, then others."""
    seen: dict[int, int] = {}
    for factor, block in zip(law.factors, law.blocks, strict=True):
        seen.setdefault(id(factor), block.start)
    chosen = list(seen.values())[:MOST_PANELS]
    rest = [k for k in range(law.ndim) if k not in chosen]
    return sorted(chosen + rest[: max(0, min(MOST_PANELS, law.ndim) - len(chosen))])


def _name(k: int) -> str:
    return f"$y_{{{k}}}$"


def _as_frame(density: Density, names: Sequence[str]) -> xr.DataArray:
    """Return a log-density with the coordinates of its cells and their widths."""
    axes = density.grid.axes
    coords: dict[str, Any] = {name: axis.centres for name, axis in zip(names, axes, strict=True)}
    coords |= {f"cell_width_{name}": (name, axis.widths) for name, axis in zip(names, axes, strict=True)}
    return xr.DataArray(np.asarray(density.log_values), dims=list(names), coords=coords)


def _frame(law: ProductLaw, numbers: Sequence[int]) -> xr.DataArray:
    """Return the log-density of one coordinate, or of two of one factor."""
    names = [f"y{k}" for k in numbers]
    factor, place = law.place(numbers[0])
    places = [place, *(law.place(k)[1] for k in numbers[1:])]
    if isinstance(factor, Density):
        return _as_frame(factor if factor.ndim == len(numbers) else factor.marginal(tuple(places)), names)
    if isinstance(factor, RadialLaw):
        return _shadow(factor, names)
    axes = [factor.mean[j] + WIDTHS * np.sqrt(factor.covariance[j, j]) * np.linspace(-1, 1, CELLS + 1) for j in places]
    apart = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) - factor.mean[places]
    own = factor.covariance[np.ix_(places, places)]
    logs = -0.5 * np.einsum("...i,ij,...j->...", apart, np.linalg.inv(own), apart)
    logs -= 0.5 * np.linalg.slogdet(2 * np.pi * own)[1]
    return xr.DataArray(logs, dims=names, coords=dict(zip(names, axes, strict=True)))


def _shadow(factor: RadialLaw, names: Sequence[str]) -> xr.DataArray:
    """Return the log-density of one or two coordinates of a radial law."""
    if len(names) == 1:
        return _as_frame(factor.coordinate, names)
    edge = float(factor.coordinate.grid.axes[0].edges[-1])
    reach = min(float(factor.density.grid.axes[0].edges[-1]), np.sqrt(2) * edge)
    s = np.linspace(0, reach * (1 - 1e-9), CELLS + 1)
    along = np.linspace(-edge, edge, CELLS + 1)
    r = np.hypot(along[:, None], along)
    logs = np.interp(r, s, factor.log_shadow(s, 2), right=-np.inf)
    return xr.DataArray(np.maximum(logs, logs.max() - 700), dims=names, coords=dict.fromkeys(names, along))


def _range(law: ProductLaw, k: int, points: np.ndarray | None) -> tuple[float, float]:
    """Return the limits of an axis, which show the density and all but a few particles."""
    low, high = limits([_frame(law, [k])], f"y{k}")
    if points is not None:
        first, last = np.quantile(points[:, k], [OUTLYING, 1 - OUTLYING])
        low, high = min(low, float(first)), max(high, float(last))
    return low, high


def _diagonal(ax: Axes, frame: xr.DataArray, points: Any, now: Particles | None, k: int) -> None:
    """Draw one coordinate: bars of the particles, and the curve."""
    if now is not None:
        _bars(ax, points[:, k], now.weights)
    if now is None:
        draw_curve(ax, frame, None)
    else:
        ax.plot(frame[frame.dims[0]], np.exp(frame), color=BLUE, linestyle="-", linewidth=1, label="density")
        ax.grid(False)
    top = max([float(np.exp(frame.max())), *(float(patch.get_data().values.max()) for patch in ax.patches)])  # type: ignore[attr-defined]
    ax.set(yticks=[], ylim=(0, 1.1 * top))
    ax.spines["left"].set_visible(False)


def _bars(ax: Axes, values: np.ndarray, weights: np.ndarray) -> None:
    """Draw weights of particles as bars."""
    count = int(np.clip(2.5 * (1 / np.sum(weights**2)) ** (1 / 3), 8, 60))
    low, high = np.quantile(values, [OUTLYING, 1 - OUTLYING])
    heights, edges = np.histogram(values, count, (float(low), float(high)), weights=weights)
    ax.stairs(heights / np.diff(edges), edges, fill=True, color="0.78", label="particles")


def _pair(ax: Axes, law: ProductLaw, pair: tuple[int, int], points: Any, now: Particles | None) -> None:
    """Draw two coordinates: contours of the density, and particles as dots."""
    blocks = [next(i for i, block in enumerate(law.blocks) if k < block.stop) for k in pair]
    if blocks[0] == blocks[1]:
        frame = _frame(law, pair)
    else:
        one, other = (_frame(law, [k]) for k in pair)
        frame = one + other
        frame = frame.transpose(*(f"y{k}" for k in pair))
    draw_contours(ax, frame, colour=BLUE if now is None else SKY)
    ax.set(aspect="auto", xlabel="", ylabel="")
    if now is None:
        return
    heavy = np.argsort(-now.weights, kind="stable")[:DOTS]
    shown = now.weights[heavy]
    shown = shown / shown.max()
    x, y = points[heavy][:, list(pair)].T
    ax.scatter(x, y, s=4 * shown, color="black", alpha=0.6, linewidths=0, zorder=3)
