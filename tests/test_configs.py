"""Every shipped configuration is valid, and what it resolves to is on record.

After a change that is meant, write the records anew: `python -m tests.test_configs`.
"""

import importlib.util
from pathlib import Path

import pytest

from im_jax import validation
from im_jax.config import CHOICES, Config, flatten, to_json
from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "configs"
CONFIGS = sorted([*FOLDER.glob("*.py"), *(FOLDER / "rewrites").glob("*.py")])
GOLDEN = Path(__file__).parent / "golden"


def record(path: Path) -> Path:
    """Where it is written what a file resolves to."""
    return GOLDEN / path.relative_to(FOLDER).with_suffix(".json")


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
    assert to_json(config) == recorded, "if the change is meant: python -m tests.test_configs"


def test_every_record_belongs_to_a_configuration() -> None:
    assert {*GOLDEN.rglob("*.json")} == {record(path) for path in CONFIGS}


def test_every_choice_and_bound_is_of_a_field_that_exists() -> None:
    known = set(flatten(Config()))
    assert set(CHOICES) <= known
    assert set(validation._AT_LEAST) | set(validation._INTERVALS) <= known


if __name__ == "__main__":
    for config_path in CONFIGS:
        record(config_path).parent.mkdir(parents=True, exist_ok=True)
        record(config_path).write_text(to_json(load(config_path)), encoding="utf-8")
