"""The decoder, its sharding, decoding, and the checkpoints it is read from."""
