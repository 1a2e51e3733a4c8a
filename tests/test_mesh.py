"""Meshes of devices that are only described, and of several slices."""

import importlib.util

import pytest

from im_jax import mesh as meshes
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


def test_described_devices_make_a_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("libtpu") is None:
        pytest.skip("the TPU compiler is not here: pip install libtpu")
    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
    monkeypatch.setenv("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    assert "meshes of described devices" in run_on_devices("tests.check_described_devices", devices=1)
