"""SIGTERM and Ctrl-C whatever a run is doing: it says what is saved, and the same command goes on from there."""

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

from im_jax.events import Happened
from im_jax.interruption import PREEMPTED
from tests.faults.runs import Outcome, Run, assert_undisturbed, ended

COMPILES = {"jax_enable_compilation_cache": False}


def stop(run: Run, when: Callable[[], bool], *signals: signal.Signals) -> int:
    """Send signals when something is so; the exit code."""
    with ended(run):
        assert run.wait_for(when), run.said
        for number in signals:
            run.send(number)
            time.sleep(0.02)
        return run.code()


def test_sigterm_in_each_part_of_a_run_and_the_same_command_again(whole: Outcome, tmp_path: Path) -> None:
    """One run is stopped in each part, and in the end it is as if nothing had been."""
    workdir = tmp_path / "run"
    run = Run(workdir, settings=COMPILES)
    assert stop(run, lambda: run.happened(Happened.COMPILE, "begin"), signal.SIGTERM) == PREEMPTED
    assert run.last_line == "SIGTERM: stopped before the first step; nothing was lost"
    for name, phase in ((Happened.STEP, ""), (Happened.EVALUATION, "begin"), (Happened.SAVE, "begin")):
        run = Run(workdir)
        assert stop(run, lambda: run.happened(name, phase), signal.SIGTERM) == PREEMPTED  # noqa: B023
        saved = re.fullmatch(
            r"SIGTERM: step (\d+) is saved; the same command goes on from there", run.last_line
        )
        assert saved is not None, run.said
        assert (workdir / "checkpoints" / saved[1]).is_dir()
    run = Run(workdir)
    assert stop(run, lambda: run.happened(Happened.STEP, step=10), signal.SIGINT) == 130
    assert run.last_line.startswith("Ctrl-C: ")
    with ended(Run(workdir)) as run:
        assert run.code() == 0, run.said
    assert_undisturbed(workdir, whole, *["preempted"] * 4, "stopped")


def test_a_second_signal_leaves_at_once_and_loses_no_more_than_since_the_last_save(
    whole: Outcome, tmp_path: Path
) -> None:
    workdir = tmp_path / "run"
    run = Run(workdir)
    begun = lambda: run.happened(Happened.SAVE, "begin", step=3)  # noqa: E731
    assert stop(run, begun, signal.SIGTERM, signal.SIGTERM) == 128 + signal.SIGTERM
    assert run.last_line == (
        "SIGTERM again: left without saving; the same command goes on from the last checkpoint"
    )
    with ended(Run(workdir)) as run:
        assert run.code() == 0, run.said
    assert_undisturbed(workdir, whole)
