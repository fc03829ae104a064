"""What is known for sure: certified solutions, closed forms, spectra."""
