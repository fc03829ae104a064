"""Flows integrated over time: the time loop, what it records, and what is made of its results."""
