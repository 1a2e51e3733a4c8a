"""A mixture of four sources, trained, stopped, resumed and measured by source."""

import json
import pathlib
import signal
from typing import Any

import jax
import numpy as np
import pytest
from orbax.checkpoint.experimental import v1 as ocp

from im_jax.config import Config, with_overrides
from im_jax.console import Console
from im_jax.data.generated import GeneratedSource
from im_jax.errors import ConfigError, Interrupted
from im_jax.interruption import Interruption
from im_jax.training.start import train
from tests.training.tiny import tiny_config

QUIET = Console(quiet=True)
SOURCES = ("one", "two", "three", "four")


class AfterSteps(Interruption):
    """Asks a run to save and stop after some steps, as Ctrl-C does."""

    def __init__(self, steps: int) -> None:
        super().__init__(print)
        self._left = steps

    def ask_first(self) -> None:
        super().ask_first()
        self._left -= 1
        self._asked = signal.SIGINT if self._left < 0 else None


def mixture(folder: pathlib.Path) -> str:
    """Four files of different examples, and how much of each."""
    entries = []
    for seed, (name, amount) in enumerate(zip(SOURCES, ("all", "20", "x0.5", "x2"), strict=True)):
        source = GeneratedSource(40 - 4 * seed, seed=seed)
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            for number in range(len(source)):
                turns = [{"role": m.role, "content": m.text} for m in source[number].messages]
                file.write(json.dumps({"messages": turns}) + "\n")
        entries.append(f"{name}={folder / name}.jsonl@{amount}")
    return "; ".join(entries)


def config_of(text: str) -> Config:
    config = tiny_config()
    config.data.source, config.data.mixture = "jsonl", text
    config.eval.every, config.eval.num_examples = 3, 12
    return config


def entries_of(workdir: pathlib.Path, split: str) -> list[dict[str, Any]]:
    lines = (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    timing = ("tokens_per_second", "step_time", "model_flops_utilisation")
    found = [{k: v for k, v in json.loads(line).items() if k not in timing} for line in lines]
    return [entry for entry in found if entry["split"] == split]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, pathlib.Path, dict[str, Any]]:
    """A run that was never interrupted: its mixture, its workdir, its summary."""
    text = mixture(tmp_path_factory.mktemp("files"))
    workdir = tmp_path_factory.mktemp("whole")
    return text, workdir, train(config_of(text), workdir, QUIET)


def test_held_out_loss_is_measured_of_each_source(whole: tuple[str, pathlib.Path, dict[str, Any]]) -> None:
    _, workdir, summary = whole
    entries = entries_of(workdir, "heldout")
    assert [entry["step"] for entry in entries] == [3, 6]
    for entry in [*entries, summary["heldout"]]:
        for label in ("user", "assistant", "stop"):
            tokens = [entry[f"tokens/{label}/{source}"] for source in SOURCES]
            nll = [entry[f"nll/{label}/{source}"] for source in SOURCES]
            assert len(set(nll)) == len(SOURCES)
            assert sum(tokens) == entry[f"tokens/{label}"]
            mean = np.average(nll, weights=tokens)
            assert entry[f"nll/{label}"] == pytest.approx(mean, rel=1e-12)
        assert all(entry[f"loss/{source}"] > 0 for source in SOURCES)
    counts = summary["data"]["sources"]
    assert [counts[source]["held_out"] for source in SOURCES] == [5, 2, 2, 3]
    assert counts["two"]["trained"] == 18 and counts["four"]["occurrences"] == 2 * counts["four"]["trained"]


def test_a_mixture_resumes_bit_for_bit(
    whole: tuple[str, pathlib.Path, dict[str, Any]], tmp_path: pathlib.Path
) -> None:
    text, workdir, summary = whole
    with pytest.raises(Interrupted):
        train(config_of(text), tmp_path, QUIET, AfterSteps(3))
    resumed = train(config_of(text), tmp_path, QUIET)
    assert resumed["resumed_from"] == 4
    assert resumed["fingerprint"] == summary["fingerprint"]
    for split in ("train", "heldout"):
        assert entries_of(tmp_path, split) == entries_of(workdir, split)
    states = [
        ocp.load_checkpointables(
            (folder / "checkpoints" / "6").resolve(), {"params": None, "optimizer": None, "data": None}
        )
        for folder in (workdir, tmp_path)
    ]
    leaves = [jax.tree.leaves(state) for state in states]
    assert all(np.array_equal(a, b) for a, b in zip(*leaves, strict=True))


def test_a_changed_mixture_is_not_resumed(
    whole: tuple[str, pathlib.Path, dict[str, Any]], tmp_path: pathlib.Path
) -> None:
    text, workdir, _ = whole
    longer = with_overrides(config_of(text), {"train.steps": 8})
    with pytest.raises(ConfigError) as raised:
        train(with_overrides(longer, {"data.mixture": text.replace("@20", "@19")}), workdir, QUIET)
    assert "another configuration" in str(raised.value)
    assert f"--config.data.mixture={text}" in "\n".join(raised.value.details)
    path = pathlib.Path(text.partition("=")[2].partition("@")[0])
    content = path.read_text(encoding="utf-8")
    path.write_text("\n".join(content.splitlines()[::-1]) + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"the examples of the run in .* have changed since its checkpoint"):
        train(longer, workdir, QUIET)
    path.write_text(content, encoding="utf-8")
