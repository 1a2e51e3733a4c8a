"""Which cells run: each once; failed ones again; finished ones never, however the sweep ended before."""

import io
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from im_jax.config import Config
from im_jax.console import Console
from im_jax.sweeps import progress as progress_module
from im_jax.sweeps.cells import expand
from im_jax.sweeps.definition import KeepCheckpoints, Measure
from im_jax.sweeps.progress import Progress
from im_jax.sweeps.results import Result, ResultsFile, Status
from im_jax.sweeps.running import run_cells
from tests.sweeps.small import LOSS, CountingRunner, loss_of, run_small, small_sweep

CELLS = expand(small_sweep())


def test_every_cell_runs_once_and_a_second_start_runs_none(tmp_path: Path) -> None:
    first, second = CountingRunner(), CountingRunner()
    results = run_small(tmp_path, first)
    assert first.asked == [cell.config for cell in CELLS]
    for cell in CELLS:
        row = results.get(cell.hash)
        assert row is not None and (row.labels, row.seed, row.status) == (
            cell.labels,
            cell.seed,
            Status.FINISHED,
        )
        assert row.summary == {"step": 6, "seconds": 1.5, "heldout.nll/assistant": loss_of(cell.config)}
    run_small(tmp_path, second)
    assert second.asked == []


def test_a_failure_stops_no_other_run_and_is_tried_again(tmp_path: Path) -> None:
    runner = CountingRunner(fails=lambda config: config.loss.policy == "it" and config.seed == 0)
    results = run_small(tmp_path, runner)
    assert len(runner.asked) == 8
    failed = [cell for cell in CELLS if (row := results.get(cell.hash)) and row.status is Status.FAILED]
    assert [cell.name for cell in failed] == [
        "policy=it, examples=40, seed=0",
        "policy=it, examples=80, seed=0",
    ]
    row = results.get(failed[0].hash)
    assert row is not None and row.error == "the loss is inf" and row.summary == {}

    again = CountingRunner()
    results = run_small(tmp_path, again)
    assert again.asked == [cell.config for cell in failed]
    rows = [results.get(cell.hash) for cell in CELLS]
    assert [row.status for row in rows if row is not None] == [Status.FINISHED] * 8
    assert len(results) == 8


def test_runs_go_on_side_by_side_and_a_failure_stops_no_other(tmp_path: Path) -> None:
    both = threading.Barrier(2)  # two threads pass it together, or none does
    runner = CountingRunner(fails=lambda config: config.loss.policy == "it" and config.seed == 0)

    class Meeting:
        def run(self, config: Config, directory: Path, waiting: Callable[[], None]) -> dict[str, Any]:
            both.wait(timeout=60)
            return runner.run(config, directory, waiting)

    results = run_small(tmp_path, Meeting(), workers=2)
    assert len(runner.asked) == 8
    rows = [results.get(cell.hash) for cell in CELLS]
    assert [row.status.value for row in rows if row is not None] == (
        ["finished"] * 2 + ["failed"] * 2 + ["finished"] * 4
    )
    assert [row.summary.get("heldout.nll/assistant") for row in rows[4:] if row is not None] == [
        loss_of(cell.config) for cell in CELLS[4:]
    ]


def test_interruption_ends_the_wait_for_all_runs_and_writes_no_row(tmp_path: Path) -> None:
    class Endless:
        began = 0
        given_up = 0

        def run(self, config: Config, directory: Path, waiting: Callable[[], None]) -> dict[str, Any]:
            self.began += 1
            try:
                while True:
                    waiting()
                    time.sleep(0.01)
            finally:
                self.given_up += 1

    runner = Endless()

    class Interrupted(Progress):
        def look(self) -> None:
            if runner.began == 2:
                raise KeyboardInterrupt

    results = ResultsFile(tmp_path / "results.jsonl")
    with Interrupted(Console(quiet=True), 8, 0, [], workers=2) as progress, pytest.raises(KeyboardInterrupt):
        run_cells(CELLS, results, tmp_path, [runner.run] * 2, progress, KeepCheckpoints.NONE)
    assert (runner.began, runner.given_up, len(results)) == (2, 2, 0)


