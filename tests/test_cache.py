"""The command that lists and removes encoded sets: what is there, since when unused, and nothing else goes."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from im_jax.activity import silent
from im_jax.data.dataset import EncodedDataset
from im_jax.data.encoding import EncodedExample
from im_jax.data.store.cache import KeptSet
from im_jax.data.store.folder import MANIFEST
from tests.conftest import REPOSITORY


def command(cache: Path | str, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "im_jax.cache", f"--folder={cache}", *flags],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def keep(cache: Path, key: str, files: list[str], days: float) -> Path:
    """A set of two examples and five tokens, last used so many days ago."""
    ones = [np.ones(n, np.float32) for n in (2, 3)]
    examples = [
        EncodedExample(f"e{len(x)}", x.astype(np.int32), x.astype(np.uint8), x, len(x), 0) for x in ones
    ]

    def make(take: Any) -> dict[str, Any]:
        take(EncodedDataset.from_examples(examples))
        return {"paths": files, "asked": {"template": "tulu", "max_length": 64}}

    KeptSet(cache, key).find_or_make(make, silent)
    place = cache / "sets" / key
    for path in (place / MANIFEST, place):
        os.utime(path, (time.time() - 86_400 * days,) * 2)
    return place


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Three sets, one of them damaged; what another process is writing, and a plan."""
    keep(tmp_path, "a1" * 32, ["new.jsonl"], 0.1)
    keep(tmp_path, "a2" * 32, [f"{n}.parquet" for n in range(40)], 31)
    damaged = keep(tmp_path, "bb" * 32, ["d.jsonl"], 400)
    (damaged / "tokens.bin").unlink()
    (tmp_path / "sets" / ("cc" * 32 + ".host-1-2.part")).mkdir()
    (tmp_path / "sets" / ("cc" * 32 + ".lock.1")).write_text("{}")
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "a.npz").write_bytes(b"x" * 2000)
    return tmp_path


def names(cache: Path) -> set[str]:
    return {place.name[:2] for place in (cache / "sets").iterdir() if len(place.name) == 64}


def test_sets_are_listed_with_size_files_and_last_use(cache: Path) -> None:
    done = command(cache)
    assert (done.returncode, done.stderr) == (0, "")
    title, header, first, second, third, plans = done.stdout.splitlines()
    assert title.startswith(f"{cache}: 3 sets, ") and plans == "plans: 2.0 kB"
    assert header.split() == ["name", "last", "used", "examples", "tokens", "size", "made", "from"]
    assert first.split()[0] == "a1a1a1a1" and first.endswith("new.jsonl, template tulu, max_length 64")
    assert first.split()[2:4] == ["2", "5"]
    assert "0.parquet and 39 more, template" in second and third.split()[2] == "damaged"
    found = json.loads(command(cache, "--format=json").stdout)
    assert [each["name"][:2] for each in found["sets"]] == ["a1", "a2", "bb"]
    size = sum(file.stat().st_size for file in (cache / "sets" / ("a1" * 32)).iterdir())
    assert found["sets"][0]["bytes"] == size and found["sets"][1]["made_from"][39] == "39.parquet"


@pytest.mark.parametrize(
    ("which", "left"),
    [
        ("a1,bb", {"a2"}),
        ("unused:30", {"a1"}),
        ("unused:0", set()),
        ("all", set()),
        ("unused:999", {"a1", "a2", "bb"}),
    ],
)
def test_what_is_named_goes_and_what_is_being_written_stays(which: str, left: set[str], cache: Path) -> None:
    done = command(cache, f"--remove={which}")
    assert done.returncode == 0 and f"{3 - len(left)} set" in done.stdout
    assert names(cache) == left
    assert {place.name[64:] for place in (cache / "sets").iterdir()} - {""} == {".host-1-2.part", ".lock.1"}
    assert bool(list((cache / "plans").iterdir())) == (which != "all")


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ("a", "2 sets begin with 'a'"),
        ("dd", "no set begins with 'dd'"),
        ("bb,", "no set begins with ''"),
        ("unused:x", "'x' must be a number of days"),
    ],
)
def test_what_names_no_set_or_several_removes_none(which: str, said: str, cache: Path) -> None:
    done = command(cache, f"--remove={which}")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr and names(cache) == {"a1", "a2", "bb"}


def test_a_folder_without_sets_is_empty_and_none_is_refused(tmp_path: Path) -> None:
    assert command(tmp_path / "nowhere").stdout == f"{tmp_path}/nowhere: 0 sets, 0 bytes\n"
    assert command("none").stderr.startswith(
        "error: there is no folder of encoded sets; name one with --folder="
    )
