"""The suite on a run that trains an adapter on a mixture: by source, and on several devices."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from im_jax.analyse import overfitting
from im_jax.training.start import train
from tests.subprocess_devices import run_on_devices
from tests.training.test_lora import base, config_on
from tests.training.test_mixture import SOURCES, mixture
from tests.training.test_train import QUIET

pytest.importorskip("sacrebleu")
pytestmark = pytest.mark.usefixtures("compiled_quickly")

__all__ = ["base"]

FLAGS = ["--limit=60", "--answers=4", "--max_new_tokens=8", "--gradient_examples=4"]


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    config = config_on(base)
    config.data.source, config.data.mixture = "jsonl", mixture(folder)
    config.eval.num_examples = 12
    train(config, folder / "lora", QUIET)
    return folder / "lora"


@pytest.fixture(scope="module")
def record(run: Path) -> dict[str, Any]:
    """What one device finds."""
    overfitting.main(["analyse", f"--runs={run}", f"--output={run}-one", *FLAGS])
    found: dict[str, Any] = json.loads(Path(f"{run}-one/results.json").read_text())
    return found


def test_losses_by_source_make_those_of_all(run: Path, record: dict[str, Any]) -> None:
    newest = record["runs"][0]["steps"][-1]
    for of in ("train", "heldout"):
        parts = newest[of]["by_source"]
        assert set(parts) == set(SOURCES)
        assert sum(part["examples"] for part in parts.values()) == newest[of]["examples"]
        weights = [part["examples"] for part in parts.values()]
        mean = np.average([part["output_loss"] for part in parts.values()], weights=weights)
        assert newest[of]["output_loss"] == pytest.approx(mean, rel=1e-9)
    page = Path(f"{run}-one/report.md").read_text()
    table = page.split("## NLL by source and token class at the newest checkpoint, in nats\n\n")[1]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.split("\n\n")[0].splitlines()]
    assert rows[0][:5] == ["run", "source", "set", "examples", "loss on outputs"] and len(rows) == 2 + 8
    assert [row[1:3] for row in rows[2:4]] == [[source, "train"] for source in sorted(SOURCES)[:2]]
    assert rows[2][4] == f"{newest['train']['by_source'][rows[2][1]]['output_loss']:.4f}"


def numbers(value: Any, path: str = "") -> dict[str, float]:
    """Every number of a record, by where it stands."""
    if isinstance(value, dict):
        return {k: v for name, each in value.items() for k, v in numbers(each, f"{path}/{name}").items()}
    if isinstance(value, list):
        return {k: v for at, each in enumerate(value) for k, v in numbers(each, f"{path}/{at}").items()}
    return {path: float(value)} if isinstance(value, int | float) else {}


def test_four_devices_find_what_one_does(run: Path, record: dict[str, Any]) -> None:
    arguments = [f"--runs={run}", f"--output={run}-four", *FLAGS]
    said = run_on_devices("im_jax.analyse.overfitting", devices=4, arguments=arguments)
    assert "Greedy answers" in said
    one, four = numbers(record), numbers(json.loads(Path(f"{run}-four/results.json").read_text()))
    assert one.keys() == four.keys() and len(one) > 300
    for name, value in one.items():
        assert math.isclose(four[name], value, rel_tol=1e-4, abs_tol=1e-5), (name, value, four[name])
