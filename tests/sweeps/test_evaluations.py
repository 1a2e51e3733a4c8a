"""Evaluations of finished runs: made once, kept with the run, failing by name, and measures like any other."""

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from im_jax import sweep
from im_jax.analysis.suite import Options
from im_jax.config import Config, flatten, with_overrides
from im_jax.console import Console
from im_jax.errors import ConfigError
from im_jax.evaluation.results import read_scores
from im_jax.sweeps.cells import expand
from im_jax.sweeps.checks import checked_cells
from im_jax.sweeps.definition import KeepCheckpoints, Measure, Sweep
from im_jax.sweeps.evaluated import answer_of, failed, keep, kept, lacking
from im_jax.sweeps.evaluations import (
    Evaluation,
    Overfitting,
    Tasks,
    from_request,
    hash_of,
    to_request,
    with_local_data,
)
from im_jax.sweeps.progress import Progress
from im_jax.sweeps.report import write_report
from im_jax.sweeps.results import ResultsFile
from im_jax.sweeps.running import clear_up, run_cells, unfinished
from im_jax.sweeps.worker import answer_to
from im_jax.training.start import train
from tests.conftest import REPOSITORY
from tests.evaluation.harness.local_data import write_local_data
from tests.sweeps.small import CountingRunner, small_sweep
from tests.training.tiny import tiny_config

SUITE = Overfitting(limit=8, answers=3, gradient_examples=2, max_new_tokens=4)
ASKED: dict[str, Evaluation] = {"benchmarks": Tasks(("piqa",), limit=2), "overfitting": SUITE}
GAP = Measure("overfitting.output_gap", "gap")


def evaluated_sweep(**changes: Any) -> Sweep:
    return small_sweep(evaluations=ASKED, measures=(GAP, Measure("benchmarks.piqa/acc")), **changes)


class EvaluatingRunner(CountingRunner):
    """Makes evaluations up as it is told; what it gives of a run is its seed, or an error."""

    def __init__(self, error: str = "") -> None:
        super().__init__()
        self._error = error

    def run(self, config: Config, directory: Path, waiting: Callable[[], None]) -> dict[str, Any]:
        answer = super().run(config, directory, waiting)
        gap = {"output_gap": config.seed / 2 + (config.loss.policy == "it")}
        made = {"overfitting": keep(directory / "x", SUITE, gap, 1.0)}
        tasks = ASKED["benchmarks"]
        made["benchmarks"] = (
            failed(tasks, self._error) if self._error else keep(directory, tasks, {"piqa/acc": 1}, 2)
        )
        return answer | {"evaluations": made}


def run(swept: Sweep, workdir: Path, runner: CountingRunner) -> tuple[ResultsFile, str]:
    cells, results, text = expand(swept), ResultsFile(workdir / "results.jsonl"), io.StringIO()
    clear_up(cells, results, workdir, swept.evaluations)
    waiting = unfinished(cells, results, swept.evaluations)
    skipped = len(cells) - len(waiting)
    console = Console(file=text, width=200)
    with Progress(console, len(cells), skipped, swept.measures, evaluations=swept.evaluations) as progress:
        run_cells(
            *(waiting, results, workdir, [runner.run], progress, swept.keep_checkpoints, swept.evaluations)
        )
    write_report(swept, cells, ResultsFile(workdir / "results.jsonl"), workdir, "command")
    return results, text.getvalue()


def test_what_is_asked_travels_and_is_known_by_its_hash() -> None:
    assert from_request(json.loads(json.dumps(to_request(ASKED)))) == {
        "benchmarks": Tasks(["piqa"], limit=2),
        "overfitting": SUITE,
    }
    assert hash_of(Tasks(("piqa",), limit=2)) == hash_of(Tasks(["piqa"], limit=2))
    assert hash_of(Tasks(("piqa",))) != hash_of(Tasks(("piqa",), limit=2))
    assert to_request({"a": Overfitting()}) == {"a": {"kind": "overfitting"}}, "a new option asks nothing new"


def test_options_of_the_suite_are_those_of_its_command() -> None:
    ours = {item.name: item.default for item in dataclasses.fields(Overfitting)}
    for item in dataclasses.fields(Options):
        if item.name in ours and item.name != "paragraphs":
            assert ours[item.name] == item.default, item.name
    assert {item.name for item in dataclasses.fields(Options)} - ours.keys() == {"lengths"}


