"""Runs on many chips: what one would need and cost on slices that are not here."""
