"""Movies of densities over time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from wfr_pde.errors import BackendError
from wfr_pde.numerics.arguments import knows_its_arguments, positive, shown
from wfr_pde.numerics.arguments import path as checked_path
from wfr_pde.plotting.data import Goal, limits, nearest, space_of, target_on, time_of, with_cells
from wfr_pde.plotting.densities import HEADROOM, draw_contours, draw_curve, legend_above
from wfr_pde.plotting.style import COLUMN_WIDTH, density_label, label, new_figure, style
from wfr_pde.storage.files import write_atomically
from wfr_pde.targets.base import Target

Draw = Callable[[int], None]
# bounds of frames per second, and of pixels per inch: values outside are taken for mistakes
SLOWEST, FASTEST, COARSEST, FINEST = 1e-3, 1000, 10, 2400
TONES, NEARLY_WHITE = 64, 247  # of the palette of a gif


@knows_its_arguments
def movie(
    ds: xr.Dataset | xr.DataArray,
    path: str | Path,
    target: Goal = None,
    t: ArrayLike | None = None,
    *,
    fps: float = 12,
    dpi: float = 200,
) -> Path:
    """Write a movie of a density in one or two dimensions over time, a frame per stored time.

    A curve, or contours as `density_contours` draws them, with the target, the time and axes that stay. The file is
    whole or not there.

    Parameters
    ----------
    ds : Dataset or DataArray
        With `log_density` (t, x) or (t, x, y), or that variable. Of more dimensions `marginal` leaves two.
    path : str or Path
        Ends in .gif or .mp4, which needs ffmpeg. Without an ending: mp4 where ffmpeg is found, else gif.
    target : Target, or DataArray of its log-density, optional
        One that moves is drawn as it is at the time.
    t : array, optional
        The nearest stored times are shown, in this order; by default all.
    fps : float
        Frames per second.
    dpi : float
        Pixels per inch; the picture is 3.4 inches wide.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    ValueError
        If the density has no times or more than two dimensions, or the path another ending.
    BackendError
        If ffmpeg is not found for an mp4.

    Examples
    --------
    Of three stored times three frames are made:

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> grid = wfr.Grid.covering(target, start, shape=32)
    >>> ds = wfr.solve(target, wfr.FisherRao(), grid.density(start), t=[0, 0.5, 1], dt=0.5)
    >>> with TemporaryDirectory() as directory:
    ...     with Image.open(wfr.plotting.movie(ds, Path(directory, "flow.gif"), dpi=50)) as picture:
    ...         print(picture.n_frames)
    3
    """
    fps, dpi = positive("fps", fps, "the frames per second"), positive("dpi", dpi, "the pixels per inch")
    if not SLOWEST <= fps <= FASTEST or not COARSEST <= dpi <= FINEST:
        raise ValueError(
            f"fps must be between {SLOWEST:g} and {FASTEST} and dpi between {COARSEST} and {FINEST}, got fps={fps:g} "
            f"and dpi={dpi:g}"
        )
    path, write = _writer(checked_path("path", path))
    log_density = with_cells(ds)
    time, space = time_of(log_density), space_of(log_density)
    if time is None or len(space) not in (1, 2):
        raise ValueError(
            f"log_density has the dimensions {log_density.dims}, but a movie is of one or two dimensions of space over "
            "t: choose others by plotting.marginal(ds, axes), and keep the times"
        )
    log_density = log_density.transpose(time, *space)
    if t is not None:
        log_density = log_density.isel({time: nearest("t", t, log_density[time].values)})
    with style():
        figure, draw = (_curve if len(space) == 1 else _contours)(log_density, target)
        return write_atomically(
            path, lambda temporary: write(temporary, figure, draw, log_density.sizes[time], fps, dpi)
        )


def _writer(path: Path) -> tuple[Path, Callable[..., None]]:
    """Return the path with an ending, and the function that writes such a file."""
    from matplotlib.animation import FFMpegWriter

    found = FFMpegWriter.isAvailable()
    ending = path.suffix.lower() or (".mp4" if found else ".gif")
    if ending not in (".gif", ".mp4"):
        raise ValueError(f"the path of a movie ends in .gif or .mp4, got {shown(path.name)}")
    if ending == ".mp4" and not found:
        raise BackendError(
            f"{path.name} needs ffmpeg, which is not found: install it, set "
            'matplotlib.rcParams["animation.ffmpeg_path"] to where it is, or write a .gif'
        )
    return path if path.suffix else path.with_name(path.name + ending), _write_gif if ending == ".gif" else _write_mp4


def _write_mp4(path: Path, figure: Figure, draw: Draw, count: int, fps: float, dpi: float) -> None:
    from matplotlib.animation import FFMpegWriter

    make: Any = FFMpegWriter
    writer = make(fps=fps, codec="h264", extra_args=["-pix_fmt", "yuv420p", "-crf", "18"])
    with writer.saving(figure, str(path), dpi):
        for k in range(count):
            draw(k)
            writer.grab_frame()


def _write_gif(path: Path, figure: Figure, draw: Draw, count: int, fps: float, dpi: float) -> None:
    """Write all frames in one palette, of the first, a middle and the last: what stays the same does not flicker."""
    from PIL import Image

    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)

    def picture(k: int) -> Any:
        draw(k)
        canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())

    samples = np.concatenate([np.asarray(picture(k)) for k in sorted({0, count // 2, count - 1})])
    palette = Image.fromarray(samples).quantize(TONES, dither=Image.Dither.NONE)
    colours = np.array(palette.getpalette()).reshape(-1, 3)
    colours[colours.min(axis=1) > NEARLY_WHITE] = 255  # the paper stays white
    palette.putpalette(colours.ravel().tolist())

    def frames(numbers: range) -> Iterator[Any]:
        for k in numbers:
            yield picture(k).quantize(palette=palette, dither=Image.Dither.NONE)

    first, *_ = frames(range(1))
    first.save(path, save_all=True, append_images=frames(range(1, count)), duration=round(1000 / fps), loop=0)


def _curve(log_density: xr.DataArray, target: Goal) -> tuple[Figure, Draw]:
    """Make a figure of a curve, and the function that draws it at one of the times."""
    goals, times = _goals(log_density, target), _time_texts(log_density)
    name = space_of(log_density)[0]
    parts = [part for part in (log_density, goals(0), goals(-1)) if part is not None]
    window, top = limits(parts, name), HEADROOM * max(float(np.exp(part.max())) for part in parts)
    figure = new_figure(COLUMN_WIDTH)
    ax = figure.subplots()

    def draw(k: int) -> None:
        ax.clear()
        draw_curve(ax, log_density[k], goals(k))
        ax.set(xlabel=label(log_density[name]), ylabel=density_label([log_density[name]]), xlim=window, ylim=(0, top))
        legend_above(ax, times[k], target is not None)

    return _laid_out(figure, draw)


def _contours(log_density: xr.DataArray, target: Goal) -> tuple[Figure, Draw]:
    """Make a figure of contours, and the function that draws them at one of the times."""
    goals, times = _goals(log_density, target), _time_texts(log_density)
    parts = [log_density, goals(0), goals(-1)]
    x, y = (limits(parts, name) for name in space_of(log_density))
    aspect = float(np.clip((y[1] - y[0]) / (x[1] - x[0]), 0.4, 1.4))
    figure = new_figure(COLUMN_WIDTH, 0.5 + aspect * (COLUMN_WIDTH - 0.6))
    ax = figure.subplots()

    def draw(k: int) -> None:
        ax.clear()
        draw_contours(ax, log_density[k], goals(k))
        ax.set(xlim=x, ylim=y)
        ax.set_title(times[k], loc="left", fontweight="normal")

    return _laid_out(figure, draw)


def _laid_out(figure: Figure, draw: Draw) -> tuple[Figure, Draw]:
    """Draw the first frame, and keep the axes where it has them."""
    draw(0)
    FigureCanvasAgg(figure).draw()
    figure.set_layout_engine("none")
    return figure, draw


def _goals(log_density: xr.DataArray, target: Goal) -> Callable[[int], xr.DataArray | None]:
    """Return a function from the number of a frame to the target on the cells, evaluated once unless it moves."""
    if isinstance(target, Target) and target.moving:
        return lambda k: target_on(log_density[k], target)
    fixed = target_on(log_density[0], target)
    return lambda k: fixed


def _time_texts(log_density: xr.DataArray) -> list[str]:
    """Write the time of every frame, with as many digits as tell them apart."""
    time = log_density[log_density.dims[0]]
    values = time.values.astype(float)
    gaps = np.diff(np.unique(values))
    digits = 0 if not gaps.size else int(np.clip(np.ceil(-np.log10(gaps.min()) - 1e-9), 0, 6))
    units = str(time.attrs.get("units", "1"))
    return [f"t = {value:.{digits}f}{'' if units in ('1', '') else ' ' + units}" for value in values]
