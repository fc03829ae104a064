"""Densities over time, small enough to be part of a page: fewer frames and points, quantised, compressed.

A film holds whole numbers q, of two bytes each; a value is ``low + step * q``, and q = 65535 says that there is none.
Every number is replaced by its difference from what its neighbours to the left, above, and to the left above predict,
all first bytes come before all second ones, and zlib and base64 make text of that.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from wfr_pde import plotting

SLIDERS = ("t", "t_kept", "frame")  # dimensions that a film runs along
# dimensions of Datasets of this package that are no axes of space
NOT_SPACE = (*SLIDERS, "axis", "dim", "level", "mode", "n", "particle", "seed")
LOGARITHM = "log_density"  # what variables that hold logarithms begin with
TARGET = "log_target"  # name of the variable that holds the log-density of the target
FEWEST_CELLS = 24  # of a dimension that is not named x, y, z or w, for it to be an axis of space: fewer are an index
# most frames, by the number of dimensions that are drawn; with the points and series below, 2.5 MB before compression
FRAMES = {1: 61, 2: 33}
POINTS = {1: 321, 2: 97}  # most points along each of them: a curve 321 pixels wide loses nothing
SERIES = {1: 7, 2: 4}  # most curves, and most pictures to choose from
STEPS = {1: 65534, 2: 4095}  # of the quantisation: a curve shows finer ones than a shade
# nats below the highest value that are kept, so that the steps of the quantisation stay fine
DEPTH = {1: 100.0, 2: 40.0}
FILMS = 4  # most films of a run: the page stays small
# colours of the flows in the figures of the experiments; else they are taken in order
COLOURS = {"WFR": 0, "W": 1, "FR": 2}
CONTOURS = (0.99, 0.9, 0.5)  # shares of the target's mass that its lines enclose
ABSENT = 65535  # number that stands for no value: the largest of two bytes


@dataclass(frozen=True, eq=False)
class Film:
    """Variable over time, ready to be drawn.

    Attributes
    ----------
    name : str
        Name of the variable.
    title, caption : str
        What is shown, and what of it.
    frames : tuple of str
        What each frame is of, as "t = 0.5".
    content : dict
        All that the page's script needs, in plain types.
    """

    name: str
    title: str
    caption: str
    frames: tuple[str, ...]
    content: dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Layout:
    """Dimensions of a variable, by what they are for."""

    slider: str
    space: tuple[str, ...]
    others: tuple[str, ...]


def films(ds: xr.Dataset) -> tuple[Film, ...]:
    """Make films of the log-densities of a Dataset, and of what else it holds over `t` and one or two axes of space."""
    found = ((variable, layout) for variable in ds.data_vars.values() if (layout := _layout(ds, variable)))
    ranked = sorted(found, key=lambda pair: not _is_logarithm(pair[0]))
    return tuple(_film(ds, variable, layout) for variable, layout in ranked[:FILMS])


def _is_logarithm(variable: xr.DataArray) -> bool:
    return str(variable.name).startswith(LOGARITHM)


def _layout(ds: xr.Dataset, variable: xr.DataArray) -> _Layout | None:
    """Decide how to film a variable; None if it is no field over time."""
    names = [str(name) for name in variable.dims]
    space = tuple(name for name in names if _is_space(ds, name))
    sliders = [name for name in SLIDERS if name in names]
    drawable = 1 <= len(space) <= 2 or (len(space) > 2 and _is_logarithm(variable))
    if not drawable or not sliders or variable.dtype.kind not in "fiu":
        return None
    if not _is_logarithm(variable) and sliders[0] != "t":
        return None
    others = tuple(name for name in names if name not in space and name != sliders[0])
    return _Layout(sliders[0], space, others)


def _is_space(ds: xr.Dataset, name: str) -> bool:
    """Tell whether a dimension is an axis of space: rising numbers, and many, or a name or widths that say so."""
    if name in NOT_SPACE or name not in ds.coords or ds[name].dtype.kind not in "fiu":
        return False
    values = ds[name].values
    named = name in ("x", "y", "z", "w") or f"cell_width_{name}" in ds.variables
    return (named or len(values) >= FEWEST_CELLS) and len(values) > 2 and bool(np.all(np.diff(values) > 0))


def _film(ds: xr.Dataset, variable: xr.DataArray, layout: _Layout) -> Film:
    """Make the film of a variable, with a caption that says what was left out."""
    is_log, space = _is_logarithm(variable), layout.space
    ndim = min(len(space), 2)
    chosen = _evenly(variable.sizes[layout.slider], FRAMES[ndim])
    ordered = variable.transpose(*layout.others, layout.slider, *space).isel({layout.slider: chosen})
    names = _entries(ds, layout.others)
    values = ordered.values.reshape(len(names), len(chosen), *ordered.shape[-len(space) :])[: SERIES[ndim]]
    values = values.astype(float)
    if len(space) > 2:
        values = _marginal(ds, values, space)
    axes, values = _resampled(ds, values, space[:ndim])
    frames = tuple(_frame_name(ds, layout.slider, k) for k in chosen)
    title = "density" if is_log else plotting.label(variable)
    content = {
        "ndim": ndim, "log": is_log, "title": title, "frames": frames, "axes": axes,
        "series": names[: SERIES[ndim]], "colours": _colours(names[: SERIES[ndim]]),
        "target": _target(ds, space) if is_log else None, **_quantised(values, is_log, ndim),
    }  # fmt: skip
    caption = _caption(variable, layout, (len(names), SERIES[ndim]), len(chosen), DEPTH[ndim] if is_log else 0.0)
    return Film(str(variable.name), title[:1].upper() + title[1:], caption, frames, content)


def _caption(variable: xr.DataArray, layout: _Layout, series: tuple[int, int], n_frames: int, depth: float) -> str:
    """Say where the picture comes from, and what has been left out of it."""
    parts = [f"Drawn from {variable.name} of the data"]
    if len(layout.space) > 2:
        parts.append(f"the marginal of {' and '.join(layout.space[:2])}")
    stored = variable.sizes[layout.slider]
    if n_frames < stored:
        parts.append(f"{n_frames} of {stored} stored frames")
    if series[0] > series[1]:
        parts.append(f"the first {series[1]} of {series[0]} along {' and '.join(layout.others)}")
    if depth and float(variable.max() - variable.min()) > depth:
        parts.append(f"values over {depth:g} nats below the highest are left out")
    return ", ".join(parts) + "."


def _evenly(count: int, limit: int) -> np.ndarray:
    """Return the indices of at most `limit` of `count` entries, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, limit)).round().astype(int))


