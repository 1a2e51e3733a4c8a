"""Meshes of devices that are only described, and of several slices."""

import dataclasses
import importlib.util
import itertools
from typing import Any

import pytest

from im_jax import mesh as meshes
from im_jax.config import MeshConfig
from im_jax.errors import ConfigError
from tests.subprocess_devices import run_on_devices


@pytest.mark.parametrize(("shape", "between"), [((4, 8, 2), (2, 1, 1)), ((1, 8, 2), (1, 2, 1))])
def test_slices_lie_along_copies_else_along_shards(
    shape: tuple[int, int, int], between: tuple[int, int, int]
) -> None:
    assert meshes._slices_along(shape, 2) == between


def test_slices_that_no_axis_can_hold_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"over 2 slices of TPUs; set mesh\.replica to a multiple of 2"):
        meshes._slices_along((1, 1, 8), 2)


@dataclasses.dataclass(frozen=True)
class _Chip:
    """What is asked of a TPU where a mesh is laid out."""

    id: int
    coords: tuple[int, int, int]
    device_kind: str = "TPU v6 lite"
    platform: str = "tpu"
    core_on_chip: int = 0
    process_index: int = 0


@pytest.mark.parametrize("sides", [(16, 16, 1), (4, 8, 8)], ids=str)
def test_an_axis_that_is_no_side_of_the_slice_is_cut_out_of_one(sides: tuple[int, int, int]) -> None:
    places = itertools.product(*map(range, sides))
    chips: Any = [_Chip(number, place) for number, place in enumerate(places)]
    mesh = meshes.make_mesh(MeshConfig(tensor=2), chips)
    assert mesh.shape == {"replica": 1, "fsdp": len(chips) // 2, "tensor": 2}
    assert {chip.id for chip in mesh.devices.flat} == set(range(len(chips)))
    for first, second in mesh.devices.reshape(-1, 2):  # neighbours, as what is sent most often wants
        assert sum(abs(a - b) for a, b in zip(first.coords, second.coords, strict=True)) == 1


def test_described_devices_make_a_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("libtpu") is None:
        pytest.skip("the TPU compiler is not here: pip install libtpu")
    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
    monkeypatch.setenv("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    assert "meshes of described devices" in run_on_devices("tests.check_described_devices", devices=1)
