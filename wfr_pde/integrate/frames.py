"""What a run stores: states and records of consecutive save times, as one segment of its Dataset."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.integrate.run import Run
from wfr_pde.integrate.schema import record_variable, state_attrs, time_coordinate
from wfr_pde.storage.run_directory import RunDirectory

if TYPE_CHECKING:
    import xarray as xr

SECONDS_PER_SEGMENT = 10.0  # that are lost at most when a run is killed; no number depends on it
BYTES_PER_SEGMENT = 2**27  # frames, 128 MiB, that are held before they are written


class SegmentFrames:
    """States and records of consecutive save times, until they become a Dataset."""

    def __init__(self, run: Run) -> None:
        self.run, self.bytes, self.began = run, 0, time.perf_counter()
        self.numbers: list[int] = []
        self.kept: list[int] = []
        self.states: dict[str, np.ndarray] = {}
        self.records: dict[str, list[np.ndarray]] = {name: [] for name in run.records}
        self.last: Any = None

    def append(self, frame: int, state: Any) -> None:
        """Store a frame, and evaluate the records."""
        values = self.run.record_values(frame, state)
        for name, value in values.items():
            self.records[name].append(value)
        if frame in self.run.kept:
            self._keep(frame, state)
        self.numbers.append(frame)
        # in one assignment: an interrupt cannot part the state from its number
        self.last = (frame, state, self.run.rng_state())

    def _keep(self, frame: int, state: Any) -> None:
        """Store a state, in arrays with room for all that may follow (memory is used as they are filled)."""
        for name, (_, values) in state.variables().items():
            if not self.kept:
                room = sum(1 for number in self.run.kept if number >= frame)
                self.states[name] = np.empty((room, *values.shape))
            self.states[name][len(self.kept)] = values
        self.kept.append(frame)
        self.bytes += state.nbytes

    def due(self) -> bool:
        """Return whether it is time to write."""
        return time.perf_counter() - self.began > SECONDS_PER_SEGMENT or self.bytes > BYTES_PER_SEGMENT

    def write(self, directory: RunDirectory) -> xr.Dataset:
        """Write the frames as a segment, with a checkpoint of the last state."""
        import xarray as xr

        frame, state, rng = self.last
        self._drop_after(frame)
        segment = self.dataset()
        checkpoint = xr.Dataset(state.checkpoint(), attrs={"frame": frame, "rng": rng})
        directory.append(segment, checkpoint)
        return segment

    def _drop_after(self, frame: int) -> None:
        """Forget what an interrupt left half stored."""
        self.numbers = [number for number in self.numbers if number <= frame]
        self.kept = [number for number in self.kept if number <= frame]
        self.records = {name: values[: len(self.numbers)] for name, values in self.records.items()}

    def check_fit(self) -> None:
        """Refuse records that cannot be stored together, before the run rather than after it.

        Raises
        ------
        ValueError
        """
        try:
            self.dataset()
        except ValueError as error:
            raise ValueError(
                f"the records {list(self.records)} do not fit into one Dataset with dimensions "
                f"{list(self.run.start.coordinates())}: {error}; give them other names, or other `dims`"
            ) from error

    def dataset(self) -> xr.Dataset:
        """Return the frames as a Dataset in the schema."""
        import xarray as xr

        run = self.run
        frame_dim = "t" if run.keep == "all" else "t_kept"
        coordinates: dict[str, Any] = dict(run.start.coordinates())
        coordinates["t"] = time_coordinate(run.times[self.numbers])
        if frame_dim == "t_kept":
            coordinates["t_kept"] = time_coordinate(run.times[self.kept], "t_kept")
        variables: dict[str, Any] = {}
        for name, (dims, example) in run.start.variables().items():
            stored = self.states[name][: len(self.kept)] if self.kept else np.empty((0, *example.shape))
            variables[name] = ((frame_dim, *dims), stored, state_attrs(name))
        for name, values in self.records.items():
            variables[name] = record_variable(name, run.records[name], np.stack(values))
        widths = {name: coordinates.pop(name) for name in list(coordinates) if name.startswith("cell_")}
        used = {dim for dims, *_ in variables.values() for dim in dims} | {"t"}
        coordinates = {name: value for name, value in coordinates.items() if used.issuperset(value[0])}
        return xr.Dataset(variables | widths, coords=coordinates, attrs=run.attrs())
