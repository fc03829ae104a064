"""Results on disk: files written whole, locks, provenance, run directories."""
