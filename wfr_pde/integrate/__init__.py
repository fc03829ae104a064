"""Flows integrated over time: the time loop, what it records, and trajectories between its save times."""
