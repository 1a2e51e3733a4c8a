"""TFDS builders: they write a checked copy of a data set that is read at random without holding it in memory.

Importing a builder registers it with TFDS, so nothing is imported here.
"""
