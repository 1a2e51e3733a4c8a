"""Runs whose directory is in an object store, against a stand-in for Google Cloud Storage."""

import dataclasses
import importlib.util
import io
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from im_jax import export, generate
from im_jax.analyse import overfitting
from im_jax.config import CheckpointConfig, Config
from im_jax.console import Console
from im_jax.errors import CheckpointError, ConfigError
from im_jax.evaluate import answers, tasks
from im_jax.files import alone
from im_jax.models.export.folder import check_new
from im_jax.models.files.layout import by_path
from im_jax.opening import open_model, open_run
from im_jax.plan import ledger
from im_jax.stores.places import place
from im_jax.training.checkpoint import Checkpoints
from im_jax.training.start import train
from tests.conftest import REPOSITORY
from tests.stand_in_gcs import StandIn, stand_in_asked
from tests.training.test_train import QUIET
from tests.training.tiny import tiny_config

pytestmark = [
    pytest.mark.usefixtures("compiled_quickly"),
    pytest.mark.skipif(importlib.util.find_spec("gcsfs") is None, reason="gcsfs is not installed"),
]


@pytest.fixture(scope="module")
def store() -> Iterator[StandIn]:
    with stand_in_asked() as store:
        yield store


def six_steps() -> Config:
    config = tiny_config()
    config.train = dataclasses.replace(config.train, steps=6)
    config.checkpoint = CheckpointConfig(every=2, keep=3)
    config.log = dataclasses.replace(config.log, every=1)
    config.optimizer = dataclasses.replace(config.optimizer, schedule="constant")
    return config


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run on a disk."""
    workdir = tmp_path_factory.mktemp("local")
    train(six_steps(), workdir, QUIET)
    return workdir


@pytest.fixture(scope="module")
def workdir(store: StandIn) -> str:
    """A run that was killed while it wrote its third checkpoint."""
    begun, hold = threading.Event(), threading.Event()

    def refuse(method: str, bucket: str, name: str) -> int:
        if method == "POST" and "/checkpoints/6/params/" in name:
            begun.set()
            hold.wait(60)
            return 503
        return 0

    store.refuse = refuse
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.training.check_remote", "gs://bucket/runs/a"],
        cwd=REPOSITORY,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    reached = begun.wait(300)
    process.kill()
    told, _ = process.communicate()
    hold.set()
    store.refuse = None
    assert reached, told
    return "gs://bucket/runs/a"


def entries(lines: bytes) -> list[dict[str, object]]:
    """What is in a metrics.jsonl, without what depends on the clock."""
    return [
        {name: entry[name] for name in ("step", "split", "loss") if name in entry}
        for entry in map(json.loads, lines.splitlines())
    ]


def assert_same_parameters(one: str | Path, other: str | Path) -> None:
    mine, theirs = (by_path(open_run(each).params) for each in (one, other))
    for path, x in mine.items():
        np.testing.assert_array_equal(x, theirs[path])


def test_killed_and_gone_on_with_is_the_undisturbed_run(
    store: StandIn, workdir: str, undisturbed: Path
) -> None:
    names = store.names("bucket/runs/a/")
    assert "bucket/runs/a/.lock" in names, "left by the kill"
    assert "bucket/runs/a/checkpoints/4/commit_success.txt" in names
    stream = io.StringIO()
    summary = train(six_steps(), workdir, Console(file=stream, width=1000))
    assert summary["resumed_from"] == 4 and "resuming from step 4 in gs://bucket/runs/a" in stream.getvalue()
    assert_same_parameters(workdir, undisturbed)
    found, expected = (
        entries(store.content("bucket/runs/a/metrics.jsonl")),
        entries((undisturbed / "metrics.jsonl").read_bytes()),
    )
    assert found == expected
    names = store.names("bucket/runs/a/")
    for name in ("config.json", "summary.json", "events.jsonl"):
        assert f"bucket/runs/a/{name}" in names
    assert any("/tensorboard/events" in name for name in names)
    assert "bucket/runs/a/.lock" not in names
    assert not Path("gs:").exists()


def test_a_run_in_a_store_is_exported_and_asked(workdir: str, tmp_path: Path) -> None:
    export.main(export.run.parse(["export", f"--workdir={workdir}", f"--output={tmp_path}/out"]))
    run, folder = open_run(workdir), open_model(str(tmp_path / "out"))
    for path, x in by_path(run.params).items():
        np.testing.assert_array_equal(x, by_path(folder.params)[path])
    generate.main(generate.run.parse(["generate", f"--workdir={workdir}", "--max_tokens=2", "--prompt=Hi"]))


def copied(store: StandIn, to: str) -> str:
    """A copy of the run."""
    for name in store.names("bucket/runs/a/"):
        store.objects["bucket", name.removeprefix("bucket/").replace("runs/a/", f"runs/{to}/")] = (
            store.objects["bucket", name.removeprefix("bucket/")]
        )
    return f"gs://bucket/runs/{to}"


def test_a_checkpoint_without_its_marker_is_not_the_latest(
    store: StandIn, workdir: str, undisturbed: Path
) -> None:
    run = copied(store, "unfinished")
    for name in store.names("bucket/runs/unfinished/checkpoints/6/"):
        if name.endswith("commit_success.txt") and "/config/" not in name and "/params/" not in name:
            del store.objects["bucket", name.removeprefix("bucket/")]
    summary = train(six_steps(), run, QUIET)
    assert summary["resumed_from"] == 4
    assert_same_parameters(run, undisturbed)


def test_a_checkpoint_that_was_copied_from_a_disk_is_not_removed(store: StandIn, workdir: str) -> None:
    run = copied(store, "copied")
    for name in store.names("bucket/runs/copied/checkpoints/"):
        if name.endswith("commit_success.txt"):
            del store.objects["bucket", name.removeprefix("bucket/")]
    before = store.names("bucket/runs/copied/checkpoints/")
    with pytest.raises(CheckpointError, match=r"has no commit_success\.txt, as if it had been copied"):
        train(six_steps(), run, QUIET)
    assert store.names("bucket/runs/copied/checkpoints/") == before


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_gone_on_from(
    store: StandIn, workdir: str, undisturbed: Path
) -> None:
    run = copied(store, "damaged")
    sizes = {
        name: len(store.content(name))
        for name in store.names("bucket/runs/damaged/checkpoints/6/params/")
        if "/d/" in name
    }
    where = "bucket", max(sizes, key=lambda name: sizes[name]).removeprefix("bucket/")
    content = store.objects[where].content
    store.objects[where] = store.objects[where]._replace(content=content[: len(content) // 2])
    stream = io.StringIO()
    summary = train(six_steps(), run, Console(file=stream, width=1000))
    assert summary["resumed_from"] == 4
    assert "checkpoint 6 is damaged" in stream.getvalue()
    assert store.names("bucket/runs/damaged/checkpoints/damaged-6-1/params/")
    assert_same_parameters(run, undisturbed)


def test_who_holds_a_directory_is_named_and_whoever_is_gone_is_taken_over(
    store: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("im_jax.stores.writing._BEAT_SECONDS", 0.1)
    monkeypatch.setattr("im_jax.stores.writing._PATIENCE_SECONDS", 1.0)
    directory = place("gs://bucket/held")
    with (
        alone(directory),
        pytest.raises(ConfigError, match=rf"process {os.getpid()} on \S+ is at work there"),
        alone(directory),
    ):
        pytest.fail("held twice")
    assert store.names("bucket/held") == []
    store.put("bucket", "held/.lock", b"process 7 on another", {}, {})
    with alone(directory):
        assert store.content("bucket/held/.lock").startswith(f"process {os.getpid()}".encode())


def test_a_store_that_refuses_for_a_while_is_asked_again(
    store: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.training.test_checkpoint import CONFIG, state_at

    monkeypatch.setattr("im_jax.training.checkpoint._PAUSES", (0,))
    refusals = itertools.count()

    def refuse(method: str, bucket: str, name: str) -> int:
        fails = method == "POST" and "refused/1/params" in name and next(refusals) < 1
        return 403 if fails else 0

    said: list[str] = []
    monkeypatch.setattr(store, "refuse", refuse)
    with Checkpoints(place("gs://bucket/refused"), CheckpointConfig(), said.append) as saved:
        saved.save(1, state_at(1), {"next_index": 1}, CONFIG)
        saved.wait()
        assert saved.latest_step == 1
    assert len(said) == 1 and "could not be saved" in said[0] and "\n" not in said[0]


@pytest.mark.parametrize("named", ["s3://bucket/run", "gs:/bucket/run", "gs://", "ftp://host/run"])
def test_places_that_are_none_are_refused_in_a_line(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=f"^--workdir={named} is no place to write to; set a local"):
        place(named)


def test_what_is_written_to_disks_only_makes_no_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="is not on this machine's disks"), alone(Path("gs://bucket/sweep")):
        pytest.fail("made")
    with pytest.raises(ConfigError, match=r"^--output=gs:/bucket/out is not on this machine's disks"):
        check_new(Path("gs://bucket/out"))
    assert not list(tmp_path.iterdir())


def test_without_the_package_it_is_named_and_no_folder_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs the package gcsfs, .* pip install 'im_jax\[gs\]'"):
        train(six_steps(), "gs://bucket/run", QUIET)
    assert not list(tmp_path.iterdir())


def test_a_run_in_a_store_is_evaluated_analysed_and_accounted_for_as_one_on_a_disk(
    store: StandIn,
    workdir: str,
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train(six_steps(), workdir, QUIET)
    asked = {"key": 1, "prompt": "Hi", "instruction_id_list": ["detectable_format:title"], "kwargs": [{}]}
    store.put("bucket", "ifeval.jsonl", json.dumps(asked).encode(), {}, {})
    store.put("bucket", "prompts.jsonl", b'{"prompt": "Hi"}', {}, {})
    monkeypatch.chdir(tmp_path)
    for name, run in (("remote", workdir), ("local", str(undisturbed))):
        words = ["--benchmark=ifeval", "--data=gs://bucket/ifeval.jsonl", "--max_tokens=3", "--model_name=x"]
        answers.main(answers.run.parse(["answers", f"--workdir={run}", f"--output={name}.jsonl", *words]))
        words = ["--prompts=gs://bucket/prompts.jsonl", "--max_tokens=3", f"--output={name}.answers"]
        generate.main(generate.run.parse(["generate", f"--workdir={run}", *words]))
        words = ["--limit=4", "--answers=0", "--gradient_examples=0", f"--output={name}"]
        overfitting.main(["analyse", f"--runs={run}", *words])
        ledger.main(["ledger", run])
    assert (tmp_path / "remote.jsonl").read_bytes() == (tmp_path / "local.jsonl").read_bytes()
    told = [json.loads((tmp_path / name / "results.json").read_text()) for name in ("remote", "local")]
    assert told[0]["runs"][0]["measures"] == told[1]["runs"][0]["measures"]
    said = [
        json.loads((tmp_path / f"{name}.answers").read_text().splitlines()[-1])
        for name in ("remote", "local")
    ]
    assert said[0]["text"] == said[1]["text"]
    assert f"{workdir}: goodput" in capsys.readouterr().out
    assert {path.suffix for path in tmp_path.iterdir()} <= {"", ".jsonl", ".answers"}


@pytest.mark.parametrize(
    "command",
    [
        lambda run: generate.main(
            generate.run.parse(
                ["generate", f"--workdir={run}", "--prompts=p", "--max_tokens=1", "--output=gs://b/o"]
            )
        ),
        lambda run: tasks.main(
            tasks.run.parse(["evaluate", f"--workdir={run}", "--tasks=a", "--output=gs://b/o"])
        ),
        lambda run: overfitting.main(["analyse", f"--runs={run}", "--output=gs://b/o"]),
    ],
)
def test_outputs_that_are_no_run_are_on_disks(
    command: Any, workdir: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^--output=gs:/b/o is not on this machine's disks; name a local"):
        command(workdir)
    assert not list(tmp_path.iterdir())
