"""Files of object stores, such as `gs://bucket/data.jsonl`, read as those of a disk are.

`places` says where a run is kept, there or on a disk, and `writing` has what stores lack for that.
"""

from im_jax.stores.paths import StorePath, files_below, in_store, readable

__all__ = ["StorePath", "files_below", "in_store", "readable"]
