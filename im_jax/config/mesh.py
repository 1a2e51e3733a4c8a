"""`mesh`: devices in each direction of the mesh."""

from dataclasses import dataclass

from im_jax.config.record import ABOVE_ZERO, NOT_NEGATIVE, at_least, setting


@dataclass
class MeshConfig:
    """Devices in each direction of the mesh, and other processes."""

    replica: int = setting(
        1, "Devices that split rows and hold copies of the parameters, between slices.", bounds=at_least(1)
    )
    fsdp: int = setting(
        -1, "Devices that split rows and parameters; -1: all that the other axes leave.", bounds=at_least(-1)
    )
    tensor: int = setting(1, "Devices that split heads, feed-forward and vocabulary.", bounds=at_least(1))
    distributed: str = setting(
        "auto",
        "Join the other processes: `auto` where a cluster is detected, `off`, or `require`.",
        choices=("auto", "off", "require"),
    )
    join_timeout: float = setting(
        300.0, "Seconds that all processes have to come together at the start.", bounds=ABOVE_ZERO
    )
    peer_timeout: float = setting(
        100.0, "Seconds without a sign of life after which another process counts as lost.", bounds=ABOVE_ZERO
    )
    stuck_after: float = setting(
        3600.0,
        "Seconds that a step, an evaluation or a save may take before the process ends itself and shows the "
        "stacks of its threads; 0: any.",
        bounds=NOT_NEGATIVE,
    )
