"""Sweeps: a grid of run configurations, run one after another or side by side, and what comes of them."""
