"""What is done to a problem before it meets a grid: checks, coordinates, the box that mass reaches."""
