"""Figures of stored data: every function takes a Dataset, as `solve` returns it, and returns a matplotlib Figure.

- Densities: `density_image`, `density_ridge`, `density_curve` on a line; `density_contours`, `density_joint` in the
  plane; `density_marginals`, `density_slices` in more dimensions. `marginal` leaves some of the coordinates.
- Laws in any dimension: `product_marginals` of chosen coordinates, `radial_profile`.
- Curves: `record`, `seed_band` over runs, `error_band` of a certified solution, `convergence`.
- Samplers: `particles` over the true density, `comparison`, `verdict`, `budget`.
- `movie` writes a file instead; `panel_letters` puts (a), (b), ... before the titles of a figure of several panels.

Give `ax` to draw into a figure of your own, made inside ``with plotting.style():``; without it a figure as wide as
a column is made. Labels come from the attributes `long_name` and `units`. Nothing here uses pyplot.

    with plotting.style():
        figure = plotting.new_figure(plotting.PAGE_WIDTH, 2.5)
        left, right = figure.subplots(1, 2)
        plotting.density_contours(ds, t=1.0, target=target, ax=left)
        plotting.record(ds["kl"], ax=right).savefig("figure.pdf")
"""

from wfr_pde.plotting.curves import convergence, error_band, fitted_orders, record, seed_band
from wfr_pde.plotting.data import marginal
from wfr_pde.plotting.densities import (
    CONTOUR_MASSES,
    LONGEST_BOX,
    density_contours,
    density_curve,
    density_image,
    density_ridge,
)
from wfr_pde.plotting.marginals import density_joint, density_marginals, density_slices
from wfr_pde.plotting.movies import movie
from wfr_pde.plotting.panels import panel_letters
from wfr_pde.plotting.products import product_marginals, radial_profile
from wfr_pde.plotting.samplers import budget, comparison, particles, verdict, waterfall
from wfr_pde.plotting.style import (
    BLUE,
    COLOURS,
    COLUMN_WIDTH,
    DASHES,
    GREEN,
    GREY,
    MARKERS,
    ORANGE,
    PAGE_WIDTH,
    PURPLE,
    SKY,
    STYLE,
    SYMBOLS,
    VERMILION,
    label,
    new_figure,
    style,
)

__all__ = [
    "BLUE",
    "COLOURS",
    "COLUMN_WIDTH",
    "CONTOUR_MASSES",
    "DASHES",
    "GREEN",
    "GREY",
    "LONGEST_BOX",
    "MARKERS",
    "ORANGE",
    "PAGE_WIDTH",
    "PURPLE",
    "SKY",
    "STYLE",
    "SYMBOLS",
    "VERMILION",
    "budget",
    "comparison",
    "convergence",
    "density_contours",
    "density_curve",
    "density_image",
    "density_joint",
    "density_marginals",
    "density_ridge",
    "density_slices",
    "error_band",
    "fitted_orders",
    "label",
    "marginal",
    "movie",
    "new_figure",
    "panel_letters",
    "particles",
    "product_marginals",
    "radial_profile",
    "record",
    "seed_band",
    "style",
    "verdict",
    "waterfall",
]


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
