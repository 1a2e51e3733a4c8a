"""The command that lets a model answer."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from im_jax.data.tokenizers import make_tokenizer
from im_jax.training.start import train
from tests.conftest import REPOSITORY
from tests.data import synthetic
from tests.models.llama2c_file import write_story
from tests.training.test_train import QUIET
from tests.training.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("compiled_quickly")

SHRUNK = [
    "--config=configs/cpu_debug.py",
    "--config.model.num_layers=2",
    "--config.model.embed_dim=32",
    "--config.model.mlp_dim=64",
    "--config.model.vocab_size=320",
]


def generate(*flags: str, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "im_jax.generate", *flags],
        cwd=cwd,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run."""
    path = tmp_path_factory.mktemp("run")
    train(tiny_config(), path, QUIET)
    return path


def test_a_run_is_asked_by_its_directory_alone_from_anywhere(workdir: Path, tmp_path: Path) -> None:
    flags = [f"--workdir={workdir}", "--max_tokens=12"]
    alone = generate(*flags, "--prompt=What is 1 + 1?", cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    with_file = generate(*SHRUNK, *flags, "--prompt=What is 1 + 1?")
    assert with_file.stdout == alone.stdout
    together = generate(*flags, "--prompt=What is 1 + 1?", "--prompt=Copy this: a longer prompt")
    assert together.returncode == 0, together.stderr
    # Whatever stands beside it, and told apart.
    assert together.stdout.startswith("> What is 1 + 1?\n" + alone.stdout.rstrip("\n"))
    assert "\n\n> Copy this: a longer prompt\n" in together.stdout


def test_a_run_is_not_asked_otherwise_than_it_was_trained(workdir: Path) -> None:
    flags = [f"--workdir={workdir}", "--prompt=hi"]
    other = generate(*flags, "--config.data.template=chatml")
    assert other.returncode == 2
    assert "was trained with data.template=tulu, not chatml" in other.stderr
    other = generate(*SHRUNK, *flags, "--config.model.num_layers=3")
    assert "was trained with model.num_layers=2, not 3" in other.stderr
    typed = generate(*flags, "--max_tokens=4", "--config.model.compute_dtype=bfloat16")
    assert typed.returncode == 0, typed.stderr


def test_pretrained_model_continues_text(shared_data: Path) -> None:
    """The greedy story of the model's own document."""
    directory = shared_data / "tinyllamas_stories260k"
    done = generate(
        "--config=configs/stories260k.py",
        f"--config.model.path={directory}/stories260K.bin",
        f"--config.tokenizer.path={directory}/tok512.bin",
        "--mode=text",
        "--prompt=Once upon a time",
        "--max_tokens=120",
    )
    assert done.returncode == 0, done.stderr
    document = (directory / "stories260K.md").read_text()
    story = re.search(r"-t 0\.0\nOnce upon a time(.*?)```", document, re.DOTALL)
    assert story is not None
    assert len(done.stdout) > 200
    assert story.group(1).startswith(done.stdout.rstrip("\n"))


def test_a_small_llama2c_file_tells_its_story(tmp_path: Path) -> None:
    """A prompt, its tokens, the model and the text again, as with the real one above."""
    path = synthetic.llama2c_tokenizer(tmp_path)
    tokenizer = make_tokenizer(str(path))
    words = " ".join(message["content"] for chat in synthetic.chats(20) for message in chat).split()
    tokens = tokenizer.encode("Once upon").ids.tolist()
    begun, story = len(tokens), "Once upon"
    for word in words:  # no token twice, so that each has one that follows it
        longer = tokenizer.encode(f"{story} {word}").ids.tolist()
        if len(longer) == len(set(longer)) and longer[: len(tokens)] == tokens and len(longer) < 60:
            tokens, story = longer, f"{story} {word}"
    assert len(tokens) > begun + 20
    assert tokenizer.eos_id is not None
    write_story(tmp_path / "model.bin", [*tokens, tokenizer.eos_id], tokenizer.vocab_size)
    done = generate(
        "--config=configs/stories260k.py",
        f"--config.model.path={tmp_path}/model.bin",
        f"--config.tokenizer.path={path}",
        "--mode=text",
        "--prompt=Once upon",
        "--max_tokens=100",
    )
    assert done.returncode == 0, done.stderr
    assert "Once upon" + done.stdout.rstrip("\n") == story


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (SHRUNK, "nothing to answer; set --prompt=TEXT"),
        ([*SHRUNK, "--prompt=hi"], "no model to ask; set --workdir=DIR"),
        (["--prompt=hi"], "no model to ask; set --workdir=DIR of a run, --model=DIR, or --config=FILE"),
        ([*SHRUNK, "--prompt=hi", "--workdir=nowhere"], "--workdir=nowhere has no checkpoints"),
        (["--prompt=hi", "--workdir=nowhere"], "--workdir=nowhere has no config.json"),
        (["--prompt=hi", "--workdir=a", "--model=b"], "--workdir=a and --model=b: ask one of them"),
        ([*SHRUNK, "--prompt=hi", "--prompts=a"], "--prompt and --prompts: give one of them"),
        ([*SHRUNK, "--prompts=a"], "--prompts needs --output=FILE.jsonl"),
        ([*SHRUNK, "--prompt=hi", "--output=a"], "--output needs --prompts=FILE.jsonl"),
        (
            [*SHRUNK, "--prompt=hi", "--top_p=2"],
            "top_p=2.0 is not allowed; set a number above 0 and at most 1",
        ),
        ([*SHRUNK, "--prompt=hi", "--n=2"], "n=2 with temperature=0 gives equal answers"),
    ],
)
def test_mistakes_are_one_line(flags: list[str], message: str) -> None:
    done = generate(*flags)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]


def test_a_prompt_without_room_for_an_answer_is_one_line(workdir: Path) -> None:
    done = generate(f"--workdir={workdir}", f"--prompt={'hi' * 150}", "--max_tokens=300")
    assert done.returncode == 2
    assert "leaves no room for an answer in the model's 256 positions" in done.stderr.splitlines()[-1]


def test_a_file_of_prompts_is_answered_into_a_file(workdir: Path, tmp_path: Path) -> None:
    prompts, output = tmp_path / "prompts.jsonl", tmp_path / "answers.jsonl"
    question = {"messages": [{"role": "user", "content": "What is 1 + 1?"}], "id": "sum"}
    prompts.write_text(json.dumps(question) + '\n{"prompt": "Copy", "temperature": 1.0, "n": 2}\n')
    flags = [f"--workdir={workdir}", "--max_tokens=12"]
    done = generate(*flags, f"--prompts={prompts}", f"--output={output}", "--slots=2")
    assert done.returncode == 0, done.stderr
    _, first, *others = map(json.loads, output.read_text().splitlines())
    assert (first["id"], [each["sample"] for each in others]) == ("sum", [0, 1])
    alone = generate(*flags, "--prompt=What is 1 + 1?")
    assert alone.stdout == first["text"] + "\n"
    refused = generate(*flags, f"--prompts={prompts}", f"--output={output}", "--slots=2", "--top_k=3")
    assert refused.returncode == 2
    assert "holds answers with another parameters" in refused.stderr.splitlines()[-1]
