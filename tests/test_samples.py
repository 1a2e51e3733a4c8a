"""What the documents quote from the program is what the program says today."""

import re
from pathlib import Path

import pytest

from tests.samples import DOCS, make_place, run

DEBUG, LLAMA = "--config=configs/cpu_debug.py", "--config=configs/tiny_llama.py --config.data.path="
JINJA = f"inspect_loss {LLAMA}chat.jsonl --config.data.template="
SHORT = "--config.data.max_length=40 --config.eval.num_examples=0 --workdir=out"
SUM_JINJA = f"inspect_loss {LLAMA}sum.jsonl --config.data.template="

ERRORS = {
    "configuration.md": [
        f"train {DEBUG} --config.loss.polcy=im",
        f"train {DEBUG} --config.loss.policy=IM",
        f"train {DEBUG} --config.train.steps=abc",
        f"train {DEBUG} --config.optimizer.learning_rate=-1",
        "train --config=configs/rewrites/cpu.py --config.data.rewrites.num_rules=0",
        f"train {DEBUG} --config.data.max_length=4096",
        f"train {DEBUG} --config.train.accumulate=3",
        f"train {DEBUG} --config.model.path=llama --config.model.num_layers=7",
        "train --config=configs/sweeps/im_and_it.py",
    ],
    "data.md": [
        f"train {DEBUG} --config.data.path=chat.jsonl",
        f"inspect_loss {LLAMA}two.jsonl",
        *(f"inspect_loss {LLAMA}bad{number}.jsonl" for number in (1, 2, 3, 4, 5, 6, 7, 9)),
        f"inspect_loss {LLAMA}table.csv",
        f"inspect_loss {LLAMA}bad8.jsonl",
        f"{JINJA}nostop.jinja",
        f"{JINJA}leaves.jinja",
        f"{SUM_JINJA}upper.jinja",
        f"{JINJA}tok/tokenizer_config.json",
        f"{SUM_JINJA}endless.jinja",
        f"train {LLAMA}chat.jsonl {SHORT}",
        f"train {LLAMA}sum.jsonl {SHORT}",
    ],
    "loss.md": [f"train {DEBUG} --config.loss.weights.stop=0"],
    "markov.md": ["markov --program=broken.txt --input=a"],
    "models.md": [
        *(f"train {DEBUG} --config.model.path={name}" for name in ("m1", "m2", "m3", "m4", "nowhere")),
        f"train {DEBUG} --config.model.path=stories260K.bin --config.model.vocab_size=999",
        f"train {DEBUG} --config.model.vocab_size=512 --config.tokenizer.path=tokenizer.model",
        f"train {DEBUG} --config.model.attention=cudnn",
    ],
    "sweeps.md": ["sweep --config=my_sweep.py"],
    "training.md": [f"train {DEBUG} --config.mesh.replica=1 --config.mesh.fsdp=3"],
}
"""The command that gives each error of a page, in their order."""
ELSEWHERE = (
    "holds a run with another configuration",
    "is at work there",
    "the loss is nan",
    "is not divisible by mesh.tensor",
    "several processes need one place",
    "is set, but JAX_NUM_PROCESSES",
)
"""Errors that need a run, a second process or more devices: tests of training and of models have these."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("samples")
    make_place(path)
    return path


def errors(page: str) -> list[str]:
    lines = re.findall(r"^error: .*$", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [line for line in lines if not any(words in line for words in ELSEWHERE)]


def test_every_error_that_is_quoted_has_its_command() -> None:
    pages = {page.name: len(errors(page.name)) for page in DOCS.glob("*.md") if errors(page.name)}
    assert pages == {page: len(commands) for page, commands in ERRORS.items()}


@pytest.mark.parametrize(
    ("page", "at", "command"),
    [(page, at, command) for page, commands in ERRORS.items() for at, command in enumerate(commands)],
)
def test_errors_are_quoted_as_they_are(
    page: str,
    at: int,
    command: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(command, place, monkeypatch) == 2
    assert capsys.readouterr().err.splitlines()[0] == errors(page)[at]
