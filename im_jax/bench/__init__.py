"""Benchmarks against peers, each contestant in a process of its own: `python -m im_jax.bench`."""