def test_figures_are_measures_of_the_report_and_of_the_pairs(tmp_path: Path) -> None:
    results, told = run(evaluated_sweep(), tmp_path, EvaluatingRunner())
    assert all(
        row and not lacking(row, ASKED)
        for row in map(results.get, [c.hash for c in expand(evaluated_sweep())])
    )
    assert "gap 0.5" in told and "benchmarks.piqa/acc 1" in told
    report = (tmp_path / "report.md").read_text()
    assert "benchmarks of 8 of 8 finished runs; overfitting of 8 of 8 finished runs" in report
    assert "is not a number" not in report
    table = (tmp_path / "table.csv").read_text()
    assert "im - it,40,overfitting.output_gap,2,-1.0,0.0" in table
    assert not list(tmp_path.glob("runs/*/checkpoints")), "they are deleted once all is there"
    again = EvaluatingRunner()
    run(evaluated_sweep(), tmp_path, again)
    assert again.asked == []


def test_an_evaluation_that_failed_says_so_keeps_the_checkpoint_and_is_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    swept = evaluated_sweep(seeds=(0,))
    results, told = run(swept, tmp_path, EvaluatingRunner("no room"))
    assert "evaluation benchmarks of policy=im, examples=40, seed=0 failed: no room" in told
    report = (tmp_path / "report.md").read_text()
    assert "benchmarks of 0 of 4 finished runs, 4 failed; overfitting of 4 of 4" in report
    assert "## Failed evaluations" in report and "## Failed runs" not in report
    assert len(list(tmp_path.glob("runs/*/checkpoints"))) == 4
    with pytest.raises(SystemExit):
        sweep.exit_if_failed(swept, expand(swept), results, tmp_path)
    assert "policy=im, examples=40, seed=0: evaluation benchmarks: no room (log: " in capsys.readouterr().err
    again = EvaluatingRunner()
    run(swept, tmp_path, again)
    assert len(again.asked) == 4 and not list(tmp_path.glob("runs/*/checkpoints"))


def test_what_is_asked_in_other_words_is_no_longer_shown(tmp_path: Path) -> None:
    run(evaluated_sweep(), tmp_path, EvaluatingRunner())
    changed = {**ASKED, "overfitting": dataclasses.replace(SUITE, limit=7)}
    swept = small_sweep(evaluations=changed, measures=(GAP,))
    results = ResultsFile(tmp_path / "results.jsonl")
    write_report(swept, expand(swept), results, tmp_path, "command")
    assert "overfitting of 0 of 8 finished runs" in (tmp_path / "report.md").read_text()
    assert len(unfinished(expand(swept), results, changed)) == 8


def test_a_process_that_dies_while_it_evaluates_has_trained(tmp_path: Path) -> None:
    assert answer_of(tmp_path, ASKED, "killed") == {"status": "failed", "error": "killed"}
    (tmp_path / "summary.json").write_text('{"seconds": 1.0, "step": 6}')
    folder = tmp_path / "evaluations" / f"overfitting-{hash_of(SUITE)}"
    found = keep(folder, SUITE, {"output_gap": 1.0}, 3)
    answer = answer_of(tmp_path, ASKED, "killed")
    assert answer["status"] == "finished" and answer["summary"]["step"] == 6
    assert answer["evaluations"]["overfitting"] == found
    assert answer["evaluations"]["benchmarks"]["error"] == "killed"
    (folder / "figures.json").write_text('{"hash"')
    assert kept(tmp_path, ASKED) == {}, "a damaged file is made again"


def config(**changes: Any) -> Config:
    return with_overrides(tiny_config(), {"log.tensorboard": False, **changes})


