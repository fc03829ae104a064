"""Weighted diffusions: any drift, a diffusivity per axis, a rate of growth; reverse diffusions among them."""
