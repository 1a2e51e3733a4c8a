"""Intervals and tests that hold: over items in clusters, over seeds, and over many tasks."""
