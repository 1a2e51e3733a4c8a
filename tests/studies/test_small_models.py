"""The sweeps of the study on small models: what their runs differ in, and a pair on real data."""

import dataclasses
import json
from pathlib import Path

import pytest

from im_jax.config import flatten
from im_jax.console import Console
from im_jax.studies.small_models import HELD_OUT, METHODS, subset
from im_jax.sweeps.aggregation import measured
from im_jax.sweeps.cells import expand
from im_jax.sweeps.checks import checked_cells
from im_jax.sweeps.definition import Overrides
from im_jax.sweeps.evaluated import with_figures
from im_jax.sweeps.evaluations import with_local_data
from im_jax.sweeps.loading import load_sweep
from im_jax.sweeps.process import start_workers
from im_jax.sweeps.progress import Progress
from im_jax.sweeps.results import ResultsFile, Status
from im_jax.sweeps.running import run_cells
from im_jax.training.start import train
from tests.conftest import REPOSITORY

STUDY = REPOSITORY / "configs" / "study"


@pytest.mark.parametrize(("name", "runs"), [("ratio", 18), ("size", 18), ("methods", 21)])
def test_a_sweep_varies_what_it_is_called_by_and_nothing_else(name: str, runs: int) -> None:
    cells = expand(load_sweep(STUDY / f"{name}.py", "cpu"))
    assert len(cells) == runs
    fields = [flatten(cell.config) for cell in cells]
    differing = {field for field in fields[0] if len({str(each[field]) for each in fields}) > 1}
    of_methods = {field for changes in METHODS.values() for field in changes}
    of_name = {"ratio": {"data.subset.ratio"}, "size": {"data.subset.examples"}, "methods": of_methods}
    assert differing == {"seed", "data.seed", "loss.policy"} | of_name[name]
    assert all(each["eval.num_examples"] == HELD_OUT for each in fields)


def test_sweeps_share_the_runs_that_are_the_same() -> None:
    """So that all three may be run in one workdir, where none is trained twice."""
    hashes = {
        name: {cell.hash for cell in expand(load_sweep(STUDY / f"{name}.py", "cpu"))}
        for name in ("ratio", "size", "methods")
    }
    assert len(hashes["ratio"] & hashes["size"] & hashes["methods"]) == 6


@pytest.mark.timeout(600)
def test_a_pair_on_real_data_measures_all_it_says(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval", reason="needs the extra `eval`")
    sweep = load_sweep(STUDY / "ratio.py", "smoke")
    stories = shared_data / "tinyllamas_stories260k"
    sweep.base.model.path, sweep.base.tokenizer.path = (
        str(stories / "stories260K.bin"),
        str(stories / "tok512.bin"),
    )
    sweep.base.data.path = str(shared_data / "instruction_modelling" / "*.jsonl.gz")
    sweep.base.data.max_length = 128
    few: Overrides = {**subset(), "eval.num_examples": 20, "data.subset.examples": 60}
    sweep = dataclasses.replace(
        sweep,
        axes={"ratio": {"5": few}, "method": sweep.axes["method"]},
        evaluations=with_local_data(sweep.evaluations, str(shared_data)),
    )
    cells, results = checked_cells(sweep), ResultsFile(tmp_path / "results.jsonl")
    with (
        start_workers([None], sweep.evaluations) as workers,
        Progress(Console(quiet=True), len(cells), 0, sweep.measures) as progress,
    ):
        run_cells(
            cells,
            results,
            tmp_path,
            [workers[0].run],
            progress,
            sweep.keep_checkpoints,
            evaluations=sweep.evaluations,
        )
    rows = [results.get(cell.hash) for cell in cells]
    assert [row.error for row in rows if row and row.status is not Status.FINISHED] == []
    figures = [with_figures(row, sweep.evaluations) for row in rows if row]
    assert len(figures) == 2
    for measure in sweep.measures:
        assert None not in [measured(row, measure) for row in figures], measure.name
    user = next(measure for measure in sweep.measures if measure.name == "heldout.nll/user")
    it, im = (measured(row, user) or 0 for row in figures)
    assert im < it, "instructions are learned where they carry loss"


def test_rewriting_in_words_starts_from_a_pretrained_model(shared_data: Path, tmp_path: Path) -> None:
    """A token a letter, whatever the words of the request are cut into; answers are scored."""
    stories = shared_data / "tinyllamas_stories260k"
    sweep = load_sweep(STUDY / "rewrites.py", "smoke")
    sweep.base.model.path = str(stories / "stories260K.bin")
    sweep.base.tokenizer.path = str(stories / "tok512.bin")
    (cell,) = checked_cells(sweep)
    train(cell.config, str(tmp_path), Console(quiet=True))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["data"]["tokens"]["assistant"] == 6 * 1000
    assert {"unseen/has_op", "unseen/no_op", "train_rules/has_op"} <= summary["rewrites"].keys()
    assert summary["parameters"] == 260_032
