"""Numbers, below everything else: special functions, splines, array libraries, compiled loops."""
