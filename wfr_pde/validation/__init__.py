"""Is a sampler right: comparisons with the truth, verdicts, where errors come from."""
