"""What a run's time went to = that of a run whose every step is known, and exactly all of it."""

import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from im_jax.command_line import runner
from im_jax.errors import ConfigError, DataError
from im_jax.events import Event, Happened, read_events
from im_jax.plan import ledger as door
from im_jax.pods.ledger import Account, account, read_ledger


class Simulated(NamedTuple):
    """A run that was made up."""

    events: list[Event]
    spent: dict[Account, int]
    """By its definition, step by step."""
    kept: int
    wasted: int


def simulated(seed: int, last_step: int = 60, log_every: int = 1) -> Simulated:
    """A run that is killed, preempted or fails now and then, and sometimes loses checkpoints."""
    draw = random.Random(seed)
    events: list[Event] = []
    steps: list[tuple[int, int, int]] = []  # attempt, number, length
    beginnings: dict[int, int] = {}
    spent = dict.fromkeys(Account, 0)
    checkpoints: list[int] = []
    now, attempt = 1_800_000_000_000_000, 0

    def add(name: Happened, step: int | None = None, phase: str = "") -> None:
        events.append(Event(now, attempt, 0, "a", name, phase, step, ""))

    def spend(on: Account, at_most: int = 10**7) -> int:
        nonlocal now
        length = draw.randrange(at_most)
        now += length
        spent[on] += length
        return length

    def bracket(name: Happened, step: int | None = None) -> None:
        add(name, step, "begin")
        spend(Account(name.value))
        add(name, step, "end")

    while True:
        attempt += 1
        add(Happened.START)
        spend(Account.START)
        if draw.random() < 0.2:
            add(Happened.FAILED)
            spend(Account.DOWN)
            continue
        bracket(Happened.DATA)
        spend(Account.START)
        checkpoints = checkpoints[: len(checkpoints) - (draw.random() < 0.2)]
        step = beginnings[attempt] = checkpoints[-1] if checkpoints else 0
        if step:
            bracket(Happened.RESTORE, step)
            spend(Account.START)
        bracket(Happened.COMPILE, step + 1)
        end = ""
        while step < last_step and not end:
            step += 1
            steps.append((attempt, step, spend(Account.STEP, 10**6)))
            if step == beginnings[attempt] + 1:
                add(Happened.FIRST_STEP, step)
            if step % log_every == 0:
                add(Happened.STEP, step)
            if step % 7 == 0:
                add(Happened.EVALUATION, step, "begin")
                spend(Account.EVALUATION)
                add(Happened.EVALUATION, step, "end")
            end = draw.choice(["killed", "preempted"]) if draw.random() < 0.05 else ""
            if step % 10 == 0 or step == last_step or end == "preempted":
                bracket(Happened.SAVE, step)
                checkpoints.append(step)
        if end == "preempted":
            add(Happened.PREEMPTED)
        elif not end:
            add(Happened.DONE)
            break
        spend(Account.DOWN)
    wasted = [
        (number, length)
        for of, number, length in steps
        if any(later > of and number > step for later, step in beginnings.items())
    ]
    lost = sum(length for _, length in wasted)
    spent |= {Account.STEP: spent[Account.STEP] - lost, Account.WASTED: lost}
    return Simulated(events, spent, len(steps) - len(wasted), len(wasted))


@pytest.mark.parametrize("seed", range(30))
def test_accounts_are_those_of_a_run_whose_every_step_is_known(seed: int) -> None:
    run = simulated(seed)
    found = account("run", run.events)
    assert found.microseconds == run.spent
    assert (found.steps_kept, found.steps_wasted) == (run.kept, run.wasted) and run.kept == 60
    assert found.goodput == pytest.approx(100 * run.spent[Account.STEP] / sum(run.spent.values()))


@pytest.mark.parametrize("seed", range(10))
def test_steps_that_are_not_logged_are_known_within_an_interval_and_no_time_is_lost(seed: int) -> None:
    run = simulated(seed, log_every=4)
    found = account("run", run.events)
    assert found.wall == run.events[-1].microseconds - run.events[0].microseconds
    assert found.steps_kept == 60
    attempts = len(found.attempts)
    assert run.wasted - 4 * attempts <= found.steps_wasted <= run.wasted


def event(at: float, name: str, attempt: int = 1, **more: Any) -> str:
    line = {"time": at, "attempt": attempt, "process": 0, "host": "a", "event": name} | more
    return json.dumps(line) + "\n"


