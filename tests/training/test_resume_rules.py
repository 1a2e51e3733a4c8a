"""What may change between a run and its resumption."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from im_jax.config import Config, flatten
from im_jax.errors import ConfigError
from im_jax.training.resume import check_same_run


def resume_with(**changes: Any) -> str:
    """What is shown when a run of the default configuration is resumed with changes."""
    saved = flatten(Config())
    current = saved | {name.replace("__", "."): value for name, value in changes.items()}
    output = io.StringIO()
    check_same_run(saved, current, Path("run"), Console(file=output, width=200))
    return output.getvalue()


def test_unchanged_configuration_shows_nothing() -> None:
    assert resume_with() == ""


@pytest.mark.parametrize(
    "name", ["train__steps", "mesh__tensor", "log__every", "eval__every", "model__remat"]
)
def test_harmless_changes_are_shown(name: str) -> None:
    assert f"{name.replace('__', '.')}=7 (was" in resume_with(**{name: 7})


@pytest.mark.parametrize(
    "name",
    ["loss__policy", "data__path", "seed", "train__batch_size", "model__num_layers", "eval__num_examples"],
)
def test_changes_that_make_another_run_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name.replace('__', '.')}=7 \(was .*another --workdir"):
        resume_with(**{name: 7})


def test_field_of_a_newer_version_is_shown_and_not_refused() -> None:
    assert "data.invention=7 (was (absent))" in resume_with(data__invention=7)
