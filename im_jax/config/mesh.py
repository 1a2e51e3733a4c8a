"""`mesh`: devices in each direction of the mesh."""

from dataclasses import dataclass

from im_jax.config.record import at_least, setting


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
