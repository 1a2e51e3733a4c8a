"""What the writers of metrics write, and where."""

import io
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from im_jax import validation
from im_jax.config import Config, LogConfig, TrainConfig
from im_jax.console import Console
from im_jax.errors import ConfigError, StorageError
from im_jax.evaluation.measures import class_metrics, policy_loss
from im_jax.losses.by_class import ClassSums
from im_jax.token_classes import NUM_CLASSES, TokenClass
from im_jax.training.metrics import MetricsWriter
from im_jax.training.reporting import Reporter
from im_jax.training.skipping import Skipping

ROW = {"step": 3, "split": "train", "loss": 1.5, "nll/user": 2.0}


def sums_of(**by_label: tuple[float, int, int]) -> ClassSums:
    """Sums with (nll, measured, targets) for the named classes."""
    arrays = ClassSums(*(np.zeros(NUM_CLASSES) for _ in range(3)))
    for label, values in by_label.items():
        for array, value in zip(arrays, values, strict=True):
            array[TokenClass[label.upper()]] = value
    return arrays


def test_sub_classes_are_summed_before_the_mean() -> None:
    row = class_metrics(sums_of(assistant=(6.0, 2, 2), last_assistant=(1.0, 6, 6), user=(0.0, 0, 5)))
    assert row == {"tokens/assistant": 8, "nll/assistant": 7 / 8, "tokens/user": 5}


def test_policy_loss_weighs_tokens_by_class() -> None:
    weights = np.zeros(NUM_CLASSES, np.float32)
    weights[[TokenClass.USER, TokenClass.ASSISTANT]] = 0.5, 2.0
    sums = sums_of(user=(30.0, 10, 10), assistant=(4.0, 4, 4), header=(99.0, 9, 9))
    assert policy_loss(sums, weights) == pytest.approx((0.5 * 30 + 2.0 * 4) / (0.5 * 10 + 2.0 * 4))
    assert np.isnan(policy_loss(sums_of(header=(1.0, 1, 1)), weights))


def test_rows_after_the_restored_step_are_written_anew(tmp_path: Path) -> None:
    rows = [{"step": step, "split": "train", "loss": float(step)} for step in (1, 2, 3, 4)]
    cut_off = '{"step": 5, "spl'
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows) + cut_off)
    with MetricsWriter(tmp_path, Config(), from_step=2, say=print) as writer:
        writer.write({"step": 3, "split": "train", "loss": 30.0})
    written = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], row["loss"]) for row in written] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_tensorboard_shows_the_same_numbers_by_split(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path, Config(), from_step=0, say=print) as writer:
        writer.write(ROW)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = {tag: events.Tensors(tag) for tag in events.Tags()["tensors"]}
    assert set(tags) == {"train/loss", "train/nll/user"}
    assert [(event.step, event.tensor_proto.float_val[0]) for event in tags["train/loss"]] == [(3, 1.5)]


def test_weights_and_biases_gets_rows_and_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    run = types.SimpleNamespace(
        log=lambda row, step: calls.append((row, step)), finish=lambda: calls.append("finished")
    )
    wandb = types.ModuleType("wandb")
    wandb.init = lambda **settings: calls.append(settings) or run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    with MetricsWriter(tmp_path, Config(log=LogConfig(wandb_project="p")), from_step=0, say=print) as writer:
        writer.write(ROW)
    settings, logged, finished = calls
    assert settings["id"] == (tmp_path / "wandb_id.txt").read_text()
    assert settings["project"] == "p" and settings["config"]["loss.policy"] == "it"
    assert logged == ({"train/loss": 1.5, "train/nll/user": 2.0}, 3)
    assert finished == "finished"


def test_missing_wandb_is_noticed_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    config = Config(log=LogConfig(wandb_project="p"), train=TrainConfig(steps=1))
    with pytest.raises(ConfigError, match="wandb is not installed: pip install wandb"):
        validation.check(config)


def test_row_that_is_there_already_is_not_written_twice(tmp_path: Path) -> None:
    for loss in (1.0, 2.0):
        with MetricsWriter(tmp_path, Config(), from_step=9, say=print) as writer:
            writer.write({"step": 9, "split": "heldout", "loss": loss})
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["loss"] == 1.0


def test_lines_that_are_no_rows_are_put_aside_and_named(tmp_path: Path) -> None:
    good = [f'{{"step": {step}, "split": "train", "loss": 1.5}}'.encode() for step in (1, 2, 3)]
    bad = [b'{"step": 2, "spl', b"\xff\xfe", b"7", b'{"split": "train"}', b"[" * 10_000]
    content = b"\n".join([good[0], *bad, good[1], good[2]]) + b"\n" + b'{"step": 4, "sp'
    (tmp_path / "metrics.jsonl").write_bytes(content)
    said: list[str] = []
    with MetricsWriter(tmp_path, Config(), from_step=3, say=said.append):
        pass
    assert (tmp_path / "metrics.jsonl").read_bytes() == b"\n".join(good) + b"\n"
    assert (tmp_path / "metrics.damaged").read_bytes() == b"\n".join(bad) + b"\n"
    assert said == [
        f"{tmp_path}/metrics.jsonl: no numbers can be read from line 2, 3, 4, 5, 6; what stood there is now in "
        f"{tmp_path}/metrics.damaged"
    ]


def test_missing_rows_before_the_restored_step_are_said(tmp_path: Path) -> None:
    said: list[str] = []
    with MetricsWriter(tmp_path, Config(), from_step=7, say=said.append):
        pass
    assert said == [f"{tmp_path}/metrics.jsonl has no numbers of the steps up to 7: it begins behind them"]


def test_kill_while_the_file_is_rewritten_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "metrics.jsonl").write_text(json.dumps(ROW) + "\n")

    def killed(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", killed)
    with pytest.raises(KeyboardInterrupt), MetricsWriter(tmp_path, Config(), from_step=3, say=print):
        pass
    assert (tmp_path / "metrics.jsonl").read_text() == json.dumps(ROW) + "\n"


def test_row_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"metrics\.jsonl cannot be written: No space left on device"),
        MetricsWriter(tmp_path, Config(), from_step=0, say=print) as writer,
    ):
        lines = writer._sinks[0]._file  # type: ignore[attr-defined]
        lines._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
        writer.write(ROW)


@pytest.mark.parametrize("width", [40, 60, 100])
def test_loss_is_seen_beside_the_bar_on_a_narrow_terminal(width: int, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    config = Config(log=LogConfig(tensorboard=False))
    with MetricsWriter(tmp_path, config, from_step=0, say=print) as writer:
        sizes = {"flops_per_token": 1, "peak_flops": 1.0, "vocab_size": 512}
        sizes |= {"learning_rates": [], "skipping": Skipping(config.train)}
        reporter = Reporter(console, writer, 0, 1000, 10, **sizes)  # type: ignore[arg-type]
        reporter._progress.update(reporter._task, completed=123, numbers="loss 1.2345  12,345 tokens/s")
        console.print(reporter._progress.get_renderable())
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert " 123/1000 loss 1.2345" in shown
