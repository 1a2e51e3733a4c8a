"""From conversations to batches of classified tokens. Nothing here needs JAX."""
