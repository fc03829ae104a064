"""A short run in a double well, of which the parts are tested."""

import wfr_pde as wfr

TARGET, START = wfr.DoubleWell(1.0), wfr.Gaussian(-1, 0.1)
GRID = wfr.Grid(-3.2, 3.2, 96)
FLOW = wfr.Strang(wfr.FisherRao(1.0), wfr.SinkhornKernel(1.0))
