"""Where a flow lives: axes, grids, and the measures on them."""
