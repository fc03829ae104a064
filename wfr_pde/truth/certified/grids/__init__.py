"""The grids of a certified solution: box, breaks on edges, walls, five grids of one map."""
