"""Numbers, below everything else: special functions, splines, extrapolation, array libraries, all compiled loops."""
