"""Boxes that hold the mass of a target."""
