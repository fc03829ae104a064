"""Transport: the Wasserstein part of the flow, one scheme per file."""
