"""The sweeps on rewrites in their smallest size, run to the end: they measure what they say, and draw it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from im_jax.console import Console
from im_jax.sweeps.aggregation import measured
from im_jax.sweeps.checks import checked_cells
from im_jax.sweeps.definition import SHARE
from im_jax.sweeps.loading import load_sweep
from im_jax.sweeps.process import Worker, start_workers
from im_jax.sweeps.progress import Progress
from im_jax.sweeps.report import write_report
from im_jax.sweeps.results import ResultsFile, Status
from im_jax.sweeps.running import run_cells
from tests.conftest import REPOSITORY

SWEEPS = sorted((REPOSITORY / "configs" / "sweeps").glob("rewrites_*.py"))


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """One for all: most of their models are alike, and compiled once."""
    with start_workers([None]) as workers:
        yield workers[0]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_smoke_tier_runs_and_reports_every_number(path: Path, worker: Worker, tmp_path: Path) -> None:
    sweep = load_sweep(path, "smoke")
    cells = checked_cells(sweep)
    results = ResultsFile(tmp_path / "results.jsonl")
    with Progress(Console(quiet=True), len(cells), 0, sweep.measures) as progress:
        run_cells(cells, results, tmp_path, [worker.run], progress, sweep.keep_checkpoints)
    rows = [results.get(cell.hash) for cell in cells]
    assert [row.error for row in rows if row and row.status is not Status.FINISHED] == []
    for measure in sweep.every_measure():
        values = [measured(row, measure) for row in rows if row]
        assert len(values) == len(cells) and None not in values, measure.name
        low, high = measure.bounds
        assert all(low <= value <= high for value in values if value is not None), measure.name
        assert "accuracy" not in measure.name or measure.bounds == SHARE
    write_report(sweep, cells, results, tmp_path, "command")
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert all(measure.heading in report for measure in sweep.measures)
    drawn = len(sweep.measures) + len(sweep.profiles)
    assert len(list((tmp_path / "figures").glob("*.png"))) == drawn
