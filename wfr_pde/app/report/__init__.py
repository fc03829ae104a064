"""One self-contained HTML page of everything in a folder of results; `wfr-pde report` on the command line.

What a run left is read by `runs.py`, and its densities are made small enough for a page by `film.py`. `entry.py` says
what the runs of an experiment show together, `words.py` how numbers and texts are worded, and `page.py` has the
templates place all that, with `style.css` and `script.js`. The page needs no server and asks for nothing over a
network; only its links to data lead to files beside it.
"""

from __future__ import annotations

from wfr_pde.app.report.page import Report, write_report

__all__ = ["Report", "write_report"]
