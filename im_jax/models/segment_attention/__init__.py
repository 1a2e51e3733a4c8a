"""Causal attention within segments, by a library that suits the devices."""

from im_jax.models.segment_attention.api import segment_attention

__all__ = ["segment_attention"]
