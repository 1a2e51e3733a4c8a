"""Markov algorithms: programs, the machine that runs them, and what a model makes of them."""
