"""Devices: the mesh, and putting batches on it."""

from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental import mesh_utils, multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from im_jax.batch import Batch
from im_jax.config import Config, MeshConfig
from im_jax.errors import ConfigError
from im_jax.text import counted

AXES = ("replica", "fsdp", "tensor")
DATA_AXES = ("replica", "fsdp")


def agreed(number: int) -> int:
    """A number as the first process gives it, on all processes, which all must ask. It fits 32 bits."""
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.broadcast_one_to_all(np.int32(number)))


def mesh_shape(mesh: MeshConfig, num_devices: int) -> tuple[int, int, int]:
    """Sizes of the axes (replica, fsdp, tensor), with `fsdp=-1` filled in.

    Raises:
        ConfigError: the axes do not multiply to the number of devices.
    """
    for name in ("replica", "tensor"):
        if getattr(mesh, name) < 1:
            raise ConfigError(f"mesh.{name}={getattr(mesh, name)} must be 1 or more")
    others = mesh.replica * mesh.tensor
    fsdp = num_devices // others if mesh.fsdp == -1 else mesh.fsdp
    if fsdp < 1 or others * fsdp != num_devices:
        raise ConfigError(
            f"mesh.replica={mesh.replica} x mesh.fsdp={mesh.fsdp} x mesh.tensor={mesh.tensor} does not "
            f"cover the {counted(num_devices, 'device')} here; set them to multiply to {num_devices}, "
            "or mesh.fsdp=-1 for all that the others leave"
        )
    return mesh.replica, fsdp, mesh.tensor


def make_mesh(mesh: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The device mesh, axes of type Auto: the compiler propagates shardings, as Flax modules need.

    Args:
        mesh: sizes of the axes.
        devices: those to use; None: all. They may be only described (`jax.experimental.topologies`). Slices
            of TPUs, which only a slow network joins, lie along `replica`, else along `fsdp`.

    Raises:
        ConfigError: the axes do not multiply to the number of devices, or the slices cannot lie along one.
    """
    devices = jax.devices() if devices is None else devices
    shape = mesh_shape(mesh, len(devices))
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    types = (AxisType.Auto,) * len(AXES)
    if slices == 1:
        try:
            return jax.make_mesh(shape, AXES, axis_types=types, devices=devices)
        except NotImplementedError:  # no sides of the slice multiply to an axis, as to 2 of 16x16
            arranged = mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
            return Mesh(arranged, AXES, axis_types=types)
    between = _slices_along(shape, slices)
    within = tuple(size // parts for size, parts in zip(shape, between, strict=True))
    arranged = mesh_utils.create_hybrid_device_mesh(within, between, devices, allow_split_physical_axes=True)
    return Mesh(arranged, AXES, axis_types=types)


def _slices_along(shape: tuple[int, int, int], slices: int) -> tuple[int, int, int]:
    """Into how many parts of a slice each axis is cut; ConfigError if none can be."""
    replica, fsdp, tensor = shape
    if replica % slices == 0:
        return slices, 1, 1
    if fsdp % slices == 0:
        return 1, slices, 1
    raise ConfigError(
        f"mesh.replica={replica} x mesh.fsdp={fsdp} x mesh.tensor={tensor} cannot be laid out over {slices} "
        f"slices of TPUs; set mesh.replica to a multiple of {slices}"
    )


def check_batch(config: Config, mesh: Mesh) -> None:
    """Stop unless rows divide evenly over micro-batches, processes and data-parallel devices."""
    data_parallel = int(np.prod([mesh.shape[axis] for axis in DATA_AXES]))
    for name, rows, parts, why in (
        (
            "train.batch_size",
            config.train.batch_size,
            config.train.accumulate * data_parallel,
            f"train.accumulate={config.train.accumulate} x {data_parallel} data-parallel devices",
        ),
        (
            "eval.batch_size",
            eval_batch_size(config),
            data_parallel,
            f"{data_parallel} data-parallel devices",
        ),
    ):
        if rows % parts:
            raise ConfigError(
                f"{name}={rows} is not divisible by {parts} ({why}); "
                f"set it to a multiple, such as {max(parts, round(rows / parts) * parts)}"
            )


def eval_batch_size(config: Config) -> int:
    """Rows of one evaluation batch: as configured, or those of a training micro-batch."""
    return config.eval.batch_size or config.train.batch_size // config.train.accumulate


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows over the data axes, nothing else split."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXES))


def put_batch(batch: Batch, mesh: Mesh) -> Batch:
    """A global batch on the devices from the rows that this process holds."""
    sharding = batch_sharding(mesh)
    return Batch(*(jax.make_array_from_process_local_data(sharding, np.asarray(x)) for x in batch))


def local_rows(mesh: Mesh, batch_size: int) -> range:
    """Which rows of a global batch this process must provide: those that its devices hold.

    Raises:
        ConfigError: the devices of this process hold rows that are not next to each other, which
            happens when a mesh axis is laid out across processes in an unusual order.
    """
    indices = batch_sharding(mesh).addressable_devices_indices_map((batch_size,)).values()
    needed = sorted({row for index in indices for row in range(*(index or ())[0].indices(batch_size))})
    local = range(needed[0], needed[-1] + 1)
    if len(needed) != len(local):
        raise ConfigError(
            "mesh: this process's devices hold scattered rows of a batch; reorder the mesh axes"
        )
    return local


def first_holds(mesh: Mesh, batch_size: int) -> np.ndarray:
    """Of each row in `local_rows`, whether no process before this one holds it too.

    Processes that share a part of `tensor` hold the same rows; so every row is one process's.
    """
    first: dict[int, int] = {}
    for device, index in batch_sharding(mesh).devices_indices_map((batch_size,)).items():
        process: int = getattr(device, "process_index")  # noqa: B009 # its type is not known
        for row in range(*(index or ())[0].indices(batch_size)):
            first[row] = min(first.get(row, process), process)
    return np.array([first[row] == jax.process_index() for row in local_rows(mesh, batch_size)])