def test_a_run_is_trained_once_and_measured_as_the_run_itself_measured(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    pytest.importorskip("sacrebleu")
    asked = with_local_data(ASKED, str(write_local_data(tmp_path / "data")))
    directory = tmp_path / "run"
    request = {
        "config": flatten(config()),
        "workdir": str(directory),
        "evaluations": json.loads(json.dumps(to_request(asked))),
    }
    first = answer_to(train, request)
    assert first["status"] == "finished", first
    found = first["evaluations"]
    assert not any(each.get("error") for each in found.values()), found
    assert found == kept(directory, asked)

    figures = found["overfitting"]["figures"]
    assert figures["nll/assistant/heldout"] == pytest.approx(
        first["summary"]["heldout"]["nll/assistant"], rel=1e-4
    )
    gap = figures["output_loss/heldout"] - figures["output_loss/train"]
    assert figures["output_gap"] == pytest.approx(gap) and figures["output_gap_stderr"] > 0
    assert 0 <= figures["bleu/train"] <= 100 and -1 <= figures["gradient_cosine"] <= 1
    (folder,) = directory.glob("evaluations/benchmarks-*")
    scores = {score.metric: score.value for score in read_scores(folder) if score.name == "piqa"}
    assert found["benchmarks"]["figures"]["piqa/acc"] == scores["acc,none"]
    assert len((folder / "items/piqa.jsonl").read_text().splitlines()) == 2

    def never(*_: Any) -> dict[str, Any]:
        raise AssertionError("it was trained again")

    assert answer_to(never, request)["evaluations"] == found


def test_what_an_evaluation_lacks_is_said_before_a_run_is_trained(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")

    def never(*_: Any) -> dict[str, Any]:
        raise AssertionError("it was trained")

    request = {"config": {}, "workdir": str(tmp_path)}
    asked = to_request({"benchmarks": Tasks(("boolq_closed",))})
    answer = answer_to(never, request | {"evaluations": asked})
    assert answer["status"] == "failed"
    assert answer["error"].startswith("evaluation benchmarks: --tasks=boolq_closed")
    assert "set --local_data=DIR" in answer["error"]

    (tmp_path / "summary.json").write_text('{"seconds": 1.0}')
    answer = answer_to(never, request | {"evaluations": to_request({"suite": SUITE})})
    assert answer["status"] == "finished"
    assert "the checkpoints of this run are deleted" in answer["evaluations"]["suite"]["error"]


@pytest.mark.parametrize(
    ("evaluations", "message"),
    [
        ({"tasks": Tasks(("piqa",))}, "evaluation tasks: choose a name of letters, other than data, "),
        ({"a.b": Tasks(("piqa",))}, "evaluation a.b: choose a name of letters"),
        ({"a": Tasks("piqa")}, "evaluation a: names='piqa': give names of tasks, such as ('piqa', "),
        ({"a": Tasks(("piqa",), local_data="nowhere")}, "evaluation a: local_data=nowhere is no folder"),
        ({"a": Tasks(("piqa",), limit=0)}, "evaluation a: limit=0: give a whole number of 1 or more"),
        ({"a": Tasks(("piqa",), add_bos="x")}, "evaluation a: add_bos='x' is not one of auto, yes, no"),
        ({"a": Overfitting(text="nowhere.txt")}, "evaluation a: text=nowhere.txt is no file"),
        ({"a": "piqa"}, "evaluation a: 'piqa' is str; it must be Tasks or Overfitting"),
    ],
)
def test_mistakes_are_named(evaluations: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        checked_cells(small_sweep(evaluations=evaluations))
    assert message in str(error.value)


def test_runs_that_hold_nothing_out_have_no_overfitting() -> None:
    swept = small_sweep(evaluations={"suite": Overfitting()})
    swept.base.eval.num_examples = 0
    with pytest.raises(ConfigError, match=r"eval\.num_examples=0: overfitting shows on examples"):
        checked_cells(swept)
    with pytest.raises(ConfigError, match="--local_data has no effect"):
        with_local_data({"suite": Overfitting()}, "DIR")


def test_evaluations_may_come_later_and_keep_checkpoints_for_that(tmp_path: Path) -> None:
    words = ["sweep", f"--config={REPOSITORY / 'configs/paper/table_2.py'}", "--tier=smoke"]
    now, _ = sweep.read_sweep(sweep.run.parse(words))
    later, _ = sweep.read_sweep(sweep.run.parse([*words, "--noevaluate"]))
    assert now.evaluations and now.keep_checkpoints is KeepCheckpoints.NONE
    assert not later.evaluations and later.keep_checkpoints is KeepCheckpoints.ALL
    with pytest.raises(ConfigError, match="--local_data has no effect"):
        sweep.read_sweep(sweep.run.parse([*words, f"--local_data={tmp_path}"]))
