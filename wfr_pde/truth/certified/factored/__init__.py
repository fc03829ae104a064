"""Truths that are made of parts: what a coupling between the parts adds to the error."""
