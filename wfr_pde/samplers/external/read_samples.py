"""Samples from files of any method: NumPy's .npz, NetCDF, or the directory of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.numerics.arguments import knows_its_arguments, real_array
from wfr_pde.numerics.arguments import path as checked_path
from wfr_pde.numerics.counted import counted
from wfr_pde.numerics.typing import Array
from wfr_pde.samplers.external.dataset import particle_dataset
from wfr_pde.space.particles import Particles
from wfr_pde.storage.files import read_dataset, readable
from wfr_pde.storage.run_directory import open_run

if TYPE_CHECKING:
    import xarray as xr

ARRAYS = ("positions", "times", "log_weights", "weights")  # names of arrays of an .npz file that are read
NETCDF = (".nc", ".nc4", ".netcdf", ".h5", ".hdf5")  # endings of files that are read as NetCDF


@knows_its_arguments
def read_samples(path: str | Path) -> xr.Dataset:
    """Read samples of any method from a file, in the Dataset that `solve` gives.

    Parameters
    ----------
    path : path
        An .npz file with the arrays `positions` (n_t, n, d), or (n, d) for one time, or (n_seeds, n_t, n, d);
        `times` (n_t,); and `log_weights` or `weights`, of the shape of `positions` less the last axis, up to a
        constant, equal by default. Or a NetCDF file with `position` (t,
        particle, dim), in front of it perhaps `seed`, and perhaps `log_weight`; or the directory of a run of `solve`.

    Returns
    -------
    xarray.Dataset
        `position` ([seed,] t, particle, dim) and `log_weight` ([seed,] t, particle), normalised. The attribute
        `method` is the file's own, or the name of the file where it has neither that nor `flow`.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it holds something else.

    Examples
    --------
    Three particles at two times, from an .npz file:

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> with TemporaryDirectory() as directory:
    ...     path = Path(directory, "mine.npz")
    ...     np.savez(path, positions=np.zeros((2, 3, 1)), times=[0.0, 1.0])
    ...     ds = wfr.read_samples(path)
    >>> dict(ds.position.sizes), ds.attrs["method"]
    ({'t': 2, 'particle': 3, 'dim': 1}, 'mine')
    """
    path = checked_path("path", path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file at the path {str(path)!r}")
    if path.is_dir():
        return _from_netcdf(open_run(path), path)
    if path.suffix == ".npz":
        return _from_npz(path)
    if path.suffix in NETCDF:
        try:
            ds = read_dataset(path)
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be read as NetCDF: {error}") from error
        return _from_netcdf(ds, path)
    raise ValueError(f"{path} has the ending {path.suffix!r}: samples are read from .npz or NetCDF ({NETCDF[0]})")


def _from_npz(path: Path) -> xr.Dataset:
    """Read samples from an .npz file."""
    arrays = _arrays(path)
    has = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "nothing"
    unknown = sorted(set(arrays) - set(ARRAYS))
    if "positions" not in arrays or unknown:
        cause = f"does not know what {unknown[0]!r} is" if "positions" in arrays else "misses the array 'positions'"
        raise ValueError(f"{path} has {has}, and read_samples {cause}: name the arrays {', '.join(ARRAYS)}")
    positions = arrays["positions"]
    if positions.ndim == 2:
        positions = positions[None]
    if positions.ndim not in (3, 4):
        raise ValueError(
            f"{path} has positions of shape {positions.shape}: they must have shape (n, d), (n_t, n, d) or (n_seeds, "
            "n_t, n, d)"
        )
    times = arrays.get("times")
    if times is None:
        count = positions.shape[-3]
        raise ValueError(
            f"{path} has positions {arrays['positions'].shape} at {counted(count, 'time')}, but no array "
            f"'times': add it, of shape ({count},)"
        )
    log_weights = _log_weights(arrays, path)
    return _checked(path, np.atleast_1d(times), positions, log_weights, {"title": f"samples of {readable(path.name)}"})


def _arrays(path: Path) -> dict[str, Array]:
    """Read the arrays of an .npz file."""
    import zipfile  # here, as it is slow to import

    if not zipfile.is_zipfile(path):
        cause = "it is empty" if path.stat().st_size == 0 else "its content is of another kind, or cut off"
        raise ValueError(f"{path} is no .npz file of numbers ({cause}): write it with numpy.savez")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # whatever a damaged archive makes numpy, zipfile and zlib say
        cause = "it holds objects" if "allow_pickle" in str(error) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} is no .npz file of numbers ({cause}): write it with numpy.savez") from error


def _log_weights(arrays: dict[str, Array], path: Path) -> Array | None:
    """Read the log-weights of an .npz file."""
    if "weights" not in arrays:
        return arrays.get("log_weights")
    if "log_weights" in arrays:
        raise ValueError(f"{path} has both weights and log_weights: leave one out")
    weights = real_array(f"the array weights of {path}", arrays["weights"])
    if not (weights >= 0).all():
        raise ValueError(f"{path} has the weight {weights[~(weights >= 0)][0]}: weights must be >= 0, log_weights any")
    with np.errstate(divide="ignore"):
        return np.log(weights)


def _from_netcdf(ds: xr.Dataset, path: Path) -> xr.Dataset:
    """Take samples from a Dataset of particles, stored as NetCDF."""
    if "position" not in ds:
        raise ValueError(
            f"{path} misses the variable 'position' (t, particle, dim); it has {', '.join(map(str, ds.data_vars))}"
        )
    position = ds["position"]
    time_dim = "t_kept" if "t_kept" in position.dims else "t"
    dims = (*(("seed",) if "seed" in position.dims else ()), time_dim, "particle", "dim")
    if set(position.dims) != set(dims):
        raise ValueError(
            f"{path} has position with the dimensions {position.dims}: they must be ([seed,] t, particle, dim)"
        )
    if time_dim not in ds.coords:
        raise ValueError(f"{path} has no coordinate {time_dim!r} with the times of its {ds.sizes[time_dim]} frames")
    log_weights = None
    if "log_weight" in ds:
        if set(ds["log_weight"].dims) != set(dims[:-1]):
            raise ValueError(
                f"{path} has log_weight with the dimensions {ds['log_weight'].dims}: they must be {dims[:-1]}"
            )
        log_weights = ds["log_weight"].transpose(*dims[:-1]).values
    result = _checked(path, ds[time_dim].values, position.transpose(*dims).values, log_weights, dict(ds.attrs))
    return result.assign_coords(seed=ds["seed"]) if "seed" in ds.coords and "seed" in dims else result


def _checked(path: Path, times: Any, positions: Any, log_weights: Any, attrs: dict[str, Any]) -> xr.Dataset:
    """Return the Dataset with normalised weights, if every frame is one of particles."""
    try:
        times, positions = real_array("times", times), real_array("positions", positions)
        weighted = None if log_weights is None else real_array("log_weights", log_weights)
    except ValueError as error:
        raise ValueError(f"{path} has what are no numbers: {error}") from error
    shape = positions.shape
    if times.shape != shape[-3:-2] or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise ValueError(
            f"{path} has times {np.array2string(times, threshold=6)} of shape {times.shape} for positions of shape "
            f"{shape}: they must be {shape[-3]} finite, increasing times"
        )
    if weighted is not None and weighted.ndim == positions.ndim - 2 and shape[-3] == 1:
        weighted = np.expand_dims(weighted, -2)  # of one time, as positions may be
    if weighted is not None and weighted.shape != shape[:-1]:
        raise ValueError(
            f"{path} has weights of shape {weighted.shape} for positions of shape {shape}: one per particle"
        )
    normalised = np.empty(shape[:-1])
    for index in np.ndindex(*shape[:-2]):
        try:
            particles = Particles(positions[index], None if weighted is None else weighted[index])
        except ValueError as error:
            seed = f" for seed number {index[0]}" if len(index) > 1 else ""
            raise ValueError(f"{path} has at t={times[index[-1]]:g}{seed} what cannot be particles: {error}") from error
        normalised[index] = particles.log_weights
    if not {"method", "flow"} & attrs.keys():
        attrs = {"method": readable(path.stem)} | attrs
    return particle_dataset(times, positions, normalised, attrs)