def _entries(ds: xr.Dataset, names: tuple[str, ...]) -> list[str]:
    """Name the entries along some dimensions, in the order of their values; one empty name without any."""
    entries = [""]
    for name in names:
        values = ds[name].values if name in ds.coords else np.arange(ds.sizes[name])
        own, numbers = [_text(value) for value in values], values.dtype.kind in "fiu"
        own = [f"{name} = {text}" if numbers else text for text in own]
        entries = [", ".join(filter(None, (before, text))) for before in entries for text in own]
    return entries


def _colours(names: list[str]) -> list[int]:
    """Return the indices of the colours of some curves."""
    return [COLOURS[name] for name in names] if set(names) <= set(COLOURS) else list(range(len(names)))


def _frame_name(ds: xr.Dataset, slider: str, k: int) -> str:
    """Say what a frame is of: its time, or all that the Dataset says along the slider alone."""
    own = [slider] if slider in ds.coords else [str(name) for name, v in ds.coords.items() if v.dims == (slider,)]
    parts = []
    for name in sorted(own, key=lambda name: ds[name].dtype.kind in "fiu"):  # names before numbers
        variable, value = ds[name], ds[name].values[k]
        units = str(variable.attrs.get("units", "1"))
        unit = "" if units in ("1", "") else f" ({units})"
        words = "t" if name in ("t", "t_kept", f"{slider}_t") else name
        parts.append(_text(value) if variable.dtype.kind not in "fiu" else f"{words} = {_text(value)}{unit}")
    return ", ".join(parts) or f"{slider} {k}"


def _text(value: Any) -> str:
    return f"{float(value):.4g}" if isinstance(value, np.number) else str(value)


def _marginal(ds: xr.Dataset, values: np.ndarray, space: tuple[str, ...]) -> np.ndarray:
    """Return the log-densities of the first two axes."""
    for name in reversed(space[2:]):
        stored = ds.variables.get(f"cell_width_{name}")
        widths = np.gradient(ds[name].values) if stored is None else stored.values
        values = np.logaddexp.reduce(values + np.log(widths), axis=-1)
    return values


