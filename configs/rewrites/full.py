"""String rewrites at the paper's sizes (arXiv:2402.10891): an hour or more on an accelerator."""

from im_jax.config import Config
from im_jax.studies.rewrites import experiments


def get_config() -> Config:
    """10,000 rules, 10^6 examples, 50 passes."""
    config = experiments.base("full")
    config.data.rewrites.num_rules = 10_000
    config.checkpoint.every = 2000
    return config
