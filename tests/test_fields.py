"""Fields of a configuration: what is declared once is known everywhere."""

import dataclasses
from typing import Any

import pytest

from im_jax.config import (
    Config,
    Decides,
    When,
    at_least,
    config_hash,
    group,
    records,
    setting,
)
from im_jax.config.checks import check_fields
from im_jax.config.table import table
from im_jax.errors import ConfigError


@dataclasses.dataclass
class WithField(type(Config().train)):  # type: ignore[misc]
    """`train` with two fields more, as a change to its file would add them."""

    warmth: int | None = setting(None, "How warm it is.", bounds=at_least(3), when=When("data.path", ("",)))
    hurry: str = setting("none", "How fast.", choices=("none", "great"), decides=Decides.SPEED)


@dataclasses.dataclass
class Extended(Config):
    train: WithField = group(WithField)


def extended(**fields: Any) -> Extended:
    return Extended(train=WithField(steps=1, **fields))


def test_a_new_field_is_checked() -> None:
    check_fields(extended(warmth=3, hurry="great"))
    with pytest.raises(ConfigError, match=r"train\.warmth=2 must be 3 or more"):
        check_fields(extended(warmth=2))
    with pytest.raises(ConfigError, match=r"train\.warmth='3' is str; it must be int or unset"):
        check_fields(extended(warmth="3"))
    with pytest.raises(
        ConfigError, match=r"train\.hurry='Great' is not one of none, great; did you mean great\?"
    ):
        check_fields(extended(hurry="Great"))


def test_a_new_field_is_in_the_table_of_the_documentation() -> None:
    rows = table(records(Extended)).splitlines()
    assert (
        "| `train.warmth` | none | whole number, 3 or more or none | result | How warm it is. With `data.path=`. |"
        in rows
    )
    assert "| `train.hurry` | `none` | `none`, `great` | speed | How fast. |" in rows


def test_a_new_field_has_its_rule_for_resuming() -> None: ...


def test_a_new_field_leaves_the_hash_of_every_run_until_it_is_set() -> None:
    plain = Config()
    plain.train.steps = 1
    assert config_hash(extended()) == config_hash(plain)
    assert config_hash(extended(warmth=4)) != config_hash(plain)
    assert config_hash(extended(hurry="great")) == config_hash(plain)
