"""The command line `wfr-pde`, one command per file."""