def _resampled(ds: xr.Dataset, values: np.ndarray, space: tuple[str, ...]) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Return the axes as the script takes them, and the values on their points.

    A curve keeps points that are stored; a picture needs equal steps. Pictures are stored with the second axis first,
    as they are drawn.
    """
    axes, ndim = [], len(space)
    for k, name in enumerate(space):
        x, where = ds[name].values.astype(float), k - ndim
        points = np.linspace(x[0], x[-1], min(len(x), POINTS[ndim]))
        if ndim == 1:
            points = x[_evenly(len(x), POINTS[ndim])]
        values = _interpolated(x, values, points, where)
        axes.append({"label": plotting.label(ds[name]), "values": [float(f"{point:.6g}") for point in points]})
    return axes, values if ndim == 1 else np.swapaxes(values, -1, -2)


def _interpolated(x: np.ndarray, values: np.ndarray, points: np.ndarray, axis: int) -> np.ndarray:
    """Interpolate values linearly at other points along an axis."""
    right = np.clip(np.searchsorted(x, points), 1, len(x) - 1)
    shape = [1] * values.ndim
    shape[axis] = len(points)
    share = ((points - x[right - 1]) / (x[right] - x[right - 1])).reshape(shape)
    before, after = values.take(right - 1, axis), values.take(right, axis)
    with np.errstate(invalid="ignore"):  # between two values of -inf
        return np.where(share == 0, before, np.where(share == 1, after, before + share * (after - before)))


def _quantised(values: np.ndarray, is_log: bool, ndim: int) -> dict[str, Any]:
    """Write the values as text, with the numbers that turn it back."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if is_log:
        low = max(low, high - DEPTH[ndim])
    step = (high - low) / STEPS[ndim] or 1.0
    good = np.isfinite(values) & (values >= low)
    numbers = np.where(good, np.rint((np.where(good, values, low) - low) / step), ABSENT).astype(np.uint16)
    return {"shape": list(values.shape), "low": low, "step": step, "data": packed(numbers)}


def packed(numbers: np.ndarray) -> str:
    """Write whole numbers of two bytes as text; the docstring of the module says how."""
    differences = numbers
    for axis in (-1, -2):
        differences = np.diff(differences, axis=axis, prepend=np.uint16(0))  # modulo 65536
    both = np.concatenate([(differences >> 8).ravel(), (differences & 255).ravel()]).astype(np.uint8)
    return base64.b64encode(zlib.compress(both.tobytes(), 9)).decode()


def _target(ds: xr.Dataset, space: tuple[str, ...]) -> list[list[list[float]]] | None:
    """Return the stored target, if any: its density as a line over x, or lines that enclose shares of its mass."""
    if TARGET not in ds or ds[TARGET].dims != space or len(space) > 2:
        return None
    values = ds[TARGET].values.astype(float)
    values = np.maximum(np.nan_to_num(values, nan=-np.inf, neginf=-np.inf), values[np.isfinite(values)].max() - 700)
    cells = np.ones(())
    for name in space:
        cells = cells[..., None] * np.gradient(ds[name].values.astype(float))
    mass = np.exp(values - values.max()) * cells
    if len(space) == 1:
        density = np.exp(values - values.max()) / mass.sum()
        chosen = _evenly(len(density), POINTS[1])
        return [_line(np.column_stack([ds[space[0]].values, density])[chosen])]
    order = np.argsort(values, axis=None)[::-1]
    levels = np.interp(CONTOURS, np.cumsum(mass.ravel()[order]) / mass.sum(), values.ravel()[order])
    x, y = (ds[name].values for name in space)
    return [_line(line) for line in _contours(x, y, values, np.unique(levels))]


def _contours(x: np.ndarray, y: np.ndarray, values: np.ndarray, levels: np.ndarray) -> Iterator[np.ndarray]:
    """Yield lines at some levels of values over (x, y)."""
    for segments in plotting.new_figure().subplots().contour(x, y, values.T, levels).allsegs:
        for segment in segments:
            yield segment[_evenly(len(segment), 200)]


def _line(points: np.ndarray) -> list[list[float]]:
    return [[float(f"{number:.4g}") for number in point] for point in points]
