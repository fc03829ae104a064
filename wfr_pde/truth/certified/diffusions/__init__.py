"""Certified solutions of weighted diffusions: any drift, any diffusivity, a rate."""
