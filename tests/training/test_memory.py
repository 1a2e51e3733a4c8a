"""Bytes of a device: of abstract arrays, and as the platform tells them."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from im_jax.training.memory import as_bytes, bytes_on_a_device, used_on_a_device


def test_a_device_holds_its_shard_of_each_array() -> None:
    mesh = AbstractMesh((4, 2), ("fsdp", "tensor"), axis_types=(AxisType.Auto,) * 2)
    cut = jax.ShapeDtypeStruct(
        (8, 6), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec("fsdp", "tensor"))
    )
    whole = jax.ShapeDtypeStruct((5,), jnp.bfloat16, sharding=NamedSharding(mesh, PartitionSpec()))
    assert bytes_on_a_device({"a": cut, "b": whole}) == 2 * 3 * 4 + 5 * 2


@pytest.mark.parametrize(
    ("stats", "expected"),
    [
        (None, {"peak_bytes": None, "limit_bytes": None}),
        ({"peak_bytes_in_use": 5, "bytes_limit": 9, "bytes_in_use": 3}, {"peak_bytes": 5, "limit_bytes": 9}),
    ],
)
def test_what_was_used_is_what_the_platform_says(stats: Any, expected: dict[str, int | None]) -> None:
    device: Any = SimpleNamespace(memory_stats=lambda: stats)
    assert used_on_a_device(device) == expected


def test_numbers_of_bytes_are_readable() -> None:
    assert [as_bytes(count) for count in (0, 1023, 1536, 3 * 2**30)] == ["0 B", "1,023 B", "1.5 KiB", "3 GiB"]
