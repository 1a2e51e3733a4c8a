"""`checkpoint`: when the state of a run is saved. It always is at the end."""

from dataclasses import dataclass

from im_jax.config.record import at_least, setting


@dataclass
class CheckpointConfig:
    """When checkpoints are written to WORKDIR/checkpoints; at the end they always are."""

    every: int = setting(500, "Save every this many steps; 0: only at the end.", bounds=at_least(0))
    allow_changed: str = setting(
        "none",
        "What a resumed run may go on with changed besides what always may: the fields of `optimizer`.",
        choices=("none", "optimizer"),
    )
    keep: int = setting(
        2,
        "Number of latest checkpoints that are kept; two always are, so that there is one before the newest.",
        bounds=at_least(1),
    )
    retries: int = setting(
        3, "How often a save that failed is tried again before the run stops.", bounds=at_least(0)
    )
    compiled: str = setting(
        "auto",
        "Keep compiled programs in WORKDIR/compiled, for a restart to compile nothing; `auto`: not on CPUs.",
        choices=("auto", "on", "off"),
    )