def written(workdir: Path, *lines: str, process: int = 0) -> Path:
    path = workdir / "events" / f"{process}.jsonl" if process else workdir / "events.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(lines))
    return workdir


def test_a_run_that_goes_on_or_was_killed_is_known_up_to_its_last_event(tmp_path: Path) -> None:
    lines = [
        event(100.0, "start"),
        event(101.5, "compile", step=1, phase="begin"),
        event(110.0, "alive"),
        event(111.0, "compile", step=1, phase="end"),
        event(111.5, "first_step", step=1),
        event(113.0, "alive"),
        event(114.0, "step", step=11),
        event(120.0, "alive"),
    ]
    found = read_ledger(written(tmp_path, *lines))
    assert found.microseconds[Account.COMPILE] == 9_500_000
    assert found.microseconds[Account.STEP] == 9_000_000
    assert (found.steps_kept, found.attempts[0].reached, found.attempts[0].ended) == (11, 11, "")

    # Killed after that, and begun anew: all steps were in vain; clocks of two machines differ.
    found = read_ledger(
        written(tmp_path, *lines, event(119.0, "start", 2), event(119.5, "compile", 2, step=1, phase="begin"))
    )
    assert found.microseconds[Account.WASTED] == 9_000_000 and found.steps_wasted == 11
    assert found.microseconds[Account.DOWN] == 0 and found.wall == 20_000_000
    assert [attempt.ended for attempt in found.attempts] == ["killed", ""]


def test_a_failure_is_told_by_the_process_that_failed_first(tmp_path: Path) -> None:
    written(tmp_path, event(100.0, "start"), event(107.0, "failed", reason="a peer is lost"))
    other = event(105.0, "failed", process=3, host="b", reason="no such file: x\x1b[31m")
    written(tmp_path, event(101.0, "start", process=3), other, process=3)
    written(tmp_path, event(101.0, "start", process=2), event(108.0, "done", process=2), process=2)
    (attempt,) = read_ledger(tmp_path).attempts
    assert (attempt.ended, attempt.reason) == ("failed", "process 3 on b: no such file: x\x1b[31m")


def test_the_command_prints_it_in_words_and_as_decimals_that_add_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    run = simulated(3)
    lines = [event(e.microseconds / 1e6, e.name, e.attempt, step=e.step, phase=e.phase) for e in run.events]
    written(tmp_path, *lines, '{"time": 18')
    assert read_events(tmp_path / "events.jsonl") == run.events
    door.main(["ledger", str(tmp_path), "--format=json"])
    found = json.loads(capsys.readouterr().out, parse_float=Decimal)
    assert sum(found["seconds"].values()) == found["wall_seconds"]
    assert found["seconds"].keys() == set(Account)
    ends = [attempt["ended"] for attempt in found["attempts"]]
    assert [found[name] for name in ("preemptions", "failures", "kills", "stops")] == [
        ends.count(end) for end in ("preempted", "failed", "killed", "stopped")
    ]
    assert ends[-1] == "done" and found["steps_kept"] == 60

    door.main(["ledger", "--format=text", str(tmp_path)])
    text = capsys.readouterr().out
    assert f"goodput {found['goodput_percent']:.2f} %, 60 steps kept, {run.wasted:,} wasted" in text
    assert "wasted " in text and "2027-01-15 08:00:00 UTC" in text and "\u2502 done" in text


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (None, "is no directory; give the --workdir"),
        ([], "has no events.jsonl, or no event in it; give the --workdir"),
        ([event(1.0, "start"), "{}\n"], "events.jsonl:2 is no event (KeyError: 'time'); take the line out"),
        ([event(1.0, "start", 2), event(2.0, "start", 1)], "events.jsonl:2 is of attempt 1, behind one of"),
    ],
)
def test_what_there_is_no_ledger_of_is_one_line(
    tmp_path: Path, lines: list[str] | None, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir = tmp_path / "run"
    if lines is not None:
        workdir.mkdir()
        written(workdir, *lines)
    assert runner.exit_code(lambda: door.main(["ledger", str(workdir)])) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_one_run_is_asked_for_at_a_time() -> None:
    for words in ([], ["a", "b"]):
        with pytest.raises(ConfigError, match="runs given; give one directory"):
            door.main(["ledger", *words])
    with pytest.raises(ConfigError, match="Unknown command line flag 'formt'"):
        door.main(["ledger", "a", "--formt=json"])
    assert DataError.exit_code == ConfigError.exit_code == 2
