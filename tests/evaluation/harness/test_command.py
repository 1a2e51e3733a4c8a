"""The command, and tasks in a run: what they write, show and refuse."""

import json
from pathlib import Path

import pytest

from im_jax import evaluate
from im_jax.config import Config
from im_jax.console import Console
from im_jax.errors import ConfigError
from im_jax.evaluate import tasks as door
from im_jax.evaluation.results import read_scores
from im_jax.training.loop import train_run
from im_jax.training.run import prepare_run, resolve
from tests.evaluation.harness.local_data import write_local_data
from tests.evaluation.harness.made_model import write_model
from tests.training.tiny import tiny_config

pytest.importorskip("lm_eval", reason="needs the extra `eval`")
pytestmark = pytest.mark.usefixtures("compiled_quickly")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_local_data(tmp_path_factory.mktemp("data"))


def run(*flags: str) -> None:
    door.main(door.run.parse(["evaluate", *flags]))


def test_the_command_writes_scores_items_and_what_the_harness_said(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, output = write_model(tmp_path / "model"), tmp_path / "out"
    flags = [f"--model={model}", f"--local_data={data}", "--limit=2", "--max_new_tokens=4"]
    run(*flags, "--tasks=piqa,gsm8k_cot", f"--output={output}")
    shown = " ".join(capsys.readouterr().out.split())
    assert "gsm8k_cot exact_match,strict-match 8 2" in shown and f"written to {output}" in shown
    assert {path.name for path in output.iterdir()} == {"results.json", "items", "lm_eval.log"}
    names = {(score.name, score.metric) for score in read_scores(output)}
    assert {
        ("piqa", "acc,none"),
        ("piqa", "acc_norm,none"),
        ("gsm8k_cot", "exact_match,strict-match"),
    } <= names
    about = json.loads((output / "results.json").read_text())
    assert about["model"] == str(model) and about["settings"]["limit"] == 2
    with pytest.raises(ConfigError, match="out has results; choose another folder"):
        run(*flags, "--tasks=piqa", f"--output={output}")
    chat = tmp_path / "chat"
    run(*flags, "--tasks=piqa", "--apply_chat_template", "--num_fewshot=1", f"--output={chat}")
    prompts = [
        json.loads(line)["prompt_hash"] for line in (chat / "items" / "piqa.jsonl").read_text().splitlines()
    ]
    plain = [
        json.loads(line)["prompt_hash"] for line in (output / "items" / "piqa.jsonl").read_text().splitlines()
    ]
    assert len(prompts) == 2 and not set(prompts) & set(plain)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), r"no tasks; set --tasks=im_paper"),
        (("--tasks=piqa",), r"no folder to write; set --output=DIR"),
        (("--tasks=piqa", "--output=o", "--local_data=nowhere"), r"nowhere is no folder of data sets"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, flags: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        run(f"--model={write_model(tmp_path / 'model')}", *flags)


def test_a_first_word_that_is_no_verb_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        evaluate.run(["evaluate", "compar", "a", "b"])
    assert end.value.code == 2
    assert "'compar' is nothing to do; did you mean compare?" in capsys.readouterr().err


def with_tasks(names: str, data: Path) -> Config:
    config = tiny_config()
    config.train.steps = 2
    config.eval.tasks, config.eval.tasks_every = names, 1
    config.eval.tasks_limit, config.eval.local_data = 1, str(data)
    return config


def test_a_run_measures_tasks_while_it_trains(data: Path, tmp_path: Path) -> None:
    summary = train_run(
        prepare_run(resolve(with_tasks("piqa, winogrande", data))), tmp_path, Console(quiet=True)
    )
    entries = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    tasks = [entry for entry in entries if entry["split"] == "tasks"]
    assert [entry["step"] for entry in tasks] == [1, 2]
    assert tasks[-1]["winogrande/acc"] in (0.0, 1.0) and "piqa/acc_norm" in tasks[-1]
    assert summary["tasks"] == tasks[-1]


def test_a_run_does_not_begin_with_tasks_that_have_no_data(data: Path) -> None:
    with pytest.raises(ConfigError, match="hellaswag has no data here"):
        prepare_run(resolve(with_tasks("hellaswag", data)))
    with pytest.raises(ConfigError, match=r"gsm8k_cot asks for answers of 256 tokens.*leave the task out"):
        prepare_run(resolve(with_tasks("gsm8k_cot", data)))
