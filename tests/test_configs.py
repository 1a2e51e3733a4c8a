"""Every shipped configuration is valid, and on record is what it sets to another value than the default.

After a change that is meant, write the records anew: `python -m tests.test_configs`.
"""

import importlib.util
import json
from pathlib import Path

import pytest

from im_jax import validation
from im_jax.config import Config, difference
from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "configs"
CONFIGS = sorted([*FOLDER.glob("*.py"), *(FOLDER / "rewrites").glob("*.py")])
GOLDEN = Path(__file__).parent / "golden"


def record(path: Path) -> Path:
    """Where it is written what a file resolves to."""
    return GOLDEN / path.relative_to(FOLDER).with_suffix(".json")


def written(config: Config) -> str:
    """The record of a configuration. What is at its default is not in it: a new field changes no record."""
    return json.dumps(difference(config), indent=2) + "\n"


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


def test_every_record_belongs_to_a_configuration() -> None:
    assert {*GOLDEN.rglob("*.json")} == {record(path) for path in CONFIGS}


if __name__ == "__main__":
    for config_path in CONFIGS:
        record(config_path).parent.mkdir(parents=True, exist_ok=True)
        record(config_path).write_text(written(load(config_path)), encoding="utf-8")
