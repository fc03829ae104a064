"""Certified solutions in any dimension: problems that split into blocks, each of which is solved on its own."""
