"""Files of records: which ones a path names, and their records in chunks that a worker process decodes.

files = located("a.jsonl, b.jsonl.gz", "data.path")
for chunk in chunks(files, "data.path"):        # cuts text, and decodes nothing
    for record in chunk.records():              # in any process
        ...                                     # Record("a.jsonl:1", {...}), or BadRecord
"""

from im_jax.data.files.chunk import AnyRecord, BadRecord, Chunk, LeftOutRecord, Record
from im_jax.data.files.chunking import CHUNK, chunks
from im_jax.data.files.location import File, has_folder, located

__all__ = [
    "CHUNK",
    "AnyRecord",
    "BadRecord",
    "Chunk",
    "File",
    "LeftOutRecord",
    "Record",
    "chunks",
    "has_folder",
    "located",
]
