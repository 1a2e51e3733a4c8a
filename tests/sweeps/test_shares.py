"""Which cores each worker gets, and where several workers are refused."""

import os

import pytest

from im_jax.errors import ConfigError
from im_jax.sweeps import process
from im_jax.sweeps.shares import check_no_accelerator, shares


@pytest.fixture
def seven_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {9, 2, 3, 4, 5, 6, 8}, raising=False)


@pytest.mark.usefixtures("seven_cores")
def test_workers_share_the_cores_that_this_process_may_use_and_all_get_as_many() -> None:
    assert shares(1) == [None]
    assert shares(2) == [(2, 3, 4), (5, 6, 8)]
    assert shares(7) == [(2,), (3,), (4,), (5,), (6,), (8,), (9,)]


@pytest.mark.usefixtures("seven_cores")
def test_every_worker_needs_a_core() -> None:
    with pytest.raises(
        ConfigError, match=r"^--workers=8: each worker needs a core of its own, and this machine has 7"
    ):
        shares(8)
    for workers in (0, -1):
        with pytest.raises(ConfigError, match=f"^--workers={workers}: give 1 or more$"):
            shares(workers)


def test_system_that_cannot_confine_processes_gives_all_cores_to_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert shares(2) == [None, None]


def test_several_workers_are_refused_on_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "platform", lambda: "gpu")
    check_no_accelerator(1)
    with pytest.raises(ConfigError, match=r"^--workers=2: runs would be on a gpu, .* set JAX_PLATFORMS=cpu "):
        check_no_accelerator(2)


def test_platform_is_that_of_a_fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert process.platform() == "cpu"
    check_no_accelerator(2)
    monkeypatch.setenv("JAX_PLATFORMS", "abacus")
    with pytest.raises(ConfigError, match=r"JAX does not start: .*abacus"):
        process.platform()
