"""Every shipped configuration is valid, and on record is what it sets to another value than the default.

So are the sweeps of the paper: what their runs share, and what each run sets to another value than that.
After a change that is meant, write the records anew: `python -m tests.test_configs`.
"""

import importlib.util
import json
from pathlib import Path

import pytest

from im_jax import validation
from im_jax.config import Config, difference, flatten
from im_jax.sweeps.checks import checked_cells
from im_jax.sweeps.definition import Sweep
from im_jax.sweeps.loading import load_sweep
from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "configs"
CONFIGS = sorted([*FOLDER.glob("*.py"), *(FOLDER / "rewrites").glob("*.py")])
PAPER = sorted((FOLDER / "paper").glob("*.py"))
GOLDEN = Path(__file__).parent / "golden"


def record(path: Path) -> Path:
    """Where it is written what a file resolves to."""
    return GOLDEN / path.relative_to(FOLDER).with_suffix(".json")


def written(config: Config) -> str:
    """The record of a configuration. What is at its default is not in it: a new field changes no record."""
    return json.dumps(difference(config), indent=2) + "\n"


def written_sweep(sweep: Sweep) -> str:
    """The record of a sweep, with a line for each run: what its points and seed set is not the base's."""
    base = flatten(sweep.base)
    runs = {
        cell.run: {name: value for name, value in flatten(cell.config).items() if value != base[name]}
        for cell in checked_cells(sweep)
    }
    lines = [f"    {json.dumps(run)}: {json.dumps(changed)}" for run, changed in runs.items()]
    shared = json.dumps(difference(sweep.base), indent=2).replace("\n", "\n  ")
    runs_text = ",\n".join(lines)
    return f'{{\n  "base": {shared},\n  "runs": {{\n{runs_text}\n  }}\n}}\n'


def load(path: Path) -> Config:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_shipped_configuration_is_valid_and_as_recorded(path: Path) -> None:
    config = load(path)
    validation.check(config)
    recorded = record(path).read_text(encoding="utf-8")
    assert written(config) == recorded, "if the change is meant: python -m tests.test_configs"


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_sweep_of_the_paper_is_valid_and_as_recorded(path: Path) -> None:
    recorded = record(path).read_text(encoding="utf-8")
    assert written_sweep(load_sweep(path, None)) == recorded, (
        "if the change is meant: python -m tests.test_configs"
    )


def test_every_record_belongs_to_a_configuration() -> None:
    assert {*GOLDEN.rglob("*.json")} == {record(path) for path in [*CONFIGS, *PAPER]}


if __name__ == "__main__":
    records = {path: written(load(path)) for path in CONFIGS}
    records |= {path: written_sweep(load_sweep(path, None)) for path in PAPER}
    for config_path, content in records.items():
        record(config_path).parent.mkdir(parents=True, exist_ok=True)
        record(config_path).write_text(content, encoding="utf-8")
