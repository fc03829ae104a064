"""What one step of a sampler does to a density."""
