"""A grid in slabs of its first axis, one per thread: what a grid over several processes has to be, without any.

It overrides what such a grid would: which cells are local, what reductions do over processes, the product along the
axis that is cut, and that there is no coarser grid.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

import wfr_pde as wfr
from wfr_pde.numerics.cellwise import Chunk
from wfr_pde.space.heat.product import HeatKernel
from wfr_pde.space.heat.shared import shared_kernel
from wfr_pde.space.reductions import Reductions

TIMEOUT = 20.0  # seconds that a slab waits for the others


class Communicator:
    """What the threads of a group say to each other; all have to say the same kind of thing at a time."""

    def __init__(self, rank: int, size: int, table: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.size, self._table, self._barrier = rank, size, table, barrier

    @classmethod
    def group(cls, size: int) -> list[Communicator]:
        table, barrier = [None] * size, threading.Barrier(size, timeout=TIMEOUT)
        return [cls(rank, size, table, barrier) for rank in range(size)]

    def gather(self, item: Any, kind: str = "gather") -> list[Any]:
        """What all have, in order, the same everywhere; copies of arrays."""
        self._table[self.rank] = kind, item
        self._barrier.wait()
        kinds = {kind for kind, _ in self._table}
        items = [item.copy() if isinstance(item, np.ndarray) else item for _, item in self._table]
        self._barrier.wait()
        assert len(kinds) == 1, f"slabs have taken different ways: {sorted(kinds)}"
        return items

    def allreduce(self, item: Any, operation: str) -> Any:
        """The sum, min or max of what all have."""
        return getattr(np, operation)(self.gather(item, operation), axis=0)

    def alltoall(self, parts: list[np.ndarray]) -> list[np.ndarray]:
        """What all have for this one: the r-th part is for thread r."""
        return [parts[self.rank].copy() for parts in self.gather(parts, "alltoall")]

    def bcast(self, item: Any, root: int = 0) -> Any:
        """What thread `root` has."""
        return self.gather(item, f"from {root}")[root]

    def abort(self) -> None:
        """Let nobody wait any longer."""
        self._barrier.abort()


@dataclass(frozen=True, eq=False)
class SlabReductions(Reductions):
    communicator: Any = None

    def summed(self, part):
        return self.communicator.allreduce(part, "sum")

    def extended(self, low, high):
        return self.communicator.allreduce(low, "min"), self.communicator.allreduce(high, "max")

    def gathered(self, part):
        return self.communicator.gather(part)

    def layers_beside(self, values, axis):
        if axis > 0:
            return super().layers_beside(values, axis)
        ends, rank = self.communicator.gather(values[[0, -1]], "layers"), self.communicator.rank
        return ends[rank - 1][1:], ends[(rank + 1) % len(ends)][:1]


@dataclass(frozen=True, eq=False, repr=False)
class SlabGrid(wfr.Grid):
    communicator: Any = None
    rows: tuple[int, ...] = ()  # of all slabs, one after another

    @classmethod
    def part_of(cls, grid: wfr.Grid, rows: tuple[int, ...], communicator: Communicator) -> SlabGrid:
        assert sum(rows) == grid.shape[0]
        options = {field.name: getattr(grid, field.name) for field in fields(grid) if field.init}
        return cls(**options, communicator=communicator, rows=rows)

    @cached_property
    def slices(self) -> list[slice]:
        """The slabs."""
        return [slice(a, b) for a, b in itertools.pairwise([0, *itertools.accumulate(self.rows)])]

    @property
    def local_cells(self):
        return (self.slices[self.communicator.rank], *super().local_cells[1:])

    @cached_property
    def reductions(self):
        return SlabReductions(self.shape, self.backend, self.volumes, self.communicator)

    def heat_kernel(self, time):
        return shared_kernel(self, time, SlabKernel)

    def coarser(self, time):
        return None


class SlabKernel(HeatKernel):
    """Turns slabs of rows into slabs of columns for the product along the first axis, and back."""

    def __init__(self, grid: SlabGrid, time: float) -> None:
        super().__init__(grid, time)
        width, size, rank = math.prod(grid.shape[1:]), grid.communicator.size, grid.communicator.rank
        self.cuts = [slice(width * k // size, width * (k + 1) // size) for k in range(size)]
        turned = (grid.shape[0], self.cuts[rank].stop - self.cuts[rank].start)
        step = max(1, grid.backend.chunk // grid.shape[0])
        starts = range(0, turned[1], step)
        self.turned_chunks = [Chunk.along(turned, 1, start, min(start + step, turned[1])) for start in starts]

    def turned(self, values: np.ndarray) -> np.ndarray:
        flat = values.reshape(len(values), -1)
        return np.concatenate(self.grid.communicator.alltoall([flat[:, cut] for cut in self.cuts]))

    def turned_back(self, turned: np.ndarray) -> np.ndarray:
        parts = self.grid.communicator.alltoall([turned[rows] for rows in self.grid.slices])
        return np.concatenate(parts, axis=1).reshape(self.grid.local_shape)

    def product_along_first(self, values, reach, shift, end):
        turned = self.turned(values)
        product = np.empty_like(turned)
        for chunk in self.turned_chunks:
            product[chunk.index] = self.grid.cellwise.product_down(chunk, turned, self.bands[0], reach)
        product = self.turned_back(product)
        return [end(chunk, product[chunk.index], shift) for chunk in self.rows]

    def log_product_along_first(self, log_values):
        turned = self.turned(log_values)
        self.log_product_along(0, turned, self.turned_chunks)
        log_values[...] = self.turned_back(turned)


@contextlib.contextmanager
def unlocked(cached: Any) -> Iterator[None]:
    """Let threads meet while a cached property is made, which before Python 3.12 is made in one thread at a time."""
    lock = getattr(cached, "lock", None)
    cached.lock = contextlib.nullcontext()
    try:
        yield
    finally:
        cached.lock = lock


def in_slabs(function, grid: wfr.Grid, rows: tuple[int, ...]) -> list[Any]:
    """What a function of the grid returns in every slab, each in a thread of its own.

    An error in one of them ends all, and is raised; that of the first slab where several have one.
    """
    group = Communicator.group(len(rows))
    results: list[Any] = [None] * len(rows)
    errors: list[BaseException | None] = [None] * len(rows)

    def work(communicator: Communicator) -> None:
        try:
            results[communicator.rank] = function(SlabGrid.part_of(grid, rows, communicator))
        except BaseException as error:  # of any kind: the others wait
            errors[communicator.rank] = error
            communicator.abort()

    threads = [threading.Thread(target=work, args=(one,), name="slab", daemon=True) for one in group]
    with unlocked(vars(wfr.Density)["_spline"]):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * TIMEOUT)
    assert not any(thread.is_alive() for thread in threads), "a slab hangs"
    own = [error for error in errors if error is not None and not isinstance(error, threading.BrokenBarrierError)]
    if own:
        raise ExceptionGroup("in slabs", own) if len(own) > 1 and len({str(e) for e in own}) > 1 else own[0]
    assert not any(errors), errors
    return results
