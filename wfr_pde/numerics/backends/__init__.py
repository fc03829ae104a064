"""Array libraries: one file per library, each a `backend()` that returns a `Backend`.

Numerics take `xp = grid.backend.xp` and write the Python array API standard; nothing else names an array library.
"""

from wfr_pde.numerics.backends.base import Backend, get_backend

__all__ = ["Backend", "get_backend"]
