"""Where this process stands among those of a cluster, as JAX would find it."""

import os
from typing import Any, Final, NamedTuple

from im_jax.errors import ConfigError

ROLL_CALL_PORT: Final = "IM_JAX_ROLL_CALL_PORT"
_OPEN_ON_TPUS: Final = {8476: 8474}
"""By JAX's port on TPU VMs, another that Google's firewall rule for TPUs opens between hosts."""


class Place(NamedTuple):
    """One of several processes."""

    coordinator: str
    """HOST:PORT of JAX's coordinator, which is in process 0."""
    processes: int
    number: int
    """From 0 on."""

    @property
    def host(self) -> str:
        """Of process 0."""
        return self.coordinator.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """On which process 0 calls the roll.

        Raises:
            ConfigError: the variable that names one is not a number.
        """
        named = os.environ.get(ROLL_CALL_PORT)
        if named is None:
            port = int(self.coordinator.rpartition(":")[2])
            return _OPEN_ON_TPUS.get(port, port + 1 if port < 65535 else port - 1)
        if not named.isdecimal() or not 0 < int(named) < 65536:
            raise ConfigError(f"{ROLL_CALL_PORT}={named} is not a port; set it to a number from 1 to 65535")
        return int(named)


def place_from_environment() -> Place | None:
    """By `JAX_COORDINATOR_ADDRESS` and its two companions; None where that is not set.

    Raises:
        ConfigError: they are not a whole set.
    """
    address = os.environ.get("JAX_COORDINATOR_ADDRESS")
    if not address:
        return None
    counts = {}
    for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"):
        value = os.environ.get(name, "")
        if not value.isdecimal():
            raise ConfigError(
                f"JAX_COORDINATOR_ADDRESS={address} is set, but {name}={value!r} is not a "
                "number; set it in each process, or unset both"
            )
        counts[name] = int(value)
    count, number = counts["JAX_NUM_PROCESSES"], counts["JAX_PROCESS_ID"]
    _, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        raise ConfigError(f"JAX_COORDINATOR_ADDRESS={address} has no port; set it to HOST:PORT")
    if not number < count:
        raise ConfigError(f"JAX_PROCESS_ID={number} must be below JAX_NUM_PROCESSES={count}")
    return Place(address, count, number)


def place_from_cluster(timeout: float) -> Place | None:
    """As JAX detects it: on TPUs, under Slurm, MPI or Kubernetes; None where it detects no cluster.

    Args:
        timeout: seconds that the name of the coordinator's host may take to be known.

    Raises:
        ConfigError: there is a cluster, and what it says is not enough; or this version of JAX does not say.
    """
    try:
        from jax._src import clusters  # there is no public name

        detect: Any = clusters.ClusterEnv.auto_detect_unset_distributed_params
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            "this version of JAX does not say whether there is a cluster; set JAX_COORDINATOR_ADDRESS, "
            "JAX_NUM_PROCESSES and JAX_PROCESS_ID, or mesh.distributed=off"
        ) from error
    try:
        address, count, number, _ = detect(None, None, None, None, None, int(timeout))
    except (RuntimeError, ValueError, OSError) as error:
        raise ConfigError(
            f"a cluster was detected, but not the place of this process in it ({error}); set "
            "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, or mesh.distributed=off"
        ) from error
    if address is None or count is None or number is None:
        return None
    return Place(address, count, number)
