"""What a step holds and sends on slices of TPUs, by their compiler."""

import importlib.util

import pytest

from tests.subprocess_devices import run_on_devices
from tests.training.check_tpu_memory import CASES


@pytest.fixture(autouse=True)
def _described_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("libtpu") is None:
        pytest.skip("the TPU compiler is not here: pip install libtpu")
    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
    monkeypatch.setenv("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")


def test_small_steps_hold_and_send_no_more_than_they_need() -> None:
    assert "lean" in run_on_devices("tests.training.check_small_tpu", devices=1)


@pytest.mark.tpu_memory
@pytest.mark.parametrize("name", CASES)
def test_steps_of_large_models_stay_within_their_bounds(name: str) -> None:
    assert name in run_on_devices("tests.training.check_tpu_memory", devices=1, arguments=[name])