def test_new_cells_are_added_to_what_is_there(tmp_path: Path) -> None:
    run_small(tmp_path, CountingRunner())
    more = expand(small_sweep(seeds=(0, 1, 2)))
    runner = CountingRunner()
    run_small(tmp_path, runner, more)
    assert [config.seed for config in runner.asked] == [2, 2, 2, 2]


def test_a_run_that_finished_before_its_row_was_written_is_not_run_again(tmp_path: Path) -> None:
    run_small(tmp_path, CountingRunner())
    path = tmp_path / "results.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]) + lines[-1][:20])
    last = CELLS[-1].directory(tmp_path) / "summary.json"
    runner = CountingRunner()
    results = run_small(tmp_path, runner)
    assert runner.asked == []
    row = results.get(CELLS[-1].hash)
    assert row is not None and row.seconds == 1.5
    assert row.summary["heldout.nll/assistant"] == json.loads(last.read_text())["heldout"]["nll/assistant"]

    path.write_text("".join(lines[:-1]))
    last.write_text('{"step": 6, "hel')
    run_small(tmp_path, runner)
    assert runner.asked == [CELLS[-1].config]


@pytest.mark.parametrize(
    ("summary", "reason"),
    [
        ("[1, 2]", "it is list, not an object"),
        ('{"step": 6}', "it does not say how many seconds the run took"),
        ('{"seconds": NaN}', "NaN is no number of JSON"),
        ('{"a":' * 100_000, "it is nested too deep"),
        ('{"step": 6, "hel', "it is no JSON from character "),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_damaged_summary_is_named_and_its_run_goes_on(summary: str, reason: str, tmp_path: Path) -> None:
    run_small(tmp_path, CountingRunner(), CELLS[1:])
    directory = CELLS[0].directory(tmp_path)
    directory.mkdir()
    (directory / "summary.json").write_text(summary)
    runner, told = CountingRunner(), list[str]()
    results = run_small(tmp_path, runner, told=told)
    (message,) = told
    assert message.startswith(f"{directory / 'summary.json'} is damaged, so its run goes on from its last ")
    assert reason in message
    assert runner.asked == [CELLS[0].config] and len(results) == 8


def test_labels_that_look_like_markup_are_recovered_and_shown(tmp_path: Path) -> None:
    axes = {"policy": {"[/x]": {"loss.policy": "im"}, "[red]\x1b[31m": {"loss.policy": "it"}}}
    cells = expand(small_sweep(axes=axes, seeds=(0,), plot=None))
    for cell in cells:
        CountingRunner().run(cell.config, cell.directory(tmp_path), lambda: None)
    text, told = io.StringIO(), list[str]()
    results = run_small(tmp_path, CountingRunner(), cells, told=told, console=Console(file=text))
    assert len(results) == 2
    assert told == [
        "policy=[/x], seed=0 had finished before its result was written",
        r"policy=[red]\x1b[31m, seed=0 had finished before its result was written",
    ]
    (tmp_path / "results.jsonl").unlink()
    for cell in cells:
        (cell.directory(tmp_path) / "summary.json").unlink()
    run_small(tmp_path, CountingRunner(), cells, console=Console(file=text))
    assert "[/x]" in text.getvalue() and r"[red]\x1b[31m" in text.getvalue()
    assert "\x1b" not in text.getvalue()


def test_checkpoints_that_a_killed_sweep_left_behind_a_result_go_at_the_next_start(tmp_path: Path) -> None:
    for keep in (KeepCheckpoints.NONE, KeepCheckpoints.ALL):
        workdir = tmp_path / keep.value
        run_small(workdir, CountingRunner(), keep=keep)
        left = [cell.directory(workdir) / "checkpoints" for cell in CELLS]
        for path in left:
            (path / "6").mkdir(parents=True, exist_ok=True)
        run_small(workdir, CountingRunner(), keep=keep)
        assert [path.exists() for path in left] == [keep is KeepCheckpoints.ALL] * 8


def test_checkpoints_go_once_a_run_has_finished_and_stay_where_it_failed(tmp_path: Path) -> None:
    fails = CountingRunner(fails=lambda config: config.seed == 1)
    run_small(tmp_path / "none", fails)
    kept = [(cell.directory(tmp_path / "none") / "checkpoints").exists() for cell in CELLS]
    assert kept == [False] * 4 + [True] * 4
    run_small(tmp_path / "all", CountingRunner(), keep=KeepCheckpoints.ALL)
    assert all((cell.directory(tmp_path / "all") / "checkpoints" / "6").exists() for cell in CELLS)


def test_lines_tell_how_far_the_sweep_is(tmp_path: Path) -> None:
    text = io.StringIO()
    runner = CountingRunner(fails=lambda config: config.loss.policy == "it" and config.seed == 1)
    run_small(tmp_path, CountingRunner(), CELLS[:2])
    run_small(tmp_path, runner, CELLS, console=Console(file=text))
    lines = text.getvalue().splitlines()
    assert lines[0] == "[3/8]: policy=it, examples=40, seed=0 begins"
    assert lines[1].startswith(
        "[3/8]: policy=it, examples=40, seed=0  finished in 0 s  loss of answers 1.48  "
    )
    assert lines[1].endswith("less than a minute left")
    assert lines[-1] == "[8/8]: policy=it, examples=80, seed=1  failed in 0 s: the loss is inf"


def test_time_left_is_shared_by_the_workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now = 0.0
    monkeypatch.setattr(progress_module.time, "perf_counter", lambda: now)
    with Progress(Console(quiet=True), 8, 0, [LOSS], workers=2) as progress:
        for cell in CELLS[:2]:
            progress.start(cell, tmp_path)
        now = 600.0
        for cell in CELLS[:2]:
            progress.end(cell, Result(cell.labels, cell.seed, cell.hash, Status.FINISHED, 600.0))
        for cell in CELLS[2:4]:
            progress.start(cell, tmp_path)
        assert progress._time_left() == "about 30 min left"  # six of ten minutes, two at a time
        now = 840.0
        assert progress._time_left() == "about 26 min left"
        now = 6000.0
        assert progress._time_left() == "about 20 min left"  # four to begin; two end any moment


def test_terminal_shows_all_runs_that_are_going_on(tmp_path: Path) -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=120)
    with Progress(console, 8, 0, [LOSS], workers=2) as progress:
        for at, cell in enumerate(CELLS[:2]):
            (tmp_path / str(at)).mkdir()
            (tmp_path / str(at) / "metrics.jsonl").write_text(f'{{"step": {at + 2}}}\n')
            progress.start(cell, tmp_path / str(at))
        progress.look()
        progress._bars.refresh()
        shown = text.getvalue()
        assert "0/8" in shown
        assert "2/6" in shown and "policy=im, examples=40, seed=0" in shown
        assert "3/6" in shown and "policy=im, examples=80, seed=0" in shown
        for cell in CELLS[:2]:
            progress.end(cell, Result(cell.labels, cell.seed, cell.hash, Status.FAILED, 1.0, "killed"))
        text.truncate(0)
        progress._bars.refresh()
        assert "2/8" in text.getvalue() and "2 failed" in text.getvalue()
        assert "examples=40" not in text.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80])
def test_bars_of_a_narrow_terminal_have_their_numbers(width: int, tmp_path: Path) -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=width, color_system=None)
    with Progress(console, 1234, 1000, [LOSS], workers=2) as progress:
        for cell in CELLS[:2]:
            progress.start(cell, tmp_path)
        text.truncate(0)
        progress._bars.refresh()
        shown = text.getvalue()
    assert "sweep " in shown and " 1000/1234 " in shown
    assert shown.count("step ") == 2 and shown.count(" 0/6 ") == 2
    assert shown.count(" policy=im, e") == 2


def test_measure_that_no_run_has_is_named_at_once(tmp_path: Path) -> None:
    text = io.StringIO()
    measures, others = [Measure("heldout.nll/asistant")], [Measure("heldout.nll/user")]
    with Progress(Console(file=text), 8, 0, measures, others) as progress:
        results = ResultsFile(tmp_path / "results.jsonl")
        run_cells(CELLS, results, tmp_path, [CountingRunner().run], progress, KeepCheckpoints.NONE)
    for name in ("asistant", "user"):
        message = f"the summary of a run has no heldout.nll/{name}; did you mean heldout.nll/assistant?"
        assert text.getvalue().splitlines().count(message) == 1
