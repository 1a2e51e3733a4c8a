"""`log`: what is written about a run."""

from dataclasses import dataclass

from im_jax.config.record import at_least, setting


@dataclass
class LogConfig:
    """What is written beside WORKDIR/metrics.jsonl, how often."""

    every: int = setting(10, "Steps between two log lines.", bounds=at_least(1))
    tensorboard: bool = setting(True, "Also write `WORKDIR/tensorboard`.")
    wandb_project: str = setting("", "Weights & Biases project to log to; empty: none.")
    examples: bool = setting(
        False,
        "Also write the ids of the examples of each step to `WORKDIR/examples`, each process those it reads.",
        see="tpu.md#which-host-read-what",
    )
