"""Transport by a Markov chain on the cells."""
