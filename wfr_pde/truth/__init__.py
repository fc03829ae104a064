"""What is known for sure: certified solutions with evidence for their error bars, closed forms, spectra."""
