"""The command that says what a data set holds: its formats, where they go, and what it loads."""

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from im_jax import data_report
from im_jax.config import Config
from im_jax.data.recipes.registry import find, names
from im_jax.data.store import plans, sets
from tests.conftest import REPOSITORY
from tests.data.store.kept import assert_same, prepared
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


def test_what_is_prepared_is_found_by_training_under_any_name(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small sets of a mixture and held-out files, told of in the last line; then files of other names."""
    there, cache = tmp_path / "there", f"--config.data.cache={tmp_path}/cache"
    there.mkdir()
    first = Path(path.partition("=")[2])
    (tmp_path / "b.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 9)
    (tmp_path / "held.jsonl").write_text('{"prompt": "c", "completion": "d"}\n' * 3)

    def flags(folder: Path) -> list[str]:
        mixture = f"a={folder / first.name}@all;b={folder}/b.jsonl@5"
        return [LLAMA, cache, f"--config.data.mixture={mixture}", f"--config.eval.path={folder}/held.jsonl"]

    done = report("--prepare", *flags(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    last = done.stdout.splitlines()[-1]
    assert re.fullmatch(
        rf"142 examples, [\d,]+ tokens: 3 sets in {tmp_path}/cache/sets, encoded in .* s", last
    )
    again = report("--prepare", *flags(tmp_path)).stdout.splitlines()[-1]
    assert again.split(":")[0] == last.split(":")[0] and "found there in" in again

    for file in (first, tmp_path / "b.jsonl", tmp_path / "held.jsonl"):
        file.rename(there / file.name)
    config = command_line(there, flags)
    plain = prepared(with_cache(config, "none"))
    monkeypatch.setattr(sets, "encode_all", None)  # so that encoding would fail
    found = prepared(config)
    assert_same(found, plain)
    assert not found.notes and len(found.heldout) == 3


def command_line(folder: Path, flags: Callable[[Path], list[str]]) -> Config:
    """The configuration that training gets of these flags."""
    return data_report.run.parse(
        ["report", f"--config={REPOSITORY}/configs/tiny_llama.py", *flags(folder)[1:]]
    ).config


def with_cache(config: Config, cache: str) -> Config:
    other = copy.deepcopy(config)
    other.data.cache = cache
    return other


def test_packing_plans_are_prepared_too(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "WORTH", 10)
    config = command_line(tmp_path, lambda _: [LLAMA, path, f"--config.data.cache={tmp_path}/cache"])
    data_report.keep(config)
    assert list((tmp_path / "cache" / "plans").iterdir())
    monkeypatch.setattr(plans, "best_fit_plan", None)
    assert len(prepared(config).train_rows)


def test_what_cannot_be_prepared_is_one_line(path: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for flags, code, said in (
        (
            ("--config.data.cache=none",),
            2,
            "error: --prepare has nowhere to write to; set --config.data.cache=",
        ),
        (
            (f"--config.data.cache={file}",),
            1,
            f"error: {file}/sets cannot be written: Not a directory; set --conf",
        ),
        (("--format=json",), 2, "error: --format has no effect with --prepare"),
    ):
        done = report(LLAMA, path, "--prepare", *flags)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done.stderr
        assert done.stderr.startswith(said)
    done = report("--config=configs/cpu_debug.py", "--prepare")
    assert done.stderr.startswith(
        "error: --prepare is for data.source=jsonl or tfds; examples of data.source=generated"
    )


def test_mistakes_are_one_line_and_leave_an_old_report(path: str, tmp_path: Path) -> None:
    old = tmp_path / "old.txt"
    old.write_text("old")
    for flags, said in (
        (("--format=csv",), "error: flag --format=csv: value should be one of <text|json|html>"),
        (
            (f"--output={tmp_path}/no/where.txt",),
            f"error: --output={tmp_path}/no/where.txt cannot be written",
        ),
        (
            ("--config.data.path=nowhere.jsonl", f"--output={old}"),
            "error: data.path: there is no file 'nowhere.jsonl'",
        ),
    ):
        done = report(LLAMA, path, *flags)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert done.stderr.startswith(said)
    assert old.read_text() == "old"
