"""Experiments: files that compute, draw and check; run one by one, or in parallel."""
