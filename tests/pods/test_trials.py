"""What is said to fit = what is found by trying all, with a compiler whose memory is known."""

import dataclasses
import math

import pytest

from im_jax.config import Config
from im_jax.pods.compiling import Compiled
from im_jax.pods.topology import parse
from im_jax.pods.trials import largest_batch, what_fits
from tests.training.tiny import tiny_config

DEVICES = 4


def memory(config: Config) -> int:
    """Of a device: rises with the rows of a micro-batch, but not evenly."""
    rows = config.train.batch_size / config.train.accumulate
    wavy = 40 * math.sin(rows) if rows > 8 else 0
    kept = {"none": 3, "dots": 2, "full": 1}[config.model.remat]
    return round(1000 + (100 * rows + wavy) * kept / config.mesh.tensor)


class Compiler:
    """Counts what it is asked."""

    def __init__(self, available: int) -> None:
        self.available, self.asked = available, 0

    def __call__(self, config: Config) -> Compiled:
        self.asked += 1
        mesh = {"replica": 1, "fsdp": DEVICES // config.mesh.tensor, "tensor": config.mesh.tensor}
        return Compiled(parse("v5e:2x2"), {"mesh": mesh}, memory(config), self.available, None, (), ())


def configured(rows: int, accumulate: int = 1, remat: str = "full") -> Config:
    config = tiny_config(remat=remat)
    config.train = dataclasses.replace(config.train, batch_size=rows, accumulate=accumulate)
    return config


@pytest.mark.parametrize("available", [900, 1390, 1400, 2222, 5000, 12345, 60000])
@pytest.mark.parametrize(("rows", "accumulate"), [(4, 1), (64, 1), (512, 1), (16, 2)])
def test_the_largest_batch_is_that_of_trying_all(available: int, rows: int, accumulate: int) -> None:
    config, compiler = configured(rows, accumulate), Compiler(available)
    found = largest_batch(config, compiler(config), compiler)
    unit = DEVICES * accumulate
    most = 64 * rows
    all_rows = range(unit, most + unit, unit)
    fits = [count for count in all_rows if memory(configured(count, accumulate)) <= available]
    assert found.largest == max(fits, default=0)
    assert compiler.asked <= 13, "a trial costs seconds"
    if found.next is not None:
        assert found.next == found.largest + unit
        assert found.next_needed == memory(configured(found.next, accumulate)) > available


def test_what_fits_is_found_by_kind_and_the_smallest_change_of_each() -> None:
    config, compiler = configured(64, remat="none"), Compiler(3000)
    tried = what_fits(config, compiler(config), compiler)
    assert [str(each) for each in tried] == [
        "--config.model.remat=full",
        "--config.model.remat=full --config.train.accumulate=2",
        "--config.model.remat=full --config.train.accumulate=4",
        "--config.model.remat=full --config.mesh.tensor=2",
        "--config.model.remat=full --config.mesh.tensor=4",
    ]
    assert [each.fits for each in tried] == [False, False, True, False, True]
    assert config.model.remat == "none" and config.train.accumulate == 1


def test_sizes_that_cannot_be_cut_are_not_offered() -> None:
    config, compiler = configured(4), Compiler(1150)
    assert [str(each) for each in what_fits(config, compiler(config), compiler)] == [
        "--config.mesh.tensor=2",
        "--config.mesh.tensor=4",
    ]
