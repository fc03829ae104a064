"""Truths that are made of parts: independent blocks, solved one by one, and what a weak coupling adds."""
