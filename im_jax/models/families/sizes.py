"""The largest sizes that are believed: far above every model's, and far below what hangs or fills memory."""

from typing import Final

LAYERS: Final = 10_000
WIDTH: Final = 2**20
"""Of the model and the feed-forward."""
HEADS: Final = 2**16
HEAD_SIZE: Final = 2**12
VOCABULARY: Final = 2**24
POSITIONS: Final = 2**31 - 1
EPS: Final = (0.0, 1.0)
"""Least and largest of what a norm adds to the mean square."""
