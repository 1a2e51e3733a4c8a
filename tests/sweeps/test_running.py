"""Which cells run: each once; failed ones again; finished ones never, however the sweep ended before."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from im_jax.errors import ConfigError
from im_jax.sweeps.cells import expand
from im_jax.sweeps.definition import KeepCheckpoints, Measure
from im_jax.sweeps.progress import Progress
from im_jax.sweeps.results import ResultsFile, Status
from im_jax.sweeps.running import alone, run_cells
from tests.sweeps.small import CountingRunner, loss_of, run_small, small_sweep

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


def test_measure_that_no_run_has_is_named_at_once(tmp_path: Path) -> None:
    text = io.StringIO()
    measures = [Measure("heldout.nll/asistant")]
    with Progress(Console(file=text), 8, 0, measures) as progress:
        results = ResultsFile(tmp_path / "results.jsonl")
        run_cells(CELLS, results, tmp_path, CountingRunner().run, progress, KeepCheckpoints.NONE)
    message = "the summary of a run has no heldout.nll/asistant; did you mean heldout.nll/assistant?"
    assert text.getvalue().splitlines().count(message) == 1


def test_two_sweeps_do_not_share_a_directory(tmp_path: Path) -> None:
    with (
        alone(tmp_path),
        pytest.raises(ConfigError, match="a sweep is running there; wait for it"),
        alone(tmp_path),
    ):
        pass
    with alone(tmp_path):
        pass
