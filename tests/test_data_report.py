"""The command that says what a data set holds: its formats, where they go, and what it loads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from im_jax.data.recipes.registry import find, names
from tests.conftest import REPOSITORY
from tests.data.synthetic import chats

LLAMA = "--config=configs/tiny_llama.py"


def report(*flags: str, columns: int = 80) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys; from im_jax import data_report\n"
        "try: data_report.run()\n"
        "finally: assert not {'jax', 'flax', 'matplotlib'} & sys.modules.keys(), 'slow to load, and not needed'"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *flags],
        cwd=REPOSITORY,
        env=os.environ | {"COLUMNS": str(columns)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "chats.jsonl"
    file.write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats(130)))
    return f"--config.data.path={file}"


def test_text_goes_to_a_terminal_of_its_width_or_to_a_file(path: str, tmp_path: Path) -> None:
    done = report(LLAMA, path, columns=40)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines[1:])) <= 40 and any("mean" in line for line in lines)
    file = tmp_path / "report.txt"
    done = report(LLAMA, path, f"--output={file}", columns=40)
    assert f"the report was written to {file}" in done.stdout.replace("\n", "")
    assert 40 < max(map(len, file.read_text().splitlines()[1:])) <= 80


def test_json_is_one_line_with_the_keys_that_are_documented(path: str) -> None:
    done = report(LLAMA, path, "--format=json", "--config.loss.policy=all")
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    page = (REPOSITORY / "docs" / "data.md").read_text(encoding="utf-8")
    table = page[page.index("| key | holds |") :]
    documented = [name for row in table.splitlines()[2:] for name in row.split("|")[1].split("`")[1::2]]
    assert sorted(found) == sorted(documented)
    assert list(found["trained"]) == ["all", "it", "im"] and found["policy"] == "all"


def test_weights_of_ones_own_have_a_name_of_their_own(path: str) -> None:
    done = report(LLAMA, path, "--format=json", "--config.loss.weights.user=0.5")
    assert list(json.loads(done.stdout)["trained"]) == ["im with weights", "it", "im"]


def test_the_page_is_a_file(path: str, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    done = report(LLAMA, path, "--format=html", f"--output={file}")
    assert done.returncode == 0, done.stderr
    assert file.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_set_too_small_to_hold_examples_out_of_is_reported_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "two.jsonl"
    file.write_text('{"prompt": "a", "completion": "b"}\n' * 2)
    done = report(LLAMA, f"--config.data.path={file}", "--format=json")
    assert done.returncode == 0
    assert done.stderr.startswith("nothing is held out: eval.num_examples=100 would leave none of 2 examples")
    assert json.loads(done.stdout)["records"]["kept"] == 2


def test_what_would_stop_training_is_said_first(tmp_path: Path) -> None:
    file = tmp_path / "long.jsonl"
    file.write_text(json.dumps({"prompt": "a " * 900, "completion": "b"}) + "\n")
    done = report(LLAMA, f"--config.data.path={file}")
    assert done.returncode == 0
    assert "Training would stop: none of 1 example has a token that carries loss" in " ".join(
        done.stdout.split()
    )


def test_recipes_are_told_of_without_a_configuration() -> None:
    done = report("--recipe=all")
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in lines] == names()
    assert all(find(name).licence in line for name, line in zip(names(), lines, strict=True))
    done = report("--recipe=dolly_15k", "--format=json")
    assert json.loads(done.stdout)["licence"] == find("dolly_15k").licence
    done = report("--recipe=dolly_16k")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "there is no recipe 'dolly_16k'; did you mean dolly_15k" in done.stderr


def test_mistakes_are_one_line(path: str, tmp_path: Path) -> None:
    for flags, said in (
        (("--format=csv",), "error: flag --format=csv: value should be one of <text|json|html>"),
        (
            (f"--output={tmp_path}/no/where.txt",),
            f"error: --output={tmp_path}/no/where.txt cannot be written",
        ),
        (("--config.data.path=nowhere.jsonl",), "error: data.path: there is no file 'nowhere.jsonl'"),
    ):
        done = report(LLAMA, path, *flags)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert done.stderr.startswith(said)
