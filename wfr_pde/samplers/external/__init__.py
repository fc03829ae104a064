"""Samplers of others: any callable, samples from files, BlackJAX."""
