"""Memory that a run needs at most, counted in arrays."""

from __future__ import annotations

from wfr_pde.flows.base import Flow
from wfr_pde.numerics.backends import get_backend
from wfr_pde.numerics.counted import counted
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Particles

PIECES = 6  # arrays of the size of a chunk that all threads together hold at work
VOLUMES = 5  # further arrays on graded cells: volumes, their logarithms, and the check that cells resolve the state


def estimated_memory(flow: Flow, start: Density | Particles, n_kept: int, written: bool = False) -> int:
    """Count the bytes that a run needs at most: frames, working arrays, and what the prepared steps hold.

    A run that is written to a directory puts its frames together from pieces, which takes them twice.
    """
    frames = 2 * n_kept if written else n_kept
    use = flow.memory_use(start)
    arrays, pieces = 2 + frames + use.states, 0  # the start and the target besides
    if isinstance(start, Density):
        arrays += 0 if start.grid.is_uniform else VOLUMES
        pieces = PIECES * 8 * min(start.grid.size, start.grid.backend.chunk)
    return start.nbytes * arrays + pieces + use.held


def stored_bytes(start: Density | Particles, n_kept: int) -> int:
    """Count the bytes that frames take on disk, with the state to go on from, which is replaced by the next one."""
    return start.nbytes * (n_kept + 2) if n_kept else 0


def check_memory(flow: Flow, start: Density | Particles, n_kept: int, written: bool) -> None:
    """Refuse a run that needs more memory than is free.

    Raises
    ------
    MemoryError
    """
    needed = estimated_memory(flow, start, n_kept, written)
    backend = start.grid.backend if isinstance(start, Density) else get_backend("numpy")
    available = backend.available_memory()
    if available is not None and needed > available:
        raise MemoryError(
            f"the run needs about {needed / 2**30:.2g} GiB ({counted(n_kept, 'stored frame')}), but "
            f'{available / 2**30:.2g} GiB are free: store fewer frames (keep="last" or times), or use fewer cells'
        )
