"""Rewrite tasks: examples of applying a rule `x -> y` to a string, made in bulk and never stored.

The building block of Markov algorithms, and the task of Zhang et al. (arXiv:2402.10891). Everything here is
NumPy; strings are rows of `uint8` letter numbers, counted from 0 along the alphabet.
"""

from im_jax.studies.rewrites.examples.source import RewriteSource
from im_jax.studies.rewrites.examples.task import Examples, RewriteTask, make_tasks

__all__ = ["Examples", "RewriteSource", "RewriteTask", "make_tasks"]
