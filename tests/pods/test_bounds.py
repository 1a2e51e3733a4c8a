"""Bounds of time and price, and intervals between checkpoints, against sums by hand and brute force."""

import pytest

from im_jax.pods.bounds import bound, bytes_read, bytes_written, price_per_hour, share_of_peak
from im_jax.pods.collectives import BETWEEN_SLICES, Collective
from im_jax.pods.compiling import Compiled
from im_jax.pods.saving import best_saving
from im_jax.pods.topology import parse

KNOWN = {
    "mesh": {"replica": 1, "fsdp": 4, "tensor": 1},
    "flops": 1000e12,
    "kernel_flops": 200e12,
    "kernel_share": 0.5,
    "model_flops": 800e12,
    "argument_bytes": 10e9,
    "param_bytes": 3e9,
    "optimizer_bytes": 6e9,
}


def compiled(name: str, *exchanged: Collective, num_slices: int = 1, **known) -> Compiled:
    return Compiled(parse(name, num_slices), KNOWN | known, 10**9, 2 * 10**9, None, exchanged, ())


def test_each_time_is_what_is_done_over_what_the_chip_can() -> None:
    gathered = Collective("all-gather", ("fsdp",), 4, bytes=4 * 10**9, times=1)
    summed = Collective("all-reduce", ("fsdp",), 4, bytes=2 * 10**9, times=1)
    found = bound(compiled("v5e:2x2", gathered, summed))
    # Kernels of causal attention may leave out half.
    assert found.compute == pytest.approx(900e12 / 4 / 197e12)
    assert found.memory == pytest.approx((10e9 + 6e9 + 9e9 + 4e9) / 819e9)
    assert found.interconnect == pytest.approx(6e9 * 3 / 4 / 180e9)
    assert found.network == 0 and found.by == "compute" and found.seconds == found.compute
    assert bytes_read(compiled("v5e:2x2", gathered)) == 14e9
    assert bytes_written(compiled("v5e:2x2", gathered)) == 13e9


def test_what_slices_exchange_goes_over_the_network() -> None:
    copies = Collective("all-reduce", BETWEEN_SLICES, 2, bytes=10**9, times=1)
    found = bound(compiled("v5e:2x2", copies, num_slices=2))
    assert found.network == pytest.approx(1e9 / 2 / (25e9 / 8)) and found.interconnect == 0
    assert found.compute == pytest.approx(900e12 / 8 / 197e12)


def test_prices_are_of_all_chips_and_unknown_where_none_is() -> None:
    assert price_per_hour(parse("v5e:8x8"), spot=False) == pytest.approx(76.8)
    assert price_per_hour(parse("v5p:2x2x4", 2), spot=True) == pytest.approx(32 * 0.78)
    assert price_per_hour(parse("tpu7x:2x2x2"), spot=False) is None
    assert share_of_peak(compiled("v5e:2x2"), 2.0) == pytest.approx(800e12 / 2 / (4 * 197e12))


@pytest.mark.parametrize(("size", "hours"), [(80e9, 24), (800e9, 6), (10e9, 1)])
def test_the_interval_loses_least(size: float, hours: float) -> None:
    between = hours * 3600
    found = best_saving(int(size), 1e9, between)
    writing = size / 1e9
    assert found.seconds == writing

    def lost(interval: float) -> float:
        period = interval + writing
        return writing / period + period / 2 / between

    best = min(lost(seconds) for seconds in range(10, 40000, 5))
    assert lost(found.interval) == pytest.approx(best, rel=0.03)
    assert found.lost == pytest.approx(lost(found.interval))


def test_where_writing_takes_longer_than_a_run_lasts_nothing_is_kept() -> None:
    assert best_saving(10**12, 1e6, 3600.0).lost == 1.0
