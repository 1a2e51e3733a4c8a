"""Encoded examples: made once, by all cores, kept on disk, and found again by what they were made from.

    chunks of records ──processes──► encoded chunks ──joined──► arrays in a folder ──mapped──► EncodedDataset

`encoding` makes one chunk, `processes` many at once, `folder` writes and maps, `key` says what a set was made
from, and `cache` finds a set, waits for one that is being made, or has it made.
"""
