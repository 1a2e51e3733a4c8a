"""String rewrites on a laptop: a small GPT-2 learns to follow unseen rules in about two minutes."""

from im_jax.config import Config
from im_jax.studies.rewrites import experiments


def get_config() -> Config:
    """10,000 rules; with `--config.data.rewrites.num_rules=50` it learns those 50 and nothing else."""
    config = experiments.base("cpu")
    config.data.rewrites.num_rules = 10_000
    return config
