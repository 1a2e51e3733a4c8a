"""What the documents quote from the program is what the program says today."""

import itertools
import json
import re
from pathlib import Path

import pytest

from im_jax.config import POLICIES
from tests.samples import DOCS, make_place, quoted, run

pytestmark = pytest.mark.usefixtures("compiled_quickly")

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
        f"inspect_loss {LLAMA}ultrachat",
        f"inspect_loss {LLAMA}two.jsonl",
        *(f"inspect_loss {LLAMA}bad{number}.jsonl" for number in (1, 2, 3, 4, 5, 6, 7, 9)),
        f"inspect_loss {LLAMA}table.csv",
        f"inspect_loss {LLAMA}bad8.json",
        f"{JINJA}nostop.jinja",
        f"{JINJA}leaves.jinja",
        f"{SUM_JINJA}upper.jinja",
        f"{JINJA}tok/tokenizer_config.json",
        f"{SUM_JINJA}endless.jinja",
        f"train {LLAMA}chat.jsonl {SHORT}",
        f"train {LLAMA}sum.jsonl {SHORT}",
    ],
    "judged.md": [
        "evaluate score",
        "evaluate score --benchmark=alpaca_eval",
        "evaluate score --benchmark=alpaca_eval --judgements=sum.jsonl",
    ],
    "loss.md": [
        f"train {DEBUG} --config.loss.weights.stop=0",
        f"train {DEBUG} --config.loss.schedule=user:1..0@500 --config.train.steps=100",
        "train --config=configs/llama2_7b.py --config.loss.kl.weight=1 "
        "--config.loss.kl.estimator=sampled_released",
    ],
    "markov.md": ["markov --program=broken.txt --input=a"],
    "models.md": [
        *(f"train {DEBUG} --config.model.path={name}" for name in ("m1", "m2", "m3", "m4", "nowhere")),
        f"train {DEBUG} --config.model.path=stories260K.bin --config.model.vocab_size=999",
        f"train {DEBUG} --config.model.vocab_size=512 --config.tokenizer.path=tokenizer.model",
        f"train {DEBUG} --config.model.attention=cudnn",
    ],
    "plan.md": [f"plan {DEBUG} --topology=v5e-64"],
    "sweeps.md": ["sweep --config=my_sweep.py"],
    "training.md": [
        f"train {DEBUG} --config.mesh.replica=1 --config.mesh.fsdp=3",
        f"train {DEBUG} --config.optimizer.name=schedule_free_adamw --config.optimizer.schedule=linear",
    ],
}
"""The command that gives each error of a page, in their order."""
ELSEWHERE = (
    "holds a run with another configuration",
    "is at work there",
    "the loss is nan",
    "is not divisible by mesh.tensor",
    "several processes need one place",
    "is set, but JAX_NUM_PROCESSES",
    "--project is missing",
    "the hosts are not set up alike",
)
"""Errors that need a run, a second process, more devices or a shell: tests of training, models and `launch/` have these."""


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


def test_what_a_run_says_of_its_data_is_quoted_as_it_is(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fewer = "--config.eval.num_examples=0 --dry_run"
    commands = (f"train {LLAMA}context.jsonl {fewer}", f"train {LLAMA}chat.jsonl {SHORT} --dry_run")
    blocks = [block for block in quoted("data.md") if block.startswith("data: ")]
    for command, block in zip(commands, blocks, strict=True):
        run(command, place, monkeypatch)
        assert re.sub(r"error: .*\n", "", block) in capsys.readouterr().out


def test_a_run_prints_what_the_page_on_training_shows(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (DOCS / "training.md").read_text(encoding="utf-8")
    flags = re.search(r"`(--config\.train\.steps=5 [^`]*)`", page)
    assert flags is not None
    assert run(f"train {DEBUG} --workdir=runs/sample {flags[1]}", place, monkeypatch) == 0
    (block,) = (block for block in quoted("training.md") if block.startswith("policy im"))
    lines, printed = block.splitlines(), capsys.readouterr().out.splitlines()
    for line in lines:
        words = [re.escape(word) for word in line.split()]
        # Numbers of another machine may differ in the last of five digits.
        pattern = r"\s+".join(re.sub(r"(\d\\\.\d{2})\d*$", r"\1\\d*", word) for word in words)
        assert any(re.match(rf"\s*{pattern}", other) for other in printed), (line, printed)


def test_table_of_policies_says_what_each_trains(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (DOCS / "loss.md").read_text(encoding="utf-8")
    rows = [
        re.split(r"(?<!\\)\|", line)[1:-1]
        for line in page.splitlines()
        if re.match(r"\| `.*` \| \w+ \| [1·]", line)
    ]
    for at, policy in enumerate(POLICIES):
        command = f"inspect_loss {LLAMA}even.jsonl --config.loss.policy={policy} --format=jsonl"
        assert run(command, place, monkeypatch) == 0
        record = json.loads(capsys.readouterr().out)
        marked = zip(record["pieces"], record["classes"], record["weights"], strict=True)
        runs = [
            ("".join(piece for piece, *_ in group), *key)
            for key, group in itertools.groupby(marked, key=lambda item: item[1:])
        ]
        shown = [
            (
                text.strip(" `").replace("\\|", "|").replace("\\n", "\n"),
                name.strip(),
                float(marks[at].strip().replace("·", "0")),
            )
            for text, name, *marks in rows
        ]
        assert runs == shown


def transcripts() -> list[tuple[str, str, list[str]]]:
    """Page, command and output of each block that begins with `$`."""
    found = []
    for page in sorted(path.name for path in DOCS.glob("*.md")):
        for block in quoted(page):
            if block.startswith("$ python -m im_jax."):
                command, _, output = (
                    block.replace("\\\n", "").removeprefix("$ python -m im_jax.").partition("\n")
                )
                found.append((page, command, [line.rstrip() for line in output.splitlines()]))
    return found


@pytest.mark.parametrize(("page", "command", "lines"), transcripts())
def test_transcripts_show_what_is_printed(
    page: str,
    command: str,
    lines: list[str],
    place: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "stories260k" in command:
        real = request.getfixturevalue("shared_data") / "tinyllamas_stories260k"
        for name in ("stories260K.bin", "tok512.bin"):
            (place / name).unlink(missing_ok=True)
            (place / name).symlink_to(real / name)
    run(command, place, monkeypatch)
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    for shown in re.split(r"^\.\.\.$", "\n".join(lines), flags=re.MULTILINE):
        wanted = shown.strip("\n").split("\n")
        there = any(printed[at : at + len(wanted)] == wanted for at in range(len(printed)))
        assert there or wanted == [""], "\n".join(printed)
