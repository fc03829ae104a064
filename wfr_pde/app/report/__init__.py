"""One self-contained HTML page of everything in a folder of results; `wfr-pde report` on the command line.

What a run left is read by `results.py`, its densities are made small enough for a page by `film.py`, and `page.py`
writes the page from `page.html`, `style.css` and `script.js`. The page needs no server and asks for nothing over a
network; only its links to data lead to files beside it.
"""

from __future__ import annotations

from wfr_pde.app.report.page import Report, write_report

__all__ = ["Report", "write_report"]
