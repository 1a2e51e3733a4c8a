"""The ids of what was read: each once an epoch, whatever happens to the run."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from im_jax.appended import Continued
from im_jax.config import Config
from im_jax.console import Console
from im_jax.data.pipeline import rows_of_step
from im_jax.training.examples_log import examples_log
from im_jax.training.run import prepare_run, resolve
from im_jax.training.start import train
from tests.training.tiny import tiny_config

QUIET = Console(quiet=True)


def logged(workdir: Path) -> list[dict[str, Any]]:
    """Lines of all processes."""
    files = sorted((workdir / "examples").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def by_epoch(lines: list[dict[str, Any]]) -> dict[int, Counter[str]]:
    """How often each id occurs in each epoch."""
    found: dict[int, Counter[str]] = {}
    for line in lines:
        found.setdefault(line["epoch"], Counter()).update(line["ids"])
    return found


def configured(steps: int) -> Config:
    config = tiny_config()
    config.log.examples, config.train.steps, config.checkpoint.every = True, steps, 4
    config.train.batch_size, config.eval.num_examples = 6, 0
    config.data.num_generated = 40
    return config


def test_each_id_occurs_once_an_epoch_also_in_a_run_that_was_killed(tmp_path: Path) -> None:
    train(configured(6), tmp_path, QUIET)
    run = prepare_run(resolve(configured(6)))
    rows, epoch_steps = run.data.train_rows, len(run.data.train_rows) / 6
    assert 1 < epoch_steps < 6 and epoch_steps % 1, "an epoch ends within a step"
    for line in logged(tmp_path):
        numbers = rows_of_step(rows, seed=0, batch_size=6, step=line["step"]).tolist()
        assert set(line["ids"]) <= {name for number in numbers for name in rows.ids(number)}

    # As if it had been killed behind step 6, when it had saved step 4, on two processes.
    shutil.rmtree(tmp_path / "checkpoints" / "6")
    (tmp_path / "summary.json").unlink()
    own = tmp_path / "examples" / "0.jsonl"
    other = [json.dumps({"step": step, "epoch": 9, "ids": ["other"]}) + "\n" for step in (3, 4, 5)]
    (tmp_path / "examples" / "1.jsonl").write_text("".join(other))
    with own.open("a") as file:
        file.write('{"step": 7, "ep')
    train(configured(9), tmp_path, QUIET)
    assert (tmp_path / "examples" / "1.jsonl").read_text() == "".join(other[:2])
    lines = [json.loads(line) for line in own.read_text().splitlines()]
    assert sorted({line["step"] for line in lines}) == list(range(1, 10))
    epochs = by_epoch(lines)
    ids = {run.data.train[i].id for i in range(len(run.data.train))}
    for epoch in range(1, int(9 / epoch_steps) + 1):
        assert epochs[epoch] == Counter(ids)
    assert all(count == 1 for epoch in epochs.values() for count in epoch.values())

    # Not wanted any more: what was read is of no interest, but nothing wrong stays.
    shutil.rmtree(tmp_path / "checkpoints" / "9")
    (tmp_path / "summary.json").unlink()
    config = configured(9)
    config.log.examples = False
    assert train(config, tmp_path, QUIET)["resumed_from"] == 8
    assert max(line["step"] for line in logged(tmp_path)) == 8


def test_a_damaged_line_is_said(tmp_path: Path) -> None:
    run = prepare_run(resolve(configured(1)))
    (tmp_path / "examples").mkdir()
    path = tmp_path / "examples" / "0.jsonl"
    path.write_text('{"step": 1, "ids": []}\n{"step\n{"step": 2, "ids": []}\n')
    said: list[str] = []
    with examples_log(run, tmp_path, 2, said.append):
        pass
    assert len(said) == 1 and 'no ids, and is taken out with those behind it: {"step' in said[0]
    assert path.read_text() == '{"step": 1, "ids": []}\n'


def test_a_file_that_is_continued_is_cut_and_held(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"a\nb\nc\nb\nto")
    with Continued(path, lambda line: line != b"c") as file:
        with pytest.raises(BlockingIOError):
            Continued(path, lambda line: True)
        file.add("d", durable=True)
    assert path.read_bytes() == b"a\nb\nd\n"
    Continued(path, lambda line: True).close()
    assert path.read_bytes() == b"a\nb\nd\n"
