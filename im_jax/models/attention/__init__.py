"""Attention within segments: the layer, and who computes it on which devices."""
