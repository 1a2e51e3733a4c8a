"""What may change between a run and its resumption."""

import io
from pathlib import Path
from typing import Any

import pytest

from im_jax.config import Config, flatten, with_overrides
from im_jax.console import Console
from im_jax.errors import ConfigError
from im_jax.training.resume import check_not_beyond, check_same_run


def resume(saved: dict[str, Any], current: Config) -> str:
    """What is shown when a run with one configuration is resumed with another."""
    output = io.StringIO()
    check_same_run(saved, current, Path("runs[old]"), Console(file=output, width=200))
    return output.getvalue()


def resume_with(**changes: Any) -> str:
    changed = {name.replace("__", "."): value for name, value in changes.items()}
    return resume(flatten(Config()), with_overrides(Config(), changed))


def test_unchanged_configuration_shows_nothing() -> None:
    assert resume_with() == ""


@pytest.mark.parametrize(
    "name",
    [
        "train__steps",
        "mesh__tensor",
        "log__every",
        "eval__every",
        "model__remat",
        "train__accumulate",
        "data__rewrites__eval_batch_size",
    ],
)
def test_harmless_changes_are_shown(name: str) -> None:
    assert f"{name.replace('__', '.')}=7 (was" in resume_with(**{name: 7})


@pytest.mark.parametrize(
    "name",
    ["loss__policy", "data__path", "seed", "train__batch_size", "model__num_layers", "eval__num_examples"],
)
def test_changes_that_make_another_run_are_refused(name: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"another --workdir.*--config.{name.replace('__', '.')}=.*, not 7"
    ):
        resume_with(**{name: 7})


def test_each_refused_difference_is_a_line_with_the_flag_that_sets_it_back() -> None:
    with pytest.raises(ConfigError) as caught:
        resume_with(loss__policy="im", data__path="other.jsonl", optimizer__beta1=0.5, log__every=3)
    assert caught.value.details == (
        "--config.data.path=, not other.jsonl",
        "--config.loss.policy=it, not im",
        "--config.optimizer.beta1=none, not 0.5",
    )
    assert caught.value.message.startswith("runs[old] holds a run with another configuration; set these back")


def test_a_run_of_a_version_before_a_field_did_what_its_default_does() -> None:
    fields = flatten(Config())
    older = {name: value for name, value in fields.items() if name not in ("loss.z_loss", "log.every")}
    assert resume(older, Config()) == ""
    assert "log.every=7 (was 10)" in resume(older, with_overrides(Config(), {"log.every": 7}))
    with pytest.raises(ConfigError, match=r"--config\.loss\.z_loss=0\.0, not 0\.1"):
        resume(older, with_overrides(Config(), {"loss.z_loss": 0.1}))


def test_field_that_this_version_does_not_have_is_shown_and_not_refused() -> None:
    assert "data.invention=(absent) (was 7)" in resume(flatten(Config()) | {"data.invention": 7}, Config())


def test_a_run_that_has_gone_further_is_refused() -> None:
    check_not_beyond(5, 5, Path("run"))
    with pytest.raises(ConfigError, match="run has trained 6 steps, more than the 5 asked for"):
        check_not_beyond(6, 5, Path("run"))
