"""The command that lets a model answer."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from im_jax.training.start import train
from tests.conftest import REPOSITORY
from tests.training.test_train import QUIET
from tests.training.tiny import tiny_config

SHRUNK = [
    "--config=configs/cpu_debug.py",
    "--config.model.num_layers=2",
    "--config.model.embed_dim=32",
    "--config.model.mlp_dim=64",
    "--config.model.vocab_size=320",
]


def generate(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "im_jax.generate", *flags],
        cwd=REPOSITORY,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_trained_run_answers_each_prompt_whatever_stands_beside_it(tmp_path: Path) -> None:
    train(tiny_config(), tmp_path, QUIET)
    flags = [*SHRUNK, f"--workdir={tmp_path}", "--max_new_tokens=12"]
    together = generate(*flags, "--prompt=What is 1 + 1?", "--prompt=Copy this: a longer prompt")
    assert together.returncode == 0, together.stderr
    alone = generate(*flags, "--prompt=What is 1 + 1?")
    assert alone.returncode == 0, alone.stderr
    assert together.stdout.startswith(alone.stdout.rstrip("\n"))

    other = generate(*flags, "--prompt=hi", "--config.data.template=chatml")
    assert other.returncode == 2
    assert "was trained with data.template=tulu, not chatml" in other.stderr
    other = generate(*flags, "--prompt=hi", "--config.model.num_layers=3")
    assert "was trained with model.num_layers=2, not 3" in other.stderr


def test_pretrained_model_continues_text(shared_data: Path) -> None:
    """The greedy story of the model's own document."""
    directory = shared_data / "tinyllamas_stories260k"
    done = generate(
        "--config=configs/stories260k.py",
        f"--config.model.path={directory}/stories260K.bin",
        f"--config.tokenizer.path={directory}/tok512.bin",
        "--mode=text",
        "--prompt=Once upon a time",
        "--max_new_tokens=120",
    )
    assert done.returncode == 0, done.stderr
    document = (directory / "stories260K.md").read_text()
    story = re.search(r"-t 0\.0\nOnce upon a time(.*?)```", document, re.DOTALL)
    assert story is not None
    assert len(done.stdout) > 200
    assert story.group(1).startswith(done.stdout.rstrip("\n"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "nothing to answer; set --prompt=TEXT"),
        (["--prompt=hi"], "no model to ask; set --workdir=DIR"),
        (["--prompt=hi", "--workdir=nowhere"], "--workdir=nowhere has no checkpoints"),
        (["--prompt=hi", "--max_new_tokens=300"], "exceed model.max_positions=256"),
    ],
)
def test_mistakes_are_one_line(flags: list[str], message: str) -> None:
    done = generate(*SHRUNK, *flags)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
