"""Certified solutions: a problem and a tolerance in, the density with an error bar out."""
