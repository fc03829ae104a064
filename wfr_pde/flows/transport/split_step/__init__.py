"""Transport by splitting the Schroedinger form."""
