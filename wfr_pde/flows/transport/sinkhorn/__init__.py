"""Transport by a normalised heat kernel."""
