"""All variables of all cells of a sweep, over its knobs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.storage import files

if TYPE_CHECKING:
    import xarray as xr


def open_sweep(path: str | Path) -> xr.Dataset:
    """Open all variables of the cells of a sweep, curves among them, with the swept knobs as dimensions in front.

    `.to_dataframe()` makes it a table of pandas.

    Parameters
    ----------
    path : path
        `results/NAME/sweep-<hash of grid>`, as `wfr-pde sweep` prints it. It need not be complete.

    Returns
    -------
    xarray.Dataset
        The scalars of `sweep.nc`, and every other variable that has one shape in all cells; NaN in cells that are not
        there. A coordinate that is not the same in all cells is a variable `<name>_of_cell`. The attribute `left_out`
        names the variables whose shape differs, which `xarray.open_dataset` opens cell by cell.

    Raises
    ------
    FileNotFoundError
        If there is no sweep.
    """

    path = Path(path)
    if not (path / "sweep.json").exists() or not (path / "sweep.nc").exists():
        raise FileNotFoundError(f"{path} holds no sweep (no sweep.json or sweep.nc): `wfr-pde sweep` says where it is")
    content = json.loads((path / "sweep.json").read_text(encoding="utf-8"))
    whole = files.read_dataset(path / "sweep.nc")
    dims = tuple(content["axes"])
    cells = [path.parent / name / "data.nc" for name in content["cells"]]
    opened = {
        i: files.read_dataset(cell) for i, cell in enumerate(cells) if whole["done"].values.flat[i] and cell.exists()
    }
    names = dict.fromkeys(str(name) for ds in opened.values() for name in ds.variables if ds[name].ndim)
    shape = tuple(whole.sizes[dim] for dim in dims)
    variables: dict[str, xr.Variable] = {}
    coords: dict[str, xr.Variable] = {}
    left_out = []
    for name in names:
        found = {i: ds.variables[name] for i, ds in opened.items() if name in ds.variables}
        first = next(iter(found.values()))
        is_ragged = any(one.dims != first.dims or one.shape != first.shape for one in found.values())
        if is_ragged or set(first.dims) & set(dims):
            left_out.append(name)
        elif all(name in opened[i].coords and one.identical(first) for i, one in found.items()):
            coords[name] = first
        else:
            own = name not in first.dims and name not in whole.variables
            variables[name if own else f"{name}_of_cell"] = _stacked(found, dims, shape)
    return whole.assign(variables).assign_coords(coords).assign_attrs(left_out=json.dumps(left_out))


def _stacked(found: Mapping[int, xr.Variable], dims: tuple[str, ...], shape: tuple[int, ...]) -> xr.Variable:
    """Stack the variables of the cells, with the knobs in front; NaN, or nothing, where there is no cell."""
    import xarray as xr

    first = next(iter(found.values()))
    kinds = {one.dtype.kind for one in found.values()}
    missing: Any = np.nan if kinds <= set("biuf") else ""
    dtype = np.result_type(np.float64, first.dtype) if kinds <= set("biuf") else object
    values = np.full((*shape, *first.shape), missing, dtype=dtype)
    for i, one in found.items():
        values[np.unravel_index(i, shape)] = one.values
    return xr.Variable((*dims, *first.dims), values, first.attrs)
