"""Names of slices: those that exist are read, others are refused with the right one."""

import math
import re

import pytest

from im_jax.errors import ConfigError
from im_jax.pods.chips import CHIPS
from im_jax.pods.topology import candidates, of_size, parse


@pytest.mark.parametrize(
    ("name", "chips", "devices"),
    [
        ("v5e:8x8", 64, 64),
        ("V6E:16x16", 256, 256),
        ("v5p:2x2x4", 16, 16),
        ("v5p:16x16x24", 6144, 6144),
        ("v4:2x2x1", 4, 4),
        ("tpu7x:2x2x2", 8, 16),
        ("h100:8", 8, 8),
    ],
)
def test_chips_and_devices_of_slices(name: str, chips: int, devices: int) -> None:
    topology = parse(name)
    assert (topology.chips, topology.devices, topology.is_tpu) == (chips, devices, not name.startswith("h"))
    assert parse(name, 2).chips == 2 * chips


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "--topology is empty"),
        ("v5e-64", "its 64 chips are --topology=v5e:8x8"),
        ("v5litepod-16", "its 16 chips are --topology=v5e:4x4"),
        ("v5p-32", "its 16 chips are --topology=v5p:2x2x4"),  # counts TensorCores
        ("v6e-256", "its 256 chips are --topology=v6e:16x16"),
        ("h100-8", "its 8 chips are --topology=h100:8"),
        ("v5e:32x32", "which has 256 chips at most; set --topology=v5e:16x16 and --num_slices"),
        ("v5p:32x32x32", "which has 6,144 chips at most"),
        ("v5e:8x4", "the one with 32 chips is --topology=v5e:4x8"),
        ("v5e:64", "the one with 64 chips is --topology=v5e:8x8"),
        ("v5p:4x4x1", "the one with 16 chips is --topology=v5p:2x2x4"),
        ("v5e:3x5", "near it are v5e:4x4 and v5e:2x4"),
        ("v5e:", "after the colon stands the shape, v5e:8x8"),
        ("v5e", "after the colon stands the shape, v5e:8x8"),
        ("v5litepod:4x4", "write v5e:4x4"),
        ("v7e:4x4", "no chip is called 'v7e'"),
        ("h100:2x4", "GPUs are counted; write h100:8"),
    ],
)
def test_slices_that_do_not_exist_are_refused_with_the_right_name(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        parse(name)


def test_slices_must_be_some() -> None:
    with pytest.raises(ConfigError, match="--num_slices=0 must be 1 or more"):
        parse("v5e:2x2", 0)


def test_every_candidate_is_a_slice_and_every_size_finds_one_of_its_own() -> None:
    for name in candidates():
        topology = parse(name)
        assert topology.chips <= 256
        found = of_size(name.partition(":")[0], topology.chips)
        assert found is not None and parse(found).chips == topology.chips
    assert {name.partition(":")[0] for name in candidates()} == {n for n, c in CHIPS.items() if c.dimensions}


def test_numbers_of_chips_agree_with_each_other() -> None:
    for chip in CHIPS.values():
        assert chip.flops > 1e14 and 2**33 < chip.memory < 2**38
        # Some hundred operations for each byte from memory, and memory is faster than what joins chips.
        assert 100 < chip.flops / chip.bandwidth < 700
        assert chip.network < chip.interconnect < chip.bandwidth
        assert (chip.price is None) == (chip.spot is None)
        assert chip.price is None or (chip.spot is not None and chip.spot < chip.price)
        assert math.isclose(chip.devices, 1) or chip.kind == "TPU7x"
