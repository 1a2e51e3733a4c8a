"""Runs that are killed at any moment, and inside of saves: the same command goes on as if nothing had been."""

import random
import signal
import time
from pathlib import Path

import pytest

from im_jax.events import Happened, read_events
from tests.faults.runs import Outcome, Run, assert_undisturbed, ended

KILLS_EACH = 6
"""Of one run, before it is left alone."""
_SAVE_SECONDS = 0.4
"""A little more than a save takes, its end in the background included."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    kills: int = metafunc.config.getoption("--kills")
    metafunc.parametrize("seed", range(-(-kills // KILLS_EACH)))


def test_a_run_killed_again_and_again_ends_as_an_undisturbed_one(
    seed: int, whole: Outcome, whole_run: Path, tmp_path: Path
) -> None:
    rng, kills, runs = random.Random(seed), 0, 0
    first, *_, last = read_events(whole_run / "events.jsonl")
    seconds = (last.microseconds - first.microseconds) / 1e6
    workdir = tmp_path / "0"
    while kills < KILLS_EACH:
        with ended(Run(workdir)) as run:
            if rng.random() < 0.5:
                after = rng.uniform(0, seconds)
                run.wait_for(lambda: time.monotonic() >= run.began + after)  # noqa: B023
            else:
                saves, after = rng.randint(1, 3), rng.uniform(0, _SAVE_SECONDS)
                run.wait_for(lambda: run.happened(Happened.SAVE, "begin", times=saves))  # noqa: B023
                time.sleep(after)
            run.send(signal.SIGKILL)
            code = run.code()
        assert code in (0, -signal.SIGKILL), run.said
        kills += code != 0
        if code == 0:  # it had ended before
            assert_undisturbed(workdir, whole)
            runs += 1
            workdir = tmp_path / str(runs)
    with ended(Run(workdir)) as run:
        assert run.code() == 0, run.said
    assert_undisturbed(workdir, whole)
