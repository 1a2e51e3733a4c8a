"""Cross-entropy of a linear head, with a weight per token."""

from im_jax.losses.cross_entropy.api import linear_cross_entropy

__all__ = ["linear_cross_entropy"]
