"""Sweeps: a grid of run configurations, run one after another, and what comes out of them."""
