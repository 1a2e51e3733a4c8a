"""Joining the other processes of a run, before anything touches a device."""

import sys
from typing import Any

import jax

from im_jax.cluster.facts import own_facts
from im_jax.cluster.peers import Peers, become
from im_jax.cluster.place import Place, place_from_cluster, place_from_environment
from im_jax.cluster.roll_call import Host, call_roll
from im_jax.config import Config, flatten
from im_jax.console import print_text
from im_jax.errors import ConfigError
from im_jax.text import counted


def join_cluster(config: Config, **more: Any) -> None:
    """Start `jax.distributed` where it is wanted. Call before anything touches a device.

    Under `auto` a cluster is joined when `JAX_COORDINATOR_ADDRESS` is set (with `JAX_NUM_PROCESSES` and
    `JAX_PROCESS_ID`), or when JAX detects one: a TPU pod, Slurm, Kubernetes. Then all processes come
    together first: see `im_jax.cluster.roll_call`.

    Args:
        config: all of which processes must have in common.
        more: what else, by name.

    Raises:
        ConfigError: `mesh.distributed=require` and there is no cluster to join, the variables above are not
            a whole set, JAX does not say where this process stands, or the processes differ.
        ClusterError: not all came.
    """
    mesh = config.mesh
    if mesh.distributed == "off" or jax.distributed.is_initialized():
        return
    place = place_from_environment() or place_from_cluster(mesh.join_timeout)
    if place is None:
        if mesh.distributed == "require":
            raise ConfigError(
                "mesh.distributed=require, but no cluster was detected; set JAX_COORDINATOR_ADDRESS, "
                "JAX_NUM_PROCESSES and JAX_PROCESS_ID, or mesh.distributed=off"
            )
        return
    hosts = None
    if place.processes > 1:
        roll = call_roll(place, own_facts({**flatten(config), **more}), mesh.join_timeout)
        hosts = roll.hosts
        become(Peers(roll, place.number, mesh.peer_timeout))
    _start_jax(place)
    if hosts is not None and place.number == 0:
        _show(hosts)


def _start_jax(place: Place) -> None:
    try:
        jax.distributed.initialize(place.coordinator, place.processes, place.number)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"cannot join the cluster at {place.coordinator}: {error}") from error


def _show(hosts: list[Host]) -> None:
    """A line for each process, with its devices."""
    for host in hosts:
        devices = [each for each in jax.devices() if each.process_index == host.number]
        kind = devices[0].device_kind if devices else "no"
        print_text(f"{host}: process {host.pid}, {counted(len(devices), f'{kind} device')}", sys.stderr)
