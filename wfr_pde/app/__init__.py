"""What is not the library: command line, experiments, report. Nothing below imports it."""
